"""Keys, indexes and foreign keys of news, taken off before a bulk load and built online after it.

Building an index over rows that are there costs a fraction of maintaining it row by row, and checking a foreign key
for the whole table is one join instead of a look-up a row. What is taken off is remembered in the run, in the server's
own words, so no second place knows the definitions. Each is put on online (readers and writers go on) and its state
is visible in the run's `deferred` list all the while.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.rows import dict_row

from data_platform.errors import IntegrityError
from data_platform.failpoints import failpoint
from data_platform.jobs.migration.records import Run, to_json
from data_platform.queries import read_sql

__all__ = ["put_on", "take_off"]

_LOCK_TIMEOUT = "10s"
_ORDER = {"p": 0, "u": 1, "i": 2, "f": 3}


def take_off(connection: Connection[Any]) -> list[dict[str, Any]]:
    """Take keys, indexes and foreign keys off the empty table news, in the caller's transaction.

    Returns:
        What was taken off, each with its definition and the state "off", in the order in which to put it on again.
    """
    connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
    connection.execute("LOCK TABLE news IN ACCESS EXCLUSIVE MODE")
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(read_sql("index_find.sql")).fetchall()
    found.sort(key=lambda item: (_ORDER[item["kind"]], item["name"]))
    for item in reversed(found):
        if item["kind"] == "i":
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(item["name"])))
        else:
            connection.execute(sql.SQL("ALTER TABLE news DROP CONSTRAINT {}").format(sql.Identifier(item["name"])))
    return [{**item, "state": "off", "seconds": None} for item in found]


def put_on(
    connection: Connection[Any], run: Run, *, on_built: Callable[[dict[str, Any]], None] = lambda _item: None
) -> list[dict[str, Any]]:
    """Build what a bulk load took off; those that are there already are left alone.

    Args:
        connection: a connection outside a transaction; it is used in autocommit mode.
        run: the run whose `deferred` list is to be put on.
        on_built: called with each item when it is on.

    Raises:
        IntegrityError: rows of news break a key or a foreign key.
    """
    items = [dict(item) for item in run.deferred]
    before, connection.autocommit = connection.autocommit, True
    try:
        connection.execute("SET maintenance_work_mem = '256MB'")
        for item in items:
            if item["state"] == "on":
                continue
            failpoint("index.before_one")
            _record(connection, run.id, items, item, "building")
            started = time.monotonic()
            _build(connection, item)
            item["seconds"] = round(time.monotonic() - started, 3)
            _record(connection, run.id, items, item, "on")
            failpoint("index.after_one" if item["kind"] != "f" else "constraint.after_one")
            on_built(item)
        connection.execute("ANALYZE news")
    finally:
        connection.autocommit = before
    return items


def _build(connection: Connection[Any], item: dict[str, Any]) -> None:
    try:
        if item["kind"] == "f":
            _build_foreign_key(connection, item)
        else:
            _build_index(connection, item)
    except (psycopg.errors.UniqueViolation, psycopg.errors.ForeignKeyViolation) as error:
        raise IntegrityError(
            f"{item['name']} cannot be built: {error.diag.message_primary} {error.diag.message_detail or ''}".strip(),
            hint="rows were written to news by another writer during the load; remove them and run the migration again",
        ) from error


def _build_index(connection: Connection[Any], item: dict[str, Any]) -> None:
    name = sql.Identifier(item["name"])
    row = connection.execute(
        "SELECT i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE c.relname = %s AND i.indrelid = 'news'::regclass",
        (item["name"],),
    ).fetchone()
    if row is not None and not row[0]:  # a build that was killed leaves an invalid index behind
        connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(name))
        row = None
    if row is None:
        definition = item["index_definition"].replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
        connection.execute(definition)
    if item["kind"] in "pu" and not _has_constraint(connection, item["name"]):
        kind = sql.SQL("PRIMARY KEY" if item["kind"] == "p" else "UNIQUE")
        connection.execute(sql.SQL("ALTER TABLE news ADD CONSTRAINT {} {} USING INDEX {}").format(name, kind, name))


def _build_foreign_key(connection: Connection[Any], item: dict[str, Any]) -> None:
    name = sql.Identifier(item["name"])
    if not _has_constraint(connection, item["name"]):
        definition = sql.SQL(item["definition"].removesuffix(" NOT VALID"))
        connection.execute(sql.SQL("ALTER TABLE news ADD CONSTRAINT {} {} NOT VALID").format(name, definition))
    connection.execute(sql.SQL("ALTER TABLE news VALIDATE CONSTRAINT {}").format(name))


def _has_constraint(connection: Connection[Any], name: str) -> bool:
    found = connection.execute(
        "SELECT FROM pg_constraint WHERE conrelid = 'news'::regclass AND conname = %s", (name,)
    ).fetchone()
    return found is not None


def _record(
    connection: Connection[Any], run_id: int, items: list[dict[str, Any]], item: dict[str, Any], state: str
) -> None:
    item["state"] = state
    connection.execute("UPDATE load_runs SET deferred = %s WHERE id = %s", (to_json(items), run_id))
