"""The files of months, written from a snapshot of PostgreSQL, and what their rows are for the proof afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from data_platform.errors import IntegrityError
from data_platform.jobs.progress import Progress
from data_platform.managers.hub.layout import UNDATED, PartitionWriter, Rows, partition_path, write_partition
from data_platform.managers.hub.publish import PartitionFile
from data_platform.managers.postgres.news_snapshot import MonthRows, NewsSnapshot

__all__ = ["MonthFiles"]

T = TypeVar("T")
_END: Any = object()


class MonthFiles:
    """Writes the files of months.

    Args:
        news: PostgreSQL as it is to be published.
        counts: month -> rows, of all months of the snapshot.
        progress: told how many rows are written.

    Attributes:
        written: path -> what its rows are, of the files written so far. Files without rows are not among them.
    """

    def __init__(self, news: NewsSnapshot, counts: dict[str, int], progress: Progress) -> None:
        self._news = news
        self._counts = counts
        self._progress = progress
        self.written: dict[str, Rows] = {}

    def month(self, month: str) -> PartitionFile:
        """Return the file of a month; without rows it is not to be there."""
        return PartitionFile(partition_path(month), partial(self._write, month))

    @staticmethod
    def held(rows: pa.Table) -> PartitionFile:
        """Return the file of rows that PostgreSQL does not hold."""
        return PartitionFile(UNDATED, lambda local: write_partition(local, rows) if rows.num_rows else 0)

    def _write(self, month: str, local: Path) -> int:
        wanted = self._counts.get(month, 0)
        if not wanted:
            return 0
        with PartitionWriter(local) as writer:
            for part in _ahead(self._news.rows(month)):
                writer.write(part.rows, part.digests)
                self._progress.advance(part.rows.num_rows)
        if writer.rows.count != wanted:
            raise IntegrityError(
                f"{month} has {wanted} rows in PostgreSQL, {writer.rows.count} of them were read",
                hint="nothing was published",
            )
        self.written[partition_path(month)] = writer.rows
        return wanted


def _ahead(parts: Iterator[MonthRows]) -> Iterator[MonthRows]:
    """Give the same, the next one being read meanwhile."""
    with ThreadPoolExecutor(1, thread_name_prefix="month") as pool:
        waiting: Future[Any] = pool.submit(next, parts, _END)
        while (part := waiting.result()) is not _END:
            waiting = pool.submit(next, parts, _END)
            yield part
