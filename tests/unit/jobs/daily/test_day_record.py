"""What a day's record says: what was found, what needs a person, why the run must not be green."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from data_platform.jobs.daily.day_record import DayRecord
from data_platform.jobs.daily.plan import DayOptions, DayPlan, plan_day
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode
from data_platform.models.days import utc_now

WELL = {"enricher": "cogfy", "picked": 214, "enriched": 209, "pending": 5, "failed": 0, "skipped": 0}
INSERTED = {"given": 655, "inserted": 214, "rejected": 0}


@pytest.fixture(scope="module")
def plan() -> DayPlan:
    which = StorageMode(
        backend=StorageBackend.POSTGRES, read_from=ReadSource.POSTGRES, backend_source="test", read_source="test"
    )
    return plan_day(date(2026, 2, 4), which, DayOptions())


def gathered(**sites: Any) -> dict[str, Any]:
    found = {"visited": 160, "read": 160, "failed": {}, "articles": 655, "articles_failed": 0, "missed": []}
    return {"sites": found | sites, "alerts": [], "identity": {"read": 655}, "identified_by": "by postgres"}


def record(
    enrichment: Mapping[str, Any] | None = None, insert: Mapping[str, int] | None = None, **written: Any
) -> DayRecord:
    return DayRecord(
        started_at=utc_now(),
        gathered=gathered(),
        enriched={"staged": {"rows": 655, "uri": "x"}, "enrichment": WELL | (enrichment or {})},
        written={"postgres": {"counts": {"insert": INSERTED | (insert or {})}, **written}},
    )


def test_a_day_like_any_other_needs_nobody(plan: DayPlan) -> None:
    made = record()
    assert (made.alerts, made.problems(plan)) == ([], [])
    assert made.facts["identified_by"] == "by postgres"


@pytest.mark.parametrize("what", ["pending", "failed"])
def test_an_enricher_that_enriches_nothing_needs_a_person(what: str) -> None:
    """Its quota is out, or it refuses every row: it answers, and would be green for ever."""
    nothing = {"picked": 2140, "enriched": 0, "pending": 0, "skipped": 0, what: 2140, "problems": ["402: no credits"]}
    (alert,) = record(nothing).alerts
    assert alert == f"cogfy has nothing for any of 2140 articles: 2140 {what} (402: no credits)"
    few = {"picked": 40, "enriched": 0, "pending": 0, "skipped": 20, what: 20}
    assert record(few).alerts == [], "on a quiet day there may be nothing but what waits"


def test_articles_that_get_no_theme_in_their_time_are_told() -> None:
    assert record({"leaving": 5}).alerts == []
    (alert,) = record({"leaving": 6}).alerts
    assert "6 articles have no theme or no summary" in alert


def test_many_rejects_need_a_person(plan: DayPlan) -> None:
    assert record(insert={"rejected": 60}).alerts == []
    made = record(insert={"rejected": 66}, rejected_by_reason={"published_at_missing": 66})
    assert made.alerts == ["postgres rejected 66 of 655 rows: 66 published at missing"]
    assert made.problems(plan) == []


def test_an_agency_that_nobody_listed_is_named() -> None:
    assert record(new_agencies=["mdic", "xyz"]).alerts == ["news of agencies that nobody listed: mdic, xyz"]


def test_articles_that_could_not_be_had_are_counted_and_the_first_are_named(plan: DayPlan) -> None:
    missed = ["https://www.gov.br/mec/a (network_error)", "https://www.gov.br/mec/b (url_broken)"]
    made = DayRecord(started_at=utc_now(), gathered=gathered(articles_failed=7, missed=missed))
    assert f"  7 articles could not be had: {missed[0]}, {missed[1]} and 5 more" in made.lines(plan)
    assert made.facts["sites"]["missed"] == missed


def test_what_was_not_gathered_is_not_told_as_sites_that_were_not_read(plan: DayPlan) -> None:
    """The store was down; gov.br answered, and there is nothing to wait for."""
    made = DayRecord(started_at=utc_now(), errors={"postgres": "it did not run, since gather failed"})
    assert made.problems(plan) == ["postgres was not written: it did not run, since gather failed"]
    assert not any("read" in line for line in made.lines(plan))
    assert DayRecord(started_at=utc_now(), gathered=gathered(read=3)).problems(plan)[-1].startswith("only 3 of ")


def test_what_is_not_handed_over_is_told_with_the_reason(plan: DayPlan) -> None:
    made = record({"picked": 217, "skipped": 3, "skipped_by_reason": {"without_text": 3}})
    assert "  cogfy: 217 picked, 209 enriched, 5 pending, 3 skipped (3 without text)" in made.lines(plan)
