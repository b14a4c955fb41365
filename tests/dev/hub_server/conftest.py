"""A stand-in of the Hub with one dataset, empty, and three people who know it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from dev.hub_server import HubServer, HubStore
from tests.support.hub_clients import DATASET, TOKENS

_SLEEP = time.sleep


@pytest.fixture(autouse=True)
def _lfs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("time.sleep", lambda seconds: _SLEEP(min(seconds, 0.2)))  # clients wait before another try


@pytest.fixture
def store(tmp_path: Path) -> HubStore:
    return HubStore(tmp_path / "hub")


@pytest.fixture
def hub(store: HubStore) -> Iterator[HubServer]:
    with HubServer(store, tokens=TOKENS) as server:
        HfApi(endpoint=server.url, token="w-ana").create_repo(DATASET, repo_type="dataset")
        server.requests.clear()
        yield server


@pytest.fixture
def api(hub: HubServer) -> HfApi:
    return HfApi(endpoint=hub.url, token="w-ana")
