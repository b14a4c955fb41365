"""Agência Brasil and TV Brasil: listings, articles, and what was lost from them before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from data_platform.jobs.scraper import agencia_brasil, tv_brasil
from data_platform.jobs.scraper.ebc import parse_memoria_listing
from data_platform.jobs.scraper.problems import AntiBotError, EmptyContentError, HtmlChangedError
from data_platform.jobs.scraper.records import Listed, When
from dev.gov_web import pages
from dev.gov_web.made_up import MadeUp, links_of, made_up

AGENCY = "https://agenciabrasil.ebc.com.br/ultimas"
TV = "https://tvbrasil.ebc.com.br/ultimas"
AT = datetime(2026, 2, 5, 16, 47, 21, tzinfo=UTC)
NEWS = [made_up(n, listing="https://agenciabrasil.ebc.com.br/saude/noticia/2026-02", published=AT) for n in range(4)]
SHOWS = [
    replace(
        made_up(n, listing="https://tvbrasil.ebc.com.br/programa", published=AT),
        lead="Repórter Brasil",
        image=f"https://tvbrasil.ebc.com.br/capa-{n}.jpg",
        video_url=f"https://tvbrasil.ebc.com.br/videos/{n}.mp4",
    )
    for n in range(4)
]
LINKED = next(article for article in NEWS if links_of(article))


def listed(article: MadeUp) -> Listed:
    return Listed(url=article.url, title="Da lista", category="Notícias")


@pytest.mark.parametrize("hrefs", ["absolute", "path", "http"])
def test_agencia_brasil_lists_its_news_and_nothing_else(hrefs: pages.Hrefs) -> None:
    page = agencia_brasil.parse_listing(
        pages.agencia_brasil_listing(NEWS, next_page=1, hrefs=hrefs), AGENCY, first=True
    )
    assert [(item.url, item.title) for item in page.items] == [(article.url, article.title) for article in NEWS]
    assert {(item.category, item.published) for item in page.items} == {("Notícias", None)}
    assert page.next_url == f"{AGENCY}?page=1"


@pytest.mark.parametrize("hrefs", ["absolute", "path", "http"])
def test_tv_brasil_lists_its_news_and_no_radio(hrefs: pages.Hrefs) -> None:
    page = tv_brasil.parse_listing(pages.tv_brasil_listing(SHOWS, next_page=3, hrefs=hrefs), TV, first=True)
    assert [(item.url, item.title) for item in page.items] == [(article.url, article.title) for article in SHOWS]
    assert page.next_url == f"{TV}?page=3"


def test_the_old_joint_list_is_read() -> None:
    html = pages.memoria_listing([*NEWS[:2], *SHOWS[:1], NEWS[0]])
    page = parse_memoria_listing(html, "https://memoria.ebc.com.br/noticias", first=True)
    assert {item.url for item in page.items} == {NEWS[0].url, NEWS[1].url, SHOWS[0].url}
    assert (len(page.items), page.next_url) == (3, None)


@pytest.mark.parametrize(
    ("json_ld", "published"), [(True, When(AT, exact=True)), (False, When(AT.replace(second=0), exact=True))]
)
def test_an_article_of_agencia_brasil(json_ld: bool, published: When) -> None:
    article = NEWS[1]
    found = agencia_brasil.parse_article(
        pages.agencia_brasil_article(article, json_ld=json_ld), article.url, listed(article)
    )
    assert (found.url, found.title, found.category) == (article.url, article.title, "Notícias")
    assert (found.published, found.tags, found.image) == (published, article.tags, article.image)
    assert (found.video_url, found.editorial_lead, found.notes) == (None, None, ())
    assert found.content is not None
    for strange in ("Com informações", "Compartilhar", "Edição:", "Fulana", "Publicado em"):
        assert strange not in found.content


def test_links_and_headings_of_ebc_s_texts_are_kept() -> None:
    """Fault 36: texts of EBC lost their links and headings."""
    found = agencia_brasil.parse_article(pages.agencia_brasil_article(LINKED), LINKED.url, listed(LINKED))
    assert found.content is not None
    assert [url for url in links_of(LINKED) if f"]({url})" not in found.content] == []
    assert "\n---" in found.content
    assert "### " in found.content


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        ('<img data-echo="/f.jpg" src="/ebc/loading_v2.gif">', "https://agenciabrasil.ebc.com.br/f.jpg"),
        (
            '<img src="/ebc/loading_v2.gif"><noscript><img src="/n.jpg"></noscript>',
            "https://agenciabrasil.ebc.com.br/n.jpg",
        ),
        ('<img src="/s.jpg">', "https://agenciabrasil.ebc.com.br/s.jpg"),
        ('<img src="/ebc/loading_v2.gif">', None),
        ("", None),
    ],
)
def test_the_picture_on_top_is_not_the_placeholder(figure: str, expected: str | None) -> None:
    html = f'<h1>T</h1><figure>{figure}</figure><div class="conteudo-noticia"><p>Um texto.</p></div>'
    assert agencia_brasil.parse_article(html, NEWS[0].url, listed(NEWS[0])).image == expected


@pytest.mark.parametrize(
    ("dates", "json_ld", "published"),
    [
        ("no_ar", False, When(datetime(2026, 2, 5, 3, tzinfo=UTC), exact=False)),
        ("single", False, When(AT.replace(second=0), exact=True)),
        ("no_ar", True, When(AT, exact=True)),
    ],
)
def test_an_article_of_tv_brasil(dates: str, json_ld: bool, published: When) -> None:
    article = SHOWS[2]
    html = pages.tv_brasil_article(article, json_ld=json_ld, dates=dates)  # type: ignore[arg-type]
    found = tv_brasil.parse_article(html, article.url, listed(article))
    assert (found.title, found.category, found.tags) == (article.title, "Notícias", article.tags)
    assert (found.editorial_lead, found.video_url) == ("Repórter Brasil", article.video_url)
    assert (found.published, found.image, found.notes) == (published, article.image, ())
    assert found.content is not None
    for strange in ("Restrição de uso", "Clique aqui", "Tags:", ".mp4", "No AR"):
        assert strange not in found.content


def test_a_day_of_long_ago_is_none_and_not_1970() -> None:
    """Fault 8: a missing date of TV Brasil became 1970."""
    article = replace(SHOWS[0], published=datetime(1970, 1, 1, 3, tzinfo=UTC))
    assert tv_brasil.parse_article(pages.tv_brasil_article(article), article.url, listed(article)).published is None


def test_a_short_text_of_its_own_place_is_a_text() -> None:
    html = "<h1>T</h1><article><p>O programa vai ao ar hoje.</p></article>"
    assert tv_brasil.parse_article(html, SHOWS[0].url, listed(SHOWS[0])).content == "O programa vai ao ar hoje."


@pytest.mark.parametrize("site", [agencia_brasil, tv_brasil])
def test_a_page_without_a_body_says_so(site: object) -> None:
    found = site.parse_article("<html><body><p>Nada por aqui.</p></body></html>", NEWS[0].url, listed(NEWS[0]))  # type: ignore[attr-defined]
    assert (found.title, found.content, found.notes) == (
        "Da lista", None, ("content_missing", "body_missing"),
    )  # fmt: skip


@pytest.mark.parametrize("site", [agencia_brasil, tv_brasil])
@pytest.mark.parametrize(
    ("html", "error"),
    [
        (pages.anti_bot_page(), AntiBotError),
        (pages.maintenance_page(), EmptyContentError),
        ("", EmptyContentError),
        ("<html><body>Bad gateway</body></html>", EmptyContentError),
        (pages.volto_shell(20_000), HtmlChangedError),
    ],
    ids=["challenge", "works", "empty", "small", "another layout"],
)
def test_a_listing_that_failed_is_not_the_end_of_the_news(site: object, html: str, error: type[Exception]) -> None:
    """Fault 27: a failure on the list looked like the end of the news."""
    with pytest.raises(error):
        site.parse_listing(html, AGENCY, first=True)  # type: ignore[attr-defined]


@pytest.mark.parametrize("site", [agencia_brasil, tv_brasil])
@pytest.mark.parametrize("html", [pages.anti_bot_page(), pages.maintenance_page(), pages.login_page(), ""])
def test_a_page_in_place_of_an_article_is_an_error(site: object, html: str) -> None:
    """Fault 27."""
    with pytest.raises((AntiBotError, EmptyContentError)):
        site.parse_article(html, NEWS[0].url, listed(NEWS[0]))  # type: ignore[attr-defined]


def test_a_page_behind_the_last_one_has_no_items() -> None:
    assert agencia_brasil.parse_listing(pages.agencia_brasil_listing([]), AGENCY).items == ()
    assert tv_brasil.parse_listing(pages.tv_brasil_listing([]), TV).items == ()
