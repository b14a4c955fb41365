"""Dates as pages write them, read as instants (formats of FIELD_FACTS §3.7).

A date without an offset is a São Paulo one. What cannot be a date of an article is none: a day that the calendar does
not have, and years that no site can mean (Plone says 1969 for "no date", others 1970).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from data_platform.jobs.scraper.records import When
from data_platform.models.days import instants_of_local

__all__ = ["find_when", "is_dateline", "published_in", "updated_in"]

#: The first sites of the government are of 1995; a date after 2099 is a slip of the hand, or "never expires".
_YEARS = range(1995, 2100)

_MONTHS = (
    ("jan", "janeiro"),
    ("fev", "fevereiro"),
    ("mar", "março", "marco"),
    ("abr", "abril"),
    ("mai", "maio"),
    ("jun", "junho"),
    ("jul", "julho"),
    ("ago", "agosto"),
    ("set", "setembro"),
    ("out", "outubro"),
    ("nov", "novembro"),
    ("dez", "dezembro"),
)
_MONTH_NUMBERS = {name: number for number, names in enumerate(_MONTHS, 1) for name in names}
_MONTH = "|".join(sorted(_MONTH_NUMBERS, key=len, reverse=True))

_ISO = r"(?<![\d/-])(?P<y1>\d{4})-(?P<m1>\d{2})-(?P<d1>\d{2})(?!\d|-\d)"
_SLASHED = r"(?<![\d/.-])(?P<d2>\d{1,2})(?P<mark>[/.])(?P<m2>\d{1,2})(?P=mark)(?P<y2>\d{4})(?![\d/])"
_WORDED = rf"(?<!\d)(?P<d3>\d{{1,2}})[ºo°]?\s+(?:de\s+)?(?P<m3>{_MONTH})\b\.?,?\s+(?:de\s+)?(?P<y3>\d{{4}})(?!\d)"
_DAY = re.compile(f"{_ISO}|{_SLASHED}|{_WORDED}", re.IGNORECASE)
#: What follows a day in ISO 8601.
_ISO_TIME = re.compile(
    r"[Tt ](?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]\d{1,9})?)?"
    r"\s?(?P<zone>Z|UTC|[+-]\d{2}:?[0-5]\d)?",
    re.IGNORECASE,
)
#: What follows any other: 13h47, 13h47min, 9h, 13:47, 13:47:05; also after a dash, a comma, "às".
_CLOCK = re.compile(
    r"(?:\s*(?:[-–—|,]|às|as\b)){0,2}\s*(?P<hour>[01]?\d|2[0-3])\s?"
    r"(?:h(?P<minute>[0-5]\d)?(?:min)?|:(?P<minute2>[0-5]\d)(?::(?P<second>[0-5]\d))?h?)(?![\d:])",
    re.IGNORECASE,
)
#: A page may be megabytes; the date of an article stands near the words that announce it.
_LONGEST = 2000
_LONGEST_DATELINE = 160

_PUBLISHED = re.compile(r"\bpublicad[oa](?:\s+em)?\b[\s:]*", re.IGNORECASE)
_UPDATED = re.compile(
    r"\b(?:(?:última )?(?:atualizad[oa]|modificad[oa])|última (?:modificação|atualização))(?:\s+em)?\b[\s:]*",
    re.IGNORECASE,
)
_BETWEEN = " \t\r\n\xa0,;|·•—–-"


def find_when(text: str | None) -> When | None:
    """Return the first date of a text that can be one; None if it has none."""
    if not text:
        return None
    return next((when for match in _DAY.finditer(text[:_LONGEST]) if (when := _read(match))), None)


def published_in(text: str) -> When | None:
    """Return the date that stands right behind "publicado (em)"; None if there is none or it is impossible."""
    return next(_behind(_PUBLISHED, text), None)


def updated_in(text: str) -> When | None:
    """Return the date that stands right behind "atualizado (em)" or "última modificação"; None if there is none."""
    return next(_behind(_UPDATED, text), None)


def is_dateline(text: str) -> bool:
    """Whether a text says when the article was published or updated, and nothing else."""
    text = text.strip()
    if len(text) > _LONGEST_DATELINE or not (_PUBLISHED.match(text) or _UPDATED.match(text)):
        return False
    for part in (_PUBLISHED, _UPDATED, _DAY, _CLOCK):
        text = part.sub(" ", text)
    return not text.strip(_BETWEEN)


def _behind(word: re.Pattern[str], text: str) -> Iterator[When]:
    text = text[:_LONGEST]
    for announced in word.finditer(text):
        day = _DAY.match(text, announced.end())
        if day and (when := _read(day)):
            yield when


def _read(day: re.Match[str]) -> When | None:
    """Read a day and the time behind it."""
    kind = next(n for n in "123" if day[f"y{n}"])
    year, month = int(day[f"y{kind}"]), day[f"m{kind}"].lower()
    if year not in _YEARS:
        return None
    time = (_ISO_TIME if kind == "1" else _CLOCK).match(day.string, day.end())
    parts = time.groupdict() if time else {}
    minute = parts.get("minute") or parts.get("minute2")
    try:
        wall_clock = datetime(  # noqa: DTZ001 -- a wall-clock time
            year,
            _MONTH_NUMBERS.get(month) or int(month),
            int(day[f"d{kind}"]),
            int(parts.get("hour") or 0),
            int(minute or 0),
            int(parts.get("second") or 0),
        )
    except ValueError:
        return None
    zone = parts.get("zone")
    return When(_in_sao_paulo(wall_clock) if zone is None else _at(wall_clock, zone), exact=time is not None)


def _at(wall_clock: datetime, zone: str) -> datetime:
    if zone[0] not in "+-":
        return wall_clock.replace(tzinfo=UTC)
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return (wall_clock + offset if zone[0] == "-" else wall_clock - offset).replace(tzinfo=UTC)


def _in_sao_paulo(wall_clock: datetime) -> datetime:
    found: datetime = instants_of_local(pa.array([wall_clock], pa.timestamp("us")))[0].as_py()
    return found.astimezone(UTC)
