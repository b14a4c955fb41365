"""What a sync is asked for, what it plans, and what it tells afterwards."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from data_platform.errors import ConfigurationError
from data_platform.managers.storage_mode import StorageBackend, StorageMode

__all__ = ["CONSUMER", "Account", "OtherModeError", "SyncOptions", "SyncOutcome", "reason_to_skip", "require_lead"]

#: The name of this reader of the change feed.
CONSUMER = "huggingface"
_MONTH = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])")
#: Ids and paths that a line names.
_NAMED = 5


class OtherModeError(ConfigurationError):
    """PostgreSQL does not lead, or does not any more: the dataset is not the sync's to write."""


def reason_to_skip(mode: StorageMode) -> str | None:
    """Say why a sync must not act in a mode; None if it may (DESIGN §5)."""
    if mode.backend is StorageBackend.POSTGRES:
        return None
    role = "the source" if mode.backend is StorageBackend.HUGGINGFACE else "written by the pipeline"
    return (
        f"storage_backend is {mode.backend} ({mode.backend_source}): the dataset is {role} and must not be overwritten"
    )


def require_lead(mode: StorageMode) -> None:
    """Refuse to go on unless PostgreSQL leads.

    Raises:
        OtherModeError: says which mode it is, and where it was set.
    """
    if reason := reason_to_skip(mode):
        raise OtherModeError(f"no sync: {reason}", hint="set STORAGE_BACKEND=postgres when PostgreSQL leads")


@dataclass(frozen=True, kw_only=True)
class SyncOptions:
    """What a sync shall do.

    Attributes:
        full: write every month anew instead of those with changes.
        months: only these months (YYYY-MM), whole; the position stays where it is. None of them: as usual.
        dry_run: say what would be published; nothing is written anywhere.
        overwrite: go on although others changed data files, or although rows would go that nobody deleted in
            PostgreSQL, or cells that only the dataset has.

    Raises:
        ConfigurationError: a month is none, or `full` is given with months.
    """

    full: bool = False
    months: Sequence[str] = ()
    dry_run: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if wrong := [month for month in self.months if not _MONTH.fullmatch(month)]:
            raise ConfigurationError(f"{', '.join(map(repr, wrong))} is no month", hint="write months as YYYY-MM")
        if self.full and self.months:
            raise ConfigurationError("a full sync has all months", hint="give either full or months")

    @property
    def kind(self) -> str:
        """What it is called: "incremental", "full" or "months"."""
        return "months" if self.months else "full" if self.full else "incremental"


@dataclass(frozen=True, kw_only=True)
class Account:
    """What becomes of the rows that are published when the sync takes the dataset over or writes it whole.

    published = in_postgres + held + released + deleted + duplicates + unexplained.

    Attributes:
        published: rows of all data files.
        in_postgres: those whose id is in news; its row is published in their place.
        held: those that PostgreSQL does not hold, and that stay published as they are.
        released: those that were held, and whose reject is replayed or discarded by now.
        deleted: those that were deleted or renamed in PostgreSQL.
        duplicates: those that another row with the same id stands for.
        unexplained: those that PostgreSQL knows nothing of. They would go.
        unexplained_ids: the first of them.
        new: rows of news that were not published.
        changed: rows whose cells are others in PostgreSQL; None if that was not looked at.
        changed_ids: the first of them.
        unasked: of these, rows that PostgreSQL has not changed since the last sync: what was written into the dataset
            otherwise would be lost.
        unasked_ids: the first of them.
    """

    published: int
    in_postgres: int
    held: int
    released: int
    deleted: int
    duplicates: int
    unexplained: int
    unexplained_ids: Sequence[str] = ()
    new: int = 0
    changed: int | None = None
    changed_ids: Sequence[str] = ()
    unasked: int = 0
    unasked_ids: Sequence[str] = ()

    def __str__(self) -> str:
        """Return the account in a line."""
        parts = ("in_postgres", "held", "released", "deleted", "duplicates", "unexplained")
        sums = " + ".join(f"{getattr(self, name):,} {name.replace('_', ' ')}" for name in parts)
        told = f"{self.published:,} rows published before = {sums}; {self.new:,} new"
        told += "" if self.changed is None else f", {self.changed:,} with other cells in PostgreSQL"
        return f"{told}, {self.unasked:,} of them not changed there since the last sync" if self.unasked else told


