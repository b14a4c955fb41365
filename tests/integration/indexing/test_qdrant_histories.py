"""Random histories of writes and broken-off runs: after every run that ends, the index in Qdrant is PostgreSQL.

What a point should be is worked out here from the published view: its payload in plain Python, its vector from the text
by the stand-in of the embeddings itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from data_platform import failpoints
from data_platform.failpoints import FailpointError
from data_platform.jobs.indexing.job import run_reindex
from data_platform.jobs.indexing.records import Kind, ReindexOptions, ReindexOutcome
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.days import SAO_PAULO
from data_platform.settings import Settings
from dev.embeddings_server import EmbeddingsServer, embed
from dev.qdrant_server import QdrantServer
from tests.support.hub import columns
from tests.support.qdrant import KEY
from tests.support.sources import NO_THEME, article, articles, theme_codes, theme_text
from tests.support.stores import Store
from tests.support.syncs import update

Row = dict[str, Any]
MODEL, DIMENSION = "modelo", 32
IDS = ["a", "B", "é", "a b", "../x"]
INSTANTS = [
    datetime(2024, 12, 30, 2, 59, 59, 999999, UTC),
    datetime(2025, 1, 1, 2, 59, tzinfo=UTC),
    datetime(2019, 1, 1, 2, tzinfo=UTC),  # summer time
    datetime(1969, 12, 31, 23, 59, 59, 500000, UTC),
]
POINTS = [name for name in failpoints.FAILPOINTS if name.startswith("reindex.") and name != "reindex.after_partition"]
_cells = st.sampled_from(
    [
        {"title": 'outro "título"\n\\'},
        {"summary": None},
        {"summary": "s\x0b resumo 🛰"},
        {"content": "x" * 600},
        {"tags": []},
        {"tags": ["", "é"]},
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


def point_of(row: Row) -> Row:
    """Return what the payload of an article should be."""
    cells = {name: row[name] for name in ("unique_id", "agency", "title", "url", "category") if row[name] is not None}
    text = row["theme_1_level_1"] or ""
    codes = [row[f"theme_1_level_{level}_code"] for level in (1, 2, 3)]
    codes[0] = codes[0] or (text[:2] if text[:2].isdigit() and text[2:5] == " - " else None)
    deepest = row["most_specific_theme_code"] or codes[2] or codes[1] or codes[0]
    named = {f"theme_1_level_{level}_code": code for level, code in enumerate(codes, start=1)}
    local = row["published_at"].astimezone(SAO_PAULO)
    found = cells | named | {
        "most_specific_theme_code": deepest,
        "tags": [tag for tag in row["tags"] or () if tag] or None,
        "published_at": row["published_at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "published_year": local.year,
        "published_month": local.month,
        "text_hash": blake2b(text_of(row).encode(), digest_size=16).hexdigest(),
        "embedding_model": MODEL,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def text_of(row: Row) -> str:
    """Return the text of an article that is embedded."""
    told = row["summary"] if (row["summary"] or "").strip() else (row["content"] or "")[:500]
    return f"{row['title']} {told}"[:2048] if told.strip() else str(row["title"])


@dataclass
class Life:
    """A database and a Qdrant between which histories are played, one after the other."""

    store: Store
    server: QdrantServer
    service: EmbeddingsServer
    settings: Settings
    news: PostgresManager
    long: psycopg.Connection[Any] | None = field(default=None)

    def begin(self) -> None:
        """Start over: a few rows, indexed."""
        self.end_of_long()
        for table in ("news", "news_tombstones", "consumer_positions", "rejects"):
            self.store.execute(f"DELETE FROM {table}")
        for name in list(self.server.store.engine.collections):
            self.server.store.delete(name)
        self.news.insert(columns(articles(3)))
        self.job("full")

    def job(self, kind: str) -> ReindexOutcome:
        options = ReindexOptions(reader="qdrant", kind=Kind(kind), batch_rows=2)
        return run_reindex(self.settings, options, started_by="the test")

    def points(self) -> dict[str, tuple[Row, list[float]]]:
        """What searches see: unique_id -> payload and vector."""
        records, _ = self.server.store.engine.scroll("news", limit=10_000, with_payload=True, with_vectors=True)
        return {record.payload["unique_id"]: (record.payload, record.vector) for record in records}

    def check(self) -> None:
        """The index is PostgreSQL: ids, payloads, vectors."""
        rows, found = self.store.published(), self.points()
        payloads = {uid: payload for uid, (payload, _) in found.items()}
        assert payloads == {uid: point_of(row) for uid, row in rows.items()}
        ids = sorted(found)
        wanted = embed([text_of(rows[uid]) for uid in ids], model=MODEL, dimension=DIMENSION)
        np.testing.assert_allclose([found[uid][1] for uid in ids], wanted.reshape(len(ids), -1), atol=2e-6)

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
            self.job(kind)
        except FailpointError:
            assert self.points(), "searches still find something"
            return
        finally:
            os.environ.pop("GOVBR_FAILPOINTS", None)
        if self.long is None:
            self.check()

    def begin_long(self) -> None:
        """Have somebody else's transaction write something, and leave it open."""
        if self.long is None:
            self.long = psycopg.connect(self.store.url)
            first = articles(1)[0]["unique_id"]
            self.long.execute("UPDATE news SET title = title || '!' WHERE unique_id = %s", (first,))

    def end_of_long(self) -> None:
        if self.long is not None:
            self.long.commit()
            self.long.close()
            self.long = None

    def ask(self, statement: str, *bound: Any) -> None:
        with self.store.connect() as connection:
            connection.execute(statement.encode(), bound)

    def end(self) -> None:
        """Everything that was open is over; one run brings the index up, and nothing waits or is embedded any more."""
        self.end_of_long()
        self.run("incremental", None)
        self.service.texts.clear()
        assert self.job("incremental").rows == 0
        self.run("full", None)
        assert self.service.texts == [], "a rebuild takes the vectors over"
        assert len(self.server.store.engine.collections) == 2


