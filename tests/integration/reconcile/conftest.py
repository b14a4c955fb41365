"""Both stores, empty, with one ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_platform.cli import main
from tests.support.hub import Hub
from tests.support.stores import Store
from tests.support.two_stores import ROWS, TwoStores


@pytest.fixture
def stores(store: Store, hub: Hub, tmp_path: Path) -> TwoStores:
    """A database and a Hub with one ledger."""
    return TwoStores(store, hub, tmp_path)


@pytest.fixture
def run(
    stores: TwoStores, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, Any]]:
    """A function that runs a command with --json and returns its exit status and what it printed."""
    settings = stores.settings
    for name, value in {
        "DATABASE_URL": settings.database_url,
        "HF_ENDPOINT": settings.hf_endpoint,
        "HF_TOKEN": settings.hf_token,
        "HF_DATASET": settings.hf_dataset,
        "STATE_URI": settings.state_uri,
        "THEMES_SOURCE": settings.themes_source,
        "STORAGE_BACKEND": "dual_write",
    }.items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> tuple[int, Any]:
        status = main([*arguments, "--json"])
        printed = capsys.readouterr().out
        return status, json.loads(printed) if printed.strip() else None

    return call


@pytest.fixture
def both(stores: TwoStores) -> TwoStores:
    """Two stores with the same 40 articles."""
    stores.write(ROWS)
    return stores
