"""Two stores behind one face: both attempted, both recorded, nothing half done that nobody hears of."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data_platform.errors import (
    ConfigurationError,
    PartialWriteError,
    StoreError,
    StoreUnavailableError,
    TerminalError,
    TransientError,
    WriteError,
    WriteFailedError,
)
from data_platform.managers import storage_adapter
from data_platform.managers.interface import WriteOutcome
from data_platform.managers.ledger.entry import LedgerEntry, Status
from data_platform.managers.ledger.run_ledger import SIDE, STARTED, WRITE, RunLedger
from data_platform.managers.storage_adapter import StorageAdapter
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode
from data_platform.settings import Settings
from tests.support.memory_store import MemoryStore
from tests.support.rows import article

ROOT = Path(__file__).parents[3]
PG, HF = "postgres", "huggingface"
MODES = {
    "huggingface": StorageMode(),
    "postgres": StorageMode(backend=StorageBackend.POSTGRES, read_from=ReadSource.POSTGRES),
    "dual, reads huggingface": StorageMode(backend=StorageBackend.DUAL_WRITE),
    "dual, reads postgres": StorageMode(backend=StorageBackend.DUAL_WRITE, read_from=ReadSource.POSTGRES),
}


def columns(*rows: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def news(uid: str, **cells: Any) -> dict[str, Any]:
    return article(uid, url=f"https://www.gov.br/mec/{uid}") | cells


def raising(error: BaseException) -> Callable[[], None]:
    def fault() -> None:
        raise error

    return fault


@dataclass
class Both:
    """Two stores and a ledger."""

    postgres: MemoryStore
    huggingface: MemoryStore
    ledger: RunLedger

    def adapter(self, mode: str = "dual, reads huggingface", **more: Any) -> StorageAdapter:
        return StorageAdapter(
            MODES[mode],
            settings=Settings(),
            postgres=lambda: self.postgres,
            dataset=lambda: self.huggingface,
            ledger=more.pop("ledger", self.ledger),
            **more,
        )

    def side(self, name: str) -> MemoryStore:
        return {PG: self.postgres, HF: self.huggingface}[name]

    @property
    def last(self) -> LedgerEntry:
        found = self.ledger.newest(WRITE)
        assert found is not None
        return found

    @property
    def missed(self) -> dict[str, tuple[str, ...]]:
        return {m.side: m.ids for m in self.ledger.missed()}


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(MemoryStore("PostgreSQL"), MemoryStore("the dataset"), RunLedger(str(tmp_path / "state")))


# ------------------------------------------------------------------------------------------------- modes


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_writes_its_stores_and_reads_its_own(both: Both, mode: str) -> None:
    adapter = both.adapter(mode)
    written = {side.value for side in MODES[mode].sides}
    assert adapter.insert(columns(news("a1"), news("a2"))) == 2
    assert adapter.insert(columns(news("a1"), news("a3"))) == 1
    assert adapter.update(pd.DataFrame({"unique_id": ["a1", "a2"], "summary": ["s", None]})) == 1
    for name in (PG, HF):
        assert set(both.side(name).rows) == ({"a1", "a2", "a3"} if name in written else set())
    assert list(adapter.get("2024-05-06", "2024-05-06")["unique_id"]) == ["a1", "a2", "a3"]
    assert adapter.get("2024-05-06", "2024-05-06", "aeb").empty
    assert adapter.get_by_unique_ids(["a1", "none"]).column("summary").to_pylist() == ["s"]
    readers = {name for name in (PG, HF) if "get" in both.side(name).calls}
    assert readers == {MODES[mode].read_from.value}
    assert {name for name in (PG, HF) if not both.side(name).calls} == {PG, HF} - written
    assert set(both.last.sides) == {PG, HF}
    assert {n for n, s in both.last.sides.items() if s.status is Status.SUCCEEDED} == written
    assert {n for n, s in both.last.sides.items() if s.status is Status.SKIPPED} == {PG, HF} - written
    assert both.missed == {}


def test_postgresql_is_written_first_and_each_side_once(both: Both) -> None:
    order: list[str] = []
    both.postgres.during, both.huggingface.during = lambda: order.append(PG), lambda: order.append(HF)
    both.adapter("dual, reads huggingface").insert(columns(news("a1")))
    both.adapter("dual, reads postgres").update(pd.DataFrame({"unique_id": ["a1"], "summary": ["s"]}))
    assert order == [PG, HF] * 2


def test_the_number_is_that_of_the_store_that_is_read_and_each_side_tells_its_own(both: Both) -> None:
    both.postgres.put(news("a1"), news("a2"))
    for mode, number in (("dual, reads huggingface", 2), ("dual, reads postgres", 0)):
        both.huggingface.forget("a1", "a2")
        outcome = both.adapter(mode).insert_rows(columns(news("a1"), news("a2")))
        assert (outcome.affected, outcome.inserted) == (number, number)
        assert {name: side.counts["inserted"] for name, side in outcome.outcomes.items()} == {PG: 0, HF: 2}
        assert both.last.entry_id == outcome.entry_id
        assert both.last.sides[PG].counts == outcome.outcomes[PG].counts
    told = json.loads(json.dumps(outcome.to_dict()))
    assert told["outcomes"][HF]["inserted"] == 2
    assert (told["inserted"], told["entry_id"]) == (0, outcome.entry_id)


def test_an_outcome_with_rejects_has_a_json_form(both: Both) -> None:
    outcome = both.adapter().insert_rows(columns(news("a1"), news("a2", title=None)))
    told = json.loads(json.dumps(outcome.to_dict()))
    assert told["rejected_by_reason"] == told["outcomes"][PG]["rejected_by_reason"] == {"title_missing": 1}
    assert told["written"] == ["a1"]


def test_the_record_has_what_a_repair_and_a_sensor_need(both: Both) -> None:
    adapter = both.adapter(run_date=date(2026, 11, 21), staged_file="gs://b/staged.parquet")
    adapter.insert({k: v for k, v in columns(news("a1")).items() if v != [None]}, allow_update=True)
    begun, first, ended = (both.ledger.newest(kind, run_date=date(2026, 11, 21)) for kind in (STARTED, SIDE, WRITE))
    assert begun is not None
    assert first is not None
    assert ended is not None
    for told in (begun, first, ended):
        assert (told.operation, told.allow_update, told.mode, told.rows) == ("insert", True, adapter.mode, 1)
        assert told.columns == ("unique_id", "agency", "published_at", "title", "url")
        assert (told.staged_file, told.entry_id) == ("gs://b/staged.parquet", ended.entry_id)
    assert begun.ids.here == ("a1",)
    assert begun.finished_at is None
    assert list(first.sides) == [PG]
    assert ended.finished_at is not None


def test_nothing_to_write_touches_no_store_and_is_recorded(both: Both) -> None:
    """A sensor may wait for the record of a day without news."""
    adapter = both.adapter(run_date=date(2026, 11, 21))
    assert adapter.insert({}) == 0
    assert adapter.update(pd.DataFrame({"unique_id": []})) == 0
    assert (both.postgres.calls, both.huggingface.calls) == ([], [])
    told = list(both.ledger.entries(WRITE, since=date(2026, 11, 21)))
    assert [(e.operation, e.rows, {s.status for s in e.sides.values()}) for e in told] == [
        ("insert", 0, {Status.SUCCEEDED}),
        ("update", 0, {Status.SUCCEEDED}),
    ]


def test_stores_are_closed_at_the_end_and_unused_ones_never_made(both: Both) -> None:
    with both.adapter("huggingface") as adapter:
        adapter.insert(columns(news("a1")))
    assert both.huggingface.closed
    assert not both.postgres.closed


# ---------------------------------------------------------------------------------------- a malformed call

MALFORMED: list[Callable[[StorageAdapter], Any]] = [
    lambda a: a.insert(columns(news("a1")) | {"colour": ["blue"]}),
    lambda a: a.insert({k: v for k, v in columns(news("a1")).items() if k != "title"}),
    lambda a: a.insert(columns(news("a1")) | {"title": ["one", "two"]}),
    lambda a: a.update(pd.DataFrame({"summary": ["s"]})),
    lambda a: a.update(pd.DataFrame({"unique_id": ["a1"], "colour": ["blue"]})),
]


@pytest.mark.parametrize("call", MALFORMED)
@pytest.mark.parametrize("mode", MODES)
def test_a_malformed_call_touches_nothing_and_leaves_no_record(
    both: Both, mode: str, call: Callable[[StorageAdapter], Any]
) -> None:
    with pytest.raises(ValueError, match="column"):
        call(both.adapter(mode))
    assert (both.postgres.calls, both.huggingface.calls) == ([], [])
    assert both.ledger.objects.names("ledger") == []


# ----------------------------------------------------------------------------------------- failing sides


@pytest.mark.parametrize("when", ["before", "during", "after"])
@pytest.mark.parametrize("failing", [PG, HF])
@pytest.mark.parametrize("mode", ["dual, reads huggingface", "dual, reads postgres"])
def test_one_side_fails_and_the_other_keeps_its_rows(both: Both, mode: str, failing: str, when: str) -> None:
    good = HF if failing == PG else PG
    setattr(both.side(failing), when, raising(StoreUnavailableError("it sleeps", hint="wake it")))
    with pytest.raises(PartialWriteError) as caught:
        both.adapter(mode).insert(columns(news("a1"), news("a2")))
    error = caught.value
    assert set(both.side(good).rows) == {"a1", "a2"}
    assert set(both.side(failing).rows) == ({"a1", "a2"} if when == "after" else set())
    # recorded, with what is missed
    assert both.missed == {failing: ("a1", "a2")}
    record = both.last.sides[failing]
    assert (record.status, record.error_type, record.error) == (Status.FAILED, "StoreUnavailableError", "it sleeps")
    assert (record.hint, record.retryable) == ("wake it", True)
    assert both.last.sides[good].counts["inserted"] == 2
    # and told
    for word in (f"{failing} failed: it sleeps", f"{good} wrote: 2 given, 2 inserted"):
        assert word in error.message
    for word in ("wake it", "reconcile --repair missed", both.last.entry_id):
        assert word in error.hint
    assert isinstance(error, TransientError)
    assert isinstance(error.__cause__, StoreUnavailableError)
    assert error.outcomes[good].outcome.inserted == 2
    assert error.outcomes[failing].error == "it sleeps"


@pytest.mark.parametrize("failing", [PG, HF])
def test_an_update_that_one_side_missed_is_told_with_its_columns(both: Both, failing: str) -> None:
    both.adapter().insert(columns(news("a1")))
    both.side(failing).before = raising(StoreError("no room"))
    with pytest.raises(PartialWriteError) as caught:
        both.adapter().update(pd.DataFrame({"unique_id": ["a1"], "summary": ["s"]}))
    assert isinstance(caught.value, TerminalError)
    assert both.missed == {failing: ("a1",)}
    assert (both.last.operation, both.last.columns) == ("update", ("unique_id", "summary"))
    assert {name: both.side(name).rows["a1"]["summary"] for name in (PG, HF)} == {
        failing: None,
        HF if failing == PG else PG: "s",
    }


@pytest.mark.parametrize(("other", "kind"), [(StoreUnavailableError, TransientError), (StoreError, TerminalError)])
def test_both_sides_fail_and_both_were_attempted(both: Both, other: type[StoreError], kind: type[Exception]) -> None:
    both.postgres.during = raising(StoreUnavailableError("it sleeps"))
    both.huggingface.during = raising(other("it is full"))
    with pytest.raises(WriteFailedError) as caught:
        both.adapter().insert(columns(news("a1")))
    assert isinstance(caught.value, kind)
    assert [c for c in both.postgres.calls + both.huggingface.calls if c == "insert_rows"] == ["insert_rows"] * 2
    assert both.missed == {PG: ("a1",), HF: ("a1",)}
    assert "postgres failed: it sleeps" in caught.value.message
    assert "huggingface failed: it is full" in caught.value.message
    cause = caught.value.__cause__
    assert isinstance(cause, ExceptionGroup)
    assert [type(error) for error in cause.exceptions] == [StoreUnavailableError, other]


def test_a_fault_of_the_program_on_one_side_is_a_failure_of_that_side_too(both: Both) -> None:
    both.postgres.during = raising(ZeroDivisionError("by zero"))
    with pytest.raises(PartialWriteError, match=r"postgres failed: by zero \[ZeroDivisionError\]") as caught:
        both.adapter().insert(columns(news("a1")))
    assert caught.value.retryable is False
    assert set(both.huggingface.rows) == {"a1"}


def test_a_side_that_cannot_even_be_made_fails_alone(both: Both) -> None:
    adapter = StorageAdapter(
        MODES["dual, reads huggingface"],
        settings=Settings(),
        postgres=raising(ConfigurationError("no database is set")),  # type: ignore[arg-type]
        dataset=lambda: both.huggingface,
        ledger=both.ledger,
    )
    with pytest.raises(PartialWriteError, match="no database is set"):
        adapter.insert(columns(news("a1")))
    assert set(both.huggingface.rows) == {"a1"}
    assert both.missed == {PG: ("a1",)}


@pytest.mark.parametrize("mode", ["huggingface", "postgres"])
def test_with_one_store_its_own_error_is_raised_after_it_was_recorded(both: Both, mode: str) -> None:
    error = StoreUnavailableError("it sleeps")
    both.side(mode).during = raising(error)
    with pytest.raises(StoreUnavailableError) as caught:
        both.adapter(mode).insert(columns(news("a1")))
    assert caught.value is error
    assert both.last.sides[mode].error == "it sleeps"
    assert both.missed == {mode: ("a1",)}


def test_rows_that_may_not_enter_are_not_missed(both: Both) -> None:
    both.huggingface.before = raising(StoreError("no"))
    with pytest.raises(PartialWriteError):
        both.adapter().insert(columns(news("a1"), news("a2", title=None), news("a3", published_at="soon"), news("")))
    assert both.missed == {HF: ("a1",)}


def test_the_error_can_be_sent_to_another_process(both: Both) -> None:
    both.huggingface.before = raising(StoreUnavailableError("it sleeps"))
    with pytest.raises(WriteError) as caught:
        both.adapter().insert(columns(news("a1")))
    there = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
    assert type(there) is type(caught.value)
    assert str(there) == str(caught.value)
    assert there.outcomes == caught.value.outcomes


# -------------------------------------------------------------------------------------------- identities


@pytest.mark.parametrize("mode", ["dual, reads huggingface", "dual, reads postgres"])
def test_an_article_that_is_there_gets_its_id_in_both_stores(both: Both, mode: str) -> None:
    reader = both.side(MODES[mode].read_from.value)
    reader.put(news("old", url="https://www.gov.br/mec/x"))
    given = columns(news("new", url="https://www.gov.br/mec/x?utm_source=y", subtitle="seen"), news("a2"))
    outcome = both.adapter(mode).insert_rows(given, allow_update=True)
    assert set(both.postgres.rows) == set(both.huggingface.rows) == {"old", "a2"}
    assert both.postgres.rows["old"]["subtitle"] == both.huggingface.rows["old"]["subtitle"] == "seen"
    assert outcome.ids == {"new": "old"}
    assert outcome.outcomes[PG].ids == outcome.outcomes[HF].ids == {"new": "old"}
    assert outcome.identity == f"by {MODES[mode].read_from}"
    assert given["unique_id"] == ["new", "a2"], "what the caller gave is not touched"
    begun = both.ledger.newest(STARTED)
    assert begun is not None
    assert begun.ids.here == ("old", "a2")


def test_an_id_that_is_no_text_is_left_to_the_store_to_reject(both: Both) -> None:
    both.huggingface.put(news("old", url="https://www.gov.br/mec/x"))
    rows = [news("new", url="https://www.gov.br/mec/x"), news("a2") | {"unique_id": ["odd"]}, news("a3")]
    outcome = both.adapter().insert_rows(columns(*rows))
    assert outcome.rejected == 1
    assert set(both.postgres.rows) == {"old", "a3"}


def test_a_store_that_cannot_say_does_not_hold_the_write_up(both: Both) -> None:
    both.huggingface.put(news("old", url="https://www.gov.br/mec/x"))
    both.postgres.put(news("old", url="https://www.gov.br/mec/x"))
    both.huggingface.always = raising(StoreUnavailableError("it sleeps"))
    with pytest.raises(PartialWriteError):
        both.adapter().insert(columns(news("new", url="https://www.gov.br/mec/x"), news("a2")))
    assert set(both.postgres.rows) == {"old", "a2"}
    # PostgreSQL knew the article by itself: it is missed under the id that it has there.
    assert both.missed == {HF: ("old", "a2")}
    begun = both.ledger.newest(STARTED)
    assert begun is not None
    assert "huggingface does not answer: it sleeps" in begun.facts["identity"]


def test_a_store_without_the_question_is_told_in_the_outcome(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(MemoryStore, "resolve_ids")
    outcome = both.adapter().insert_rows(columns(news("a1")))
    assert outcome.identity == "as given: huggingface cannot say which articles it has"


# ------------------------------------------------------------------------------------------- interruption


def test_an_interrupt_between_the_sides_leaves_a_trace(both: Both) -> None:
    both.huggingface.before = raising(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        both.adapter("dual, reads postgres").insert(columns(news("a1")))
    assert set(both.postgres.rows) == {"a1"}
    assert list(both.ledger.entries(WRITE)) == []
    assert [(m.side, m.ids, m.ended) for m in both.ledger.missed()] == [(HF, ("a1",), False)]


_KILLED = """
import os, signal, sys
from pathlib import Path
from data_platform.managers.storage_adapter import StorageAdapter
from data_platform.managers.storage_mode import StorageBackend, StorageMode
from data_platform.settings import Settings
from tests.support.memory_store import MemoryStore
folder, store, when = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
stores = {name: MemoryStore(name, folder / name) for name in ("postgres", "huggingface")}
setattr(stores[store], when, lambda: os.kill(os.getpid(), signal.SIGKILL))
adapter = StorageAdapter(
    StorageMode(backend=StorageBackend.DUAL_WRITE), settings=Settings(state_uri=str(folder / "state")),
    postgres=lambda: stores["postgres"], dataset=lambda: stores["huggingface"],
)
adapter.insert({"unique_id": ["a1"], "agency": ["mec"], "published_at": ["2024-05-06"], "title": ["T"]})
"""


@pytest.mark.parametrize(
    ("store", "when", "missed"),
    [
        (PG, "before", [PG, HF]),
        (PG, "during", [PG, HF]),
        (PG, "after", [PG, HF]),
        (HF, "before", [HF]),
        (HF, "during", [HF]),
        (HF, "after", [HF]),
    ],
)
def test_kill_9_leaves_a_trace_of_what_may_be_missed(tmp_path: Path, store: str, when: str, missed: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path), store, when],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    found = RunLedger(str(tmp_path / "state")).missed()
    assert [(m.side, m.ids, m.ended) for m in found] == [(side, ("a1",), False) for side in missed]


# ------------------------------------------------------------------------------------------ the record itself


class Breaking(RunLedger):
    """A ledger that does not take entries of a kind."""

    def __init__(self, uri: str, kind: str) -> None:
        super().__init__(uri)
        self.kind = kind

    def record(self, entry: LedgerEntry) -> Any:
        if entry.kind == self.kind:
            raise TransientError("the bucket sleeps")
        return super().record(entry)


def test_what_cannot_be_recorded_is_not_begun(both: Both) -> None:
    ledger = Breaking(both.ledger.objects.uri, STARTED)
    with pytest.raises(TransientError, match="the bucket sleeps"):
        both.adapter(ledger=ledger).insert(columns(news("a1")))
    assert (both.postgres.rows, both.huggingface.rows) == ({}, {})


def test_both_sides_are_attempted_though_the_first_cannot_be_recorded(both: Both) -> None:
    ledger = Breaking(both.ledger.objects.uri, SIDE)
    assert both.adapter(ledger=ledger).insert(columns(news("a1"))) == 1
    assert set(both.huggingface.rows) == {"a1"}
    assert both.missed == {}


def test_an_end_that_cannot_be_recorded_fails_the_write_and_leaves_it_open(both: Both) -> None:
    both.huggingface.during = raising(StoreError("no room"))
    ledger = Breaking(both.ledger.objects.uri, WRITE)
    with pytest.raises(TransientError, match="the bucket sleeps") as caught:
        both.adapter(ledger=ledger).insert(columns(news("a1")))
    notes = "\n".join(caught.value.__notes__)
    assert "postgres wrote: 1 given, 1 inserted; huggingface failed: no room" in notes
    assert both.missed == {HF: ("a1",)}


def test_a_mirror_that_fails_does_not_fail_the_write(both: Both, caplog: pytest.LogCaptureFixture) -> None:
    def broken(entry: LedgerEntry) -> bool:
        if entry.kind != WRITE:
            return False
        raise OSError("sync_log sleeps")

    ledger = RunLedger(both.ledger.objects.uri, mirror=broken)
    outcome = both.adapter(ledger=ledger).insert_rows(columns(news("a1")))
    assert (outcome.inserted, outcome.not_mirrored) == (1, 1)
    assert "sync_log sleeps" in caplog.text


# ------------------------------------------------------------------------------- huggingface needs no PostgreSQL

_WITHOUT_POSTGRESQL = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"psycopg", "psycopg2", "sqlalchemy"}:
            raise AssertionError(f"{name} was imported")
sys.meta_path.insert(0, Blocked())
from data_platform.managers.storage_adapter import StorageAdapter
from data_platform.managers.storage_mode import StorageMode
from data_platform.settings import Settings
from tests.support.memory_store import MemoryStore
import pandas as pd
store = MemoryStore("the dataset")
adapter = StorageAdapter(dataset=lambda: store)
rows = {"unique_id": ["a1"], "agency": ["mec"], "published_at": ["2024-05-06"], "title": ["T"]}
assert adapter.insert(rows) == 1
assert adapter.insert(rows | {"title": ["U"]}, allow_update=True) == 1
assert adapter.update(pd.DataFrame({"unique_id": ["a1"], "summary": ["s"]})) == 1
assert len(adapter.get("2024-05-06", "2024-05-06")) == 1
store.before = lambda: 1 / 0
try:
    adapter.insert(rows)
except ZeroDivisionError:
    pass
assert [m.side for m in adapter.ledger.missed()] == ["huggingface"]
store.before = None
known = Settings(database_url="postgresql://x:y@127.0.0.1:9/none", state_uri=adapter.ledger.objects.uri)
assert StorageAdapter(StorageMode(), settings=known, dataset=lambda: store).insert(rows) == 0
assert not {"psycopg", "psycopg2", "sqlalchemy"} & set(sys.modules)
"""


