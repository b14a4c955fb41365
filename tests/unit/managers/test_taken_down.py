"""What was deleted stays out, whoever brings it, until somebody allows it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from data_platform.errors import StoreUnavailableError, WriteError
from data_platform.managers.ledger.deletions import allow_again, deleted
from data_platform.managers.ledger.run_ledger import DELETION, WRITE, RunLedger
from tests.support.memory_store import MemoryStore
from tests.support.missed import HF, PG, Both, columns, news

LATER = datetime(2026, 11, 9, tzinfo=UTC)


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(MemoryStore("PostgreSQL"), MemoryStore("the dataset"), RunLedger(str(tmp_path / "state")))


def again(both: Both, *rows: dict[str, Any], **more: Any) -> Any:
    return both.adapter(**more).insert_rows(columns(*rows), allow_update=True)


@pytest.mark.parametrize("only", ["", PG, HF])
def test_a_deleted_article_is_kept_out_and_counted(both: Both, only: str) -> None:
    both.insert(news("a1"), news("a2"))
    both.adapter(only=only).delete_rows(["a1"], reason="court order")
    told = again(both, news("a1"), news("a2", title="newer", extracted_at=LATER), news("a3"), only=only)
    assert (told.given, told.kept_out, told.inserted, told.updated) == (3, 1, 1, 1)
    assert told.counts["kept_out"] == 1
    entry = both.ledger.newest(WRITE)
    assert entry is not None
    assert (entry.sides[only or PG].counts["kept_out"], entry.sides[only or PG].counts["given"]) == (1, 3)
    for side in (only,) if only else (PG, HF):
        assert set(both.rows(side)) == {"a2", "a3"}


def test_a_call_of_nothing_else_writes_nothing_and_tells(both: Both) -> None:
    both.insert(news("a1"))
    both.adapter().delete_rows(["a1"], reason="court order")
    told = again(both, news("a1"))
    assert (told.given, told.kept_out, told.affected) == (1, 1, 0)
    entry = both.ledger.newest(WRITE)
    assert entry is not None
    assert {side: record.counts["kept_out"] for side, record in entry.sides.items()} == {PG: 1, HF: 1}, "on record"
    assert both.rows(PG) == both.rows(HF) == {}


def test_an_edited_title_gives_it_another_id_and_no_way_in(both: Both) -> None:
    both.insert(news("a1", url="https://www.gov.br/mec/a1"))
    both.adapter().delete_rows(["a1"], reason="court order")
    told = again(both, news("a9", title="edited", url="http://www.gov.br/mec/a1/view"), news("a2"))
    assert (told.kept_out, set(both.rows(PG))) == (1, {"a2"})


def test_deleting_it_once_more_forgets_nothing(both: Both) -> None:
    both.insert(news("a1"))
    for _ in range(2):
        both.adapter().delete_rows(["a1"], reason="court order")
    assert again(both, news("a9", url=news("a1")["url"])).kept_out == 1


def test_of_two_rows_of_one_article_the_other_goes_on(both: Both) -> None:
    """Taking a double out is no reason to close its address."""
    for side in (PG, HF):
        both.side(side).put(news("a1"), news("a2", url=news("a1")["url"]))
    both.adapter().delete_rows(["a2"], reason="twice")
    told = again(both, news("a1", title="newer", extracted_at=LATER))
    assert (told.kept_out, told.updated) == (0, 1)
    assert deleted(both.ledger).addresses == {"a2": None}


def test_it_is_on_record_before_anything_is_deleted(both: Both) -> None:
    both.insert(news("a1"))

    def killed() -> None:
        raise KeyboardInterrupt

    both.postgres.before = killed
    with pytest.raises(KeyboardInterrupt):
        both.adapter().delete_rows(["a1"], reason="court order")
    assert "a1" in deleted(both.ledger).addresses


def test_a_store_that_does_not_answer_takes_no_part_in_saying_where_it_was(both: Both) -> None:
    both.insert(news("a1"))

    def sleeps() -> None:
        raise StoreUnavailableError("it sleeps")

    both.huggingface.always = sleeps
    with pytest.raises(WriteError, match="it sleeps"):
        both.adapter().delete_rows(["a1"], reason="court order")
    both.huggingface.always = None
    assert deleted(both.ledger).addresses == {"a1": None}
    assert both.rows(PG) == {}
    assert again(both, news("a1")).kept_out == 1


def test_somebody_can_allow_it_again(both: Both) -> None:
    both.insert(news("a1"))
    both.adapter().delete_rows(["a1"], reason="court order")
    assert allow_again(both.ledger, ["a1", "a2"], reason="the order was lifted") == ["a1"]
    assert again(both, news("a1")).inserted == 1
    assert allow_again(both.ledger, ["a1"], reason="twice") == []
    assert [entry.operation for entry in both.ledger.entries(DELETION)][-1] == "allowed-again"
    both.adapter().delete_rows(["a1"], reason="another order")
    assert again(both, news("a1")).kept_out == 1


def test_deleting_nothing_records_nothing(both: Both) -> None:
    both.adapter().delete_rows([], reason="none")
    assert both.ledger.count(DELETION) == 0
