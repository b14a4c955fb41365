"""A new collection, filled, compared, and only then shown to searches; killed anywhere, the next run goes on with it.

Rows come from PostgreSQL by the change feed, as a reader's that has no position yet; so there is no gap between what
filled the collection and what it follows afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import Connection

from data_platform.jobs.indexing.compare import compare_with_postgres
from data_platform.jobs.indexing.follow import Follower
from data_platform.jobs.indexing.generations import (
    begin,
    drop_old,
    finish,
    moved_before,
    present,
    previous_of,
    require_no_shrink,
    unfinished,
)
from data_platform.jobs.indexing.records import POSTGRES, Kind, ReindexOptions, ReindexOutcome
from data_platform.jobs.progress import Clock, Progress
from data_platform.managers.postgres.feed_ids import forget_reader, readers_like
from data_platform.managers.search_index import Card, Index, consumer_of, generations

__all__ = ["Rebuild"]


@dataclass
class Rebuild:
    """Fills a new collection from PostgreSQL.

    Attributes:
        index: which index.
        connection: in autocommit mode; holds the lock of the run.
        database_url: `postgresql://…`.
        options: what it shall do.
        progress: told how it gets on.
        clock: of the run.
        follower: what it did so far.
    """

    index: Index
    connection: Connection[Any]
    database_url: str
    options: ReindexOptions
    progress: Progress
    clock: Clock
    follower: Follower = field(init=False)

    def __post_init__(self) -> None:
        self.follower = Follower(self.index, self.database_url, self.options, self.progress, lock=self.connection)

    def run(self, outcome: ReindexOutcome) -> ReindexOutcome:
        """Fill, compare, show, tidy up; return the outcome, filled in.

        Raises:
            IntegrityError: documents are refused, or the collection is not what PostgreSQL is; it is not shown.
            StoreError, StoreUnavailableError: PostgreSQL or the service refuses, or does not answer.
        """
        index, options, follower = self.index, self.options, self.follower
        done = moved_before(index, Kind.FULL, run=options.run, source=POSTGRES, afresh=options.afresh)
        if done is not None:
            follower.follow(done, index.card(done) or Card(source=POSTGRES))
            self.clock.lap("catch up")
            follower.require_few_failed()
            return self._told(outcome, done, previous=None, resumed=True)
        previous = index.live()
        found = unfinished(index, POSTGRES, run=options.run, afresh=options.afresh)
        collection = found or begin(index, Card(source=POSTGRES), options.run)
        card = index.card(collection) or Card(source=POSTGRES)
        card = follower.follow(collection, card, is_empty=found is None)
        self.clock.lap("fill")
        finish(index, collection)
        self.clock.lap("finish")
        card = follower.follow(collection, card)
        self.clock.lap("catch up")
        follower.require_few_failed()
        tally = follower.tally
        compared = compare_with_postgres(
            index,
            collection,
            database_url=self.database_url,
            horizon=tally.horizon,
            pending=frozenset(tally.failed),
        )
        self.clock.lap("compare")
        require_no_shrink(index, collection, allowed=options.allow_shrink)
        down_s = present(index, collection, card, instead_of=previous, kind=Kind.FULL, run=options.run)
        self.clock.lap("show")
        outcome = replace(outcome, compared=compared, down_s=down_s)
        return self._told(outcome, collection, previous=previous, resumed=found is not None)

    def _told(self, outcome: ReindexOutcome, collection: str, *, previous: str | None, resumed: bool) -> ReindexOutcome:
        dropped, tally = self._tidy(collection, previous), self.follower.tally
        kept = [name for name in self.index.collections() if name != collection]
        return replace(
            outcome,
            collection=collection,
            previous=kept[-1] if kept else "",
            resumed=resumed,
            rows=tally.rows,
            written=tally.written,
            deleted=tally.deleted,
            failed=tally.failed,
            dropped=dropped,
            stamp=tally.stamp,
        )

    def _tidy(self, collection: str, previous: str | None) -> list[str]:
        """Drop all but what searches see and saw before, and the positions of what is gone."""
        dropped = drop_old(self.index, keep={collection, previous or previous_of(self.index)}, forget=self._forget)
        there = {self.index.live(), *self.index.collections()}
        prefix = f"{self.index.reader}/"
        for consumer in readers_like(self.connection, prefix):
            collection = consumer.removeprefix(prefix)
            ours = collection == self.index.alias or generations(self.index.alias, [collection])
            if ours and collection not in there:
                self._forget(collection)
        return dropped

    def _forget(self, collection: str) -> None:
        forget_reader(self.connection, consumer_of(self.index, collection))
