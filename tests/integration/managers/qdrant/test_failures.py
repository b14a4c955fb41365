"""What goes wrong between us and Qdrant: tried again by type, told by type; nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from data_platform.errors import ConfigurationError, StoreError, StoreUnavailableError
from data_platform.managers.embeddings.generate import GenerateEmbedder
from data_platform.managers.embeddings.hashing import HashingEmbedder
from data_platform.managers.embeddings.interface import Embedded, EmbeddingsUnavailableError
from data_platform.managers.embeddings.service import ServiceSettings
from data_platform.managers.qdrant.index import QdrantIndex
from data_platform.managers.qdrant.points import point_id
from data_platform.managers.qdrant.session import QdrantRefusedError
from data_platform.managers.search_index import Card, Written, generation_name
from dev.embeddings_server import EmbeddingsServer
from dev.qdrant_server import Fault, QdrantServer
from tests.support.qdrant import KEY, QUICK, make_index, news
from tests.support.rows import article, batch_of
from tests.support.waiting import wait_until

NAME, OTHER = (generation_name("news", datetime(2024, 5, day, tzinfo=UTC)) for day in (1, 2))
CARD = Card("postgres")
REPOSITORY = Path(__file__).resolve().parents[4]
#: What may pass: the server busy or starting, the line broken, an answer lost after the work was done.
PASSING: list[dict[str, Any]] = [
    {"status": 503},
    {"status": 500},
    {"status": 429},
    {"status": 408},
    {"drop": True},
    {"reset": True},
    {"cut": 10},
    {"drop": True, "after": True},
    {"status": 502, "after": True},
]


@pytest.fixture
def server() -> Iterator[QdrantServer]:
    with QdrantServer(keys=[KEY]) as made:
        yield made


@pytest.fixture
def index(server: QdrantServer) -> Iterator[QdrantIndex]:
    made = make_index(server, HashingEmbedder(16))
    yield made
    made.close()


def _whole_life(index: QdrantIndex) -> list[Any]:
    """Do everything once; return what each step said."""
    rows = news(30)
    index.create(NAME, CARD)
    told: list[Any] = [index.write(NAME, rows)]
    index.finish(NAME)
    index.set_card(NAME, Card("postgres", "s", is_whole=True))
    index.point(NAME)
    told.append(index.write(NAME, rows))
    told += [index.live(), index.collections(), index.count(NAME), index.delete(NAME, ["n1", "n2", "nobody"])]
    told += [sorted(uid for piece in index.unique_ids(NAME) for uid in piece), index.differing(NAME, rows)]
    index.create(OTHER, CARD)
    index.point(OTHER)
    index.drop(NAME)
    return [*told, index.live(), index.collections(), index.card(OTHER)]


def _expected() -> list[Any]:
    with QdrantServer(keys=[KEY]) as calm:
        undisturbed = make_index(calm, HashingEmbedder(16))
        told = _whole_life(undisturbed)
        undisturbed.close()
    return told


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_every_request_survives_what_may_pass(index: QdrantIndex, server: QdrantServer, fault: dict[str, Any]) -> None:
    """Each kind of request is struck once, the first time that it is made."""
    kinds = [
        f"PUT /collections/{NAME}$", f"PUT /collections/{OTHER}$", "PUT /collections/.*/index$", "PATCH",
        "PUT /collections/.*/points$", "POST /collections/.*/points$", "POST /collections/.*/points/batch$",
        "POST .*/points/count$", "POST .*/points/delete$", "POST .*/points/scroll$", "GET /collections$",
        "GET /aliases$", f"GET /collections/{NAME}$", "POST /collections/aliases$", "DELETE /collections/",
    ]  # fmt: skip
    server.faults = [Fault(kind, times=1, **fault) for kind in kinds]
    assert _whole_life(index) == _expected()
    assert [one.pattern for one in server.faults if one.times] == []


@pytest.mark.parametrize("fault", [one for one in PASSING if not one.get("after")], ids=str)
def test_what_does_not_pass_is_told_as_worth_another_try(
    index: QdrantIndex, server: QdrantServer, fault: dict[str, Any]
) -> None:
    index.create(NAME, CARD)
    server.faults = [Fault("PUT .*/points$", **fault)]
    with pytest.raises(StoreUnavailableError):
        index.write(NAME, news(3))
    assert len(server.asked("PUT .*/points$")) == QUICK.tries
    server.faults = []
    assert index.write(NAME, news(3)) == Written(3)
    assert index.count(NAME) == 3


def test_a_server_that_is_silent_is_not_waited_for_without_end(index: QdrantIndex, server: QdrantServer) -> None:
    index.create(NAME, CARD)
    server.faults = [Fault("PUT .*/points$", delay=2.5, times=1)]
    assert index.write(NAME, news(2)) == Written(2)
    assert len(server.asked("PUT .*/points$")) == 2


def test_a_server_that_is_not_there() -> None:
    with QdrantServer(keys=[KEY]) as gone:
        pass
    index = make_index(gone, HashingEmbedder(16))
    with pytest.raises(StoreUnavailableError, match="no answer"):
        index.live()
    index.close()


@pytest.mark.parametrize("key", ["wrong-key", ""])
def test_a_key_that_is_none_is_told_without_it(server: QdrantServer, key: str) -> None:
    index = make_index(server, HashingEmbedder(16), key=key)
    with pytest.raises(ConfigurationError, match="QDRANT_API_KEY") as caught:
        index.live()
    assert len(server.requests) == 1
    assert "wrong-key" not in str(caught.value)
    server.faults = [Fault("GET", status=400, message="what is wrong-key?")]
    with pytest.raises(StoreError) as caught:
        index.live()
    assert not key or key not in str(caught.value)
    index.close()


@pytest.mark.parametrize("status", [400, 413, 422])
def test_points_that_are_refused_are_found_and_named(
    index: QdrantIndex, server: QdrantServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A bulk answer is whole or nothing; one bad point among them must cost no other."""
    upsert = server.store.upsert

    def refuse(name: str, told: Any) -> None:
        from dev.stand_in import RefusalError

        if {point_id("n7"), point_id("n200")} & {point["id"] for point in told["points"]}:
            raise RefusalError(status, "planted")
        upsert(name, told)

    monkeypatch.setattr(server.store, "upsert", refuse)
    index.create(NAME, CARD)
    done = index.write(NAME, news(300))
    assert done.written == 298 == index.count(NAME)
    assert sorted(failed.unique_id for failed in done.failed) == ["n200", "n7"]
    assert all("planted" in failed.reason for failed in done.failed)


