"""The files of months, written from a snapshot of PostgreSQL, and what their rows are for the proof afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_platform.errors import IntegrityError
from data_platform.jobs.ahead import ahead
from data_platform.jobs.progress import Progress
from data_platform.managers.hub.layout import UNDATED, PartitionWriter, Rows, partition_path, rows_told, write_partition
from data_platform.managers.hub.publish import PartitionFile
from data_platform.managers.postgres.news_snapshot import MonthRows, NewsSnapshot

__all__ = ["MonthFiles"]


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
        self._parts: Iterator[MonthRows | None] = iter(())
        self.written: dict[str, Rows] = {}

    @contextmanager
    def of(self, months: Sequence[str]) -> Iterator[list[PartitionFile]]:
        """Give the files of months; one without rows is not to be there.

        They are to be written in this order, each once: while one is written, the next one is read already.
        """
        with closing(ahead(self._read(months))) as self._parts:
            yield [PartitionFile(partition_path(month), partial(self._write, month)) for month in months]

    def held(self, rows: pa.Table) -> PartitionFile:
        """Return the file of rows that PostgreSQL does not hold."""
        return PartitionFile(UNDATED, partial(self._write_held, rows))

    def _write_held(self, rows: pa.Table, local: Path) -> int:
        if not rows.num_rows:
            return 0
        write_partition(local, rows)
        if (told := rows_told(pq.read_metadata(local))) is not None:
            self.written[UNDATED] = told
        return int(rows.num_rows)

    def _read(self, months: Sequence[str]) -> Iterator[MonthRows | None]:
        """Give the rows of the months that have any, None behind those of each."""
        for month in months:
            if self._counts.get(month, 0):
                yield from self._news.rows(month)
                yield None

    def _write(self, month: str, local: Path) -> int:
        wanted = self._counts.get(month, 0)
        if not wanted:
            return 0
        with PartitionWriter(local) as writer:
            while (part := next(self._parts)) is not None:
                writer.write(part.rows, part.digests)
                self._progress.advance(part.rows.num_rows)
        if writer.rows.count != wanted:
            raise IntegrityError(
                f"{month} has {wanted} rows in PostgreSQL, {writer.rows.count} of them were read",
                hint="nothing was published",
            )
        self.written[partition_path(month)] = writer.rows
        return wanted
