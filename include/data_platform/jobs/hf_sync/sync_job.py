"""The daily sync: the open dataset on the Hub follows PostgreSQL (DESIGN §5).

    python -m data_platform.jobs.hf_sync.sync_job --incremental

A sync reads from the change feed which months have changes, writes those months whole from one snapshot of PostgreSQL,
commits all of it at once, proves what it published, lets the reduced dataset follow, and only then marks the rows and
stores its position, in one transaction. Killed anywhere, the next one repeats what is missing: a month is a pure
function of its rows, so what is there already is not uploaded again.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from data_platform.errors import ConfigurationError, DataPlatformError, IntegrityError
from data_platform.failpoints import failpoint
from data_platform.jobs.hf_sync.months import MonthFiles
from data_platform.jobs.hf_sync.plan import Sides, SyncPlan, few, make_plan, require_allowed, require_complete
from data_platform.jobs.hf_sync.proof import prove, prove_reduced
from data_platform.jobs.hf_sync.published import Published, stamp_line
from data_platform.jobs.hf_sync.records import CONSUMER, OtherModeError, SyncOptions, SyncOutcome, require_lead
from data_platform.jobs.hf_sync.verification import Look, Verification, verify
from data_platform.jobs.progress import Clock, LogProgress, Progress, peak_rss_mb
from data_platform.managers.dataset_manager import RACE, DatasetManager
from data_platform.managers.hub.layout import NO_ROWS, UNDATED, data_files, stray_files
from data_platform.managers.hub.publish import publish
from data_platform.managers.hub.scratch import scratch_folder
from data_platform.managers.hub.session import HeadMovedError
from data_platform.managers.hub.state import Snapshot
from data_platform.managers.ledger.entry import LedgerEntry, SideRecord, Status, new_entry_id
from data_platform.managers.ledger.run_ledger import SYNC, RunLedger
from data_platform.managers.postgres.change_feed import ChangeFeed, Window
from data_platform.managers.postgres.database import (
    connect,
    require_no_bulk_load,
    take_session_lock,
    translate_errors,
)
from data_platform.managers.postgres.feed_health import Lag
from data_platform.managers.postgres.news_snapshot import NewsSnapshot
from data_platform.managers.postgres.sync_marks import mark_window
from data_platform.managers.storage_mode import ReadSource, StorageMode
from data_platform.models.columns import PUBLISHED_SCHEMA
from data_platform.models.days import utc_now
from data_platform.schema import require_current
from data_platform.settings import Settings

__all__ = ["HuggingFaceSyncJob"]

_LOG = logging.getLogger(__name__)
_SYNC_KEY = 7_202_611_003


class HuggingFaceSyncJob:
    """Brings the open dataset up to PostgreSQL.

    Args:
        settings: database, Hub, ledger.
        mode: which stores are written; a sync acts in mode `postgres` only.
        mode_now: says the same at any later moment: somebody may roll back while a run waits, or before it is tried
            again. None: the mode stays what it is, as on a shell.
        options: what it shall do.
        run_date: the São Paulo day that it is for, for the ledger.
        started_by: who started it, for the ledger.
        progress: told how it gets on.
        manager: the dataset; None takes that of the settings.
    """

    def __init__(
        self,
        settings: Settings,
        mode: StorageMode,
        *,
        mode_now: Callable[[], StorageMode] | None = None,
        options: SyncOptions | None = None,
        run_date: date | None = None,
        started_by: str = "",
        progress: Progress | None = None,
        manager: DatasetManager | None = None,
    ) -> None:
        self.settings = settings
        self.mode = mode
        self._mode_now = mode_now or (lambda: mode)
        self.options = options or SyncOptions()
        self.run_date = run_date
        self.started_by = started_by
        self._progress: Progress = progress or LogProgress()
        self._manager = manager or DatasetManager(settings=settings)

    def run_incremental_sync(self) -> SyncOutcome:
        """Publish what changed since the last sync; see `run`."""
        return self._run(replace(self.options, full=False))

    def run_full_sync(self) -> SyncOutcome:
        """Publish every month anew, and account for every row that was published; see `run`."""
        return self._run(replace(self.options, full=True, months=()))

    def run(self) -> SyncOutcome:
        """Do what the options say.

        Raises:
            OtherModeError: the mode is not `postgres`, or is not any more; nothing was written.
            ConfigurationError: dataset and token were not set on purpose.
            IntegrityError: others changed the dataset, rows would go that nobody deleted, PostgreSQL lacks writes that
                the dataset was given, a row cannot be expressed in the published types, or what was published is not
                what it should be.
            BusyError: another sync, or a migration, is at work.
            StoreError, StoreUnavailableError: PostgreSQL or the Hub refuses, or does not answer.
        """
        return self._run(self.options)

    def verify(self) -> Verification:
        """Compare everything that is published with PostgreSQL, row by row; see `verification`.

        Raises:
            OtherModeError: the mode is not `postgres`.
            ConfigurationError: nothing was synced yet, or the next sync has to read everything anew (another server).
            BusyError: a sync, or a migration, is at work.
            StoreError, StoreUnavailableError: PostgreSQL or the Hub refuses, or does not answer.
        """
        started, clock = utc_now(), Clock()
        self._require_mode()
        url = self.settings.require_database()
        manager = self._manager
        with self._alone(), ChangeFeed(url, consumer=CONSUMER) as feed, scratch_folder() as folder:
            window = feed.open_window(read_only=True)
            if window.resync_reason is not None:  # else every difference would count as waiting
                raise ConfigurationError(
                    f"what differs cannot be told from what waits: {window.resync_reason}", hint="run sync-hf first"
                )
            main = Snapshot.of(manager.repository)
            if main.layout.legacy:
                raise ConfigurationError(f"{manager.repository} is in the legacy layout", hint="run sync-hf first")
            reduced = Snapshot.of(manager.reduced.repository) if manager.reduced else None
            timeout = self.settings.statement_timeout_s
            with NewsSnapshot(url, purpose="verification", statement_timeout_s=timeout) as news:
                look = Look(news, main, reduced, manager.state(main, folder), folder)
                found = verify(look, position=window.start[0], progress=self._progress)
        seconds = clock.seconds()["total"]
        found = replace(found, seconds=seconds, peak_rss_mb=peak_rss_mb())
        for line in found.lines():
            _LOG.info("%s", line)
        side = SideRecord(status=Status.SUCCEEDED, counts=found.counts)
        self._record("verify", started, side, {"commit": found.commit, "passed": found.passed})
        return found

    def lag(self) -> Lag:
        """Say what of PostgreSQL waits to be published."""
        with ChangeFeed(self.settings.require_database(), consumer=CONSUMER) as feed:
            return feed.lag()

    # ------------------------------------------------------------------------------------------------

    def _run(self, options: SyncOptions) -> SyncOutcome:
        started, clock = utc_now(), Clock()
        self._require_mode()
        if options.dry_run:
            return self._told(self._attempts(options, clock), clock)
        self._manager.require_purpose()
        try:
            with self._alone():
                outcome = self._told(self._attempts(options, clock), clock)
        except OtherModeError:  # nothing failed: somebody rolled back
            raise
        except Exception as error:
            try:
                self._record(options.kind, started, SideRecord.failed(error), {})
            except DataPlatformError as other:
                error.add_note(f"and it is not in the run ledger: {other}")
            raise
        side = SideRecord(status=Status.SUCCEEDED, counts=outcome.counts)
        facts = {name: getattr(outcome, name) for name in ("commit", "reduced_commit", "reason", "stamp")}
        self._record(outcome.kind, started, side, facts)
        return outcome

    def _require_mode(self) -> None:
        require_lead(self.mode)
        require_lead(self._mode_now())
        require_current(self.settings.require_database())

    def _attempts(self, options: SyncOptions, clock: Clock) -> SyncOutcome:
        if self._manager.reduced:
            self._manager.reduced.require()
        looked: list[Snapshot] = []
        return RACE.run(lambda: self._attempt(options, clock, looked), on=(HeadMovedError,))

    def _attempt(self, options: SyncOptions, clock: Clock, looked: list[Snapshot]) -> SyncOutcome:
        published = Published.of(self._manager.repository)
        looked.append(published.snapshot)
        if options.overwrite:
            _require_unchanged(looked[0], published.snapshot)
        url = self.settings.require_database()
        with ChangeFeed(url, consumer=CONSUMER) as feed, scratch_folder() as folder:
            looks_only = options.dry_run or bool(options.months)
            window = feed.open_window(outside_stamp=published.stamp, read_only=looks_only)
            failpoint("sync.after_window")
            timeout = self.settings.statement_timeout_s
            with NewsSnapshot(url, purpose="sync snapshot", statement_timeout_s=timeout) as news:
                plan = make_plan(options, Sides(published, self._manager, feed, window, news, folder))
                clock.lap("plan")
                outcome = plan.outcome(options)
                if options.dry_run:
                    return outcome
                # The commit is bound to the head that was looked at before this. So of what the pipeline writes after a
                # rollback nothing is lost: either the rollback is seen here, or that head has moved.
                require_lead(self._mode_now())
                where = str(self._manager.repository)
                if not options.overwrite:
                    require_complete(RunLedger.of(self.settings), news, where)
                require_allowed(plan, where, overwrite=options.overwrite)
                files = MonthFiles(news, plan.counts, self._progress)
                commit = published.snapshot.commit
                if plan.partitions or plan.removed:
                    if not looks_only:
                        feed.announce(window)
                    commit = self._publish(plan, files, folder, options)
                clock.lap("publish")
            outcome = replace(outcome, commit=commit, committed=commit != published.snapshot.commit)
            return self._finish(outcome, plan, files, feed, clock, looks_only=looks_only, anew=options.full)

    def _publish(self, plan: SyncPlan, files: MonthFiles, folder: Path, options: SyncOptions) -> str:
        """Commit what is planned; return the id of the head."""
        self._progress.stage("publish", sum(plan.counts.get(month, 0) for month in plan.months))
        held = [] if plan.held is None else [files.held(plan.held)]
        stamp = plan.published.stamp if options.months else str(plan.window.stamp)
        told = [
            f"{plan.changed_rows:,} rows changed, {plan.tombstones:,} tombstones; {sum(plan.counts.values()):,} rows"
        ]
        told += [str(part) for part in (plan.account,) if part]
        told += [f"monthly layout adopted {plan.adoption}"] if plan.adoption else []
        named = [path.removeprefix("data/train-")[:-8] for path in plan.partitions] or plan.removed
        with files.of(plan.months) as months:
            return publish(
                self._manager.repository,
                plan.published.snapshot,
                [*months, *held],
                keep=plan.keep,
                schema=PUBLISHED_SCHEMA,
                scratch=folder,
                title=f"Sync: {few(named)}",
                description="\n\n".join([*told, stamp_line(stamp)]),
            )

    def _finish(
        self,
        outcome: SyncOutcome,
        plan: SyncPlan,
        files: MonthFiles,
        feed: ChangeFeed,
        clock: Clock,
        *,
        looks_only: bool,
        anew: bool,
    ) -> SyncOutcome:
        failpoint("sync.before_proof")
        before = plan.published.snapshot
        # Our own commit may have been followed by somebody's: what counts is what people load now. A Hub that shows an
        # older head for a moment is waited for (`HubRepository.head`).
        wanted = files.written | ({UNDATED: NO_ROWS} if plan.partitions.get(UNDATED) == 0 else {})
        head = Snapshot.of(self._manager.repository) if wanted or plan.removed else before
        proven = prove(head, wanted, gone=frozenset(plan.removed))
        clock.lap("prove")
        failpoint("sync.between_datasets")
        reduced_commit = ""
        if self._manager.reduced:
            reduced_commit = self._manager.reduced.bring_up(anew=anew)
            if wanted or plan.removed:
                prove_reduced(head, Snapshot.of(self._manager.reduced.repository, reduced_commit), wanted)
        clock.lap("reduced")
        failpoint("sync.before_store")
        outside = str(plan.window.stamp) if outcome.committed else None
        marked = 0 if looks_only else self._store(feed, plan.window, outside)
        failpoint("sync.after_store")
        clock.lap("store")
        return replace(
            outcome,
            uploaded=[p for p in plan.partitions if p in head.files and _blob(head, p) != _blob(before, p)],
            commit=head.commit,
            reduced_commit=reduced_commit,
            proven=proven,
            marked=marked,
        )

    def _store(self, feed: ChangeFeed, window: Window, outside: str | None) -> int:
        """Mark the rows and store the position, both or neither."""
        url = self.settings.require_database()
        with translate_errors(), connect(url, purpose="sync position") as connection:
            marked = mark_window(connection, window)
            feed.store(window, outside_stamp=outside, connection=connection)
        return marked

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of syncs; let no sync publish a table that is half loaded."""
        url = self.settings.require_database()
        with translate_errors(), connect(url, purpose="sync lock", autocommit=True) as connection:
            take_session_lock(connection, _SYNC_KEY, "another sync is at work on this database")
            require_no_bulk_load(connection)
            yield

    def _record(self, kind: str, started: Any, side: SideRecord, facts: dict[str, Any]) -> None:  # noqa: ANN401 - datetime
        """Write into the run ledger what became of the sync; it is copied into sync_log."""
        skipped = SideRecord(status=Status.SKIPPED)
        entry = LedgerEntry(
            kind=SYNC,
            entry_id=new_entry_id(),
            started_at=started,
            finished_at=utc_now(),
            run_date=self.run_date,
            operation=kind,
            mode=self.mode,
            sides={ReadSource.POSTGRES.value: skipped, ReadSource.HUGGINGFACE.value: side},
            rows=side.counts.get("changed_rows", 0),
            facts={**facts, "started_by": self.started_by},
        )
        RunLedger.of(self.settings, mirrored=True).record(entry)

    def _told(self, outcome: SyncOutcome, clock: Clock) -> SyncOutcome:
        done = replace(outcome, seconds=clock.seconds(), peak_rss_mb=peak_rss_mb())
        for line in done.lines():
            _LOG.info("%s", line)
        return done


def _require_unchanged(looked_at: Snapshot, now: Snapshot) -> None:
    """Let an overwriting take away what was there when it began, not what came while it was at work.

    Raises:
        IntegrityError: data files changed meanwhile; names some.
    """
    paths = {*data_files({*looked_at.files, *now.files}), *stray_files({*looked_at.files, *now.files})}
    if came := sorted(path for path in paths if _blob(looked_at, path) != _blob(now, path)):
        raise IntegrityError(
            f"{now.reader.repository}: somebody changed data files while they were to be overwritten: {few(came)}",
            hint="nothing was written; look at its history on the Hub, then choose --overwrite again",
        )


def _blob(snapshot: Snapshot, path: str) -> str:
    return snapshot.files[path].blob if path in snapshot.files else ""


if __name__ == "__main__":  # the plan's own way to start it; the command is `sync-hf`
    from data_platform.cli import main

    sys.exit(main(["sync-hf", *sys.argv[1:]]))
