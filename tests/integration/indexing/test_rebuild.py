"""A new collection beside the old one: searches never notice, a killed run is gone on with, the way back works."""

from __future__ import annotations

from typing import Any

import pytest

from data_platform.errors import IntegrityError, StoreError
from data_platform.jobs.indexing import compare
from data_platform.jobs.status import Status, read_status
from data_platform.managers.postgres_manager import PostgresManager
from dev.typesense_server import FailingDocument, TypesenseServer
from tests.support.hub import columns
from tests.support.search import ALIAS, OTHERS, Search
from tests.support.sources import article, articles
from tests.support.syncs import failing_at, update

#: Places that a full run passes: those that tell most, and all others.
POINTS = (
    "reindex.after_create",
    "reindex.after_page:2",
    "reindex.before_point",
    "reindex.after_point",
    *(
        pytest.param(point, marks=pytest.mark.slow)
        for point in (
            "reindex.after_window:1",
            "reindex.after_window:2",
            "reindex.after_place:2",
            "reindex.after_announce:1",
            "reindex.after_stamp:1",
            "reindex.after_follow:1",
            "reindex.after_finish",
            "reindex.after_follow:2",
            "reindex.after_compare",
            "reindex.after_drop",
        )
    ),
)


@pytest.fixture
def filled(search: Search, news: PostgresManager) -> Search:
    """Thirty rows, indexed twice: there is a collection to drop."""
    news.insert(columns(articles(30)))
    search.run("full")
    search.run("full")
    return search


def test_the_first_run_makes_the_alias(search: Search, news: PostgresManager) -> None:
    news.insert(columns(articles(30)))
    done = search.run("full")
    assert (done.rows, done.written, done.documents, done.previous, done.dropped) == (30, 30, 30, "", [])
    assert done.collection == search.live() != ALIAS
    assert (done.compared["ids equal"], done.compared["rows of a sample equal"]) == (30, 30)
    assert (done.drift, done.down_s) == ([], None)
    assert search.documents() == search.wanted()
    assert search.cards()[done.collection]["is_whole"] is True


def test_one_old_collection_is_kept_and_older_ones_go_with_their_positions(filled: Search) -> None:
    first, second = filled.collections()
    done = filled.run("full")
    assert filled.collections() == [second, done.collection]
    assert (done.previous, list(done.dropped)) == (second, [first])
    assert set(filled.positions()) == {f"typesense/{name}" for name in filled.collections()}
    assert set(filled.cards()) == set(filled.collections())


def test_a_collection_that_is_only_kept_is_not_late(filled: Search, news: PostgresManager) -> None:
    old, new = filled.collections()
    news.insert(columns([article(90)]))
    filled.run()
    readers = {reader["consumer"]: reader for reader in read_status(filled.store.url).readers}
    assert (readers[f"typesense/{old}"]["is_kept"], readers[f"typesense/{old}"]["rows"]) == (True, 1)
    assert (readers[f"typesense/{new}"]["is_kept"], readers[f"typesense/{new}"]["rows"]) == (False, 0)
    late = [reader | {"oldest_s": 10**6} for reader in readers.values()]
    assert Status("18", "x", "x", readers=late).needs_attention
    kept = [reader | {"oldest_s": 10**6} for reader in readers.values() if reader["is_kept"]]
    assert not Status("18", "x", "x", readers=kept).needs_attention


def test_searches_notice_nothing_of_a_rebuild(filled: Search, news: PostgresManager) -> None:
    """Fault 52: a rebuild deleted what searches see, and lost all rows before 2025."""
    with filled.searching() as answered:
        for number in range(2):
            update(news, {"unique_id": articles(30)[number]["unique_id"], "title": f"Outro {number}"})
            before = answered()
            filled.run("full")
            assert answered() > before
    assert filled.server.searches.failed == filled.server.searches.empty == 0
    assert filled.documents() == filled.wanted()


def test_what_others_wrote_comes_along(filled: Search) -> None:
    """Fault 51: vectors and features were lost by each upsert; a rebuild brings them over too."""
    uid, gone = articles(30)[3]["unique_id"], articles(30)[4]["unique_id"]
    live = filled.client.collections[filled.live()]
    live.update({"fields": [OTHERS]})
    vector = [0.25] * 768
    live.documents[uid].update({"view_count": 7, "content_embedding": vector})
    live.documents[gone].update({"view_count": 1})
    filled.store.execute(f"DELETE FROM news WHERE unique_id = '{gone}'")
    done = filled.run("full")
    found = filled.documents()[uid]
    assert (found["view_count"], found["content_embedding"]) == (7, vector)
    assert gone not in filled.documents()
    told = {field["name"]: field for field in filled.client.collections[done.collection].retrieve()["fields"]}
    assert told["view_count"]["type"] == "int32"
    assert done.drift == []


@pytest.mark.parametrize("point", POINTS)
def test_broken_off_anywhere_the_next_run_goes_on(filled: Search, news: PostgresManager, point: str) -> None:
    before, there = filled.live(), set(filled.collections())
    name = point.partition(":")[0]
    with failing_at(point):
        filled.run("full", batch_rows=7)
    made = set(filled.collections()) - there
    assert (filled.live() != before) is (name in {"reindex.after_point", "reindex.after_drop"})
    update(news, {"unique_id": articles(30)[0]["unique_id"], "title": "mudou"})
    filled.store.execute(f"DELETE FROM news WHERE unique_id = '{articles(30)[1]['unique_id']}'")
    done = filled.run("full", batch_rows=7)
    assert done.resumed is (name != "reindex.after_drop")
    if done.resumed:
        assert made == {done.collection}
    assert len(filled.collections()) == 2
    assert done.collection == filled.live()
    assert filled.documents() == filled.wanted()


