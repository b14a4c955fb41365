"""The DAGs of the sync: wiring, gate and alert, run for real in this process on a real database and a Hub."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, ParamValidationError

from data_platform.jobs.daily.day_record import DAY
from data_platform.jobs.hf_sync.records import reason_to_skip
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.ledger.run_ledger import SYNC, RunLedger
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.managers.storage_mode import resolve_storage_mode
from data_platform.models.days import SAO_PAULO, day_of, utc_now
from dev.hub_server import HubServer, HubStore
from govbr.assets import HUGGINGFACE_NEWS_PUBLISHED
from govbr.hf_sync import LAG_LIMIT, check_lag, choose_mode, run_sync, verify_dataset
from tests.support.hub import DATASET, QUICK, REDUCED, TOKEN, Hub, columns
from tests.support.recorded import record_write
from tests.support.sources import articles
from tests.support.stores import Store, prepare

pytestmark = pytest.mark.usefixtures("airflow_metadata")

SYNC_TASKS = {"resolve_mode", "wait_for_write", "sync", "check_lag", "verdict"}
POSTGRES = {"storage_backend": "postgres"}
Run = Callable[..., Any]


@pytest.fixture
def bag() -> Any:
    """The DAGs, parsed anew: `dag.test` leaves what a form said in them."""
    from airflow.dag_processing.dagbag import DagBag

    found = DagBag(str(Path(__file__).parents[2] / "dags"))
    assert not found.import_errors
    return found


@pytest.fixture
def run(bag: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs a DAG to its end, by hand, without waiting between tries."""
    monkeypatch.setenv("STATE_URI", str(tmp_path / "state"))

    def start(dag_id: str = "sync_huggingface", *, mark_done: str | None = None, **conf: Any) -> Any:
        dag = bag.dags[dag_id]
        for each in dag.tasks:
            monkeypatch.setattr(each, "retries", 0)
        return dag.test(run_conf=conf, mark_success_pattern=mark_done)

    return start


