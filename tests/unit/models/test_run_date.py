"""The run date: São Paulo's day before the scheduled time, or the day that a person asked for."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.errors import ConfigurationError
from data_platform.models.days import SAO_PAULO
from data_platform.models.run_date import run_date_of

D = date


@pytest.mark.parametrize(
    ("scheduled", "day"),
    [
        pytest.param(datetime(2026, 11, 22, 9, tzinfo=UTC), D(2026, 11, 21), id="06:00 in São Paulo"),
        pytest.param(datetime(2026, 11, 22, 2, 59, 59, tzinfo=UTC), D(2026, 11, 20), id="still the 21st in São Paulo"),
        pytest.param(datetime(2026, 11, 22, 3, tzinfo=UTC), D(2026, 11, 21), id="midnight in São Paulo"),
        pytest.param(datetime(2026, 11, 22, 23, 59, tzinfo=UTC), D(2026, 11, 21), id="evening, the same day in UTC"),
        pytest.param(datetime(2026, 1, 1, 12, tzinfo=ZoneInfo("Asia/Tokyo")), D(2025, 12, 31), id="another zone"),
        pytest.param(datetime(2026, 3, 1, 9, tzinfo=UTC), D(2026, 2, 28), id="over the end of a month"),
        # Summer time until 2019: São Paulo was two hours behind UTC.
        pytest.param(datetime(2018, 1, 10, 2, 30, tzinfo=UTC), D(2018, 1, 9), id="00:30 in summer time"),
        pytest.param(datetime(2018, 7, 10, 2, 30, tzinfo=UTC), D(2018, 7, 8), id="23:30 in winter"),
        # On 17 February 2018 the hour from 23:00 came twice.
        pytest.param(datetime(2018, 2, 18, 1, 30, tzinfo=UTC), D(2018, 2, 16), id="23:30, the first time"),
        pytest.param(datetime(2018, 2, 18, 2, 30, tzinfo=UTC), D(2018, 2, 16), id="23:30, the second time"),
        pytest.param(datetime(2018, 2, 18, 3, tzinfo=UTC), D(2018, 2, 17), id="the midnight after"),
        # On 4 November 2018 the clock went from 23:59:59 to 01:00.
        pytest.param(datetime(2018, 11, 4, 2, 59, tzinfo=UTC), D(2018, 11, 2), id="before the skipped midnight"),
        pytest.param(datetime(2018, 11, 4, 3, tzinfo=UTC), D(2018, 11, 3), id="after the skipped midnight"),
    ],
)
def test_it_is_the_sao_paulo_day_before_the_scheduled_time(scheduled: datetime, day: date) -> None:
    """Fault 9."""
    assert run_date_of(scheduled, None) == day


@given(st.datetimes(datetime(1990, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001 - as it asks
def test_it_is_the_day_on_sao_paulo_s_calendar_less_one(scheduled: datetime) -> None:
    day = run_date_of(scheduled, "")
    assert day is not None
    assert day + timedelta(days=1) == scheduled.astimezone(SAO_PAULO).date()
    assert run_date_of(scheduled.astimezone(ZoneInfo("Pacific/Auckland")), None) == day, "the zone changes no instant"


def test_what_the_form_says_wins() -> None:
    assert run_date_of(datetime(2026, 11, 22, 9, tzinfo=UTC), " 2026-10-01\n") == D(2026, 10, 1)
    assert run_date_of(None, "2024-02-29") == D(2024, 2, 29)


@pytest.mark.parametrize("form", [None, "", "  "])
def test_a_run_without_time_and_day_has_none(form: str | None) -> None:
    assert run_date_of(None, form) is None


@pytest.mark.parametrize(
    "form", ["21/11/2026", "2026-13-01", "2026-02-29", "yesterday", "20261121", "2026-W47-6", "2026-11-21T06:00"]
)
def test_what_is_no_day_is_told_with_what_to_write(form: str) -> None:
    with pytest.raises(ConfigurationError, match="YYYY-MM-DD") as caught:
        run_date_of(None, form)
    assert f"run_date is {form!r}" in str(caught.value)


def test_a_time_without_zone_is_refused_rather_than_guessed() -> None:
    with pytest.raises(ValueError, match="zone"):
        run_date_of(datetime(2026, 11, 22, 9), None)  # noqa: DTZ001 - the point
