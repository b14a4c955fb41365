"""Some sites of the stand-in's web, two stores and a place for staged files: what a day of the pipeline needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import yaml

from data_platform.jobs.daily.pipeline import DailyPipeline
from data_platform.jobs.daily.plan import DayOptions, DayPlan, plan_day
from data_platform.jobs.master_data import populate_agencies
from data_platform.jobs.scraper.catalogue import load_sites
from data_platform.managers.storage_mode import StorageMode
from data_platform.models.agencies import Agency
from data_platform.settings import Settings
from dev.gov_web.server import GovWebServer
from dev.gov_web.site_plan import plan_of
from tests.support.hub import DATASET, TOKEN, Hub
from tests.support.sources import AGENCIES
from tests.support.stores import Store
from tests.support.two_stores import BOTH, TwoStores

__all__ = ["DAY", "SITES", "Day", "day", "write_sites"]

#: A Wednesday.
DAY = date(2026, 2, 4)
SITES = ("aeb", "anatel", "mec", "mre", "saude", "turismo")


def write_sites(path: Path) -> Path:
    """Write a site_urls.yaml of a few sites, one of them of Plone 6 and none of EBC."""
    shipped = {site.key: site for site in load_sites()}
    agencies = {
        key: {
            "url": shipped[key].url if key in shipped else f"https://www.gov.br/{key}/pt-br/noticias",
            "scraper_type": "plone6_api" if key == "anatel" else "html",
        }
        for key in SITES
    }
    path.write_text(yaml.safe_dump({"agencies": agencies, "ebc": {}}), encoding="utf-8")
    return path


class Day(TwoStores):
    """A web of six sites with an article a day each, and both stores.

    Attributes:
        web: the sites.
        last: the newest day of the sites.
        settings: of everything.
    """

    def __init__(self, store: Store, hub: Hub, folder: Path, web: GovWebServer, sites: Path, last: date) -> None:
        super().__init__(store, hub, folder)
        self.web = web
        self.last = last
        self.settings = replace(
            self.settings,
            sites_source=str(sites),
            scraper_base_url=web.url,
            scraper_requests_per_second=0.0,
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """The same as a process of its own finds it."""
        its = self.settings
        return {
            "DATABASE_URL": its.database_url,
            "HF_ENDPOINT": its.hf_endpoint,
            "HF_TOKEN": TOKEN,
            "HF_DATASET": DATASET,
            "THEMES_SOURCE": its.themes_source,
            "SITES_SOURCE": its.sites_source,
            "SCRAPER_BASE_URL": its.scraper_base_url,
            "SCRAPER_REQUESTS_PER_SECOND": "0",
            "STATE_URI": its.state_uri,
            "STAGING_URI": its.staging_uri,
        }

    def plan(self, which: StorageMode = BOTH, run_date: date = DAY, **options: Any) -> DayPlan:
        return plan_day(run_date, which, DayOptions(**{"groups": 3} | options), sites_source=self.settings.sites_source)

    def pipeline(
        self,
        which: StorageMode = BOTH,
        run_date: date = DAY,
        *,
        settings: Settings | None = None,
        **options: Any,
    ) -> DailyPipeline:
        return DailyPipeline(
            self.plan(which, run_date, **options),
            settings or self.settings,
            started_by="the test",
            dataset=self.dataset,
        )

    def state(self) -> dict[str, Any]:
        """What must be the same after a day is run again: rows, versions of rows, commits."""
        return {
            "postgres": self.in_postgres(),
            "versions": self.store.versions(),
            "rejects": self.store.rejects(),
            "huggingface": self.on_hub(),
            "commits": [self.hub.head(), self.hub.head(f"{DATASET}-reduced")],
        }


@contextmanager
def day(store: Store, hub: Hub, folder: Path, *, last: date = DAY, days: int = 4) -> Iterator[Day]:
    """Serve the sites, with an article a day each; their agencies are listed, as whoever runs this has them."""
    listed = {agency.key for agency in AGENCIES}
    with psycopg.connect(store.url) as connection:
        populate_agencies(connection, [*AGENCIES, *(Agency(key, key) for key in SITES if key not in listed)])
    sites = write_sites(folder / "site_urls.yaml")
    web = plan_of(load_sites(str(sites)), last, days=days, per_day=1)
    with GovWebServer(web) as server:
        yield Day(store, hub, folder, server, sites, last)
