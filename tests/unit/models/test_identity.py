"""Ids of new articles, and the two forms in which those of old ones were made (faults 1, 2)."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.models.days import SAO_PAULO
from data_platform.models.identity import day_text, instant_text, legacy_id_form, new_id, salted_id
from tests.support.rows import instants, texts

BRASILIA = timezone(timedelta(hours=-3))
AT = datetime(2025, 11, 25, 17, 23, tzinfo=BRASILIA)


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def row(unique_id: str, published_at: datetime | None, title: str = "Ação no município") -> dict[str, Any]:
    return {"unique_id": unique_id, "agency": "mec", "published_at": published_at, "title": title}


def test_a_new_id_is_made_of_agency_instant_and_title_with_one_underscore_between() -> None:
    assert new_id("mec", AT, "Ação") == md5("mec_2025-11-25T17:23:00-03:00_Ação")
    assert new_id(None, None, None) == md5("None_None_None")


@given(instants, st.integers(-11, 13))
def test_an_id_does_not_depend_on_the_zone_or_the_microseconds_that_an_instant_comes_with(
    at: datetime, hours: int
) -> None:
    at = at.replace(year=min(max(at.year, 2), 9998))
    there = at.astimezone(timezone(timedelta(hours=hours)))
    assert new_id("mec", there.replace(microsecond=7), "t") == new_id("mec", at.replace(microsecond=0), "t")


def test_the_offset_is_fixed_also_in_summer_time() -> None:
    summer = datetime(2017, 12, 5, tzinfo=SAO_PAULO)  # -02:00
    assert instant_text(summer) == "2017-12-04T23:00:00-03:00"
    assert day_text(summer) == "2017-12-05"


@pytest.mark.parametrize(
    ("text", "published_at", "form"),
    [
        ("2024-05-06", datetime(2024, 5, 6, tzinfo=BRASILIA), "day"),
        ("2017-12-05", datetime(2017, 12, 4, 23, tzinfo=BRASILIA), "day"),  # shown at 23:00 of the day before
        ("2025-11-15", datetime(2025, 11, 15, 9, 41, tzinfo=BRASILIA), "day"),  # a clock time, and the day hashed
        ("2025-11-25T17:23:00-03:00", AT, "iso"),
        ("2025-11-19T14:43:49-03:00", datetime(2025, 11, 19, 17, 43, 49, tzinfo=UTC), "iso"),
        ("2025-11-25T20:23:00+00:00", AT, None),  # printed in UTC (fault 2)
        ("2017-12-04", datetime(2017, 12, 4, 23, tzinfo=BRASILIA), None),  # the day that is shown, not the true one
        ("None", None, "day"),
    ],
)
def test_each_historic_form_is_recognised(text: str, published_at: datetime | None, form: str | None) -> None:
    made = row(md5(f"mec_{text}_Ação no município"), published_at)
    assert legacy_id_form(made) == form
    assert legacy_id_form(made | {"title": "editada"}) is None


@given(instants, texts)
def test_ids_of_both_forms_are_told_apart(at: datetime, title: str) -> None:
    assert legacy_id_form(row(new_id("mec", at, title), at, title)) == "iso"
    assert legacy_id_form(row(md5(f"mec_{at.astimezone(SAO_PAULO):%Y-%m-%d}_{title}"), at, title)) in {"day", None}


def test_a_salted_id_is_another_one_and_always_the_same() -> None:
    plain = new_id("mec", AT, "t")
    one, other = (salted_id("mec", AT, "t", f"https://x.br/{path}") for path in "ab")
    assert len({plain, one, other}) == 3
    assert one == salted_id("mec", AT.astimezone(ZoneInfo("Asia/Tokyo")), "t", "https://x.br/a")


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        new_id("mec", datetime(2025, 11, 25), "t")  # noqa: DTZ001 - that is the point
