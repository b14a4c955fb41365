"""The daily pipeline in a real Airflow: by schedule, by hand in every mode, waiting without a worker, as a backfill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from huggingface_hub import constants

from data_platform.jobs.daily.day_record import DAY as DAY_KIND
from data_platform.models.days import SAO_PAULO, day_of, utc_now
from dev.airflow_local import AirflowLocal
from dev.hub_server import HubServer, HubStore
from tests.support.daily import SITES, Day, day
from tests.support.enrichment import KEY, NAME, cogfy
from tests.support.hub import DATASET, REDUCED, TOKEN, Hub
from tests.support.operator import Operator, dag_folder, until
from tests.support.stores import Store, prepare

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("airflow")]

DAG = "daily_pipeline"
SIDES = ("postgres", "huggingface")
#: How long the sites' listings reach back: the oldest day of the backfill and the two before it.
DAYS = 8


@pytest.fixture
def folder() -> Iterator[Path]:
    with dag_folder(DAG, looks_every="timedelta(minutes=1)", seconds=4, more=["reconcile_backends"]) as made:
        yield made


@pytest.fixture
def its(database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Day]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    prepare(database_url)
    repositories = HubStore(folder / "hub")
    for dataset in (DATASET, REDUCED):
        repositories.create(dataset)
    with (
        HubServer(repositories, tokens=[TOKEN]) as server,
        day(
            Store(database_url),
            Hub(repositories, server, folder / "state"),
            folder,
            last=day_of(utc_now()),
            days=DAYS,
        ) as made,
    ):
        yield made


def backfill(operator: Operator, first: datetime, last: datetime, *, again: bool = False) -> list[str]:
    """Run three past days, and return the runs at their end."""
    made = operator.ask(
        "/backfills",
        "POST",
        dag_id=DAG,
        from_date=first.isoformat(),
        to_date=last.isoformat(),
        max_active_runs=1,
        reprocess_behavior="completed" if again else "none",
    )
    until(lambda: operator.ask(f"/backfills/{made['id']}")["completed_at"], "the backfill does not end", 400)
    runs = operator.runs("backfill")
    assert [run["state"] for run in runs] == ["success"] * 3
    return [run["dag_run_id"] for run in runs]


def well(*sides: str) -> dict[str, str]:
    """Return the states of a run in which everything went well."""
    before = ["plan", "groups", "scrape", "gather", "submit", "wait_for_enrichment", "enriched", "choose_sides"]
    written = {f"write_{side}": "success" if side in sides else "skipped" for side in SIDES}
    return dict.fromkeys([*before, "record", "alerts"], "success") | written


def test_by_schedule_by_hand_in_every_mode_and_as_a_backfill_twice(folder: Path, its: Day) -> None:
    with cogfy() as there:
        there.store.ready_after_s = 6.0
        connection = {
            "conn_type": "generic",
            "password": KEY,
            "host": there.server.url,
            "extra": json.dumps({"collection": NAME}),
        }
        airflow = AirflowLocal(
            folder / "home",
            dags_folder=folder / "dags",
            environment={
                **its.environment,
                "SCRAPER_CONNECTIONS": "2",
                "HF_HOME": str(folder / "hf-home"),
                "AIRFLOW_CONN_COGFY_DEFAULT": json.dumps(connection),
            },
            say=lambda _: None,
        )
        with airflow:
            operator = Operator(airflow, DAG)
            airflow.client.set_variable("storage_backend", "dual_write")
            airflow.wait_for_dag(DAG)
            assert not operator.runs("scheduled"), "it waits until somebody unpauses it"
            airflow.client.unpause(DAG)
            by_schedule(operator, its)
            by_hand_in_every_mode(operator, its)
            there.store.ready_after_s = 0.0
            as_a_backfill_twice(operator, its)
            compared(operator, its)


def by_schedule(operator: Operator, its: Day) -> None:
    """Airflow makes up for the newest 03:00 that has passed; it waits for the enricher, and nobody holds a slot."""
    until(lambda: operator.runs("scheduled"), "no scheduled run")
    (run,) = operator.runs("scheduled")
    due = datetime.fromisoformat(run["logical_date"])
    assert due.astimezone(SAO_PAULO).hour == 3
    operator.waits(run["dag_run_id"], "wait_for_enrichment", seconds=180)
    assert operator.follow(run["dag_run_id"]) == well(*SIDES)
    plan = operator.result(run["dag_run_id"], "plan")
    assert plan["run_date"] == str(day_of(due) - timedelta(days=1))
    names = {t["rendered_map_index"] for t in operator.tasks(run["dag_run_id"]) if t["task_id"] == "scrape"}
    assert names == {"1 of 2: aeb, mec, saude", "2 of 2: anatel, mre, turismo"}
    entry = its.ledger.newest(DAY_KIND)
    assert entry is not None
    assert (str(entry.run_date), entry.failed_sides) == (plan["run_date"], ())
    assert its.alike()
    assert all(row["summary"] == "O governo publicou um resumo." for row in its.in_postgres().values())


def by_hand_in_every_mode(operator: Operator, its: Day) -> None:
    """The form says the mode, the window and the sites of one run."""
    today = its.last
    # Before 03:00 the newest scheduled run is that of yesterday, whose window ends the day before.
    form = {"run_date": str(today), "first": str(today - timedelta(days=1)), "skip_enrichment": True}
    for backend, sites, sides in (
        ("huggingface", ["mec"], ("huggingface",)),
        ("postgres", ["saude"], ("postgres",)),
        ("dual_write", [], SIDES),
    ):
        run_id = operator.trigger(storage_backend=backend, sites=sites, **form)
        states = well(*sides) | dict.fromkeys(["submit", "wait_for_enrichment"], "skipped")
        assert operator.follow(run_id) == states
        rows = {"postgres": its.in_postgres(), "huggingface": its.on_hub()}
        found = {s: {r["agency"] for r in of.values() if day_of(r["published_at"]) == today} for s, of in rows.items()}
        if sites:
            assert {s: sites[0] in agencies for s, agencies in found.items()} == {s: s in sides for s in SIDES}
        else:
            assert found == {s: set(SITES) for s in SIDES}
    assert its.alike(leave_out=["extracted_at"]), "what one mode left out, the next run in both brought"


def as_a_backfill_twice(operator: Operator, its: Day) -> None:
    """Three past days, and again: the same rows, nothing written, nothing committed."""
    first = datetime.combine(its.last - timedelta(days=4), datetime.min.time(), SAO_PAULO)
    last = first + timedelta(days=2, hours=23)
    for run_id in backfill(operator, first, last):
        assert operator.states(run_id) == well(*SIDES)
    before = its.state()
    assert len(before["postgres"]) == DAYS * len(SITES)
    backfill(operator, first, last, again=True)
    assert its.state() == before


def compared(operator: Operator, its: Day) -> None:
    operator.airflow.wait_for_dag("reconcile_backends")
    run_id = operator.trigger("reconcile_backends", full=True)
    states = operator.follow(run_id, "reconcile_backends")
    assert states == {"resolve_mode": "success", "compare": "success", "repair": "skipped", "verdict": "success"}
