"""Rows that are published though PostgreSQL has them as rejects: they stay, once, until their reject is settled."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from data_platform.errors import IntegrityError
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.hub.layout import UNDATED
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.columns import PUBLISHED_SCHEMA
from tests.support.hub import DATASET, QUICK, Hub, columns, parquet_bytes, published
from tests.support.migrations import Migrations
from tests.support.sources import Row, article, articles
from tests.support.stores import Store
from tests.support.syncs import Jobs, checked, update

LEGACY = "data/train-00000-of-00001.parquet"
GOOD = articles(5)
HELD = [
    article(20, unique_id="no date", published_at=None),
    article(21, unique_id="no title", title=None),
    article(22, unique_id="no agency", agency=None),
]
NO_ID = article(23, unique_id=None)
DAY = datetime(2024, 8, 1, 12, tzinfo=UTC)


@pytest.fixture
def migrations(store: Store, tmp_path: Path) -> Migrations:
    return Migrations(store, tmp_path)


@pytest.fixture
def held(hub: Hub, store: Store, make_job: Jobs, migrations: Migrations) -> list[Row]:
    """Rows that are held, the dataset having been brought into PostgreSQL and taken over by the sync."""
    rows = [*GOOD, *HELD, NO_ID]
    hub.put({LEGACY: parquet_bytes(rows)})
    migrations.bring(rows, max_reject_rate=1.0)
    found = [published(row) for row in (*HELD, NO_ID)]
    outcome = checked(make_job(), hub, store, held=found)
    assert (outcome.rows, outcome.held) == (9, 4)
    assert outcome.account is not None
    assert (outcome.account.published, outcome.account.in_postgres, outcome.account.held) == (9, 5, 4)
    assert (outcome.account.changed, outcome.account.new, outcome.account.unexplained) == (0, 0, 0)
    return found


def without(rows: list[Row], *ids: str | None) -> list[Row]:
    return [row for row in rows if row["unique_id"] not in ids]


def statuses(store: Store) -> dict[str | None, str]:
    return {row["unique_id"]: row["status"] for row in store.query("SELECT unique_id, status FROM rejects")}


def test_held_rows_stay_through_every_kind_of_sync(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, held: list[Row]
) -> None:
    content = hub.content(UNDATED)
    checked(make_job(), hub, store, held=held)
    news.insert(columns(articles(3, first=60)))
    outcome = checked(make_job(), hub, store, held=held)
    assert (outcome.rows, outcome.held, outcome.account) == (12, 4, None)
    outcome = checked(make_job(full=True), hub, store, held=held)
    assert outcome.account is not None
    assert outcome.account.held == 4
    store.execute("DELETE FROM consumer_positions")
    outcome = checked(make_job(), hub, store, held=held)
    assert outcome.reason == "no position yet"
    assert hub.content(UNDATED) == content  # never written anew


def test_an_article_that_comes_in_settles_its_reject_and_its_held_row_goes(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, held: list[Row]
) -> None:
    news.insert(columns([HELD[0] | {"published_at": DAY}]))
    assert statuses(store) == {"no date": "replayed", "no title": "open", "no agency": "open", None: "open"}
    outcome = checked(make_job(), hub, store, held=without(held, "no date"))
    assert (outcome.rows, outcome.held) == (9, 3)
    assert outcome.partitions[UNDATED] == 3


def test_single_months_publish_an_article_that_came_in_once(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, held: list[Row]
) -> None:
    """Its held row goes with the month of the article, neither later nor sooner."""
    news.insert(columns([HELD[0] | {"published_at": DAY}]))
    store.execute("UPDATE rejects SET status = 'discarded' WHERE unique_id = 'no title'")
    before = sorted(map(repr, held))
    for month, gone in (("2024-03", ()), ("2024-08", ("no date",)), ("2024-03", ("no date",))):
        make_job(months=(month,)).run()
        ids = [row["unique_id"] for row in hub.all_rows()]
        assert sorted(ids, key=str) == sorted(set(ids), key=str)
        assert {*ids} == {*(row["unique_id"] for row in [*GOOD, *HELD, NO_ID])}
        undated = sorted(map(repr, hub.rows()[UNDATED]))
        assert undated == sorted(map(repr, without(held, *gone))), month
    assert undated != before
    checked(make_job(), hub, store, held=without(held, "no date", "no title"))


@pytest.mark.parametrize("status", ["discarded", "replayed"])
def test_a_settled_reject_lets_its_row_go_with_or_without_an_id(
    hub: Hub, store: Store, make_job: Jobs, held: list[Row], status: str
) -> None:
    store.execute(f"UPDATE rejects SET status = '{status}' WHERE unique_id = 'no title'")
    checked(make_job(), hub, store, held=without(held, "no title"))
    store.execute(f"UPDATE rejects SET status = '{status}' WHERE unique_id IS NULL")
    checked(make_job(), hub, store, held=without(held, "no title", None))
    store.execute(f"UPDATE rejects SET status = '{status}'")
    outcome = checked(make_job(), hub, store, held=[])
    assert outcome.removed == [UNDATED]
    checked(make_job(), hub, store, held=[])


def test_nothing_but_a_settled_reject_is_reason_enough_for_a_sync(
    hub: Hub, store: Store, make_job: Jobs, held: list[Row]
) -> None:
    head = hub.head()
    assert checked(make_job(), hub, store, held=held).commit == head
    store.execute("UPDATE rejects SET status = 'discarded' WHERE unique_id = 'no date'")
    outcome = checked(make_job(), hub, store, held=without(held, "no date"))
    assert outcome.partitions == {UNDATED: 3}
    assert outcome.uploaded == [UNDATED]
    assert outcome.commit != head


def test_a_bad_scrape_of_an_article_that_came_in_does_not_publish_it_twice(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, held: list[Row]
) -> None:
    """Its own reject is settled; that of another, later row with its id has nothing to do with it."""
    news.insert(columns([HELD[0] | {"published_at": DAY}]))
    news.insert(columns([HELD[0] | {"title": None}]))
    assert sorted(row["status"] for row in store.query("SELECT status FROM rejects WHERE unique_id = 'no date'")) == [
        "open",
        "replayed",
    ]
    outcome = checked(make_job(), hub, store, held=without(held, "no date"))
    assert outcome.rows == len({row["unique_id"] for row in hub.all_rows()})


def test_a_row_that_the_catch_up_brings_in_is_not_held_any_more(
    hub: Hub, store: Store, make_job: Jobs, held: list[Row], migrations: Migrations
) -> None:
    mended = HELD[1] | {"title": "Título", "published_at": DAY}
    migrations.bring([*GOOD, HELD[0], mended, HELD[2], NO_ID], max_reject_rate=1.0)
    checked(make_job(), hub, store, held=without(held, "no title"))


@pytest.mark.parametrize(
    "uid",
    [
        "bad date",
        pytest.param(
            None,
            marks=pytest.mark.xfail(
                reason="a row without an id is known by its payload, and the text that was no date is not published"
            ),
        ),
    ],
)
def test_a_row_whose_date_cannot_be_read_is_held_and_goes_with_its_reject(
    hub: Hub, store: Store, make_job: Jobs, migrations: Migrations, uid: str | None
) -> None:
    strings = PUBLISHED_SCHEMA.set(2, pa.field("published_at", pa.string()))
    rows = [row | {"published_at": row["published_at"].isoformat()} for row in GOOD]
    bad = article(30, unique_id=uid, published_at="32/13/2024")
    hub.put({LEGACY: parquet_bytes([*rows, bad], schema=strings)})
    migrations.write([*rows, bad], schema=strings)
    migrations.run(max_reject_rate=1.0)
    held = [published(bad | {"published_at": None})]
    checked(make_job(), hub, store, held=held)
    checked(make_job(), hub, store, held=held)
    store.execute("UPDATE rejects SET status = 'discarded'")
    checked(make_job(), hub, store, held=[])


def test_a_published_row_with_an_open_reject_goes_to_the_held_ones(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    """It has a date, but PostgreSQL refuses it for something else."""
    row = article(40, unique_id="refused")
    hub.put({LEGACY: parquet_bytes([*GOOD, row | {"title": None}])})
    news.insert(columns([*GOOD, row | {"title": None}]))
    outcome = checked(make_job(), hub, store, held=[published(row | {"title": None})])
    assert outcome.account is not None
    assert (outcome.account.held, outcome.account.unexplained) == (1, 0)
    news.insert(columns([row]))
    checked(make_job(), hub, store, held=[])


@pytest.mark.parametrize("again", [False, True])
def test_a_good_row_is_not_held_for_a_reject_of_an_older_version(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, again: bool
) -> None:
    """Else who discards that reject takes a good article away, in all stores."""
    news.insert(columns(GOOD))
    row = article(40, unique_id="late")
    hub.put({LEGACY: parquet_bytes(GOOD)})
    checked(make_job(), hub, store)
    news.insert(columns([row | {"published_at": None}]))
    if again:
        checked(make_job(), hub, store)
    DatasetManager(DATASET, settings=hub.settings, backoff=QUICK).insert(columns([row]))  # a night without PostgreSQL
    before = hub.head()
    for options in ({}, {"full": True}):
        with pytest.raises(
            IntegrityError, match="1 published rows are unknown to PostgreSQL and would go: late"
        ) as told:
            make_job(**options).run()
        assert "reconcile --repair from-postgres" in told.value.hint
    assert hub.head() == before
    news.insert(columns([row]))  # as that repair does
    checked(make_job(), hub, store, held=[])


def test_a_late_enrichment_of_an_unknown_row_is_no_reason_to_hold_it(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    """The reject of an update says that the row is unknown, not that it was refused: it would go, so it is named."""
    news.insert(columns(GOOD))
    hub.put({LEGACY: parquet_bytes([*GOOD, article(40, unique_id="unknown")])})
    update(news, {"unique_id": "unknown", "summary": "s"})
    with pytest.raises(IntegrityError, match="1 published rows are unknown to PostgreSQL and would go: unknown"):
        make_job().run()


def test_a_deleted_row_is_not_held_for_an_old_reject(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    row = article(40, unique_id="gone")
    news.insert(columns([*GOOD, row]))
    checked(make_job(), hub, store)
    news.insert(columns([row | {"title": None}]))
    store.execute("DELETE FROM news WHERE unique_id = 'gone'")
    outcome = checked(make_job(full=True), hub, store, held=[])
    assert outcome.account is not None
    assert (outcome.account.deleted, outcome.account.held) == (1, 0)
    assert hub.head(DATASET) == outcome.commit
