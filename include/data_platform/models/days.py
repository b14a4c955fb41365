"""The one rule for time: days are São Paulo days, instants carry their zone.

The dataset's `published_at` is shown at a fixed −03:00. Rows of historic summer time (−02:00 until
2019) that only know their day therefore show 23:00 of the day before; seen in America/Sao_Paulo
they are at midnight of the right day (FIELD_FACTS §1.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

SAO_PAULO_NAME = "America/Sao_Paulo"
SAO_PAULO = ZoneInfo(SAO_PAULO_NAME)
#: The published schema writes instants at this fixed offset; used at the HuggingFace edge only.
PUBLISHED_OFFSET = "-03:00"


def day_of(instant: datetime) -> date:
    """Return the São Paulo day on which an instant falls.

    Raises:
        ValueError: the instant has no zone.
    """
    if instant.tzinfo is None:
        raise ValueError(f"an instant needs a zone to have a day: {instant!r}")
    return instant.astimezone(SAO_PAULO).date()


def days_of(instants: pa.Array) -> pa.Array:
    """Return the São Paulo days (date32) of an array of timestamps with zone."""
    local = pc.local_timestamp(instants.cast(pa.timestamp(instants.type.unit, tz=SAO_PAULO_NAME)))
    return local.cast(pa.date32(), safe=False)


def instants_of_local(naive: pa.Array) -> pa.Array:
    """Read naive timestamps as São Paulo wall-clock times and return them as UTC instants.

    A local time that summer time skipped (midnight of the first day of summer time) becomes the
    first instant after the gap, so that the day is kept; one that occurs twice becomes the first.
    """
    zoned = pc.assume_timezone(naive, SAO_PAULO_NAME, ambiguous="earliest", nonexistent="latest")
    return zoned.cast(pa.timestamp(naive.type.unit, tz="UTC"))


@dataclass(frozen=True)
class Days:
    """São Paulo days, both ends included.

    Attributes:
        first: the first day.
        last: the last day.
        start: the instant at which the first one begins.
        end: the instant at which the day after the last one begins; None if there is no such day.
    """

    first: date
    last: date
    start: datetime
    end: datetime | None

    @classmethod
    def of(cls, min_date: str, max_date: str) -> Days:
        """Read two days.

        Raises:
            ValueError: one is not of the form YYYY-MM-DD; names it.
        """
        first, last = _read_day("min_date", min_date), _read_day("max_date", max_date)
        return cls(first, last, _midnight(first), _midnight(last + timedelta(days=1)) if last < date.max else None)

    def mask(self, published: pa.Array) -> pa.Array:
        """Return which instants fall on these days."""
        kind = pa.timestamp("us", tz="UTC")
        begun = pc.greater_equal(published, pa.scalar(self.start, kind))
        over = pa.scalar(False) if self.end is None else pc.greater_equal(published, pa.scalar(self.end, kind))
        return pc.fill_null(pc.and_(begun, pc.invert(over)), False)


def _read_day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(str(text).strip())
    except ValueError:
        raise ValueError(f"{name} must be a day as YYYY-MM-DD, not {text!r}") from None


def _midnight(day: date) -> datetime:
    naive = pa.array([day], pa.date32()).cast(pa.timestamp("us"))
    midnight: datetime = instants_of_local(naive)[0].as_py()
    return midnight


def utc_now() -> datetime:
    """Return the present instant, with its zone."""
    return datetime.now(UTC)
