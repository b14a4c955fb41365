"""Random histories of writes and broken-off runs: after every run that ends, the index in Qdrant is PostgreSQL.

What a point should be is worked out here from the published view: its payload in plain Python, its vector from the text
by the stand-in of the embeddings itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given

from data_platform.jobs.indexing.job import run_reindex
from data_platform.jobs.indexing.records import Kind, ReindexOptions, ReindexOutcome
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.days import SAO_PAULO
from data_platform.settings import Settings
from dev.embeddings_server import EmbeddingsServer, embed
from dev.qdrant_server import QdrantServer
from tests.support.histories import playing
from tests.support.index_histories import KILLED_AT, STALE, IndexLife, index_histories
from tests.support.qdrant import KEY
from tests.support.sources import Row
from tests.support.stores import Store

MODEL, DIMENSION = "modelo", 32
IDS = ["a", "B", "é", "a b", "../x"]
_HISTORIES = index_histories(IDS, [{"summary": "s\x0b resumo 🛰"}, {"content": "x" * 600}, {"tags": ["", "é"]}])


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
class QdrantLife(IndexLife):
    """PostgreSQL and its index in Qdrant."""

    ids = IDS
    reader = "qdrant"
    server: QdrantServer
    service: EmbeddingsServer

    def clear(self) -> None:
        for name in list(self.server.store.engine.collections):
            self.server.store.delete(name)

    def job(self, kind: str) -> ReindexOutcome:
        options = ReindexOptions(reader="qdrant", kind=Kind(kind), batch_rows=2)
        return run_reindex(self.settings, options, started_by="the test")

    def collections(self) -> list[str]:
        return list(self.server.store.engine.collections)

    def found(self) -> dict[str, tuple[Row, list[float]]]:
        """What searches see: unique_id -> payload and vector."""
        records, _ = self.server.store.engine.scroll("news", limit=10_000, with_payload=True, with_vectors=True)
        return {record.payload["unique_id"]: (record.payload, record.vector) for record in records}

    def check(self) -> None:
        """The index is PostgreSQL: ids, payloads, vectors."""
        rows, found = self.store.published(), self.found()
        payloads = {uid: payload for uid, (payload, _) in found.items()}
        assert payloads == {uid: point_of(row) for uid, row in rows.items()}
        ids = sorted(found)
        wanted = embed([text_of(rows[uid]) for uid in ids], model=MODEL, dimension=DIMENSION)
        np.testing.assert_allclose([found[uid][1] for uid in ids], wanted.reshape(len(ids), -1), atol=2e-6)

    def rest(self) -> None:
        self.service.texts.clear()
        super().rest()
        assert self.service.texts == [], "a rebuild takes the vectors over"

    def environment(self) -> dict[str, str]:
        told = self.settings
        return {
            "QDRANT_URL": told.qdrant_url,
            "QDRANT_API_KEY": told.qdrant_api_key,
            "EMBEDDINGS_API_URL": told.embeddings_api_url,
            "EMBEDDINGS_API_KIND": told.embeddings_api_kind,
            "EMBEDDINGS_MODEL": told.embeddings_model,
            "EMBEDDINGS_DIMENSION": str(told.embeddings_dimension),
        }


@pytest.fixture
def life(store: Store, news: PostgresManager, tmp_path: Path) -> Iterator[QdrantLife]:
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
        made = QdrantLife(store, news, told, server, service)
        yield made
        made.end_of_long()


@playing(1)
@given(history=_HISTORIES)
@example(history=STALE)
def test_after_any_history_the_index_is_postgresql(life: QdrantLife, history: Any) -> None:
    life.live(history)


@pytest.mark.slow
@playing(60)
@given(history=_HISTORIES)
def test_after_many_histories_the_index_is_postgresql(life: QdrantLife, history: Any) -> None:
    life.live(history)


@pytest.mark.slow
@pytest.mark.parametrize("point", KILLED_AT)
def test_killed_at_any_place_the_next_run_makes_up_for_it(life: QdrantLife, point: str) -> None:
    """kill -9, in a full run and in an incremental one where it passes there."""
    life.survive(point)
