"""Searches of Typesense's stand-in, through the real client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typesense
from typesense.exceptions import ObjectNotFound, ObjectUnprocessable, RequestMalformed

from dev.typesense_server import TypesenseServer
from dev.typesense_server.server import Searches
from tests.support.typesense_news import client_of, filled, found

pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated on v30:DeprecationWarning")


@pytest.fixture(scope="module")
def kept() -> Iterator[TypesenseServer]:
    with TypesenseServer(keys=["key"]) as made:
        filled(client_of(made))
        yield made


@pytest.fixture
def server(kept: TypesenseServer) -> TypesenseServer:
    kept.searches = Searches()
    return kept


@pytest.fixture
def client(server: TypesenseServer) -> typesense.Client:
    return client_of(server)


@pytest.fixture
def news(client: typesense.Client) -> Any:
    return client.collections["news_1"]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("agency:=mec", "ab"),
        ("agency:=MEC", "ab"),
        ("agency:=ministerio", ""),
        ("agency:ministerio", "d"),
        ("agency:=`Ministério da Saúde`", "d"),
        ("agency:=[mec, saude]", "abc"),
        ("agency:=[`Ministério da Saúde`,saude]", "cd"),
        ("agency:!=mec", "cde"),
        ("agency:!=[mec,saude]", "de"),
        ("tags:=sus", "cd"),
        ("tags:[sus,escola]", "acd"),
        ("title:=`Novo (SUS), em dia`", "d"),
        ("title:=[`Novo (SUS), em dia`,`Sem órgão`]", "de"),
        ("title:=Vagas*", "b"),
        ("published_at:20", "bc"),
        ("published_at:=[10,40]", "ae"),
        ("published_at:!=20", "ade"),
        ("published_at:>20", "de"),
        ("published_at:>=20", "bcde"),
        ("published_at:<20", "a"),
        ("published_at:<=20", "abc"),
        ("published_at:[20..30]", "bcd"),
        ("published_at:[10,25..30]", "ad"),
        ("published_year:=2025 && agency:=mec", "b"),
        ("agency:=saude || published_at:>30", "ce"),
        ("agency:=mec && published_at:>10 || agency:=saude", "bc"),
        ("agency:=mec && (published_at:<15 || agency:=saude)", "a"),
        ("(agency:=mec || agency:=saude) && published_at:>=20 && (tags:=sus)", "c"),
        ("has_image:true", "c"),
        ("has_image:=[true,false]", "cd"),
        ("has_image:!=true", "abde"),
        ("score:>0.4", "e"),
        ("id:=[a,e]", "ae"),
        ("id:!=a", "bcde"),
        ("", "abcde"),
    ],
)
def test_filters(news: Any, text: str, ids: str) -> None:
    assert found(news, filter_by=text) == list(ids)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"filter_by": "nothing:=1"}, ObjectNotFound),
        ({"filter_by": "agency"}, RequestMalformed),
        ({"filter_by": "agency:="}, RequestMalformed),
        ({"filter_by": "(agency:=mec"}, RequestMalformed),
        ({"filter_by": "agency:=mec)"}, RequestMalformed),
        ({"filter_by": "agency:=`mec"}, RequestMalformed),
        ({"filter_by": "agency:=mec && "}, RequestMalformed),
        ({"filter_by": "agency:>mec"}, RequestMalformed),
        ({"filter_by": "published_at:=today"}, RequestMalformed),
        ({"filter_by": "has_image:=1"}, RequestMalformed),
        ({"facet_by": "nothing"}, ObjectNotFound),
        ({"facet_by": "title"}, ObjectNotFound),
        ({"sort_by": "nothing:asc"}, ObjectNotFound),
        ({"sort_by": "title:asc"}, ObjectNotFound),
        ({"sort_by": "published_at"}, RequestMalformed),
        ({"sort_by": "published_at:asc,score:asc,unique_id:asc,has_image:asc"}, ObjectUnprocessable),
        ({"group_by": "title"}, RequestMalformed),
        ({"q": "x", "query_by": "nothing"}, ObjectNotFound),
        ({"q": "x", "query_by": "published_at"}, RequestMalformed),
        ({"q": "x"}, RequestMalformed),
        ({"per_page": 251}, ObjectUnprocessable),
        ({"page": "x"}, RequestMalformed),
        ({"vector_query": "vector:([])"}, RequestMalformed),
    ],
)
def test_searches_that_cannot_be_are_refused(
    server: TypesenseServer, news: Any, query: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        news.documents.search({"q": "*", **query})
    assert (server.searches.asked, server.searches.failed) == (1, 1)


@pytest.mark.parametrize(
    ("words", "fields", "ids"),
    [
        ("educacao", "title", "ab"),
        ("EDUCAÇÃO", "title", "ab"),
        ("educacao basica", "title", "a"),
        ("educacao basica", "title,content", "ab"),
        ("educa", "title", "ab"),
        ("educa basica", "title", ""),
        ("sus", "title,tags", "cd"),
        ("educação -vagas", "title", "a"),
        ("nada", "title,content", ""),
    ],
)
def test_words(news: Any, words: str, fields: str, ids: str) -> None:
    assert found(news, q=words, query_by=fields) == list(ids)


def test_order_has_several_keys_and_puts_who_lacks_them_last(news: Any) -> None:
    assert found(news, sort_by="published_at:desc,unique_id:desc") == ["e", "d", "c", "b", "a"]
    assert found(news, sort_by="published_at:desc, unique_id:asc") == ["e", "d", "b", "c", "a"]
    assert found(news, sort_by="") == ["e", "d", "c", "b", "a"]  # the default sorting field
    for direction in ("asc", "desc"):
        assert found(news, sort_by=f"score:{direction},unique_id:asc") == ["e", "a", "b", "c", "d"]


def test_pages(news: Any) -> None:
    def page(**query: int) -> tuple[str, int, int]:
        answer = news.documents.search({"q": "*", "sort_by": "unique_id:asc", "filter_by": "id:!=e", **query})
        return "".join(hit["document"]["id"] for hit in answer["hits"]), answer["found"], answer["out_of"]

    assert page(per_page=3) == ("abc", 4, 5)
    assert page(per_page=3, page=2) == ("d", 4, 5)
    assert page(per_page=3, page=3) == ("", 4, 5)
    assert page(limit=2, offset=1) == ("bc", 4, 5)
    assert page(per_page=0) == ("", 4, 5)


def test_facets_count_all_that_was_found(news: Any) -> None:
    answer = news.documents.search({"q": "*", "per_page": 0, "facet_by": "tags,published_year,has_image"})
    tags, year, image = answer["facet_counts"]
    assert [(one["value"], one["count"]) for one in tags["counts"]] == [
        ("sus", 2),
        ("educação", 1),
        ("escola", 1),
        ("saúde", 1),
    ]
    assert [(one["value"], one["count"]) for one in year["counts"]] == [("2025", 2), ("2024", 1)]
    assert (year["stats"]["min"], year["stats"]["max"], year["stats"]["total_values"]) == (2024, 2025, 2)
    assert {one["value"] for one in image["counts"]} == {"true", "false"}
    told = {"q": "*", "facet_by": "tags", "max_facet_values": 1, "filter_by": "agency:=mec"}
    (tags,) = news.documents.search(told)["facet_counts"]
    assert len(tags["counts"]) == 1
    (tags,) = news.documents.search({"q": "*", "facet_by": "tags", "facet_query": "tags:sau"})["facet_counts"]
    assert [one["value"] for one in tags["counts"]] == ["saúde"]


def test_groups(news: Any) -> None:
    answer = news.documents.search({"q": "*", "group_by": "agency", "group_limit": 1, "sort_by": "published_at:asc"})
    groups = [
        (group["group_key"], group["found"], [hit["document"]["id"] for hit in group["hits"]])
        for group in answer["grouped_hits"]
    ]
    assert groups[0] == (["mec"], 2, ["a"])
    assert groups[-1] == ([], 1, ["e"])
    assert (answer["found"], answer["found_docs"], len(groups)) == (4, 5, 4)
    assert "hits" not in answer


def test_fields_are_included_and_excluded(news: Any) -> None:
    told = {"q": "*", "filter_by": "id:=a", "include_fields": "id,title,agency", "exclude_fields": "agency"}
    (hit,) = news.documents.search(told)["hits"]
    assert set(hit["document"]) == {"id", "title"}


def test_many_searches_in_one_request(server: TypesenseServer, client: typesense.Client, news: Any) -> None:
    searches = [
        {"collection": "news_1", "filter_by": "agency:=mec"},
        {"collection": "nothing"},
        {"collection": "news_1", "filter_by": "x:=1"},
        {"collection": "news_1", "filter_by": "agency:=nobody"},
    ]
    results = client.multi_search.perform({"searches": searches}, {"q": "*", "per_page": 1})["results"]
    assert (results[0]["found"], len(results[0]["hits"])) == (2, 1)
    assert [one.get("code") for one in results] == [None, 404, 404, None]
    assert (server.searches.asked, server.searches.failed, server.searches.empty) == (4, 2, 1)


def test_a_long_search_has_to_come_as_multi_search(client: typesense.Client, news: Any) -> None:
    told = {"q": "*", "filter_by": f"id:=[{','.join(['a'] * 4000)}]"}
    with pytest.raises(RequestMalformed, match="multi_search"):
        news.documents.search(told)
    (result,) = client.multi_search.perform({"searches": [{"collection": "news_1", **told}]}, {})["results"]
    assert result["found"] == 1
