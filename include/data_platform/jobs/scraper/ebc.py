"""What the sites of EBC have in common (FIELD_FACTS §4), and the joint list that they had until February 2026."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

from data_platform.jobs.scraper import json_ld
from data_platform.jobs.scraper.cleaning import Surroundings
from data_platform.jobs.scraper.dates import find_when
from data_platform.jobs.scraper.markdown import CONTENT_MISSING, Body, read_body
from data_platform.jobs.scraper.markup import absolute_url, first_text, parse_page, text_of
from data_platform.jobs.scraper.problems import EmptyContentError, HtmlChangedError
from data_platform.jobs.scraper.records import BODY_MISSING, Listed, ListingPage, When
from data_platform.jobs.scraper.signs import raise_if_refused
from data_platform.models.urls import canonical_url

__all__ = ["CATEGORY", "body_of", "dates_of", "listing_of", "parse_memoria_listing"]

#: What every article of EBC is filed under.
CATEGORY = "Notícias"
#: Programmes of the radio have no text; their links stand among the news.
_RADIO = "radios.ebc.com.br"
_NEXT = "li.pager__item--next a[href], li.pager-next a[href], a[rel=next]"
#: In bytes; see `classic.LISTING_MISSED`.
_LISTING_MISSED = 5000
_NO_BODY = (CONTENT_MISSING, BODY_MISSING)
_MEMORIA = "div#view-ultimas-noticias-ajax"


def listing_of(page: LexborHTMLParser, links: Iterable[LexborNode], html: str, url: str, *, first: bool) -> ListingPage:
    """Return the articles that some links of a listing lead to; it says no dates.

    Args:
        page: the listing.
        links: of its articles, in its order.
        html: the same page as text.
        url: its address.
        first: whether it is the first page, which has articles.

    Raises:
        AntiBotError: a challenge for browsers came in its place.
        EmptyContentError: a notice of works on the site, or an empty answer did.
        HtmlChangedError: a first page, large and without one article that is known.
    """
    found: dict[str, Listed] = {}
    for link in links:
        address = absolute_url(link.attributes.get("href"), url)
        if address is None or urlsplit(address).hostname == _RADIO:
            continue
        title = text_of(link) or (link.attributes.get("title") or "").strip()
        if title:
            found.setdefault(canonical_url(address) or address, Listed(url=address, title=title, category=CATEGORY))
    if not found:
        raise_if_refused(html, url)
        if first:
            _raise_missed(html, url)
    following = page.css_first(_NEXT)
    next_url = absolute_url(following.attributes.get("href"), url) if following is not None else None
    return ListingPage(items=tuple(found.values()), next_url=next_url)


def parse_memoria_listing(html: str, url: str, *, first: bool = False) -> ListingPage:
    """Read a page of the joint list of all EBC sites (memoria.ebc.com.br/noticias); errors as `listing_of`."""
    page = parse_page(html)
    places = [f"{_MEMORIA} {kind} a[title]" for kind in ("div.ultima_isotope", "div.cmpGeneric")]
    pictures = {link.mem_id for link in page.css(f"{_MEMORIA} .imgHeading a")}
    links = [link for link in page.css(", ".join(places)) if link.mem_id not in pictures]
    return listing_of(page, links, html, url, first=first)


def dates_of(page: LexborHTMLParser, *shown: str) -> tuple[When | None, When | None]:
    """Return when an article was published and last changed.

    Args:
        page: its page.
        shown: selectors of where the page shows the former, for pages whose JSON-LD does not say.
    """
    published, updated = json_ld.dates_of(page)
    if published is None or not published.exact:
        published = next((when for name in shown if (when := find_when(first_text(page, name)))), None) or published
    return published, updated


def body_of(nodes: Iterable[LexborNode], around: Surroundings, *, without: tuple[str, ...]) -> Body:
    """Return the text of some elements as Markdown: links and headings are kept (fault 36).

    Args:
        nodes: the elements that hold the text.
        around: what is known of the article.
        without: beginnings of paragraphs that are not part of the text.
    """
    html = []
    for node in nodes:
        for paragraph in node.css("p"):
            if text_of(paragraph).startswith(without):
                paragraph.decompose()
        html.append(node.inner_html or "")
    return read_body("\n".join(html), around, shortest=1) if html else Body(None, notes=_NO_BODY)


def _raise_missed(html: str, url: str) -> None:
    size = len(html.encode("utf-8", "replace"))
    if size <= _LISTING_MISSED:
        raise EmptyContentError(f"the listing {url} has nothing in it ({size} bytes)", hint="it is asked again later")
    raise HtmlChangedError(f"no article is found in the listing {url} ({size} bytes)", hint="correct the parser")
