"""Loading: one segment into news, its checkpoint in the same transaction."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import Connection

from data_platform.errors import IntegrityError
from data_platform.failpoints import failpoint
from data_platform.jobs.migration import merge
from data_platform.jobs.migration.records import BULK, Run, Segment, lock_segment, to_json
from data_platform.jobs.migration.segment_reader import read_pieces
from data_platform.managers.postgres.binary_copy import copy_rows
from data_platform.managers.postgres.database import try_session_lock
from data_platform.managers.postgres.news_table import NEWS_COLUMNS, Catalogue, news_rows
from data_platform.managers.postgres.rejects import store_rejects
from data_platform.models.admission import observe
from data_platform.models.digest import row_digests
from data_platform.models.theme_cells import store_themes
from data_platform.queries import read_sql
from data_platform.sources.dataset import Source
from data_platform.sources.judged import ReadBatch, Reject, payload_digest

__all__ = ["SegmentLoader"]

_SLOT_KEYS = 7_202_611_100
_SLOT_WAIT_S = 0.5


@dataclass
class Tally:
    """What loading a segment met, beside what the database counts."""

    read: int = 0
    rejected: list[Reject] = field(default_factory=list)
    shared: list[tuple[str, int, str, str | None, str | None]] = field(default_factory=list)
    cleanings: Counter[str] = field(default_factory=Counter)
    observations: Counter[str] = field(default_factory=Counter)
    unknown_themes: Counter[str] = field(default_factory=Counter)


class SegmentLoader:
    """Loads segments of one run; holds the connection, the source and the catalogue between them."""

    def __init__(self, connection: Connection[Any], run: Run, source: Source) -> None:
        """Prepare for a run.

        Args:
            connection: a connection that does not commit by itself.
            run: the planned run.
            source: its source, opened at the planned revision.
        """
        self._connection = connection
        self._run = run
        self._source = source
        self._catalogue = Catalogue.read(connection)
        connection.commit()

    def load(self, number: int, *, on_wait: Callable[[], None] = lambda: None) -> Segment:
        """Load a segment; one that is done already is left alone.

        Args:
            number: the segment's number in the run.
            on_wait: called once if as many segments as allowed are being loaded by others.

        Raises:
            IntegrityError: the rows of the segment do not add up; nothing of it is kept.
        """
        with self._slot(on_wait), self._connection.transaction():
            segment = lock_segment(self._connection, self._run.id, number)
            if segment.status != "done":
                self._load(segment)
                failpoint("load.before_commit")
        failpoint("load.after_commit")
        with self._connection.transaction():
            return lock_segment(self._connection, self._run.id, number)

    def _load(self, segment: Segment) -> None:
        self._connection.execute(
            "UPDATE load_segments SET started_at = clock_timestamp(), worker = %s"
            " WHERE run_id = %s AND segment_no = %s",
            (f"{socket.gethostname()}:{os.getpid()}", self._run.id, segment.number),
        )
        failpoint("load.before_copy")
        tally = Tally()
        losers = self._losers(segment)
        if self._run.mode == BULK:
            counts = {"updated": 0, "already_present": 0, "loaded": self._copy(segment, tally, losers)}
        else:
            counts = merge.merge_segment(
                self._connection,
                self._run,
                segment,
                winners=self._winners(segment, tally, losers),
                source=self._source,
                catalogue=self._catalogue,
            )
        failpoint("load.before_checkpoint")
        counts |= {"read": tally.read, "rejected": self._store_rejects(tally), "duplicates": self._store_shared(tally)}
        accounted = sum(counts[name] for name in ("loaded", "updated", "already_present", "duplicates", "rejected"))
        if accounted != counts["read"] or counts["read"] != segment.rows:
            raise IntegrityError(
                f"segment {segment.number} ({segment.label}) does not add up: planned {segment.rows}, {counts}",
                hint="the source changed while it was read, or the program is wrong; nothing of the segment was kept",
            )
        self._connection.execute(
            "UPDATE load_segments SET status = 'done', counts = %s, finished_at = clock_timestamp(),"
            " change_xid = pg_current_xact_id_if_assigned() WHERE run_id = %s AND segment_no = %s",
            (to_json(counts | _extras(tally)), self._run.id, segment.number),
        )

    def _copy(self, segment: Segment, tally: Tally, losers: Mapping[str, np.ndarray]) -> int:
        """COPY the rows of a segment straight into news; return how many PostgreSQL took."""
        doubles = dict(
            self._connection.execute(
                "SELECT unique_id, duplicate_of FROM load_doubles WHERE run_id = %s AND segment_no = %s",
                (self._run.id, segment.number),
            ).fetchall()
        )

        def arrays() -> Iterator[list[pa.Array]]:
            for batch, keep in self._winners(segment, tally, losers):
                rows = batch.cleaned.batch if keep is None else batch.cleaned.batch.filter(keep)
                if self._run.dry_run:
                    continue
                yield news_rows(rows, self._catalogue, duplicate_of=doubles)
                failpoint("load.mid_copy")

        if self._run.dry_run:
            return sum(
                batch.raw.num_rows if keep is None else pc.sum(keep).as_py() or 0
                for batch, keep in self._winners(segment, tally, losers)
            )
        return copy_rows(self._connection, "news", NEWS_COLUMNS, arrays())

    def _winners(
        self, segment: Segment, tally: Tally, losers: Mapping[str, np.ndarray]
    ) -> Iterator[tuple[ReadBatch, pa.Array | None]]:
        """Read a segment; give each batch with a mask of the rows to store (None for all), and tally the others."""
        themes = self._catalogue.themes
        for batch in read_pieces(self._source, segment.pieces, batch_rows=self._run.options.batch_rows, themes=themes):
            tally.read += batch.raw.num_rows
            tally.rejected += batch.rejects()
            keep = self._keep(batch, tally, losers)
            kept = batch.cleaned.batch if keep is None else batch.cleaned.batch.filter(keep)
            tally.cleanings.update(batch.cleaned.counts(keep))
            tally.observations.update(observe(kept, now_us=int(self._run.started_at.timestamp() * 1_000_000)))
            tally.unknown_themes.update(store_themes(kept, themes).unknown_codes)
            yield batch, keep

    def _keep(self, batch: ReadBatch, tally: Tally, losers: Mapping[str, np.ndarray]) -> pa.Array | None:
        admitted = batch.admitted.to_numpy(zero_copy_only=False)
        shared = losers.get(batch.file)
        lost = np.zeros(len(admitted), dtype=bool)
        if shared is not None:
            both = np.isin(batch.row_numbers, shared["row_no"])
            lost = np.isin(batch.row_numbers, shared["row_no"][~shared["is_winner"]])
            if both.any():
                tally.shared += _shared_rows(batch, both, lost)
        keep = admitted & ~lost
        return None if keep.all() else pa.array(keep)

    def _losers(self, segment: Segment) -> dict[str, np.ndarray]:
        """Return, by file, the rows of a segment that share their id with others, and whether each wins."""
        found = self._connection.execute(
            "SELECT file, row_no, is_winner FROM load_duplicates WHERE run_id = %s AND segment_no = %s",
            (self._run.id, segment.number),
        ).fetchall()
        by_file: dict[str, list[tuple[int, bool]]] = {}
        for file, row_no, is_winner in found:
            by_file.setdefault(file, []).append((row_no, is_winner))
        record = np.dtype([("row_no", "i8"), ("is_winner", "?")])
        return {file: np.array(rows, dtype=record) for file, rows in by_file.items()}

    def _store_rejects(self, tally: Tally) -> int:
        if self._run.dry_run:
            return len(tally.rejected)
        return store_rejects(self._connection, tally.rejected, origin="migration", run_id=self._run.id)

    def _store_shared(self, tally: Tally) -> int:
        """Remember what rows that share an id hold; return how many of them lose, as counted by the database."""
        if not tally.shared:
            return 0
        files, numbers, digests, payloads, payload_digests = zip(*tally.shared, strict=True)
        row = self._connection.execute(
            read_sql("load_shared.sql"),
            {
                "files": list(files),
                "rows": list(numbers),
                "digests": list(digests),
                "payloads": list(payloads),
                "payload_digests": list(payload_digests),
                "run": self._run.id,
            },
        ).fetchone()
        return int(row[0]) if row else 0

    @contextmanager
    def _slot(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """Hold one of the run's `parallel` places, so that no more segments load at once however many ask."""
        told = False
        while True:
            for place in range(self._run.options.parallel):
                if try_session_lock(self._connection, _SLOT_KEYS + place):
                    self._connection.commit()
                    try:
                        yield
                    finally:
                        self._release(_SLOT_KEYS + place)
                    return
            self._connection.commit()
            if not told:
                on_wait()
                told = True
            time.sleep(_SLOT_WAIT_S)

    def _release(self, key: int) -> None:
        if not self._connection.closed:
            self._connection.rollback()
            self._connection.execute("SELECT pg_advisory_unlock(%s)", (key,))
            self._connection.commit()


def _shared_rows(
    batch: ReadBatch, both: np.ndarray, lost: np.ndarray
) -> list[tuple[str, int, str, str | None, str | None]]:
    """Return file, row, content digest and, for those that lose, the payload and its digest."""
    mask = pa.array(both)
    digests = row_digests(batch.cleaned.batch.filter(mask), leave_out={"extracted_at"})
    payloads = batch.payloads(mask)
    return [
        (batch.file, int(number), digest.hex(), payload if loses else None, payload_digest(payload) if loses else None)
        for number, digest, payload, loses in zip(batch.row_numbers[both], digests, payloads, lost[both], strict=True)
    ]


def _extras(tally: Tally) -> dict[str, Any]:
    reasons = Counter(reject.reason for reject in tally.rejected)
    sample = [
        {
            "unique_id": r.unique_id,
            "file": r.file,
            "row": r.row_no,
            "field": r.field,
            "reason": r.reason,
            "detail": r.detail,
            "excerpt": r.payload[:300],
        }
        for r in tally.rejected[:5]
    ]
    return {
        "rejected_by_reason": reasons,
        "rejects_sample": sample,
        "cleanings": tally.cleanings,
        "observations": tally.observations,
        "unknown_themes": tally.unknown_themes,
    }
