"""The layouts of sites: how each gives its listing page by page, and its articles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from data_platform.jobs.scraper import agencia_brasil, classic, tv_brasil, volto
from data_platform.jobs.scraper.answers import Accept
from data_platform.jobs.scraper.problems import HtmlChangedError
from data_platform.jobs.scraper.records import Article, Listed, ListingPage
from data_platform.models.sites import ScraperType, Site

__all__ = ["LAYOUTS", "Layout", "layouts_of"]

#: Articles asked of the interface at once (FIELD_FACTS §3.6); whole ones, so a page of them may be megabytes.
_BATCH = 25


class _ParseListing(Protocol):
    def __call__(self, html: str, url: str, *, first: bool = False) -> ListingPage: ...


ParseArticle = Callable[[str, str, Listed], Article]
#: (listing, items seen so far, pages seen so far, what the last page says is next) -> address
PageAddress = Callable[[str, int, int, str | None], str]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way in which a site gives its news.

    Attributes:
        name: as outcomes tell it.
        accept: what is asked for.
        page_address: address of a page of the listing.
        read_page: text and address of a page, whether it is the first -> its items; and the same articles whole, in
            the same order, if the layout gives them with the listing.
        parse_article: reads an article's page; None if the listing gives whole articles.
    """

    name: str
    accept: Accept
    page_address: PageAddress
    read_page: Callable[[str, str, bool], tuple[ListingPage, Sequence[Article] | None]]
    parse_article: ParseArticle | None


def layouts_of(site: Site) -> tuple[Layout, ...]:
    """Return the layouts that a site may have, in the order in which they are tried.

    Raises:
        HtmlChangedError: no parser is there for its kind.
    """
    named = {
        ScraperType.HTML: ("classic", "volto"),
        ScraperType.PLONE6_API: ("volto", "classic"),
        ScraperType.AGENCIA_BRASIL: ("agencia_brasil",),
        ScraperType.TV_BRASIL: ("tv_brasil",),
    }.get(site.scraper_type)
    if named is None:
        raise HtmlChangedError(
            f"site {site.key!r}: there is no parser for sites of type {site.scraper_type.value!r}",
            hint="it was closed before this scraper was written; disable it in the catalogue",
        )
    return tuple(LAYOUTS[name] for name in named)


def _html(name: str, parse_listing: _ParseListing, parse_article: ParseArticle, page_address: PageAddress) -> Layout:
    def read_page(text: str, url: str, first: bool) -> tuple[ListingPage, None]:  # noqa: FBT001 - one signature for all
        return parse_listing(text, url, first=first), None

    return Layout(
        name=name, accept=Accept.HTML, page_address=page_address, read_page=read_page, parse_article=parse_article
    )


def _plone_page(listing: str, items: int, pages: int, next_url: str | None) -> str:
    """Return the next page: as the site says, else by the items seen, since page sizes differ (FIELD_FACTS §3.2)."""
    if not pages:
        return listing
    if next_url is not None and _is_page_of(next_url, listing):
        return next_url
    return f"{listing}?b_start:int={items}"


def _drupal_page(listing: str, _items: int, pages: int, _next_url: str | None) -> str:
    return f"{listing}?page={pages}" if pages else listing


def _is_page_of(url: str, listing: str) -> bool:
    """Return whether an address is another page of a listing, and not of something else on the page."""
    given, wanted = urlsplit(url), urlsplit(listing)
    same = given.hostname == wanted.hostname and given.path.rstrip("/") == wanted.path.rstrip("/")
    return same and "b_start" in given.query


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        _html("classic", classic.parse_listing, classic.parse_article, _plone_page),
        _html("agencia_brasil", agencia_brasil.parse_listing, agencia_brasil.parse_article, _drupal_page),
        _html("tv_brasil", tv_brasil.parse_listing, tv_brasil.parse_article, _drupal_page),
        Layout(
            name="volto",
            accept=Accept.JSON,
            page_address=lambda listing, items, _pages, _next_url: volto.search_url(listing, items, _BATCH),
            read_page=lambda text, url, _first: volto.parse_search(text, url),
            parse_article=None,
        ),
    )
}
