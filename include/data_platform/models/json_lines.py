"""Rows of Arrow columns as JSON lines, a batch at a time: what search services import.

Encoding row by row in Python would take longer than everything else of a rebuild. Here each line is joined by Arrow,
with two control characters in the place of the structure's own quotation marks and line ends; what the texts hold is
then escaped in the whole batch at once, and the two become what they stand for. Texts that hold a control character
other than tab and line ends (hardly any does) go the slow way, which says the same.
"""

from __future__ import annotations

import json
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["json_lines"]

_QUOTE, _END = "\x02", "\x03"
#: Backslash first: the others bring new ones in.
_ESCAPES = ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"\t", b"\\t"))
_FIRST_PRINTABLE = 0x20

#: What a line is joined from: the same for each row, or one a row.
Part: TypeAlias = "pa.Array | pa.Scalar"


def json_lines(rows: pa.RecordBatch) -> bytes:
    """Return rows as JSON objects in UTF-8, one a line, without a line end after the last one.

    Args:
        rows: columns of strings, integers and lists of strings (none of them null), at least one column. A null is
            written as `null`, and so is an empty list. The lines together must be less than 2 GB.
    """
    if not rows.num_rows:
        return b""
    parts: list[Part] = [pa.scalar("{")]
    for number, name in enumerate(rows.schema.names):
        parts += _parts(rows.column(number), f"{',' if number else ''}{_QUOTE}{name}{_QUOTE}:")
    parts.append(pa.scalar(f"}}{_END}"))
    joined = pc.binary_join_element_wise(*parts, "", null_handling="replace", null_replacement="")
    text = _data_of(joined)
    for plain, escaped in _ESCAPES:
        text = text.replace(plain, escaped)
    if np.count_nonzero(np.frombuffer(text, np.uint8) < _FIRST_PRINTABLE) != _marks(rows):
        return _one_by_one(rows)
    return text.replace(_QUOTE.encode(), b'"').replace(_END.encode(), b"\n")[:-1]


def _parts(column: pa.Array, key: str) -> list[Part]:
    """Return what a column adds to each line."""
    before, after = key, ""
    if pa.types.is_list(column.type):
        column = _emptied(column)
        before, after = f"{key}[{_QUOTE}", f"{_QUOTE}]"
        values = pc.binary_join(column, f"{_QUOTE},{_QUOTE}")
    elif pa.types.is_integer(column.type):
        values = column.cast(pa.string())
    else:
        before, after = f"{key}{_QUOTE}", _QUOTE
        values = column
    if column.null_count == len(column):
        return [pa.scalar(f"{key}null")]
    if not column.null_count:
        return [pa.scalar(before), values, *([pa.scalar(after)] if after else [])]
    there = column.is_valid()
    return [pc.if_else(there, before, f"{key}null"), values, *([pc.if_else(there, after, "")] if after else [])]


def _emptied(lists: pa.Array) -> pa.Array:
    """Return lists with null in the place of empty ones."""
    return pc.if_else(pc.equal(pc.list_value_length(lists), 0), pa.scalar(None, lists.type), lists)


def _marks(rows: pa.RecordBatch) -> int:
    """Return how many control characters the lines have of our own."""
    marks: int = rows.num_rows * (1 + 2 * rows.num_columns)
    for column in rows.columns:
        if pa.types.is_list(column.type):
            marks += 2 * (pc.sum(pc.list_value_length(column)).as_py() or 0)
        elif not pa.types.is_integer(column.type):
            marks += 2 * (len(column) - column.null_count)
    return marks


def _data_of(texts: pa.Array) -> bytes:
    """Return all texts of an array that was just made, one after the other."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return bytes(memoryview(texts.buffers()[2])[int(offsets[0]) : int(offsets[-1])])


def _one_by_one(rows: pa.RecordBatch) -> bytes:
    lines = [
        json.dumps({name: None if value == [] else value for name, value in row.items()}, ensure_ascii=False)
        for row in rows.to_pylist()
    ]
    return "\n".join(lines).encode()
