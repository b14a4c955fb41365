"""What a row is in Qdrant: id, payload, and how points are written as JSON.

The payload is a pure function of the row and of the model of its vector, so that two points can be compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_platform.managers.embeddings.interface import Vectors
from data_platform.models.days import SAO_PAULO_NAME

__all__ = ["PAYLOAD_INDEXES", "payloads_of", "point_id", "points_body", "unit_vectors"]

#: The version-5 UUIDs of unique_ids are made in this namespace, which is this project's own.
_NAMESPACE = UUID("6d0b7c1e-3f53-5c0e-9a51-0f6f0a0f7a55")
#: Fields that searches filter by, and how each is indexed.
PAYLOAD_INDEXES: Mapping[str, str] = {
    "unique_id": "keyword",
    "agency": "keyword",
    "published_at": "datetime",
    "published_year": "integer",
    "published_month": "integer",
    "category": "keyword",
    "tags": "keyword",
    "theme_1_level_1_code": "keyword",
    "theme_1_level_2_code": "keyword",
    "theme_1_level_3_code": "keyword",
    "most_specific_theme_code": "keyword",
}
_AS_THEY_ARE = ("unique_id", "agency", "title", "url", "category")
_CODE_OF_TEXT = r"^(?P<code>\d\d) - "

#: A number between −1 and 1 as text of fixed length: `,-0.` and eight decimals, four at a time from a table.
_DECIMALS, _HALF = 100_000_000, 10_000
_BEGINNINGS = np.frombuffer(b", 0.,-0., 1.,-1.", "<u4")
#: Vectors that are worked on at once: what they need stays in the processor's cache.
_IN_CACHE = 16
_FOUR_DIGITS = np.frombuffer("".join(f"{number:04d}" for number in range(_HALF)).encode(), "<u4")


def point_id(unique_id: str) -> str:
    """Return the id of a row's point, a UUID: Qdrant takes no others but whole numbers."""
    return str(uuid5(_NAMESPACE, unique_id))


def payloads_of(rows: pa.RecordBatch, hashes: Sequence[str], model: str) -> list[dict[str, Any]]:
    """Return the payload of each row; what a row does not have is left out.

    Args:
        rows: the 24 columns in the types of `NORMAL_SCHEMA`.
        hashes: what each row's embedded text is known by (`text_hashes`).
        model: of the vectors.
    """
    published = rows.column("published_at")
    local = pc.local_timestamp(published.cast(pa.timestamp("us", tz=SAO_PAULO_NAME)))
    level_1, level_2, level_3 = _codes(rows)
    most = pc.coalesce(rows.column("most_specific_theme_code"), level_3, level_2, level_1)
    fields: dict[str, Any] = {name: rows.column(name).to_pylist() for name in _AS_THEY_ARE}
    fields |= {
        "published_at": pc.strftime(published, "%Y-%m-%dT%H:%M:%SZ").to_pylist(),  # %S has the microseconds
        "published_year": pc.year(local).to_pylist(),
        "published_month": pc.month(local).to_pylist(),
        "tags": [[tag for tag in tags or () if tag] or None for tags in rows.column("tags").to_pylist()],
        "theme_1_level_1_code": level_1.to_pylist(),
        "theme_1_level_2_code": level_2.to_pylist(),
        "theme_1_level_3_code": level_3.to_pylist(),
        "most_specific_theme_code": most.to_pylist(),
        "text_hash": hashes,
        "embedding_model": [model] * rows.num_rows,
    }
    names = tuple(fields)
    return [
        {name: value for name, value in zip(names, values, strict=True) if value is not None}
        for values in zip(*fields.values(), strict=True)
    ]


def _codes(rows: pa.RecordBatch) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return the codes of the three levels; that of the first is in its text where the code's own cell is empty."""
    one, two, three = (rows.column(f"theme_1_level_{level}_code") for level in (1, 2, 3))
    in_text = pc.struct_field(pc.extract_regex(rows.column("theme_1_level_1"), _CODE_OF_TEXT), "code")
    return pc.coalesce(one, in_text), two, three


def unit_vectors(vectors: npt.NDArray[Any]) -> Vectors:
    """Return vectors at length 1, as Qdrant itself keeps them where distance is the cosine; none may be zero."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    made: Vectors = (vectors / lengths).astype(np.float32)
    return made


def points_body(ids: Sequence[str], payloads: Sequence[Mapping[str, Any]], vectors: Vectors) -> bytes:
    """Return points as the JSON of a request that inserts or replaces them (docs/decisions/0015).

    Args:
        ids: of the points.
        payloads: of the points.
        vectors: float32 (points, dimension), of length 1. They are written with eight decimals, as precise as float32
            is for numbers of 0.1 and above, and within 5e-9 for all.
    """
    texts = _numbers(vectors)
    parts: list[bytes] = []
    for at, (uid, payload) in enumerate(zip(ids, payloads, strict=True)):
        told = json.dumps(payload, ensure_ascii=False)
        parts += (f'{"," if at else ""}{{"id":"{uid}","payload":{told},"vector":['.encode(), texts[at], b"]}")
    return b"".join((b'{"points":[', *parts, b"]}"))


def _numbers(vectors: Vectors) -> list[bytes]:
    """Return the numbers of each vector as text, with commas between them."""
    texts: list[bytes] = []
    for first in range(0, len(vectors), _IN_CACHE):
        whole = np.rint(vectors[first : first + _IN_CACHE] * np.float64(_DECIMALS)).astype(np.int32)
        size = np.abs(whole)
        words = np.empty((*whole.shape, 3), "<u4")
        words[..., 0] = _BEGINNINGS[(whole < 0) + 2 * (size >= _DECIMALS)]
        upper = size // _HALF
        words[..., 1] = _FOUR_DIGITS[upper % _HALF]
        words[..., 2] = _FOUR_DIGITS[size - upper * _HALF]
        texts += (row.tobytes()[1:] for row in words)  # the first number has no comma before it
    return texts
