"""The queries of the MCP server (FIELD_FACTS §13), by the real client, on what we index."""

from __future__ import annotations

from typing import Any

import pytest
import typesense

FACETS = "agency,published_year,category,published_week,theme_1_level_1"


def search(client: typesense.Client, **query: Any) -> Any:
    return client.collections["news"].documents.search({"q": "*", "query_by": "title,content", **query})


def test_it_searches_titles_and_contents(client: typesense.Client) -> None:
    assert search(client, q="educação")["found"] == 2


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("agency:=aeb", {"n2", "n3"}),
        ("published_year:>=2024 && published_year:<=2025", {"n1", "n2", "n3", "n4"}),
        ("published_year:[2023..2023]", {"n5"}),
        ("theme_1_level_1:=`05 - Meio Ambiente`", {"n2", "n3"}),  # gone since October 2025, and restored
        ("agency:=aeb && theme_1_level_1:=`05 - Meio Ambiente` && published_year:>=2025", {"n2", "n3"}),
    ],
)
def test_every_filter(client: typesense.Client, wanted: str, found: set[str]) -> None:
    assert {hit["document"]["id"] for hit in search(client, filter_by=wanted)["hits"]} == found


def test_every_facet(client: typesense.Client) -> None:
    counts = {
        one["field_name"]: {c["value"]: c["count"] for c in one["counts"]}
        for one in search(client, facet_by=FACETS, max_facet_values=20)["facet_counts"]
    }
    assert set(counts) == set(FACETS.split(","))
    assert counts["published_week"] == {"202519": 3, "202501": 1, "202326": 1}
    assert counts["theme_1_level_1"]["05 - Meio Ambiente"] == 2


def test_documents_by_id(client: typesense.Client) -> None:
    assert client.collections["news"].documents["n2"].retrieve()["title"] == "Satélite lançado"
    with pytest.raises(typesense.exceptions.ObjectNotFound):
        client.collections["news"].documents["nothing"].retrieve()


def test_several_searches_at_once(client: typesense.Client) -> None:
    asked = {"searches": [{"collection": "news", "q": "*", "filter_by": f"agency:={key}"} for key in ("aeb", "mre")]}
    found = client.multi_search.perform(asked, {"query_by": "title"})
    assert [one["found"] for one in found["results"]] == [2, 1]
