"""The queries of the portal and of the web pages before it (FIELD_FACTS §13), by the real client, on what we index."""

from __future__ import annotations

from typing import Any

import pytest
import typesense

from tests.support.sources import Row

#: The fields that the portal reads of a document (FIELD_FACTS §9.2).
SHOWN = {
    "unique_id", "agency", "published_at", "title", "url", "image", "video_url", "content", "summary", "subtitle",
    "editorial_lead", "category", "extracted_at", "theme_1_level_1_code", "theme_1_level_1_label",
    "theme_1_level_2_code", "theme_1_level_2_label", "theme_1_level_3_code", "theme_1_level_3_label",
    "most_specific_theme_code", "most_specific_theme_label", "published_year", "published_month", "published_week",
    "tags",
}  # fmt: skip


def ids(client: typesense.Client, **query: Any) -> list[str]:
    """Search as the portal does and return the ids in order."""
    asked = {"q": "*", "query_by": "title,content", "sort_by": "published_at:desc,unique_id:desc", **query}
    found = client.collections["news"].documents.search(asked)
    return [hit["document"]["unique_id"] for hit in found["hits"]]


def test_the_newest_first_ties_by_id(client: typesense.Client) -> None:
    assert ids(client) == ["n3", "n2", "n1", "n4", "n5"]
    assert ids(client, sort_by="published_at:desc")[0] == "n3"
    assert ids(client, per_page=2, page=2) == ["n1", "n4"]


def test_words_are_found_in_title_and_content(client: typesense.Client) -> None:
    assert ids(client, q="educacao") == ["n3", "n1"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("agency:=aeb", ["n3", "n2"]),
        ("agency:[aeb,saude]", ["n3", "n2", "n4", "n5"]),
        ("theme_1_level_1_code:=05", ["n3", "n2"]),  # n3 knows its theme by the text alone
        ("theme_1_level_1_code:[`01`,`20`]", ["n1", "n5"]),
        ("theme_1_level_2_code:=05.02", ["n2"]),
        ("theme_1_level_3_code:=01.01.01", ["n1"]),
        ("theme_1_level_1_label:=`Meio Ambiente`", ["n3", "n2"]),
        ("tags:[escola,espaço]", ["n2", "n1"]),
        ("tags:=campo", ["n1"]),
        ("unique_id:=n4", ["n4"]),
        # 10 May 2025 in Brasília, as the portal says it: the end of the day has 3 hours added.
        ("published_at:>=1746846000 && published_at:<1746932400", ["n3", "n2", "n1"]),
        ("published_at:[1746846000..1746932399] && agency:=mre", ["n1"]),
    ],
)
def test_every_filter_of_the_portal(client: typesense.Client, wanted: str, found: list[str]) -> None:
    assert ids(client, filter_by=wanted) == found


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("agency", {"aeb": 2, "saude": 2, "mre": 1}),
        ("theme_1_level_1_label", {"Meio Ambiente": 2, "Economia e Finanças": 1, "Política e Governo": 1, None: 1}),
        ("theme_1_level_2_code", {"05.02": 1, "01.01": 1, None: 3}),
    ],
)
def test_every_grouping_of_the_portal(client: typesense.Client, by: str, groups: dict[str | None, int]) -> None:
    asked = {"q": "*", "query_by": "title", "group_by": by, "group_limit": 1, "per_page": 50}
    found = client.collections["news"].documents.search(asked)
    told = {(group["group_key"] or [None])[0]: group["found"] for group in found["grouped_hits"]}
    assert told == groups


def test_facets_of_tags_and_of_the_old_pages(client: typesense.Client) -> None:
    facets = "tags,published_year,agency,category,theme_1_level_1"
    found = client.collections["news"].documents.search({"q": "*", "query_by": "title", "facet_by": facets})
    counts = {one["field_name"]: {c["value"]: c["count"] for c in one["counts"]} for one in found["facet_counts"]}
    assert {tag: counts["tags"][tag] for tag in ("escola", "espaço")} == {"escola": 1, "espaço": 1}
    assert counts["published_year"] == {"2025": 3, "2024": 1, "2023": 1}  # n4: an evening of 2024
    assert counts["agency"] == {"aeb": 2, "saude": 2, "mre": 1}
    assert counts["category"] == {"Notícias": 5}
    assert counts["theme_1_level_1"] == {
        "05 - Meio Ambiente": 2,
        "01 - Economia e Finanças": 1,
        "20 - Política e Governo": 1,
    }


def test_an_article_by_its_address_has_every_field_that_it_has_a_value_for(
    client: typesense.Client, portal_rows: list[Row]
) -> None:
    found = client.collections["news"].documents["n1"].retrieve()
    filled = {name for name, value in portal_rows[0].items() if value not in (None, [], "")}
    assert SHOWN & filled <= set(found)
    assert {"published_year", "published_month", "published_week"} <= set(found)
    assert not any(value in (None, "", []) for value in found.values())


def test_the_vector_field_of_hybrid_search_is_declared(client: typesense.Client) -> None:
    fields = {field["name"]: field for field in client.collections["news"].retrieve()["fields"]}
    assert (fields["content_embedding"]["type"], fields["content_embedding"]["num_dim"]) == ("float[]", 768)
