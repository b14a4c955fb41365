"""Random histories of writes, rejects, crashes and syncs: after every sync that ends, both datasets are PostgreSQL.

The dataset begins in the legacy layout, with rows that PostgreSQL has only as rejects. What should be published is read
from PostgreSQL by the view alone; into which file a row belongs is worked out here, by Python's own rules of the zone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, currently_in_test_context, event, example, given, settings
from hypothesis import strategies as st

from data_platform import failpoints
from data_platform.failpoints import FailpointError
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.postgres_manager import PostgresManager
from tests.support.hub import DATASET, QUICK, REDUCED, Hub, columns, parquet_bytes, published
from tests.support.sources import Row, article, theme_codes
from tests.support.stores import Store
from tests.support.syncs import POINTS, Jobs, checked, in_news, is_in_step, on_the_hub, update

#: Ids whose order differs between collations, letters, cases and forms of one letter.
IDS = ["a", "B", "é", "e\u0301", "a b", "🛰", "../x", "%s"]
#: Ends of months in the zone, its summer time, its time before 1914, and ties.
INSTANTS = [
    datetime(2024, 2, 1, 2, 59, 59, 999999, UTC),
    datetime(2024, 2, 1, 3, tzinfo=UTC),
    datetime(2024, 2, 1, 3, tzinfo=UTC),
    datetime(2019, 1, 1, 2, tzinfo=UTC),  # 23:00 at the published offset, midnight of the next year in the zone
    datetime(2018, 12, 1, 1, 30, tzinfo=UTC),
    datetime(1914, 1, 1, 3, 3, tzinfo=UTC),  # still 1913 by the sun of São Paulo
    datetime(1913, 12, 31, 12, tzinfo=UTC),
    datetime(2087, 5, 3, 12, tzinfo=UTC),
]
#: Rows of the legacy files: dated ones, and those that admission refuses.
LEGACY = [article(n, unique_id=f"legacy {n}", published_at=INSTANTS[n]) for n in range(3)]
UNDATED = [article(10, unique_id="held 0", published_at=None), article(11, unique_id="held 1", title=None)]
#: Written by a transaction that stays open for a while.
LONG = [article(20, unique_id="long 0"), article(21, unique_id="long 1", published_at=INSTANTS[0])]

_ids = st.sampled_from([*IDS, *(row["unique_id"] for row in LEGACY)])
_at = st.sampled_from(INSTANTS)
_cells = st.sampled_from(
    [
        {"title": "outro"},
        {"summary": "s"},
        {"tags": []},
        {"tags": ["x", "é"]},
        {"content": "c" * 70_000},
        theme_codes("05.02"),
    ]
)
_crashes = st.none() | st.tuples(st.sampled_from(POINTS), st.sampled_from([1, 1, 2]))
_STEPS = st.one_of(
    st.tuples(st.just("insert"), _ids, _at),
    st.tuples(st.just("insert"), _ids, _at),
    st.tuples(st.just("insert in both"), _ids, _at),
    st.tuples(st.just("update"), _ids, _cells),
    st.tuples(st.just("move"), _ids, _at),
    st.tuples(st.just("rename"), _ids, _ids),
    st.tuples(st.just("delete"), _ids, st.none()),
    st.tuples(st.just("long"), st.sampled_from(["move", "delete", "insert"]), st.none()),
    st.tuples(st.just("end of long"), st.none(), st.none()),
    st.tuples(st.sampled_from(["discard", "replay"]), st.sampled_from([0, 1]), st.none()),
    st.tuples(st.just("retheme"), st.none(), st.none()),
    st.tuples(st.just("edit card"), st.none(), st.none()),
    st.tuples(st.just("full"), st.none(), st.none()),
)
_SYNC = st.tuples(st.just("sync"), st.none(), _crashes)
#: Between two syncs little happens: what one sync gets wrong shall not be covered up by what the next one writes.
_HISTORIES = st.lists(
    st.lists(_STEPS, max_size=4).flatmap(lambda steps: _SYNC.map(lambda s: [*steps, s])), min_size=2, max_size=5
).map(lambda parts: [step for part in parts for step in part])


@dataclass
class Life:
    """A database and a Hub between which histories are played, one after the other."""

    store: Store
    hub: Hub
    news: PostgresManager
    make_job: Jobs
    held: list[Row] = field(default_factory=list)
    long: psycopg.Connection[Any] | None = None

    def begin(self) -> None:
        """Start over: other datasets, an empty table, the legacy rows in both."""
        self.end_of_long()
        self.store.execute("DELETE FROM news", "DELETE FROM news_tombstones", "DELETE FROM rejects")
        self.store.execute("DELETE FROM hf_sync_marks", "DELETE FROM consumer_positions")
        for name in (DATASET, REDUCED):
            self.hub.store.delete(name)
            self.hub.store.create(name)
        rows = [published(row) for row in (*LEGACY, *UNDATED)]
        self.hub.put({"data/train-00000-of-00001.parquet": parquet_bytes(rows)})
        self.news.insert(columns([*LEGACY, *UNDATED, *LONG]))
        self.held = [published(row) for row in UNDATED]

    def play(self, what: str, one: Any, other: Any) -> None:
        """Take a step."""
        if what == "sync":
            self.sync(other)
        elif what == "full":
            checked(self.make_job(full=True), self.hub, self.store, held=self.held)
        elif what == "edit card":
            self.hub.put({"README.md": f"---\nlicense: mit\n---\n{len(self.hub.commits())}\n".encode()})
        elif what == "long":
            self.write_long(one)
        elif what == "end of long":
            self.end_of_long()
        elif what in {"discard", "replay"}:
            self.settle(what, UNDATED[one])
        else:
            self.write(what, one, other)

    def write(self, what: str, one: Any, other: Any) -> None:
        """Change news, as the pipeline or a person does."""
        if what in {"insert", "insert in both"}:
            row = article(30 + IDS.index(one) if one in IDS else 40, unique_id=one, published_at=other)
            self.news.insert(columns([row]))
            if what == "insert in both":
                DatasetManager(DATASET, settings=self.hub.settings, backoff=QUICK).insert(columns([row]))
        elif what == "update":
            update(self.news, {"unique_id": one, **other})
        elif what == "move":
            update(self.news, {"unique_id": one, "published_at": other})
        elif what == "rename":
            free = "NOT EXISTS (SELECT FROM news WHERE unique_id = %s)"
            self.ask(f"UPDATE news SET unique_id = %s WHERE unique_id = %s AND {free}", other, one, other)
        elif what == "delete":
            self.ask("DELETE FROM news WHERE unique_id = %s", one)
        else:
            self.end_of_long()  # a new name of a theme waits for the rows that the other transaction has written
            self.ask("UPDATE themes SET label = label || '!', full_name = full_name || '!' WHERE code = '05'")

    def ask(self, statement: str, *bound: Any) -> None:
        with self.store.connect() as connection:
            connection.execute(statement.encode(), bound)

    def sync(self, crash: tuple[str, int] | None) -> None:
        """Sync; broken off, the main dataset is as it was or as it should be, and nothing between."""
        if crash is not None:
            before, wanted = on_the_hub(self.hub), in_news(self.store)
            failpoints._passed.clear()
            os.environ["GOVBR_FAILPOINTS"] = f"{crash[0]}=raise:{crash[1]}"
            try:
                self.make_job().run()
            except FailpointError:
                _note(f"broken off at {crash[0]}")
                assert on_the_hub(self.hub) in (before, wanted)
                return
            finally:
                del os.environ["GOVBR_FAILPOINTS"]
        outcome = checked(self.make_job(), self.hub, self.store, held=self.held)
        _note(outcome.reason or "only the changes")

    def write_long(self, what: str) -> None:
        """Have somebody else's transaction write something, and leave it open."""
        if self.long is None:
            self.long = psycopg.connect(self.store.url)
        if what == "move":
            self.long.execute("UPDATE news SET published_at = %s WHERE unique_id = 'long 0'", (INSTANTS[3],))
        elif what == "delete":
            self.long.execute("DELETE FROM news WHERE unique_id = 'long 1'")
        else:
            self.long.execute(
                "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, title, url)"
                " SELECT 'late', id, key, name, %s, 't', 'https://x.br/late' FROM agencies WHERE key = 'mre'"
                " ON CONFLICT DO NOTHING",
                (INSTANTS[4],),
            )

    def end_of_long(self) -> None:
        if self.long is not None:
            self.long.commit()
            self.long.close()
            self.long = None

    def settle(self, how: str, row: Row) -> None:
        """Discard a reject, or bring its article in as it should be."""
        if how == "discard":
            self.store.execute(f"UPDATE rejects SET status = 'discarded' WHERE unique_id = '{row['unique_id']}'")
        else:
            self.news.insert(columns([row | {"title": "com título", "published_at": INSTANTS[5]}]))
        self.held = [other for other in self.held if other["unique_id"] != row["unique_id"]]

    def end(self) -> None:
        """Everything that was open is over; one sync brings both datasets up, and nothing waits any more."""
        self.end_of_long()
        checked(self.make_job(), self.hub, self.store, held=self.held)
        again = checked(self.make_job(), self.hub, self.store, held=self.held)
        # Rows that the pipeline wrote are looked at again until there is something to commit, and so to stamp.
        assert (again.committed, again.uploaded) == (False, [])
        assert again.partitions == {} or again.reason.startswith("the pipeline")
        found = self.make_job().verify()
        assert found.passed, found.lines()
        assert (found.equal, found.held, found.pending) == (len(self.store.published()), len(self.held), 0)
        assert self.make_job().lag().rows == self.make_job().lag().tombstones == 0
        assert self.news.get_records_for_hf_sync().empty
        marked = {row["unique_id"] for row in self.store.query("SELECT unique_id FROM hf_sync_marks")}
        assert marked == set(self.store.published())


