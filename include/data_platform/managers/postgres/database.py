"""Connections to PostgreSQL and the translation of its errors into ours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from data_platform.errors import BusyError, ConfigurationError, DataPlatformError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from psycopg import Connection

__all__ = [
    "ServerInfo",
    "connect",
    "require_no_bulk_load",
    "server_info",
    "take_session_lock",
    "translate_errors",
    "try_session_lock",
]

#: A transaction of ours that its client forgot is ended by the server, so that it cannot hold up the change feed.
IDLE_IN_TRANSACTION_MS = 15 * 60 * 1000
#: A peer that is gone without a word, as a worker whose machine went away, is noticed after about a minute, on either
#: side: idle for 30 s, then three questions, 10 s apart. Its locks are freed then; a system's own rule is two hours.
#: Bytes that nobody acknowledges are given the system's time all the same: tcp_user_timeout would also end a connection
#: whose reader is only busy, and takes nothing for a while.
_KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
_CONNECT_TIMEOUT_S = 10
#: What a closed or killed client held is held until its server process has ended, a moment later.
_LOCK_PATIENCE_S = 5.0
_LOCK_RETRY_S = 0.05
_LOADING = "SELECT max(id) FROM load_runs WHERE status IN ('planning', 'loading') AND mode = 'bulk' AND NOT dry_run"
#: libpq gives no SQLSTATE for a refused connection, only the server's words; these will not change by waiting.
_FINAL_CONNECTION_WORDS = (
    "password",
    "does not exist",
    "no pg_hba.conf",
    "certificate",
    "invalid ",
    "does not support SSL",
)


@dataclass(frozen=True)
class ServerInfo:
    """What a server is and what it lets us do."""

    version: str
    read_only: bool
    has_lz4: bool
    data_bytes: int


def connect(
    database_url: str,
    *,
    purpose: str,
    autocommit: bool = False,
    statement_timeout_s: int = 0,
    may_idle: bool = False,
) -> Connection[Any]:
    """Open a connection.

    Args:
        database_url: `postgresql://…`.
        purpose: shown as application_name, so that a DBA sees what each connection is for.
        autocommit: whether each statement is its own transaction.
        statement_timeout_s: bound on a single statement in seconds, 0 for none.
        may_idle: whether a transaction may wait for its client as long as that lives; for one that only reads, which
            has no transaction id and so holds no reader of the change feed back.

    Raises:
        StoreUnavailableError: the server does not answer (worth a retry).
        StoreError: wrong password, no such database (not worth one).
        ConfigurationError: the address cannot be read.
    """
    try:
        given = conninfo_to_dict(database_url)
    except psycopg.ProgrammingError:  # whose message may quote a part of the password
        raise ConfigurationError(
            "DATABASE_URL cannot be read as an address",
            hint="write postgresql://user:password@host:5432/database, with %XX for : / @ ? # % inside the password",
        ) from None
    # What the address says of these holds for our side of the connection.
    keepalives = {name: value for name, value in _KEEPALIVES.items() if name not in given}
    # Over a socket of the same machine there are none, and the server leaves these settings alone.
    asked = " ".join(f"-c tcp_{name}={value}" for name, value in _KEEPALIVES.items())
    with translate_errors():
        return psycopg.connect(
            make_conninfo(database_url, **keepalives),
            autocommit=autocommit,
            connect_timeout=_CONNECT_TIMEOUT_S,
            application_name=f"govbr {purpose}"[:63],
            client_encoding="UTF8",  # binary COPY sends our bytes as they are; PGCLIENTENCODING must not reread them
            options=(
                f"{asked} {given.get('options') or ''} "  # such as a search_path; ours do not replace them
                f"-c statement_timeout={statement_timeout_s * 1000} "
                f"-c idle_in_transaction_session_timeout={0 if may_idle else IDLE_IN_TRANSACTION_MS} "
                "-c timezone=UTC -c client_min_messages=warning"
            ),
        )


def server_info(connection: Connection[Any]) -> ServerInfo:
    """Return what the server is and what it lets us do."""
    row = connection.execute(
        """
        SELECT current_setting('server_version'),
               pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool,
               'lz4' = ANY ((SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression')::text[]),
               pg_database_size(current_database())
        """
    ).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM always has one row
    return ServerInfo(row[0].split(" ")[0], row[1], row[2], row[3])


def try_session_lock(connection: Connection[Any], key: int, *, shared: bool = False) -> bool:
    """Try to take an advisory lock that lasts as long as the connection; False if another holds it."""
    call = "pg_try_advisory_lock_shared" if shared else "pg_try_advisory_lock"
    row = connection.execute(f"SELECT {call}(%s)", (key,)).fetchone()
    return bool(row and row[0])


def take_session_lock(connection: Connection[Any], key: int, busy: str, *, shared: bool = False) -> None:
    """Take an advisory lock that lasts as long as the connection; wait out a holder that has just gone.

    Args:
        connection: holds the lock.
        key: of the lock.
        busy: says who else is at work when the lock is not to be had.
        shared: whether others may hold it too.

    Raises:
        BusyError: somebody holds it and goes on holding it.
    """
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while not try_session_lock(connection, key, shared=shared):
        if time.monotonic() > deadline:
            raise BusyError(busy, hint="wait until it has ended, then try again")
        time.sleep(_LOCK_RETRY_S)


def require_no_bulk_load(connection: Connection[Any]) -> None:
    """Let nobody take a table that is half loaded for the whole of it.

    Raises:
        BusyError: a migration fills news; names it.
    """
    row = connection.execute(_LOADING).fetchone()
    if row and row[0] is not None:
        raise BusyError(
            f"migration {row[0]} is filling news",
            hint="wait for it, or finish it: python -m data_platform migrate",
        )


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn driver errors that an operator can act on into typed errors; let programming errors through."""
    try:
        yield
    except psycopg.Error as error:
        translated = _translate(error)
        if translated is None:
            raise
        raise translated from error
    except Exception as error:
        origin = getattr(error, "orig", None)  # SQLAlchemy wraps the driver's error
        translated = _translate(origin) if isinstance(origin, psycopg.Error) else None
        if translated is None:
            raise
        raise translated from error


def _translate(error: psycopg.Error) -> DataPlatformError | None:
    said = (error.diag.message_primary or str(error)).strip()
    for kinds, make, hint in _RULES:
        if isinstance(error, kinds):
            return make(f"PostgreSQL: {said}", hint=hint)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        if any(words in said for words in _FINAL_CONNECTION_WORDS):
            return StoreError(
                f"PostgreSQL refuses the connection: {said}", hint="check DATABASE_URL: user, password, database"
            )
        return StoreUnavailableError(
            f"PostgreSQL does not answer: {said}", hint="check that the server runs and is reachable"
        )
    return None


_RULES: tuple[tuple[tuple[type[psycopg.Error], ...], type[DataPlatformError], str], ...] = (
    ((pg.ProgramLimitExceeded,), StoreError, "a value is larger than PostgreSQL can hold there"),
    (
        (pg.DiskFull, pg.ConfigurationLimitExceeded),
        StoreError,
        "free or add disk space on the server, then run it again: it resumes",
    ),
    (
        (pg.ReadOnlySqlTransaction,),
        StoreError,
        "this is a read-only database or replica; point DATABASE_URL at the primary",
    ),
    ((pg.InsufficientPrivilege,), StoreError, "the user of DATABASE_URL lacks a permission; grant it or use the owner"),
    (
        (pg.UndefinedTable, pg.UndefinedColumn, pg.UndefinedFunction),
        StoreError,
        "the schema is missing or old; run: python -m data_platform create-schema",
    ),
    (
        (pg.InvalidPassword, pg.InvalidAuthorizationSpecification, pg.InvalidCatalogName),
        StoreError,
        "check DATABASE_URL",
    ),
    ((pg.LockNotAvailable,), BusyError, "another session holds the lock; try again later"),
    ((pg.DeadlockDetected, pg.SerializationFailure, pg.QueryCanceled), StoreUnavailableError, "trying again is safe"),
    # Class 25 is the driver's InternalError, though here the server only ended what waited too long.
    ((pg.IdleInTransactionSessionTimeout, pg.TransactionTimeout), StoreUnavailableError, "trying again is safe"),
    (
        (pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow, pg.TooManyConnections),
        StoreUnavailableError,
        "trying again is safe",
    ),
)
