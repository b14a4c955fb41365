"""What one store missed is taken from the other as it is there now (DESIGN §5, Reconciliation).

The run ledger lists the writes that a store may lack. For each:

* an article that the store lacks and the other has is inserted, whole; nothing that is there is overwritten;
* of a missed update, or an insert with allow_update, the columns of that call follow the store that carried it out,
  save what the store that missed it was given since, and the other was not; both are read again afterwards, and it is
  settled only when they agree;
* an article that was taken down since comes back to neither;
* of a missed deletion, what the store still has and the other has not is deleted; what the other has again was written
  since, and stays;
* an article that neither has is told. If the other store carried the write out, it rejected the article or lost it
  since, and there is nothing to bring; if none did, the call has to be made again, and stays open until a later write
  of the same articles has succeeded, or a person accepts it.

The newest write goes first: once both agree on it, an older one finds nothing to take back. Doing it twice changes
nothing, and killed anywhere it can be done again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pyarrow as pa

from data_platform.errors import DataPlatformError
from data_platform.jobs.reconcile.repair_outcome import EntryRepair, RepairOutcome
from data_platform.jobs.reconcile.rows import different, places, rows_in, some, take
from data_platform.managers.interface import NewsStore
from data_platform.managers.ledger.deletions import Deleted, deleted
from data_platform.managers.ledger.entry import IdList, LedgerEntry, SideRecord, Status, new_entry_id
from data_platform.managers.ledger.run_ledger import REPAIR, STARTED, Missed, RunLedger
from data_platform.managers.storage_adapter import StorageAdapter
from data_platform.managers.storage_mode import ReadSource
from data_platform.managers.write_rules import SCRAPED
from data_platform.models.columns import COLUMN_NAMES, NORMAL_SCHEMA, THEME_COLUMNS
from data_platform.models.days import utc_now

__all__ = ["repair_missed"]

_LOG = logging.getLogger(__name__)
#: Articles held in memory at once; a commit of the dataset each.
_CHUNK = 5000
#: How often columns are compared and brought before two stores that others write to count as different.
_ROUNDS = 3
_SCRAPE = ("unique_id", "extracted_at")


def repair_missed(
    adapter: StorageAdapter, *, dry_run: bool = False, accept: Collection[str] = (), accepted_by: str = ""
) -> RepairOutcome:
    """Bring to each store what it missed, as far as the other has it.

    Args:
        adapter: both stores and the ledger; its mode does not matter.
        dry_run: look and tell; write to neither store nor the ledger.
        accept: entries (or their first eight digits) to settle although something of them is left.
        accepted_by: who says so, for the ledger.

    Raises:
        TransientError: a store or the ledger does not answer. What was settled stays settled; call it again.
        LedgerError: an object of the ledger is damaged.
    """
    done: list[EntryRepair] = []
    gone = deleted(adapter.ledger)
    left: dict[str, str] = {}  # article -> the newer write whose columns are not settled
    for missed in adapter.ledger.missed():
        repair = _Repair(adapter, missed, gone, dry_run=dry_run)
        newer = {left[uid] for uid in missed.ids if uid in left} - {missed.entry.entry_id}
        if newer and _writes_columns(missed.entry):
            repair.told.why_open = f"the newer write {min(newer)[:8]} of the same articles is not settled"
        else:
            repair.run()
        accepted = any(missed.entry.entry_id.startswith(wish) for wish in accept if wish)
        if accepted and not dry_run and not repair.told.settled:
            repair.settle(accepted_by=accepted_by or "unknown")
        if not repair.told.settled and _writes_columns(missed.entry) and not repair.follows:
            left |= dict.fromkeys(missed.ids, missed.entry.entry_id)
        done.append(repair.told)
        _LOG.info("%s", repair.told.line())
    ledger = adapter.ledger
    return RepairOutcome(ledger=ledger.objects.uri, known_writes=ledger.count(STARTED), writes=done, dry_run=dry_run)


class _Repair:
    """Makes up for one write in one store."""

    def __init__(self, adapter: StorageAdapter, missed: Missed, gone: Deleted, *, dry_run: bool) -> None:
        entry = missed.entry
        self.gone = gone
        self.adapter, self.missed, self.entry, self.dry_run = adapter, missed, entry, dry_run
        self.target = ReadSource(missed.side)
        other = ReadSource.HUGGINGFACE if self.target is ReadSource.POSTGRES else ReadSource.POSTGRES
        record = entry.sides.get(other.value)
        status = record.status if record else Status.SKIPPED
        if status is Status.SKIPPED and adapter.ledger.carried_out(entry, other.value):
            status = Status.SUCCEEDED
        self.source: ReadSource | None = None if status is Status.SKIPPED else other
        self.carried_out = status is Status.SUCCEEDED
        # A write that died while PostgreSQL, which is first, was at work cannot have touched the dataset.
        first = not missed.ended and other is ReadSource.POSTGRES and status is Status.STARTED
        #: Whether the other store's columns are at least as new as this one's.
        self.follows = self.carried_out or first
        self.begun_at = utc_now()
        self.told = EntryRepair(
            entry_id=entry.entry_id,
            store=self.target.value,
            operation=entry.operation,
            began_at=entry.started_at.isoformat(),
            run_date=entry.run_date.isoformat() if entry.run_date else None,
            articles=len(missed.ids),
            staged_file=entry.staged_file,
        )

    def run(self) -> None:
        """Do what can be done, and settle it if that was all."""
        try:
            for start in range(0, len(self.missed.ids), _CHUNK):
                ids = self.missed.ids[start : start + _CHUNK]
                if self.entry.operation == "delete":
                    self._delete(ids)
                else:
                    self._chunk(ids)
        except DataPlatformError as error:
            if error.retryable:
                raise
            _LOG.exception("%s of %s is not repaired", self.entry.operation, self.entry.entry_id)
            self.told.why_open = str(error)
            self.follows = False
            return
        self.told.why_open = "; ".join(self._left())
        if self.dry_run:
            self.told.why_open = self.told.why_open or "dry run, nothing was done yet"
        elif not self.told.why_open:
            self.settle()
        elif self.told.inserted or self.told.updated or self.told.deleted:
            self._record({})

    def settle(self, *, accepted_by: str = "") -> None:
        """Write into the ledger that nothing is left to do."""
        kind, entry_id, side = self.missed.key
        self._record({"settles": {"kind": kind, "entry_id": entry_id, "side": side}, "accepted_by": accepted_by})
        self.told.settled = True

    # ------------------------------------------------------------------------------------------------

    def _chunk(self, ids: Sequence[str]) -> None:
        target = self.adapter.store(self.target)
        there = places(rows_in(target, ids))
        self.told.not_to_bring += [uid for uid in ids if uid not in there and self.gone.keeps_out(uid)]
        lacking = [uid for uid in ids if uid not in there and not self.gone.keeps_out(uid)]
        source = self.adapter.store(self.source) if self.source and (lacking or self._columns) else None
        have = rows_in(source, ids) if source else NORMAL_SCHEMA.empty_table()
        found = places(have)
        fill = [uid for uid in lacking if uid in found]
        nobody = [uid for uid in lacking if uid not in found]
        (self.told.not_to_bring if self.carried_out else self.told.nowhere).extend(nobody)
        brought = self._insert(target, have, fill)
        both = [uid for uid in ids if uid in found and uid in there]
        changed = 0
        if source and self._columns and self.follows:
            for columns, members in self._due(both).items():
                changed += self._bring_columns(source, target, members, columns)
        self.told.inserted += brought
        self.told.updated += changed
        self.told.already_there += len(there) - changed

    def _delete(self, ids: Sequence[str]) -> None:
        target = self.adapter.store(self.target)
        there = list(places(rows_in(target, ids)))
        have = places(rows_in(self.adapter.store(self.source), there)) if self.source else dict.fromkeys(there, 0)
        due = [uid for uid in there if uid not in have]
        self.told.already_there += len(ids) - len(there)
        if self.carried_out:
            self.told.already_there += len(there) - len(due)
        else:
            self.told.nowhere += [uid for uid in there if uid in have]
        if due and not self.dry_run:
            reason = str(self.entry.facts.get("reason") or f"missed deletion {self.entry.entry_id}")
            self.told.deleted += target.delete_rows(due, reason=reason).deleted
        elif due:
            self.told.deleted += len(due)

    def _insert(self, target: NewsStore, have: pa.Table, ids: Sequence[str]) -> int:
        if not ids:
            return 0
        if self.dry_run:
            return len(ids)
        rows = take(have, ids)
        outcome = target.insert_rows({name: rows.column(name).to_pylist() for name in COLUMN_NAMES})
        self.told.refused.update(outcome.rejected_by_reason)
        self.told.known_otherwise |= outcome.ids
        return outcome.inserted

    def _due(self, ids: Sequence[str]) -> dict[tuple[str, ...], list[str]]:
        """Group articles by what of the call's columns is still to be brought: not what the store was given since."""
        newer: dict[str, set[str]] = {uid: set() for uid in ids}
        ledger: RunLedger = self.adapter.ledger
        other = self.source.value if self.source else ""
        for later in ledger.later_writes(self.entry, self.target.value):
            record = later.sides.get(other)
            gave_both = record is not None or ledger.carried_out(later, other)
            columns = set() if gave_both else {*_written_columns(later)}
            for uid in ledger.ids(later.ids) if columns else ():
                if uid in newer:
                    newer[uid] |= columns
        due: dict[tuple[str, ...], list[str]] = {}
        for uid in ids:
            columns_due = tuple(name for name in self._columns if name not in newer[uid])
            if {*columns_due} - {"extracted_at"}:
                due.setdefault(columns_due, []).append(uid)
        return due

    def _bring_columns(self, source: NewsStore, target: NewsStore, ids: Sequence[str], columns: Sequence[str]) -> int:
        """Make columns of articles that both have follow the source; return how many articles changed."""
        changed: set[str] = set()
        for _ in range(_ROUNDS):
            old, new = rows_in(target, ids), rows_in(source, ids)
            ids = self._no_newer(old, new)
            differing = different(take(old, ids), take(new, ids), [name for name in columns if name != "extracted_at"])
            if not differing:
                return len(changed)
            if self.dry_run:
                return len(differing)
            frame = take(new, differing).select(["unique_id", *columns]).to_pandas()
            outcome = target.update_rows(frame)
            self.told.refused.update(outcome.rejected_by_reason)
            changed |= set(outcome.written)
            if not outcome.written:
                break
        old, new = rows_in(target, ids), rows_in(source, ids)
        self.told.different += different(old, new, [name for name in columns if name != "extracted_at"])
        return len(changed)

    def _no_newer(self, old: pa.Table, new: pa.Table) -> list[str]:
        """Return the ids that both have, without those whose page the store has as it was scraped later."""
        seen, given = (dict(zip(*(t.column(n).to_pylist() for n in _SCRAPE), strict=True)) for t in (old, new))
        scraped = self.entry.operation == "insert"
        return [
            uid for uid, at in seen.items() if uid in given and not (scraped and at and given[uid] and at > given[uid])
        ]

    @property
    def _columns(self) -> list[str]:
        return _written_columns(self.entry)

    def _left(self) -> list[str]:
        """Say what is left to do, in words; nothing if nothing is."""
        told, left = self.told, []
        again = f"make the call again (its rows: {told.staged_file})" if told.staged_file else "make the call again"
        if told.nowhere:
            told.nowhere = self._not_covered(told.nowhere)
        if told.nowhere:
            who = "no store is known to have deleted" if self.entry.operation == "delete" else "no store has"
            left.append(f"{who} {some(told.nowhere)}: {again}")
        if self._columns and not self.follows and self._not_covered(self.missed.ids):
            left.append(f"no store is known to have carried the {self.entry.operation} out: {again}")
        if told.refused:
            left.append(f"{told.store} rejects {dict(told.refused)}: see its rejects")
        if told.different:
            left.append(f"{some(told.different)} still differ: somebody writes to them, or the stores disagree")
        return left

    def _not_covered(self, ids: Iterable[str]) -> list[str]:
        """Return the ids that no later write of this kind brought to the store."""
        wanted = dict.fromkeys(ids)
        ledger: RunLedger = self.adapter.ledger
        for later in ledger.later_writes(self.entry, self.target.value):
            stronger = later.allow_update or not self.entry.allow_update
            if later.operation == self.entry.operation and stronger and set(self.entry.columns) <= set(later.columns):
                for uid in ledger.ids(later.ids):
                    wanted.pop(uid, None)
            if not wanted:
                break
        return list(wanted)

    def _record(self, facts: dict[str, Any]) -> None:
        told = self.told
        names = ("inserted", "updated", "deleted", "already_there")
        self.adapter.ledger.record(
            LedgerEntry(
                kind=REPAIR,
                entry_id=new_entry_id(),
                started_at=self.begun_at,
                finished_at=utc_now(),
                run_date=self.entry.run_date,
                operation=self.entry.operation,
                sides={
                    self.target.value: SideRecord(
                        status=Status.SUCCEEDED, counts={name: getattr(told, name) for name in names}
                    )
                },
                rows=told.articles,
                # Those that were not brought: the ledger is where they can be looked up.
                ids=IdList.of([*told.not_to_bring, *told.nowhere, *told.known_otherwise]),
                columns=self.entry.columns,
                facts={
                    "of": self.entry.entry_id,
                    "source": self.source.value if self.source else "",
                    "not_to_bring": len(told.not_to_bring),
                    "nowhere": len(told.nowhere),
                    "known_otherwise": len(told.known_otherwise),
                    "left": told.why_open,
                    **facts,
                },
            )
        )


def _written_columns(entry: LedgerEntry) -> list[str]:
    """Return the columns that a call wrote of articles that were there, in the order of the dataset."""
    if not _writes_columns(entry):
        return []
    wrote = set(entry.columns)
    if entry.operation == "insert":
        wrote &= {*SCRAPED, "extracted_at"}
    elif wrote & set(THEME_COLUMNS):
        wrote |= set(THEME_COLUMNS)  # what follows from a given code was written as well
    return [name for name in COLUMN_NAMES if name in wrote and name != "unique_id"]


def _writes_columns(entry: LedgerEntry) -> bool:
    """Whether a write may change articles that are there."""
    return entry.operation == "update" or entry.allow_update
