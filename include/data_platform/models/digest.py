"""One digest of a row's published cells, the same from Arrow and from PostgreSQL.

The canonical bytes of a row are its shape and then its cells in the order of `COLUMNS`. The shape lists the length in
bytes of every cell (for tags their number too; NULL for a null cell) in PostgreSQL's form of an integer array: with the
lengths known, no two different rows share canonical bytes. A text stands as it is, an instant as the 16 hex digits of
its microseconds since 2000-01-01T00:00Z (PostgreSQL's own binary form), tags joined by U+001F (admission takes control
characters out of tags), and the content, by far the longest cell, as its own MD5, so that neither side copies it. The
digest is MD5, which PostgreSQL has built in and which is only asked to tell accidents apart, not attackers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_platform.models.columns import COLUMNS, Column, Kind

__all__ = ["TAG_SEPARATOR", "row_digests", "sql_row_digest"]

TAG_SEPARATOR = "\x1f"
#: Hashed by itself: it makes up nine tenths of a row.
_LONG = "content"
_POSTGRES_EPOCH_US = 946_684_800_000_000
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


def row_digests(batch: pa.RecordBatch, *, leave_out: Collection[str] = ()) -> list[bytes]:
    """Return the 16-byte digest of each row.

    Args:
        batch: the 24 columns in the types of NORMAL_SCHEMA.
        leave_out: names of columns that shall not count.
    """
    lengths: list[pa.Array] = []
    texts: list[pa.Array] = []
    for column in _counted(leave_out):
        array = batch.column(column.name)
        if column.kind is Kind.TAGS:
            lengths.append(pc.list_value_length(array))
        text = _text(array, column)
        lengths.append(pc.binary_length(array if column.name == _LONG else text))
        texts.append(pc.fill_null(text.cast(pa.large_binary()), b""))
    numbers = [pc.fill_null(length.cast(pa.string()), "NULL").cast(pa.large_binary()) for length in lengths]
    shape = pc.binary_join_element_wise(*numbers, _scalar(b","))
    joined = pc.binary_join_element_wise(_scalar(b"{"), shape, _scalar(b"}"), *texts, _scalar(b""))
    md5 = hashlib.md5
    return [md5(cells, usedforsecurity=False).digest() for cells in _slices(joined)]


def sql_row_digest(alias: str = "p", *, leave_out: Collection[str] = ()) -> str:
    """Return the SQL expression (uuid) of a row's digest over a relation with the columns of `news_published`."""
    lengths: list[str] = []
    texts: list[str] = []
    for column in _counted(leave_out):
        name = f"{alias}.{column.name}"
        text = _sql_text(name, column)
        if column.kind is Kind.TAGS:
            lengths.append(f"cardinality({name})")
        if column.kind is Kind.INSTANT:
            lengths.append(f"CASE WHEN {name} IS NOT NULL THEN 16 END")
        else:
            lengths.append(f"octet_length({name if column.name == _LONG else text})")
        texts.append(f"coalesce({text}, '')")
    return f"md5(ARRAY[{', '.join(lengths)}]::text || {' || '.join(texts)})::uuid"


def _counted(leave_out: Collection[str]) -> Iterable[Column]:
    return (column for column in COLUMNS if column.name not in leave_out)


def _text(array: pa.Array, column: Column) -> pa.Array:
    if column.kind is Kind.INSTANT:
        return _hex_instants(array)
    if column.kind is Kind.TAGS:
        return pc.binary_join(array, TAG_SEPARATOR)
    if column.name == _LONG:
        found = [
            hashlib.md5(text, usedforsecurity=False).hexdigest() for text in _slices(array.cast(pa.large_binary()))
        ]
        return pc.if_else(array.is_valid(), pa.array(found, pa.string()), None)
    return array


def _sql_text(name: str, column: Column) -> str:
    if column.kind is Kind.INSTANT:
        zoned = f"({name} AT TIME ZONE 'UTC')" if column.name == "extracted_at" else name
        return f"encode(timestamptz_send({zoned}), 'hex')"
    if column.kind is Kind.TAGS:
        return f"array_to_string({name}, E'\\x1f')"
    return f"md5({name})" if column.name == _LONG else name


def _hex_instants(array: pa.Array) -> pa.Array:
    """Return instants as timestamptz_send writes them, in hex; null stays null."""
    micros = (
        pc.fill_null(array.cast(pa.int64()), _POSTGRES_EPOCH_US).to_numpy(zero_copy_only=False) - _POSTGRES_EPOCH_US
    )
    octets = np.frombuffer(micros.astype(">i8").tobytes(), dtype=np.uint8)
    digits = np.empty((len(octets), 2), dtype=np.uint8)
    digits[:, 0], digits[:, 1] = _HEX[octets >> 4], _HEX[octets & 15]
    offsets = np.arange(0, (len(array) + 1) * 16, 16, dtype=np.int32)
    text = pa.Array.from_buffers(pa.string(), len(array), [None, pa.py_buffer(offsets), pa.py_buffer(digits.tobytes())])
    return pc.if_else(array.is_valid(), text, None)


def _slices(array: pa.Array) -> Iterator[memoryview]:
    """Give the bytes of each value of a large_binary array, without copying them; an empty one for null."""
    if len(array) == 0:
        return
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int64, count=array.offset + len(array) + 1)[
        array.offset :
    ].tolist()
    data = memoryview(array.buffers()[2] or b"")
    for start, end in pairwise(offsets):
        yield data[start:end]


def _scalar(value: bytes) -> Any:  # noqa: ANN401 - pyarrow ships no types
    return pa.scalar(value, pa.large_binary())
