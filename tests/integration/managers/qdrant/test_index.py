"""QdrantIndex through the real client against the stand-in: collections, alias, card, rows, vectors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from qdrant_client import QdrantClient, models

from data_platform.errors import ConfigurationError, StoreError, StoreUnavailableError
from data_platform.managers.embeddings.generate import GenerateEmbedder
from data_platform.managers.embeddings.hashing import HashingEmbedder
from data_platform.managers.embeddings.interface import Embedder
from data_platform.managers.embeddings.service import ServiceSettings
from data_platform.managers.qdrant.index import QdrantIndex
from data_platform.managers.qdrant.points import PAYLOAD_INDEXES, point_id
from data_platform.managers.search_index import Card, Written, generation_name
from data_platform.settings import Settings
from dev.embeddings_server import EmbeddingsServer
from dev.qdrant_server import QdrantServer
from tests.support.qdrant import KEY, QUICK, make_index, news
from tests.support.rows import article, batch_of

FIRST, SECOND = (generation_name("news", datetime(2024, 5, day, tzinfo=UTC)) for day in (1, 2))
CARD = Card("postgres", facts={"job_x": "kept"})


@pytest.fixture
def server() -> Iterator[QdrantServer]:
    with QdrantServer(keys=[KEY]) as made:
        yield made


@pytest.fixture
def service() -> Iterator[EmbeddingsServer]:
    with EmbeddingsServer(model="m", dimension=16) as made:
        yield made


Make = Callable[..., QdrantIndex]


@pytest.fixture
def make(server: QdrantServer) -> Iterator[Make]:
    made: list[QdrantIndex] = []

    def make(embedder: Embedder | None = None, **changed: Any) -> QdrantIndex:
        made.append(make_index(server, embedder or HashingEmbedder(16), **changed))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def client(server: QdrantServer) -> Iterator[QdrantClient]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a key without TLS
        made = QdrantClient(url=server.url, api_key=KEY, check_compatibility=False)
    yield made
    made.close()


def asks(service: EmbeddingsServer, *, model: str = "m") -> Embedder:
    settings = ServiceSettings(url=service.url, model=model, dimension=service.dimension)
    return GenerateEmbedder(settings, backoff=QUICK)


def filled(index: QdrantIndex, rows: pa.RecordBatch, name: str = FIRST) -> str:
    index.create(name, CARD)
    assert index.write(name, rows) == Written(rows.num_rows)
    index.finish(name)
    index.set_card(name, replace(CARD, is_whole=True))
    index.point(name)
    return name


def ids(index: QdrantIndex, name: str = FIRST) -> list[str]:
    return sorted(uid for piece in index.unique_ids(name) for uid in piece)


def test_a_collection_is_made_filled_finished_and_shown(make: Make, client: QdrantClient) -> None:
    index, rows = make(), news(700)
    assert (index.live(), index.collections()) == (None, [])
    index.create(FIRST, CARD)
    assert client.get_collection(FIRST).config.hnsw_config.m == 0
    assert index.live() is None
    assert index.write(FIRST, rows) == Written(700)
    assert index.count(FIRST) == 700
    index.finish(FIRST)
    info = client.get_collection(FIRST)
    assert info.config.hnsw_config.m == 16
    assert {name: index.data_type.value for name, index in info.payload_schema.items()} == dict(PAYLOAD_INDEXES)
    assert info.config.params.vectors == models.VectorParams(size=16, distance=models.Distance.COSINE)
    index.point(FIRST)
    assert (index.live(), index.collections()) == (FIRST, [FIRST])
    assert client.count("news").count == 700
    assert index.drift(FIRST) == []
    assert index.differing(FIRST, rows) == {}
    assert ids(index) == sorted(rows.column("unique_id").to_pylist())


def test_the_vector_is_that_of_the_text_and_search_finds_it(make: Make, client: QdrantClient) -> None:
    embedder = HashingEmbedder(64)
    index = make(embedder)
    filled(index, batch_of([article("a", title="Vacina", summary="contra a dengue"), article("b", title="Safra")]))
    wanted = embedder.embed(["Vacina contra a dengue"]).vectors[0]
    (found,) = client.retrieve("news", [point_id("a")], with_vectors=True)
    np.testing.assert_allclose(found.vector, wanted, atol=1e-7)
    asked = embedder.embed(["dengue vacina"]).vectors[0].tolist()
    theirs = models.Filter(must=[models.FieldCondition(key="agency", match=models.MatchValue(value="mec"))])
    best = client.query_points("news", query=asked, query_filter=theirs, limit=1, with_payload=True).points
    assert [point.payload and point.payload["unique_id"] for point in best] == ["a"]


def test_the_card_stays_with_its_collection(make: Make, client: QdrantClient) -> None:
    index = make()
    index.create(FIRST, CARD)
    facts = {"job_x": "kept", "model": "hashing-1", "dimension": "16"}
    assert index.card(FIRST) == Card("postgres", facts=facts)
    index.write(FIRST, news(3))
    index.finish(FIRST)
    index.set_card(FIRST, Card("postgres", "stamp ☂", is_whole=True, facts={"job_y": "2"}))
    expected = {"job_y": "2", "model": "hashing-1", "dimension": "16"}
    assert make().card(FIRST) == Card("postgres", "stamp ☂", True, expected)
    assert index.count(FIRST) == 3
    client.create_collection("foreign", models.VectorParams(size=2, distance=models.Distance.DOT))
    assert index.card("foreign") is None
    client.update_collection("foreign", metadata={"govbr_card": "{"})
    with pytest.raises(StoreError, match="card of foreign cannot be read"):
        index.card("foreign")


def test_a_server_that_keeps_no_metadata_is_refused(
    make: Make, server: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those before 1.16 do: they take the request and leave out what they do not know."""
    create = server.store.create
    monkeypatch.setattr(server.store, "create", lambda name, told: create(name, {**told, "metadata": None}))
    with pytest.raises(StoreError, match=r"Qdrant 1\.16"):
        make().create(FIRST, CARD)


