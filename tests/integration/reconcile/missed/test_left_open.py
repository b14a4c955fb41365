"""What no store can give stays open until somebody does something about it; a repair that stopped is done again."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from data_platform.errors import StoreError, StoreUnavailableError
from data_platform.jobs.reconcile.missed import repair_missed
from data_platform.managers.ledger.entry import LedgerEntry
from data_platform.managers.ledger.run_ledger import REPAIR, RunLedger
from data_platform.managers.storage_mode import ReadSource
from tests.support.missed import HF, PG, Both, news, only

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
