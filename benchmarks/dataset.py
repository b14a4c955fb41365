"""Writing to the dataset on the Hub: seconds, memory, bytes stored, against the Hub's stand-in on loopback.

    python -m benchmarks.dataset [--rows N] [--corpus FOLDER] [--mode lfs|xet]

A corpus in the legacy layout is put into the stand-in, which runs in a process of its own. Then, each in a process of
its own whose largest memory is read from the kernel: the adoption of the monthly layout, and the insert of 2,000 rows
of one month, twice: with no key column on the local disk, and with them there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dev.state import REPOSITORY, state_path

__all__ = [
    "DATASET",
    "Figures",
    "figure_line",
    "hub_environment",
    "hub_server",
    "in_child",
    "lines",
    "measure",
    "peak_mb",
]

ROWS = 309_193
NEW_ROWS = 2_000
DATASET = "bench/govbrnews"
_TOKEN = "hf_of_the_benchmark"  # noqa: S105 - of the stand-in
_LIMITS = {"insert_seconds": 5.0, "insert_mb": 400.0, "adoption_mb": 400.0, "lfs": 0.03, "xet": 0.02}


@dataclass(frozen=True)
class Figures:
    """What was measured.

    Attributes:
        mode: how files are stored, "lfs" or "xet".
        rows: rows of the dataset.
        month: the month that rows were inserted into.
        month_rows: rows it had.
        dataset_bytes: bytes that all files of the dataset take up in the store.
        adoption_seconds: the adoption of the monthly layout.
        adoption_mb: largest resident memory of the process that did it.
        insert_seconds: the insert with no keys on the local disk.
        insert_again_seconds: another one of as many rows, with them there.
        insert_mb: largest resident memory of the process that did it.
        stored_bytes: bytes that one insert added to the store, for both datasets.
        stored_share: these as a share of the dataset.
    """

    mode: str
    rows: int
    month: str
    month_rows: int
    dataset_bytes: int
    adoption_seconds: float
    adoption_mb: float
    insert_seconds: float
    insert_again_seconds: float
    insert_mb: float
    stored_bytes: int
    stored_share: float


def measure(corpus: Path, *, mode: str = "lfs", month: str = "2024-06", new_rows: int = NEW_ROWS) -> Figures:
    """Measure the writes to a dataset.

    Args:
        corpus: a folder in the legacy layout.
        mode: "lfs" or "xet".
        month: the month of publication of the rows inserted, YYYY-MM.
        new_rows: how many of them.
    """
    from dev.hub_server import HubStore  # here and below: the process that is measured imports what a task does

    with tempfile.TemporaryDirectory(prefix="govbr-bench-hub-", dir="/var/tmp") as folder:
        scratch = Path(folder)
        files = sorted((corpus / "data").glob("train*.parquet"))
        batches = [scratch / f"new-{number}.parquet" for number in (1, 2)]
        for number, batch in enumerate(batches):
            _write_new_rows(batch, new_rows, month, seed=1000 + number)
        with hub_server(scratch / "hub", files, mode) as url:
            store = HubStore(scratch / "hub")
            environment = hub_environment(url, scratch / "home", mode)
            adoption = in_child("benchmarks.dataset", environment, "adopt")
            before = store.stored_bytes()
            size = sum(file.size for file in store.files(DATASET, str(store.resolve(DATASET, "main"))).values())
            shutil.rmtree(scratch / "home", ignore_errors=True)
            insert = in_child("benchmarks.dataset", environment, "insert", str(batches[0]))
            stored = store.stored_bytes() - before
            again = in_child("benchmarks.dataset", environment, "insert", str(batches[1]))
        if [done["inserted"] for done in (insert, again)] != [new_rows, new_rows]:
            raise SystemExit(f"not all {new_rows} rows were inserted: {insert}, {again}")
        return Figures(
            mode=mode,
            rows=sum(pq.read_metadata(file).num_rows for file in files),
            month=month,
            month_rows=adoption["partitions"].get(f"data/train-{month}.parquet", 0),
            dataset_bytes=size,
            adoption_seconds=adoption["seconds"],
            adoption_mb=adoption["peak_mb"],
            insert_seconds=insert["seconds"],
            insert_again_seconds=again["seconds"],
            insert_mb=max(insert["peak_mb"], again["peak_mb"]),
            stored_bytes=stored,
            stored_share=stored / size,
        )


def _write_new_rows(target: Path, count: int, month: str, *, seed: int) -> None:
    """Write made-up rows, all published in one month."""
    from data_platform.models.columns import PUBLISHED_SCHEMA
    from dev.sample_data import write_corpus

    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder), count, shards=1, seed=seed)
        (file,) = (Path(folder) / "data").glob("*.parquet")
        rows = pq.read_table(file).to_pylist()
    dice = random.Random(seed)  # noqa: S311 - the same rows each time
    first = datetime.fromisoformat(f"{month}-01T12:00:00+00:00")
    for row in rows:
        row["published_at"] = first + timedelta(days=dice.randrange(28), minutes=dice.randrange(600))
        row["extracted_at"] = row["published_at"].replace(tzinfo=None) + timedelta(days=1)
    pq.write_table(pa.Table.from_pylist(rows, schema=PUBLISHED_SCHEMA), target)


# ------------------------------------------------------------------------------------- processes


@contextmanager
def hub_server(folder: Path, files: list[Path], mode: str) -> Iterator[str]:
    """The stand-in in a process of its own, until its standard input is closed."""
    command = [sys.executable, "-m", "benchmarks.dataset", "--serve", str(folder), "--mode", mode, *map(str, files)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as server:
        line = server.stdout.readline().strip() if server.stdout else ""
        if not line:
            raise SystemExit("the stand-in of the Hub did not start")
        yield line


def _serve(folder: Path, files: list[str], mode: str) -> int:
    from dev.hub_server import HubServer, HubStore

    store = HubStore(folder)
    for name in (DATASET, f"{DATASET}-reduced"):
        store.create(name)
    store.commit(DATASET, {f"data/{Path(file).name}": Path(file) for file in files})
    with HubServer(store, tokens=[_TOKEN], xet=mode == "xet") as server:
        print(server.url, flush=True)
        sys.stdin.read()
    return 0


def hub_environment(url: str, home: Path, mode: str) -> dict[str, str]:
    """Return the environment in which the stand-in is found, and nothing else that was set for this machine."""
    foreign = ("HF_", "GOVBR", "DATABASE_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {
        "HF_ENDPOINT": url,
        "HF_TOKEN": _TOKEN,
        "HF_DATASET": DATASET,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "0" if mode == "xet" else "1",
    }


def in_child(module: str, environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    """Run `python -m MODULE --do …` in a process of its own and return what its last line says."""
    command = [sys.executable, "-m", module, "--do", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, check=False, text=True)
    if done.returncode:
        raise SystemExit(f"{arguments[0]} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _do(what: str, *arguments: str) -> int:
    """Do one write, as a task would, and print what it took."""
    from data_platform.managers.dataset_manager import DatasetManager

    rows: dict[str, list[Any]] = {}
    if what == "insert":
        table = pq.read_table(arguments[0], use_threads=False)
        rows = {name: table.column(name).to_pylist() for name in table.schema.names}
        del table
        pa.default_memory_pool().release_unused()
    manager = DatasetManager()
    started = time.monotonic()
    if what == "insert":
        told: dict[str, Any] = manager.insert_rows(rows).counts
    else:
        plan = manager.adopt()
        told = plan.to_dict() if plan else {}
    told |= {"seconds": time.monotonic() - started, "peak_mb": peak_mb()}
    print(json.dumps(told))
    return 0


def peak_mb() -> float:
    """Return the largest resident memory of this process so far, as the kernel tells it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("the kernel does not tell the largest memory of a process")