@pytest.fixture
def life(store: Store, news: PostgresManager, tmp_path: Path) -> Iterator[Life]:
    with (
        QdrantServer(keys=[KEY]) as server,
        EmbeddingsServer(model=MODEL, dimension=DIMENSION) as service,
    ):
        told = Settings(
            database_url=store.url,
            state_uri=str(tmp_path / "state"),
            qdrant_url=server.url,
            qdrant_api_key=KEY,
            embeddings_api_url=service.url,
            embeddings_api_kind="generate",
            embeddings_model=MODEL,
            embeddings_dimension=DIMENSION,
        )
        made = Life(store, server, service, told, news)
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


@settings(max_examples=1, deadline=None, phases=_PHASES, suppress_health_check=_QUIET)
@given(history=_HISTORIES)
@example(history=_STALE)
def test_after_any_history_the_index_is_postgresql(life: Life, history: Any) -> None:
    live(life, history)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, phases=_PHASES, suppress_health_check=_QUIET)
@given(history=_HISTORIES)
def test_after_many_histories_the_index_is_postgresql(life: Life, history: Any) -> None:
    live(life, history)


@pytest.mark.slow
@pytest.mark.parametrize("point", [p for p in POINTS if p != "reindex.after_sweep"])
def test_killed_at_any_place_the_next_run_makes_up_for_it(life: Life, tmp_path: Path, point: str) -> None:
    """kill -9, in a full run and in an incremental one where it passes there."""
    life.begin()
    life.job("full")
    life.news.insert(columns(articles(4, first=10)))
    life.ask("DELETE FROM news WHERE unique_id = %s", articles(1)[0]["unique_id"])
    assert killed(life, tmp_path, "--full", point) == -signal.SIGKILL
    assert life.points()
    update(life.news, {"unique_id": articles(3)[1]["unique_id"], "title": "mudou"})
    assert killed(life, tmp_path, "--incremental", point) in {0, -signal.SIGKILL}
    life.run("incremental", None)
    life.end()


def killed(life: Life, folder: Path, kind: str, point: str) -> int:
    """Run the command in a process that is killed at a place; return how it ended."""
    told = life.settings
    environment = os.environ | {
        "DATABASE_URL": told.database_url,
        "QDRANT_URL": told.qdrant_url,
        "QDRANT_API_KEY": told.qdrant_api_key,
        "EMBEDDINGS_API_URL": told.embeddings_api_url,
        "EMBEDDINGS_API_KIND": told.embeddings_api_kind,
        "EMBEDDINGS_MODEL": told.embeddings_model,
        "EMBEDDINGS_DIMENSION": str(told.embeddings_dimension),
        "STATE_URI": str(folder / "state"),
        "STORAGE_BACKEND": "postgres",
        "GOVBR_FAILPOINTS": f"{point}=kill",
    }
    command = [sys.executable, "-m", "data_platform", "reindex", "qdrant", kind, "--json"]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode
