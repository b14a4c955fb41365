"""Fill the tables `agencies` and `themes` from the team's YAML files, or from the catalogue shipped here.

Filling twice changes nothing. Rows are added and corrected, never deleted: news may point at them.
What a source does not say (an agency without type or parent) stays as it is in the table, so a
file of names alone erases nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, LiteralString

import psycopg
from psycopg.rows import class_row

from data_platform.errors import SourceError
from data_platform.managers.postgres.database import translate_errors
from data_platform.models.agencies import Agency, parse_agencies
from data_platform.models.themes import Theme, parse_themes
from data_platform.models.yaml_source import display_source, read_text

__all__ = ["PopulateResult", "load_agencies", "load_themes", "populate_agencies", "populate_themes"]


@dataclass(frozen=True)
class PopulateResult:
    """What filling a table did, counted by the database: read = inserted + updated + unchanged.

    Attributes:
        read: rows in the source.
        inserted: rows that the table did not have.
        updated: rows that differed.
        unchanged: rows that were already so, and were not touched.
        not_in_source: rows of the table that the source does not have; they stay.
    """

    read: int
    inserted: int
    updated: int
    unchanged: int
    not_in_source: int


# Rows that are already right are left out before the insert, not only by its WHERE: ON CONFLICT locks
# (that is, writes) every row that it meets and draws an id for it. The WHERE holds for a row that a
# concurrent run has written meanwhile. Sorted, so that two runs take their locks in one order.
# xmax is 0 on a row version that no transaction has locked or replaced: on a fresh insert, never on an
# ON CONFLICT update, which locks the row before writing it (PostgreSQL 15 has no RETURNING old).
_POPULATE_AGENCIES: LiteralString = """
WITH source AS (
    SELECT s.*,
           a.id IS NOT NULL
               AND (a.name, a.type, a.parent_key, a.url, a.is_stub) IS NOT DISTINCT FROM
                   (s.name, coalesce(s.type, a.type), coalesce(s.parent_key, a.parent_key), coalesce(s.url, a.url),
                    false) AS same
    FROM unnest(%(keys)s::text[], %(names)s::text[], %(types)s::text[], %(parent_keys)s::text[], %(urls)s::text[])
         AS s (key, name, type, parent_key, url)
    LEFT JOIN agencies AS a ON a.key = s.key
), written AS (
    INSERT INTO agencies AS a (key, name, type, parent_key, url)
    SELECT key, name, type, parent_key, url FROM source WHERE NOT same ORDER BY key
    ON CONFLICT (key) DO UPDATE
    SET name = excluded.name, type = coalesce(excluded.type, a.type),
        parent_key = coalesce(excluded.parent_key, a.parent_key), url = coalesce(excluded.url, a.url),
        is_stub = false, updated_at = now()
    WHERE (a.name, a.type, a.parent_key, a.url, a.is_stub) IS DISTINCT FROM
          (excluded.name, coalesce(excluded.type, a.type), coalesce(excluded.parent_key, a.parent_key),
           coalesce(excluded.url, a.url), false)
    RETURNING a.xmax = 0 AS is_new
), written_counts AS (
    SELECT count(*) FILTER (WHERE is_new) AS inserted, count(*) FILTER (WHERE NOT is_new) AS updated FROM written
), source_counts AS (
    SELECT count(*) AS read FROM source
)
SELECT read, inserted, updated, read - inserted - updated AS unchanged,
       (SELECT count(*) FROM agencies AS a WHERE a.key <> ALL (%(keys)s::text[])) AS not_in_source
FROM source_counts, written_counts
"""

# The foreign key from a theme to its parent is checked at the end of the statement, so order matters only for locks.
_POPULATE_THEMES: LiteralString = """
WITH source AS (
    SELECT s.*,
           t.id IS NOT NULL
               AND (t.label, t.full_name, t.level, t.parent_code) IS NOT DISTINCT FROM
                   (s.label, s.full_name, s.level, s.parent_code) AS same
    FROM unnest(%(codes)s::text[], %(labels)s::text[], %(full_names)s::text[], %(levels)s::smallint[],
                %(parent_codes)s::text[])
         AS s (code, label, full_name, level, parent_code)
    LEFT JOIN themes AS t ON t.code = s.code
), written AS (
    INSERT INTO themes AS t (code, label, full_name, level, parent_code)
    SELECT code, label, full_name, level, parent_code FROM source WHERE NOT same ORDER BY code
    ON CONFLICT (code) DO UPDATE
    SET label = excluded.label, full_name = excluded.full_name, level = excluded.level,
        parent_code = excluded.parent_code, updated_at = now()
    WHERE (t.label, t.full_name, t.level, t.parent_code) IS DISTINCT FROM
          (excluded.label, excluded.full_name, excluded.level, excluded.parent_code)
    RETURNING t.xmax = 0 AS is_new
), written_counts AS (
    SELECT count(*) FILTER (WHERE is_new) AS inserted, count(*) FILTER (WHERE NOT is_new) AS updated FROM written
), source_counts AS (
    SELECT count(*) AS read FROM source
)
SELECT read, inserted, updated, read - inserted - updated AS unchanged,
       (SELECT count(*) FROM themes AS t WHERE t.code <> ALL (%(codes)s::text[])) AS not_in_source
