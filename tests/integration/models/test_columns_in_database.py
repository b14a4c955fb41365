"""The columns of the table and of the published view, as PostgreSQL has them, against the one list of columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from data_platform.managers.postgres.binary_copy import PgType
from data_platform.managers.postgres.news_table import NEWS_COLUMNS
from data_platform.models.columns import COLUMN_NAMES, COLUMNS, Kind
from tests.support.databases import shared_database

_TYPES = {Kind.TEXT: "text", Kind.INSTANT: "timestamp with time zone", Kind.TAGS: "text[]"}
#: Columns that PostgreSQL fills by itself.
_MADE_BY_THE_SERVER = {"id", "published_date", "created_at", "updated_at", "change_xid"}


def columns_of(url: str, relation: str) -> list[tuple[str, str, bool]]:
    """Return name, type and whether null is refused, in order."""
    query = """
        SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
         WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
    """
    with psycopg.connect(url) as connection:
        found: list[Any] = connection.execute(query, (relation,)).fetchall()
    return found


@pytest.fixture(scope="module", params=["embedded", "15"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with shared_database(request.getfixturevalue("postgres" if request.param == "embedded" else "postgres15")) as made:
        yield made


def test_the_view_publishes_the_24_columns_in_their_order_and_types(url: str) -> None:
    # extracted_at has no zone in the dataset: it is UTC without saying so.
    expected = [
        (c.name, "timestamp without time zone" if c.name == "extracted_at" else _TYPES[c.kind]) for c in COLUMNS
    ]
    assert [(name, kind) for name, kind, _ in columns_of(url, "news_published")] == expected


def test_each_column_has_its_place_in_the_table(url: str) -> None:
    table = {name: (kind, required) for name, kind, required in columns_of(url, "news")}
    for column in COLUMNS:
        if column.store is not None:
            assert table[column.store] == (_TYPES[column.kind], column.required), column.name


def test_writers_set_every_column_that_the_server_does_not(url: str) -> None:
    table = columns_of(url, "news")
    written = dict(NEWS_COLUMNS)
    assert set(written) == {name for name, _, _ in table} - _MADE_BY_THE_SERVER
    assert len(written) == len(NEWS_COLUMNS)
    names = {PgType.TIMESTAMPTZ: "timestamp with time zone"}
    for name, kind, _ in table:
        if name in written:
            assert names.get(written[name], written[name].value) == kind, name


def test_an_instant_leaves_the_view_as_it_came_whatever_the_session_s_zone(url: str) -> None:
    """Fault 6: no view or column depends on the zone of the session."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, extracted_at, title)"
            " SELECT 'a', id, key, name, '2018-12-03 23:00-03', '2018-12-04 01:30:00.123456Z', 't'"
            "   FROM agencies WHERE key = 'mec'"
        )
        for zone in ("UTC", "America/Sao_Paulo", "Asia/Tokyo"):
            connection.execute(f"SET timezone = '{zone}'")
            found = connection.execute(
                "SELECT extract(epoch FROM p.published_at)::bigint, p.extracted_at::text, n.published_date::text"
                "  FROM news_published p JOIN news n USING (unique_id)"
            ).fetchall()
            # In summer time 23:00 at −03:00 of the 3rd was midnight of the 4th (fault 5).
            assert found == [(1_543_888_800, "2018-12-04 01:30:00.123456", "2018-12-04")], zone


def test_names_of_the_view_are_the_dataset_s(url: str) -> None:
    with psycopg.connect(url) as connection:
        cursor = connection.execute("SELECT * FROM news_published")
        assert cursor.description is not None
        assert tuple(column.name for column in cursor.description) == COLUMN_NAMES
