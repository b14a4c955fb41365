"""Vectors from the words of texts, by hashing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

__all__ = ["embed"]

_DECIMALS = 6  # keeps the JSON short


def embed(texts: Sequence[str], *, model: str, dimension: int) -> npt.NDArray[np.float64]:
    """Return a vector of length 1 per text, an array of (texts, dimension); a text without words gets zeros."""
    made = np.zeros((len(texts), dimension))
    for row, text in zip(made, texts, strict=True):
        for word in text.lower().split():
            at, sign = _place(word, model, dimension)
            row[at] += sign
    lengths = np.linalg.norm(made, axis=1, keepdims=True)
    np.divide(made, lengths, out=made, where=lengths > 0)
    return made.round(_DECIMALS)


@lru_cache(maxsize=200_000)
def _place(word: str, model: str, dimension: int) -> tuple[int, float]:
    number = int.from_bytes(blake2b(f"{model} {word}".encode(), digest_size=8).digest(), "little")
    return (number >> 1) % dimension, 1.0 if number & 1 else -1.0
