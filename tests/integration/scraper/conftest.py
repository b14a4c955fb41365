"""The stand-in of the sites, on loopback, and a fetcher that asks it without long pauses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from data_platform.jobs.scraper.fetch import Fetcher
from data_platform.jobs.scraper.hosts import Hosts
from data_platform.jobs.scraper.politeness import Politeness
from dev.gov_web.server import GovWebServer
from dev.gov_web.site_plan import GovWeb, PlannedSite, articles_of_days
from tests.support.gov_web import HOSTS, LAST, LISTING, QUICK

T = TypeVar("T")


@pytest.fixture(scope="session")
def made_web() -> GovWeb:
    """One classic site with two articles a day, and robots.txt of its host."""
    articles = articles_of_days(LISTING, LAST, days=12, per_day=2)
    return GovWeb([PlannedSite(listing=LISTING, articles=articles)])


@pytest.fixture
def server(made_web: GovWeb) -> Iterator[GovWebServer]:
    """The stand-in; faults are planted by the test."""
    made_web.robots.clear()
    with GovWebServer(made_web) as running:
        yield running


@pytest.fixture
def with_fetcher(server: GovWebServer) -> Callable[..., Any]:
    """A function that runs work with a fetcher on the stand-in; its keywords are the fetcher's."""

    def run(work: Callable[[Fetcher], Awaitable[T]], **options: Any) -> T:
        async def inside() -> T:
            chosen: dict[str, Any] = {"limits": QUICK, "politeness": Politeness(connections=8, per_second=0)}
            async with Fetcher(Hosts(HOSTS, base_url=server.url), **{**chosen, **options}) as fetcher:
                return await work(fetcher)

        return asyncio.run(inside())

    return run
