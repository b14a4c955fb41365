"""Sites on Plone 6 (Volto): their pages have no items, their interface gives whole articles (FIELD_FACTS §3.6)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from data_platform.jobs.scraper.blocks import blocks_html
from data_platform.jobs.scraper.cleaning import Surroundings
from data_platform.jobs.scraper.dates import find_when
from data_platform.jobs.scraper.images import cover_url
from data_platform.jobs.scraper.markdown import CONTENT_MISSING, SHORTEST, Body, read_body
from data_platform.jobs.scraper.markup import absolute_url, parse_page, text_of, tidy, unique_tags
from data_platform.jobs.scraper.problems import EmptyContentError, HtmlChangedError, NetworkError, UrlBrokenError
from data_platform.jobs.scraper.records import Article, Listed, ListingPage, When
from data_platform.jobs.scraper.signs import raise_if_refused
from data_platform.models.urls import canonical_url

__all__ = ["api_url", "parse_search", "search_url"]

_MARK = "++api++"
_ASKED = (
    ("portal_type", "News Item"),
    ("sort_on", "effective"),
    ("sort_order", "descending"),
    ("fullobjects", "1"),
    *(("metadata_fields", name) for name in ("title", "effective", "modified", "description")),
)
_GONE = frozenset(("NotFound", "Gone"))
#: Sizes of a picture, the best first, where the original is not given.
_SCALES = ("huge", "great", "larger", "large", "teaser", "preview")


def api_url(listing_url: str) -> str:
    """Return where the interface of a site searches its listing.

    Args:
        listing_url: public address of the listing; its query and a slash at its end do not count.

    Returns:
        The address with `/++api++` behind the agency's segment and `/@search` at its end.
    """
    parts = urlsplit(listing_url)
    agency, *rest = [segment for segment in parts.path.split("/") if segment and segment != _MARK] or [""]
    path = "/".join(("", *([agency] if agency else []), _MARK, *rest, "@search"))
    return parts._replace(path=path, query="", fragment="").geturl()


def search_url(listing_url: str, start: int, size: int) -> str:
    """Return the address of some articles of a listing, newest first.

    Args:
        listing_url: public address of the listing.
        start: place of the first one, from 0.
        size: how many.
    """
    asked = [*_ASKED, ("b_start", str(start)), ("b_size", str(size))]
    return f"{api_url(listing_url)}?{urlencode(asked, quote_via=quote)}"


def parse_search(text: str, listing_url: str) -> tuple[ListingPage, Sequence[Article]]:
    """Read an answer of the interface.

    Args:
        text: the answer.
        listing_url: public address of the listing, for relative addresses and messages.

    Returns:
        What it lists, and the same articles whole, in the same order, each address once.

    Raises:
        AntiBotError: a challenge for browsers came in its place.
        EmptyContentError: a login form, a notice of works or another page did; or the site wants a login.
        NetworkError: the answer broke off.
        UrlBrokenError: the site has no such listing.
        HtmlChangedError: it is JSON of another shape, or an item has no address.
    """
    answer = _answer(text, listing_url)
    items = answer.get("items")
    if not isinstance(items, list):
        raise HtmlChangedError(
            f"the interface of {listing_url} answered without a list of items", hint="compare with plone.restapi"
        )
    articles: dict[str, Article] = {}
    for item in items:
        article = _article(item, listing_url)
        articles.setdefault(canonical_url(article.url) or article.url, article)
    total = answer.get("items_total")
    batching = answer.get("batching")
    next_url = batching.get("next") if isinstance(batching, dict) else None
    page = ListingPage(
        items=tuple(_listed(article) for article in articles.values()),
        total=total if isinstance(total, int) and not isinstance(total, bool) else None,
        next_url=next_url if isinstance(next_url, str) and next_url else None,
    )
    return page, tuple(articles.values())


def _answer(text: str, listing_url: str) -> Mapping[str, Any]:
    bare = text.lstrip("\ufeff \t\r\n")
    if not bare.startswith("{"):
        raise_if_refused(text, listing_url)
        raise EmptyContentError(
            f"the interface of {listing_url} answered with a page, not with JSON",
            hint="the site may be worked on, or be no Plone 6; it is asked again later",
        )
    try:
        answer = json.loads(bare)
    except RecursionError:
        raise HtmlChangedError(f"the interface of {listing_url} answered with JSON nested too deep to read") from None
    except ValueError as error:
        raise NetworkError(
            f"the answer of the interface of {listing_url} breaks off or is damaged ({error})", hint="asked again"
        ) from error
    kind = answer.get("type")
    if "items" not in answer and isinstance(kind, str):
        message = f"the interface of {listing_url} says {kind}: {str(answer.get('message') or '')[:200]}"
        if kind in _GONE:
            raise UrlBrokenError(message, hint="the agency was renamed or its listing moved; correct the catalogue")
        raise EmptyContentError(message, hint="it is asked again later")
    found: Mapping[str, Any] = answer
    return found


def _article(item: object, listing_url: str) -> Article:
    given: Mapping[str, Any] = item if isinstance(item, dict) else {}
    url = absolute_url(_text(given.get("@id")), listing_url)
    if url is None:
        raise HtmlChangedError(
            f"the interface of {listing_url} gave an item without an address", hint="compare with plone.restapi"
        )
    tags = unique_tags(_keywords(given))
    subtitle = _line(given.get("description"))
    body = _body(given, url, subtitle)
    return Article(
        url=url,
        title=_line(given.get("title")),
        published=_when(given.get("effective")),
        updated=_when(given.get("modified")),
        subtitle=subtitle,
        content=body.content,
        image=_image(given, url) or body.cover,
        category=tags[0] if tags else None,
        tags=tags,
        notes=tuple(dict.fromkeys(body.notes)),
    )


def _listed(article: Article) -> Listed:
    return Listed(
        url=article.url,
        title=article.title,
        published=article.published,
        category=article.category,
        tags=article.tags,
    )


def _body(given: Mapping[str, Any], url: str, subtitle: str | None) -> Body:
    """Read the blocks; where they have no text, as in articles that were moved from the old system, the text."""
    around = Surroundings(f"{url}/", title=_line(given.get("title")), subtitle=subtitle)
    notes: list[str] = []
    best = Body(None, notes=(CONTENT_MISSING,))
    for html in (blocks_html(given, notes), _old_text(given.get("text"))):
        if html and len(best.content or "") < SHORTEST:
            # Through the same parser as pages: what people put into a block of HTML need not be well-formed.
            root = parse_page(html).body
            read = read_body((root.inner_html if root is not None else None) or "", around, shortest=1)
            if len(read.content or "") > len(best.content or ""):
                best = read
    return Body(best.content, best.cover, (*notes, *best.notes))


def _old_text(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("data")
    return value if isinstance(value, str) else ""


def _keywords(given: Mapping[str, Any]) -> list[str]:
    """Return the keywords; whole objects name them `subjects`, entries of the catalogue `Subject`."""
    for name in ("subjects", "Subject"):
        value = given.get(name)
        if isinstance(value, str):
            value = [value]
        if isinstance(value, list) and value:
            titled = (word.get("title") or word.get("token") if isinstance(word, dict) else word for word in value)
            return [word for word in titled if isinstance(word, str)]
    return []


def _image(given: Mapping[str, Any], url: str) -> str | None:
    for name in ("image", "preview_image"):
        value = given.get(name)
        if isinstance(value, str):
            value = {"download": value}
        if not isinstance(value, dict):
            continue
        scales = value.get("scales")
        sizes = [scales.get(size) for size in _SCALES] if isinstance(scales, dict) else []
        for source in (value, *sizes):
            reference = _text(source.get("download")) if isinstance(source, dict) else ""
            if found := cover_url({"src": reference}, f"{url}/"):
                return found
    return None


def _when(value: object) -> When | None:
    return find_when(value) if isinstance(value, str) else None


def _line(value: object) -> str | None:
    """Return a text on one line; some sites put HTML into it."""
    text = _text(value)
    if "<" in text or "&" in text:
        body = parse_page(text).body
        text = text_of(body) if body is not None else ""
    return tidy(text) or None


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
