"""docker-compose.yaml: valid by the compose specification, closed to other machines, true to the checkout."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yaml"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return loaded


def schema_errors(path: Path) -> str:
    """Return what the compose specification's own schema has against a file; empty if nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def published_elsewhere(compose: dict[str, Any]) -> list[str]:
    """Return the published ports that another machine can reach."""
    return [
        str(port)
        for service in compose["services"].values()
        for port in service.get("ports", ())
        if not (isinstance(port, str) and port.startswith("127.0.0.1:") and port.count(":") >= 2)
    ]


def mounts(compose: dict[str, Any]) -> dict[str, str]:
    """Return host path -> path inside, of the checkout's files that Airflow's services see."""
    volumes = [volume.split(":") for volume in compose["x-airflow"]["volumes"]]
    return {parts[0]: parts[1] for parts in volumes if parts[0].startswith("./")}


def test_it_is_valid() -> None:
    assert schema_errors(COMPOSE) == ""


@pytest.mark.parametrize(
    ("service", "key", "value"),
    [
        ("postgres", "prots", ["127.0.0.1:5432:5432"]),
        ("airflow-scheduler", "depends_on", {"postgres": {"condition": "service_is_healthy"}}),
        ("airflow-init", "environment", 3),
    ],
)
def test_a_broken_file_is_found(compose: dict[str, Any], tmp_path: Path, service: str, key: str, value: object) -> None:
    broken = copy.deepcopy(compose)
    broken["services"][service][key] = value
    (tmp_path / "broken.yaml").write_text(yaml.safe_dump(broken), encoding="utf-8")
    assert key in schema_errors(tmp_path / "broken.yaml")


def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    assert published_elsewhere(compose) == []
    assert sum(len(service.get("ports", ())) for service in compose["services"].values()) == 2


@pytest.mark.parametrize(
    "port", ["8080:8080", 8080, "0.0.0.0:8080:8080", "[::]:8080:8080", {"target": 8080, "published": 8080}]
)
def test_a_port_for_the_world_is_found(compose: dict[str, Any], port: object) -> None:
    opened = copy.deepcopy(compose)
    opened["services"]["airflow-apiserver"]["ports"].append(port)
    assert published_elsewhere(opened) == [str(port)]


def test_secrets_come_from_the_environment(compose: dict[str, Any]) -> None:
    environments = [service.get("environment", {}) for service in compose["services"].values()]
    secret = {
        name: str(value)
        for environment in environments
        for name, value in environment.items()
        if any(word in name for word in ("SECRET", "PASSWORD", "TOKEN", "FERNET"))
    }
    assert len(secret) >= 5
    assert [name for name, value in secret.items() if not (value.startswith("${") and ":-" in value)] == []
    addresses = [value for environment in environments for value in environment.values() if "://" in str(value)]
    assert [value for value in addresses if "@" in value and "${POSTGRES_PASSWORD:-" not in value] == []


def test_versions_are_those_of_the_project(compose: dict[str, Any]) -> None:
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    assert "apache-airflow==3.3.1" in pins
    assert "FROM apache/airflow:3.3.1-python3.11" in compose["x-airflow"]["build"]["dockerfile_inline"]
    assert compose["services"]["postgres"]["image"] == "postgres:15"
    assert compose["x-airflow"]["environment"]["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"


def test_every_part_of_airflow_runs_with_the_same_settings(compose: dict[str, Any]) -> None:
    commands = {name: service.get("command") for name, service in compose["services"].items() if name != "postgres"}
    assert {"api-server", "scheduler", "dag-processor", "triggerer"} <= set(map(str, commands.values()))
    for name in commands:
        service = compose["services"][name]
        assert service["environment"] == compose["x-airflow"]["environment"], name
        assert service["volumes"] == compose["x-airflow"]["volumes"], name
    assert "pools import /opt/airflow/pools.json" in str(commands["airflow-init"])


def test_what_is_mounted_exists_and_every_plugin_is_mounted(compose: dict[str, Any]) -> None:
    found = mounts(compose)
    assert [path for path in found if not (ROOT / path).exists()] == []
    assert found["./include/data_platform"] == "/opt/airflow/plugins/data_platform"
    plugins = {f"./plugins/{path.name}" for path in (ROOT / "plugins").iterdir() if path.name != "__pycache__"}
    assert plugins - set(found) == set()
