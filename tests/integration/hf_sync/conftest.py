"""What the tests of the sync share: a database, a Hub, and jobs between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from data_platform.cli import main
from data_platform.jobs.hf_sync.records import SyncOptions
from data_platform.jobs.hf_sync.sync_job import HuggingFaceSyncJob
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode
from tests.support.command_line import Ran
from tests.support.hub import DATASET, QUICK, TOKEN, Hub
from tests.support.stores import Store

MODE = StorageMode(
    backend=StorageBackend.POSTGRES, read_from=ReadSource.POSTGRES, backend_source="the test", read_source="the test"
)


@pytest.fixture
def make_job(store: Store, hub: Hub) -> Callable[..., HuggingFaceSyncJob]:
    """A function that makes jobs; its arguments are those of `SyncOptions`, `mode` and `mode_now`."""
    settings = hub.settings.with_database(store.url)

    def make(
        *, mode: StorageMode = MODE, mode_now: Callable[[], StorageMode] | None = None, **options: Any
    ) -> HuggingFaceSyncJob:
        manager = DatasetManager(DATASET, settings=settings, backoff=QUICK)
        return HuggingFaceSyncJob(settings, mode, mode_now=mode_now, options=SyncOptions(**options), manager=manager)

    return make


@pytest.fixture
def run(
    hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """A function that runs the command line where PostgreSQL leads."""
    values = {"HF_ENDPOINT": hub.server.url, "HF_TOKEN": TOKEN, "HF_DATASET": DATASET, "DATABASE_URL": store.url}
    for name, value in (values | {"STATE_URI": hub.settings.state_uri, "STORAGE_BACKEND": "postgres"}).items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str, json: bool = True) -> Ran:
        capsys.readouterr()
        try:
            status = main([*arguments, *(["--json"] if json else [])])
        except SystemExit as error:
            status = int(error.code or 0)
        return Ran(status, *capsys.readouterr())

    return call


@pytest.fixture
def news(store: Store) -> PostgresManager:
    """Writes news as the pipeline does."""
    return PostgresManager(store.url)
