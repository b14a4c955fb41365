"""What the tests of the dataset's manager share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from data_platform.managers.dataset_manager import DatasetManager
from tests.support.hub import DATASET, QUICK, Hub


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
