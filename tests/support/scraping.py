"""A made-up site without HTTP: pages of a listing as lines, articles as days, answered or failing as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from data_platform.jobs.scraper.answers import Accept, Page
from data_platform.jobs.scraper.fetch import Visit
from data_platform.jobs.scraper.layouts import Layout
from data_platform.jobs.scraper.outcome import SiteOutcome
from data_platform.jobs.scraper.problems import EmptyContentError, HtmlChangedError, SaysEmptyError
from data_platform.jobs.scraper.records import Article, Listed, ListingPage, When
from data_platform.jobs.scraper.site import SiteLimits, scrape_site
from data_platform.models.days import SAO_PAULO, Days
from data_platform.models.sites import Site

__all__ = ["HTML", "REST", "SITE", "Item", "Pages", "days", "listing_text", "scraped"]

SITE = Site(key="aeb", agency="aeb", url="https://www.gov.br/aeb/pt-br/noticias")
SHELL = "shell"
EMPTY = "empty"
SAYS_EMPTY = "says that it is empty"
UNDATED = "undated"


@dataclass(frozen=True)
class Item:
    """One item of a listing: its name, the day that the listing says, the one that the article says."""

    name: str
    listed: date | None = None
    own: date | None = None

    @property
    def url(self) -> str:
        """Address of its article; a name may be one itself."""
        return self.name if "://" in self.name else f"{SITE.url}/{self.name}"


def days(first: str, last: str) -> Days:
    """Return a window."""
    return Days.of(first, last)


def when(day: date) -> When:
    """Return noon of a day."""
    return When(datetime.combine(day, time(12), SAO_PAULO), exact=True)


def listing_text(items: Iterable[Item], *, total: int | None = None) -> str:
    """Return the page of a listing with these items."""
    lines = [f"total {'' if total is None else total}"]
    lines += [f"{item.url} {item.listed or ''} {item.own or ''}" for item in items]
    return "\n".join(lines)


def _listing(text: str, url: str) -> tuple[ListingPage, list[Article]]:
    if text == SHELL:
        raise HtmlChangedError(f"nothing is found in {url}")
    if text == SAYS_EMPTY:
        raise SaysEmptyError(f"{url} says that it has no items")
    if text == EMPTY:
        raise EmptyContentError(f"{url} has nothing in it")
    head, *lines = text.splitlines()
    items, articles = [], []
    for line in lines:
        address, listed, own = line.split(" ")
        name = address.rpartition("/")[2]
        items.append(Listed(url=address, title=name, published=when(date.fromisoformat(listed)) if listed else None))
        articles.append(
            Article(url=address, title=name, content="texto", published=when(date.fromisoformat(own)) if own else None)
        )
    total = head.removeprefix("total ")
    return ListingPage(items=items, total=int(total) if total else None), articles


def _article(text: str, url: str, listed: Listed) -> Article:
    if text == "broken":
        raise ZeroDivisionError("a parser that fails")
    if text == UNDATED:
        return Article(url=url, title=listed.title, content="texto", published=listed.published)
    day = date.fromisoformat(text) if text else None
    published = when(day) if day else listed.published
    notes = () if day else ("content_missing",)
    return Article(url=url, title=listed.title, content="texto" if day else None, published=published, notes=notes)


HTML = Layout(
    name="html",
    accept=Accept.HTML,
    page_address=lambda listing, items, pages, _next: f"{listing}?from={items}" if pages else listing,
    read_page=lambda text, url, _first: (_listing(text, url)[0], None),
    parse_article=_article,
)
REST = Layout(
    name="rest",
    accept=Accept.JSON,
    page_address=lambda listing, items, _pages, _next: f"{listing}/api?from={items}",
    read_page=lambda text, url, _first: _listing(text, url),
    parse_article=None,
)


@dataclass
class Pages:
    """Answers of the web: address -> text, redirect or error; a function is asked each time."""

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def listing(self, items: Sequence[Item], *, url: str = SITE.url, per_page: int = 10, rest: bool = False) -> Pages:
        """Add a listing, its empty page behind the last one, and its articles."""
        for start in {*range(0, len(items), per_page), len(items)}:
            page = items[start : start + per_page]
            if rest:
                self.answers[f"{url}/api?from={start}"] = listing_text(page, total=len(items))
            else:
                self.answers[f"{url}?from={start}" if start else url] = listing_text(page)
        for item in () if rest else items:
            self.answers.setdefault(item.url, str(item.own or item.listed or ""))
        return self

    async def get(self, url: str, visit: Visit, *, accept: Accept = Accept.HTML) -> Page:
        """Answer."""
        self.asked.append(url)
        visit.requests += 1
        await asyncio.sleep(0)
        answer = self.answers[url]
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            raise answer
        moved_to = url
        if isinstance(answer, tuple):
            moved_to, answer = answer
        return Page(url=moved_to, text=answer, encoding="utf-8", size=len(answer), redirects=int(moved_to != url))


def scraped(
    web: Pages,
    window: Days,
    *,
    site: Site = SITE,
    layouts: Sequence[Layout] = (HTML,),
    known: Mapping[str, date] | None = None,
    limits: SiteLimits | None = None,
) -> SiteOutcome:
    """Scrape the made-up site."""
    extracted_at = datetime(2026, 2, 6, tzinfo=UTC)
    outcome = asyncio.run(
        scrape_site(
            site, window, web, known=known, limits=limits, extracted_at=extracted_at, layouts=lambda _site: layouts
        )
    )
    assert outcome.account.adds_up, outcome.account
    assert len(outcome.rows) == outcome.account.rows
    return outcome


def run_of_days(last: date, count: int, *, per_day: int = 1, name: str = "n") -> list[Item]:
    """Return items of some days, newest first."""
    return [Item(f"{name}{number}", last - timedelta(days=number // per_day)) for number in range(count * per_day)]
