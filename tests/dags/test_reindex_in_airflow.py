"""The DAG of the search indexes in a whole Airflow: by schedule, by hand with the form, as a backfill of two days."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from data_platform.jobs.daily.day_record import DAY
from data_platform.jobs.indexing.job import run_reindex
from data_platform.jobs.indexing.records import Kind, ReindexOptions
from data_platform.managers.ledger.run_ledger import REINDEX, RunLedger
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.days import SAO_PAULO, day_of
from data_platform.settings import Settings
from dev.airflow_local import AirflowLocal
from dev.qdrant_server import QdrantServer
from dev.typesense_server import TypesenseServer
from tests.support.hub import columns
from tests.support.operator import Operator, dag_folder, until
from tests.support.recorded import record_write
from tests.support.sources import articles
from tests.support.stores import Store, prepare

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("airflow")]

DAG = "reindex_consumers"
READERS = ("typesense", "qdrant")
KEY = "key-of-the-services"


@pytest.fixture
def folder() -> Iterator[Path]:
    with dag_folder(DAG, looks_every="timedelta(minutes=1)", seconds=10) as made:
        yield made


@pytest.fixture
def store(database_url: str) -> Store:
    """Twelve articles that wait to be indexed."""
    prepare(database_url)
    PostgresManager(database_url).insert(columns(articles(12)))
    return Store(database_url)


ALL_WELL = dict.fromkeys(
    ["resolve", "wait_for_write", *(f"reindex {reader}" for reader in READERS), "lags", "verdict"], "success"
)


def ended(operator: Operator, run_id: str) -> dict[str, str]:
    """Return the states of a run's tasks at its end, each reader's by its name."""
    operator.follow(run_id)
    return operator.named_states(run_id)


class Scene:
    """Everything that takes part.

    Attributes:
        store: PostgreSQL, with twelve articles.
        ledger: the run ledger.
        typesense: the stand-in, filled.
        qdrant: likewise.
    """

    def __init__(self, store: Store, state: Path, typesense: TypesenseServer, qdrant: QdrantServer) -> None:
        self.store, self.typesense, self.qdrant = store, typesense, qdrant
        self.ledger = RunLedger(str(state))
        settings = Settings(
            database_url=store.url,
            state_uri=str(state),
            typesense_host="127.0.0.1",
            typesense_port=typesense.port,
            typesense_api_key=KEY,
            qdrant_url=qdrant.url,
            qdrant_api_key=KEY,
            embeddings_dimension=16,
        )
        for reader in READERS:
            run_reindex(settings, ReindexOptions(reader=reader, kind=Kind.FULL))

    @property
    def environment(self) -> dict[str, str]:
        connections = {
            "TYPESENSE_DEFAULT": {"conn_type": "generic", "host": self.typesense.url, "password": KEY},
            "QDRANT_DEFAULT": {"conn_type": "generic", "host": self.qdrant.url, "password": KEY},
            "EMBEDDINGS_API": {"conn_type": "generic", "extra": {"kind": "hashing", "dimension": 16}},
        }
        return {
            "DATABASE_URL": self.store.url,
            "STATE_URI": self.ledger.objects.uri,
            "STORAGE_BACKEND": "postgres",
            **{f"AIRFLOW_CONN_{name}": json.dumps(fields) for name, fields in connections.items()},
        }

    def live(self) -> list[str]:
        """The collections that searches see."""
        return [self.typesense.store.aliases["news"], self.qdrant.store.aliases["news"]]

    def titles(self) -> list[list[str]]:
        """What searches may find in each index."""
        documents = self.typesense.store.collection("news").documents.values()
        points, _ = self.qdrant.store.engine.scroll(self.qdrant.store.aliases["news"], limit=100)
        return [[one["title"] for one in documents], [(one.payload or {})["title"] for one in points]]


def test_by_schedule_by_hand_and_in_a_backfill(folder: Path, store: Store) -> None:
    with TypesenseServer(keys=[KEY]) as typesense, QdrantServer(keys=[KEY]) as qdrant:
        scene = Scene(store, folder / "state", typesense, qdrant)
        airflow = AirflowLocal(
            folder / "home", dags_folder=folder / "dags", environment=scene.environment, say=lambda _: None
        )
        store.execute("UPDATE news SET title = 'Novo ' || title")
        with airflow:
            operator = Operator(airflow, DAG)
            airflow.wait_for_dag(DAG)
            day = by_schedule(operator, scene)
            by_hand(operator, scene)
            in_a_backfill(operator, scene, day)


def by_schedule(operator: Operator, scene: Scene) -> date:
    """It waits, and nobody holds a slot; the pipeline's recorded write lets it go on. Return the day that it is for."""
    until(lambda: operator.runs("scheduled"), "no scheduled run")
    (run,) = operator.runs("scheduled")
    run_id, due = run["dag_run_id"], datetime.fromisoformat(run["logical_date"])
    assert f"{due.astimezone(SAO_PAULO):%H:%M}" == "03:15"
    day = day_of(due) - timedelta(days=1)
    operator.waits(run_id)
    pool = operator.ask("/pools/default_pool")
    assert (pool["deferred_slots"], pool["occupied_slots"], pool["running_slots"]) == (1, 0, 0)
    assert f"no write to postgres is recorded for {day}" in operator.log(run_id, "wait_for_write")
    assert not any(title.startswith("Novo") for found in scene.titles() for title in found)
    record_write(scene.ledger, day, kind=DAY)
    assert ended(operator, run_id) == ALL_WELL
    assert operator.result(run_id, "wait_for_write")["state"] == "recorded"
    assert all(len(found) == 12 and all(title.startswith("Novo") for title in found) for found in scene.titles())
    entry = scene.ledger.newest(REINDEX)
    assert entry is not None
    assert entry.run_date == day
    assert {task["pool"] for task in operator.tasks(run_id) if task["task_id"] == "reindex"} == {"govbr_search"}
    for map_index, reader in enumerate(READERS):
        assert f"incremental run of {reader}" in operator.log(run_id, "reindex", map_index=map_index)
    return day


