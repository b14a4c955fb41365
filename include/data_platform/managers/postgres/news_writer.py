"""Writing batches into `news`, inside a transaction of the caller's: find, insert, update, put primaries right.

New rows go by COPY straight into the table, changed ones by COPY into a temporary table and one UPDATE. What collides
with another session raises a unique violation, and the whole transaction is tried again (`transactions`): by then the
other's rows are there to be found.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, LiteralString

import pyarrow as pa
from psycopg import Connection, sql

from data_platform.errors import BusyError
from data_platform.managers.postgres.binary_copy import PgType, copy_rows
from data_platform.managers.postgres.binary_read import read_query
from data_platform.managers.postgres.news_table import NEWS_COLUMNS, Catalogue, news_columns, news_rows
from data_platform.managers.write_rules import SCRAPED, Found
from data_platform.models.columns import COLUMN_BY_NAME, NORMAL_SCHEMA
from data_platform.models.urls import canonical_urls
from data_platform.queries import read_sql

__all__ = [
    "delete",
    "find",
    "hold",
    "insert_new",
    "make_stubs",
    "ready_to_write",
    "rows_of",
    "update_cells",
    "update_scraped",
]

_TYPES = dict(NEWS_COLUMNS)
_LEFT = "left_alone"
_NEVER: LiteralString = "false"
#: An older scrape never overwrites a newer one.
_STALE: LiteralString = "coalesce(i.extracted_at < n.extracted_at, false)"
_MARK = (
    "UPDATE news n SET duplicate_of = m.mark FROM unnest(%(ids)s::text[], %(marks)s::text[]) AS m (unique_id, mark)"
    " WHERE n.unique_id = m.unique_id"
)
_HOLD_ROWS = (
    'SELECT unique_id FROM news WHERE unique_id = ANY (%(ids)s) ORDER BY unique_id COLLATE "C" FOR NO KEY UPDATE'
)


def ready_to_write(connection: Connection[Any]) -> None:
    """Make sure that the keys of news stand and stay while the transaction lasts.

    Raises:
        BusyError: a migration has taken them off for its first load; without them doubles would come in unnoticed.
    """
    connection.execute("LOCK TABLE news IN ROW EXCLUSIVE MODE")
    # Looking up some thousand rows by key beats reading the whole table; the default is the price of a spinning disk.
    connection.execute("SET LOCAL random_page_cost = 1.1")
    row = connection.execute(
        "SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid"
        " IN (to_regclass('news_unique_id_key'), to_regclass('news_primary_url_key'))"
    ).fetchone()
    if row != (2,):
        raise BusyError(
            "news has no unique keys at the moment: a migration is loading it",
            hint="wait until the migration is done (python -m data_platform status), or resume it",
        )


def find(connection: Connection[Any], rows: pa.RecordBatch, *, to_write: bool = False) -> Found:
    """Return what news has of the articles of a batch.

    Args:
        connection: inside a transaction.
        rows: at least unique_id and agency; url if it was given.
        to_write: whether to hold what is found.
    """
    found = _found(connection, rows)
    held: set[str] = set()
    while to_write and not held.issuperset({*found.ids, *found.articles.values()}):
        held |= hold(connection, rows)
        found = _found(connection, rows)  # another session may have changed them before they were ours
    return found


def _found(connection: Connection[Any], rows: pa.RecordBatch) -> Found:
    keys = {name: json.dumps(values, ensure_ascii=False) for name, values in _keys(rows).items()}
    found = connection.execute(read_sql("write_find.sql"), keys).fetchall()
    return Found(
        frozenset(uid for uid, known, *_ in found if known),
        {(agency, url): primary for _, _, agency, url, primary in found if primary is not None},
    )


def make_stubs(connection: Connection[Any], keys: Collection[str]) -> list[str]:
    """Make entries for agencies that nobody has listed; return those that were not there."""
    made = connection.execute(
        "INSERT INTO agencies (key, name, is_stub) SELECT key, key, true FROM unnest(%s::text[]) AS key"
        " ORDER BY key ON CONFLICT (key) DO NOTHING RETURNING key",
        (sorted(keys),),
    ).fetchall()
    return [key for (key,) in made]


def insert_new(connection: Connection[Any], rows: pa.RecordBatch, catalogue: Catalogue) -> int:
    """Insert rows whose ids and articles news does not have; return how many PostgreSQL took.

    Args:
        connection: inside a transaction.
        rows: admitted rows, all 24 columns.
        catalogue: with every agency of the rows.
    """
    return copy_rows(connection, "news", NEWS_COLUMNS, [news_rows(rows, catalogue, duplicate_of={})])


def update_scraped(
    connection: Connection[Any], rows: pa.RecordBatch, leave: Mapping[str, pa.Array], catalogue: Catalogue
) -> list[str]:
    """Bring rows that are there in line with a scrape; return the ids of those that really changed.

    Args:
        connection: inside a transaction.
        rows: unique_id of rows that are held, and the columns given; only those of the scraper are taken.
        leave: column -> rows whose new cell is not to be taken.
        catalogue: agencies and themes.
    """
    names = [name for name in rows.schema.names if name in SCRAPED or name in {"unique_id", "extracted_at"}]
    made = news_columns(rows.select(names), catalogue)
    if leave:
        made[_LEFT] = _names_left(rows.num_rows, leave)
    stale = _STALE if "extracted_at" in made else _NEVER
    return _update(connection, made, stale=stale, moves="url" in names)


def update_cells(connection: Connection[Any], rows: pa.RecordBatch, catalogue: Catalogue) -> list[str]:
    """Write the given columns of rows, nulls included; return the ids of those that really changed.

    Args:
        connection: inside a transaction.
        rows: unique_id of rows that are held, and the columns to write; of the theme cells all nine or none.
        catalogue: with every agency of the rows.
    """
    moves = bool({"url", "agency"} & set(rows.schema.names))
    return _update(connection, news_columns(rows, catalogue), stale=_NEVER, moves=moves)


def hold(connection: Connection[Any], rows: pa.RecordBatch) -> set[str]:
    """Hold rows that will be written until the transaction ends, in one order for all sessions; return what is held.

    What shares an article with them, or will, is held as well: whoever comes to an article, leaves it or changes its
    order waits for the other, and then sees what the other made of it. Else a row could become the double of a primary
    that is just leaving.

    Args:
        connection: inside a transaction.
        rows: unique_id and the columns that will be written; of agency and url all that are looked for.
    """
    keys = _keys(rows)
    if not {"agency", "url", "extracted_at"} & set(rows.schema.names):  # then every article stays as it is
        return {uid for (uid,) in connection.execute(_HOLD_ROWS, keys).fetchall()}
    held: set[str] = set()
    while True:  # until nobody has come to these articles while this session waited
        found = {uid for (uid,) in connection.execute(read_sql("write_hold.sql"), keys).fetchall()}
        if found <= held:
            return held
        held |= found


def delete(connection: Connection[Any], unique_ids: Sequence[str]) -> list[str]:
    """Delete rows, each leaving a tombstone and its article to the next of its doubles; return the ids that were there.

    Args:
        connection: inside a transaction.
        unique_ids: which.
    """
    ids = pa.array(unique_ids, pa.string())
    # With the address, though none is looked for, so that all of their articles are held: see `hold`.
    given = pa.RecordBatch.from_arrays([ids, pa.nulls(len(ids), pa.string())], names=["unique_id", "url"])
    hold(connection, given)
    gone = connection.execute(
        "DELETE FROM news WHERE unique_id = ANY (%(ids)s) RETURNING unique_id", {"ids": list(unique_ids)}
    ).fetchall()
    return [uid for (uid,) in gone]


def rows_of(connection: Connection[Any], unique_ids: Sequence[str], *, names: Sequence[str] = ()) -> pa.Table:
    """Return the published cells of rows, in no promised order; of the named columns only, if any are named."""
    schema = pa.schema([NORMAL_SCHEMA.field(name) for name in names]) if names else NORMAL_SCHEMA
    query = f"SELECT {', '.join(schema.names)} FROM news_published WHERE unique_id = ANY (%(ids)s)"  # noqa: S608 - names of ours
    batches = read_query(connection, query, {"ids": list(unique_ids)}, schema, batch_rows=4096)
    return pa.Table.from_batches(batches, schema)


def _update(
    connection: Connection[Any], made: Mapping[str, pa.Array], *, stale: LiteralString, moves: bool
) -> list[str]:
    """COPY columns of news into a temporary table and update from it; return the ids that really changed."""
    if not len(made["unique_id"]):
        return []
    stored = [name for name in made if name != _LEFT]
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in stored)
    connection.execute(
        sql.SQL("CREATE TEMPORARY TABLE incoming ON COMMIT DROP AS SELECT {} FROM news WITH NO DATA").format(columns)
    )
    if _LEFT in made:
        connection.execute(f"ALTER TABLE incoming ADD COLUMN {_LEFT} text[]")
    kinds = [(name, _TYPES.get(name, PgType.TEXT_ARRAY)) for name in made]
    copy_rows(connection, "incoming", kinds, [list(made.values())])
    connection.execute("ANALYZE incoming")
    moved = moves and _move(connection, made, stale)
    assignments = ", ".join(f"{name} = {_value(name, made)}" for name in stored if name != "unique_id")
    if moved:
        assignments += ", duplicate_of = CASE WHEN m.unique_id IS NULL THEN n.duplicate_of ELSE m.mark END"
    statement = read_sql("write_update.sql").replace("/*assignments*/", assignments).replace("/*stale*/", stale)
    joined = "LEFT JOIN moving m ON m.unique_id = i.unique_id" if moved else ""
    changed = [uid for (uid,) in connection.execute(statement.replace("/*moving*/", joined)).fetchall()]
    if moved or "extracted_at" in made:
        _settle(connection, changed)
    connection.execute("DROP TABLE incoming")
    if moves:
        connection.execute("DROP TABLE moving")
    return changed


def _value(name: str, made: Mapping[str, pa.Array]) -> str:
    """Return what an UPDATE sets a column to."""
    if name == "extracted_at":  # moved by the trigger only together with another column
        return "coalesce(i.extracted_at, n.extracted_at)"
    if _LEFT not in made:
        return f"i.{name}"
    given_as = "url" if name == "canonical_url" else name
    return f"CASE WHEN '{given_as}' = ANY (i.{_LEFT}) THEN n.{name} ELSE i.{name} END"


def _names_left(rows: int, leave: Mapping[str, pa.Array]) -> pa.Array:
    """Return, for each row, the columns of news that are to be left alone."""
    names: list[list[str]] = [[] for _ in range(rows)]
    for column, mask in leave.items():
        for row, left in enumerate(mask.to_pylist()):
            if left:
                names[row].append(COLUMN_BY_NAME[column].store or column)
    return pa.array(names, pa.list_(pa.string()))


def _move(connection: Connection[Any], made: Mapping[str, pa.Array], stale: LiteralString) -> bool:
    """Note which rows of the temporary table go to another article; return whether any does."""
    agency = _value("agency_key", made) if "agency_key" in made else "n.agency_key"
    url = _value("canonical_url", made) if "canonical_url" in made else "n.canonical_url"
    statement = read_sql("write_move.sql").replace("/*agency*/", agency).replace("/*url*/", url)
    return connection.execute(statement.replace("/*stale*/", stale)).rowcount > 0


def _settle(connection: Connection[Any], changed: list[str]) -> None:
    """Put the right row first in every article whose rows a write may have brought out of order."""
    due = connection.execute(read_sql("write_settle.sql"), {"ids": changed}).fetchall()
    marked = [(uid, mark) for uid, mark in due if mark is not None]
    for rows in (marked, [(uid, mark) for uid, mark in due if mark is None]):  # no article has two unmarked at any time
        if rows:
            ids, marks = zip(*rows, strict=True)
            connection.execute(_MARK, {"ids": list(ids), "marks": list(marks)})


def _keys(rows: pa.RecordBatch) -> dict[str, list[str | None]]:
    """Return what rows are recognised by, null for what is not given."""
    nothing = pa.nulls(rows.num_rows, pa.string())
    given = {name: rows.column(name) if name in rows.schema.names else nothing for name in ("unique_id", "agency")}
    urls = canonical_urls(rows.column("url")) if "url" in rows.schema.names else nothing
    return {
        "ids": given["unique_id"].to_pylist(), "agencies": given["agency"].to_pylist(), "urls": urls.to_pylist()
    }  # fmt: skip
