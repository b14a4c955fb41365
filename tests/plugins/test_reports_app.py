"""Reports are served to people who are logged in, and nothing but reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import HTTPException, Request
from fastapi.testclient import TestClient

pytestmark = pytest.mark.usefixtures("airflow_metadata")

NAME = "migration-3-20261122-113809.html"


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / NAME).write_text("<!doctype html><title>report</title>", encoding="utf-8")
    (folder / "secret.txt").write_text("secret", encoding="utf-8")
    monkeypatch.setenv("REPORTS_URI", str(folder))
    return folder


@pytest.fixture
def client(reports: Path) -> Iterator[Any]:
    """A client of the app as the web server mounts it, logged in by the header `X-Test-User`."""
    from airflow.api_fastapi.core_api.security import get_user

    from govbr.reports_app import make_app

    app = make_app()

    def who(request: Request) -> SimpleNamespace:
        if "X-Test-User" not in request.headers:
            raise HTTPException(401, "not logged in")
        return SimpleNamespace(name=request.headers["X-Test-User"])

    # Airflow's own check needs its auth manager; that the app asks it at all is what can be lost here.
    app.dependency_overrides[get_user] = who
    with TestClient(app) as test_client:
        yield test_client


def test_a_report_is_shown_to_a_user(client: Any) -> None:
    answer = client.get(f"/reports/{NAME}", headers={"X-Test-User": "ana"})
    assert answer.status_code == 200
    assert "<title>report</title>" in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_nobody_sees_it_without_logging_in(client: Any) -> None:
    assert client.get(f"/reports/{NAME}").status_code == 401


@pytest.mark.parametrize(
    "name", ["secret.txt", "..%2Fsecret.txt", f"..%2Freports%2F{NAME}", f"{NAME}%00", "migration-3.html"]
)
def test_nothing_else_is_served(client: Any, name: str) -> None:
    answer = client.get(f"/reports/{name}", headers={"X-Test-User": "ana"})
    assert answer.status_code == 404
    assert "secret" not in answer.text.replace(name, "")


def test_a_report_that_is_not_there_is_said_so(client: Any) -> None:
    answer = client.get("/reports/migration-9-20261122-113809.html", headers={"X-Test-User": "ana"})
    assert answer.status_code == 404
    assert "migration-9" in answer.json()["detail"]
