"""Runs that are tried again, run beside one another, or killed behind the move of searches: each effect comes once."""

from __future__ import annotations

from typing import Any

import pytest

from data_platform.errors import BusyError, DataPlatformError, IntegrityError, StoreUnavailableError
from data_platform.jobs.indexing import full
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.postgres.change_feed import ChangeFeed
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.managers.typesense.index import TypesenseIndex
from tests.support.hub import DATASET, QUICK, Hub, columns, parquet_bytes, published
from tests.support.search import Search
from tests.support.sources import articles
from tests.support.syncs import failing_at, update


@pytest.fixture
def filled(search: Search, news: PostgresManager) -> Search:
    """Thirty rows, indexed."""
    news.insert(columns(articles(30)))
    search.run("full")
    return search


@pytest.fixture
def dataset(filled: Search, hub: Hub) -> DatasetManager:
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes([published(row) for row in articles(30)])})
    return DatasetManager(DATASET, settings=hub.settings, backoff=QUICK)


@pytest.mark.parametrize("source", ["postgres", "huggingface"])
def test_a_full_run_whose_end_was_not_recorded_fills_no_second_one(
    filled: Search, dataset: DatasetManager, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    before = filled.live()
    its: dict[str, Any] = {"source": source, "manager": dataset, "run": "one"}
    with monkeypatch.context() as patch:
        patch.setattr(RunLedger, "record", _away)
        with pytest.raises(StoreUnavailableError) as caught:
            filled.run("full", **its)
    made = filled.live()
    assert any(f"the index itself is done, searches see {made}" in note for note in caught.value.__notes__)
    again = filled.run("full", **its)
    assert (again.collection, again.resumed, again.previous) == (made, True, before)
    assert filled.collections() == [before, made]
    assert filled.run("full", source=source, manager=dataset, run="two").previous == made


def test_one_that_starts_over_goes_on_with_its_own_when_it_is_tried_again(filled: Search) -> None:
    for _ in range(3):
        with failing_at("reindex.after_page:2"):
            filled.run("full", afresh=True, batch_rows=5, run="one")
    assert len(filled.collections()) == 2
    with failing_at("reindex.after_page:2"):
        filled.run("full", afresh=True, batch_rows=5, run="two")
    assert len(filled.collections()) == 3
    done = filled.run("full", afresh=True, run="two")
    assert (done.resumed, len(filled.collections())) == (True, 2)
    assert filled.documents() == filled.wanted()


@pytest.mark.parametrize("run", ["", "the same"], ids=["on a shell", "by Airflow"])
def test_going_back_goes_back_once(filled: Search, run: str) -> None:
    first = filled.live()
    second = filled.run("full").collection
    with failing_at("reindex.after_point"):
        filled.run("full")
    assert filled.collections()[:2] == [first, second]
    with failing_at("reindex.after_point"):
        filled.run("rollback", run=run)
    assert filled.live() == second
    done = filled.run("rollback", run=run)
    assert (done.collection, filled.live()) == (second, second)
    assert filled.run("rollback", run="another").collection == first


@pytest.mark.parametrize("kind", ["full", "rollback"])
def test_a_run_that_is_tried_again_does_not_undo_what_somebody_did_since(filled: Search, kind: str) -> None:
    """Its end was not recorded, or the way back could not be followed; a person moved searches before the next try."""
    filled.run("full")
    moved = filled.run(kind, run="one").collection
    filled.run({"full": "rollback", "rollback": "full"}[kind])
    live, there = filled.live(), filled.collections()
    with pytest.raises(IntegrityError, match=f"let searches see {moved} already, and they were moved to {live} since"):
        filled.run(kind, run="one")
    assert (filled.live(), filled.collections()) == (live, there)


@pytest.mark.parametrize(("first", "then"), [("postgres", "huggingface"), ("huggingface", "postgres")])
def test_a_run_from_elsewhere_is_not_the_end_of_one_that_was_killed(
    filled: Search, dataset: DatasetManager, first: str, then: str
) -> None:
    """Who goes off PostgreSQL just after a rebuild was killed behind the move gets a collection of the dataset."""
    with failing_at("reindex.after_point"):
        filled.run("full", source=first, manager=dataset)
    killed = filled.live()
    done = filled.run("full", source=then, manager=dataset)
    assert (done.resumed, done.previous, filled.live()) == (False, killed, done.collection)
    assert done.source.startswith({"postgres": "postgres", "huggingface": DATASET}[then])
    assert filled.run("rollback").collection == killed


def test_a_collection_that_searches_see_since_a_run_was_killed_is_one_to_go_back_to(filled: Search) -> None:
    with failing_at("reindex.after_point"):
        filled.run("full")
    shown = filled.live()
    made = filled.run("full", afresh=True).collection
    assert (filled.live(), filled.collections()) == (made, [shown, made])
    assert filled.run("rollback").collection == shown


def test_weeks_after_it_was_killed_a_full_run_fills_a_new_one(filled: Search) -> None:
    with failing_at("reindex.after_point"):
        filled.run("full")
    live = filled.live()
    filled.run()
    filled.server.store.collection(live).documents[articles(30)[3]["unique_id"]]["title"] = "estragado"
    done = filled.run("full")
    assert (done.resumed, done.previous, done.rows) == (False, live, 30)
    assert filled.documents() == filled.wanted()


def test_going_back_stands_though_a_full_run_is_at_work(filled: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    first = filled.live()
    filled.run("full")
    compare = full.compare_with_postgres

    def back(*given: Any, **more: Any) -> Any:
        with pytest.raises(BusyError, match="another run of typesense") as caught:
            filled.run("rollback")
        assert caught.value.__notes__ == [f"searches see {first} again; an incremental run is all that is missing"]
        return compare(*given, **more)

    monkeypatch.setattr("data_platform.managers.postgres.database._LOCK_PATIENCE_S", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(full, "compare_with_postgres", back)
        with pytest.raises(IntegrityError, match=f"searches were moved from .* to {first} while this run was at work"):
            filled.run("full")
    assert filled.live() == first
    filled.run()
    assert filled.documents() == filled.wanted()
    assert filled.run("full").resumed, "asked for again, it is gone on with"


def test_a_fill_from_the_dataset_waits_for_no_rebuild_and_takes_nothing_from_it(
    filled: Search, dataset: DatasetManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, refused = full.finish, []

    def meanwhile(*given: Any) -> None:
        with pytest.raises(BusyError) as caught:
            filled.run("full", source="huggingface", manager=dataset)
        refused.append(caught.value)
        finish(*given)

    monkeypatch.setattr("data_platform.managers.postgres.database._LOCK_PATIENCE_S", 0.1)
    monkeypatch.setattr(full, "finish", meanwhile)
    done = filled.run("full")
    assert len(refused) == 1
    assert filled.live() == done.collection


def test_a_run_that_lost_its_lock_leaves_nothing_old_behind(
    filled: Search, news: PostgresManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection that holds the lock is cut during a long import; somebody starts another run meanwhile."""
    changed, gone = articles(30)[0]["unique_id"], articles(30)[1]["unique_id"]
    for uid in (changed, gone):
        update(news, {"unique_id": uid, "title": "velho"})
    write, calls = TypesenseIndex.write, []

    def slow(self: TypesenseIndex, *given: Any) -> Any:
        calls.append(given)
        if len(calls) == 1:
            locks = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'govbr reindex lock'"
            )
            filled.store.execute(locks)
            update(news, {"unique_id": changed, "title": "novo"})
            filled.store.execute(f"DELETE FROM news WHERE unique_id = '{gone}'")
            filled.run()
        return write(self, *given)

    monkeypatch.setattr(TypesenseIndex, "write", slow)
    with pytest.raises(DataPlatformError):
        filled.run()
    assert filled.documents() == filled.wanted()
    assert filled.documents()[changed]["title"] == "novo"


def test_a_run_writes_nothing_more_once_its_lock_is_gone(filled: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.store.execute("UPDATE news SET title = title || '!'")
    write, calls = TypesenseIndex.write, []

    def cut(self: TypesenseIndex, *given: Any) -> Any:
        calls.append(given)
        locks = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'govbr reindex lock'"
        filled.store.execute(locks)
        return write(self, *given)

    monkeypatch.setattr(TypesenseIndex, "write", cut)
    with pytest.raises(StoreUnavailableError):
        filled.run(batch_rows=10)
    assert len(calls) == 1


def test_a_field_that_a_run_added_before_it_died_is_filled_by_the_next(
    filled: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = filled.live()
    filled.client.collections[live].update({"fields": [{"name": "summary", "drop": True}]})
    for document in filled.server.store.collection(live).documents.values():
        document.pop("summary", None)
    with monkeypatch.context() as patch:
        patch.setattr(ChangeFeed, "start_over", _away)
        with pytest.raises(StoreUnavailableError):
            filled.run()
    done = filled.run()
    assert done.reason.startswith("fields were added")
    assert filled.documents() == filled.wanted()
    assert filled.run().reason == ""


def _away(*_: Any) -> None:
    raise StoreUnavailableError("it does not answer")
