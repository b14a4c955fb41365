"""The body of an article as Markdown, in the form that the dataset has always had (markdownify's defaults)."""

from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import dataclass

from bs4 import BeautifulSoup
from bs4.element import Tag
from markdownify import MarkdownConverter

from data_platform.jobs.scraper.bounds import BREAK
from data_platform.jobs.scraper.cleaning import Surroundings, clean_body
from data_platform.jobs.scraper.markup import tidy, visible
from data_platform.jobs.scraper.plain_text import plain_text

__all__ = ["CONTENT_MISSING", "PLAIN_TEXT", "SHORTEST", "Body", "read_body"]

CONTENT_MISSING = "content_missing"
#: In characters; what is shorter is what is left of a page without a text (FIELD_FACTS §3.4).
SHORTEST = 100
#: The body was too large to become Markdown; its text was kept in paragraphs.
PLAIN_TEXT = "plain_text"
_UNCLEANED = "lines_kept"
#: In tags, which cost the most, and characters: larger bodies would take over 5 s or 100 MB as trees of Beautiful Soup.
_MOST_TAGS, _MOST_MARKUP = 100_000, 4_000_000
_LEAST_LINES, _FEWEST_LINES = 0.5, 5

_NAVIGATION = re.compile(
    r"notícias|últimas notícias|página inicial|início|home|voltar|voltar ao topo|imprimir|compartilhe:?|compartilhar"
    r"|(?:link para )?copiar (?:para (?:a )?área de transferência|(?:o )?link)|tags:?|categorias?:?|palavras-chave:?"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?:https?://)?(?:www\.)?(?:facebook|twitter|x|instagram|linkedin|youtube|telegram|whatsapp)"
    r"\.com/?|facebook|twitter|whatsapp|linkedin|telegram",
    re.IGNORECASE,
)
_LOG = logging.getLogger(__name__)
_EMPHASIS = re.compile(r"[*_]")
_UNDERLINE = re.compile(r"=+|-+")


@dataclass(frozen=True)
class Body:
    """The body of an article as it is stored.

    Attributes:
        content: Markdown; None if there is too little of it.
        cover: the first picture that may stand for the article; None if there is none.
        notes: what was out of the ordinary.
    """

    content: str | None
    cover: str | None = None
    notes: tuple[str, ...] = ()


def read_body(html: str, around: Surroundings, *, shortest: int = SHORTEST) -> Body:
    """Clean the body of an article and write it as Markdown; one that is too large, as paragraphs of plain text.

    Args:
        html: the body, well-formed.
        around: what is known of the article already.
        shortest: in characters, what counts as a text; 1 for a body that comes from a field of its own, where no
            remains of a page can be taken for one.
    """
    if html.count("<") > _MOST_TAGS or len(html) > _MOST_MARKUP or BREAK in html:
        _LOG.warning("the body of %s is too large for Markdown (%d characters): plain text", around.base, len(html))
        text, cover = plain_text(html, around)
        content = _EMPHASIS.sub(r"\\\g<0>", text)  # as the converter does
        notes: tuple[str, ...] = (PLAIN_TEXT,)
    else:
        cleaned = clean_body(html, around)
        lines, uncleaned = _without_navigation(_convert(cleaned.soup))
        content, cover, notes = _tidied(lines), cleaned.cover, (*cleaned.notes, *uncleaned)
    if len(content) < shortest:
        return Body(None, cover, (*notes, CONTENT_MISSING))
    return Body(content, cover, notes)


class _Converter(MarkdownConverter):
    """The library's, which counts the items before each item of a list: the square of a list of thousands."""

    def __init__(self) -> None:
        super().__init__()
        self._items: Counter[int] = Counter()

    def convert_li(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """Write an item; one of a numbered list as the first of a list that begins with its number."""
        parent = el.parent
        if parent is not None and parent.name == "ol":
            first = str(parent.get("start") or "")
            number = (int(first) if first.isdecimal() else 1) + self._items[id(parent)]
            self._items[id(parent)] += 1
            alone = Tag(name="ol", attrs={"start": str(number)})
            el = Tag(name="li")
            alone.append(el)
        written: str = super().convert_li(el, text, parent_tags)  # type: ignore[misc]  # its types name few methods
        return written


def _convert(soup: BeautifulSoup) -> str:
    converted: str = _Converter().convert_soup(soup)
    return visible(converted).replace("\xa0", " ")


def _without_navigation(markdown: str) -> tuple[list[str], tuple[str, ...]]:
    """Return the lines without those that are nothing but a word of navigation; all of them if that were too many."""
    lines = markdown.split("\n")
    kept = [
        line
        for line, below in zip(lines, [*lines[1:], ""], strict=True)
        if _NAVIGATION.fullmatch(tidy(line)) is None or (below and _UNDERLINE.fullmatch(below))
    ]
    before, after = (sum(1 for line in some if line.strip()) for some in (lines, kept))
    if before >= _FEWEST_LINES and after < before * _LEAST_LINES:
        return lines, (_UNCLEANED,)
    return kept, ()


def _tidied(lines: list[str]) -> str:
    """Return lines as one text: at most one blank line in a row, no white space at ends but for the forced breaks."""
    found: list[str] = []
    for line in lines:
        bare = line.rstrip()
        if bare:
            found.append(f"{bare}  " if line.endswith("  ") else bare)
        elif found and found[-1]:
            found[-1] = found[-1].rstrip()
            found.append("")
    return "\n".join(found).strip()
