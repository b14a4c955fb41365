"""Texts that the embeddings service does not take cost only themselves, also when nothing else is to be written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_platform.errors import IntegrityError
from data_platform.jobs.indexing.job import run_reindex
from data_platform.jobs.indexing.records import Kind, ReindexOptions, ReindexOutcome
from data_platform.managers.embeddings.service import TextsRefusedError
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.settings import Settings
from dev.embeddings_server import EmbeddingsServer, Fault
from dev.qdrant_server import QdrantServer
from dev.stand_in import RefusalError
from tests.support.hub import columns
from tests.support.qdrant import KEY
from tests.support.sources import article, articles
from tests.support.stores import Store

POISON = "VENENO"


class Picky(EmbeddingsServer):
    """Refuses a request with a text that it does not like, as a service does with one over its limit of tokens."""

    def _texts(self, *told: Any) -> list[str]:
        texts = super()._texts(*told)
        if any(POISON in text for text in texts):
            raise RefusalError(422, "inputs must have less than 512 tokens")
        return texts


class Semantic:
    """An index in Qdrant's stand-in, with ten articles in it.

    Attributes:
        store: PostgreSQL.
        service: makes the vectors.
    """

    def __init__(self, store: Store, news: PostgresManager, qdrant: QdrantServer, service: Picky, state: Path) -> None:
        self.store, self.service, self._news, self._qdrant = store, service, news, qdrant
        self._settings = Settings(
            database_url=store.url,
            state_uri=str(state),
            qdrant_url=qdrant.url,
            qdrant_api_key=KEY,
            embeddings_api_url=service.url,
            embeddings_api_kind="generate",
            embeddings_model=service.model,
            embeddings_dimension=service.dimension,
        )
        self.insert(*articles(10))
        self.run("full")

    def insert(self, *rows: Any) -> None:
        self._news.insert(columns(list(rows)))

    def run(self, kind: str = "incremental", *, max_failed: int = 10) -> ReindexOutcome:
        options = ReindexOptions(reader="qdrant", kind=Kind(kind), max_failed=max_failed)
        return run_reindex(self._settings, options, started_by="the test")

    def titles(self) -> set[str]:
        records, _ = self._qdrant.store.engine.scroll("news", limit=1000, with_payload=True)
        return {(record.payload or {})["title"] for record in records}


@pytest.fixture
def semantic(store: Store, news: PostgresManager, tmp_path: Path) -> Iterator[Semantic]:
    with QdrantServer(keys=[KEY]) as qdrant, Picky(model="m", dimension=16) as service:
        yield Semantic(store, news, qdrant, service, tmp_path / "state")


def poisoned(number: int) -> list[Any]:
    return [article(40 + n, title=f"{POISON} {n}") for n in range(number)]


def test_refused_texts_stop_nothing_in_the_runs_after(semantic: Semantic) -> None:
    """The next run begins with them, and nothing was taken before."""
    semantic.insert(*poisoned(5), *(article(20 + n, title=f"boa {n}") for n in range(7)))
    assert len(semantic.run().failed) == 5
    gone = articles(10)[0]
    semantic.store.execute(f"DELETE FROM news WHERE unique_id = '{gone['unique_id']}'")
    semantic.insert(article(60, title="de hoje"))
    assert len(semantic.run().failed) == 5
    assert gone["title"] not in semantic.titles()
    assert "de hoje" in semantic.titles()
    with pytest.raises(IntegrityError, match="5 documents were refused"):
        semantic.run(max_failed=0)
    semantic.store.execute(f"UPDATE news SET title = 'curta' WHERE title LIKE '{POISON}%'")
    assert not semantic.run().failed
    assert not any(POISON in title for title in semantic.titles())


def test_they_may_be_all_that_a_window_begins_with(semantic: Semantic) -> None:
    for row in poisoned(4):
        semantic.insert(row)
    semantic.insert(*(article(100 + n, title=f"boa {n}") for n in range(200)))
    assert len(semantic.run().failed) == 4
    assert {f"boa {n}" for n in range(200)} <= semantic.titles()


def test_a_rebuild_goes_on_once_they_are_allowed(semantic: Semantic) -> None:
    semantic.insert(*poisoned(3))
    with pytest.raises(IntegrityError, match="3 documents were refused"):
        semantic.run("full", max_failed=0)
    assert len(semantic.run("full").failed) == 3


def test_a_service_that_takes_nothing_stops_the_run_and_loses_nothing(semantic: Semantic) -> None:
    semantic.insert(*(article(20 + n, title=f"boa {n}") for n in range(7)))
    semantic.service.faults = [Fault("POST", status=422)]
    with pytest.raises(TextsRefusedError, match="it takes no text at all"):
        semantic.run()
    semantic.service.faults = []
    assert not semantic.run().failed
    assert {f"boa {n}" for n in range(7)} <= semantic.titles()
