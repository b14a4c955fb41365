"""The DAG of the search indexes run for real in this process: a database, Typesense, Qdrant and a Hub as stand-ins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.postgres_manager import PostgresManager
from dev.hub_server import HubServer, HubStore
from tests.support.hub import DATASET, TOKEN, Hub, columns, parquet_bytes, published
from tests.support.reindexing import DAG, FORM, Run, Services, serve
from tests.support.sources import articles
from tests.support.stores import Store, prepare


@pytest.fixture
def bag() -> Any:
    """The DAGs, parsed anew: `dag.test` leaves what a form said in them."""
    from airflow.dag_processing.dagbag import DagBag

    found = DagBag(str(Path(__file__).parents[3] / "dags" / f"{DAG}.py"))
    assert not found.import_errors
    return found


@pytest.fixture
def run(bag: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs the DAG to its end, by hand, without waiting between tries."""
    monkeypatch.setenv("STATE_URI", str(tmp_path / "state"))

    def start(*, mark_done: str | None = None, **conf: Any) -> Any:
        dag = bag.dags[DAG]
        for each in dag.tasks:
            if each.is_mapped:
                each.partial_kwargs["retries"] = 0
            else:
                monkeypatch.setattr(each, "retries", 0)
        return dag.test(run_conf=FORM | conf, mark_success_pattern=mark_done)

    return start


@pytest.fixture
def ledger(tmp_path: Path) -> RunLedger:
    return RunLedger(str(tmp_path / "state"))


@pytest.fixture
def store(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    prepare(database_url)
    monkeypatch.setenv("DATABASE_URL", database_url)
    return Store(database_url)


@pytest.fixture
def news(store: Store) -> PostgresManager:
    """Twelve articles that wait to be indexed."""
    manager = PostgresManager(store.url)
    assert manager.insert(columns(articles(12))) == 12
    return manager


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Both services, empty, with connections to them, and words hashed to few numbers."""
    monkeypatch.setenv("STATE_URI", str(tmp_path / "state"))
    with serve(monkeypatch) as made:
        yield made


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A dataset with eight articles."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hf-home"))
    repositories = HubStore(tmp_path / "hub")
    repositories.create(DATASET)
    with HubServer(repositories, tokens=[TOKEN]) as server:
        for name, value in {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_DATASET": DATASET}.items():
            monkeypatch.setenv(name, value)
        made = Hub(repositories, server, tmp_path / "state")
        rows = [published(row) for row in articles(8)]
        made.put({"data/train-00000-of-00001.parquet": parquet_bytes(rows)})
        yield made
