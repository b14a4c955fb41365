"""Two stores with one ledger, of which either can be made to fail; and rows for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from data_platform.errors import StoreUnavailableError, WriteError
from data_platform.jobs.reconcile.missed import repair_missed
from data_platform.jobs.reconcile.repair_outcome import EntryRepair, RepairOutcome
from data_platform.managers.interface import NewsStore, WriteOutcome
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.storage_adapter import StorageAdapter
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode
from data_platform.settings import Settings
from tests.support.memory_store import MemoryStore
from tests.support.rows import article

PG, HF = "postgres", "huggingface"
Row = dict[str, Any]


def news(uid: str, **cells: Any) -> Row:
    return article(uid, url=f"https://www.gov.br/mec/{uid}", extracted_at=datetime(2026, 11, 1, tzinfo=UTC)) | cells


def columns(*rows: Row) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


@dataclass
class Faulty:
    """A real store in front of which a test can put faults, as `MemoryStore` has them."""

    store: NewsStore
    calls: list[str] = field(default_factory=list)
    always: Callable[[], None] | None = None
    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None

    def insert_rows(self, new_data: Any, *, allow_update: bool = False) -> WriteOutcome:
        return self._write("insert_rows", lambda: self.store.insert_rows(new_data, allow_update=allow_update))

    def update_rows(self, updated_df: pd.DataFrame) -> WriteOutcome:
        return self._write("update_rows", lambda: self.store.update_rows(updated_df))

    def delete_rows(self, unique_ids: Sequence[str], *, reason: str) -> WriteOutcome:
        return self._write("delete_rows", lambda: self.store.delete_rows(unique_ids, reason=reason))

    def get_by_unique_ids(self, unique_ids: Sequence[str]) -> Any:
        self._call("get_by_unique_ids")
        return self.store.get_by_unique_ids(unique_ids)

    def resolve_ids(self, new_data: Any) -> Any:
        self._call("resolve_ids")
        return self.store.resolve_ids(new_data)  # type: ignore[attr-defined]

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.always:
            self.always()

    def _write(self, name: str, call: Callable[[], WriteOutcome]) -> WriteOutcome:
        self._call(name)
        if self.before:
            self.before()
        outcome = call()
        if self.after:
            self.after()
        return outcome


@dataclass
class Both:
    """Two stores with one ledger."""

    postgres: Any
    huggingface: MemoryStore
    ledger: RunLedger
    database_url: str = ""

    def adapter(self, *, ledger: RunLedger | None = None, only: str = "", **more: Any) -> StorageAdapter:
        """Return an adapter over both stores, or in the mode of one."""
        read_from = ReadSource(only) if only else more.pop("read_from", ReadSource.HUGGINGFACE)
        return StorageAdapter(
            StorageMode(backend=StorageBackend(only or StorageBackend.DUAL_WRITE), read_from=read_from),
            settings=Settings(),
            postgres=lambda: self.postgres,
            dataset=lambda: self.huggingface,
            ledger=ledger or self.ledger,
            **more,
        )

    def side(self, name: str) -> Any:
        return {PG: self.postgres, HF: self.huggingface}[name]

    @contextmanager
    def failing(self, *names: str, when: str = "before", error: BaseException | None = None) -> Iterator[None]:
        """Let sides fail, and swallow what the adapter says of it."""

        def fault() -> None:
            raise error or StoreUnavailableError("it sleeps")

        for name in names:
            setattr(self.side(name), when, fault)
        try:
            with suppress(WriteError, StoreUnavailableError, KeyboardInterrupt):
                yield
        finally:
            for name in names:
                setattr(self.side(name), when, None)

    def insert(self, *rows: Row, allow_update: bool = False, **more: Any) -> None:
        self.adapter(**more).insert(columns(*rows), allow_update=allow_update)

    def update(self, *, only: str = "", **cells: Any) -> None:
        self.adapter(only=only).update(pd.DataFrame({name: [value] for name, value in cells.items()}))

    def repair(self, **options: Any) -> RepairOutcome:
        return repair_missed(self.adapter(), **options)

    def rows(self, name: str, *ids: str) -> dict[str, Row]:
        found = self.side(name).get_by_unique_ids(ids or [f"a{n}" for n in range(1, 10)]).to_pylist()
        return {row["unique_id"]: row for row in found}

    def alike(self, *ids: str) -> bool:
        return self.rows(PG, *ids) == self.rows(HF, *ids)


def only(outcome: RepairOutcome) -> EntryRepair:
    (write,) = outcome.writes
    return write
