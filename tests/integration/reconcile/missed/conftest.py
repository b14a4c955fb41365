"""Both stores in memory, with a real PostgreSQL, and both as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from huggingface_hub import constants

from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.settings import Settings
from dev.embedded_postgres import EmbeddedPostgres
from dev.hub_server import HubServer, HubStore
from tests.support.databases import shared_database
from tests.support.hub import DATASET, QUICK, REDUCED, TOKEN
from tests.support.memory_store import MemoryStore
from tests.support.missed import Both, Faulty


@pytest.fixture(scope="module")
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    with shared_database(postgres) as url:
        yield url


@pytest.fixture(params=["in memory", "PostgreSQL"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Both]:
    ledger = RunLedger(str(tmp_path / "state"))
    if request.param == "in memory":
        yield Both(MemoryStore("PostgreSQL"), MemoryStore("the dataset"), ledger)
        return
    url = request.getfixturevalue("database")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM news")
    manager = PostgresManager(url)
    yield Both(Faulty(manager), MemoryStore("the dataset"), ledger, url)
    manager.close()


@pytest.fixture
def real(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    """PostgreSQL, and the dataset at the Hub's stand-in."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hf-home"))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DELETE FROM news")
    hub = HubStore(tmp_path / "hub")
    for name in (DATASET, REDUCED):
        hub.create(name)
    with HubServer(hub, tokens=[TOKEN]) as server:
        settings = Settings(hf_endpoint=server.url, hf_token=TOKEN, hf_dataset=DATASET)
        dataset: Any = Faulty(DatasetManager(DATASET, settings=settings, backoff=QUICK))
        manager = PostgresManager(database)
        yield Both(Faulty(manager), dataset, RunLedger(str(tmp_path / "state")), database)
        manager.close()
