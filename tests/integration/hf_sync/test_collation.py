"""A database that sorts as people do (Cloud SQL's default does): files keep the order of bytes, and their bytes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql

from data_platform.managers.postgres_manager import PostgresManager
from dev.embedded_postgres import EmbeddedPostgres
from tests.support.hub import Hub, columns
from tests.support.sources import article
from tests.support.stores import Store, prepare
from tests.support.syncs import Jobs, checked, update

AT = datetime(2024, 5, 1, 12, tzinfo=UTC)
#: In an order that no language has.
IDS = ["B", "a", "C", "á", "Z", "z", "ç", "c d", "c-e", "cd", "é", "e\u0301", "10", "9", "_"]


@pytest.fixture
def store(postgres15: EmbeddedPostgres) -> Iterator[Store]:
    """A database whose texts are sorted by the rules of Portuguese."""
    name = f"icu_{secrets.token_hex(6)}"
    with psycopg.connect(postgres15.url(), autocommit=True) as connection:
        try:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'pt-BR'").format(
                    sql.Identifier(name)
                )
            )
        except psycopg.errors.FeatureNotSupported:
            pytest.skip("this server was built without ICU")
    prepare(postgres15.url(name))
    yield Store(postgres15.url(name))
    postgres15.drop_database(name)


def test_rows_are_in_the_order_of_their_bytes_whatever_the_database_sorts_by(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    news.insert(columns([article(n, unique_id=uid, published_at=AT) for n, uid in enumerate(IDS)]))
    by_language = [row["unique_id"] for row in store.query("SELECT unique_id FROM news ORDER BY unique_id")]
    assert by_language != sorted(IDS, key=str.encode)  # so that the test is about something
    checked(make_job(), hub, store)
    assert make_job().verify().passed
    for uid in IDS[::3]:
        update(news, {"unique_id": uid, "title": "x"})
    store.execute("UPDATE news SET unique_id = 'É' WHERE unique_id = 'é'", "DELETE FROM news WHERE unique_id = 'a'")
    assert checked(make_job(), hub, store).changed_rows == 6
    assert make_job().verify().passed
    assert news.get_records_for_hf_sync().empty
    news.close()
