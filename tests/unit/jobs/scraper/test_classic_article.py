"""Articles of classic Plone: where each cell comes from, and pages that are not what they should be."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from data_platform.jobs.scraper.classic import parse_article
from data_platform.jobs.scraper.problems import AntiBotError, EmptyContentError
from data_platform.jobs.scraper.records import Article, Listed, When
from dev.gov_web import pages
from dev.gov_web.made_up import MadeUp, made_up

PUBLISHED = datetime(2026, 2, 5, 16, 47, 21, tzinfo=UTC)
UPDATED = datetime(2026, 2, 6, 13, 5, 9, tzinfo=UTC)
ARTICLE = replace(
    made_up(1, published=PUBLISHED),
    updated=UPDATED,
    subtitle="Uma linha fina sobre o assunto",
    lead="Chapéu do assunto",
    tags=("clima", "SUS"),
)
URL = ARTICLE.url
LISTED = Listed(url=URL, title=ARTICLE.title, published=When(datetime(2026, 2, 5, 3, tzinfo=UTC), exact=False))
TEXT = "<p>" + "Um texto que basta para uma notícia do governo. " * 4 + "</p>"


def parse(html: str, listed: Listed = LISTED) -> Article:
    return parse_article(html, URL, listed)


def page(content: str, head: str = "") -> str:
    return f'<html><head>{head}</head><body><div id="content">{content}</div></body></html>'


def shown(article: MadeUp = ARTICLE, dates: pages.ArticleDates = "json_ld") -> str:
    return pages.classic_article(article, dates=dates)


@pytest.mark.parametrize("dates", ["json_ld", "broken_json_ld"])
def test_json_ld_tells_dates_to_the_second_broken_or_not(dates: pages.ArticleDates) -> None:
    html = shown(dates=dates)
    assert ('\\"' in html) is (dates == "json_ld")
    found = parse(html)
    assert (found.published, found.updated) == (When(PUBLISHED, exact=True), When(UPDATED, exact=True))


@pytest.mark.parametrize("dates", ["document", "inline"])
def test_the_page_tells_dates_to_the_minute(dates: pages.ArticleDates) -> None:
    found = parse(shown(dates=dates))
    assert found.published == When(PUBLISHED.replace(second=0), exact=True)
    assert found.updated == When(UPDATED.replace(second=0), exact=True)


def test_without_any_date_the_listing_s_day_holds() -> None:
    found = parse(shown(dates="none"))
    assert (found.published, found.updated) == (LISTED.published, None)
    assert parse(shown(dates="none"), Listed(url=URL, title="T")).published is None


def test_a_date_of_1970_is_none() -> None:
    """Fault 8: a missing date became 1970."""
    nothing = "1970-01-01T00:00:00+00:00"
    html = re.sub(r'("date(?:Published|Modified)": ")[^"]+', rf"\g<1>{nothing}", shown())
    assert html.count(nothing) == 2
    found = parse(html)
    assert (found.published, found.updated) == (LISTED.published, None)


def test_a_day_in_json_ld_gives_way_to_a_minute_on_the_page() -> None:
    head = '<script type="application/ld+json">{"@type": "NewsArticle", "datePublished": "2026-02-05"}</script>'
    line = '<span class="documentPublished"><span class="value">05/02/2026 13h47</span></span>'
    assert parse(page(line + TEXT, head)).published == When(PUBLISHED.replace(second=0), exact=True)
    assert parse(page(TEXT, head)).published == LISTED.published


@pytest.mark.parametrize(
    "script",
    [
        '[{"@type": "WebPage", "datePublished": "2001-01-01"}, {"@type": ["X", "NewsArticle"], "datePublished": "%s"}]',
        '{"@graph": [{"@type": "Organization"}, {"@type": "NewsArticle", "datePublished": "%s"}]}',
        '{"@type": "NewsArticle", "headline": "um "título" assim", "datePublished": "%s",}',
    ],
)
def test_json_ld_is_found_in_lists_graphs_and_damaged_blocks(script: str) -> None:
    head = f'<script type="application/ld+json">{script % PUBLISHED.isoformat()}</script>'
    assert parse(page(TEXT, head)).published == When(PUBLISHED, exact=True)


@pytest.mark.parametrize(
    "script", ["", "null", "7", "[[[[[[[[[[]]]]]]]]]]", '{"@type": "NewsArticle"', '{"a":' * 100_000]
)
def test_json_ld_that_says_nothing_is_passed_over(script: str) -> None:
    html = page(TEXT, f'<script type="application/ld+json">{script}</script>')
    assert parse(html).published == LISTED.published


def test_a_text_about_a_publication_is_no_date_of_the_article() -> None:
    html = page(f"<p>O edital foi publicado em 01/02/2020 e vale para todos.</p>{TEXT}")
    assert parse(html).published == LISTED.published


def test_the_title_is_the_listing_s_unless_that_is_cut_off() -> None:
    html = shown()
    assert parse(html, replace(LISTED, title="Outro título")).title == "Outro título"
    assert parse(html, replace(LISTED, title=ARTICLE.title[:20] + "…")).title == ARTICLE.title
    assert parse(html, replace(LISTED, title=None)).title == ARTICLE.title


def test_lead_and_subtitle_have_columns_of_their_own() -> None:
    for name in ("description", "discreet"):
        found = parse(pages.classic_article(ARTICLE, subtitle_class=name))
        assert (found.editorial_lead, found.subtitle) == (ARTICLE.lead, ARTICLE.subtitle)
        assert found.content is not None
        assert ARTICLE.lead not in found.content
        assert ARTICLE.subtitle not in found.content


@pytest.mark.parametrize(
    ("first", "lead"),
    [
        ("NOTA OFICIAL", "NOTA OFICIAL"),
        ("OLÁ", None),
        ("Nota oficial", None),
        ("ESTE É UM PARÁGRAFO INTEIRO EM MAIÚSCULAS, QUE NÃO É CHAPÉU", None),
        ("2026 – 2027", None),
    ],
)
def test_a_short_first_paragraph_in_capitals_is_the_lead(first: str, lead: str | None) -> None:
    found = parse(page(f"<p>{first}</p>{TEXT}"))
    assert found.editorial_lead == lead
    assert (first in (found.content or "")) is (lead is None)


def test_a_caption_is_no_subtitle_and_stays_with_its_picture() -> None:
    caption = '<div class="newsImageContainer"><img src="/f.jpg"><p class="discreet">Foto: Ana</p></div>'
    found = parse(page(caption + TEXT))
    assert found.subtitle is None
    assert "Foto: Ana" in (found.content or "")


def test_category_and_tags_fall_back_to_the_page_and_then_the_listing() -> None:
    trail = '<nav class="portal-breadcrumbs"><a href="/">Página Inicial</a><a href="/e">{}</a></nav>'
    assert parse(shown()).category is None  # the trail's "Assuntos" is a menu's word
    assert parse(trail.format("Economia") + page(TEXT)).category == "Economia"
    assert parse(page(TEXT, '<meta property="article:section" content="Saúde">')).category == "Saúde"
    assert parse(shown(), replace(LISTED, category="Clima")).category == "Clima"
    assert parse(shown()).tags == ("clima", "SUS")
    assert parse(shown().replace("origem=keyword", "x=1")).tags == ("clima", "SUS")
    assert parse(page(TEXT), replace(LISTED, tags=("a", " a ", "b"))).tags == ("a", "b")
    sentence = f'<div class="keywords"><a href="/t">{"longo " * 20}</a><a href="/t">ok</a></div>'
    assert parse(page(TEXT + sentence)).tags == ("ok",)


@pytest.mark.parametrize(
    ("src", "expected"),
    [
        ("https://www.gov.br/x/foto.jpg", "https://www.gov.br/x/foto.jpg"),
        ("http://www.gov.br/x/foto.jpg", "https://www.gov.br/x/foto.jpg"),
        ("/x/foto.jpg", "https://www.gov.br/x/foto.jpg"),
        ("foto.jpg", f"{URL.rpartition('/')[0]}/foto.jpg"),
        ("@@images/abc.jpeg", f"{URL}/@@images/abc.jpeg"),
        ("https://cdn.exemplo.org/foto de capa.jpg", "https://cdn.exemplo.org/foto%20de%20capa.jpg"),
        ("resolveuid/0123abcd", None),
        ("../../resolveuid/0123abcd/@@images/image/large", None),
        ("data:image/png;base64,AAAA", None),
        ("https://www.gov.br/++theme++padrao_govbr/img/facebook.svg", None),
        ("/img/icone-pdf.png", None),
        ("/img/whatsapp.png", None),
        ("", None),
    ],
)
def test_the_image_is_absolute_and_one_that_others_can_show(src: str, expected: str | None) -> None:
    """Fault 34: relative addresses, links by id and icons got into the dataset."""
    assert parse(page(f'<img src="{src}">{TEXT}')).image == expected


@pytest.mark.parametrize("size", ['width="1" height="1"', 'width="24" height="24"', 'height="1"'])
def test_counters_and_icons_are_no_image_and_the_next_one_is(size: str) -> None:
    html = page(f'<img src="/p.jpg" {size}><img data-src="/tarde.jpg" src="/loading.gif">{TEXT}')
    assert parse(html).image == "https://www.gov.br/tarde.jpg"


def test_a_base_element_is_what_a_relative_image_starts_from() -> None:
    html = pages.classic_article(ARTICLE, image_src="../capa.jpg", base=f"{URL}/")
    assert parse(html).image == f"{URL.rpartition('/')[0]}/capa.jpg"


def test_a_page_without_a_body_has_no_content_and_says_so() -> None:
    """Fault 33: a text that is missing is told, so that it is got later."""
    found = parse("<html><body><main><p>Outra página qualquer.</p></main></body></html>")
    assert (found.content, found.notes) == (None, ("content_missing", "body_missing"))
    assert (found.title, found.published) == (LISTED.title, LISTED.published)


def test_too_short_a_text_is_none() -> None:
    found = parse(page("<p>Página em construção de conteúdo.</p>"))
    assert (found.content, found.notes) == (None, ("content_missing",))
    assert parse(page(f"<p>{'a' * 99}</p>")).content is None
    assert parse(page(f"<p>{'a' * 100}</p>")).content == "a" * 100


@pytest.mark.parametrize(
    ("html", "error"),
    [
        (pages.login_page(), EmptyContentError),
        (pages.anti_bot_page(), AntiBotError),
        (pages.maintenance_page(), EmptyContentError),
        ("", EmptyContentError),
        ("<title>Request Rejected</title><p>The requested URL was rejected.</p>", AntiBotError),
        ("<title>Gov.br</title><main>Acesso negado. Sua solicitação foi bloqueada.</main>", AntiBotError),
        ("<title>Gov.br</title><main>Ocorreu um erro ao processar sua solicitação.</main>", EmptyContentError),
    ],
    ids=["login", "challenge", "works", "empty", "firewall", "firewall in Portuguese", "error"],
)
def test_a_page_in_place_of_the_article_is_an_error_and_never_a_text(html: str, error: type[Exception]) -> None:
    """Fault 27: a login form was stored as the text of an article."""
    with pytest.raises(error, match="noticias"):
        parse(html)


def test_an_article_about_logins_and_challenges_is_an_article() -> None:
    words = "<p>Just a moment, diz a página: checking your browser. O portal está em manutenção.</p>"
    assert "checking your browser" in (parse(page(words + TEXT)).content or "")


def test_nothing_of_what_surrounds_the_text_gets_into_it() -> None:
    for dates in pages.ARTICLE_DATES:
        found = parse(shown(dates=dates))
        strange = ("Compartilh", "Publicado em", "Atualizado em", "Assessoria de Comunicação", "imprensa@", "Voltar")
        strange += ("Seção 1", "Tags:", "Categoria", "área de transferência", ARTICLE.title, "gtag", "facebook")
        assert [word for word in strange if word in (found.content or "")] == []
        assert found.notes == ()
