"""Killed with kill -9 at every named place, the next sync brings both datasets up: nothing is lost, nothing doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from data_platform.managers.postgres_manager import PostgresManager
from tests.support.hub import Hub, columns, parquet_bytes, published
from tests.support.sources import article, articles
from tests.support.stores import Store
from tests.support.syncs import POINTS, Jobs, checked, in_news, on_the_hub, update

HELD = article(90, unique_id="no date", published_at=None)


def sync(hub: Hub, store: Store, home: Path, *, failpoints: str = "") -> subprocess.CompletedProcess[str]:
    """Run the sync as the plan writes it, in a process of its own."""
    environment = hub.environment(
        home,
        DATABASE_URL=store.url,
        STORAGE_BACKEND="postgres",
        GOVBR_FAILPOINTS=failpoints,
        PYTHONPATH=os.environ["PYTHONPATH"],
        TMPDIR=str(home.parent / "tmp"),
    )
    (home.parent / "tmp").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "data_platform.jobs.hf_sync.sync_job", "--incremental", "--json"],
        env=environment,
        capture_output=True,
        check=False,
        text=True,
    )


def test_the_module_runs_as_the_plan_writes_it(hub: Hub, store: Store, news: PostgresManager, tmp_path: Path) -> None:
    news.insert(columns(articles(3)))
    ran = sync(hub, store, tmp_path / "home")
    assert ran.returncode == 0, ran.stderr
    (line,) = ran.stdout.splitlines()
    assert json.loads(line)["rows"] == 3
    assert on_the_hub(hub) == in_news(store)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_place(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, tmp_path: Path, point: str
) -> None:
    """First while it takes over the legacy layout, then while it brings over changes."""
    rows, held = articles(6), [published(HELD)]
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes([*rows, HELD])})
    news.insert(columns([*rows, HELD]))
    before = hub.rows()
    killed(hub, store, tmp_path / "home", point)
    assert hub.rows() == before or on_the_hub(hub) == in_news(store)
    checked(make_job(), hub, store, held=held)
    commits = len(hub.commits())
    update(news, {"unique_id": rows[0]["unique_id"], "published_at": datetime(2031, 7, 1, tzinfo=UTC)})
    store.execute(f"DELETE FROM news WHERE unique_id = '{rows[1]['unique_id']}'")
    news.insert(columns([article(70)]))
    before = hub.rows()
    killed(hub, store, tmp_path / "home", point)
    assert hub.rows() == before or on_the_hub(hub) == in_news(store)
    outcome = checked(make_job(), hub, store, held=held)
    assert len(hub.commits()) == commits + 1
    assert outcome.reason == ""
    assert make_job().lag().rows == make_job().lag().tombstones == 0
    assert news.get_records_for_hf_sync().empty
    assert make_job().verify().passed


def killed(hub: Hub, store: Store, home: Path, point: str) -> None:
    ran = sync(hub, store, home, failpoints=f"{point}=kill")
    assert ran.returncode == -signal.SIGKILL, (ran.returncode, ran.stderr)
