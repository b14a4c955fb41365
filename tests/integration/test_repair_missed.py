"""What one store missed comes to it from the other, in both directions, and nothing is taken back or dropped.

Over stores in memory, and over PostgreSQL beside one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from huggingface_hub import constants

from data_platform.cli import main
from data_platform.errors import StoreError, StoreUnavailableError, TransientError, WriteError
from data_platform.jobs.reconcile.missed import repair_missed
from data_platform.jobs.reconcile.repair_outcome import EntryRepair, RepairOutcome
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.interface import NewsStore, WriteOutcome
from data_platform.managers.ledger.entry import LedgerEntry
from data_platform.managers.ledger.run_ledger import REPAIR, RunLedger
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.managers.storage_adapter import StorageAdapter
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode
from data_platform.settings import Settings
from dev.embedded_postgres import EmbeddedPostgres
from dev.hub_server import HubServer, HubStore
from tests.support.databases import shared_database
from tests.support.hub import DATASET, QUICK, REDUCED, TOKEN
from tests.support.memory_store import MemoryStore
from tests.support.rows import article
from tests.support.sources import article as sample

PG, HF = "postgres", "huggingface"
Row = dict[str, Any]


def news(uid: str, **cells: Any) -> Row:
    return article(uid, url=f"https://www.gov.br/mec/{uid}", extracted_at=datetime(2026, 11, 1, tzinfo=UTC)) | cells


def columns(*rows: Row) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


@dataclass
class Faulty:
    """A real store in front of which a test can put faults, as `MemoryStore` has them."""

    store: NewsStore
    calls: list[str] = field(default_factory=list)
    always: Callable[[], None] | None = None
    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None

    def insert_rows(self, new_data: Any, *, allow_update: bool = False) -> WriteOutcome:
        return self._write("insert_rows", lambda: self.store.insert_rows(new_data, allow_update=allow_update))

    def update_rows(self, updated_df: pd.DataFrame) -> WriteOutcome:
        return self._write("update_rows", lambda: self.store.update_rows(updated_df))

    def get_by_unique_ids(self, unique_ids: Sequence[str]) -> Any:
        self._call("get_by_unique_ids")
        return self.store.get_by_unique_ids(unique_ids)

    def resolve_ids(self, new_data: Any) -> Any:
        self._call("resolve_ids")
        return self.store.resolve_ids(new_data)  # type: ignore[attr-defined]

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.always:
            self.always()

    def _write(self, name: str, call: Callable[[], WriteOutcome]) -> WriteOutcome:
        self._call(name)
        if self.before:
            self.before()
        outcome = call()
        if self.after:
            self.after()
        return outcome


@dataclass
class Both:
    """Two stores with one ledger."""

    postgres: Any
    huggingface: MemoryStore
    ledger: RunLedger
    database_url: str = ""

    def adapter(self, *, ledger: RunLedger | None = None, **more: Any) -> StorageAdapter:
        return StorageAdapter(
            StorageMode(backend=StorageBackend.DUAL_WRITE, read_from=more.pop("read_from", ReadSource.HUGGINGFACE)),
            settings=Settings(),
            postgres=lambda: self.postgres,
            dataset=lambda: self.huggingface,
            ledger=ledger or self.ledger,
            **more,
        )

    def side(self, name: str) -> Any:
        return {PG: self.postgres, HF: self.huggingface}[name]

    @contextmanager
    def failing(self, *names: str, when: str = "before", error: BaseException | None = None) -> Iterator[None]:
        """Let sides fail, and swallow what the adapter says of it."""

        def fault() -> None:
            raise error or StoreUnavailableError("it sleeps")

        for name in names:
            setattr(self.side(name), when, fault)
        try:
            with suppress(WriteError, KeyboardInterrupt):
                yield
        finally:
            for name in names:
                setattr(self.side(name), when, None)

    def insert(self, *rows: Row, allow_update: bool = False, **more: Any) -> None:
        self.adapter(**more).insert(columns(*rows), allow_update=allow_update)

    def update(self, **cells: Any) -> None:
        self.adapter().update(pd.DataFrame({name: [value] for name, value in cells.items()}))

    def repair(self, **options: Any) -> RepairOutcome:
        return repair_missed(self.adapter(), **options)

    def rows(self, name: str, *ids: str) -> dict[str, Row]:
        found = self.side(name).get_by_unique_ids(ids or [f"a{n}" for n in range(1, 10)]).to_pylist()
        return {row["unique_id"]: row for row in found}

    def alike(self, *ids: str) -> bool:
        return self.rows(PG, *ids) == self.rows(HF, *ids)


@pytest.fixture(scope="module")
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    with shared_database(postgres) as url:
        yield url


@pytest.fixture(params=["in memory", "PostgreSQL"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Both]:
    ledger = RunLedger(str(tmp_path / "state"))
    if request.param == "in memory":
        yield Both(MemoryStore("PostgreSQL"), MemoryStore("the dataset"), ledger)
        return
    url = request.getfixturevalue("database")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM news")
    manager = PostgresManager(url)
    yield Both(Faulty(manager), MemoryStore("the dataset"), ledger, url)
    manager.close()


def only(outcome: RepairOutcome) -> EntryRepair:
    (write,) = outcome.writes
    return write


# ------------------------------------------------------------------------------------------------ inserts


@pytest.mark.parametrize("failing", [PG, HF])
def test_a_missed_insert_is_brought_whole_and_settled(both: Both, failing: str) -> None:
    both.insert(news("a1"))
    with both.failing(failing):
        both.insert(news("a1"), news("a2", tags=["x", "y"], content="text"), news("a3"))
    told = only(both.repair())
    assert (told.store, told.inserted, told.already_there, told.settled) == (failing, 2, 1, True)
    assert set(both.rows(failing)) == {"a1", "a2", "a3"}
    assert both.alike()
    assert both.ledger.missed() == []
    again = both.repair()
    assert (list(again.writes), again.open) == ([], 0)


def test_what_the_failed_side_had_kept_after_all_is_left_as_it_is(both: Both) -> None:
    with both.failing(HF, when="after"):
        both.insert(news("a1"))
    both.huggingface.put(news("a1", title="corrected since"))
    told = only(both.repair())
    assert (told.inserted, told.updated, told.already_there, told.settled) == (0, 0, 1, True)
    assert both.rows(HF)["a1"]["title"] == "corrected since"


def test_both_directions_in_one_go(both: Both) -> None:
    with both.failing(HF):
        both.insert(news("a1"))
    with both.failing(PG):
        both.insert(news("a2"))
    outcome = both.repair()
    assert (outcome.open, len(outcome.writes)) == (0, 2)
    assert set(both.rows(PG)) == set(both.rows(HF)) == {"a1", "a2"}
    assert outcome.to_dict()["inserted"] == 2


def test_what_changed_since_is_brought_as_it_is_now(both: Both) -> None:
    with both.failing(HF):
        both.insert(news("a1"))
    both.postgres.update_rows(pd.DataFrame({"unique_id": ["a1"], "summary": ["written since"]}))
    both.repair()
    assert both.rows(HF)["a1"]["summary"] == "written since"


def test_what_the_good_side_does_not_have_is_told_and_settled(both: Both) -> None:
    with both.failing(PG):
        both.insert(news("a1"), news("a2"))
    both.huggingface.forget("a2")  # deleted since, or rejected there in the first place
    told = only(both.repair())
    assert (told.inserted, told.not_to_bring, told.settled) == (1, ["a2"], True)
    (record,) = both.ledger.entries(REPAIR)
    assert (record.ids.here, record.facts["not_to_bring"]) == (("a2",), 1)


def test_an_article_that_is_there_under_another_id_is_not_made_twice(both: Both) -> None:
    with both.failing(HF):
        both.insert(news("a1"))
    both.huggingface.put(news("other", url=news("a1")["url"] + "?utm_source=x"))
    told = only(both.repair())
    assert (told.inserted, told.known_otherwise, told.settled) == (0, {"a1": "other"}, True)
    assert set(both.rows(HF, "a1", "other")) == {"other"}


def test_a_row_that_the_store_rejects_stays_open(both: Both) -> None:
    with both.failing(HF):
        both.insert(news("a1"))
    original = both.huggingface.insert_rows

    def rejecting(new_data: Any, *, allow_update: bool = False) -> WriteOutcome:
        return original({**new_data, "title": [None] * len(new_data["title"])}, allow_update=allow_update)

    both.huggingface.insert_rows = rejecting  # type: ignore[method-assign]
    told = only(both.repair())
    assert (told.settled, dict(told.refused)) == (False, {"title_missing": 1})
    assert "huggingface rejects" in told.why_open
    assert len(both.ledger.missed()) == 1


# ------------------------------------------------------------------------------------------------ updates


@pytest.mark.parametrize("failing", [PG, HF])
def test_of_a_missed_update_exactly_its_columns_are_brought(both: Both, failing: str) -> None:
    both.insert(news("a1"), news("a2"))
    both.side(failing).update_rows(pd.DataFrame({"unique_id": ["a1"], "subtitle": ["of this side alone"]}))
    with both.failing(failing):
        both.update(unique_id="a1", summary="s", title="T")
    told = only(both.repair())
    assert (told.updated, told.inserted, told.settled) == (1, 0, True)
    row = both.rows(failing)["a1"]
    assert (row["summary"], row["title"], row["subtitle"]) == ("s", "T", "of this side alone")


def test_a_null_written_on_purpose_is_brought_too(both: Both) -> None:
    both.insert(news("a1", summary="old"))
    with both.failing(HF):
        both.update(unique_id="a1", summary=None)
    assert only(both.repair()).updated == 1
    assert both.rows(HF)["a1"]["summary"] is None


def test_themes_come_with_what_follows_from_them(both: Both) -> None:
    both.insert(news("a1"))
    with both.failing(HF):
        both.update(unique_id="a1", theme_1_level_1_code="01")
    assert only(both.repair()).settled
    assert both.rows(HF)["a1"]["theme_1_level_1"] == "01 - Economia"
    assert both.alike()


def test_an_article_to_update_that_is_not_there_comes_whole(both: Both) -> None:
    both.insert(news("a1"))
    with both.failing(HF):
        both.update(unique_id="a1", summary="s")
    both.huggingface.forget("a1")
    told = only(both.repair())
    assert (told.inserted, told.updated, told.settled) == (1, 0, True)
    assert both.alike()


def test_a_missed_rescrape_brings_the_scraper_s_columns_and_no_theme(both: Both) -> None:
    both.insert(news("a1"))
    both.huggingface.update_rows(pd.DataFrame({"unique_id": ["a1"], "summary": ["by enrichment"]}))
    later = datetime(2026, 11, 5, tzinfo=UTC)
    with both.failing(HF):
        both.insert(news("a1", title="edited", extracted_at=later, summary="not ours"), news("a2"), allow_update=True)
    told = only(both.repair())
    assert (told.inserted, told.updated, told.settled) == (1, 1, True)
    row = both.rows(HF)["a1"]
    assert (row["title"], row["extracted_at"], row["summary"]) == ("edited", later, "by enrichment")


def test_of_two_misses_of_one_article_the_newer_wins(both: Both) -> None:
    both.insert(news("a1"))
    for first, second in ((PG, HF), (HF, PG)):
        with both.failing(first):
            both.update(unique_id="a1", summary=f"older, missed by {first}")
        with both.failing(second):
            both.update(unique_id="a1", summary=f"newer, missed by {second}")
        outcome = both.repair()
        assert outcome.open == 0
        assert both.rows(PG)["a1"]["summary"] == both.rows(HF)["a1"]["summary"] == f"newer, missed by {second}"


def test_an_older_miss_waits_for_a_newer_one_that_cannot_be_repaired(both: Both) -> None:
    both.insert(news("a1"), news("a2"))
    with both.failing(PG):
        both.update(unique_id="a1", summary="older")
    with both.failing(PG):
        both.update(unique_id="a2", summary="of another article")
    with both.failing(HF):
        both.update(unique_id="a1", summary="newer")
    with both.failing(HF, error=StoreError("no room")):
        outcome = both.repair()
    states = {write.why_open.split(" ")[0]: write for write in outcome.writes}
    assert states["no"].settled is False
    assert "of the same articles is not settled" in states["the"].why_open
    assert outcome.open == 2
    assert both.rows(PG)["a1"]["summary"] == "newer"
    assert both.rows(PG)["a2"]["summary"] == "of another article"
    assert both.repair().open == 0
    assert both.rows(HF)["a1"]["summary"] == "newer"


def test_a_row_that_changes_under_the_repair_is_looked_at_again(both: Both) -> None:
    both.insert(news("a1"))
    with both.failing(HF):
        both.update(unique_id="a1", summary="first")

    def meanwhile() -> None:
        both.huggingface.after = None
        both.postgres.update_rows(pd.DataFrame({"unique_id": ["a1"], "summary": ["second"]}))

    both.huggingface.after = meanwhile
    assert only(both.repair()).settled
    assert both.rows(HF)["a1"]["summary"] == "second"


def test_rows_that_keep_differing_stay_open(both: Both) -> None:
    both.insert(news("a1"))
    with both.failing(HF):
        both.update(unique_id="a1", summary="first")
    numbers = iter(range(100))
    both.huggingface.after = lambda: both.postgres.update_rows(
        pd.DataFrame({"unique_id": ["a1"], "summary": [f"again {next(numbers)}"]})
    )
    told = only(both.repair())
    assert (told.settled, told.different) == (False, ["a1"])
    both.huggingface.after = None
    assert only(both.repair()).settled


# ------------------------------------------------------------------------------------- nobody carried it out


def test_an_insert_that_both_missed_is_told_until_it_is_made_again(both: Both) -> None:
    with both.failing(PG, HF):
        both.insert(news("a1"), news("a2"), staged_file="gs://b/staged.parquet")
    outcome = both.repair()
    assert outcome.open == 2
    for told in outcome.writes:
        assert told.nowhere == ["a1", "a2"]
        assert "no store has a1, a2: make the call again (its rows: gs://b/staged.parquet)" in told.why_open
    both.insert(news("a1"), news("a2"))
    assert both.repair().open == 0


def test_an_article_that_only_later_writes_rejected_does_not_stay_open(both: Both) -> None:
    """The same rows came again, and both stores gave their account of each."""
    with both.failing(PG, HF):
        both.insert(news("a1"), news("a2"))
    both.insert(news("a1"), news("a2"))
    both.huggingface.forget("a2")
    both.postgres.before = None
    if both.database_url:
        with psycopg.connect(both.database_url) as connection:
            connection.execute("DELETE FROM news WHERE unique_id = 'a2'")
    else:
        both.postgres.forget("a2")
    outcome = both.repair()
    assert outcome.open == 0


def test_an_update_that_both_missed_is_told_until_it_is_made_again(both: Both) -> None:
    both.insert(news("a1"))
    with both.failing(PG, HF):
        both.update(unique_id="a1", summary="s")
    outcome = both.repair()
    assert outcome.open == 2
    assert all("no store is known to have carried the update out" in told.why_open for told in outcome.writes)
    both.update(unique_id="a1", title="another column")
    assert both.repair().open == 2
    both.update(unique_id="a1", summary="s", title="more columns")
    assert both.repair().open == 0


def test_a_person_may_accept_what_is_left(both: Both) -> None:
    with both.failing(PG, HF):
        both.insert(news("a1"))
    entry_id = both.ledger.missed()[0].entry.entry_id
    assert both.repair(accept=["ffffffff"]).open == 2
    assert both.repair(accept=[entry_id[:8]], accepted_by="ana", dry_run=True).open == 2
    assert both.repair(accept=[entry_id[:8]], accepted_by="ana").open == 0
    assert {e.facts["accepted_by"] for e in both.ledger.entries(REPAIR)} == {"ana"}
    assert both.repair().writes == []


# ------------------------------------------------------------------------------------------ without an end


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("dies_in", [PG, HF])
def test_an_insert_that_died_is_completed_wherever_it_got_to(both: Both, dies_in: str, when: str) -> None:
    with both.failing(dies_in, when=when, error=KeyboardInterrupt()):
        both.insert(news("a1"), read_from=ReadSource.POSTGRES)
    outcome = both.repair()
    if (dies_in, when) == (PG, "before"):
        assert outcome.open == 2
        assert all(told.nowhere == ["a1"] for told in outcome.writes)
        both.insert(news("a1"))
        outcome = both.repair()
    assert outcome.open == 0
    assert set(both.rows(PG)) == set(both.rows(HF)) == {"a1"}
    assert both.ledger.missed() == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("dies_in", [PG, HF])
def test_an_update_that_died_reaches_both_or_is_told(both: Both, dies_in: str, when: str) -> None:
    both.insert(news("a1"))
    with both.failing(dies_in, when=when, error=KeyboardInterrupt()):
        both.update(unique_id="a1", summary="s")
    outcome = both.repair()
    got_there = (dies_in, when) != (PG, "before")
    assert both.rows(PG)["a1"]["summary"] == both.rows(HF)["a1"]["summary"] == ("s" if got_there else None)
    # Of the store at which it died nobody knows by itself whether it has it.
    assert {told.store: told.settled for told in outcome.writes} == (
        {PG: False, HF: True} if dies_in == PG else {HF: True}
    )
    both.update(unique_id="a1", summary="s")
    assert both.repair().open == 0
    assert both.rows(PG)["a1"]["summary"] == both.rows(HF)["a1"]["summary"] == "s"


# --------------------------------------------------------------------------------------- stopped, dry, broken


def test_a_dry_run_tells_the_same_and_writes_nothing(both: Both) -> None:
    both.insert(news("a1"))
    with both.failing(HF):
        both.insert(news("a2"))
    with both.failing(PG):
        both.update(unique_id="a1", summary="s")
    before = (both.rows(PG), both.rows(HF), both.ledger.objects.names("ledger"))
    outcome = both.repair(dry_run=True)
    assert (outcome.open, outcome.dry_run) == (2, True)
    assert (outcome.to_dict()["inserted"], outcome.to_dict()["updated"]) == (1, 1)
    assert (both.rows(PG), both.rows(HF), both.ledger.objects.names("ledger")) == before
    done = both.repair()
    assert (done.to_dict()["inserted"], done.to_dict()["updated"], done.open) == (1, 1, 0)


class Stopping(RunLedger):
    """A ledger that stops the process at the n-th record."""

    def __init__(self, uri: str, after: int) -> None:
        super().__init__(uri)
        self.left = after

    def record(self, entry: LedgerEntry) -> Any:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().record(entry)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_stopped_anywhere_it_can_be_done_again(both: Both, after: int) -> None:
    for number in range(1, 4):
        with both.failing(HF if number % 2 else PG):
            both.insert(news(f"a{number}"))
    with pytest.raises(KeyboardInterrupt):
        repair_missed(both.adapter(ledger=Stopping(both.ledger.objects.uri, after)))
    assert len(both.ledger.missed()) == 3 - after
    assert both.repair().open == 0
    assert set(both.rows(PG)) == set(both.rows(HF)) == {"a1", "a2", "a3"}
    assert both.alike()


def test_a_store_that_does_not_answer_stops_it_and_keeps_what_was_settled(both: Both) -> None:
    with both.failing(PG):
        both.insert(news("a1"))
    with both.failing(HF):
        both.insert(news("a2"))
    answers = iter([True, True, False])

    def sleeps() -> None:
        if not next(answers, False):
            raise StoreUnavailableError("it sleeps")

    both.huggingface.always = sleeps
    with pytest.raises(StoreUnavailableError):
        both.repair()
    both.huggingface.always = None
    assert [m.side for m in both.ledger.missed()] == [PG]
    assert both.repair().open == 0


def test_one_write_that_cannot_be_repaired_does_not_hold_up_the_others(both: Both) -> None:
    with both.failing(PG):
        both.insert(news("a1"))
    with both.failing(HF):
        both.insert(news("a2"))
    with both.failing(HF, error=StoreError("no room", hint="make some")):
        outcome = both.repair()
    assert {told.store: told.settled for told in outcome.writes} == {PG: True, HF: False}
    assert next(told for told in outcome.writes if not told.settled).why_open == "no room (make some)"


def test_many_articles_go_in_pieces(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_platform.jobs.reconcile.missed._CHUNK", 3)
    with both.failing(HF):
        both.insert(*(news(f"a{number}") for number in range(1, 9)))
    both.huggingface.calls.clear()
    told = only(both.repair())
    assert (told.inserted, told.settled) == (8, True)
    assert both.huggingface.calls.count("insert_rows") == 3


# ------------------------------------------------------------------------------------------- both as they are


@pytest.fixture
def real(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    """PostgreSQL, and the dataset at the Hub's stand-in."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hf-home"))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DELETE FROM news")
    hub = HubStore(tmp_path / "hub")
    for name in (DATASET, REDUCED):
        hub.create(name)
    with HubServer(hub, tokens=[TOKEN]) as server:
        settings = Settings(hf_endpoint=server.url, hf_token=TOKEN, hf_dataset=DATASET)
        dataset: Any = Faulty(DatasetManager(DATASET, settings=settings, backoff=QUICK))
        manager = PostgresManager(database)
        yield Both(Faulty(manager), dataset, RunLedger(str(tmp_path / "state")), database)
        manager.close()


