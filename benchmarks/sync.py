"""The daily sync from PostgreSQL to the dataset: seconds by stage, memory, bytes stored; against the stand-in Hub.

    python -m benchmarks.sync [--rows N] [--corpus FOLDER --agencies FILE --themes FILE] [--mode lfs|xet]

A corpus in the legacy layout is put into the stand-in, which runs in a process of its own, and loaded into PostgreSQL
by the real migration. Then, each in a process of its own whose largest memory is read from the kernel:

* the first sync, which takes the legacy dataset over and accounts for every row of it;
* by turns, a full sync, in which nothing differs, and what pyarrow needs to write the same files from memory;
* for three months of usual size and for the three fullest: 2,000 of their rows get other themes and another summary
  through PostgresManager, and an incremental sync publishes them;
* an incremental sync with nothing to publish; the verification of everything.

Medians of the rounds are compared. Seconds begin when the job begins, the Hub's client and SQLAlchemy being imported:
what these take is told by itself, since a process pays for it once. Transfer is the time within uploads; the stand-in
is on loopback, so in earnest that is the line's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
from psycopg import sql

from benchmarks.dataset import DATASET, figure_line, hub_environment, hub_server, in_child, peak_mb
from benchmarks.migration import ROWS, command, sample_corpus
from dev.embedded_postgres import EmbeddedPostgres, system_postgres_bin

__all__ = ["Figures", "Incremental", "lines", "measure"]

CHANGED_ROWS = 2_000
MONTHS = ("2024-05", "2024-06", "2024-07")
_LIMITS = {"incremental_s": 3.0, "nothing_s": 1.0, "mb": 400.0, "full": 2.0, "stored": 0.02}
#: As PostgreSQL is in production: what else it has there, a machine of one's own has too.
_SETTINGS = {"work_mem": "2560kB"}
_TEMPLATE = "loaded"
#: What a job imports by and by.
_IMPORTED = ("sqlalchemy", "alembic.runtime.migration", "alembic.script", "huggingface_hub.hf_api")

Told = dict[str, Any]


@dataclass(frozen=True)
class Incremental:
    """Incremental syncs of changes in the same months.

    Attributes:
        months: those that rows were changed in.
        changed: rows that were changed before each round.
        told: what each round's sync says (`SyncOutcome`), its largest memory, its seconds of transfer and imports, and
            as `stored_share` the bytes that it added to the store, for both datasets, as a share of the main one.
    """

    months: Sequence[str]
    changed: int
    told: Sequence[Told]

    @property
    def month_rows(self) -> int:
        """Rows of these months."""
        return sum(self.told[0]["partitions"].values())


@dataclass(frozen=True)
class Figures:
    """What was measured.

    Attributes:
        mode: how files are stored, "lfs" or "xet".
        rows: rows of the dataset.
        dataset_bytes: bytes that all files of the main dataset take up.
        takeover: what the first sync says.
        full: what each full sync says.
        pyarrow: what pyarrow needed to write the same files, by turns with the full syncs.
        incremental: for three months of usual size, and for the three fullest.
        nothing: what each sync with nothing to publish says.
        verified: what the verification says.
    """

    mode: str
    rows: int
    dataset_bytes: int
    takeover: Told
    full: Sequence[Told]
    pyarrow: Sequence[Told]
    incremental: Sequence[Incremental]
    nothing: Sequence[Told]
    verified: Told

    @property
    def full_ratio(self) -> float:
        """A full sync's seconds without transfer to pyarrow's, medians of both."""
        return _median(map(_without_transfer, self.full)) / _median(done["seconds"]["total"] for done in self.pyarrow)

    @property
    def full_cpu_ratio(self) -> float:
        """The same of the processor's seconds, which other work on the machine changes less; without the server's."""
        return _median(done["cpu_seconds"] for done in self.full) / _median(
            done["cpu_seconds"] for done in self.pyarrow
        )


def measure(
    server: EmbeddedPostgres,
    corpus: Path,
    *,
    mode: str,
    months: Sequence[str] = MONTHS,
    changed: int = CHANGED_ROWS,
    rounds: int = 3,
    themes: str = "",
) -> Figures:
    """Measure the sync between a loaded database and a dataset in the legacy layout.

    Args:
        server: has the corpus in the database that `load` made.
        corpus: a folder in the legacy layout.
        mode: "lfs" or "xet".
        months: of usual size, YYYY-MM.
        changed: rows that change before an incremental sync.
        rounds: how often a sync is measured, but the first one.
        themes: themes_tree.yaml that fits the corpus.
    """
    from dev.hub_server import HubStore  # here and below: the process that is measured imports what a task does

    files = sorted((corpus / "data").glob("train*.parquet"))
    with tempfile.TemporaryDirectory(prefix="govbr-bench-sync-", dir="/var/tmp") as folder, _copy(server) as url:
        scratch = Path(folder)
        with hub_server(scratch / "hub", files, mode) as endpoint:
            store = HubStore(scratch / "hub")
            environment = hub_environment(endpoint, scratch / "home", mode) | {
                "DATABASE_URL": url,
                "STATE_URI": str(scratch / "state"),
                "THEMES_SOURCE": themes,
                "TMPDIR": folder,
            }

            def do(what: str) -> Told:
                print(f"{mode}: {what}", flush=True)
                return in_child("benchmarks.sync", environment, what)

            takeover = do("incremental")
            size = sum(file.size for file in store.files(DATASET, str(store.resolve(DATASET, "main"))).values())
            full, pyarrow = [], []
            for _ in range(rounds):
                pyarrow.append(do("pyarrow"))
                full.append(do("full"))
            incremental = []
            for group in (months, _fullest(url, len(months))):
                told = []
                for round_no in range(rounds):
                    given = _change(url, group, changed, seed=str(round_no))
                    before = store.stored_bytes()
                    told.append(do("incremental"))
                    told[-1]["stored_share"] = (store.stored_bytes() - before) / size
                incremental.append(Incremental(group, given, told))
            nothing = [do("incremental") for _ in range(rounds)]
            verified = do("verify")
    figures = Figures(
        mode=mode,
        rows=sum(pq.read_metadata(file).num_rows for file in files),
        dataset_bytes=size,
        takeover=takeover,
        full=full,
        pyarrow=pyarrow,
        incremental=incremental,
        nothing=nothing,
        verified=verified,
    )
    _require_done(figures)
    return figures


def _require_done(figures: Figures) -> None:
    """Refuse figures of syncs that did not do what they were measured for."""
    wrong = [
        f"{told['changed_rows']} rows of {len(told['uploaded'])} months were published, not {done.changed}"
        for done in figures.incremental
        for told in done.told
        if told["changed_rows"] != done.changed or len(told["uploaded"]) != len(done.months)
    ]
    wrong += ["a full sync uploaded something" for told in figures.full if told["uploaded"]]
    wrong += ["there was something to publish" for told in figures.nothing if told["committed"]]
    wrong += [] if figures.verified["passed"] else ["the dataset is not what PostgreSQL has"]
    if wrong:
        raise SystemExit(f"not measured: {'; '.join(wrong)}")


# ------------------------------------------------------------------------------------- PostgreSQL


def load(server: EmbeddedPostgres, corpus: Path, *, agencies: str = "", themes: str = "") -> None:
    """Load a corpus by the real migration, into a database that measurements copy."""
    server.create_database(_TEMPLATE)
    url = server.url(_TEMPLATE)
    command(url, "create-schema")
    for what, source in (("agencies", agencies), ("themes", themes)):
        command(url, f"populate-{what}", *(["--source", source] if source else []))
    command(url, "migrate", "--source", str(corpus), "--no-validate")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE) news")  # as the server does by itself, some time later


@contextmanager
def _copy(server: EmbeddedPostgres) -> Iterator[str]:
    """A database as the migration left it."""
    name = "measured"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(_TEMPLATE)))
    try:
        yield server.url(name)
    finally:
        server.drop_database(name)


def _fullest(url: str, count: int) -> list[str]:
    statement = "SELECT to_char(published_date, 'YYYY-MM') FROM news GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT %s"
    with psycopg.connect(url) as connection:
        return sorted(month for (month,) in connection.execute(statement, (count,)))


_CHOSEN = """
SELECT chosen.unique_id, other.summary || ' ' || %(seed)s, theme.codes
  FROM (SELECT unique_id, row_number() OVER (ORDER BY md5(unique_id || %(seed)s)) AS place
          FROM news WHERE to_char(published_date, 'YYYY-MM') = ANY (%(months)s)) AS chosen
  JOIN (SELECT summary, row_number() OVER () AS place
          FROM (SELECT summary FROM news
                 WHERE summary IS NOT NULL AND to_char(published_date, 'YYYY-MM') <> ALL (%(months)s)
                 ORDER BY md5(unique_id || %(seed)s) LIMIT %(rows)s) AS drawn) AS other USING (place)
 CROSS JOIN LATERAL (
       SELECT ARRAY[one.code, two.code, three.code] AS codes
         FROM themes three JOIN themes two ON two.code = three.parent_code JOIN themes one ON one.code = two.parent_code
        WHERE three.level = 3 ORDER BY md5(three.code || chosen.unique_id || %(seed)s) LIMIT 1) AS theme
 WHERE chosen.place <= %(rows)s
