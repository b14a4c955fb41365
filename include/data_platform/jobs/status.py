"""Where things stand, for a person: schema, rows, runs, open rejects."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from psycopg.rows import dict_row

from data_platform.managers.postgres.database import connect, server_info, translate_errors
from data_platform.schema import current_version, head_version

__all__ = ["Status", "read_status"]


@dataclass(frozen=True)
class Status:
    """What `status` shows; `runs` are the last five, newest first."""

    server: str
    schema: str | None
    schema_expected: str
    rows: dict[str, int] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    indexes_off: list[str] = field(default_factory=list)
    open_rejects: int = 0

    @property
    def needs_attention(self) -> bool:
        """Whether something is not as it should be between runs."""
        return self.schema != self.schema_expected or bool(self.indexes_off)

    def to_dict(self) -> dict[str, Any]:
        """Return the status as plain data."""
        return asdict(self) | {"needs_attention": self.needs_attention}

    def lines(self) -> list[str]:
        """Return the status as lines for a person."""
        lines = [f"PostgreSQL {self.server}, schema {self.schema or 'missing'}"]
        if self.schema != self.schema_expected:
            lines.append(
                f"  this release needs schema {self.schema_expected}: run python -m data_platform create-schema"
            )
        lines += [f"  {name}: {rows:,} rows" for name, rows in self.rows.items()]
        for run in self.runs:
            kind = "dry run" if run["dry_run"] else run["mode"]
            verdict = f", {run['verdict']}" if run["verdict"] else ""
            done = f", {run['segments_done']} of {run['segments']} segments" if run["status"] == "loading" else ""
            when = f"{run['started_at']:%Y-%m-%d %H:%M} UTC"
            lines.append(f"  migration {run['id']} ({kind}) of {run['source']}: {run['status']}{done}{verdict}, {when}")
        if self.indexes_off:
            lines.append(f"  not built yet: {', '.join(self.indexes_off)}; run the migration again to build them")
        lines.append(f"  open rejects: {self.open_rejects:,}")
        return lines


def read_status(database_url: str) -> Status:
    """Read where a database stands.

    Raises:
        StoreUnavailableError: the server does not answer.
    """
    version = current_version(database_url)
    with translate_errors(), connect(database_url, purpose="status") as connection:
        server = server_info(connection).version
        if version is None:
            return Status(server, None, head_version())
        cursor = connection.cursor(row_factory=dict_row)
        rows = cursor.execute(
            "SELECT (SELECT count(*) FROM news) AS news, (SELECT count(*) FROM agencies) AS agencies,"
            " (SELECT count(*) FROM agencies WHERE is_stub) AS stub_agencies, (SELECT count(*) FROM themes) AS themes"
        ).fetchone()
        runs = cursor.execute(
            "SELECT r.id, r.source, r.mode, r.dry_run, r.status, r.started_at, r.validation ->> 'verdict' AS verdict,"
            " count(s.*) AS segments, count(s.*) FILTER (WHERE s.status = 'done') AS segments_done"
            " FROM load_runs r LEFT JOIN load_segments s ON s.run_id = r.id GROUP BY r.id ORDER BY r.id DESC LIMIT 5"
        ).fetchall()
        off = cursor.execute(
            "SELECT item ->> 'name' AS name FROM load_runs, jsonb_array_elements(deferred) AS item"
            " WHERE jsonb_typeof(deferred) = 'array' AND item ->> 'state' <> 'on'"
        ).fetchall()
        rejects = cursor.execute("SELECT count(*) AS n FROM rejects WHERE status = 'open'").fetchone()
    return Status(
        server,
        version,
        head_version(),
        dict(rows or {}),
        runs,
        [row["name"] for row in off],
        rejects["n"] if rejects else 0,
    )
