"""The dataset and PostgreSQL side by side: written together, made to differ, compared, brought in line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from data_platform.jobs.reconcile.compare import Comparer
from data_platform.jobs.reconcile.drift_repair import DriftRepair
from data_platform.jobs.reconcile.records import CompareOptions, Comparison
from data_platform.jobs.reconcile.repair import Direction, repair_drift
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.hub.layout import UNDATED
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.managers.storage_adapter import StorageAdapter
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode
from data_platform.settings import Settings
from tests.support.hub import DATASET, QUICK, REDUCED, TOKEN, Hub, columns, parquet_bytes, published
from tests.support.sources import THEMES, Row, articles
from tests.support.stores import Store

__all__ = ["BOTH", "DIRECTIONS", "ID", "ROWS", "TwoStores", "account", "frame", "mode", "state", "themes_source"]

ROWS = articles(40)  # 1 March to 9 April 2024
ID = [row["unique_id"] for row in ROWS]
DIRECTIONS = ("from-postgres", "from-huggingface")


def mode(backend: str = "dual_write", read_from: str = "huggingface") -> StorageMode:
    return StorageMode(
        backend=StorageBackend(backend),
        read_from=ReadSource(read_from),
        backend_source="the test",
        read_source="the test",
    )


BOTH = mode()


def themes_source(path: Path) -> Path:
    """Write the tests' tree of themes in the team's form."""
    names = {theme.code: f"{theme.code} - {theme.label}" for theme in THEMES}
    tree: dict[str, dict[str, list[str]]] = {name: {} for code, name in names.items() if len(code) == 2}
    for code, name in names.items():
        if len(code) == 5:
            tree[names[code[:2]]][name] = []
        elif len(code) == 8:
            tree[names[code[:2]]][names[code[:5]]].append(name)
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    return path


class TwoStores:
    """A database and a Hub with one ledger."""

    def __init__(self, store: Store, hub: Hub, folder: Path) -> None:
        self.store, self.hub, self.folder = store, hub, folder
        self.settings = Settings(
            database_url=store.url,
            hf_token=TOKEN,
            hf_endpoint=hub.server.url,
            hf_dataset=DATASET,
            hf_reduced_dataset=REDUCED,
            themes_source=str(themes_source(folder / "themes.yaml")),
            state_uri=str(folder / "state"),
            staging_uri=str(folder / "staging"),
        )
        self.ledger = RunLedger.of(self.settings, mirrored=True)

    def postgres(self) -> PostgresManager:
        return PostgresManager(settings=self.settings)

    def dataset(self) -> DatasetManager:
        return DatasetManager(DATASET, settings=self.settings, backoff=QUICK, cache=self.folder / "keys")

    def adapter(self, which: StorageMode = BOTH, **more: Any) -> StorageAdapter:
        return StorageAdapter(which, settings=self.settings, dataset=self.dataset, **more)

    def write(self, rows: Sequence[Row]) -> None:
        """Write rows to both, as the pipeline does."""
        with self.adapter() as adapter:
            adapter.insert_rows(columns(rows))

    def comparer(self, which: StorageMode = BOTH, **options: Any) -> Comparer:
        return Comparer(self.settings, which, options=CompareOptions(**options), manager=self.dataset())

    def compare(self, **options: Any) -> Comparison:
        return self.comparer(**options).run()

    def repair(self, direction: str, *, which: StorageMode = BOTH, full: bool = False, **more: Any) -> DriftRepair:
        with self.adapter() as adapter:
            return repair_drift(self.comparer(which, full=full), adapter, Direction(direction), **more)

    # ---------------------------------------------------------------------------- around the code under test

    def in_postgres(self) -> dict[str, Row]:
        """What PostgreSQL publishes, by id."""
        return {uid: _plain(row) for uid, row in self.store.published().items()}

    def on_hub(self) -> dict[str, Row]:
        """What the dataset has, by id, but for what is held; each id once."""
        rows = [row for path, found in self.hub.rows().items() if path != UNDATED for row in found]
        assert len({row["unique_id"] for row in rows}) == len(rows)
        return {row["unique_id"]: _plain(row) for row in rows}

    def edit_hub(self, edit: Callable[[dict[str, list[Row]]], object]) -> None:
        """Change the dataset's files as somebody else would, in one commit."""
        tables = {path: self.hub.table(path).to_pylist() for path in self.hub.rows()}
        edit(tables)
        self.hub.put({path: parquet_bytes(rows) for path, rows in tables.items()})

    def alike(self, *, leave_out: Sequence[str] = ()) -> bool:
        """Whether both hold the same, cell by cell."""
        here, there = (
            {uid: {name: cell for name, cell in row.items() if name not in leave_out} for uid, row in rows.items()}
            for rows in (self.in_postgres(), self.on_hub())
        )
        return here == there


def frame(*rows: Row) -> pd.DataFrame:
    """Return rows as an update takes them."""
    return pd.DataFrame(list(rows), dtype=object)


def state(both: TwoStores) -> Any:
    """Return what changes when anything is written to either store."""
    return both.store.versions(), both.hub.head(), both.hub.head("owner/govbrnews-reduced")


def account(done: DriftRepair) -> dict[str, dict[str, int]]:
    """Return what a repair counted, by store, without zeros."""
    return {name: {k: v for k, v in side.counts.items() if v} for name, side in done.sides.items()}


def _plain(row: Row) -> Row:
    cells = published(row)
    at = cells["extracted_at"]
    if isinstance(at, datetime):
        cells["extracted_at"] = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).replace(tzinfo=None)
    return cells
