"""Digests of rows: the written form, and that different rows do not share it. Against SQL: tests/integration."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from data_platform.models.columns import COLUMN_NAMES, COLUMNS, Kind
from data_platform.models.digest import TAG_SEPARATOR, row_digests, sql_row_digest
from tests.support.rows import PUBLISHED, article, batch_of, rows, sliced


def written(row: dict[str, Any]) -> bytes:
    """Return a row's canonical bytes as the module's first lines describe them."""
    lengths: list[int | None] = []
    texts: list[bytes] = []
    for column in COLUMNS:
        value = row[column.name]
        if column.kind is Kind.TAGS:
            lengths.append(None if value is None else len(value))
        if value is None:
            text = None
        elif column.kind is Kind.INSTANT:
            since = value - datetime(2000, 1, 1, tzinfo=UTC)
            micros = (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds
            text = micros.to_bytes(8, signed=True).hex().encode()
        else:
            text = TAG_SEPARATOR.join(value).encode() if column.kind is Kind.TAGS else value.encode()
        lengths.append(None if text is None else len(text))
        texts.append(md5(text).hex().encode() if text is not None and column.name == "content" else text or b"")
    shape = ",".join("NULL" if length is None else str(length) for length in lengths)
    return b"{" + shape.encode() + b"}" + b"".join(texts)


def md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


@settings(max_examples=40, deadline=None)
@given(rows())
def test_a_digest_is_that_of_the_bytes_described(batch: pa.RecordBatch) -> None:
    assert row_digests(batch) == [md5(written(row)) for row in batch.to_pylist()]


@settings(max_examples=40, deadline=None)
@given(rows(max_size=3), rows(max_size=3))
def test_different_rows_have_different_bytes(one: pa.RecordBatch, other: pa.RecordBatch) -> None:
    for a in one.to_pylist():
        for b in other.to_pylist():
            assert (written(a) == written(b)) == (a == b)


_short = st.none() | st.text("0-:1\u00e9", max_size=4)


@settings(max_examples=60, deadline=None)
@given(*[st.lists(_short, min_size=3, max_size=3)] * 2)
def test_text_moved_from_one_cell_to_the_next_is_another_row(one: list[str | None], other: list[str | None]) -> None:
    """Texts made of the form's own marks cannot imitate it."""
    assume(one != other)
    names = ("subtitle", "editorial_lead", "url")
    a, b = (article() | dict(zip(names, cells, strict=True)) for cells in (one, other))
    digests = row_digests(batch_of([a, b]))
    assert digests[0] != digests[1]


_lists = st.none() | st.lists(st.text("1\u00e9 ,", max_size=2), max_size=3)


@settings(max_examples=60, deadline=None)
@given(_lists, _lists)
def test_other_tags_are_another_row(one: list[str] | None, other: list[str] | None) -> None:
    assume(one != other)
    digests = row_digests(batch_of([article(tags=one), article(tags=other)]))
    assert digests[0] != digests[1]


@pytest.mark.parametrize("column", [c.name for c in COLUMNS])
def test_every_column_counts_unless_it_is_left_out(column: str) -> None:
    later = PUBLISHED.replace(microsecond=1)
    changed: dict[Kind, Any] = {Kind.TEXT: "outro", Kind.TAGS: ["x"], Kind.INSTANT: later}
    kind = next(c.kind for c in COLUMNS if c.name == column)
    batch = batch_of([article(), article() | {column: changed[kind]}, article() | {column: None}])
    first, second, third = row_digests(batch)
    assert first != second != third
    assert len(set(row_digests(batch, leave_out={column}))) == 1


def test_planted_differences_of_one_step_are_seen() -> None:
    base = article(content="abc", tags=["a", "b"], extracted_at=PUBLISHED)
    others = [
        {"content": "abd"},
        {"content": "abc "},
        {"content": ""},
        {"content": None},
        {"tags": ["a,b"]},
        {"tags": ["b", "a"]},
        {"tags": []},
        {"tags": [""]},
        {"tags": ["", ""]},
        {"tags": None},
        {"extracted_at": PUBLISHED.replace(microsecond=1)},
    ]
    digests = row_digests(batch_of([base, *(base | other for other in others)]))
    assert len(set(digests)) == len(digests)


def test_no_rows_have_no_digests() -> None:
    assert row_digests(batch_of([])) == []
    assert row_digests(sliced(batch_of([]))) == []


def test_columns_may_come_in_any_order() -> None:
    batch = batch_of([article(content="x")])
    assert row_digests(batch.select(list(reversed(COLUMN_NAMES)))) == row_digests(batch)


def test_the_sql_names_every_column_once_in_order() -> None:
    expression = sql_row_digest("alias")
    places = [expression.index(f"alias.{name}") for name in COLUMN_NAMES]
    assert places == sorted(places)
    assert "alias.extracted_at" not in sql_row_digest("alias", leave_out={"extracted_at"})