def test_both_real_stores_end_alike_whatever_each_missed(real: Both) -> None:
    whole = sample(3) | {"agency": "mec"}
    real.insert(whole, news("a1"))
    with real.failing(HF):
        real.insert(news("a2", tags=["x"], url="https://www.gov.br/mec/a2/view"), news("a1"))
    with real.failing(PG, when="after"):
        real.insert(
            news("a3", content="c"),
            news("a1", title="edited", extracted_at=datetime(2026, 11, 9, tzinfo=UTC)),
            allow_update=True,
        )
    with real.failing(PG):
        real.update(unique_id="a1", theme_1_level_1_code="01", summary="s")
    with real.failing(HF, when="after"):
        real.update(unique_id="a2", summary=None, tags=["y", "z"])
    with real.failing(HF, error=KeyboardInterrupt()):
        real.insert(news("a4"), read_from=ReadSource.POSTGRES)
    ids = (whole["unique_id"], "a1", "a2", "a3", "a4")
    assert not real.alike(*ids)
    outcome = real.repair()
    assert outcome.open == 0, outcome.lines()
    assert set(real.rows(PG, *ids)) == set(ids)
    assert real.alike(*ids)
    head = real.huggingface.store.repository.head()  # type: ignore[attr-defined]
    assert real.repair().writes == []
    assert real.huggingface.store.repository.head() == head  # type: ignore[attr-defined]


