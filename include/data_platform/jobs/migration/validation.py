"""Validation: source and table compared by a digest of every column of every row.

PostgreSQL digests its own rows; the source's keys and digests travel to it and are joined there. A row that cleaning
changed is "explained" only if each changed cell carries a mark of its kind: the cell is compared with how it came,
so a cleaning that changes more than it counts shows as a difference. Rows that differ are read from both sides and
compared cell by cell.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import Connection, sql

from data_platform.failpoints import failpoint
from data_platform.jobs.migration.differences import MOST_DIFFERENCES, Doubtful
from data_platform.jobs.migration.merge import CONTENT_DIGEST
from data_platform.jobs.migration.records import Piece, to_json
from data_platform.jobs.migration.segment_reader import read_pieces
from data_platform.managers.postgres.binary_copy import PgType, copy_rows
from data_platform.managers.postgres.news_table import Catalogue
from data_platform.models.columns import COLUMN_NAMES, REQUIRED_COLUMNS
from data_platform.models.digest import row_digests
from data_platform.queries import read_sql
from data_platform.sources.dataset import Source
from data_platform.sources.judged import ReadBatch

__all__ = [
    "SourceFacts",
    "ValidationResult",
    "compare",
    "digest_pieces",
    "digest_target",
    "prepare",
    "store_validation",
]

DIFFERENT = "different"
EQUAL = "equal"
EXPLAINED = "equal after counted cleanings"
_WORK_COLUMNS = (
    ("file", PgType.TEXT),
    ("row_no", PgType.BIGINT),
    ("unique_id", PgType.TEXT),
    ("digest", PgType.UUID),
    ("extracted_at", PgType.TIMESTAMPTZ),
    ("kinds", PgType.TEXT),
    ("reject_reason", PgType.TEXT),
    ("payload_digest", PgType.TEXT),
    ("nulls", PgType.INTEGER),
)
_LEVELS = ("theme_1_level_1", "theme_1_level_2_code", "theme_1_level_3_code")


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """What the comparison found; counts are rows.

    Attributes:
        verdict: "equal", "equal after counted cleanings" or "different".
        equal: rows whose every cell is the same on both sides.
        explained: rows that differ from the source only by counted cleanings.
        explained_by_kind: the same rows by kind ("kind:column"); a row with two kinds counts under both.
        only_in_source: rows that are not in the table under their id and content.
        accounted: of those, how many are known rejects or duplicates, by reason.
        unaccounted: of those, how many nobody can explain. Must be 0.
        only_in_target: rows of the table that the source does not have.
        different: rows on both sides with cells that differ and no cleaning explains. Must be 0.
        differences: the first of them, cell by cell.
        per_column_nulls: column -> nulls in the whole source, nulls that cleaning made, nulls in the rows that should
            be in the table (expected), nulls in the table.
        metrics: the plan's measures beside the source's own numbers.
    """

    source: str
    revision: str
    verdict: str
    source_rows: int
    target_rows: int
    equal: int
    explained: int
    explained_by_kind: Mapping[str, int]
    only_in_source: int
    accounted: Mapping[str, int]
    unaccounted: int
    only_in_target: int
    only_in_target_sample: Sequence[str]
    different: int
    differences: Sequence[Mapping[str, Any]]
    per_column_nulls: Mapping[str, Mapping[str, int]]
    metrics: Sequence[Mapping[str, Any]]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the two sides hold the same rows."""
        return self.verdict != DIFFERENT

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data."""
        return asdict(self)


@dataclass
class SourceFacts:
    """What reading the source for a validation counts; facts of several readers add up."""

    rows: int = 0
    nulls: Counter[str] = field(default_factory=Counter)
    cleaned_to_null: Counter[str] = field(default_factory=Counter)

    def add(self, other: SourceFacts) -> None:
        """Add another reader's facts to these."""
        self.rows += other.rows
        self.nulls.update(other.nulls)
        self.cleaned_to_null.update(other.cleaned_to_null)


def prepare(connection: Connection[Any]) -> str:
    """Make the work table that readers fill; return its name. Leftovers of killed validations are removed."""
    for (name,) in connection.execute(read_sql("validation_leftovers.sql")).fetchall():
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(name)))
    row = connection.execute("SELECT 'validation_work_' || pg_backend_pid()").fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM always has one row
    work = str(row[0])
    connection.execute(read_sql("validation_work.sql").replace("/*work*/", work))
    connection.commit()
    return work


def digest_pieces(
    connection: Connection[Any],
    work: str,
    source: Source,
    pieces: Sequence[Piece],
    *,
    batch_rows: int = 1024,
    on_progress: Callable[[int], None] = lambda _rows: None,
) -> SourceFacts:
    """Read pieces of the source and bring their keys and digests to the work table."""
    themes = Catalogue.read(connection).themes
    facts = SourceFacts()

    def arrays() -> Iterator[list[pa.Array]]:
        for batch in read_pieces(source, pieces, batch_rows=batch_rows, themes=themes):
            failpoint("validate.mid")
            yield _work_rows(batch, facts)
            on_progress(facts.rows)

    copy_rows(connection, work, _WORK_COLUMNS, arrays())
    connection.commit()
    return facts


