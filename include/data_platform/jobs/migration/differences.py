"""Rows of the source that match no row of the table: known rejects, known duplicates, different, or lost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from psycopg import Connection, sql

from data_platform.jobs.migration.records import Piece
from data_platform.jobs.migration.segment_reader import read_pieces
from data_platform.managers.postgres.news_table import Catalogue
from data_platform.models.columns import COLUMN_NAMES
from data_platform.queries import read_sql
from data_platform.sources.dataset import Source
from data_platform.sources.judged import ReadBatch, payload_digest

__all__ = ["MOST_DIFFERENCES", "Doubtful"]

MOST_DIFFERENCES = 100
_MOST_ROWS_SHOWN = 50
_CHUNK_ROWS = 500
#: Of longer texts only so many characters are shown, from a little before the first that differs.
_LONGEST_SHOWN = 1000
_SHOWN_BEFORE = 60


@dataclass(frozen=True)
class _Row:
    """A doubtful row, read again: as cleaned, as it came, and the reason among the rejects that explains it."""

    state: str
    may_be_known: bool
    known_as: str | None
    cleaned: Mapping[str, Any]
    raw: Mapping[str, Any]


class Doubtful:
    """Rows of the source that match no row of the table: known rejects, known duplicates, different, or lost."""

    def __init__(self, connection: Connection[Any], source: Source, pieces: Sequence[Piece]) -> None:
        self._connection = connection
        self._source = source
        self._pieces = pieces
        self.different = 0
        self.unaccounted = 0
        self.differences: list[dict[str, Any]] = []

    def resolve(self) -> Counter[str]:
        """Settle every doubtful row; return the accounted ones by reason."""
        accounted: Counter[str] = Counter()
        for reason, known, rows in self._connection.execute(read_sql("validation_rejected.sql")).fetchall():
            if known:
                accounted[f"reject:{reason}"] += rows
            else:
                self.unaccounted += rows
        for state, rows in self._connection.execute(read_sql("validation_lost.sql")).fetchall():
            self._count(state, rows)
        found = self._connection.execute(read_sql("validation_doubtful.sql"), {"most": _MOST_ROWS_SHOWN}).fetchall()
        wanted: dict[str, dict[int, tuple[str, bool, bool]]] = {}
        for file, row_no, state, has_sibling, may_be_known in found:
            wanted.setdefault(file, {})[row_no] = (state, has_sibling, may_be_known)
        for row in self._read(wanted):
            if row.may_be_known and row.known_as is not None:
                kind = "duplicate" if row.known_as == "superseded" else "reject"
                accounted[f"{kind}:{row.known_as}"] += 1
                continue
            if row.may_be_known:
                self._count(row.state, 1)
            self._show(row)
        return accounted

    def _count(self, state: str, rows: int) -> None:
        if state == "missing":
            self.unaccounted += rows
        else:
            self.different += rows

    def _show(self, row: _Row) -> None:
        """Name the cells in which a row differs from the table (or, for an unmarked cleaning, from how it came)."""
        if len(self.differences) >= MOST_DIFFERENCES:
            return
        unique_id = row.cleaned["unique_id"]
        if row.state == "missing":
            whole = {"unique_id": unique_id, "column": "(whole row)", "source": "present", "target": "missing"}
            self.differences.append(whole)
            return
        if row.state == "misfiled":
            self.differences += self._misfiled(unique_id)
            return
        source = row.raw if row.state == "unmarked" else row.cleaned
        target = self._target_row(unique_id)
        for name in COLUMN_NAMES:
            if source[name] != target[name]:
                left, right = _shown(source[name], target[name])
                self.differences.append({"unique_id": unique_id, "column": name, "source": left, "target": right})

    def _misfiled(self, unique_id: str) -> list[dict[str, Any]]:
        """Name the theme ids, by their codes, that are not those of the published cells."""
        found = self._connection.execute(
            "SELECT column_name, expected, found FROM validation_misfiled WHERE unique_id = %s ORDER BY 1", (unique_id,)
        ).fetchall()
        return [
            {"unique_id": unique_id, "column": name, "source": expected, "target": stored}
            for name, expected, stored in found
        ]

    def _target_row(self, unique_id: str) -> dict[str, Any]:
        columns = sql.SQL(", ").join(
            sql.SQL("extracted_at AT TIME ZONE 'UTC'") if name == "extracted_at" else sql.Identifier(name)
            for name in COLUMN_NAMES
        )
        row = self._connection.execute(
            sql.SQL("SELECT {} FROM news_published WHERE unique_id = %s").format(columns), (unique_id,)
        ).fetchone()
        return dict(zip(COLUMN_NAMES, row or [None] * len(COLUMN_NAMES), strict=True))

    def _known(self, digests: list[str]) -> set[tuple[str, str]]:
        return set(
            self._connection.execute(
                "SELECT payload_digest, reason FROM rejects WHERE payload_digest = ANY (%s)", (digests,)
            ).fetchall()
        )

    def _read(self, wanted: Mapping[str, Mapping[int, tuple[str, bool, bool]]]) -> Iterator[_Row]:
        """Read the wanted rows (file -> row -> state, has siblings, may be known) of the source again."""
        if not wanted:
            return
        themes = Catalogue.read(self._connection).themes
        rows = {file: np.array(sorted(numbers), dtype=np.int64) for file, numbers in wanted.items()}
        pieces = [p for p in self._pieces if p.file in rows and _holds(rows[p.file], p)]
        for batch in read_pieces(self._source, pieces, batch_rows=_CHUNK_ROWS, themes=themes):
            mask = np.isin(batch.row_numbers, rows[batch.file])
            if mask.any():
                yield from self._rows_of(batch, mask, wanted[batch.file])

    def _rows_of(
        self, batch: ReadBatch, mask: np.ndarray[Any, Any], wanted: Mapping[int, tuple[str, bool, bool]]
    ) -> Iterator[_Row]:
        chosen = pa.array(mask)
        digests = [payload_digest(payload) for payload in batch.payloads(chosen)]
        known = self._known(digests)
        cleaned, raw = (rows.filter(chosen).to_pylist() for rows in (batch.cleaned.batch, batch.raw))
        for number, digest, clean_row, raw_row in zip(batch.row_numbers[mask], digests, cleaned, raw, strict=True):
            state, has_sibling, may_be_known = wanted[int(number)]
            reasons = sorted(reason for found, reason in known if found == digest)
            # It lost its id only if another row of this source has it.
            fitting = [r for r in reasons if (has_sibling if r == "superseded" else state == "missing")]
            yield _Row(state, may_be_known, fitting[0] if fitting else None, clean_row, raw_row)


def _holds(rows: np.ndarray[Any, Any], piece: Piece) -> bool:
    at = np.searchsorted(rows, piece.first_row)
    return bool(at < len(rows) and rows[at] < piece.first_row + piece.length)


def _shown(left: object, right: object) -> tuple[object, object]:
    """Return two values as they are told: instants as text, long texts around the place where they part."""
    texts = [value for value in (left, right) if isinstance(value, str)]
    if not texts or max(map(len, texts)) <= _LONGEST_SHOWN:
        return _plain(left), _plain(right)
    common = len(os.path.commonprefix(texts)) if len(texts) > 1 else 0  # noqa: RUF071 - by characters is what is meant
    start = max(0, common - _SHOWN_BEFORE)
    return _cut(left, start), _cut(right, start)


def _cut(value: object, start: int) -> object:
    if not isinstance(value, str):
        return _plain(value)
    stop = start + _LONGEST_SHOWN
    return f"{'…' if start else ''}{value[start:stop]}{'…' if stop < len(value) else ''}"


def _plain(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else value
