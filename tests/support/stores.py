"""A database as the tests of the migration see it: what it holds, what it is made of, who touched it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from data_platform.jobs.master_data import populate_agencies, populate_themes
from data_platform.models.columns import COLUMN_NAMES
from data_platform.schema import upgrade
from tests.support.copies import replace_by_copy
from tests.support.sources import AGENCIES, THEMES, Row

__all__ = ["Store", "prepare"]

_DEFINITIONS: LiteralString = """
SELECT 'index' AS kind, c.relname AS name, pg_get_indexdef(i.indexrelid) AS definition,
       i.indisvalid AND i.indisready AND i.indislive AS valid
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = 'news'::regclass
UNION ALL
SELECT 'constraint ' || contype::text, conname, pg_get_constraintdef(oid), convalidated
  FROM pg_constraint WHERE conrelid = 'news'::regclass
UNION ALL
SELECT 'trigger', tgname, pg_get_triggerdef(oid), tgenabled = 'O' FROM pg_trigger
 WHERE tgrelid = 'news'::regclass AND NOT tgisinternal
UNION ALL
SELECT 'relation ' || relkind::text, relname, relpersistence::text, true FROM pg_class
 WHERE relnamespace = 'public'::regnamespace
 ORDER BY 1, 2
"""
_DERIVED: LiteralString = """
SELECT n.unique_id, n.duplicate_of, n.canonical_url, n.published_date, n.agency_name, n.theme_form, n.theme_cells,
       a.key AS agency_of_id, a.is_stub, l1.code AS l1, l2.code AS l2, l3.code AS l3, most.code AS most
  FROM news n
  JOIN agencies a ON a.id = n.agency_id
  LEFT JOIN themes l1 ON l1.id = n.theme_l1_id
  LEFT JOIN themes l2 ON l2.id = n.theme_l2_id
  LEFT JOIN themes l3 ON l3.id = n.theme_l3_id
  LEFT JOIN themes most ON most.id = n.most_specific_theme_id
"""


def prepare(url: str) -> None:
    """Give an empty database the schema and the small master data of `sources`."""
    replace_by_copy(url, "prepare", _prepare)


def _prepare(url: str) -> None:
    upgrade(url)
    with psycopg.connect(url) as connection:
        populate_agencies(connection, AGENCIES)
        populate_themes(connection, THEMES)


@dataclass(frozen=True)
class Store:
    """A database; every call connects anew, so that it sees what is committed."""

    url: str

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """A connection that commits each statement by itself; rows are dicts, instants in UTC."""
        with psycopg.connect(self.url, autocommit=True, row_factory=dict_row, options="-c timezone=UTC") as connection:
            yield connection

    def query(self, statement: LiteralString, *bound: Any) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with self.connect() as connection:
            return connection.execute(statement, bound).fetchall()

    def value(self, statement: LiteralString, *bound: Any) -> Any:
        """Return the first value of the first row of a query."""
        return next(iter(self.query(statement, *bound)[0].values()))

    def execute(self, *statements: str, behind_triggers: bool = False) -> int:
        """Execute statements in one transaction; return how many rows the last one touched.

        Args:
            statements: what to execute.
            behind_triggers: with triggers and foreign keys off, as somebody who damages the table.
        """
        done = 0
        with self.connect() as connection, connection.transaction():
            if behind_triggers:
                connection.execute("SET LOCAL session_replication_role = replica")
            for statement in statements:
                done = connection.execute(statement.encode()).rowcount
        return done

    def published(self) -> dict[str, Row]:
        """Return what the world sees of each row, by id."""
        rows = self.query("SELECT * FROM news_published")
        assert not rows or tuple(rows[0]) == COLUMN_NAMES
        return {row["unique_id"]: row for row in rows}

    def derived(self) -> dict[str, Row]:
        """Return what the table holds beside the published cells, by id; without surrogate keys and times."""
        return {row["unique_id"]: row for row in self.query(_DERIVED)}

    def rejects(self) -> list[dict[str, Any]]:
        """Return the rejects, without times and numbers of runs."""
        return self.query(
            "SELECT payload_digest, unique_id, agency_key, field, reason, detail, payload, origin, file, row_no, status"
            " FROM rejects ORDER BY payload_digest, reason"
        )

    def agencies(self) -> list[dict[str, Any]]:
        """Return the agencies, without surrogate keys and times."""
        return self.query("SELECT key, name, type, parent_key, url, is_stub FROM agencies ORDER BY key")

    def contents(self) -> dict[str, Any]:
        """Return all that two stores of the same rows must have in common."""
        return {
            "published": self.published(),
            "derived": self.derived(),
            "rejects": self.rejects(),
            "agencies": self.agencies(),
            "tombstones": self.query("SELECT unique_id, published_month, reason FROM news_tombstones ORDER BY 1, 2, 3"),
        }

    def versions(self) -> dict[str, Row]:
        """Return which version of each row is the present one: equal only if nobody wrote the row."""
        rows = self.query(
            "SELECT unique_id, id, ctid::text, xmin::text, created_at, updated_at, change_xid::text::bigint FROM news"
        )
        return {row["unique_id"]: row for row in rows}

    def definitions(self) -> list[dict[str, Any]]:
        """Return every index, constraint and trigger of news, and every relation, with whether it is valid."""
        return self.query(_DEFINITIONS)

    def account(self) -> dict[str, Any]:
        """Return the account of the newest run."""
        account: dict[str, Any] = self.value("SELECT account FROM load_runs ORDER BY id DESC LIMIT 1")
        return account
