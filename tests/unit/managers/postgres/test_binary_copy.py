"""The bytes of a COPY tuple, by hand, and arguments that cannot be encoded."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from data_platform.managers.postgres.binary_copy import PgType, buffer_of, encode_tuples


def encoded(*columns: tuple[pa.Array, PgType]) -> bytes:
    return bytes(buffer_of(encode_tuples(columns)))


def test_one_row_of_the_documented_form() -> None:
    """PostgreSQL documentation, COPY, "Binary Format"."""
    columns = [
        (pa.array(["é"]), PgType.TEXT),
        (pa.array([None], pa.string()), PgType.TEXT),
        (pa.array([258], pa.int32()), PgType.INTEGER),
        (pa.array([datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC)], pa.timestamp("us", tz="UTC")), PgType.TIMESTAMPTZ),
        (pa.array([True]), PgType.BOOLEAN),
        (pa.array(["{}"]), PgType.JSONB),
        (pa.array([["a"]]), PgType.TEXT_ARRAY),
        (pa.array([[]], pa.list_(pa.string())), PgType.TEXT_ARRAY),
    ]
    one_tag = b"\0\0\0\1\0\0\0\0\0\0\0\x19\0\0\0\1\0\0\0\1\0\0\0\1a"
    assert encoded(*columns) == b"".join(
        [
            b"\0\x08",
            b"\0\0\0\2\xc3\xa9",
            b"\xff\xff\xff\xff",
            b"\0\0\0\4\0\0\1\2",
            b"\0\0\0\x08" + (1_000_000).to_bytes(8, "big"),
            b"\0\0\0\1\1",
            b"\0\0\0\3\1{}",
            len(one_tag).to_bytes(4, "big") + one_tag,
            b"\0\0\0\x0c\0\0\0\0\0\0\0\0\0\0\0\x19",
        ]
    )


def test_the_bytes_of_a_slice_are_those_of_its_rows() -> None:
    tuples = encode_tuples([(pa.array(["aa", "b", None]), PgType.TEXT)])
    rows = [bytes(buffer_of(tuples.slice(n, 1))) for n in range(3)]
    assert rows == [b"\0\1\0\0\0\2aa", b"\0\1\0\0\0\1b", b"\0\1\xff\xff\xff\xff"]
    assert bytes(buffer_of(tuples)) == b"".join(rows)


def test_a_number_too_large_for_its_column_is_refused() -> None:
    with pytest.raises(pa.ArrowInvalid, match="2147483648"):
        encoded((pa.array([2**31], pa.int64()), PgType.INTEGER))


def test_columns_of_unequal_length_are_refused() -> None:
    columns = [(pa.array(["a", "b"]), PgType.TEXT), (pa.array(["a"]), PgType.TEXT)]
    with pytest.raises(ValueError, match=r"\[1, 2\]"):
        encode_tuples(columns)
