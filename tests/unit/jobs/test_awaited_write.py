"""One look for a recorded write: which entry decides, and what is said about it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from data_platform.errors import TransientError
from data_platform.jobs.awaited_write import Found, Sighting, clock, in_words, look_for_write
from data_platform.managers.ledger.entry import Status
from data_platform.managers.ledger.run_ledger import RunLedger
from tests.support.recorded import record_write

DAY = date(2026, 11, 21)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> RunLedger:
    return RunLedger(str(tmp_path / "state"))


def look(ledger: RunLedger, run_date: date | None = DAY, **asked: str) -> Sighting:
    return look_for_write(ledger, run_date=run_date, now=lambda: NOW, **asked)


def hours_ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def test_a_write_that_succeeded_is_told_with_age_and_counts(ledger: RunLedger) -> None:
    entry = record_write(ledger, DAY, at=hours_ago(1.5))
    found = look(ledger)
    assert (found.found, found.entry, found.succeeded, found.failed) == (Found.RECORDED, entry, 1, 0)
    assert found.message == (
        "the write to postgres for 2026-11-21 succeeded 1 hour 30 minutes ago"
        " (2026-11-22 07:30:00 America/Sao_Paulo): 1234 inserted"
    )
    told = found.to_dict()
    assert json.loads(json.dumps(told)) == told
    assert (told["state"], told["run_date"], told["entry_id"]) == ("recorded", "2026-11-21", entry.entry_id)
    assert told["age_s"] == 5400
    assert told["counts"] == {"inserted": 1234, "updated": 0}


def test_a_write_that_failed_is_told_with_its_error(ledger: RunLedger) -> None:
    record_write(ledger, DAY, status=Status.FAILED, at=hours_ago(2))
    found = look(ledger)
    assert found.found is Found.FAILED
    assert "failed 2 hours ago" in found.message
    assert "StoreError: no space left" in found.message


@pytest.mark.parametrize(
    ("statuses", "found"),
    [
        ([Status.SUCCEEDED, Status.FAILED], Found.FAILED),
        ([Status.FAILED, Status.SUCCEEDED], Found.RECORDED),
        ([Status.FAILED, Status.SUCCEEDED, Status.SUCCEEDED], Found.RECORDED),
    ],
)
def test_of_several_writes_the_newest_decides_and_all_are_counted(
    ledger: RunLedger, statuses: list[Status], found: Found
) -> None:
    for number, status in enumerate(statuses):
        record_write(ledger, DAY, status=status, at=hours_ago(5 - number))
    seen = look(ledger)
    assert seen.found is found
    failed = statuses.count(Status.FAILED)
    assert (seen.succeeded, seen.failed) == (len(statuses) - failed, failed)
    assert f"of {len(statuses)} recorded for that date {len(statuses) - failed} succeeded, {failed} failed" in (
        seen.message
    )


def test_a_run_of_a_part_of_the_day_does_not_hide_that_the_day_failed(ledger: RunLedger) -> None:
    record_write(ledger, DAY, kind="day", status=Status.FAILED, at=hours_ago(3))
    record_write(ledger, DAY, kind="day", at=hours_ago(2), part="only mec")
    assert look(ledger, kind="day").found is Found.FAILED
    record_write(ledger, DAY, kind="day", at=hours_ago(1), part="")
    assert look(ledger, kind="day").found is Found.RECORDED


def test_other_days_stores_kinds_and_undecided_sides_do_not_count(ledger: RunLedger) -> None:
    record_write(ledger, DAY - timedelta(days=1), at=hours_ago(5))
    record_write(ledger, DAY + timedelta(days=1), at=hours_ago(5))
    record_write(ledger, DAY, side="huggingface", at=hours_ago(5))
    record_write(ledger, DAY, kind="write-side", at=hours_ago(5))
    record_write(ledger, DAY, status=Status.SKIPPED, at=hours_ago(5))
    # Filed under the same day, since it began then, but for no run date: somebody's command line, not the pipeline.
    record_write(ledger, None, at=datetime(2026, 11, 21, 15, tzinfo=UTC))
    found = look(ledger)
    assert (found.found, found.entry) == (Found.NONE, None)
    for word in ("no write to postgres is recorded for 2026-11-21", "'write'", ledger.objects.uri):
        assert word in found.message


def test_store_and_kind_can_be_others(ledger: RunLedger) -> None:
    record_write(ledger, DAY, side="huggingface", kind="pipeline", at=hours_ago(1))
    assert look(ledger).found is Found.NONE
    assert look(ledger, side="huggingface").found is Found.NONE
    assert look(ledger, side="huggingface", kind="pipeline").found is Found.RECORDED


def test_without_a_date_the_newest_write_to_the_store_is_told_whatever_its_date(ledger: RunLedger) -> None:
    assert look(ledger, None).found is Found.NONE
    record_write(ledger, DAY, at=hours_ago(30))
    newest = record_write(ledger, None, status=Status.FAILED, at=hours_ago(26))
    seen = look(ledger, None)
    assert (seen.found, seen.entry) == (Found.NEWEST, newest)
    assert "for no run date, failed 1 day 2 hours ago" in seen.message


def test_a_newer_write_to_the_other_store_alone_is_passed_over(ledger: RunLedger) -> None:
    wanted = record_write(ledger, DAY, at=hours_ago(30))
    record_write(ledger, DAY, side="huggingface", at=hours_ago(1))
    assert look(ledger, None).entry == wanted


def test_what_lies_too_far_back_behind_other_writes_is_not_searched_for(ledger: RunLedger) -> None:
    record_write(ledger, DAY - timedelta(days=60), at=NOW - timedelta(days=59))
    record_write(ledger, DAY, side="huggingface", at=hours_ago(1))
    seen = look(ledger, None)
    assert seen.found is Found.NONE
    assert "30 days back" in seen.message


def test_a_damaged_entry_is_told_and_not_raised(ledger: RunLedger, tmp_path: Path) -> None:
    record_write(ledger, DAY, at=hours_ago(2))
    record_write(ledger, DAY, at=hours_ago(1))
    newest = max((tmp_path / "state").rglob("*.json"), key=lambda path: path.name)
    newest.write_text('{"kind": "write"', encoding="utf-8")
    for run_date in (DAY, None):
        seen = look(ledger, run_date)
        assert seen.found is Found.UNREADABLE
        assert newest.name in seen.message
        assert "damaged" in seen.message


@pytest.mark.parametrize(
    ("raised", "may_pass"), [(PermissionError("not yours"), False), (TimeoutError("no answer"), True)]
)
def test_a_place_that_is_wrong_is_told_and_one_that_does_not_answer_may_do_so_later(
    ledger: RunLedger, monkeypatch: pytest.MonkeyPatch, raised: OSError, may_pass: bool
) -> None:
    import fsspec

    def broken(*_: object, **__: object) -> list[str]:
        raise raised

    monkeypatch.setattr(fsspec.get_filesystem_class("file"), "find", broken)
    if may_pass:
        with pytest.raises(TransientError, match="no answer"):
            look(ledger)
    else:
        seen = look(ledger)
        assert seen.found is Found.UNREADABLE
        for word in ("not yours", "STATE_URI"):
            assert word in seen.message


def test_a_clock_that_is_behind_makes_no_negative_age(ledger: RunLedger) -> None:
    record_write(ledger, DAY, at=NOW + timedelta(minutes=3))
    seen = look(ledger)
    assert seen.age == timedelta(0)
    assert "0 seconds ago" in seen.message


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (timedelta(0), "0 seconds"),
        (timedelta(seconds=-5), "0 seconds"),
        (timedelta(seconds=1.9), "1 second"),
        (timedelta(seconds=61), "1 minute 1 second"),
        (timedelta(hours=2), "2 hours"),
        (timedelta(hours=2, seconds=7), "2 hours"),
        (timedelta(days=1, hours=1, minutes=59), "1 day 1 hour"),
        (timedelta(days=400), "400 days"),
    ],
)
def test_durations_are_said_in_their_two_largest_units(duration: timedelta, words: str) -> None:
    assert in_words(duration) == words


def test_instants_are_said_as_sao_paulo_s_clocks_show_them() -> None:
    assert clock(datetime(2026, 11, 22, 2, 30, tzinfo=UTC)) == "2026-11-21 23:30:00 America/Sao_Paulo"
