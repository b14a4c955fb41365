"""What bringing the two stores in line did, for a person and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from data_platform.errors import IntegrityError
from data_platform.jobs.reconcile.records import Comparison
from data_platform.jobs.reconcile.repair_outcome import RepairOutcome
from data_platform.jobs.reconcile.rows import some

__all__ = ["DriftRepair", "SideRepair"]


@dataclass(kw_only=True)
class SideRepair:
    """What was done to one store; counts are rows. to_repair = inserted + updated + deleted + alike + failed.

    Attributes:
        store: the store.
        to_repair: rows that were to be brought in line there.
        inserted: rows that it did not have; in a dry run, that it would get.
        updated: rows that follow the other store now; in a dry run, that would.
        deleted: rows taken out; in a dry run, to be taken out.
        alike: rows that needed nothing any more: somebody else brought them in line meanwhile.
        failed: rows that are as they were, by reason.
        failed_ids: their ids, by reason.
    """

    store: str
    to_repair: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    alike: int = 0
    failed_ids: dict[str, list[str]] = field(default_factory=dict)

    @property
    def failed(self) -> dict[str, int]:
        """How many rows failed, by reason."""
        return {reason: len(ids) for reason, ids in sorted(self.failed_ids.items())}

    @property
    def counts(self) -> dict[str, int]:
        """The numbers."""
        names = ("to_repair", "inserted", "updated", "deleted", "alike")
        return {name: getattr(self, name) for name in names} | {"failed": sum(self.failed.values())}

    def fail(self, reason: str, *ids: str) -> None:
        """Note rows that stay as they are."""
        if ids:
            self.failed_ids.setdefault(reason, []).extend(ids)

    def checked(self) -> SideRepair:
        """Return this if its account adds up.

        Raises:
            IntegrityError: a row is missing from the account.
        """
        counts = self.counts
        if counts.pop("to_repair") != sum(counts.values()):
            raise IntegrityError(f"repair of {self.store}: rows do not add up: {self.counts}", hint="compare again")
        return self

    def line(self) -> str:
        """Return this in words."""
        counted = {"inserted": self.inserted, "updated": self.updated, "deleted": self.deleted, "alike": self.alike}
        done = ", ".join(f"{rows:,} {what}" for what, rows in counted.items() if rows) or "nothing done"
        failed = "".join(f"; {len(ids):,} {reason}: {some(ids)}" for reason, ids in sorted(self.failed_ids.items()))
        return f"{self.store}: {self.to_repair:,} rows to bring in line: {done}{failed}"


@dataclass(frozen=True, kw_only=True)
class DriftRepair:
    """What a repair did.

    Attributes:
        direction: "from-postgres" or "from-huggingface": the store that rows follow.
        allow_delete: whether rows that the leading store does not have were to be deleted.
        delete_buried: whether rows that PostgreSQL has deleted were to be deleted from the dataset.
        dry_run: whether nothing was written.
        missed: what was done about writes that the run ledger had open.
        found: the comparison that the repair went by.
        sides: store -> what was done there.
        after: the comparison afterwards; of a dry run None.
        notes: what a person should know.
    """

    direction: str
    allow_delete: bool
    dry_run: bool
    missed: RepairOutcome
    found: Comparison
    sides: Mapping[str, SideRepair]
    delete_buried: bool = False
    after: Comparison | None = None
    notes: tuple[str, ...] = ()

    @property
    def needs_attention(self) -> bool:
        """Whether the stores differ beyond what is explained, or would after a real run."""
        if self.missed.open and not self.dry_run:
            return True
        if self.after is not None:
            return not self.after.passed
        return not self.found.passed

    def totals(self) -> dict[str, int]:
        """Return the numbers of both stores together."""
        total: Counter[str] = Counter()
        for side in self.sides.values():
            total.update(side.counts)
        return dict(total)

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        return {
            "direction": self.direction,
            "allow_delete": self.allow_delete,
            "delete_buried": self.delete_buried,
            "dry_run": self.dry_run,
            **self.totals(),
            "sides": {
                name: side.counts | {"failed_by_reason": side.failed, "failed_ids": dict(side.failed_ids)}
                for name, side in self.sides.items()
            },
            "missed": self.missed.to_dict(),
            "found": self.found.to_dict(),
            "after": self.after.to_dict() if self.after else None,
            "passed": not self.needs_attention,
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """Return this for a terminal."""
        lines = [*self.missed.lines(), *self.found.lines()]
        lines += [side.line() for side in self.sides.values()]
        lines += self.notes
        if self.dry_run:
            return [*lines, "dry run: nothing was written"]
        return [*lines, *(("afterwards:", *self.after.lines()) if self.after else ())]
