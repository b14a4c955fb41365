"""What a task needs from Airflow before the work itself begins."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from govbr.connections import (
    COGFY_CONNECTION,
    EMBEDDINGS_CONNECTION,
    HUGGINGFACE_CONNECTION,
    QDRANT_CONNECTION,
    TYPESENSE_CONNECTION,
    environment_settings,
    postgres_connection_id,
    with_connections,
)

if TYPE_CHECKING:
    from data_platform.managers.storage_mode import StorageMode
    from data_platform.settings import Settings

__all__ = [
    "airflow_errors",
    "mode_settings",
    "reader_settings",
    "reports_uri",
    "staging_uri",
    "state_uri",
    "task_settings",
]

_LOG = logging.getLogger(__name__)
#: What each search index is asked through.
_OF_READERS = {
    "typesense": {"typesense": TYPESENSE_CONNECTION},
    "qdrant": {"qdrant": QDRANT_CONNECTION, "embeddings": EMBEDDINGS_CONNECTION},
}


def task_settings(*, statement_timeout_s: int = 0) -> Settings:
    """Return the settings of a task: the environment's, with Airflow's connections on top.

    Args:
        statement_timeout_s: bound on one SQL statement in seconds; give the task's own timeout, so that a task that
            Airflow killed leaves no query running.
    """
    settings = environment_settings(
        statement_timeout_s=statement_timeout_s, reports_uri=reports_uri(), state_uri=state_uri()
    )
    return with_connections(settings, postgres=postgres_connection_id(), huggingface=HUGGINGFACE_CONNECTION)


def mode_settings(mode: StorageMode, *, statement_timeout_s: int = 0) -> Settings:
    """Return the settings of a task of the pipeline: of the stores that its mode uses, and of the enricher.

    Of a store that the mode does not use neither connection nor address is read, so neither can be in the way.

    Args:
        mode: which stores are written and read.
        statement_timeout_s: bound on one SQL statement in seconds, see `task_settings`.
    """
    from data_platform.managers.storage_mode import ReadSource

    uses_postgres, uses_hub = (side in mode.sides for side in (ReadSource.POSTGRES, ReadSource.HUGGINGFACE))
    settings = environment_settings(
        with_postgres=uses_postgres,
        statement_timeout_s=statement_timeout_s,
        state_uri=state_uri(),
        staging_uri=staging_uri(),
    )
    return with_connections(
        settings,
        postgres=postgres_connection_id() if uses_postgres else None,
        huggingface=HUGGINGFACE_CONNECTION if uses_hub else None,
        cogfy=COGFY_CONNECTION,
    )


def reader_settings(
    reader: str, *, with_postgres: bool = True, with_hub: bool = False, statement_timeout_s: int = 0
) -> Settings:
    """Return the settings of a task that keeps a search index.

    Of another index, and of a store that it does not ask, neither connection nor address is read, so neither can be in
    the way: an index filled from the dataset needs no PostgreSQL (DESIGN §2.14).

    Args:
        reader: `typesense` or `qdrant`.
        with_postgres: whether PostgreSQL is asked.
        with_hub: whether the dataset is.
        statement_timeout_s: bound on one SQL statement in seconds, see `task_settings`.
    """
    services = _OF_READERS[reader]
    settings = environment_settings(
        with_postgres=with_postgres,
        services=services,
        statement_timeout_s=statement_timeout_s,
        state_uri=state_uri(),
    )
    return with_connections(
        settings,
        postgres=postgres_connection_id() if with_postgres else None,
        huggingface=HUGGINGFACE_CONNECTION if with_hub else None,
        **services,
    )


def reports_uri() -> str:
    """Return where reports are written and served from: REPORTS_URI, else a folder of this Airflow's home.

    A worker's own disk is no good where the web server is another machine, as on Composer: the log says so.
    """
    return _place("REPORTS_URI", "reports")


def state_uri() -> str:
    """Return where the run ledger is: STATE_URI, else a folder of this Airflow's home.

    A worker's own disk is no good where there are several workers, as on Composer: the log says so.
    """
    return _place("STATE_URI", "state")


def staging_uri() -> str:
    """Return where tasks hand batches on: STAGING_URI, else a folder of this Airflow's home.

    A worker's own disk is no good where there are several workers, as on Composer: the log says so.
    """
    return _place("STAGING_URI", "staging")


def _place(setting: str, folder: str) -> str:
    if chosen := os.environ.get(setting, "").strip():
        return chosen
    _LOG.warning(
        "%s is not set: %s stay on this machine; set it to a bucket, e.g. gs://BUCKET/data/%s", setting, folder, folder
    )
    return str(Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / folder)


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Let Airflow retry what may succeed later and fail at once what will not, by the type of the error."""
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    from data_platform.errors import DataPlatformError

    try:
        yield
    except DataPlatformError as error:
        told = "; ".join([str(error), *getattr(error, "__notes__", ())])
        if error.retryable:
            raise AirflowException(f"{told} [may succeed later: Airflow tries again]") from error
        raise AirflowFailException(f"{told} [not tried again]") from error
