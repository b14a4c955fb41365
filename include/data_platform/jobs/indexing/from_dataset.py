"""A new collection filled from the published dataset, without PostgreSQL: the way back for a reader (DESIGN §2.14).

The dataset is read month by month at one commit, whatever its layout. Rows that no index can hold (without a date, or
held for another reason) are counted and left out. An unfinished collection of the same commit is gone on with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.errors import IntegrityError
from data_platform.failpoints import failpoint
from data_platform.jobs.indexing.ahead import ahead
from data_platform.jobs.indexing.compare import SAMPLE_ROWS, ids_of, require_equal_ids, require_equal_rows
from data_platform.jobs.indexing.follow import pending_of, with_pending
from data_platform.jobs.indexing.generations import (
    begin,
    drop_old,
    finish,
    present,
    previous_of,
    require_no_shrink,
    unfinished,
)
from data_platform.jobs.indexing.records import ReindexOptions, ReindexOutcome, named
from data_platform.jobs.progress import Clock, Progress
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.hub.layout import UNDATED
from data_platform.managers.hub.scratch import scratch_folder
from data_platform.managers.hub.state import Snapshot, State
from data_platform.managers.search_index import Card, Index
from data_platform.models.columns import NORMAL_SCHEMA

__all__ = ["DatasetFill"]

#: The fact of a card that names the last file that is in the collection, whole.
_THROUGH = "job_through"
_NO_IDS = pa.array([], pa.string())


@dataclass
class DatasetFill:
    """Fills a new collection from the dataset.

    Attributes:
        index: which index.
        manager: the dataset.
        options: what it shall do.
        progress: told how it gets on.
        clock: of the run.
    """

    index: Index
    manager: DatasetManager
    options: ReindexOptions
    progress: Progress
    clock: Clock

    def run(self, outcome: ReindexOutcome) -> ReindexOutcome:
        """Fill, compare, show, tidy up; return the outcome, filled in.

        Raises:
            IntegrityError: documents are refused, or the collection is not what the dataset is; it is not shown.
            StoreError, StoreUnavailableError: the Hub or the service refuses, or does not answer.
        """
        snapshot = Snapshot.of(self.manager.repository)
        source = f"{self.manager.repository.dataset}@{snapshot.commit}"
        outcome = replace(outcome, source=source)
        with scratch_folder() as folder:
            state = self.manager.state(snapshot, folder)
            keys = {path: table.column("unique_id").combine_chunks() for path, table in state.partition_keys()}
            skipped = len(keys.pop(UNDATED, ()))
            if self.options.dry_run:
                rows = sum(map(len, keys.values()))
                return replace(outcome, rows=rows, skipped=skipped, collection=self._found(source) or "")
            return self._fill(replace(outcome, skipped=skipped), state, keys, folder)

    # ------------------------------------------------------------------------------------------------

    def _found(self, source: str) -> str | None:
        return None if self.options.afresh else unfinished(self.index, source)

    def _fill(self, outcome: ReindexOutcome, state: State, keys: dict[str, pa.Array], folder: Path) -> ReindexOutcome:
        index, previous, source = self.index, self.index.live(), outcome.source
        found = self._found(source)
        collection = found or begin(index, Card(source=source))
        card = index.card(collection) or Card(source=source)
        rows, written, failed = 0, 0, pending_of(card)
        sample = _Sample(sorted(keys), collection)
        self.progress.stage("fill", sum(map(len, keys.values())))
        paths = [path for path in sorted(keys) if path > card.facts.get(_THROUGH, "")]
        for path, table in ahead(_tables(state, paths, folder)):
            for batch in table.to_batches(max_chunksize=self.options.batch_rows):
                done = index.write(collection, batch)
                rows, written = rows + batch.num_rows, written + done.written
                failed |= {one.unique_id: one.reason for one in done.failed}
                self.progress.advance(batch.num_rows)
            self._require_few(failed)  # before its file counts as done: none may be lost
            sample.add(table)
            card = with_pending(replace(card, facts={**card.facts, _THROUGH: path}), failed)
            index.set_card(collection, card)
            failpoint("reindex.after_partition")
        self.clock.lap("fill")
        finish(index, collection)
        self.clock.lap("finish")
        wanted, known = pa.concat_arrays([_NO_IDS, *keys.values()]), pa.array(sorted(failed), pa.string())
        wanted = wanted.filter(pc.invert(pc.is_in(wanted, value_set=known)))
        require_equal_ids(collection, ids_of(index, collection), wanted, may_have=known)
        require_equal_rows(index, collection, sample.rows_but(known))
        self.clock.lap("compare")
        require_no_shrink(index, collection, allowed=self.options.allow_shrink)
        down_s = present(index, collection, card)
        self.clock.lap("show")
        keep = previous if previous not in {None, index.live()} else previous_of(index)
        dropped = drop_old(index, keep=keep, forget=lambda _: None)  # a position without a collection does no harm
        return replace(
            outcome,
            collection=collection,
            previous=next((name for name in index.collections() if name != collection), ""),
            resumed=found is not None,
            rows=rows,
            written=written,
            failed=failed,
            compared={"ids equal": len(wanted), "rows of a sample equal": sample.rows_but(known).num_rows},
            dropped=dropped,
            down_s=down_s,
        )

    def _require_few(self, failed: Mapping[str, str]) -> None:
        if len(failed) > self.options.max_failed:
            raise IntegrityError(
                f"{len(failed):,} documents were refused: {named(failed)}",
                hint="searches do not see the collection; run it again when the index takes them: it goes on there",
            )


class _Sample:
    """Some rows of each file, chosen by chance, but the same ones for the same collection."""

    def __init__(self, paths: list[str], seed: str) -> None:
        self._random = Random(seed)  # noqa: S311 - a sample
        self._of_each = max(1, SAMPLE_ROWS // max(1, len(paths)))
        self._taken: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        """Choose rows of a file."""
        places = self._random.sample(range(table.num_rows), min(self._of_each, table.num_rows))
        self._taken.append(table.take(pa.array(sorted(places), pa.int64())))

    def rows_but(self, unique_ids: pa.Array) -> pa.Table:
        """Return all that were chosen, save some."""
        rows = pa.concat_tables([NORMAL_SCHEMA.empty_table(), *self._taken])
        return rows.filter(pc.invert(pc.is_in(rows.column("unique_id"), value_set=unique_ids)))


def _tables(state: State, paths: list[str], folder: Path) -> Iterator[tuple[str, pa.Table]]:
    """Give the rows of each file; what was fetched for one is removed before the next."""
    for path in paths:
        before = set(folder.iterdir())
        yield path, state.rows(path)
        for left in set(folder.iterdir()) - before:
            if left.is_file():
                left.unlink(missing_ok=True)
