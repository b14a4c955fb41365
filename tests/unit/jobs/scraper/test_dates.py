"""Dates: every format met in the field, what is no date, and any day of the years there is news of."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.jobs.scraper.dates import find_when, is_dateline, published_in, updated_in
from data_platform.jobs.scraper.records import When
from data_platform.models.days import day_of

#: Of its own making, so that the module cannot pass by naming another zone.
ZONE = ZoneInfo("America/Sao_Paulo")


def at(*parts: int) -> When:
    return When(datetime(*parts, tzinfo=ZONE).astimezone(UTC), exact=True)  # type: ignore[arg-type]


def on(year: int, month: int, day: int) -> When:
    return When(datetime(year, month, day, tzinfo=ZONE).astimezone(UTC), exact=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("2025-11-17T19:24:43-03:00", at(2025, 11, 17, 19, 24, 43), id="JSON-LD"),
        pytest.param("2025-11-17T19:24:43.123456-0300", at(2025, 11, 17, 19, 24, 43), id="decimals, plain offset"),
        pytest.param("10/02/2026 17h05", at(2026, 2, 10, 17, 5), id="documentPublished"),
        pytest.param("10/02/2026\xa017h05min", at(2026, 2, 10, 17, 5), id="hard space, min"),
        pytest.param("Publicado em 05/02/2026 13h47", at(2026, 2, 5, 13, 47), id="inline"),
        pytest.param("17/11/2025 - 18:58", at(2025, 11, 17, 18, 58), id="EBC"),
        pytest.param("Publicado em 16/09/2025 - 13:40", at(2025, 9, 16, 13, 40), id="EBC inline"),
        pytest.param("05/02/2026", on(2026, 2, 5), id="listing"),
        pytest.param("5/2/2026", on(2026, 2, 5), id="without noughts"),
        pytest.param("05.02.2026", on(2026, 2, 5), id="dots"),
        pytest.param("por Ana — publicado 05/02/2026 13h47", at(2026, 2, 5, 13, 47), id="byline"),
        pytest.param("2026-02-05T13:47:00-03:00", at(2026, 2, 5, 13, 47), id="time element"),
        pytest.param("2026-02-05", on(2026, 2, 5), id="time element, day"),
        pytest.param("No AR em 12/11/2025", on(2025, 11, 12), id="TV Brasil"),
        pytest.param("2026-02-05T16:47:00+00:00", at(2026, 2, 5, 13, 47), id="REST in UTC"),
        pytest.param("2026-02-05T16:47:00Z", at(2026, 2, 5, 13, 47), id="REST in Z"),
        pytest.param("2026-02-05T13:47:00", at(2026, 2, 5, 13, 47), id="REST without offset is Brasília"),
        pytest.param("2026-02-05 13:47", at(2026, 2, 5, 13, 47), id="ISO with a space"),
        pytest.param("5 de fevereiro de 2026", on(2026, 2, 5), id="words"),
        pytest.param("1º de março de 2026, às 9h", at(2026, 3, 1, 9), id="words, ordinal, hour"),
        pytest.param("QUINTA-FEIRA, 05 DE MARÇO DE 2026 | 10H30", at(2026, 3, 5, 10, 30), id="words in capitals"),
        pytest.param("05 fev. 2026 - 08:01:02", at(2026, 2, 5, 8, 1, 2), id="short month, seconds"),
        pytest.param("10/02/2026 25h05", on(2026, 2, 10), id="no such hour: the day"),
        pytest.param("31/02/2026 e 01/03/2026", on(2026, 3, 1), id="the first that can be"),
        pytest.param("04/11/2018", When(datetime(2018, 11, 4, 3, tzinfo=UTC), exact=False), id="skipped midnight"),
        pytest.param("10/01/2018 12h00", When(datetime(2018, 1, 10, 14, tzinfo=UTC), exact=True), id="summer time"),
    ],
)
def test_formats(text: str, expected: When) -> None:
    assert find_when(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "ontem",
        "31/02/2026",
        "00/01/2026",
        "2026-13-01",
        "1970-01-01T00:00:00+00:00",
        "1969-12-31T00:00:00+00:00",
        "01/01/1970",
        "2499-12-31T00:00:00+00:00",
        "05/02/26",
        "05/02",
        "20260205",
        "processo 123/02/2026/7",
        "0000-00-00",
        "nº 1234-02-2026-55",
    ],
)
def test_what_is_no_date_of_an_article_is_none_and_never_1970(text: str | None) -> None:
    assert find_when(text) is None


def test_labels_tell_which_date_is_which() -> None:
    text = "por Ana — última modificação 06/02/2026 10h, publicado em 05/02/2026 13h47"
    assert published_in(text) == at(2026, 2, 5, 13, 47)
    assert updated_in(text) == at(2026, 2, 6, 10)
    assert published_in("Atualizado em 06/02/2026") is None
    assert updated_in("Publicado em 31/02/2026, 06/02/2026") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Publicado em 29/10/2020 19h23 Atualizado em 17/06/2025 16h07", True),
        ("Publicado em", True),
        ("Atualizado em: 10/02/2026 às 17h05 |", True),
        ("Última modificação 10 de fevereiro de 2026", True),
        ("Publicado em 29/10/2020, o edital prevê 30 vagas", False),
        ("O edital foi publicado em 29/10/2020", False),
        ("29/10/2020", False),
        ("Publicado em 29/10/2020 " * 20, False),
    ],
)
def test_a_line_of_dates_is_told_from_a_sentence(text: str, expected: bool) -> None:
    assert is_dateline(text) is expected


_days = st.dates(date(1995, 1, 2), date(2099, 12, 30))
_forms = st.sampled_from(
    ["{:%d/%m/%Y}", "Publicado em {:%d/%m/%Y}", "{:%Y-%m-%d}", "{:%d.%m.%Y}", "em {:%d/%m/%Y}, sim"]
)


@settings(max_examples=150, deadline=None)
@given(_days, _forms)
def test_any_day_is_read_as_that_day_in_sao_paulo(day: date, form: str) -> None:
    """Fault 6: days are São Paulo days; midnights that summer time skipped keep their day."""
    found = find_when(form.format(day))
    assert found is not None
    assert (day_of(found.instant), found.exact) == (day, False)


@settings(max_examples=100, deadline=None)
@given(
    st.datetimes(datetime(1996, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.integers(-14 * 4, 14 * 4),
)
def test_any_instant_in_any_offset_is_that_instant(instant: datetime, quarters: int) -> None:
    instant = instant.replace(microsecond=0)
    sign, minutes = "-" if quarters < 0 else "+", abs(quarters) * 15
    shown = (instant + timedelta(minutes=quarters * 15)).replace(tzinfo=None).isoformat()
    found = find_when(f"{shown}{sign}{minutes // 60:02d}:{minutes % 60:02d}")
    assert found == When(instant, exact=True)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.text("0123456789/-:hT.de jan ", max_size=60))
def test_any_text_has_a_date_or_none(text: str) -> None:
    found = find_when(text)
    assert found is None or 1994 < found.instant.year < 2101
    is_dateline(text)


def test_a_long_text_takes_no_longer_than_its_beginning() -> None:
    began = time.process_time()
    for text in ("1 de " * 10**5, "10/" * 10**5, "publicado em " * 10**5, "2026-" * 10**5):
        assert find_when(text) is None
        assert published_in(text) is None
        assert not is_dateline(text)
    assert time.process_time() - began < 1
