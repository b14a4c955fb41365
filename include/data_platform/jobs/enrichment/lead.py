"""The first sentences of an article, as a summary that nobody had to write."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["lead_of"]

#: Summaries of the field's models have 430 to 646 characters (FIELD_FACTS §0; measured on 43 real rows).
_WANTED, _MOST = 350, 600
#: No more of a text is looked at: its lead is at its beginning.
_LOOKED_AT = 6000
_LEAST_WORDS = 5
_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_TAG = re.compile(r"<[^<>]{1,200}>")
_MARKS = re.compile(r"^\s{0,3}(?:#{1,6}\s+|>\s?|[-*+]\s+|\d+[.)]\s+)|[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_URL = re.compile(r"(?:https?://|www\.)\S+")
_END = re.compile(r"(?<=[.!?…])[\"”’)]*\s+(?=[\"“‘(]?[A-ZÀ-Ú0-9])")
#: What stands before a full stop that ends no sentence.
_SHORT_FORM = re.compile(
    r"(?:\b(?:[A-ZÀ-Ú]|art|arts|av|dr|dra|exmo|etc|inc|n|nº|p|pág|prof|profa|r|sr|sra|srta|ltda|min|sec)\.)$",
    re.IGNORECASE,
)
_CREDIT = re.compile(r"^\(?(?:foto|fotos|crédito|créditos|imagem|legenda|fonte|vídeo|por)\b\s*:?", re.IGNORECASE)


def lead_of(content: str | None, *, title: str = "", subtitle: str | None = None) -> str | None:
    """Return the first sentences of a text, at most 600 characters; None if there is nothing to take.

    Pictures, headings, captions and lines that repeat title or subtitle are left out. Without a text of its own an
    article has its subtitle for a lead; a title says no more than itself and is none.

    Args:
        content: Markdown.
        title: of the article.
        subtitle: of the article.
    """
    known = {_bare(title), _bare(subtitle or "")}
    taken: list[str] = []
    length = 0
    for sentence in _sentences(content or "", known):
        if taken and length + 1 + len(sentence) > _MOST:
            break
        taken.append(sentence)
        length += len(sentence) + 1
        if length >= _WANTED:
            break
    lead = " ".join(taken) or " ".join((subtitle or "").split())
    return _cut(lead) or None


def _sentences(content: str, known: set[str]) -> Iterator[str]:
    for line in content[:_LOOKED_AT].splitlines():
        paragraph = _plain(line)
        heading = line.lstrip().startswith("#") or not re.search(r"[.!?…:;]", paragraph)
        if heading or len(paragraph.split()) < _LEAST_WORDS or _CREDIT.match(paragraph) or _bare(paragraph) in known:
            continue
        yield from _split(paragraph)


def _split(paragraph: str) -> list[str]:
    """Split a paragraph after its sentences; short forms and initials end none."""
    found: list[str] = []
    begun = ""
    for piece in _END.split(paragraph):
        begun = f"{begun} {piece}".strip()
        if not _SHORT_FORM.search(begun):
            found.append(begun)
            begun = ""
    return [*found, begun] if begun else found


def _plain(line: str) -> str:
    text = _LINK.sub(r"\1", _IMAGE.sub(" ", line))
    text = _URL.sub(" ", _TAG.sub(" ", _INVISIBLE.sub("", text)))
    return " ".join(_MARKS.sub("", text).split())


def _bare(text: str) -> str:
    return re.sub(r"\W+", " ", text).casefold().strip()


def _cut(text: str) -> str:
    """Return a text of at most `_MOST` characters, cut between words."""
    if len(text) <= _MOST:
        return text
    return text[: _MOST - 1].rpartition(" ")[0].rstrip(",;:") + "…"
