"""What an operator does and sees in a whole Airflow, through its REST API; and a DAG folder for that."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from dev.airflow_local import AirflowLocal

__all__ = ["Operator", "dag_folder", "until"]

ROOT = Path(__file__).parents[2]


@contextmanager
def dag_folder(dag_id: str, *, looks_every: str, seconds: int, more: Sequence[str] = ()) -> Iterator[Path]:
    """Make a folder with a DAG in `dags/` as it is, save that its sensor looks every few seconds.

    Args:
        dag_id: the DAG, whose file has its name.
        looks_every: how its file says how often the sensor looks.
        seconds: how often it looks here.
        more: other DAGs, as they are.
    """
    made = Path(tempfile.mkdtemp(prefix="govbr-dags-", dir="/var/tmp"))
    made.chmod(0o755)  # PostgreSQL's user has to pass
    (made / "dags").mkdir()
    text, usual = (ROOT / "dags" / f"{dag_id}.py").read_text(encoding="utf-8"), f"_LOOK_EVERY = {looks_every}"
    assert text.count(usual) == 1
    quick = text.replace(usual, f"_LOOK_EVERY = timedelta(seconds={seconds})")
    (made / "dags" / f"{dag_id}.py").write_text(quick, encoding="utf-8")
    for other in more:
        shutil.copy(ROOT / "dags" / f"{other}.py", made / "dags")
    yield made
    shutil.rmtree(made)


def until(condition: Callable[[], object], otherwise: str, seconds: float = 90) -> None:
    """Wait for something to be so.

    Raises:
        AssertionError: it is not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.3)


class Operator:
    """Somebody at the UI of a running Airflow.

    Args:
        airflow: a running one.
        dag_id: the DAG that is meant where none is named.
    """

    def __init__(self, airflow: AirflowLocal, dag_id: str) -> None:
        self.airflow = airflow
        self.dag_id = dag_id
        self._http = httpx.Client(base_url=f"{airflow.client.base_url}/api/v2", timeout=30, trust_env=False)

    def ask(self, path: str, method: str = "GET", **body: Any) -> Any:
        """Return what the API says to a request that it must take."""
        answer = self._http.request(method, path, json=body or None)
        assert answer.is_success, answer.text
        return answer.json()

    def runs(self, kind: str, dag_id: str = "") -> list[dict[str, Any]]:
        """Return the runs of a kind: scheduled, manual, backfill, asset_triggered; in order."""
        found = self.ask(f"/dags/{dag_id or self.dag_id}/dagRuns?order_by=run_after&limit=100")["dag_runs"]
        return [run for run in found if run["run_type"] == kind]

    def tasks(self, run_id: str, dag_id: str = "") -> list[dict[str, Any]]:
        """Return the tasks of a run."""
        place = f"/dags/{dag_id or self.dag_id}/dagRuns/{quote(run_id)}/taskInstances?limit=100"
        return list(self.ask(place)["task_instances"])

    def states(self, run_id: str, dag_id: str = "") -> dict[str, str]:
        """Return task -> state; of several of one task the last one's."""
        return {task["task_id"]: task["state"] for task in self.tasks(run_id, dag_id)}

    def named_states(self, run_id: str) -> dict[str, str]:
        """Return task -> state, each part of a mapped one by the name that the UI shows."""
        names = {True: "{task_id} {rendered_map_index}", False: "{task_id}"}
        return {names[task["map_index"] >= 0].format(**task): task["state"] for task in self.tasks(run_id)}

    def log(self, run_id: str, task_id: str, *, map_index: int = -1) -> str:
        """Return the log of a task's first try."""
        place = f"/dags/{self.dag_id}/dagRuns/{quote(run_id)}/taskInstances/{task_id}/logs/1"
        return str(self.ask(f"{place}?map_index={map_index}"))

    def waits(self, run_id: str, sensor: str = "wait_for_write", *, seconds: float = 90) -> None:
        """Return when the sensor of a run is deferred."""
        until(lambda: self.states(run_id).get(sensor) == "deferred", f"{sensor} of {run_id} does not wait", seconds)

    def follow(self, run_id: str, dag_id: str = "") -> dict[str, str]:
        """Return the states of a run's tasks at its end."""
        self.airflow.client.follow(dag_id or self.dag_id, run_id, on_change=lambda *_: None, timeout=240)
        return self.states(run_id, dag_id)

    def trigger(self, dag_id: str = "", **conf: Any) -> str:
        """Start a run with the form; return its id."""
        return self.airflow.client.trigger(dag_id or self.dag_id, conf)

    def result(self, run_id: str, task_id: str, *, dag_id: str = "", map_index: int = -1) -> Any:
        """Return what a task handed over."""
        return self.airflow.client.xcom(dag_id or self.dag_id, run_id, task_id, map_index=map_index)
