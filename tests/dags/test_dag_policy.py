"""Rules that every DAG keeps, whoever writes it; a DAG that breaks one is named by the test that it fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

_ROOT = Path(__file__).parents[2]
_DAGS = _ROOT / "dags"
_FILES = sorted(_DAGS.glob("*.py"))
_SECTIONS = ("Safety", "Parameters", "When not to use it")
_HEAVY = ("pandas", "pyarrow", "datasets", "huggingface_hub", "psycopg", "alembic", "data_platform.jobs")
_MOST_PARSE_SECONDS = 2.0

#: Imports DAG files, each in a fork of one process that has imported Airflow; prints a line of JSON for each: what it
#: loaded beyond Airflow, how long that took, and what it raised.
_PROBE = """
import importlib.util, json, os, socket, sys, time
sys.path[:0] = json.loads(sys.argv[1])
import airflow, airflow.sdk, airflow.models
def refuse(*arguments, **_named):
    raise ConnectionRefusedError("a connection was opened while parsing")
for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
socket.create_connection = socket.getaddrinfo = refuse
for path in sys.argv[2:]:
    if os.fork() == 0:
        before, started, error = set(sys.modules), time.monotonic(), None
        try:
            spec = importlib.util.spec_from_file_location("probed_dag", path)
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
        except BaseException as raised:
            error = f"{type(raised).__name__}: {raised}"
        seconds, modules = time.monotonic() - started, sorted(set(sys.modules) - before)
        print(json.dumps({"path": path, "error": error, "seconds": seconds, "modules": modules}), flush=True)
        os._exit(0)
    os.wait()
"""


def _probe(files: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Import DAG files as the DAG processor would, with plugins and dags on the path and no network."""
    folders = json.dumps([str(_ROOT / "plugins"), str(_DAGS)])
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, folders, *map(str, files)],
        env=os.environ | {"AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"path"')]
    return {Path(each["path"]).stem: each for each in found}


@pytest.fixture(scope="module")
def bag() -> Any:
    """Every DAG of the package."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(_DAGS))


@pytest.fixture(scope="module", params=_FILES, ids=lambda file: file.stem)
def dag(request: pytest.FixtureRequest, bag: Any) -> Any:
    """The DAG of one file: the test runs for each."""
    assert not bag.import_errors
    found = [each for each in bag.dags.values() if Path(each.fileloc) == request.param]
    assert len(found) == 1, f"{request.param.name} holds {len(found)} DAGs; one DAG a file"
    return found[0]


def test_every_file_imports_and_there_is_one_at_least(bag: Any) -> None:
    assert bag.import_errors == {}
    assert _FILES
    assert len(bag.dags) == len(_FILES)


def test_a_file_is_named_like_its_dag(dag: Any) -> None:
    assert Path(dag.fileloc).stem == dag.dag_id


def test_the_manual_is_shown_in_the_ui_and_says_what_an_operator_needs(dag: Any) -> None:
    headings = re.findall(r"^## +(.+?)\s*$", dag.doc_md or "", flags=re.MULTILINE)
    assert [name for name in _SECTIONS if name not in headings] == []
    assert re.match(r"\s*# \S", dag.doc_md), "the manual begins with a title"


def test_every_parameter_of_the_form_is_described_in_the_form_and_in_the_manual(dag: Any) -> None:
    params = {name: dag.params.get_param(name) for name in dag.params}
    assert [
        n for n, p in params.items() if not (p.description and p.schema.get("title") and p.schema.get("type"))
    ] == []
    assert [name for name in params if f"`{name}`" not in dag.doc_md] == []


def test_it_says_whose_it_is_and_where_it_belongs(dag: Any) -> None:
    assert dag.owner not in {"", "airflow"}
    assert dag.tags


def test_every_task_is_tried_again_and_ends_some_time(dag: Any) -> None:
    tasks = dag.tasks
    assert tasks
    assert [task.task_id for task in tasks if not task.retries] == []
    assert [task.task_id for task in tasks if task.execution_timeout is None] == []


def test_a_statement_ends_before_its_task(dag: Any) -> None:
    """Fault 60: the inner limit is below the outer one, or a task that was ended leaves its query running."""
    module = next(each for each in list(sys.modules.values()) if getattr(each, "__file__", None) == dag.fileloc)
    limit = timedelta(seconds=getattr(module, "_STATEMENT_TIMEOUT_S", 0))
    assert [task.task_id for task in dag.tasks if limit >= task.execution_timeout] == []
    if "statement_timeout_s" in Path(dag.fileloc).read_text(encoding="utf-8"):
        assert limit > timedelta(0)


def test_it_starts_on_a_fixed_day_and_catches_up_on_nothing(dag: Any) -> None:
    source = Path(dag.fileloc).read_text(encoding="utf-8")
    assert dag.start_date is not None
    assert dag.start_date.tzinfo is not None
    assert dag.catchup is False
    assert not re.search(r"start_date\s*=\s*[^,\n]*(now|today|days_ago)", source), (
        "a start date that moves never starts"
    )


def test_what_people_start_runs_once_at_a_time_and_defaults_to_a_dry_run(dag: Any) -> None:
    assert _by_hand_faults(dag) == []


def test_a_schedule_names_its_zone(dag: Any) -> None:
    """Fault 10."""
    assert _zone_faults(dag) == []


#: Files that break a rule of parsing, by name.
_BAD = {
    "bad_create_connection": "import socket\nsocket.create_connection(('127.0.0.1', 9))\n",
    "bad_connect": "import socket\nsocket.socket().connect(('127.0.0.1', 9))\n",
    "bad_heavy": "import data_platform.jobs.migration.job\n",
    "bad_slow": f"import time\ntime.sleep({_MOST_PARSE_SECONDS})\n",
}


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What parsing each file did: ours, and some that break the rules."""
    folder = tmp_path_factory.mktemp("bad_dags")
    for name, text in _BAD.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return _probe([*_FILES, *(folder / f"{name}.py" for name in _BAD)])


@pytest.mark.parametrize("name", [file.stem for file in _FILES])
def test_parsing_opens_no_connection_imports_nothing_heavy_and_is_quick(
    name: str, parsed: dict[str, dict[str, Any]]
) -> None:
    assert _parsing_faults(parsed[name]) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bad_create_connection", "a connection was opened while parsing"),
        ("bad_connect", "a connection was opened while parsing"),
        ("bad_heavy", "imports data_platform.jobs"),
        ("bad_heavy", "imports pyarrow"),
        ("bad_slow", "takes 2.0 s"),
    ],
)
def test_a_file_that_breaks_a_rule_of_parsing_is_found(
    name: str, words: str, parsed: dict[str, dict[str, Any]]
) -> None:
    assert words in "; ".join(_parsing_faults(parsed[name]))


