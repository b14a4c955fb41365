"""The sites as the local stack has them: a stand-in for all of them, so that no run ever asks a real one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from data_platform.jobs.scraper.catalogue import choose_sites, load_sites
from data_platform.models.days import day_of, utc_now
from dev.gov_web.server import GovWebServer
from dev.gov_web.site_plan import plan_of

__all__ = ["local_web"]


@contextmanager
def local_web(*, days: int = 3, per_day: int = 1) -> Iterator[Mapping[str, str]]:
    """Serve made-up news on every active site of the catalogue, and give the environment in which they are found.

    Themes and summaries come from the enricher that needs no service.

    Args:
        days: how many days the listings reach back, today included.
        per_day: articles of each site a day.
    """
    web = plan_of(choose_sites(load_sites()), day_of(utc_now()), days=days, per_day=per_day)
    with GovWebServer(web) as server:
        yield {
            "ENRICHER": "embedded",
            "SCRAPER_BASE_URL": server.url,
            "SCRAPER_REQUESTS_PER_SECOND": "0",
            "SITES_SOURCE": "",
        }
