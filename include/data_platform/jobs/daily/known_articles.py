"""Which articles the stores have: what is asked of them before a new id is made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pyarrow as pa

from data_platform.errors import DataPlatformError
from data_platform.managers.storage_adapter import ResolvesIds, StorageAdapter
from data_platform.managers.storage_mode import ReadSource
from data_platform.models.columns import NORMAL_SCHEMA

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FindsArticles", "KnownArticles"]

_LOG = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class FindsArticles(ResolvesIds, Protocol):
    """What is asked of a store: articles by their address, and rows by their id."""

    def get_by_unique_ids(self, unique_ids: Sequence[str]) -> pa.Table:
        """Return the rows with these ids that there are, in the types of `NORMAL_SCHEMA`."""


class KnownArticles:
    """The stores of a mode as one: what the one that is read does not have is asked of the other, if both are written.

    A store that fails is asked no more.

    Args:
        adapter: has them.
        last_try: whether nobody tries again if a store does not answer now; else an error that may pass is raised,
            since without that store an article that the other one missed would get another id.
    """

    def __init__(self, adapter: StorageAdapter, *, last_try: bool = True) -> None:
        self._adapter = adapter
        self._last_try = last_try
        first = adapter.mode.read_from
        self._sides = [first, *(side for side in adapter.mode.sides if side is not first)]
        self._failed: dict[ReadSource, DataPlatformError] = {}
        #: Those that said what they have.
        self.told: list[ReadSource] = []

    @property
    def identity(self) -> str:
        """Which stores said what they have, in words."""
        return f"by {' and '.join(self.told or self._sides[:1])}"

    def get(self, min_date: str, max_date: str, agency: str | None = None) -> pd.DataFrame:
        """Return the rows of some days of the store that is read."""
        return self._adapter.get(min_date, max_date, agency)

    def resolve_ids(self, new_data: Mapping[str, Sequence[Any]]) -> Mapping[str, str]:
        """Return id given -> id of the article that it is, for those that a store has."""
        known: dict[str, str] = {}
        for side in self._sides:
            left = [place for place, uid in enumerate(new_data["unique_id"]) if uid not in known]
            if left:
                asked = {name: [values[place] for place in left] for name, values in new_data.items()}
                known |= self._ask(side, lambda store, asked=asked: store.resolve_ids(asked), {})  # type: ignore[misc]
        return known

    def get_by_unique_ids(self, unique_ids: Sequence[str]) -> pa.Table:
        """Return the rows with these ids that there are, each of the first store that has it."""
        found: list[pa.Table] = []
        left = list(dict.fromkeys(unique_ids))
        for side in self._sides:
            if left:
                nothing = NORMAL_SCHEMA.empty_table()
                rows = self._ask(side, lambda store, left=left: store.get_by_unique_ids(left), nothing)  # type: ignore[misc]
                found.append(rows)
                there = set(rows.column("unique_id").to_pylist())
                left = [uid for uid in left if uid not in there]
        return pa.concat_tables(found) if found else NORMAL_SCHEMA.empty_table()

    def _ask(self, side: ReadSource, question: Callable[[FindsArticles], _Answer], nothing: _Answer) -> _Answer:
        if side in self._failed:
            return nothing
        try:
            answer = question(self._adapter.store(side))  # type: ignore[arg-type]
        except DataPlatformError as error:
            if error.retryable and not self._last_try:
                raise
            # Its write says the same, loudly; the other store is to be written all the same (DESIGN §2.6).
            _LOG.warning("%s does not say which articles it has: %s", side, error)
            self._failed[side] = error
            if len(self._failed) == len(self._sides):
                raise self._failed[self._sides[0]] from None
            return nothing
        if side not in self.told:
            self.told.append(side)
        return answer
