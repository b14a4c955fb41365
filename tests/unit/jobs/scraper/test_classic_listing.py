"""Listings of classic Plone: every container, every way to tell a date, and pages that are not what they should be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from data_platform.jobs.scraper.classic import parse_listing
from data_platform.jobs.scraper.problems import AntiBotError, EmptyContentError, HtmlChangedError, SaysEmptyError
from data_platform.jobs.scraper.records import ListingPage, When
from data_platform.models.days import day_of
from dev.gov_web import pages
from dev.gov_web.made_up import LISTING, made_up_many

ARTICLES = made_up_many(5)
REJECTED = (
    "<html><head><title>Request Rejected</title></head><body>The requested URL was rejected. Please consult with your"
    " administrator.<br><br>Your support ID is: 1234567890</body></html>"
)
ITEM = '<html><body><div id="content"><article class="tileItem">{}</article></div></body></html>'


def only(inner: str, url: str = LISTING) -> ListingPage:
    return parse_listing(ITEM.format(inner), url)


@pytest.mark.parametrize("hrefs", ["absolute", "path", "http"])
@pytest.mark.parametrize("container", pages.CONTAINERS)
def test_every_container_gives_its_items_in_order(container: pages.Container, hrefs: pages.Hrefs) -> None:
    page = parse_listing(pages.classic_listing(ARTICLES, container=container, hrefs=hrefs), LISTING, first=True)
    assert [item.url for item in page.items] == [article.url for article in ARTICLES]
    assert [item.title for item in page.items] == [article.title for article in ARTICLES]
    assert (page.total, page.next_url) == (None, None)


@pytest.mark.parametrize("dates", pages.LISTING_DATES)
@pytest.mark.parametrize("container", pages.CONTAINERS)
def test_every_way_to_tell_a_date_is_read(container: pages.Container, dates: pages.ListingDates) -> None:
    page = parse_listing(pages.classic_listing(ARTICLES, container=container, dates=dates), LISTING)
    found = [item.published for item in page.items]
    if dates == "none":
        assert found == [None] * len(ARTICLES)
        return
    assert [day_of(when.instant) for when in found if when] == [day_of(article.published) for article in ARTICLES]
    assert {when.exact for when in found if when} == {dates in {"byline", "time", "text"}}


@pytest.mark.parametrize("container", ["tileItem", "noticias"])
def test_category_and_tags_are_read_where_the_container_has_them(container: pages.Container) -> None:
    page = parse_listing(pages.classic_listing(ARTICLES, container=container), LISTING)
    assert [item.category for item in page.items] == [article.category for article in ARTICLES]
    assert [item.tags for item in page.items] == [article.tags for article in ARTICLES]


def test_one_address_is_listed_once_in_whatever_form_it_comes() -> None:
    """Fault 3: pinned items stand twice on a page, once as `/view` or with tracking."""
    pinned = [replace(ARTICLES[3], url=f"{ARTICLES[3].url}/view?utm_source=capa"), *ARTICLES]
    page = parse_listing(pages.classic_listing(pinned), LISTING)
    assert len(page.items) == len(ARTICLES)
    assert page.items[0].title == ARTICLES[3].title


def test_the_order_of_the_page_is_kept_though_it_is_not_that_of_the_dates() -> None:
    page = parse_listing(pages.classic_listing(ARTICLES[::-1]), LISTING)
    assert [item.url for item in page.items] == [article.url for article in ARTICLES[::-1]]


def test_the_next_page_is_as_the_page_gives_it() -> None:
    html = pages.classic_listing(ARTICLES, next_url="noticias?b_start:int=5")
    assert parse_listing(html, LISTING).next_url == f"{LISTING}?b_start:int=5"


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("/mec/pt-br/a%20b/n", "https://www.gov.br/mec/pt-br/a%20b/n"),
        ("/mec/pt-br/a b/n", "https://www.gov.br/mec/pt-br/a%20b/n"),
        ("noticias/n-1", "https://www.gov.br/orgao/pt-br/assuntos/noticias/n-1"),
        ("../n-1", "https://www.gov.br/orgao/pt-br/n-1"),
        ("//www.gov.br/mec/n", "https://www.gov.br/mec/n"),
        ("http://www.gov.br/mec/n", "https://www.gov.br/mec/n"),
        ("http://agenciabrasil.ebc.com.br/n", "https://agenciabrasil.ebc.com.br/n"),
        ("http://www.exemplo.org.br/n", "http://www.exemplo.org.br/n"),
        ("http://127.0.0.1:8080/mec/n", "http://127.0.0.1:8080/mec/n"),
        (" \n/mec/n\u200b ", "https://www.gov.br/mec/n"),
        ("/mec/n?a=1&amp;b=2", "https://www.gov.br/mec/n?a=1&b=2"),
        ("https://www.gov.br/mec/++api++/pt-br/n", "https://www.gov.br/mec/pt-br/n"),
    ],
)
def test_addresses_are_absolute(href: str, expected: str) -> None:
    """Fault 34."""
    assert [item.url for item in only(f'<a class="summary url" href="{href}">Um título</a>').items] == [expected]


@pytest.mark.parametrize(
    "href", ["", "#x", "javascript:void(0)", "mailto:a@gov.br", "https://[", "ftp://x.br/a", "http://"]
)
def test_what_is_no_address_is_no_item(href: str) -> None:
    assert only(f'<h2><a href="{href}">Um título</a></h2>').items == ()


def test_a_base_element_is_what_relative_links_start_from() -> None:
    html = f'<head><base href="{LISTING}/"></head>' + ITEM.format('<a class="summary url" href="n-1">Um título</a>')
    assert parse_listing(html, LISTING).items[0].url == f"{LISTING}/n-1"


@pytest.mark.parametrize(
    ("inner", "title"),
    [
        ('<span class="summary"><a class="url" href="/m/n">Do resumo</a></span>', "Do resumo"),
        ('<a class="summary" href="/m/n">Só resumo</a>', "Só resumo"),
        ('<a class="share-icon" href="/m/s">Ver</a><a href="/m/n">Um título</a>', "Um título"),
        ('<a href="https://twitter.com/share?url=x">Twitter</a><a href="/m/n">Um título</a>', "Um título"),
        ('<nav class="menu"><a href="/m/s">Menu</a></nav><a href="/m/n">Um título</a>', "Um título"),
        ('<a class="btn" href="/m/s">Mais</a><a href="/m/n">Um título</a>', "Um título"),
        ('<a href="/m/n"><img src="x.jpg"></a><h3><a href="/m/n">Um título</a></h3>', "Um título"),
        ('<a href="/m/c">Categoria</a><h3><a href="/m/n">Um título</a></h3>', "Um título"),
        ("<h3>Um título</h3><p>x</p><a href='/m/n'>Leia mais…</a>", "Um título"),
        ('<h3><a href="/m/n">Um &amp; outro<br>t&iacute;tulo <b>M</b>EC</a></h3>', "Um & outro título MEC"),
    ],
)
def test_title_and_address_come_from_the_link_to_the_article(inner: str, title: str) -> None:
    items = only(inner).items
    assert [(item.url, item.title) for item in items] == [("https://www.gov.br/m/n", title)]


def test_a_pinned_item_without_a_date_stands_beside_the_others() -> None:
    html = pages.classic_listing(ARTICLES).replace("publicado", "fixado").replace("documentByLine", "outra", 1)
    first = parse_listing(html, LISTING).items[0]
    assert first.title == ARTICLES[0].title


def test_the_date_of_a_byline_is_that_of_publication() -> None:
    byline = "última modificação 07/02/2026 10h00 — publicado 05/02/2026 13h47"
    item = only(f'<a class="summary url" href="/m/n">T</a><span class="documentByLine">{byline}</span>').items[0]
    assert item.published == When(datetime(2026, 2, 5, 16, 47, tzinfo=UTC), exact=True)


def test_a_page_behind_the_last_one_has_no_items_and_is_no_error() -> None:
    assert parse_listing(pages.classic_listing([]), f"{LISTING}?b_start:int=900") == ListingPage(items=())


def test_a_first_page_that_says_it_is_empty_is_no_error() -> None:
    assert parse_listing(pages.classic_listing([], says_empty=True), LISTING, first=True).items == ()


@pytest.mark.parametrize("html", [pages.volto_shell(), pages.classic_listing([])], ids=["Plone 6", "unknown markup"])
def test_a_large_first_page_without_items_has_another_layout(html: str) -> None:
    """Fault 30: new sites answered with pages without items, which was taken for "no news"."""
    with pytest.raises(HtmlChangedError, match="no article"):
        parse_listing(html, LISTING, first=True)


def test_the_error_names_plone_6() -> None:
    with pytest.raises(HtmlChangedError, match="Plone 6"):
        parse_listing(pages.volto_shell(), LISTING, first=True)


@pytest.mark.parametrize("first", [True, False])
def test_a_shell_of_plone_6_that_speaks_of_no_results_is_no_empty_listing(first: bool) -> None:
    """It says so while its items are still to be loaded; its interface knows."""
    html = pages.volto_shell().replace("Carregando", "Nenhum resultado encontrado")
    with pytest.raises(SaysEmptyError, match="Plone 6"):
        parse_listing(html, LISTING, first=first)


@pytest.mark.parametrize("container", pages.CONTAINERS)
def test_a_later_page_without_items_is_the_end_only_in_the_frame_of_a_listing(container: pages.Container) -> None:
    later = f"{LISTING}?b_start:int=10"
    assert parse_listing(pages.classic_listing([], container=container), later).items == ()
    assert parse_listing("<html><body><p>Não há itens nesta pasta.</p></body></html>", later).items == ()
    with pytest.raises(HtmlChangedError, match="Plone 6"):
        parse_listing(pages.volto_shell(), later)
    for words in ("Ocorreu um erro ao processar sua solicitação.", "O site encontrou um problema.", "<b></b>"):
        with pytest.raises(EmptyContentError) as raised:
            parse_listing(f"<html><body><div id='content'><h1>Erro</h1><p>{words}</p></div></body></html>", later)
        assert later in str(raised.value)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("html", "error"),
    [
        (pages.anti_bot_page(), AntiBotError),
        (pages.login_page(), EmptyContentError),
        (pages.maintenance_page(), EmptyContentError),
        (pages.maintenance_page(90_000), EmptyContentError),
        ("", EmptyContentError),
        (" \n ", EmptyContentError),
        (REJECTED, AntiBotError),
        ("<title>Erro</title><main>Ocorreu um erro ao processar sua solicitação.</main>", EmptyContentError),
    ],
    ids=["challenge", "login", "works", "works, large", "empty", "blank", "firewall", "error"],
)
def test_a_page_in_place_of_the_listing_is_an_error_by_type(html: str, error: type[Exception], first: bool) -> None:
    """Fault 27: failures looked like "no news"."""
    with pytest.raises(error) as raised:
        parse_listing(html, LISTING, first=first)
    assert LISTING in str(raised.value)
    assert raised.value.retryable is True


def test_a_small_first_page_without_anything_is_empty() -> None:
    with pytest.raises(EmptyContentError, match="bytes"):
        parse_listing("<html><body><p>ok</p></body></html>", LISTING, first=True)


def test_a_good_page_may_have_the_scripts_and_words_of_a_bad_one() -> None:
    html = pages.classic_listing(ARTICLES)
    assert "challenge-platform" in html
    titled = html.replace(ARTICLES[0].title, "Portal em manutenção: checking your browser")
    assert len(parse_listing(titled, LISTING, first=True).items) == len(ARTICLES)
