"""The sensor before readers of the change feed: it waits without a worker slot, ends in every case, and says why."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.api.datamodels._generated import DagRun, DagRunState, DagRunType
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException, TaskDeferralError, TaskDeferred

from data_platform.managers.ledger.entry import Status
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.models.days import SAO_PAULO, day_of, utc_now
from govbr.run_date import run_date_of_task
from govbr.sensors.run_ledger_sensor import RunLedgerSensor
from tests.support.recorded import record_write

pytestmark = pytest.mark.usefixtures("airflow_metadata")

Context = dict[str, Any]
INTERVAL, DEADLINE = timedelta(minutes=5), timedelta(hours=4)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunLedger:
    """The ledger that tasks look into."""
    monkeypatch.setenv("STATE_URI", str(tmp_path / "state"))
    return RunLedger(str(tmp_path / "state"))


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO):
        yield caplog


DAY_BEFORE = day_of(utc_now()) - timedelta(days=1)
#: 06:00 of today.
SCHEDULED = datetime.combine(DAY_BEFORE + timedelta(days=1), time(6), SAO_PAULO)
LONG_AGO = DAY_BEFORE - timedelta(days=50)
#: 06:00 of the day after.
LONG_AGO_SCHEDULED = datetime.combine(LONG_AGO + timedelta(days=1), time(6), SAO_PAULO)


def run_of(
    kind: DagRunType = DagRunType.SCHEDULED, *, logical: datetime | None = None, began: datetime | None = None
) -> DagRun:
    """Return a run as Airflow gives it to a task."""
    when = logical or (SCHEDULED if kind in {DagRunType.SCHEDULED, DagRunType.BACKFILL} else None)
    return DagRun(
        dag_id="d",
        run_id="r",
        logical_date=when,
        data_interval_start=when,
        data_interval_end=when,
        run_after=when or utc_now(),
        start_date=began or utc_now(),
        end_date=None,
        run_type=kind,
        state=DagRunState.RUNNING,
        consumed_asset_events=[],
        partition_key=None,
    )


def context(run: DagRun | None = None, **params: Any) -> Context:
    return {"dag_run": run or run_of(), "params": {"run_date": None, **params}, "run_id": "r"}


def sensor(**given: Any) -> RunLedgerSensor:
    chosen: dict[str, Any] = {"poke_interval": INTERVAL, "timeout": DEADLINE, "deferrable": True, **given}
    return RunLedgerSensor(task_id="wait", **chosen)


def deferred(waiting: RunLedgerSensor, of: Context) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        waiting.execute(of)
    return caught.value


def resume(waiting: RunLedgerSensor, after: TaskDeferred, of: Context) -> Any:
    """Go on as Airflow does when the trigger has fired: what travelled is JSON."""
    from airflow.sdk.serde import deserialize, serialize

    kwargs = deserialize(serialize(after.kwargs))
    assert isinstance(kwargs, dict)
    return waiting.resume_execution(after.method_name, {**kwargs, "event": utc_now()}, of)


# ---------------------------------------------------------------------------------------- it goes on at once


def test_a_write_of_the_run_date_lets_it_go_on(ledger: RunLedger, log: pytest.LogCaptureFixture) -> None:
    entry = record_write(ledger, DAY_BEFORE)
    found = sensor().execute(context())
    assert (found["state"], found["run_date"], found["entry_id"]) == (
        "recorded",
        DAY_BEFORE.isoformat(),
        entry.entry_id,
    )
    assert f"the write to postgres for {DAY_BEFORE} succeeded" in log.text
    assert sensor().poke(context()).is_done is True


def test_a_failed_write_lets_it_go_on_and_is_reported(ledger: RunLedger, log: pytest.LogCaptureFixture) -> None:
    record_write(ledger, DAY_BEFORE, status=Status.FAILED)
    found = sensor().execute(context())
    assert found["state"] == "failed"
    reported = [record.getMessage() for record in log.records if record.levelno == logging.ERROR]
    assert any("StoreError: no space left" in line and "the change feed is safe" in line for line in reported)


def test_the_date_of_the_form_is_the_one_that_counts(ledger: RunLedger) -> None:
    record_write(ledger, LONG_AGO)
    by_hand = run_of(DagRunType.MANUAL)
    assert sensor().execute(context(by_hand, run_date=LONG_AGO.isoformat()))["state"] == "recorded"
    after = LONG_AGO + timedelta(days=1)
    assert deferred(sensor(), context(by_hand, run_date=after.isoformat())).method_name == "look_again"


@pytest.mark.parametrize("logical", [None, utc_now()], ids=["API", "form of the UI, which fills in the moment"])
def test_by_hand_without_a_date_it_does_not_wait_and_says_the_newest_record_s_age(
    ledger: RunLedger, logical: datetime | None
) -> None:
    by_hand = context(run_of(DagRunType.MANUAL, logical=logical))
    found = sensor().execute(by_hand)
    assert (found["state"], found["run_date"]) == ("none", None)
    assert "no write to postgres is recorded" in found["message"]
    record_write(ledger, LONG_AGO, at=utc_now() - timedelta(days=3, hours=2, minutes=1))
    found = sensor().execute(by_hand)
    assert found["state"] == "newest"
    assert f"for {LONG_AGO}, succeeded 3 days 2 hours ago" in found["message"]


def test_in_a_backfill_it_looks_once(ledger: RunLedger, log: pytest.LogCaptureFixture) -> None:
    backfill = context(run_of(DagRunType.BACKFILL, logical=LONG_AGO_SCHEDULED))
    found = sensor().execute(backfill)
    assert (found["state"], found["run_date"]) == ("looked_once", LONG_AGO.isoformat())
    assert "a backfill does not wait" in log.text
    record_write(ledger, LONG_AGO)
    assert sensor().execute(backfill)["state"] == "recorded"


def test_a_date_that_is_none_fails_at_once_and_says_what_to_write(ledger: RunLedger) -> None:
    with pytest.raises(AirflowFailException, match="YYYY-MM-DD"):
        sensor().execute(context(run_date="1/10/2026"))


def test_a_date_that_lies_ahead_is_not_waited_for(ledger: RunLedger) -> None:
    with pytest.raises(AirflowFailException, match="lies ahead"):
        sensor().execute(context(run_date=(DAY_BEFORE + timedelta(days=9)).isoformat()))


def test_kind_and_store_are_the_caller_s(ledger: RunLedger) -> None:
    record_write(ledger, DAY_BEFORE, kind="pipeline", side="huggingface")
    found = sensor(kind="pipeline", side="huggingface").execute(context())
    assert (found["state"], found["kind"], found["side"]) == ("recorded", "pipeline", "huggingface")


# ------------------------------------------------------------------------------------------------- it waits


def test_it_waits_in_the_triggerer_on_a_trigger_of_airflow_s_own(
    ledger: RunLedger, log: pytest.LogCaptureFixture
) -> None:
    of = context()
    before = utc_now()
    waiting = deferred(sensor(), of)
    assert type(waiting.trigger) is DateTimeTrigger, "Composer's triggerer has no trigger class of ours"
    assert waiting.trigger.serialize()[0] == "airflow.providers.standard.triggers.temporal.DateTimeTrigger"
    assert before + INTERVAL <= waiting.trigger.moment <= utc_now() + INTERVAL
    deadline = of["dag_run"].start_date + DEADLINE
    assert waiting.kwargs == {"deadline": deadline.isoformat()}
    assert waiting.timeout is not None
    assert waiting.timeout > INTERVAL, "the scheduler wakes it where the triggerer does not, and not before"
    for word in (
        f"no write to postgres is recorded for {DAY_BEFORE}",
        ledger.objects.uri,
        "waiting since",
        f"until {deadline.astimezone(SAO_PAULO):%Y-%m-%d %H:%M:%S} America/Sao_Paulo",
        "next look at",
    ):
        assert word in log.text


def test_it_looks_again_when_it_is_woken_and_keeps_its_deadline(ledger: RunLedger) -> None:
    of = context()
    waiting = deferred(sensor(), of)
    later = context(run_of(began=utc_now() + timedelta(minutes=30)))
    with pytest.raises(TaskDeferred) as caught:
        resume(sensor(), waiting, later)
    assert caught.value.kwargs == waiting.kwargs, "the deadline travels along, whatever the run says by now"
    record_write(ledger, DAY_BEFORE)
    assert resume(sensor(), caught.value, later)["state"] == "recorded"


def test_the_last_look_is_at_the_deadline_and_not_an_interval_later(ledger: RunLedger) -> None:
    began = utc_now() - DEADLINE + timedelta(minutes=1)
    moment = deferred(sensor(), context(run_of(began=began))).trigger.moment
    assert began + DEADLINE < moment < began + DEADLINE + timedelta(seconds=5)


@pytest.mark.parametrize("deferrable", [True, False])
def test_after_its_deadline_it_goes_on_and_reports(
    ledger: RunLedger, log: pytest.LogCaptureFixture, deferrable: bool
) -> None:
    began = utc_now() - DEADLINE
    found = sensor(deferrable=deferrable).execute(context(run_of(began=began)))
    assert (found["state"], found["run_date"]) == ("timed_out", DAY_BEFORE.isoformat())
    assert "waited until" in found["message"]
    assert [r.levelname for r in log.records if "going on with what is there" in r.getMessage()] == ["WARNING"]


def test_a_deadline_that_travelled_ends_the_wait_too(ledger: RunLedger) -> None:
    waiting = deferred(sensor(), context())
    assert isinstance(waiting.kwargs, dict)
    past = {"deadline": (utc_now() - timedelta(seconds=1)).isoformat()}
    assert sensor().resume_execution("look_again", past, context())["state"] == "timed_out"


def test_a_retry_keeps_the_deadline_of_the_run(ledger: RunLedger) -> None:
    began = utc_now() - timedelta(hours=3)
    first, second = (deferred(sensor(), context(run_of(began=began))) for _ in range(2))
    assert first.kwargs == second.kwargs == {"deadline": (began + DEADLINE).isoformat()}


def test_without_a_triggerer_it_is_rescheduled(ledger: RunLedger, log: pytest.LogCaptureFixture) -> None:
    plain = sensor(deferrable=False)
    assert plain.reschedule is True
    before = utc_now()
    with pytest.raises(AirflowRescheduleException) as caught:
        plain.execute(context())
    assert before + INTERVAL <= caught.value.reschedule_date <= utc_now() + INTERVAL
    assert "next look at" in log.text
    record_write(ledger, DAY_BEFORE)
    assert plain.execute(context())["state"] == "recorded"


@pytest.mark.parametrize("error", ["Trigger timeout", "Trigger failure"])
def test_a_trigger_that_does_not_work_neither_fails_the_run_nor_hangs_it(
    ledger: RunLedger, log: pytest.LogCaptureFixture, error: str
) -> None:
    gone_wrong = {"error": error, "traceback": ["no triggerer"]}
    with pytest.raises(AirflowRescheduleException) as caught:
        sensor().resume_execution("__fail__", dict(gone_wrong), context())
    assert caught.value.reschedule_date > utc_now() + INTERVAL / 2, "paced, or it would run hot"
    assert f"the time trigger did not work ({error})" in log.text
    record_write(ledger, DAY_BEFORE)
    assert sensor().resume_execution("__fail__", dict(gone_wrong), context())["state"] == "recorded"


def test_an_airflow_that_refuses_to_defer_is_waited_on_otherwise(
    ledger: RunLedger, log: pytest.LogCaptureFixture
) -> None:
    class Refusing(RunLedgerSensor):
        def defer(self, **_: Any) -> Any:
            raise TaskDeferralError("This Composer environment does not have Airflow triggerer running")

    with pytest.raises(AirflowRescheduleException):
        Refusing(task_id="wait", deferrable=True).execute(context())
    assert "cannot wait in the triggerer (This Composer environment" in log.text


def test_it_never_holds_a_worker_slot_while_it_waits() -> None:
    with pytest.raises(ValueError, match="poke"):
        sensor(mode="poke")


@pytest.mark.parametrize("configured", ["True", "False"])
def test_airflow_s_setting_says_how_it_waits_unless_the_caller_does(
    monkeypatch: pytest.MonkeyPatch, configured: str
) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", configured)
    assert sensor(deferrable=None).deferrable is (configured == "True")
    assert sensor(deferrable=True).deferrable is True


# --------------------------------------------------------------------------------- the ledger does not work


@pytest.fixture
def silent_ledger(ledger: RunLedger, monkeypatch: pytest.MonkeyPatch) -> RunLedger:
    """A ledger whose storage does not answer."""
    import fsspec

    def silent(*_: object, **__: object) -> list[str]:
        raise TimeoutError("the bucket sleeps")

    monkeypatch.setattr(fsspec.get_filesystem_class("file"), "find", silent)
    return ledger


def test_a_ledger_that_does_not_answer_is_asked_again_until_the_deadline(
    silent_ledger: RunLedger, log: pytest.LogCaptureFixture
) -> None:
    deferred(sensor(), context())
    assert "the run ledger does not answer" in log.text
    assert "the bucket sleeps" in log.text
    found = sensor().execute(context(run_of(began=utc_now() - DEADLINE)))
    assert found["state"] == "timed_out"
    assert "the bucket sleeps" in found["message"]
    assert (found["run_date"], found["side"]) == (DAY_BEFORE.isoformat(), "postgres")


@pytest.mark.parametrize(("kind", "state"), [(DagRunType.BACKFILL, "looked_once"), (DagRunType.MANUAL, "unreadable")])
def test_who_does_not_wait_does_not_wait_for_a_silent_ledger_either(
    silent_ledger: RunLedger, kind: DagRunType, state: str
) -> None:
    found = sensor().execute(context(run_of(kind)))
    assert found["state"] == state
    assert "the bucket sleeps" in found["message"]


def test_a_damaged_entry_lets_it_go_on_and_is_reported_by_name(
    ledger: RunLedger, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    record_write(ledger, DAY_BEFORE)
    (entry,) = (tmp_path / "state").rglob("*.json")
    entry.write_text("{", encoding="utf-8")
    found = sensor().execute(context())
    assert found["state"] == "unreadable"
    reported = [record.getMessage() for record in log.records if record.levelno == logging.ERROR]
    assert any(entry.name in line for line in reported)


# ------------------------------------------------------------------------------------- the run date of a task


@pytest.mark.parametrize("kind", list(DagRunType))
def test_only_a_timetable_s_logical_date_is_a_scheduled_time(kind: DagRunType) -> None:
    run = run_of(kind, logical=LONG_AGO_SCHEDULED)
    by_timetable = kind in {DagRunType.SCHEDULED, DagRunType.BACKFILL}
    assert run_date_of_task(context(run)) == (LONG_AGO if by_timetable else None)
    asked = LONG_AGO - timedelta(days=9)
    assert run_date_of_task(context(run, run_date=asked.isoformat())) == asked


def test_a_dag_without_the_field_has_the_date_of_its_timetable() -> None:
    run = run_of(DagRunType.SCHEDULED, logical=LONG_AGO_SCHEDULED)
    assert run_date_of_task({"dag_run": run, "params": {}}) == LONG_AGO
