"""The embeddings' stand-in: what it answers, and how it fails on demand."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from dev.embeddings_server import EmbeddingsServer, Fault, embed

TEXTS = ["Educação básica avança no país", "Campanha de vacinação começa", "básica educação no país"]


@pytest.fixture
def server() -> Iterator[EmbeddingsServer]:
    with EmbeddingsServer(keys=["key"], model="m", dimension=64) as made:
        yield made


@pytest.fixture
def http(server: EmbeddingsServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, headers={"X-API-Key": "key"}, timeout=10) as made:
        yield made


def generate(http: httpx.Client, *texts: str) -> list[list[float]]:
    return list(http.post("/generate", json={"texts": texts or TEXTS}).raise_for_status().json()["embeddings"])


def test_vectors_come_from_the_words() -> None:
    vectors = embed(TEXTS, model="m", dimension=768)
    assert vectors.shape == (3, 768)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    near, far = vectors[0] @ vectors[2], vectors[0] @ vectors[1]
    assert near > 0.5 > far
    assert (embed(TEXTS[:1], model="other", dimension=768) != vectors[:1]).any()
    assert not embed(["  "], model="m", dimension=8).any()


def test_vectors_are_the_same_in_every_process() -> None:
    program = f"from dev.embeddings_server import embed; print(embed({TEXTS!r}, model='m', dimension=16).tolist())"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(embed(TEXTS, model="m", dimension=16).tolist())


def test_the_teams_service(server: EmbeddingsServer, http: httpx.Client) -> None:
    answer = http.post("/generate", json={"texts": TEXTS}).json()
    assert (answer["model"], answer["dimension"], answer["count"]) == ("m", 64, 3)
    assert answer["embeddings"] == embed(TEXTS, model="m", dimension=64).tolist()
    assert http.get("/health").json() == {"status": "healthy", "model_loaded": True}
    assert server.texts == TEXTS
    assert http.post("/generate", json={"texts": ["x"] * 100}).status_code == 200
    for wrong in ({"texts": ["x"] * 101}, {"texts": []}, {"texts": "x"}, {"texts": [1]}, {"inputs": ["x"]}, [1]):
        assert http.post("/generate", json=wrong).status_code == 422, wrong


def test_either_header_has_the_key(server: EmbeddingsServer) -> None:
    def status(headers: dict[str, str]) -> int:
        return httpx.post(f"{server.url}/generate", headers=headers, json={"texts": ["x"]}).status_code

    assert status({"X-API-Key": "key"}) == status({"Authorization": "Bearer key"}) == 200
    assert status({"X-API-Key": "key", "Authorization": "Bearer key"}) == 200
    assert status({}) == status({"X-API-Key": "wrong"}) == status({"Authorization": "Bearer wrong"}) == 401


@pytest.mark.parametrize("more", [{}, {"encoding_format": "float"}])  # without a word it asks for base64
def test_the_client_of_openai(server: EmbeddingsServer, more: dict[str, Any]) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="key", max_retries=0) as client:
        answer = client.embeddings.create(model="m", input=TEXTS, **more)
        assert [one.index for one in answer.data] == [0, 1, 2]
        assert np.array([one.embedding for one in answer.data]) == pytest.approx(
            embed(TEXTS, model="m", dimension=64), abs=1e-6
        )
        assert client.embeddings.create(model="m", input="x").data[0].object == "embedding"
        assert (answer.model, answer.usage.prompt_tokens) == ("m", 13)


def test_vectors_in_another_order_are_told_by_their_index(server: EmbeddingsServer, http: httpx.Client) -> None:
    server.is_reversed = True
    data = http.post("/v1/embeddings", json={"input": TEXTS}, headers={"Authorization": "Bearer key"}).json()["data"]
    assert [one["index"] for one in data] == [2, 1, 0]
    assert data[0]["embedding"] == embed(TEXTS, model="m", dimension=64)[2].tolist()


def test_limits_of_the_openai_kind(server: EmbeddingsServer, http: httpx.Client) -> None:
    assert http.get("/info").json()["max_client_batch_size"] == 32
    assert http.post("/v1/embeddings", json={"input": ["x"] * 32}).status_code == 200
    refused = http.post("/v1/embeddings", json={"input": ["x"] * 33})
    assert (refused.status_code, refused.json()["error_type"]) == (422, "Validation")
    server.too_large_status = 413
    assert http.post("/v1/embeddings", json={"input": ["x"] * 33}).status_code == 413
    assert http.post("/v1/embeddings", json={"input": []}).status_code == 400
    server.has_info = False
    assert http.get("/info").status_code == 404


def test_a_model_that_is_still_loading(server: EmbeddingsServer, http: httpx.Client) -> None:
    server.loading = 2
    assert http.get("/health").json()["model_loaded"] is False
    assert [http.post("/generate", json={"texts": ["x"]}).status_code for _ in range(3)] == [503, 503, 200]
    assert http.get("/health").json()["model_loaded"] is True
    assert server.texts == ["x"]


def test_answers_that_are_wrong(server: EmbeddingsServer, http: httpx.Client) -> None:
    server.spoil(times=1, dimension=32)
    assert [len(one) for one in generate(http)] == [32] * 3
    server.spoil(times=1, missing=1)
    assert len(generate(http)) == 2
    server.spoil(times=1, not_a_number="NaN")
    assert math.isnan(generate(http)[-1][0])
    server.spoil(times=1, not_a_number="null")
    assert generate(http)[-1][0] is None
    assert generate(http) == embed(TEXTS, model="m", dimension=64).tolist()


def test_faults(server: EmbeddingsServer, http: httpx.Client) -> None:
    server.faults = [
        Fault("POST /generate", status=500, times=1),
        Fault("POST", status=429, headers={"Retry-After": "1"}),
    ]
    assert http.post("/generate", json={"texts": ["x"]}).status_code == 500
    limited = http.post("/generate", json={"texts": ["x"]})
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "1")
    assert server.texts == []
