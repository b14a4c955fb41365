"""The DAG that compares both stores and repairs, run for real in this process on a real database and a Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, ParamValidationError

from data_platform.jobs.reconcile.compare import Comparer
from data_platform.managers.ledger.run_ledger import RECONCILE
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.days import SAO_PAULO, utc_now
from dev.hub_server import HubServer, HubStore
from govbr.reconcile import choose_mode, judge_stores, repair_stores
from tests.support.hub import DATASET, REDUCED, TOKEN, Hub, columns
from tests.support.sources import articles
from tests.support.stores import Store, prepare
from tests.support.two_stores import TwoStores

pytestmark = pytest.mark.usefixtures("airflow_metadata")

ROWS = articles(12)
Run = Callable[..., Any]
FORM = {"repair": "none", "dry_run": True, "allow_delete": False, "delete_buried": False, "allow_shrink": False}
FORM |= {"full": False, "storage_backend": None}


@pytest.fixture
def bag() -> Any:
    """The DAGs, parsed anew: `dag.test` leaves what a form said in them."""
    from airflow.dag_processing.dagbag import DagBag

    found = DagBag(str(Path(__file__).parents[2] / "dags"))
    assert not found.import_errors
    return found


@pytest.fixture
def both(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoStores]:
    """Twelve articles in both stores, and an environment that says where they are."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hf-home"))
    prepare(database_url)
    repositories = HubStore(tmp_path / "hub")
    for dataset in (DATASET, REDUCED):
        repositories.create(dataset)
    with HubServer(repositories, tokens=[TOKEN]) as server:
        made = TwoStores(Store(database_url), Hub(repositories, server, tmp_path / "state"), tmp_path)
        its = made.settings
        for name, value in {
            "DATABASE_URL": its.database_url,
            "HF_ENDPOINT": its.hf_endpoint,
            "HF_TOKEN": TOKEN,
            "HF_DATASET": DATASET,
            "THEMES_SOURCE": its.themes_source,
            "STATE_URI": its.state_uri,
            "STAGING_URI": its.staging_uri,
            "STORAGE_BACKEND": "dual_write",
        }.items():
            monkeypatch.setenv(name, value)
        made.write(ROWS[:10])
        yield made


