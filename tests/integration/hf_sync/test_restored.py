"""A database that was restored, replaced, or put back in time: the sync notices, and takes nothing away unasked."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql

from data_platform.errors import IntegrityError
from data_platform.jobs.hf_sync.records import SyncOptions
from data_platform.jobs.hf_sync.sync_job import HuggingFaceSyncJob
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.postgres_manager import PostgresManager
from dev.embedded_postgres import EmbeddedPostgres
from tests.support.hub import DATASET, QUICK, Hub, columns
from tests.support.sources import article, articles
from tests.support.stores import Store
from tests.support.syncs import Jobs, checked, failing_at, in_step, position, said_by_the_hub, update


@pytest.fixture
def copy_of(postgres: EmbeddedPostgres, news: PostgresManager) -> Iterator[Callable[[Store], Store]]:
    """A function that makes a copy of a database as it is: a backup that is restored elsewhere."""
    names: list[str] = []

    def make(store: Store) -> Store:
        news.close()
        names.append(f"copy_{secrets.token_hex(6)}")
        of = store.url.rpartition("/")[2]
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (of,))
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(names[-1]), sql.Identifier(of))
            )
        return Store(postgres.url(names[-1]))

    yield make
    for name in names:
        postgres.drop_database(name)


def job_on(store: Store, hub: Hub, make_job: Jobs, **options: bool) -> HuggingFaceSyncJob:
    manager = DatasetManager(DATASET, settings=hub.settings, backoff=QUICK)
    settings = hub.settings.with_database(store.url)
    return HuggingFaceSyncJob(settings, make_job().mode, options=SyncOptions(**options), manager=manager)


def test_a_database_put_back_in_time_takes_away_nothing_that_it_has_forgotten(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, copy_of: Callable[[Store], Store]
) -> None:
    news.insert(columns(articles(4)))
    checked(make_job(), hub, store)
    backup = copy_of(store)
    PostgresManager(store.url).insert(columns([article(70)]))
    store.execute(f"DELETE FROM news WHERE unique_id = '{article(0)['unique_id']}'")
    checked(make_job(), hub, store)
    head, before = hub.head(), position(backup)["marks"]
    with pytest.raises(IntegrityError, match="1 published rows are unknown to PostgreSQL and would go") as caught:
        job_on(backup, hub, make_job).run()
    assert article(70)["unique_id"] in caught.value.message
    assert (hub.head(), position(backup)["marks"]) == (head, before)
    again = PostgresManager(backup.url)
    again.insert(columns([article(70)]))  # brought in again, as the message says
    outcome = checked(job_on(backup, hub, make_job), hub, backup)
    assert outcome.account is not None
    assert (outcome.account.new, outcome.account.unexplained) == (1, 0)  # what was deleted later is there again
    assert again.get_records_for_hf_sync().empty
    again.close()


def test_a_run_that_could_not_store_its_position_is_told_from_a_database_put_back(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    news.insert(columns(articles(4)))
    checked(make_job(), hub, store)
    news.insert(columns([article(70)]))
    with failing_at("sync.before_store"):
        make_job().run()
    assert checked(make_job(), hub, store).reason == ""


def test_two_runs_that_could_not_store_their_position_are_told_from_it_too(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    """Only the account is at stake: a whole one is made where the changes would do."""
    news.insert(columns(articles(4)))
    checked(make_job(), hub, store)
    news.insert(columns([article(70)]))
    for _ in range(2):
        with failing_at("sync.before_store"):
            make_job().run()
    assert checked(make_job(), hub, store).reason == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("SET system_identifier = '1'", "other system identifier: 1 before"),
        ("SET timeline = 77", "other timeline: 77 before"),
        ("SET position_xid = '9000000000'", "is ahead of the server's present snapshot"),
        ("SET position_xid = '3', outside_stamp = NULL, announced_stamp = NULL", "is ahead of the position 3"),
    ],
)
def test_another_server_is_answered_by_a_whole_account(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, change: str, reason: str
) -> None:
    news.insert(columns(articles(4)))
    checked(make_job(), hub, store)
    store.execute(f"UPDATE consumer_positions {change}")
    store.execute("UPDATE news SET title = 'behind the feed'", behind_triggers=True)
    told = make_job(dry_run=True).run()
    assert reason in told.reason
    with pytest.raises(IntegrityError, match="4 published rows have other cells than PostgreSQL"):
        make_job().run()
    outcome = checked(make_job(overwrite=True), hub, store)
    assert reason in outcome.reason
    assert outcome.account is not None
    assert (outcome.account.in_postgres, outcome.account.new) == (4, 0)
    assert checked(make_job(), hub, store).reason == ""


def test_an_empty_database_takes_nothing_away(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, make_store: Callable[[], Store]
) -> None:
    """DATABASE_URL points at the wrong one, or it was made anew and not filled yet."""
    news.insert(columns(articles(4)))
    checked(make_job(), hub, store)
    empty = make_store()
    before = said_by_the_hub(hub)
    for full in (False, True):
        with pytest.raises(IntegrityError, match="4 published rows are unknown to PostgreSQL and would go"):
            job_on(empty, hub, make_job, full=full).run()
    assert said_by_the_hub(hub) == before
    in_step(hub, store)
    assert checked(make_job(), hub, store).reason == ""  # the right one goes on as if nothing had been


def test_rows_restored_with_ids_of_the_future_are_published_marked_and_do_not_wait(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    """A dump of another server keeps change_xid, which this one is far from having given out."""
    news.insert(columns(articles(4)))
    store.execute("UPDATE news SET change_xid = '90000000000'", behind_triggers=True)
    assert make_job().lag().rows == 4
    checked(make_job(), hub, store)
    assert (make_job().lag().rows, make_job().lag().oldest) == (0, None)
    assert news.get_records_for_hf_sync().empty
    again = checked(make_job(), hub, store)
    assert (again.partitions, again.changed_rows) == ({}, 0)
    update(news, {"unique_id": article(1)["unique_id"], "title": "x"})
    assert make_job().lag().rows == 1
    assert len(news.get_records_for_hf_sync()) == 1
    outcome = checked(make_job(), hub, store)
    assert (outcome.changed_rows, len(outcome.uploaded)) == (1, 1)
    assert news.get_records_for_hf_sync().empty


def test_rows_with_ids_of_the_future_are_verified_like_all_others(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    news.insert(columns(articles(4)))
    store.execute("UPDATE news SET change_xid = '90000000000'", behind_triggers=True)
    checked(make_job(), hub, store)
    assert make_job().verify().passed
    store.execute("UPDATE news SET title = 'behind the feed'", behind_triggers=True)
    found = make_job().verify()
    assert (found.passed, found.different, found.pending) == (False, 4, 0)
