"""What was found at each site, small enough to be handed on, and written down for those who look after the sites."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from data_platform.errors import DataPlatformError, LedgerError
from data_platform.jobs.daily.plan import DayPlan
from data_platform.jobs.daily.site_health import RECENT_DAYS, SiteRun, site_alerts
from data_platform.managers.ledger.entry import LedgerEntry, new_entry_id
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.models.days import day_of, utc_now
from data_platform.models.sites import Site

if TYPE_CHECKING:
    from data_platform.jobs.scraper.outcome import SiteOutcome

__all__ = [
    "NOT_VISITED",
    "SCRAPE",
    "Visit",
    "not_visited",
    "planned_sites",
    "record_visits",
    "site_history",
    "told_alerts",
]

_LOG = logging.getLogger(__name__)
#: The kind of ledger entry: what a run found at every site.
SCRAPE = "scrape"
#: Why a site was not read that nobody got to; besides the words of `ScrapeError.category`.
NOT_VISITED = "not_visited"
_GROUP_FAILED = "the task that was to read it, with others, failed; its log says why"
_TAKEN_OUT = "it is not in the catalogue any more"
#: So far back every run is read, for a site's rhythm.
_HISTORY = timedelta(days=RECENT_DAYS)
#: Before that so many runs for a Sunday, which look a month back: of a site that publishes now and then, or has been
#: silent for months, the others say nothing any more.
_SUNDAYS = 45
#: Articles of one site that could not be had whose addresses are handed on.
_MISSED = 3
_INSERT = """
    INSERT INTO scrape_runs (agency_key, status, error_category, error_message, articles_scraped, articles_saved,
                             execution_time_seconds, fallback_triggered, scraped_at)
    SELECT %(agency)s, %(status)s, %(category)s, %(message)s, %(opened)s, %(articles)s, %(seconds)s, %(fallback)s,
           %(scraped_at)s
     WHERE NOT EXISTS (SELECT FROM scrape_runs WHERE agency_key = %(agency)s AND scraped_at = %(scraped_at)s)