def test_a_collection_is_not_made_twice(make: Make) -> None:
    index = make()
    index.create(FIRST, CARD)
    with pytest.raises(StoreError, match="already exists"):
        index.create(FIRST, CARD)
    with pytest.raises(StoreError, match="doesn't exist"):
        index.count(SECOND)
    assert index.delete(FIRST, ["nobody"]) == 0


def test_the_alias_moves_in_one_request(make: Make, server: QdrantServer) -> None:
    index = make()
    filled(index, news(2))
    index.create(SECOND, CARD)
    index.write(SECOND, news(5))
    server.requests.clear()
    index.point(SECOND)
    assert len(server.asked("POST /collections/aliases")) == 1
    assert (index.live(), index.count("news"), index.collections()) == (SECOND, 5, [FIRST, SECOND])
    index.point(SECOND)
    assert len(server.asked("POST /collections/aliases")) == 1
    index.point(FIRST)
    assert index.live() == FIRST
    with pytest.raises(StoreError, match="doesn't exist"):
        index.point(generation_name("news", datetime(2030, 1, 1, tzinfo=UTC)))
    assert index.live() == FIRST


def test_what_searches_see_is_never_dropped(make: Make) -> None:
    index = make()
    filled(index, news(2))
    index.create(SECOND, CARD)
    with pytest.raises(StoreError, match="is what searches see"):
        index.drop(FIRST)
    index.drop(SECOND)
    index.drop(SECOND)
    assert (index.live(), index.collections()) == (FIRST, [FIRST])


def test_a_collection_with_the_alias_s_name_is_replaced_only_when_told(make: Make, client: QdrantClient) -> None:
    client.create_collection("news", models.VectorParams(size=2, distance=models.Distance.DOT))
    index = make()
    assert index.live() == "news"
    index.create(FIRST, CARD)
    with pytest.raises(StoreError, match="QDRANT_COLLECTION"):
        index.point(FIRST)
    assert index.live() == "news"
    make(replace_collection=True).point(FIRST)
    assert index.live() == FIRST


def test_collections_of_others_are_none_of_ours(make: Make, client: QdrantClient) -> None:
    for name in ("news_old", "newsletter_20240501T000000000000Z", "news_test_20240501T000000000000Z"):
        client.create_collection(name, models.VectorParams(size=2, distance=models.Distance.DOT))
    index = make()
    index.create(SECOND, CARD)
    index.create(FIRST, CARD)
    assert index.collections() == [FIRST, SECOND]


def test_deletions_are_counted_by_what_was_there(make: Make) -> None:
    index = make()
    filled(index, news(2500))
    gone = [f"n{number}" for number in range(0, 2500, 2)]
    assert index.delete(FIRST, [*gone, *gone, "nobody"]) == 1250
    assert index.delete(FIRST, gone) == 0
    assert index.count(FIRST) == 1250
    assert ids(index) == sorted(f"n{number}" for number in range(1, 2500, 2))


