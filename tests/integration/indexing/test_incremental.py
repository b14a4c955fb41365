"""Searches follow PostgreSQL: late themes, corrections, deletions; nothing else is touched."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from data_platform.errors import BusyError, ConfigurationError, IntegrityError, StoreError
from data_platform.managers.postgres.change_feed import ChangeFeed
from data_platform.managers.postgres_manager import PostgresManager
from dev.typesense_server import FailingDocument
from tests.support.hub import columns
from tests.support.search import ALIAS, OTHERS, Search
from tests.support.sources import NO_THEME, article, articles, theme_codes
from tests.support.syncs import update


@pytest.fixture
def filled(search: Search, news: PostgresManager) -> Search:
    """Twenty rows, indexed."""
    news.insert(columns(articles(20)))
    search.run("full")
    return search


def test_what_changed_arrives_and_what_went_goes(filled: Search, news: PostgresManager) -> None:
    """Fault 53: only the last seven days by published_at were indexed, and nothing was ever taken away."""
    rows = articles(20)
    update(news, {"unique_id": rows[1]["unique_id"], **theme_codes("05.02"), "summary": "tarde"})
    filled.store.execute(f"DELETE FROM news WHERE unique_id = '{rows[2]['unique_id']}'")
    news.insert(columns([article(50)]))
    done = filled.run()
    assert (done.rows, done.written, done.deleted, done.failed) == (2, 2, 1, {})
    assert done.documents == 20
    assert filled.documents() == filled.wanted()
    again = filled.run()
    assert (again.rows, again.written, again.deleted, again.reason) == (0, 0, 0, "")


def test_a_cell_that_became_null_goes_and_what_others_wrote_stays(filled: Search, news: PostgresManager) -> None:
    """Fault 51: upsert drops what others wrote; and emplace alone would keep what is no more."""
    uid = articles(20)[3]["unique_id"]
    assert filled.documents()[uid]["summary"]
    collection = filled.client.collections[filled.live()]
    collection.update({"fields": [OTHERS]})
    vector = [0.5] * 768
    collection.documents[uid].update({"view_count": 7, "content_embedding": vector})
    update(news, {"unique_id": uid, **NO_THEME, "summary": None, "tags": [], "image": None})
    filled.run()
    found = filled.documents()[uid]
    assert not {"summary", "tags", "image", "theme_1_level_1", "most_specific_theme_label"} & set(found)
    assert (found.pop("view_count"), found.pop("content_embedding")) == (7, vector)
    assert found == filled.wanted()[uid]


def test_before_the_first_filling_it_says_what_to_do(search: Search) -> None:
    with pytest.raises(ConfigurationError, match="see no collection") as raised:
        search.run()
    assert "--full" in raised.value.hint


def test_a_refused_document_fails_the_run_is_named_and_not_lost(filled: Search, news: PostgresManager) -> None:
    """Fault 50: the exit status was 0 with failed documents."""
    bad, good = article(60), article(61)
    filled.server.store.failing[bad["unique_id"]] = FailingDocument(400, "Field `title` must be a string.", 2)
    news.insert(columns([bad, good]))
    with pytest.raises(IntegrityError, match=f"1 documents were refused: {bad['unique_id']} .*must be a string"):
        filled.run()
    assert good["unique_id"] in filled.documents()
    assert filled.cards()[filled.live()]["facts"].count(bad["unique_id"]) == 1
    with pytest.raises(IntegrityError, match=bad["unique_id"]):  # nothing else is new, and it is tried again
        filled.run()
    done = filled.run()
    assert (done.written, done.failed) == (1, {})
    assert filled.documents() == filled.wanted()
    assert bad["unique_id"] not in filled.cards()[filled.live()]["facts"]


def test_few_refused_documents_may_be_allowed_and_stay_remembered(filled: Search, news: PostgresManager) -> None:
    bad = article(60)
    filled.server.store.failing[bad["unique_id"]] = FailingDocument(400, "no")
    news.insert(columns([bad]))
    done = filled.run(max_failed=1)
    assert list(done.failed) == [bad["unique_id"]]
    assert done.needs_attention
    filled.store.execute(f"DELETE FROM news WHERE unique_id = '{bad['unique_id']}'")
    assert filled.run().failed == {}  # what is gone need not be indexed any more


def test_a_refusal_for_the_moment_is_tried_again_at_once(filled: Search, news: PostgresManager) -> None:
    row = article(60)
    filled.server.store.failing[row["unique_id"]] = FailingDocument(503, "Not Ready or Lagging", 2)
    news.insert(columns([row]))
    assert filled.run().written == 1
    assert filled.documents() == filled.wanted()


def test_a_database_that_was_replaced_has_everything_written_anew(filled: Search, news: PostgresManager) -> None:
    stale = articles(20)[0]["unique_id"]
    filled.store.execute("UPDATE consumer_positions SET system_identifier = '1'")
    filled.store.execute(f"DELETE FROM news WHERE unique_id = '{stale}'", "DELETE FROM news_tombstones")
    done = filled.run()
    assert "system identifier" in done.reason
    assert (done.rows, done.deleted) == (19, 1)
    assert filled.documents() == filled.wanted()


def test_an_empty_database_does_not_empty_the_index(search: Search, news: PostgresManager) -> None:
    news.insert(columns(articles(120)))
    search.run("full")
    search.store.execute("DELETE FROM news", "DELETE FROM news_tombstones", "DELETE FROM consumer_positions")
    with pytest.raises(IntegrityError, match="120 of the 120 documents"):
        search.run()
    assert len(search.documents()) == 120
    assert search.run(allow_shrink=True).deleted == 120


def test_a_field_that_is_missing_is_added_and_filled(filled: Search) -> None:
    collection = filled.server.store.collections[filled.live()]
    del collection.fields["theme_1_level_1"]
    for uid, document in collection.documents.items():
        collection.documents[uid] = {n: v for n, v in document.items() if n != "theme_1_level_1"}
    done = filled.run()
    assert done.mended == ["theme_1_level_1"]
    assert "fields were added" in done.reason
    assert done.drift == []
    assert filled.documents() == filled.wanted()


def test_a_field_of_another_kind_is_reported_and_left(filled: Search) -> None:
    fields = filled.server.store.collections[filled.live()].fields
    told = {**fields["agency"].told, "facet": False}
    fields["agency"] = type(fields["agency"])("agency", "string", False, False, True, True, 0, told)
    done = filled.run()
    assert done.drift == ["agency: facet is False, not True"]
    assert done.needs_attention


def test_a_dry_run_says_what_waits_and_writes_nothing(filled: Search, news: PostgresManager) -> None:
    news.insert(columns([article(50)]))
    filled.store.execute(f"DELETE FROM news WHERE unique_id = '{articles(1)[0]['unique_id']}'")
    before = filled.documents(), filled.cards(), filled.positions()
    asked = len(filled.server.requests)
    done = filled.run(dry_run=True)
    assert (done.rows, done.deleted, done.dry_run) == (1, 1, True)
    assert (filled.documents(), filled.cards(), filled.positions()) == before
    assert not [one for one in filled.server.requests[asked:] if not one.startswith("GET")]


@pytest.mark.parametrize("value", ["infinity", "-infinity"])
def test_a_row_that_has_no_day_is_named_and_once_mended_all_goes_on(filled: Search, value: str) -> None:
    """Only SQL by hand can write it; no store here takes such a row."""
    uid, other = articles(30)[3]["unique_id"], articles(30)[4]["unique_id"]
    day = f"UPDATE news SET published_at = '{{}}' WHERE unique_id = '{uid}'"
    filled.store.execute(day.format(value))
    filled.store.execute(f"UPDATE news SET title = 'outra' WHERE unique_id = '{other}'")
    with pytest.raises(StoreError, match=f"published_at.*in the row whose unique_id is '{uid}'.*UPDATE"):
        filled.run()
    filled.store.execute(day.format("2024-03-01 12:00+00"))
    filled.run()
    assert filled.documents() == filled.wanted()


def test_one_run_at_a_time(filled: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = ChangeFeed.changes
    refused: list[BusyError] = []

    def meanwhile(feed: ChangeFeed, *arguments: object) -> object:
        with pytest.raises(BusyError) as raised:
            filled.run()
        refused.append(raised.value)
        return changes(feed, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ChangeFeed, "changes", meanwhile)
    filled.run()
    assert len(refused) == 1


def test_ids_of_any_form_are_found_again(search: Search, news: PostgresManager) -> None:
    ids = ["a b", "é", "e\u0301", "🛰", "../x", "%s", "a,b", "[x]", "with`tick", "a&&b", "id:=x", "`", "(", '"']
    news.insert(columns([article(n, unique_id=uid) for n, uid in enumerate(ids)]))
    search.run("full")
    assert search.documents() == search.wanted()
    search.store.execute("DELETE FROM news")
    assert search.run().deleted == len(ids)
    assert search.documents() == {}


def test_evening_items_belong_to_the_day_of_brasilia(search: Search, news: PostgresManager) -> None:
    news.insert(columns([article(1, unique_id="eve", published_at=datetime(2025, 1, 1, 2, 59, tzinfo=UTC))]))
    search.run("full")
    found = search.documents()["eve"]
    assert (found["published_year"], found["published_month"], found["published_week"]) == (2024, 12, 202501)


def test_what_ran_is_in_the_ledger(filled: Search) -> None:
    filled.run()
    ours = "SELECT operation, status FROM sync_log WHERE starts_with(operation, 'reindex:') ORDER BY id"
    rows = filled.store.query(ours)
    assert [tuple(row.values()) for row in rows] == [
        ("reindex:typesense-full", "completed"),
        ("reindex:typesense-incremental", "completed"),
    ]
    assert ALIAS in str(filled.store.value("SELECT metadata FROM sync_log ORDER BY id DESC LIMIT 1"))
