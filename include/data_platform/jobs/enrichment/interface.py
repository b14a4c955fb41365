"""What every enricher offers: rows in; for each row a theme and a summary, "not yet", or why it failed.

`submit` hands rows over and `collect` asks again for those that were not ready, from any process and on any later day:
between the two nothing is kept but the tickets, which are small and go through JSON. So a task can be put off between
two looks. An enricher that works at once answers everything in `submit`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from data_platform.errors import IntegrityError

__all__ = ["Enricher", "Enrichment", "Failure", "Gathering", "Progress", "Row", "Ticket", "ticket_of"]

#: A row of the dataset: column -> value, instants with a zone; unique_id, published_at and title are there.
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Ticket:
    """By which a row is asked for again.

    Attributes:
        unique_id: the article.
        published_at: where to look for it, with a zone.
    """

    unique_id: str
    published_at: datetime


@dataclass(frozen=True, kw_only=True)
class Enrichment:
    """What an enricher says of a row; the code is one of the tree's, with all levels above it.

    Attributes:
        unique_id: the article.
        theme_code: deepest level that is valid; None if it gives no theme.
        summary: None if it gives none.
        enricher: who says so.
        version: in which form.
        approximate: whether it is a stand-in for a real classification.
        partial: whether deeper levels of the theme may come later, since nobody waited any longer for them.
        notes: words for what was left out, such as "level_3_not_below_level_2".
    """

    unique_id: str
    theme_code: str | None = None
    summary: str | None = None
    enricher: str
    version: str
    approximate: bool = False
    partial: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A row that will not be ready, this time.

    Attributes:
        unique_id: the article.
        reason: one word for counting, such as "service_unavailable".
        detail: what was said.
    """

    unique_id: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the rows of a call are; each is in one of the three lists.

    Attributes:
        ready: those that are done.
        pending: those to ask for again.
        failed: those that are not worth asking for again today.
        problems: what went wrong with a part of them and did not stop the rest.
    """

    ready: tuple[Enrichment, ...] = ()
    pending: tuple[Ticket, ...] = ()
    failed: tuple[Failure, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def failed_by_reason(self) -> dict[str, int]:
        """How many failed for each reason."""
        return dict(Counter(failure.reason for failure in self.failed))

    def followed_by(self, later: Progress) -> Progress:
        """Return where things stand after the pending ones were asked for again."""
        return Progress(
            ready=self.ready + later.ready,
            pending=later.pending,
            failed=self.failed + later.failed,
            problems=tuple(dict.fromkeys(self.problems + later.problems)),
        )

    def checked(self, unique_ids: Collection[str]) -> Progress:
        """Return this if each of the rows is in it once.

        Raises:
            IntegrityError: one is missing, or is there twice.
        """
        lists: tuple[Sequence[Enrichment | Ticket | Failure], ...] = (self.ready, self.pending, self.failed)
        found = [item.unique_id for listed in lists for item in listed]
        if sorted(found) != sorted(unique_ids):
            raise IntegrityError(
                f"an enricher was given {len(unique_ids)} rows and tells of {len(found)}, or of others",
                hint="this is a fault of the program; nothing was written",
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values; instants in UTC."""
        return {
            "ready": [vars(item) | {"notes": list(item.notes)} for item in self.ready],
            "pending": [[t.unique_id, t.published_at.astimezone(UTC).isoformat()] for t in self.pending],
            "failed": [vars(item) for item in self.failed],
            "problems": list(self.problems),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Progress:
        """Read what `to_dict` wrote."""
        return cls(
            ready=tuple(Enrichment(**{**item, "notes": tuple(item["notes"])}) for item in values["ready"]),
            pending=tuple(Ticket(uid, datetime.fromisoformat(at)) for uid, at in values["pending"]),
            failed=tuple(Failure(**item) for item in values["failed"]),
            problems=tuple(values["problems"]),
        )


@dataclass
class Gathering:
    """A progress in the making."""

    ready: list[Enrichment] = field(default_factory=list)
    pending: list[Ticket] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def fail(self, unique_ids: Iterable[str], reason: str, detail: str) -> None:
        """Note rows that failed for one reason."""
        self.failed += [Failure(uid, reason, detail) for uid in unique_ids]

    def progress(self) -> Progress:
        """Return what was gathered."""
        return Progress(
            ready=tuple(self.ready),
            pending=tuple(self.pending),
            failed=tuple(self.failed),
            problems=tuple(dict.fromkeys(self.problems)),
        )


class Enricher(Protocol):
    """One way to themes and summaries."""

    @property
    def name(self) -> str:
        """One word for it."""

    @property
    def version(self) -> str:
        """In which form it works, for the record."""

    @property
    def approximate(self) -> bool:
        """Whether what it gives stands in for a real classification, and must never replace one."""

    @property
    def waits(self) -> bool:
        """Whether rows that are pending may get ready by waiting; if not, they are for a later day."""

    def submit(self, rows: Sequence[Row]) -> Progress:
        """Hand rows over; doing it twice hands nothing over twice.

        Raises:
            ConfigurationError: it cannot be used as it is set.
            EnricherError: it refuses.
            EnricherUnavailableError: it does not answer at all; worth trying again.
        """

    def collect(self, tickets: Sequence[Ticket], *, final: bool = False) -> Progress:
        """Ask for rows that were handed over.

        Args:
            tickets: those of the pending rows.
            final: take what is there of a row that is not complete, since nobody waits any longer.

        Raises:
            ConfigurationError, EnricherError, EnricherUnavailableError: see `submit`.
        """

    def close(self) -> None:
        """Let go of connections."""


def ticket_of(row: Row) -> Ticket:
    """Return the ticket of a row."""
    return Ticket(row["unique_id"], row["published_at"])