def test_an_unfinished_collection_is_given_up_if_asked(filled: Search) -> None:
    with failing_at("reindex.after_page"):
        filled.run("full")
    unfinished = filled.collections()[-1]
    done = filled.run("full", afresh=True)
    assert done.resumed is False
    assert unfinished not in filled.collections()
    assert filled.documents() == filled.wanted()


def test_a_collection_that_is_not_what_postgresql_is_is_not_shown(
    filled: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = filled.live()
    lost, altered = articles(30)[0]["unique_id"], articles(30)[1]["unique_id"]
    equal_ids = compare.ids_of

    def damaged(index: object, collection: str) -> object:
        filled.server.store.collections[collection].documents.pop(lost, None)
        return equal_ids(index, collection)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(compare, "ids_of", damaged)
        with pytest.raises(IntegrityError, match=f"1 rows are not there, such as {lost}"):
            filled.run("full")
    assert filled.live() == before

    def changed(index: object, collection: str) -> object:
        document = filled.server.store.collections[collection].documents[altered]
        filled.server.store.collections[collection].documents[altered] = document | {"title": "x"}
        return equal_ids(index, collection)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(compare, "ids_of", changed)
        with pytest.raises(IntegrityError, match=f"{altered}: title is 'x'"):
            filled.run("full", afresh=True)
    assert filled.live() == before
    assert filled.run("full", afresh=True).collection == filled.live() != before


def test_a_refused_document_keeps_the_old_collection_on(filled: Search, news: PostgresManager) -> None:
    bad, before = article(60), filled.live()
    filled.server.store.failing[bad["unique_id"]] = FailingDocument(400, "no", 2)
    news.insert(columns([bad]))
    with pytest.raises(IntegrityError, match=bad["unique_id"]):
        filled.run("full")
    assert filled.live() == before
    done = filled.run("full")  # gone on with: only what was refused is left
    assert (done.resumed, done.written) == (True, 1)
    assert filled.documents() == filled.wanted()


def test_much_less_than_before_is_not_shown(search: Search, news: PostgresManager) -> None:
    news.insert(columns(articles(150)))
    before = search.run("full").collection
    search.store.execute("DELETE FROM news WHERE unique_id IN (SELECT unique_id FROM news LIMIT 120)")
    with pytest.raises(IntegrityError, match=r"has 30 documents.*has 150"):
        search.run("full")
    assert search.live() == before
    assert search.run("full", allow_shrink=True).documents == 30


def test_back_to_the_collection_before_and_on_from_there(filled: Search, news: PostgresManager) -> None:
    old, new = filled.collections()
    update(news, {"unique_id": articles(30)[0]["unique_id"], "title": "mudou"})
    filled.store.execute(f"DELETE FROM news WHERE unique_id = '{articles(30)[1]['unique_id']}'")
    filled.run()
    with filled.searching():
        done = filled.run("rollback")
    assert (filled.live(), done.collection, done.previous) == (old, old, new)
    assert (done.rows, done.deleted, done.reason) == (1, 1, "")
    assert filled.documents() == filled.wanted()
    update(news, {"unique_id": articles(30)[2]["unique_id"], "title": "mudou"})
    assert filled.run().rows == 1
    assert filled.documents() == filled.wanted()
    after = filled.run("full")
    assert filled.collections() == [old, after.collection]  # the one that was gone back from is not kept


def test_the_first_move_from_a_collection_to_an_alias(search: Search, news: PostgresManager) -> None:
    """What was there: a collection called as the alias is to be, filled by others."""
    news.insert(columns(articles(30)))
    fields = [
        {"name": "published_at", "type": "int64"},
        {"name": "unique_id", "type": "string"},
        {"name": "title", "type": "string", "optional": True},
    ]
    search.client.collections.create({"name": ALIAS, "fields": fields, "default_sorting_field": "published_at"})
    old = {"id": "velho", "unique_id": "velho", "title": "t", "published_at": 1}
    search.client.collections[ALIAS].documents.create(old)
    with pytest.raises(StoreError, match="a collection is called news") as raised, search.searching():
        search.run("full")
    assert "--replace-collection" in raised.value.hint
    assert search.documents() == {"velho": old}
    done = search.run("full", replace_collection=True)
    assert done.resumed is True
    assert done.down_s is not None
    assert done.down_s < 5
    assert search.live() == done.collection != ALIAS
    assert search.documents() == search.wanted()


def test_a_collection_of_the_alias_name_can_be_followed_before_the_move(search: Search, news: PostgresManager) -> None:
    news.insert(columns(articles(5)))
    collection = search.index().create
    search.server.store.create_collection(
        {"name": ALIAS, "fields": [{"name": "published_at", "type": "int64"}], "default_sorting_field": "published_at"}
    )
    assert collection is not None
    done = search.run()
    assert done.collection == ALIAS
    assert "unique_id is missing" in done.drift  # it cannot be added: it is not optional
    assert search.documents() == search.wanted()


@pytest.mark.parametrize("room", ["DISK", "MEMORY"])
def test_a_server_without_room_is_not_asked_again(
    filled: Search, news: PostgresManager, typesense_server: TypesenseServer, room: Any
) -> None:
    news.insert(columns([article(70)]))
    asked = len(typesense_server.requests)
    typesense_server.out_of(room, 100)
    with pytest.raises(StoreError, match=f"no memory or disk left.*OUT_OF_{room}"):
        filled.run()
    assert len([one for one in typesense_server.requests[asked:] if "import" in one]) == 1
    typesense_server.out_of(room, 0)
    filled.run()
    assert filled.documents() == filled.wanted()
