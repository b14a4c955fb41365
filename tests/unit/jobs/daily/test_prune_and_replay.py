"""Staged files stay until both stores hold them, and can be written again into either (fault 56)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from data_platform.errors import SourceError, StoreUnavailableError, WriteError
from data_platform.jobs.daily.identify import identify
from data_platform.jobs.daily.prune import held_by, prune
from data_platform.jobs.daily.replay import replay
from data_platform.jobs.reconcile.missed import repair_missed
from data_platform.managers.ledger.entry import LedgerEntry, SideRecord, Status, new_entry_id
from data_platform.managers.ledger.run_ledger import RECONCILE, SYNC, RunLedger
from data_platform.managers.staging import StagedFile, Staging
from data_platform.managers.storage_adapter import StorageAdapter
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode
from data_platform.models.days import utc_now
from data_platform.settings import Settings
from tests.support.memory_store import MemoryStore

DAY = date(2026, 11, 20)
AT = datetime(2026, 11, 20, 15, tzinfo=UTC)
LATER = timedelta(days=31)
PG, HF = ReadSource.POSTGRES, ReadSource.HUGGINGFACE


def scraped(*paths: str, **cells: list[Any]) -> dict[str, list[Any]]:
    count = len(paths)
    return {
        "agency": ["mec"] * count,
        "published_at": [AT] * count,
        "title": [f"Título {path}" for path in paths],
        "url": [f"https://www.gov.br/mec/{path}" for path in paths],
        "content": ["Texto"] * count,
        "extracted_at": [AT] * count,
        **cells,
    }


class Place:
    """Two stores in memory, a ledger and a place of staging."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(state_uri=str(folder / "state"), staging_uri=str(folder / "staging"))
        self.staging = Staging.of(self.settings)
        self.ledger = RunLedger.of(self.settings)
        self.stores = {side: MemoryStore(side.value) for side in ReadSource}

    def stage(self, *paths: str) -> StagedFile:
        raw = self.staging.write("scraped", DAY, scraped(*paths))
        rows = identify(self.staging.read(raw).columns(), self.stores[HF]).columns
        return self.staging.write("identified", DAY, rows, made_from=[raw])

    def adapter(self, backend: StorageBackend, file: StagedFile | None = None) -> StorageAdapter:
        side = PG if backend is StorageBackend.POSTGRES else HF
        return StorageAdapter(
            StorageMode(backend=backend, read_from=side),
            settings=self.settings,
            ledger=self.ledger,
            postgres=lambda: self.stores[PG],
            dataset=lambda: self.stores[HF],
            run_date=DAY,
            staged_file=file.uri if file else "",
        )

    def write(self, file: StagedFile, backend: StorageBackend = StorageBackend.DUAL_WRITE) -> None:
        self.adapter(backend, file).insert_rows(self.staging.read(file).columns(), allow_update=True)

    def replay(self, file: StagedFile, side: ReadSource, **more: Any) -> Any:
        return replay(file, side, self.settings, ledger=self.ledger, make_store=lambda: self.stores[side], **more)

    def prune(self, **more: Any) -> Any:
        return prune(self.staging, self.ledger, now=utc_now() + LATER, **more)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def down(place: Place, side: ReadSource) -> Callable[[], None]:
    def fault() -> None:
        raise StoreUnavailableError("it sleeps")

    place.stores[side].before = fault
    return lambda: setattr(place.stores[side], "before", None)


# ------------------------------------------------------------------------------------------------------ prune


def test_what_both_stores_hold_goes_after_thirty_days_with_what_it_was_made_from(place: Place) -> None:
    file = place.stage("a", "b")
    place.write(file)
    assert held_by(file, place.ledger) == {PG, HF}
    told = prune(place.staging, place.ledger)
    assert (told.files, told.removed, told.young) == (2, 0, 2)
    told = place.prune(dry_run=True)
    assert (told.removed, len(place.staging.files())) == (2, 2)
    told = place.prune()
    assert (told.removed, told.needed, place.staging.files()) == (2, 0, [])
    assert place.prune().files == 0


def test_what_a_store_missed_stays_until_it_was_brought_there(place: Place) -> None:
    file = place.stage("a")
    up = down(place, PG)
    with pytest.raises(WriteError):
        place.write(file)
    up()
    assert held_by(file, place.ledger) == {HF}
    told = place.prune()
    assert (told.removed, told.needed, told.needed_files[-1]) == (0, 2, file.uri)
    repair_missed(place.adapter(StorageBackend.DUAL_WRITE))
    assert held_by(file, place.ledger) == {PG, HF}
    assert place.prune().removed == 2


def test_what_a_person_settled_without_the_rows_stays(place: Place) -> None:
    file = place.stage("a")
    for side in ReadSource:
        down(place, side)
    with pytest.raises(WriteError):
        place.write(file)
    for side in ReadSource:
        place.stores[side].before = None
    entry_id = place.ledger.missed()[0].entry.entry_id
    repair_missed(place.adapter(StorageBackend.DUAL_WRITE), accept=[entry_id], accepted_by="somebody")
    assert place.ledger.missed() == []
    proof(place, RECONCILE, passed=True)  # that both are the same does not say that either has these rows
    assert held_by(file, place.ledger) == set()
    assert place.prune().removed == 0


