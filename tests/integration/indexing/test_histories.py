"""Random histories of writes and broken-off runs: after every run that ends, the index is PostgreSQL.

What the documents should be is worked out by Python from the published view (`tests.support.search.document_of`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from data_platform import failpoints
from data_platform.failpoints import FailpointError
from data_platform.managers.postgres_manager import PostgresManager
from tests.support.hub import columns
from tests.support.search import KEY, Search
from tests.support.sources import NO_THEME, article, articles, theme_codes, theme_text
from tests.support.stores import Store
from tests.support.syncs import update

IDS = ["a", "B", "é", "a b", "x`y", "../x"]
INSTANTS = [
    datetime(2024, 12, 30, 2, 59, 59, 999999, UTC),
    datetime(2025, 1, 1, 2, 59, tzinfo=UTC),
    datetime(2019, 1, 1, 2, tzinfo=UTC),  # summer time
    datetime(1969, 12, 31, 23, 59, 59, 500000, UTC),
]
#: Every place that both kinds of runs pass.
POINTS = [name for name in failpoints.FAILPOINTS if name.startswith("reindex.") and name != "reindex.after_partition"]
_cells = st.sampled_from(
    [
        {"title": 'outro "título"\n\\'},
        {"summary": None},
        {"summary": "s\x0b"},
        {"tags": []},
        {"tags": ["x" * 101, "é"]},
        {"image": None, "subtitle": "linha"},
        {**NO_THEME},
        theme_codes("05.02"),
        theme_text("20"),
    ]
)
_crashes = st.none() | st.tuples(st.sampled_from(POINTS), st.sampled_from([1, 1, 2]))
_ids, _at = st.sampled_from(IDS), st.sampled_from(INSTANTS)
_STEPS = st.one_of(
    st.tuples(st.just("insert"), _ids, _at),
    st.tuples(st.just("insert"), _ids, _at),
    st.tuples(st.just("update"), _ids, _cells),
    st.tuples(st.just("update"), _ids, _cells),
    st.tuples(st.just("move"), _ids, _at),
    st.tuples(st.just("rename"), _ids, _ids),
    st.tuples(st.just("delete"), _ids, st.none()),
    st.tuples(st.just("long"), st.none(), st.none()),
    st.tuples(st.just("end of long"), st.none(), st.none()),
)
_RUN = st.tuples(st.sampled_from(["incremental", "incremental", "incremental", "full"]), st.none(), _crashes)
_HISTORIES = st.lists(
    st.lists(_STEPS, max_size=4).flatmap(lambda steps: _RUN.map(lambda run: [*steps, run])), min_size=2, max_size=6
).map(lambda parts: [step for part in parts for step in part])


@dataclass
class Life:
    """A database and a search service between which histories are played, one after the other."""

    search: Search
    news: PostgresManager
    long: psycopg.Connection[Any] | None = None

    @property
    def store(self) -> Store:
        return self.search.store

    def begin(self) -> None:
        """Start over: a few rows, indexed."""
        self.end_of_long()
        for table in ("news", "news_tombstones", "consumer_positions", "rejects"):
            self.store.execute(f"DELETE FROM {table}")
        self.search.server.store.collections.clear()
        self.search.server.store.aliases.clear()
        self.news.insert(columns(articles(3)))
        self.search.run("full")

    def play(self, what: str, one: Any, other: Any) -> None:
        """Take a step."""
        if what in {"incremental", "full"}:
            self.run(what, other)
        elif what == "insert":
            self.news.insert(columns([article(30 + IDS.index(one), unique_id=one, published_at=other)]))
        elif what == "update":
            update(self.news, {"unique_id": one, **other})
        elif what == "move":
            update(self.news, {"unique_id": one, "published_at": other})
        elif what == "rename":
            free = "NOT EXISTS (SELECT FROM news WHERE unique_id = %s)"
            self.ask(f"UPDATE news SET unique_id = %s WHERE unique_id = %s AND {free}", other, one, other)
        elif what == "delete":
            self.ask("DELETE FROM news WHERE unique_id = %s", one)
        elif what == "long":
            self.begin_long()
        else:
            self.end_of_long()

    def run(self, kind: str, crash: tuple[str, int] | None) -> None:
        """Run; if it comes to its end and nobody's transaction is open, the index is PostgreSQL."""
        if crash is not None:
            failpoints._passed.clear()
            os.environ["GOVBR_FAILPOINTS"] = f"{crash[0]}=raise:{crash[1]}"
        try:
            self.search.run(kind, batch_rows=2)
        except FailpointError:
            assert self.search.server.store.collection("news").documents  # searches still find something
            return
        finally:
            os.environ.pop("GOVBR_FAILPOINTS", None)
        if self.long is None:
            assert self.search.documents() == self.search.wanted()

    def begin_long(self) -> None:
        """Have somebody else's transaction write something, and leave it open."""
        if self.long is None:
            self.long = psycopg.connect(self.store.url)
            self.long.execute(
                "UPDATE news SET title = title || '!' WHERE unique_id = %s", (articles(1)[0]["unique_id"],)
            )

    def end_of_long(self) -> None:
        if self.long is not None:
            self.long.commit()
            self.long.close()
            self.long = None

    def ask(self, statement: str, *bound: Any) -> None:
        with self.store.connect() as connection:
            connection.execute(statement.encode(), bound)

    def end(self) -> None:
        """Everything that was open is over; one run brings the index up, and nothing waits any more."""
        self.end_of_long()
        self.run("incremental", None)
        assert self.search.run().rows == 0
        self.run("full", None)
        assert len(self.search.collections()) == 2
        assert set(self.search.cards()) == set(self.search.collections())
        assert set(self.search.positions()) == {f"typesense/{name}" for name in self.search.collections()}


