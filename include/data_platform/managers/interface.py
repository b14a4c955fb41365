"""What every store of news offers, and how it tells what became of the rows given to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from data_platform.errors import IntegrityError
from data_platform.sources.judged import Reject

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NewsStore", "RejectSink", "WriteOutcome"]


@dataclass(frozen=True, kw_only=True)
class WriteOutcome:
    """What became of the rows of one call; every row is one of these, counted by the store.

    Attributes:
        given: rows of the call.
        inserted: rows that the store did not have.
        updated: rows that really changed.
        unchanged: rows that the store has and that were left as they are.
        duplicates: rows that another row of the same call stood for.
        rejected: rows that cannot be stored, kept whole among the rejects.
        deleted: rows that were taken out, held ones included; of a deletion, those that are not there are `unchanged`.
        kept_out: rows of articles that were taken down; no store was given them.
        rejected_by_reason: how many for each reason, such as "title_missing".
        ids: what the rows are called in the store: the id given -> the id of the article that it is, where they differ.
        written: ids of the rows inserted or updated, as the store calls them.
        cleanings: cells that admission changed, "kind:column" -> how many.
        new_agencies: agencies that nobody had listed.
    """

    given: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    rejected: int = 0
    deleted: int = 0
    kept_out: int = 0
    rejected_by_reason: Mapping[str, int] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)
    written: Sequence[str] = ()
    cleanings: Mapping[str, int] = field(default_factory=dict)
    new_agencies: Sequence[str] = ()

    @property
    def affected(self) -> int:
        """Rows inserted or really changed."""
        return self.inserted + self.updated

    @property
    def counts(self) -> dict[str, int]:
        """The account in numbers."""
        names = ("given", "inserted", "updated", "unchanged", "duplicates", "rejected")
        counted = {name: getattr(self, name) for name in names}
        return counted | {name: number for name in ("deleted", "kept_out") if (number := getattr(self, name))}

    def checked(self, store: str) -> WriteOutcome:
        """Return this outcome if its account adds up.

        Raises:
            IntegrityError: a row is missing from the account; the caller must keep nothing of the call.
        """
        left = self.unchanged + self.duplicates + self.rejected + self.deleted + self.kept_out
        if self.given != self.affected + left:
            raise IntegrityError(f"{store}: rows do not add up: {self.counts}", hint="nothing of this call was kept")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        values = {f.name: getattr(self, f.name) for f in fields(WriteOutcome)}  # asdict makes nonsense of a Counter
        mappings = {name: dict(value) for name, value in values.items() if isinstance(value, Mapping)}
        lists = {name: list(values[name]) for name in ("written", "new_agencies")}
        return values | mappings | lists


class RejectSink(Protocol):
    """Where rows go that cannot be stored."""

    def keep(self, rejects: Sequence[Reject], *, origin: str) -> int:
        """Keep rejects, each once however often it comes; return how many of those given are kept now."""


class NewsStore(Protocol):
    """One store of news, or several behind one face.

    `insert` and `update` are the interface of the old DatasetManager; `insert_rows` and `update_rows` do the same and
    tell all. Malformed calls (unknown, missing or ragged columns) are a `ValueError` that names the column; rows that
    cannot be stored are rejected, and the rest is stored.
    """

    def insert(self, new_data: Mapping[str, Sequence[Any]], allow_update: bool = False) -> int:  # noqa: FBT001, FBT002 - as the old one
        """Insert rows, column of the dataset -> list of values; return how many were inserted or really changed."""

    def update(self, updated_df: pd.DataFrame) -> int:
        """Update rows by unique_id with the columns that are there; return how many really changed."""

    def get(self, min_date: str, max_date: str, agency: str | None = None) -> pd.DataFrame:
        """Return the rows published on São Paulo days from min_date to max_date, both included (YYYY-MM-DD)."""

    def insert_rows(self, new_data: Mapping[str, Sequence[Any]], *, allow_update: bool = False) -> WriteOutcome:
        """Insert rows and tell what became of each."""

    def update_rows(self, updated_df: pd.DataFrame) -> WriteOutcome:
        """Update rows and tell what became of each."""

    def delete_rows(self, unique_ids: Sequence[str], *, reason: str) -> WriteOutcome:
        """Take rows out, and tell how many were there."""

    def get_by_unique_ids(self, unique_ids: Sequence[str]) -> pa.Table:
        """Return the rows with these ids that there are, in the types of `NORMAL_SCHEMA`, in no promised order."""
