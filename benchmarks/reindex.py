"""The index of searches: a full rebuild against a sink that only counts, and an incremental run; with memory.

    python -m benchmarks.reindex [--rows N] [--loaded N] [--corpus FOLDER]

The sink is Typesense's stand-in in a process of its own, which reads imports to their end and counts their lines. Each
measurement is a process of its own, whose largest memory is read from the kernel:

* *built and sent*: rows of a corpus, in batches of 2,000 as the change feed gives them, by `TypesenseIndex`. Rows are
  read from the disk meanwhile, gone through again until there are enough; seconds begin with the first batch.
* *from PostgreSQL*: the same from a database, by the change feed, with positions stored page by page.
* *incremental*: 2,000 rows got another summary; a whole run of the job, from its first question to its last. What it
  imports is told by itself, since a process pays for it once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.dataset import figure_line, in_child, peak_mb
from benchmarks.migration import ROWS, command, sample_corpus
from benchmarks.rebuild import COLLECTION, KEY, rate_line, send, write_rows
from dev.embedded_postgres import EmbeddedPostgres, system_postgres_bin
from dev.stand_in import run_apart

__all__ = ["Figures", "lines", "measure"]

CHANGED_ROWS = 2_000
_LEAST_PER_SECOND, _MOST_MB, _MOST_SECONDS = 15_000.0, 400.0, 2.0
_SINK = ("dev.typesense_server", "--sink", "--key", KEY)
_IMPORTED = ("httpx", "sqlalchemy", "alembic.script", "data_platform.managers.typesense.index")


@dataclass(frozen=True)
class Figures:
    """What was measured; each says rows, seconds and peak_mb, and what is its own.

    Attributes:
        sent: rows of a corpus, built and sent.
        filled: rows of PostgreSQL.
        incremental: rows that changed.
    """

    sent: dict[str, Any]
    filled: dict[str, Any]
    incremental: dict[str, Any]


def measure(corpus: Path, loaded: Path, rows: int) -> Figures:
    """Measure all three.

    Args:
        corpus: a dataset folder.
        loaded: the one that PostgreSQL gets.
        rows: how many to build and send.
    """
    # Not in /tmp: as root the server runs as another user, who may not pass there.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="govbr-bench-") as folder:
        Path(folder).chmod(0o711)
        file = Path(folder) / "rows.arrow"
        write_rows(corpus, file)
        with run_apart(*_SINK) as sink:
            sent = in_child("benchmarks.reindex", _environment(sink), "send", str(file), str(rows))
        postgres = EmbeddedPostgres(Path(folder) / "pg", bin_dir=system_postgres_bin(), bound=True)
        with postgres as server, run_apart(*_SINK) as sink:
            url = server.create_database("measured")
            for what in ("create-schema", "populate-agencies", "populate-themes"):
                command(url, what)
            command(url, "migrate", "--source", str(loaded), "--no-validate")
            environment = _environment(sink, DATABASE_URL=url, STATE_URI=str(Path(folder) / "state"))
            filled = in_child("benchmarks.reindex", environment, "fill")
            with psycopg.connect(url) as connection:
                connection.execute(
                    "UPDATE news SET summary = 'outro resumo ' || unique_id WHERE unique_id IN"
                    " (SELECT unique_id FROM news ORDER BY md5(unique_id) LIMIT %s)",
                    (CHANGED_ROWS,),
                )
            incremental = in_child("benchmarks.reindex", environment, "incremental")
    return Figures(sent, filled, incremental)


def _environment(sink: str, **more: str) -> dict[str, str]:
    port = sink.rpartition(":")[2]
    where = {"TYPESENSE_HOST": "127.0.0.1", "TYPESENSE_PORT": port, "TYPESENSE_API_KEY": KEY}
    return {**os.environ, **where, **more}


# --------------------------------------------------------------------------------- in processes of their own


def _send(file: str, rows: str) -> dict[str, Any]:
    from data_platform.managers.typesense.index import TypesenseIndex
    from data_platform.settings import Settings

    return send(TypesenseIndex.of(Settings.from_environment()), file, int(rows))


def _fill() -> dict[str, Any]:
    from data_platform.jobs.indexing.follow import Follower
    from data_platform.jobs.indexing.records import ReindexOptions
    from data_platform.jobs.progress import LogProgress
    from data_platform.managers.postgres.database import connect
    from data_platform.managers.search_index import Card
    from data_platform.managers.typesense.index import TypesenseIndex
    from data_platform.settings import Settings

    settings = Settings.from_environment()
    index = TypesenseIndex.of(settings)
    card = Card("postgres")
    index.create(COLLECTION, card)
    url, options = settings.require_database(), ReindexOptions(reader="typesense")
    with connect(url, purpose="reindex lock", autocommit=True) as lock:
        follower = Follower(index, url, options, LogProgress(), lock=lock)
        started = time.monotonic()
        follower.follow(COLLECTION, card, is_empty=True)
        seconds = time.monotonic() - started
    index.point(COLLECTION)
    index.close()
    return {"rows": follower.tally.written, "seconds": seconds}


def _incremental() -> dict[str, Any]:
    begun = time.monotonic()
    from data_platform.jobs.indexing.job import run_reindex
    from data_platform.jobs.indexing.records import ReindexOptions
    from data_platform.settings import Settings

    for name in _IMPORTED:
        import_module(name)
    imports_s, started = time.monotonic() - begun, time.monotonic()
    done = run_reindex(Settings.from_environment(), ReindexOptions(reader="typesense"))
    return {"rows": done.written, "seconds": time.monotonic() - started, "imports_s": imports_s}


def lines(figures: Figures) -> list[str]:
    """Return what was measured, against the limits."""
    sent, filled, incremental = figures.sent, figures.filled, figures.incremental
    alone = sent["seconds"] - sent["reading_s"]
    return [
        f"{sent['rows']:,} documents into a sink, {os.cpu_count()} cores",
        rate_line("built and sent, with reading a file", sent["rows"], sent["seconds"], _LEAST_PER_SECOND),
        rate_line("built and sent, without reading", sent["rows"], alone),
        figure_line("processor for 1,000 documents", sent["cpu_s"] / sent["rows"] * 1e6, "ms"),
        figure_line("largest memory", sent["peak_mb"], "MB", _MOST_MB),
        rate_line(f"from PostgreSQL ({filled['rows']:,} rows)", filled["rows"], filled["seconds"]),
        figure_line("from PostgreSQL, largest memory", filled["peak_mb"], "MB", _MOST_MB),
        figure_line(f"incremental, {incremental['rows']:,} changes", incremental["seconds"], "s", _MOST_SECONDS),
        figure_line("incremental, what it imports", incremental["imports_s"], "s"),
        figure_line("incremental, largest memory", incremental["peak_mb"], "MB", _MOST_MB),
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=ROWS, help="documents to send (default: %(default)s)")
    parser.add_argument("--loaded", type=int, default=20_000, help="rows of the database (default: %(default)s)")
    parser.add_argument("--corpus", type=Path, help="a dataset folder to send instead of our own made-up one")
    parser.add_argument("--do", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.do:
        what, *more = arguments.do
        told = {"send": _send, "fill": _fill, "incremental": _incremental}[what](*more)
        print(json.dumps({**told, "peak_mb": peak_mb()}))
        return 0
    loaded = sample_corpus(arguments.loaded)
    print("\n".join(lines(measure(arguments.corpus or loaded, loaded, arguments.rows))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