def digest_target(connection: Connection[Any]) -> None:
    """Let PostgreSQL digest its own rows, into a table of this session; goes on while others read the source."""
    connection.execute("DROP TABLE IF EXISTS pg_temp.validation_target")
    connection.execute(read_sql("validation_target.sql").replace("/*digest*/", CONTENT_DIGEST))
    connection.execute("ANALYZE validation_target")
    connection.commit()  # a transaction left open would hold up the change feed


def compare(
    connection: Connection[Any],
    work: str,
    source: Source,
    pieces: Sequence[Piece],
    facts: SourceFacts,
    *,
    started: float,
) -> ValidationResult:
    """Compare the filled work table with the digests of `digest_target`.

    Args:
        connection: a connection that does not commit by itself.
        work: the work table, filled for all pieces.
        source: the open source, read again for rows that differ.
        pieces: all pieces of the source.
        facts: what the readers counted, added up.
        started: `time.monotonic()` at the validation's beginning.
    """
    connection.execute("SET LOCAL work_mem = '64MB'")
    connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(work)))
    connection.execute(read_sql("validation_match.sql").replace("/*work*/", work))
    connection.execute(read_sql("validation_misfiled.sql"))
    connection.execute(
        "UPDATE validation_match m SET state = 'misfiled' FROM validation_misfiled f"
        " WHERE f.unique_id = m.unique_id AND m.state IN ('equal', 'explained')"
    )
    count = Counter(dict(connection.execute("SELECT state, count(*) FROM validation_match GROUP BY 1").fetchall()))
    kinds = connection.execute(
        "SELECT kind, count(*) FROM validation_match, unnest(string_to_array(kinds, ',')) AS kind"
        " WHERE state = 'explained' GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    accounted: Counter[str] = Counter({"duplicate:same_content": count["repeated"]} if count["repeated"] else {})
    doubtful = Doubtful(connection, source, pieces)
    accounted.update(doubtful.resolve())
    target_only = connection.execute(read_sql("validation_target_only.sql").replace("/*work*/", work)).fetchall()
    nulls, wanted = _target_nulls(connection), _expected_nulls(connection)
    different = doubtful.different
    unaccounted = doubtful.unaccounted
    clean = not (different or unaccounted or target_only)
    result = ValidationResult(
        source=source.snapshot.source,
        revision=source.snapshot.revision,
        verdict=DIFFERENT if not clean else EXPLAINED if count["explained"] else EQUAL,
        source_rows=facts.rows,
        target_rows=nulls["rows"],
        equal=count["equal"],
        explained=count["explained"],
        explained_by_kind=dict(kinds),
        only_in_source=sum(accounted.values()) + unaccounted,
        accounted=dict(accounted),
        unaccounted=unaccounted,
        only_in_target=target_only[0][1] if target_only else 0,
        only_in_target_sample=[name for name, _ in target_only],
        different=different,
        differences=doubtful.differences[:MOST_DIFFERENCES],
        per_column_nulls={
            name: {
                "source": facts.nulls[name],
                "cleaned": facts.cleaned_to_null[name],
                "expected": wanted[name],
                "target": nulls[name],
            }
            for name in COLUMN_NAMES
        },
        metrics=_metrics(connection, wanted, nulls),
        seconds=round(time.monotonic() - started, 3),
    )
    connection.execute(sql.SQL("DROP TABLE {}, validation_target").format(sql.Identifier(work)))
    connection.commit()
    return result


def store_validation(connection: Connection[Any], result: ValidationResult, *, run_id: int | None) -> int:
    """Store a result for later gates to read; return its id."""
    failpoint("validate.before_store")
    stored = to_json(result.to_dict())
    with connection.transaction():
        row = connection.execute(
            "INSERT INTO validations (run_id, source, revision, verdict, result, started_at)"
            " VALUES (%s, %s, %s, %s, %s, now() - make_interval(secs => %s)) RETURNING id",
            (run_id, result.source, result.revision, result.verdict, stored, result.seconds),
        ).fetchone()
        if run_id is not None:
            connection.execute("UPDATE load_runs SET validation = %s WHERE id = %s", (stored, run_id))
    return int(row[0]) if row else 0


def _work_rows(batch: ReadBatch, facts: SourceFacts) -> list[pa.Array]:
    rows = batch.cleaned.batch
    facts.rows += rows.num_rows
    for name in COLUMN_NAMES:
        facts.nulls[name] += batch.raw.column(name).null_count
        facts.cleaned_to_null[name] += max(0, rows.column(name).null_count - batch.raw.column(name).null_count)
    rejected = pc.invert(batch.admitted)
    reasons = pa.nulls(rows.num_rows, pa.string())
    payloads = reasons
    if pc.any(rejected).as_py():
        rejects = batch.rejects()
        reasons = pc.replace_with_mask(reasons, rejected, pa.array([r.reason for r in rejects], pa.string()))
        payloads = pc.replace_with_mask(payloads, rejected, pa.array([r.digest for r in rejects], pa.string()))
    nulls = np.zeros(rows.num_rows, dtype=np.int32)
    for bit, name in enumerate(COLUMN_NAMES):
        nulls |= rows.column(name).is_null().to_numpy(zero_copy_only=False).astype(np.int32) << bit
    return [
        pa.array([batch.file] * rows.num_rows, pa.string()),
        pa.array(batch.row_numbers),
        rows.column("unique_id"),
        pa.array(row_digests(rows, leave_out={"extracted_at"}), pa.binary()),
        rows.column("extracted_at"),
        _kinds(batch),
        reasons,
        payloads,
        pa.array(nulls),
    ]


def _kinds(batch: ReadBatch) -> pa.Array:
    """Return the kinds of cleaning that explain each row, comma-separated; UNMARKED: changed without a mark."""
    kinds = pa.nulls(batch.raw.num_rows, pa.string())
    marked: dict[str, pa.Array] = {}
    for (kind, column), mask in batch.cleaned.marks.items():
        kinds = _append(kinds, mask, f"{kind}:{column}")
        marked[column] = mask if column not in marked else pc.or_(marked[column], mask)
    for name in COLUMN_NAMES:
        raw, cleaned = batch.raw.column(name), batch.cleaned.batch.column(name)
        if raw.equals(cleaned):
            continue
        changed = _differs(raw, cleaned)
        unmarked = changed if name not in marked else pc.and_not(changed, marked[name])
        if pc.any(unmarked).as_py():
            kinds = _append(kinds, unmarked, f"UNMARKED:{name}")
    return kinds


def _append(kinds: pa.Array, mask: pa.Array, name: str) -> pa.Array:
    longer = pc.binary_join_element_wise(kinds, name, ",", null_handling="skip")
    return pc.if_else(pc.fill_null(mask, False), longer, kinds)


def _differs(a: pa.Array, b: pa.Array) -> pa.Array:
    if pa.types.is_list(a.type):
        return pa.array([x != y for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True)], pa.bool_())
    same = pc.or_(pc.fill_null(pc.equal(a, b), False), pc.and_(a.is_null(), b.is_null()))
    return pc.invert(same)


