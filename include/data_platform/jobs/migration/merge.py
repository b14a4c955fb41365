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

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from psycopg import Connection

from data_platform.jobs.migration.records import Run, Segment
from data_platform.jobs.migration.segment_reader import ReadBatch, read_pieces
from data_platform.jobs.migration.source import Source
from data_platform.managers.binary_copy import PgType, copy_rows
from data_platform.managers.news_table import NEWS_COLUMNS, Catalogue, news_rows
from data_platform.models.digest import row_digests, sql_row_digest
from data_platform.queries import read_sql

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
    connection.execute(read_sql("merge_compare.sql").replace("/*digest*/", CONTENT_DIGEST))
    if not run.dry_run:
        _write(connection, run, segment, source, catalogue)
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


def settle_primaries(connection: Connection[Any]) -> int:
    """Put the right row first in every article that has several; return how many rows changed their mark."""
    marked = connection.execute(read_sql("settle_mark.sql")).rowcount
    return marked + connection.execute(read_sql("settle_promote.sql")).rowcount


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


def _write(connection: Connection[Any], run: Run, segment: Segment, source: Source, catalogue: Catalogue) -> None:
    todo = connection.execute(
        "SELECT file, row_no FROM merge_keys WHERE state IN ('new', 'follow', 'mixed')"
    ).fetchall()
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
            yield [array for array, _ in news_rows(rows, catalogue, duplicate_of=doubles).columns]

    copy_rows(connection, "merge_rows", NEWS_COLUMNS, arrays())
    names = [name for name, _ in NEWS_COLUMNS]
    added = read_sql("merge_insert.sql").replace("/*columns*/", ", ".join(names))
    connection.execute(added.replace("/*values*/", ", ".join(f"r.{name}" for name in names)))
    connection.execute(read_sql("merge_update.sql").replace("/*assignments*/", _assignments()))
    # The trigger leaves a row alone that the rules left as it was.
    connection.execute("UPDATE merge_keys SET state = 'kept' WHERE state IN ('follow', 'mixed')")
    connection.execute("DROP TABLE merge_rows")


def _touches(wanted: dict[str, np.ndarray], file: str, first_row: int, length: int) -> bool:
    rows = wanted.get(file)
    return rows is not None and bool(((rows >= first_row) & (rows < first_row + length)).any())


def _assignments() -> str:
    follow = "k.state = 'follow'"
    parts = [f"{c} = CASE WHEN {follow} OR k.scraper_newer THEN r.{c} ELSE n.{c} END" for c in _SCRAPER]
    parts += [
        f"{c} = CASE WHEN {follow} OR r.theme_l1_id IS NOT NULL OR r.theme_cells IS NOT NULL THEN r.{c} ELSE n.{c} END"
        for c in _THEMES
    ]
    parts.append(f"summary = CASE WHEN {follow} THEN r.summary ELSE coalesce(r.summary, n.summary) END")
    # Another address can make the row a double of another article; `settle_primaries` has the last word.
    parts.append("duplicate_of = coalesce(r.duplicate_of, n.duplicate_of)")
    return ", ".join(parts)
