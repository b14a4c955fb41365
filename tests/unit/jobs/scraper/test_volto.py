"""The interface of Plone 6: addresses, order of blocks, every kind of block, and answers that are none."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from data_platform.jobs.scraper.problems import (
    AntiBotError,
    EmptyContentError,
    HtmlChangedError,
    NetworkError,
    UrlBrokenError,
)
from data_platform.jobs.scraper.records import Article, When
from data_platform.jobs.scraper.volto import api_url, parse_search, search_url
from dev.gov_web import pages, volto
from dev.gov_web.made_up import LISTING, made_up_many

ARTICLES = made_up_many(4)
LONG = "Um texto que basta para uma notícia do governo, com mais de cem caracteres no total, como se vê por aqui. "


def slate(text: str, kind: str = "p", **block: Any) -> dict[str, Any]:
    return {"@type": "slate", "value": [{"type": kind, "children": [{"text": text}]}], **block}


def one(*blocks: dict[str, Any], order: list[str] | None = None, **item: Any) -> Article:
    """Return the article that an answer of one item is read as."""
    keyed = {f"k{number}": block for number, block in enumerate((*blocks, slate(LONG)))}
    given = {"@id": f"{LISTING}/n", "title": "T", "blocks": keyed, "blocks_layout": {"items": order or list(keyed)}}
    return read({**given, **item})[0]


def read(*items: Any, **answer: Any) -> list[Article]:
    text = json.dumps({"items": list(items), "items_total": len(items), **answer})
    return list(parse_search(text, LISTING)[1])


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        ("https://www.gov.br/funai/pt-br/noticias", "https://www.gov.br/funai/++api++/pt-br/noticias/@search"),
        ("https://www.gov.br/iti/pt-br/a/noticias/", "https://www.gov.br/iti/++api++/pt-br/a/noticias/@search"),
        ("https://www.gov.br/hfa/pt-br/n?b_start:int=0", "https://www.gov.br/hfa/++api++/pt-br/n/@search"),
        ("https://www.gov.br/mre/pt-br/a%20b/n", "https://www.gov.br/mre/++api++/pt-br/a%20b/n/@search"),
        ("https://www.gov.br/x/++api++/pt-br/n", "https://www.gov.br/x/++api++/pt-br/n/@search"),
        ("http://127.0.0.1:8000/x/pt-br/n", "http://127.0.0.1:8000/x/++api++/pt-br/n/@search"),
    ],
)
def test_the_interface_s_address_comes_from_the_listing_s(listing: str, expected: str) -> None:
    assert api_url(listing) == expected


def test_a_search_asks_for_whole_news_items_newest_first() -> None:
    url = search_url("https://www.gov.br/funai/pt-br/noticias?b_start:int=0", 50, 25)
    assert url.partition("?")[0] == api_url("https://www.gov.br/funai/pt-br/noticias")
    asked = parse_qs(urlsplit(url).query)
    assert asked.pop("metadata_fields") == ["title", "effective", "modified", "description"]
    assert {name: values[0] for name, values in asked.items()} == {
        "portal_type": "News Item",
        "sort_on": "effective",
        "sort_order": "descending",
        "b_start": "50",
        "b_size": "25",
        "fullobjects": "1",
    }


def test_an_answer_lists_what_it_gives_whole() -> None:
    text = volto.volto_search(ARTICLES, listing=LISTING, start=25, total=90)
    page, articles = parse_search(text, LISTING)
    assert page.total == 90
    assert page.next_url is not None
    assert [item.url for item in page.items] == [a.url for a in articles] == [a.url for a in ARTICLES]
    assert [(i.title, i.published, i.tags, i.category) for i in page.items] == [
        (a.title, a.published, a.tags, a.category) for a in articles
    ]
    assert parse_search(volto.volto_search([], listing=LISTING, total=90), LISTING)[0].items == ()


@pytest.mark.parametrize("utc", [True, False])
def test_instants_are_read_in_either_offset(utc: bool) -> None:
    """Fault 6: the date was taken in whatever offset it came, a day off in the evening."""
    for article, given in zip(
        parse_search(volto.volto_search(ARTICLES, listing=LISTING, utc=utc), LISTING)[1], ARTICLES, strict=True
    ):
        assert article.published == When(given.published, exact=True)
        assert article.updated == When(given.updated or given.published, exact=True)


@pytest.mark.parametrize("effective", ["1969-12-31T00:00:00+00:00", None, "", 7, "None"])
def test_no_effective_date_is_none(effective: object) -> None:
    """Fault 8."""
    assert one(effective=effective).published is None


@pytest.mark.parametrize("name", ["subjects", "Subject"])
def test_keywords_come_under_either_name(name: str) -> None:
    """Fault 31: with whole objects they are called `subjects`; reading `Subject` alone lost them."""
    found = one(**{name: ["clima", "SUS", "clima"]})
    assert (found.tags, found.category) == (("clima", "SUS"), "clima")
    assert (one(subjects=[], Subject=["a"]).tags, one().tags, one().category) == (("a",), (), None)
    assert one(subjects="só uma").tags == ("só uma",)


def test_blocks_are_read_in_the_order_of_the_layout() -> None:
    """Fault 31: the mapping was read in its own order."""
    blocks = [slate(f"parágrafo {n}") for n in range(5)]
    found = one(*blocks, order=["k3", "k0", "k4", "k2", "k1", "k5", "k3", "gone"])
    assert (found.content or "").split("\n\n")[:5] == [f"parágrafo {n}" for n in (3, 0, 4, 2, 1)]
    assert found.notes == ()


def test_a_block_outside_the_layout_is_not_shown_and_is_told() -> None:
    found = one(slate("escondido"), order=["k1"])
    assert "escondido" not in (found.content or "")
    assert found.notes == ("blocks_outside_layout",)


def test_without_a_layout_the_blocks_are_read_as_they_come() -> None:
    item = {"@id": f"{LISTING}/n", "blocks": {"a": slate("um"), "b": slate(LONG)}, "blocks_layout": {}}
    assert (read(item)[0].content or "").startswith("um\n\nUm texto")


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (slate("Um título", "h2"), "Um título\n---------"),
        (slate("Dito", "blockquote"), "> Dito"),
        ({"@type": "slate", "plaintext": "só\nplano"}, "só\n\nplano"),
        ({"@type": "slate", "value": [{"children": [{"text": "a & b <c>"}]}]}, "a & b <c>"),
        (
            {
                "@type": "slate",
                "value": [
                    {
                        "type": "p",
                        "children": [
                            {"text": "veja "},
                            {
                                "type": "link",
                                "data": {"url": "/x/y"},
                                "children": [{"type": "strong", "children": [{"text": "isto"}]}],
                            },
                            {"text": " forte", "bold": True},
                        ],
                    }
                ],
            },
            "veja [**isto**](https://www.gov.br/x/y) **forte**",
        ),
        (
            {"@type": "slate", "value": [{"type": "ul", "children": [{"type": "li", "children": [{"text": "um"}]}]}]},
            "* um",
        ),
        ({"@type": "text", "text": "<p>de <b>HTML</b></p>"}, "de **HTML**"),
        ({"@type": "text", "text": {"blocks": [{"text": "antigo", "type": "unstyled"}]}}, "antigo"),
        ({"@type": "text", "text": {"blocks": [{"text": "item", "type": "unordered-list-item"}]}}, "* item"),
        ({"@type": "text", "text": {"data": "<p>com data</p>", "content-type": "text/html"}}, "com data"),
        ({"@type": "html", "html": "<p>cru <i>e</i> <b>mal fechado"}, "cru *e* **mal fechado**"),
        (
            {
                "@type": "slateTable",
                "table": {
                    "rows": [
                        {"cells": [{"type": "header", "value": [{"children": [{"text": "A"}]}]}]},
                        {"cells": [{"type": "data", "value": [{"children": [{"text": "1"}]}]}]},
                    ]
                },
            },
            "| A |\n| --- |\n| 1 |",
        ),
        (
            {"@type": "image", "url": "https://www.gov.br/x/++api++/f.jpg", "alt": "F", "description": "Foto: Ana"},
            "![F](https://www.gov.br/x/f.jpg/@@images/image)\n\nFoto: Ana",
        ),
        ({"@type": "image", "url": "https://cdn.org/f.jpg"}, "![](https://cdn.org/f.jpg)"),
        ({"@type": "video", "url": "https://youtu.be/x", "title": "V"}, "[V](https://youtu.be/x)"),
        ({"@type": "maps", "url": "https://maps.google.com/x"}, "<https://maps.google.com/x>"),
        ({"@type": "quote", "value": [{"children": [{"text": "Dito"}]}], "author": "Ana"}, "> Dito\n\nAna"),
        ({"@type": "teaser", "href": [{"@id": "/x/y"}], "title": "Veja"}, "[Veja](https://www.gov.br/x/y)"),
        ({"@type": "__button", "href": "/x/y", "title": "Inscreva-se"}, "[Inscreva-se](https://www.gov.br/x/y)"),
    ],
)
def test_every_kind_of_block(block: dict[str, Any], expected: str) -> None:
    """Fault 31: what was not Slate was left out."""
    found = one(block)
    assert (found.content or "").partition("\n\nUm texto que basta")[0] == expected
    assert found.notes == ()


@pytest.mark.parametrize("kind", ["title", "description", "separator", "leadimage", "toc"])
def test_blocks_without_a_text_of_the_article_are_passed_over(kind: str) -> None:
    found = one({"@type": kind, "title": "x"})
    assert ((found.content or "")[:8], found.notes) == ("Um texto", ())


def test_blocks_in_blocks_are_read_in_their_order() -> None:
    """Fault 31: blocks inside columns, grids and accordions were left out."""
    flat = parse_search(volto.volto_search(ARTICLES, listing=LISTING, body="blocks"), LISTING)[1]
    nested = parse_search(volto.volto_search(ARTICLES, listing=LISTING, body="nested"), LISTING)[1]
    for one_flat, one_nested in zip(flat, nested, strict=True):
        assert one_flat.content is not None
        assert (one_nested.content or "").replace("### Saiba mais\n\n", "") == one_flat.content
        assert one_nested.notes == ()


def test_columns_in_a_list_and_blocks_without_end() -> None:
    inner = {"blocks": {"a": slate("na coluna")}, "blocks_layout": {"items": ["a"]}}
    assert (one({"@type": "columns", "columns": [inner, inner]}).content or "").startswith("na coluna\n\nna coluna")
    deep: dict[str, Any] = slate("no fundo")
    for _ in range(60):
        deep = {"@type": "group", "blocks": {"a": deep}, "blocks_layout": {"items": ["a"]}}
    assert one(deep).notes == ("blocks_too_deep",)


def test_an_unknown_block_is_told_and_its_text_saved() -> None:
    found = one(
        {"@type": "novidade", "value": [{"type": "p", "children": [{"text": "texto novo"}]}]}, {"@type": "vazio"}
    )
    assert "texto novo" in (found.content or "")
    assert found.notes == ("unknown_block:novidade", "unknown_block:vazio")


@pytest.mark.parametrize("body", ["text", "text_string"])
def test_articles_of_the_old_system_have_their_text_in_a_field(body: volto.Body) -> None:
    blocks = parse_search(volto.volto_search(ARTICLES, listing=LISTING, body=body), LISTING)[1]
    assert all(article.content and article.notes == () for article in blocks)
    moved = {"@id": f"{LISTING}/n", "blocks": {"a": {"@type": "title"}}, "text": {"data": f"<p>{LONG}</p>"}}
    assert read(moved)[0].content == LONG.strip()


def test_no_text_at_all_is_told() -> None:
    """Fault 33."""
    found = read({"@id": f"{LISTING}/n", "title": "T", "text": None, "blocks": None})[0]
    assert (found.content, found.notes) == (None, ("content_missing",))
    assert read({"@id": f"{LISTING}/n", "text": "Curto."})[0].content == "Curto."


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"download": f"{LISTING}/n/@@images/1.jpg"}, f"{LISTING}/n/@@images/1.jpg"),
        ({"download": "@@images/1.jpg"}, f"{LISTING}/n/@@images/1.jpg"),
        ({"download": "https://www.gov.br/orgao/++api++/pt-br/1.jpg"}, "https://www.gov.br/orgao/pt-br/1.jpg"),
        (
            {"scales": {"large": {"download": "@@images/l.jpg"}, "mini": {"download": "m.jpg"}}},
            f"{LISTING}/n/@@images/l.jpg",
        ),
        ({"download": "resolveuid/abc"}, None),
        ("https://www.gov.br/1.jpg", "https://www.gov.br/1.jpg"),
        (None, None),
        (7, None),
    ],
)
def test_the_image_is_absolute(image: object, expected: str | None) -> None:
    """Fault 34."""
    assert one(image=image).image == expected


def test_a_picture_of_the_text_stands_in_for_a_missing_image() -> None:
    assert one({"@type": "image", "url": "https://cdn.org/f.jpg"}).image == "https://cdn.org/f.jpg"


def test_addresses_are_the_public_ones_and_listed_once() -> None:
    inside = LISTING.replace("/orgao/", "/orgao/++api++/")
    found = read({"@id": f"{inside}/n"}, {"@id": f"{LISTING}/n"}, {"@id": "/orgao/pt-br/m"})
    assert [article.url for article in found] == [f"{LISTING}/n", "https://www.gov.br/orgao/pt-br/m"]


def test_title_and_description_are_texts() -> None:
    found = one(title=" <b>Um</b> &amp; outro\n", description="<p>Linha  fina</p>")
    assert (found.title, found.subtitle) == ("Um & outro", "Linha fina")
    assert (one(title=None).title, one(description="").subtitle) == (None, None)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (pages.maintenance_page(), EmptyContentError),
        (pages.login_page(), EmptyContentError),
        (pages.anti_bot_page(), AntiBotError),
        (pages.volto_shell(20_000), EmptyContentError),
        ("", EmptyContentError),
        ("[]", EmptyContentError),
        ('{"items": [{"@id": "https://www.gov.br/x', NetworkError),
        ('{"message": "Resource not found", "type": "NotFound"}', UrlBrokenError),
        ('{"message": "no", "type": "Unauthorized"}', EmptyContentError),
        ('{"itens": []}', HtmlChangedError),
        ('{"items": {"a": 1}}', HtmlChangedError),
        ('{"items": [{"title": "sem endereço"}]}', HtmlChangedError),
        ('{"items": ["texto"]}', HtmlChangedError),
        ('{"a":' * 100_000, HtmlChangedError),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else value.__name__,
)
def test_what_is_no_answer_is_an_error_by_type(text: str, error: type[Exception]) -> None:
    """Fault 27: a page of works on the site is no JSON, and was taken for "no news"."""
    with pytest.raises(error) as raised:
        parse_search(text, LISTING)
    assert type(raised.value) is error
    assert LISTING in str(raised.value)


def test_a_mark_before_the_answer_and_odd_totals_do_no_harm() -> None:
    page, _ = parse_search('\ufeff {"items": [], "items_total": "3", "batching": []}', LISTING)
    assert (page.items, page.total, page.next_url) == ((), None, None)


def test_the_instant_of_the_evening_belongs_to_the_day_before_utc_s() -> None:
    found = one(effective="2026-02-06T01:30:00+00:00").published
    assert found == When(datetime(2026, 2, 6, 1, 30, tzinfo=UTC), exact=True)
