"""What the measurements of both indexes share: rows as the change feed gives them, sent to a sink that only counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from data_platform.managers.search_index import Index

__all__ = ["COLLECTION", "KEY", "rate_line", "send", "write_rows"]

BATCH_ROWS = 2_000
COLLECTION = "news_20240101T000000000000Z"
#: Of the sinks.
KEY = "key"


def write_rows(corpus: Path, to: Path) -> None:
    """Write the rows of a corpus that admission takes as batches, as the change feed gives them."""
    from data_platform.models.columns import NORMAL_SCHEMA, REQUIRED_COLUMNS
    from data_platform.settings import Settings
    from data_platform.sources.dataset import open_source

    source = open_source(str(corpus), settings=Settings())
    with pa.OSFile(str(to), "wb") as file, pa.ipc.new_stream(file, NORMAL_SCHEMA) as stream:
        for file_of in source.snapshot.files:
            for group in range(len(file_of.row_groups)):
                for normal in source.batches(file_of.path, row_group=group, batch_rows=BATCH_ROWS):
                    rows = normal.batch
                    for name in REQUIRED_COLUMNS:
                        rows = rows.filter(rows.column(name).is_valid())
                    stream.write_batch(rows)


def send(index: Index, file: str, number: int) -> dict[str, Any]:
    """Write rows into a new collection of a sink, as a task would, and close the index.

    Args:
        index: of the sink.
        file: what `write_rows` wrote; it is gone through again until there are enough.
        number: how many rows.

    Returns:
        rows; seconds from the first batch on, `reading_s` of them for reading the file; `cpu_s` of the processor.
    """
    from data_platform.managers.search_index import Card

    index.create(COLLECTION, Card("benchmark"))
    written, writing_s, cpu, started = 0, 0.0, time.process_time(), time.monotonic()
    for batch in _batches(file, number):
        begun = time.monotonic()
        written += index.write(COLLECTION, batch).written
        writing_s += time.monotonic() - begun
    seconds, cpu_s = time.monotonic() - started, time.process_time() - cpu
    counted = index.count(COLLECTION)
    index.close()
    if counted != written:
        raise SystemExit(f"{written} were said to be written, the sink counted {counted}")
    return {"rows": written, "seconds": seconds, "reading_s": seconds - writing_s, "cpu_s": cpu_s}


def _batches(file: str, rows: int) -> Iterator[pa.RecordBatch]:
    """Give rows, again and again, until there are enough."""
    left = rows
    while left > 0:
        with pa.OSFile(file, "rb") as opened, pa.ipc.open_stream(opened) as stream:
            for batch in stream:
                yield batch.slice(0, left)
                left -= batch.num_rows
                if left <= 0:
                    return


def rate_line(name: str, rows: int, seconds: float, least: float | None = None) -> str:
    """Return how many rows a second, against the limit if there is one."""
    rate = rows / seconds
    against = "" if least is None else f"{'met' if rate >= least else 'NOT MET'}: at least {least:,.0f} /s"
    return f"  {name:<56} {rate:8,.0f} /s  {against}".rstrip()
