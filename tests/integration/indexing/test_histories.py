"""Random histories of writes and broken-off runs: after every run that ends, the index is PostgreSQL.

What the documents should be is worked out by Python from the published view (`tests.support.search.document_of`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given

from data_platform.jobs.indexing.records import ReindexOutcome
from data_platform.managers.postgres_manager import PostgresManager
from tests.support.histories import playing
from tests.support.index_histories import INSTANTS, KILLED_AT, STALE, IndexLife, index_histories
from tests.support.search import KEY, Search
from tests.support.sources import Row

IDS = ["a", "B", "é", "a b", "x`y", "../x"]
_HISTORIES = index_histories(IDS, [{"summary": "s\x0b"}, {"tags": ["x" * 101, "é"]}])
#: Broken off between two pages: what came before must not be taken away again, what comes after must not be lost.
_BETWEEN_PAGES = [
    ("insert", "a", INSTANTS[0]), ("insert", "B", INSTANTS[0]), ("insert", "é", INSTANTS[0]),
    ("incremental", None, None),
    ("move", "a", INSTANTS[2]), ("move", "B", INSTANTS[2]), ("move", "é", INSTANTS[2]),
    ("incremental", None, ("reindex.after_place", 1)), ("incremental", None, None),
]  # fmt: skip


@dataclass
class TypesenseLife(IndexLife):
    """PostgreSQL and its index in Typesense."""

    ids = IDS
    reader = "typesense"
    search: Search

    def clear(self) -> None:
        self.search.server.store.collections.clear()
        self.search.server.store.aliases.clear()

    def job(self, kind: str) -> ReindexOutcome:
        return self.search.run(kind, batch_rows=2)

    def collections(self) -> list[str]:
        return self.search.collections()

    def found(self) -> dict[str, Row]:
        return self.search.documents()

    def check(self) -> None:
        assert self.search.documents() == self.search.wanted()

    def rest(self) -> None:
        super().rest()
        assert set(self.search.cards()) == set(self.search.collections())
        assert set(self.search.positions()) == {f"typesense/{name}" for name in self.search.collections()}

    def environment(self) -> dict[str, str]:
        port = str(self.search.server.port)
        return {"TYPESENSE_HOST": "127.0.0.1", "TYPESENSE_PORT": port, "TYPESENSE_API_KEY": KEY}


@pytest.fixture
def life(search: Search, news: PostgresManager) -> Iterator[TypesenseLife]:
    made = TypesenseLife(search.store, news, search.settings, search)
    yield made
    made.end_of_long()


@playing(1)
@given(history=_HISTORIES)
@example(history=STALE)
@example(history=_BETWEEN_PAGES)
def test_after_any_history_the_index_is_postgresql(life: TypesenseLife, history: Any) -> None:
    life.live(history)


@pytest.mark.slow
@playing(60)
@given(history=_HISTORIES)
def test_after_many_histories_the_index_is_postgresql(life: TypesenseLife, history: Any) -> None:
    life.live(history)


@pytest.mark.slow
@pytest.mark.parametrize("point", KILLED_AT)
def test_killed_at_any_place_the_next_run_makes_up_for_it(life: TypesenseLife, point: str) -> None:
    """kill -9, in a full run and in an incremental one where it passes there."""
    life.survive(point)
