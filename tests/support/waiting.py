"""Waiting for what another session of a database does, and making it wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg

from tests.support.stores import Store

__all__ = ["WAIT_S", "blocked", "holding", "wait_until"]

#: Long enough for a machine that does much else; nothing waits so long when all is well.
WAIT_S = 60


@contextmanager
def holding(store: Store, statement: LiteralString) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else's transaction, with the locks or the snapshot that a statement takes."""
    with psycopg.connect(store.url) as connection:
        connection.execute(statement)
        yield connection
        connection.rollback()


def wait_until(condition: Callable[[], object], otherwise: str) -> None:
    """Return when a condition holds; fail if it does not come to that."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"after {WAIT_S} s: {otherwise}"
        time.sleep(0.05)


def blocked(store: Store, purpose: str) -> bool:
    """Whether a connection of ours (by its purpose) waits for a lock in this database."""
    found: bool = store.value(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        " AND application_name = %s)",
        f"govbr {purpose}",
    )
    return found
