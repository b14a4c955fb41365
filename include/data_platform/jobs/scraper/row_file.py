"""Scraped rows as a parquet file, written site by site."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from data_platform.errors import ConfigurationError
from data_platform.jobs.scraper.outcome import Row
from data_platform.jobs.scraper.rows import ROW_COLUMNS
from data_platform.models.columns import NORMAL_SCHEMA

__all__ = ["ROW_SCHEMA", "RowFile"]

#: Types of scraped rows: those of all code inside, for the columns that a scraper has.
ROW_SCHEMA = pa.schema([NORMAL_SCHEMA.field(name) for name in ROW_COLUMNS])


class RowFile:
    """A file that appears under its name when all rows are in it; used as a context manager.

    Args:
        path: where it is to be; what is there is replaced.

    Raises:
        ConfigurationError: it cannot be written there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path.with_name(f".{path.name}.part")
        try:
            self._writer = pq.ParquetWriter(self._draft, ROW_SCHEMA, compression="zstd")
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error}", hint="choose another --output") from error
        self.rows = 0

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows."""
        if rows:
            self._writer.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=ROW_SCHEMA))
            self.rows += len(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        if kind is None:
            self._draft.replace(self._path)
        else:
            self._draft.unlink(missing_ok=True)
