"""Which sites need a person: those that fail run after run, and those that are silent beyond their own rhythm.

Runs are counted, not hours, so a day without a run raises nothing. How long a site may be silent is learned from the
site itself: an agency that publishes once a fortnight is not late after three days, one that publishes daily is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

__all__ = ["RECENT_DAYS", "SiteAlert", "SiteRun", "site_alerts"]

#: Runs that may fail in a row.
_FAILURES = 3
#: A rhythm is that of so many days, if it can be told from them; else of all that is known, since a site that has
#: been silent for months must not be forgotten.
RECENT_DAYS = 90
#: Days with articles that a rhythm is learned from; of fewer nothing can be said.
_LEARNED_FROM = 5
#: Of a site that nobody saw an article of in so many runs, a Sunday's with its 30 days among them, none is to be seen.
_NEVER = 30
#: A site is silent after so many times the longest gap that is usual for it, and never before a week.
_PATIENCE = 2.0
_LEAST_DAYS = 7
#: Of the gaps between days with articles this share is usual.
_USUAL = 0.9


@dataclass(frozen=True, kw_only=True)
class SiteRun:
    """What one run found at one site.

    Attributes:
        site: its key.
        run_date: the São Paulo day that the run was for.
        failed: whether the site could not be read.
        category: why, in the words of scrape_runs; "" if it did not fail.
        articles: articles in the window.
        newest: the day of its newest article; None if there was none in the window.
    """

    site: str
    run_date: date
    failed: bool
    category: str = ""
    articles: int = 0
    newest: date | None = None


@dataclass(frozen=True, kw_only=True)
class SiteAlert:
    """A site that needs a person.

    Attributes:
        site: its key.
        what: "failing", "silent" or "never".
        runs: failing: how many of its newest runs failed in a row; never: how many saw no article.
        category: failing: why the newest one did.
        days: silent: days since its newest article.
        usual_days: silent: the gap between days with articles that is usual for it.
    """

    site: str
    what: str
    runs: int = 0
    category: str = ""
    days: int = 0
    usual_days: int = 0

    def __str__(self) -> str:
        """Return it in words."""
        if self.what == "failing":
            return f"{self.site}: failed {self.runs} runs in a row ({self.category})"
        if self.what == "never":
            return f"{self.site}: not one article in {self.runs} runs; is its address in the catalogue the right one?"
        return f"{self.site}: no article for {self.days} days; up to {self.usual_days} are usual for it"

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        return asdict(self)


def site_alerts(history: Sequence[SiteRun], *, today: date, failures: int = _FAILURES) -> list[SiteAlert]:
    """Say which sites need a person, in the order of their keys.

    Args:
        history: the runs of some months, in any order; of several for one site and day the last given counts.
        today: the run date that is looked at; only sites with a run for it are judged.
        failures: runs in a row that make a site one that fails.
    """
    by_site: dict[str, dict[date, SiteRun]] = {}
    for run in history:
        by_site.setdefault(run.site, {})[run.run_date] = run
    found: list[SiteAlert] = []
    for site in sorted(by_site):
        runs = by_site[site]
        if today in runs:
            found += filter(None, [_failing(site, runs, today, failures) or _silent(site, runs, today)])
    return found


def _failing(site: str, runs: Mapping[date, SiteRun], today: date, failures: int) -> SiteAlert | None:
    newest_first = [runs[day] for day in sorted(runs, reverse=True) if day <= today]
    in_a_row = next((n for n, run in enumerate(newest_first) if not run.failed), len(newest_first))
    if in_a_row < failures:
        return None
    return SiteAlert(site=site, what="failing", runs=in_a_row, category=newest_first[0].category)


def _silent(site: str, runs: Mapping[date, SiteRun], today: date) -> SiteAlert | None:
    days = sorted({run.newest for run in runs.values() if run.newest is not None and run.newest <= today})
    recent = [day for day in days if day >= today - timedelta(days=RECENT_DAYS)]
    if len(recent) >= _LEARNED_FROM:
        days = recent
    read = [run for run in runs.values() if not run.failed]
    # Articles without a date are articles, of which no rhythm can be learned.
    if not days and len(read) >= _NEVER and not any(run.articles for run in read):
        return SiteAlert(site=site, what="never", runs=len(read))
    if len(days) < _LEARNED_FROM:
        return None
    gaps = sorted((later - earlier).days for earlier, later in pairwise(days))
    usual = gaps[math.ceil(_USUAL * len(gaps)) - 1]
    silent = (today - days[-1]).days
    if silent <= max(_LEAST_DAYS, _PATIENCE * usual):
        return None
    return SiteAlert(site=site, what="silent", days=silent, usual_days=usual)
