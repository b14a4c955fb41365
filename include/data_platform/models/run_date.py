"""THE rule for the run date: the São Paulo day before the scheduled time, or the day that a person asked for.

Airflow's cron triggers have no interval, and runs that people start have no scheduled time, so neither can be taken for
the day that a run is about. The pipeline, and every gate behind it that compares run dates, asks here.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from data_platform.errors import ConfigurationError
from data_platform.models.days import day_of

__all__ = ["run_date_of"]

_HINT = "write the day as YYYY-MM-DD, such as 2026-11-21, or leave it empty"


def run_date_of(scheduled: datetime | None, form: str | None) -> date | None:
    """Say which São Paulo day a run is about.

    Args:
        scheduled: the instant for which a timetable made the run, with a zone; None for a run that no timetable made.
        form: the day that the run's form says, as YYYY-MM-DD; None, "" or white space says nothing. It wins.

    Returns:
        The day; None for a run that a person or an event started without saying one.

    Raises:
        ConfigurationError: the form's text is no day.
        ValueError: the scheduled time has no zone.
    """
    text = (form or "").strip()
    if text:
        return _read(text)
    return None if scheduled is None else day_of(scheduled) - timedelta(days=1)


def _read(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"run_date is {text!r}, which is no day", hint=_HINT) from None
    if day.isoformat() != text:  # Python reads 20261121 and 2026-W47-6 too; one way of writing is enough
        raise ConfigurationError(f"run_date is {text!r}, which is not written as a day", hint=_HINT)
    return day
