"""Planning: what will be read in which pieces, and which rows cannot all be right.

Planning reads only the key columns, into a temporary table, and lets PostgreSQL find rows that share an id or an
address: in bounded memory, and before a single row is written. What loading needs of it is stored with the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
from psycopg import Connection

from data_platform.errors import IntegrityError, StoreError
from data_platform.failpoints import failpoint
from data_platform.jobs.migration import indexes
from data_platform.jobs.migration.records import (
    BULK,
    CATCH_UP,
    MigrationOptions,
    Piece,
    Run,
    Segment,
    read_run,
    to_json,
)
from data_platform.jobs.migration.segment_reader import read_pieces
from data_platform.managers.postgres.binary_copy import PgType, copy_rows
from data_platform.models.urls import canonical_urls
from data_platform.queries import read_sql
from data_platform.sources.dataset import Source, SourceFile

__all__ = ["cut_segments", "find_unfinished", "plan_run"]

#: Segments are the mapped tasks of the DAG: enough to spread and to resume, few enough for the scheduler.
_MOST_SEGMENTS = 60
_SEGMENT_ROWS = 10_000
#: A row group is decoded from its start for each slice of it, so one is cut into a few slices only.
_MOST_SLICES = 8
_KEY_COLUMNS = ("unique_id", "agency", "published_at", "extracted_at", "title", "url")
_KEY_BATCH_ROWS = 8192


@dataclass
class _KeyCounts:
    """What the key pass counts while it reads."""

    read: int = 0
    rejected: int = 0


def cut_segments(files: tuple[SourceFile, ...]) -> list[Segment]:
    """Cut files into segments of about equal rows; a segment never spans two files.

    The cut depends on the files alone, so that planning twice gives the same segments.
    """
    total = sum(file.rows for file in files)
    target = max(_SEGMENT_ROWS, -(-total // _MOST_SEGMENTS))
    segments: list[Segment] = []
    for file in files:
        held: list[Piece] = []
        for piece in _pieces(file, target):
            if held and sum(p.length for p in held) + piece.length > target:
                segments.append(_segment(len(segments), held))
                held = []
            held.append(piece)
        if held:
            segments.append(_segment(len(segments), held))
    return segments


def find_unfinished(connection: Connection[Any]) -> Run | None:
    """Return the run that was begun and not finished, if there is one."""
    row = connection.execute("SELECT id FROM load_runs WHERE status IN ('planning', 'loading')").fetchone()
    return read_run(connection, row[0]) if row else None


def plan_run(
    connection: Connection[Any],
    source: Source,
    options: MigrationOptions,
    *,
    on_progress: Callable[[int], None] = lambda _rows: None,
) -> Run:
    """Plan a migration and store the plan, or return the unfinished run of the same source.

    An unfinished run goes on with the commit it was planned for, wherever the Hub's head is now; the next run is the
    catch-up.

    Args:
        connection: a connection that commits by itself no statement.
        source: the open source; its revision is what the run is pinned to.
        options: what the person asked for.
        on_progress: called with the number of rows whose keys were read.

    Raises:
        StoreError: a run of another source, or a dry run where this is none, is unfinished, and `resume` keeps it.
        IntegrityError: more rows would be rejected than allowed; nothing was written to news.
    """
    unfinished = find_unfinished(connection)
    if unfinished is not None and unfinished.status == "planning":
        _give_up(connection, unfinished, "planning was interrupted before anything was written")
    elif unfinished is not None:
        if _is_same(unfinished, source, options):
            return unfinished
        if options.resume:
            raise StoreError(
                f"migration run {unfinished.id} of {unfinished.snapshot.source!r} is unfinished"
                f" (dry run: {unfinished.dry_run}, begun by {unfinished.started_by})",
                hint="finish it with the same source and options, or give it up with --no-resume",
            )
        _give_up(connection, unfinished, "given up for a new run")
    run_id = _create(connection, source, options)
    failpoint("plan.after_run_created")
    try:
        plan = _key_pass(connection, source, options, run_id, on_progress)
        _check_reject_rate(plan, options)
    except IntegrityError as error:
        connection.rollback()
        connection.execute(
            "UPDATE load_runs SET status = 'failed', error = %s, finished_at = now() WHERE id = %s",
            (str(error), run_id),
        )
        connection.commit()
        raise
    failpoint("plan.before_ready")
    deferred = indexes.take_off(connection) if plan["defer"] else []
    connection.execute(
        "UPDATE load_runs SET status = 'loading', plan = %s, deferred = %s WHERE id = %s",
        (to_json(plan), to_json(deferred), run_id),
    )
    connection.commit()
    return read_run(connection, run_id)


def _is_same(run: Run, source: Source, options: MigrationOptions) -> bool:
    """Whether a run is of the same data; the Hub keeps the planned commit, a folder holds only what it holds now."""
    unchanged = run.snapshot.kind == "hub" or run.snapshot.revision == source.snapshot.revision
    asked = options.resume and run.dry_run == options.dry_run
    return asked and unchanged and run.snapshot.source == source.snapshot.source


def _give_up(connection: Connection[Any], run: Run, why: str) -> None:
    connection.commit()
    if run.deferred:
        # A run that took the keys off must put them on again before anything else writes. It is given up only
        # then: if this is stopped half-way, the run is found again.
        indexes.put_on(connection, run)
    connection.execute(
        "UPDATE load_runs SET status = 'abandoned', error = %s, finished_at = now() WHERE id = %s", (why, run.id)
    )
    connection.commit()


def _create(connection: Connection[Any], source: Source, options: MigrationOptions) -> int:
    row = connection.execute(
        """
        INSERT INTO load_runs (source, revision, snapshot, mode, dry_run, options, started_by)
        SELECT %s, %s, %s, CASE WHEN EXISTS (SELECT FROM news) THEN %s ELSE %s END, %s, %s, %s
        RETURNING id
        """,
        (
            source.snapshot.source,
            source.snapshot.revision,
            to_json(source.snapshot.to_dict()),
            CATCH_UP,
            BULK,
            options.dry_run,
            to_json(asdict(options)),
            options.started_by,
        ),
    ).fetchone()
    connection.commit()
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return int(row[0])


def _key_pass(
    connection: Connection[Any],
    source: Source,
    options: MigrationOptions,
    run_id: int,
    on_progress: Callable[[int], None],
) -> dict[str, Any]:
    segments = cut_segments(source.snapshot.files)
    connection.execute(read_sql("plan_keys.sql"))
    counts = _KeyCounts()
    copy_rows(connection, "load_keys", _KEY_TABLE, _keys(source, segments, counts, on_progress))
    failpoint("plan.after_keys")
    bound = {"run": run_id}
    connection.execute("ANALYZE load_keys")
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO load_segments (run_id, segment_no, label, pieces, rows) VALUES (%s, %s, %s, %s, %s)",
            [(run_id, s.number, s.label, to_json([p.to_dict() for p in s.pieces]), s.rows) for s in segments],
        )
    connection.execute(read_sql("plan_same_id.sql"), bound)
    url_doubles = _one(connection, read_sql("plan_doubles.sql"), bound)
    stubs = dict(connection.execute(read_sql("plan_unknown_agencies.sql")).fetchall())
    if not options.dry_run:
        connection.execute(
            "INSERT INTO agencies (key, name, is_stub) SELECT key, key, true FROM unnest(%s::text[]) AS key"
            " ON CONFLICT (key) DO NOTHING",
            (list(stubs),),
        )
    mode = read_run(connection, run_id).mode
    return {
        "read": counts.read,
        "rejected": counts.rejected,
        "stub_agencies": stubs,
        "url_doubles": url_doubles,
        "same_id": _one(
            connection, "SELECT count(*) FROM load_duplicates WHERE run_id = %(run)s AND NOT is_winner", bound
        ),
        "vanished": _one(connection, _VANISHED.format("count(*)"), bound),
        "vanished_sample": [r[0] for r in connection.execute(_VANISHED.format("n.unique_id") + " LIMIT 20").fetchall()],
        "rows_by_year": _pairs(
            connection,
            "SELECT extract(year FROM published_date)::int::text, count(*) FROM load_keys GROUP BY 1 ORDER BY 1",
        ),
        "rows_by_agency": _pairs(
            connection, "SELECT agency_key, count(*) FROM load_keys GROUP BY 1 ORDER BY 2 DESC, 1"
        ),
        "news_before": _one(connection, "SELECT count(*) FROM news", bound),
        "defer": mode == BULK and not options.dry_run,
    }


_KEY_TABLE = (
    ("segment_no", PgType.INTEGER),
    ("file", PgType.TEXT),
    ("row_no", PgType.BIGINT),
    ("unique_id", PgType.TEXT),
    ("agency_key", PgType.TEXT),
    ("canonical_url", PgType.TEXT),
    ("published_at", PgType.TIMESTAMPTZ),
    ("extracted_at", PgType.TIMESTAMPTZ),
)
_VANISHED = "SELECT {} FROM news n WHERE NOT EXISTS (SELECT FROM load_keys k WHERE k.unique_id = n.unique_id)"


def _keys(
    source: Source, segments: list[Segment], counts: _KeyCounts, on_progress: Callable[[int], None]
) -> Iterator[list[pa.Array]]:
    """Read the key columns of every admitted row."""
    for segment in segments:
        for batch in read_pieces(source, segment.pieces, batch_rows=_KEY_BATCH_ROWS, columns=_KEY_COLUMNS):
            admitted = batch.admitted
            rows = batch.cleaned.batch.filter(admitted)
            numbers = pa.array(batch.row_numbers).filter(admitted)
            counts.read += batch.raw.num_rows
            counts.rejected += batch.raw.num_rows - rows.num_rows
            yield [
                pa.array([segment.number] * rows.num_rows, pa.int32()),
                pa.array([batch.file] * rows.num_rows, pa.string()),
                numbers,
                rows.column("unique_id"),
                rows.column("agency"),
                canonical_urls(rows.column("url")),
                rows.column("published_at"),
                rows.column("extracted_at"),
            ]
            on_progress(counts.read)


def _check_reject_rate(plan: Mapping[str, Any], options: MigrationOptions) -> None:
    rate = plan["rejected"] / plan["read"] if plan["read"] else 0.0
    if rate > options.max_reject_rate:
        raise IntegrityError(
            f"{plan['rejected']:,} of {plan['read']:,} rows would be rejected ({rate:.3%}),"
            f" more than the limit of {options.max_reject_rate:.3%}; nothing was written to news",
            hint="look at them in a dry run with a higher limit; raise the limit only when they are explained",
        )


def _pieces(file: SourceFile, target: int) -> Iterator[Piece]:
    first_row = 0
    for group, rows in enumerate(file.row_groups):
        slices = min(_MOST_SLICES, max(1, -(-rows // target)))
        size = -(-rows // slices) if rows else 0
        for offset in range(0, rows, size or 1):
            length = min(size, rows - offset)
            yield Piece(file.path, group, offset, length, first_row + offset)
        first_row += rows


def _segment(number: int, pieces: list[Piece]) -> Segment:
    rows = sum(piece.length for piece in pieces)
    first = pieces[0].first_row
    label = f"{pieces[0].file} rows {first:,}-{first + rows - 1:,}"
    return replace(Segment(number, label, rows, ()), pieces=tuple(pieces))


def _one(connection: Connection[Any], statement: str, bound: Mapping[str, Any]) -> int:
    row = connection.execute(statement, bound).fetchone()
    return int(row[0]) if row else 0


def _pairs(connection: Connection[Any], statement: str) -> dict[str, int]:
    return dict(connection.execute(statement).fetchall())
