"""When to stop turning pages: pinned, back-dated and reversed items must not stop it too early, nor anything never."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.jobs.scraper.paging import Stop, StopRule, runs_upwards

TODAY = date(2026, 2, 5)
FIRST = TODAY - timedelta(days=1)


def ago(*days: int | None) -> list[date | None]:
    return [None if number is None else TODAY - timedelta(days=number) for number in days]


def stops(*pages: Sequence[date | None], most_pages: int = 50, first: date = FIRST) -> list[Stop | None]:
    rule = StopRule(first, most_pages=most_pages)
    return [rule.after_page(page, listed=len(page)) for page in pages]


def test_one_older_item_means_nothing() -> None:
    """Fault 28: the earlier scraper stopped the whole agency at it."""
    assert stops(ago(900, 0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3)) == [None]


def test_a_full_page_of_older_items_is_the_end_of_the_window() -> None:
    assert stops(ago(*[0] * 12), ago(*range(2, 14))) == [None, Stop.OLDER]


def test_a_short_page_of_older_items_may_be_pinned_ones() -> None:
    """Fault 28: three pinned articles fill a page of three."""
    pinned, page = ago(300, 200, 400), ago(0, 0, 1)
    assert stops(pinned, page, *[ago(5, 6, 7)] * 4) == [None, None, None, None, None, Stop.OLDER]


def test_a_newer_item_among_older_ones_begins_the_count_anew() -> None:
    assert stops(ago(2, 2, 2, 2, 2, 2), ago(2, 2, 2, 0, 2), ago(2, 2, 2, 2, 2), ago(2, 2, 2, 2, 2)) == [
        *(None, None, None),
        Stop.OLDER,
    ]


def test_a_listing_that_is_oldest_first_is_read_on() -> None:
    pages = [ago(*range(start, start - 20, -1)) for start in (90, 70, 50)]
    assert stops(*pages, ago(*range(30, -1, -1))) == [None, None, None, None]
    assert not runs_upwards([day for day in ago(3, 3, 4) if day])


def test_items_without_a_day_do_not_keep_a_listing_of_years_going() -> None:
    assert stops(ago(*range(2, 14), None, None)) == [Stop.OLDER]
    assert stops(ago(*range(2, 14), *[None] * 13)) == [None]


def test_pages_without_any_day_are_left_after_the_second() -> None:
    undated = ago(*[None] * 12)
    assert stops(undated, undated) == [None, Stop.UNDATED]
    assert stops(undated, ago(0), undated, undated) == [None, None, None, Stop.UNDATED]


def test_the_other_ends() -> None:
    rule = StopRule(FIRST, most_pages=3)
    assert rule.after_page([], listed=0) is Stop.END
    assert rule.after_page([], listed=30) is Stop.REPEATS
    assert StopRule(FIRST, most_pages=1).after_page(ago(0), listed=1, is_last=True) is Stop.END
    assert stops(ago(0), ago(0), ago(0), most_pages=3) == [None, None, Stop.PAGE_CAP]


@pytest.mark.parametrize(("stop", "covered"), [(s, s not in {Stop.UNDATED, Stop.PAGE_CAP}) for s in Stop])
def test_which_ends_cover_the_window(stop: Stop, covered: bool) -> None:
    assert stop.is_covered is covered


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=200),
    st.lists(st.integers(30, 900), max_size=9),
    st.integers(1, 40),
    st.integers(0, 30),
)
def test_nothing_of_the_window_is_behind_the_stop(
    ages: list[int], pinned: list[int], per_page: int, window_days: int
) -> None:
    """A listing newest first with up to nine old items pinned on top, whatever the size of its pages."""
    items = ago(*pinned, *sorted(ages))
    first = TODAY - timedelta(days=window_days)
    rule = StopRule(first, most_pages=1000)
    for start in range(0, len(items) + per_page, per_page):
        page = items[start : start + per_page]
        stop = rule.after_page(page, listed=len(page))
        if stop:
            missed = [day for day in items[start + per_page :] if day and day >= first]
            assert (missed, stop.is_covered) == ([], True)
            return
    raise AssertionError("it never stopped")
