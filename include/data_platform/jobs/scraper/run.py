"""Many sites in one process: one event loop, bounded at every place, an outcome for every site.

Memory holds the sites under way, not all that there are: the rows of a finished site go to the sink, if one is given.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from data_platform.jobs.scraper.fetch import Fetcher, FetchLimits
from data_platform.jobs.scraper.hosts import Hosts
from data_platform.jobs.scraper.outcome import SiteOutcome
from data_platform.jobs.scraper.politeness import Politeness
from data_platform.jobs.scraper.site import SiteLimits, scrape_site
from data_platform.models.days import Days, utc_now
from data_platform.models.sites import Site
from data_platform.settings import Settings

__all__ = ["ScrapeOptions", "scrape_sites"]

_LOG = logging.getLogger(__name__)
#: What is known of a site: canonical address -> day.
Known = Callable[[Site], Mapping[str, date]]
#: Gets the outcome of a site as soon as it is finished, rows and all.
Sink = Callable[[SiteOutcome], object]


@dataclass(frozen=True, kw_only=True)
class ScrapeOptions:
    """How sites are collected.

    Attributes:
        processes: processes that scrape at the same time, this one among them: on Airflow the slots of the pool of
            scraping tasks. Each gets that share of what may be asked of a host.
        sites_at_once: sites under way at once in this process.
        site: bounds on one site.
        fetch: bounds on one page.
    """

    processes: int = 1
    sites_at_once: int = 16
    site: SiteLimits = field(default_factory=SiteLimits)
    fetch: FetchLimits = field(default_factory=FetchLimits)


def scrape_sites(
    sites: Sequence[Site],
    window: Days,
    settings: Settings,
    *,
    options: ScrapeOptions | None = None,
    known: Known | None = None,
    sink: Sink | None = None,
    extracted_at: datetime | None = None,
) -> list[SiteOutcome]:
    """Collect the news of some São Paulo days from some sites.

    Args:
        sites: the sites; all of them, whether active or not.
        window: the days.
        settings: User-Agent, budget of a host, robots.txt, and where the local stack has its stand-in.
        options: how.
        known: what is known of a site already, asked for when its turn comes; see `scrape_site`.
        sink: called with each outcome in the order in which sites finish, one at a time; its rows are then let go. An
            error that it raises ends everything and is raised.
        extracted_at: what rows say of when they were read; None for now.

    Returns:
        One outcome a site, in the order of the sites, whatever happened to it; without rows if there is a sink.

    Raises:
        ConfigurationError: a setting cannot be used.
    """
    run = _Run(window, settings, options or ScrapeOptions(), known, sink, extracted_at or utc_now())
    return asyncio.run(run.all_of(sites))


@dataclass(frozen=True)
class _Run:
    window: Days
    settings: Settings
    options: ScrapeOptions
    known: Known | None
    sink: Sink | None
    extracted_at: datetime

    async def all_of(self, sites: Sequence[Site]) -> list[SiteOutcome]:
        """Return the outcomes of some sites, in their order."""
        outcomes: dict[int, SiteOutcome] = {}
        waiting = iter(list(enumerate(sites)))

        async def work(fetcher: Fetcher) -> None:
            for number, site in waiting:
                outcome = await self._outcome(site, fetcher)
                if self.sink is not None:
                    self.sink(outcome)
                    outcome = replace(outcome, rows=())
                outcomes[number] = outcome

        async with self._fetcher(sites) as fetcher:
            at_once = min(self.options.sites_at_once, len(sites))
            workers = [asyncio.create_task(work(fetcher)) for _ in range(at_once)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
        for note in fetcher.notes:
            _LOG.warning(note)
        return [outcomes[number] for number in range(len(sites))]

    def _fetcher(self, sites: Sequence[Site]) -> Fetcher:
        settings = self.settings
        whole = Politeness(connections=settings.scraper_connections, per_second=settings.scraper_requests_per_second)
        return Fetcher(
            Hosts({site.host for site in sites}, base_url=settings.scraper_base_url),
            politeness=whole.share(self.options.processes),
            user_agent=settings.scraper_user_agent,
            limits=self.options.fetch,
            honours_robots=settings.scraper_honours_robots,
        )

    async def _outcome(self, site: Site, fetcher: Fetcher) -> SiteOutcome:
        started_at = utc_now()
        try:
            known = self.known(site) if self.known is not None else None
            return await scrape_site(
                site, self.window, fetcher, known=known, limits=self.options.site, extracted_at=self.extracted_at
            )
        except Exception as error:  # noqa: BLE001 - every site gets an outcome, and the others go on
            _LOG.warning("site %s ended in an error that nobody foresaw", site.key, exc_info=True)
            seconds = (utc_now() - started_at).total_seconds()
            return SiteOutcome.failed(site, error, started_at=started_at, seconds=seconds)
