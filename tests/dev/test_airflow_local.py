"""The local Airflow with a DAG of our own: health, pools, runs, refusals, logs, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from dev.airflow_client import AirflowError
from dev.airflow_local import AirflowLocal
from dev.state import LocalStackError

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("airflow")]

ROOT = Path(__file__).parents[2]
TINY = """
import os, subprocess
from airflow.sdk import Param, dag, task

@dag(schedule=None, params={"n": Param(3, type="integer", minimum=1, maximum=5), "fail": Param(False, type="boolean")})
def tiny():
    @task
    def plan(params=None):
        return list(range(params["n"]))

    @task
    def work(i):
        return i * i

    @task
    def report(squares, params=None):
        if params["fail"]:
            raise ValueError("planted failure")
        # A process that leaves its task, its process group and its session behind.
        subprocess.Popen(["sleep", "54321"], start_new_session=True)
        return {"sum": sum(squares), "database": os.environ.get("DATABASE_URL"), "nothing": None}

    report(work.expand(i=plan()))

tiny()
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="govbr airflow ", dir="/var/tmp"))
    made.chmod(0o755)  # PostgreSQL's user has to pass
    (made / "dags").mkdir()
    (made / "dags" / "tiny.py").write_text(TINY)
    (made / "dags" / "broken.py").write_text("from airflow.sdk import dag\nimport no_such_module\n")
    (made / "plugins").mkdir()
    yield made
    shutil.rmtree(made)


def local(folder: Path, said: list[str], settings: Mapping[str, str] | None = None) -> AirflowLocal:
    return AirflowLocal(
        folder / "home",
        dags_folder=folder / "dags",
        plugins_folder=folder / "plugins",
        environment={"DATABASE_URL": "postgresql://nowhere/x", **(settings or {})},
        say=said.append,
    )


def processes_of(folder: Path) -> list[str]:
    """Return what still runs of an Airflow in this folder: it works there, and what it starts does too."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                found.append(f"{process.pid} {' '.join(process.cmdline())}")
        except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
            continue
    return found


def wait_until_gone(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while left := processes_of(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def test_a_run_is_followed_to_its_end_and_nothing_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a developer's shell may say must not reach it.
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://real.example.org/metadata")
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_DEFAULT", "postgresql://real.example.org/news")
    said: list[str] = []
    with local(folder, said) as airflow:
        assert airflow.client.unhealthy_parts() == []
        outcome = airflow.run("tiny", {"n": 5})
        assert outcome.succeeded
        assert airflow.client.xcom("tiny", outcome.run_id, "report") == {
            "sum": 30,
            "database": "postgresql://nowhere/x",
            "nothing": None,
        }
        assert any("work" in line and "success 5" in line for line in said)

        failing = airflow.run("tiny", {"n": 1, "fail": True})
        assert (failing.state, failing.failed_tasks) == ("failed", (("report", -1, 1),))
        assert any("ValueError: planted failure" in line for line in said)

        with pytest.raises(AirflowError, match="greater than the maximum"):
            airflow.client.trigger("tiny", {"n": 99})
        with pytest.raises(AirflowError, match="not found"):
            airflow.client.xcom("tiny", failing.run_id, "report")

        # The DAG folder is looked through when Airflow starts, so this file is found broken by now.
        with pytest.raises(AirflowError, match="No module named 'no_such_module'"):
            airflow.run("broken", {})

        with pytest.raises(LocalStackError, match="another local Airflow"):
            local(folder, said).start()

        reachable = [
            connection.laddr.ip
            for process in map(psutil.Process, [int(line.split()[0]) for line in processes_of(folder)])
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert set(reachable) == {"127.0.0.1"}
        assert [line for line in processes_of(folder) if "54321" in line]
    assert processes_of(folder) == []


def test_it_ends_with_whoever_started_it(folder: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from dev.airflow_local import AirflowLocal\n"
        "folder = Path(sys.argv[1])\n"
        "with AirflowLocal(folder / 'home', dags_folder=folder / 'dags', plugins_folder=folder / 'plugins'):\n"
        "    print('up', flush=True); time.sleep(1000)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        assert any(line == "up\n" for line in owner.stdout)
        assert processes_of(folder)
        owner.send_signal(signal.SIGKILL)
    wait_until_gone(folder)


def test_one_that_cannot_start_says_why(folder: Path) -> None:
    settings = {"AIRFLOW__CORE__EXECUTOR": "NoSuchExecutor"}
    with pytest.raises(AirflowError, match="NoSuchExecutor"), local(folder, [], settings):
        pass


def test_the_pools_file_is_one_that_airflow_imports() -> None:
    pools = json.loads((ROOT / "dev" / "airflow" / "pools.json").read_text())
    assert all(set(pool) <= {"slots", "description", "include_deferred"} for pool in pools.values())
    assert os.access(ROOT / "dev" / "airflow" / "pools.json", os.R_OK)
