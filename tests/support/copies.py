"""Databases for tests, cheaply: making and dropping them takes more of the machine than most tests do.

An empty database that was prepared is not filled but replaced by a copy of one that is ready; the empty one is kept for
the next test that asks for one.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex

import psycopg
from psycopg import sql

__all__ = ["drop_database", "fresh_database", "replace_by_copy"]

#: Server (an address up to the name of the database) -> empty databases that nobody uses.
_SPARE: dict[str, list[str]] = {}
#: Server and what was done -> a database there to which it was done.
_READY: dict[tuple[str, str], str] = {}


def fresh_database(maintenance_url: str) -> str:
    """Return the address of an empty database that is nobody else's."""
    server = maintenance_url.rpartition("/")[0]
    name = f"test_{token_hex(6)}"
    with psycopg.connect(maintenance_url, autocommit=True) as connection:
        spare = _SPARE.get(server, [])
        if spare and _exists(connection, found := spare.pop()):
            _execute(connection, "ALTER DATABASE {} RENAME TO {}", found, name)
        else:
            _execute(connection, "CREATE DATABASE {}", name)
    return f"{server}/{name}"


def drop_database(url: str) -> None:
    """Remove a database, whoever is connected to it."""
    server, _, name = url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        _execute(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def replace_by_copy(url: str, what: str, make: Callable[[str], object]) -> None:
    """Do something to an empty database, or put a copy of one to which it was done in its place.

    Args:
        url: of an empty database to which nobody is connected.
        what: names what is done.
        make: does it, the first time on a server.
    """
    server, _, name = url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        ready = _READY.get((server, what))
        if ready is not None and _exists(connection, ready):  # else another cluster has come to this port since
            if _is_empty(url):
                _execute(connection, "ALTER DATABASE {} RENAME TO {}", name, spare := f"spare_{token_hex(6)}")
                _SPARE.setdefault(server, []).append(spare)
            else:
                _execute(connection, "DROP DATABASE {} WITH (FORCE)", name)
            _execute(connection, "CREATE DATABASE {} TEMPLATE {}", name, ready)
            return
        make(url)
        ready = _READY[server, what] = f"ready_{token_hex(6)}"
        _execute(connection, "CREATE DATABASE {} TEMPLATE {}", ready, name)


def _is_empty(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchone() is None


def _exists(connection: psycopg.Connection, name: str) -> bool:
    return connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None


def _execute(connection: psycopg.Connection, statement: str, *names: str) -> None:
    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
