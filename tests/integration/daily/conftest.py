"""A day of the pipeline on stand-ins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daily import Day, day
from tests.support.hub import Hub
from tests.support.stores import Store


@pytest.fixture
def its(store: Store, hub: Hub, tmp_path: Path) -> Iterator[Day]:
    """Six sites with an article a day each, and both stores, empty."""
    with day(store, hub, tmp_path) as made:
        yield made