# ---------------------------------------------------------------------------------------- printing


def lines(figures: Figures) -> list[str]:
    """Return what was measured, against the limits."""
    share = _LIMITS[figures.mode]
    what = f"{figures.rows:,} rows, {figures.dataset_bytes / 1e6:,.0f} MB, stored by {figures.mode}"
    return [
        f"{what}; {NEW_ROWS:,} rows into {figures.month}, which had {figures.month_rows:,}",
        figure_line("insert, no keys on the local disk", figures.insert_seconds, "s", _LIMITS["insert_seconds"]),
        figure_line("insert, keys on the local disk", figures.insert_again_seconds, "s", _LIMITS["insert_seconds"]),
        figure_line("insert, largest memory", figures.insert_mb, "MB", _LIMITS["insert_mb"]),
        figure_line("insert, bytes stored / dataset", 100 * figures.stored_share, "%", 100 * share),
        figure_line("adoption", figures.adoption_seconds, "s", None),
        figure_line("adoption, largest memory", figures.adoption_mb, "MB", _LIMITS["adoption_mb"]),
    ]


def figure_line(name: str, value: float, unit: str, limit: float | None = None) -> str:
    """Return a figure, against its limit if it has one."""
    against = "" if limit is None else f"{'met' if value <= limit else 'NOT MET'}: at most {limit:g} {unit}"
    return f"  {name:<56} {value:8.2f} {unit:<3} {against}".rstrip()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--corpus", type=Path, help="a dataset folder to use instead of our own made-up one")
    parser.add_argument("--mode", choices=["lfs", "xet"], action="append", help="how files are stored (default: both)")
    parser.add_argument("--month", default="2024-06", help="month of the rows inserted (default: %(default)s)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--do", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return _serve(arguments.serve, arguments.files, arguments.mode[0])
    if arguments.do:
        return _do(*arguments.do)
    corpus = arguments.corpus or _corpus(arguments.rows)
    for mode in arguments.mode or ["lfs", "xet"]:
        print("\n".join(lines(measure(corpus, mode=mode, month=arguments.month))), flush=True)
    return 0


def _corpus(rows: int) -> Path:
    folder = state_path("bench") / f"corpus-{rows}"
    if not (folder / "planted.json").exists() and not (folder / "data").is_dir():
        from dev.sample_data import write_corpus

        print(f"making {rows:,} rows", flush=True)
        write_corpus(folder, rows)
    return folder


if __name__ == "__main__":
    sys.exit(main())
