"""One site: its listing turned page by page until it is older than the window, its articles opened, all accounted for.

"No news" is said only of a listing that was really read. Everything else that leads to no rows is an error by type;
one broken article is none of the site's, it is counted and named (FIELD_FACTS §14, faults 27 to 30 and 32).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from urllib.parse import urlsplit

from data_platform.jobs.scraper.answers import Accept, PageMissingError, is_gone, message_of
from data_platform.jobs.scraper.articles import Articles, Fetches
from data_platform.jobs.scraper.fetch import Visit
from data_platform.jobs.scraper.layouts import Layout, layouts_of
from data_platform.jobs.scraper.listing_addresses import years_beside
from data_platform.jobs.scraper.outcome import Failure, Note, SiteOutcome, Status, error_fields
from data_platform.jobs.scraper.paging import Stop, StopRule
from data_platform.jobs.scraper.problems import (
    AntiBotError,
    EmptyContentError,
    HtmlChangedError,
    NetworkError,
    SaysEmptyError,
    ScrapeError,
    UrlBrokenError,
)
from data_platform.models.days import Days, utc_now
from data_platform.models.sites import Site

__all__ = ["SiteLimits", "scrape_site"]

_LOG = logging.getLogger(__name__)
#: Failed articles that an outcome names; all are counted.
_NAMED = 20


@dataclass(frozen=True, kw_only=True)
class SiteLimits:
    """Bounds on one site.

    Attributes:
        seconds: its time budget, waiting for its turn at a shared host included.
        pages: most pages of one listing.
        articles_at_once: articles that it asks for at once; the host's budget holds besides.
    """

    seconds: float = 600.0
    pages: int = 50
    articles_at_once: int = 4


async def scrape_site(
    site: Site,
    window: Days,
    fetcher: Fetches,
    *,
    known: Mapping[str, date] | None = None,
    limits: SiteLimits | None = None,
    extracted_at: datetime | None = None,
    layouts: Callable[[Site], Sequence[Layout]] = layouts_of,
) -> SiteOutcome:
    """Read a site's news of some São Paulo days.

    Args:
        site: the site.
        window: the days; overlap and wider windows are the caller's.
        fetcher: gets the pages.
        known: canonical address -> day of articles that need not be opened again. They are not fetched, and their days
            count where the listing says none. Leave it out to see what was edited.
        limits: bounds on this site.
        extracted_at: what rows say of when they were read, with a zone; None for now.
        layouts: which layouts a site may have.

    Returns:
        What became of it, an error included: nothing that goes wrong at a site is raised.
    """
    started_at, loop = utc_now(), asyncio.get_running_loop()
    started = loop.time()
    limits = limits or SiteLimits()
    visit, notes = Visit.lasting(limits.seconds), dict[Note, str]()
    articles = Articles(
        agency=site.agency,
        window=window,
        fetcher=fetcher,
        visit=visit,
        known=known or {},
        at_once=limits.articles_at_once,
        extracted_at=extracted_at or started_at,
        notes=notes,
    )
    reading = _Reading(site, window, limits, articles)
    problem: Exception | None = None
    try:
        await reading.read(layouts(site))
    except ScrapeError as error:
        problem = error
    except Exception as error:  # noqa: BLE001 - every site gets an outcome, and the others go on
        _LOG.warning("site %s ended in an error that nobody foresaw", site.key, exc_info=True)
        problem = error
    problem = problem or articles.problem()
    for failure in articles.failures[:_NAMED]:
        _LOG.log(logging.INFO if failure.category == Failure.FOREIGN else logging.WARNING, "%s: %s", site.key, failure)
    return SiteOutcome(
        site=site,
        status=Status.ERROR if problem else Status.SUCCESS,
        rows=tuple(articles.rows),
        account=articles.account,
        failures=tuple(articles.failures[:_NAMED]),
        layout=reading.layout,
        addresses=tuple(reading.addresses),
        fallback_triggered=Note.FALLBACK in notes,
        notes=notes,
        started_at=started_at,
        seconds=loop.time() - started,
        requests=visit.requests,
        tried_again=visit.tried_again,
        read_bytes=visit.read_bytes,
        **(error_fields(problem) if problem else {}),
    )


@dataclass
class _Reading:
    """A visit under way."""

    site: Site
    window: Days
    limits: SiteLimits
    articles: Articles
    addresses: list[str] = field(default_factory=list)
    layout: str | None = None

    @property
    def notes(self) -> dict[Note, str]:
        """What was out of the ordinary."""
        return self.articles.notes

    # ------------------------------------------------------------------------------------- listings

    async def read(self, layouts: Sequence[Layout]) -> None:
        """Read the listing; where its address holds a year, also those of the other years of the window."""
        problem: ScrapeError | None = None
        try:
            await self._listing(self.site.url, layouts)
        except (UrlBrokenError, EmptyContentError, HtmlChangedError) as error:
            problem = error
        beside = years_beside(self.site, self.window)
        if not beside and problem is not None:
            raise problem
        for year, *candidates in beside:
            if year in self.articles.years:
                continue  # the folder kept its name, and has that year's news too
            await self._first_readable(year, candidates, layouts)
        if problem is not None and self.window.first.year <= (self.site.year or 0) <= self.window.last.year:
            raise problem  # the window reaches into that year, and its listing is the one that cannot be read

    async def _first_readable(self, year: int, candidates: Sequence[str], layouts: Sequence[Layout]) -> None:
        """Read the first of some addresses that has a listing: that of the year, or the one above it."""
        problem: ScrapeError | None = None
        for address in candidates:
            try:
                if address in self.addresses or await self._listing(address, layouts):
                    self.notes[Note.YEAR_IN_ADDRESS] = f"{self.site.url} holds a year; {address} was read for {year}"
                    return
            except (UrlBrokenError, EmptyContentError, HtmlChangedError) as error:
                problem = error
        raise UrlBrokenError(
            f"the listing {self.site.url} holds a year, and none was found for {year}: {problem or 'all are empty'}",
            hint="correct the site's address in the catalogue",
        )

    async def _listing(self, address: str, layouts: Sequence[Layout]) -> int:
        """Read a listing in the layout that it turns out to have; return how many items it has on its first page."""
        problem: ScrapeError | None = None
        for number, layout in enumerate(layouts):
            try:
                first_items = await self._turn_pages(address, layout)
            except ScrapeError as error:
                if self.layout is not None and address in self.addresses:
                    raise  # it was read in part: no other layout has what is missing
                if isinstance(error, SaysEmptyError) and isinstance(problem, SaysEmptyError):
                    first_items = 0  # page and interface say the same
                elif number + 1 == len(layouts) or not _may_be_another_layout(error, layout):
                    raise _both(problem, error) from error
                else:
                    problem = error
                    continue
            if number:
                self.notes[Note.FALLBACK] = f"{layout.name} instead of {layouts[0].name}: {problem}"
            if not first_items:
                self.notes[Note.LISTING_EMPTY] = f"{address} says that it has no items"
                if address not in self.addresses:
                    self.layout = layout.name
                    self.addresses.append(address)
            return first_items
        raise problem or HtmlChangedError(f"{address} has no layout that is known")

    async def _turn_pages(self, address: str, layout: Layout) -> int:
        rule = StopRule(self.window.first, most_pages=self.limits.pages)
        listing, next_url = address, None
        items = pages = first_items = total = 0
        asked: set[str] = set()
        stop: Stop | None = None
        while stop is None:
            url = layout.page_address(listing, items, pages, next_url)
            if url in asked:
                url = layout.page_address(listing, items, pages, None)
            asked.add(url)
            try:
                page = await self.articles.fetcher.get(url, self.articles.visit, accept=layout.accept)
            except PageMissingError:
                if not pages or next_url is not None or items < total:
                    raise
                break  # some sites have no empty page behind the last one
            is_html = layout.accept is Accept.HTML
            found, whole = layout.read_page(page.text, page.url if is_html else listing, not pages)
            total = found.total if found.total is not None else total
            if not found.items:
                _raise_if_more_were_said(listing, items, total, is_html=is_html)
            if not pages:
                if is_html and page.redirects:
                    listing = self._moved(listing, page.url)
                first_items = len(found.items)
                self.layout = layout.name
                self.addresses.append(address)
            pages += 1
            items += len(found.items)
            next_url = found.next_url
            days = await self.articles.take_page(found.items, whole, layout)
            is_last = 0 < total <= items
            stop = rule.after_page(days, listed=len(found.items), is_last=is_last)
        stop = stop or Stop.END
        if stop is Stop.REPEATS:
            self.notes[Note.LISTING_REPEATS] = f"page {pages} of {listing} has nothing that earlier pages had not"
        if not stop.is_covered:
            raise self.articles.problem() or HtmlChangedError(
                f"{listing} was left after {pages} pages: "
                + ("no article says a date" if stop is Stop.UNDATED else "it did not come to news before the window"),
                hint="look at the page: its dates or its order may have changed; a wide window needs more pages",
            )
        return first_items

    def _moved(self, listing: str, answered: str) -> str:
        """Return where a listing is now."""
        if is_gone(listing, answered):
            raise UrlBrokenError(
                f"the listing {listing} is gone: its address leads up to {answered}", hint="correct the catalogue"
            )
        now = urlsplit(answered)._replace(query="", fragment="").geturl().rstrip("/")
        if now != listing:
            self.notes[Note.LISTING_MOVED] = f"{listing} leads to {now}"
        return now


def _raise_if_more_were_said(listing: str, items: int, total: int, *, is_html: bool) -> None:
    """Refuse an empty page of a listing that gave fewer articles than it says, or none at all through its interface."""
    if items < total:
        raise EmptyContentError(
            f"the listing {listing} gave {items} of the {total} articles that it says it has",
            hint="it is asked again later",
        )
    if not items and not is_html:
        raise SaysEmptyError(
            f"the interface of {listing} lists nothing", hint="look at the page, and correct the catalogue"
        )


def _may_be_another_layout(error: ScrapeError, layout: Layout) -> bool:
    """Return whether what a listing answered may mean that its site is of another kind."""
    if isinstance(error, UrlBrokenError):
        return layout.accept is Accept.JSON  # a site that is no Plone 6 has no interface
    return isinstance(error, HtmlChangedError | EmptyContentError)


def _both(first: ScrapeError | None, second: ScrapeError) -> ScrapeError:
    """Return the error of a listing that cannot be read in either layout."""
    if first is None:
        return second
    told: Any = second if isinstance(second, NetworkError | AntiBotError) else first
    kind: type[ScrapeError] = type(told)
    return kind(f"{message_of(first)}; then {message_of(second)}")
