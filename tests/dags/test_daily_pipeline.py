"""The daily pipeline's DAG, run for real in this process: made-up sites, a real database, a stand-in of the Hub."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError

from data_platform.errors import StoreError
from data_platform.jobs.daily.day_record import DAY as DAY_KIND
from data_platform.jobs.daily.pipeline import DailyPipeline
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.ledger.entry import LedgerEntry
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.days import SAO_PAULO, day_of, utc_now
from dev.airflow_local import POOLS_FILE
from dev.gov_web.faults import status
from dev.hub_server import HubServer, HubStore
from govbr.daily import SCRAPE_SLOTS, plan_run, raise_alerts, scrape_group
from govbr.sensors.enrichment_sensor import EnrichmentSensor
from tests.support.daily import DAY, SITES, Day, day
from tests.support.enrichment import KEY, NAME, Cogfy, cogfy
from tests.support.hub import DATASET, REDUCED, TOKEN, Hub
from tests.support.stores import Store, prepare

pytestmark = pytest.mark.usefixtures("airflow_metadata")

ARTICLES = 3 * len(SITES)
SIDES = ("postgres", "huggingface")
MODES = {"huggingface": ("huggingface",), "dual_write": SIDES, "postgres": ("postgres",)}
Run = Callable[..., Any]


@pytest.fixture
def bag() -> Any:
    """The DAGs, parsed anew: `dag.test` leaves what a form said in them."""
    from airflow.dag_processing.dagbag import DagBag

    found = DagBag(str(Path(__file__).parents[2] / "dags"))
    assert not found.import_errors
    return found


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hf-home"))
    repositories = HubStore(tmp_path / "hub")
    for dataset in (DATASET, REDUCED):
        repositories.create(dataset)
    with HubServer(repositories, tokens=[TOKEN]) as server:
        yield Hub(repositories, server, tmp_path / "state")


@pytest.fixture
def its(database_url: str, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Day]:
    """Six sites with an article a day each, both stores, and an environment that says where they are."""
    prepare(database_url)
    with day(Store(database_url), hub, tmp_path) as made:
        for name, value in {**made.environment, "SCRAPER_CONNECTIONS": "3"}.items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def run(bag: Any, its: Day, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs the DAG to its end, by hand, without waiting between tries."""

    def start(**conf: Any) -> Any:
        dag = bag.dags["daily_pipeline"]
        for each in dag.tasks:
            if each.is_mapped:
                monkeypatch.setitem(each.partial_kwargs, "retries", 0)
            else:
                monkeypatch.setattr(each, "retries", 0)
        monkeypatch.setattr(dag.task_dict["wait_for_enrichment"], "poke_interval", 0.2)
        return dag.test(run_conf={"run_date": DAY.isoformat(), **conf})

    return start


def states(of: Any) -> dict[str, str]:
    """Return task -> state; the states of a mapped task in the order of its groups."""
    found: dict[str, list[str]] = {}
    for instance in sorted(of.get_task_instances(), key=lambda i: i.map_index):
        found.setdefault(instance.task_id, []).append(str(instance.state))
    return {task_id: ", ".join(its) for task_id, its in found.items()}


def result(of: Any, task_id: str) -> Any:
    return of.get_task_instance(task_id).xcom_pull(task_ids=task_id)


