"""News in the stores that the mode says, through Airflow's connections and Variables."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from govbr.connections import HUGGINGFACE_CONNECTION, environment_settings, postgres_connection_id, with_connections
from govbr.hooks.examined import Examined, without_secrets
from govbr.hooks.huggingface_dataset_hook import HuggingFaceDatasetHook
from govbr.hooks.news_postgres_hook import NewsPostgresHook
from govbr.runtime import state_uri

if TYPE_CHECKING:
    from data_platform.managers.storage_adapter import StorageAdapter
    from data_platform.managers.storage_mode import StorageMode

__all__ = ["StorageHook"]

_LOG = logging.getLogger(__name__)


class StorageHook(BaseHook):
    """Gives a `StorageAdapter` in the mode of this run.

    It has no connection of its own: PostgreSQL is that of `NewsPostgresHook`, the dataset that of
    `HuggingFaceDatasetHook`. A connection whose store the mode does not use is not even read.

    The mode comes from, the first that says something (docs/storage.md): `STORAGE_BACKEND=huggingface` in the
    environment; the run's form (`storage_backend`, `storage_read_from`); the environment (`STORAGE_BACKEND`,
    `STORAGE_READ_FROM`); the Variables `storage_backend`, `storage_read_from`; `huggingface`. Resolve it once a run, in
    the first task, and give the others what `StorageMode.to_dict` returned.

    Args:
        mode: a mode, or what `to_dict` returned; None resolves it.
        run_parameters: the run's form; None takes that of the task that runs, if one does.
        postgres_conn_id: the connection to PostgreSQL; None means the usual one.
        huggingface_conn_id: the connection to the Hub.
        statement_timeout_s: bound on one SQL statement in seconds, 0 for none.
    """

    conn_name_attr = "postgres_conn_id"
    default_conn_name = NewsPostgresHook.default_conn_name
    conn_type = "postgres"
    hook_name = "News storage"

    def __init__(
        self,
        *,
        mode: StorageMode | Mapping[str, Any] | None = None,
        run_parameters: Mapping[str, Any] | None = None,
        postgres_conn_id: str | None = None,
        huggingface_conn_id: str = HUGGINGFACE_CONNECTION,
        statement_timeout_s: int = 0,
    ) -> None:
        super().__init__()
        self.postgres_conn_id = postgres_connection_id(postgres_conn_id)
        self.huggingface_conn_id = huggingface_conn_id
        self.statement_timeout_s = statement_timeout_s
        self._mode = mode
        self._run_parameters = run_parameters

    def get_mode(self) -> StorageMode:
        """Return the mode, logged with where each half of it was chosen.

        Raises:
            ConfigurationError: a value is unknown, or the store that is read is not written.
        """
        from data_platform.managers.storage_mode import StorageMode, resolve_storage_mode

        if isinstance(self._mode, StorageMode):
            return self._mode
        if self._mode is not None:
            self._mode = StorageMode.from_dict(self._mode)
            return self._mode
        parameters = _form_of_the_run() if self._run_parameters is None else self._run_parameters
        self._mode = resolve_storage_mode(run_parameters=parameters, variables=_variable)
        _LOG.info("storage: %s", self._mode)
        return self._mode

    def get_adapter(self, *, run_date: date | None = None, staged_file: str = "") -> StorageAdapter:
        """Return an adapter in the mode of this run; close it after use.

        Args:
            run_date: the São Paulo day that the writes are for.
            staged_file: where their rows lie.

        Raises:
            ConfigurationError: mode or connection cannot be used.
        """
        from data_platform.managers.storage_adapter import StorageAdapter
        from data_platform.managers.storage_mode import ReadSource

        mode = self.get_mode()
        uses_postgres, uses_hub = (side in mode.sides for side in (ReadSource.POSTGRES, ReadSource.HUGGINGFACE))
        settings = with_connections(
            environment_settings(
                with_postgres=uses_postgres, statement_timeout_s=self.statement_timeout_s, state_uri=state_uri()
            ),
            postgres=self.postgres_conn_id if uses_postgres else None,
            huggingface=self.huggingface_conn_id if uses_hub else None,
        )
        hub = HuggingFaceDatasetHook(self.huggingface_conn_id)
        return StorageAdapter(
            mode,
            settings=settings,
            dataset=lambda: hub.get_manager(settings),
            run_date=run_date,
            staged_file=staged_file,
        )

    def test_connection(self) -> tuple[bool, str]:
        """Ask every store that the mode uses; return whether all can be read and written, and a message."""
        from data_platform.errors import DataPlatformError
        from data_platform.managers.storage_mode import ReadSource

        try:
            mode = self.get_mode()
        except DataPlatformError as error:
            return False, without_secrets(str(error), None)
        found: dict[str, Examined] = {}
        if ReadSource.POSTGRES in mode.sides:
            found["postgres"] = NewsPostgresHook(self.postgres_conn_id).examine()
        if ReadSource.HUGGINGFACE in mode.sides:
            found["huggingface"] = HuggingFaceDatasetHook(self.huggingface_conn_id).examine()
        ok = all(side.ok and side.writable for side in found.values())
        states = {True: "ok", False: "NOT USABLE"}
        told = [f"{name} {states[side.ok and side.writable]}: {side.message}" for name, side in found.items()]
        return ok, "; ".join([str(mode), *told])


def _variable(name: str) -> str | None:
    from airflow.sdk import Variable

    value: str | None = Variable.get(name, default=None)
    return value


def _form_of_the_run() -> Mapping[str, Any]:
    from airflow.sdk import get_current_context

    try:
        return dict(get_current_context()["params"])
    except (RuntimeError, KeyError):  # no task runs
        return {}
