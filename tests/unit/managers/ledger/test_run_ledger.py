"""The run ledger: written once, whole or not at all, found again by name, and clear about what is open."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from data_platform.errors import ConfigurationError, LedgerError, TransientError
from data_platform.managers.ledger.entry import IdList, LedgerEntry, SideRecord, Status, new_entry_id
from data_platform.managers.ledger.kept_rejects import KeptRejects
from data_platform.managers.ledger.run_ledger import MOST_IDS_HERE, REPAIR, SIDE, STARTED, WRITE, RunLedger
from data_platform.managers.ledger.write_once import WriteOnceObjects
from data_platform.managers.storage_mode import StorageBackend, StorageMode
from data_platform.sources.judged import Reject

T0 = datetime(2026, 11, 22, 9, 3, 12, 345678, tzinfo=UTC)
DUAL = StorageMode(backend=StorageBackend.DUAL_WRITE)
GOOD = SideRecord(status=Status.SUCCEEDED, counts={"inserted": 2})
BEGUN = SideRecord(status=Status.STARTED)


def bad(*ids: str) -> SideRecord:
    return SideRecord(
        status=Status.FAILED, error_type="SomeError", error="no", hint="mend", retryable=True, missed=IdList.of(ids)
    )


def entry(kind: str = WRITE, *, minutes: float = 0, entry_id: str = "", **facts: Any) -> LedgerEntry:
    begun = T0 + timedelta(minutes=minutes)
    ended = None if kind == STARTED else begun + timedelta(seconds=30)
    chosen: dict[str, Any] = {"operation": "insert", "mode": DUAL, "started_at": begun, "finished_at": ended, **facts}
    return LedgerEntry(kind=kind, entry_id=entry_id or new_entry_id(), **chosen)


def settling(kind: str, settled: LedgerEntry, side: str) -> LedgerEntry:
    return entry(
        REPAIR,
        minutes=60,
        sides={side: GOOD},
        facts={"settles": {"kind": kind, "entry_id": settled.entry_id, "side": side}},
    )


@pytest.fixture(params=["folder", "object storage"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunLedger]:
    """A ledger in a folder, then one in object storage with an exclusive create."""
    name = uuid4().hex
    yield RunLedger(str(tmp_path / "state") if request.param == "folder" else f"memory://{name}/state")
    memory = fsspec.filesystem("memory")
    if memory.exists(f"/{name}"):
        memory.rm(f"/{name}", recursive=True)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# ------------------------------------------------------------------------------------------- written once


def test_what_was_recorded_comes_back_the_same(ledger: RunLedger) -> None:
    told = entry(
        run_date=date(2026, 11, 21),
        sides={"postgres": GOOD, "huggingface": bad("a", "é\U0001f6f0")},
        rows=3,
        ids=IdList.of(["a", "é\U0001f6f0"]),
        allow_update=True,
        columns=("unique_id", "title"),
        staged_file="gs://b/x.parquet",
        facts={"identity": "by postgres"},
    )
    recorded = ledger.record(told)
    assert list(ledger.entries(WRITE)) == [told]
    assert recorded.name == (
        f"ledger/write/2026-11-21/20261122T090342.345678Z-{told.entry_id}-postgres.succeeded-huggingface.failed.json"
    )
    assert recorded.mirrored is None


def test_an_object_is_written_once_and_never_replaced(ledger: RunLedger) -> None:
    objects = ledger.objects
    assert objects.create("ledger/x/one.json", {"by": "first"}) is True
    assert objects.create("ledger/x/one.json", {"by": "second"}) is False
    assert objects.read("ledger/x/one.json") == {"by": "first"}
    told = entry(sides={"postgres": GOOD})
    ledger.record(told)
    with pytest.raises(ConfigurationError, match="there already"):
        ledger.record(replace(told, rows=99))
    assert [found.rows for found in ledger.entries(WRITE)] == [0]


def test_an_answer_lost_after_the_object_was_made_is_no_other_s_object() -> None:
    objects = WriteOnceObjects(f"memory://{uuid4().hex}")
    objects.create("a/one.json", {"by": "me"})
    assert objects.create("a/one.json", {"by": "me"}) is True  # the client tried again, and met its own


def test_a_folder_without_links_is_written_to_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    objects = WriteOnceObjects(str(tmp_path))
    assert objects.create("a/one.json", {"by": "first"}) is True
    assert objects.create("a/one.json", {"by": "second"}) is False
    assert objects.read("a/one.json") == {"by": "first"}
    assert [path.name for path in files(tmp_path)] == ["one.json"]


def _record_many(uri: str, worker: int, gate: Any) -> None:
    ledger = RunLedger(uri)
    sides = {"postgres": GOOD if worker % 2 else bad(f"w{worker}")}
    gate.wait()
    for _ in range(25):
        ledger.record(entry(sides=sides, rows=worker))
    for number in range(25):
        ledger.objects.create(f"rejects/{number}.json", {"by": worker, "long": "x" * 100_000})


def test_eight_processes_at_once_lose_nothing_and_replace_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(8)
    workers = [context.Process(target=_record_many, args=(str(tmp_path), w, gate)) for w in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 8
    found = list(RunLedger(str(tmp_path)).entries(WRITE))
    assert len(found) == 200
    assert [sum(e.rows == w for e in found) for w in range(8)] == [25] * 8
    contents = [json.loads(path.read_text()) for path in (tmp_path / "rejects").glob("*.json")]
    assert len(contents) == 25
    assert {len(content["long"]) for content in contents} == {100_000}
    assert [path for path in files(tmp_path) if path.suffix != ".json"] == []


_KILLED = """
import os, signal, sys
from data_platform.managers.ledger.write_once import WriteOnceObjects
setattr(os, sys.argv[2], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
WriteOnceObjects(sys.argv[1]).create("ledger/write/one.json", {"by": "killed"})
"""


@pytest.mark.parametrize("moment", ["fsync", "link"])
def test_a_process_killed_before_the_name_is_given_leaves_no_object(tmp_path: Path, moment: str) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), moment], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name.startswith(".one.json.") for path in files(tmp_path)] == [True]
    objects = WriteOnceObjects(str(tmp_path))
    assert objects.names("ledger") == []
    assert objects.create("ledger/write/one.json", {"by": "next"}) is True
    assert objects.names("ledger") == ["ledger/write/one.json"]


# ------------------------------------------------------------------------------------------- found again


def test_entries_come_in_order_of_time_and_only_of_the_days_asked_for(ledger: RunLedger) -> None:
    told = [
        entry(minutes=3, run_date=date(2026, 11, 1), rows=3),
        entry(minutes=1, run_date=date(2026, 11, 20), rows=1),
        entry(minutes=2, rows=2),  # no run date: filed under the day on which it began
        entry(minutes=0, run_date=date(2026, 11, 21), rows=0),
    ]
    for one in told:
        ledger.record(one)
    ledger.record(entry(STARTED, rows=99))
    assert [e.rows for e in ledger.entries(WRITE)] == [0, 1, 2, 3]
    assert [e.rows for e in ledger.entries(WRITE, since=date(2026, 11, 20))] == [0, 1, 2]
    assert [e.rows for e in ledger.entries(WRITE, since=date(2026, 11, 20), until=date(2026, 11, 21))] == [0, 1]
    assert [e.rows for e in ledger.entries(WRITE, until=date(2026, 10, 1))] == []
    assert list(ledger.entries("sync")) == []


def test_the_day_of_an_entry_without_run_date_is_sao_paulo_s() -> None:
    late = datetime(2026, 11, 23, 2, 59, tzinfo=UTC)
    assert entry(started_at=late, finished_at=late).day == date(2026, 11, 22)


def test_the_newest_is_that_of_the_run_date_or_of_all(ledger: RunLedger) -> None:
    assert ledger.newest(WRITE) is None
    for minutes, day in ((5, 20), (9, 1), (2, 20)):
        ledger.record(entry(minutes=minutes, run_date=date(2026, 11, day), rows=minutes))
    newest, of_day = ledger.newest(WRITE), ledger.newest(WRITE, run_date=date(2026, 11, 20))
    assert newest is not None
    assert newest.rows == 9
    assert of_day is not None
    assert of_day.rows == 5
    assert ledger.newest(WRITE, run_date=date(2026, 11, 2)) is None


def test_a_listing_reads_only_what_it_gives(ledger: RunLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    for minutes in range(5):
        ledger.record(entry(minutes=minutes, sides={"postgres": GOOD}, run_date=date(2026, 11, 1 + minutes)))
    read: list[str] = []
    original = WriteOnceObjects.read
    monkeypatch.setattr(WriteOnceObjects, "read", lambda self, name: read.append(name) or original(self, name))
    assert ledger.missed() == []
    assert read == []
    ledger.newest(WRITE)
    assert len(read) == 1
    list(ledger.entries(WRITE, since=date(2026, 11, 4)))
    assert len(read) == 3


def test_many_ids_lie_in_an_object_of_their_own(ledger: RunLedger) -> None:
    ids = [f"id-{number}" for number in range(MOST_IDS_HERE + 1)]
    ledger.record(entry(STARTED, ids=IdList.of(ids), sides={"postgres": BEGUN}))
    ledger.record(entry(sides={"postgres": bad(*ids), "huggingface": bad(*ids[:-1])}))
    (begun,), (ended,) = ledger.entries(STARTED), ledger.entries(WRITE)
    assert (begun.ids.here, begun.ids.count) == ((), len(ids))
    assert ended.sides["postgres"].missed.here == ()
    assert len(ended.sides["huggingface"].missed.here) == MOST_IDS_HERE
    assert ledger.ids(begun.ids) == tuple(ids)
    assert {m.side: m.ids for m in ledger.missed() if m.ended} == {
        "postgres": tuple(ids),
        "huggingface": tuple(ids[:-1]),
    }


# ---------------------------------------------------------------------------------- damage and later forms


def _change(ledger: RunLedger, name: str, content: bytes) -> None:
    filesystem, folder = fsspec.core.url_to_fs(ledger.objects.uri)
    filesystem.pipe_file(f"{folder}/{name}", content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"kind": "write", "entry',
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"kind": "write", "entry_id": "short", "started_at": "2026-11-22T00:00:00+00:00"}',
        b'{"kind": "write", "entry_id": "%s", "started_at": "yesterday"}' % (b"a" * 32),
        b'{"kind": "write", "entry_id": "%s", "started_at": "2026-11-22T00:00:00"}' % (b"a" * 32),
        b'{"kind": "write", "entry_id": "%s", "started_at": "2026-11-22T00:00:00+00:00", "sides": {"p": {"status": 1}}}'
        % (b"a" * 32),
        b'{"kind": "write", "entry_id": "%s", "started_at": "2026-11-22T00:00:00+00:00", "ids": {"count": 2}}'
        % (b"a" * 32),
    ],
)
def test_a_damaged_object_is_an_error_that_names_it(ledger: RunLedger, content: bytes) -> None:
    name = ledger.record(entry(sides={"postgres": bad("a")})).name
    _change(ledger, name, content)
    for look in (lambda: list(ledger.entries(WRITE)), lambda: ledger.newest(WRITE), ledger.missed):
        with pytest.raises(LedgerError) as caught:
            look()
        assert f"{ledger.objects.uri}/{name}" in caught.value.message
        assert caught.value.hint


def test_ids_that_are_not_all_there_are_damage(ledger: RunLedger) -> None:
    ids = [f"id-{number}" for number in range(MOST_IDS_HERE + 1)]
    ledger.record(entry(sides={"postgres": bad(*ids)}))
    (told,) = ledger.entries(WRITE)
    _change(ledger, told.sides["postgres"].missed.elsewhere, json.dumps({"ids": ids[:-1]}).encode())
    with pytest.raises(LedgerError, match="should hold 1001 ids"):
        ledger.missed()


def test_what_a_later_release_adds_is_left_alone(ledger: RunLedger) -> None:
    told = entry(sides={"postgres": GOOD}, rows=7)
    name = ledger.record(told).name
    values = told.to_dict() | {"version": 9, "colour": "blue"}
    values["sides"]["postgres"]["colour"] = "green"
    _change(ledger, name, json.dumps(values).encode())
    assert list(ledger.entries(WRITE)) == [told]


def test_what_is_no_entry_is_not_listed(ledger: RunLedger) -> None:
    ledger.record(entry(sides={"postgres": GOOD}))
    _change(ledger, "ledger/write/2026-11-22/notes.json", b"not ours")
    _change(ledger, "ledger/write/readme.txt", b"not ours")
    assert len(list(ledger.entries(WRITE))) == 1


def test_a_place_that_cannot_be_written_to_is_a_setting_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for uri in (str(tmp_path / "file"), "nonsense://bucket/state"):
        with pytest.raises(ConfigurationError, match="cannot write") as caught:
            RunLedger(uri).record(entry())
        assert "STATE_URI" in caught.value.hint


def test_a_store_that_does_not_answer_may_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise ConnectionResetError("gone")

    monkeypatch.setattr(fsspec.filesystem("memory").__class__, "pipe_file", gone)
    with pytest.raises(TransientError, match="gone"):
        RunLedger(f"memory://{uuid4().hex}").record(entry())


# ------------------------------------------------------------------------------------------------- missed


def test_a_failed_side_is_missed_until_it_is_settled(ledger: RunLedger) -> None:
    told = entry(sides={"postgres": GOOD, "huggingface": bad("a", "b")})
    begun = entry(STARTED, ids=IdList.of(["c"]), sides={"postgres": BEGUN, "huggingface": BEGUN})
    ledger.record(begun)
    ledger.record(entry(entry_id=begun.entry_id, sides={"postgres": GOOD, "huggingface": GOOD}))
    ledger.record(told)
    (missed,) = ledger.missed()
    assert (missed.side, missed.ids, missed.ended, missed.entry) == ("huggingface", ("a", "b"), True, told)
    ledger.record(settling(WRITE, told, "postgres"))  # of the other side
    ledger.record(settling(WRITE, entry(), "huggingface"))  # of another write
    ledger.record(entry(REPAIR, sides={"huggingface": GOOD}, facts={"of": told.entry_id}))  # that settled nothing
    assert [m.entry for m in ledger.missed()] == [told]
    ledger.record(settling(WRITE, told, "huggingface"))
    assert ledger.missed() == []


def test_a_write_without_an_end_may_be_missed_by_both(ledger: RunLedger) -> None:
    begun = entry(STARTED, ids=IdList.of(["a"]), sides={"postgres": BEGUN, "huggingface": BEGUN})
    ledger.record(begun)
    assert [(m.side, m.ids, m.ended) for m in ledger.missed()] == [
        ("postgres", ("a",), False),
        ("huggingface", ("a",), False),
    ]
    ledger.record(settling(STARTED, begun, "postgres"))
    assert [m.side for m in ledger.missed()] == ["huggingface"]


def test_of_a_write_without_an_end_what_its_first_side_did_is_known(ledger: RunLedger) -> None:
    for record, sides in ((GOOD, ["huggingface"]), (bad("a"), ["postgres", "huggingface"])):
        begun = entry(STARTED, ids=IdList.of(["a"]), sides={"postgres": BEGUN, "huggingface": BEGUN})
        ledger.record(begun)
        ledger.record(entry(SIDE, entry_id=begun.entry_id, sides={"postgres": record}))
        found = [m for m in ledger.missed() if m.entry.entry_id == begun.entry_id]
        assert [m.side for m in found] == sides
        assert found[0].entry.sides["postgres"] == record


def test_an_end_counts_though_it_came_after_a_repair_of_the_beginning(ledger: RunLedger) -> None:
    """A repair may meet a write that still runs; what that write says at its end is news."""
    begun = entry(STARTED, ids=IdList.of(["a"]), sides={"postgres": BEGUN, "huggingface": BEGUN})
    ledger.record(begun)
    for side in ("postgres", "huggingface"):
        ledger.record(settling(STARTED, begun, side))
    assert ledger.missed() == []
    ledger.record(entry(WRITE, entry_id=begun.entry_id, sides={"postgres": GOOD, "huggingface": bad("a")}))
    assert [(m.side, m.ended) for m in ledger.missed()] == [("huggingface", True)]


def test_the_newest_miss_comes_first(ledger: RunLedger) -> None:
    for minutes in (1, 3, 2):
        ledger.record(entry(minutes=minutes, rows=minutes, sides={"huggingface": bad("a")}))
    assert [m.entry.rows for m in ledger.missed()] == [3, 2, 1]


def test_later_writes_are_those_that_began_later_and_reached_the_side(ledger: RunLedger) -> None:
    for minutes, side in ((1, GOOD), (5, bad("a")), (9, GOOD)):
        begun = entry(STARTED, minutes=minutes, rows=minutes, sides={"postgres": BEGUN})
        ledger.record(begun)
        ledger.record(entry(minutes=minutes, entry_id=begun.entry_id, sides={"postgres": side}))
    first = next(iter(ledger.entries(STARTED)))
    assert [e.rows for e in ledger.later_writes(first, "postgres")] == [9]
    assert list(ledger.later_writes(first, "huggingface")) == []


# ------------------------------------------------------------------------------------------------- mirror


def test_a_mirror_that_fails_is_told_and_takes_nothing_back(
    ledger: RunLedger, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: LedgerEntry) -> bool:
        raise OSError("sync_log sleeps")

    told = entry(sides={"postgres": GOOD})
    recorded = RunLedger(ledger.objects.uri, mirror=broken).record(told)
    assert (recorded.mirrored, recorded.mirror_error) == (False, "OSError: sync_log sleeps")
    assert "sync_log sleeps" in caplog.text
    assert list(ledger.entries(WRITE)) == [told]


def test_a_mirror_says_what_it_copies(ledger: RunLedger) -> None:
    copied: list[str] = []

    def mirror(told: LedgerEntry) -> bool:
        copied.append(told.kind)
        return told.kind == WRITE

    both = RunLedger(ledger.objects.uri, mirror=mirror)
    assert [both.record(entry(kind)).mirrored for kind in (STARTED, WRITE)] == [None, True]
    assert copied == [STARTED, WRITE]


# ------------------------------------------------------------------------------------------------ rejects


def reject(payload: str = '{"title": null}', reason: str = "title_missing", row: int = 0) -> Reject:
    return Reject(payload, "a1", "mec", "title", reason, "no value", "insert", row)


def test_a_reject_is_kept_whole_and_once_however_often_it_comes(ledger: RunLedger) -> None:
    sink = KeptRejects(ledger.objects.uri)
    assert sink.keep([], origin="insert") == 0
    assert sink.keep([reject(), reject(row=5), reject(reason="agency_missing"), reject("{}")], origin="insert") == 4
    assert sink.keep([reject()], origin="update") == 1
    kept = list(sink.kept())
    assert sorted((k["payload"], k["reason"]) for k in kept) == [
        ('{"title": null}', "agency_missing"),
        ('{"title": null}', "title_missing"),
        ("{}", "title_missing"),
    ]
    assert {k["origin"] for k in kept} == {"insert"}
    whole = next(k for k in kept if k["payload"] != "{}" and k["reason"] == "title_missing")
    assert (whole["unique_id"], whole["agency"], whole["field"], whole["row_no"]) == ("a1", "mec", "title", 0)


def test_a_reject_that_cannot_be_kept_is_no_kept_reject(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError):
        KeptRejects(str(tmp_path / "file")).keep([reject()], origin="insert")
