"""The migration against the raw limits of PostgreSQL, as ratios measured in one run.

What is measured:

* load: from the first segment to the last index and valid constraint, against raw binary COPY of the same rows over
  one connection into an empty `news` with all its keys, indexes, foreign keys and triggers, with lz4 and with pglz;
* validation: the whole comparison, against the load;
* memory: the largest process of ours;
* parsing: all DAG files, beyond `import airflow`.

Rounds alternate between the sides, since machines drift; medians are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from data_platform.managers.postgres.news_table import NEWS_COLUMNS
from data_platform.schema import upgrade
from dev.embedded_postgres import EmbeddedPostgres, system_postgres_bin
from dev.sample_data import write_corpus
from dev.state import REPOSITORY, state_path

ROWS = 309_193
_COLUMNS = ", ".join(name for name, _ in NEWS_COLUMNS)
_CHUNK = 1 << 20


@dataclass
class Figures:
    """Seconds of each round, and the largest memory seen."""

    ours: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    raw: dict[str, list[float]] = field(default_factory=dict)
    validation: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    peak_mb: float = 0.0


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--corpus", type=Path, help="a dataset folder to use instead of our own made-up one")
    parser.add_argument("--agencies", default="", help="agencies.yaml that fits the corpus")
    parser.add_argument("--themes", default="", help="themes_tree.yaml that fits the corpus")
    parser.add_argument(
        "--embedded", action="store_true", help="use the embedded server even if PostgreSQL 15 is there"
    )
    arguments = parser.parse_args()
    corpus = arguments.corpus or sample_corpus(arguments.rows)
    bin_dir = None if arguments.embedded else system_postgres_bin()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="govbr-bench-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres(data_dir=Path(folder) / "data", bin_dir=bin_dir) as server:
            figures = _measure(server, corpus, Path(folder) / "rows.copy", arguments)
            with psycopg.connect(server.url()) as connection:
                version = connection.info.server_version // 10_000
    _print(figures, arguments.rows, version)
    return 0


def _measure(server: EmbeddedPostgres, corpus: Path, copy_file: Path, arguments: argparse.Namespace) -> Figures:
    figures = Figures()
    for round_no in range(arguments.rounds):
        with _database(server, "ours", arguments) as url:
            print(f"round {round_no + 1}: migrate", flush=True)
            result = command(url, "migrate", "--source", str(corpus), "--no-validate")
            stages = result["seconds_by_stage"]
            figures.ours.append(stages["load"] + stages["indexes"] + stages["account"])
            figures.whole.append(stages["plan"] + figures.ours[-1])
            figures.peak_mb = max(figures.peak_mb, result["peak_rss_mb"])
            compared = command(url, "validate", "--source", str(corpus))
            if compared["different"] or compared["unaccounted"]:
                raise SystemExit(f"the rows measured are not the rows of the source: {compared['verdict']}")
            figures.validation.append(compared["seconds"])
            if not copy_file.exists():
                _copy_out(url, copy_file)
                _save_catalogue(url, copy_file)
            if round_no == 0:
                figures.again.append(command(url, "migrate", "--source", str(corpus), "--no-validate")["seconds"])
        for method in ("lz4", "pglz"):
            with _database(server, "raw", None) as url:
                print(f"round {round_no + 1}: raw COPY, {method}", flush=True)
                figures.raw.setdefault(method, []).append(_raw_copy(url, copy_file, method))
    return figures


def command(url: str, *arguments: str) -> dict[str, Any]:
    """Run a command of ours on a database and return what it says."""
    environment = {**os.environ, "DATABASE_URL": url, "REPORTS_URI": tempfile.gettempdir()}
    done = subprocess.run(
        [sys.executable, "-m", "data_platform", *arguments, "--json"],
        env=environment,
        capture_output=True,
        check=False,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{arguments[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


@contextmanager
def _database(server: EmbeddedPostgres, name: str, arguments: argparse.Namespace | None) -> Iterator[str]:
    """A fresh database with our schema; with master data if arguments are given."""
    server.create_database(name)
    url = server.url(name)
    try:
        upgrade(url)
        if arguments is not None:
            for what, source in (("agencies", arguments.agencies), ("themes", arguments.themes)):
                command(url, f"populate-{what}", *(["--source", source] if source else []))
        yield url
    finally:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute("CHECKPOINT")


def _copy_out(url: str, copy_file: Path) -> None:
    """Write the loaded rows as one binary COPY file."""
    statement = f"COPY news ({_COLUMNS}) TO STDOUT (FORMAT BINARY)"
    with (
        psycopg.connect(url) as connection,
        copy_file.open("wb") as out,
        connection.cursor().copy(statement) as copy,
    ):
        for data in copy:
            out.write(data)


def _save_catalogue(url: str, copy_file: Path) -> None:
    with psycopg.connect(url) as connection:
        for table in ("agencies", "themes"):
            with connection.cursor().copy(f"COPY {table} TO STDOUT") as copy:
                copy_file.with_suffix(f".{table}").write_bytes(b"".join(bytes(data) for data in copy))


def _raw_copy(url: str, copy_file: Path, method: str) -> float:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE themes DISABLE TRIGGER USER")
        for table in ("agencies", "themes"):
            with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                copy.write(copy_file.with_suffix(f".{table}").read_bytes())
        for column in ("content", "summary"):
            connection.execute(f"ALTER TABLE news ALTER COLUMN {column} SET COMPRESSION {method}")
        started = time.monotonic()
        with (
            copy_file.open("rb") as rows,
            connection.cursor().copy(f"COPY news ({_COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy,
        ):
            while data := rows.read(_CHUNK):
                copy.write(data)
        return time.monotonic() - started


def sample_corpus(rows: int) -> Path:
    """Return a made-up corpus of so many rows, made if it is not there."""
    folder = state_path("bench") / f"corpus-{rows}"
    if not (folder / "planted.json").exists():
        print(f"making {rows:,} rows", flush=True)
        write_corpus(folder, rows)
    return folder


def _parse_seconds() -> float:
    """Seconds to parse all DAG files in a process that has imported airflow already."""
    script = (
        "import sys, time; sys.path[:0] = sys.argv[1:3]\n"
        "import airflow, airflow.sdk, airflow.models\n"
        "import importlib.util, pathlib\n"
        "started = time.monotonic()\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).glob('*.py')):\n"
        "    spec = importlib.util.spec_from_file_location(path.stem, path)\n"
        "    spec.loader.exec_module(importlib.util.module_from_spec(spec))\n"
        "print(time.monotonic() - started)"
    )
    folders = [str(REPOSITORY / name) for name in ("dags", "plugins")]
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-c", script, *folders],
            env={**os.environ, "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
            text=True,
        )
    return float(done.stdout.split()[-1])


def _print(figures: Figures, rows: int, version: int) -> None:
    ours, whole, compared = (statistics.median(x) for x in (figures.ours, figures.whole, figures.validation))
    raw = {method: statistics.median(seconds) for method, seconds in figures.raw.items()}
    parsing = _parse_seconds()
    print(f"\n{rows:,} rows, PostgreSQL {version}, {os.cpu_count()} cores, median of {len(figures.ours)} rounds")
    lines = [
        ("load / raw COPY, same compression (lz4)", ours / raw["lz4"], 1.3),
        ("load / raw COPY, server's default compression (pglz)", ours / raw["pglz"], 1.0),
        ("load with planning / raw COPY (lz4)", whole / raw["lz4"], None),
        ("validation / load", compared / ours, 0.8),
    ]
    for name, ratio, limit in lines:
        print(f"  {name:<56} {ratio:6.2f} x   {against(ratio, limit)}")
    print(f"  {'largest process':<56} {figures.peak_mb:6.0f} MB  {against(figures.peak_mb, 400)}")
    print(f"  {'parsing all DAG files, beyond import airflow':<56} {parsing:6.2f} s   {against(parsing, 2)}")
    for name, seconds in (
        ("load", ours),
        ("load with planning", whole),
        ("raw COPY, lz4", raw["lz4"]),
        ("raw COPY, pglz", raw["pglz"]),
        ("validation", compared),
        ("a second run, which changes nothing", statistics.median(figures.again)),
    ):
        print(f"  {name:<56} {seconds:6.1f} s   {rows / seconds:>9,.0f} rows/s")


def against(value: float, limit: float | None) -> str:
    """Say whether a figure keeps its limit."""
    if limit is None:
        return ""
    return f"{'met' if value <= limit else 'NOT MET'}: at most {limit:g}"


if __name__ == "__main__":
    sys.exit(main())
