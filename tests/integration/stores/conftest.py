"""The faces that the battery runs over: each store, and the adapter over them in every mode."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.ledger.kept_rejects import KeptRejects
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.managers.storage_adapter import StorageAdapter
from data_platform.managers.storage_mode import resolve_storage_mode
from data_platform.models.columns import PUBLISHED_SCHEMA
from data_platform.settings import Settings
from dev.hub_server import HubServer, HubStore
from tests.support.faces import Face, plain
from tests.support.sources import THEMES, Row
from tests.support.stores import Store

DATASET, REDUCED, TOKEN = "owner/govbrnews", "owner/govbrnews-reduced", "hf_write"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    """A Hub with the two datasets, empty."""
    store = HubStore(tmp_path / "hub")
    for dataset in (DATASET, REDUCED):
        store.create(dataset)
    with HubServer(store, tokens=[TOKEN]) as server:
        yield server


@pytest.fixture
def themes_file(tmp_path: Path) -> Path:
    """The tests' tree of themes, as a file in the team's form."""
    tree: dict[str, dict[str, list[str]]] = {}
    names = {theme.code: f"{theme.code} - {theme.label}" for theme in THEMES}
    for code, name in names.items():
        if len(code) == 2:
            tree.setdefault(name, {})
        elif len(code) == 5:
            tree[names[code[:2]]].setdefault(name, [])
        else:
            tree[names[code[:2]]][names[code[:5]]].append(name)
    path = tmp_path / "themes_tree.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    return path


def published_on(hub: HubServer) -> dict[str, Row]:
    """Return the rows of the main dataset by id, read around the code under test; the reduced one must fit."""
    rows = _rows(hub, DATASET)
    reduced = ("published_at", "agency", "title", "url")
    wanted = sorted([[str(row[name]) for name in reduced] for row in rows])
    assert sorted([[str(row[name]) for name in reduced] for row in _rows(hub, REDUCED)]) == wanted
    return {row["unique_id"]: row for row in rows}


def _rows(hub: HubServer, dataset: str) -> list[dict[str, Any]]:
    store = hub.store
    files = store.files(dataset, str(store.resolve(dataset, "main")))
    tables = []
    for path, file in sorted(files.items()):
        if path.endswith(".parquet"):
            table = pq.read_table(io.BytesIO(store.blob(file.sha256).read_bytes()))
            if dataset == DATASET:
                assert table.schema.remove_metadata() == PUBLISHED_SCHEMA, path
            tables.append(table)
    whole = pa.concat_tables(tables).to_pylist() if tables else []
    return [{name: plain(value) for name, value in row.items()} for row in whole]


class Stores:
    """What the faces of one test are made of."""

    def __init__(self, hub: HubServer, store: Store | None, folder: Path, themes_file: Path) -> None:
        self.hub = hub
        self.database = store
        self.settings = Settings(
            database_url=store.url if store else "",
            hf_token=TOKEN,
            hf_endpoint=hub.url,
            hf_dataset=DATASET,
            hf_reduced_dataset=REDUCED,
            themes_source=str(themes_file),
            state_uri=str(folder / "state"),
            reports_uri=str(folder / "reports"),
        )
        self.cache = folder / "keys"

    def dataset(self) -> DatasetManager:
        """Return the HuggingFace side."""
        return DatasetManager(DATASET, settings=self.settings, rejects=KeptRejects.of(self.settings), cache=self.cache)

    def postgres(self) -> PostgresManager:
        """Return the PostgreSQL side."""
        return PostgresManager(settings=self.settings)

    def adapter(self, backend: str, read_from: str) -> StorageAdapter:
        """Return the adapter in a mode."""
        mode = resolve_storage_mode(environment={"STORAGE_BACKEND": backend, "STORAGE_READ_FROM": read_from})
        return StorageAdapter(mode, settings=self.settings, dataset=self.dataset)

    def heads(self) -> list[str | None]:
        """Return the heads of both datasets."""
        return [self.hub.store.resolve(dataset, "main") for dataset in (DATASET, REDUCED)]

    def kept_rejects(self) -> set[tuple[str | None, str]]:
        """Return what the sink without PostgreSQL holds."""
        return {(row["unique_id"], row["reason"]) for row in KeptRejects.of(self.settings).kept()}  # type: ignore[misc]


@pytest.fixture
def stores(hub: HubServer, store: Store, tmp_path: Path, themes_file: Path) -> Stores:
    """Both stores, empty."""
    return Stores(hub, store, tmp_path, themes_file)


_LOOKS = {
    "postgres": ("postgres",),
    "huggingface": ("huggingface",),
    "adapter:postgres/postgres": ("postgres",),
    "adapter:huggingface/huggingface": ("huggingface",),
    "adapter:dual_write/huggingface": ("postgres", "huggingface"),
    "adapter:dual_write/postgres": ("postgres", "huggingface"),
}


@pytest.fixture(params=list(_LOOKS))
def face(
    request: pytest.FixtureRequest, hub: HubServer, make_store: Callable[[], Store], tmp_path: Path, themes_file: Path
) -> Iterator[Face]:
    """A store of news, empty but for agencies and themes."""
    sides = _LOOKS[request.param]
    database = make_store() if "postgres" in sides else None
    stores = Stores(hub, database, tmp_path, themes_file)
    kind, _, mode = request.param.partition(":")
    made: Any = (
        stores.adapter(*mode.split("/"))
        if mode
        else {"postgres": stores.postgres, "huggingface": stores.dataset}[kind]()
    )
    looks: dict[str, Callable[[], dict[str, Row]]] = {"huggingface": lambda: published_on(hub)}
    rejects: dict[str, Callable[[], set[tuple[str | None, str]]]] = {"huggingface": stores.kept_rejects}
    if database is not None:
        looks["postgres"] = database.published
        rejects["postgres"] = lambda: {(row["unique_id"], row["reason"]) for row in database.rejects()}
    yield Face(
        store=made,
        looks={side: looks[side] for side in sides},
        rejects={side: rejects[side] for side in sides},
        versions=lambda: (stores.heads(), database.versions() if database else None),
    )
    if hasattr(made, "close"):
        made.close()
