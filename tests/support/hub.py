"""Datasets at the Hub's stand-in, and what stands in them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_platform.managers.hub.layout import data_files
from data_platform.managers.hub.session import Backoff
from data_platform.models.columns import COLUMN_NAMES, PUBLISHED_SCHEMA
from data_platform.settings import Settings
from dev.hub_server import HubServer, HubStore
from tests.support.sources import Row

__all__ = ["DATASET", "QUICK", "REDUCED", "TOKEN", "Hub", "columns", "parquet_bytes", "published"]

DATASET = "owner/govbrnews"
REDUCED = f"{DATASET}-reduced"
TOKEN = "hf_of_somebody"
#: Tries as many as in earnest, without the waiting.
QUICK = Backoff(tries=5, first_s=0.01, most_s=0.05, total_s=30)


def columns(rows: Sequence[Row], names: Iterable[str] = COLUMN_NAMES) -> dict[str, list[Any]]:
    """Return rows as a scraper gives them: column -> values."""
    return {name: [row[name] for row in rows] for name in names}


def published(row: Row) -> Row:
    """Return a row as the dataset holds it."""
    return {
        name: value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value
        for name, value in row.items()
    }


def parquet_bytes(rows: Sequence[Row], *, schema: pa.Schema = PUBLISHED_SCHEMA, row_group_rows: int = 16) -> bytes:
    """Return a parquet file as other writers make it."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer, row_group_size=row_group_rows)
    return buffer.getvalue()


class Hub:
    """A server with the main and the reduced dataset, both empty at first.

    Attributes:
        store: the datasets.
        server: serves them.
        settings: of somebody who may write.
    """

    def __init__(self, store: HubStore, server: HubServer, state: Path) -> None:
        self.store = store
        self.server = server
        self.settings = Settings(hf_endpoint=server.url, hf_token=TOKEN, hf_dataset=DATASET, state_uri=str(state))

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """Return the environment of a process that writes to this Hub."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "GOVBR"))}
        return kept | {
            "HF_ENDPOINT": self.server.url,
            "HF_TOKEN": TOKEN,
            "HF_DATASET": DATASET,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_XET": "1",
            "STATE_URI": self.settings.state_uri,
            **more,
        }

    def put(self, files: Mapping[str, bytes], *, dataset: str = DATASET) -> str:
        """Commit files as somebody else would."""
        return self.store.commit(dataset, files)

    def head(self, dataset: str = DATASET) -> str:
        """Return the newest commit."""
        return str(self.store.resolve(dataset, "main"))

    def commits(self, dataset: str = DATASET) -> list[dict[str, Any]]:
        """Return the commits, the newest first."""
        return [commit for _, commit in self.store.history(dataset, self.head(dataset))]

    def files(self, dataset: str = DATASET) -> list[str]:
        """Return the paths of the head."""
        return sorted(self.store.files(dataset, self.head(dataset)))

    def content(self, path: str, dataset: str = DATASET) -> bytes:
        """Return a file of the head."""
        found = self.store.files(dataset, self.head(dataset))[path]
        where = self.store.content(found.sha256)
        if where is None:
            raise FileNotFoundError(path)
        return where.read_bytes()

    def table(self, path: str, dataset: str = DATASET) -> pa.Table:
        """Return a data file of the head."""
        return pq.read_table(io.BytesIO(self.content(path, dataset)))

    def rows(self, dataset: str = DATASET) -> dict[str, list[Row]]:
        """Return path -> rows of all data files of the head, as Python values, instants in UTC."""
        return {
            path: [published(_plain(row)) for row in self.table(path, dataset).to_pylist()]
            for path in data_files(self.files(dataset))
        }

    def all_rows(self, dataset: str = DATASET) -> list[Row]:
        """Return the rows of all data files."""
        return [row for rows in self.rows(dataset).values() for row in rows]


def _plain(row: Row) -> Row:
    return {n: v.to_pydatetime() if hasattr(v, "to_pydatetime") else v for n, v in row.items()}
