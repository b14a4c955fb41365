"""The articles of one site: which items of a listing are opened, what becomes of each, the rows they make."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Protocol

from data_platform.jobs.scraper.answers import Accept, Page, TimeBudgetError, is_gone
from data_platform.jobs.scraper.fetch import Visit
from data_platform.jobs.scraper.hosts import HostRefusedError
from data_platform.jobs.scraper.layouts import Layout
from data_platform.jobs.scraper.markdown import CONTENT_MISSING, PLAIN_TEXT
from data_platform.jobs.scraper.outcome import Account, Failure, Note, Row
from data_platform.jobs.scraper.problems import (
    AntiBotError,
    EmptyContentError,
    HtmlChangedError,
    NetworkError,
    ScrapeError,
    UrlBrokenError,
)
from data_platform.jobs.scraper.records import BODY_MISSING, Article, Listed, When
from data_platform.jobs.scraper.rows import scraped_row
from data_platform.models.days import Days, day_of, utc_now
from data_platform.models.urls import canonical_url

__all__ = ["Articles", "Fetches"]

_LOG = logging.getLogger(__name__)
#: Articles of which most must be had, and challenges on one page after which a site is left alone.
_FEW = 3


class Fetches(Protocol):
    """What gets pages: `fetch.Fetcher`, or a test's own."""

    async def get(self, url: str, visit: Visit, *, accept: Accept = Accept.HTML) -> Page:
        """Return a page."""


