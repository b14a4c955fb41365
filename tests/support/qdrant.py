"""Rows and indexes for tests of Qdrant."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from data_platform.managers.embeddings.interface import Embedder
from data_platform.managers.hub.session import Backoff
from data_platform.managers.qdrant.index import QdrantIndex
from data_platform.managers.qdrant.session import QdrantSession
from data_platform.settings import Settings
from dev.qdrant_server import QdrantServer
from tests.support.rows import article, batch_of

__all__ = ["KEY", "QUICK", "make_index", "news"]

KEY = "segredo-qdrant"
QUICK = Backoff(tries=4, first_s=0.01, most_s=0.02, total_s=20.0)


def make_index(server: QdrantServer, embedder: Embedder, *, key: str = KEY, **changed: Any) -> QdrantIndex:
    """Return an index in a stand-in, with little patience."""
    settings = Settings(qdrant_url=server.url, qdrant_api_key=key)
    session = QdrantSession(settings, backoff=QUICK, timeout_s=2)
    return QdrantIndex(session, embedder, **{"sleep": lambda _: None, **changed})


def news(number: int) -> pa.RecordBatch:
    """Return articles n0, n1, … with other titles."""
    url = "https://www.gov.br/mec/pt-br/noticias/"
    return batch_of([article(f"n{n}", title=f"título {n}", url=f"{url}{n}", summary="resumo") for n in range(number)])
