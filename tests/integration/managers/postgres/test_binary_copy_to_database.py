"""COPY BINARY: rows of every type go into a real table and come back equal."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.errors import StoreError
from data_platform.managers.postgres.binary_copy import PgType, copy_rows
from dev.embedded_postgres import EmbeddedPostgres
from tests.support.databases import shared_database
from tests.support.rows import instants, texts

#: One column of each type; "n" is the row's number.
COLUMNS = (
    ("n", PgType.INTEGER),
    ("text", PgType.TEXT),
    ("json", PgType.JSON),
    ("jsonb", PgType.JSONB),
    ("texts", PgType.TEXT_ARRAY),
    ("instant", PgType.TIMESTAMPTZ),
    ("integer", PgType.INTEGER),
    ("bigint", PgType.BIGINT),
    ("boolean", PgType.BOOLEAN),
    ("uuid", PgType.UUID),
)
SCHEMA = pa.schema(
    [
        ("n", pa.int32()),
        ("text", pa.string()),
        ("json", pa.string()),
        ("jsonb", pa.string()),
        ("texts", pa.list_(pa.string())),
        ("instant", pa.timestamp("us", tz="UTC")),
        ("integer", pa.int32()),
        ("bigint", pa.int64()),
        ("boolean", pa.bool_()),
        ("uuid", pa.binary()),
    ]
)
Row = tuple[Any, ...]

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
).map(json.dumps)
_cells: dict[str, st.SearchStrategy[Any]] = {
    "text": texts,
    "json": _json,
    "jsonb": _json,
    "texts": st.lists(st.none() | texts, max_size=4),
    "instant": instants,
    "integer": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "uuid": st.uuids().map(lambda value: value.bytes),
}
_rows = st.fixed_dictionaries({name: st.none() | cell for name, cell in _cells.items()})


@pytest.fixture(scope="module")
def connection(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with shared_database(postgres, schema=False) as url, psycopg.connect(url) as opened:
        columns = ", ".join(f'"{name}" {kind.value}' for name, kind in COLUMNS)
        opened.execute(f"CREATE TABLE everything ({columns})")
        opened.commit()
        yield opened
        opened.rollback()


def batch_of(rows: list[dict[str, Any]], first: int = 0) -> pa.RecordBatch:
    numbered = [{"n": first + n} | row for n, row in enumerate(rows)]
    return pa.RecordBatch.from_pylist([dict.fromkeys(SCHEMA.names) | row for row in numbered], schema=SCHEMA)


def expected(batch: pa.RecordBatch) -> list[Row]:
    """Return rows as psycopg gives them; json as the very text, jsonb by its meaning."""
    rows = []
    for row in batch.to_pylist():
        row["jsonb"] = None if row["jsonb"] is None else json.loads(row["jsonb"])
        row["uuid"] = None if row["uuid"] is None else uuid.UUID(bytes=row["uuid"])
        rows.append(tuple(row.values()))
    return rows


def through(connection: psycopg.Connection, *batches: pa.RecordBatch) -> tuple[int, list[Row]]:
    """Copy batches into the table; return the count that COPY gave and what the table then holds."""
    names = ", ".join('"json"::text' if name == "json" else f'"{name}"' for name, _ in COLUMNS)
    with connection.transaction(force_rollback=True):
        count = copy_rows(connection, "everything", COLUMNS, [batch.columns for batch in batches])
        return count, connection.execute(f"SELECT {names} FROM everything ORDER BY n").fetchall()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(_rows, max_size=4), max_size=3), st.integers(0, 2), st.integers(0, 2))
def test_rows_come_back_as_they_went(
    connection: psycopg.Connection, drawn: list[list[dict[str, Any]]], before: int, behind: int
) -> None:
    """Fault 18: the count is PostgreSQL's, over all batches."""
    batches, wanted = [], []
    for number, rows in enumerate(drawn):
        whole = batch_of(rows, first=10 * number)
        part = whole.slice(before, max(0, len(rows) - before - behind))  # arrays that do not begin at offset 0
        batches.append(part)
        wanted += expected(part)
    assert through(connection, *batches) == (len(wanted), wanted)