def asset_events(of: Any) -> dict[str, dict[str, Any]]:
    """Return asset -> extra of the events that a run emitted."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == of.run_id)).all()
        return {event.name: dict(event.extra) for event in found}


def recorded(its: Day) -> LedgerEntry:
    entry = its.ledger.newest(DAY_KIND)
    assert entry is not None
    return entry


def outcomes(entry: LedgerEntry) -> dict[str, str]:
    return {side: record.status.value for side, record in entry.sides.items()}


def refuse(*_: Any, **__: Any) -> None:
    raise StoreError("no space left", hint="make some")


#: Tasks that are green however a store fares.
BEFORE = dict.fromkeys(
    ["plan", "groups", "gather", "submit", "wait_for_enrichment", "enriched", "choose_sides", "alerts"], "success"
) | {"scrape": "success, success, success"}


# ---------------------------------------------------------------------------------------------------- wiring


def test_it_is_scheduled_by_sao_paulo_s_clock_at_night(bag: Any) -> None:
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import TimeRestriction

    dag = bag.dags["daily_pipeline"]
    restriction = TimeRestriction(utc_now(), None, catchup=True)
    planned = coerce_to_core_timetable(dag.timetable).next_dagrun_info(
        last_automated_data_interval=None, restriction=restriction
    )
    assert planned is not None
    assert planned.logical_date.astimezone(SAO_PAULO).strftime("%H:%M") == "03:00"
    assert (dag.catchup, dag.max_active_runs) == (False, 1)


def test_the_tasks_follow_each_other(bag: Any) -> None:
    tasks = bag.dags["daily_pipeline"].task_dict
    assert {task_id: set(task.upstream_task_ids) for task_id, task in tasks.items()} == {
        "plan": set(),
        "groups": {"plan"},
        "scrape": {"plan", "groups"},
        "gather": {"plan", "scrape"},
        "submit": {"plan", "gather"},
        "wait_for_enrichment": {"plan", "submit"},
        "enriched": {"plan", "gather", "submit", "wait_for_enrichment"},
        "choose_sides": {"plan", "enriched"},
        "write_postgres": {"plan", "enriched", "choose_sides"},
        "write_huggingface": {"plan", "enriched", "choose_sides"},
        "record": {"plan", "gather", "enriched", "write_postgres", "write_huggingface"},
        "alerts": {"gather", "enriched", "write_postgres", "write_huggingface"},
    }
    assert {tasks[name].trigger_rule.value for name in ("record", "enriched")} == {"all_done"}
    assert tasks["wait_for_enrichment"].deferrable is True
    leaves = {task_id for task_id, task in tasks.items() if not task.downstream_task_ids}
    assert leaves == {"record", "alerts"}, "a run is as green as its leaves"


def test_scraping_keeps_to_a_pool_that_fits_what_may_be_asked_of_a_host(bag: Any) -> None:
    pool = bag.dags["daily_pipeline"].task_dict["scrape"].pool
    slots = json.loads(POOLS_FILE.read_text(encoding="utf-8"))[pool]["slots"]
    assert slots == SCRAPE_SLOTS
    assert "{{ group_name }}" in str(bag.dags["daily_pipeline"].task_dict["scrape"].map_index_template)


@pytest.mark.parametrize(
    ("conf", "word"),
    [
        ({"run_date": "21/11/2026"}, "date"),
        ({"first": "yesterday"}, "date"),
        ({"sites": "mec"}, "is not of type"),
        ({"storage_backend": "sqlite"}, "sqlite"),
        ({"storage_read_from": "dual_write"}, "dual_write"),
        ({"skip_enrichment": "no"}, "boolean"),
        ({"min_coverage": 80}, "80 is greater than the maximum"),
    ],
)
def test_the_form_refuses_what_is_no_answer(run: Run, conf: dict[str, Any], word: str) -> None:
    with pytest.raises(ParamValidationError, match=re.escape(word)):
        run(**conf)


def by_hand(run_type: str = "manual", **params: Any) -> dict[str, Any]:
    """Return as much of a task's context as the plan reads."""
    form = {"min_coverage": 0.8, "run_date": None, "sites": [], **params}
    run = SimpleNamespace(logical_date=None, run_type=run_type, run_after=utc_now(), start_date=utc_now())
    return {"params": form, "dag_run": run, "run_id": "by hand"}


def test_by_hand_without_a_date_it_is_for_yesterday(its: Day) -> None:
    assert plan_run(by_hand())["run_date"] == (day_of(utc_now()) - timedelta(days=1)).isoformat()


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"sites": ["nowhere"]}, "there is no site 'nowhere'"),
        ({"first": "2026-02-05", "run_date": "2026-02-04"}, "is after the last"),
        ({"storage_backend": "huggingface", "storage_read_from": "postgres"}, "is read but never written"),
        ({"run_date": "2999-01-01"}, "lies ahead"),
    ],
)
def test_a_form_that_cannot_be_meant_fails_before_a_site_is_asked(its: Day, params: dict[str, Any], word: str) -> None:
    with pytest.raises(AirflowFailException, match=word):
        plan_run(by_hand(**params))
    assert its.web.requests == []


