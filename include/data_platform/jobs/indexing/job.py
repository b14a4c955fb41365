"""Keeping an index of news: `run_reindex`, which the command line and the DAGs call.

Three kinds of runs. *Incremental*: the collection that searches see follows the change feed. *Full*: a new collection
is filled, compared and shown in the place of the old one, which is kept. *Rollback*: searches see the collection before
again, which then follows from where it had come to. One run of an index at a time; each can be killed anywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from zlib import crc32

from psycopg import Connection

from data_platform.errors import ConfigurationError, DataPlatformError, StoreError, StoreUnavailableError
from data_platform.jobs.indexing.follow import Follower
from data_platform.jobs.indexing.from_dataset import DatasetFill
from data_platform.jobs.indexing.full import Rebuild
from data_platform.jobs.indexing.generations import SHOWN, moved_before, present, previous_of, settle, unfinished
from data_platform.jobs.indexing.readers import make_index
from data_platform.jobs.indexing.records import POSTGRES, Kind, ReindexOptions, ReindexOutcome, Source
from data_platform.jobs.progress import Clock, LogProgress, Progress, peak_rss_mb
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.ledger.entry import IdList, LedgerEntry, SideRecord, Status, new_entry_id
from data_platform.managers.ledger.run_ledger import REINDEX, RunLedger
from data_platform.managers.postgres.change_feed import ChangeFeed
from data_platform.managers.postgres.database import (
    connect,
    require_no_bulk_load,
    take_session_lock,
    translate_errors,
)
from data_platform.managers.postgres.feed_health import Lag, read_lag
from data_platform.managers.search_index import Card, Index, consumer_of
from data_platform.managers.storage_mode import StorageBackend, StorageMode
from data_platform.models.days import utc_now
from data_platform.schema import require_current
from data_platform.settings import Settings

__all__ = ["dataset_age", "index_lag", "run_reindex"]

_LOG = logging.getLogger(__name__)
#: Of the locks of runs: this one, and a number of the index.
_LOCK_KEY = 7_202_611_000_000_000
#: The fact of a card that says that fields were being added.
_MENDING = "job_mending"
_NEWEST = "SELECT max(updated_at) FROM news"


def run_reindex(
    settings: Settings,
    options: ReindexOptions,
    *,
    mode: StorageMode | None = None,
    run_date: date | None = None,
    started_by: str = "",
    progress: Progress | None = None,
    index: Index | None = None,
    manager: DatasetManager | None = None,
) -> ReindexOutcome:
    """Do what the options say.

    Args:
        settings: the index; PostgreSQL, or the Hub, as the source; the ledger.
        options: what it shall do.
        mode: which stores are written; in mode huggingface the outcome says how old PostgreSQL's rows are.
        run_date: the São Paulo day that it is for, for the ledger.
        started_by: who started it, for the ledger.
        progress: told how it gets on.
        index: the index; None takes that of the settings. It is closed at the end.
        manager: the dataset; None takes that of the settings.

    Raises:
        ConfigurationError: something is not set, or there is nothing yet that could be followed.
        IntegrityError: documents were refused, or source and index differ where they must not; names them.
        BusyError: another run of this index, or a migration, is at work.
        StoreError, StoreUnavailableError: the source or the service refuses, or does not answer.
    """
    run = _Run(settings, options, mode, progress or LogProgress())
    started = utc_now()
    made = index or make_index(settings, options.reader, replace_collection=options.replace_collection)
    facts: dict[str, Any] = {"alias": made.alias, "started_by": started_by}

    def record(side: SideRecord) -> None:
        """Write into the run ledger what became of the run; sync_log gets a copy where PostgreSQL is the source."""
        entry = LedgerEntry(
            kind=REINDEX,
            entry_id=new_entry_id(),
            started_at=started,
            finished_at=utc_now(),
            run_date=run_date,
            operation=f"{options.reader}-{options.kind}",
            mode=mode,
            sides={options.reader: side},
            rows=side.counts.get("rows", 0),
            facts=facts,
        )
        if not options.dry_run:
            RunLedger.of(settings, mirrored=options.source is Source.POSTGRES).record(entry)

    try:
        with closing(made):
            outcome = run.of(made, manager)
    except Exception as error:
        try:
            record(SideRecord.failed(error, missed=IdList.of(sorted(run.failed))))
        except DataPlatformError as other:
            error.add_note(f"and it is not in the run ledger: {other}")
        raise
    facts |= {name: getattr(outcome, name) for name in ("source", "collection", "previous", "reason", "stamp")}
    try:
        record(SideRecord(status=Status.SUCCEEDED, counts=outcome.counts, missed=IdList.of(sorted(outcome.failed))))
    except DataPlatformError as error:
        error.add_note(f"the index itself is done, searches see {outcome.collection}: only the run ledger lacks it")
        raise
    for line in outcome.lines():
        _LOG.info("%s", line)
    return outcome


def index_lag(settings: Settings, index: Index) -> Lag | None:
    """Say what of PostgreSQL waits for an index; None if it has no collection, or does not follow PostgreSQL."""
    live = index.live()
    card = None if live is None else index.card(live)
    if live is None or (card is not None and card.source != POSTGRES):
        return None
    url = settings.require_database()
    with translate_errors(), connect(url, purpose="reindex lag", autocommit=True) as connection:
        return read_lag(connection, consumer_of(index, live))


def dataset_age(index: Index, manager: DatasetManager) -> timedelta | None:
    """Say how long ago searches began to see what is not the head of the dataset any more; 0 if it still is.

    Returns:
        None if searches see no collection, or one that follows PostgreSQL.

    Raises:
        StoreError, StoreUnavailableError: the Hub or the service refuses, or does not answer.
    """
    live = index.live()
    card = None if live is None else index.card(live)
    if card is None or card.source == POSTGRES or SHOWN not in card.facts:
        return None
    if card.source == f"{manager.repository.dataset}@{manager.repository.head()}":
        return timedelta(0)
    return utc_now() - datetime.fromisoformat(card.facts[SHOWN])


class _Run:
    """One run of one index."""

    def __init__(
        self, settings: Settings, options: ReindexOptions, mode: StorageMode | None, progress: Progress
    ) -> None:
        self.settings = settings
        self.options = options
        self.mode = mode
        self.progress = progress
        self.clock = Clock()
        self.follower: Follower | None = None

    @property
    def failed(self) -> frozenset[str]:
        """The documents that the service refused so far."""
        return frozenset(self.follower.tally.failed if self.follower else ())

    def of(self, index: Index, manager: DatasetManager | None) -> ReindexOutcome:
        """Do it; see `run_reindex`."""
        options = self.options
        outcome = ReindexOutcome(
            reader=options.reader, alias=index.alias, kind=options.kind.value, dry_run=options.dry_run
        )
        if options.source is Source.HUGGINGFACE:
            manager = manager or DatasetManager(settings=self.settings)
            with self._alone_if_possible(index):
                fill = DatasetFill(index, manager, options, self.progress, self.clock)
                return self._finished(index, fill.run(outcome))
        if options.kind is Kind.ROLLBACK:
            # Before PostgreSQL is asked for anything: it may be down.
            outcome = self._look_back(index, outcome) if options.dry_run else self._go_back(index, outcome)
            if outcome.source != POSTGRES:
                return self._finished(index, outcome)
        try:
            return self._finished(index, self._with_postgres(index, outcome))
        except DataPlatformError as error:
            if options.kind is Kind.ROLLBACK and not options.dry_run:
                error.add_note(f"searches see {outcome.collection} again; an incremental run is all that is missing")
            raise

    def _with_postgres(self, index: Index, outcome: ReindexOutcome) -> ReindexOutcome:
        options, url = self.options, self.settings.require_database()
        require_current(url)
        with self._alone(index) as connection:
            outcome = replace(outcome, data_as_of=self._age(connection))
            if options.dry_run:
                return self._look(index, connection, outcome)
            if options.kind is Kind.FULL:
                rebuild = Rebuild(index, connection, url, options, self.progress, self.clock)
                self.follower = rebuild.follower
                return rebuild.run(outcome)
            return self._follow(index, connection, outcome)

    def _go_back(self, index: Index, outcome: ReindexOutcome) -> ReindexOutcome:
        """Let searches see the collection before again; once, however often this run is tried."""
        if (done := moved_before(index, Kind.ROLLBACK, run=self.options.run)) is not None:
            card = index.card(done) or Card(source=POSTGRES)
            self.progress.note(f"searches see {done} already: this run was broken off behind the move")
            return replace(outcome, collection=done, source=card.source)
        live, chosen = index.live(), self._kept(index)
        card = index.card(chosen) or Card(source=POSTGRES)
        present(index, chosen, card, instead_of=live, kind=Kind.ROLLBACK, run=self.options.run)
        self.clock.lap("show")
        return replace(outcome, collection=chosen, previous=live or "", source=card.source)

    def _look_back(self, index: Index, outcome: ReindexOutcome) -> ReindexOutcome:
        chosen = self._kept(index)
        card = index.card(chosen) or Card(source=POSTGRES)
        return replace(outcome, collection=chosen, source=card.source, drift=list(index.drift(chosen)))

    def _follow(self, index: Index, connection: Connection[Any], outcome: ReindexOutcome) -> ReindexOutcome:
        """Follow the changes with what searches see."""
        url = self.settings.require_database()
        settle(index)
        live, card = self._followed(index)
        card, mended = self._mended(index, live, card)
        self.follower = follower = Follower(index, url, self.options, self.progress, lock=connection)
        follower.follow(live, card)
        self.clock.lap("follow")
        follower.require_few_failed()
        tally = follower.tally
        return replace(
            outcome,
            collection=live,
            reason=tally.reason,
            rows=tally.rows,
            written=tally.written,
            deleted=tally.deleted,
            failed=tally.failed,
            mended=mended,
            stamp=tally.stamp,
        )

    def _mended(self, index: Index, live: str, card: Card) -> tuple[Card, Sequence[str]]:
        """Add what the schema lacks, and have all rows read anew for it, even if this run dies in between."""
        if not (index.drift(live) or _MENDING in card.facts):
            return card, ()
        index.set_card(live, replace(card, facts={**card.facts, _MENDING: "yes"}))
        mended = index.mend(live)
        if mended or _MENDING in card.facts:  # the documents there lack what the new fields are to hold
            with ChangeFeed(self.settings.require_database(), consumer=consumer_of(index, live)) as feed:
                feed.start_over(f"fields were added: {', '.join(mended) or 'by a run that was broken off'}")
        card = replace(card, facts={name: value for name, value in card.facts.items() if name != _MENDING})
        index.set_card(live, card)
        return card, mended

    def _kept(self, index: Index) -> str:
        kept = previous_of(index, is_older=True)
        if kept is None:
            raise ConfigurationError(
                f"{index}: no older collection is kept", hint=f"fill a new one: reindex {index.reader} --full"
            )
        return kept

    def _followed(self, index: Index) -> tuple[str, Card]:
        """Return the collection that follows the changes, and its card."""
        chosen = index.live()
        if chosen is None:
            raise ConfigurationError(
                f"{index}: searches for {index.alias} see no collection",
                hint=f"fill one: reindex {index.reader} --full",
            )
        card = index.card(chosen) or Card(source=POSTGRES, is_whole=True)
        if card.source != POSTGRES:
            raise ConfigurationError(
                f"{chosen} was filled from {card.source}, and follows nothing",
                hint=f"to follow PostgreSQL: reindex {index.reader} --full; the dataset again: with --from huggingface",
            )
        return chosen, card

    def _look(self, index: Index, connection: Connection[Any], outcome: ReindexOutcome) -> ReindexOutcome:
        """Say what would be done."""
        if self.options.kind is Kind.FULL:
            live = index.live()
            outcome = replace(outcome, drift=list(index.drift(live)) if live else [])
            found = unfinished(index, POSTGRES, run=self.options.run, afresh=self.options.afresh)
            if found is None:
                row = connection.execute("SELECT count(*) FROM news").fetchone()
                return replace(outcome, rows=row[0] if row else 0)
            lag = read_lag(connection, consumer_of(index, found))
            return replace(outcome, collection=found, resumed=True, rows=lag.rows, deleted=lag.tombstones)
        if self.options.kind is Kind.ROLLBACK:
            chosen, card = outcome.collection, index.card(outcome.collection) or Card(source=POSTGRES)
        else:
            chosen, card = self._followed(index)
        with ChangeFeed(self.settings.require_database(), consumer=consumer_of(index, chosen)) as feed:
            window = feed.open_window(outside_stamp=card.stamp, read_only=True)
        lag = read_lag(connection, consumer_of(index, chosen))
        return replace(
            outcome,
            collection=chosen,
            rows=lag.rows,
            deleted=lag.tombstones,
            reason=window.resync_reason or "",
            drift=list(index.drift(chosen)),
        )

    def _finished(self, index: Index, outcome: ReindexOutcome) -> ReindexOutcome:
        live = index.live()
        documents = index.count(live) if live else 0
        drift = outcome.drift if outcome.dry_run else list(index.drift(live)) if live else []
        told = replace(outcome, documents=documents, drift=drift)
        return replace(told, seconds=self.clock.seconds(), peak_rss_mb=peak_rss_mb())

    def _age(self, connection: Connection[Any]) -> str:
        """Say in mode huggingface, where nobody writes to PostgreSQL, when somebody last did."""
        if self.mode is None or self.mode.backend is not StorageBackend.HUGGINGFACE:
            return ""
        row = connection.execute(_NEWEST).fetchone()
        newest = row[0] if row else None
        return newest.isoformat(timespec="seconds") if isinstance(newest, datetime) else "never"

    @contextmanager
    def _alone_if_possible(self, index: Index) -> Iterator[None]:
        """Hold the lock too where PostgreSQL is at hand, though nothing is read there: it may be what is down."""
        has_postgres = self.mode is None or self.mode.backend is not StorageBackend.HUGGINGFACE
        with ExitStack() as stack:
            if self.settings.database_url and has_postgres:
                try:
                    stack.enter_context(self._locked(index))
                except (ConfigurationError, StoreError, StoreUnavailableError) as error:
                    self.progress.note(f"going on without the lock of {index.reader}, which PostgreSQL keeps: {error}")
            yield

    @contextmanager
    def _alone(self, index: Index) -> Iterator[Connection[Any]]:
        """Hold the lock of this index's runs. Let nobody index a table that is half loaded."""
        with self._locked(index) as connection:
            require_no_bulk_load(connection)
            yield connection

    @contextmanager
    def _locked(self, index: Index) -> Iterator[Connection[Any]]:
        """Hold the lock of this index's runs; a dry run holds none."""
        url = self.settings.require_database()
        with translate_errors(), connect(url, purpose="reindex lock", autocommit=True) as connection:
            key = _LOCK_KEY + crc32(f"{index.reader}/{index.alias}".encode())
            if not self.options.dry_run:
                take_session_lock(connection, key, f"another run of {index.reader} is at work on this database")
            yield connection
