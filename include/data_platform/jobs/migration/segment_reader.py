"""A segment's rows as every step of a migration sees them: read, cleaned, and told apart.

The loader, the catch-up and the validation read through here, so that they cannot disagree on which row is which.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_platform.jobs.migration.records import Piece
from data_platform.managers.rejects import Reject, payloads_of
from data_platform.models.admission import Cleaned, clean, reject_reasons
from data_platform.models.theme_cells import ThemeIndex
from data_platform.sources.dataset import NormalBatch, Source

__all__ = ["ReadBatch", "read_pieces"]

_LONGEST_DETAIL = 200


@dataclass(frozen=True)
class ReadBatch:
    """A batch as read and as cleaned, row beside row.

    Attributes:
        file: the file it came from.
        raw: the rows as read, in the types of NORMAL_SCHEMA.
        cleaned: the same rows in published form, with marks of what changed.
        row_numbers: the row's place in the file, from 0 (int64).
        admitted: whether the row may enter the store (boolean, no nulls).
    """

    file: str
    source: NormalBatch
    cleaned: Cleaned
    row_numbers: np.ndarray
    admitted: pa.Array
    fields: pa.Array
    reasons: pa.Array

    @property
    def raw(self) -> pa.RecordBatch:
        """The rows as read."""
        return self.source.batch

    def payloads(self, mask: pa.Array) -> list[str]:
        """Return the chosen rows whole, as JSON."""
        return payloads_of(self.raw.filter(mask), self._originals(mask))

    def rejects(self) -> list[Reject]:
        """Return the rows that may not enter."""
        mask = pc.invert(self.admitted)
        if not pc.any(mask).as_py():
            return []
        raw = self.raw.filter(mask)
        originals = self._originals(mask)
        return [
            Reject(
                payload,
                uid,
                agency,
                field,
                _reason(field, reason, texts),
                _detail(field, reason, texts, {"unique_id": uid, "agency": agency}.get(field)),
                self.file,
                int(row),
            )
            for payload, uid, agency, field, reason, texts, row in zip(
                payloads_of(raw, originals),
                raw.column("unique_id").to_pylist(),
                raw.column("agency").to_pylist(),
                self.fields.filter(mask).to_pylist(),
                self.reasons.filter(mask).to_pylist(),
                originals,
                self.row_numbers[mask.to_numpy(zero_copy_only=False)],
                strict=True,
            )
        ]

    def _originals(self, mask: pa.Array) -> list[dict[str, str]]:
        """Return, for each chosen row, the original texts of cells that could not be read."""
        wanted = {int(row): {} for row in np.flatnonzero(mask.to_numpy(zero_copy_only=False))}  # type: dict[int, dict[str, str]]
        for column, cells in self.source.unreadable.items():
            for index, value in zip(cells.indices, cells.values, strict=True):
                if int(index) in wanted:
                    wanted[int(index)][column] = value
        return list(wanted.values())


def read_pieces(
    source: Source,
    pieces: Iterable[Piece],
    *,
    batch_rows: int,
    themes: ThemeIndex | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[ReadBatch]:
    """Read pieces of a source, cleaned and judged.

    Args:
        source: an open source.
        pieces: what to read.
        batch_rows: most rows in one batch.
        themes: known themes; needed when the theme columns are read.
        columns: only these columns, at least the required ones.
    """
    for piece in pieces:
        for batch in source.batches(
            piece.file,
            row_group=piece.row_group,
            offset=piece.offset,
            length=piece.length,
            columns=columns,
            batch_rows=batch_rows,
        ):
            yield _judge(piece.file, batch, themes)


def _judge(file: str, batch: NormalBatch, themes: ThemeIndex | None) -> ReadBatch:
    rows = batch.batch.num_rows
    repaired = {kind: dict(columns) for kind, columns in batch.repaired.items()}
    for column, cells in batch.unreadable.items():
        mask = np.zeros(rows, dtype=bool)
        mask[np.asarray(cells.indices, dtype=np.int64)] = True
        repaired.setdefault("unreadable", {})[column] = pa.array(mask)
    cleaned = clean(batch.batch, themes, repaired=repaired)
    fields, reasons = reject_reasons(cleaned.batch)
    numbers = np.arange(batch.first_row, batch.first_row + rows, dtype=np.int64)
    return ReadBatch(file, batch, cleaned, numbers, fields.is_null(), fields, reasons)


def _reason(field: str, reason: str, originals: dict[str, str]) -> str:
    return f"{field}_unreadable" if field in originals else f"{field}_{reason}"


def _detail(field: str, reason: str, originals: dict[str, str], value: str | None) -> str:
    if field in originals:
        return f"cannot be read as a date: {originals[field][:_LONGEST_DETAIL]!r}"
    if reason == "too_long":
        return f"{len(value or '')} characters"
    return "no value, or one that means none"