def test_where_few_connections_are_allowed_there_are_no_more_groups(its: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRAPER_CONNECTIONS", "2")
    assert len(plan_run(by_hand())["groups"]) == 2


# ---------------------------------------------------------------------------------------------- skip matrix


@pytest.mark.parametrize("failing", [(), ("postgres",), ("huggingface",), SIDES], ids="+".join)
@pytest.mark.parametrize("backend", MODES)
def test_which_stores_are_written_and_what_is_red(
    run: Run, its: Day, monkeypatch: pytest.MonkeyPatch, backend: str, failing: tuple[str, ...]
) -> None:
    for side in failing:
        monkeypatch.setattr({"postgres": PostgresManager, "huggingface": DatasetManager}[side], "insert_rows", refuse)
    chosen = MODES[backend]
    bad = [side for side in chosen if side in failing]
    if backend == "huggingface":
        monkeypatch.setenv("DATABASE_URL", "mysql://this cannot be read")

    done = run(storage_backend=backend)

    expected = {f"write_{s}": "skipped" if s not in chosen else "failed" if s in bad else "success" for s in SIDES}
    assert states(done) == BEFORE | expected | {"record": "failed" if bad else "success"}
    assert str(done.state) == ("failed" if bad else "success")
    entry = recorded(its)
    assert outcomes(entry) == {
        s: "skipped" if s not in chosen else "failed" if s in bad else "succeeded" for s in SIDES
    }
    assert all("no space left" in entry.sides[side].error for side in bad)
    assert (entry.run_date, entry.facts["started_by"]) == (DAY, f"DAG run {done.run_id}")
    events = asset_events(done)
    assert set(events) == {f"{side}_news" for side in chosen if side not in bad}
    for side in chosen:
        if side not in bad:
            assert events[f"{side}_news"]["run_date"] == DAY.isoformat()
            assert events[f"{side}_news"]["insert_inserted"] == ARTICLES
    there = {"postgres": its.in_postgres(), "huggingface": its.on_hub()}
    assert {s: len(rows) for s, rows in there.items()} == {
        s: ARTICLES if s in chosen and s not in bad else 0 for s in SIDES
    }


def test_a_run_after_the_cause_is_mended_changes_only_what_was_missed(
    run: Run, its: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(PostgresManager, "insert_rows", refuse)
        run(storage_backend="dual_write")
    heads = its.state()["commits"]
    assert str(run(storage_backend="dual_write").state) == "success"
    assert its.alike(leave_out=["extracted_at"])
    assert its.state()["commits"] == heads
    before = its.state()
    assert str(run(storage_backend="dual_write").state) == "success"
    assert its.state() == before


def test_the_way_back_at_3_a_m_beats_the_form(run: Run, its: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_BACKEND", "huggingface")
    done = run(storage_backend="postgres")
    assert states(done)["write_postgres"] == "skipped"
    assert (len(its.in_postgres()), len(its.on_hub())) == (0, ARTICLES)


# ---------------------------------------------------------------------------------------------- what goes wrong


def test_a_group_that_is_lost_is_told_and_the_others_are_written(
    run: Run, its: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = DailyPipeline.scrape

    def scrape(self: DailyPipeline, number: int, **more: Any) -> Any:
        if number == 1:
            raise MemoryError("the worker is gone")
        return real(self, number, **more)

    monkeypatch.setattr(DailyPipeline, "scrape", scrape)
    done = run(storage_backend="postgres", min_coverage=0.5)
    found = states(done)
    assert found["scrape"] == "success, failed, success"
    assert (found["gather"], found["record"], str(done.state)) == ("success", "success", "success")
    assert len(its.in_postgres()) == 12
    assert set(recorded(its).facts["sites"]["failed"].values()) == {"not_visited"}

    done = run(storage_backend="postgres", min_coverage=0.8)
    assert (states(done)["write_postgres"], states(done)["record"]) == ("success", "failed")


def test_if_no_group_comes_back_nothing_is_written_and_that_is_recorded(
    run: Run, its: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DailyPipeline, "scrape", refuse)
    done = run(storage_backend="dual_write")
    found = states(done)
    assert (found["gather"], found["enriched"], found["record"]) == ("failed", "failed", "failed")
    assert {found[name] for name in ("choose_sides", "write_postgres", "write_huggingface")} == {"upstream_failed"}
    entry = recorded(its)
    assert outcomes(entry) == dict.fromkeys(SIDES, "failed")
    assert "did not run (upstream_failed), since gather failed" in entry.sides["postgres"].error
    assert its.ledger.newest("write") is None


def test_without_a_plan_nothing_is_begun_and_the_run_is_red(run: Run, its: Day) -> None:
    done = run(sites=["nowhere"])
    found = states(done)
    assert found.pop("alerts") == "skipped"
    assert (found.pop("plan"), found.pop("enriched"), found.pop("record")) == ("failed", "failed", "failed")
    assert set(found.values()) == {"upstream_failed"}
    assert str(done.state) == "failed"


@pytest.mark.parametrize("task", ["submit", "wait_for_enrichment"])
def test_an_enricher_that_fails_keeps_no_article_from_being_written_and_is_told(
    run: Run, its: Day, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    with cogfy() as there:
        set_cogfy(there, monkeypatch)
        there.store.ready_after_s = 3600.0
        monkeypatch.setattr(DailyPipeline, {"submit": "submit", "wait_for_enrichment": "collect"}[task], refuse)
        done = run(storage_backend="postgres")
    found = states(done)
    assert (found[task], found["enriched"], found["write_postgres"]) == ("failed", "success", "success")
    assert (found["record"], found["alerts"], str(done.state)) == ("success", "failed", "failed")
    assert len(its.in_postgres()) == ARTICLES
    assert f"{task} failed" in recorded(its).facts["not_enriched"]


def set_cogfy(there: Cogfy, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {
        "conn_type": "generic",
        "password": KEY,
        "host": there.server.url,
        "extra": json.dumps({"collection": NAME}),
    }
    monkeypatch.setenv("AIRFLOW_CONN_COGFY_DEFAULT", json.dumps(connection))


def test_an_enricher_that_is_not_ready_is_waited_for_without_a_worker(
    run: Run, its: Day, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with cogfy() as there:
        set_cogfy(there, monkeypatch)
        there.store.ready_after_s = 8.0
        done = run(storage_backend="dual_write")
    assert states(done) == BEFORE | {"write_postgres": "success", "write_huggingface": "success", "record": "success"}
    assert all(row["summary"] == "O governo publicou um resumo." for row in its.in_postgres().values())
    assert its.alike()
    assert "18 are pending; next look at" in caplog.text


def test_an_enricher_that_is_late_fails_nothing(run: Run, its: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    long_ago = utc_now() - timedelta(days=1)
    with cogfy() as there:
        set_cogfy(there, monkeypatch)
        there.store.ready_after_s = 3600.0
        monkeypatch.setattr(EnrichmentSensor, "_deadline", property(lambda _: long_ago))
        done = run(storage_backend="postgres")
    assert str(done.state) == "success"
    assert result(done, "enriched")["enrichment"]["pending"] == ARTICLES
    assert len(its.in_postgres()) == ARTICLES


def test_nobody_is_asked_where_the_form_says_so(run: Run, its: Day) -> None:
    done = run(storage_backend="postgres", skip_enrichment=True, sites=["mec", "saude"])
    found = states(done)
    assert (found["submit"], found["wait_for_enrichment"], found["enriched"]) == ("skipped", "skipped", "success")
    assert (found["alerts"], str(done.state)) == ("success", "success")
    assert {row["agency"] for row in its.in_postgres().values()} == {"mec", "saude"}
    assert not any(row["summary"] for row in its.in_postgres().values())


# ------------------------------------------------------------------------------------------------------ alerts


def test_a_site_that_needs_a_person_makes_the_run_red_and_not_the_data(run: Run, its: Day) -> None:
    its.web.faults = [status(r"^www\.gov\.br/mec", 404)]
    for back in (2, 1):
        done = run(storage_backend="postgres", run_date=(DAY - timedelta(days=back)).isoformat())
        assert (states(done)["alerts"], str(done.state)) == ("success", "success")
    done = run(storage_backend="postgres")
    assert (states(done)["alerts"], states(done)["record"], str(done.state)) == ("failed", "success", "failed")
    assert outcomes(recorded(its)) == {"postgres": "succeeded", "huggingface": "skipped"}
    gathered = {"alerts": ["mec: failed 3 runs in a row (url_broken)"]}
    with pytest.raises(AirflowFailException) as caught:
        raise_alerts(context_of("manual"), gathered, None, {})
    for word in ("mec: failed 3 runs in a row", "that the day was written is said by record", "What to do"):
        assert word in str(caught.value)
    raise_alerts(context_of("backfill"), gathered, None, {})
    raise_alerts(context_of("manual"), {"alerts": []}, None, {})


def test_rows_that_a_store_rejected_need_a_person(its: Day) -> None:
    rejected = {"counts": {"insert": {"given": 20, "rejected": 20}}, "rejected_by_reason": {"title_missing": 20}}
    written = {"postgres": rejected, "huggingface": None}
    with pytest.raises(AirflowFailException, match="postgres rejected 20 of 20 rows: 20 title missing"):
        raise_alerts(context_of("manual", write_postgres="success"), {"alerts": []}, None, written)
    # what an earlier try handed over is not what became of this one
    raise_alerts(context_of("manual", write_postgres="failed"), {"alerts": []}, None, written)


def test_what_is_asked_of_a_host_is_shared_by_all_slots_whatever_the_groups_of_a_run(
    its: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of a backfill, of one site each, have a slot each at the same time."""
    asked: list[int] = []
    monkeypatch.setattr(DailyPipeline, "scrape", lambda _self, _number, *, processes: asked.append(processes))
    monkeypatch.setenv("SCRAPER_CONNECTIONS", "8")
    context = by_hand(sites=["mec"])
    scrape_group(context, plan_run(context), {"number": 0})
    monkeypatch.setenv("SCRAPER_CONNECTIONS", "2")
    scrape_group(context, plan_run(context), {"number": 0})
    assert asked == [SCRAPE_SLOTS, 2]


def context_of(run_type: str, **states: str) -> dict[str, Any]:
    """Return as much of a task's context as the alerts read; of the tasks that are not named only gather ran."""
    run = SimpleNamespace(dag_id="daily_pipeline", run_id="r", run_type=run_type)
    return {"dag_run": run, "ti": SimpleNamespace(get_task_states=lambda **_: {"r": {"gather": "success"} | states})}
