"""Transactions that are tried again where that is safe, over a small pool of connections.

A transaction that fails before its COMMIT was sent has done nothing, so it may run again: the connection broke, or
another session was in the way (deadlock, serialisation, a key that somebody else has just taken). If the connection
breaks while the COMMIT is under way, nobody but the server knows what became of it: it is asked, by the transaction's
id, and the work runs again only if the server says that it was rolled back (`pg_xact_status`, PostgreSQL 10 on).
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import Connection
from psycopg import errors as pg
from psycopg.pq import TransactionStatus
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from data_platform.errors import BusyError, StoreUnavailableError
from data_platform.failpoints import failpoint
from data_platform.managers.postgres.database import connect, translate_errors

__all__ = ["Transactions"]

T = TypeVar("T")
_LOG = logging.getLogger(__name__)

_MOST_TRIES = 4
_FIRST_PAUSE_S = 0.1
_POOL_TIMEOUT_S = 30
#: A connection older than this is made anew: proxies and failovers leave dead ones behind.
_RECYCLE_S = 600
_COMMIT_QUESTION_S = 60.0


class Transactions:
    """Runs work in transactions on one database.

    Args:
        database_url: `postgresql://…`.
        purpose: shown as application_name.
        statement_timeout_s: bound on one statement in seconds, 0 for none.
        pool_size: most connections at once; they are opened when needed.
    """

    def __init__(self, database_url: str, *, purpose: str, statement_timeout_s: int = 0, pool_size: int = 4) -> None:
        def open_connection() -> Connection[Any]:
            return connect(database_url, purpose=purpose, statement_timeout_s=statement_timeout_s)

        self._open = open_connection
        self._pool = QueuePool(
            open_connection,  # type: ignore[arg-type]  # a psycopg connection is a DBAPI connection
            pool_size=pool_size,
            max_overflow=0,
            timeout=_POOL_TIMEOUT_S,
            recycle=_RECYCLE_S,
        )

    def run(self, work: Callable[[Connection[Any]], T]) -> T:
        """Run work in a transaction, commit it and return what it returned.

        Args:
            work: must change nothing but the database, since it may run more than once.

        Raises:
            StoreUnavailableError: the server does not answer, or did not say what became of a COMMIT.
            BusyError: other sessions were in the way each time, or hold all connections of the pool.
            StoreError: PostgreSQL refuses.
        """
        for attempt in range(1, _MOST_TRIES + 1):
            try:
                with translate_errors():
                    return self._try(work)
            except StoreUnavailableError as error:
                if attempt == _MOST_TRIES or not _may_be_repeated(error):
                    raise
                _LOG.warning("PostgreSQL: try %d of %d failed, nothing was written: %s", attempt, _MOST_TRIES, error)
            except (pg.UniqueViolation, pg.ForeignKeyViolation) as error:  # what was looked up is another by now
                if attempt == _MOST_TRIES:
                    raise BusyError(
                        f"PostgreSQL: somebody else keeps writing the same articles: {error}", hint="try again later"
                    ) from error
            time.sleep(_FIRST_PAUSE_S * 2**attempt * random.uniform(0.5, 1))  # noqa: S311 - to part two sessions
        raise AssertionError("unreachable")

    @contextmanager
    def autocommit(self) -> Iterator[Connection[Any]]:
        """Lend a connection on which each statement is a transaction of its own."""
        with translate_errors():
            borrowed = self._borrow()
            connection: Connection[Any] = borrowed.driver_connection  # type: ignore[assignment]
            try:
                connection.rollback()
                connection.autocommit = True
                yield connection
            finally:
                borrowed.invalidate()  # another user expects transactions

    def close(self) -> None:
        """Close connections that are not in use."""
        self._pool.dispose()

    def _try(self, work: Callable[[Connection[Any]], T]) -> T:
        borrowed = self._borrow()
        connection: Connection[Any] = borrowed.driver_connection  # type: ignore[assignment]
        try:
            result = work(connection)
            failpoint("postgres.before_commit")
            row = connection.execute("SELECT pg_current_xact_id_if_assigned()::text").fetchone()
            xid = row[0] if row else None
            self._commit(connection, xid)
        except BaseException:
            if (
                connection.closed
                or connection.broken
                or connection.info.transaction_status == TransactionStatus.UNKNOWN
            ):
                borrowed.invalidate()
            else:
                connection.rollback()
            borrowed.close()
            raise
        borrowed.close()
        failpoint("postgres.after_commit")
        return result

    def _borrow(self) -> PoolProxiedConnection:
        """Take a connection of the pool that answers."""
        dead = self._pool.size()  # as many may have lain there while the server went away
        while True:
            try:
                borrowed = self._pool.connect()
            except PoolTimeoutError as error:
                raise BusyError(
                    f"all connections of this process are in use: {error}", hint="try again later"
                ) from error
            connection: Connection[Any] = borrowed.driver_connection  # type: ignore[assignment]
            try:
                connection.execute("SELECT 1")
            except psycopg.OperationalError:
                borrowed.invalidate()
                borrowed.close()
                if not dead:
                    raise
                dead -= 1
                continue
            return borrowed

    def _commit(self, connection: Connection[Any], xid: str | None) -> None:
        try:
            connection.commit()
        except psycopg.OperationalError as error:
            if xid is None:  # nothing was written, so nothing can have been lost
                raise
            if self._became(xid) != "committed":
                raise
            _LOG.warning("PostgreSQL: the answer to COMMIT was lost (%s); the server says it is committed", error)

    def _became(self, xid: str) -> str:
        """Return what became of a transaction: committed or aborted.

        Raises:
            StoreUnavailableError: the server does not say in time.
        """
        deadline = time.monotonic() + _COMMIT_QUESTION_S
        while time.monotonic() < deadline:
            try:
                with self._open() as connection:
                    row = connection.execute("SELECT pg_xact_status(%s::text::xid8)", (xid,)).fetchone()
            except (StoreUnavailableError, psycopg.Error):  # one that took over may not know the transaction at all
                row = None
            if row and row[0] in {"committed", "aborted"}:
                return str(row[0])
            time.sleep(_FIRST_PAUSE_S * 5)
        raise _UnknownOutcomeError(
            f"PostgreSQL went away during COMMIT of transaction {xid} and does not say what became of it",
            hint="run it again: rows that were written are found and left alone",
        )


class _UnknownOutcomeError(StoreUnavailableError):
    """Nobody can say whether a transaction was committed."""


def _may_be_repeated(error: StoreUnavailableError) -> bool:
    """Whether a failed transaction may succeed at once; a statement that took too long would take as long again."""
    too_long = (pg.QueryCanceled, pg.IdleInTransactionSessionTimeout, pg.TransactionTimeout)
    return not isinstance(error, _UnknownOutcomeError) and not isinstance(error.__cause__, too_long)