@pytest.fixture
def life(store: Store, hub: Hub, news: PostgresManager, make_job: Jobs) -> Iterator[Life]:
    made = Life(store, hub, news, make_job)
    yield made
    made.end_of_long()


def live(life: Life, history: list[tuple[str, Any, Any]]) -> None:
    """Play a history from the beginning."""
    life.begin()
    for step in history:
        life.play(*step)
    life.end()
    assert is_in_step(life.hub)


_QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
_PHASES = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]
_CRASHED_TWICE = [
    ("insert", "a", INSTANTS[0]), ("sync", None, None),
    ("move", "a", INSTANTS[1]), ("sync", None, ("sync.before_store", 1)),
    ("delete", "legacy 0", None), ("sync", None, ("hub.before_commit", 1)),
    ("rename", "a", "B"), ("sync", None, ("sync.between_datasets", 1)),
]  # fmt: skip


@settings(max_examples=2, deadline=None, phases=_PHASES, suppress_health_check=_QUIET)
@given(history=_HISTORIES)
@example(history=_CRASHED_TWICE)
def test_after_any_history_the_datasets_are_postgresql_and_the_held_rows(life: Life, history: Any) -> None:
    live(life, history)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, phases=_PHASES, suppress_health_check=_QUIET)
@given(history=_HISTORIES)
def test_after_many_histories_the_datasets_are_postgresql_and_the_held_rows(life: Life, history: Any) -> None:
    live(life, history)


@pytest.mark.parametrize("point", POINTS)
def test_broken_off_at_each_place_the_next_sync_makes_up_for_it(life: Life, point: str) -> None:
    life.begin()
    life.sync((point, 1))
    life.play("insert", "é", INSTANTS[3])
    life.sync(None)
    life.play("move", "é", INSTANTS[0])
    life.play("delete", "legacy 1", None)
    life.sync((point, 1))
    life.play("rename", "é", "B")
    life.end()


def _note(what: str) -> None:
    """Have hypothesis count how often something comes up."""
    if currently_in_test_context():
        event(what)