def _target_nulls(connection: Connection[Any]) -> dict[str, int]:
    counts = sql.SQL(", ").join(sql.SQL("count(*) - count({})").format(sql.Identifier(name)) for name in COLUMN_NAMES)
    row = connection.execute(sql.SQL("SELECT count(*), {} FROM news_published").format(counts)).fetchone()
    return dict(zip(("rows", *COLUMN_NAMES), row or (), strict=True))


def _expected_nulls(connection: Connection[Any]) -> dict[str, int]:
    """Count, over the rows of the source that should be in the table, the nulls of each column; "rows" for all."""
    counts = "".join(f", count(*) FILTER (WHERE nulls & {1 << bit} > 0)" for bit in range(len(COLUMN_NAMES)))
    row = connection.execute(read_sql("validation_nulls.sql").replace("/*counts*/", counts)).fetchone()
    return dict(zip(("rows", *COLUMN_NAMES), row or (), strict=True))


def _metrics(connection: Connection[Any], wanted: Mapping[str, int], found: Mapping[str, int]) -> list[dict[str, Any]]:
    """The plan's table of measures, each beside the source's own number for the rows that should be in the table.

    Args:
        connection: where the table is.
        wanted: nulls of each column over those rows of the source, and "rows".
        found: the same of the table.
    """
    agencies, listed, known = connection.execute(read_sql("validation_known.sql")).fetchone() or (0, 0, 0)
    rows, table = wanted["rows"], found["rows"]
    level_1 = rows - wanted[_LEVELS[0]]
    complete = table - max(found[name] for name in REQUIRED_COLUMNS)
    measures = [
        ("rows", rows, table, "source rows less rejects and duplicates", rows == table),
        *(
            (
                f"with {name}",
                rows - wanted[name],
                table - found[name],
                "as many as the source",
                wanted[name] == found[name],
            )
            for name in _LEVELS
        ),
        ("theme of level 1 known", level_1, known, "less only by codes that the tree lacks", known <= level_1),
        ("valid agency", rows, agencies, "100 %", agencies == table),
        ("agency listed (no stub)", rows, listed, "100 %; stubs await an entry in agencies.yaml", True),
        ("required fields", rows, complete, "100 %", complete == table),
    ]
    return [
        {
            "name": name,
            "source": source,
            "source_share": _share(source, rows),
            "target": target,
            "target_share": _share(target, table),
            "expected": text,
            "ok": ok,
        }
        for name, source, target, text, ok in measures
    ]


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 1.0
