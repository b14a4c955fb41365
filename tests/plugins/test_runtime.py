"""What a task gets from Airflow: settings from connections, and errors by whether a retry makes sense."""

from __future__ import annotations

import json

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from data_platform.errors import SourceError, StoreUnavailableError
from data_platform.managers.storage_mode import resolve_storage_mode
from govbr.runtime import airflow_errors, mode_settings, task_settings

pytestmark = pytest.mark.usefixtures("airflow_metadata")


def test_without_connections_the_environment_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://a:b@127.0.0.1:1/env\n")
    settings = task_settings(statement_timeout_s=7)
    assert settings.database_url == "postgresql://a:b@127.0.0.1:1/env"
    assert settings.statement_timeout_s == 7


@pytest.mark.parametrize(
    "connection",
    [
        "postgres://user:p%40ss@127.0.0.1:5/conn?sslmode=require",
        json.dumps(
            {
                "conn_type": "postgres",
                "login": "user",
                "password": "p@ss",
                "host": "127.0.0.1",
                "port": 5,
                "schema": "conn",
                "extra": {"sslmode": "require"},
            }
        ),
    ],
)
def test_a_connection_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, connection: str) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://a:b@127.0.0.1:1/env")
    monkeypatch.setenv("AIRFLOW_CONN_GOVBRNEWS_POSTGRES", connection)
    assert task_settings().database_url == "postgresql://user:p%40ss@127.0.0.1:5/conn?sslmode=require"


def test_another_connection_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_DEFAULT", "postgres://x@127.0.0.1:5/other")
    assert task_settings().database_url == ""
    monkeypatch.setenv("GOVBRNEWS_POSTGRES_CONN_ID", "postgres_default")
    assert task_settings().database_url == "postgresql://x@127.0.0.1:5/other"


def test_the_hub_token_is_the_password_of_its_connection_stripped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "from-environment")
    assert task_settings().hf_token == "from-environment"
    monkeypatch.setenv(
        "AIRFLOW_CONN_HUGGINGFACE_DEFAULT", json.dumps({"conn_type": "generic", "password": "hf_secret\n"})
    )
    assert task_settings().hf_token == "hf_secret"


def test_what_may_succeed_later_is_tried_again() -> None:
    with pytest.raises(AirflowException, match="tries again") as caught, airflow_errors():
        raise StoreUnavailableError("the server sleeps", hint="wake it")
    assert not isinstance(caught.value, AirflowFailException)
    assert "wake it" in str(caught.value)


def test_what_cannot_succeed_fails_at_once() -> None:
    with pytest.raises(AirflowFailException, match="not tried again"), airflow_errors():
        raise SourceError("no such dataset", hint="check its name")


def test_a_fault_of_the_program_is_not_dressed_up() -> None:
    with pytest.raises(ZeroDivisionError), airflow_errors():
        _ = 1 / 0


@pytest.mark.parametrize(
    ("backend", "postgres", "token"),
    [("huggingface", "", "hf_secret"), ("dual_write", "postgresql://x@127.0.0.1:5/d", "hf_secret")],
)
def test_of_a_store_that_the_mode_does_not_use_nothing_is_read(
    monkeypatch: pytest.MonkeyPatch, backend: str, postgres: str, token: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://cannot be read" if backend == "huggingface" else "")
    monkeypatch.setenv("AIRFLOW_CONN_GOVBRNEWS_POSTGRES", "postgres://x@127.0.0.1:5/d")
    monkeypatch.setenv(
        "AIRFLOW_CONN_HUGGINGFACE_DEFAULT", json.dumps({"conn_type": "generic", "password": "hf_secret"})
    )
    monkeypatch.setenv("AIRFLOW_CONN_COGFY_DEFAULT", json.dumps({"conn_type": "generic", "password": "key"}))
    monkeypatch.setenv("STAGING_URI", "gs://bucket/staging")
    settings = mode_settings(resolve_storage_mode(environment={"STORAGE_BACKEND": backend}), statement_timeout_s=9)
    assert (settings.database_url, settings.hf_token) == (postgres, token)
    assert (settings.cogfy_api_key, settings.staging_uri, settings.statement_timeout_s) == (
        "key",
        "gs://bucket/staging",
        9,
    )
