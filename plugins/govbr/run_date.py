"""The run date of the task that runs, out of what Airflow says of its run (data_platform.models.run_date)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import date

__all__ = ["RUN_DATE_PARAM", "run_date_of_task"]

#: The name of the form's field.
RUN_DATE_PARAM = "run_date"
#: Kinds of runs that a timetable made; of these alone is the logical date the scheduled time.
_BY_TIMETABLE = ("scheduled", "backfill")


def run_date_of_task(context: Mapping[str, Any]) -> date | None:
    """Return the São Paulo day that a task's run is about; None if it was started without saying one.

    A run that a person starts has no scheduled time: through the API its logical date is None, and the form of the UI
    fills in the moment of the click, which says nothing about a day either. So the logical date counts only if a
    timetable made the run.

    Args:
        context: of the task; `dag_run` and, for the form's `run_date`, `params`.

    Raises:
        ConfigurationError: the form's text is no day, or that day lies ahead.
    """
    from data_platform.errors import ConfigurationError
    from data_platform.models.days import day_of, utc_now
    from data_platform.models.run_date import run_date_of

    run = context["dag_run"]
    day = run_date_of(
        run.logical_date if run.run_type in _BY_TIMETABLE else None, context["params"].get(RUN_DATE_PARAM)
    )
    if day is not None and day > (today := day_of(utc_now())):
        raise ConfigurationError(
            f"the run date {day} lies ahead: today is {today} in São Paulo", hint=f"give a {RUN_DATE_PARAM} up to today"
        )
    return day