"""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What was found at one site.

    Attributes:
        site: its key.
        agency: how the dataset files its news.
        failed: whether its listing could not be read as far as the window reaches.
        category: why, in the words of scrape_runs; "" if it did not fail.
        message: what happened, at most 500 characters.
        opened: articles asked for.
        articles: those that became rows.
        articles_failed: those that could not be had.
        missed: the first of them, by address, each with the reason.
        newest: the day of the newest one; None if there was none.
        fallback: whether the site was read in another way than the catalogue says.
        notes: what was out of the ordinary.
        seconds: how long it took.
        scraped_at: when it began, with a zone.
    """

    site: str
    agency: str
    failed: bool
    category: str
    message: str
    opened: int
    articles: int
    articles_failed: int
    newest: date | None
    fallback: bool
    notes: Sequence[str]
    seconds: float
    scraped_at: datetime
    missed: Sequence[str] = ()

    @classmethod
    def of(cls, outcome: SiteOutcome, run_date: date) -> Self:
        """Take out of a site's outcome what is handed on.

        Args:
            outcome: of the site, with its rows.
            run_date: the day that the run is for; a newer article counts as of that day.
        """
        days = [day_of(row["published_at"]) for row in outcome.rows if row["published_at"] is not None]
        return cls(
            site=outcome.site.key,
            agency=outcome.site.agency,
            failed=not outcome.succeeded,
            category=outcome.error_category or "",
            message=outcome.error_message or "",
            opened=outcome.account.opened,
            articles=outcome.account.rows,
            articles_failed=outcome.account.failed.total(),
            newest=min(max(days), run_date) if days else None,
            fallback=outcome.fallback_triggered,
            notes=[note.value for note in outcome.notes],
            seconds=round(outcome.seconds, 2),
            scraped_at=outcome.started_at,
            missed=[f"{failure.url} ({failure.category})" for failure in outcome.failures[:_MISSED]],
        )

    @classmethod
    def not_visited(cls, site: str, agency: str, at: datetime, *, why: str = _GROUP_FAILED) -> Self:
        """Return the outcome of a site that nobody got to: it was not read."""
        return cls(
            site=site,
            agency=agency,
            failed=True,
            category=NOT_VISITED,
            message=why,
            opened=0,
            articles=0,
            articles_failed=0,
            newest=None,
            fallback=False,
            notes=[],
            seconds=0.0,
            scraped_at=at,
        )

    def __str__(self) -> str:
        """Return it as a line of a log."""
        if self.failed:
            lost = f"; not to be had: {', '.join(self.missed)}" if self.missed else ""
            return f"{self.site}: FAILED ({self.category}) after {self.seconds:.1f} s: {self.message}{lost}"
        told = [
            f"{self.articles} articles",
            *([f"{self.articles_failed} not to be had: {', '.join(self.missed)}"] if self.articles_failed else []),
        ]
        return f"{self.site}: {', '.join([*told, *self.notes])}, {self.seconds:.1f} s"

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        return asdict(self) | {
            "newest": self.newest.isoformat() if self.newest else None,
            "notes": list(self.notes),
            "missed": list(self.missed),
            "scraped_at": self.scraped_at.isoformat(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        newest = date.fromisoformat(values["newest"]) if values["newest"] else None
        return cls(**{**values, "newest": newest, "scraped_at": datetime.fromisoformat(values["scraped_at"])})


def not_visited(plan: DayPlan, visits: Sequence[Visit], *, sites_source: str = "") -> list[Visit]:
    """Return the outcome of each planned site that nobody got to; the same ones, if they are asked for again.

    Those are the sites of groups that did not come back, and those that left the catalogue since the plan was made.

    Args:
        plan: of the run.
        visits: of the sites of the groups that came back.
        sites_source: path or URL of site_urls.yaml; "" for the shipped one.
    """
    found = {visit.site for visit in visits}
    keys = [key for its in plan.groups for key in its if key not in found]
    if not keys:
        return []
    there = {site.key: site for site in planned_sites(keys, sites_source)}
    _LOG.error("%d sites were not visited: %s", len(keys), ", ".join(keys))
    at = min((visit.scraped_at for visit in visits), default=utc_now())
    lost = []
    for n, key in enumerate(keys, start=1):
        # What its agency is called is not known any more; nearly always it is the key.
        agency, why = (there[key].agency, _GROUP_FAILED) if key in there else (key, _TAKEN_OUT)
        lost.append(Visit.not_visited(key, agency, at + timedelta(microseconds=n), why=why))
    return lost


def planned_sites(keys: Collection[str], sites_source: str = "") -> list[Site]:
    """Return the sites of a plan that the catalogue still has: one that was taken out since costs the others nothing.

    Args:
        keys: of the sites.
        sites_source: path or URL of site_urls.yaml; "" for the shipped one.
    """
    from data_platform.jobs.scraper.catalogue import load_sites

    wanted = set(keys)
    return [site for site in load_sites(sites_source) if site.key in wanted]


def record_visits(visits: Iterable[Visit], ledger: RunLedger, plan: DayPlan, *, database_url: str = "") -> str:
    """Write visits into the run ledger, and into scrape_runs where PostgreSQL is written; each once.

    The ledger is what counts; scrape_runs is a copy for those who look at it with SQL. Without it the day goes on,
    since the other store is to be written whatever PostgreSQL does (DESIGN §2.6).

    Args:
        visits: of all sites of a run.
        ledger: the run ledger.
        plan: the run's.
        database_url: where scrape_runs is; "" if PostgreSQL is not written.

    Returns:
        Why scrape_runs does not have them; "" if it has, or is not to have them.
    """
    visits = list(visits)
    now = utc_now()
    sites = {
        visit.site: [visit.category if visit.failed else "", visit.articles, visit.newest and visit.newest.isoformat()]
        for visit in visits
    }
    entry = LedgerEntry(
        kind=SCRAPE,
        entry_id=new_entry_id(),
        started_at=min((visit.scraped_at for visit in visits), default=now),
        finished_at=now,
        run_date=plan.run_date,
        operation="scrape",
        rows=sum(visit.articles for visit in visits),
        facts={"sites": sites, "missed": {visit.site: list(visit.missed) for visit in visits if visit.missed}},
    )
    ledger.record(entry)
    if not database_url:
        return ""
    from data_platform.managers.postgres.database import connect, translate_errors

    try:
        with translate_errors(), connect(database_url, purpose="scrape runs") as connection:
            for visit in visits:
                connection.execute(_INSERT, _row(visit))
    except DataPlatformError as error:
        _LOG.warning("scrape_runs has no copy of what was found at the sites", exc_info=True)
        return str(error)
    return ""


def told_alerts(ledger: RunLedger, run_date: date) -> list[str]:
    """Say which sites need a person; a damaged record of an old run is told, and does not hold up the news.

    Raises:
        TransientError: the ledger does not answer.
    """
    try:
        history = site_history(ledger, run_date)
    except LedgerError as error:
        return [f"which sites fail or fell silent cannot be told: {error}"]
    return [str(alert) for alert in site_alerts(history, today=run_date)]


def site_history(ledger: RunLedger, run_date: date) -> list[SiteRun]:
    """Return what the runs of about a year found at each site: all of the last months, before that those for Sundays.

    Raises:
        LedgerError: an entry is damaged.
        TransientError: the ledger does not answer.
    """
    found: list[SiteRun] = []
    for entry in _entries(ledger, run_date):
        if entry.run_date is None:
            continue
        for site, (category, articles, newest) in entry.facts["sites"].items():
            found.append(
                SiteRun(
                    site=site,
                    run_date=entry.run_date,
                    failed=bool(category),
                    category=category,
                    articles=articles,
                    newest=date.fromisoformat(newest) if newest else None,
                )
            )
    return found


def _entries(ledger: RunLedger, run_date: date) -> Iterator[LedgerEntry]:
    since = run_date - _HISTORY
    sunday = since - timedelta(days=since.isoweekday())
    for weeks in reversed(range(_SUNDAYS)):
        if entry := ledger.newest(SCRAPE, run_date=sunday - timedelta(weeks=weeks)):
            yield entry
    yield from ledger.entries(SCRAPE, since=since, until=run_date)


def _row(visit: Visit) -> dict[str, Any]:
    return {
        "agency": visit.agency,
        "status": "error" if visit.failed else "success",
        "category": visit.category or None,
        "message": visit.message or None,
        "opened": visit.opened,
        "articles": visit.articles,
        "seconds": visit.seconds,
        "fallback": visit.fallback,
        "scraped_at": visit.scraped_at,
    }
