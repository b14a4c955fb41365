"""Typesense's stand-in, through the real client and raw HTTP: collections, aliases, documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import typesense
from typesense.exceptions import (
    ObjectAlreadyExists,
    ObjectNotFound,
    RequestMalformed,
    ServerError,
)

from dev.typesense_server import TypesenseServer
from tests.support.typesense_news import NEWS, SCHEMA, client_of, document, filled, found

pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated on v30:DeprecationWarning")


@pytest.fixture
def server() -> Iterator[TypesenseServer]:
    with TypesenseServer(keys=["key"], search_keys=["search"]) as made:
        yield made


@pytest.fixture
def client(server: TypesenseServer) -> typesense.Client:
    return client_of(server)


@pytest.fixture
def http(server: TypesenseServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, headers={"X-TYPESENSE-API-KEY": "key"}, timeout=10) as made:
        yield made


@pytest.fixture
def news(client: typesense.Client) -> Any:
    return filled(client)


# Collections


def test_a_collection_is_told_with_all_its_flags(client: typesense.Client) -> None:
    client.collections.create({**SCHEMA, "metadata": {"source": "postgres"}})
    told = client.collections["news_1"].retrieve()
    assert (told["num_documents"], told["default_sorting_field"]) == (0, "published_at")
    assert told["metadata"] == {"source": "postgres"}
    flags = {one["name"]: (one["type"], one["facet"], one["sort"], one["optional"]) for one in told["fields"]}
    assert flags["unique_id"] == ("string", True, True, False)
    assert flags["published_at"] == ("int64", False, True, False)
    assert flags["title"] == ("string", False, False, True)
    assert flags["tags"] == ("string[]", True, False, True)
    assert [one["name"] for one in client.collections.retrieve()] == ["news_1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "name"),
        ({"fields": [{"name": "x", "type": "text"}]}, "invalid data type"),
        ({"fields": [{"name": "x", "type": "string"}] * 2, "default_sorting_field": ""}, "duplicate"),
        ({"default_sorting_field": "nothing"}, "not found in the schema"),
        ({"default_sorting_field": "title"}, "optional"),
        ({"fields": [{"name": "x", "type": "string"}], "default_sorting_field": "x"}, "sortable"),
        ({"fields": [{"name": "x", "type": "string", "facet": "yes"}], "default_sorting_field": ""}, "boolean"),
        ({"fields": [{"name": "x", "type": "int32", "num_dim": 3}], "default_sorting_field": ""}, "num_dim"),
    ],
)
def test_a_wrong_schema_is_refused(client: typesense.Client, change: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestMalformed, match=message):
        client.collections.create({**SCHEMA, **change})
    assert client.collections.retrieve() == []


def test_a_name_is_taken_once(client: typesense.Client, news: Any) -> None:
    with pytest.raises(ObjectAlreadyExists):
        client.collections.create(SCHEMA)
    assert news.retrieve()["num_documents"] == len(NEWS)


def test_fields_are_added_and_dropped_in_place(news: Any) -> None:
    news.update({"fields": [{"name": "theme", "type": "string", "facet": True, "optional": True}]})
    assert found(news, filter_by="theme:=x") == []
    news.update({"fields": [{"name": "theme", "drop": True}]})
    with pytest.raises(ObjectNotFound):
        found(news, filter_by="theme:=x")


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"name": "title", "type": "string"}, "already part of the schema"),
        ({"name": "theme", "type": "string"}, "optional: true"),
        ({"name": "theme", "drop": True}, "not part of collection schema"),
    ],
)
def test_a_change_of_the_schema_that_does_not_fit_is_refused(news: Any, field: dict[str, Any], message: str) -> None:
    before = news.retrieve()
    with pytest.raises(RequestMalformed, match=message):
        news.update({"fields": [{"name": "other", "type": "string", "optional": True}, field]})
    assert news.retrieve() == before


def test_metadata_is_replaced_in_place(http: httpx.Client, news: Any) -> None:
    assert http.patch("/collections/news_1", json={"metadata": {"stamp": "1"}}).json() == {"metadata": {"stamp": "1"}}
    assert news.retrieve()["metadata"] == {"stamp": "1"}
    refused = http.patch("/collections/news_1", json={"default_sorting_field": "x"})
    assert (refused.status_code, "Only `fields` and `metadata`" in refused.text) == (400, True)


# Aliases


def test_an_alias_is_moved_at_once_and_resolved_everywhere(client: typesense.Client, news: Any) -> None:
    client.aliases.upsert("news", {"collection_name": "news_1"})
    client.collections.create({**SCHEMA, "name": "news_2"})
    assert client.collections["news"].retrieve()["name"] == "news_1"
    assert client.collections["news"].documents["a"].retrieve()["agency"] == "mec"
    client.aliases.upsert("news", {"collection_name": "news_2"})
    assert client.collections["news"].retrieve()["num_documents"] == 0
    assert client.aliases.retrieve() == {"aliases": [{"collection_name": "news_2", "name": "news"}]}
    assert client.aliases["news"].retrieve()["collection_name"] == "news_2"
    client.aliases["news"].delete()
    with pytest.raises(ObjectNotFound):
        client.aliases["news"].retrieve()
    with pytest.raises(ObjectNotFound):
        client.collections["news"].retrieve()


def test_an_alias_may_point_at_nothing(client: typesense.Client) -> None:
    client.aliases.upsert("news", {"collection_name": "nothing"})
    with pytest.raises(ObjectNotFound):
        client.collections["news"].documents.search({"q": "*"})


def test_an_alias_cannot_have_the_name_of_a_collection(client: typesense.Client, news: Any) -> None:
    with pytest.raises(ServerError, match="conflicts with an existing collection"):
        client.aliases.upsert("news_1", {"collection_name": "news_2"})


def test_deleting_by_an_alias_drops_the_collection_behind_it(client: typesense.Client, news: Any) -> None:
    client.aliases.upsert("news", {"collection_name": "news_1"})
    assert client.collections["news"].delete()["name"] == "news_1"
    assert client.collections.retrieve() == []
    assert client.aliases["news"].retrieve()["collection_name"] == "news_1"


# Documents


def test_actions_of_an_import(client: typesense.Client, news: Any) -> None:
    def go(action: str, *documents: dict[str, Any]) -> list[Any]:
        return news.documents.import_(list(documents), {"action": action})

    (taken,) = go("create", document("a"))
    assert (taken["success"], taken["code"]) == (False, 409)
    (unknown,) = go("update", {"id": "z", "agency": "x"})
    assert (unknown["success"], unknown["code"]) == (False, 404)
    assert go("update", {"id": "a", "agency": "x"}) == [{"success": True}]
    assert news.documents["a"].retrieve() == {**NEWS[0], "agency": "x"}
    assert go("emplace", {"id": "a", "title": "y", "agency": None}, document("new")) == [{"success": True}] * 2
    kept = {name: value for name, value in NEWS[0].items() if name != "agency"}
    assert news.documents["a"].retrieve() == {**kept, "title": "y"}
    (partial,) = go("upsert", {"id": "a", "title": "z"})
    assert (partial["code"], "unique_id" in partial["error"]) == (400, True)
    assert go("upsert", document("a", 1)) == [{"success": True}]
    assert news.documents["a"].retrieve() == document("a", 1)
    assert news.retrieve()["num_documents"] == len(NEWS) + 1


def test_an_import_answers_200_with_a_line_each_in_order(http: httpx.Client, news: Any) -> None:
    lines = [json.dumps(document("x")), "{no json", json.dumps({"id": "y"}), json.dumps(document("")), "[1]", ""]
    lines += [json.dumps(document("y") | {"score": float("nan")}), json.dumps(document("y"))]
    answer = http.post("/collections/news_1/documents/import?action=upsert", content="\n".join(lines) + "\n")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert not answer.text.endswith("\n")
    told = [json.loads(line) for line in answer.text.split("\n")]
    assert [one["success"] for one in told] == [True, False, False, False, False, False, True]
    assert all(set(one) == {"code", "error", "success"} for one in told if not one["success"])


def test_an_import_shows_ids_and_documents_when_asked(server: TypesenseServer, news: Any) -> None:
    told = news.documents.import_([document("x"), {"id": "y"}], {"return_id": True, "return_doc": True})
    assert told[0] == {"success": True, "id": "x", "document": document("x")}
    assert (told[1]["id"], json.loads(told[1]["document"])) == ("y", {"id": "y"})
    server.store.shows_failed_documents = True
    assert json.loads(news.documents.import_([{"id": "y"}])[0]["document"]) == {"id": "y"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"published_at": "1"},
        {"published_at": 1.5},
        {"published_at": None},
        {"title": 1},
        {"tags": "x"},
        {"tags": ["x", 1]},
        {"published_year": 1 << 31},
        {"published_year": True},
        {"score": "x"},
        {"has_image": 1},
        {"vector": [1.0, 2.0]},
        {"id": 7},
        {"id": ""},
    ],
)
def test_values_of_a_wrong_type_are_refused(news: Any, wrong: dict[str, Any]) -> None:
    (told,) = news.documents.import_([document("x", 1) | wrong], {"action": "emplace"})
    assert (told["success"], told["code"]) == (False, 400)
    assert news.retrieve()["num_documents"] == len(NEWS)


def test_dirty_values_can_be_dropped_or_coerced(news: Any) -> None:
    wrong = document("x") | {"title": 1, "published_at": "7", "tags": "y"}
    (told,) = news.documents.import_([wrong], {"dirty_values": "coerce_or_reject"})
    assert told == {"success": True}
    assert news.documents["x"].retrieve() == document("x", 7, title="1", tags=["y"])
    (told,) = news.documents.import_([document("y") | {"title": 1}], {"dirty_values": "drop"})
    assert (told, news.documents["y"].retrieve()) == ({"success": True}, document("y"))


def test_parameters_of_an_import_are_checked(http: httpx.Client, news: Any) -> None:
    for query in ("action=replace", "dirty_values=x", "batch_size=0"):
        assert http.post(f"/collections/news_1/documents/import?{query}", content="{}").status_code == 400
    assert http.post("/collections/nothing/documents/import", content="{}").status_code == 404


def test_single_documents(news: Any) -> None:
    assert news.documents.create(document("x")) == document("x")
    with pytest.raises(ObjectAlreadyExists):
        news.documents.create(document("x"))
    assert news.documents.upsert(document("x", 5))["published_at"] == 5
    assert news.documents["x"].update({"title": "t"}) == document("x", 5, title="t")
    assert news.documents["x"].delete()["title"] == "t"
    with pytest.raises(ObjectNotFound, match="Could not find a document with id: x"):
        news.documents["x"].retrieve()
    with pytest.raises(ObjectNotFound):
        news.documents["x"].delete()
    with pytest.raises(RequestMalformed):
        news.documents.create({"id": "y"})


def test_deletion_by_filter(http: httpx.Client, news: Any) -> None:
    assert news.documents.delete({"filter_by": "id:=[a,`b`,zzz]"}) == {"num_deleted": 2}
    assert found(news) == ["c", "d", "e"]
    assert http.delete("/collections/news_1/documents").status_code == 400
    assert http.delete("/collections/news_1/documents?truncate=true").json() == {"num_deleted": 3}


def test_export_gives_a_line_each(news: Any) -> None:
    assert [json.loads(line) for line in news.documents.export().split("\n")] == NEWS
    some = news.documents.export({"include_fields": "id,published_at", "filter_by": "agency:=mec"})
    lines = [json.loads(line) for line in some.split("\n")]
    assert lines == [{"id": "a", "published_at": 10}, {"id": "b", "published_at": 20}]
    assert "title" not in news.documents.export({"exclude_fields": "title"})


# Synonyms and overrides


def test_synonyms_and_overrides_belong_to_their_collection(client: typesense.Client, news: Any) -> None:
    client.collections.create({**SCHEMA, "name": "news_2"})
    override = {"rule": {"query": "q", "match": "exact"}, "excludes": [{"id": "a"}]}
    news.synonyms.upsert("s", {"synonyms": ["a", "b"]})
    news.overrides.upsert("o", override)
    assert news.synonyms.retrieve() == {"synonyms": [{"id": "s", "root": "", "synonyms": ["a", "b"]}]}
    assert news.synonyms["s"].retrieve()["synonyms"] == ["a", "b"]
    assert news.overrides.retrieve() == {"overrides": [{"id": "o", "includes": [], **override}]}
    assert client.collections["news_2"].synonyms.retrieve() == {"synonyms": []}
    assert news.overrides["o"].delete() == {"id": "o"}
    with pytest.raises(ObjectNotFound):
        news.overrides["o"].retrieve()
    with pytest.raises(RequestMalformed):
        news.synonyms.upsert("s", {"synonyms": []})
    with pytest.raises(RequestMalformed):
        news.overrides.upsert("o", {"includes": []})
