"""The change feed under many writers: nothing is missed, and a feed that goes by the clock does miss.

The same battery runs over the real feed and over a double that compares updated_at. One writer is slow: it holds its
transaction open until others have committed and the reader has looked, so that the double misses for certain.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from data_platform.managers.postgres.change_feed import ChangeFeed
from dev.embedded_postgres import EmbeddedPostgres
from tests.support.databases import shared_database
from tests.support.feeds import Crash, Mirror, Writer, published

WRITERS = 8
CHANGES = 10_000
SLOW_ROUNDS = 4


@pytest.fixture(scope="module")
def url(postgres: EmbeddedPostgres) -> Iterator[str]:
    with shared_database(postgres) as made:
        yield made


@pytest.fixture
def watcher(url: str) -> Iterator[Writer]:
    """A connection to look with, on a database without rows."""
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        made = Writer(connection)
        made.clear()
        yield made


class Reader(Protocol):
    """What the battery asks of a feed."""

    def poll(self) -> None: ...

    @property
    def rows(self) -> dict[str, Any]: ...


@dataclass
class FeedReader:
    """The real feed, with pages small enough that rows move between them."""

    feed: ChangeFeed
    mirror: Mirror = field(default_factory=Mirror)

    def poll(self) -> None:
        self.mirror.follow(self.feed, batch_rows=200, step=True)

    @property
    def rows(self) -> dict[str, Any]:
        return self.mirror.rows


@dataclass
class ClockReader:
    """The feed as it must not be: what is newer than the newest time seen."""

    connection: psycopg.Connection[Any]
    rows: dict[str, Any] = field(default_factory=dict)
    reached: datetime = datetime(2000, 1, 1, tzinfo=UTC)

    def poll(self) -> None:
        with self.connection.cursor(row_factory=dict_row) as cursor, self.connection.transaction():
            self.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            stones = cursor.execute(
                "SELECT unique_id, created_at FROM news_tombstones t WHERE created_at > %s"
                " AND NOT EXISTS (SELECT FROM news n WHERE n.unique_id = t.unique_id)",
                (self.reached,),
            ).fetchall()
            changed = cursor.execute(
                "SELECT p.*, n.updated_at FROM news n JOIN news_published p USING (unique_id) WHERE n.updated_at > %s",
                (self.reached,),
            ).fetchall()
        for stone in stones:
            self.rows.pop(stone["unique_id"], None)
        times = [stone["created_at"] for stone in stones] + [row.pop("updated_at") for row in changed]
        self.rows |= {row["unique_id"]: row for row in changed}
        self.reached = max(times, default=self.reached)


@dataclass
class Battery:
    """Eight writers, one of them slow, and what they did."""

    url: str
    changes: int = 0
    commits: int = 0
    polls: int = 0
    inserted: set[str] = field(default_factory=set)
    slow_ids: set[str] = field(default_factory=set)
    is_slow_done: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, reader: Reader) -> None:
        """Poll before, all the while, and once more at the end."""
        reader.poll()
        with ThreadPoolExecutor(WRITERS) as pool:
            jobs = [pool.submit(self._slow)] + [pool.submit(self._quick, number) for number in range(1, WRITERS)]
            while not all(job.done() for job in jobs):
                reader.poll()
                self.polls += 1
            for job in jobs:
                job.result()
        reader.poll()

    def _count(self, changes: int) -> None:
        with self.lock:
            self.changes += changes
            self.commits += 1

    def _quick(self, number: int) -> None:
        draw = random.Random(number)
        mine: list[str] = []
        with psycopg.connect(self.url) as connection:
            writer = Writer(connection)
            turn = 0
            while self.changes < CHANGES or not self.is_slow_done:
                turn += 1
                done, kept = self._transaction(writer, draw, mine, f"{number}-{turn}")
                if draw.random() < 0.05:
                    connection.rollback()
                    continue
                connection.commit()
                mine = kept
                self._count(done)

    @staticmethod
    def _transaction(writer: Writer, draw: random.Random, mine: list[str], turn: str) -> tuple[int, list[str]]:
        """Change rows; return how many, and the ids that this writer then has."""
        new = [f"w{turn}-{n}" for n in range(8)]
        kept = mine + new
        done = writer.add(*new)
        picked = draw.sample(kept, 6)
        done += writer.retitle(*picked[:4], title=turn)
        if len(kept) > 40:
            gone = picked[4:]
            done += writer.delete(*gone)
            kept = [uid for uid in kept if uid not in gone]
            if draw.random() < 0.3:
                done += writer.add(gone[0], title="again")
                kept.append(gone[0])
            old = draw.choice(kept)
            done += writer.move(old, f"20{draw.randrange(10, 25)}-03-05 12:00Z")
            done += writer.rename(old, f"{old}r")
            kept = [f"{old}r" if uid == old else uid for uid in kept]
        done += writer.retitle("shared", title=turn)
        return done, kept

    def _slow(self) -> None:
        try:
            with psycopg.connect(self.url) as connection:
                writer = Writer(connection)
                for turn in range(SLOW_ROUNDS):
                    ids = {f"slow{turn}-{n}" for n in range(5)}
                    done = writer.add(*ids)
                    if turn:
                        done += writer.retitle(f"slow{turn - 1}-0", title="late")
                        done += writer.delete(f"slow{turn - 1}-1")
                        ids |= {f"slow{turn - 1}-0"}
                    self._wait_for(lambda before=self.commits: self.commits >= before + WRITERS)
                    self._wait_for(lambda before=self.polls: self.polls >= before + 2)  # one began after these commits
                    connection.commit()
                    self.slow_ids |= ids
                    self._count(done)
        finally:
            self.is_slow_done = True

    @staticmethod
    def _wait_for(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "the others do not go on"
            time.sleep(0.002)


def test_every_change_is_seen_with_writers_that_overlap(url: str, watcher: Writer) -> None:
    watcher.add("shared")
    battery = Battery(url)
    with ChangeFeed(url, consumer="battery") as feed:
        reader = FeedReader(feed)
        battery.run(reader)
    assert battery.changes >= CHANGES
    assert battery.polls > SLOW_ROUNDS
    assert reader.mirror.reasons == ["no position yet"]
    assert reader.rows == published(watcher.connection)
    query = "SELECT unique_id, change_xid::text::bigint FROM news"
    assert set(watcher.connection.execute(query.encode()).fetchall()) <= reader.mirror.seen
    buried = {uid for (uid,) in watcher.connection.execute("SELECT unique_id FROM news_tombstones").fetchall()}
    assert len(buried) > 500
    assert buried == reader.mirror.buried
    # A row that was deleted again before the horizon reached it is seen as its tombstone alone.
    assert battery.slow_ids <= {uid for uid, _ in reader.mirror.seen} | reader.mirror.buried


def test_a_feed_that_compares_updated_at_misses_changes(url: str, watcher: Writer) -> None:
    watcher.add("shared")
    battery = Battery(url)
    with psycopg.connect(url, options="-c timezone=UTC") as connection:
        reader = ClockReader(connection)
        battery.run(reader)
    assert battery.changes >= CHANGES
    there = published(watcher.connection)
    missed = {uid for uid, row in there.items() if reader.rows.get(uid) != row}
    assert missed & battery.slow_ids, "the battery has no teeth: it does not tell a feed by the clock from a right one"


# ------------------------------------------------------------------------------------------------ random histories

_LINES = 3
_ids = st.integers(0, 3)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, _LINES - 1), st.sampled_from("iiuudrm"), _ids, _ids),
        st.tuples(st.just("end"), st.integers(0, _LINES - 1), st.booleans()),
        st.tuples(st.just("read"), st.integers(1, 4), st.none() | st.integers(0, 6), st.booleans()),
    ),
    max_size=40,
)


@pytest.fixture(scope="module")
def lines(url: str) -> Iterator[list[Writer]]:
    """Connections whose transactions overlap; each keeps to ids of its own, so that none waits for another."""
    opened = [psycopg.connect(url) for _ in range(_LINES)]
    yield [Writer(connection) for connection in opened]
    for connection in opened:
        connection.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_steps)
def test_the_copy_is_news_after_any_history(
    url: str, watcher: Writer, lines: list[Writer], steps: list[tuple[Any, ...]]
) -> None:
    """Inserts, updates, deletions, renames and moves in overlapping transactions; a reader killed anywhere."""
    for line in lines:
        line.connection.rollback()  # of an example that failed
    watcher.clear()
    mirror = Mirror()
    with ChangeFeed(url, consumer="any") as feed:
        for number, step in enumerate(steps):
            match step:
                case ("write", line, kind, one, other):
                    _write(lines[line], kind, f"{line}-{one}", f"{line}-{other}", str(number))
                case ("end", line, is_commit):
                    connection = lines[line].connection
                    (connection.commit if is_commit else connection.rollback)()
                case ("read", batch_rows, crash_at, is_step):
                    with suppress(Crash):
                        mirror.follow(feed, batch_rows=batch_rows, crash_at=crash_at, step=is_step)
        for line in lines:
            line.connection.commit()
        mirror.follow(feed, batch_rows=2)
        mirror.follow(feed)  # a resync that was resumed leaves what moved meanwhile to the next window
    assert mirror.rows == published(watcher.connection)
    assert set(mirror.reasons) == {"no position yet"}


def _write(line: Writer, kind: str, one: str, other: str, title: str) -> None:
    here = {uid for (uid,) in line.connection.execute("SELECT unique_id FROM news").fetchall()}
    if kind == "i" and one not in here:
        line.add(one, title=title)
    elif kind == "u":
        line.retitle(one, title=title)
    elif kind == "d":
        line.delete(one)
    elif kind == "r" and other not in here:
        line.rename(one, other)
    elif kind == "m":
        line.move(one, f"20{10 + len(title) + int(other[-1])}-01-05 12:00Z")
