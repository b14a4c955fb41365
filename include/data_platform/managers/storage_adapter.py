"""News in HuggingFace, in PostgreSQL or in both, behind one interface: the one place that knows of modes.

Both stores are attempted always, PostgreSQL first. Each write leaves a trace in the run ledger before anything is
touched, after the first of two sides, and at its end, before anything is raised: whatever ends the process, what a
store may lack is known.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol, Self

import pyarrow as pa

from data_platform.managers.interface import NewsStore, WriteOutcome
from data_platform.managers.ledger.deletions import taking_down, without_deleted
from data_platform.managers.ledger.entry import IdList, LedgerEntry, SideRecord, Status, new_entry_id
from data_platform.managers.ledger.run_ledger import SIDE, STARTED, WRITE, Recorded, RunLedger
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode, resolve_storage_mode
from data_platform.managers.storage_outcome import SideOutcome, StorageOutcome, failure, renamed
from data_platform.managers.write_rules import ids_to_delete
from data_platform.models.columns import REQUIRED_COLUMNS
from data_platform.models.days import utc_now
from data_platform.settings import Settings
from data_platform.sources.given import batch_of_columns, batch_of_frame
from data_platform.sources.judged import judge
from data_platform.sources.normalise import NormalBatch

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ResolvesIds", "StorageAdapter"]

_LOG = logging.getLogger(__name__)
MakeStore = Callable[[], NewsStore]


class ResolvesIds(Protocol):
    """What a store may offer besides: to say which articles of a batch it has under another id."""

    def resolve_ids(self, new_data: Mapping[str, Sequence[Any]]) -> Mapping[str, str]:
        """Return id given -> id of the article that it is, where they differ."""


@dataclass(frozen=True, kw_only=True)
class _Call:
    """A write, ready to be made on any store."""

    operation: str
    make: Callable[[NewsStore], WriteOutcome]
    rows: int
    ids: tuple[str, ...]
    columns: tuple[str, ...]
    allow_update: bool = False
    renames: Mapping[str, str]
    identity: str
    reason: str = ""
    kept_out: int = 0


class StorageAdapter:
    """Reads and writes news as the mode says.

    Nothing of a store that the mode does not use is made, imported or connected to. In mode `dual_write` a failing
    side raises only after the other one was attempted and both outcomes are in the run ledger.

    Args:
        mode: None resolves it from the environment.
        settings: None reads the environment.
        postgres: makes the PostgreSQL side; None means `PostgresManager` of these settings.
        dataset: makes the HuggingFace side; None means `DatasetManager` of these settings.
        ledger: None means the one at `settings.state_uri`.
        run_date: the São Paulo day that the writes are for, for the ledger.
        staged_file: where the rows lie, for the ledger.
    """

    def __init__(
        self,
        mode: StorageMode | None = None,
        *,
        settings: Settings | None = None,
        postgres: MakeStore | None = None,
        dataset: MakeStore | None = None,
        ledger: RunLedger | None = None,
        run_date: date | None = None,
        staged_file: str = "",
    ) -> None:
        self.mode = mode or resolve_storage_mode()
        writes_postgres = ReadSource.POSTGRES in self.mode.sides
        self.settings = settings or _settings(with_postgres=writes_postgres)
        self.ledger = ledger or RunLedger.of(
            self.settings, mirrored=writes_postgres and bool(self.settings.database_url)
        )
        self.run_date = run_date
        self.staged_file = staged_file
        self._makers: dict[ReadSource, MakeStore] = {
            ReadSource.POSTGRES: postgres or self._make_postgres,
            ReadSource.HUGGINGFACE: dataset or self._make_dataset,
        }
        self._stores: dict[ReadSource, NewsStore] = {}
        _LOG.info("storage: %s", self.mode)

    def __enter__(self) -> Self:
        """Return this; leaving closes the stores."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the stores."""
        self.close()

    def close(self) -> None:
        """Close the stores that were made."""
        while self._stores:
            _, store = self._stores.popitem()
            close = getattr(store, "close", None)
            if close is not None:
                close()

    def store(self, side: ReadSource) -> NewsStore:
        """Return the store of a side, made at the first call."""
        if side not in self._stores:
            self._stores[side] = self._makers[side]()
        return self._stores[side]

    # ------------------------------------------------------------------------------------------ reading

    def get(self, min_date: str, max_date: str, agency: str | None = None) -> pd.DataFrame:
        """Return the rows published on São Paulo days, both included, from the store that is read."""
        return self.store(self.mode.read_from).get(min_date, max_date, agency)

    def get_by_unique_ids(self, unique_ids: Sequence[str]) -> pa.Table:
        """Return the rows with these ids that the store that is read has, in the types of `NORMAL_SCHEMA`."""
        return self.store(self.mode.read_from).get_by_unique_ids(unique_ids)

    # ------------------------------------------------------------------------------------------ writing

    def insert(self, new_data: Mapping[str, Sequence[Any]], allow_update: bool = False) -> int:  # noqa: FBT001, FBT002 - the old interface
        """Insert rows; return how many were inserted or really changed.

        In mode `dual_write` that is the number of the store that is read; `insert_rows` tells each side's.

        Raises:
            ValueError: a column is unknown, missing or of another length; no store was touched.
            PartialWriteError: one of two stores failed; the other has the rows.
            WriteFailedError: both failed.
            DataPlatformError: of a mode with one store, that store's own error.
        """
        return self.insert_rows(new_data, allow_update=allow_update).affected

    def update(self, updated_df: pd.DataFrame) -> int:
        """Update rows by unique_id; return how many really changed, in the store that is read; see `insert`."""
        return self.update_rows(updated_df).affected

    def insert_rows(self, new_data: Mapping[str, Sequence[Any]], *, allow_update: bool = False) -> StorageOutcome:
        """Insert rows and tell what became of each, in the store that is read and in each; see `insert`.

        Rows of articles that were taken down by `delete_rows` are kept out of every store, and counted.
        """
        batch_of_columns(new_data)  # a malformed call is refused before anybody is asked
        new_data, kept_out = without_deleted(self.ledger, new_data)
        given = batch_of_columns(new_data)
        known, identity = self._identify(new_data, given)
        told = new_data
        if known:
            told = {**new_data, "unique_id": [_told_id(known, uid) for uid in new_data["unique_id"]]}
        return self._write(
            _Call(
                operation="insert",
                make=lambda store: store.insert_rows(told, allow_update=allow_update),
                rows=given.batch.num_rows,
                ids=tuple(dict.fromkeys(known.get(uid, uid) for uid in _admitted_ids(given))),
                columns=tuple(given.batch.schema.names),
                allow_update=allow_update,
                renames=known,
                identity=identity,
                kept_out=kept_out,
            )
        )

    def update_rows(self, updated_df: pd.DataFrame) -> StorageOutcome:
        """Update rows by unique_id and tell what became of each; see `insert_rows`."""
        given = batch_of_frame(updated_df)
        return self._write(
            _Call(
                operation="update",
                make=lambda store: store.update_rows(updated_df),
                rows=given.batch.num_rows,
                ids=tuple(dict.fromkeys(_admitted_ids(given))),
                columns=tuple(given.batch.schema.names),
                renames={},
                identity="by unique_id",
            )
        )

    def delete_rows(self, unique_ids: Sequence[str], *, reason: str) -> StorageOutcome:
        """Take rows out of every store that is written, and tell how many were there; the reason is recorded.

        They stay out: see `deletions`. Their addresses do as well, unless another row is that article too.
        """
        ids = ids_to_delete(unique_ids, reason)
        reason = reason.strip()
        call = _Call(
            operation="delete",
            make=lambda store: store.delete_rows(ids, reason=reason),
            rows=len(ids),
            ids=tuple(ids),
            columns=(),
            renames={},
            identity="by unique_id",
            reason=reason,
        )
        if not ids:
            return self._write(call)
        with taking_down(self.ledger, lambda: self.store(self.mode.read_from), ids, reason=reason):
            return self._write(call)

    # ------------------------------------------------------------------------------------------------

    def _identify(self, new_data: Mapping[str, Sequence[Any]], given: NormalBatch) -> tuple[dict[str, str], str]:
        """Say, once for both stores, which rows are articles that are there under another id (DESIGN §2.8)."""
        if self.mode.backend is not StorageBackend.DUAL_WRITE:
            return {}, "by the store itself"
        if not given.batch.num_rows:
            return {}, "nothing to identify"
        side = self.mode.read_from
        try:
            resolve_ids = getattr(self.store(side), "resolve_ids", None)
            if resolve_ids is not None:
                return dict(resolve_ids(new_data)), f"by {side}"
            why = f"{side} cannot say which articles it has"
        except Exception as error:  # noqa: BLE001 - told in the outcome
            # The other side is to be attempted whatever happens; that this one fails shows when it is written.
            _LOG.warning("identities are as given: %s does not say which articles it has", side, exc_info=True)
            why = f"{side} does not answer: {error}"
        return {}, f"as given: {why}"

    def _write(self, call: _Call) -> StorageOutcome:
        if not call.rows:
            return self._nothing(call)
        begun = LedgerEntry(
            kind=STARTED,
            entry_id=new_entry_id(),
            started_at=utc_now(),
            run_date=self.run_date,
            operation=call.operation,
            mode=self.mode,
            sides={side.value: SideRecord(status=Status.STARTED) for side in self.mode.sides},
            rows=call.rows + call.kept_out,
            ids=IdList.of(call.ids),
            allow_update=call.allow_update,
            columns=call.columns,
            staged_file=self.staged_file,
            facts={"identity": call.identity} | ({"reason": call.reason} if call.reason else {}),
        )
        recorded = [self.ledger.record(begun)]
        sides: dict[str, SideOutcome] = {}
        errors: dict[str, Exception] = {}
        for side in self.mode.sides:
            sides[side.value] = self._attempt(side, call, errors)
            if len(sides) < len(self.mode.sides):
                recorded += self._record_first(begun, call, sides)
        recorded.append(self._record(WRITE, begun, call, sides, errors))
        if errors:
            if len(sides) == 1:
                raise next(iter(errors.values()))
            raise failure(sides, errors, entry_id=begun.entry_id)
        return self._told(call, sides, begun.entry_id, recorded)

    def _attempt(self, side: ReadSource, call: _Call, errors: dict[str, Exception]) -> SideOutcome:
        try:
            made = renamed(call.make(self.store(side)), call.renames)
            return SideOutcome(store=side.value, outcome=_with(made, call))
        except Exception as error:  # noqa: BLE001 - of any type: see below
            # Not swallowed: recorded, and raised when the other side was attempted too.
            _LOG.exception("%s: the %s failed", side, call.operation)
            errors[side.value] = error
            return SideOutcome.of_error(side.value, error)

    def _record_first(self, begun: LedgerEntry, call: _Call, sides: Mapping[str, SideOutcome]) -> list[Recorded]:
        """Record how the first of two sides ended; the second is attempted even if that cannot be recorded."""
        try:
            return [self._record(SIDE, begun, call, sides)]
        except Exception:  # noqa: BLE001 - see below
            # The beginning stays behind; should the process die now, both sides count as missed, which is safe.
            _LOG.exception("the first side's outcome is not recorded")
            return []

    def _record(
        self,
        kind: str,
        begun: LedgerEntry,
        call: _Call,
        sides: Mapping[str, SideOutcome],
        errors: Mapping[str, Exception] | None = None,
    ) -> Recorded:
        """Record how the sides ended; if that fails, the beginning stays behind without an end and tells of it."""
        entry = replace(
            begun,
            kind=kind,
            finished_at=utc_now(),
            ids=IdList(),
            sides={
                **{s.value: SideRecord(status=Status.SKIPPED) for s in ReadSource if kind == WRITE},
                **{name: side.record(_missed(call, sides)) for name, side in sides.items()},
            },
        )
        try:
            return self.ledger.record(entry)
        except Exception as error:
            told = "; ".join(map(str, sides.values()))
            error.add_note(f"the write itself was made, and is not recorded: {told}; run ledger: {begun.entry_id}")
            for failed in (errors or {}).values():
                error.add_note(f"it had failed: {failed!r}")
            raise

    def _told(
        self, call: _Call, sides: Mapping[str, SideOutcome], entry_id: str, recorded: Sequence[Recorded]
    ) -> StorageOutcome:
        outcomes = {name: side.outcome for name, side in sides.items() if side.outcome is not None}
        return StorageOutcome.over(
            outcomes[self.mode.read_from.value],
            outcomes,
            identity=call.identity,
            entry_id=entry_id,
            not_mirrored=sum(each.mirrored is False for each in recorded),
        )

    def _nothing(self, call: _Call) -> StorageOutcome:
        """Record that there was nothing to write, since somebody may wait for the record; touch no store."""
        sides = {
            side.value: SideOutcome(store=side.value, outcome=_with(WriteOutcome(), call)) for side in self.mode.sides
        }
        begun = LedgerEntry(
            kind=WRITE,
            entry_id=new_entry_id(),
            started_at=utc_now(),
            run_date=self.run_date,
            operation=call.operation,
            mode=self.mode,
            allow_update=call.allow_update,
            columns=call.columns,
            staged_file=self.staged_file,
            rows=call.kept_out,
        )
        return self._told(call, sides, begun.entry_id, [self._record(WRITE, begun, call, sides)])

    def _make_postgres(self) -> NewsStore:
        from data_platform.managers.postgres_manager import PostgresManager

        return PostgresManager(settings=self.settings)

    def _make_dataset(self) -> NewsStore:
        from data_platform.managers.dataset_manager import DatasetManager
        from data_platform.managers.ledger.kept_rejects import KeptRejects

        return DatasetManager(settings=self.settings, rejects=KeptRejects.of(self.settings))


