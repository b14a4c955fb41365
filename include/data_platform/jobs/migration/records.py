"""What a migration is made of, and its record in PostgreSQL.

Everything a later step needs stands in `load_runs` and `load_segments`, so that any process can go on where another
one stopped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from data_platform.errors import ConfigurationError, IntegrityError
from data_platform.sources.dataset import SourceSnapshot

__all__ = ["BULK", "CATCH_UP", "MigrationOptions", "Piece", "Run", "Segment", "read_run", "read_segments"]

#: The table was empty: rows go straight in, keys and indexes are built afterwards.
BULK = "bulk"
#: The table has rows: each source row is compared with what is there.
CATCH_UP = "catch-up"

_MAX_PARALLEL = 16


@dataclass(frozen=True, kw_only=True)
class MigrationOptions:
    """What the person who starts a migration decides.

    Attributes:
        source: dataset id on the Hub, folder, or parquet file.
        dry_run: read, clean and account, but write nothing to news.
        max_reject_rate: share of rows (0 to 1) that may be rejected before anything is loaded.
        parallel: how many segments load at once.
        resume: go on with an unfinished run of the same source; otherwise give it up and start anew.
        batch_rows: rows that are held in memory at once, by each loader.
        started_by: who or what started it, for the record.
    """

    source: str
    dry_run: bool = False
    max_reject_rate: float = 0.01
    parallel: int = 2
    resume: bool = True
    batch_rows: int = 1024
    started_by: str = "command line"

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        if not self.source.strip():
            raise ConfigurationError("no source is given", hint="a dataset id on the Hub, a folder, or a parquet file")
        if not 0 <= self.max_reject_rate <= 1:
            raise ConfigurationError(
                f"max_reject_rate is {self.max_reject_rate}", hint="a share between 0 and 1, e.g. 0.01"
            )
        if not 1 <= self.parallel <= _MAX_PARALLEL:
            raise ConfigurationError(f"parallel is {self.parallel}", hint=f"between 1 and {_MAX_PARALLEL}")
        if self.batch_rows < 1:
            raise ConfigurationError(f"batch_rows is {self.batch_rows}", hint="1 or more; 1024 is a good value")


@dataclass(frozen=True)
class Piece:
    """A run of rows inside one row group of one file."""

    file: str
    row_group: int
    offset: int
    length: int
    first_row: int

    def to_dict(self) -> dict[str, Any]:
        """Return the piece as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Segment:
    """The unit of loading, of checkpoints and of parallel work."""

    number: int
    label: str
    rows: int
    pieces: tuple[Piece, ...]
    status: str = "planned"
    counts: Mapping[str, Any] = field(default_factory=dict)
    worker: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None

    def summary(self) -> dict[str, Any]:
        """Return what became of the segment's rows, small enough for a task to hand on."""
        names = ("read", "loaded", "updated", "already_present", "duplicates", "rejected")
        return {"label": self.label, **{name: self.counts.get(name, 0) for name in names}}


@dataclass(frozen=True)
class Run:
    """One migration as its record says it is."""

    id: int
    mode: str
    dry_run: bool
    status: str
    snapshot: SourceSnapshot
    options: MigrationOptions
    plan: Mapping[str, Any]
    deferred: list[dict[str, Any]]
    account: Mapping[str, Any] | None
    validation: Mapping[str, Any] | None
    started_by: str
    started_at: datetime
    finished_at: datetime | None


def read_run(connection: Connection[Any], run_id: int) -> Run:
    """Return the record of a run.

    Raises:
        IntegrityError: there is no such run.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute("SELECT * FROM load_runs WHERE id = %s", (run_id,)).fetchone()
    if row is None:
        raise IntegrityError(f"there is no migration run {run_id}", hint="see: python -m data_platform status")
    return Run(
        id=row["id"],
        mode=row["mode"],
        dry_run=row["dry_run"],
        status=row["status"],
        snapshot=SourceSnapshot.from_dict(row["snapshot"]),
        options=MigrationOptions(**row["options"]),
        plan=row["plan"] or {},
        deferred=row["deferred"] or [],
        account=row["account"],
        validation=row["validation"],
        started_by=row["started_by"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def read_segments(connection: Connection[Any], run_id: int) -> list[Segment]:
    """Return the segments of a run, in order."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute("SELECT * FROM load_segments WHERE run_id = %s ORDER BY segment_no", (run_id,)).fetchall()
    return [_segment(row) for row in rows]


def lock_segment(connection: Connection[Any], run_id: int, number: int) -> Segment:
    """Return a segment and hold its row until the transaction ends, so that it is loaded by one process only.

    Raises:
        IntegrityError: the run has no such segment.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "SELECT * FROM load_segments WHERE run_id = %s AND segment_no = %s FOR UPDATE", (run_id, number)
        ).fetchone()
    if row is None:
        raise IntegrityError(f"migration run {run_id} has no segment {number}")
    return _segment(row)


def to_json(value: object) -> str:
    """Return JSON as it is stored: readable, keys in a fixed order. NUL, which jsonb cannot hold, becomes U+2400."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return json.dumps(_without_nul(json.loads(text)), ensure_ascii=False) if "\\u0000" in text else text


def _without_nul(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return value.replace("\x00", "\u2400")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value


def _segment(row: Mapping[str, Any]) -> Segment:
    return Segment(
        number=row["segment_no"],
        label=row["label"],
        rows=row["rows"],
        pieces=tuple(Piece(**piece) for piece in row["pieces"]),
        status=row["status"],
        counts=row["counts"] or {},
        worker=row["worker"] or "",
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )
