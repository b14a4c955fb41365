"""Rows that binary COPY gives: every type comes back equal in any batches, and what has no reading is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.errors import StoreError
from data_platform.managers.postgres import binary_read
from data_platform.managers.postgres.binary_copy import PgType, copy_rows
from data_platform.managers.postgres.binary_read import read_query
from data_platform.models.columns import NORMAL_SCHEMA
from tests.support.databases import shared_database
from tests.support.rows import instants, texts

COLUMNS = (
    ("n", PgType.INTEGER),
    ("text", PgType.TEXT),
    ("texts", PgType.TEXT_ARRAY),
    ("instant", PgType.TIMESTAMPTZ),
    ("integer", PgType.INTEGER),
    ("bigint", PgType.BIGINT),
    ("boolean", PgType.BOOLEAN),
    ("last", PgType.TEXT),
)
SCHEMA = pa.schema(
    [
        ("n", pa.int32()),
        ("text", pa.string()),
        ("texts", pa.list_(pa.string())),
        ("instant", pa.timestamp("us", tz="UTC")),
        ("integer", pa.int32()),
        ("bigint", pa.int64()),
        ("boolean", pa.bool_()),
        ("last", pa.string()),
    ]
)
EVERYTHING = "SELECT * FROM everything ORDER BY n"
_cells: dict[str, st.SearchStrategy[Any]] = {
    "text": texts,
    "texts": st.lists(st.none() | texts, max_size=5),
    "instant": instants,
    "integer": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "last": texts,
}
_rows = st.fixed_dictionaries({name: st.none() | cell for name, cell in _cells.items()})


@pytest.fixture(scope="module", params=["embedded", "15"])
def connection(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    server = request.getfixturevalue("postgres" if request.param == "embedded" else "postgres15")
    with shared_database(server) as url, psycopg.connect(url) as opened:
        columns = ", ".join(f'"{name}" {kind.value}' for name, kind in COLUMNS)
        opened.execute(f"CREATE TABLE everything ({columns})")
        opened.commit()
        yield opened
        opened.rollback()


def batch_of(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    numbered = [dict.fromkeys(SCHEMA.names) | row | {"n": n} for n, row in enumerate(rows)]
    return pa.RecordBatch.from_pylist(numbered, schema=SCHEMA)


def through(connection: psycopg.Connection, batch: pa.RecordBatch, batch_rows: int = 1000) -> list[pa.RecordBatch]:
    """Put rows into the table by COPY and read them back."""
    with connection.transaction(force_rollback=True):
        copy_rows(connection, "everything", COLUMNS, [batch.columns])
        return list(read_query(connection, EVERYTHING, None, SCHEMA, batch_rows=batch_rows))


def ask(connection: psycopg.Connection, query: str, *kinds: pa.DataType, params: Any = None) -> list[tuple[Any, ...]]:
    schema = pa.schema([(f"c{number}", kind) for number, kind in enumerate(kinds)])
    with connection.transaction(force_rollback=True):
        batches = list(read_query(connection, query, params, schema, batch_rows=10))
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


@settings(max_examples=60, deadline=None)
@given(st.lists(_rows, max_size=9), st.integers(1, 4))
def test_rows_come_back_as_they_are(
    connection: psycopg.Connection, drawn: list[dict[str, Any]], batch_rows: int
) -> None:
    wanted = batch_of(drawn)
    batches = through(connection, wanted, batch_rows)
    assert [len(batch) for batch in batches] == [
        min(batch_rows, len(drawn) - first) for first in range(0, len(drawn), batch_rows)
    ]
    for batch in batches:
        batch.validate(full=True)
    assert pa.Table.from_batches(batches, SCHEMA).combine_chunks() == pa.Table.from_batches([wanted], SCHEMA)


@pytest.mark.parametrize("value", ["null::text[]", "'{}'::text[]"])
def test_a_list_without_elements_may_be_the_last_field(connection: psycopg.Connection, value: str) -> None:
    """What would be its length then lies behind the end of the data."""
    assert ask(connection, f"SELECT {value}", pa.list_(pa.string())) == [(None if "null" in value else [],)]


@pytest.mark.parametrize("kind", [pa.int64(), pa.bool_(), pa.timestamp("us", tz="UTC"), pa.string()])
def test_a_null_may_be_the_last_field(connection: psycopg.Connection, kind: pa.DataType) -> None:
    assert ask(connection, "SELECT null", kind) == [(None,)]


def test_columns_of_nulls_only_and_no_rows(connection: psycopg.Connection) -> None:
    empty = [{}, {}, {}]
    assert through(connection, batch_of(empty)) == [batch_of(empty)]
    assert through(connection, batch_of([])) == []


def test_awkward_lists(connection: psycopg.Connection) -> None:
    lists = [[], [""], [None], [None, None], ["", None, ""], ["NULL", "a,b", '"', "{}", "\\", "x" * 100_000], None, []]
    for rows in (lists, lists[:1], lists[6:], [*lists, [str(n) for n in range(3000)]]):
        wanted = batch_of([{"texts": texts_} for texts_ in rows])
        assert through(connection, wanted) == [wanted]


def test_instants_before_1970_and_at_the_ends_of_time(connection: psycopg.Connection) -> None:
    ends = [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ]
    wanted = batch_of([{"instant": end} for end in ends])
    assert through(connection, wanted) == [wanted]


def test_a_large_text_ends_a_batch_early(connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary_read, "_BATCH_BYTES", 100_000)
    wanted = batch_of([{"text": "ação " * 20_000}, {"text": "b"}, {"last": "c"}])
    batches = through(connection, wanted)
    assert [len(batch) for batch in batches] == [1, 2]
    assert pa.Table.from_batches(batches).combine_chunks() == pa.Table.from_batches([wanted])


def test_dates_transaction_ids_and_clock_times(connection: psycopg.Connection) -> None:
    found = ask(
        connection,
        "SELECT date '1969-05-01', null::date, '18446744073709'::xid8, timestamp '2024-01-02 03:04:05', 'v'::varchar,"
        " '{a}'::varchar[]",
        pa.date32(),
        pa.date32(),
        pa.int64(),
        pa.timestamp("us", tz="UTC"),
        pa.string(),
        pa.list_(pa.string()),
    )
    clock = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert found == [(date(1969, 5, 1), None, 18446744073709, clock, "v", ["a"])]


@pytest.mark.parametrize("value", ["it's", '100% {} %s \\ $1 "', "ação", ""])
def test_values_are_bound(connection: psycopg.Connection, value: str) -> None:
    assert ask(connection, "SELECT %(v)s::text", pa.string(), params={"v": value, "unused": 1}) == [(value,)]
    assert ask(connection, "SELECT %s::text -- with a comment at the end", pa.string(), params=[value]) == [(value,)]


def test_the_published_view_fits_the_normal_schema(connection: psycopg.Connection) -> None:
    assert list(read_query(connection, "SELECT * FROM news_published", None, NORMAL_SCHEMA, batch_rows=1)) == []
    connection.rollback()


def test_one_that_writes_and_gives_back(connection: psycopg.Connection) -> None:
    query = "WITH put AS (INSERT INTO everything (n) VALUES (7) RETURNING n) SELECT n FROM put"
    assert ask(connection, query, pa.int32()) == [(7,)]


def test_an_iterator_that_is_left_leaves_the_connection_usable(connection: psycopg.Connection) -> None:
    with connection.transaction(force_rollback=True):
        rows = read_query(
            connection, "SELECT generate_series(1, 300000)", None, pa.schema([("n", pa.int32())]), batch_rows=5
        )
        assert len(next(rows)) == 5
        rows.close()
    assert connection.execute("SELECT 1").fetchone() == (1,)
    connection.rollback()


@pytest.mark.parametrize(
    ("query", "kinds", "message"),
    [
        ("SELECT 1, 2", [pa.int32()], "gave 2 columns where 1 were expected"),
        ("SELECT 1::bigint", [pa.int32()], "column c0 .* 4 bytes of int32"),
        ("SELECT 'infinity'::timestamptz", [pa.timestamp("us", tz="UTC")], "infinite"),
        ("SELECT '-infinity'::timestamptz", [pa.timestamp("us", tz="UTC")], "infinite"),
        ("SELECT now()", [pa.timestamp("ns", tz="UTC")], "no reading of timestamp"),
        ("SELECT '{{a},{b}}'::text[]", [pa.list_(pa.string())], "more than one dimension"),
        ("SELECT '{1}'::int[]", [pa.list_(pa.string())], "not of texts"),
    ],
)
def test_what_has_no_reading_is_refused(
    connection: psycopg.Connection, query: str, kinds: list[pa.DataType], message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        ask(connection, query, *kinds)


@pytest.mark.parametrize("value", ["infinity", "-infinity"])
def test_a_row_with_an_infinite_instant_is_named(connection: psycopg.Connection, value: str) -> None:
    """Nothing behind it is read before somebody mends it, and who does needs to know which it is."""
    rows = f"(VALUES (1, 'a', now()), (2, NULL, NULL), (3, 'ação', '{value}'), (4, 'd', 'infinity')) AS t (n, id, at)"
    instant = pa.timestamp("us", tz="UTC")
    named = "infinite timestamp, in the row whose c1 is 'ação' .*WHERE NOT isfinite.c2"
    with pytest.raises(StoreError, match=named):
        ask(connection, f"SELECT n, id, at FROM {rows}", pa.int32(), pa.string(), instant)
    with pytest.raises(StoreError, match="infinite timestamp \\("):
        ask(connection, f"SELECT at, id FROM {rows}", instant, pa.string())


def test_a_session_of_another_encoding_is_refused(connection: psycopg.Connection) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL client_encoding = 'LATIN1'")
        with pytest.raises(StoreError, match="client_encoding"):
            next(read_query(connection, "SELECT 'ação'", None, pa.schema([("t", pa.string())]), batch_rows=1))


def test_batches_of_no_rows_are_refused(connection: psycopg.Connection) -> None:
    with pytest.raises(ValueError, match="batch_rows"):
        next(read_query(connection, EVERYTHING, None, SCHEMA, batch_rows=0))
