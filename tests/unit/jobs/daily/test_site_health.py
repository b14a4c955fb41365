"""Which sites raise an alert, and which do not."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from data_platform.jobs.daily.site_health import SiteRun, site_alerts
from data_platform.jobs.daily.visits import SCRAPE, site_history
from data_platform.managers.ledger.entry import LedgerEntry, new_entry_id
from data_platform.managers.ledger.run_ledger import RunLedger

TODAY = date(2026, 11, 21)


def ran(days_ago: int, *, site: str = "mec", failed: bool = False, silent: bool = False) -> SiteRun:
    day = TODAY - timedelta(days=days_ago)
    newest = None if failed or silent else day
    return SiteRun(site=site, run_date=day, failed=failed, category="network_error" if failed else "", newest=newest)


def told(history: list[SiteRun]) -> list[str]:
    return [str(alert) for alert in site_alerts(history, today=TODAY)]


def test_a_site_that_fails_three_runs_in_a_row_is_named_with_the_reason() -> None:
    history = [ran(3), ran(2, failed=True), ran(1, failed=True), ran(0, failed=True)]
    assert told(history) == ["mec: failed 3 runs in a row (network_error)"]
    assert told(history[:-1]) == []


def test_fault_61_runs_are_counted_not_hours() -> None:
    """Three failed runs are three failed runs, with days between them or without."""
    assert told([ran(9, failed=True), ran(5, failed=True), ran(0, failed=True)]) != []
    assert told([ran(9, failed=True), ran(5), ran(0, failed=True)]) == []


def test_fault_61_a_site_is_late_by_its_own_rhythm() -> None:
    daily = [ran(n) for n in range(20, 9, -1)] + [ran(n, silent=True) for n in range(9, -1, -1)]
    fortnightly = [ran(n) for n in (70, 56, 42, 28, 14)] + [ran(n, silent=True) for n in range(13, -1, -1)]
    assert told(daily) == ["mec: no article for 10 days; up to 1 are usual for it"]
    assert told(fortnightly) == []


def test_of_a_site_that_is_hardly_known_silence_says_nothing() -> None:
    assert told([ran(40), ran(30), *(ran(n, silent=True) for n in range(20, -1, -1))]) == []


def test_a_site_of_which_nobody_ever_saw_an_article_is_told() -> None:
    """An old listing that can be read for ever, and has nothing in its window."""
    never = [ran(n, silent=True) for n in range(30)]
    assert told(never) == ["mec: not one article in 30 runs; is its address in the catalogue the right one?"]
    assert told([*never[1:], ran(0)]) == []
    assert told(never[:29]) == []
    assert told([*never[:29], ran(29, failed=True)]) == [], "what could not be read says nothing"


def test_a_site_that_has_been_silent_for_months_is_not_forgotten() -> None:
    """Of the last 90 days nothing is left to learn its rhythm from; what is older still tells it."""
    sundays = [ran(n) for n in range(180, 130, -7)]
    silent = [ran(n, silent=True) for n in range(90, -1, -1)]
    assert told([*sundays, *silent]) == ["mec: no article for 131 days; up to 7 are usual for it"]


def test_the_history_reaches_back_a_year_by_the_runs_for_sundays(tmp_path: Path) -> None:
    ledger = RunLedger(str(tmp_path))
    at = datetime(2026, 1, 1, tzinfo=UTC)
    recorded = [TODAY - timedelta(days=back) for back in (*range(0, 91, 10), *range(91, 112), *range(300, 314))]
    for day in recorded:
        sites = {"mec": ["", 1, day.isoformat()]}
        entry = LedgerEntry(kind=SCRAPE, entry_id=new_entry_id(), started_at=at, run_date=day, facts={"sites": sites})
        ledger.record(entry)
    recent, sundays = recorded[:10], [day for day in recorded[10:] if day.isoweekday() == 7]
    assert len(sundays) == 5
    assert sorted(run.run_date for run in site_history(ledger, TODAY)) == sorted([*recent, *sundays])


def test_a_rhythm_is_that_of_the_last_months_if_it_can_be_told_from_them() -> None:
    """It was slow once, and is daily now."""
    slow, daily = [ran(n) for n in range(300, 99, -40)], [ran(n) for n in range(40, 14, -1)]
    assert told([*slow, *daily, ran(0, silent=True)]) == ["mec: no article for 15 days; up to 1 are usual for it"]


def test_only_sites_that_were_looked_at_are_judged() -> None:
    assert told([ran(n, failed=True) for n in range(9, 0, -1)]) == []


def test_a_run_made_again_counts_once_and_as_it_ended_last() -> None:
    assert told([ran(2, failed=True), ran(1, failed=True), ran(0, failed=True), ran(0)]) == []


@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["fails", "silent", "publishes"])), max_size=60))
def test_an_alert_is_raised_for_no_site_that_published_today(days: list[tuple[int, str]]) -> None:
    history = [ran(n, failed=what == "fails", silent=what == "silent") for n, what in days]
    assert told([*history, ran(0)]) == []
