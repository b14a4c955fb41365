"""What `status` says of the readers of the change feed."""

from __future__ import annotations

import json
from datetime import timedelta

import psycopg
import pytest

from data_platform.cli import main
from data_platform.jobs.status import read_status
from data_platform.managers.postgres.change_feed import ChangeFeed
from data_platform.managers.postgres_manager import PostgresManager
from tests.support.hub import columns
from tests.support.sources import articles
from tests.support.stores import Store


def read_all(store: Store) -> None:
    with ChangeFeed(store.url, consumer="search") as feed:
        feed.store(feed.open_window())


def test_a_reader_that_has_everything_is_up_to_date_and_one_that_has_not_says_what_waits(store: Store) -> None:
    assert read_status(store.url).readers == []
    read_all(store)
    assert read_status(store.url).lines()[-1] == "  reader search: up to date"
    PostgresManager(store.url).insert(columns(articles(3, first=20)))
    status = read_status(store.url)
    (reader,) = status.readers
    assert (reader["consumer"], reader["rows"], reader["resync_reason"]) == ("search", 3, "")
    assert not status.needs_attention
    store.execute("UPDATE news SET updated_at = now() - interval '25 hours'", behind_triggers=True)
    assert read_status(store.url).needs_attention


def test_a_late_collection_says_since_when_and_that_it_may_only_be_kept(store: Store) -> None:
    """What searches see PostgreSQL does not know: after a fill from the dataset nothing follows here any more."""
    for name in ("news_20240501T000000000000Z", "news_20240502T000000000000Z"):
        with ChangeFeed(store.url, consumer=f"typesense/{name}") as feed:
            feed.store(feed.open_window())
    store.execute("UPDATE consumer_positions SET updated_at = '2024-05-03 10:20+00' WHERE consumer LIKE '%02T%'")
    PostgresManager(store.url).insert(columns(articles(3, first=20)))
    store.execute("UPDATE consumer_positions SET updated_at = '2024-05-02' WHERE consumer LIKE '%01T%'")
    assert "last stored" not in read_status(store.url).lines()[-1]
    store.execute("UPDATE news SET updated_at = now() - interval '25 hours'", behind_triggers=True)
    status = read_status(store.url)
    assert [reader["is_kept"] for reader in status.readers] == [True, False]
    assert status.needs_attention
    kept, followed = status.lines()[-2:]
    assert kept.endswith("kept for the way back, follows nothing")
    assert "last stored how far it is at 2024-05-03 10:20 UTC (if searches see a collection of the dataset" in followed


def test_a_reader_that_must_begin_anew_says_why(store: Store) -> None:
    read_all(store)
    store.execute("UPDATE consumer_positions SET system_identifier = 'another'")
    assert "must read everything: other system identifier" in read_status(store.url).lines()[-1]


def test_a_transaction_that_holds_the_readers_up_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_platform.jobs.status.OLDEST_TRANSACTION_LIMIT", timedelta(0))
    read_all(store)
    assert read_status(store.url).held_by == ""
    with psycopg.connect(store.url, application_name="forgotten shell") as forgotten:
        forgotten.execute("UPDATE agencies SET name = name")
        status = read_status(store.url)
        assert "forgotten shell" in status.held_by
        assert status.needs_attention


def test_the_command_tells_the_same(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    read_all(store)
    assert main(["status", "--json", "--database-url", store.url]) == 0
    assert json.loads(capsys.readouterr().out)["readers"][0]["consumer"] == "search"
