"""Waits for the pipeline's recorded write to a store for a run date; never fails a run, never holds a worker slot."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue, timezone
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferralError

from govbr.run_date import run_date_of_task
from govbr.runtime import airflow_errors, state_uri
from govbr.sensors.deferral import leave_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from airflow.sdk import Context

__all__ = ["RunLedgerSensor"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Look:
    """What one look gave.

    Attributes:
        answer: what goes on to the next task; its state and message are for people.
        final: whether to go on; else the answer is what to say while waiting.
    """

    answer: dict[str, Any]
    final: bool


class RunLedgerSensor(BaseSensorOperator):
    """Waits until the run ledger has a write to a store for the run's date, and says what it found.

    It goes on in every case, for its readers follow a change feed that loses nothing; what is late today is read
    tomorrow. What it returns says why it went on, `state`:

    * `recorded`: the write succeeded;
    * `failed`: the newest write of that date to the store failed; reported;
    * `newest`, `none`: started without a date, so it does not wait: the newest record of any date, or that there is
      none;
    * `looked_once`: in a backfill it does not wait, and nothing was recorded;
    * `timed_out`: nothing was recorded, or the ledger did not answer, until the deadline; reported;
    * `unreadable`: an entry is damaged or the ledger's place cannot be used, which waiting does not mend; or the ledger
      did not answer a run without a date; reported.

    Besides: `message`, `run_date`, `kind`, `side`, `place`, `succeeded` and `failed` (numbers of writes), and for what
    was found `entry_id`, `recorded_at`, `age_s` (seconds) and `counts`.

    The deadline is `timeout` after the run began. A retry, another look and a trigger that failed keep it; clearing a
    finished run begins anew, as Airflow then sets the run's beginning anew.

    Args:
        kind: of the ledger's entries.
        side: the store that must have been written.
        poke_interval: seconds between two looks, or a timedelta.
        timeout: how long to wait at most, in seconds or as a timedelta; then it goes on.
        deferrable: wait in the triggerer, on Airflow's own time trigger (Composer's triggerer has none of our code);
            False: be rescheduled, for an Airflow without a triggerer. None: as `operators.default_deferrable` says,
            which Airflow ships as False. Either way no worker slot is held. If the triggerer does not wake it, the
            scheduler does, and that wait is a reschedule.
    """

    template_fields: Sequence[str] = ("kind", "side")
    ui_color = "#d9e8f5"
    valid_modes = ("reschedule",)

    def __init__(
        self,
        *,
        kind: str = "write",
        side: str = "postgres",
        poke_interval: timedelta | float = timedelta(minutes=5),
        timeout: timedelta | float = timedelta(hours=4),
        deferrable: bool | None = None,
        **kwargs: Any,  # noqa: ANN401 - Airflow's own
    ) -> None:
        # Always "reschedule": a poke would hold a worker slot, and a reschedule is the way out of a broken trigger.
        super().__init__(poke_interval=poke_interval, timeout=timeout, **{"mode": "reschedule"} | kwargs)
        self.kind = kind
        self.side = side
        self.deferrable = (
            conf.getboolean("operators", "default_deferrable", fallback=True) if deferrable is None else deferrable
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once; done if there is a reason to go on."""
        look = self._look(context, self._deadline_of(context))
        return PokeReturnValue(is_done=look.final, xcom_value=look.answer if look.final else None)

    def execute(self, context: Context) -> dict[str, Any]:
        """Look; go on with what was found, or wait without a worker slot."""
        return self._go_on_or_wait(context, self._deadline_of(context))

    def look_again(self, context: Context, event: Any = None, *, deadline: str) -> dict[str, Any]:  # noqa: ANN401, ARG002 - a trigger's event
        """Look again after the time trigger fired.

        Args:
            context: of the task.
            event: the moment that passed; of no use.
            deadline: until when to wait, ISO 8601 with zone; it travels along.
        """
        return self._go_on_or_wait(context, datetime.fromisoformat(deadline))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:  # noqa: ANN401 - Airflow's signature
        """Look again, also if the trigger failed or the triggerer did not wake us: that must not fail the run."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralError, AirflowSensorTimeout) as error:
            _LOG.warning("the time trigger did not work (%s); looking again without it", error)
            return self._go_on_or_wait(context, self._deadline_of(context), deferrable=False)

    # ------------------------------------------------------------------------------------------------

    def _go_on_or_wait(self, context: Context, deadline: datetime, *, deferrable: bool | None = None) -> dict[str, Any]:
        look = self._look(context, deadline)
        if look.final:
            return look.answer
        now = timezone.utcnow()
        # A moment later than the deadline, so that the look there finds it passed.
        wait = min(timedelta(seconds=self.poke_interval), deadline - now + timedelta(seconds=1))
        _LOG.info("%s; next look at %s", look.answer["message"], _clock(now + wait))
        raise leave_until(
            self,
            now + wait,
            method="look_again",
            kwargs={"deadline": deadline.isoformat()},
            deferrable=self.deferrable if deferrable is None else deferrable,
        )

    def _deadline_of(self, context: Context) -> datetime:
        """Return until when to wait; the run's beginning is the one that retries and reschedules share."""
        began: datetime = context["dag_run"].start_date or timezone.utcnow()
        return began + timedelta(seconds=self.timeout)

    def _look(self, context: Context, deadline: datetime) -> _Look:
        """Ask the ledger once and decide."""
        from data_platform.errors import TransientError
        from data_platform.jobs.awaited_write import Found, look_for_write
        from data_platform.managers.ledger.run_ledger import RunLedger

        with airflow_errors():  # a form that is no day is the person's to mend, now
            run_date = run_date_of_task(context)
        ledger = RunLedger(state_uri())
        try:
            sighting = look_for_write(ledger, run_date=run_date, kind=self.kind, side=self.side)
        except TransientError as error:
            asked = self._asked(run_date, ledger.objects.uri)
            return self._nothing_yet(
                context, deadline, {**asked, "message": f"the run ledger does not answer: {error}"}
            )
        answer = sighting.to_dict()
        if sighting.found is Found.NONE and run_date is not None:
            return self._nothing_yet(context, deadline, answer)
        if sighting.found in {Found.FAILED, Found.UNREADABLE}:
            _LOG.error("%s; going on, for the change feed is safe", sighting.message)
        else:
            _LOG.info("%s; going on", sighting.message)
        return _Look(answer, final=True)

    def _nothing_yet(self, context: Context, deadline: datetime, answer: dict[str, Any]) -> _Look:
        """Go on all the same if this run does not wait, or no longer; else say what is waited for."""
        told = answer["message"]
        if context["dag_run"].run_type == "backfill":
            message = f"{told}; a backfill does not wait"
            _LOG.warning("%s: going on", message)
            return _Look({**answer, "state": "looked_once", "message": message}, final=True)
        if answer["run_date"] is None:
            message = f"{told}; a run without a date does not wait"
            _LOG.error("%s: going on, for the change feed is safe", message)
            return _Look({**answer, "message": message}, final=True)
        if timezone.utcnow() >= deadline:
            message = f"{told}; waited until {_clock(deadline)}"
            _LOG.warning("%s; going on with what is there, for the change feed is safe", message)
            return _Look({**answer, "state": "timed_out", "message": message}, final=True)
        since = context["dag_run"].start_date
        waiting = f"{told}; waiting{f' since {_clock(since)}' if since else ''} until {_clock(deadline)}"
        return _Look({**answer, "message": waiting}, final=False)

    def _asked(self, run_date: date | None, place: str) -> dict[str, Any]:
        return {
            "state": "unreadable",
            "run_date": run_date.isoformat() if run_date else None,
            "kind": self.kind,
            "side": self.side,
            "place": place,
            "succeeded": 0,
            "failed": 0,
        }


def _clock(instant: datetime) -> str:
    from data_platform.jobs.awaited_write import clock

    return clock(instant)
