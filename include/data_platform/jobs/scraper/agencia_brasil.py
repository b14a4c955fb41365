"""Agência Brasil: listing and article (FIELD_FACTS §4)."""

from __future__ import annotations

from selectolax.lexbor import LexborHTMLParser

from data_platform.jobs.scraper import ebc
from data_platform.jobs.scraper.cleaning import Surroundings
from data_platform.jobs.scraper.images import cover_url
from data_platform.jobs.scraper.markup import base_of, first_text, parse_page, text_of, unique_tags
from data_platform.jobs.scraper.records import Article, Listed, ListingPage
from data_platform.jobs.scraper.signs import raise_if_refused

__all__ = ["parse_article", "parse_listing"]

_NOT_TEXT = ("*Com informações", "* Com informações")


def parse_listing(html: str, url: str, *, first: bool = False) -> ListingPage:
    """Read a page of the latest news; without dates, which the articles alone tell.

    Args:
        html: the page.
        url: its address.
        first: whether it is the first page, which has articles.

    Raises:
        AntiBotError: a challenge for browsers came in its place.
        EmptyContentError: a notice of works on the site, or an empty answer did.
        HtmlChangedError: a first page, large and without one article that is known.
    """
    page = parse_page(html)
    links = page.css('a.capa-noticia[href*="/noticia/"]')
    return ebc.listing_of(page, links, html, url, first=first)


def parse_article(html: str, url: str, listed: Listed) -> Article:
    """Read an article.

    Args:
        html: the page.
        url: its address.
        listed: what the listing says of it.

    Raises:
        AntiBotError: a challenge for browsers came in its place.
        EmptyContentError: a notice of works on the site, or an empty answer did.
    """
    page = parse_page(html)
    bodies = page.css("div.conteudo-noticia")
    if not bodies:
        raise_if_refused(html, url)
    base = base_of(page, url)
    title = first_text(page, "h1.titulo-materia", "h1") or listed.title
    published, updated = ebc.dates_of(page, "div.data", ".data")
    body = ebc.body_of(bodies[:1], Surroundings(base, title), without=_NOT_TEXT)
    return Article(
        url=url,
        title=title,
        published=published or listed.published,
        updated=updated,
        content=body.content,
        image=_image(page, base) or body.cover,
        category=ebc.CATEGORY,
        tags=unique_tags(text_of(link) for link in page.css('a[href*="/tags/"]')) or unique_tags(listed.tags),
        notes=body.notes,
    )


def _image(page: LexborHTMLParser, base: str) -> str | None:
    """Return the picture on top: its address is in `data-echo`, then in the noscript; `src` is a placeholder."""
    found = (cover_url(image.attributes, base) for image in page.css("figure img"))
    return next((url for url in found if url), None)
