"""Databases with schema and master data, each of a test's own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql

from dev.embedded_postgres import EmbeddedPostgres
from tests.support.stores import Store, prepare

_TEMPLATE = "prepared_template"


@pytest.fixture(scope="session")
def _template(postgres: EmbeddedPostgres) -> str:
    """A database with schema and master data, to copy: an upgrade for each test would take a second each."""
    prepare(postgres.create_database(_TEMPLATE))
    return _TEMPLATE


@pytest.fixture
def make_store(postgres: EmbeddedPostgres, _template: str) -> Iterator[Callable[[], Store]]:
    """A function that makes databases with schema and master data."""
    names: list[str] = []

    def make() -> Store:
        names.append(f"store_{secrets.token_hex(6)}")
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(names[-1]), sql.Identifier(_template))
            )
        return Store(postgres.url(names[-1]))

    yield make
    for name in names:
        postgres.drop_database(name)


@pytest.fixture
def store(make_store: Callable[[], Store]) -> Store:
    """A database with schema and master data."""
    return make_store()
