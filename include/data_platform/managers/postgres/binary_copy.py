"""Arrow batches to the bytes of PostgreSQL's binary COPY, without a loop over rows.

Each field is a 4-byte length and its bytes; a tuple is a 2-byte field count and its fields. Both are
laid beside each other by Arrow's own string join, so that the cost is copying memory.
Source of the format: PostgreSQL documentation, COPY, "Binary Format"; the array and jsonb forms are
those of array_send and jsonb_send.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import Connection, sql
from psycopg.abc import Buffer
from psycopg.copy import LibpqWriter
from psycopg.pq.abc import PGconn
from psycopg.waiting import Ready, Wait

from data_platform.errors import StoreError

__all__ = ["PgType", "copy_rows", "encode_tuples"]

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

_TEXT_OID = 25
#: PostgreSQL counts microseconds from 2000-01-01, Arrow from 1970-01-01.
_EPOCH_SHIFT_US = 946_684_800_000_000
_NULL_LENGTH = -1


class PgType(Enum):
    """Types of PostgreSQL that columns are encoded as."""

    TEXT = "text"
    JSON = "json"
    JSONB = "jsonb"
    TEXT_ARRAY = "text[]"
    TIMESTAMPTZ = "timestamptz"
    INTEGER = "integer"
    BIGINT = "bigint"
    BOOLEAN = "boolean"
    UUID = "uuid"


def encode_tuples(columns: Sequence[tuple[pa.Array, PgType]]) -> pa.LargeBinaryArray:
    """Encode columns of equal length as one COPY tuple a row.

    The values buffer of the result, sliced to its rows, is what follows HEADER in a COPY stream.

    Raises:
        ValueError: the columns differ in length.
    """
    lengths = {len(array) for array, _ in columns}
    if len(lengths) != 1:
        raise ValueError(f"columns of a COPY batch differ in length: {sorted(lengths)}")
    count = pa.scalar(len(columns).to_bytes(2, "big"), pa.large_binary())
    parts: list[Any] = [count]
    for array, kind in columns:
        parts += _field(array, kind)
    return pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.large_binary()))


def buffer_of(tuples: pa.LargeBinaryArray) -> memoryview:
    """Return the bytes of all tuples of an array, without copying them."""
    offsets = np.frombuffer(tuples.buffers()[1], dtype=np.int64, count=len(tuples) + 1 + tuples.offset)
    return memoryview(tuples.buffers()[2])[int(offsets[tuples.offset]) : int(offsets[-1])]


def _field(array: pa.Array, kind: PgType) -> list[pa.Array]:
    """Return the arrays of pieces that a field is made of: its length, then its bytes."""
    if kind in _FIXED:
        return _fixed_field(array, kind)
    if kind is PgType.TEXT_ARRAY:
        body = _text_arrays(array)
    else:  # text, json, jsonb and the 16 bytes of a uuid stand as they are
        body = array.cast(pa.large_binary())
        if kind is PgType.JSONB:
            version = pa.scalar(b"\x01", pa.large_binary())
            body = pc.binary_join_element_wise(version, body, pa.scalar(b"", pa.large_binary()))
    sizes = pc.fill_null(pc.binary_length(body), _NULL_LENGTH).cast(pa.int32())
    return [_big_endian(sizes.to_numpy(zero_copy_only=False), ">i4"), pc.fill_null(body, b"")]


def _fixed_field(array: pa.Array, kind: PgType) -> list[pa.Array]:
    dtype, shift = _FIXED[kind]
    if kind is PgType.TIMESTAMPTZ:
        array = array.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    whole = array.cast(pa.int32() if kind is PgType.INTEGER else pa.int64())  # refuses what would wrap round
    values = pc.fill_null(whole, 0).to_numpy(zero_copy_only=False) - shift
    width = np.dtype(dtype).itemsize
    record = np.empty(len(array), dtype=[("size", ">i4"), ("value", dtype)])
    record["size"], record["value"] = width, values
    body = _fixed_to_large_binary(record.tobytes(), 4 + width, len(array))
    if array.null_count:
        null_field = pa.scalar(_NULL_LENGTH.to_bytes(4, "big", signed=True), pa.large_binary())
        body = pc.if_else(array.is_valid(), body, null_field)
    return [body]


def _text_arrays(lists: pa.Array) -> pa.Array:
    """Encode a list<string> array as PostgreSQL text[] values."""
    dims = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    elements = lists.flatten().cast(pa.large_binary())  # without what null lists or a slice leave behind
    sizes = pc.fill_null(pc.binary_length(elements), _NULL_LENGTH).to_numpy(zero_copy_only=False)
    texts = pc.fill_null(elements, b"")
    pieces = pc.binary_join_element_wise(_big_endian(sizes, ">i4"), texts, pa.scalar(b"", pa.large_binary()))
    offsets = np.concatenate(([0], np.cumsum(dims, dtype=np.int32)))
    joined = pc.binary_join(
        pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pieces), pa.scalar(b"", pa.large_binary())
    )
    # An empty array has no dimension at all: ndim 0 and nothing behind the element type.
    head = pa.scalar(_array_head(1), pa.large_binary())
    bound = pa.scalar((1).to_bytes(4, "big"), pa.large_binary())
    full = pc.binary_join_element_wise(head, _big_endian(dims, ">i4"), bound, joined, pa.scalar(b"", pa.large_binary()))
    values = pc.if_else(pa.array(dims == 0), pa.scalar(_array_head(0), pa.large_binary()), full)
    return pc.if_else(lists.is_valid(), values, pa.scalar(None, pa.large_binary()))


def _array_head(dimensions: int) -> bytes:
    has_null = 0  # array_recv looks at the elements and takes no notice of this flag
    return b"".join(n.to_bytes(4, "big") for n in (dimensions, has_null, _TEXT_OID))


def _big_endian(values: np.ndarray[Any, Any], dtype: str) -> pa.Array:
    return _fixed_to_large_binary(values.astype(dtype).tobytes(), np.dtype(dtype).itemsize, len(values))


def _fixed_to_large_binary(data: bytes, width: int, rows: int) -> pa.Array:
    offsets = np.arange(0, (rows + 1) * width, width, dtype=np.int64)
    return pa.Array.from_buffers(pa.large_binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


_FIXED: dict[PgType, tuple[str, int]] = {
    PgType.TIMESTAMPTZ: (">i8", _EPOCH_SHIFT_US),
    PgType.INTEGER: (">i4", 0),
    PgType.BIGINT: (">i8", 0),
    PgType.BOOLEAN: (">i1", 0),
}


class _SteadyWriter(LibpqWriter):
    """Waits until the server has taken what was written: libpq would keep all that is ahead of the server in memory."""

    def write(self, data: Buffer) -> None:
        """Send some bytes of a COPY."""
        super().write(data)
        self.connection.wait(_sent(self.connection.pgconn))


def _sent(connection: PGconn) -> Generator[Wait, Ready | int, None]:
    while connection.flush():
        if (yield Wait.RW) & Ready.R:
            connection.consume_input()


def copy_rows(
    connection: Connection[Any],
    table: str,
    columns: Sequence[tuple[str, PgType]],
    batches: Iterable[Sequence[pa.Array]],
) -> int:
    """Stream batches of arrays into a table.

    Args:
        connection: where; the rows are committed with its transaction.
        table: name of the table.
        columns: name and type of each column that the arrays of a batch stand for, in their order.
        batches: one array a column; batches without rows are passed over.

    Returns:
        The number of rows that PostgreSQL says it took.

    Raises:
        StoreError: the connection does not speak UTF-8.
    """
    target = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns)
    )
    if connection.info.encoding != "utf-8":  # the server would reread our UTF-8 as something else
        raise StoreError(
            f"the session's client_encoding is {connection.info.encoding}", hint="set client_encoding to UTF8"
        )
    kinds = [kind for _, kind in columns]
    with connection.cursor() as cursor:
        with cursor.copy(target, writer=_SteadyWriter(cursor)) as copy:
            copy.write(HEADER)
            for arrays in batches:
                if len(arrays[0]):
                    copy.write(buffer_of(encode_tuples(list(zip(arrays, kinds, strict=True)))))
            copy.write(TRAILER)
        return cursor.rowcount
