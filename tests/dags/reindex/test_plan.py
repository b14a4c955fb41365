"""How the DAG is wired, what its form takes, and what a run plans before anything is read."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, ParamValidationError

from data_platform.jobs.daily.day_record import DAY
from data_platform.managers.ledger.run_ledger import SYNC
from data_platform.models.days import SAO_PAULO
from dev.airflow_local import POOLS_FILE
from govbr.reindex_plan import ReaderPlan, plan_run
from tests.support.reindexing import (
    DAG,
    FORM,
    FULL,
    HUGGINGFACE,
    POSTGRES,
    READERS,
    Run,
    Services,
    keep,
    result,
    started_by_hand,
    states,
)
from tests.support.stores import Store

pytestmark = pytest.mark.usefixtures("airflow_metadata")


def test_it_is_scheduled_by_sao_paulo_s_clock(bag: Any) -> None:
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import TimeRestriction

    dag = bag.dags[DAG]
    restriction = TimeRestriction(datetime(2026, 11, 20, tzinfo=UTC), None, catchup=True)
    planned = coerce_to_core_timetable(dag.timetable).next_dagrun_info(
        last_automated_data_interval=None, restriction=restriction
    )
    assert planned is not None
    local = planned.logical_date.astimezone(SAO_PAULO)
    assert (local.hour, local.minute) == (3, 15)
    assert (dag.catchup, dag.max_active_runs) == (False, 1)


def test_the_tasks_follow_each_other_and_the_verdict_hangs_on_all(bag: Any) -> None:
    dag = bag.dags[DAG]
    assert {task_id: set(task.upstream_task_ids) for task_id, task in dag.task_dict.items()} == {
        "resolve": set(),
        "wait_for_write": {"resolve"},
        "reindex": {"resolve", "wait_for_write"},
        "lags": {"resolve", "reindex"},
        "verdict": {"reindex", "lags"},
    }
    gate = dag.task_dict["wait_for_write"]
    assert (gate.deferrable, gate.poke_interval, gate.timeout) == (True, 60, 4 * 3600)


def test_what_a_schedule_asks_for_is_what_the_form_shows_at_first(bag: Any) -> None:
    assert dict(bag.dags[DAG].params) == FORM


def test_its_pool_is_among_those_that_are_made(bag: Any) -> None:
    pool = bag.dags[DAG].task_dict["reindex"].pool
    assert json.loads(POOLS_FILE.read_text())[pool]["slots"] == len(READERS)


@pytest.mark.parametrize(
    ("conf", "word"),
    [
        ({"reader": "portal"}, "portal"),
        ({"kind": "everything"}, "everything"),
        ({"dry_run": True}, "string"),
        ({"max_failed": -1}, "minimum"),
        ({"run_date": "21/11/2026"}, "date"),
        ({"storage_backend": "mysql"}, "mysql"),
    ],
)
def test_the_form_refuses_what_is_no_answer(run: Run, conf: dict[str, Any], word: str) -> None:
    with pytest.raises(ParamValidationError, match=re.escape(word)):
        run(**conf)


@pytest.mark.parametrize(
    ("kind", "dry_run", "looks_only"),
    [
        ("incremental", "auto", False),
        ("full", "auto", True),
        ("rollback", "auto", True),
        ("incremental", "yes", True),
        ("full", "yes", True),
        ("full", "no", False),
        ("rollback", "no", False),
    ],
)
def test_what_moves_searches_is_only_looked_at_unless_somebody_says_no(
    services: Services, kind: str, dry_run: str, looks_only: bool
) -> None:
    plans = plan_run(started_by_hand(kind=kind, dry_run=dry_run, **POSTGRES))
    assert [(plan["reader"], plan["options"]["dry_run"]) for plan in plans] == [(name, looks_only) for name in READERS]
    assert [ReaderPlan.from_dict(json.loads(json.dumps(plan))).to_dict() for plan in plans] == plans


@pytest.mark.parametrize(
    ("backend", "source", "awaited"),
    [
        ("postgres", "postgres", (DAY, "postgres")),
        ("dual_write", "postgres", (DAY, "postgres")),
        ("huggingface", "postgres", ("", "")),
        ("postgres", "huggingface", (SYNC, "huggingface")),
        ("dual_write", "huggingface", (DAY, "huggingface")),
        ("huggingface", "huggingface", (DAY, "huggingface")),
    ],
)
def test_it_waits_for_who_writes_what_is_read(
    services: Services, store: Store, backend: str, source: str, awaited: tuple[str, str]
) -> None:
    kind = "full" if source == "huggingface" else "incremental"
    for plan in plan_run(started_by_hand(kind=kind, source=source, storage_backend=backend)):
        assert (plan["await_kind"], plan["await_side"]) == awaited


def test_an_index_that_is_not_configured_is_left_out_and_named(
    services: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_QDRANT_DEFAULT")
    assert [plan["reader"] for plan in plan_run(started_by_hand(**POSTGRES))] == ["typesense"]
    assert "qdrant is not configured and left out; to have it kept, set the connection qdrant_default" in caplog.text
    with pytest.raises(AirflowFailException, match=r"qdrant is not configured .*QDRANT_URL and QDRANT_API_KEY"):
        plan_run(started_by_hand(reader="qdrant", **POSTGRES))


def test_the_environment_configures_an_index_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_URL", "http://127.0.0.1:1")
    assert [plan["reader"] for plan in plan_run(started_by_hand(**POSTGRES))] == ["qdrant"]


def test_a_form_that_contradicts_itself_fails_before_anybody_waits(run: Run, services: Services) -> None:
    done = run(afresh=True, **POSTGRES)
    found = states(done)
    assert (found.pop("resolve"), found.pop("lags")) == ("failed", "skipped"), "no plan, so nothing to say"
    assert set(found.values()) == {"upstream_failed"}
    with pytest.raises(AirflowFailException, match="afresh belongs to a full run"):
        plan_run(started_by_hand(afresh=True, **POSTGRES))


def test_without_any_index_the_run_is_skipped_and_says_what_to_set(run: Run) -> None:
    done = run(**POSTGRES)
    assert set(states(done).values()) == {"skipped"}
    assert str(done.state) == "success"
    with pytest.raises(AirflowSkipException, match=r"no search index is configured.*typesense_default.*qdrant_default"):
        plan_run(started_by_hand(**POSTGRES))


@pytest.mark.parametrize(("address", "word"), [("", "no database is set"), ("mysql://x", "cannot be read")])
def test_in_mode_huggingface_without_a_database_each_index_is_skipped_and_lags_says_where_it_stands(
    run: Run, services: Services, monkeypatch: pytest.MonkeyPatch, address: str, word: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", address)
    with pytest.raises(AirflowSkipException, match=rf"the storage mode is huggingface/huggingface.*{word}"):
        keep("typesense", **HUGGINGFACE)
    with pytest.raises(AirflowFailException):  # whoever asks for it by hand shall see it fail
        keep("typesense", **FULL | HUGGINGFACE)
    if not address:
        done = run()
        found = {task: state for task, state in states(done).items() if task != "wait_for_write"}
        skipped = dict.fromkeys((f"reindex {reader}" for reader in READERS), "skipped")
        assert found == skipped | {"resolve": "success", "lags": "success", "verdict": "success"}
        assert set(result(done, "lags")) == set(READERS)
