"""Both services, over HTTP against the stand-in: batches, patience by type, answers that are wrong, texts refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data_platform.errors import ConfigurationError
from data_platform.managers.embeddings.generate import GenerateEmbedder
from data_platform.managers.embeddings.interface import EmbeddingsError, EmbeddingsUnavailableError
from data_platform.managers.embeddings.openai_api import OpenAiEmbedder
from data_platform.managers.embeddings.service import EmbeddingService, ServiceSettings, TextsRefusedError
from data_platform.managers.hub.session import Backoff
from dev.embeddings_server import EmbeddingsServer, Fault, embed
from dev.stand_in import RefusalError

KEY = "segredo-1234"
MODEL = "sentence-transformers/paraphrase-multilingual-mpnet-base-v2"
QUICK = Backoff(tries=4, first_s=0.01, most_s=0.02, total_s=20.0)
KINDS = [OpenAiEmbedder, GenerateEmbedder]
Make = Callable[..., EmbeddingService]


@pytest.fixture
def server() -> Iterator[EmbeddingsServer]:
    with EmbeddingsServer(keys=[KEY], model=MODEL, dimension=12) as made:
        yield made


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, server: EmbeddingsServer) -> Iterator[Make]:
    yield from _makers(request.param, server)


def _makers(kind: type[EmbeddingService], server: EmbeddingsServer) -> Iterator[Make]:
    made: list[EmbeddingService] = []

    def make(**changed: Any) -> EmbeddingService:
        told = {"url": server.url, "key": KEY, "model": MODEL, "dimension": 12} | changed
        made.append(kind(ServiceSettings(**told), backoff=QUICK, timeout_s=2.0))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def openai(server: EmbeddingsServer) -> Iterator[Make]:
    yield from _makers(OpenAiEmbedder, server)


@pytest.fixture
def generate(server: EmbeddingsServer) -> Iterator[Make]:
    yield from _makers(GenerateEmbedder, server)


def texts(number: int) -> list[str]:
    return [f"texto {n} ação" for n in range(number)]


def test_each_text_gets_its_own_vector_in_order(make: Make, server: EmbeddingsServer) -> None:
    server.is_reversed = True  # as the interface allows: each vector says which text it is of
    asked = texts(230)
    answer = make().embed(asked)
    assert answer.refused == {}
    assert answer.vectors.dtype == np.float32
    np.testing.assert_allclose(answer.vectors, embed(asked, model=MODEL, dimension=12), atol=1e-6)
    assert server.texts == asked
    assert make().embed([]).vectors.shape == (0, 12)


def test_generate_is_asked_for_100_texts_at_most(generate: Make, server: EmbeddingsServer) -> None:
    generate().embed(texts(230))
    assert server.asked("POST") == ["POST /generate"] * 3


@pytest.mark.parametrize(("has_info", "largest", "requests"), [(True, 50, 5), (True, 7, 33), (False, 32, 8)])
def test_openai_batches_are_as_large_as_info_says_or_else_32(
    openai: Make, server: EmbeddingsServer, has_info: bool, largest: int, requests: int
) -> None:
    server.has_info, server.largest_batch = has_info, largest
    made = openai()
    made.embed(texts(230))
    assert len(server.asked("POST /v1/embeddings")) == requests
    made.embed(texts(1))
    assert len(server.asked("GET /info")) == 1


@pytest.mark.parametrize("tail", ["/", "/v1", "/v1/", "/v1/embeddings"])
def test_the_address_may_be_given_with_its_end(openai: Make, server: EmbeddingsServer, tail: str) -> None:
    assert openai(url=server.url + tail).embed(["a"]).vectors.any()


def test_a_service_that_is_loading_is_waited_for(make: Make, server: EmbeddingsServer) -> None:
    server.loading = 3
    assert make().embed(["a"]).vectors.any()
    server.loading = 50
    with pytest.raises(EmbeddingsUnavailableError, match="503"):
        make().embed(["a"])


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", status=429, times=2),
        Fault("POST", status=500, times=2),
        Fault("POST", drop=True, times=2),
        Fault("POST", reset=True, times=2),
        Fault("POST", cut=20, times=2),
        Fault("POST", drop=True, after=True, times=2),
    ],
)
def test_what_may_pass_is_tried_again(make: Make, server: EmbeddingsServer, fault: Fault) -> None:
    server.faults = [fault]
    np.testing.assert_allclose(make().embed(["a b"]).vectors, embed(["a b"], model=MODEL, dimension=12), atol=1e-6)
    assert fault.times == 0


def test_a_pause_that_is_asked_for_is_kept(make: Make, server: EmbeddingsServer) -> None:
    server.faults = [Fault("POST", status=429, times=1, headers={"Retry-After": "0.4"})]
    started = time.monotonic()
    make().embed(["a"])
    assert time.monotonic() - started >= 0.4


def test_silence_is_not_borne_for_ever(server: EmbeddingsServer) -> None:
    server.faults = [Fault("POST", delay=1.0)]
    settings = ServiceSettings(url=server.url, key=KEY, model=MODEL, dimension=12)
    made = GenerateEmbedder(settings, backoff=Backoff(tries=1), timeout_s=0.2)
    with pytest.raises(EmbeddingsUnavailableError, match="no answer"):
        made.embed(["a"])
    made.close()


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
def test_each_version_of_generate_finds_the_key_in_its_header(
    generate: Make, server: EmbeddingsServer, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    answer = server.answer

    def by_one_header(request: Any) -> Any:
        others = {name: value for name, value in request.headers.items() if name == header}
        return answer(replace(request, headers=others))

    monkeypatch.setattr(server, "answer", by_one_header)
    assert generate().embed(["a"]).vectors.any()


def test_no_message_has_the_key(make: Make, server: EmbeddingsServer) -> None:
    server.keys = {"another"}
    with pytest.raises(ConfigurationError, match="EMBEDDINGS_API_KEY is not valid") as caught:
        make().embed(["a"])
    assert KEY not in str(caught.value)
    with pytest.raises(ConfigurationError, match="EMBEDDINGS_API_KEY is not set"):
        make(key="").embed(["a"])
    server.faults = [Fault("POST", status=400, message=f"bad {KEY}")]
    server.keys = {KEY}
    assert KEY not in make().embed(["a"]).refused[0]


@pytest.mark.parametrize(
    ("spoiled", "error"),
    [
        ({"dimension": 8}, "vectors of 8 numbers, expected are 12"),
        ({"missing": 1}, "2 vectors for 3 texts"),
    ],
)
def test_answers_of_another_shape_are_refused(
    make: Make, server: EmbeddingsServer, spoiled: dict[str, Any], error: str
) -> None:
    server.spoil(**spoiled)
    with pytest.raises(EmbeddingsError, match=error):
        make().embed(texts(3))
    assert len(server.asked("POST")) == 1  # another try ends the same way


def test_another_model_is_refused(make: Make, server: EmbeddingsServer) -> None:
    """FIELD_FACTS §10: the service changed its model while the columns stayed."""
    server.model = "BAAI/bge-m3"
    with pytest.raises(EmbeddingsError, match=r"of the model 'BAAI/bge-m3', expected is 'sentence-transformers/"):
        make().embed(["a"])


@pytest.mark.parametrize("asked", [MODEL, MODEL.rpartition("/")[2], MODEL.upper()])
def test_a_model_may_be_named_without_its_owner(make: Make, asked: str) -> None:
    assert make(model=asked).embed(["a"]).vectors.any()


@pytest.mark.parametrize(("end", "is_ours"), [("@1a2b", True), (":latest", True), ("-instruct", False), ("2", False)])
def test_behind_the_name_of_a_model_only_a_version_may_follow(
    make: Make, server: EmbeddingsServer, end: str, is_ours: bool
) -> None:
    server.model = MODEL + end
    if is_ours:
        assert make().embed(["a"]).vectors.any()
        return
    with pytest.raises(EmbeddingsError, match=f"of the model '{MODEL}{end}', expected is '{MODEL}'"):
        make().embed(["a"])


@pytest.mark.parametrize("wrong", ["NaN", "null"])
def test_a_vector_that_is_none_costs_its_text_only(make: Make, server: EmbeddingsServer, wrong: Any) -> None:
    """Four answers in a row are spoiled: of all texts, of their first half, of the first half of that, of one text."""
    asked = texts(8)
    server.spoil(times=4, not_a_number=wrong)
    answer = make().embed(asked)
    assert list(answer.refused) == [0]
    assert "NaN" in answer.refused[0]
    np.testing.assert_allclose(answer.vectors[1:], embed(asked, model=MODEL, dimension=12)[1:], atol=1e-6)
    assert not answer.vectors[0].any()


@pytest.mark.parametrize("status", [424, 500, 503])
def test_a_text_that_breaks_the_service_costs_itself_only(
    make: Make, server: EmbeddingsServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """It answers other texts at the same time, so it is not away; else each run from now on would end here."""
    vectors = server._vectors

    def broken(asked: Any) -> Any:
        if "VENENO" in asked:
            raise RefusalError(status, "planted")
        return vectors(asked)

    monkeypatch.setattr(server, "_vectors", broken)
    answer = make().embed([*texts(20), "VENENO", *texts(9)])
    assert list(answer.refused) == [20]
    assert f"{status}: planted" in answer.refused[20]
    assert answer.vectors[[19, 21]].any(axis=1).all()


def test_a_text_of_which_there_is_no_vector_costs_itself_only(
    make: Make, server: EmbeddingsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = server._vectors

    def some(asked: Any) -> Any:
        return [[] if text == "" else vector for text, vector in zip(asked, vectors(asked), strict=True)]

    monkeypatch.setattr(server, "_vectors", some)
    answer = make().embed(["um", "", "dois"])
    assert answer.refused.keys() == {1}
    assert "no vector" in answer.refused[1]
    assert answer.vectors[[0, 2]].any(axis=1).all()


def test_a_text_without_a_vector_is_told_and_the_others_are_not_lost(make: Make) -> None:
    """The stand-in's vector of a text without words is of zeros, which have no direction."""
    answer = make().embed(["um", " ", "dois", "", "três"])
    assert sorted(answer.refused) == [1, 3]
    assert [bool(vector.any()) for vector in answer.vectors] == [True, False, True, False, True]