@pytest.fixture
def run(bag: Any, both: TwoStores, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs the DAG to its end, by hand, without waiting between tries."""

    def start(**conf: Any) -> Any:
        dag = bag.dags["reconcile_backends"]
        for each in dag.tasks:
            monkeypatch.setattr(each, "retries", 0)
        return dag.test(run_conf={**FORM, **conf})

    return start


def states(of: Any) -> dict[str, str]:
    return {instance.task_id: str(instance.state) for instance in of.get_task_instances()}


def result(of: Any, task_id: str) -> Any:
    return of.get_task_instance(task_id).xcom_pull(task_ids=task_id)


def ended(repair: str, verdict: str) -> dict[str, str]:
    return {"resolve_mode": "success", "compare": "success", "repair": repair, "verdict": verdict}


def miss(both: TwoStores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PostgreSQL miss two new articles, as the run ledger knows."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(PostgresManager, "insert_rows", refuse)
        with pytest.raises(Exception, match="gone"), both.adapter() as adapter:
            adapter.insert_rows(columns(ROWS[10:]))


def test_it_runs_every_day_after_the_pipeline_by_sao_paulo_s_clock(bag: Any) -> None:
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import TimeRestriction

    dag = bag.dags["reconcile_backends"]
    restriction = TimeRestriction(utc_now(), None, catchup=True)
    planned = coerce_to_core_timetable(dag.timetable).next_dagrun_info(
        last_automated_data_interval=None, restriction=restriction
    )
    assert planned is not None
    assert planned.logical_date.astimezone(SAO_PAULO).strftime("%H:%M") == "05:00"
    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    assert dag.params["dry_run"] is True, "a repair is asked for by a person"
    assert {task_id: set(task.upstream_task_ids) for task_id, task in dag.task_dict.items()} == {
        "resolve_mode": set(),
        "compare": {"resolve_mode"},
        "repair": {"resolve_mode", "compare"},
        "verdict": {"compare", "repair"},
    }


@pytest.mark.parametrize("backend", ["huggingface", "postgres"])
def test_in_the_other_modes_everything_is_skipped(run: Run, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    monkeypatch.setenv("STORAGE_BACKEND", backend)
    done = run()
    assert (set(states(done).values()), str(done.state)) == ({"skipped"}, "success")
    with pytest.raises(AirflowSkipException, match=f"storage_backend is {backend}"):
        choose_mode(FORM)


def test_a_repair_that_is_cleared_after_a_rollback_is_skipped(both: TwoStores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its run began in dual_write; by now one store leads, and the other is behind by design."""
    mode = choose_mode(FORM)
    uid = ROWS[0]["unique_id"]
    both.store.execute(f"UPDATE news SET title = 'older' WHERE unique_id = '{uid}'")
    head = both.hub.head()
    monkeypatch.setenv("STORAGE_BACKEND", "huggingface")
    context = {"params": {**FORM, "repair": "from-postgres", "dry_run": False}, "run_id": "by hand"}
    context["dag_run"] = SimpleNamespace(logical_date=None, run_type="manual")
    with pytest.raises(AirflowSkipException, match="storage_backend is huggingface"):
        repair_stores(context, mode, statement_timeout_s=60)
    assert both.hub.head() == head


def test_a_form_that_contradicts_itself_is_refused(run: Run) -> None:
    with pytest.raises(AirflowFailException, match="allow_delete means nothing for repair missed"):
        choose_mode({**FORM, "repair": "missed", "allow_delete": True})
    with pytest.raises(AirflowFailException, match="delete_buried means nothing for repair from-huggingface"):
        choose_mode({**FORM, "repair": "from-huggingface", "delete_buried": True})
    with pytest.raises(ParamValidationError, match="everything"):
        run(repair="everything")


def test_stores_that_are_the_same_end_green_and_it_is_recorded(run: Run, both: TwoStores) -> None:
    done = run(run_date="2026-02-04")
    assert states(done) == ended("skipped", "success")
    entry = both.ledger.newest(RECONCILE)
    assert entry is not None
    assert (str(entry.run_date), entry.facts["passed"]) == ("2026-02-04", True)
    assert entry.facts["started_by"] == f"DAG run {done.run_id}"
    assert (result(done, "compare")["counts"]["equal"], result(done, "compare")["full"]) == (10, False)


def test_what_was_missed_is_told_then_shown_and_then_brought(
    run: Run, both: TwoStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    miss(both, monkeypatch)
    done = run()
    assert (states(done), str(done.state)) == (ended("skipped", "failed"), "failed")
    assert result(done, "compare")["counts"]["unaccounted"] == 2

    done = run(repair="missed")
    assert states(done) == ended("success", "failed"), "a dry run mends nothing"
    assert result(done, "repair")["dry_run"] is True
    assert len(both.in_postgres()) == 10

    done = run(repair="missed", dry_run=False)
    assert (states(done), str(done.state)) == (ended("success", "success"), "success")
    assert len(both.in_postgres()) == 12
    assert both.alike()
    assert states(run(repair="none", dry_run=True)) == ended("skipped", "success")


def test_rows_that_were_changed_follow_the_store_that_is_named(run: Run, both: TwoStores) -> None:
    uid = ROWS[0]["unique_id"]
    both.store.execute(f"UPDATE news SET title = 'changed by hand' WHERE unique_id = '{uid}'")
    done = run()
    assert states(done) == ended("skipped", "failed")
    assert result(done, "compare")["columns"] == {"title": 1}
    done = run(repair="missed", dry_run=False)
    assert states(done) == ended("success", "failed"), "nothing was missed, and they differ still"
    done = run(repair="from-huggingface", dry_run=False)
    assert states(done) == ended("success", "success")
    assert both.in_postgres()[uid]["title"] == ROWS[0]["title"]


def test_nothing_is_deleted_unless_that_is_allowed(run: Run, both: TwoStores) -> None:
    PostgresManager(settings=both.settings).insert(columns(ROWS[11:]))
    assert states(run(repair="from-huggingface", dry_run=False))["verdict"] == "success"
    assert (len(both.in_postgres()), len(both.on_hub())) == (11, 11)
    PostgresManager(settings=both.settings).insert(columns(ROWS[10:11]))
    assert states(run(repair="from-huggingface", dry_run=False, allow_delete=True))["verdict"] == "success"
    assert (len(both.in_postgres()), len(both.on_hub())) == (11, 11)


def test_what_postgresql_has_deleted_goes_if_that_is_asked_for(run: Run, both: TwoStores) -> None:
    postgres = PostgresManager(settings=both.settings)
    postgres.delete_rows([ROWS[0]["unique_id"]], reason="court")
    assert states(run(repair="from-postgres", dry_run=False))["verdict"] == "failed"
    assert states(run(repair="from-postgres", dry_run=False, delete_buried=True))["verdict"] == "success"
    assert ROWS[0]["unique_id"] not in both.on_hub()


def test_a_rollback_while_a_repair_is_at_work_stops_it(both: TwoStores, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode is asked again before each piece that is written."""
    context = {"params": {**FORM, "repair": "from-postgres", "dry_run": False}, "run_id": "by hand"}
    context["dag_run"] = SimpleNamespace(logical_date=None, run_type="manual")
    uid = ROWS[0]["unique_id"]
    both.store.execute(f"UPDATE news SET title = 'older' WHERE unique_id = '{uid}'")
    mode = choose_mode(context["params"])
    look = Comparer.look

    def roll_back(comparer: Comparer, **more: Any) -> Any:
        monkeypatch.setenv("STORAGE_BACKEND", "huggingface")
        return look(comparer, **more)

    monkeypatch.setattr(Comparer, "look", roll_back)
    with pytest.raises(AirflowFailException, match="behind by design"):
        repair_stores(context, mode, statement_timeout_s=60)
    assert both.on_hub()[uid]["title"] != "older"


@pytest.mark.parametrize(
    ("repair", "found", "repaired", "word"),
    [
        ("none", False, None, "the stores differ:"),
        ("none", False, {"after": {"passed": True, "lines": []}, "open": 0, "dry_run": False}, "the stores differ:"),
        ("missed", False, {"after": None, "open": 3, "dry_run": True}, "the stores differ:"),
        ("missed", True, {"after": {"passed": True, "lines": []}, "open": 2, "dry_run": False}, "2 missed writes"),
        ("missed", True, {"after": {"passed": False, "lines": []}, "open": 0, "dry_run": False}, "after the repair"),
    ],
)
def test_the_verdict_says_what_is_wrong_and_what_to_do(
    repair: str, found: bool, repaired: dict[str, Any] | None, word: str
) -> None:
    context = {"params": {"repair": repair}, "dag_run": SimpleNamespace()}
    with pytest.raises(AirflowFailException, match=word) as caught:
        judge_stores(context, {"passed": found, "lines": ["3 different"]}, repaired)
    assert "What to do" in str(caught.value)
