"""Memory does not grow with the rows: also not when a file is one single row group of big rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_platform.managers.postgres.binary_copy import PgType, copy_rows
from data_platform.managers.postgres.database import connect
from data_platform.models.columns import PUBLISHED_SCHEMA
from tests.support.command_line import CommandLine
from tests.support.sources import article
from tests.support.stores import Store
from tests.support.waiting import WAIT_S, blocked, holding, wait_until

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
        pa.RecordBatch.from_pylist(
            [article(n, content=content(n)) for n in range(first, first + _BATCH)], PUBLISHED_SCHEMA
        )
        for first in range(0, count, _BATCH)
    ]
    pq.write_table(pa.Table.from_batches(batches), path, row_group_size=count)
    assert pq.ParquetFile(path).num_row_groups == 1
    return path


def test_what_is_ahead_of_a_slow_server_waits_in_the_source(store: Store) -> None:
    """Not in the client's memory: a server that stalls for a minute must not cost as much memory as a segment has."""
    store.execute(
        "CREATE TABLE slow (value text)",
        "CREATE TABLE lock ()",
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM count(*) FROM lock; RETURN NEW; END'",
        "CREATE TRIGGER wait BEFORE INSERT ON slow FOR EACH ROW EXECUTE FUNCTION wait()",
    )
    taken: list[int] = []

    def batches() -> Iterator[list[pa.Array]]:
        for number in range(100):
            taken.append(number)
            yield [pa.array(["x" * 1_000_000], pa.string())]

    def load() -> None:
        with connect(store.url, purpose="load") as connection:
            copy_rows(connection, "slow", [("value", PgType.TEXT)], batches())

    with holding(store, "LOCK TABLE lock IN ACCESS EXCLUSIVE MODE"):
        loader = threading.Thread(target=load)
        loader.start()
        wait_until(lambda: blocked(store, "load"), "the load did not get to wait")
        ahead = -1
        while ahead < (ahead := len(taken)):
            time.sleep(0.5)
    loader.join(WAIT_S)
    assert store.value("SELECT count(*) FROM slow") == 100
    assert ahead < 30  # what the sockets' buffers hold


@pytest.mark.slow
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
