"""The body of an article as paragraphs of plain text: the cheaper way, for what is too large to become Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

from selectolax.lexbor import LexborNode

from data_platform.jobs.scraper.bounds import BREAK, INLINE
from data_platform.jobs.scraper.cleaning import DROPPED, Surroundings, is_furniture
from data_platform.jobs.scraper.images import cover_url
from data_platform.jobs.scraper.markup import parse_page, tidy

__all__ = ["plain_text"]

_CELLS = frozenset(("td", "th"))
#: Paragraphs that are looked at for what is no text; a body with more is a list, and looking is half of the time.
_LOOKED_AT = 20_000


def plain_text(html: str, around: Surroundings) -> tuple[str, str | None]:
    """Return the text of a body, a blank line between paragraphs, and the picture that may stand for the article.

    Lines that are no text of the article are left out, as far as they can be told by what they say; links, emphasis
    and the columns of tables are lost.

    Args:
        html: the body.
        around: what is known of the article already.
    """
    page = parse_page(html)
    page.strip_tags(list(DROPPED))
    root = page.body
    if root is None:
        return "", None
    told_elsewhere = {around.title, around.lead, around.subtitle}
    found = StringIO()  # a million short lines as texts of their own would take ten times their size
    for number, text in enumerate(_paragraphs(root)):
        if number >= _LOOKED_AT or not (text in told_elsewhere or is_furniture(text)):
            found.write(f"{text}\n\n")
    pictures = (cover_url({"src": picture.attributes.get("src")}, around.base) for picture in root.css("img[src]"))
    return found.getvalue().strip(), next((url for url in pictures if url), None)


def _paragraphs(root: LexborNode) -> Iterator[str]:
    """Yield what stands on lines of its own; rows of a table do."""
    line: list[str] = []
    for node in root.traverse(include_text=True):
        if node.is_text_node:
            text = node.text_content or ""
            if _is_after_block(node):
                text = BREAK + text
        elif node.tag in INLINE or node.is_comment_node:
            continue
        else:
            text = " " if node.tag in _CELLS else BREAK
        *ended, begun = text.split(BREAK)
        for piece in ended:
            if found := tidy("".join([*line, piece])):
                yield found
            line = []
        line.append(begun)
    if found := tidy("".join(line)):
        yield found


def _is_after_block(text: LexborNode) -> bool:
    before = text.prev
    return before is not None and before.is_element_node and before.tag not in INLINE