"""


def _change(url: str, months: Sequence[str], rows: int, *, seed: str) -> int:
    """Give rows of some months other themes and another summary, as the enrichment does; return how many changed."""
    import pandas as pd

    from data_platform.managers.postgres_manager import PostgresManager

    with psycopg.connect(url) as connection:
        found = connection.execute(_CHOSEN, {"months": list(months), "rows": rows, "seed": seed}).fetchall()
    levels = [f"theme_1_level_{level}_code" for level in (1, 2, 3)]
    frame = pd.DataFrame(
        [(uid, summary, *codes) for uid, summary, codes in found], columns=["unique_id", "summary", *levels]
    )
    manager = PostgresManager(url)
    try:
        return manager.update(frame)
    finally:
        manager.close()


# ------------------------------------------------------------------------------ what is measured


def _do(what: str) -> int:
    """Do one step, as a task would, and print what it took."""
    told = _write_with_pyarrow() if what == "pyarrow" else _job(what)
    print(json.dumps(told | {"peak_mb": peak_mb()}, default=str))
    return 0


def _job(what: str) -> Told:
    from data_platform.jobs.hf_sync.records import SyncOptions
    from data_platform.jobs.hf_sync.sync_job import HuggingFaceSyncJob
    from data_platform.managers.hub.repository import HubRepository
    from data_platform.managers.storage_mode import resolve_storage_mode
    from data_platform.settings import Settings

    started = time.monotonic()
    for module in _IMPORTED:
        import_module(module)
    imports = time.monotonic() - started
    transfer: list[float] = []
    upload = HubRepository.upload

    def timed(self: HubRepository, contents: Any) -> Any:  # noqa: ANN401 - handed on
        started = time.monotonic()
        try:
            return upload(self, contents)
        finally:
            transfer.append(time.monotonic() - started)

    HubRepository.upload = timed  # type: ignore[method-assign]
    mode = resolve_storage_mode(run_parameters={"storage_backend": "postgres", "storage_read_from": "postgres"})
    busy = time.process_time()
    job = HuggingFaceSyncJob(Settings.from_environment(), mode, options=SyncOptions(full=what == "full"))
    told = job.verify().to_dict() if what == "verify" else job.run().to_dict()
    told["cpu_seconds"] = time.process_time() - busy
    return told | {"transfer_seconds": sum(transfer), "imports_seconds": imports}


def _write_with_pyarrow() -> Told:
    """Write the dataset's files as the sync does, from rows that are in memory, and time nothing but that."""
    from data_platform.managers.dataset_manager import DatasetManager
    from data_platform.managers.hub.layout import _ROW_GROUP_ROWS, _writer
    from data_platform.managers.hub.state import Snapshot

    snapshot = Snapshot.of(DatasetManager().repository)
    seconds = busy = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for path in snapshot.layout.partitions:
            local = snapshot.reader.download(snapshot.files[path], Path(folder) / "read.parquet")
            rows = pq.read_table(local, use_threads=False).replace_schema_metadata(None).combine_chunks()
            started, before = time.monotonic(), time.process_time()
            with _writer(Path(folder) / "written.parquet", rows.schema) as writer:
                writer.write_table(rows, row_group_size=_ROW_GROUP_ROWS)
            seconds, busy = seconds + time.monotonic() - started, busy + time.process_time() - before
    return {"seconds": {"total": seconds}, "cpu_seconds": busy}


