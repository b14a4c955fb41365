"""The table of rows that could not be stored: whole, with field and reason, once each."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from data_platform.models.urls import canonical_url
from data_platform.queries import read_sql
from data_platform.sources.judged import Reject

__all__ = ["DiscardedReject", "discard_rejects", "settle_rejects", "store_rejects"]

_SETTLE = """
    UPDATE rejects SET status = 'replayed', updated_at = now()
     WHERE status = 'open' AND reason <> 'superseded' AND unique_id = ANY (%s)
"""
#: As text: a payload may have a NUL, at which PostgreSQL's own functions stop.
_OF_AGENCIES = """
    SELECT id, agency_key, payload::text FROM rejects
     WHERE status = 'open' AND reason <> 'superseded' AND origin = 'insert' AND agency_key = ANY (%s)
"""
_SETTLE_THESE = "UPDATE rejects SET status = 'replayed', updated_at = now() WHERE id = ANY (%s)"


@dataclass(frozen=True)
class DiscardedReject:
    """A reject that was given up.

    Attributes:
        number: its own, as `rejects list` shows it.
        unique_id: of its row, None if that has none.
        reason: why it was rejected.
        detail: more of that, and why it was given up.
    """

    number: int
    unique_id: str | None
    reason: str
    detail: str


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


def settle_rejects(
    connection: Connection[Any], unique_ids: Collection[str], *, articles: Collection[tuple[str, str]] = ()
) -> int:
    """Note that articles which were once rejected have come into the table.

    Args:
        connection: inside a transaction.
        unique_ids: of the articles.
        articles: (agency, canonical address) of theirs. By these a writer's reject is found whose id was another one,
            as that of an article which had no date yet; those of a load go by their ids, by which they stay published.

    Returns:
        How many rejects that settles.
    """
    if not unique_ids:
        return 0
    count = connection.execute(_SETTLE, (list(unique_ids),)).rowcount
    wanted = set(articles)
    rejects = connection.execute(_OF_AGENCIES, (sorted({agency for agency, _ in wanted}),)).fetchall()
    its = [number for number, agency, payload in rejects if (agency, _address(payload)) in wanted]
    return count + connection.execute(_SETTLE_THESE, (its,)).rowcount if its else count


def discard_rejects(
    connection: Connection[Any], *, unique_ids: Collection[str] = (), numbers: Collection[int] = (), why: str
) -> Sequence[DiscardedReject]:
    """Give open rejects up: their rows are not to come in any more, and what is held of them is not published longer.

    Args:
        connection: inside a transaction.
        unique_ids: of the rows whose rejects are meant.
        numbers: of single rejects, as of rows without an id.
        why: kept with them, after what was wrong.

    Returns:
        Those that were open, in order of their numbers.
    """
    bound = {"ids": list(unique_ids), "numbers": list(numbers), "why": _without_nul(why)}
    found = connection.execute(read_sql("reject_discard.sql"), bound).fetchall()
    return [DiscardedReject(*row) for row in sorted(found, key=lambda row: row[0])]


def _address(payload: str) -> str | None:
    """Return the canonical address that a rejected row has; None if it has none."""
    url = json.loads(payload).get("url")
    return canonical_url(url) if isinstance(url, str) else None


def _without_nul(text: str | None) -> str | None:
    return None if text is None else text.replace("\x00", "")
