"""The catch-up form of loading: a segment's rows against a table that has rows already.

Only keys, digests and extracted_at of all rows travel to PostgreSQL; whole rows travel for those that turn out to be
new or different. Rules (DESIGN §5 "Migration"):

* a row that is not there is inserted;
* a row that no one but a migration has written follows the source in every column;
* a row that was changed here since follows the source in its scraper columns if the source's extracted_at is not older,
  and in its themes or summary if the source has them: the source never takes away what it does not have;
* extracted_at by itself is no difference; the trigger of news leaves such a row alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from psycopg import Connection

from data_platform.jobs.migration.records import Run, Segment
from data_platform.jobs.migration.segment_reader import read_pieces
from data_platform.managers.postgres.binary_copy import PgType, copy_rows
from data_platform.managers.postgres.news_table import NEWS_COLUMNS, Catalogue, news_rows
from data_platform.models.digest import row_digests, sql_row_digest
from data_platform.queries import read_sql
from data_platform.sources.dataset import Source
from data_platform.sources.judged import ReadBatch

__all__ = ["CONTENT_DIGEST", "merge_segment", "settle_primaries"]

#: A row's digest without extracted_at, over an alias p of news_published.
CONTENT_DIGEST = sql_row_digest("p", leave_out={"extracted_at"})
_KEYS = (
    ("file", PgType.TEXT),
    ("row_no", PgType.BIGINT),
    ("unique_id", PgType.TEXT),
    ("digest", PgType.UUID),
    ("extracted_at", PgType.TIMESTAMPTZ),
)
_SCRAPER = (
    "agency_id",
    "agency_key",
    "agency_name",
    "published_at",
    "updated_datetime",
    "extracted_at",
    "title",
    "subtitle",
    "editorial_lead",
    "url",
    "canonical_url",
    "content",
    "image_url",
    "video_url",
    "category",
    "tags",
)
_THEMES = ("theme_l1_id", "theme_l2_id", "theme_l3_id", "most_specific_theme_id", "theme_form", "theme_cells")
#: Columns whose change is none by itself, for the trigger of news too.
_UNTOLD = frozenset({"agency_id", "agency_name", "canonical_url", "extracted_at"})


def merge_segment(
    connection: Connection[Any],
    run: Run,
    segment: Segment,
    *,
    winners: Iterable[tuple[ReadBatch, pa.Array | None]],
    source: Source,
    catalogue: Catalogue,
) -> dict[str, int]:
    """Bring news in line with a segment, or say what that would do.

    Returns:
        loaded, updated and already_present, as counted by the database.
    """
    connection.execute(read_sql("merge_keys.sql"))
    copy_rows(connection, "merge_keys", _KEYS, _keys(winners))
    connection.execute("ANALYZE merge_keys")
    if run.dry_run:
        catalogue = catalogue.with_stubs(run.plan["stub_agencies"])
    compare = read_sql("merge_compare.sql").replace("/*digest*/", CONTENT_DIGEST)
    connection.execute(compare.replace("/*ours*/", read_sql("news_ours.sql")))
    _bring(connection, run, segment, source, catalogue)
    row = connection.execute(
        "SELECT count(*) FILTER (WHERE state = 'loaded'), count(*) FILTER (WHERE state = 'updated'),"
        " count(*) FILTER (WHERE state IN ('same', 'kept')), count(*) FILTER (WHERE state = 'kept') FROM merge_keys"
        if not run.dry_run
        else "SELECT count(*) FILTER (WHERE state = 'new'), count(*) FILTER (WHERE state IN ('follow', 'mixed')),"
        " count(*) FILTER (WHERE state IN ('same', 'kept')), count(*) FILTER (WHERE state = 'kept') FROM merge_keys"
    ).fetchone()
    connection.execute("DROP TABLE merge_keys")
    assert row is not None  # noqa: S101 - an aggregate always has one row
    return dict(zip(("loaded", "updated", "already_present", "kept_newer"), row, strict=True))


def settle_primaries(connection: Connection[Any], run: Run) -> int:
    """Put the right row first in every article that has several; return how many rows changed their mark."""
    changed = 0
    for name in ("settle_mark.sql", "settle_promote.sql"):
        row = connection.execute(read_sql(name).replace("/*ours*/", read_sql("news_ours.sql"))).fetchone()
        changed += row[0] if row else 0
    if changed:
        connection.execute(
            "UPDATE load_runs SET settled_xids = settled_xids || pg_current_xact_id() WHERE id = %s", (run.id,)
        )
    return changed


def _keys(winners: Iterable[tuple[ReadBatch, pa.Array | None]]) -> Iterator[list[pa.Array]]:
    for batch, keep in winners:
        rows = batch.cleaned.batch if keep is None else batch.cleaned.batch.filter(keep)
        numbers = pa.array(batch.row_numbers)
        digests = row_digests(rows, leave_out={"extracted_at"})
        yield [
            pa.array([batch.file] * rows.num_rows, pa.string()),
            numbers if keep is None else numbers.filter(keep),
            rows.column("unique_id"),
            pa.array(digests, pa.binary()),
            rows.column("extracted_at"),
        ]


def _bring(connection: Connection[Any], run: Run, segment: Segment, source: Source, catalogue: Catalogue) -> None:
    """Bring the rows that differ, sort out which the rules leave as they are, and write the others."""
    states = ["mixed"] if run.dry_run else ["new", "follow", "mixed"]
    todo = connection.execute("SELECT file, row_no FROM merge_keys WHERE state = ANY (%s)", (states,)).fetchall()
    if not todo:
        return
    wanted: dict[str, np.ndarray] = {}
    for file in {file for file, _ in todo}:
        wanted[file] = np.array([row for name, row in todo if name == file], dtype=np.int64)
    doubles = dict(
        connection.execute(
            "SELECT unique_id, duplicate_of FROM load_doubles WHERE run_id = %s AND segment_no = %s",
            (run.id, segment.number),
        ).fetchall()
    )
    connection.execute("CREATE TEMPORARY TABLE merge_rows (LIKE news) ON COMMIT DROP")
    for column in ("id", "published_date", "created_at", "updated_at", "change_xid"):
        connection.execute(f"ALTER TABLE merge_rows DROP COLUMN {column}")

    def arrays() -> Iterator[list[pa.Array]]:
        pieces = [piece for piece in segment.pieces if _touches(wanted, piece.file, piece.first_row, piece.length)]
        for batch in read_pieces(source, pieces, batch_rows=run.options.batch_rows, themes=catalogue.themes):
            mask = np.isin(batch.row_numbers, wanted[batch.file])
            rows = batch.cleaned.batch.filter(pa.array(mask))
            yield news_rows(rows, catalogue, duplicate_of=doubles)

    copy_rows(connection, "merge_rows", NEWS_COLUMNS, arrays())
    rules = _rules()
    told = [name for name in rules if name not in _UNTOLD]
    kept = read_sql("merge_kept.sql").replace("/*columns*/", ", ".join(f"n.{name}" for name in told))
    connection.execute(kept.replace("/*values*/", ", ".join(rules[name] for name in told)))
    if not run.dry_run:
        _write(connection, rules)
    connection.execute("DROP TABLE merge_rows")


def _write(connection: Connection[Any], rules: Mapping[str, str]) -> None:
    names = [name for name, _ in NEWS_COLUMNS]
    added = read_sql("merge_insert.sql").replace("/*columns*/", ", ".join(names))
    connection.execute(added.replace("/*values*/", ", ".join(f"r.{name}" for name in names)))
    assignments = ", ".join(f"{name} = {value}" for name, value in rules.items())
    connection.execute(read_sql("merge_update.sql").replace("/*assignments*/", assignments))
    # The trigger leaves a row alone that comes out as it was.
    connection.execute("UPDATE merge_keys SET state = 'kept' WHERE state IN ('follow', 'mixed')")


def _touches(wanted: dict[str, np.ndarray], file: str, first_row: int, length: int) -> bool:
    rows = wanted.get(file)
    return rows is not None and bool(((rows >= first_row) & (rows < first_row + length)).any())


def _rules() -> dict[str, str]:
    """Return what becomes of each column of a row n of news, given the source's row r and its key k."""
    follow = "k.state = 'follow'"
    themed = "r.theme_l1_id IS NOT NULL OR r.theme_cells IS NOT NULL"
    rules = {c: f"CASE WHEN {follow} OR k.scraper_newer THEN r.{c} ELSE n.{c} END" for c in _SCRAPER}
    rules |= {c: f"CASE WHEN {follow} OR {themed} THEN r.{c} ELSE n.{c} END" for c in _THEMES}
    rules["summary"] = f"CASE WHEN {follow} THEN r.summary ELSE coalesce(r.summary, n.summary) END"
    # Another address can make the row a double of another article; `settle_primaries` has the last word.
    doubles = "coalesce(r.duplicate_of, n.duplicate_of)"
    rules["duplicate_of"] = f"CASE WHEN {follow} OR k.scraper_newer THEN {doubles} ELSE n.duplicate_of END"
    return rules
