"""A reader goes back to the published dataset, without PostgreSQL answering at all; and forth again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from data_platform.errors import ConfigurationError, IntegrityError
from data_platform.jobs.hf_sync.records import SyncOptions
from data_platform.jobs.hf_sync.sync_job import HuggingFaceSyncJob
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode
from dev.typesense_server import FailingDocument
from tests.support.hub import DATASET, QUICK, Hub, columns, parquet_bytes, published
from tests.support.search import Search, document_of
from tests.support.sources import Row, article, articles
from tests.support.syncs import failing_at, update

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def away(search: Search, hub: Hub) -> Search:
    """Only the Hub and the search service answer."""
    its = search.settings
    more = {n: getattr(its, n) for n in ("typesense_host", "typesense_port", "typesense_api_key", "state_uri")}
    search.settings = replace(hub.settings, **more, database_url=NOWHERE)
    return search


def fill(search: Search, **more: object) -> object:
    manager = DatasetManager(DATASET, settings=search.settings, backoff=QUICK)
    return search.run("full", source="huggingface", manager=manager, **more)


def documents_of(rows: list[Row]) -> dict[str, Row]:
    wall = {"extracted_at": lambda at: at.replace(tzinfo=UTC)}  # published without a zone, and meant so
    plain = [{n: wall[n](v) if n in wall and v else v for n, v in published(row).items()} for row in rows]
    return {row["unique_id"]: document_of(row) for row in plain}


def test_it_fills_a_collection_from_the_legacy_files(away: Search, hub: Hub) -> None:
    rows = articles(12)
    later = rows[3] | {"title": "de novo", "extracted_at": datetime(2026, 1, 1)}  # noqa: DTZ001 - as published
    undated = article(40, published_at=None)
    first, second = [published(r) for r in (*rows, undated)], [published(later)]
    hub.put({"data/train-00000-of-00002.parquet": parquet_bytes(first), "data/train-x.parquet": parquet_bytes(second)})
    done = fill(away)
    assert done.source == f"{DATASET}@{hub.head()}"  # type: ignore[attr-defined]
    assert (done.rows, done.skipped, done.documents) == (12, 1, 12)  # type: ignore[attr-defined]
    assert away.documents() == documents_of([*rows[:3], later, *rows[4:]])


def test_back_to_the_dataset_and_forth_to_postgresql(away: Search, hub: Hub, news: PostgresManager) -> None:
    """As the plan demands of each reader: filled from PostgreSQL, back to the dataset, and again."""
    news.insert(columns(articles(12)))
    local = replace(away.settings, database_url=away.store.url)
    mode = StorageMode(
        backend=StorageBackend.POSTGRES, read_from=ReadSource.POSTGRES, backend_source="t", read_source="t"
    )
    manager = DatasetManager(DATASET, settings=local, backoff=QUICK)
    HuggingFaceSyncJob(local, mode, options=SyncOptions(), manager=manager).run()
    gone, away.settings = away.settings, local
    from_postgres = away.run("full").collection
    update(news, {"unique_id": articles(1)[0]["unique_id"], "title": "só em PostgreSQL"})
    away.run()
    away.settings = gone
    with away.searching():
        done = fill(away)
    assert done.previous == from_postgres  # type: ignore[attr-defined]
    assert away.documents() == documents_of(hub.all_rows())
    away.settings = local
    with pytest.raises(ConfigurationError, match=f"was filled from {DATASET}@.*, and follows nothing"):
        away.run()  # nobody is moved back to PostgreSQL by the way
    assert away.run("rollback").collection == from_postgres
    assert away.documents() == away.wanted()


def test_broken_off_it_goes_on_behind_the_files_that_are_in(away: Search, hub: Hub) -> None:
    rows = [article(n, published_at=datetime(2024, 1 + n, 5, 12, tzinfo=UTC)) for n in range(6)]
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes([published(row) for row in rows])})
    with failing_at("reindex.after_partition:4"):
        fill(away)
    done = fill(away)
    assert (done.resumed, done.rows, done.documents) == (True, 2, 6)  # type: ignore[attr-defined]
    assert away.documents() == documents_of(rows)


def test_a_refused_document_is_named_and_nothing_is_shown(away: Search, hub: Hub) -> None:
    rows = articles(5)
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes([published(row) for row in rows])})
    away.server.store.failing[rows[2]["unique_id"]] = FailingDocument(400, "no", 1)
    with pytest.raises(IntegrityError, match=rows[2]["unique_id"]):
        fill(away)
    assert "news" not in away.server.store.aliases
    assert fill(away).resumed  # type: ignore[attr-defined]
    assert away.documents() == documents_of(rows)


def test_a_dry_run_reads_and_writes_nothing(away: Search, hub: Hub) -> None:
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes([published(row) for row in articles(5)])})
    done = fill(away, dry_run=True)
    assert (done.rows, done.dry_run) == (5, True)  # type: ignore[attr-defined]
    assert away.server.store.collections == {}
