"""Pages of unusual size, encoding and markup: they are read or refused, in bounded time."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from data_platform.jobs.scraper.classic import parse_article, parse_listing
from data_platform.jobs.scraper.markup import absolute_url, is_share_link, parse_page, text_of, unique_tags
from data_platform.jobs.scraper.problems import ScrapeError
from data_platform.jobs.scraper.records import Listed
from data_platform.jobs.scraper.signs import is_volto_page
from dev.gov_web import pages
from dev.gov_web.made_up import LISTING, made_up, made_up_many

ARTICLE = made_up(2)
LISTED = Listed(url=ARTICLE.url, title=ARTICLE.title)


@pytest.mark.parametrize(
    "html",
    [
        pages.classic_article(ARTICLE).replace("</main>", '<nav><a href="/y">m</a></nav>' * 180_000 + "</main>"),
        '<div id="content"><p>' + "palavra " * 640_000 + "</p></div>",
        '<div id="content">' + "<p>Uma frase qualquer, com <a href='/x'>ligação</a>.</p>" * 3000 + "</div>",
    ],
    ids=["much around it", "one text", "many paragraphs"],
)
def test_a_page_of_megabytes_is_read_in_seconds(html: str) -> None:
    began = time.process_time()
    assert parse_article(html, ARTICLE.url, LISTED).content
    assert time.process_time() - began < 10


def test_a_listing_of_megabytes_is_read_in_seconds() -> None:
    html = pages.classic_listing(made_up_many(20)).replace("</main>", "<!-- x --><p>y</p>" * 250_000 + "</main>")
    began = time.process_time()
    assert len(parse_listing(html, LISTING).items) == 20
    assert time.process_time() - began < 10


def test_an_ordinary_article_takes_milliseconds() -> None:
    """Wanted: 25 ms of processor time for 80 KB; twice that here, since the machine may be busy."""
    html = pages.classic_article(ARTICLE, noise=170)
    assert 70_000 < len(html.encode()) < 95_000
    parse_article(html, ARTICLE.url, LISTED)
    times = []
    for _ in range(9):
        began = time.process_time()
        parse_article(html, ARTICLE.url, LISTED)
        times.append(time.process_time() - began)
    assert min(times) < 0.05


@pytest.mark.parametrize("wrong", ["latin-1", "cp1252", "utf-16-le", "cp037"])
def test_a_page_decoded_wrongly_is_read_all_the_same(wrong: str) -> None:
    html = pages.classic_article(ARTICLE, noise=1)
    for garbled in (html.encode().decode(wrong, "replace"), html.encode(wrong, "replace").decode("utf-8", "replace")):
        with suppress(ScrapeError):
            assert parse_article(garbled, ARTICLE.url, LISTED).url == ARTICLE.url


def test_half_characters_and_nul_are_no_failure() -> None:
    html = f'<div id="content"><p>{"um texto " * 20}\ud800 \x00 fim</p></div>'
    assert (parse_article(html, ARTICLE.url, LISTED).content or "").endswith("? fim")


@pytest.mark.parametrize(
    "html",
    [
        '<div id="content"',
        '<div id="content"><p>' + "texto " * 40,
        "<p></div></p>" + '<div id="content">' + "<table><tr><p>texto " * 20,
        '<div id="content"><![CDATA[x]]><?php echo 1 ?>' + "texto " * 40,
        '<div id="content"><a href="x"><a href="y"><p>' + "texto " * 40,
        "\x00\x01\x02" * 100,
    ],
)
def test_damaged_markup_is_read(html: str) -> None:
    found = parse_article(html, ARTICLE.url, LISTED)
    assert found.content is None or "texto" in found.content


def test_text_keeps_words_apart_where_the_page_does() -> None:
    html = "<div><p>um<br>dois</p><p>três</p> qua<b>tro</b><script>x()</script>&nbsp;cin\u200bco</div>"
    assert text_of(parse_page(html).css_first("div")) == "um dois três quatro cinco"
    assert text_of(None) == ""
    assert text_of(parse_page("<p>um</p><p>dois</p>").css_first("p")) == "um"


def test_tags_are_told_once_in_order_and_sentences_are_none() -> None:
    assert unique_tags([" b ", "a,", "b", "", "x" * 101, "a\u200b"]) == ("b", "a")


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("https://www.facebook.com/sharer/sharer.php?u=x", True),
        ("https://twitter.com/intent/tweet?text=x", True),
        ("https://x.com/share?x", True),
        ("https://wa.me/?text=x", True),
        ("whatsapp://send?text=x", True),
        ("https://t.me/share/url?url=x", True),
        ("mailto:?subject=x", True),
        ("https://www.facebook.com/mec", False),
        ("https://x.com/mec/status/1", False),
        ("https://wa.me/5561999999999", False),
        ("mailto:a@gov.br", False),
        ("https://www.netflix.com/share", False),
        (None, False),
    ],
)
def test_links_that_share_are_told_from_links_to_the_same_sites(href: str | None, expected: bool) -> None:
    assert is_share_link(href) is expected


def test_the_interface_s_mark_is_no_part_of_an_address() -> None:
    assert absolute_url("https://www.gov.br/x/++api++", LISTING) == "https://www.gov.br/x"


def test_plone_6_is_told_by_its_page() -> None:
    assert is_volto_page(pages.volto_shell())
    assert not is_volto_page(pages.classic_listing([]))
    assert not is_volto_page(pages.classic_article(ARTICLE))
