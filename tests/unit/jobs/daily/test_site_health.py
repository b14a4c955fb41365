"""Which sites raise an alert, and which do not."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from data_platform.jobs.daily.site_health import SiteRun, site_alerts

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


def test_only_sites_that_were_looked_at_are_judged() -> None:
    assert told([ran(n, failed=True) for n in range(9, 0, -1)]) == []


def test_a_run_made_again_counts_once_and_as_it_ended_last() -> None:
    assert told([ran(2, failed=True), ran(1, failed=True), ran(0, failed=True), ran(0)]) == []


@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["fails", "silent", "publishes"])), max_size=60))
def test_an_alert_is_raised_for_no_site_that_published_today(days: list[tuple[int, str]]) -> None:
    history = [ran(n, failed=what == "fails", silent=what == "silent") for n, what in days]
    assert told([*history, ran(0)]) == []
