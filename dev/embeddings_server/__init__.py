"""A stand-in for services that turn texts into vectors, on loopback: the team's own and the OpenAI-compatible kind.

`POST /generate`, `GET /health` as FIELD_FACTS §10 tells; `POST /v1/embeddings`, `GET /info` as PLATFORM_FACTS Part 2 §4
does.
Vectors are made from the words by hashing: the same text and model give the same vector in every process, texts that
share words are near to each other, and no model is loaded.

    with EmbeddingsServer(keys=["key"], dimension=768) as server:
        httpx.post(f"{server.url}/generate", headers={"X-API-Key": "key"}, json={"texts": ["…"]})

Faults: `loading` requests answered with 503, `spoil` for answers that are wrong, or any `Fault` on "METHOD /path" in
`faults`.
"""

from dev.embeddings_server.server import EmbeddingsServer
from dev.embeddings_server.vectors import embed
from dev.stand_in import Fault

__all__ = ["EmbeddingsServer", "Fault", "embed"]
