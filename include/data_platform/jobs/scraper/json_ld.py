"""Dates of an article from the block of JSON-LD in its page (FIELD_FACTS §3.3).

Sites put titles into the block without escaping their quotation marks, so that it often is no JSON; the dates inside
are good all the same and are then looked for by their names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from data_platform.jobs.scraper.dates import find_when
from data_platform.jobs.scraper.records import When

__all__ = ["dates_of"]

_ARTICLES = frozenset(("NewsArticle", "Article", "ReportageNewsArticle", "BlogPosting"))
_TYPE = re.compile(r'"@type"\s*:\s*\[?\s*"(?:' + "|".join(_ARTICLES) + ')"')
_DEEPEST = 6


def dates_of(page: LexborHTMLParser) -> tuple[When | None, When | None]:
    """Return when an article was published and last changed, as its page's JSON-LD says; None for what it does not."""
    published = updated = None
    for script in page.css('script[type="application/ld+json"]'):
        text = script.text() or ""
        for first, last in _pairs(text):
            published, updated = published or find_when(first), updated or find_when(last)
    return published, updated


def _pairs(text: str) -> Iterator[tuple[str | None, str | None]]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        if _TYPE.search(text):
            yield _named("datePublished", text), _named("dateModified", text)
        return
    for thing in _things(data, 0):
        kinds = thing.get("@type")
        if _ARTICLES.intersection(kinds if isinstance(kinds, list) else [kinds] if isinstance(kinds, str) else []):
            yield _text(thing.get("datePublished")), _text(thing.get("dateModified"))


def _named(name: str, text: str) -> str | None:
    found = re.search(rf'"{name}"\s*:\s*"([^"]{{8,40}})"', text)
    return found[1] if found else None


def _things(data: Any, depth: int) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - parsed JSON
    """Yield objects: the block's own, those of a list, those of a graph."""
    if depth > _DEEPEST:
        return
    if isinstance(data, list):
        for element in data:
            yield from _things(element, depth + 1)
    elif isinstance(data, dict):
        yield data
        yield from _things(data.get("@graph"), depth + 1)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
