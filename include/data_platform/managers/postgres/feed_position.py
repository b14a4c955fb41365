"""Where a reader of the change feed stands, and whether that still means anything on the server it finds."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from data_platform.errors import StoreError
from data_platform.queries import read_sql

__all__ = ["BEGINNING", "Place", "Position", "Stamp", "Window", "read_position", "read_server", "window_from"]

#: A place in the feed: the last row taken, as (change_xid, unique_id); '' for none of that transaction yet.
Place = tuple[int, str]
BEGINNING: Place = (0, "")
NO_POSITION = "no position yet"
_STAMP = re.compile(r"(\d{1,20})/(\d{1,10})/(\d{1,20})", re.ASCII)


@dataclass(frozen=True)
class Stamp:
    """How far a copy of the data outside of PostgreSQL has come: all changes of transactions below `xid`.

    It is written into the outside store itself (commit message, collection metadata), where no restore of the database
    can turn it back. `xid` counts on the lineage (system_identifier, timeline) only: a restored or promoted server has
    its own later history.
    """

    system_identifier: str
    timeline: int
    xid: int

    def __str__(self) -> str:
        """Return the written form, "system identifier/timeline/transaction id"."""
        return f"{self.system_identifier}/{self.timeline}/{self.xid}"

    @classmethod
    def parse(cls, text: str) -> Stamp:
        """Read the written form.

        Raises:
            ValueError: it is none.
        """
        found = _STAMP.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"not a stamp of the change feed (system identifier/timeline/xid): {text!r}")
        return cls(found[1], int(found[2]), int(found[3]))

    def is_of_lineage(self, other: Stamp) -> bool:
        """Whether transaction ids of both stamps can be compared."""
        return (self.system_identifier, self.timeline) == (other.system_identifier, other.timeline)


@dataclass(frozen=True)
class Position:
    """A row of consumer_positions; `announced_stamp` has all stamps announced since the last one stored, by blanks."""

    position_xid: int
    position_unique_id: str
    system_identifier: str
    timeline: int | None
    outside_stamp: str | None
    announced_stamp: str | None
    resync_reason: str | None
    resync_horizon: int | None
    window_no: int

    @property
    def place(self) -> Place:
        """The last row taken."""
        return (self.position_xid, self.position_unique_id)


@dataclass(frozen=True)
class Window:
    """What a reader takes next.

    Attributes:
        consumer: its name.
        number: counts the windows of this reader; only its newest may store a position. None: opened to look only.
        stamp: where the window ends (its `xid` is the horizon), in the form for the outside.
        start: the place behind which it begins.
        resync_reason: why everything must be read anew; None in the usual case.
    """

    consumer: str
    number: int | None
    stamp: Stamp
    start: Place
    resync_reason: str | None

    @property
    def horizon(self) -> int:
        """Every transaction below this id is finished; the window holds changes of these only, but for a resync."""
        return self.stamp.xid

    @property
    def is_resumed_resync(self) -> bool:
        """Whether this goes on with a full resync that was broken off behind a stored place."""
        return self.resync_reason is not None and self.start != BEGINNING


def read_server(connection: Connection[Any]) -> Stamp:
    """Return the lineage of a server and its horizon.

    Raises:
        StoreError: it is a replica; its horizon says nothing of the primary's transactions.
    """
    row = connection.execute(read_sql("feed_server.sql")).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM always has one row
    if row[1] is None:
        raise StoreError(
            "the change feed cannot be read from a replica in recovery", hint="point DATABASE_URL at the primary"
        )
    return Stamp(*row)


def read_position(connection: Connection[Any], consumer: str) -> Position | None:
    """Return the stored position of a reader."""
    with connection.cursor(row_factory=class_row(Position)) as cursor:
        return cursor.execute(read_sql("feed_position.sql"), {"consumer": consumer}).fetchone()


def window_from(
    consumer: str, position: Position | None, server: Stamp, *, outside_stamp: str | None, number: int | None
) -> Window:
    """Decide where a reader goes on, and whether it can.

    Args:
        consumer: its name.
        position: what it stored.
        server: the present lineage and horizon.
        outside_stamp: what the outside store carries; "" for nothing, None for not looked.
        number: the number of the window.
    """
    anew = Window(consumer, number, server, BEGINNING, None)
    if position is None:
        return replace(anew, resync_reason=NO_POSITION)
    if position.resync_reason is not None and position.place == BEGINNING:
        return replace(anew, resync_reason=position.resync_reason)
    reason = _broken_lineage(position, server)
    if reason is not None:
        return replace(anew, resync_reason=reason)
    if position.resync_reason is not None and position.resync_horizon is not None:
        # What was written meanwhile by transactions from the first horizon on may stand before the place reached (rows
        # restored from another server carry ids of the future): the feed has to go on from that first horizon.
        stamp = replace(server, xid=position.resync_horizon)
        return Window(consumer, number, stamp, position.place, position.resync_reason)
    reason = None if outside_stamp is None else _broken_outside(outside_stamp, position, server)
    if reason is not None:
        return replace(anew, resync_reason=reason)
    return replace(anew, start=position.place)


def _broken_lineage(position: Position, server: Stamp) -> str | None:
    if position.system_identifier != server.system_identifier:
        return f"other system identifier: {position.system_identifier} before, {server.system_identifier} now"
    if position.timeline != server.timeline:
        return f"other timeline: {position.timeline} before, {server.timeline} now"
    reached = position.resync_horizon if position.resync_horizon is not None else position.position_xid
    if reached > server.xid:  # a horizon never goes back by itself
        return f"position {reached} is ahead of the server's present snapshot ({server.xid})"
    return None


def _broken_outside(text: str, position: Position, server: Stamp) -> str | None:
    try:
        outside = Stamp.parse(text)
    except ValueError:
        return f"outside carries no stamp: {text!r}" if text.strip() else "outside carries no stamp"
    if not outside.is_of_lineage(server):
        return f"outside stamp is of another lineage: {outside}"
    # One that was announced is ahead only because the position could no longer be stored.
    announced = (position.announced_stamp or "").split()
    if outside.xid > position.position_xid and str(outside) not in announced:
        return f"outside stamp {outside.xid} is ahead of the position {position.position_xid}"
    if position.outside_stamp is not None and outside.xid < Stamp.parse(position.outside_stamp).xid:
        return f"outside stamp {outside.xid} is behind {position.outside_stamp}, which was written there"
    return None
