"""Rows as every writer sees them: read, cleaned, judged; and those that may not enter, whole.

The loader, the catch-up, the validation and both managers look through here, so that they cannot disagree on which row
is which.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_platform.models.admission import Cleaned, clean, reject_reasons
from data_platform.models.columns import COLUMN_BY_NAME, Kind
from data_platform.models.theme_cells import ThemeIndex
from data_platform.sources.normalise import NormalBatch

__all__ = ["ReadBatch", "Reject", "judge", "payload_digest", "payloads_of"]

_LONGEST_DETAIL = 200


@dataclass(frozen=True)
class Reject:
    """A row that could not be stored.

    Attributes:
        payload: the row as it was read, as JSON text with keys in order.
        field: the column at fault.
        reason: a word that rejects are counted by.
        detail: the offending value or more words, for a person.
        file: where the row stood; row_no counts from 0 inside it.
    """

    payload: str
    unique_id: str | None
    agency: str | None
    field: str
    reason: str
    detail: str
    file: str
    row_no: int

    @property
    def digest(self) -> str:
        """What makes the same row rejected again recognisable."""
        return payload_digest(self.payload)


def payload_digest(payload: str) -> str:
    """Return the digest of a payload (MD5 in hex, of UTF-8)."""
    return hashlib.md5(payload.encode(), usedforsecurity=False).hexdigest()


def payloads_of(rows: pa.RecordBatch, unreadable: Iterable[Mapping[str, str]]) -> list[str]:
    """Return rows as JSON texts with keys in order, instants in ISO form.

    Args:
        rows: rows as they were read, before cleaning.
        unreadable: for each row, the original text of cells that could not be read, by column.
    """
    return [
        json.dumps({**row, **originals}, ensure_ascii=False, sort_keys=True, default=_plain)
        for row, originals in zip(rows.to_pylist(), unreadable, strict=True)
    ]


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
                _texts(raw, "unique_id"),
                _texts(raw, "agency"),
                self.fields.filter(mask).to_pylist(),
                self.reasons.filter(mask).to_pylist(),
                originals,
                self.row_numbers[mask.to_numpy(zero_copy_only=False)],
                strict=True,
            )
        ]

    def refuse(self, mask: pa.Array, field: str, reason: str) -> ReadBatch:
        """Return this batch with the admitted rows among the chosen ones refused."""
        mask = pc.and_(mask, self.admitted)
        fields, reasons = pc.if_else(mask, field, self.fields), pc.if_else(mask, reason, self.reasons)
        return replace(self, admitted=fields.is_null(), fields=fields, reasons=reasons)

    def refuse_unreadable(self) -> ReadBatch:
        """Return this batch with every row refused that has an unreadable cell: an update must write what was meant."""
        refused = self
        for column, cells in self.source.unreadable.items():
            mask = np.zeros(self.raw.num_rows, dtype=bool)
            mask[np.asarray(cells.indices, dtype=np.int64)] = True
            refused = refused.refuse(pa.array(mask), column, "unreadable")
        return refused

    def _originals(self, mask: pa.Array) -> list[dict[str, str]]:
        """Return, for each chosen row, the original texts of cells that could not be read."""
        wanted = {int(row): {} for row in np.flatnonzero(mask.to_numpy(zero_copy_only=False))}  # type: dict[int, dict[str, str]]
        for column, cells in self.source.unreadable.items():
            for index, value in zip(cells.indices, cells.values, strict=True):
                if int(index) in wanted:
                    wanted[int(index)][column] = value
        return list(wanted.values())


def judge(file: str, batch: NormalBatch, themes: ThemeIndex | None) -> ReadBatch:
    """Clean a batch and say which of its rows may enter.

    Args:
        file: what the rows' place is called.
        batch: rows as read; all columns or some. Only required columns that are there are asked for.
        themes: known themes; needed if the theme columns are there.
    """
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


def _texts(rows: pa.RecordBatch, name: str) -> list[str | None]:
    """Return a column's values; nulls if the caller gave none, as an update may."""
    return list(rows.column(name).to_pylist()) if name in rows.schema.names else [None] * rows.num_rows


def _reason(field: str, reason: str, originals: dict[str, str]) -> str:
    return f"{field}_unreadable" if field in originals else f"{field}_{reason}"


def _detail(field: str, reason: str, originals: dict[str, str], value: str | None) -> str:
    if field in originals:
        wanted = "a date" if COLUMN_BY_NAME[field].kind is Kind.INSTANT else "text"
        return f"cannot be read as {wanted}: {originals[field][:_LONGEST_DETAIL]!r}"
    if reason == "too_long":
        return f"{len(value or '')} characters"
    if reason == "unknown":
        return "no row of the store has this value"
    return "no value, or one that means none"


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a cell of type {type(value).__name__} has no JSON form")
