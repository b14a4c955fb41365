"""What one store missed comes to it from the other, in both directions, and nothing is taken back or dropped.

Over stores in memory, and over PostgreSQL beside one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from data_platform.errors import StoreError
from data_platform.managers.interface import WriteOutcome
from data_platform.managers.ledger.run_ledger import REPAIR
from tests.support.missed import HF, PG, Both, news, only

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
