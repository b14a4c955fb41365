"""Writers and other syncs at work while a sync reads: every row is published once, and no commit is lost."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from data_platform.errors import BusyError
from data_platform.managers.postgres_manager import PostgresManager
from tests.support.hub import Hub, columns
from tests.support.sources import article, articles
from tests.support.stores import Store
from tests.support.syncs import Jobs, at_failpoint, checked, in_step, on_the_hub, position, said_by_the_hub, update
from tests.support.waiting import holding

MARCH, JULY = datetime(2024, 3, 10, 12, tzinfo=UTC), datetime(2024, 7, 10, 12, tzinfo=UTC)
#: Rows that stay where they are, so that neither month comes or goes as a whole.
STAYING = [article(8, published_at=MARCH), article(9, published_at=JULY)]
#: A transaction of somebody else that has written something and stays open: it holds the horizon back.
WRITING = "UPDATE agencies SET updated_at = now() WHERE key = 'aeb'"


def test_a_row_that_moves_above_the_horizon_is_in_exactly_one_file(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    """While a long transaction is open, the snapshot sees more than the window: the months must be the snapshot's."""
    first, second, third = article(1, published_at=MARCH), article(2, published_at=JULY), article(3, published_at=JULY)
    news.insert(columns([*STAYING, first, second, third]))
    make_job().run()
    with holding(store, WRITING):
        update(news, {"unique_id": first["unique_id"], "published_at": JULY})
        checked(make_job(), hub, store)
        update(news, {"unique_id": second["unique_id"], "published_at": MARCH})
        store.execute(f"DELETE FROM news WHERE unique_id = '{third['unique_id']}'")
        checked(make_job(), hub, store)
    checked(make_job(), hub, store)
    assert make_job().lag().rows == 0


def test_a_row_that_moves_between_window_and_snapshot_is_in_exactly_one_file(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = article(1, published_at=MARCH), article(2, published_at=JULY)
    news.insert(columns([*STAYING, first, second]))
    make_job().run()
    update(news, {"unique_id": second["unique_id"], "title": "outro"})
    moved = {"unique_id": first["unique_id"], "published_at": JULY}
    with at_failpoint(monkeypatch, "sync.after_window", lambda: update(news, moved)):
        checked(make_job(), hub, store)
    assert len(on_the_hub(hub)) == 4
    pending = news.get_records_for_hf_sync()
    assert list(pending["unique_id"]) == [first["unique_id"]]  # published, but nobody can swear to it
    checked(make_job(), hub, store)
    assert news.get_records_for_hf_sync().empty


def test_a_row_that_moves_while_files_are_written_is_in_exactly_one_file(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot is REPEATABLE READ: what commits after it is the next sync's, whole."""
    from data_platform.jobs.hf_sync import months

    rows = [article(1, published_at=MARCH), article(2, published_at=JULY), article(3, published_at=MARCH)]
    news.insert(columns(rows))
    before = {row["unique_id"]: row for row in store.published().values()}
    whole = months.MonthFiles._write
    seen: list[str] = []

    def write(self: months.MonthFiles, month: str, local: object) -> int:
        if not seen:  # the first file is about to be written: move one row each way, and take one away
            update(news, {"unique_id": rows[0]["unique_id"], "published_at": JULY})
            update(news, {"unique_id": rows[1]["unique_id"], "published_at": MARCH})
            store.execute(f"DELETE FROM news WHERE unique_id = '{rows[2]['unique_id']}'")
        seen.append(month)
        return whole(self, month, local)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(months.MonthFiles, "_write", write)
        make_job().run()
    assert seen == ["2024-03", "2024-07"]
    assert {row["unique_id"]: row["published_at"] for row in on_the_hub(hub)} == {
        uid: row["published_at"] for uid, row in before.items()
    }
    checked(make_job(), hub, store)


def test_the_rows_of_a_long_open_transaction_come_with_a_later_sync(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    news.insert(columns(articles(6)))
    make_job().run()
    with psycopg.connect(store.url) as late:
        late.execute("UPDATE news SET title = 'late' WHERE unique_id = %s", (article(0)["unique_id"],))
        late.execute("DELETE FROM news WHERE unique_id = %s", (article(1)["unique_id"],))
        news.insert(columns(articles(3, first=40)))
        checked(make_job(), hub, store)
        checked(make_job(), hub, store)
        late.commit()
    lag = make_job().lag()
    assert (lag.rows >= 1, lag.tombstones) == (True, 1)
    checked(make_job(), hub, store)
    assert make_job().lag().rows == 0
    assert news.get_records_for_hf_sync().empty


def test_a_transaction_that_commits_while_the_sync_is_at_work_is_the_next_ones(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    news.insert(columns(articles(4)))
    for place in ("sync.after_window", "sync.before_proof", "sync.before_store", "sync.after_store"):
        number = 50 + len(store.published())
        with at_failpoint(monkeypatch, place, lambda n=number: news.insert(columns([article(n)]))):  # type: ignore[misc]
            make_job().run()
        checked(make_job(), hub, store)
    assert len(on_the_hub(hub)) == 8


def test_the_second_of_two_syncs_is_told_that_the_first_is_at_work(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    news.insert(columns(articles(4)))
    told: list[str] = []

    def second() -> None:
        for job in (make_job().run, make_job().verify):
            with pytest.raises(BusyError, match="another sync is at work") as caught:
                job()
            told.append(caught.value.hint)

    with at_failpoint(monkeypatch, "sync.before_proof", second):
        checked(make_job(), hub, store)
    assert told == ["wait until it has ended, then try again"] * 2
    assert len(hub.commits()) == 2


def test_a_run_that_lost_its_lock_stores_nothing_after_a_later_one_began(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock's connection was cut: another run begins while the first is still at work. Its window is void."""
    news.insert(columns(articles(4)))
    make_job().run()
    news.insert(columns([article(50)]))
    after: list[object] = []

    def another() -> None:
        store.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'govbr sync lock'"
            " AND datname = current_database()"
        )
        news.insert(columns([article(51)]))
        make_job().run()
        after.append(position(store))

    with at_failpoint(monkeypatch, "sync.before_store", another), pytest.raises(BusyError, match="another run"):
        make_job().run()
    assert position(store) == after[0]
    in_step(hub, store)
    checked(make_job(), hub, store)


@pytest.mark.parametrize("status", ["planning", "loading"])
def test_no_sync_publishes_a_table_that_is_half_loaded(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, status: str
) -> None:
    news.insert(columns(articles(4)))
    before = said_by_the_hub(hub), position(store)
    store.execute(
        "INSERT INTO load_runs (source, revision, snapshot, mode, dry_run, status, options, started_by)"
        f" VALUES ('s', 'r', '{{}}', 'bulk', false, '{status}', '{{}}', 't')"
    )
    for job in (make_job().run, make_job().verify):
        with pytest.raises(BusyError, match="migration 1 is filling news") as caught:
            job()
        assert "migrate" in caught.value.hint
    assert (said_by_the_hub(hub), position(store)) == before
    store.execute("UPDATE load_runs SET status = 'failed'")
    checked(make_job(), hub, store)
