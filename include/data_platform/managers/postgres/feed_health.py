"""How far the readers of the change feed are behind, and what holds the feed up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from data_platform.managers.postgres.feed_position import read_position, read_server, window_from
from data_platform.queries import read_sql

__all__ = ["OLDEST_TRANSACTION_LIMIT", "Lag", "OldestTransaction", "oldest_transaction", "read_lag"]

#: A transaction open for longer raises an alert: no reader gets past it. Ours are ended by the server after as long.
OLDEST_TRANSACTION_LIMIT = timedelta(minutes=15)


@dataclass(frozen=True)
class Lag:
    """What waits for a reader.

    Attributes:
        rows: changed rows, those of transactions behind the horizon included.
        tombstones: deletions, renames and moves; 0 for a resync, which needs none.
        oldest: how long the oldest of them has waited, from the beginning of its transaction; None if nothing waits.
        resync_reason: why the reader must read everything; then all rows wait.
    """

    rows: int
    tombstones: int
    oldest: timedelta | None
    resync_reason: str | None


@dataclass(frozen=True)
class OldestTransaction:
    """The oldest open transaction that may have written, and so holds the horizon back.

    Attributes:
        pid: its server process; None for a prepared transaction, which has none and stays over restarts.
        application_name: what its client calls itself; the global id of a prepared transaction.
        state: as in pg_stat_activity, or "prepared".
        age: since it began; None if our user may not see that (it needs pg_monitor).
    """

    pid: int | None
    application_name: str | None
    state: str | None
    age: timedelta | None


def read_lag(connection: Connection[Any], consumer: str) -> Lag:
    """Count what waits for a reader; an index scan over that much of the feed.

    Raises:
        StoreError: the server is a replica.
    """
    position = read_position(connection, consumer)
    window = window_from(consumer, position, read_server(connection), outside_stamp=None, number=None)
    bound = {
        "xid": str(window.start[0]),
        "unique_id": window.start[1],
        "is_resync": window.resync_reason is not None,
    }
    row = connection.execute(read_sql("feed_lag.sql"), bound).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM always has one row
    rows, tombstones, oldest = row
    waited = None if oldest is None else max(oldest, timedelta(0))  # a transaction may begin while we look
    return Lag(rows, tombstones, waited, window.resync_reason)


def oldest_transaction(connection: Connection[Any]) -> OldestTransaction | None:
    """Return the oldest transaction of the server that may have written; None if none is open."""
    with connection.cursor(row_factory=class_row(OldestTransaction)) as cursor:
        return cursor.execute(read_sql("feed_oldest_transaction.sql")).fetchone()
