"""What the tests of the indexes share: a database, a search service, and runs between them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typesense
from psycopg import sql

from data_platform.managers.postgres_manager import PostgresManager
from dev.embedded_postgres import EmbeddedPostgres
from dev.typesense_server import TypesenseServer
from tests.support.hub import columns
from tests.support.search import KEY, Search, settings_of
from tests.support.sources import NO_THEME, Row, article, theme_codes, theme_text
from tests.support.stores import Store


@pytest.fixture
def typesense_server() -> Iterator[TypesenseServer]:
    """Typesense's stand-in, empty."""
    with TypesenseServer(keys=[KEY]) as server:
        yield server


@pytest.fixture
def search(store: Store, typesense_server: TypesenseServer, tmp_path: Path) -> Search:
    """A database and a search service."""
    settings = replace(settings_of(typesense_server, store), state_uri=str(tmp_path / "state"), typesense_batch_size=7)
    return Search(typesense_server, store, settings)


@pytest.fixture
def news(store: Store) -> PostgresManager:
    """Writes news as the pipeline does."""
    return PostgresManager(store.url)


@pytest.fixture(scope="session")
def portal_rows() -> list[Row]:
    """News that the queries of portal and MCP server tell apart."""
    midnight = datetime(2025, 5, 10, 3, tzinfo=UTC)
    told: list[tuple[str, str, datetime, dict[str, Any]]] = [
        ("n1", "mre", midnight, {"title": "Educação no campo", "tags": ["escola", "campo"], **theme_codes("01.01.01")}),
        ("n2", "aeb", midnight, {"title": "Satélite lançado", "tags": ["espaço"], **theme_codes("05.02")}),
        ("n3", "aeb", midnight + timedelta(hours=20), {"title": "À noite", "content": "educação", **theme_text("05")}),
        ("n4", "saude", datetime(2025, 1, 1, 2, 30, tzinfo=UTC), {"title": "Vacina", **NO_THEME, "tags": []}),
        ("n5", "saude", datetime(2023, 7, 1, 12, tzinfo=UTC), {"title": "Saúde bucal", **theme_text("20")}),
    ]
    return [
        article(
            n, unique_id=uid, agency=agency, published_at=at, **{"content": "texto", "category": "Notícias", **more}
        )
        for n, (uid, agency, at, more) in enumerate(told)
    ]


@pytest.fixture(scope="module")
def client(
    postgres: EmbeddedPostgres, _template: str, portal_rows: list[Row], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[typesense.Client]:
    """The real client, of a service that has these news; the tests of a module only read."""
    name = f"contracts_{secrets.token_hex(6)}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        making = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(making.format(sql.Identifier(name), sql.Identifier(_template)))
    store = Store(postgres.url(name))
    PostgresManager(store.url).insert(columns(portal_rows))
    with TypesenseServer(keys=[KEY]) as server:
        settings = replace(settings_of(server, store), state_uri=str(tmp_path_factory.mktemp("state")))
        search = Search(server, store, settings)
        search.run("full")
        yield search.client
    postgres.drop_database(name)