def test_columns_of_nulls_only(connection: psycopg.Connection) -> None:
    batch = batch_of([{}, {}, {}])
    assert through(connection, batch, batch.slice(1)) == (5, sorted(expected(batch) + expected(batch.slice(1))))


def test_nothing_to_copy(connection: psycopg.Connection) -> None:
    empty = batch_of([])
    assert through(connection) == (0, [])
    assert through(connection, empty, empty) == (0, [])
    assert through(connection, empty, batch_of([{"text": "a"}]), empty)[0] == 1


def test_awkward_lists(connection: psycopg.Connection) -> None:
    lists = [[], [""], [None], [None, None], ["", None, ""], ["NULL", "a,b", '"', "{}", "\\", "x" * 100_000], None]
    batch = batch_of([{"texts": given_} for given_ in lists])
    for part in (batch, batch.slice(2), batch.slice(3, 2), batch.slice(6)):
        assert [row[4] for row in through(connection, part)[1]] == part.column("texts").to_pylist()


def test_what_a_null_hides_is_not_sent(connection: psycopg.Connection) -> None:
    """A null cell may have bytes behind it in Arrow's buffers."""
    hidden = pa.ListArray.from_arrays(
        pa.array([0, 2, 3], pa.int32()), pa.array(["a", "b", "c"]), mask=pa.array([True, False])
    )
    batch = batch_of([{}, {}])
    text = pa.StringArray.from_buffers(
        2, pa.array(["secret", "x"]).buffers()[1], pa.array(["secret", "x"]).buffers()[2], pa.py_buffer(b"\x02"), 1
    )
    batch = batch.set_column(4, "texts", hidden).set_column(1, "text", text)
    assert [(row[1], row[4]) for row in through(connection, batch)[1]] == [(None, None), ("x", ["c"])]


def test_a_large_text(connection: psycopg.Connection) -> None:
    large = "ação " * 500_000
    assert through(connection, batch_of([{"text": large, "json": json.dumps(large)}]))[1][0][1] == large


def test_instants_at_the_ends_of_time(connection: psycopg.Connection) -> None:
    ends = [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ]
    micros = pa.array(ends, pa.timestamp("us", tz="-03:00"))
    batch = batch_of([{} for _ in ends]).set_column(5, "instant", micros)
    query = 'SELECT (extract(epoch FROM "instant") * 1000000)::bigint FROM everything ORDER BY n'
    with connection.transaction(force_rollback=True):
        copy_rows(connection, "everything", COLUMNS, [batch.columns])
        assert [row[0] for row in connection.execute(query)] == micros.cast(pa.int64()).to_pylist()


def test_a_uuid_may_come_as_sixteen_bytes_of_fixed_width(connection: psycopg.Connection) -> None:
    value = uuid.uuid4()
    fixed = pa.array([value.bytes, None], pa.binary(16))
    batch = batch_of([{}, {}]).set_column(9, "uuid", fixed)
    assert [row[9] for row in through(connection, batch)[1]] == [value, None]


def test_a_session_that_would_reread_our_bytes_is_refused(connection: psycopg.Connection) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL client_encoding = 'LATIN1'")
        with pytest.raises(StoreError, match="client_encoding"):
            copy_rows(connection, "everything", COLUMNS, [batch_of([{"text": "ação"}]).columns])


def test_names_are_quoted(connection: psycopg.Connection) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute('CREATE TABLE "da""ta" ("or""der" text)')
        columns = [('or"der', PgType.TEXT)]
        assert copy_rows(connection, 'da"ta', columns, [[pa.array(["a", None])]]) == 2


def test_a_refused_row_leaves_nothing(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.DataError), connection.transaction():
        copy_rows(connection, "everything", COLUMNS, [batch_of([{}, {"jsonb": "{"}]).columns])
    assert through(connection) == (0, [])
