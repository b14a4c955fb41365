"""What the dataset was given and PostgreSQL missed is brought to PostgreSQL first; else the sync would take it back."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from data_platform.errors import IntegrityError, StoreUnavailableError, WriteError
from data_platform.jobs.reconcile.missed import repair_missed
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.managers.storage_adapter import StorageAdapter
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode
from tests.support.hub import DATASET, QUICK, Hub, columns
from tests.support.sources import article, articles
from tests.support.stores import Store
from tests.support.syncs import Jobs, checked

Adapters = Callable[..., StorageAdapter]


@pytest.fixture
def adapter(hub: Hub, store: Store) -> Adapters:
    """A function that makes an adapter over both stores; PostgreSQL sleeps if it is told to."""
    settings = hub.settings.with_database(store.url)

    def asleep() -> PostgresManager:
        raise StoreUnavailableError("it sleeps")

    def make(backend: str = "dual_write", *, sleeps: bool = False) -> StorageAdapter:
        read_from = ReadSource.POSTGRES if backend == "postgres" else ReadSource.HUGGINGFACE
        return StorageAdapter(
            StorageMode(backend=StorageBackend(backend), read_from=read_from),
            settings=settings,
            ledger=RunLedger(settings.state_uri),
            dataset=lambda: DatasetManager(DATASET, settings=settings, backoff=QUICK),
            **({"postgres": asleep} if sleeps else {}),
        )

    return make


def test_a_deletion_and_a_correction_that_only_the_dataset_has_are_not_taken_back(
    adapter: Adapters, hub: Hub, store: Store, make_job: Jobs
) -> None:
    gone, corrected = (str(article(n)["unique_id"]) for n in (1, 2))
    adapter().insert_rows(columns(articles(3)))
    checked(make_job(), hub, store)
    with pytest.raises(WriteError, match="it sleeps"):
        adapter(sleeps=True).delete_rows([gone], reason="court order")
    with pytest.raises(WriteError, match="it sleeps"):
        adapter(sleeps=True).update_rows(pd.DataFrame({"unique_id": [corrected], "summary": ["corrected"]}))
    before = hub.all_rows()
    for options in ({}, {"full": True}):
        with pytest.raises(IntegrityError, match=r"may lack 2 writes .* update of .*--repair missed"):
            make_job(**options).run()
    assert hub.all_rows() == before
    assert repair_missed(adapter()).open == 0
    checked(make_job(), hub, store)
    rows = {row["unique_id"]: row for row in hub.all_rows()}
    assert (gone in rows, rows[corrected]["summary"]) == (False, "corrected")


def test_what_postgresql_missed_alone_stops_nothing(adapter: Adapters, hub: Hub, store: Store, make_job: Jobs) -> None:
    """In mode postgres nobody else was given it: the sync publishes what there is, and the task is red by itself."""
    adapter("postgres").insert_rows(columns(articles(3)))
    with pytest.raises(StoreUnavailableError):
        adapter("postgres", sleeps=True).insert_rows(columns([article(5)]))
    checked(make_job(), hub, store)
    assert len(hub.all_rows()) == 3


def test_a_person_may_publish_what_postgresql_has(adapter: Adapters, hub: Hub, store: Store, make_job: Jobs) -> None:
    adapter().insert_rows(columns(articles(3)))
    with pytest.raises(WriteError, match="it sleeps"):
        adapter(sleeps=True).delete_rows([str(article(1)["unique_id"])], reason="court order")
    checked(make_job(overwrite=True), hub, store)
    assert len(hub.all_rows()) == 3


def test_an_article_that_was_taken_down_in_the_dataset_alone_is_not_published_again(
    adapter: Adapters, hub: Hub, store: Store, make_job: Jobs
) -> None:
    """As after a night in mode huggingface."""
    gone = str(article(1)["unique_id"])
    adapter().insert_rows(columns(articles(3)))
    checked(make_job(), hub, store)
    adapter("huggingface").delete_rows([gone], reason="court order")
    for options in ({}, {"full": True}):
        with pytest.raises(IntegrityError, match=rf"1 articles that were taken down are still in PostgreSQL: {gone}"):
            make_job(**options).run()
    assert len(hub.all_rows()) == 2
    adapter().delete_rows([gone], reason="court order")
    checked(make_job(), hub, store)
    assert len(hub.all_rows()) == 2
