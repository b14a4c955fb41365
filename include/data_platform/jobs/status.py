"""Where things stand, for a person: schema, rows, runs, open rejects, how far the readers are behind."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from data_platform.managers.postgres.database import connect, server_info, translate_errors
from data_platform.managers.postgres.feed_health import OLDEST_TRANSACTION_LIMIT, oldest_transaction, read_lag
from data_platform.schema import current_version, head_version

__all__ = ["Status", "read_status"]

#: What ends the name of a collection of an index (`generation_name`).
_GENERATION = re.compile(r"_\d{8}T\d{12}Z$")
#: A change that a reader has not taken for longer needs somebody.
_LAG_LIMIT = timedelta(hours=24)


@dataclass(frozen=True)
class Status:
    """What `status` shows.

    Attributes:
        server: its version.
        schema: the version of the schema, None if there is none.
        schema_expected: the one that this release works with.
        rows: table -> rows.
        runs: the last five migrations, newest first.
        indexes_off: indexes and constraints of news that a load has taken off.
        open_rejects: rows that could not be stored.
        readers: of each reader of the change feed: consumer, rows and tombstones that wait for it, for how many seconds
            the oldest of them has waited (None if nothing waits), why it must read everything ("" if it need not), when
            it last stored how far it is (`stored_at`), whether it is a collection of an index that is only kept for the
            way back (`is_kept`): another one of its index has stored later. What PostgreSQL cannot know is whether
            searches see a collection by now that follows nothing, as after a fill from the dataset. Then the one that
            follows PostgreSQL is kept too, and counts as followed; its line says so once it is late.
        held_by: the transaction that holds the readers up, if one has been open for too long; "" otherwise.
    """

    server: str
    schema: str | None
    schema_expected: str
    rows: dict[str, int] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    indexes_off: list[str] = field(default_factory=list)
    open_rejects: int = 0
    readers: list[dict[str, Any]] = field(default_factory=list)
    held_by: str = ""

    @property
    def needs_attention(self) -> bool:
        """Whether something is not as it should be between runs."""
        followed = (reader for reader in self.readers if not reader.get("is_kept"))
        late = any((reader["oldest_s"] or 0) > _LAG_LIMIT.total_seconds() for reader in followed)
        return self.schema != self.schema_expected or bool(self.indexes_off) or late or bool(self.held_by)

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
        lines += [f"  {_reader(reader)}" for reader in self.readers]
        if self.held_by:
            lines.append(f"  the readers wait for {self.held_by}; end it if nobody needs it")
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
        readers, held_by = _readers(connection)
    return Status(
        server,
        version,
        head_version(),
        dict(rows or {}),
        runs,
        [row["name"] for row in off],
        rejects["n"] if rejects else 0,
        readers,
        held_by,
    )


def _readers(connection: Connection[Any]) -> tuple[list[dict[str, Any]], str]:
    """Return the lag of each reader, and what holds all of them up."""
    row = connection.execute("SELECT NOT pg_is_in_recovery() AND to_regclass('hf_sync_marks') IS NOT NULL").fetchone()
    if not (row and row[0]):
        return [], ""  # a replica's horizon says nothing of the primary's; an older schema has no feed to speak of
    found: list[dict[str, Any]] = []
    asked = "SELECT consumer, updated_at FROM consumer_positions ORDER BY updated_at, consumer"
    consumers = connection.execute(asked).fetchall()
    # Of the collections of one index, the one that was followed last is the one that searches see.
    newest = {_GENERATION.sub("", consumer): consumer for consumer, _ in consumers}
    for consumer, stored_at in sorted(consumers):
        lag = read_lag(connection, consumer)
        oldest = None if lag.oldest is None else int(lag.oldest.total_seconds())
        numbers = {"rows": lag.rows, "tombstones": lag.tombstones, "oldest_s": oldest}
        told = {**numbers, "resync_reason": lag.resync_reason or "", "stored_at": stored_at}
        found.append({"consumer": consumer, **told})
        found[-1]["is_kept"] = newest[_GENERATION.sub("", consumer)] != consumer
    oldest_open = oldest_transaction(connection)
    if oldest_open is None or oldest_open.age is None or oldest_open.age < OLDEST_TRANSACTION_LIMIT:
        return found, ""
    name = oldest_open.application_name or "without a name"
    return found, f"a transaction open for {oldest_open.age} (pid {oldest_open.pid}, {name}, {oldest_open.state})"


def _reader(reader: dict[str, Any]) -> str:
    if reader.get("is_kept"):
        return f"reader {reader['consumer']}: kept for the way back, follows nothing"
    if reader["resync_reason"]:
        return f"reader {reader['consumer']}: must read everything: {reader['resync_reason']}"
    if reader["oldest_s"] is None:
        return f"reader {reader['consumer']}: up to date"
    waited = timedelta(seconds=reader["oldest_s"])
    waiting = f"{reader['rows']:,} rows and {reader['tombstones']:,} tombstones"
    line = f"reader {reader['consumer']}: {waiting} wait, the oldest for {waited}"
    if waited <= _LAG_LIMIT:
        return line
    line += f"; it last stored how far it is at {reader['stored_at']:%Y-%m-%d %H:%M} UTC"
    if _GENERATION.search(reader["consumer"]):
        line += " (if searches see a collection of the dataset since, this one is only kept for the way back)"
    return line