def test_when_every_text_is_refused_it_is_not_the_texts(make: Make, server: EmbeddingsServer) -> None:
    server.faults = [Fault("POST", status=422)]
    with pytest.raises(TextsRefusedError, match=r"422.*it takes no text at all"):
        make().embed(texts(64))
    assert len(server.asked("POST")) < 20


def test_before_it_is_said_not_to_be_the_texts_a_harmless_one_is_asked_for(
    make: Make, server: EmbeddingsServer
) -> None:
    """A later run may have nothing but the texts that were refused before; the stand-in has no vector of such ones."""
    embedder = make()
    assert sorted(embedder.embed([" "] * 6).refused) == list(range(6))
    assert len(server.texts) > len(" " * 6)
    server.texts.clear()
    assert sorted(embedder.embed(["", "um", "\t", " ", "  "]).refused) == [0, 2, 3, 4]
    assert set(server.texts) == {"", "um", "\t", " ", "  "}, "it is asked once"


@pytest.mark.parametrize("status", [413, 422])
def test_a_batch_that_is_too_large_is_halved(openai: Make, server: EmbeddingsServer, status: int) -> None:
    server.has_info, server.largest_batch, server.too_large_status = False, 10, status
    answer = openai().embed(texts(40))
    assert answer.refused == {}
    assert answer.vectors.any(axis=1).all()


def test_a_kind_that_the_service_does_not_speak_is_said(make: Make, server: EmbeddingsServer) -> None:
    server.faults = [Fault("POST", status=404)]
    with pytest.raises(EmbeddingsError, match="EMBEDDINGS_API_KIND"):
        make().embed(["a"])


def test_an_address_that_is_none(make: Make) -> None:
    with pytest.raises(ConfigurationError, match="EMBEDDINGS_API_URL"):
        make(url="e.example").embed(["a"])