def _settings(*, with_postgres: bool) -> Settings:
    """Return the environment's settings; the way back to HuggingFace does not need PostgreSQL's to be readable."""
    names = () if with_postgres else ("DATABASE_URL", "GOVBRNEWS_DB_")
    return Settings.from_environment({k: v for k, v in os.environ.items() if not k.startswith(names)})


def _with(outcome: WriteOutcome, call: _Call) -> WriteOutcome:
    """Return a store's outcome with the rows of the call that it was not given."""
    return replace(outcome, given=outcome.given + call.kept_out, kept_out=call.kept_out) if call.kept_out else outcome


def _told_id(known: Mapping[str, str], given: Any) -> Any:  # noqa: ANN401 - whatever a caller puts into a cell
    return known.get(given, given) if isinstance(given, str) else given


def _admitted_ids(given: NormalBatch) -> list[str]:
    """Return the ids of the rows that may enter a store, by the rules that every store shares."""
    names = [name for name in REQUIRED_COLUMNS if name in given.batch.schema.names]
    needed = NormalBatch(
        given.batch.select(names),
        given.first_row,
        {name: cells for name, cells in given.unreadable.items() if name in names},
        {},
    )
    read = judge("call", needed, None)
    ids: list[str] = read.cleaned.batch.column("unique_id").filter(read.admitted).to_pylist()
    return ids


def _missed(call: _Call, sides: Mapping[str, SideOutcome]) -> list[str]:
    """Return the articles that a failed side may lack, under the ids by which the other one has them, if it has."""
    good = next((side.outcome for side in sides.values() if side.outcome is not None), None)
    if good is None:
        return list(call.ids)
    return list(dict.fromkeys(good.ids.get(uid, uid) for uid in call.ids))
