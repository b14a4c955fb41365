"""The copy of the run ledger in PostgreSQL: a row of sync_log for each write, repair, sync and so on that ended."""

from __future__ import annotations

from collections.abc import Callable

from psycopg.types.json import Jsonb

from data_platform.managers.ledger.entry import LedgerEntry, Status
from data_platform.managers.postgres.database import connect, translate_errors
from data_platform.managers.storage_mode import ReadSource
from data_platform.settings import Settings

__all__ = ["sync_log_mirror"]

#: What the writer did, so that health checks need no ledger; beginnings are in the ledger alone.
_COPIED = ("write", "repair", "sync", "reconcile", "reindex")
_TIMEOUT_S = 10
_INSERT = """
    INSERT INTO sync_log (operation, status, records_processed, records_failed, started_at, completed_at,
                          error_message, metadata)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""


def sync_log_mirror(settings: Settings) -> Callable[[LedgerEntry], bool]:
    """Return what copies an entry into sync_log and says whether it is one to copy.

    A write whose PostgreSQL side just failed because nobody answered is not tried again here: it would only make the
    writer wait once more.
    """

    def mirror(entry: LedgerEntry) -> bool:
        if entry.kind not in _COPIED:
            return False
        side = entry.sides.get(ReadSource.POSTGRES.value)
        if side is not None and side.status is Status.FAILED and side.retryable:
            raise ConnectionError("PostgreSQL did not answer the write itself")
        with (
            translate_errors(),
            connect(
                settings.require_database(), purpose="run ledger", autocommit=True, statement_timeout_s=_TIMEOUT_S
            ) as connection,
        ):
            connection.execute(_INSERT, _row(entry))
        return True

    return mirror


def _row(entry: LedgerEntry) -> tuple[object, ...]:
    failed = entry.failed_sides
    told = entry.to_dict()
    # Ids stay in the ledger: a row of a log is not the place for thousands of them.
    told["sides"] = {name: side | {"missed": side["missed"]["count"]} for name, side in told["sides"].items()}
    del told["ids"]
    return (
        f"{entry.kind}:{entry.operation}",
        "failed" if failed else "completed",
        entry.rows,
        max((entry.sides[name].missed.count for name in failed), default=0) or entry.facts.get("unexplained", 0),
        entry.started_at,
        entry.finished_at,
        "; ".join(f"{name}: {entry.sides[name].error}" for name in failed) or None,
        Jsonb(told),
    )