# -------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def command(
    both: Both, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, dict[str, Any]]]:
    monkeypatch.setenv("STATE_URI", both.ledger.objects.uri)
    monkeypatch.setattr(StorageAdapter, "_make_postgres", lambda _: both.postgres)
    monkeypatch.setattr(StorageAdapter, "_make_dataset", lambda _: both.huggingface)

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        status = main(["reconcile", "--repair", "missed", "--json", *arguments])
        return status, json.loads(capsys.readouterr().out)

    return run


def test_the_command_says_by_its_status_whether_something_is_open(
    both: Both, command: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    status, told = command()
    assert (status, told["missed"], told["known_writes"]) == (0, 0, 0)
    with both.failing(HF):
        both.insert(news("a1"))
    status, told = command("--dry-run")
    assert (status, told["open"], told["inserted"], told["dry_run"]) == (1, 1, 1, True)
    status, told = command()
    assert (status, told["open"], told["inserted"], told["known_writes"]) == (0, 0, 1, 1)
    assert told["writes"][0]["store"] == HF
    with both.failing(PG, HF):
        both.insert(news("a2"))
    status, told = command()
    assert (status, told["open"], told["writes"][0]["nowhere"]) == (1, 2, ["a2"])
    status, told = command("--accept", told["writes"][0]["entry_id"])
    assert (status, told["open"]) == (0, 0)


def test_the_command_that_could_not_run_says_so(both: Both, command: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    with both.failing(HF):
        both.insert(news("a1"))
    both.huggingface.always = lambda: (_ for _ in ()).throw(StoreUnavailableError("it sleeps"))  # type: ignore[assignment, return-value]
    status, told = command()
    assert (status, told["kind"], told["retryable"]) == (2, "StoreUnavailableError", True)


def test_words_for_a_person(both: Both, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_URI", both.ledger.objects.uri)
    monkeypatch.setattr(StorageAdapter, "_make_postgres", lambda _: both.postgres)
    monkeypatch.setattr(StorageAdapter, "_make_dataset", lambda _: both.huggingface)
    assert main(["reconcile", "--repair", "missed"]) == 0
    assert "knows of no write at all" in capsys.readouterr().out
    with both.failing(HF):
        both.insert(news("a1"))
    assert main(["reconcile", "--repair", "missed"]) == 0
    said = capsys.readouterr().out
    assert "huggingface missed insert of 2" in said
    assert "1 articles: 1 inserted; settled" in said
    assert main(["reconcile", "--repair", "missed"]) == 0
    assert "no store misses any of the 1 writes" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------- sync_log


def test_writes_and_repairs_are_copied_into_sync_log(database: str, tmp_path: Path) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DELETE FROM news")
        connection.execute("DELETE FROM sync_log")
    settings = Settings(database_url=database, state_uri=str(tmp_path))
    stores = Both(Faulty(PostgresManager(database)), MemoryStore("the dataset"), RunLedger.of(settings, mirrored=True))
    outcome = stores.adapter().insert_rows(columns(news("a1")))
    assert outcome.not_mirrored == 0
    with stores.failing(HF):
        stores.insert(news("a2"))
    stores.repair()
    with psycopg.connect(database) as connection:
        found = connection.execute(
            "SELECT operation, status, records_processed, records_failed, error_message, metadata->>'entry_id',"
            " completed_at >= started_at FROM sync_log ORDER BY id"
        ).fetchall()
    assert [row[:5] for row in found] == [
        ("write:insert", "completed", 1, 0, None),
        ("write:insert", "failed", 1, 1, "huggingface: it sleeps"),
        ("repair:insert", "completed", 1, 0, None),
    ]
    assert found[0][5] == outcome.entry_id
    assert all(row[6] for row in found)


def test_a_database_that_is_gone_costs_the_copy_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(database_url="postgresql://nobody@127.0.0.1:9/none", state_uri=str(tmp_path))
    stores = Both(MemoryStore("PostgreSQL"), MemoryStore("the dataset"), RunLedger.of(settings, mirrored=True))
    outcome = stores.adapter().insert_rows(columns(news("a1")))
    assert (outcome.inserted, outcome.not_mirrored) == (1, 1)
    assert "sync_log has no copy" in caplog.text
    with pytest.raises(TransientError):
        PostgresManager(settings=settings).get("2024-01-01", "2024-01-01")
