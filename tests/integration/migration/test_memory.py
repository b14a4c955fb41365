"""Memory does not grow with the rows: also not when a file is one single row group of big rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
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
_BIG = 40_000  # characters of a content: nearly ten times what is usual
_BATCH = 1000


def _write_one_row_group(path: Path, count: int) -> Path:
    """Write rows as the writers of the past did who held everything in memory."""
    path.parent.mkdir(parents=True)
    sentences = [f"Frase {n} sobre a política pública número {n * 7919 % 100_003}. " for n in range(5000)]

    def batches() -> Iterator[pa.RecordBatch]:
        for first in range(0, count, _BATCH):
            rows = []
            for number in range(first, min(first + _BATCH, count)):
                text = "".join(sentences[(number * 31 + n) % 5000] for n in range(_BIG // 50))
                rows.append(article(number, content=text))
            yield pa.RecordBatch.from_pylist(rows, schema=PUBLISHED_SCHEMA)

    table = pa.Table.from_batches(chain(batches()))
    pq.write_table(table, path, row_group_size=count)
    assert pq.ParquetFile(path).num_row_groups == 1
    return path


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("parallel", ["1", "2"])
def test_ten_times_the_rows_take_no_more_memory(parallel: str, make_store: Callable[[], Store], tmp_path: Path) -> None:
    peaks = []
    for count in (3000, 30_000):
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
        assert many < _LIMIT_MB
        assert many / few < _GROWTH
