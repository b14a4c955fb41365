"""Rows that cannot be stored: kept whole, with field and reason, once each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
from psycopg import Connection

from data_platform.queries import read_sql

__all__ = ["Reject", "payload_digest", "payloads_of", "store_rejects"]


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


def store_rejects(connection: Connection[Any], rejects: list[Reject], *, origin: str, run_id: int | None) -> int:
    """Store rejects; one that is there already is only marked as seen again.

    Returns:
        How many of the rejects given the table now holds, as counted by the database.
    """
    if not rejects:
        return 0
    row = connection.execute(
        read_sql("reject_store.sql"),
        {
            "digests": [r.digest for r in rejects],
            "ids": [_without_nul(r.unique_id) for r in rejects],
            "agencies": [_without_nul(r.agency) for r in rejects],
            "fields": [r.field for r in rejects],
            "reasons": [r.reason for r in rejects],
            "details": [_without_nul(r.detail) for r in rejects],
            "payloads": [r.payload for r in rejects],
            "files": [r.file for r in rejects],
            "rows": [r.row_no for r in rejects],
            "origin": origin,
            "run": run_id,
        },
    ).fetchone()
    return int(row[0]) if row else 0


def _without_nul(text: str | None) -> str | None:
    return None if text is None else text.replace("\x00", "")


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a cell of type {type(value).__name__} has no JSON form")