# ------------------------------------------------------------------------- the rules can be broken


def _by_hand_faults(dag: Any) -> list[str]:
    """Return what is wrong with a DAG that only people start; nothing for one with a schedule."""
    if dag.schedule is not None:
        return []
    faults = [] if dag.max_active_runs == 1 else [f"max_active_runs is {dag.max_active_runs}"]
    if "dry_run" not in dag.params or dag.params["dry_run"] is not True:
        faults.append("dry_run is not on by default")
    return faults


def _zone_faults(dag: Any) -> list[str]:
    """Return what is wrong with the zone of a schedule; an asset or no schedule at all needs none."""
    expression = dag.schedule if isinstance(dag.schedule, str) else getattr(dag.schedule, "expression", None)
    if expression is None:
        return []
    zone = str(getattr(dag.timetable, "timezone", None) or dag.timezone)
    return [] if "/" in zone else [f"{expression!r} is in {zone}: name a place, such as America/Sao_Paulo"]


def _parsing_faults(seen: dict[str, Any]) -> list[str]:
    """Return what is wrong with the way in which a file parses."""
    faults = [] if seen["error"] is None else [seen["error"]]
    faults += [f"imports {name}" for name in _HEAVY if name in seen["modules"]]
    return faults + ([f"takes {seen['seconds']:.1f} s"] if seen["seconds"] >= _MOST_PARSE_SECONDS else [])


@pytest.mark.parametrize(
    ("schedule", "runs", "params", "faults"),
    [
        (None, 1, {"dry_run": True}, 0),
        (None, 1, {"dry_run": False}, 1),
        (None, 1, {}, 1),
        (None, 16, {}, 2),
        ("0 6 * * *", 16, {}, 0),
    ],
)
def test_a_rule_for_hand_started_dags_can_be_broken(
    schedule: str | None, runs: int, params: dict[str, Any], faults: int
) -> None:
    dag = SimpleNamespace(schedule=schedule, max_active_runs=runs, params=params)
    assert len(_by_hand_faults(dag)) == faults


@pytest.mark.parametrize(("zone", "faults"), [("America/Sao_Paulo", 0), ("UTC", 1)])
@pytest.mark.parametrize("timetable", [True, False])
def test_a_schedule_without_a_place_is_found(timetable: bool, zone: str, faults: int) -> None:
    from airflow.sdk import DAG, CronTriggerTimetable

    schedule = CronTriggerTimetable("0 6 * * *", timezone=zone) if timetable else "0 6 * * *"
    dag = DAG("some_dag", schedule=schedule, start_date=datetime(2026, 1, 1, tzinfo=ZoneInfo(zone)))
    assert len(_zone_faults(dag)) == faults
