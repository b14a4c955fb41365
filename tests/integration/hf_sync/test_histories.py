"""Random histories of writes, rejects, crashes and syncs: after every sync that ends, both datasets are PostgreSQL.

The dataset begins in the legacy layout, with rows that PostgreSQL has only as rejects. What should be published is read
from PostgreSQL by the view alone; into which file a row belongs is worked out here, by Python's own rules of the zone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import currently_in_test_context, event, example, given
from hypothesis import strategies as st

from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.postgres_manager import PostgresManager
from tests.support.histories import Crash, Life, crashes, histories, is_broken_off, playing, step, steps
from tests.support.hub import DATASET, QUICK, REDUCED, Hub, columns, parquet_bytes, published
from tests.support.sources import Row, article, theme_codes
from tests.support.stores import Store
from tests.support.syncs import POINTS, Jobs, checked, in_news, is_in_step, on_the_hub

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

_ids = [*IDS, *(row["unique_id"] for row in LEGACY)]
_cells: list[Row] = [
    {"title": "outro"},
    {"summary": "s"},
    {"tags": []},
    {"tags": ["x", "é"]},
    {"content": "c" * 70_000},
    theme_codes("05.02"),
]
_STEPS = steps(
    _ids,
    INSTANTS,
    _cells,
    step("insert in both", st.sampled_from(_ids), st.sampled_from(INSTANTS)),
    step("long", st.sampled_from(["move", "delete", "insert"])),
    st.tuples(st.sampled_from(["discard", "replay"]), st.sampled_from([0, 1]), st.none()),
    step("retheme"),
    step("edit card"),
    step("full"),
)
_HISTORIES = histories(_STEPS, step("sync", other=crashes(POINTS)), most=5)


@dataclass
class SyncLife(Life):
    """PostgreSQL and a Hub with both datasets.

    Attributes:
        hub: the Hub.
        make_job: makes the jobs between them.
        held: the rejects that have rows in the dataset still.
    """

    ids = IDS
    hub: Hub
    make_job: Jobs
    held: list[Row] = field(default_factory=list)

    def begin(self) -> None:
        """Start over: other datasets, an empty table, the legacy rows in both."""
        super().begin()
        for name in (DATASET, REDUCED):
            self.hub.store.delete(name)
            self.hub.store.create(name)
        rows = [published(row) for row in (*LEGACY, *UNDATED)]
        self.hub.put({"data/train-00000-of-00001.parquet": parquet_bytes(rows)})
        self.news.insert(columns([*LEGACY, *UNDATED, *LONG]))
        self.held = [published(row) for row in UNDATED]

    def play(self, what: str, one: Any, other: Any) -> None:
        if what == "sync":
            self.sync(other)
        elif what == "full":
            checked(self.make_job(full=True), self.hub, self.store, held=self.held)
        elif what == "edit card":
            self.hub.put({"README.md": f"---\nlicense: mit\n---\n{len(self.hub.commits())}\n".encode()})
        elif what == "insert in both":
            written = self.insert(one, other)
            DatasetManager(DATASET, settings=self.hub.settings, backoff=QUICK).insert(written)
        elif what == "long":
            self.write_long(one)
        elif what in {"discard", "replay"}:
            self.settle(what, UNDATED[one])
        elif what == "retheme":
            self.end_of_long()  # a new name of a theme waits for the rows that the other transaction has written
            self.ask("UPDATE themes SET label = label || '!', full_name = full_name || '!' WHERE code = '05'")
        else:
            super().play(what, one, other)

    def sync(self, crash: Crash | None) -> None:
        """Sync; broken off, the main dataset is as it was or as it should be, and nothing between."""
        if crash is not None:
            before, wanted = on_the_hub(self.hub), in_news(self.store)
            if is_broken_off(self.make_job().run, crash):
                _note(f"broken off at {crash[0]}")
                assert on_the_hub(self.hub) in (before, wanted)
                return
        outcome = checked(self.make_job(), self.hub, self.store, held=self.held)
        _note(outcome.reason or "only the changes")

    def write_long(self, what: str) -> None:
        """Have somebody else's transaction write something, and leave it open."""
        if what == "move":
            self.in_long("UPDATE news SET published_at = %s WHERE unique_id = 'long 0'", INSTANTS[3])
        elif what == "delete":
            self.in_long("DELETE FROM news WHERE unique_id = 'long 1'")
        else:
            self.in_long(
                "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, title, url)"
                " SELECT 'late', id, key, name, %s, 't', 'https://x.br/late' FROM agencies WHERE key = 'mre'"
                " ON CONFLICT DO NOTHING",
                INSTANTS[4],
            )

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
        assert is_in_step(self.hub)


@pytest.fixture
def life(store: Store, hub: Hub, news: PostgresManager, make_job: Jobs) -> Iterator[SyncLife]:
    made = SyncLife(store, news, hub, make_job)
    yield made
    made.end_of_long()


_CRASHED_TWICE = [
    ("insert", "a", INSTANTS[0]), ("sync", None, None),
    ("move", "a", INSTANTS[1]), ("sync", None, ("sync.before_store", 1)),
    ("delete", "legacy 0", None), ("sync", None, ("hub.before_commit", 1)),
    ("rename", "a", "B"), ("sync", None, ("sync.between_datasets", 1)),
]  # fmt: skip


@playing(2)
@given(history=_HISTORIES)
@example(history=_CRASHED_TWICE)
def test_after_any_history_the_datasets_are_postgresql_and_the_held_rows(life: SyncLife, history: Any) -> None:
    life.live(history)


@pytest.mark.slow
@playing(25)
@given(history=_HISTORIES)
def test_after_many_histories_the_datasets_are_postgresql_and_the_held_rows(life: SyncLife, history: Any) -> None:
    life.live(history)


@pytest.mark.parametrize("point", POINTS)
def test_broken_off_at_each_place_the_next_sync_makes_up_for_it(life: SyncLife, point: str) -> None:
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
