"""How Typesense's stand-in keeps strangers out, fails on demand, and bears volume."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import typesense
from typesense.exceptions import ObjectUnprocessable, RequestUnauthorized, ServiceUnavailable

from dev.stand_in import run_apart
from dev.typesense_server import Fault, TypesenseServer
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


def test_keys(server: TypesenseServer, news: Any) -> None:
    stranger, reader = client_of(server, api_key="nobody"), client_of(server, api_key="search").collections["news_1"]
    with pytest.raises(RequestUnauthorized, match="x-typesense-api-key"):
        stranger.collections.retrieve()
    assert reader.documents.search({"q": "*"})["found"] == len(NEWS)
    assert reader.documents["a"].retrieve() == NEWS[0]
    for forbidden in (reader.retrieve, reader.delete, reader.documents.export, reader.documents["a"].delete):
        with pytest.raises(RequestUnauthorized):
            forbidden()
    assert news.retrieve()["num_documents"] == len(NEWS)


def test_a_node_that_lags_refuses_reads_and_writes_apart(
    server: TypesenseServer, client: typesense.Client, http: httpx.Client, news: Any
) -> None:
    assert http.get("/health").json() == {"ok": True}
    server.not_ready("writes", 2)
    lagging = http.get("/health")
    assert (lagging.status_code, lagging.json()) == (503, {"ok": False})
    assert found(news) == ["a", "b", "c", "d", "e"]
    for _ in range(2):
        with pytest.raises(ServiceUnavailable, match="Not Ready or Lagging"):
            news.documents.import_([document("x")])
    assert news.documents.import_([document("x")]) == [{"success": True}]
    server.not_ready("reads", 1)
    with pytest.raises(ServiceUnavailable):
        found(news)
    assert (server.searches.asked, server.searches.failed) == (2, 1)
    assert client.operations.is_healthy()


def test_a_full_node_refuses_writes(server: TypesenseServer, http: httpx.Client, news: Any) -> None:
    server.out_of("DISK", 1_000)
    assert http.get("/health").json() == {"ok": True, "resource_error": "OUT_OF_DISK"}
    with pytest.raises(ObjectUnprocessable, match="running out of resource type: OUT_OF_DISK"):
        news.documents.import_([document("x")])
    assert len(found(news)) == len(NEWS)
    server.out_of("DISK", 0)
    assert news.documents.import_([document("x")]) == [{"success": True}]


def test_chosen_documents_are_refused_so_many_times(server: TypesenseServer, news: Any) -> None:
    server.fail_documents(["x"], code=503, error="Rejecting write", times=1)
    server.fail_documents(["y"], error="bad")
    for both in ([False, False], [True, False]):
        told = news.documents.import_([document("x"), document("y")], {"action": "upsert"})
        assert [one["success"] for one in told] == both
    assert (told[1]["code"], told[1]["error"]) == (400, "bad")


def test_the_client_tries_again_by_itself(server: TypesenseServer, news: Any) -> None:
    server.not_ready("writes", 2)
    patient = client_of(server, num_retries=3).collections["news_1"]
    assert patient.documents.import_([document("x")], {"action": "upsert"}) == [{"success": True}]


def test_an_answer_is_lost_after_the_work_is_done(server: TypesenseServer, http: httpx.Client, news: Any) -> None:
    path = "/collections/news_1/documents/import?action=upsert"

    def send(uid: str) -> httpx.Response:
        return http.post(path, content=json.dumps(document(uid)), timeout=0.3)

    faults: list[tuple[str, Fault, type[Exception]]] = [
        ("late", Fault("import", after=True, delay=3600, times=1), httpx.ReadTimeout),
        ("dropped", Fault("import", after=True, drop=True, times=1), httpx.RemoteProtocolError),
        ("reset", Fault("import", after=True, reset=True, times=1), httpx.ReadError),
        ("cut", Fault("import", cut=5, times=1), httpx.RemoteProtocolError),
    ]
    for uid, fault, error in faults:
        server.faults = [fault]
        with pytest.raises(error):
            send(uid)
        assert http.get(f"/collections/news_1/documents/{uid}").status_code == 200, uid
    server.faults = [Fault("import", reset=True, times=1)]
    with pytest.raises(httpx.ReadError):
        send("never")
    assert http.get("/collections/news_1/documents/never").status_code == 404


def test_a_fault_can_answer_with_a_status_of_its_own(server: TypesenseServer, http: httpx.Client, news: Any) -> None:
    server.faults = [Fault("GET /aliases", status=429, headers={"Retry-After": "7"}, message="slow down", times=1)]
    refused = http.get("/aliases")
    assert (refused.status_code, refused.json()) == (429, {"message": "slow down"})
    assert refused.headers["retry-after"] == "7"
    assert http.get("/aliases").status_code == 200
    assert server.asked("GET /aliases") == ["GET /aliases"] * 2


def test_a_closed_server_lets_nobody_wait() -> None:
    started = time.monotonic()
    with TypesenseServer(keys=["key"]) as server:
        server.faults = [Fault("health", after=True, delay=3600)]
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{server.url}/health", timeout=0.1)
    assert time.monotonic() - started < 5


def test_searches_see_whole_collections_while_others_are_filled(server: TypesenseServer, news: Any) -> None:
    client = client_of(server)
    client.aliases.upsert("news", {"collection_name": "news_1"})

    def fill(number: int) -> None:
        name = f"news_x{number}"
        mine = client_of(server)
        mine.collections.create({**SCHEMA, "name": name})
        assert all(one["success"] for one in mine.collections[name].documents.import_(NEWS * 20, {"action": "upsert"}))
        mine.aliases.upsert("news", {"collection_name": name})

    with ThreadPoolExecutor(4) as pool:
        filled = [pool.submit(fill, number) for number in range(8)]
        while not all(one.done() for one in filled):
            assert client.collections["news"].documents.search({"q": "*"})["found"] == len(NEWS)
        for one in filled:
            one.result()
    assert (server.searches.failed, server.searches.empty) == (0, 0)


def test_fifty_thousand_documents_come_in_a_few_seconds(client: typesense.Client, http: httpx.Client) -> None:
    client.collections.create(SCHEMA)
    lines = [json.dumps(document(f"n{number}", number, agency="mec")) for number in range(50_000)]
    bodies = ["\n".join(lines[at : at + 5_000]) for at in range(0, len(lines), 5_000)]
    started = time.process_time()
    for body in bodies:
        http.post("/collections/news_1/documents/import", content=body).raise_for_status()
    assert time.process_time() - started < 8  # 1 is usual
    assert client.collections["news_1"].retrieve()["num_documents"] == 50_000


def test_a_sink_counts_and_keeps_nothing() -> None:
    with TypesenseServer(keys=["key"], is_sink=True) as server:
        client = client_of(server)
        client.collections.create(SCHEMA)
        news = client.collections["news_1"]
        assert news.documents.import_(NEWS) == [{"success": True}] * len(NEWS)
        assert news.documents.import_("{}\n{}\n") == '{"success":true}\n{"success":true}'
        assert news.retrieve()["num_documents"] == len(NEWS) + 2
        assert server.store.collections["news_1"].documents == {}


def test_a_sink_in_a_process_of_its_own() -> None:
    key = {"X-TYPESENSE-API-KEY": "k"}
    with (
        run_apart("dev.typesense_server", "--sink", "--key", "k") as url,
        httpx.Client(base_url=url, headers=key) as http,
    ):
        http.post("/collections", json=SCHEMA).raise_for_status()
        assert http.post("/collections/news_1/documents/import", content=b"{}\n{}").text.count("true") == 2
        assert http.get("/collections/news_1").json()["num_documents"] == 2
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")