# ---------------------------------------------------------------------------------------- printing


def lines(figures: Figures) -> list[str]:
    """Return what was measured, against the limits."""
    told = [f"{figures.rows:,} rows, {figures.dataset_bytes / 1e6:,.0f} MB by {figures.mode}, {os.cpu_count()} cores"]
    told += [_line("first sync, which takes the legacy dataset over", figures.takeover["seconds"]["total"], "s")]
    told += [_line("  largest memory", figures.takeover["peak_mb"], "MB"), _stages(figures.takeover)]
    told += [_line("full sync, nothing differs / pyarrow writes the same", figures.full_ratio, "x", "full")]
    told += [_line("  full sync", _median(map(_without_transfer, figures.full)), "s")]
    told += [_line("  pyarrow", _median(done["seconds"]["total"] for done in figures.pyarrow), "s")]
    told += [_line("  processor's seconds of both processes, as a ratio", figures.full_cpu_ratio, "x")]
    told += [_line("  largest memory", max(done["peak_mb"] for done in figures.full), "MB", "mb")]
    told += map(_stages, figures.full)
    for group in figures.incremental:
        told.append(f"  {group.changed:,} rows in {', '.join(group.months)}, which have {group.month_rows:,}:")
        without = _median(map(_without_transfer, group.told))
        told.append(_line("  incremental sync, without transfer", without, "s", "incremental_s"))
        told.append(_line("  transfer", _median(done["transfer_seconds"] for done in group.told), "s"))
        told.append(_line("  largest memory", max(done["peak_mb"] for done in group.told), "MB", "mb"))
        share = 100 * max(done["stored_share"] for done in group.told)
        told.append(_line("  bytes stored / dataset", share, "%", "stored" if figures.mode == "xet" else None))
        told += map(_stages, group.told)
    told.append(_line("nothing to publish", _median(map(_without_transfer, figures.nothing)), "s", "nothing_s"))
    told.append(_line("  largest memory", max(done["peak_mb"] for done in figures.nothing), "MB", "mb"))
    told += map(_stages, figures.nothing)
    told.append(_line("imports before any of these", _median(n["imports_seconds"] for n in figures.nothing), "s"))
    told.append(_line("verification of everything", figures.verified["seconds"], "s"))
    told.append(_line("  largest memory", figures.verified["peak_mb"], "MB"))
    return told


