"""The steps of a migration, in order: one code for the command line and for the DAG.

Each step reads what it needs from the run's record, so that any process can do any step, again if need be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from data_platform.errors import IntegrityError, StoreError
from data_platform.failpoints import failpoint
from data_platform.jobs.migration import indexes, validation
from data_platform.jobs.migration.account import Account, close_account
from data_platform.jobs.migration.comparison import compare_source
from data_platform.jobs.migration.load import SegmentLoader
from data_platform.jobs.migration.plan import plan_run
from data_platform.jobs.migration.records import MigrationOptions, Run, Segment, read_run, read_segments
from data_platform.jobs.migration.report import write_report
from data_platform.jobs.migration.report_data import report_of
from data_platform.jobs.migration.validation import ValidationResult
from data_platform.jobs.migration.workers import load_in_worker, pool
from data_platform.jobs.progress import Clock, LogProgress, Progress, peak_rss_mb
from data_platform.managers.postgres.database import connect, server_info, take_session_lock, translate_errors
from data_platform.managers.postgres.news_table import Catalogue
from data_platform.schema import require_current
from data_platform.settings import Settings
from data_platform.sources.dataset import open_source, reopen

__all__ = ["MigrationJob", "Outcome"]

#: Held alone while planning (and by the command line from start to end), shared by every other step.
_MIGRATION_KEY = 7_202_611_002


@dataclass(frozen=True)
class Outcome:
    """A finished migration.

    Attributes:
        seconds: by stage, and "total".
        peak_rss_mb: of the largest process of ours, in MB.
        report: where the report lies.
    """

    run: Run
    account: Account
    validation: ValidationResult | None
    seconds: dict[str, float]
    peak_rss_mb: float
    report: str

    @property
    def needs_attention(self) -> bool:
        """Whether someone should look before going on."""
        return self.validation is not None and not self.validation.passed


class MigrationJob:
    """One migration; see the methods for its steps, `run` for all of them."""

    def __init__(self, settings: Settings, options: MigrationOptions, *, progress: Progress | None = None) -> None:
        """Prepare; nothing is opened yet."""
        self.settings = settings
        self.options = options
        self.progress: Progress = progress or LogProgress()

    def check_ends(self) -> dict[str, Any]:
        """Look whether both ends can be used at all; return what was seen.

        Raises:
            DataPlatformError: typed, with what to do, for the first thing that stands in the way.
        """
        with self._connect("preflight") as connection, translate_errors():
            server = server_info(connection)
            if server.read_only:
                raise StoreError(
                    "the database is read-only", hint="point DATABASE_URL at the primary, not at a replica"
                )
        source = open_source(self.options.source, settings=self.settings)
        for note in source.snapshot.notes:
            self.progress.note(note)
        return {
            "server": server.version,
            "lz4": server.has_lz4,
            "database_bytes": server.data_bytes,
            "source_rows": source.snapshot.rows,
            "source_bytes": sum(file.size for file in source.snapshot.files),
            "revision": source.snapshot.revision,
            "notes": list(source.snapshot.notes),
        }

    def preflight(self) -> dict[str, Any]:
        """Look at both ends and at what must be in the database before rows can come.

        Raises:
            DataPlatformError: typed, with what to do, for the first thing that stands in the way.
        """
        seen = self.check_ends()
        require_current(self.settings.require_database())
        with self._connect("preflight") as connection, translate_errors():
            Catalogue.read(connection)
            _require_rights(connection)
        return seen

    def plan(self, connection: Connection[Any] | None = None) -> Run:
        """Plan, or find the unfinished run of the same source; see `plan.plan_run`."""
        source = open_source(self.options.source, settings=self.settings)
        self.progress.stage("reading keys", source.snapshot.rows)
        done = 0

        def advance(rows: int) -> None:
            nonlocal done
            self.progress.advance(rows - done)
            done = rows

        if connection is not None:
            with translate_errors():
                return plan_run(connection, source, self.options, on_progress=advance)
        with self._connect("plan") as own, translate_errors():
            _lock(own, shared=False)
            return plan_run(own, source, self.options, on_progress=advance)

    def planned(self) -> dict[str, Any]:
        """Look at both ends, plan, and return the run with its segments as plain data."""
        self.preflight()
        run = self.plan()
        with self._connect("plan") as connection:
            segments = [{"number": s.number, "label": s.label} for s in read_segments(connection, run.id)]
        self.progress.note(f"migration {run.id} ({run.mode}): {run.snapshot.rows:,} rows in {len(segments)} segments")
        return {"run_id": run.id, "mode": run.mode, "dry_run": run.dry_run, "segments": segments}

    def load(self, run_id: int, number: int) -> Segment:
        """Load one segment; see `SegmentLoader.load`."""
        with self._working("load") as connection:
            run = read_run(connection, run_id)
            loader = SegmentLoader(connection, run, reopen(run.snapshot, settings=self.settings))
            return loader.load(number, on_wait=lambda: self.progress.note("waiting: as many segments load as allowed"))

    def build_indexes(self, run_id: int) -> list[dict[str, Any]]:
        """Build what planning took off; see `indexes.put_on`."""
        with self._working("index") as connection:
            run = read_run(connection, run_id)
            connection.commit()
            self.progress.stage("keys, indexes and foreign keys", len(run.deferred))

            def built(item: dict[str, Any]) -> None:
                self.progress.advance(1)
                self.progress.note(f"{item['name']} is on after {item['seconds']:.1f} s")

            return indexes.put_on(connection, run, on_built=built)

    def account(self, run_id: int) -> Account:
        """Close the account; see `account.close_account`."""
        with self._working("account") as connection:
            account = close_account(connection, read_run(connection, run_id))
        self.progress.note(account.equation())
        return account

    def validate(self, run_id: int, *, parallel: int = 1) -> ValidationResult | None:
        """Compare the source as planned with the table; None for a dry run, which loaded nothing."""
        with self._working("validate") as connection:
            run = read_run(connection, run_id)
            connection.commit()
            if run.dry_run:
                return None
            source = reopen(run.snapshot, settings=self.settings)
            result = compare_source(self.settings, connection, source, parallel, self.progress)
            validation.store_validation(connection, result, run_id=run_id)
        return result

    def report(self, run_id: int) -> str:
        """Write the report of a run and mark the run done; return where the report lies."""
        with self._working("report") as connection:
            run = read_run(connection, run_id)
            segments = read_segments(connection, run_id)
            server = server_info(connection).version
            connection.commit()
            failpoint("report.before_write")
            place = write_report(report_of(run, segments, server_version=server), reports_uri=self.settings.reports_uri)
            failpoint("finish.before_done")
            connection.execute(
                "UPDATE load_runs SET status = 'done', finished_at = coalesce(finished_at, now()) WHERE id = %s"
                " AND status = 'loading'",
                (run_id,),
            )
            connection.commit()
        return place

    def summary(self, run_id: int) -> dict[str, Any]:
        """Return account, validation and seconds of a run, small enough for a task to hand on."""
        with self._connect("report") as connection:
            run = read_run(connection, run_id)
        compared = dict(run.validation or {})
        compared["differences"] = compared.get("differences", [])[:10]
        seconds = (run.finished_at - run.started_at).total_seconds() if run.finished_at else None
        return {
            "run_id": run.id,
            "mode": run.mode,
            "dry_run": run.dry_run,
            "account": run.account,
            "validation": compared if run.validation else None,
            "seconds": seconds,
        }

    def require_equal(self, summary: Mapping[str, Any]) -> str:
        """Return the verdict of a run.

        Raises:
            IntegrityError: source and table differ.
        """
        compared = summary["validation"]
        if compared is None:
            return "dry run: nothing was loaded, nothing compared"
        if compared["verdict"] == validation.DIFFERENT:
            raise IntegrityError(
                f"source and table differ: {compared['different']:,} rows differ, {compared['unaccounted']:,} are lost,"
                f" {compared['only_in_target']:,} are in the table only",
                hint=f"do not switch to this database; each difference is named in {summary['report']}",
            )
        return str(compared["verdict"])

    def run(self, *, validate: bool = True) -> Outcome:
        """Do all steps, with `parallel` worker processes.

        Raises:
            BusyError: another migration is at work.
            IntegrityError: too many rejects, or the account does not balance.
        """
        clock = Clock()
        with self._connect("migrate") as alone, translate_errors():
            self.preflight()
            clock.lap("preflight")
            _lock(alone, shared=False)
            run = self.plan(alone)
            alone.commit()
            clock.lap("plan")
            peak = self._load_all(run)
            clock.lap("load")
            _lock_down(alone)
            self.build_indexes(run.id)
            clock.lap("indexes")
            account = self.account(run.id)
            clock.lap("account")
            result = self.validate(run.id, parallel=self.options.parallel) if validate else None
            clock.lap("validate")
            place = self.report(run.id)
            with self._connect("migrate") as connection:
                run = read_run(connection, run.id)
        return Outcome(
            run, account, result, clock.seconds(), max(peak, peak_rss_mb(), peak_rss_mb(children=True)), place
        )

    def _load_all(self, run: Run) -> float:
        with self._connect("migrate") as connection:
            todo = [s for s in read_segments(connection, run.id) if s.status != "done"]
        self.progress.stage("loading rows", sum(segment.rows for segment in todo))
        if run.options.parallel == 1 or len(todo) <= 1:
            with self._connect("load") as connection:
                loader = SegmentLoader(connection, run, reopen(run.snapshot, settings=self.settings))
                for segment in todo:
                    loader.load(segment.number)
                    self.progress.advance(segment.rows)
            return 0.0
        with pool(run.options.parallel, self.settings) as workers:
            futures = {workers.submit(load_in_worker, run.id, s.number): s for s in todo}
            peak = 0.0
            for future in as_completed(futures):
                peak = max(peak, future.result())
                self.progress.advance(futures[future].rows)
        return peak

    def _connect(self, purpose: str) -> Connection[Any]:
        return connect(
            self.settings.require_database(), purpose=purpose, statement_timeout_s=self.settings.statement_timeout_s
        )

    @contextmanager
    def _working(self, purpose: str) -> Iterator[Connection[Any]]:
        """A connection that holds the migration's lock together with other steps of the run."""
        with self._connect(purpose) as connection, translate_errors():
            _lock(connection, shared=True)
            yield connection


def _lock(connection: Connection[Any], *, shared: bool) -> None:
    take_session_lock(connection, _MIGRATION_KEY, "another migration is at work on this database", shared=shared)
    connection.commit()


def _lock_down(connection: Connection[Any]) -> None:
    """Turn the lock held alone into a shared one: the remaining steps connect for themselves."""
    connection.execute("SELECT pg_advisory_lock_shared(%s)", (_MIGRATION_KEY,))
    connection.execute("SELECT pg_advisory_unlock(%s)", (_MIGRATION_KEY,))
    connection.commit()


def _require_rights(connection: Connection[Any]) -> None:
    row = connection.execute(
        "SELECT pg_has_role(relowner, 'USAGE'), has_table_privilege('news', 'INSERT'), relowner::regrole::text,"
        " current_user FROM pg_class WHERE oid = 'news'::regclass"
    ).fetchone()
    if row is None or not (row[0] and row[1]):
        owner = row[2] if row else "its owner"
        raise StoreError(
            f"user {row[3] if row else ''} may not load the table news",
            hint=f"run the migration as {owner}: keys and indexes are taken off and put on again",
        )
