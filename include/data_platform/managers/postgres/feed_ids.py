"""Which rows a copy that has followed the change feed up to a horizon must have, and which it may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from psycopg import Connection

from data_platform.managers.postgres.binary_read import read_query
from data_platform.managers.postgres.database import translate_errors
from data_platform.queries import read_sql

__all__ = ["FeedIds", "feed_ids", "forget_reader", "readers_like"]

_IDS = pa.schema([("unique_id", pa.string())])
_BATCH_ROWS = 100_000


@dataclass(frozen=True)
class FeedIds:
    """Ids of news as seen from a horizon.

    Attributes:
        settled: rows that have not changed since: a copy has them.
        moving: rows that have, or were deleted since: a copy may have them.
    """

    settled: pa.Array
    moving: pa.Array


def feed_ids(connection: Connection[Any], horizon: int) -> FeedIds:
    """Return the ids of news as seen from a horizon (`Window.horizon`).

    Args:
        connection: without an open transaction, in autocommit mode.
        horizon: every transaction below it was finished when it was read.
    """
    bound = {"horizon": str(horizon)}
    with translate_errors(), connection.transaction():
        settled = _ids(connection, "feed_ids_settled.sql", bound)
        return FeedIds(settled, _ids(connection, "feed_ids_moving.sql", bound))


def readers_like(connection: Connection[Any], beginning: str) -> list[str]:
    """Return the readers of the change feed that have a position and whose names begin so."""
    with translate_errors():
        query = "SELECT consumer FROM consumer_positions WHERE starts_with(consumer, %s) ORDER BY consumer"
        return [consumer for (consumer,) in connection.execute(query, (beginning,)).fetchall()]


def forget_reader(connection: Connection[Any], consumer: str) -> None:
    """Take away the position of a reader whose copy is gone; should it come back, it reads everything anew."""
    with translate_errors():
        connection.execute("DELETE FROM consumer_positions WHERE consumer = %s", (consumer,))


def _ids(connection: Connection[Any], query: str, bound: dict[str, str]) -> pa.Array:
    batches = read_query(connection, read_sql(query), bound, _IDS, batch_rows=_BATCH_ROWS)
    return pa.concat_arrays([pa.array([], pa.string()), *(batch.column(0) for batch in batches)])
