"""A migration from the Hub is pinned: killed half-way, it goes on with the planned commit though the head moved."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from data_platform.models.columns import PUBLISHED_SCHEMA
from data_platform.settings import Settings
from dev.hub_server import HubServer, HubStore
from tests.support.migrations import Migrations
from tests.support.sources import Row, articles, newer
from tests.support.stores import Store

DATASET = "owner/govbrnews"


def _parquet(rows: list[Row]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=PUBLISHED_SCHEMA), buffer)
    return buffer.getvalue()


def test_a_killed_migration_goes_on_with_the_planned_commit(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    hub = HubStore(tmp_path / "hub")
    hub.create(DATASET)
    first, second = articles(20), articles(20, first=20)
    planned = hub.commit(
        DATASET,
        {"data/train-00000-of-00002.parquet": _parquet(first), "data/train-00001-of-00002.parquet": _parquet(second)},
    )
    migrations = Migrations(store, tmp_path)
    with HubServer(hub) as server:
        migrations.settings = Settings(
            database_url=store.url, reports_uri=str(tmp_path / "reports"), hf_endpoint=server.url
        )
        with migrations.interrupted("load.before_commit:2"):
            migrations.run(source=DATASET)
        second[0] = newer(second[0], title="Mudou depois do plano")
        head = hub.commit(DATASET, {"data/train-00001-of-00002.parquet": _parquet(second)})
        assert head != planned

        resumed = migrations.run(source=DATASET)
        assert (resumed.run.id, resumed.run.snapshot.revision) == (1, planned)
        assert resumed.validation is not None
        assert resumed.validation.passed
        assert (resumed.account.loaded, resumed.account.rejected) == (40, 0)

        catch_up = migrations.run(source=DATASET)
        assert catch_up.run.snapshot.revision == head
        assert (catch_up.account.updated, catch_up.account.already_present) == (1, 39)
