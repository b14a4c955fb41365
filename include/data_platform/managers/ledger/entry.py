"""What an entry of the run ledger says, and how it is written down as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

from data_platform.errors import DataPlatformError
from data_platform.managers.storage_mode import StorageMode
from data_platform.models.days import day_of

__all__ = ["IdList", "LedgerEntry", "SideRecord", "Status", "new_entry_id"]

VERSION = 1
_ID = re.compile(r"[0-9a-f]{32}")
_KIND = re.compile(r"[a-z]+(?:-[a-z]+)*")


class Status(StrEnum):
    """What became of one side of a write."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class IdList:
    """Ids of articles: all of them here, or in an object of their own.

    Attributes:
        count: how many there are.
        here: they themselves, if they are not elsewhere.
        elsewhere: the object that has them; "" if they are here.
    """

    count: int = 0
    here: tuple[str, ...] = ()
    elsewhere: str = ""

    @classmethod
    def of(cls, ids: Sequence[str]) -> IdList:
        """Return a list that has its ids."""
        return cls(count=len(ids), here=tuple(ids))


@dataclass(frozen=True, kw_only=True)
class SideRecord:
    """What became of one store's side.

    Attributes:
        status: skipped means that this store was not to be written.
        counts: what the store says it did (`WriteOutcome.counts`).
        error_type: class of the error, "" if there was none.
        error: what happened.
        hint: what to do.
        retryable: whether the same call may succeed later.
        missed: articles that this store should have after the call and may not have; none unless it failed.
    """

    status: Status
    counts: Mapping[str, int] = field(default_factory=dict)
    error_type: str = ""
    error: str = ""
    hint: str = ""
    retryable: bool = False
    missed: IdList = field(default_factory=IdList)

    @classmethod
    def failed(cls, error: Exception, *, missed: IdList | None = None) -> SideRecord:
        """Return the record of a side that ended with an error."""
        told = error.message if isinstance(error, DataPlatformError) else str(error)
        return cls(
            status=Status.FAILED,
            error_type=type(error).__name__,
            error=told or type(error).__name__,
            hint=getattr(error, "hint", ""),
            retryable=bool(getattr(error, "retryable", False)),
            missed=missed or IdList(),
        )


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One thing that ran.

    Attributes:
        kind: "write-started", "write-side", "write", "repair", and what later jobs add.
        entry_id: 32 hexadecimal digits; entries of one write share it.
        run_date: the São Paulo day that the run is for; None if it is for none.
        operation: "insert", "update" or a word of the kind's own.
        mode: which stores were written and read; None where that has no meaning.
        started_at: with a zone.
        finished_at: with a zone; None while it runs.
        sides: store -> what became of it.
        rows: rows of the call.
        ids: articles of the call that may enter a store, as both sides shall call them.
        allow_update: of an insert.
        columns: the columns that the call wrote.
        staged_file: where the rows of the call lie, "" if nowhere.
        facts: what this kind has to say besides.
    """

    kind: str
    entry_id: str
    started_at: datetime
    finished_at: datetime | None = None
    run_date: date | None = None
    operation: str = ""
    mode: StorageMode | None = None
    sides: Mapping[str, SideRecord] = field(default_factory=dict)
    rows: int = 0
    ids: IdList = field(default_factory=IdList)
    allow_update: bool = False
    columns: tuple[str, ...] = ()
    staged_file: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _KIND.fullmatch(self.kind):
            raise ValueError(f"a kind is lower-case words with hyphens, not {self.kind!r}")
        if not _ID.fullmatch(self.entry_id):
            raise ValueError(f"an entry's id is 32 hexadecimal digits, not {self.entry_id!r}")
        for name in ("started_at", "finished_at"):
            instant = getattr(self, name)
            if instant is not None and instant.tzinfo is None:
                raise ValueError(f"{name} needs a zone: {instant!r}")

    @property
    def day(self) -> date:
        """The day under which the entry is filed: its run date, else the São Paulo day on which it began."""
        return self.run_date or day_of(self.started_at)

    @property
    def at(self) -> datetime:
        """When it was known: at the end, or at the beginning of what has no end yet."""
        return self.finished_at or self.started_at

    @property
    def failed_sides(self) -> tuple[str, ...]:
        """The stores that failed."""
        return tuple(name for name, side in self.sides.items() if side.status is Status.FAILED)

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values; instants in UTC."""
        return {
            "version": VERSION,
            "kind": self.kind,
            "entry_id": self.entry_id,
            "run_date": self.run_date.isoformat() if self.run_date else None,
            "operation": self.operation,
            "mode": self.mode.to_dict() if self.mode else None,
            "started_at": self.started_at.astimezone(UTC).isoformat(),
            "finished_at": self.finished_at.astimezone(UTC).isoformat() if self.finished_at else None,
            "sides": {name: _side_to_dict(side) for name, side in self.sides.items()},
            "rows": self.rows,
            "ids": _ids_to_dict(self.ids),
            "allow_update": self.allow_update,
            "columns": list(self.columns),
            "staged_file": self.staged_file,
            "facts": dict(self.facts),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LedgerEntry:
        """Read what `to_dict` wrote, in this release or a newer one, whose further keys are left alone.

        Raises:
            KeyError, TypeError, ValueError, ConfigurationError: it is no entry.
        """
        finished, day, mode = values.get("finished_at"), values.get("run_date"), values.get("mode")
        return cls(
            kind=values["kind"],
            entry_id=values["entry_id"],
            started_at=datetime.fromisoformat(values["started_at"]),
            finished_at=datetime.fromisoformat(finished) if finished else None,
            run_date=date.fromisoformat(day) if day else None,
            operation=str(values.get("operation", "")),
            mode=StorageMode.from_dict(mode) if mode else None,
            sides={str(name): _side_from_dict(side) for name, side in values.get("sides", {}).items()},
            rows=int(values.get("rows", 0)),
            ids=_ids_from_dict(values.get("ids") or {}),
            allow_update=bool(values.get("allow_update", False)),
            columns=tuple(map(str, values.get("columns", ()))),
            staged_file=str(values.get("staged_file", "")),
            facts=dict(values.get("facts") or {}),
        )


def new_entry_id() -> str:
    """Return an id that no other entry has."""
    return uuid4().hex


def _side_to_dict(side: SideRecord) -> dict[str, Any]:
    values: dict[str, Any] = {"status": side.status.value, "counts": dict(side.counts)}
    if side.error_type:
        names = ("error_type", "error", "hint", "retryable")
        values |= {name: getattr(side, name) for name in names}
    return values | {"missed": _ids_to_dict(side.missed)}


def _side_from_dict(values: Mapping[str, Any]) -> SideRecord:
    return SideRecord(
        status=Status(values["status"]),
        counts={str(name): int(count) for name, count in values.get("counts", {}).items()},
        error_type=str(values.get("error_type", "")),
        error=str(values.get("error", "")),
        hint=str(values.get("hint", "")),
        retryable=bool(values.get("retryable", False)),
        missed=_ids_from_dict(values.get("missed") or {}),
    )


def _ids_to_dict(ids: IdList) -> dict[str, Any]:
    return {"count": ids.count} | ({"elsewhere": ids.elsewhere} if ids.elsewhere else {"here": list(ids.here)})


def _ids_from_dict(values: Mapping[str, Any]) -> IdList:
    found = IdList(
        count=int(values.get("count", 0)),
        here=tuple(map(str, values.get("here", ()))),
        elsewhere=str(values.get("elsewhere", "")),
    )
    if not found.elsewhere and found.count != len(found.here):
        raise ValueError(f"{found.count} ids are announced, {len(found.here)} are there")
    return found