@pytest.fixture
def store(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    prepare(database_url)
    monkeypatch.setenv("DATABASE_URL", database_url)
    return Store(database_url)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hf-home"))
    repositories = HubStore(tmp_path / "hub")
    for dataset in (DATASET, REDUCED):
        repositories.create(dataset)
    with HubServer(repositories, tokens=[TOKEN]) as server:
        for name, value in {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_DATASET": DATASET}.items():
            monkeypatch.setenv(name, value)
        yield Hub(repositories, server, tmp_path / "state")


@pytest.fixture
def news(store: Store) -> PostgresManager:
    """Twelve articles that wait to be published."""
    manager = PostgresManager(store.url)
    assert manager.insert(columns(articles(12))) == 12
    return manager


def states(of: Any) -> dict[str, str]:
    return {instance.task_id: str(instance.state) for instance in of.get_task_instances()}


def result(of: Any, task_id: str) -> Any:
    return of.get_task_instance(task_id).xcom_pull(task_ids=task_id)


def asset_events(of: Any) -> list[dict[str, Any]]:
    """Return the extras of the events that a run emitted on the dataset's asset."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == of.run_id)).all()
        assert {event.name for event in found} <= {"huggingface_news"}
        return [dict(event.extra) for event in found]


def age_changes(store: Store, age: timedelta) -> None:
    """Let every row have been changed some time ago."""
    hours = age.total_seconds() / 3600
    store.execute(f"UPDATE news SET updated_at = now() - interval '{hours} hours'", behind_triggers=True)


# ---------------------------------------------------------------------------------------------------- wiring


@pytest.mark.parametrize(("dag_id", "weekday", "hour"), [("sync_huggingface", None, 6), ("verify_huggingface", 6, 13)])
def test_it_is_scheduled_by_sao_paulo_s_clock(bag: Any, dag_id: str, weekday: int | None, hour: int) -> None:
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import TimeRestriction

    dag = bag.dags[dag_id]
    restriction = TimeRestriction(datetime(2026, 11, 20, tzinfo=UTC), None, catchup=True)
    timetable = coerce_to_core_timetable(dag.timetable)
    planned = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
    assert planned is not None
    local = planned.logical_date.astimezone(SAO_PAULO)
    assert (local.hour, local.minute) == (hour, 0)
    assert weekday is None or local.weekday() == weekday
    assert (dag.catchup, dag.max_active_runs) == (False, 1)


def test_the_tasks_follow_each_other_and_the_verdict_hangs_on_sync_and_lag(bag: Any) -> None:
    tasks = bag.dags["sync_huggingface"].task_dict
    upstream = {task_id: set(task.upstream_task_ids) for task_id, task in tasks.items()}
    assert upstream == {
        "resolve_mode": set(),
        "wait_for_write": {"resolve_mode"},
        "sync": {"resolve_mode", "wait_for_write"},
        "check_lag": {"resolve_mode", "sync"},
        "verdict": {"sync", "check_lag"},
    }
    assert tasks["check_lag"].trigger_rule == "all_done_min_one_success"
    gate = tasks["wait_for_write"]
    assert (gate.deferrable, gate.kind, gate.side) == (True, DAY, "postgres")


@pytest.mark.parametrize(
    ("conf", "word"),
    [
        ({"months": ["2026-13"]}, "2026-13"),
        ({"months": ["2026-10", "10/2026"]}, "10/2026"),
        ({"months": "2026-10"}, "is not of type"),
        ({"run_date": "21/11/2026"}, "date"),
        ({"storage_backend": "dual_write"}, "dual_write"),
        ({"dry_run": "yes"}, "boolean"),
    ],
)
def test_the_form_refuses_what_is_no_answer(run: Run, conf: dict[str, Any], word: str) -> None:
    with pytest.raises(ParamValidationError, match=re.escape(word)):
        run(**conf)


# ------------------------------------------------------------------------------------------------------ gate


@pytest.mark.parametrize("dag_id", ["sync_huggingface", "verify_huggingface"])
@pytest.mark.parametrize("backend", ["huggingface", "dual_write"])
def test_in_the_other_modes_everything_is_skipped_and_the_reason_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], dag_id: str, backend: str
) -> None:
    monkeypatch.setenv("STORAGE_BACKEND", backend)
    reason = reason_to_skip(resolve_storage_mode(environment={"STORAGE_BACKEND": backend}))
    assert reason is not None
    with pytest.raises(AirflowSkipException) as caught:
        choose_mode({})
    assert str(caught.value) == reason
    done = run(dag_id)
    assert set(states(done).values()) == {"skipped"}
    assert str(done.state) == "success"
    assert reason in capfd.readouterr().out


def test_the_way_back_at_3_a_m_beats_the_form(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_BACKEND", "huggingface")
    assert set(states(run(**POSTGRES)).values()) == {"skipped"}


def test_a_task_that_wakes_after_the_way_back_is_skipped_and_overwrites_nothing(
    store: Store, hub: Hub, news: PostgresManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It was cleared, is tried again, or waited for hours: its run began in mode postgres, which holds no more."""
    monkeypatch.setenv("STATE_URI", str(tmp_path / "state"))
    monkeypatch.setenv("STORAGE_BACKEND", "postgres")
    mode = choose_mode({})
    context = hand_started(storage_backend=None) | {"outlet_events": {HUGGINGFACE_NEWS_PUBLISHED: AssetEvents()}}
    assert run_sync(context, mode, None, statement_timeout_s=60)["committed"] is True
    monkeypatch.setenv("STORAGE_BACKEND", "huggingface")
    uid = articles(1)[0]["unique_id"]
    enriched = pd.DataFrame([{"unique_id": uid, "summary": "of the pipeline, later"}])
    assert DatasetManager(DATASET, settings=hub.settings, backoff=QUICK).update(enriched) == 1
    head = hub.head()
    tasks = (
        lambda: run_sync(context, mode, None, statement_timeout_s=60),
        lambda: check_lag(context, mode, statement_timeout_s=60),
        lambda: verify_dataset(context, mode, statement_timeout_s=60),
    )
    for address in (store.url, "postgresql://nobody@127.0.0.1:9/gone"):  # the way back needs no PostgreSQL
        monkeypatch.setenv("DATABASE_URL", address)
        for act in tasks:
            with pytest.raises(AirflowSkipException, match="STORAGE_BACKEND in the environment, which beats all else"):
                act()
    assert hub.head() == head
    assert next(row for row in hub.all_rows() if row["unique_id"] == uid)["summary"] == "of the pipeline, later"


def test_a_form_that_contradicts_itself_fails_before_anybody_waits(run: Run) -> None:
    done = run(full=True, months=["2026-10"], **POSTGRES)
    found = states(done)
    assert found.pop("resolve_mode") == "failed"
    assert set(found.values()) == {"upstream_failed"}, "no mode, so nothing to say about the lag"
    with pytest.raises(AirflowFailException, match="either full or months"):
        choose_mode({"full": True, "months": ["2026-10"], **POSTGRES})


# ------------------------------------------------------------------------------------------------------ sync


def test_a_run_publishes_what_waits_and_tells_its_asset(
    run: Run, store: Store, hub: Hub, news: PostgresManager
) -> None:
    done = run(**POSTGRES)
    assert set(states(done).items()) == {(task_id, "success") for task_id in SYNC_TASKS}
    told = result(done, "sync")
    assert (told["counts"]["rows"], told["commit"], told["reduced_commit"]) == (12, hub.head(), hub.head(REDUCED))
    assert told["waited"]["state"] == "none"
    (event,) = asset_events(done)
    assert {n: event[n] for n in ("rows", "dataset", "commit", "committed")} == {
        "rows": 12,
        "dataset": DATASET,
        "commit": hub.head(),
        "committed": True,
    }
    assert result(done, "check_lag") == {"rows": 0, "tombstones": 0, "oldest_s": 0, "resync_reason": None}
    entry = RunLedger(hub.settings.state_uri).newest(SYNC)
    assert entry is not None
    assert (entry.run_date, entry.facts["started_by"]) == (None, f"DAG run {done.run_id}")

    again = run(**POSTGRES)
    assert str(again.state) == "success"
    assert result(again, "sync")["committed"] is False
    assert [event["committed"] for event in asset_events(again)] == [False]


def test_a_dry_run_publishes_nothing_tells_no_asset_and_raises_no_alert(
    run: Run, store: Store, hub: Hub, news: PostgresManager
) -> None:
    before = hub.head()
    age_changes(store, LAG_LIMIT * 2)
    done = run(dry_run=True, **POSTGRES)
    assert set(states(done).values()) == {"success"}
    assert hub.head() == before
    assert asset_events(done) == []
    assert result(done, "sync")["dry_run"] is True
    assert result(done, "check_lag")["rows"] == 12
    assert RunLedger(hub.settings.state_uri).newest(SYNC) is None


def test_the_date_of_the_form_is_the_date_of_the_sync(run: Run, store: Store, hub: Hub, news: PostgresManager) -> None:
    ledger = RunLedger(hub.settings.state_uri)
    day = day_of(utc_now()) - timedelta(days=50)
    record_write(ledger, day, kind=DAY)
    done = run(run_date=day.isoformat(), **POSTGRES)
    assert result(done, "sync")["waited"]["state"] == "recorded"
    entry = ledger.newest(SYNC)
    assert entry is not None
    assert entry.run_date == day


def test_a_person_who_marks_the_wait_as_done_goes_on_at_once(
    run: Run, store: Store, hub: Hub, news: PostgresManager
) -> None:
    today = day_of(utc_now()).isoformat()
    done = run(run_date=today, mark_done="wait_for_write", **POSTGRES)
    assert set(states(done).values()) == {"success"}
    assert result(done, "sync")["waited"]["state"] == "marked"
    assert len(hub.all_rows()) == 12


def test_a_dataset_named_in_the_connection_alone_is_written(
    run: Run, store: Store, hub: Hub, news: PostgresManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "nitaibezerra/govbrnews"  # the default, here on the stand-in: chosen only if somebody names it
    for dataset in (name, f"{name}-reduced"):
        hub.store.create(dataset)
    monkeypatch.delenv("HF_DATASET")
    assert states(run(**POSTGRES))["sync"] == "failed"
    monkeypatch.setenv(
        "AIRFLOW_CONN_HUGGINGFACE_DEFAULT", f'{{"conn_type": "generic", "extra": {{"dataset": "{name}"}}}}'
    )
    assert states(run(**POSTGRES))["sync"] == "success"
    assert len(hub.all_rows(name)) == 12


# ----------------------------------------------------------------------------------------------------- alert


@pytest.mark.parametrize(("age", "lag"), [(LAG_LIMIT - timedelta(hours=1), "success"), (LAG_LIMIT * 1.5, "failed")])
def test_a_sync_that_fails_fails_the_run_and_the_lag_is_looked_at_all_the_same(
    run: Run, store: Store, hub: Hub, news: PostgresManager, age: timedelta, lag: str
) -> None:
    run(**POSTGRES)
    hub.put({"data/train-2024-03.parquet": b"somebody else's"})
    store.execute("UPDATE news SET title = title || '!'")
    age_changes(store, age)
    done = run(**POSTGRES)
    found = states(done)
    assert (found["sync"], found["check_lag"], found["verdict"]) == ("failed", lag, "upstream_failed")
    assert str(done.state) == "failed", "a small lag must not paint a failed sync green"
    assert asset_events(done) == []


class AssetEvents:
    """Where a task's events for an asset go."""

    def add(self, asset: Any, *, extra: dict[str, Any]) -> None:
        """Take one."""


def hand_started(**params: Any) -> dict[str, Any]:
    return {
        "params": {"storage_backend": "postgres", **params},
        "run_id": "by hand",
        "dag_run": SimpleNamespace(logical_date=None, run_type="manual"),
    }


def test_the_alert_says_how_far_behind_and_what_to_do(
    store: Store, hub: Hub, news: PostgresManager, gauges: dict[str, float]
) -> None:
    mode = choose_mode(POSTGRES)
    age_changes(store, timedelta(hours=31))
    with pytest.raises(AirflowFailException) as caught:
        check_lag(hand_started(), mode, statement_timeout_s=60)
    for word in ("12 changed rows", "1 day 7 hours", "limit: 1 day", "no position yet", "What to do", "clear it"):
        assert word in str(caught.value)
    assert gauges["govbr.hf_sync.lag_rows"] == 12
    assert gauges["govbr.hf_sync.lag_tombstones"] == 0
    assert gauges["govbr.hf_sync.lag_seconds"] == pytest.approx(31 * 3600, abs=60)
    assert check_lag(hand_started(dry_run=True), mode, statement_timeout_s=60)["rows"] == 12


def test_just_under_the_limit_there_is_no_alert(
    store: Store, hub: Hub, news: PostgresManager, gauges: dict[str, float]
) -> None:
    age_changes(store, LAG_LIMIT - timedelta(minutes=5))
    found = check_lag(hand_started(), choose_mode(POSTGRES), statement_timeout_s=60)
    assert found["rows"] == 12
    assert gauges["govbr.hf_sync.lag_seconds"] == found["oldest_s"] > 23 * 3600


# ---------------------------------------------------------------------------------------------- verification


def test_a_verification_passes_after_a_sync_and_names_what_somebody_changed(
    run: Run, store: Store, hub: Hub, news: PostgresManager, capfd: pytest.CaptureFixture[str]
) -> None:
    run(**POSTGRES)
    done = run("verify_huggingface", **POSTGRES)
    assert set(states(done).values()) == {"success"}
    counts = result(done, "verify")["counts"]
    assert (counts["published"], counts["equal"], counts["different"]) == (12, 12, 0)
    capfd.readouterr()
    row = articles(1)[0]
    store.execute(f"UPDATE news SET title = 'x' WHERE unique_id = '{row['unique_id']}'", behind_triggers=True)
    done = run("verify_huggingface", **POSTGRES)
    assert states(done) == {"resolve_mode": "success", "verify": "failed"}
    said = capfd.readouterr().out
    for word in ("the open dataset is not what PostgreSQL says", row["unique_id"], "What to do", "2024-03"):
        assert word in said
    # Overwriting publishes a loss: it comes last, and only for who has looked.
    told = said[said.index("What to do") :]
    assert told.index('{"full": true, "dry_run": true}') < told.index('{"full": true}') < told.index('"overwrite"')
