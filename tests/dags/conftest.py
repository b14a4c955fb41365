"""What tests of several DAGs share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def gauges() -> Iterator[dict[str, float]]:
    """What is sent to Airflow's metrics."""
    from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
    from airflow.sdk.observability import stats

    seen: dict[str, float] = {}

    class Recorder(NoStatsLogger):
        @classmethod
        def gauge(cls, stat: str, value: float, *_: Any, **__: Any) -> None:
            seen[stat] = value

    stats.initialize(factory=Recorder, export_legacy_names=False)
    yield seen
    stats.initialize(factory=NoStatsLogger, export_legacy_names=False)
