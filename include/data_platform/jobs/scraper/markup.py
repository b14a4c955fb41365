"""What every layout's parser needs: a page as a tree, the text of an element, addresses made absolute."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

from data_platform.jobs.scraper.bounds import INLINE, shallow, thinned
from data_platform.models.urls import canonical_url

__all__ = [
    "absolute_url",
    "base_of",
    "first_text",
    "is_share_link",
    "parse_page",
    "text_of",
    "tidy",
    "unique_tags",
    "visible",
]

#: Characters that take no room and mean nothing: zero-width spaces and joints of words, soft hyphens, byte order marks.
#: The zero-width joiner stays, since emoji are made with it.
_INVISIBLE = re.compile("[\u200b\u200c\u2060\ufeff\u00ad\x00]")
_SILENT = frozenset({"script", "style", "noscript", "template"})
#: Addresses that put a page before other people's eyes; links to the same sites that do not are the article's own.
_SHARE = re.compile(
    r"^(?:https?:)?//(?:[\w-]+\.)*(?:facebook\.com/(?:sharer|share|dialog/)|(?:twitter|x)\.com/(?:share|intent)"
    r"|linkedin\.com/(?:sharearticle|sharing|cws/share)|whatsapp\.com/send|wa\.me/\?"
    r"|(?:t|telegram)\.me/share|pinterest\.com/pin/create)"
    r"|^(?:whatsapp|tg):|^mailto:\?|^mailto:[^?]*\?.*\bbody=http",
    re.IGNORECASE,
)
#: Where the interface of Plone 6 lies; no part of a public address.
_API = re.compile(r"/\+\+api\+\+(?=[/?#]|$)")
#: Sites that answer over https whatever their links say.
_HTTPS_SITES = (".gov.br", ".ebc.com.br")
_NO_ADDRESS = ("#", "javascript:", "mailto:", "tel:", "data:", "about:", "whatsapp:", "file:")
#: Longer ones are sentences, not tags (FIELD_FACTS §1.4).
_LONGEST_TAG = 100
#: Elements in one another; pages that people made have under thirty, and lexbor takes the square of it.
_DEEPEST = 200
#: Tags: below the first number no page is so deep as to take long; above the second it would take over 100 MB.
_FEW_TAGS, _MOST_TAGS = 2_000, 300_000


def parse_page(html: str) -> LexborHTMLParser:
    """Return a page as a tree; characters that UTF-8 does not have become question marks.

    What lies too deep keeps its text only, and a page with too many elements is thinned (`bounds`).
    """
    markup = html.encode("utf-8", "replace")
    tags = markup.count(b"<")
    if tags > _MOST_TAGS:
        markup = thinned(markup)
    if tags > _FEW_TAGS:
        markup = shallow(markup, _DEEPEST)
    return LexborHTMLParser(markup)


def visible(text: str) -> str:
    """Return a text without the characters that take no room and mean nothing."""
    return _INVISIBLE.sub("", text)


def tidy(text: str) -> str:
    """Return a text on one line, white space single, without invisible characters."""
    return " ".join(visible(text).split())


def text_of(node: LexborNode | None) -> str:
    """Return the text of an element on one line; blocks and line breaks inside part words, inline elements do not."""
    if node is None:
        return ""
    pieces: list[str] = []
    for inner in node.traverse(include_text=True):
        if inner.is_text_node:
            parent = inner.parent
            if parent is None or parent.tag not in _SILENT:
                pieces.append(inner.text_content or "")
        elif inner.tag not in INLINE:
            pieces.append(" ")
    return tidy("".join(pieces))


def first_text(node: LexborNode | LexborHTMLParser, *selectors: str) -> str | None:
    """Return the text of the first element found that has one, trying selectors in turn; None if none has."""
    for selector in selectors:
        for found in node.css(selector):
            if text := text_of(found):
                return text
    return None


def base_of(page: LexborHTMLParser, url: str) -> str:
    """Return the address that a page's relative links start from: its base element's, else its own."""
    base = page.css_first("head > base[href]")
    return urljoin(url, (base.attributes.get("href") or "").strip()) if base else url


def absolute_url(reference: str | None, base: str) -> str | None:
    """Return an absolute http(s) address; https for the sites that are read here.

    A reference to a view of the article itself (`@@images/…`) is taken from the article, not from the folder that it
    lies in, as the article's own address ends without a slash.

    Args:
        reference: as a link or picture has it.
        base: what it is relative to.

    Returns:
        The address; None if it is none (a script, a mail address, a place on the same page, damaged).
    """
    reference = visible(reference or "").strip()
    if not reference or reference.lower().startswith(_NO_ADDRESS):
        return None
    start = f"{base.split('?', maxsplit=1)[0].rstrip('/')}/" if reference.startswith("@@") else base
    try:
        url = urljoin(start, re.sub(r"\s", "%20", reference))
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or canonical_url(url) is None:
        return None
    if parts.scheme == "http" and parts.port is None and f".{host}".endswith(_HTTPS_SITES):
        url = parts._replace(scheme="https").geturl()
    return _API.sub("", url, count=1)


def is_share_link(href: str | None) -> bool:
    """Whether a link puts a page before the eyes of others, on a social network or by mail."""
    return href is not None and _SHARE.search(href.strip()) is not None


def unique_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return tags tidied, each once in the order given; what is too long to be a tag is left out."""
    tidied = (tidy(tag).strip(" ,;") for tag in tags)
    return tuple(dict.fromkeys(tag for tag in tidied if tag and len(tag) <= _LONGEST_TAG))
