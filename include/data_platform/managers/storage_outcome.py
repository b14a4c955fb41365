"""What became of a write to one or two stores, and the error that tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from data_platform.errors import DataPlatformError, WriteError
from data_platform.managers.interface import WriteOutcome
from data_platform.managers.ledger.entry import IdList, SideRecord, Status

__all__ = ["SideOutcome", "StorageOutcome", "failure", "renamed"]

REPAIR_COMMAND = "python -m data_platform reconcile --repair missed"


@dataclass(frozen=True, kw_only=True)
class SideOutcome:
    """What became of one store's side: an outcome, or an error. Can be sent between processes.

    Attributes:
        store: "postgres" or "huggingface".
        outcome: what the store did; None if it failed.
        error_type: class of the error, "" if there was none.
        error: what happened.
        hint: what to do.
        retryable: whether the same call may succeed later.
    """

    store: str
    outcome: WriteOutcome | None = None
    error_type: str = ""
    error: str = ""
    hint: str = ""
    retryable: bool = False

    @classmethod
    def of_error(cls, store: str, error: Exception) -> SideOutcome:
        """Return the outcome of a side that raised."""
        kind = type(error).__name__
        if isinstance(error, DataPlatformError):
            return cls(store=store, error_type=kind, error=error.message, hint=error.hint, retryable=error.retryable)
        return cls(store=store, error_type=kind, error=str(error) or kind)

    @property
    def failed(self) -> bool:
        """Whether this side raised."""
        return self.outcome is None

    def record(self, missed: Sequence[str]) -> SideRecord:
        """Return what the ledger says of this side."""
        if self.outcome is not None:
            return SideRecord(status=Status.SUCCEEDED, counts=self.outcome.counts)
        return SideRecord(
            status=Status.FAILED,
            error_type=self.error_type,
            error=self.error,
            hint=self.hint,
            retryable=self.retryable,
            missed=IdList.of(missed),
        )

    def __str__(self) -> str:
        """Return this side in words."""
        if self.outcome is None:
            return f"{self.store} failed: {self.error} [{self.error_type}]"
        counted = ", ".join(f"{number} {name}" for name, number in self.outcome.counts.items() if number)
        return f"{self.store} wrote: {counted or 'nothing'}"


@dataclass(frozen=True, kw_only=True)
class StorageOutcome(WriteOutcome):
    """The outcome of the store that is read, with that of each store beside it.

    Attributes:
        outcomes: store -> what it did.
        identity: how it was found out which article each row is, in words.
        entry_id: the write in the run ledger.
        not_mirrored: records of this write that sync_log has not, though it should.
    """

    outcomes: Mapping[str, WriteOutcome] = field(default_factory=dict)
    identity: str = ""
    entry_id: str = ""
    not_mirrored: int = 0

    @classmethod
    def over(
        cls,
        main: WriteOutcome,
        outcomes: Mapping[str, WriteOutcome],
        **facts: Any,  # noqa: ANN401 - its own fields
    ) -> StorageOutcome:
        """Return the outcome whose numbers are those of one store."""
        return cls(**{f.name: getattr(main, f.name) for f in fields(WriteOutcome)}, outcomes=dict(outcomes), **facts)

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        told = {name: getattr(self, name) for name in ("identity", "entry_id", "not_mirrored")}
        return super().to_dict() | told | {"outcomes": {side: made.to_dict() for side, made in self.outcomes.items()}}


def renamed(outcome: WriteOutcome, known: Mapping[str, str]) -> WriteOutcome:
    """Return a store's outcome in terms of the ids that the caller gave.

    Args:
        outcome: of a call whose ids had been replaced.
        known: id given -> id that the store was told instead.
    """
    ids = {given: outcome.ids.get(told, told) for given, told in known.items()}
    return replace(outcome, ids={**outcome.ids, **ids}) if ids else outcome


def failure(sides: Mapping[str, SideOutcome], errors: Mapping[str, Exception], *, entry_id: str) -> WriteError:
    """Return the error of a write of which at least one side failed, with its cause in place."""
    failed = [side for side in sides.values() if side.failed]
    partial = len(failed) < len(sides)
    message = "; ".join(map(str, sides.values()))
    hints = [f"{side.store}: {side.hint}" for side in failed if side.hint]
    if partial:
        good = next(side.store for side in sides.values() if not side.failed)
        hints.append(f"what {good} has stays; {REPAIR_COMMAND} brings it to {failed[0].store}")
    else:
        hints.append(f"the same call may be made again: what is there already stays as it is; {REPAIR_COMMAND} tells")
    error = WriteError.of(
        message,
        hint="; ".join([*hints, f"run ledger: {entry_id}"]),
        outcomes=dict(sides),
        partial=partial,
        retryable=all(side.retryable for side in failed),
    )
    raised = [errors[side.store] for side in failed]
    error.__cause__ = raised[0] if len(raised) == 1 else ExceptionGroup("every store failed", raised)
    return error
