"""The table of rows that could not be stored: whole, with field and reason, once each."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from psycopg import Connection

from data_platform.queries import read_sql
from data_platform.sources.judged import Reject

__all__ = ["settle_rejects", "store_rejects"]

_SETTLE = """
    UPDATE rejects SET status = 'replayed', updated_at = now()
     WHERE status = 'open' AND reason <> 'superseded' AND unique_id = ANY (%s)
"""


def store_rejects(connection: Connection[Any], rejects: list[Reject], *, origin: str, run_id: int | None) -> int:
    """Store rejects; one that is there already is only marked as seen again.

    Returns:
        How many of the rejects given the table now holds, as counted by the database.
    """
    if not rejects:
        return 0
    row = connection.execute(
        read_sql("reject_store.sql"),
        {
            "digests": [r.digest for r in rejects],
            "ids": [_without_nul(r.unique_id) for r in rejects],
            "agencies": [_without_nul(r.agency) for r in rejects],
            "fields": [r.field for r in rejects],
            "reasons": [r.reason for r in rejects],
            "details": [_without_nul(r.detail) for r in rejects],
            "payloads": [r.payload for r in rejects],
            "files": [r.file for r in rejects],
            "rows": [r.row_no for r in rejects],
            "origin": origin,
            "run": run_id,
        },
    ).fetchone()
    return int(row[0]) if row else 0


def settle_rejects(connection: Connection[Any], unique_ids: Collection[str]) -> int:
    """Note that articles which were once rejected have come into the table; return how many rejects that settles."""
    if not unique_ids:
        return 0
    return connection.execute(_SETTLE, (list(unique_ids),)).rowcount


def _without_nul(text: str | None) -> str | None:
    return None if text is None else text.replace("\x00", "")