@pytest.fixture
def life(search: Search, news: PostgresManager) -> Iterator[Life]:
    made = Life(search, news)
    yield made
    made.end_of_long()


def live(life: Life, history: list[tuple[str, Any, Any]]) -> None:
    """Play a history from the beginning."""
    life.begin()
    for step in history:
        life.play(*step)
    life.end()


_QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
_PHASES = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]
_STALE = [
    ("insert", "a", INSTANTS[0]), ("update", "a", theme_codes("05.02")), ("incremental", None, None),
    ("update", "a", {**NO_THEME}), ("update", "a", {"summary": None}),
    ("incremental", None, ("reindex.after_place", 1)),
    ("update", "a", {"tags": []}), ("incremental", None, None),
    ("delete", "a", None), ("insert", "a", INSTANTS[1]), ("rename", "a", "B"),
    ("full", None, ("reindex.after_page", 2)), ("insert", "a", INSTANTS[2]), ("delete", "B", None),
]  # fmt: skip
#: Broken off between two pages: what came before must not be taken away again, what comes after must not be lost.
_BETWEEN_PAGES = [
    ("insert", "a", INSTANTS[0]), ("insert", "B", INSTANTS[0]), ("insert", "é", INSTANTS[0]),
    ("incremental", None, None),
    ("move", "a", INSTANTS[2]), ("move", "B", INSTANTS[2]), ("move", "é", INSTANTS[2]),
    ("incremental", None, ("reindex.after_place", 1)), ("incremental", None, None),
]  # fmt: skip


@settings(max_examples=1, deadline=None, phases=_PHASES, suppress_health_check=_QUIET)
@given(history=_HISTORIES)
@example(history=_STALE)
@example(history=_BETWEEN_PAGES)
def test_after_any_history_the_index_is_postgresql(life: Life, history: Any) -> None:
    live(life, history)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, phases=_PHASES, suppress_health_check=_QUIET)
@given(history=_HISTORIES)
def test_after_many_histories_the_index_is_postgresql(life: Life, history: Any) -> None:
    live(life, history)


@pytest.mark.parametrize("point", [p for p in POINTS if p != "reindex.after_sweep"])
@pytest.mark.slow
def test_killed_at_any_place_the_next_run_makes_up_for_it(life: Life, tmp_path: Path, point: str) -> None:
    """kill -9, in a full run and in an incremental one where it passes there."""
    life.begin()
    life.search.run("full")
    life.news.insert(columns(articles(4, first=10)))
    life.ask("DELETE FROM news WHERE unique_id = %s", articles(1)[0]["unique_id"])
    assert killed(life.search, tmp_path, "--full", point) == -signal.SIGKILL
    assert life.search.server.store.collection("news").documents
    update(life.news, {"unique_id": articles(3)[1]["unique_id"], "title": "mudou"})
    ended = killed(life.search, tmp_path, "--incremental", point)
    assert ended in {0, -signal.SIGKILL}
    life.run("incremental", None)
    life.end()


def killed(search: Search, folder: Path, kind: str, point: str) -> int:
    """Run the command in a process that is killed at a place; return how it ended."""
    environment = os.environ | {
        "DATABASE_URL": search.store.url,
        "TYPESENSE_HOST": "127.0.0.1",
        "TYPESENSE_PORT": str(search.server.port),
        "TYPESENSE_API_KEY": KEY,
        "STATE_URI": str(folder / "state"),
        "STORAGE_BACKEND": "postgres",
        "GOVBR_FAILPOINTS": f"{point}=kill",
    }
    command = [sys.executable, "-m", "data_platform", "reindex", "typesense", kind, "--json"]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode
