"""The sync's DAG in a whole Airflow: by hand, in a backfill, by schedule, and where it must not act."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from huggingface_hub import constants

from data_platform.jobs.daily.day_record import DAY
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.days import SAO_PAULO, day_of
from dev.airflow_local import AirflowLocal
from dev.hub_server import HubServer, HubStore
from tests.support.hub import DATASET, REDUCED, TOKEN, Hub, columns
from tests.support.operator import Operator, dag_folder, until
from tests.support.recorded import record_write
from tests.support.sources import articles
from tests.support.stores import prepare

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("airflow")]

DAG = "sync_huggingface"
#: A DAG of somebody who wants to know when the dataset has changed.
READER = """
from airflow.sdk import dag, get_current_context, task
from govbr.assets import HUGGINGFACE_NEWS

@dag(schedule=[HUGGINGFACE_NEWS])
def reader():
    @task
    def told():
        events = get_current_context()["triggering_asset_events"][HUGGINGFACE_NEWS]
        return [{"extra": dict(event.extra)} for event in events]
    told()

reader()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with dag_folder(DAG, looks_every="timedelta(minutes=5)", seconds=10) as made:
        (made / "dags" / "reader.py").write_text(READER, encoding="utf-8")
        yield made


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    repositories = HubStore(folder / "hub")
    for dataset in (DATASET, REDUCED):
        repositories.create(dataset)
    with HubServer(repositories, tokens=[TOKEN]) as server:
        yield Hub(repositories, server, folder / "state")


@pytest.fixture
def news(database_url: str) -> PostgresManager:
    """Articles that wait to be published."""
    prepare(database_url)
    manager = PostgresManager(database_url)
    manager.insert(columns(articles(12)))
    return manager


ALL_WELL = dict.fromkeys(["resolve_mode", "wait_for_write", "sync", "check_lag", "verdict"], "success")


def test_by_schedule_in_a_backfill_by_hand_and_not_at_all(
    folder: Path, hub: Hub, news: PostgresManager, database_url: str
) -> None:
    ledger = RunLedger(hub.settings.state_uri)
    airflow = AirflowLocal(
        folder / "home",
        dags_folder=folder / "dags",
        environment={
            "DATABASE_URL": database_url,
            "STATE_URI": hub.settings.state_uri,
            "HF_ENDPOINT": hub.server.url,
            "HF_TOKEN": TOKEN,
            "HF_DATASET": DATASET,
            "HF_HOME": str(folder / "hf-home"),
        },
        say=lambda _: None,
    )
    with airflow:
        operator = Operator(airflow, DAG)
        airflow.client.set_variable("storage_backend", "postgres")
        for dag_id in (DAG, "reader"):
            airflow.wait_for_dag(dag_id)

        # By schedule: Airflow makes up for the newest 06:00 that has passed. It waits, and nobody holds a slot.
        until(lambda: operator.runs("scheduled"), "no scheduled run")
        (run,) = operator.runs("scheduled")
        due = datetime.fromisoformat(run["logical_date"])
        assert due.astimezone(SAO_PAULO).hour == 6
        day = day_of(due) - timedelta(days=1)
        operator.waits(run["dag_run_id"])
        pool = operator.ask("/pools/default_pool")
        assert (pool["deferred_slots"], pool["occupied_slots"], pool["running_slots"]) == (1, 0, 0)
        assert f"no write to postgres is recorded for {day}" in operator.log(run["dag_run_id"], "wait_for_write")
        record_write(ledger, day, kind=DAY)
        assert operator.follow(run["dag_run_id"]) == ALL_WELL
        waited = operator.result(run["dag_run_id"], "wait_for_write")
        assert (waited["state"], waited["run_date"]) == ("recorded", day.isoformat())
        told = operator.result(run["dag_run_id"], "sync")
        assert (told["waited"]["state"], told["counts"]["rows"], told["commit"]) == ("recorded", 12, hub.head())
        assert "12 rows published" in operator.log(run["dag_run_id"], "sync")

        # Whoever wants to know has been told.
        until(lambda: operator.runs("asset_triggered", "reader"), "nobody was told")
        reading = operator.runs("asset_triggered", "reader")[0]["dag_run_id"]
        assert operator.follow(reading, "reader") == {"told": "success"}
        (event,) = operator.result(reading, "told", dag_id="reader")
        assert (event["extra"]["commit"], event["extra"]["rows"]) == (hub.head(), 12)

        # A backfill looks once.
        long_ago = day - timedelta(days=12)
        operator.ask(
            "/backfills",
            "POST",
            dag_id=DAG,
            from_date=f"{long_ago}T00:00:00-03:00",
            to_date=f"{long_ago}T23:59:00-03:00",
            max_active_runs=1,
        )
        until(lambda: operator.runs("backfill"), "the backfill has no run")
        run_id = operator.runs("backfill")[0]["dag_run_id"]
        assert operator.follow(run_id) == ALL_WELL
        waited = operator.result(run_id, "wait_for_write")
        assert (waited["state"], waited["run_date"]) == ("looked_once", str(long_ago - timedelta(days=1)))

        # By hand, with a date: it waits as well, until the entry is there.
        run_id = operator.trigger(run_date=str(long_ago))
        operator.waits(run_id)
        record_write(ledger, long_ago, kind=DAY)
        assert operator.follow(run_id) == ALL_WELL
        assert operator.result(run_id, "wait_for_write")["state"] == "recorded"

        # Where PostgreSQL does not lead, nothing happens, and the reason is there to read.
        airflow.client.set_variable("storage_backend", "huggingface")
        run_id = operator.trigger()
        assert set(operator.follow(run_id).values()) == {"skipped"}
        reason = re.escape("storage_backend is huggingface (Airflow Variable storage_backend)")
        assert re.search(reason, operator.log(run_id, "resolve_mode"))
