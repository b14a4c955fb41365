"""Qdrant's stand-in, through the real client and raw HTTP: what it answers, and how it fails on demand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import httpx
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.common.version_check import get_server_version
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from dev.qdrant_server import Fault, QdrantServer
from dev.stand_in import run_apart

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")

VECTORS = models.VectorParams(size=3, distance=models.Distance.COSINE)
DEFERRED = models.OptimizersConfigDiff(indexing_threshold=0)
MEC = models.Filter(must=[models.FieldCondition(key="agency", match=models.MatchValue(value="mec"))])


def client_of(server: QdrantServer, key: str | None = "key", timeout: int = 10) -> QdrantClient:
    return QdrantClient(url=server.url, api_key=key, timeout=timeout, check_compatibility=False)


def point_id(uid: str) -> str:
    return str(uuid5(NAMESPACE_URL, uid))


def point(uid: str, vector: list[float], **payload: Any) -> models.PointStruct:
    return models.PointStruct(id=point_id(uid), vector=vector, payload={"unique_id": uid, **payload})


POINTS = [
    point("a", [1, 0, 0], agency="mec", published_at=10),
    point("b", [1, 1, 0], agency="mec", published_at=20),
    point("c", [0, 1, 0], agency="saude", published_at=30),
    point("d", [0, 0, 1], agency=None, published_at=40),
]


@pytest.fixture
def server() -> Iterator[QdrantServer]:
    with QdrantServer(keys=["key"]) as made:
        yield made


@pytest.fixture
def client(server: QdrantServer) -> Iterator[QdrantClient]:
    made = client_of(server)
    yield made
    made.close()


@pytest.fixture
def http(server: QdrantServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, headers={"api-key": "key"}, timeout=10) as made:
        yield made


@pytest.fixture
def news(client: QdrantClient) -> QdrantClient:
    client.create_collection("news_1", vectors_config=VECTORS)
    client.upsert("news_1", POINTS, wait=True)
    return client


def refused(call: Callable[[], object]) -> tuple[int | None, str]:
    with pytest.raises(UnexpectedResponse) as caught:
        call()
    return caught.value.status_code, caught.value.content.decode()


def uids(points: list[Any]) -> str:
    return "".join(one.payload["unique_id"] for one in points)


# Collections and aliases


def test_collections_come_and_go(client: QdrantClient) -> None:
    assert not client.collection_exists("news_1")
    assert client.create_collection("news_1", vectors_config=VECTORS, metadata={"model": "m", "dimension": 3})
    assert client.collection_exists("news_1")
    told = client.get_collection("news_1")
    assert (told.points_count, told.status, told.config.metadata) == (0, "green", {"model": "m", "dimension": 3})
    assert told.config.params.vectors == VECTORS
    assert [one.name for one in client.get_collections().collections] == ["news_1"]
    assert client.delete_collection("news_1")
    assert not client.delete_collection("news_1")
    assert refused(lambda: client.get_collection("news_1"))[0] == 404


def test_errors_are_those_of_a_server(server: QdrantServer, news: QdrantClient, http: httpx.Client) -> None:
    status, text = refused(lambda: news.create_collection("news_1", vectors_config=VECTORS))
    assert (status, "already exists" in text) == (409, True)
    status, text = refused(lambda: news.upsert("nothing", POINTS))
    assert (status, "doesn't exist" in json.loads(text)["status"]["error"]) == (404, True)
    status, text = refused(lambda: news.upsert("news_1", [POINTS[0], point("x", [1, 2])]))
    assert (status, "expected dim: 3, got 2" in text) == (400, True)
    bad = [{"id": "abc", "vector": [1, 2, 3]}, {"id": -1, "vector": [1, 2, 3]}, {"id": 1, "vector": ["1", 2, 3]}]
    bad += [{"id": 1, "vector": {"other": [1, 2, 3]}}]
    for one in bad:
        assert http.put("/collections/news_1/points", json={"points": [one]}).status_code == 400, one
    nan = b'{"points": [{"id": 1, "vector": [NaN, 1, 2]}]}'
    assert http.put("/collections/news_1/points", content=nan).status_code == 400
    assert http.put("/collections/news_1/points", content=b"{").status_code == 400
    assert http.put("/collections/x", json={"vektors": 1}).status_code == 400
    assert http.get("/nothing").status_code == 404
    assert news.count("news_1").count == len(POINTS)


def test_keys(server: QdrantServer, http: httpx.Client) -> None:
    for key, words in (("wrong", "Invalid"), (None, "Must provide")):
        status, text = refused(lambda key=key: client_of(server, key).get_collections())
        assert (status, words in text) == (401, True)
    assert httpx.get(f"{server.url}/collections", headers={"Authorization": "Bearer key"}).status_code == 200
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    assert get_server_version(server.url, {}, None, 10) == version("qdrant-client")
    with QdrantServer() as open_to_all:
        assert client_of(open_to_all, None).get_collections().collections == []


def test_aliases_move_at_once_and_all_or_nothing(news: QdrantClient) -> None:
    def create(name: str, alias: str = "news") -> models.CreateAliasOperation:
        return models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=name, alias_name=alias))

    drop = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="news"))
    news.create_collection("news_2", vectors_config=VECTORS)
    news.update_collection_aliases([create("news_1")])
    assert news.count("news").count == len(POINTS)
    assert news.collection_exists("news")
    assert refused(lambda: news.update_collection_aliases([drop, create("nothing")]))[0] == 404
    assert news.count("news").count == len(POINTS)
    news.update_collection_aliases([drop, create("news_2")])
    assert news.count("news").count == 0
    rename = models.RenameAlias(old_alias_name="news", new_alias_name="other")
    news.update_collection_aliases([models.RenameAliasOperation(rename_alias=rename)])
    assert {one.alias_name: one.collection_name for one in news.get_aliases().aliases} == {"other": "news_2"}
    assert news.get_collection_aliases("news_1").aliases == []
    assert refused(lambda: news.update_collection_aliases([create("news_1", "news_2")]))[0] == 409
    assert refused(lambda: news.create_collection("other", vectors_config=VECTORS))[0] == 400
    assert not news.delete_collection("other")  # an alias is no name to delete by
    news.delete_collection("news_2")
    assert news.get_aliases().aliases == []


# Settings


def test_indexing_is_deferred_and_allowed_again(server: QdrantServer, client: QdrantClient) -> None:
    no_graph = models.HnswConfigDiff(m=0)
    client.create_collection("n", vectors_config=VECTORS, optimizers_config=DEFERRED, hnsw_config=no_graph)
    client.upsert("n", [point(str(number), [1, 2, 3]) for number in range(200)])
    told = client.get_collection("n")
    assert (told.config.optimizer_config.indexing_threshold, told.config.hnsw_config.m) == (0, 0)
    assert (told.indexed_vectors_count, told.points_count) == (0, 200)
    server.store.busy_looks = 2
    allowed = models.OptimizersConfigDiff(indexing_threshold=1)
    client.update_collection("n", optimizers_config=allowed, hnsw_config=models.HnswConfigDiff(m=16))
    looks = [client.get_collection("n") for _ in range(3)]
    assert [one.status for one in looks] == ["yellow", "yellow", "green"]
    assert [one.indexed_vectors_count for one in looks] == [0, 0, 200]
    created, updated = server.store.changes("n")
    assert created["optimizers_config"] == {"indexing_threshold": 0}
    assert updated == {"optimizers_config": {"indexing_threshold": 1}, "hnsw_config": {"m": 16}}


def test_a_small_collection_is_never_indexed(news: QdrantClient) -> None:
    told = news.get_collection("news_1")
    assert (told.status, told.indexed_vectors_count, told.config.optimizer_config.indexing_threshold) == (
        "green",
        0,
        10_000,
    )


def test_metadata_is_merged_and_null_takes_away(client: QdrantClient) -> None:
    client.create_collection("n", vectors_config=VECTORS, metadata={"model": "m", "stamp": "1"})
    client.update_collection("n", metadata={"stamp": "2", "model": None, "source": "postgres"})
    assert client.get_collection("n").config.metadata == {"stamp": "2", "source": "postgres"}


def test_payload_indexes_are_shown(news: QdrantClient, http: httpx.Client) -> None:
    news.create_payload_index("news_1", "agency", models.PayloadSchemaType.KEYWORD)
    ranges = models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=False, range=True)
    news.create_payload_index("news_1", "published_at", ranges)
    told = news.get_collection("news_1").payload_schema
    assert {its: (one.data_type, one.points) for its, one in told.items()} == {
        "agency": ("keyword", 4),
        "published_at": ("integer", 4),
    }
    assert told["published_at"].params == ranges
    news.delete_payload_index("news_1", "agency")
    assert set(news.get_collection("news_1").payload_schema) == {"published_at"}
    wrong = {"field_name": "x", "field_schema": "number"}
    assert http.put("/collections/news_1/index", json=wrong).status_code == 400


# Points


def test_points_are_replaced_whole(news: QdrantClient) -> None:
    assert news.upsert("news_1", [point("a", [0, 1, 0], note=None)], wait=True).status == "completed"
    assert news.upsert("news_1", [point("a", [0, 1, 0], note=None)], wait=False).status == "acknowledged"
    (one,) = news.retrieve("news_1", [point_id("a")], with_vectors=True)
    assert (one.payload, one.vector) == ({"unique_id": "a", "note": None}, [0, 1, 0])
    assert news.count("news_1").count == len(POINTS)


def test_points_come_as_columns_too(news: QdrantClient) -> None:
    batch = models.Batch(ids=[1, point_id("x")], vectors=[[1, 0, 0], [0, 2, 0]], payloads=[{"n": 1}, {"n": 2}])
    news.upsert("news_1", batch)
    found = {one.id: one.payload for one in news.retrieve("news_1", [1, point_id("x"), 99])}
    assert found == {1: {"n": 1}, point_id("x"): {"n": 2}}


def test_the_client_uploads_points(news: QdrantClient) -> None:
    news.upload_points("news_1", (point(str(number), [1, 2, 3]) for number in range(300)), batch_size=64, wait=True)
    assert news.count("news_1").count == len(POINTS) + 300


def test_deletion_by_ids_and_by_filter(news: QdrantClient) -> None:
    news.delete("news_1", [point_id("c"), point_id("zzz")])
    assert news.count("news_1").count == 3
    news.delete("news_1", models.FilterSelector(filter=MEC))
    assert uids(news.scroll("news_1")[0]) == "d"


def test_scroll_goes_over_all_points(news: QdrantClient) -> None:
    seen: list[str] = []
    offset = None
    while True:
        page, offset = news.scroll("news_1", limit=3, offset=offset, with_payload=["unique_id"])
        seen += [one.payload["unique_id"] for one in page if one.payload]
        assert all(set(one.payload or {}) == {"unique_id"} for one in page)
        if offset is None:
            break
    assert sorted(seen) == ["a", "b", "c", "d"]
    assert uids(news.scroll("news_1", scroll_filter=MEC, limit=9)[0]) in {"ab", "ba"}


def test_order_needs_an_index(news: QdrantClient) -> None:
    order = models.OrderBy(key="published_at", direction=models.Direction.DESC)
    status, text = refused(lambda: news.scroll("news_1", order_by=order))
    assert (status, "No range index" in text) == (400, True)
    news.create_payload_index("news_1", "published_at", models.PayloadSchemaType.INTEGER)
    assert uids(news.scroll("news_1", order_by=order)[0]) == "dcba"


def test_queries(server: QdrantServer, news: QdrantClient) -> None:
    near = news.query_points("news_1", query=[1, 0.1, 0], limit=2).points
    assert uids(near) == "ab"
    assert near[0].score > near[1].score > 0
    assert uids(news.query_points("news_1", query=[0, 1, 0], query_filter=MEC).points) == "ba"
    assert uids(news.query_points("news_1", query=point_id("a"), limit=1).points) == "b"
    assert news.query_points("news_1", query=[1, 0, 0], score_threshold=2.0).points == []
    assert refused(lambda: news.query_points("news_1", query=[1, 0]))[0] == 400
    assert (server.searches, server.empty_searches, server.failed_searches) == (5, 1, 1)
    groups = news.query_points_groups("news_1", group_by="agency", query=[1, 1, 0], group_size=1).groups
    assert {one.id: uids(one.hits) for one in groups} == {"mec": "b", "saude": "c"}
    asked = [models.QueryRequest(query=[0, 0, 1], limit=1, with_payload=True)] * 2
    assert [uids(one.points) for one in news.query_batch_points("news_1", asked)] == ["d", "d"]


def test_counts_and_facets(news: QdrantClient) -> None:
    assert news.count("news_1", count_filter=MEC).count == 2
    since = models.Filter(must=[models.FieldCondition(key="published_at", range=models.Range(gte=20, lt=40))])
    assert news.count("news_1", count_filter=since).count == 2
    assert {one.value: one.count for one in news.facet("news_1", "agency").hits} == {"mec": 2, "saude": 1}


def test_payloads_and_vectors_are_changed_in_place(news: QdrantClient) -> None:
    a = point_id("a")
    news.set_payload("news_1", {"theme": "01"}, [a])
    news.delete_payload("news_1", ["agency"], [a])
    news.update_vectors("news_1", [models.PointVectors(id=a, vector=[0, 0, 1])])
    (one,) = news.retrieve("news_1", [a], with_vectors=True)
    assert (one.payload, one.vector) == ({"unique_id": "a", "published_at": 10, "theme": "01"}, [0, 0, 1])
    news.batch_update_points(
        "news_1",
        [
            models.UpsertOperation(upsert=models.PointsList(points=[point("x", [1, 2, 3])])),
            models.DeleteOperation(delete=models.PointIdsList(points=[point_id("b")])),
            models.OverwritePayloadOperation(overwrite_payload=models.SetPayload(payload={"n": 1}, points=[a])),
        ],
    )
    assert [one.payload for one in news.retrieve("news_1", [a])] == [{"n": 1}]
    assert news.retrieve("news_1", [point_id("b")]) == []
    assert news.count("news_1").count == len(POINTS)


# Faults


def test_a_server_that_is_busy(server: QdrantServer, news: QdrantClient) -> None:
    server.faults = [Fault("PUT .*/points$", status=503, times=1, message="busy")]
    status, text = refused(lambda: news.upsert("news_1", POINTS))
    assert (status, json.loads(text)["status"]["error"]) == (503, "busy")
    server.faults = [Fault("PUT .*/points$", status=503, times=2)]
    with pytest.warns(UserWarning, match="Retrying"):
        news.upload_points("news_1", [point("x", [1, 2, 3])], max_retries=3, wait=True)
    assert news.count("news_1").count == len(POINTS) + 1


def test_an_answer_is_lost_after_the_work_is_done(server: QdrantServer, news: QdrantClient) -> None:
    impatient = client_of(server, timeout=1)
    faults = [
        Fault("PUT .*/points$", after=True, delay=3600, times=1),
        Fault("PUT .*/points$", after=True, reset=True, times=1),
        Fault("PUT .*/points$", cut=5, times=1),
    ]
    for number, fault in enumerate(faults, 1):
        server.faults = [fault]
        with pytest.raises(ResponseHandlingException):
            impatient.upsert("news_1", [point(f"x{number}", [1, 2, 3])], wait=True)
        assert news.count("news_1").count == len(POINTS) + number


# Volume


def test_many_threads_write_and_search(server: QdrantServer, news: QdrantClient) -> None:
    def write(number: int) -> None:
        mine = client_of(server, timeout=30)
        mine.upsert("news_1", [point(f"{number}-{at}", [1, at + 1, 0]) for at in range(100)], wait=True)
        assert mine.query_points("news_1", query=[1, 0, 0]).points
        mine.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(12)))
    assert news.count("news_1").count == len(POINTS) + 1_200


def test_it_is_quick_enough(client: QdrantClient, http: httpx.Client) -> None:
    client.create_collection("n", vectors_config=models.VectorParams(size=64, distance=models.Distance.COSINE))
    points = [{"id": number, "vector": [0.5] * 64, "payload": {"n": number}} for number in range(5_000)]
    started = time.process_time()
    for at in range(0, len(points), 1_000):
        http.put("/collections/n/points?wait=true", json={"points": points[at : at + 1_000]}).raise_for_status()
    assert time.process_time() - started < 8  # 0.6 is usual
    assert client.count("n").count == 5_000


def test_a_sink_counts_and_keeps_nothing() -> None:
    with QdrantServer(is_sink=True) as server:
        client = client_of(server, None)
        client.create_collection("n", vectors_config=VECTORS)
        client.upsert("n", [point("a", [1, 2, 3], text='the mark "vector": in a text'), point("b", [1, 2, 3])])
        client.upsert("n", models.Batch(ids=[1, 2, 3], vectors=[[1, 2, 3]] * 3))
        assert client.count("n").count == 5
        assert client.get_collection("n").points_count == 5
        assert client.scroll("n") == ([], None)
        assert refused(lambda: client.upsert("nothing", [point("a", [1, 2, 3])]))[0] == 404


def test_a_sink_in_a_process_of_its_own() -> None:
    with run_apart("dev.qdrant_server", "--sink", "--key", "k") as url:
        client = QdrantClient(url=url, api_key="k", check_compatibility=False)
        client.create_collection("n", vectors_config=VECTORS)
        client.upsert("n", POINTS)
        assert client.count("n").count == len(POINTS)
