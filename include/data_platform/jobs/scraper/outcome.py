"""What became of a visit to a site: its rows, and an account in which every item of its listing stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from data_platform.errors import DataPlatformError
from data_platform.jobs.scraper.answers import message_of
from data_platform.jobs.scraper.problems import ScrapeError
from data_platform.models.sites import Site

__all__ = ["Account", "Failure", "Note", "Row", "SiteOutcome", "Status", "error_fields"]

#: A row of scraper columns, without a unique_id.
Row = Mapping[str, Any]

#: What the table of scrape runs holds of a message, in characters (FIELD_FACTS §11.5).
_LONGEST_MESSAGE = 500


class Status(StrEnum):
    """How a visit ended."""

    SUCCESS = "success"
    ERROR = "error"


class Note(StrEnum):
    """What was out of the ordinary at a site and did not stop it."""

    FALLBACK = "fallback"
    LISTING_MOVED = "listing_moved"
    LISTING_EMPTY = "listing_empty"
    LISTING_REPEATS = "listing_repeats"
    YEAR_IN_ADDRESS = "year_in_address"
    WITHOUT_DATE = "without_date"
    IMPLAUSIBLE_DATE = "implausible_date"
    CONTENT_MISSING = "content_missing"
    PLAIN_TEXT = "plain_text"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An article that could not be had, or not its text.

    Attributes:
        url: its address.
        category: as in `ScrapeError.category`, or `FOREIGN`, or `NO_TEXT`.
        message: what happened.
        retryable: whether it may be had later.
    """

    FOREIGN: ClassVar[str] = "foreign_host"
    NO_TEXT: ClassVar[str] = "content_missing"

    url: str
    category: str
    message: str
    retryable: bool

    @classmethod
    def of(cls, url: str, error: Exception) -> Failure:
        """Return what an error says of an article."""
        category = error.category if isinstance(error, ScrapeError) else ScrapeError.category
        retryable = isinstance(error, DataPlatformError) and error.retryable
        return cls(url=url, category=category, message=message_of(error)[:_LONGEST_MESSAGE], retryable=retryable)

    def __str__(self) -> str:
        """Return what happened, with the address, which most messages name already."""
        return self.message if self.url in self.message else f"{self.url}: {self.message}"


@dataclass(kw_only=True)
class Account:
    """Where the items of a listing went.

    listed = repeated + known + older + newer + opened, and opened = rows + outside + foreign + failed.

    Attributes:
        pages: pages of the listing read.
        listed: items on them.
        repeated: items that an earlier page had, or the same one before.
        known: not opened, since the caller has them.
        older: not opened, since the listing dates them before the window.
        newer: not opened, since the listing dates them after it.
        opened: articles asked for, or given whole by the interface.
        outside: opened, and by their own date not of the window.
        foreign: opened, and leading to a host that is not of the catalogue: not asked, and no failure of the site.
        failed: opened, and not to be had, by category.
        rows: articles that became rows.
        without_date: of the rows, those of which nobody knows when they were published.
        implausible: of the opened, those that say a day yet to come.
        content_missing: of the rows, those without a text.
    """

    pages: int = 0
    listed: int = 0
    repeated: int = 0
    known: int = 0
    older: int = 0
    newer: int = 0
    opened: int = 0
    outside: int = 0
    foreign: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    without_date: int = 0
    implausible: int = 0
    content_missing: int = 0

    @property
    def adds_up(self) -> bool:
        """Whether both equations hold."""
        told = self.repeated + self.known + self.older + self.newer + self.opened
        return self.listed == told and self.opened == self.rows + self.outside + self.foreign + self.failed.total()

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"failed": dict(self.failed)}


@dataclass(frozen=True, kw_only=True)
class SiteOutcome:
    """What became of a visit to a site.

    Attributes:
        site: the site.
        status: whether its listing was read as far as the window reaches, and most of the articles wanted were had.
        rows: scraper columns of its articles of the window, without unique_id, in the order of the listing; also of
            a visit that ended in an error, as far as it came. Empty once they were handed to a sink.
        account: where its items went.
        failures: articles that could not be had, and rows without a text, the first 20 by name; all are counted in
            the account.
        layout: how it was read in the end ("classic", "volto", "agencia_brasil", "tv_brasil"); None if not at all.
        addresses: listings that were read; more than one if the address holds a year.
        fallback_triggered: whether it was another layout than the catalogue says.
        notes: what was out of the ordinary, with details.
        error_category: as in `ScrapeError.category`; None of a success.
        error_message: what happened, at most 500 characters; None of a success.
        retryable: whether a failed visit may succeed later.
        started_at: when it began, with a zone.
        seconds: how long it took.
        requests: requests made, redirects and further tries among them.
        tried_again: tries after the first.
        read_bytes: bytes of pages read, unpacked.
    """

    site: Site
    status: Status
    rows: Sequence[Row] = ()
    account: Account = field(default_factory=Account)
    failures: Sequence[Failure] = ()
    layout: str | None = None
    addresses: Sequence[str] = ()
    fallback_triggered: bool = False
    notes: Mapping[Note, str] = field(default_factory=dict)
    error_category: str | None = None
    error_message: str | None = None
    retryable: bool = False
    started_at: datetime
    seconds: float = 0.0
    requests: int = 0
    tried_again: int = 0
    read_bytes: int = 0

    @property
    def succeeded(self) -> bool:
        """Whether its status is that of a success."""
        return self.status is Status.SUCCESS

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values, without the rows."""
        return {
            "site": self.site.key,
            "agency": self.site.agency,
            "url": self.site.url,
            "status": self.status.value,
            "error_category": self.error_category,
            "error_message": self.error_message,
            "retryable": self.retryable,
            "layout": self.layout,
            "addresses": list(self.addresses),
            "fallback_triggered": self.fallback_triggered,
            "notes": {note.value: text for note, text in self.notes.items()},
            **self.account.to_dict(),
            "failures": [vars(failure) for failure in self.failures],
            "started_at": self.started_at.isoformat(),
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "tried_again": self.tried_again,
            "read_bytes": self.read_bytes,
        }

    @classmethod
    def failed(cls, site: Site, error: Exception, *, started_at: datetime, seconds: float = 0.0) -> SiteOutcome:
        """Return the outcome of a visit that ended before anything was read."""
        return cls(site=site, status=Status.ERROR, started_at=started_at, seconds=seconds, **error_fields(error))


def error_fields(error: Exception) -> dict[str, Any]:
    """Return what an outcome says of the error that ended a visit."""
    told = Failure.of("", error)
    return {"error_category": told.category, "error_message": told.message, "retryable": told.retryable}
