"""What a run refuses to do to an index unasked, and what a dry run and a fill from the dataset say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from data_platform.errors import BusyError, IntegrityError
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.postgres_manager import PostgresManager
from dev.typesense_server import FailingDocument
from tests.support.hub import DATASET, QUICK, Hub, columns, parquet_bytes, published
from tests.support.search import Search
from tests.support.sources import Row, article, articles
from tests.support.syncs import failing_at

_MORE = (
    "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, title)"
    " SELECT 'm' || n, agency_id, agency_key, agency_name, published_at, 'x' FROM news, generate_series(1, 300) n"
    " WHERE unique_id = (SELECT min(unique_id) FROM news)"
)


@pytest.fixture
def filled(search: Search, news: PostgresManager) -> Search:
    """Thirty rows, indexed."""
    news.insert(columns(articles(30)))
    search.run("full")
    return search


def dataset(hub: Hub, files: dict[str, list[Row]]) -> DatasetManager:
    hub.put(
        {f"data/train-{name}.parquet": parquet_bytes([published(row) for row in rows]) for name, rows in files.items()}
    )
    return DatasetManager(DATASET, settings=hub.settings, backoff=QUICK)


@pytest.mark.parametrize(
    "statement", ["DELETE FROM news WHERE unique_id LIKE 'm%'", "UPDATE news SET unique_id = 'novo-' || unique_id"]
)
def test_most_of_an_index_does_not_go_unasked(filled: Search, statement: str) -> None:
    filled.store.execute(_MORE)
    filled.run()
    filled.store.execute(statement)
    with pytest.raises(IntegrityError, match=r"of the 330 documents of .* are not in PostgreSQL") as caught:
        filled.run()
    assert len(filled.documents()) == 330
    assert "--allow-shrink" in caught.value.hint
    assert "--full" in caught.value.hint
    filled.run(allow_shrink=True)
    assert filled.documents() == filled.wanted()


def test_ids_that_the_index_never_had_do_not_count_as_going(filled: Search) -> None:
    filled.store.execute(_MORE)
    filled.store.execute("DELETE FROM news WHERE unique_id LIKE 'm%'")
    assert filled.run().deleted == 0
    assert filled.documents() == filled.wanted()


def test_another_database_is_refused_before_anything_is_written(filled: Search, news: PostgresManager) -> None:
    before = filled.documents()
    filled.store.execute(
        "UPDATE consumer_positions SET system_identifier = '7', outside_stamp = NULL",
        "DELETE FROM news",
        "DELETE FROM news_tombstones",
    )
    news.insert(columns(articles(300, first=500)))
    with pytest.raises(IntegrityError, match="is this the right database"):
        filled.run()
    assert filled.documents() == before


def test_a_dry_run_names_drift_whatever_its_kind(filled: Search) -> None:
    fields = [{"name": "category", "drop": True}, {"name": "category", "type": "string", "optional": True}]
    filled.client.collections[filled.live()].update({"fields": fields})
    assert filled.run(dry_run=True).drift
    assert filled.run("full", dry_run=True).drift


def test_a_dry_run_looks_back_at_a_collection_of_the_dataset_too(filled: Search, hub: Hub) -> None:
    manager = dataset(hub, {"00000-of-00001": articles(30)})
    from_dataset = filled.run("full", source="huggingface", manager=manager).collection
    filled.run("full")
    looked = filled.run("rollback", dry_run=True)
    assert (looked.collection, looked.source.partition("@")[0]) == (from_dataset, DATASET)
    assert filled.run("rollback").collection == from_dataset


def test_a_document_of_the_dataset_that_was_refused_is_tried_again(filled: Search, hub: Hub) -> None:
    rows = [article(n, published_at=datetime(2024, 1 + n, 5, 12, tzinfo=UTC)) for n in range(6)]
    manager = dataset(hub, {"00000-of-00001": rows})
    filled.server.store.failing[rows[0]["unique_id"]] = FailingDocument(400, "no", 1)
    with failing_at("reindex.after_partition:3"):
        filled.run("full", source="huggingface", manager=manager, max_failed=1, allow_shrink=True)
    done = filled.run("full", source="huggingface", manager=manager, allow_shrink=True)
    assert (done.resumed, done.failed, len(filled.documents())) == (True, {}, 6)


def test_what_was_refused_is_counted_as_refused_no_more_when_nothing_else_is_left_to_fill(
    filled: Search, hub: Hub
) -> None:
    manager = dataset(hub, {"00000-of-00001": articles(30)})
    uid = articles(30)[0]["unique_id"]
    filled.server.store.failing[uid] = FailingDocument(400, "no", 2)
    with failing_at("reindex.after_finish"):
        filled.run("full", source="huggingface", manager=manager, max_failed=1)
    with pytest.raises(IntegrityError, match="1 documents were refused"):
        filled.run("full", source="huggingface", manager=manager)
    done = filled.run("full", source="huggingface", manager=manager)
    assert (done.resumed, done.failed, len(filled.documents())) == (True, {}, 30)
    assert "job_pending" not in str(filled.cards()[done.collection])


@pytest.mark.parametrize("wrong", ["a migration fills news", "no address", "no schema"])
def test_off_postgresql_one_gets_whatever_is_wrong_with_it(filled: Search, hub: Hub, wrong: str) -> None:
    manager = dataset(hub, {"00000-of-00001": articles(30)})
    if wrong == "a migration fills news":
        filled.store.execute(
            "INSERT INTO load_runs (source, revision, mode, status, dry_run, options, snapshot, started_by)"
            " VALUES ('s', 'r', 'bulk', 'loading', false, '{}', '{}', 'somebody')"
        )
        with pytest.raises(BusyError, match="is filling news"):
            filled.run()
    elif wrong == "no address":
        filled.settings = replace(filled.settings, database_url="postgresql://[")
    else:
        filled.store.execute("DROP TABLE load_runs CASCADE")
    done = filled.run("full", source="huggingface", manager=manager)
    assert (filled.live(), len(filled.documents())) == (done.collection, 30)


def test_an_id_that_stands_twice_in_the_dataset_is_named(filled: Search, hub: Hub) -> None:
    row = article(3, published_at=datetime(2024, 3, 5, 12, tzinfo=UTC))
    moved = row | {"published_at": datetime(2024, 5, 5, 12, tzinfo=UTC), "title": "movido"}
    manager = dataset(hub, {"2024-03": [row], "2024-05": [moved]})
    done = filled.run("full", source="huggingface", manager=manager, allow_shrink=True)
    assert any(row["unique_id"] in note for note in done.notes)
    assert filled.documents()[row["unique_id"]]["title"] == "movido"
