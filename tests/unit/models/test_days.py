"""The rule for time, against Python's own zone database: every day from 1985 to 2030, every change of the clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.models.days import PUBLISHED_OFFSET, SAO_PAULO, day_of, days_of, instants_of_local, utc_now

SHOWN = timezone(timedelta(hours=-3))
#: Of its own making, so that the module cannot pass by naming another zone.
ZONE = ZoneInfo("America/Sao_Paulo")
DAYS = [date(1985, 1, 1) + timedelta(days=n) for n in range((date(2031, 1, 1) - date(1985, 1, 1)).days)]
UTC_MICROS = pa.timestamp("us", tz="UTC")
NAIVE_MICROS = pa.timestamp("us")


def local(day: date, at: time = time()) -> datetime:
    return datetime.combine(day, at)


def is_skipped(wall_clock: datetime) -> bool:
    """Whether the clock was put forward over this time."""
    there = wall_clock.replace(tzinfo=ZONE).astimezone(UTC).astimezone(ZONE)
    return there.replace(tzinfo=None) != wall_clock


def is_repeated(wall_clock: datetime) -> bool:
    first, second = (wall_clock.replace(tzinfo=ZONE, fold=fold).utcoffset() for fold in (0, 1))
    return first != second and not is_skipped(wall_clock)


SKIPPED = [day for day in DAYS if is_skipped(local(day))]
REPEATED = [day for day in DAYS if is_repeated(local(day, time(23, 30)))]


def test_the_years_hold_the_clock_changes_that_these_tests_are_about() -> None:
    assert len(SKIPPED) >= 33
    assert len(REPEATED) >= 33
    assert max(SKIPPED) == date(2018, 11, 4)
    assert max(REPEATED) == date(2019, 2, 16)


def test_a_row_shown_at_23_in_summer_time_belongs_to_the_day_after() -> None:
    """Fault 5: 9 % of the historic rows show 23:00 of the day before."""
    summer = [
        day for day in DAYS if local(day).replace(tzinfo=ZONE).utcoffset() == timedelta(hours=-2) and day not in SKIPPED
    ]
    assert len(summer) > 3000
    shown = [datetime.combine(day - timedelta(days=1), time(23), tzinfo=SHOWN) for day in summer]
    array = pa.array(shown, pa.timestamp("us", tz=PUBLISHED_OFFSET))
    assert days_of(array).to_pylist() == summer
    assert [day_of(instant) for instant in shown] == summer


def test_the_first_midnight_of_summer_time_keeps_its_day_though_the_clock_skipped_it() -> None:
    assert [day_of(datetime.combine(day, time(), tzinfo=SHOWN)) for day in SKIPPED] == SKIPPED


def test_days_agree_with_python_for_every_day_and_around_every_midnight() -> None:
    offsets = (-1, 0, 7199, 7200, 10799, 10800, 43200)
    instants = [datetime.combine(day, time(), tzinfo=UTC) + timedelta(seconds=s) for day in DAYS for s in offsets]
    expected = [instant.astimezone(ZONE).date() for instant in instants]
    assert days_of(pa.array(instants, UTC_MICROS)).to_pylist() == expected


@settings(max_examples=100)
@given(
    st.lists(st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))),  # noqa: DTZ001
    st.sampled_from(["UTC", "-03:00", "Asia/Tokyo"]),
    st.integers(0, 3),
)
def test_arrow_and_python_agree_on_any_instant(instants: list[datetime | None], shown_in: str, skip: int) -> None:
    array = pa.array(instants, pa.timestamp("us", tz=shown_in)).slice(skip)
    assert days_of(array).to_pylist() == [None if i is None else day_of(i) for i in instants[skip:]]


def test_an_instant_without_zone_has_no_day() -> None:
    with pytest.raises(ValueError, match="zone"):
        day_of(datetime(2024, 1, 1))  # noqa: DTZ001 - the point


def test_a_skipped_wall_clock_time_becomes_the_first_instant_after_the_gap() -> None:
    asked = [local(day, at) for day in SKIPPED for at in (time(), time(0, 30), time(0, 59, 59, 999999))]
    found = instants_of_local(pa.array(asked, NAIVE_MICROS)).to_pylist()
    # All gaps of these years lead from 00:00 to 01:00, which is 03:00 in UTC.
    assert found == [datetime.combine(wanted.date(), time(3), tzinfo=UTC) for wanted in asked]
    assert [day_of(instant) for instant in found] == [wanted.date() for wanted in asked]


def test_a_wall_clock_time_that_occurs_twice_becomes_the_first() -> None:
    asked = [local(day, at) for day in REPEATED for at in (time(23), time(23, 59, 59, 999999))]
    found = instants_of_local(pa.array(asked, NAIVE_MICROS)).to_pylist()
    assert found == [wanted.replace(tzinfo=ZONE, fold=0).astimezone(UTC) for wanted in asked]
    assert all(f < w.replace(tzinfo=ZONE, fold=1).astimezone(UTC) for f, w in zip(found, asked, strict=True))


def test_every_other_wall_clock_time_of_these_years_is_read_as_python_reads_it() -> None:
    times = (time(), time(1), time(12, 34, 56, 789), time(22, 59, 59), time(23, 30))
    asked = [local(day, at) for day in DAYS for at in times]
    asked = [wall_clock for wall_clock in asked if not is_skipped(wall_clock)]
    expected = [wall_clock.replace(tzinfo=ZONE).astimezone(UTC) for wall_clock in asked]
    assert instants_of_local(pa.array(asked, NAIVE_MICROS)).to_pylist() == expected


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_local_times_keep_unit_nulls_and_place(unit: str) -> None:
    given_ = pa.array([datetime(2000, 7, 1), None, datetime(2024, 7, 1, 12)], pa.timestamp(unit))  # noqa: DTZ001
    found = instants_of_local(given_)
    assert found.type == pa.timestamp(unit, tz="UTC")
    expected = [datetime(2000, 7, 1, 3, tzinfo=UTC), None, datetime(2024, 7, 1, 15, tzinfo=UTC)]
    assert found.cast(UTC_MICROS).to_pylist() == expected
    assert instants_of_local(given_.slice(1)).cast(UTC_MICROS).to_pylist() == expected[1:]


def test_the_present_has_a_zone() -> None:
    assert utc_now().utcoffset() == timedelta(0)
    assert SAO_PAULO.key == "America/Sao_Paulo"
