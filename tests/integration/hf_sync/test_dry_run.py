"""What a sync would do, and single months: what they tell, and all that they leave alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from data_platform.errors import ConfigurationError, IntegrityError
from data_platform.jobs.hf_sync.records import SyncOptions
from data_platform.managers.postgres_manager import PostgresManager
from tests.support.hub import Hub, columns, parquet_bytes
from tests.support.sources import article, articles
from tests.support.stores import Store
from tests.support.syncs import Jobs, checked, in_step, is_in_step, on_the_hub, position, said_by_the_hub, update

MARCH, APRIL, MAY = (f"data/train-2024-0{n}.parquet" for n in (3, 4, 5))
ROWS = [
    article(n, unique_id=f"row {n}", published_at=datetime(2024, 3 + n % 2, 5 + n, 12, tzinfo=UTC)) for n in range(8)
]


@pytest.fixture
def waiting(hub: Hub, store: Store, news: PostgresManager, make_job: Jobs) -> Hub:
    """A Hub that is in step, with a change in each of two months and a row in a new one."""
    news.insert(columns(ROWS))
    checked(make_job(), hub, store)
    update(news, {"unique_id": "row 0", "title": "x"})
    store.execute("DELETE FROM news WHERE unique_id = 'row 1'")
    news.insert(columns([article(90, unique_id="new", published_at=datetime(2024, 5, 1, 12, tzinfo=UTC))]))
    return hub


def everything(hub: Hub, store: Store) -> tuple[object, ...]:
    """All that a dry run must not touch."""
    state = Path(hub.settings.state_uri)
    ledger = sorted(path.as_posix() for path in state.rglob("*")) if state.exists() else []
    logged = store.value("SELECT count(*) FROM sync_log")
    windows = store.query("SELECT * FROM consumer_positions")
    uploads = sorted(path.name for path in (hub.store.root / "blobs").glob("*"))
    return said_by_the_hub(hub), position(store), windows, ledger, logged, uploads


def test_a_dry_run_writes_nothing_anywhere(waiting: Hub, store: Store, make_job: Jobs) -> None:
    for options in ({}, {"full": True}, {"months": ("2024-03",)}, {"overwrite": True}):
        before, asked = everything(waiting, store), len(waiting.server.requests)
        told = make_job(dry_run=True, **options).run()
        assert everything(waiting, store) == before, options
        assert not [r for r in waiting.server.requests[asked:] if not r.startswith(("GET", "HEAD"))]
        assert told.dry_run
        assert (told.commit, told.committed, told.marked, told.proven, *told.uploaded) == ("", False, 0, 0)
        assert "(dry run)" in told.lines()[0]


def test_a_first_dry_run_writes_nothing_either(hub: Hub, store: Store, news: PostgresManager, make_job: Jobs) -> None:
    news.insert(columns(ROWS))
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes(ROWS)})
    before = everything(hub, store)
    told = make_job(dry_run=True).run()
    assert everything(hub, store) == before
    assert store.query("SELECT * FROM consumer_positions") == []
    assert told.reason == "no position yet"
    assert told.adoption is not None


def test_a_dry_run_tells_what_the_sync_then_does(waiting: Hub, store: Store, make_job: Jobs) -> None:
    for options in ({}, {"full": True}):
        told, done = make_job(dry_run=True, **options).run(), checked(make_job(**options), waiting, store)
        names = (
            "kind",
            "reason",
            "changed_rows",
            "tombstones",
            "partitions",
            "removed",
            "rows",
            "held",
            "notes",
            "account",
        )
        assert [getattr(told, name) for name in names] == [getattr(done, name) for name in names]
        if not options:
            assert told.partitions == {MARCH: 4, APRIL: 3, MAY: 1}
            assert (told.changed_rows, told.tombstones) == (2, 1)


def test_a_dry_run_names_the_rows_that_nobody_can_explain_and_does_not_refuse(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    news.insert(columns(ROWS[:6]))
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes(ROWS)})
    told = make_job(dry_run=True).run()
    assert told.account is not None
    assert (told.account.unexplained, told.account.unexplained_ids) == (2, ["row 6", "row 7"])
    assert told.rows == 6
    assert any("row 6" in line for line in told.lines())


# ---------------------------------------------------------------------------------------------------- months


def test_single_months_are_published_whole_and_nothing_else(
    waiting: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    before, april = position(store), waiting.content(APRIL)
    outcome = make_job(months=("2024-05", "2024-03", "2024-03")).run()
    assert outcome.partitions == {MARCH: 4, MAY: 1}
    assert outcome.kind == "months"
    assert sorted(waiting.rows()) == [MARCH, APRIL, MAY]
    assert waiting.content(APRIL) == april
    assert is_in_step(waiting)
    titles = {row["unique_id"]: row["title"] for row in on_the_hub(waiting)}
    assert (titles["row 0"], "new" in titles, "row 1" in titles) == ("x", True, True)
    # what was published is not sworn to: the position and the marks stay, and the next sync looks at all of it again
    assert position(store) == before
    assert len(news.get_records_for_hf_sync()) == 2
    outcome = checked(make_job(), waiting, store)
    assert (outcome.reason, outcome.uploaded) == ("", [APRIL])
    assert news.get_records_for_hf_sync().empty


def test_a_month_that_became_empty_goes_and_one_that_never_was_is_nothing(
    waiting: Hub, store: Store, make_job: Jobs
) -> None:
    store.execute("DELETE FROM news WHERE published_date < '2024-04-01'")
    outcome = make_job(months=("2024-03", "1999-01")).run()
    assert (outcome.partitions, outcome.removed) == ({}, [MARCH])
    assert sorted(waiting.rows()) == [APRIL]
    assert make_job(months=("1999-01",)).run().committed is False


def test_published_months_do_not_pass_for_a_sync(waiting: Hub, store: Store, make_job: Jobs) -> None:
    """Their commit carries the stamp of the sync before: else the next one would find it ahead of its position."""
    make_job(months=("2024-03",)).run()
    assert checked(make_job(), waiting, store).reason == ""


def test_single_months_need_a_sync_before_them(hub: Hub, store: Store, news: PostgresManager, make_job: Jobs) -> None:
    news.insert(columns(articles(3)))
    with pytest.raises(IntegrityError, match="single months cannot be published: no position yet"):
        make_job(months=("2024-03",)).run()
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes(articles(3))})
    checked(make_job(), hub, store)
    store.execute("UPDATE consumer_positions SET system_identifier = '1'")
    with pytest.raises(IntegrityError, match="single months cannot be published: other system identifier"):
        make_job(months=("2024-03",)).run()
    in_step(hub, store)


def test_single_months_publish_no_row_twice_and_lose_none(
    waiting: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    update(news, {"unique_id": "row 3", "published_at": ROWS[0]["published_at"]})
    update(news, {"unique_id": "row 2", "published_at": ROWS[5]["published_at"]})
    outcome = make_job(months=("2024-03",)).run()
    assert any("published along" in note for note in outcome.notes)
    ids = [row["unique_id"] for row in on_the_hub(waiting)]
    assert len(ids) == len(set(ids))
    assert {"row 2", "row 3"} <= set(ids)


@pytest.mark.parametrize("months", [("2024-13",), ("2024-1",), ("2024-03-01",), ("",), ("0000",), ("2024-03\n",)])
def test_what_is_no_month_is_named(months: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="is no month") as caught:
        SyncOptions(months=months)
    assert "YYYY-MM" in caught.value.hint


def test_all_months_and_single_ones_exclude_each_other() -> None:
    with pytest.raises(ConfigurationError, match="a full sync has all months"):
        SyncOptions(full=True, months=("2024-03",))
