"""The catalogue read from a database, and rows with it into the table."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from data_platform.errors import StoreError
from data_platform.managers.postgres.binary_copy import copy_rows
from data_platform.managers.postgres.news_table import NEWS_COLUMNS, Catalogue, news_rows
from data_platform.models.admission import MAX_AGENCY, MAX_UNIQUE_ID
from data_platform.models.urls import LONGEST_CANONICAL
from dev.embedded_postgres import EmbeddedPostgres
from tests.support.databases import AGENCIES, THEMES, shared_database
from tests.support.rows import article, batch_of


@pytest.fixture(scope="module")
def shared(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with shared_database(postgres) as url, psycopg.connect(url) as opened:
        yield opened


@pytest.fixture
def connection(shared: psycopg.Connection) -> Iterator[psycopg.Connection]:
    with shared.transaction(force_rollback=True):
        yield shared


def test_the_catalogue_is_what_the_tables_hold(connection: psycopg.Connection) -> None:
    read = Catalogue.read(connection)
    agencies = zip(read.agency_keys.to_pylist(), read.agency_names.to_pylist(), strict=True)
    themes = zip(read.themes.codes.to_pylist(), read.themes.labels.to_pylist(), strict=True)
    assert dict(agencies) == AGENCIES
    assert dict(themes) == THEMES
    ids = connection.execute("SELECT id, code FROM themes ORDER BY code").fetchall()
    assert list(zip(read.themes.ids.to_pylist(), read.themes.codes.to_pylist(), strict=True)) == ids


@pytest.mark.parametrize("table", ["agencies", "themes"])
def test_an_empty_table_is_named_with_what_to_do(connection: psycopg.Connection, table: str) -> None:
    connection.execute(f"DELETE FROM {table}")
    with pytest.raises(StoreError, match=f"the table {table} is empty .run: .*populate-{table}"):
        Catalogue.read(connection)


def test_the_longest_values_that_are_admitted_fit_every_index(connection: psycopg.Connection) -> None:
    """A value too long for an index would fail the whole load, or leave the table without that index."""
    agency = "".join(chr(0x10000 + n * 7919 % 50_000) for n in range(MAX_AGENCY))
    connection.execute("INSERT INTO agencies (key, name) VALUES (%s, %s)", (agency, "x"))
    digits = "".join(str(n * 7919 % 10_007) for n in range(1000))  # no compression makes it short enough
    url = f"https://x.br/{digits}"[:LONGEST_CANONICAL]
    unique_id = "\U0001f600" * MAX_UNIQUE_ID
    batch = batch_of([article(unique_id, agency=agency, url=url), article("b", agency=agency, url=f"{url}x" * 3)])
    made = news_rows(batch, Catalogue.read(connection), duplicate_of={})
    assert copy_rows(connection, "news", NEWS_COLUMNS, [made]) == 2
    found = connection.execute("SELECT canonical_url FROM news ORDER BY unique_id").fetchall()
    assert sorted(found, key=str) == sorted([(url,), (None,)], key=str)


def test_rows_may_be_refused_by_the_table_itself(connection: psycopg.Connection) -> None:
    """The last line of defence: two primaries of one article, an agency's name that is not its own."""
    catalogue = Catalogue.read(connection)
    batch = batch_of([article("a", url="https://x.br/a"), article("b", url="http://x.br/a/")])

    def put(duplicate_of: dict[str, str]) -> int:
        made = news_rows(batch, catalogue, duplicate_of=duplicate_of)
        with connection.transaction():
            return copy_rows(connection, "news", NEWS_COLUMNS, [made])

    with pytest.raises(psycopg.errors.UniqueViolation, match="news_primary_url_key"):
        put({})
    assert put({"b": "a"}) == 2
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute("UPDATE news SET agency_name = 'outro'")
