"""The readers as the local stack has them: stand-ins of Typesense and Qdrant, empty at first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dev.qdrant_server import QdrantServer
from dev.typesense_server import TypesenseServer

__all__ = ["local_search"]

_KEY = "of_the_local_stack"


@contextmanager
def local_search() -> Iterator[Mapping[str, str]]:
    """Serve both, and give the environment in which they are found; texts are embedded by hashing, without a model."""
    with TypesenseServer(keys=[_KEY]) as typesense, QdrantServer(keys=[_KEY]) as qdrant:
        yield {
            "EMBEDDINGS_API_KIND": "hashing",
            "EMBEDDINGS_API_URL": "",
            "EMBEDDINGS_DIMENSION": "",
            "QDRANT_API_KEY": _KEY,
            "QDRANT_COLLECTION": "",
            "QDRANT_URL": qdrant.url,
            "TYPESENSE_API_KEY": _KEY,
            "TYPESENSE_COLLECTION": "",
            "TYPESENSE_HOST": typesense.node["host"],
            "TYPESENSE_PORT": typesense.node["port"],
            "TYPESENSE_PROTOCOL": typesense.node["protocol"],
            "TYPESENSE_WRITE_CONN": "",
        }
