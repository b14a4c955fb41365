"""Histories of writes and broken-off runs, played between PostgreSQL and something that follows it.

A step says what is done, and two things more: to what, and how. What a run is, what must hold after it, and which steps
there are beside those that all know, a `Life` of its own says.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import psycopg
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from data_platform import failpoints
from data_platform.failpoints import FailpointError
from data_platform.managers.postgres_manager import PostgresManager
from tests.support.hub import columns
from tests.support.sources import Row, article
from tests.support.stores import Store
from tests.support.syncs import update

__all__ = ["Crash", "Histories", "Life", "Step", "crashes", "histories", "is_broken_off", "playing", "step", "steps"]

Step = tuple[str, Any, Any]
Histories = st.SearchStrategy[list[Step]]
#: A failpoint, and which passing of it breaks a run off.
Crash = tuple[str, int]
_NOTHING = st.none()
_TABLES = ("news", "news_tombstones", "rejects", "consumer_positions", "hf_sync_marks")


def playing(examples: int) -> settings:
    """Return what a test of so many histories is run with, beside those that it names."""
    return settings(
        max_examples=examples,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def step(
    what: str, one: st.SearchStrategy[Any] = _NOTHING, other: st.SearchStrategy[Any] = _NOTHING
) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(what), one, other)


def steps(
    ids: Sequence[str], instants: Sequence[datetime], cells: Sequence[Row], *more: st.SearchStrategy[Step]
) -> st.SearchStrategy[Step]:
    """Return the steps that all know, and more.

    Args:
        ids: of the articles that are written.
        instants: at which they are published.
        cells: what an update writes.
        more: steps of the life that is played.
    """
    its, at = st.sampled_from(ids), st.sampled_from(instants)
    return st.one_of(
        step("insert", its, at),
        step("insert", its, at),
        step("update", its, st.sampled_from(cells)),
        step("move", its, at),
        step("rename", its, its),
        step("delete", its),
        step("end of long"),
        *more,
    )


def crashes(points: Sequence[str]) -> st.SearchStrategy[Crash | None]:
    return st.none() | st.tuples(st.sampled_from(points), st.sampled_from([1, 1, 2]))


def histories(between: st.SearchStrategy[Step], run: st.SearchStrategy[Step], *, most: int) -> Histories:
    """Return histories of two runs or more.

    Between two of them little happens: what one gets wrong shall not be covered up by what the next one writes.
    """
    parts = st.tuples(st.lists(between, max_size=4), run).map(lambda part: [*part[0], part[1]])
    return st.lists(parts, min_size=2, max_size=most).map(lambda many: [one for part in many for one in part])


def is_broken_off(run: Callable[[], object], crash: Crash | None) -> bool:
    """Run, and be broken off at a failpoint if there is one and it is passed; return whether that happened."""
    if crash is not None:
        failpoints._passed.clear()
        os.environ["GOVBR_FAILPOINTS"] = f"{crash[0]}=raise:{crash[1]}"
    try:
        run()
    except FailpointError:
        return True
    finally:
        os.environ.pop("GOVBR_FAILPOINTS", None)
    return False


@dataclass
class Life(ABC):
    """PostgreSQL and what follows it, between which histories are played, one after the other.

    Attributes:
        ids: of the articles that are written.
        store: the database.
        news: writes news as the pipeline does.
        long: somebody else's transaction, while it is open.
    """

    ids: ClassVar[Sequence[str]]
    store: Store
    news: PostgresManager
    long: psycopg.Connection[Any] | None = field(default=None, init=False)

    def live(self, history: Sequence[Step]) -> None:
        """Play a history from the beginning."""
        self.begin()
        for one in history:
            self.play(*one)
        self.end()

    def begin(self) -> None:
        """Start over, with nothing in PostgreSQL; what else there is in the beginning, a life of its own adds."""
        self.end_of_long()
        self.store.execute(*(f"DELETE FROM {table}" for table in _TABLES))

    def play(self, what: str, one: Any, other: Any) -> None:
        """Take a step."""
        if what == "insert":
            self.insert(one, other)
        elif what == "update":
            update(self.news, {"unique_id": one, **other})
        elif what == "move":
            update(self.news, {"unique_id": one, "published_at": other})
        elif what == "rename":
            free = "NOT EXISTS (SELECT FROM news WHERE unique_id = %s)"
            self.ask(f"UPDATE news SET unique_id = %s WHERE unique_id = %s AND {free}", other, one, other)
        elif what == "delete":
            self.ask("DELETE FROM news WHERE unique_id = %s", one)
        elif what == "end of long":
            self.end_of_long()
        else:
            raise ValueError(f"no such step: {what}")

    @abstractmethod
    def end(self) -> None:
        """Everything that was open is over: check that what follows PostgreSQL is in step, and nothing waits."""

    def insert(self, uid: str, at: datetime) -> dict[str, list[Any]]:
        """Write an article as the pipeline does, and return it so."""
        number = self.ids.index(uid) if uid in self.ids else 10
        written = columns([article(30 + number, unique_id=uid, published_at=at)])
        self.news.insert(written)
        return written

    def ask(self, statement: str, *bound: Any) -> None:
        with self.store.connect() as connection:
            connection.execute(statement.encode(), bound)

    def in_long(self, statement: str, *bound: Any) -> None:
        """Have somebody else's transaction write something, and leave it open."""
        if self.long is None:
            self.long = psycopg.connect(self.store.url)
        self.long.execute(statement.encode(), bound)

    def end_of_long(self) -> None:
        if self.long is not None:
            self.long.commit()
            self.long.close()
            self.long = None
