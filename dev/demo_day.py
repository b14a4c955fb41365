"""The third act of the demo: a step back to writing both stores, a day of news, and the proof that both have it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from dev.airflow_local import AirflowLocal
from dev.state import LocalStackError

__all__ = ["DAY_DAG_ID", "RECONCILE_DAG_ID", "play_day"]

DAY_DAG_ID, RECONCILE_DAG_ID = "daily_pipeline", "reconcile_backends"
_MODE = "dual_write"
_SCHEDULED_SECONDS = 120.0
Say = Callable[[str], None]


def play_day(airflow: AirflowLocal, say: Say) -> bool:
    """Let the schedule collect a day into both stores, and compare them row by row; whether they are the same.

    Args:
        airflow: a running one, whose sites are a stand-in.
        say: told what goes on, a line at a time.
    """
    say("both stores are written (dual_write); the daily pipeline is unpaused, and its schedule runs the day before")
    airflow.client.set_variable("storage_backend", _MODE)
    airflow.wait_for_dag(DAY_DAG_ID)
    airflow.client.unpause(DAY_DAG_ID)
    day = airflow.follow(DAY_DAG_ID, _scheduled_run(airflow))
    if not day.succeeded:
        return False
    for line in _told(airflow, DAY_DAG_ID, day.run_id, "record")["lines"]:
        say(f"  {line}")
    compared = airflow.run(RECONCILE_DAG_ID, {"full": True})
    if not compared.succeeded:
        return False
    found = _told(airflow, RECONCILE_DAG_ID, compared.run_id, "compare")
    for line in found["lines"]:
        say(f"  {line}")
    return bool(found["passed"])


def _scheduled_run(airflow: AirflowLocal) -> str:
    """Return the run that Airflow makes for the newest scheduled time that has passed."""
    deadline = time.monotonic() + _SCHEDULED_SECONDS
    while not (runs := airflow.client.runs(DAY_DAG_ID, "scheduled")):
        if time.monotonic() > deadline:
            raise LocalStackError(f"{DAY_DAG_ID} was unpaused, and its schedule made no run")
        time.sleep(0.5)
    return runs[-1]


def _told(airflow: AirflowLocal, dag_id: str, run_id: str, task_id: str) -> Mapping[str, Any]:
    told = airflow.client.xcom(dag_id, run_id, task_id)
    if not isinstance(told, Mapping):
        raise LocalStackError(f"task {task_id} of {dag_id} handed over {told!r}")
    return told
