"""Stores of news as the battery sees them: something to write to, and a look into every store behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from data_platform.managers.interface import NewsStore
from data_platform.models.columns import COLUMN_NAMES
from tests.support.sources import Row, expected

__all__ = ["Face", "as_columns", "plain", "rows_of_frame"]


def as_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return rows as a scraper gives them: column -> values."""
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def rows_of_frame(frame: pd.DataFrame) -> dict[str, Row]:
    """Return the rows of a DataFrame by id, as plain Python values with every instant in UTC."""
    return {row["unique_id"]: {name: plain(value) for name, value in row.items()} for row in frame.to_dict("records")}


def plain(value: Any) -> Any:
    """Return a cell as plain Python: None, str, list, datetime (in UTC if it has a zone)."""
    if isinstance(value, np.ndarray | list):
        return [str(tag) for tag in value]
    if value is None or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        value = value.to_pydatetime()
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value


@dataclass(frozen=True)
class Face:
    """One store, or several behind one interface.

    Attributes:
        store: what is written to and read from.
        looks: name of each store behind it -> its published rows by id, read around the store's own code.
        rejects: name of each store behind it -> (unique_id, reason) of the rejects that are kept.
        versions: something that is equal before and after a call only if the call wrote nothing.
    """

    store: NewsStore
    looks: Mapping[str, Callable[[], dict[str, Row]]]
    rejects: Mapping[str, Callable[[], set[tuple[str | None, str]]]]
    versions: Callable[[], Any]

    def insert(self, *rows: Row, allow_update: bool = False) -> int:
        """Insert whole rows."""
        return self.store.insert(as_columns(rows), allow_update)

    def update(self, *rows: Mapping[str, Any]) -> int:
        """Update rows with the columns they have."""
        return self.store.update(pd.DataFrame(as_columns(rows)).astype(object))

    def everything(self) -> dict[str, Row]:
        """Return all dated rows through `get`."""
        return rows_of_frame(self.store.get("0001-01-02", "9999-12-30"))

    def holds(self, *rows: Row) -> None:
        """Check that every store behind holds these rows, cell by cell, and no others, and that `get` says so."""
        wanted = {row["unique_id"]: {name: expected(row)[name] for name in COLUMN_NAMES} for row in rows}
        for name, look in self.looks.items():
            assert look() == wanted, name
        assert self.everything() == wanted
