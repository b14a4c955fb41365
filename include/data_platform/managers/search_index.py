"""What a reader's index has to offer, so that one job keeps any of them: collections, behind one alias.

Searches go through the alias and never notice a rebuild: it fills a new collection, compares it, and moves the alias.
Each collection is a reader of the change feed of its own (`consumer_of`), so moving the alias back to the collection
before needs nothing but an incremental run, which goes on where that one stopped. Beside its rows a collection has a
card: what it was filled from, and the stamp of the change feed, so that a database that was put back in time shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import pyarrow as pa

__all__ = ["Card", "Failed", "Index", "Written", "consumer_of", "generation_name", "generations"]

_TIME = "%Y%m%dT%H%M%S%fZ"
_GENERATION = re.compile(r"_\d{8}T\d{12}Z")


@dataclass(frozen=True)
class Failed:
    """A row that the index refused.

    Attributes:
        unique_id: of which row.
        reason: in the words of the service.
        is_transient: whether trying again may help.
    """

    unique_id: str
    reason: str
    is_transient: bool = False


@dataclass(frozen=True)
class Written:
    """What became of some rows; together they are all rows given.

    Attributes:
        written: taken by the index, as its answer says.
        failed: each that was refused.
    """

    written: int = 0
    failed: tuple[Failed, ...] = ()


@dataclass(frozen=True)
class Card:
    """What a collection says of itself.

    Attributes:
        source: `postgres`, or `<dataset>@<commit>`.
        stamp: of the change feed (`Stamp`), "" if it follows none.
        is_whole: whether it was filled to the end; searches never see one that was not.
        facts: what else its rows depend on, such as the model of embeddings; what the job that keeps it notes begins
            with `job_`.
    """

    source: str
    stamp: str = ""
    is_whole: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)


class Index(Protocol):
    """One search service, with the collections of one alias.

    Every method raises StoreError (the service refuses for good) or StoreUnavailableError (worth trying again).
    """

    @property
    def reader(self) -> str:
        """Its name: `typesense`, `qdrant`."""

    @property
    def alias(self) -> str:
        """The name that searches use."""

    def close(self) -> None:
        """Close the connections."""

    def live(self) -> str | None:
        """Return the collection that searches through the alias's name see; None if there is none.

        That is the alias itself where a collection has its name, as before the first move to an alias.
        """

    def collections(self) -> Sequence[str]:
        """Return the alias's collections that there are (`generations`), oldest first."""

    def create(self, collection: str, card: Card) -> None:
        """Make an empty collection; one of that name must not be there."""

    def card(self, collection: str) -> Card | None:
        """Return what a collection says of itself; None if it says nothing."""

    def set_card(self, collection: str, card: Card) -> None:
        """Change what a collection says of itself."""

    def drift(self, collection: str) -> Sequence[str]:
        """Say in which ways a collection's schema is not what it should be."""

    def mend(self, collection: str) -> Sequence[str]:
        """Add to a collection's schema what is missing and can be added; return what was.

        Rows that are there already may lack it afterwards: they are to be written again.
        """

    def write(self, collection: str, rows: pa.RecordBatch) -> Written:
        """Put rows in place of what the collection has under their ids.

        Args:
            collection: its name.
            rows: the 24 columns in the types of `NORMAL_SCHEMA`.
        """

    def delete(self, collection: str, unique_ids: Sequence[str]) -> int:
        """Take rows away, if they are there; return how many were."""

    def finish(self, collection: str) -> None:
        """Do what was put off while a collection was filled, and wait for it."""

    def count(self, collection: str) -> int:
        """Return how many rows a collection has."""

    def unique_ids(self, collection: str) -> Iterator[Sequence[str]]:
        """Give the ids of all rows, in pieces."""

    def differing(self, collection: str, rows: pa.RecordBatch) -> Mapping[str, str]:
        """Compare rows with what a collection has of them; return unique_id -> what differs."""

    def point(self, collection: str) -> None:
        """Let the alias show a collection, at once.

        Raises:
            StoreError: also if a collection has the alias's name, and nobody said that it may be replaced.
        """

    def drop(self, collection: str) -> None:
        """Remove a collection and its card, if it is there; never the one that the alias shows."""


def consumer_of(index: Index, collection: str) -> str:
    """Return the name under which a collection reads the change feed."""
    return f"{index.reader}/{collection}"


def generation_name(alias: str, at: datetime) -> str:
    """Return the name of a collection of an alias that is made at an instant: `news_20261122T201500123456Z`."""
    return f"{alias}_{at.astimezone(UTC).strftime(_TIME)}"


def generations(alias: str, names: Sequence[str]) -> list[str]:
    """Return which of some names `generation_name` made for an alias, oldest first."""
    return sorted(n for n in names if n.startswith(alias) and _GENERATION.fullmatch(n, len(alias)))
