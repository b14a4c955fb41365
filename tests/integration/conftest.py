"""Databases with schema and master data, and Hubs with both datasets, each of a test's own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from huggingface_hub import constants
from psycopg import sql

from dev.embedded_postgres import EmbeddedPostgres
from dev.hub_server import HubServer, HubStore
from tests.support.hub import DATASET, REDUCED, TOKEN, Hub
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


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with two empty datasets; this process's client uses plain LFS, and caches of its own."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hf-home"))
    store = HubStore(tmp_path / "hub")
    store.create(DATASET)
    store.create(REDUCED)
    with HubServer(store, tokens=[TOKEN]) as server:
        yield Hub(store, server, tmp_path / "state")
