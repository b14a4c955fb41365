"""Rows of a query as Arrow batches, by PostgreSQL's binary COPY: the mirror of `binary_copy`.

The fields of a row follow each other, so where one begins depends on the lengths before it. That is walked column by
column for all rows at once; the only loop is over columns, and over the places in a list.
Source of the format: PostgreSQL documentation, COPY, "Binary Format"; the array form is that of array_send.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from psycopg import ClientCursor, Connection
from psycopg.abc import Buffer

from data_platform.errors import StoreError

__all__ = ["read_query"]

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_TRAILER = b"\xff\xff"
#: A batch ends here even if it could take more rows: ten times this is what decoding a batch may cost.
_BATCH_BYTES = 16 * 1024 * 1024
#: What is read for a null at the end of the data lies behind it, and is thrown away.
_PADDING = bytes(16)
#: PostgreSQL counts microseconds and days from 2000-01-01, Arrow from 1970-01-01.
_EPOCH_SHIFT = {"us": 946_684_800_000_000, "day": 10_957}
_INFINITIES = (np.iinfo(np.int64).min, np.iinfo(np.int64).max)
_TEXT_OIDS = (25, 1043)  # text and varchar
#: Bytes from the start of an array's value to its element type, its length, its first element.
_ELEMENT_TYPE, _LENGTH, _ELEMENTS = 8, 12, 20

Octets = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class _InfiniteError(ValueError):
    """A timestamp is infinite.

    Attributes:
        row: the place of the first such row in its batch.
    """

    def __init__(self, row: int) -> None:
        super().__init__("it holds an infinite timestamp")
        self.row = row


def read_query(
    connection: Connection[Any],
    query: str,
    params: Mapping[str, Any] | Sequence[Any] | None,
    schema: pa.Schema,
    *,
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    """Read the rows of a query, in its order.

    It is one statement with one snapshot, and runs until the last batch was taken or the iterator is closed: whoever
    works slowly between batches holds a transaction open and takes a page at a time (LIMIT) into a list.

    Args:
        connection: where; in autocommit mode the statement is a transaction of its own.
        query: a SELECT, perhaps with WITH, without a semicolon.
        params: its values, bound by the client, since COPY takes none.
        schema: the columns of the query in their order, of the types string (text, varchar), list<string> (text[]),
            timestamp[us] with any zone (timestamptz; also timestamp, if it means UTC), int64 (bigint, xid8), int32
            (integer), bool (boolean) and date32 (date).
        batch_rows: the most rows of a batch; large rows make smaller batches.

    Yields:
        Batches of `schema`, none of them empty.

    Raises:
        StoreError: the query gives other columns than `schema`, a timestamp is infinite (the error names the row by its
            first text before it), an array has more than one dimension, or the session does not speak UTF-8.
        ValueError: `batch_rows` is not positive.
    """
    if batch_rows < 1:
        raise ValueError(f"batch_rows must be at least 1, not {batch_rows}")
    if connection.info.encoding != "utf-8":  # texts come in the session's encoding, Arrow holds UTF-8
        raise StoreError(
            f"the session's client_encoding is {connection.info.encoding}", hint="set client_encoding to UTF8"
        )
    rows: list[bytes] = []
    size = 0
    statement = f"COPY (\n{query}\n) TO STDOUT (FORMAT BINARY)"
    with ClientCursor(connection) as cursor, cursor.copy(statement, params) as copy:
        for message in _without_header(iter(copy)):
            rows.append(message)
            size += len(message)
            if len(rows) >= batch_rows or size >= _BATCH_BYTES:
                yield _decode(rows, schema)
                rows, size = [], 0
    if rows:
        yield _decode(rows, schema)


def _without_header(messages: Iterator[Buffer]) -> Iterator[bytes]:
    """Give the bytes of each row; the server sends a message a row, the header before or with the first."""
    first = bytes(next(messages, b""))
    if not first.startswith(_SIGNATURE):
        raise StoreError("the server's answer is no binary COPY", hint="check for a proxy in between")
    extension = len(_SIGNATURE) + 4
    rest = first[extension + 4 + int.from_bytes(first[extension : extension + 4], "big") :]
    if rest and rest != _TRAILER:
        yield rest
    yield from (bytes(message) for message in messages if message != _TRAILER)


def _decode(rows: list[bytes], schema: pa.Schema) -> pa.RecordBatch:
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    data = b"".join((*rows, _PADDING))
    octets = np.frombuffer(data, dtype=np.uint8)
    ends = np.cumsum(lengths)
    at = ends - lengths
    fields = _integers(octets, at, ">i2")
    if (fields != len(schema)).any():
        raise StoreError(f"a query gave {fields[0]} columns where {len(schema)} were expected")
    at = at + 2
    arrays = []
    for field in schema:
        sizes = _integers(octets, at, ">i4")
        at = at + 4
        try:
            arrays.append(_column(data, octets, at, sizes, field.type))
        except _InfiniteError as error:
            raise StoreError(
                f"column {field.name} cannot be read: {error}{_named_row(schema, arrays, error.row)}",
                hint=f"give it a real one by UPDATE, and all others WHERE NOT isfinite({field.name});"
                " nothing behind it is read before",
            ) from error
        except ValueError as error:
            raise StoreError(f"column {field.name} cannot be read: {error}") from error
        at = at + np.maximum(sizes, 0)
    if (at != ends).any():
        raise StoreError("the rows of a binary COPY do not end where their fields do")
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _named_row(schema: pa.Schema, arrays: Sequence[pa.Array], row: int) -> str:
    """Say which row it is, by the first text of it among the columns that were read."""
    for field, array in zip(schema, arrays, strict=False):
        if pa.types.is_string(field.type):
            return f", in the row whose {field.name} is {array[row].as_py()!r}"
    return ""


def _column(data: bytes, octets: Octets, at: Integers, sizes: Integers, kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        return _texts(data, at, sizes)
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        return _text_lists(data, octets, at, sizes)
    known = [(dtype, shift) for check, dtype, shift in _FIXED if check(kind)]
    if not known or (pa.types.is_timestamp(kind) and kind.unit != "us"):
        raise ValueError(f"there is no reading of {kind}")
    dtype, shift = known[0]
    valid = sizes >= 0
    if (sizes[valid] != np.dtype(dtype).itemsize).any():
        raise ValueError(f"its fields are not the {np.dtype(dtype).itemsize} bytes of {kind}")
    values = _integers(octets, at, dtype)
    if pa.types.is_timestamp(kind) and (infinite := np.isin(values, _INFINITIES) & valid).any():
        raise _InfiniteError(int(infinite.argmax()))
    values = np.where(valid, values, 0) + shift
    if pa.types.is_date(kind):
        values = values.astype(np.int32)
    return pa.array(values, mask=~valid).cast(kind)


def _texts(data: bytes, at: Integers, sizes: Integers) -> pa.Array:
    """Return the texts that begin at `at`, in ascending order; a negative size is a null."""
    if not len(at):
        return pa.array([], pa.string())
    # Over the data as it is, every other string is a text, and what lies between two texts is the string between them.
    bounds = np.empty(2 * len(at), dtype=np.int32)  # a row of PostgreSQL has less than 1 GiB, a batch not much more
    bounds[0::2], bounds[1::2] = at, at + np.maximum(sizes, 0)
    both = pa.Array.from_buffers(pa.string(), len(bounds) - 1, [None, pa.py_buffer(bounds), pa.py_buffer(data)])
    return both.take(pa.array(np.arange(0, len(bounds), 2), mask=sizes < 0))


def _text_lists(data: bytes, octets: Octets, at: Integers, sizes: Integers) -> pa.Array:
    valid = sizes >= 0
    dimensions = np.where(valid, _integers(octets, at, ">i4"), 0)
    if (dimensions > 1).any():
        raise ValueError("it holds an array of more than one dimension")
    if not np.isin(_integers(octets, at + _ELEMENT_TYPE, ">i4")[valid], _TEXT_OIDS).all():
        raise ValueError("its arrays are not of texts")
    lengths = np.where(dimensions == 1, _integers(octets, at + _LENGTH, ">i4"), 0)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    starts, widths = np.empty(offsets[-1], dtype=np.int64), np.empty(offsets[-1], dtype=np.int64)
    at = at + _ELEMENTS
    left = np.arange(len(at))
    for place in count():  # each element's place depends on the lengths before it
        left = left[lengths[left] > place]
        if not len(left):
            break
        found = _integers(octets, at[left], ">i4")
        starts[offsets[left] + place], widths[offsets[left] + place] = at[left] + 4, found
        at[left] += 4 + np.maximum(found, 0)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), _texts(data, starts, widths), mask=pa.array(~valid))


def _integers(octets: Octets, at: Integers, dtype: str) -> Integers:
    """Return the big-endian numbers that begin at `at`."""
    width = np.dtype(dtype).itemsize
    numbers: Integers = octets[at[:, np.newaxis] + np.arange(width)].view(dtype)[:, 0].astype(np.int64)
    return numbers


_FIXED = (
    (pa.types.is_timestamp, ">i8", _EPOCH_SHIFT["us"]),
    (pa.types.is_date32, ">i4", _EPOCH_SHIFT["day"]),
    (pa.types.is_int64, ">i8", 0),
    (pa.types.is_int32, ">i4", 0),
    (pa.types.is_boolean, ">i1", 0),
)