def _line(name: str, value: float, unit: str, limit: str | None = None) -> str:
    scale = 100 if unit == "%" else 1
    return figure_line(name, value, unit, scale * _LIMITS[limit] if limit else None)


def _stages(told: Told) -> str:
    stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in told["seconds"].items())
    return f"      seconds: {stages}; transfer {told['transfer_seconds']:.2f}; processor {told['cpu_seconds']:.2f}"


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _without_transfer(told: Told) -> float:
    return float(told["seconds"]["total"] - told["transfer_seconds"])


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=3, help="how often a sync is measured (default: %(default)s)")
    parser.add_argument("--corpus", type=Path, help="a dataset folder to use instead of our own made-up one")
    parser.add_argument("--agencies", default="", help="agencies.yaml that fits the corpus")
    parser.add_argument("--themes", default="", help="themes_tree.yaml that fits the corpus (default: the one in it)")
    parser.add_argument("--mode", choices=["lfs", "xet"], action="append", help="how files are stored (default: both)")
    parser.add_argument("--months", nargs="+", default=MONTHS, help="months of usual size (default: %(default)s)")
    parser.add_argument("--changed", type=int, default=CHANGED_ROWS, help="rows that change (default: %(default)s)")
    parser.add_argument("--do", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.do:
        return _do(arguments.do)
    corpus = arguments.corpus or sample_corpus(arguments.rows)
    own = corpus.absolute() / "themes_tree.yaml"
    themes = arguments.themes or (str(own) if own.exists() else "")
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="govbr-bench-") as folder:
        Path(folder).chmod(0o711)
        postgres = EmbeddedPostgres(data_dir=Path(folder) / "data", bin_dir=system_postgres_bin(), settings=_SETTINGS)
        with postgres as server:
            print("loading", flush=True)
            load(server, corpus, agencies=arguments.agencies, themes=themes)
            for mode in arguments.mode or ["lfs", "xet"]:
                options = {"months": arguments.months, "changed": arguments.changed, "rounds": arguments.rounds}
                print("\n".join(lines(measure(server, corpus, mode=mode, themes=themes, **options))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
