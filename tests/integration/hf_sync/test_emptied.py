"""The last row goes: one file without rows stays, so that the dataset keeps its columns and can be streamed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.hub.layout import UNDATED
from data_platform.managers.postgres_manager import PostgresManager
from tests.support.hub import DATASET, QUICK, REDUCED, Hub, columns, parquet_bytes, published
from tests.support.loading import load
from tests.support.migrations import Migrations
from tests.support.sources import article, articles
from tests.support.stores import Store
from tests.support.syncs import Jobs, checked

READ = """
import json, sys
from datasets import load_dataset

found = {}
for name in sys.argv[1:]:
    streamed = load_dataset(name, split="train", streaming=True)
    found[name] = [len(list(streamed)), len(streamed.features)]
print(json.dumps(found))
"""


def is_empty(hub: Hub) -> bool:
    files = [[path for path in hub.files(name) if path.startswith("data/")] for name in (DATASET, REDUCED)]
    return files == [[UNDATED], [UNDATED]] and hub.all_rows() == hub.all_rows(REDUCED) == []


@pytest.fixture
def emptied(hub: Hub, store: Store, news: PostgresManager, make_job: Jobs) -> Hub:
    """A Hub whose last rows a sync took out."""
    news.insert(columns([*articles(5), article(40)]))
    checked(make_job(), hub, store)
    store.execute("DELETE FROM news")
    outcome = checked(make_job(), hub, store)
    assert outcome.removed == ["data/train-2024-03.parquet", "data/train-2024-04.parquet"]
    assert (outcome.rows, outcome.proven) == (0, 1)
    return hub


def test_an_emptied_dataset_keeps_one_file_without_rows(emptied: Hub, store: Store, make_job: Jobs) -> None:
    assert is_empty(emptied)
    assert make_job().verify().passed
    for options in ({}, {"full": True}, {"months": ("2024-03",)}):
        outcome = checked(make_job(**options), emptied, store)
        assert (outcome.committed, outcome.removed, outcome.uploaded) == (False, [], []), options
    assert make_job().lag().rows == 0


def test_it_goes_when_there_are_rows_again(emptied: Hub, store: Store, news: PostgresManager, make_job: Jobs) -> None:
    news.insert(columns(articles(2)))
    assert checked(make_job(), emptied, store).removed == [UNDATED]
    assert UNDATED not in emptied.files() + emptied.files(REDUCED)
    assert make_job().verify().passed


def test_the_last_held_row_leaves_such_a_file_too(hub: Hub, store: Store, make_job: Jobs, tmp_path: Path) -> None:
    held = article(1, unique_id="no date", published_at=None)
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes([held])})
    Migrations(store, tmp_path).bring([held], max_reject_rate=1.0)
    checked(make_job(), hub, store, held=[published(held)])
    store.execute("UPDATE rejects SET status = 'discarded'")
    outcome = checked(make_job(), hub, store)
    assert outcome.partitions == {UNDATED: 0}
    assert is_empty(hub)
    assert make_job().verify().passed


def test_the_pipeline_leaves_such_a_file_too_and_writes_on(hub: Hub, store: Store, make_job: Jobs) -> None:
    manager = DatasetManager(DATASET, settings=hub.settings, backoff=QUICK)
    rows = articles(2)
    manager.insert(columns(rows))
    assert manager.delete_rows([row["unique_id"] for row in rows], reason="x").deleted == 2
    assert is_empty(hub)
    assert manager.get("2020-01-01", "2030-01-01").empty
    assert manager.insert(columns(rows)) == 2
    assert len(hub.all_rows()) == 2


@pytest.mark.slow
def test_readers_find_its_columns_and_no_rows(emptied: Hub, tmp_path: Path) -> None:
    """Streaming, that is: of a split without rows `datasets` says "corresponds to no data", whatever its files are."""
    environment = emptied.environment(
        tmp_path / "reader", PYTHONPATH=os.pathsep.join([str(Path.cwd()), os.environ["PYTHONPATH"]])
    )
    assert load(READ, DATASET, REDUCED, environment=environment) == {DATASET: [0, 24], REDUCED: [0, 4]}
