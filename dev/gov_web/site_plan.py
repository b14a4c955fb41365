"""Which made-up site shows what: the content of the stand-in, from the catalogue or by hand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from data_platform.models.days import SAO_PAULO
from data_platform.models.sites import ScraperType, Site
from dev.gov_web import pages, volto
from dev.gov_web.made_up import MadeUp, made_up

__all__ = ["Answer", "GovWeb", "PlannedSite", "articles_of_days", "plan_of"]

LayoutName = Literal["classic", "volto", "agencia_brasil", "tv_brasil"]
_API = "/++api++"
_PER_PAGE = 30
#: Places of articles over a day, in hours; the first one of a day is its latest.
_HOURS = (18, 15, 11, 9, 16, 10, 14, 8)


@dataclass(frozen=True)
class Answer:
    """A page as the server sends it."""

    status: int
    content_type: str
    body: bytes


@dataclass(kw_only=True)
class PlannedSite:
    """One made-up listing and its articles.

    Attributes:
        listing: its public address.
        layout: what kind of site it is.
        articles: in the order of the listing.
        per_page: items on a page.
        container: markup of the items of a classic listing.
        listing_dates: how these tell their dates.
        article_dates: where articles tell theirs.
        says_next: whether a page of a classic listing has the address of the next one.
        behind: what there is behind the last page: an empty one, or the last one again, as Plone shows it.
        total: what the interface says of how many there are; None for the truth.
    """

    listing: str
    layout: LayoutName = "classic"
    articles: Sequence[MadeUp] = ()
    per_page: int = _PER_PAGE
    container: pages.Container = "tileItem"
    listing_dates: pages.ListingDates = "byline"
    article_dates: pages.ArticleDates = "json_ld"
    says_next: bool = True
    behind: Literal["empty", "last"] = "empty"
    total: int | None = None


@dataclass
class GovWeb:
    """All made-up sites.

    Attributes:
        sites: their listings; several may be one site's.
        robots: robots.txt by host; a host without one answers 404.
    """

    sites: Sequence[PlannedSite] = ()
    robots: dict[str, str] = field(default_factory=dict)
    _pages: dict[str, Callable[[str], Answer | None]] = field(default_factory=dict)
    _made: dict[str, Answer] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        for site in self.sites:
            self.add(site)

    def add(self, site: PlannedSite) -> None:
        """Add a listing, or put another in its place."""
        listing = _key(site.listing)
        if site.layout == "volto":
            host, agency, rest = listing.split("/", 2)
            self._pages[listing] = lambda _query: _html(pages.volto_shell())
            self._pages[f"{host}/{agency}{_API}/{rest}/@search"] = lambda query: _search(site, query)
        else:
            self._pages[listing] = lambda query: _html(_listing(site, query))
        for article in site.articles:
            self._pages[_key(article.url)] = lambda _query, article=article: _html(_article(site, article))  # type: ignore[misc]

    def answer(self, host: str, path: str, query: str) -> Answer:
        """Return what is at an address.

        Args:
            host: as the Host header has it.
            path: as the request has it.
            query: as the request has it.
        """
        if path == "/robots.txt":
            text = self.robots.get(host)
            return _not_found() if text is None else Answer(200, "text/plain; charset=utf-8", text.encode())
        key = f"{host}{unquote(path).rstrip('/')}"
        asked = f"{key}?{query}"
        with self._lock:
            made = self._made.get(asked)
        if made is None:
            page = self._pages.get(key)
            made = (page(query) if page else None) or _not_found()
            with self._lock:
                self._made[asked] = made
        return made


def articles_of_days(
    listing: str, last: date, *, days: int, per_day: int, seed: int = 0, below: str | None = None
) -> list[MadeUp]:
    """Return articles of some days, newest first.

    Args:
        listing: address of the listing below which they lie.
        last: the newest São Paulo day.
        days: how many days.
        per_day: articles of each.
        seed: the same seed gives the same articles.
        below: address below which they lie, if not the listing's.
    """
    articles = []
    for number in range(days * per_day):
        day = last - timedelta(days=number // per_day)
        place = number % per_day
        at = datetime.combine(day, time(23, 59), SAO_PAULO) - timedelta(minutes=1 + place * (1380 // per_day))
        articles.append(made_up(seed + number, listing=below or listing, published=at))
    return articles


def plan_of(
    sites: Iterable[Site], last: date, *, days: int = 3, per_day: int = 2, seed: int = 0, share: int = 1
) -> GovWeb:
    """Return made-up sites for those of the catalogue, in the layouts that it says.

    Args:
        sites: those wanted; of EBC's closed list nothing is made.
        last: the newest São Paulo day.
        days: days that each listing reaches back.
        per_day: articles of each day.
        seed: the same seed gives the same articles.
        share: one in so many sites has articles on the newest day; the others none.
    """
    planned = []
    for number, site in enumerate(site for site in sites if site.scraper_type is not ScraperType.MEMORIA):
        newest = last if number % share == 0 else last - timedelta(days=1)
        layout, below = _layout_of(site, newest)
        articles = articles_of_days(
            site.url, newest, days=days, per_day=per_day, seed=seed + 10_000 * number, below=below
        )
        if layout == "tv_brasil":
            articles = [replace(a, video_url=f"{a.url}/video.mp4", category="Notícias") for a in articles]
        planned.append(PlannedSite(listing=site.url, layout=layout, articles=articles))
    return GovWeb(planned)


def _layout_of(site: Site, day: date) -> tuple[LayoutName, str | None]:
    if site.scraper_type is ScraperType.AGENCIA_BRASIL:
        return "agencia_brasil", f"https://{site.host}/geral/noticia/{day:%Y-%m}"
    if site.scraper_type is ScraperType.TV_BRASIL:
        return "tv_brasil", f"https://{site.host}/programas/jornal/{day:%Y/%m}"
    return ("volto" if site.scraper_type is ScraperType.PLONE6_API else "classic"), None


def _listing(site: PlannedSite, query: str) -> str:
    asked = parse_qs(query)
    if site.layout == "classic":
        start = _number(asked, "b_start:int")
        shown = _slice(site, start)
        following = start + site.per_page
        next_url = f"{site.listing}?b_start:int={following}" if following < len(site.articles) else None
        return pages.classic_listing(
            shown,
            container=site.container,
            dates=site.listing_dates,
            next_url=next_url if site.says_next else None,
        )
    page = _number(asked, "page")
    shown = _slice(site, page * site.per_page)
    next_page = page + 1 if (page + 1) * site.per_page < len(site.articles) else None
    make = pages.agencia_brasil_listing if site.layout == "agencia_brasil" else pages.tv_brasil_listing
    return make(shown, next_page=next_page)


def _slice(site: PlannedSite, start: int) -> Sequence[MadeUp]:
    shown = site.articles[start : start + site.per_page]
    if not shown and site.behind == "last":
        return site.articles[-site.per_page :]
    return shown


def _article(site: PlannedSite, article: MadeUp) -> str:
    if site.layout == "volto":
        return pages.volto_shell()
    if site.layout == "agencia_brasil":
        return pages.agencia_brasil_article(article)
    if site.layout == "tv_brasil":
        return pages.tv_brasil_article(article)
    return pages.classic_article(article, dates=site.article_dates)


def _search(site: PlannedSite, query: str) -> Answer:
    asked = parse_qs(query)
    start, size = _number(asked, "b_start"), _number(asked, "b_size") or _PER_PAGE
    text = volto.volto_search(
        site.articles[start : start + size],
        listing=site.listing,
        start=start,
        total=len(site.articles) if site.total is None else site.total,
        size=size,
    )
    return Answer(200, "application/json", text.encode())


def _number(asked: dict[str, list[str]], name: str) -> int:
    return int(asked.get(name, ["0"])[0])


def _html(text: str) -> Answer:
    return Answer(200, "text/html; charset=utf-8", text.encode())


def _not_found() -> Answer:
    body = json.dumps({"type": "NotFound", "message": "Resource not found"})
    return Answer(404, "application/json", body.encode())


def _key(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}{unquote(parts.path).rstrip('/')}"
