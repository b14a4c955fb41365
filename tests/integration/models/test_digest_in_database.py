"""The digest of a row from Arrow is the one that PostgreSQL computes over what it publishes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.managers.postgres.binary_copy import copy_rows
from data_platform.managers.postgres.news_table import NEWS_COLUMNS, Catalogue, news_rows
from data_platform.models.columns import COLUMNS, Kind
from data_platform.models.digest import row_digests, sql_row_digest
from tests.support.databases import shared_database
from tests.support.rows import article, batch_of, rows, sliced


@pytest.fixture(scope="module", params=["embedded", "15"])
def connection(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    server = request.getfixturevalue("postgres" if request.param == "embedded" else "postgres15")
    with shared_database(server) as url, psycopg.connect(url) as opened:
        yield opened


@pytest.fixture(scope="module")
def catalogue(connection: psycopg.Connection) -> Catalogue:
    return Catalogue.read(connection)


def digests_in_sql(
    connection: psycopg.Connection, catalogue: Catalogue, batch: pa.RecordBatch, **options: Any
) -> list[bytes]:
    """Store rows, let PostgreSQL compute their digests, and forget the rows; in the order of the batch."""
    made = news_rows(batch, catalogue, duplicate_of={})
    with connection.transaction(force_rollback=True):
        copy_rows(connection, "news", NEWS_COLUMNS, [made])
        query = f"SELECT p.unique_id, {sql_row_digest('p', **options)} FROM news_published p"
        found = {unique_id: digest.bytes for unique_id, digest in connection.execute(query).fetchall()}
    return [found[unique_id] for unique_id in batch.column("unique_id").to_pylist()]


@settings(max_examples=30, deadline=None)
@given(rows(max_size=6), st.sets(st.sampled_from([c.name for c in COLUMNS]), max_size=2))
def test_both_sides_agree_on_any_row(
    connection: psycopg.Connection, catalogue: Catalogue, batch: pa.RecordBatch, leave_out: set[str]
) -> None:
    """Fault 16: a digest over all columns of every row."""
    assert digests_in_sql(connection, catalogue, batch) == row_digests(batch)
    left = digests_in_sql(connection, catalogue, batch, leave_out=leave_out)
    assert left == row_digests(batch, leave_out=leave_out)


def test_both_sides_agree_on_the_rare_ones(connection: psycopg.Connection, catalogue: Catalogue) -> None:
    first, last = datetime(1, 1, 1, 3, 6, 28, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    given_rows = [
        article("nothing else"),
        article("first", published_at=first, updated_datetime=first, extracted_at=first),
        article("last", published_at=last, updated_datetime=last, extracted_at=last),
        article("before 1970", published_at=datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        article("before 2000", extracted_at=datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        article("2000", extracted_at=datetime(2000, 1, 1, tzinfo=UTC)),
        article("a megabyte", content="ação\n" * 200_000, summary="x" * 70_000),
        article("no tags", tags=[]),
        article("null tags", tags=None),
        article("empty tag", tags=[""]),
        article("empty tags", tags=["", ""]),
        article("tag", tags=["a,b", '{"c"}', "NULL", "\U0001f600", " "]),
        article("signs", content="\u0001\u001f\u200b\u00a0\u2028\U0010ffff\r\n\\x'\"", title="{1,NULL}"),
        article("unicode", title="e\u0301 and \u00e9", content="\u00e9"),
        article("empty", content="", subtitle="", summary=""),
    ]
    batch = batch_of(given_rows)
    expected = row_digests(batch)
    assert len(set(expected)) == len(given_rows)
    assert digests_in_sql(connection, catalogue, batch) == expected
    assert row_digests(sliced(batch)) == expected


@pytest.mark.parametrize("column", [c for c in COLUMNS if c.name != "agency"], ids=lambda c: c.name)
def test_sql_sees_a_change_of_any_column(connection: psycopg.Connection, catalogue: Catalogue, column: Any) -> None:
    other: dict[Kind, Any] = {
        Kind.TEXT: "b",
        Kind.TAGS: ["a", "b"],
        Kind.INSTANT: datetime(2024, 5, 6, 3, 0, 0, 1, tzinfo=UTC),
    }
    changed = article("a") | {column.name: other[column.kind]}
    before, after = (digests_in_sql(connection, catalogue, batch_of([row]))[0] for row in (article("a"), changed))
    assert before != after
    assert after == row_digests(batch_of([changed]))[0]
    left = digests_in_sql(connection, catalogue, batch_of([changed]), leave_out={column.name})
    assert left == row_digests(batch_of([article("a")]), leave_out={column.name})


def test_the_digest_does_not_depend_on_settings_of_the_session(
    connection: psycopg.Connection, catalogue: Catalogue
) -> None:
    batch = batch_of([article("a", extracted_at=datetime(2024, 1, 1, tzinfo=UTC), content="\\ação", tags=["a b", "c"])])
    expected = row_digests(batch)
    options = {
        "timezone": "America/Sao_Paulo",
        "datestyle": "German",
        "intervalstyle": "iso_8601",
        "bytea_output": "escape",
        "extra_float_digits": "0",
        "array_nulls": "off",
        "standard_conforming_strings": "off",
    }
    for name, value in options.items():
        with connection.transaction(force_rollback=True):
            connection.execute(f"SET LOCAL {name} = '{value}'")
            assert digests_in_sql(connection, catalogue, batch) == expected, name
