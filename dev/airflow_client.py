"""A client of Airflow's REST API, as much of it as the local stack needs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from dev.state import LocalStackError

__all__ = ["AirflowClient", "AirflowError", "RunOutcome"]

_PAGE = 100  # the API's own limit
_GET_ATTEMPTS = 5
_FINISHED = frozenset({"success", "failed"})
_ORDER = ("success", "failed", "upstream_failed", "skipped", "running", "deferred", "up_for_retry", "queued")


class AirflowError(LocalStackError):
    """Airflow did not do what was asked, or a run of it failed."""


@dataclass(frozen=True)
class RunOutcome:
    """How a DAG run ended.

    Attributes:
        dag_id: the DAG.
        run_id: the run.
        state: `success` or `failed`.
        seconds: from the trigger to the end, as seen from here.
        failed_tasks: (task id, map index, try number) of each failed task instance.
    """

    dag_id: str
    run_id: str
    state: str
    seconds: float
    failed_tasks: tuple[tuple[str, int, int], ...] = field(default=())

    @property
    def succeeded(self) -> bool:
        """The run ended well."""
        return self.state == "success"


class AirflowClient:
    """Talks to one Airflow, which asks for no password.

    Args:
        base_url: its address, such as http://127.0.0.1:8080.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        # A proxy of the environment is for the world outside, not for loopback.
        self._http = httpx.Client(base_url=f"{base_url}/api/v2", timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def unhealthy_parts(self) -> list[str]:
        """Return the parts of Airflow that are not (yet) healthy; empty means that all are."""
        try:
            parts: Mapping[str, Any] = self._http.get("/monitor/health").raise_for_status().json()
        except (httpx.TransportError, httpx.HTTPStatusError):
            return ["api-server"]
        return [name for name, part in parts.items() if not isinstance(part, dict) or part.get("status") != "healthy"]

    def set_pools(self, pools: Mapping[str, Mapping[str, Any]]) -> None:
        """Create pools, or change those that exist: a task of a missing pool never starts.

        Args:
            pools: name -> slots, description and include_deferred, as `airflow pools import` reads them.
        """
        for name, pool in pools.items():
            body = {
                "slots": pool["slots"],
                "description": pool.get("description", ""),
                "include_deferred": pool.get("include_deferred", False),
            }
            answer = self._http.post("/pools", json={"name": name, **body})
            if answer.status_code == HTTPStatus.CONFLICT:
                answer = self._http.patch(f"/pools/{_quoted(name)}", json={"pool": name, **body})
            _accept(answer, f"pool {name}")

    def set_variable(self, key: str, value: str) -> None:
        """Set an Airflow variable, whether it is there or not."""
        body = {"key": key, "value": value}
        answer = self._http.post("/variables", json=body)
        if answer.status_code == HTTPStatus.CONFLICT:
            answer = self._http.patch(f"/variables/{_quoted(key)}", json=body)
        _accept(answer, f"variable {key}")

    def unpause(self, dag_id: str) -> None:
        """Let the schedule of a DAG begin, and its runs by hand start."""
        _accept(self._http.patch(f"/dags/{_quoted(dag_id)}", json={"is_paused": False}), f"to unpause {dag_id}")

    def runs(self, dag_id: str, run_type: str) -> list[str]:
        """Return the ids of a DAG's runs of one type (`scheduled`, `manual`, `backfill`), oldest first.

        Of the oldest hundred; a local stack has no more.
        """
        found = self._get(f"/dags/{_quoted(dag_id)}/dagRuns", order_by="run_after", limit=_PAGE)["dag_runs"]
        return [str(run["dag_run_id"]) for run in found if run["run_type"] == run_type]

    def has_dag(self, dag_id: str) -> bool:
        """Say whether a DAG is there, that is: its file has been parsed."""
        return self._http.get(f"/dags/{_quoted(dag_id)}").status_code == HTTPStatus.OK

    def import_errors(self) -> dict[str, str]:
        """Return the DAG files that cannot be imported, with their traceback."""
        return {e["filename"]: e["stack_trace"] for e in self._get("/importErrors")["import_errors"]}

    def trigger(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Start a run by hand, as the form in the UI does, and return its run id.

        Raises:
            AirflowError: Airflow refuses, for instance because a parameter is out of its range.
        """
        answer = self._http.post(f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": dict(conf)})
        return str(_accept(answer, f"a run of {dag_id}")["dag_run_id"])

    def follow(
        self,
        dag_id: str,
        run_id: str,
        *,
        on_change: Callable[[float, str, str], None],
        timeout: float = 1800.0,
        every: float = 1.0,
    ) -> RunOutcome:
        """Wait until a run ends.

        Args:
            dag_id: the DAG.
            run_id: the run.
            on_change: told (seconds, task id, states) whenever the states of a task change; the states
                of a mapped task are counted, as in "success 3, running 2".
            timeout: seconds to wait.
            every: seconds between two looks.

        Raises:
            AirflowError: it does not end in time.
        """
        started = time.monotonic()
        shown: dict[str, str] = {}
        while True:
            # The run first: what its tasks say afterwards is then at least as new.
            state = str(self._get(f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}")["state"])
            instances = list(self._task_instances(dag_id, run_id))
            seconds = time.monotonic() - started
            for task_id, states in _summaries(instances).items():
                if shown.get(task_id) != states:
                    shown[task_id] = states
                    on_change(seconds, task_id, states)
            if state in _FINISHED:
                failed = [i for i in instances if i["state"] == "failed"]
                return RunOutcome(
                    dag_id,
                    run_id,
                    state,
                    seconds,
                    tuple((i["task_id"], i["map_index"], i["try_number"]) for i in failed),
                )
            if seconds > timeout:
                raise AirflowError(f"run {run_id} of {dag_id} is still {state} after {timeout:.0f} s")
            time.sleep(every)

    def xcom(self, dag_id: str, run_id: str, task_id: str, *, key: str = "return_value", map_index: int = -1) -> object:
        """Return what a task handed over.

        Raises:
            AirflowError: it handed over nothing under that key.
        """
        path = f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances/{_quoted(task_id)}/xcomEntries/{_quoted(key)}"
        return self._get(path, map_index=map_index)["value"]

    def task_log_end(
        self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1, try_number: int = 1, lines: int = 20
    ) -> list[str]:
        """Return the last lines of a task's log: its warnings and errors, or everything if it has none."""
        path = f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances/{_quoted(task_id)}/logs/{try_number}"
        content = self._get(path, map_index=map_index, full_content=True)["content"]
        if not isinstance(content, list):
            return str(content).splitlines()[-lines:]
        entries = [entry for entry in content if not str(entry.get("event", "")).startswith("::")]
        serious = [entry for entry in entries if str(entry.get("level")) in {"warning", "error", "critical"}]
        return [line for entry in serious or entries for line in _log_lines(entry)][-lines:]

    def _task_instances(self, dag_id: str, run_id: str) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self._get(f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances", limit=_PAGE, offset=offset)
            yield from page["task_instances"]
            offset += _PAGE
            if offset >= page["total_entries"]:
                return

    def _get(self, path: str, **query: str | int) -> dict[str, Any]:
        """Ask, and ask again when the answer is the hiccup of an overloaded machine."""
        for attempt in range(1, _GET_ATTEMPTS + 1):
            last = attempt == _GET_ATTEMPTS
            try:
                answer = self._http.get(path, params=query)
            except httpx.TransportError as error:
                if last:
                    raise AirflowError(f"Airflow at {self.base_url} does not answer: {error}") from error
            else:
                if last or answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                    return _accept(answer, path)
            time.sleep(0.5 * attempt)
        raise AssertionError("the last attempt returns or raises")


def _accept(answer: httpx.Response, what: str) -> dict[str, Any]:
    if answer.is_success:
        body: dict[str, Any] = answer.json()
        return body
    try:
        detail = answer.json().get("detail", answer.text)
    except ValueError:
        detail = answer.text
    raise AirflowError(f"Airflow refuses {what} ({answer.status_code}): {detail}")


def _quoted(part: str) -> str:
    return quote(part, safe="")


def _summaries(instances: list[dict[str, Any]]) -> dict[str, str]:
    """Return task id -> its states; tasks that have none yet are left out."""
    states: dict[str, Counter[str]] = {}
    mapped = {instance["task_id"] for instance in instances if instance["map_index"] >= 0}
    for instance in instances:
        if instance["state"]:
            states.setdefault(instance["task_id"], Counter())[instance["state"]] += 1
    return {
        task_id: ", ".join(f"{state} {counts[state]}" if task_id in mapped else state for state in _ordered(counts))
        for task_id, counts in states.items()
    }


def _ordered(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda state: (_ORDER.index(state) if state in _ORDER else len(_ORDER), state))


def _log_lines(entry: Mapping[str, Any]) -> list[str]:
    """Return an entry of a task's log as text, the exception that it carries below it."""
    lines = [" ".join(str(entry.get(key) or "") for key in ("timestamp", "level", "event"))]
    for error in entry.get("error_detail") or ():
        lines += [f"  {frame['filename']}:{frame['lineno']} in {frame['name']}" for frame in error["frames"][-3:]]
        lines.append(f"  {error['exc_type']}: {error['exc_value']}")
    return lines
