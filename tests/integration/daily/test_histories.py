"""Days with failing stores, edited articles and writes cleared later, in any order, leave two equal stores."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from data_platform.errors import StoreError
from data_platform.jobs.daily.pipeline import DailyPipeline
from data_platform.jobs.reconcile.missed import repair_missed
from data_platform.jobs.scraper.catalogue import load_sites
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.managers.storage_mode import ReadSource
from dev.gov_web.site_plan import PlannedSite, plan_of
from tests.integration.daily.test_pipeline import failing, with_cogfy
from tests.support.daily import DAY, Day
from tests.support.enrichment import cogfy
from tests.support.two_stores import BOTH, mode

_STEPS = 10
_FAST, _ALL = 2, 14


@pytest.mark.parametrize(
    "seed", [*range(_FAST), *(pytest.param(n, marks=pytest.mark.slow) for n in range(_FAST, _ALL))]
)
def test_after_any_history_the_repair_of_what_was_missed_makes_both_stores_the_same(
    its: Day, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(seed)
    sites = list(plan_of(load_sites(its.settings.sites_source), DAY + timedelta(days=3), days=8, per_day=1).sites)
    show(its, sites)
    staged: list[tuple[DailyPipeline, dict[str, Any]]] = []
    with cogfy() as there:
        for _ in range(_STEPS):
            what = dice.choice(["run", "run", "title", "date", "clear"])
            if what == "run":
                pipeline = its.pipeline(
                    dice.choice([BOTH, mode("dual_write", "postgres")]),
                    DAY + timedelta(days=dice.randint(0, 3)),
                    settings=dice.choice([its.settings, with_cogfy(its, there)]),
                )
                day = stage(pipeline, enriches=dice.random() < 0.8)
                staged.append((pipeline, day))
                write(its, pipeline, day, dice.choice([None, None, *ReadSource]), monkeypatch)
            elif what == "clear" and staged:
                write(its, *dice.choice(staged), None, monkeypatch)
            elif what in {"title", "date"}:
                place = dice.randrange(len(sites))
                edited = [
                    replace(a, title=f"{a.title}!") if what == "title" else replace(a, published=a.published - _A_BIT)
                    for a in sites[place].articles
                ]
                sites[place] = replace(sites[place], articles=edited)
                show(its, sites)
    with its.adapter() as adapter:
        repaired = repair_missed(adapter)
    assert repaired.open == 0, repaired.lines()
    compared = its.compare()
    assert compared.passed, compared.lines()
    assert its.in_postgres().keys() == its.on_hub().keys()


_A_BIT = timedelta(hours=20)


def show(its: Day, sites: Sequence[PlannedSite]) -> None:
    for site in sites:
        its.web.web.add(site)
    its.web.web._made.clear()


def stage(pipeline: DailyPipeline, *, enriches: bool) -> dict[str, Any]:
    gathered = pipeline.gather([pipeline.scrape(number) for number in range(len(pipeline.plan.groups))])
    return pipeline.enriched(gathered, pipeline.submit(gathered)) if enriches else pipeline.unenriched(gathered)


def write(
    its: Day, pipeline: DailyPipeline, day: dict[str, Any], fails: ReadSource | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Write a staged day into both stores, one of which may refuse new rows."""
    for side in pipeline.plan.mode.sides:
        if side is not fails:
            pipeline.write(side, day)
            continue
        with monkeypatch.context() as patch:
            if side is ReadSource.POSTGRES:
                failing(PostgresManager, "insert_rows", patch)
            else:
                dataset = its.dataset()
                failing(dataset, "insert_rows", patch)
                patch.setattr(pipeline, "_dataset", lambda dataset=dataset: dataset)
            with pytest.raises(StoreError):
                pipeline.write(side, day)