FROM source_counts, written_counts
"""


def load_agencies(source: str = "") -> tuple[Agency, ...]:
    """Return the agencies of a file or http(s) address; of the shipped catalogue if none is given.

    Raises:
        SourceError: the source cannot be used.
        SourceUnavailableError: its server does not answer; later it may.
    """
    text, origin = _text_of(source, "agencies")
    return parse_agencies(text, origin=origin)


def load_themes(source: str = "") -> tuple[Theme, ...]:
    """Return the themes of a file or http(s) address; of the shipped catalogue (first levels) if none is given.

    Raises:
        SourceError: the source cannot be used.
        SourceUnavailableError: its server does not answer; later it may.
    """
    text, origin = _text_of(source, "themes")
    return parse_themes(text, origin=origin)


def populate_agencies(connection: psycopg.Connection[Any], agencies: Iterable[Agency]) -> PopulateResult:
    """Bring the table `agencies` to what the source says, in one transaction.

    A row that was only a stub (an agency first met in the news) becomes a full one. A type, parent or
    url that the source leaves out stays as the table has it.

    Args:
        connection: within a transaction of its caller the work becomes a part of that one.
        agencies: the agencies of the source.

    Raises:
        SourceError: two of them have one key.
        StoreError: the database refuses: no schema, no permission.
        StoreUnavailableError: the connection broke; trying again is safe.
    """
    rows = tuple(agencies)
    _refuse_repeats([row.key for row in rows], "agency key")
    return _populate(
        connection,
        _POPULATE_AGENCIES,
        {
            "keys": [row.key for row in rows],
            "names": [row.name for row in rows],
            "types": [row.type for row in rows],
            "parent_keys": [row.parent_key for row in rows],
            "urls": [row.url for row in rows],
        },
    )


def populate_themes(connection: psycopg.Connection[Any], themes: Iterable[Theme]) -> PopulateResult:
    """Bring the table `themes` to what the source says, in one transaction.

    Args:
        connection: within a transaction of its caller the work becomes a part of that one.
        themes: the themes of the source; each one's parent is among them or in the table.

    Raises:
        SourceError: two of them have one code.
        StoreError: the database refuses: no schema, no permission.
        StoreUnavailableError: the connection broke; trying again is safe.
    """
    rows = tuple(themes)
    _refuse_repeats([row.code for row in rows], "theme code")
    return _populate(
        connection,
        _POPULATE_THEMES,
        {
            "codes": [row.code for row in rows],
            "labels": [row.label for row in rows],
            "full_names": [row.full_name for row in rows],
            "levels": [row.level for row in rows],
            "parent_codes": [row.parent_code for row in rows],
        },
    )


def _text_of(source: str, what: str) -> tuple[str, str]:
    """Return a source's text and the name by which messages call it."""
    if source:
        return read_text(source, what=what), display_source(source)
    name = f"{what}.yaml"
    return files("data_platform").joinpath("catalogue", name).read_text(encoding="utf-8"), f"shipped {name}"


def _refuse_repeats(keys: Sequence[str], what: str) -> None:
    # ON CONFLICT cannot meet one row twice; its own message would not say which.
    repeated = [key for key, times in Counter(keys).items() if times > 1]
    if repeated:
        raise SourceError(f"the {what} {repeated[0]!r} stands twice in what is to be stored")


def _populate(connection: psycopg.Connection[Any], query: LiteralString, arrays: dict[str, Any]) -> PopulateResult:
    # The rows come back in our type whatever row factory the caller's connection has.
    with (
        translate_errors(),
        connection.transaction(),
        connection.cursor(row_factory=class_row(PopulateResult)) as cursor,
    ):
        result = cursor.execute(query, arrays).fetchone()
    if result is None:
        raise AssertionError("an aggregate without GROUP BY always has a row")
    return result