def test_what_nobody_wrote_is_never_removed(place: Place) -> None:
    place.stage("a")
    assert (place.prune().removed, len(place.staging.files())) == (0, 2)


def proof(place: Place, kind: str, **facts: Any) -> None:
    side = {SYNC: "huggingface", RECONCILE: "comparison"}[kind]
    place.ledger.record(
        LedgerEntry(
            kind=kind,
            entry_id=new_entry_id(),
            started_at=utc_now(),
            finished_at=utc_now(),
            operation=facts.pop("operation", ""),
            sides={side: SideRecord(status=Status.SUCCEEDED)},
            facts=facts,
        )
    )


@pytest.mark.parametrize("backend", [StorageBackend.POSTGRES, StorageBackend.HUGGINGFACE])
def test_written_to_one_store_only_a_file_stays_until_a_later_proof_of_the_other(
    place: Place, backend: StorageBackend
) -> None:
    proof(place, RECONCILE, passed=True)  # before the write: it proves nothing of it
    proof(place, SYNC, operation="incremental")
    file = place.stage("a")
    place.write(file, backend)
    assert held_by(file, place.ledger) == {ReadSource(backend.value)}
    proof(place, SYNC, operation="verify")
    proof(place, RECONCILE, passed=False)
    assert held_by(file, place.ledger) == {ReadSource(backend.value)}
    if backend is StorageBackend.POSTGRES:
        proof(place, SYNC, operation="incremental")
        assert held_by(file, place.ledger) == {PG, HF}
    proof(place, RECONCILE, passed=True)
    assert held_by(file, place.ledger) == {PG, HF}


# ----------------------------------------------------------------------------------------------------- replay


def test_a_file_is_written_again_into_either_store_and_doing_it_twice_changes_nothing(place: Place) -> None:
    file = place.stage("a", "b")
    place.write(file)
    wanted = place.stores[HF].rows
    for side in ReadSource:
        place.stores[side].forget(*wanted)
        told = place.replay(file, side)
        assert (told.outcome.inserted, told.store, told.operation) == (2, side.value, "insert")
        assert place.stores[side].rows == wanted
        again = place.replay(file, side)
        assert (again.outcome.inserted, again.outcome.unchanged) == (0, 2)
        entry = place.ledger.newest("write")
        assert entry is not None
        assert (entry.staged_file, entry.run_date) == (file.uri, DAY)
    assert told.to_dict()["outcome"]["inserted"] == 2


def test_a_replay_closes_a_write_that_no_store_carried_out(place: Place) -> None:
    file = place.stage("a")
    ups = [down(place, side) for side in ReadSource]
    with pytest.raises(WriteError):
        place.write(file)
    for up in ups:
        up()
    both = place.adapter(StorageBackend.DUAL_WRITE)
    outcome = repair_missed(both)
    assert outcome.open == 2
    assert file.uri in outcome.writes[0].why_open
    for side in ReadSource:
        place.replay(file, side)
    assert repair_missed(both).open == 0


def test_an_older_scrape_does_not_come_over_a_newer_one_and_themes_stay(place: Place) -> None:
    """Fault 22: what enrichment wrote is not the scraper's."""
    file = place.stage("a")
    place.write(file)
    store = place.stores[PG]
    (row,) = store.rows.values()
    store.put(row | {"title": "mais nova", "extracted_at": AT + timedelta(days=1), "summary": "resumo"})
    told = place.replay(file, PG)
    assert told.outcome.unchanged == 1
    (row,) = store.rows.values()
    assert (row["title"], row["summary"]) == ("mais nova", "resumo")


def test_columns_of_articles_that_are_there_are_replayed_as_an_update(place: Place) -> None:
    file = place.stage("a")
    place.write(file)
    (uid,) = place.stores[PG].rows
    late = place.staging.write("late", DAY, {"unique_id": [uid, "x"], "summary": ["resumo", "outro"]})
    told = place.replay(late, PG)
    assert (told.operation, told.outcome.updated, told.outcome.rejected) == ("update", 1, 1)
    assert place.stores[PG].rows[uid]["summary"] == "resumo"
    assert place.stores[HF].rows[uid]["summary"] is None


def test_rows_without_ids_are_not_replayed(place: Place) -> None:
    raw = place.staging.write("scraped", DAY, scraped("a"))
    with pytest.raises(SourceError, match="no unique_id"):
        place.replay(raw, PG)
    assert place.stores[PG].rows == {}


def test_an_id_that_is_another_article_s_by_now_is_not_overwritten(place: Place) -> None:
    """Two notes of one midnight: when the file was made, its first had the plain id; meanwhile the other took it."""
    same = {"title": ["Agenda", "Agenda"]}
    rows = identify(scraped("a", "b", **same), place.stores[HF]).columns
    file = place.staging.write("identified", DAY, rows)
    other = identify({name: values[1:] for name, values in scraped("a", "b", **same).items()}, place.stores[HF]).columns
    place.stores[HF].insert_rows({**other})
    told = place.replay(file, HF)
    assert (told.outcome.inserted, len(told.renamed)) == (1, 1)
    assert {row["url"] for row in place.stores[HF].rows.values()} == set(scraped("a", "b")["url"])