@dataclass
class Articles:
    """The articles of a site, gathered page by page.

    Attributes:
        agency: what their rows are filed under.
        window: the days wanted.
        fetcher: gets their pages.
        visit: the site's time budget.
        known: canonical address -> day of those that need not be opened.
        at_once: how many are asked for at once.
        extracted_at: what rows say of when they were read.
        notes: what was out of the ordinary.
        account: where the items went.
        rows: the rows of the window.
        failures: those that could not be had, and the rows without a text.
        is_late: whether one of them failed because the time was over.
        years: years of the days of all items seen.
    """

    agency: str
    window: Days
    fetcher: Fetches
    visit: Visit
    known: Mapping[str, date]
    at_once: int
    extracted_at: datetime
    notes: dict[Note, str]
    account: Account = field(default_factory=Account)
    rows: list[Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    is_late: bool = False
    years: set[int] = field(default_factory=set)
    _seen: set[str] = field(default_factory=set)
    _textless: list[Failure] = field(default_factory=list)
    _bodyless: int = 0

    async def take_page(
        self, items: Sequence[Listed], articles: Sequence[Article] | None, layout: Layout
    ) -> list[date | None]:
        """Take the items of a page of the listing; return the days of those that no earlier page had.

        Args:
            items: in the order of the page.
            articles: the same ones whole, if the layout gives them; else they are fetched.
            layout: how they are read.

        Raises:
            AntiBotError: several were answered with a challenge; it is better to leave.
        """
        account = self.account
        account.pages += 1
        account.listed += len(items)
        days: list[date | None] = []
        to_open: list[tuple[int, Listed, Article | None]] = []
        for number, item in enumerate(items):
            key = canonical_url(item.url) or item.url
            if key in self._seen:
                account.repeated += 1
                continue
            self._seen.add(key)
            day = _day(item.published) or self.known.get(key)
            days.append(day)
            if articles is not None:
                to_open.append((len(days) - 1, item, articles[number]))
            elif not self._is_left_out(key, day):
                to_open.append((len(days) - 1, item, None))
        places = asyncio.Semaphore(self.at_once)
        opened = await asyncio.gather(*(self._open(item, article, layout, places) for _, item, article in to_open))
        challenged = 0
        for (place, item, _), result in zip(to_open, opened, strict=True):
            account.opened += 1
            if isinstance(result, Failure):
                self._count(result)
                challenged += result.category == AntiBotError.category
            else:
                days[place] = self._take(result, item)
        self.years |= {day.year for day in days if day is not None}
        if challenged >= _FEW:
            raise AntiBotError(
                f"{challenged} articles of one page were answered with a challenge for browsers",
                hint="ask less often, and from an address inside Brazil",
            )
        return days

    def problem(self) -> ScrapeError | None:
        """Return what makes it the site's failure: its time was over, or it gave hardly anything.

        None of its articles could be had, be it one; or most of three or more could not, or have no text. One without
        a text is no failure by itself, since there are articles with nothing but a picture; one whose page has not
        even a place for a text was not had.
        """
        if self.is_late:
            return TimeBudgetError(
                f"the {self.visit.seconds:g} s that a site may take were over after {self.account.rows} rows",
                hint="it is asked again later",
            )
        asked = self.account.opened - self.account.foreign
        not_had = self.account.failed.total() + self._bodyless
        lost = self.account.failed + Counter({Failure.NO_TEXT: len(self._textless)})
        are_most_lost = lost.total() >= _FEW and 2 * lost.total() > asked
        if not are_most_lost and not 0 < not_had == asked:
            return None
        category = lost.most_common(1)[0][0]
        first = next(failure for failure in (*self._textless, *self.failures) if failure.category == category)
        kinds: dict[str, type[ScrapeError]] = {
            kind.category: kind for kind in (NetworkError, AntiBotError, EmptyContentError, UrlBrokenError)
        }
        return kinds.get(category, HtmlChangedError)(
            f"{lost.total()} of {asked} articles could not be had; the first: {first}"
        )

    def _is_left_out(self, key: str, day: date | None) -> bool:
        """Count an item that is not opened."""
        if day is not None and day < self.window.first:
            self.account.older += 1
        elif day is not None and day > self.window.last:
            self.account.newer += 1
        elif key in self.known:
            self.account.known += 1
        else:
            return False
        return True

    async def _open(
        self, item: Listed, article: Article | None, layout: Layout, places: asyncio.Semaphore
    ) -> Article | Failure:
        """Return an article; a failure says what is wrong with it, so that the others are still had."""
        if article is not None or layout.parse_article is None:
            return article or Article(url=item.url, title=item.title, published=item.published)
        try:
            async with places:
                page = await self.fetcher.get(item.url, self.visit)
            _raise_if_gone(item.url, page)
            # Under the address of the listing, by which it is known, wherever that leads today.
            return replace(layout.parse_article(page.text, page.url, item), url=item.url)
        except HostRefusedError as error:
            return replace(Failure.of(item.url, error), category=Failure.FOREIGN)
        except ScrapeError as error:
            self.is_late = self.is_late or isinstance(error, TimeBudgetError)
            return Failure.of(item.url, error)
        except Exception as error:  # noqa: BLE001 - a parser may fail on a page as nobody foresaw; it is counted and named
            _LOG.warning("article %s ended in an error that nobody foresaw", item.url, exc_info=True)
            return Failure.of(item.url, error)

    def _count(self, failure: Failure) -> None:
        self.failures.append(failure)
        if failure.category == Failure.FOREIGN:
            self.account.foreign += 1
        else:
            self.account.failed[failure.category] += 1

    def _take(self, article: Article, item: Listed) -> date | None:
        """Make a row of an article if it is of the window; return its day."""
        account = self.account
        textless = _textless(article)
        if textless is not None:
            self._textless.append(textless)  # also one outside the window: it tells of the site all the same
            self._bodyless += BODY_MISSING in article.notes
        if article.published is not None and _day(article.published) is None:
            account.implausible += 1
            self.notes[Note.IMPLAUSIBLE_DATE] = f"{article.url} says {article.published.instant.isoformat()}"
            article = replace(article, published=item.published if _day(item.published) else None)
        day = _day(article.published)
        if day is not None and not self.window.first <= day <= self.window.last:
            account.outside += 1
            return day
        account.rows += 1
        self.rows.append(scraped_row(article, self.agency, self.extracted_at))
        if day is None:
            # It goes on without a date, to be kept as a reject: dropped here it would be lost without a trace.
            account.without_date += 1
            self.notes[Note.WITHOUT_DATE] = article.url
        if PLAIN_TEXT in article.notes:
            self.notes[Note.PLAIN_TEXT] = article.url
        if CONTENT_MISSING in article.notes:
            account.content_missing += 1
            self.notes[Note.CONTENT_MISSING] = article.url
            if textless is not None:
                self.failures.append(textless)
        return day


def _textless(article: Article) -> Failure | None:
    """Return what is to be told of an article without a text; a video is one whose page was read."""
    if CONTENT_MISSING not in article.notes or article.video_url is not None:
        return None
    return Failure(url=article.url, category=Failure.NO_TEXT, message="it has no text", retryable=False)


def _raise_if_gone(asked: str, page: Page) -> None:
    if page.redirects and is_gone(asked, page.url):
        raise UrlBrokenError(f"{asked} is gone: its address leads up to {page.url}")


def _day(when: When | None) -> date | None:
    """Return the day of an article; None if nobody says, or if it is yet to come."""
    if when is None:
        return None
    day = day_of(when.instant)
    return day if day <= day_of(utc_now()) + timedelta(days=1) else None
