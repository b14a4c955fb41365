"""How Typesense's stand-in takes text apart."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

__all__ = ["words"]

_LONG = 300


def words(text: str) -> tuple[str, ...]:
    """Return a text's words as the default settings index them: no accents, small letters, no special characters.

    Only white space divides words: `pós-graduação` is the one word `posgraduacao`.
    """
    return _short(text) if len(text) <= _LONG else _words(text)


def _words(text: str) -> tuple[str, ...]:
    plain = text if text.isascii() else unicodedata.normalize("NFKD", text)
    kept = ("".join(filter(str.isalnum, word)) for word in plain.lower().split())
    return tuple(filter(None, kept))


_short = lru_cache(maxsize=50_000)(_words)  # agencies, codes and ids come again and again
