"""Both stores, empty, with one ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.hub import Hub
from tests.support.stores import Store
from tests.support.two_stores import TwoStores


@pytest.fixture
def stores(store: Store, hub: Hub, tmp_path: Path) -> TwoStores:
    """A database and a Hub with one ledger."""
    return TwoStores(store, hub, tmp_path)
