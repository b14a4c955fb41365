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
from data_platform.jobs.ahead import ahead
from data_platform.jobs.indexing.compare import SAMPLE_ROWS, ids_of, require_equal_ids, require_equal_rows
from data_platform.jobs.indexing.follow import pending_of, with_pending
from data_platform.jobs.indexing.generations import (
    begin,
    drop_old,
    finish,
    moved_before,
    present,
    previous_of,
    require_no_shrink,
    unfinished,
)
from data_platform.jobs.indexing.records import Kind, ReindexOptions, ReindexOutcome, named
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
#: Ids that a line names.
_NAMED = 5
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
        return unfinished(self.index, source, run=self.options.run, afresh=self.options.afresh)

    def _fill(self, outcome: ReindexOutcome, state: State, keys: dict[str, pa.Array], folder: Path) -> ReindexOutcome:
        index, options, source = self.index, self.options, outcome.source
        done = moved_before(index, Kind.FULL, run=options.run, source=source, afresh=options.afresh)
        if done is not None:
            card = index.card(done) or Card(source=source)
            outcome = replace(outcome, source=card.source, failed=pending_of(card))
            return self._tidied(outcome, done, previous=None, resumed=True)
        previous, found = index.live(), self._found(source)
        collection = found or begin(index, Card(source=source), options.run)
        card = index.card(collection) or Card(source=source)
        rows, written, failed = self._try_again(collection, pending_of(card), state, keys, folder)
        card = with_pending(card, failed)
        self._require_few(failed)
        sample = _Sample(sorted(keys), collection)
        self.progress.stage("fill", sum(map(len, keys.values())))
        paths = [path for path in sorted(keys) if path > card.facts.get(_THROUGH, "")]
        for path, table in ahead(_tables(state, paths, folder)):
            for batch in table.to_batches(max_chunksize=options.batch_rows):
                taken = index.write(collection, batch)
                rows, written = rows + batch.num_rows, written + taken.written
                failed |= {one.unique_id: one.reason for one in taken.failed}
                self.progress.advance(batch.num_rows)
            self._require_few(failed)  # before its file counts as done: none may be lost
            sample.add(table)
            card = with_pending(replace(card, facts={**card.facts, _THROUGH: path}), failed)
            index.set_card(collection, card)
            failpoint("reindex.after_partition")
        self.clock.lap("fill")
        finish(index, collection)
        self.clock.lap("finish")
        ids = pa.concat_arrays([_NO_IDS, *keys.values()])
        twice, refused = _repeated(ids), pa.array(sorted(failed), pa.string())
        wanted = ids.unique().filter(pc.invert(pc.is_in(ids.unique(), value_set=refused)))
        require_equal_ids(collection, ids_of(index, collection), wanted, may_have=refused)
        rows_compared = sample.rows_but(pa.concat_arrays([refused, twice]))
        require_equal_rows(index, collection, rows_compared)
        self.clock.lap("compare")
        require_no_shrink(index, collection, allowed=options.allow_shrink)
        down_s = present(index, collection, card, instead_of=previous, kind=Kind.FULL, run=options.run)
        self.clock.lap("show")
        outcome = replace(
            outcome,
            rows=rows,
            written=written,
            failed=failed,
            compared={"ids equal": len(wanted), "rows of a sample equal": rows_compared.num_rows},
            down_s=down_s,
            notes=(_told_twice(twice),) if len(twice) else (),
        )
        return self._tidied(outcome, collection, previous=previous, resumed=found is not None)

    def _tidied(
        self, outcome: ReindexOutcome, collection: str, *, previous: str | None, resumed: bool
    ) -> ReindexOutcome:
        """Drop what nobody needs any more. Positions in the feed without a collection do no harm, and stay."""
        index = self.index
        dropped = drop_old(index, keep={collection, previous or previous_of(index)}, forget=lambda _: None)
        kept = next((name for name in index.collections() if name != collection), "")
        return replace(outcome, collection=collection, previous=kept, resumed=resumed, dropped=dropped)

    def _try_again(
        self, collection: str, pending: Mapping[str, str], state: State, keys: Mapping[str, pa.Array], folder: Path
    ) -> tuple[int, int, dict[str, str]]:
        """Write the documents anew that were refused before; return rows, documents taken, and those still refused."""
        rows, written, failed = 0, 0, dict(pending)
        ids = pa.array(sorted(pending), pa.string())
        paths = sorted(path for path, here in keys.items() if pc.any(pc.is_in(here, value_set=ids)).as_py())
        for _, table in _tables(state, paths, folder):
            for batch in table.filter(pc.is_in(table.column("unique_id"), value_set=ids)).to_batches():
                taken = self.index.write(collection, batch)
                rows, written = rows + batch.num_rows, written + taken.written
                for uid in batch.column("unique_id").to_pylist():
                    failed.pop(uid, None)
                failed |= {one.unique_id: one.reason for one in taken.failed}
        return rows, written, failed

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


def _repeated(ids: pa.Array) -> pa.Array:
    """Return the ids that stand more than once."""
    counts = ids.value_counts()
    return counts.field("values").filter(pc.greater(counts.field("counts"), 1))


def _told_twice(ids: pa.Array) -> str:
    shown = ", ".join(ids.slice(0, _NAMED).to_pylist())
    return (
        f"{len(ids):,} ids stand more than once in the dataset, such as {shown}: searches find the newest month's row"
    )


def _tables(state: State, paths: list[str], folder: Path) -> Iterator[tuple[str, pa.Table]]:
    """Give the rows of each file; what was fetched for one is removed before the next."""
    for path in paths:
        before = set(folder.iterdir())
        yield path, state.rows(path)
        for left in set(folder.iterdir()) - before:
            if left.is_file():
                left.unlink(missing_ok=True)
