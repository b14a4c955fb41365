"""Marks of what the HuggingFace dataset holds: handed out in which version, arrived in which version.

A mark names an id only, so the version is remembered when a row is handed out, and the mark holds for that version. A
row that was changed after it was handed out carries another change_xid by then and stays pending, whichever process
marks it.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
from psycopg import Connection

from data_platform.managers.postgres.binary_read import read_query
from data_platform.managers.postgres.database import translate_errors
from data_platform.managers.postgres.feed_position import Window
from data_platform.models.columns import NORMAL_SCHEMA
from data_platform.queries import read_sql

__all__ = ["hand_out", "mark_synced", "mark_window"]

logger = logging.getLogger(__name__)

_MARK_CHUNK = 10_000
_NAMED_IN_LOG = 10
#: Tells this process from another with the same number, on another machine or later.
_PROCESS_SECRET = secrets.token_hex(4)


def hand_out(
    connection: Connection[Any], *, since: datetime | None = None, batch_rows: int | None = None
) -> Iterator[pa.RecordBatch]:
    """Give the rows that the HuggingFace dataset does not have yet, and remember in which version they were given.

    Each page is one statement, so that the note and the rows are of one snapshot; it is read whole before it is given.
    Pages go in the order of unique_id. A row that is changed behind them stays pending for the next time.

    While another process has the same row in another version, and neither has marked it, a mark proves nothing: the row
    stays pending once more. One sync at a time has no such rows.

    Args:
        connection: in autocommit mode each page is a transaction; otherwise all is part of the caller's.
        since: only rows changed (updated_at) at or after this instant; the others stay pending.
        batch_rows: rows of a page; None for one page with all.

    Yields:
        Batches of the 24 columns in the types of NORMAL_SCHEMA, none of them empty. A page of many large rows comes in
        several.

    Raises:
        ValueError: `since` has no zone, or `batch_rows` is not positive.
    """
    if since is not None and since.tzinfo is None:
        raise ValueError(f"since needs a zone: {since!r}")
    if batch_rows is not None and batch_rows < 1:
        raise ValueError(f"batch_rows must be at least 1, not {batch_rows}")
    return _pages(connection, since, batch_rows)


def _pages(connection: Connection[Any], since: datetime | None, batch_rows: int | None) -> Iterator[pa.RecordBatch]:
    narrowed = "" if since is None else "AND n.updated_at >= %(since)s"
    query = read_sql("marks_hand_out.sql").replace("/*since*/", narrowed)
    process = _process()
    after = ""
    while True:
        bound = {"after": after, "rows": batch_rows, "since": since, "process": process}
        with translate_errors():
            page = list(read_query(connection, query, bound, NORMAL_SCHEMA, batch_rows=batch_rows or _MARK_CHUNK))
        yield from page
        if batch_rows is None or sum(batch.num_rows for batch in page) < batch_rows:
            return
        after = page[-1].column("unique_id")[-1].as_py()


def mark_synced(connection: Connection[Any], unique_ids: Sequence[str]) -> int:
    """Mark rows as arrived in the HuggingFace dataset, in the version in which they were handed out.

    Works from any process. Ids that were never handed out stay pending and are named in the log.

    Args:
        connection: in autocommit mode each chunk of 10,000 ids is a transaction; otherwise all is part of the caller's.
        unique_ids: in any order; a repeated one counts once.

    Returns:
        The number of rows whose handed-out version was marked now, as counted by the database.
    """
    marked = unclear = 0
    unknown: list[str] = []
    with translate_errors():
        for chunk in _chunks(connection, unique_ids):
            row = connection.execute(read_sql("marks_synced.sql"), {"ids": chunk}).fetchone()
            assert row is not None  # noqa: S101 - a SELECT without FROM always has one row
            marked += row[0]
            unclear += row[1]
            unknown += row[2]
    if unknown:
        logger.warning(
            "%d rows were never handed out and stay pending: %s%s",
            len(unknown),
            ", ".join(unknown[:_NAMED_IN_LOG]),
            ", …" if len(unknown) > _NAMED_IN_LOG else "",
        )
    if unclear:
        logger.warning("%d rows were handed out in two versions at once and stay pending", unclear)
    return marked


def mark_window(connection: Connection[Any], window: Window) -> int:
    """Mark every row version of a window of the change feed as arrived, for a reader that publishes whole windows.

    Args:
        connection: part of the caller's transaction, the one that stores the window.
        window: a window that was published as it stood.

    Returns:
        The number of rows marked anew, as counted by the database.
    """
    bound = {
        "xid": str(window.start[0]),
        "unique_id": window.start[1],
        "horizon": str(window.horizon),
        "is_resync": window.resync_reason is not None,
        "process": _process(),
    }
    with translate_errors():
        connection.execute(read_sql("marks_bury.sql"), bound)
        return connection.execute(read_sql("marks_window.sql"), bound).rowcount


def _process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{_PROCESS_SECRET}"


def _chunks(connection: Connection[Any], unique_ids: Sequence[str]) -> Iterator[list[str]]:
    """Give the ids in pieces, in the database's order: locks are taken in one order over all pieces."""
    ids = list(dict.fromkeys(unique_ids))
    if len(ids) > _MARK_CHUNK:
        ids = [row[0] for row in connection.execute("SELECT unnest(%s::text[]) AS u ORDER BY u", (ids,))]
    for first in range(0, len(ids), _MARK_CHUNK):
        yield ids[first : first + _MARK_CHUNK]
