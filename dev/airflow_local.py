"""A whole Airflow on loopback: `airflow standalone` started, watched and stopped by a program.

It has its own home in the state folder and its metadata in a small PostgreSQL beside it, as on Composer (in SQLite,
writers that meet fail with "database is locked"). It reads the DAGs and plugins of this checkout and takes nothing from
AIRFLOW* variables of the caller: those may point at a real environment. It ends with the process that started it,
however that ends.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dev.airflow_client import AirflowClient, AirflowError, RunOutcome
from dev.embedded_postgres import DURABILITY_OFF, EmbeddedPostgres
from dev.lifeline import Lifeline
from dev.state import REPOSITORY, exclusive, free_port, make_folder

__all__ = ["POOLS_FILE", "AirflowLocal"]

#: The pools that DAGs name, in the form of `airflow pools import`.
POOLS_FILE = Path(__file__).parent / "airflow" / "pools.json"
_HEALTHY_SECONDS = 300.0  # 20 on an idle machine with two cores, 100 and more on one that is overloaded
_TELLING = ("ERROR", "CRITICAL", "Traceback", "Exception", "Error:", "error:")


class AirflowLocal:
    """One local Airflow, for use in a `with` statement.

    Args:
        home: its AIRFLOW_HOME; made if need be. The metadata lie beside it, in `<home>-metadata`, which PostgreSQL's
            user has to reach (see `EmbeddedPostgres`).
        dags_folder: where the DAGs are.
        plugins_folder: where the plugins are.
        environment: variables that DAGs shall see, on top of the caller's (DATABASE_URL, HF_…).
        port: preferred port of UI and API; another one is taken if it is in use.
        fresh: forget what an earlier Airflow in this home did.
        pools: the pools to create; by default those of `POOLS_FILE`.
        say: told what goes on, a line at a time.
    """

    def __init__(
        self,
        home: Path,
        *,
        dags_folder: Path = REPOSITORY / "dags",
        plugins_folder: Path = REPOSITORY / "plugins",
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
        fresh: bool = False,
        pools: Mapping[str, Mapping[str, Any]] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.home = home
        self._dags_folder = dags_folder
        self._plugins_folder = plugins_folder
        self._extra = dict(environment or {})
        self._preferred_port = port
        self._fresh = fresh
        self._pools = json.loads(POOLS_FILE.read_text(encoding="utf-8")) if pools is None else pools
        self._say = say
        self._resources = ExitStack()
        self._lifeline: Lifeline | None = None
        self._client: AirflowClient | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def client(self) -> AirflowClient:
        """Talks to this Airflow.

        Raises:
            AirflowError: it does not run.
        """
        if self._client is None:
            raise AirflowError("this Airflow does not run")
        return self._client

    @property
    def log_file(self) -> Path:
        """What all parts of this Airflow wrote."""
        return self.home / "standalone.log"

    def start(self) -> None:
        """Start Airflow and wait until every part of it is healthy.

        Raises:
            AirflowError: it ends or is not healthy in time; the message holds the telling lines of its log.
            LocalStackError: another one runs in the same home.
        """
        make_folder(self.home)
        self._resources.enter_context(
            exclusive(
                self.home.with_name(self.home.name + ".lock"),
                busy=f"another local Airflow runs in {self.home}; stop it first (Ctrl-C where it was started)",
            )
        )
        if self._fresh:
            shutil.rmtree(self.home)
            make_folder(self.home)
        started = time.monotonic()
        metadata_url = self._metadata()
        port = free_port(self._preferred_port)
        base_url = f"http://127.0.0.1:{port}"
        with self.log_file.open("wb") as log:
            self._lifeline = Lifeline(
                [self._shim(), "standalone"],
                log=log,
                environment=self._environment(port, base_url, metadata_url),
                cwd=self.home,
            )
        self._client = self._resources.enter_context(AirflowClient(base_url))
        self._wait_until_healthy(started)
        self._client.set_pools(self._pools)
        self._say(f"Airflow is up at {base_url} ({time.monotonic() - started:.1f} s); its log: {self.log_file}")

    def stop(self) -> None:
        """Stop Airflow with everything that it started; stopping twice is no harm."""
        if self._lifeline is not None:
            self._lifeline.stop()
            self._lifeline = None
        self._client = None
        self._resources.close()

    def run(self, dag_id: str, conf: Mapping[str, Any], *, timeout: float = 1800.0) -> RunOutcome:
        """Trigger a DAG and follow it to its end, saying how its tasks get on.

        What the failed tasks logged is said too; the caller decides what a failed run means.
        """
        self.wait_for_dag(dag_id)
        return self.follow(dag_id, self.client.trigger(dag_id, conf), timeout=timeout)

    def follow(self, dag_id: str, run_id: str, *, timeout: float = 1800.0) -> RunOutcome:
        """Follow a run to its end; see `run`."""
        kind = run_id.partition("__")[0]
        self._say(f"{dag_id}: {kind} run, {self.client.base_url}/dags/{dag_id}/runs/{run_id}")
        outcome = self.client.follow(
            dag_id,
            run_id,
            on_change=lambda seconds, task, states: self._say(f"  {seconds:6.1f} s  {task:<32} {states}"),
            timeout=timeout,
        )
        self._say(f"{dag_id}: {outcome.state} after {outcome.seconds:.1f} s")
        for task_id, map_index, try_number in outcome.failed_tasks:
            name = task_id if map_index < 0 else f"{task_id}[{map_index}]"
            self._say(f"the end of the log of {name}:")
            for line in self.client.task_log_end(dag_id, run_id, task_id, map_index=map_index, try_number=try_number):
                self._say(f"    {line}")
        return outcome

    def wait_for_dag(self, dag_id: str, *, timeout: float = 120.0) -> None:
        """Wait until a DAG is parsed.

        Raises:
            AirflowError: the file of its name cannot be imported, or it does not appear in time.
        """
        deadline = time.monotonic() + timeout
        while not self.client.has_dag(dag_id):
            errors = self.client.import_errors()
            if f"{dag_id}.py" in errors or time.monotonic() > deadline:
                told = "\n".join(f"{name}:\n{trace}" for name, trace in errors.items()) or "no file failed to import"
                raise AirflowError(f"Airflow has no DAG {dag_id}; {told}")
            time.sleep(0.5)

    def is_running(self) -> bool:
        """Say whether the process is there; `client.unhealthy_parts` says how it feels."""
        return self._lifeline is not None and self._lifeline.poll() is None

    def telling_log_lines(self, count: int = 25) -> list[str]:
        """Return the last lines of the log that speak of an error, or its last lines if none does."""
        if not self.log_file.exists():
            return []
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        telling = [line for line in lines if any(word in line for word in _TELLING)]
        return (telling or lines)[-count:]

    def _metadata(self) -> str:
        """Start the server of Airflow's own database, and return the address of that database."""
        folder = self.home.with_name(f"{self.home.name}-metadata")
        server = self._resources.enter_context(EmbeddedPostgres(folder / "data", settings=DURABILITY_OFF, bound=True))
        if self._fresh:
            server.drop_database("airflow")
        return server.create_database("airflow")

    def _wait_until_healthy(self, started: float) -> None:
        unhealthy = ["api-server"]
        while unhealthy and self.is_running() and time.monotonic() - started < _HEALTHY_SECONDS:
            time.sleep(0.5)
            unhealthy = self.client.unhealthy_parts()
        if unhealthy:
            what = f"has no healthy {', '.join(unhealthy)}" if self.is_running() else "ended by itself"
            log = "\n".join(f"  {line}" for line in self.telling_log_lines())
            raise AirflowError(f"Airflow {what} after {time.monotonic() - started:.0f} s; from {self.log_file}:\n{log}")

    def _shim(self) -> Path:
        """Write the `airflow` that standalone calls for its parts, and return it.

        The logs' own HTTP servers would listen on every network interface; here the API server reads
        the files itself.
        """
        airflow = Path(sys.executable).with_name("airflow")
        shim = make_folder(self.home / "bin") / "airflow"
        shim.write_text(
            "#!/bin/sh\n"
            'case "$1" in scheduler|triggerer) set -- "$@" --skip-serve-logs ;; esac\n'
            f'exec {shlex.quote(sys.executable)} {shlex.quote(str(airflow))} "$@"\n',
            encoding="utf-8",
        )
        shim.chmod(0o755)
        return shim

    def _environment(self, port: int, base_url: str, metadata_url: str) -> dict[str, str]:
        """Return the environment of Airflow's processes."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
        path = [str(self.home / "bin"), str(Path(sys.executable).parent), kept.get("PATH", os.defpath)]
        no_proxy = [part for part in (kept.get("NO_PROXY"), kept.get("no_proxy")) if part]
        loopback = ",".join(["127.0.0.1", "localhost", *no_proxy])
        return {
            **kept,
            "PATH": os.pathsep.join(path),
            # Found by the API server before it has put the plugins on sys.path itself.
            "PYTHONPATH": os.pathsep.join([str(self._plugins_folder), *filter(None, [kept.get("PYTHONPATH")])]),
            "NO_PROXY": loopback,
            "no_proxy": loopback,
            "NO_COLOR": "1",
            "SCARF_ANALYTICS": "false",
            "DO_NOT_TRACK": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__API__HOST": "127.0.0.1",
            # Both are needed: with the port alone every task looks for the API on 8080.
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": base_url,
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(24),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self._dags_folder),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self._plugins_folder),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata_url,
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            **self._extra,
        }