@pytest.mark.parametrize("address", ["postgresql://x:y@127.0.0.1:9/none", "no address at all"])
@pytest.mark.parametrize("backend", ["", "huggingface"])
def test_the_huggingface_mode_never_imports_a_driver_of_postgresql(tmp_path: Path, backend: str, address: str) -> None:
    """Law 14: even with an address set, and though that cannot be read."""
    environment = os.environ | {"STATE_URI": str(tmp_path), "DATABASE_URL": address}
    environment |= {"STORAGE_BACKEND": backend} if backend else {}
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_POSTGRESQL],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_what_the_adapter_makes_by_itself_is_made_late(monkeypatch: pytest.MonkeyPatch, both: Both) -> None:
    made: list[str] = []
    monkeypatch.setattr(StorageAdapter, "_make_postgres", lambda _: made.append(PG) or both.postgres)
    monkeypatch.setattr(StorageAdapter, "_make_dataset", lambda _: made.append(HF) or both.huggingface)
    adapter = StorageAdapter(MODES["dual, reads postgres"], settings=Settings(), ledger=both.ledger)
    assert made == []
    adapter.get("2024-05-06", "2024-05-06")
    assert made == [PG]
    adapter.insert(columns(news("a1")))
    adapter.insert(columns(news("a2")))
    assert made == [PG, HF]


def test_settings_and_mode_come_from_the_environment_if_not_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STORAGE_BACKEND", "dual_write")
    monkeypatch.setenv("STATE_URI", str(tmp_path / "there"))
    adapter = StorageAdapter()
    assert adapter.mode.backend is StorageBackend.DUAL_WRITE
    assert adapter.ledger.objects.uri == str(tmp_path / "there")


def test_an_outcome_is_a_write_outcome_for_code_that_knows_no_sides() -> None:
    main = WriteOutcome(given=1, inserted=1)
    outcome = storage_adapter.StorageOutcome.over(main, {PG: main})
    assert isinstance(outcome, WriteOutcome)
    assert outcome.counts == main.counts


def test_instants_in_the_ledger_have_a_zone(both: Both) -> None:
    both.adapter().insert(columns(news("a1", published_at=datetime(2024, 5, 6, tzinfo=UTC))))
    assert both.last.started_at.tzinfo is not None
    assert both.last.finished_at is not None
    assert both.last.started_at <= both.last.finished_at
