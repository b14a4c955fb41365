"""Waits until an enricher has answered for every row of a day, or until a deadline; never holds a worker slot."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue, timezone
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferralError

from govbr.runtime import airflow_errors
from govbr.sensors.deferral import leave_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

__all__ = ["EnrichmentSensor"]

_LOG = logging.getLogger(__name__)


class EnrichmentSensor(BaseSensorOperator):
    """Asks an enricher again and again for what is pending, and goes on when all is there or the deadline has come.

    Being late is no failure: at the deadline it asks once more, goes on with what is ready, and a later day asks for
    the rest. An enricher that does not answer is asked again until the deadline. It fails only if the enricher refuses
    for good; what had been ready before is then used all the same.

    It returns what `DailyPipeline.collect` returned last. Where things stand travels along when it is deferred; begun
    anew, it asks again for what was pending when the rows were submitted, which gives the same in the end.

    Args:
        plan: of the day, as the task `plan` returned it.
        submitted: of `govbr.daily.submit_rows`.
        poke_interval: seconds between two looks, or a timedelta.
        deferrable: wait in the triggerer, on Airflow's own time trigger; False: be rescheduled. None: as
            `operators.default_deferrable` says.
        statement_timeout_s: bound on one SQL statement, in seconds.
    """

    template_fields: Sequence[str] = ("plan", "submitted")
    ui_color = "#e2d9f5"
    valid_modes = ("reschedule",)

    def __init__(
        self,
        *,
        plan: Mapping[str, Any],
        submitted: Mapping[str, Any],
        poke_interval: timedelta | float = timedelta(seconds=60),
        deferrable: bool | None = None,
        statement_timeout_s: int = 0,
        **kwargs: Any,  # noqa: ANN401 - Airflow's own
    ) -> None:
        # Always "reschedule": a poke would hold a worker slot, and a reschedule is the way out of a broken trigger.
        super().__init__(poke_interval=poke_interval, **{"mode": "reschedule"} | kwargs)
        self.plan = plan
        self.submitted = submitted
        self.statement_timeout_s = statement_timeout_s
        self.deferrable = (
            conf.getboolean("operators", "default_deferrable", fallback=True) if deferrable is None else deferrable
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once; done if there is nothing to wait for."""
        state = self._collect(context, self.submitted)
        return PokeReturnValue(is_done=not _waits(state) or self._is_over(), xcom_value=state)

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, unless the rows were submitted a moment ago; go on, or wait without a worker slot."""
        state = dict(self.submitted)
        if _waits(state) and timezone.utcnow() >= self._next_look(datetime.fromisoformat(state["submitted_at"])):
            state = self._collect(context, state)
        return self._go_on_or_wait(context, state)

    def look_again(
        self,
        context: Context,
        event: Any = None,  # noqa: ANN401, ARG002 - a trigger's event
        *,
        state: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Look again after the time trigger fired.

        Args:
            context: of the task.
            event: the moment that passed; of no use.
            state: where things stood; it travels along, but not in `dag.test`.
        """
        return self._go_on_or_wait(context, self._collect(context, state or self.submitted))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:  # noqa: ANN401 - Airflow's signature
        """Look again, also if the trigger failed or the triggerer did not wake us: that must not fail the day."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralError, AirflowSensorTimeout) as error:
            _LOG.warning("the time trigger did not work (%s); looking again without it", error)
            return self._go_on_or_wait(context, self._collect(context, self.submitted), deferrable=False)

    # ------------------------------------------------------------------------------------------------

    def _go_on_or_wait(
        self, context: Context, state: dict[str, Any], *, deferrable: bool | None = None
    ) -> dict[str, Any]:
        if not _waits(state):
            _LOG.info("%s", _told(state))
            return state
        if self._is_over():
            # Asked for the last time a moment ago or not at all: only now is it known that nobody asks again today.
            state = self._collect(context, state, final=True)
            if state["pending"]:
                _LOG.warning("%s; a later day asks for them again", _told(state))
            return state
        now = timezone.utcnow()
        # A moment later than the deadline, so that the look there finds it passed.
        moment = min(self._next_look(now), self._deadline + timedelta(seconds=1))
        _LOG.info("%s; next look at %s", _told(state), moment.isoformat(timespec="seconds"))
        raise leave_until(
            self,
            moment,
            method="look_again",
            kwargs={"state": state},
            deferrable=self.deferrable if deferrable is None else deferrable,
        )

    def _collect(self, context: Context, state: Mapping[str, Any], *, final: bool = False) -> dict[str, Any]:
        from govbr.daily import pipeline_of

        with airflow_errors():
            pipeline = pipeline_of(self.plan, context, statement_timeout_s=self.statement_timeout_s)
            return pipeline.collect(state, final=final)

    def _next_look(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self.poke_interval)

    @property
    def _deadline(self) -> datetime:
        """Until when to wait; a retry, another look and a trigger that failed keep it."""
        submitted = datetime.fromisoformat(self.submitted["submitted_at"])
        return submitted + timedelta(seconds=float(self.plan["options"]["deadline_s"]))

    def _is_over(self) -> bool:
        return timezone.utcnow() >= self._deadline


def _waits(state: Mapping[str, Any]) -> bool:
    return bool(state["pending"] and state["waits"])


def _told(state: Mapping[str, Any]) -> str:
    problems = "".join(f"; {problem}" for problem in state["problems"])
    return f"{state['ready']} rows are ready, {state['failed']} failed, {state['pending']} are pending{problems}"
