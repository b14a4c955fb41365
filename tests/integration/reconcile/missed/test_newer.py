"""What the store that missed a write was given since is newer than that write, and stays."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from data_platform.managers.ledger.deletions import allow_again
from tests.support.missed import HF, PG, Both, columns, news, only

OTHER = {PG: HF, HF: PG}
LATER = datetime(2026, 11, 9, tzinfo=UTC)
LATEST = datetime(2026, 11, 10, tzinfo=UTC)


def cells(both: Both, side: str, *names: str) -> list[object]:
    return [both.rows(side, "a1")["a1"][name] for name in names]


@pytest.mark.parametrize("side", [PG, HF])
def test_of_a_missed_update_what_was_updated_since_stays_and_the_rest_comes(both: Both, side: str) -> None:
    both.insert(news("a1"))
    with both.failing(side):
        both.update(unique_id="a1", summary="of the first day", title="of the first day")
    both.update(only=side, unique_id="a1", summary="of the second day")
    assert only(both.repair()).settled
    assert cells(both, side, "summary", "title") == ["of the second day", "of the first day"]
    assert cells(both, OTHER[side], "summary") == ["of the first day"], "the other side is not what was missed"


@pytest.mark.parametrize("side", [PG, HF])
@pytest.mark.parametrize("on_record", [True, False])
def test_a_page_that_was_scraped_since_stays(both: Both, side: str, on_record: bool) -> None:
    """Also where a write that the ledger does not know of brought it."""
    both.insert(news("a1"))
    with both.failing(side):
        both.insert(news("a1", title="of the first day", extracted_at=LATER), allow_update=True)
    newer = columns(news("a1", title="of the second day", extracted_at=LATEST))
    if on_record:
        both.adapter(only=side).insert(newer, allow_update=True)
    else:
        both.side(side).insert_rows(newer, allow_update=True)
    assert only(both.repair()).settled
    assert cells(both, side, "title") == ["of the second day"]


def test_a_later_write_to_both_does_not_keep_what_was_missed_before_it_away(both: Both) -> None:
    """It may have left cells alone: the page had no text that day."""
    both.insert(news("a1", content="old"))
    with both.failing(HF):
        both.update(unique_id="a1", summary="s", content="new")
    both.update(unique_id="a1", title="of the second day", content="new")
    both.huggingface.update_rows(_frame(unique_id="a1", content="old"))
    assert only(both.repair()).settled
    assert both.alike("a1")


def test_a_write_that_was_tried_again_is_not_missed(both: Both) -> None:
    """As when a task is cleared: the same staged rows, the same way."""
    both.insert(news("a1"))
    rows = columns(news("a1", title="of the first day", extracted_at=LATER))
    for side in (PG, HF):
        with both.failing(HF):
            both.adapter(only=side, staged_file="day.parquet").insert(rows, allow_update=True)
    assert [missed.side for missed in both.ledger.missed()] == [HF]
    both.adapter(only=HF, staged_file="day.parquet").insert(rows, allow_update=True)
    assert both.ledger.missed() == []


def test_another_call_with_the_same_staged_rows_is_no_other_try(both: Both) -> None:
    """As the pipeline writes a file of late enrichment: a call for each set of columns."""
    both.insert(news("a1"), news("a2"))
    late = both.adapter(staged_file="late.parquet")
    with both.failing(HF):
        late.update_rows(_frame(unique_id="a1", summary="s"))
    late.update_rows(_frame(unique_id="a2", summary="s", title="t"))
    assert [missed.ids for missed in both.ledger.missed()] == [("a1",)]
    assert only(both.repair()).settled
    assert both.alike("a1", "a2")


@pytest.mark.parametrize("side", [PG, HF])
def test_an_article_that_was_taken_down_since_does_not_come_back(both: Both, side: str) -> None:
    both.insert(news("a1"))
    with both.failing(side):
        both.insert(news("a2"))
    both.adapter(only=side).delete_rows(["a2"], reason="court order")
    told = only(both.repair())
    assert (told.settled, told.inserted, told.not_to_bring) == (True, 0, ["a2"])
    assert set(both.rows(side)) == {"a1"}


def test_it_does_once_somebody_allows_it(both: Both) -> None:
    with both.failing(HF):
        both.insert(news("a2"))
    both.adapter(only=HF).delete_rows(["a2"], reason="court order")
    assert allow_again(both.ledger, ["a2", "a9"], reason="lifted") == ["a2"]
    assert only(both.repair()).inserted == 1


def _frame(**values: object) -> object:
    import pandas as pd

    return pd.DataFrame({name: [value] for name, value in values.items()})
