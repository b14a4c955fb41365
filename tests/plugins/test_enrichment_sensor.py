"""The sensor that asks an enricher again and again: it defers, keeps its deadline, and is never what fails a day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    TaskDeferralError,
    TaskDeferred,
)

from data_platform.errors import ConfigurationError, TransientError
from data_platform.models.days import utc_now
from govbr.sensors.enrichment_sensor import EnrichmentSensor

DEADLINE = timedelta(minutes=20)
INTERVAL = timedelta(minutes=1)
CONTEXT: Any = {"run_id": "r"}


def state(pending: int, *, waits: bool = True, ready: int = 0) -> dict[str, Any]:
    return {"kept": "x.json", "ready": ready, "pending": pending, "failed": 0, "problems": [], "waits": waits}


class Service:
    """What the enricher says at each look, the last answer for ever."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self.answers = list(answers)
        self.finals: list[bool] = []

    def collect(self, _state: Mapping[str, Any], *, final: bool) -> dict[str, Any]:
        self.finals.append(final)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that puts a service in the place of the real pipeline."""

    def put(*answers: dict[str, Any] | Exception) -> Service:
        service = Service(*answers)
        monkeypatch.setattr("govbr.daily.pipeline_of", lambda *_, **__: service)
        return service

    return put


def sensor(submitted: dict[str, Any], *, ago: timedelta = timedelta(0), **given: Any) -> EnrichmentSensor:
    """Return a sensor of rows that were submitted some time ago."""
    made: dict[str, Any] = {"poke_interval": INTERVAL, "deferrable": True} | given
    return EnrichmentSensor(
        task_id="wait",
        plan={"options": {"deadline_s": DEADLINE.total_seconds()}},
        submitted=submitted | {"submitted_at": (utc_now() - ago).isoformat()},
        **made,
    )


def deferred(waiting: EnrichmentSensor) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        waiting.execute(CONTEXT)
    return caught.value


@pytest.mark.parametrize("submitted", [state(0, ready=5), state(5, waits=False)])
def test_where_nothing_is_to_be_waited_for_nobody_is_asked(asked: Any, submitted: dict[str, Any]) -> None:
    service = asked(RuntimeError("not to be asked"))
    assert sensor(submitted).execute(CONTEXT)["pending"] == submitted["pending"]
    assert service.finals == []


def test_it_waits_in_the_triggerer_on_a_trigger_of_airflow_s_own(asked: Any) -> None:
    service = asked(state(5))
    before = utc_now()
    waiting = deferred(sensor(state(5)))
    assert type(waiting.trigger) is DateTimeTrigger, "Composer's triggerer has no trigger class of ours"
    assert before + INTERVAL <= waiting.trigger.moment <= utc_now() + INTERVAL
    assert service.finals == [], "submitted a moment ago"
    assert waiting.timeout is not None
    assert waiting.timeout > INTERVAL - timedelta(seconds=5)


def test_it_looks_again_when_it_is_woken_and_what_stands_travels_along(asked: Any) -> None:
    from airflow.sdk.serde import deserialize, serialize

    service = asked(state(2, ready=3), state(0, ready=5))
    waiting = deferred(sensor(state(5)))
    kwargs: Any = deserialize(serialize(waiting.kwargs))
    with pytest.raises(TaskDeferred) as caught:
        sensor(state(5)).resume_execution(waiting.method_name, {**kwargs, "event": utc_now()}, CONTEXT)
    assert caught.value.kwargs == {"state": state(2, ready=3)}
    kwargs = deserialize(serialize(caught.value.kwargs))
    found = sensor(state(5)).resume_execution("look_again", {**kwargs, "event": utc_now()}, CONTEXT)
    assert found == state(0, ready=5)
    assert service.finals == [False, False]


def test_the_last_look_is_at_the_deadline_and_not_an_interval_later(asked: Any) -> None:
    asked(state(5))
    ago = DEADLINE - timedelta(seconds=20)
    waiting = sensor(state(5), ago=ago)
    moment = deferred(waiting).trigger.moment
    deadline = datetime.fromisoformat(waiting.submitted["submitted_at"]) + DEADLINE
    assert deadline < moment < deadline + timedelta(seconds=5)


@pytest.mark.parametrize("deferrable", [True, False])
def test_at_the_deadline_it_asks_for_the_last_time_and_goes_on_with_what_is_ready(
    asked: Any, deferrable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    service = asked(state(2, ready=3))
    found = sensor(state(5), ago=DEADLINE, deferrable=deferrable).execute(CONTEXT)
    assert (found["ready"], found["pending"]) == (3, 2)
    assert service.finals[-1] is True
    assert "a later day asks for them again" in caplog.text


def test_without_a_triggerer_it_is_rescheduled_and_then_asks(asked: Any) -> None:
    service = asked(state(1), state(0, ready=5))
    plain = sensor(state(5), deferrable=False)
    assert plain.reschedule is True
    with pytest.raises(AirflowRescheduleException):
        plain.execute(CONTEXT)
    assert service.finals == []
    with pytest.raises(AirflowRescheduleException):
        sensor(state(5), ago=INTERVAL, deferrable=False).execute(CONTEXT)
    assert sensor(state(5), ago=2 * INTERVAL, deferrable=False).execute(CONTEXT)["ready"] == 5


@pytest.mark.parametrize("error", ["Trigger timeout", "Trigger failure"])
def test_a_trigger_that_does_not_work_neither_fails_the_day_nor_hangs_it(asked: Any, error: str) -> None:
    asked(state(1))
    with pytest.raises(AirflowRescheduleException) as caught:
        sensor(state(5)).resume_execution("__fail__", {"error": error, "traceback": ["x"]}, CONTEXT)
    assert caught.value.reschedule_date > utc_now() + INTERVAL / 2


def test_an_airflow_that_refuses_to_defer_is_waited_on_otherwise(asked: Any) -> None:
    asked(state(5))

    class Refusing(EnrichmentSensor):
        def defer(self, **_: Any) -> Any:
            raise TaskDeferralError("This Composer environment does not have Airflow triggerer running")

    like = sensor(state(5))
    with pytest.raises(AirflowRescheduleException):
        Refusing(task_id="wait", plan=like.plan, submitted=like.submitted, deferrable=True).execute(CONTEXT)


@pytest.mark.parametrize(
    ("error", "raised"),
    [(TransientError("the ledger does not answer"), AirflowException), (ConfigurationError("x"), AirflowFailException)],
)
def test_what_fails_by_itself_is_tried_again_if_that_can_help(
    asked: Any, error: Exception, raised: type[Exception]
) -> None:
    asked(error)
    with pytest.raises(raised) as caught:
        sensor(state(5), ago=INTERVAL).execute(CONTEXT)
    assert type(caught.value) is raised


def test_it_never_holds_a_worker_slot_while_it_waits() -> None:
    with pytest.raises(ValueError, match="poke"):
        sensor(state(5), mode="poke")
