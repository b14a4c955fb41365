"""When to stop turning the pages of a listing.

A listing is newest first in theory. In the field some articles are pinned on top, some are back-dated, and a few
listings are oldest first. One older item therefore means nothing (the earlier scraper stopped at it); a full page of
nothing but older items, and at least ten in a row, means that the rest is older still, unless the page runs the other
way (FIELD_FACTS §3.2, §3.8 and faults 28, 29 of §14).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from itertools import pairwise

__all__ = ["Stop", "StopRule", "runs_upwards"]

#: Fewer than these in a row may all be pinned.
_OLDER_IN_A_ROW = 10
#: Pages in a row on which no article says a date, also when opened: their form has changed.
_UNDATED_PAGES = 2


class Stop(StrEnum):
    """Why no further page is read; the first three mean that the window is covered."""

    END = "end"
    OLDER = "older"
    REPEATS = "repeats"
    UNDATED = "undated"
    PAGE_CAP = "page_cap"

    @property
    def is_covered(self) -> bool:
        """Whether nothing of the window can be behind."""
        return self in {Stop.END, Stop.OLDER, Stop.REPEATS}


class StopRule:
    """Looks at the pages of one listing, one after the other.

    Args:
        first: the first day of the window.
        most_pages: the page cap.
    """

    def __init__(self, first: date, *, most_pages: int) -> None:
        self._first, self._most_pages = first, most_pages
        self._pages = self._older_in_a_row = self._undated_pages = 0

    def after_page(self, days: Sequence[date | None], *, listed: int, is_last: bool = False) -> Stop | None:
        """Say whether to stop after a page; None: read the next one.

        Args:
            days: the days of the items that no earlier page had, in order; None where nobody knows.
            listed: all items of the page.
            is_last: whether the listing says that there are no more.
        """
        self._pages += 1
        if not listed:
            return Stop.END
        if not days:
            return Stop.REPEATS  # the site does not turn its pages, and shows the same one again
        if self._is_full_of_older(days):
            return Stop.OLDER
        if is_last:
            return Stop.END
        self._undated_pages = 0 if any(days) else self._undated_pages + 1
        if self._undated_pages >= _UNDATED_PAGES:
            return Stop.UNDATED
        return Stop.PAGE_CAP if self._pages >= self._most_pages else None

    def _is_full_of_older(self, days: Sequence[date | None]) -> bool:
        known = [day for day in days if day is not None]
        for day in known:
            self._older_in_a_row = self._older_in_a_row + 1 if day < self._first else 0
        # A few articles that could not be read must not keep a listing of years going.
        return (
            2 * len(known) >= len(days)
            and all(day < self._first for day in known)
            and self._older_in_a_row >= _OLDER_IN_A_ROW
            and not runs_upwards(known)
        )


def runs_upwards(days: Sequence[date]) -> bool:
    """Return whether a page is oldest first: newer items are on the pages behind it."""
    rises = sum(before < after for before, after in pairwise(days))
    falls = sum(before > after for before, after in pairwise(days))
    return rises > falls and days[-1] > days[0]