def by_hand(operator: Operator, scene: Scene) -> None:
    """With the form, both are filled anew; the collections before are kept."""
    before = scene.live()
    run_id = operator.trigger(kind="full")
    assert ended(operator, run_id) == ALL_WELL
    assert scene.live() == before, "so far it only looked"
    run_id = operator.trigger(kind="full", dry_run="no")
    assert ended(operator, run_id) == ALL_WELL
    lags = operator.result(run_id, "lags")
    assert [lags[reader]["collection"] for reader in READERS] == scene.live()
    assert all(new > old for new, old in zip(scene.live(), before, strict=True))
    assert [(lags[reader]["documents"], lags[reader]["rows"]) for reader in READERS] == [(12, 0)] * 2
    events = operator.ask(f"/assets/events?source_dag_id={DAG}&source_run_id={quote(run_id)}")["asset_events"]
    assert sorted(event["extra"]["collection"] for event in events) == sorted(scene.live())


def in_a_backfill(operator: Operator, scene: Scene, day: date) -> None:
    """Of two days: each looks once, and the first brings what waits."""
    scene.store.execute("UPDATE news SET title = 'De novo' WHERE id = (SELECT min(id) FROM news)")
    first, last = day - timedelta(days=13), day - timedelta(days=12)
    operator.ask(
        "/backfills",
        "POST",
        dag_id=DAG,
        from_date=f"{first}T00:00:00-03:00",
        to_date=f"{last}T23:59:00-03:00",
        max_active_runs=1,
    )
    until(lambda: len(operator.runs("backfill")) == 2, "the backfill has not two runs")
    runs = sorted(operator.runs("backfill"), key=lambda run: str(run["logical_date"]))
    assert [ended(operator, run["dag_run_id"]) for run in runs] == [ALL_WELL, ALL_WELL]
    waited = [operator.result(run["dag_run_id"], "wait_for_write") for run in runs]
    days = [str(one - timedelta(days=1)) for one in (first, last)]
    assert [(one["state"], one["run_date"]) for one in waited] == [("looked_once", one) for one in days]
    assert all("De novo" in found for found in scene.titles())
