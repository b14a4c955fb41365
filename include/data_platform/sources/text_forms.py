"""Dates and tag lists as people and programs of the past wrote them into text cells.

Pure Python, for the cells that Arrow's own parsers do not read; nothing is ever evaluated.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterable
from datetime import datetime, timedelta

__all__ = ["NOTHING", "iso_date", "parse_tags"]

#: What writers put into a date or tags cell for "nothing" (compared trimmed and in lower case).
NOTHING = ("", "none", "nan", "nat", "null")

_DATE = re.compile(
    r"(?:(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})|(?P<d2>\d{1,2})/(?P<m2>\d{1,2})/(?P<y2>\d{4}))"
    r"(?:(?:[Tt]|[ ]+)(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?"
    r"[ ]*(?P<zone>[Zz]|UTC|(?P<sign>[+-])(?P<oh>\d{2})(?::?(?P<om>[0-5]\d))?(?::(?P<os>[0-5]\d))?)?)?",
    re.ASCII,
)

_WORD = r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|None|nan|null)"""
_WORDS = re.compile(rf"(?:{_WORD}(?:\s*,\s*|\s+|$))+", re.DOTALL)
_ONE_WORD = re.compile(_WORD, re.DOTALL)
_NUMPY_REPR = re.compile(r"array\((\[.*\])(?:,\s*dtype=\S+)?\)", re.DOTALL)


def iso_date(text: str) -> str | None:
    """Rewrite one date in ISO 8601: with `Z` if the text had an offset, else without a zone.

    Reads ISO 8601 in its looser forms (also offsets with seconds, as Python prints the local mean time of
    before 1914) and day/month/year, the order used in Brazil. Up to nine decimals are kept.

    Returns:
        `YYYY-MM-DD HH:MM:SS[.f][Z]`; None if the text is no date or the day does not exist.
    """
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day = (int(found[key] or found[key + "2"]) for key in ("y", "m", "d"))
    hour, minute, second = (int(found[key] or 0) for key in ("H", "M", "S"))
    try:
        when = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 -- a wall-clock time
        if found["sign"]:
            offset = timedelta(hours=int(found["oh"]), minutes=int(found["om"] or 0), seconds=int(found["os"] or 0))
            if offset >= timedelta(days=1):
                return None
            when = when - offset if found["sign"] == "+" else when + offset
    except (ValueError, OverflowError):
        return None
    fraction = f".{found['f']}" if found["f"] else ""
    return f"{when.isoformat(sep=' ', timespec='seconds')}{fraction}{'Z' if found['zone'] else ''}"


def parse_tags(text: str) -> list[str | None] | None:
    """Parse one printed list or comma-joined text; None if it is neither.

    Two quoted words with only white space between them are two tags, as numpy prints them (Python's
    own reading would join them into one word). A list that numpy shortened with `...` is not read.

    Returns:
        The tags; a None inside stands for an element without value.
    """
    text = text.strip()
    if printed := _NUMPY_REPR.fullmatch(text):
        text = printed[1]
    if not (text.startswith("[") and text.endswith("]")):
        return _quoted_words(text) if _WORDS.fullmatch(text) else _split(text)
    try:
        return _plain_tags(json.loads(text))
    except (ValueError, RecursionError):
        inner = text[1:-1].strip()
    if _WORDS.fullmatch(inner):
        return _quoted_words(inner)
    return None if inner.endswith("...") or any(mark in inner for mark in "[]'\"") else _split(inner)


def _split(text: str) -> list[str | None]:
    return [tag for piece in text.split(",") if (tag := piece.strip())]


def _plain_tags(values: Iterable[object]) -> list[str | None] | None:
    tags: list[str | None] = []
    for value in values:
        if value is None or value != value:  # noqa: PLR0124 -- NaN
            tags.append(None)
        elif isinstance(value, str):
            tags.append(_joined_surrogates(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            tags.append(str(value))
        else:
            return None
    return tags


def _quoted_words(text: str) -> list[str | None] | None:
    words = _ONE_WORD.findall(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a backslash that escapes nothing: Python warns, and keeps it
        try:
            # Each word is one string literal, or a bare word for "nothing".
            return [_joined_surrogates(ast.literal_eval(word)) if word[0] in "'\"" else None for word in words]
        except (ValueError, SyntaxError):
            return None


def _joined_surrogates(text: str) -> str:
    # Escapes may spell half a character, which no store can hold.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
