"""Rows that are published with other cells than PostgreSQL has, before a sync of everything replaces them.

Where the pipeline wrote the dataset in another mode, where the stamp is lost, or where the database was put back in
time, the dataset may have what PostgreSQL never got: a theme, a correction. Whatever PostgreSQL has changed itself
since the last sync is to be published; every other row that differs would be overwritten with something older.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.jobs.hf_sync.published import ChangedBy, Published
from data_platform.managers.hub.adoption import AdoptedState
from data_platform.managers.hub.layout import UNDATED
from data_platform.managers.hub.reader import partition_batches
from data_platform.managers.postgres.change_feed import Stamp, Window
from data_platform.managers.postgres.news_snapshot import NewsSnapshot
from data_platform.models.digest import row_digests

__all__ = ["OtherCells", "other_cells", "other_cells_adopted"]

#: By itself it is no difference, in either store (DESIGN §2.3).
_UNTOLD = frozenset({"extracted_at"})


@dataclass(frozen=True)
class OtherCells:
    """Rows that are published with other cells than PostgreSQL has.

    Attributes:
        ids: their ids.
        unasked: those of them that PostgreSQL has not changed since the last sync.
    """

    ids: Sequence[str]
    unasked: Sequence[str] = ()


def other_cells(news: NewsSnapshot, published: Published, window: Window, folder: Path) -> OtherCells:
    """Compare the rows of a dataset in the monthly layout with PostgreSQL, a piece of a file at a time.

    If it is only the pipeline that wrote, only the files that it changed are read.

    Args:
        news: PostgreSQL as it is to be published.
        published: the dataset.
        window: of the change feed, as it was opened for this dataset.
        folder: for one file at a time.

    Raises:
        StoreError: a file is damaged or not in the published types.
        StoreUnavailableError: the Hub did not answer as it should.
    """
    paths = [path for path in published.snapshot.layout.partitions if path != UNDATED]
    if window.resync_reason is None and published.changed_by is ChangedBy.PIPELINE:
        paths = [path for path in paths if path in published.changed]
    found: list[str] = []
    unasked: list[str] = []
    for path in paths:
        for batch in partition_batches(published.snapshot, path, folder):
            if differing := _differing(news, batch):
                found += differing
                unasked += sorted(_unchanged(news, published, window, differing))
    return OtherCells(found, unasked)


def other_cells_adopted(news: NewsSnapshot, state: AdoptedState) -> OtherCells:
    """Compare the rows of a dataset in any layout, as cleaning makes them, with PostgreSQL, a month at a time.

    Whose change a difference is, nobody can say.
    """
    found: list[str] = []
    for path in state.partitions:
        if path != UNDATED:
            for batch in state.rows(path).combine_chunks().to_batches():
                found += _differing(news, batch, leave_out=frozenset())
            pa.default_memory_pool().release_unused()
    return OtherCells(found)


def _differing(news: NewsSnapshot, batch: pa.RecordBatch, *, leave_out: frozenset[str] = _UNTOLD) -> list[str]:
    """Return the ids of rows that PostgreSQL has with other cells."""
    ids = batch.column("unique_id")
    digests = pa.array([digest.hex() for digest in row_digests(batch, leave_out=leave_out)], pa.string())
    ours = news.digests(ids, leave_out=leave_out)
    at = pc.index_in(ids, value_set=ours.column("unique_id").combine_chunks())
    same = pc.equal(digests, ours.column("row_digest").combine_chunks().take(at))
    return list(ids.filter(pc.invert(pc.fill_null(same, True))).to_pylist())


def _unchanged(news: NewsSnapshot, published: Published, window: Window, ids: Sequence[str]) -> frozenset[str]:
    """Return those of these rows that PostgreSQL has not changed since the last sync.

    The stamp in the dataset says how far that one came. Without one that means anything on this server the marks say
    which version of a row was published; a row without a mark may be PostgreSQL's own only where no sync has ever been.
    """
    stamp = _stamp(published.stamp)
    if stamp is not None and stamp.is_of_lineage(window.stamp):
        return frozenset(ids) - news.pending(ids, stamp.xid)
    return news.as_synced(ids, or_unmarked=bool(published.stamp))


def _stamp(text: str) -> Stamp | None:
    try:
        return Stamp.parse(text)
    except ValueError:
        return None
