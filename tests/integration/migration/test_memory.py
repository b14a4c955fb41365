"""Memory does not grow with the rows: also not when a file is one single row group of big rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_platform.models.columns import PUBLISHED_SCHEMA
from tests.support.command_line import CommandLine
from tests.support.sources import article
from tests.support.stores import Store

_LIMIT_MB = 400
_GROWTH = 1.3
_FEW, _MANY = 6_000, 60_000
_USUAL = 10_000  # characters of a content: twice what is usual
_HUGE = 1_500_000  # of one row in a thousand
_BATCH = 500


def _write_one_row_group(path: Path, count: int) -> Path:
    """Write rows as the writers of the past did who held everything in memory."""
    path.parent.mkdir(parents=True)
    sentences = [f"Frase {n} sobre a política pública número {n * 7919 % 100_003}. " for n in range(5000)]

    def content(number: int) -> str:
        length = _HUGE if number % 1000 == 0 else _USUAL
        return "".join(sentences[(number * 31 + n) % 5000] for n in range(length // 50))

    batches = [
        pa.RecordBatch.from_pylist([article(n, content=content(n)) for n in range(first, first + _BATCH)], PUBLISHED_SCHEMA)
        for first in range(0, count, _BATCH)
    ]
    pq.write_table(pa.Table.from_batches(batches), path, row_group_size=count)
    assert pq.ParquetFile(path).num_row_groups == 1
    return path


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("parallel", ["1", "2"])
def test_ten_times_the_rows_take_no_more_memory(parallel: str, make_store: Callable[[], Store], tmp_path: Path) -> None:
    peaks = []
    for count in (_FEW, _MANY):
        file = _write_one_row_group(tmp_path / str(count) / "data" / "train-00000-of-00001.parquet", count)
        commands = CommandLine(make_store().url, tmp_path)
        first = commands.run("migrate", "--source", str(file.parent.parent), "--parallel", parallel)
        assert first.status == 0, first.err
        assert (first.result["loaded"], first.result["verdict"]) == (count, "equal")
        again = commands.run("migrate", "--source", str(file.parent.parent), "--parallel", parallel)
        assert (again.status, again.result["already_present"]) == (0, count)
        peaks.append((first.result["peak_rss_mb"], again.result["peak_rss_mb"]))
        file.unlink()
    for few, many in zip(*peaks, strict=True):
        assert max(few, many) < _LIMIT_MB, f"MB of {_FEW} and {_MANY} rows, at first and again: {peaks}"
        assert many / few < _GROWTH, f"MB of {_FEW} and {_MANY} rows, at first and again: {peaks}"
