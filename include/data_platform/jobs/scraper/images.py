"""Which pictures of a page are the article's: no icons, no counters, nothing that a reader elsewhere cannot load."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from data_platform.jobs.scraper.markup import absolute_url

__all__ = ["cover_url", "picture_url"]

#: Where the address of a picture stands when the page loads it late; `src` then holds a placeholder.
_SOURCES = ("data-echo", "data-src", "data-original", "src")
#: In pixels; what is no larger either way is an icon, what is no larger in one a counter or a ruler.
_ICON, _LINE = 32, 2
_DECORATION = re.compile(
    r"(?:^|[/_.-])(?:icons?|icones?|ico|favicon|sprites?|spacer|blank|pixel|transparent|loading(?:_v2)?|loader|emoji)"
    r"(?:[/_.-]|$)|\+\+(?:theme|resource|plone)\+\+|@@site-logo"
    r"|/(?:logo-?)?(?:facebook|twitter|whatsapp|linkedin|telegram|instagram|youtube|x)(?:-icon|-share|-logo|_\d+)?"
    r"\.(?:svg|png|gif|jpe?g|webp)$",
    re.IGNORECASE,
)
#: Plone's links by id are answered with a redirect that other sites' pages do not get to see.
_BY_ID = re.compile(r"/resolveuid/", re.IGNORECASE)
_DRAWING = re.compile(r"\.(?:svg|ico)$", re.IGNORECASE)


def picture_url(attributes: Mapping[str, str | None], base: str) -> str | None:
    """Return the absolute address of a picture within a text.

    Args:
        attributes: of an `img` element.
        base: what its address is relative to.

    Returns:
        The address; None for icons, counters, pictures inside the page itself (`data:`) and those without address.
    """
    sizes = [
        int(size) for name in ("width", "height") if (size := (attributes.get(name) or "").strip("px ")).isdecimal()
    ]
    if sizes and (min(sizes) <= _LINE or (max(sizes) <= _ICON and len(sizes) > 1)):
        return None
    for name in _SOURCES:
        url = absolute_url(attributes.get(name), base)
        if url and not _DECORATION.search(urlsplit(url).path):
            return url
    return None


def cover_url(attributes: Mapping[str, str | None], base: str) -> str | None:
    """Return the absolute address of a picture that may stand for an article elsewhere; None if it cannot."""
    url = picture_url(attributes, base)
    return None if url is None or _BY_ID.search(url) or _DRAWING.search(urlsplit(url).path) else url
