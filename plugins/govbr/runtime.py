"""What a task needs from Airflow before the work itself begins."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_platform.settings import Settings

__all__ = ["airflow_errors", "reports_uri", "task_settings"]

_LOG = logging.getLogger(__name__)

#: Connections that, where they exist, win over the environment (DESIGN §4).
POSTGRES_CONNECTION = "govbrnews_postgres"
HUGGINGFACE_CONNECTION = "huggingface_default"


def task_settings(*, statement_timeout_s: int = 0) -> Settings:
    """Return the settings of a task: the environment's, with Airflow's connections on top.

    Args:
        statement_timeout_s: bound on one SQL statement in seconds; give the task's own timeout, so that a task that
            Airflow killed leaves no query running.
    """
    from data_platform.settings import Settings, normalise_database_url

    settings = Settings.from_environment()
    settings = replace(settings, statement_timeout_s=statement_timeout_s, reports_uri=reports_uri())
    if postgres := _connection(os.environ.get("GOVBRNEWS_POSTGRES_CONN_ID", "").strip() or POSTGRES_CONNECTION):
        settings = replace(settings, database_url=normalise_database_url(_without_extra(postgres.get_uri())))
    if hub := _connection(HUGGINGFACE_CONNECTION):
        token = (hub.password or "").strip()
        endpoint = (hub.host or "").strip()
        settings = replace(settings, hf_token=token or settings.hf_token, hf_endpoint=endpoint or settings.hf_endpoint)
    return settings


def reports_uri() -> str:
    """Return where reports are written and served from: REPORTS_URI, else a folder of this Airflow's home.

    A worker's own disk is no good where the web server is another machine, as on Composer: the log says so.
    """
    if chosen := os.environ.get("REPORTS_URI", "").strip():
        return chosen
    _LOG.warning(
        "REPORTS_URI is not set: reports stay on this machine; set it to a bucket, e.g. gs://BUCKET/data/reports"
    )
    return str(Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "reports")


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Let Airflow retry what may succeed later and fail at once what will not, by the type of the error."""
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    from data_platform.errors import DataPlatformError

    try:
        yield
    except DataPlatformError as error:
        if error.retryable:
            raise AirflowException(f"{error} [may succeed later: Airflow tries again]") from error
        raise AirflowFailException(f"{error} [not tried again]") from error


def _connection(connection_id: str) -> Any:  # noqa: ANN401 - Airflow's Connection, whose import is slow
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return Connection.get(connection_id)
    except AirflowNotFoundException:
        return None


def _without_extra(uri: str) -> str:
    """Drop Airflow's own `__extra__` parameter; other parameters are libpq's and stay."""
    base, _, query = uri.partition("?")
    kept = "&".join(part for part in query.split("&") if part and not part.startswith("__extra__"))
    return f"{base}?{kept}" if kept else base
