"""Vectors without any service or model: the words of a text, hashed to places.

A stand-in for the real thing, and it says so (`approximate`): texts are near each other if they share words, whatever
these mean. A word is what stands between white space, its letters and digits alone, in lower case and without accents.
Each adds +1 or −1 at eight places of the vector that its BLAKE2b hash says (Weinberger et al., Feature Hashing for
Large Scale Multitask Learning, 2009); the vector is brought to length 1. The same text has the same vector everywhere
and always.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from hashlib import blake2b
from threading import Lock

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_platform.errors import ConfigurationError
from data_platform.managers.embeddings.interface import Embedded, Vectors

__all__ = ["HashingEmbedder"]

#: Places of a word.
_PLACES = 8
#: Words whose places are kept: 7 MB.
_MOST_WORDS = 200_000
#: The sign takes one of the hash's 16 bits.
_MOST_DIMENSION = 1 << 15
#: Of a word that is decomposed: what is neither letter nor digit, such as an accent.
_BESIDE = re.compile(r"[\W_]+")
#: Stands for a text without any word, which would have no direction; no word is like it.
_NOTHING = " "


class HashingEmbedder:
    """Hashes words.

    Args:
        dimension: numbers of a vector.

    Raises:
        ConfigurationError: no vector can be that long.
    """

    approximate = True
    is_local = True

    def __init__(self, dimension: int = 768) -> None:
        if not 1 <= dimension <= _MOST_DIMENSION:
            raise ConfigurationError(
                f"EMBEDDINGS_DIMENSION is {dimension}", hint=f"words are hashed to 1 to {_MOST_DIMENSION} places"
            )
        self.dimension = dimension
        self.model = "hashing-1"
        self._lock = Lock()
        self._row_of: dict[str, int] = {}
        self._places = np.empty((_MOST_WORDS, _PLACES), np.int32)
        self._signs = np.empty((_MOST_WORDS, _PLACES), np.int8)

    def close(self) -> None:
        """Nothing is held open."""

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embed texts; none is refused."""
        if not texts:
            return Embedded(np.zeros((0, self.dimension), np.float32))
        words = pc.utf8_split_whitespace(pc.utf8_lower(pa.array(texts)))
        named = words.flatten().dictionary_encode()
        places, signs = self._looked_up(named.dictionary.to_pylist())
        text_of = np.repeat(np.arange(len(texts)), pc.list_value_length(words).to_numpy())
        which = named.indices.to_numpy()
        # One look-up table: text x place, flat.
        flat = (text_of * self.dimension)[:, None] + places[which]
        sums = np.bincount(flat.ravel(), weights=signs[which].ravel(), minlength=len(texts) * self.dimension)
        vectors = sums.astype(np.float32).reshape(len(texts), self.dimension)
        return Embedded(self._of_length_1(vectors))

    def _of_length_1(self, vectors: Vectors) -> Vectors:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not lengths.all():
            places, signs = self._looked_up([_NOTHING])
            nowhere = np.bincount(places[0], weights=signs[0], minlength=self.dimension).astype(np.float32)
            if not nowhere.any():  # so few places that the signs cancel each other
                nowhere[0] = 1.0
            vectors[lengths[:, 0] == 0] = nowhere
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= lengths
        return vectors

    def _looked_up(self, words: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]:
        """Return places and signs, each (words, places of a word); a copy, since the tables may be begun anew."""
        if len(words) > _MOST_WORDS:
            return self._hashed(words)
        with self._lock:
            if len(self._row_of) + len(words) > _MOST_WORDS:
                self._row_of.clear()
            if new := [word for word in words if word not in self._row_of]:
                first = len(self._row_of)
                rows = range(first, first + len(new))
                self._row_of.update(zip(new, rows, strict=True))
                self._places[first : rows.stop], self._signs[first : rows.stop] = self._hashed(new)
            found = np.fromiter(map(self._row_of.__getitem__, words), np.int64, len(words))
            return self._places[found], self._signs[found]

    def _hashed(self, words: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]:
        plain = [_NOTHING if word == _NOTHING else _plain(word) for word in words]
        hashed = np.frombuffer(b"".join(map(_hash, plain)), "<u2").reshape(-1, _PLACES)
        # A word without letters and digits, such as a dash, adds nothing.
        adds = np.fromiter(map(bool, plain), np.int8, len(plain))
        signs = np.where(hashed & 1, adds[:, None], -adds[:, None])
        return ((hashed >> 1) % self.dimension).astype(np.int32), signs


def _plain(word: str) -> str:
    return _BESIDE.sub("", unicodedata.normalize("NFKD", word)).casefold()


def _hash(word: str) -> bytes:
    return blake2b(word.encode(), digest_size=2 * _PLACES).digest()
