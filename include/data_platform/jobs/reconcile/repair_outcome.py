"""What a repair did, write by write, for a person and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["EntryRepair", "RepairOutcome"]


@dataclass(kw_only=True)
class EntryRepair:
    """One write that one store may have missed, and what was done about it.

    Attributes:
        entry_id: the write in the run ledger.
        store: the one that may lack it.
        operation: "insert" or "update".
        began_at: of the write, ISO form in UTC.
        run_date: the day that the write was for.
        articles: how many it was about.
        inserted: articles brought whole; in a dry run, to be brought.
        updated: articles whose columns were brought; in a dry run, to be brought.
        deleted: articles taken out, of a missed deletion; in a dry run, to be taken out.
        already_there: articles that needed nothing.
        not_to_bring: ids that the store which carried the write out does not have: rejected there, or gone since.
        nowhere: ids that neither store has, of a write that none is known to have carried out; of such a deletion, ids
            that the store still has.
        refused: articles that the store rejected, by reason.
        known_otherwise: articles that the store has under another id: id -> its id.
        different: ids that still differ afterwards.
        staged_file: where the rows of the call lie, if that is known.
        settled: whether nothing is left to do.
        why_open: why not.
    """

    entry_id: str
    store: str
    operation: str
    began_at: str
    run_date: str | None
    articles: int
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    already_there: int = 0
    not_to_bring: list[str] = field(default_factory=list)
    nowhere: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    known_otherwise: dict[str, str] = field(default_factory=dict)
    different: list[str] = field(default_factory=list)
    staged_file: str = ""
    settled: bool = False
    why_open: str = ""

    def line(self) -> str:
        """Return this in words."""
        counts = {
            "inserted": self.inserted,
            "updated": self.updated,
            "deleted": self.deleted,
            "already there": self.already_there,
            "not to bring": len(self.not_to_bring),
            "refused": self.refused.total(),
            "there under another id": len(self.known_otherwise),
            "nowhere": len(self.nowhere),
            "different": len(self.different),
        }
        done = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "nothing to do"
        what = f"{self.operation} of {self.began_at[:19]}Z ({self.entry_id[:8]})"
        end = "settled" if self.settled else f"OPEN: {self.why_open}"
        return f"{self.store} missed {what}, {self.articles:,} articles: {done}; {end}"


@dataclass(frozen=True, kw_only=True)
class RepairOutcome:
    """What a repair did.

    Attributes:
        ledger: where the run ledger is.
        known_writes: how many writes it knows of; 0 may mean that `STATE_URI` is another writer's.
        writes: one for each write and store that the ledger had open, the newest first.
        dry_run: whether nothing was written.
    """

    ledger: str
    known_writes: int
    writes: Sequence[EntryRepair]
    dry_run: bool

    @property
    def open(self) -> int:
        """How many are still open."""
        return sum(not write.settled for write in self.writes)

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        counted = ("inserted", "updated", "deleted")
        totals = {name: sum(getattr(write, name) for write in self.writes) for name in counted}
        listed = [asdict(write) | {"refused": dict(write.refused)} for write in self.writes]
        return {
            "ledger": self.ledger,
            "known_writes": self.known_writes,
            "dry_run": self.dry_run,
            "missed": len(self.writes),
            "open": self.open,
            **totals,
            "writes": listed,
        }

    def lines(self) -> list[str]:
        """Return this in words."""
        if not self.known_writes:
            return [f"the run ledger at {self.ledger} knows of no write at all: is STATE_URI that of the writers?"]
        if not self.writes:
            return [f"no store misses any of the {self.known_writes:,} writes that the run ledger knows of"]
        said = f"{len(self.writes)} missed, {self.open} still open"
        return [
            *(write.line() for write in self.writes),
            f"{said} (dry run: nothing was written)" if self.dry_run else said,
        ]
