"""What is handed on of a visit to a site."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

from data_platform.jobs.daily.plan import DayOptions, DayPlan
from data_platform.jobs.daily.visits import SCRAPE, Visit, record_visits, site_history
from data_platform.jobs.scraper.catalogue import load_sites
from data_platform.jobs.scraper.outcome import Account, Failure, SiteOutcome, Status
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.storage_mode import StorageMode

DAY = date(2026, 11, 21)
PAGE = "https://www.gov.br/mec/noticias"


def visit() -> Visit:
    """Return a visit of which seven articles could not be had, five of them known by name."""
    failures = [Failure(url=f"{PAGE}/{n}", category="network_error", message="503", retryable=True) for n in range(5)]
    outcome = SiteOutcome(
        site=load_sites()[0],
        status=Status.SUCCESS,
        account=Account(opened=7, failed=Counter(network_error=7)),
        failures=failures,
        started_at=datetime(2026, 11, 22, 6, tzinfo=UTC),
    )
    return Visit.of(outcome, DAY)


def test_the_first_articles_that_could_not_be_had_are_named() -> None:
    seen = visit()
    assert seen.missed == [f"{PAGE}/{n} (network_error)" for n in range(3)]
    assert f"7 not to be had: {PAGE}/0 (network_error), {PAGE}/1" in str(seen)
    assert Visit.from_dict(json.loads(json.dumps(seen.to_dict()))) == seen


def test_a_visit_that_an_older_release_handed_over_can_be_read() -> None:
    values = {name: value for name, value in visit().to_dict().items() if name != "missed"}
    assert Visit.from_dict(values).missed == ()


def test_they_stand_in_the_ledger_beside_what_was_found(tmp_path: Path) -> None:
    ledger, seen = RunLedger(str(tmp_path)), visit()
    plan = DayPlan(run_date=DAY, first=DAY, last=DAY, mode=StorageMode(), groups=[[seen.site]], options=DayOptions())
    assert record_visits([seen], ledger, plan) == ""
    entry = ledger.newest(SCRAPE)
    assert entry is not None
    assert entry.facts["missed"] == {seen.site: list(seen.missed)}
    assert [run.site for run in site_history(ledger, DAY)] == [seen.site]
