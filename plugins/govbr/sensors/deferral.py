"""How a sensor of ours waits: without a worker slot, and on no trigger class of ours.

Composer's triggerer has neither our DAGs nor our plugins, so only a trigger that Airflow ships can run there.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator, timezone
from airflow.sdk.exceptions import AirflowException, AirflowRescheduleException

__all__ = ["leave_until"]

_LOG = logging.getLogger(__name__)
#: How much longer than asked for a time trigger may take before the scheduler itself wakes the sensor.
_TRIGGER_GRACE = timedelta(minutes=5)


def leave_until(
    sensor: BaseSensorOperator, moment: datetime, *, method: str, kwargs: dict[str, Any], deferrable: bool
) -> AirflowRescheduleException:
    """Leave the worker until a moment: defer, or return what to raise to be rescheduled.

    Args:
        sensor: the one that waits.
        moment: with a zone.
        method: of the sensor, to go on with.
        kwargs: what it is called with, fit for JSON.
        deferrable: wait in the triggerer; False, or where this Airflow cannot defer: be rescheduled, which begins with
            `execute` again.
    """
    from airflow.providers.standard.triggers.temporal import DateTimeTrigger

    if deferrable:
        try:
            sensor.defer(
                trigger=DateTimeTrigger(moment=moment),
                method_name=method,
                kwargs=kwargs,
                timeout=max(moment - timezone.utcnow(), timedelta(0)) + _TRIGGER_GRACE,
            )
        except AirflowException as error:  # Composer says so where its environment has no triggerer
            _LOG.warning("cannot wait in the triggerer (%s); waiting without it", error)
    return AirflowRescheduleException(moment)  # type: ignore[no-untyped-call]  # Airflow has no types there
