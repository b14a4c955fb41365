"""Cogfy's stand-in: what it answers, and how it fails on demand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from dev.cogfy_server import Answer, CogfyServer, CogfyStore, Collection, Fault

OPTIONS = ["01 - Economia e Finanças", "02 - Educação"]


class Now:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def store(now: Now) -> CogfyStore:
    said = Answer(level_1=OPTIONS[0], level_2="01.01 - x", summary="Um resumo.")
    return CogfyStore(lambda _: said, clock=now)


@pytest.fixture
def collection(store: CogfyStore) -> Collection:
    return store.create_collection("news", options=OPTIONS, types={"unique_id": "text", "published_at": "date"})


@pytest.fixture
def server(store: CogfyStore, collection: Collection) -> Iterator[CogfyServer]:
    with CogfyServer(store, keys=["key"]) as made:
        yield made


@pytest.fixture
def http(server: CogfyServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, headers={"Api-Key": "key"}) as client:
        yield client


def put(
    http: httpx.Client, collection: Collection, uid: str, published: str = "2026-02-10T12:00:00Z"
) -> httpx.Response:
    field = {name: collection.field_named(name)["id"] for name in ("unique_id", "published_at")}
    properties = {
        field["unique_id"]: {"type": "text", "text": {"value": uid}},
        field["published_at"]: {"type": "date", "date": {"value": published}},
    }
    return http.post(f"collections/{collection.id}/records", json={"properties": properties})


def query(http: httpx.Client, collection: Collection, *conditions: dict[str, Any], **more: Any) -> httpx.Response:
    wanted = {"filter": {"type": "and", "and": {"filters": list(conditions)}}, "pageNumber": 0, "pageSize": 10}
    return http.post(f"collections/{collection.id}/records/query", json=wanted | more)


def condition(collection: Collection, kind: str, name: str, value: str) -> dict[str, Any]:
    return {"type": kind, kind: {"fieldId": collection.field_named(name)["id"], "value": value}}


def test_a_key_is_needed(server: CogfyServer) -> None:
    for headers in ({}, {"Api-Key": "other"}, {"Authorization": "Bearer key"}):
        assert httpx.get(f"{server.url}collections", headers=headers).status_code == 401


def test_collections_come_in_pages_from_0(http: httpx.Client, store: CogfyStore, collection: Collection) -> None:
    others = [store.create_collection(f"c{n}", options=[]).id for n in range(4)]
    page = http.get("collections", params={"pageNumber": 1, "pageSize": 2}).json()
    assert [one["id"] for one in page["data"]] == others[1:3]
    assert (page["totalSize"], page["pageNumber"], page["pageSize"]) == (5, 1, 2)
    assert http.get(f"collections/{collection.id}").json()["name"] == "news"
    assert http.get(f"collections/{collection.id[:-1]}x").status_code == 404


def test_fields_have_types_options_and_operations(http: httpx.Client, collection: Collection) -> None:
    made = {one["name"]: one for one in http.get(f"collections/{collection.id}/fields").json()["data"]}
    assert [option["label"] for option in made["theme_1_level_1"]["data"]["select"]["options"]] == OPTIONS
    assert "operation" in made["summary"]
    assert "operation" not in made["unique_id"]
    new = http.post(f"collections/{collection.id}/fields", json={"name": "title", "type": "text"}).json()["id"]
    assert collection.field_named("title")["id"] == new


def test_records_are_filtered_ordered_and_paged(http: httpx.Client, collection: Collection) -> None:
    for number in (3, 1, 2, 0):
        assert put(http, collection, f"r{number}", f"2026-02-1{number}T12:00:00Z").status_code == 200
    assert put(http, collection, "r0").status_code == 200, "nothing keeps an article from coming twice"
    between = [
        condition(collection, "greaterThanOrEquals", "published_at", "2026-02-10T12:00:00Z"),
        condition(collection, "lessThanOrEquals", "published_at", "2026-02-12T09:00:00-03:00"),
    ]
    by_id = [{"fieldId": collection.field_named("unique_id")["id"], "direction": "asc"}]
    found = query(http, collection, *between, orderBy=by_id, pageSize=2, pageNumber=1).json()
    key = by_id[0]["fieldId"]
    assert [one["properties"][key]["text"]["value"] for one in found["data"]] == ["r1", "r2"]
    assert found["totalSize"] == 4
    assert query(http, collection, condition(collection, "equals", "unique_id", "r0")).json()["totalSize"] == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"filter": {"type": "equals", "equals": {"fieldId": "x", "value": "y"}}},
        {"filter": {"type": "and", "and": {"filters": [{"type": "like", "like": {}}]}}},
        {"filter": {"type": "and", "and": {"filters": [{"type": "equals", "equals": {"fieldId": "x", "value": "y"}}]}}},
        {"orderBy": [{"fieldId": "x", "direction": "asc"}]},
    ],
)
def test_a_query_of_another_form_is_refused(
    http: httpx.Client, collection: Collection, changed: dict[str, Any]
) -> None:
    assert query(http, collection, **changed).status_code == 400


def test_a_record_of_other_types_is_refused(http: httpx.Client, collection: Collection) -> None:
    assert put(http, collection, "a", "2026-02-10 12:00").status_code == 400
    key = collection.field_named("published_at")["id"]
    wrong = {"properties": {key: {"type": "text", "text": {"value": "2026"}}}}
    assert http.post(f"collections/{collection.id}/records", json=wrong).status_code == 400


def cells(http: httpx.Client, collection: Collection) -> list[str]:
    names = {made["id"]: made["name"] for made in collection.fields.values()}
    properties = query(http, collection).json()["data"][0]["properties"]
    return sorted(names[its] for its in properties if names[its] not in {"unique_id", "published_at"})


def test_cells_are_filled_after_a_while(
    http: httpx.Client, store: CogfyStore, collection: Collection, now: Now
) -> None:
    store.ready_after_s = 60
    put(http, collection, "a")
    assert cells(http, collection) == []
    now.seconds = 61
    assert cells(http, collection) == ["summary", "theme_1_level_1", "theme_1_level_2"], "what was not said is absent"


def test_cells_are_filled_one_by_one(http: httpx.Client, store: CogfyStore, collection: Collection) -> None:
    store.ready_after_looks, store.part_by_part = 1, True
    put(http, collection, "a")
    assert [len(cells(http, collection)) for _ in range(5)] == [0, 1, 2, 3, 3]


def test_a_select_names_its_option_with_or_without_the_label(
    http: httpx.Client, store: CogfyStore, collection: Collection
) -> None:
    select = collection.field_named("theme_1_level_1")
    chosen = {"id": select["data"]["select"]["options"][0]["id"]}
    put(http, collection, "a")
    assert query(http, collection).json()["data"][0]["properties"][select["id"]]["select"]["value"] == [chosen]
    store.label_in_cell = True
    put(http, collection, "b")
    value = query(http, collection).json()["data"][1]["properties"][select["id"]]["select"]["value"]
    assert value == [chosen | {"label": OPTIONS[0]}]


def test_the_gateway_gives_up_on_large_pages_and_wide_windows(
    http: httpx.Client, server: CogfyServer, collection: Collection
) -> None:
    server.most_page = 5
    assert query(http, collection).status_code == 504
    assert query(http, collection, pageSize=5).status_code == 200
    server.most_page, server.most_window = None, timedelta(hours=1)
    wide = [
        condition(collection, kind, "published_at", f"2026-02-10T{hour}:00:00Z")
        for kind, hour in (("greaterThanOrEquals", "10"), ("lessThanOrEquals", "12"))
    ]
    assert query(http, collection, *wide).status_code == 502
    server.most_window, server.own_page = None, 3
    assert query(http, collection, *wide).json()["pageSize"] == 3


def test_a_planted_fault_strikes_before_or_after_the_work(
    http: httpx.Client, server: CogfyServer, collection: Collection
) -> None:
    server.faults = [Fault("records$", status=504, times=1), Fault("records$", drop=True, after=True, times=1)]
    assert put(http, collection, "a").status_code == 504
    assert collection.uploaded() == []
    with pytest.raises(httpx.RemoteProtocolError):
        put(http, collection, "a")
    assert len(collection.uploaded()) == 1
    assert server.requests == [f"POST /collections/{collection.id}/records"] * 2
