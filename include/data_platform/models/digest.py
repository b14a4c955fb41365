"""One digest of a row's published cells, the same from Arrow and from PostgreSQL.

A row's canonical bytes are its cells in the order of `COLUMNS`. A cell is the length in bytes of its text, a colon
and the text; a null cell is `-:`. Lengths make the form unambiguous: no two different rows share it.
Text stands as it is, an instant as microseconds since 1970-01-01T00:00Z, tags joined by U+001F behind
their number (admission takes control characters out of tags). The digest is MD5, which PostgreSQL has built in and
which is only asked to tell accidents apart, not attackers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_platform.models.columns import COLUMNS, Column, Kind

__all__ = ["TAG_SEPARATOR", "row_digests", "sql_row_digest"]

TAG_SEPARATOR = "\x1f"


def row_digests(batch: pa.RecordBatch, *, leave_out: Collection[str] = ()) -> list[bytes]:
    """Return the 16-byte digest of each row.

    Args:
        batch: the 24 columns in the types of NORMAL_SCHEMA.
        leave_out: names of columns that shall not count.
    """
    pieces: list[pa.Array] = []
    for column in COLUMNS:
        if column.name not in leave_out:
            pieces += _cell(batch.column(column.name), column)
    joined = pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.large_binary()))
    offsets = np.frombuffer(joined.buffers()[1], dtype=np.int64, count=len(joined) + 1).tolist()
    data = memoryview(joined.buffers()[2] or b"")
    md5 = hashlib.md5
    return [
        md5(data[start:end], usedforsecurity=False).digest()
        for start, end in zip(offsets[:-1], offsets[1:], strict=True)
    ]


def sql_row_digest(alias: str = "p", *, leave_out: Collection[str] = ()) -> str:
    """Return the SQL expression (uuid) of a row's digest over a relation with the columns of `news_published`."""
    cells = ", ".join(_sql_cell(f"{alias}.{c.name}", c) for c in COLUMNS if c.name not in leave_out)
    return f"md5(concat({cells}))::uuid"


def _cell(array: pa.Array, column: Column) -> list[pa.Array]:
    if column.kind is Kind.INSTANT:
        text = array.cast(pa.int64()).cast(pa.string())
    elif column.kind is Kind.TAGS:
        count = pc.list_value_length(array).cast(pa.string())
        text = pc.binary_join_element_wise(count, pc.binary_join(array, TAG_SEPARATOR), TAG_SEPARATOR)
    else:
        text = array
    length = pc.fill_null(pc.binary_length(text).cast(pa.string()), "-").cast(pa.large_binary())
    colon = pa.scalar(b":", pa.large_binary())
    return [length, colon, pc.fill_null(text.cast(pa.large_binary()), b"")]


def _sql_cell(name: str, column: Column) -> str:
    if column.kind is Kind.INSTANT:
        # date_part gives a double, which holds microseconds exactly for years 1 to 9999 only after scaling the
        # whole seconds and the fraction apart.
        zoned = f"({name} AT TIME ZONE 'UTC')" if column.name == "extracted_at" else name
        text = f"((extract(epoch FROM {zoned}) * 1000000)::bigint)::text"
    elif column.kind is Kind.TAGS:
        text = f"cardinality({name}) || E'\\x1f' || array_to_string({name}, E'\\x1f')"
    else:
        text = name
    return f"coalesce(octet_length({text})::text, '-'), ':', {text}"
