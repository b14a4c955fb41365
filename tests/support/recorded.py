"""Writes as the pipeline records them in the run ledger."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from data_platform.managers.ledger.entry import LedgerEntry, SideRecord, Status, new_entry_id
from data_platform.managers.ledger.run_ledger import WRITE, RunLedger
from data_platform.models.days import utc_now

__all__ = ["record_write"]


def record_write(
    ledger: RunLedger,
    run_date: date | None,
    *,
    status: Status = Status.SUCCEEDED,
    side: str = "postgres",
    kind: str = WRITE,
    at: datetime | None = None,
    error: str = "",
    **facts: str,
) -> LedgerEntry:
    """Record a write to one store that ended at an instant (default: now); return its entry."""
    ended = at or utc_now()
    failed = status is Status.FAILED
    record = SideRecord(
        status=status,
        counts={} if failed else {"inserted": 1234, "updated": 0},
        error_type="StoreError" if failed else "",
        error=error or ("no space left" if failed else ""),
    )
    entry = LedgerEntry(
        kind=kind,
        entry_id=new_entry_id(),
        started_at=ended - timedelta(minutes=2),
        finished_at=ended,
        run_date=run_date,
        operation="insert",
        sides={side: record},
        facts=facts,
    )
    ledger.record(entry)
    return entry
