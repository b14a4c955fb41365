"""Documents of Typesense's stand-in that several tests use, and the real client for it."""

from __future__ import annotations

from typing import Any

import typesense

from dev.typesense_server import TypesenseServer

__all__ = ["NEWS", "SCHEMA", "client_of", "document", "filled", "found"]

SCHEMA: dict[str, Any] = {
    "name": "news_1",
    "fields": [
        {"name": "unique_id", "type": "string", "facet": True, "sort": True},
        {"name": "published_at", "type": "int64"},
        {"name": "agency", "type": "string", "facet": True, "optional": True},
        {"name": "title", "type": "string", "optional": True},
        {"name": "content", "type": "string", "optional": True},
        {"name": "published_year", "type": "int32", "facet": True, "optional": True},
        {"name": "tags", "type": "string[]", "facet": True, "optional": True},
        {"name": "score", "type": "float", "optional": True},
        {"name": "has_image", "type": "bool", "facet": True, "optional": True},
        {"name": "vector", "type": "float[]", "num_dim": 3, "optional": True},
    ],
    "default_sorting_field": "published_at",
}


def document(uid: str, published_at: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": uid, "unique_id": uid, "published_at": published_at, **more}


NEWS = [
    document("a", 10, agency="mec", title="Educação básica avança", tags=["escola", "educação"], published_year=2024),
    document("b", 20, agency="mec", title="Vagas na educação", content="Básica e superior", published_year=2025),
    document("c", 20, agency="saude", title="Campanha de vacinação", tags=["sus"], published_year=2025, has_image=True),
    document("d", 30, agency="Ministério da Saúde", title="Novo (SUS), em dia", tags=["sus", "saúde"], has_image=False),
    document("e", 40, title="Sem órgão", score=0.5),
]


def client_of(server: TypesenseServer, **more: Any) -> typesense.Client:
    told = {"api_key": "key", "connection_timeout_seconds": 10, "num_retries": 0, "retry_interval_seconds": 0.01}
    return typesense.Client({"nodes": [server.node], **told, **more})


def filled(client: typesense.Client) -> Any:
    """Make the collection with all the documents, and return the client's view of it."""
    client.collections.create(SCHEMA)
    made = client.collections["news_1"]
    assert made.documents.import_(NEWS) == [{"success": True}] * len(NEWS)
    return made


def found(news: Any, **query: Any) -> list[str]:
    """Search, and return the ids of the documents in order; they must be all that were found."""
    answer = news.documents.search({"q": "*", "sort_by": "unique_id:asc", **query})
    ids = [hit["document"]["id"] for hit in answer["hits"]]
    assert answer["found"] == len(ids)
    return ids