def test_only_what_changed_is_embedded_again(make: Make, service: EmbeddingsServer, client: QdrantClient) -> None:
    index = make(asks(service))
    rows = [article(f"n{n}", title=f"título {n}", summary="resumo") for n in range(300)]
    filled(index, batch_of(rows))
    assert len(service.texts) == 300
    before = client.retrieve(FIRST, [point_id("n4")], with_vectors=True)[0].vector
    service.texts.clear()
    rows[3] |= {"title": "outro"}
    rows[4] |= {"most_specific_theme_code": "02.03", "content": "longo"}  # nothing that is embedded
    rows[5] |= {"tags": ["a"], "summary": "resumo novo"}
    changed = batch_of(rows)
    assert len(index.differing(FIRST, changed)) == 3
    assert index.write(FIRST, changed) == Written(300)
    assert sorted(service.texts) == ["outro resumo", "título 5 resumo novo"]
    assert index.differing(FIRST, changed) == {}
    (point,) = client.retrieve(FIRST, [point_id("n4")], with_vectors=True)
    assert point.payload is not None
    assert point.payload["most_specific_theme_code"] == "02.03"
    assert point.vector == before
    service.texts.clear()
    rows[4] |= {"most_specific_theme_code": None}
    index.write(FIRST, batch_of(rows))
    assert index.differing(FIRST, batch_of(rows)) == {}, "a payload is replaced, not merged"
    assert service.texts == []
    client.set_payload(FIRST, {"embedding_model": "another"}, [point_id("n7")])
    index.write(FIRST, batch_of(rows))
    assert service.texts == ["título 7 resumo"]


def test_another_process_embeds_nothing_twice(make: Make, service: EmbeddingsServer) -> None:
    """A rebuild that was killed and begun again goes on where it was."""
    first = make(asks(service))
    first.create(FIRST, CARD)
    first.write(FIRST, news(100))
    service.texts.clear()
    second = make(asks(service))
    assert second.write(FIRST, news(150)) == Written(150)
    assert len(service.texts) == 50


def test_a_rebuild_takes_over_vectors_of_the_same_text_and_model(make: Make, service: EmbeddingsServer) -> None:
    filled(make(asks(service)), news(200))
    service.texts.clear()
    index = make(asks(service))
    rows = batch_of([*news(200).to_pylist(), article("new")])
    filled(index, rows, SECOND)
    assert service.texts == ["Título"]
    assert index.differing(SECOND, rows) == {}
    assert index.drift(SECOND) == []
    service.texts.clear()
    index = make(asks(service), reuse_vectors=False)
    index.create(generation_name("news", datetime(2024, 5, 3, tzinfo=UTC)), CARD)
    index.write(generation_name("news", datetime(2024, 5, 3, tzinfo=UTC)), rows)
    assert len(service.texts) == 201


def test_a_rebuild_with_another_model_embeds_everything(make: Make, service: EmbeddingsServer) -> None:
    filled(make(asks(service)), news(20))
    service.texts.clear()
    service.model = "m2"
    index = make(asks(service, model="m2"))
    filled(index, news(20), SECOND)
    assert len(service.texts) == 20
    card = index.card(SECOND)
    assert card is not None
    assert card.facts["model"] == "m2"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"dimension": 8}, r"vectors have 16 numbers, those of m 8"),
        ({"model": "m2"}, "of the model m, not of m2"),
    ],
)
def test_vectors_of_another_kind_are_refused(
    make: Make, service: EmbeddingsServer, changed: dict[str, Any], told: str
) -> None:
    rows = news(5)
    filled(make(asks(service)), rows)
    service.texts.clear()
    for name, value in changed.items():
        setattr(service, name, value)
    index = make(asks(service, model=service.model))
    with pytest.raises(StoreError, match=f"{told}.*rebuild the index"):
        index.write(FIRST, rows)
    assert any(told.replace("\\", "") in line for line in index.drift(FIRST))
    index.set_card(FIRST, replace(CARD, is_whole=True))
    card = index.card(FIRST)
    assert card is not None
    assert card.facts["model"] == "m", "a card never says more of the vectors than is true"
    assert service.texts == []
    assert make(asks(service, model=service.model)).count(FIRST) == 5