@dataclass(frozen=True, kw_only=True)
class SyncOutcome:
    """What a sync did, or in a dry run would do.

    Attributes:
        kind: "incremental", "full" or "months".
        dry_run: whether nothing was written.
        reason: why everything was written anew though only changes were asked for; "" in the usual case.
        changed_rows: rows that changed since the last sync.
        tombstones: deletions, renames and moves since then.
        partitions: path -> rows, of the files that were written anew.
        uploaded: those of them that really differed.
        removed: data files that went.
        rows: rows published afterwards, the held ones included.
        held: rows that PostgreSQL does not hold and that stay published.
        commit: head of the main dataset afterwards.
        committed: whether that is a commit of this run.
        reduced_commit: head of the reduced dataset afterwards; "" if there is none.
        proven: partitions whose count and digest were read back and are PostgreSQL's.
        marked: rows marked as synced.
        stamp: how far the dataset has come, in the change feed's form.
        account: of a sync of everything, what became of the rows that were published.
        adoption: of a legacy layout, what bringing it into months meant (`AdoptionPlan`).
        notes: what a person should know.
        seconds: how long it took, by stage, and "total".
        peak_rss_mb: largest resident memory of this process so far.
    """

    kind: str
    dry_run: bool = False
    reason: str = ""
    changed_rows: int = 0
    tombstones: int = 0
    partitions: Mapping[str, int] = field(default_factory=dict)
    uploaded: Sequence[str] = ()
    removed: Sequence[str] = ()
    rows: int = 0
    held: int = 0
    commit: str = ""
    committed: bool = False
    reduced_commit: str = ""
    proven: int = 0
    marked: int = 0
    stamp: str = ""
    account: Account | None = None
    adoption: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_rss_mb: float = 0.0

    @property
    def counts(self) -> dict[str, int]:
        """The numbers, for the ledger and for an asset."""
        return {
            "changed_rows": self.changed_rows,
            "tombstones": self.tombstones,
            "partitions": len(self.partitions),
            "uploaded": len(self.uploaded),
            "removed": len(self.removed),
            "rows": self.rows,
            "held": self.held,
            "proven": self.proven,
            "marked": self.marked,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        lists = {name: list(getattr(self, name)) for name in ("uploaded", "removed", "notes")}
        mappings = {name: dict(getattr(self, name)) for name in ("partitions", "seconds")}
        return asdict(self) | lists | mappings

    def lines(self) -> list[str]:
        """Return this for a terminal."""
        would = "would be " if self.dry_run else ""
        lines = [f"{self.kind} sync{' (dry run)' if self.dry_run else ''}: {self._what()}"]
        if self.reason:
            lines.append(f"  everything is written anew: {self.reason}")
        if self.account is not None:
            lines.append(f"  {self.account}")
            if self.account.unexplained:
                lines.append(f"  rows that {would}gone unexplained: {_named(self.account.unexplained_ids)} …")
            if self.account.unasked:
                lines.append(f"  rows that {would}overwritten unasked: {_named(self.account.unasked_ids)} …")
        if self.partitions:
            lines.append(
                f"  {would}written: {_named([f'{path} ({rows:,})' for path, rows in self.partitions.items()])}"
            )
        if self.removed:
            lines.append(f"  {would}removed: {_named(self.removed)}")
        lines += [f"  {note}" for note in self.notes]
        if not self.dry_run:
            lines.append(
                f"  {self.rows:,} rows published, {self.held:,} of them held; {self.proven} files proven equal;"
                f" {self.marked:,} rows marked"
            )
            lines.append(f"  commit {self.commit}{'' if self.committed else ' (there before)'}")
            if self.reduced_commit:
                lines.append(f"  reduced {self.reduced_commit}")
        return lines

    def _what(self) -> str:
        if not self.partitions and not self.removed:
            return "the dataset is up to date"
        return (
            f"{self.changed_rows:,} rows and {self.tombstones:,} tombstones since the last one, "
            f"{len(self.partitions)} files written, {len(self.uploaded)} of them differ, {len(self.removed)} removed"
        )


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown
