"""The body of an article as Markdown, in the form that the dataset has always had (markdownify's defaults)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bs4 import BeautifulSoup
from markdownify import MarkdownConverter

from data_platform.jobs.scraper.cleaning import Surroundings, clean_body
from data_platform.jobs.scraper.markup import tidy, visible

__all__ = ["CONTENT_MISSING", "SHORTEST", "Body", "read_body"]

CONTENT_MISSING = "content_missing"
#: In characters; what is shorter is what is left of a page without a text (FIELD_FACTS §3.4).
SHORTEST = 100
_UNCLEANED = "lines_kept"
_LEAST_LINES, _FEWEST_LINES = 0.5, 5

_NAVIGATION = re.compile(
    r"notícias|últimas notícias|página inicial|início|home|voltar|voltar ao topo|imprimir|compartilhe:?|compartilhar"
    r"|(?:link para )?copiar (?:para (?:a )?área de transferência|(?:o )?link)|tags:?|categorias?:?|palavras-chave:?"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?:https?://)?(?:www\.)?(?:facebook|twitter|x|instagram|linkedin|youtube|telegram|whatsapp)"
    r"\.com/?|facebook|twitter|whatsapp|linkedin|telegram",
    re.IGNORECASE,
)
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
    """Clean the body of an article and write it as Markdown.

    Args:
        html: the body, well-formed.
        around: what is known of the article already.
        shortest: in characters, what counts as a text; 1 for a body that comes from a field of its own, where no
            remains of a page can be taken for one.
    """
    cleaned = clean_body(html, around)
    markdown = _convert(cleaned.soup)
    lines, notes = _without_navigation(markdown)
    content = _tidied(lines)
    if len(content) < shortest:
        return Body(None, cleaned.cover, (*cleaned.notes, *notes, CONTENT_MISSING))
    return Body(content, cleaned.cover, (*cleaned.notes, *notes))


def _convert(soup: BeautifulSoup) -> str:
    converted: str = MarkdownConverter().convert_soup(soup)
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
