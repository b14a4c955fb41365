"""TV Brasil: listing and article (FIELD_FACTS §4)."""

from __future__ import annotations

from selectolax.lexbor import LexborHTMLParser

from data_platform.jobs.scraper import ebc
from data_platform.jobs.scraper.cleaning import Surroundings
from data_platform.jobs.scraper.markup import absolute_url, base_of, first_text, parse_page, text_of, unique_tags
from data_platform.jobs.scraper.records import Article, Listed, ListingPage
from data_platform.jobs.scraper.signs import raise_if_refused

__all__ = ["parse_article", "parse_listing"]

_NOT_TEXT = ("*Restrição de uso", "* Restrição de uso", "Clique aqui para saber", "Tags:")
_VIDEOS = ('video source[type="video/mp4"]', "video[src]", "video source[src]")


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
    return ebc.listing_of(page, page.css("div.view-ultimas h3.heading a[href]"), html, url, first=first)


def parse_article(html: str, url: str, listed: Listed) -> Article:
    """Read an article; its lead is the name of the programme.

    Args:
        html: the page.
        url: its address.
        listed: what the listing says of it.

    Raises:
        AntiBotError: a challenge for browsers came in its place.
        EmptyContentError: a notice of works on the site, or an empty answer did.
    """
    page = parse_page(html)
    bodies = page.css("article")
    if not bodies:
        raise_if_refused(html, url)
    base = base_of(page, url)
    title = first_text(page, "h1") or listed.title
    programme = first_text(page, "h4.txtNoticias a", "h4.txtNoticias")
    published, updated = ebc.dates_of(page, "h5 span.date-display-single", "h5", "article h5")
    video = _video(page, base)
    for player in page.css("article video"):
        player.decompose()  # it has a column of its own
    body = ebc.body_of(page.css("article")[:1], Surroundings(base, title, lead=programme), without=_NOT_TEXT)
    return Article(
        url=url,
        title=title,
        published=published or listed.published,
        updated=updated,
        editorial_lead=programme,
        content=body.content,
        image=body.cover,
        video_url=video,
        category=ebc.CATEGORY,
        tags=unique_tags(text_of(link) for link in page.css("div.row-tags a")) or unique_tags(listed.tags),
        notes=body.notes,
    )


def _video(page: LexborHTMLParser, base: str) -> str | None:
    for selector in _VIDEOS:
        for found in page.css(selector):
            if url := absolute_url(found.attributes.get("src"), base):
                return url
    return None
