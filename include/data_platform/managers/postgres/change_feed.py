"""The change feed: what changed in news since a reader last looked, deletions included, nothing missed.

A row carries the id of the transaction that last changed it (`change_xid`), a tombstone that of its deletion. A reader
takes everything from its position up to the horizon, the oldest transaction still running. Clocks decide nothing, so a
transaction that commits late is only read late: its id keeps the horizon below it until it is finished.

The contract is *at least once*. A reader must

1. open a window, and on `resync_reason` build its copy anew from `changes` (what they do not name is to go);
2. otherwise apply `deletions` first: take away each id whose `exists_now` is false, wherever it stood. An id that
   exists now must not be taken away: it was renamed away and given again, deleted and inserted again, or has only moved
   to another month (where a copy is kept by month, the month named is to be written anew in all cases);
3. then apply `changes`, each row replacing what the copy has under its unique_id;
4. `announce` the window before writing its stamp outside, write outside, `store` the position.

Doing any of it again is harmless. A row is given as it is now, never as a difference, so applying it twice is applying
it once. A tombstone is judged by whether its id exists at the time of reading: if not, the copy must not have it
whichever window is repeated; if it does, whoever inserted it did so in a transaction whose change comes in this window
or a later one, or came in one before. Deletions go first because a row that was taken away by an outdated judgement
(deleted when the tombstone was read, inserted again before the page was) is then put back by its own change.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from psycopg import Connection
from psycopg.pq import TransactionStatus

from data_platform.errors import BusyError
from data_platform.managers.postgres.binary_read import read_query
from data_platform.managers.postgres.database import connect, translate_errors
from data_platform.managers.postgres.feed_health import OLDEST_TRANSACTION_LIMIT, Lag, oldest_transaction, read_lag
from data_platform.managers.postgres.feed_position import (
    BEGINNING,
    Place,
    Stamp,
    Window,
    read_position,
    read_server,
    window_from,
)
from data_platform.models.columns import COLUMN_NAMES, NORMAL_SCHEMA
from data_platform.queries import read_sql

__all__ = ["TOMBSTONE_SCHEMA", "ChangeFeed", "ChangedRows", "Stamp", "Window"]

logger = logging.getLogger(__name__)

#: A page in memory: about 10 MB of articles.
PAGE_ROWS = 2_000
#: Tombstones as readers get them.
TOMBSTONE_SCHEMA = pa.schema(
    [
        ("unique_id", pa.string()),
        ("agency_key", pa.string()),
        ("url", pa.string()),
        ("published_month", pa.date32()),
        ("reason", pa.string()),
        ("exists_now", pa.bool_()),
    ]
)
_TOMBSTONE_PAGE = pa.schema([*TOMBSTONE_SCHEMA, ("change_xid", pa.int64()), ("id", pa.int64())])
_CHANGE_PAGE = pa.schema([*NORMAL_SCHEMA, ("change_xid", pa.int64()), ("duplicate_of", pa.string())])
_UNTIL = {False: "AND change_xid < %(horizon)s::xid8", True: ""}


@dataclass(frozen=True)
class ChangedRows:
    """Rows as they are now, in the order of (change_xid, unique_id).

    Attributes:
        rows: the 24 published columns in the types of NORMAL_SCHEMA, at least one row.
        change_xids: int64, the transaction that last changed each row.
        duplicate_of: string, the primary row of the same article, null for the primary itself.
    """

    rows: pa.RecordBatch
    change_xids: pa.Array
    duplicate_of: pa.Array

    @property
    def last(self) -> Place:
        """The place of the last row, for `ChangeFeed.store(through=…)`."""
        return (self.change_xids[-1].as_py(), self.rows.column("unique_id")[-1].as_py())


class ChangeFeed:
    """The change feed as one reader sees it.

    Args:
        database: `postgresql://…`, for a connection of its own; or a connection without an open transaction, which
            stays the caller's. Every page is a short transaction on it.
        consumer: the reader's name, under which its position is kept.

    Raises:
        ValueError: the name is empty.
    """

    def __init__(self, database: str | Connection[Any], *, consumer: str) -> None:
        if not consumer.strip():
            raise ValueError("a reader of the change feed needs a name")
        self.consumer = consumer
        self._is_owner = isinstance(database, str)
        self._connection: Connection[Any] = (
            connect(database, purpose=f"feed {consumer}", autocommit=True) if isinstance(database, str) else database
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, if it is this feed's own."""
        if self._is_owner:
            self._connection.close()

    def open_window(self, *, outside_stamp: str | None = None, read_only: bool = False) -> Window:
        """Say what is to be read now.

        It makes every earlier window of this reader void: should an older run of it still be at work, that one's next
        `announce` or `store` is refused.

        Args:
            outside_stamp: the stamp that the outside store carries now, "" if it carries none; None if there is no such
                place. It is compared with what this reader stored.
            read_only: only look (dry run): nothing is written, and the window cannot be stored.

        Raises:
            StoreError: the server is a replica.
            ValueError: the connection has a transaction open.
        """
        with self._transaction() as connection:
            if not read_only:  # first, since it waits for another run that is just storing
                connection.execute(read_sql("feed_open.sql"), {"consumer": self.consumer})
            position = read_position(connection, self.consumer)
            number = None if read_only or position is None else position.window_no
            server = read_server(connection)  # after the position, whose horizon was read before it was stored
            window = window_from(self.consumer, position, server, outside_stamp=outside_stamp, number=number)
            if window.resync_reason is not None and window.start == BEGINNING and not read_only:
                self._begin_resync(connection, server, window.resync_reason)
            self._warn_of_the_oldest(connection)
        if window.resync_reason is not None:
            logger.warning("%s must read everything anew: %s", self.consumer, window.resync_reason)
        return window

    def deletions(self, window: Window, *, batch_rows: int = PAGE_ROWS) -> Iterator[pa.RecordBatch]:
        """Give what the reader must take away, in batches of TOMBSTONE_SCHEMA, before the changes.

        Of a resync there is nothing to say: what the changes do not name is to go.

        Raises:
            ValueError: the connection has a transaction open.
        """
        if window.resync_reason is not None:
            return
        after = {"xid": str(window.start[0]), "id": 0}
        while True:
            bound = {**after, "horizon": str(window.horizon), "rows": batch_rows}
            page = self._page("feed_deletions.sql", "", bound, _TOMBSTONE_PAGE)
            for batch in page:
                yield batch.select(TOMBSTONE_SCHEMA.names)
            if sum(batch.num_rows for batch in page) < batch_rows:
                return
            xid, number = (page[-1].column(name)[-1].as_py() for name in ("change_xid", "id"))
            after = {"xid": str(xid), "id": number}

    def changes(self, window: Window, batch_rows: int = PAGE_ROWS) -> Iterator[ChangedRows]:
        """Give the rows that changed, as they are now, in the order of (change_xid, unique_id).

        Each page is a transaction and a snapshot of its own, and no transaction is open while the caller works: a
        long read would hold back the horizon that it waits for. Nothing is missed though rows move on meanwhile. All
        transactions below the horizon were finished when the window was opened, so no row can come into it any more;
        one can only leave it, by a transaction from the horizon on, which gives it a new change_xid or a tombstone
        that a later window holds.

        A resync has no upper end: rows that were restored from another server may carry ids of transactions that this
        one has yet to reach. What moves on meanwhile carries an id from the horizon on, where the feed goes on.

        Args:
            window: from `open_window`.
            batch_rows: rows of a page; one with many large rows comes in several pieces.

        Raises:
            ValueError: the connection has a transaction open, or `batch_rows` is not positive.
        """
        place = window.start
        until = _UNTIL[window.resync_reason is not None]
        while True:
            bound = {"xid": str(place[0]), "unique_id": place[1], "horizon": str(window.horizon), "rows": batch_rows}
            page = self._page("feed_changes.sql", until, bound, _CHANGE_PAGE)
            for batch in page:
                changed = ChangedRows(
                    batch.select(COLUMN_NAMES), batch.column("change_xid"), batch.column("duplicate_of")
                )
                place = changed.last
                yield changed
            if sum(batch.num_rows for batch in page) < batch_rows:
                return

    def months(self, window: Window) -> dict[str, tuple[int, int]]:
        """Say in which São Paulo months a window has something: month (YYYY-MM) -> changed rows, tombstones.

        For a reader that keeps its copy by month and writes a month anew as a whole, from a snapshot taken after the
        window was opened and before this is asked: it needs neither `changes` nor `deletions`. The snapshot sees more
        than the window (what was committed behind the horizon), so the months of that are named too, with counts of
        0: else a row that moved would be written where it is and left where it was. Of a resync there is nothing to
        say: every month is to be written.

        Raises:
            ValueError: the connection has a transaction open.
        """
        if window.resync_reason is not None:
            return {}
        bound = {"xid": str(window.start[0]), "unique_id": window.start[1], "horizon": str(window.horizon)}
        found: dict[str, tuple[int, int]] = {}
        with self._transaction() as connection:
            for month, changed, buried in connection.execute(read_sql("feed_months.sql"), bound):
                before = found.get(month, (0, 0))
                found[month] = (before[0] + changed, before[1] + buried)
        return dict(sorted(found.items()))

    def moves(self, window: Window) -> frozenset[tuple[str, str]]:
        """Say between which São Paulo months rows have moved since a window's start: (from, to), each as YYYY-MM.

        For a reader by month that wants to write single months: a row stands in one file only if the month that it
        came from and the one that it went to are written together. Of a row that was renamed since, "" stands for the
        second: nobody can say where it is now.
        """
        with self._transaction() as connection:
            return frozenset(connection.execute(read_sql("feed_moves.sql"), {"xid": str(window.start[0])}).fetchall())

    def announce(self, window: Window) -> str:
        """Note that the stamp of a window is about to be written outside; return it in its written form.

        A run that is killed between writing outside and storing its position then finds a stamp outside that is ahead
        of the position, and knows it as its own. Without the note it would have to read everything anew, since a
        database that was put back in time looks the same.

        Raises:
            BusyError: a later window of this reader was opened.
            ValueError: the window was opened to look only.
        """
        stamp = str(window.stamp)
        with self._transaction() as connection:
            self._write(connection, "feed_announce.sql", window, {"stamp": stamp})
        return stamp

    def store(
        self,
        window: Window,
        *,
        through: Place | None = None,
        outside_stamp: str | None = None,
        connection: Connection[Any] | None = None,
    ) -> None:
        """Store that everything up to a place was applied.

        Args:
            window: from `open_window`.
            through: the last row applied (`ChangedRows.last`), all deletions having been applied; None for the whole
                window. A resync that is broken off goes on behind this place: only for a reader whose half-built copy
                survives, such as a new collection.
            outside_stamp: the stamp now written outside, if one was.
            connection: takes part in this connection's transaction; otherwise it is a transaction of its own.

        Raises:
            BusyError: a later window of this reader was opened, by another run of it.
            ValueError: the place is not in the window, the stamp is none of this window's lineage, or the window was
                opened to look only.
        """
        place = (window.horizon, "") if through is None else through
        is_resync = window.resync_reason is not None
        if through is not None and (through < window.start or not (is_resync or through <= (window.horizon, ""))):
            raise ValueError(f"{place} is not in the window from {window.start} to {window.horizon}")
        if outside_stamp is not None and not Stamp.parse(outside_stamp).is_of_lineage(window.stamp):
            raise ValueError(f"the stamp {outside_stamp} is of another server than the window's, {window.stamp}")
        goes_on = is_resync and through is not None
        bound = {
            "xid": str(place[0]),
            "unique_id": place[1],
            "system_identifier": window.stamp.system_identifier,
            "timeline": window.stamp.timeline,
            "stamp": outside_stamp,
            "is_resync": is_resync,
            "resync_reason": window.resync_reason if goes_on else None,
            "resync_horizon": str(window.horizon) if goes_on else None,
        }
        with self._transaction() if connection is None else nullcontext(connection) as chosen:
            self._write(chosen, "feed_store.sql", window, bound)

    def start_over(self, reason: str) -> None:
        """Have the next window begin a full resync, for a person who wants one; windows that are open become void."""
        with self._transaction() as connection:
            connection.execute(read_sql("feed_open.sql"), {"consumer": self.consumer})
            self._begin_resync(connection, read_server(connection), reason)

    def lag(self) -> Lag:
        """Say what waits for this reader."""
        with self._transaction() as connection:
            return read_lag(connection, self.consumer)

    def _begin_resync(self, connection: Connection[Any], server: Stamp, reason: str) -> None:
        lineage = {"system_identifier": server.system_identifier, "timeline": server.timeline}
        bound = {"consumer": self.consumer, "reason": reason, **lineage}
        connection.execute(read_sql("feed_begin_resync.sql"), bound)

    def _page(self, query: str, until: str, bound: dict[str, Any], schema: pa.Schema) -> list[pa.RecordBatch]:
        with self._transaction() as connection:
            statement = read_sql(query).replace("/*until*/", until)
            return list(read_query(connection, statement, bound, schema, batch_rows=bound["rows"]))

    def _write(self, connection: Connection[Any], query: str, window: Window, bound: dict[str, Any]) -> None:
        if window.number is None:
            raise ValueError("a window that was opened to look only cannot be stored")
        named = {"consumer": window.consumer, "number": window.number, **bound}
        if connection.execute(read_sql(query), named).rowcount != 1:
            raise BusyError(
                f"another run of the reader {window.consumer} has opened a window since",
                hint="let that one finish; this run's work is repeated by it where needed",
            )

    @contextmanager
    def _transaction(self) -> Iterator[Connection[Any]]:
        """A short transaction; refuses to be a part of a longer one, which would hold the horizon back."""
        if self._connection.info.transaction_status != TransactionStatus.IDLE:
            raise ValueError("the connection of a change feed has a transaction open; give it one in autocommit mode")
        with translate_errors(), self._connection.transaction():
            yield self._connection

    def _warn_of_the_oldest(self, connection: Connection[Any]) -> None:
        oldest = oldest_transaction(connection)
        if oldest is not None and oldest.age is not None and oldest.age > OLDEST_TRANSACTION_LIMIT:
            logger.warning(
                "the change feed waits for a transaction that has been open for %s: pid %s, %s, %s",
                oldest.age,
                oldest.pid,
                oldest.application_name or "without a name",
                oldest.state,
            )
