"""Made-up articles rendered in every layout come back whole: title, day, text, tags, links, picture."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_platform.jobs.scraper import agencia_brasil, classic, tv_brasil
from data_platform.jobs.scraper.problems import ScrapeError
from data_platform.jobs.scraper.records import Article, Listed
from data_platform.jobs.scraper.volto import parse_search
from data_platform.models.days import day_of
from dev.gov_web import pages, volto
from dev.gov_web.made_up import LISTING, MadeUp, links_of, made_up, texts_of

_seeds = st.integers(0, 10_000)
_instants = st.datetimes(datetime(1996, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda instant: instant.replace(microsecond=0)
)
_made_up = st.builds(lambda seed, at, rich: made_up(seed, published=at, rich=rich), _seeds, _instants, st.booleans())


def words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.replace("\\", "")))


def lost(article: MadeUp, content: str | None) -> list[str]:
    """Return the pieces of an article's text and the links that a content lacks.

    A paragraph that only says the subtitle again is none: it stands there.
    """
    have = words(content or ""), words(article.subtitle or "")
    pieces = [text for text in texts_of(article) if words(text) not in have[0] and words(text) != have[1]]
    return pieces + [url for url in links_of(article) if f"({url})" not in (content or "")]


def check(article: MadeUp, found: Article) -> None:
    assert found.title == article.title
    assert found.published is not None
    assert day_of(found.published.instant) == day_of(article.published)
    assert lost(article, found.content) == []
    assert found.tags == article.tags
    assert found.url == article.url
    if article.image:
        assert found.image == article.image
    assert found.notes == ()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(_made_up, min_size=1, max_size=6, unique_by=lambda article: article.url),
    st.sampled_from(pages.CONTAINERS),
    st.sampled_from(pages.LISTING_DATES[:-1]),
    st.sampled_from(["absolute", "path", "http"]),
)
def test_listings(
    articles: list[MadeUp], container: pages.Container, dates: pages.ListingDates, hrefs: pages.Hrefs
) -> None:
    html = pages.classic_listing(articles, container=container, dates=dates, hrefs=hrefs, noise=5)
    page = classic.parse_listing(html, LISTING, first=True)
    assert [(i.url, i.title) for i in page.items] == [(a.url, a.title) for a in articles]
    days = [day_of(i.published.instant) for i in page.items if i.published]
    assert days == [day_of(a.published) for a in articles]


@settings(max_examples=40, deadline=None)
@example(made_up(789, published=datetime(2000, 1, 1, tzinfo=UTC), rich=True), "json_ld", "description")
@given(_made_up, st.sampled_from(pages.ARTICLE_DATES), st.sampled_from(["description", "discreet"]))
def test_classic_articles(article: MadeUp, dates: pages.ArticleDates, subtitle_class: str) -> None:
    """Fault 33: no piece of any text is lost in cleaning."""
    html = pages.classic_article(article, dates=dates, subtitle_class=subtitle_class, noise=10)  # type: ignore[arg-type]
    listing = pages.classic_listing([article], dates="data", noise=0)
    listed = classic.parse_listing(listing, LISTING).items[0]
    found = classic.parse_article(html, article.url, listed)
    check(article, found)
    assert (found.subtitle, found.editorial_lead, found.category) == (article.subtitle, article.lead, article.category)
    if dates != "none":
        assert found.published is not None
        assert abs(found.published.instant - article.published).total_seconds() < 60


@settings(max_examples=30, deadline=None)
@given(
    _made_up,
    st.sampled_from(["blocks", "nested", "text", "text_string"]),
    st.sampled_from(["subjects", "Subject"]),
    st.booleans(),
    st.booleans(),
)
def test_volto_articles(article: MadeUp, body: volto.Body, subjects: str, utc: bool, relative: bool) -> None:
    """Fault 31: whatever the blocks are in, their text comes back, in order."""
    text = volto.volto_search(
        [article],
        listing=LISTING,
        body=body,
        subjects=subjects,
        utc=utc,
        relative_image=relative,  # type: ignore[arg-type]
    )
    found = parse_search(text, LISTING)[1][0]
    check(article, found)
    have = words(found.content or "")
    places = [have.index(words(piece)) for piece in texts_of(article) if have.count(words(piece)) == 1]
    assert places == sorted(places)
    assert found.published is not None
    assert found.published.instant == article.published


@settings(max_examples=20, deadline=None)
@given(_seeds, _instants, st.booleans())
def test_ebc_articles(seed: int, at: datetime, json_ld: bool) -> None:
    """Fault 36."""
    news = made_up(seed, listing="https://agenciabrasil.ebc.com.br/saude/noticia/2026-02", published=at)
    listed = Listed(url=news.url, title=news.title)
    check(news, agencia_brasil.parse_article(pages.agencia_brasil_article(news, json_ld=json_ld), news.url, listed))
    show = replace(news, url="https://tvbrasil.ebc.com.br/programa/um", video_url="https://tvbrasil.ebc.com.br/v.mp4")
    found = tv_brasil.parse_article(
        pages.tv_brasil_article(show, json_ld=json_ld), show.url, replace(listed, url=show.url)
    )
    check(show, found)
    assert found.video_url == show.video_url


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300) | st.text("<>/=\"' adivpspanulionctehr\n&;", max_size=400))
def test_no_page_at_all_makes_a_parser_fail_in_an_unforeseen_way(text: str) -> None:
    html = f'<div id="content"><article class="tileItem">{text}</article></div>'
    listed = Listed(url=f"{LISTING}/n", title="T")
    classic.parse_article(html, listed.url, listed)
    for parse in (classic.parse_listing, agencia_brasil.parse_listing, tv_brasil.parse_listing, parse_search):
        for given_text in (text, html):
            with suppress(ScrapeError):
                parse(given_text, LISTING)  # type: ignore[operator]


def test_the_same_seed_gives_the_same_pages() -> None:
    for seed in range(5):
        assert made_up(seed) == made_up(seed)
        assert pages.classic_article(made_up(seed)) == pages.classic_article(made_up(seed))
        assert volto.volto_search([made_up(seed)], listing=LISTING) == volto.volto_search(
            [made_up(seed)], listing=LISTING
        )
    assert made_up(1).title != made_up(2).title