def test_a_collection_of_somebody_else_is_not_written(make: Make, client: QdrantClient) -> None:
    client.create_collection(FIRST, models.VectorParams(size=16, distance=models.Distance.COSINE))
    index = make()
    with pytest.raises(StoreError, match="does not say of which model"):
        index.write(FIRST, news(1))
    assert index.drift(FIRST)[0] == "it does not say of which model its vectors are"


def test_rows_that_cannot_be_embedded_are_told_by_name(make: Make, service: EmbeddingsServer) -> None:
    """The stand-in has no vector of a text without words; here titles of white space stand for such ones."""
    index = make(asks(service))
    rows = batch_of([article("a"), article("b", title=" "), article("c"), article("d", title="\t")])
    index.create(FIRST, CARD)
    done = index.write(FIRST, rows)
    assert (done.written, [failed.unique_id for failed in done.failed]) == (2, ["b", "d"])
    assert all("zeros" in failed.reason and not failed.is_transient for failed in done.failed)
    assert ids(index) == ["a", "c"]


def test_drift_is_named(make: Make, client: QdrantClient) -> None:
    index = make()
    filled(index, news(1))
    client.delete_payload_index(FIRST, "agency")
    client.create_payload_index(FIRST, "published_at", models.PayloadSchemaType.KEYWORD)
    client.update_collection(FIRST, hnsw_config=models.HnswConfigDiff(m=0))
    assert index.drift(FIRST) == [
        "agency has no index; it should be keyword",
        "published_at has an index of the type keyword; it should be datetime",
        "it has no graph: searches look at every point",
    ]


def test_planted_differences_are_named(make: Make, client: QdrantClient) -> None:
    index, rows = make(), news(6)
    filled(index, rows)
    client.set_payload(FIRST, {"title": "outro"}, [point_id("n0")])
    client.delete_payload(FIRST, ["url"], [point_id("n1")])
    client.set_payload(FIRST, {"mais": 1}, [point_id("n2")])
    client.set_payload(FIRST, {"text_hash": "x"}, [point_id("n3")])
    client.delete(FIRST, [point_id("n4")])
    found = index.differing(FIRST, rows)
    assert sorted(found) == ["n0", "n1", "n2", "n3", "n4"]
    assert "title: 'outro' instead of 'título 0'" in found["n0"]
    assert found["n4"] == "it is missing"
    assert index.write(FIRST, rows) == Written(6)
    assert index.differing(FIRST, rows) == {}


def test_finish_waits_until_it_is_done_but_not_for_ever(make: Make, server: QdrantServer) -> None:
    slept: list[float] = []
    index = make(sleep=slept.append)
    index.create(FIRST, CARD)
    server.store.busy_looks = 4
    index.finish(FIRST)
    assert len(slept) >= 4
    index = make(sleep=slept.append, finish_within_s=0.0)
    index.create(SECOND, CARD)
    server.store.busy_looks = 1000
    with pytest.raises(StoreUnavailableError, match="not indexed after 0 s"):
        index.finish(SECOND)


def test_finish_mends_what_a_killed_creation_left_out(make: Make, client: QdrantClient) -> None:
    index = make()
    index.create(FIRST, CARD)
    for name in list(PAYLOAD_INDEXES)[:4]:
        client.delete_payload_index(FIRST, name)
    index.finish(FIRST)
    assert index.drift(FIRST) == []


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"qdrant_url": ""}, "QDRANT_URL"),
        ({"qdrant_url": "ftp://127.0.0.1"}, "QDRANT_URL"),
        ({"qdrant_url": "https://q.example", "qdrant_api_key": ""}, "QDRANT_API_KEY"),
        ({"qdrant_url": "https://q.example"}, "EMBEDDINGS_PUBLISH_APPROXIMATE"),
        ({"embeddings_api_kind": "openai"}, "EMBEDDINGS_API_URL"),
    ],
)
def test_settings_that_are_missing_are_named(changed: dict[str, str], named: str) -> None:
    told = Settings(qdrant_url="http://127.0.0.1:6333", qdrant_api_key="k")
    with pytest.raises(ConfigurationError, match=named):
        QdrantIndex.of(replace(told, **changed)).live()


def test_the_settings_make_an_index(server: QdrantServer) -> None:
    index = QdrantIndex.of(Settings(qdrant_url=server.url, qdrant_api_key=KEY, qdrant_collection="noticias"))
    name = generation_name("noticias", datetime(2024, 5, 1, tzinfo=UTC))
    filled(index, news(3), name)
    assert (index.reader, index.alias, index.live()) == ("qdrant", "noticias", name)
    index.close()