def test_points_that_are_refused_may_be_all_that_is_written(index: QdrantIndex, server: QdrantServer) -> None:
    """So it is when the next run begins with them: they must not stop it."""
    index.create(NAME, CARD)
    server.faults = [Fault("PUT .*/points$", status=400)]
    done = index.write(NAME, news(7))
    assert (done.written, [failed.unique_id for failed in done.failed]) == (0, [f"n{n}" for n in range(7)])
    server.faults = []
    assert index.write(NAME, news(8)) == Written(8)


def test_payloads_that_are_refused_are_found_and_named(
    index: QdrantIndex, server: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.create(NAME, CARD)
    index.write(NAME, news(20))
    index.finish(NAME)
    server.faults = [Fault(f"POST /collections/{NAME}/points/batch$", status=400)]
    done = index.write(NAME, news(6))
    assert (done.written, [failed.unique_id for failed in done.failed]) == (0, [f"n{n}" for n in range(6)])
    server.faults = []
    overwrite = server.store.engine.overwrite_payload
    refused = {point_id("n3"), point_id("n11")}

    def refuse(name: str, payload: Any, points: Any, **more: Any) -> Any:
        if refused & set(points):
            raise ValueError("planted")
        return overwrite(name, payload, points, **more)

    monkeypatch.setattr(server.store.engine, "overwrite_payload", refuse)
    rows = batch_of([row | {"category": "outra"} for row in news(20).to_pylist()])
    done = index.write(NAME, rows)
    assert (done.written, sorted(failed.unique_id for failed in done.failed)) == (18, ["n11", "n3"])
    assert all("planted" in failed.reason for failed in done.failed)
    assert set(index.differing(NAME, rows)) == {"n3", "n11"}


@pytest.mark.parametrize("wrong", ["size", "status"])
def test_a_collection_that_can_take_no_point_is_told_as_such(
    index: QdrantIndex, server: QdrantServer, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    index.create(NAME, CARD)
    index.write(NAME, news(3))
    info = server.store.info

    def broken(name: str) -> Any:
        told = info(name)
        if wrong == "status":
            return {**told, "status": "red", "optimizer_status": {"error": "no space"}}
        told["config"]["params"]["vectors"]["size"] = 8
        return told

    monkeypatch.setattr(server.store, "info", broken)
    server.faults = [Fault("PUT .*/points$", status=400)]
    before = len(server.asked("PUT .*/points$"))
    words = {"size": "it takes no vectors of 16 numbers", "status": "it is red, its optimizer says .*no space"}[wrong]
    with pytest.raises(QdrantRefusedError, match=words):
        index.write(NAME, news(200))
    assert len(server.asked("PUT .*/points$")) - before < 15


def test_an_update_that_is_only_noted_down_is_not_counted(
    index: QdrantIndex, server: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.create(NAME, CARD)
    from dev.qdrant_server import server as module

    monkeypatch.setattr(module, "_done", lambda _=None: {"operation_id": 0, "status": "acknowledged"})
    for step in (lambda: index.write(NAME, news(2)), lambda: index.delete(NAME, ["n0"])):
        with pytest.raises(StoreUnavailableError, match="acknowledged"):
            step()


def test_a_point_that_vanishes_between_two_requests_is_made_anew(
    index: QdrantIndex, server: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real server answers 404 for a payload of a point that is not there."""
    index.create(NAME, CARD)
    index.write(NAME, news(3))
    index.finish(NAME)
    server.faults = [Fault(f"POST /collections/{NAME}/points/batch$", status=404, times=1)]
    assert index.write(NAME, news(3)) == Written(3)
    assert len(server.asked("PUT .*/points$")) == 2
    assert index.differing(NAME, news(3)) == {}


def test_an_embedder_that_is_down_leaves_the_index_as_it_was(server: QdrantServer) -> None:
    with EmbeddingsServer(model="m", dimension=16) as service:
        settings = ServiceSettings(url=service.url, model="m", dimension=16)
        index = make_index(server, GenerateEmbedder(settings, backoff=QUICK))
        index.create(NAME, CARD)
        index.write(NAME, news(3))
        index.finish(NAME)
        service.faults = [Fault("POST", status=503)]
        changed = batch_of([article("n0", title="outro"), article("n9")])
        with pytest.raises(EmbeddingsUnavailableError):
            index.write(NAME, changed)
        assert index.differing(NAME, news(3)) == {}
        service.faults = []
        assert index.write(NAME, changed) == Written(2)
        assert index.differing(NAME, changed) == {}
        index.close()


def test_a_failure_in_one_thread_is_not_swallowed(server: QdrantServer) -> None:
    class Broken(HashingEmbedder):
        def embed(self, texts: Any) -> Embedded:
            if any("999" in text for text in texts):
                raise RuntimeError("planted")
            return super().embed(texts)

    index = make_index(server, Broken(16))
    index.create(NAME, CARD)
    with pytest.raises(RuntimeError, match="planted"):
        index.write(NAME, news(1200))
    index.close()


_FILL = """
import sys
from data_platform.managers.embeddings.hashing import HashingEmbedder
from data_platform.managers.qdrant.index import QdrantIndex
from data_platform.managers.qdrant.session import QdrantSession
from data_platform.settings import Settings
from tests.support.qdrant import KEY, news
index = QdrantIndex(QdrantSession(Settings(qdrant_url=sys.argv[1], qdrant_api_key=KEY)), HashingEmbedder(16))
rows = news(1500)
for first in range(0, 1500, 300):
    index.write(sys.argv[2], rows.slice(first, 300))
    print(first, flush=True)
"""


@pytest.mark.parametrize("kill_after", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_a_fill_that_is_killed_goes_on(index: QdrantIndex, server: QdrantServer, kill_after: int) -> None:
    index.create(NAME, CARD)
    server.faults = [Fault("PUT .*/points$", delay=0.05)]
    process = subprocess.Popen(
        [sys.executable, "-c", _FILL, server.url, NAME],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for _ in range(kill_after):
        process.stdout.readline()
    if not kill_after:  # in the middle of the first ones
        wait_until(lambda: server.asked("PUT .*/points$"), "nothing was written")
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.faults = []
    assert index.count(NAME) < 1500
    rows = news(1500)
    assert index.write(NAME, rows) == Written(1500)
    index.finish(NAME)
    assert index.count(NAME) == 1500
    assert index.differing(NAME, rows) == {}
