"""What the tests of the dataset's manager share: a Hub on loopback with both datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from data_platform.managers.dataset_manager import DatasetManager
from dev.hub_server import HubServer, HubStore
from tests.support.hub import DATASET, QUICK, REDUCED, TOKEN, Hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with two empty datasets; this process's client uses plain LFS, and caches of its own."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hf-home"))
    store = HubStore(tmp_path / "hub")
    store.create(DATASET)
    store.create(REDUCED)
    with HubServer(store, tokens=[TOKEN]) as server:
        yield Hub(store, server, tmp_path / "state")


@pytest.fixture
def make_manager(hub: Hub) -> Callable[..., DatasetManager]:
    """A function that makes managers of the main dataset."""

    def make(**options: Any) -> DatasetManager:
        return DatasetManager(DATASET, settings=hub.settings, **{"backoff": QUICK, **options})

    return make


@pytest.fixture
def manager(make_manager: Callable[..., DatasetManager]) -> DatasetManager:
    """A manager of the main dataset."""
    return make_manager()
