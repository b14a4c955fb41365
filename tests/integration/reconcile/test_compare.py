"""What a comparison of the two stores finds: every planted difference is named, and what has a reason is told apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from data_platform.errors import StoreUnavailableError
from data_platform.jobs.reconcile.records import reason_to_skip
from data_platform.managers.hub.layout import UNDATED
from data_platform.managers.ledger.entry import IdList, LedgerEntry, SideRecord, Status, new_entry_id
from data_platform.managers.ledger.run_ledger import RECONCILE, STARTED
from data_platform.models.days import utc_now
from tests.support.hub import columns, parquet_bytes
from tests.support.sources import BRASILIA, Row, article, articles, theme_codes
from tests.support.two_stores import ID, ROWS, TwoStores, mode

MARCH, APRIL = "data/train-2024-03.parquet", "data/train-2024-04.parquet"


def in_hub(both: TwoStores, uid: str, change: Callable[[Row], None]) -> None:
    def edit(tables: dict[str, list[Row]]) -> None:
        for row in (row for rows in tables.values() for row in rows if row["unique_id"] == uid):
            change(row)

    both.edit_hub(edit)


def test_stores_that_were_written_together_are_equal_and_that_is_on_record(both: TwoStores) -> None:
    found = both.compare()
    assert found.passed
    assert (found.source_rows, found.target_rows, found.equal, found.partitions_read) == (40, 40, 40, 2)
    assert found.per_column_nulls["subtitle"] == {"source": 26, "target": 26}
    assert all(metric["ok"] for metric in found.metrics)
    (entry,) = both.ledger.entries(RECONCILE)
    assert (entry.operation, entry.rows, entry.facts["passed"], entry.facts["commit"]) == (
        "compare",
        40,
        True,
        both.hub.head(),
    )
    (logged,) = both.store.query("SELECT * FROM sync_log WHERE operation = 'reconcile:compare'")
    assert (logged["status"], logged["records_processed"], logged["records_failed"]) == ("completed", 40, 0)


# ----------------------------------------------------------------------------------------- planted differences


#: column of the dataset -> what PostgreSQL sets its own column to.
IN_POSTGRES = {
    "title": "title = title || '.'",
    "published_at": "published_at = published_at + interval '1 second'",
    "tags": "tags = ARRAY['x']",
    "image": "image_url = NULL",
    "summary": "summary = 'outro'",
    "theme_1_level_1": "theme_l1_id = (SELECT id FROM themes WHERE code = '01')",
}
#: column of the dataset -> what somebody else writes there.
ON_THE_HUB: Row = {
    "content": None,
    "agency": "outra",
    "tags": ["ordem", "outra"],
    "most_specific_theme_code": "20",
    "updated_datetime": datetime(2026, 1, 1, tzinfo=BRASILIA),
}


def test_every_cell_that_differs_is_named_with_both_values_and_no_other(both: TwoStores) -> None:
    planted: dict[str, str] = {}
    for column, assignment in IN_POSTGRES.items():
        uid = ID[len(planted)]
        both.store.execute(f"UPDATE news SET {assignment} WHERE unique_id = '{uid}'")
        planted[uid] = column
    for column, value in ON_THE_HUB.items():
        uid = ID[len(planted)]
        in_hub(both, uid, lambda row, cell={column: value}: row.update(cell))  # type: ignore[misc]
        planted[uid] = column
    found = both.compare()
    assert not found.passed
    assert (found.different, found.equal, found.only_in_source, found.only_in_target) == (11, 29, 0, 0)
    assert {told["unique_id"]: told["column"] for told in found.differences} == planted
    assert found.columns == dict(Counter(planted.values()))
    assert found.partitions[MARCH]["different"] == 11
    here, there = both.on_hub(), both.in_postgres()
    for told in found.differences:
        cells = [rows[told["unique_id"]][told["column"]] for rows in (here, there)]
        shown = [value.isoformat() if isinstance(value, datetime) else value for value in cells]
        if told["column"] != "content":  # which is shortened
            assert [told["source"], told["target"]] == shown
        assert told["source"] != told["target"]


def test_a_row_of_one_side_only_is_named_with_its_day(both: TwoStores) -> None:
    both.store.execute(f"DELETE FROM news WHERE unique_id = '{ID[1]}'")
    both.dataset().delete_rows([ID[35]], reason="a test")
    found = both.compare()
    assert (found.equal, found.different, found.unaccounted, found.only_in_target) == (38, 0, 1, 1)
    assert found.causes == {"deleted in postgres": 1}
    shown = {row["unique_id"]: (row["only_in"], row["why"], row["title"]) for row in found.sample}
    assert shown == {
        ID[1]: ("huggingface", "deleted in postgres", ROWS[1]["title"]),
        ID[35]: ("postgres", "nothing is known of it", ROWS[35]["title"]),
    }
    assert list(found.days) == [
        {"day": "2024-03-02", "agency": "aeb", "source": 1, "target": 0},
        {"day": "2024-04-05", "agency": "saude", "source": 0, "target": 1},
    ]
    assert found.days_different == 2


def test_a_row_that_stands_in_another_month_is_one_row_that_differs(both: TwoStores) -> None:
    both.store.execute(f"UPDATE news SET published_at = '2024-04-20 12:00Z' WHERE unique_id = '{ID[0]}'")
    found = both.compare()
    assert (found.different, found.only_in_source, found.only_in_target) == (1, 0, 0)
    assert found.columns == {"published_at": 1}


@pytest.mark.parametrize("where", [MARCH, APRIL])
def test_a_row_that_stands_twice_in_the_dataset_is_named(both: TwoStores, where: str) -> None:
    twin = both.hub.table(MARCH).to_pylist()[0]
    both.edit_hub(lambda tables: tables[where].append(twin))
    found = both.compare()
    assert (found.equal, found.unaccounted, found.different) == (40, 1, 0)
    assert found.causes == {"repeated in the dataset": 1}
    assert [row["unique_id"] for row in found.sample] == [twin["unique_id"]]


# ------------------------------------------------------------------------------------------ what has a reason


def test_the_instant_of_extraction_by_itself_is_no_difference(both: TwoStores) -> None:
    in_hub(both, ID[2], lambda row: row.update(extracted_at=datetime(2025, 1, 1)))  # noqa: DTZ001 - as published
    found = both.compare()
    assert found.passed
    assert (found.explained, found.explained_by_kind, found.equal) == (1, {"extracted_at": 1}, 39)
    again = both.compare()
    assert (again.explained_by_kind, again.partitions_read) == ({"extracted_at": 1}, 0)


def test_a_cell_that_becomes_the_other_by_cleaning_is_explained(both: TwoStores) -> None:
    both.store.execute(f"UPDATE news SET category = NULL WHERE unique_id = '{ID[2]}'")
    in_hub(both, ID[2], lambda row: row.update(category="No Category"))
    found = both.compare()
    assert found.passed
    assert found.explained_by_kind == {"sentinel:category": 1}


def test_rows_that_are_held_for_want_of_a_date_are_explained(both: TwoStores) -> None:
    held = article(90, published_at=None)
    both.hub.put({UNDATED: parquet_bytes([held])})
    found = both.compare()
    assert found.passed
    assert (found.source_rows, found.only_in_source, found.accounted) == (41, 1, {"held": 1})
    both.postgres().insert(columns([held | {"published_at": datetime(2024, 3, 3, tzinfo=BRASILIA)}]))
    found = both.compare()  # it has a date now, and the dataset does not follow
    assert not found.passed
    assert found.causes == {"no longer held": 1}
    assert found.only_in_target == 1


def test_a_row_that_postgresql_must_reject_is_explained_and_a_good_one_is_not(both: TwoStores) -> None:
    rows = articles(2, first=50)
    both.dataset().insert(columns(rows))
    in_hub(both, rows[0]["unique_id"], lambda row: row.update(title="No Title"))
    both.postgres().insert(columns([row | {"title": "No Title"} for row in rows]))
    found = both.compare()
    assert found.accounted == {"reject": 1}
    assert (found.unaccounted, [row["unique_id"] for row in found.sample]) == (1, [rows[1]["unique_id"]])


def started(both: TwoStores, *ids: str, at: datetime | None = None) -> LedgerEntry:
    entry = LedgerEntry(
        kind=STARTED,
        entry_id=new_entry_id(),
        started_at=at or utc_now(),
        operation="insert",
        sides={side: SideRecord(status=Status.STARTED) for side in ("postgres", "huggingface")},
        ids=IdList.of(ids),
    )
    both.ledger.record(entry)
    return entry


def test_what_is_being_written_right_now_is_pending_and_a_dead_write_is_not(both: TwoStores) -> None:
    both.postgres().insert(columns(articles(2, first=50)))
    both.store.execute(f"UPDATE news SET title = 'x' WHERE unique_id = '{ID[7]}'")
    fresh = [row["unique_id"] for row in articles(2, first=50)]
    started(both, *fresh, ID[7])
    found = both.compare()
    assert found.passed
    assert (found.accounted_in_target, found.explained_by_kind) == ({"pending": 2}, {"pending": 1})
    found = both.compare(longest_write=timedelta(0))
    assert not found.passed
    assert (found.different, found.only_in_target, found.accounted_in_target) == (1, 2, {})
    assert found.causes == {"missed": 3}
    assert all("missed: " in row["why"] for row in found.sample)


def test_a_write_that_ended_before_explains_nothing(both: TwoStores) -> None:
    both.write([article(60)])
    both.store.execute(f"DELETE FROM news WHERE unique_id = '{article(60)['unique_id']}'")
    assert not both.compare().passed


# ------------------------------------------------------------------------------------- what is read, and when


def test_only_what_changed_on_either_side_is_read_again(both: TwoStores) -> None:
    assert both.compare().partitions_read == 2
    assert both.compare().partitions_read == 0
    both.postgres().insert(columns([article(38, unique_id="n1", url="https://x.br/n1")]))  # April
    found = both.compare()
    assert (found.partitions_read, found.equal, found.only_in_target) == (1, 40, 1)
    found = both.compare()  # what differs is looked at until it is mended
    assert (found.partitions_read, found.only_in_target) == (1, 1)
    in_hub(both, ID[0], lambda row: row.update(title="outro"))
    found = both.compare()
    assert (found.partitions_read, found.different) == (2, 1)


def test_damage_that_no_trigger_saw_is_found_by_the_full_comparison(both: TwoStores) -> None:
    both.compare()
    both.store.execute(f"UPDATE news SET content = 'x' WHERE unique_id = '{ID[9]}'", behind_triggers=True)
    assert both.compare().passed
    found = both.compare(full=True)
    assert (found.different, found.columns, found.partitions_read) == (1, {"content": 1}, 2)


def test_what_is_remembered_and_cannot_be_used_is_not_used(both: TwoStores) -> None:
    both.compare()
    (remembered,) = (both.folder / "state" / "reconcile").rglob("*.json")
    good = json.loads(remembered.read_text())
    remembered.write_text("{")
    found = both.compare()
    assert (found.partitions_read, found.passed) == (2, True)
    assert "cannot be read" in found.notes[0]
    newest = max((both.folder / "state" / "reconcile").rglob("*.json"))
    newest.write_text(json.dumps(good | {"lineage": "another/1"}))
    found = both.compare()
    assert (found.partitions_read, "another dataset or database" in found.notes[0]) == (2, True)


def test_a_dataset_in_the_legacy_layout_is_compared_as_it_would_be_adopted(stores: TwoStores) -> None:
    held = article(91, published_at=None)
    older = ROWS[0] | {"title": "anterior", "extracted_at": ROWS[0]["extracted_at"] - timedelta(days=1)}
    stores.hub.put({"data/train-00000-of-00001.parquet": parquet_bytes([older, *ROWS, held])})
    stores.postgres().insert(columns([*ROWS, held]))
    found = stores.compare()
    assert found.passed
    assert (found.source_rows, found.equal, found.accounted) == (42, 40, {"held": 1, "duplicate": 1})
    assert stores.compare().partitions_read == 2


def test_a_comparison_that_cannot_be_made_is_recorded_as_failed(
    both: TwoStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: Any, **__: Any) -> None:
        raise StoreUnavailableError("it sleeps")

    monkeypatch.setattr("data_platform.jobs.reconcile.drift.Snapshot.of", silent)
    with pytest.raises(StoreUnavailableError):
        both.compare()
    (entry,) = both.ledger.entries(RECONCILE)
    assert (entry.failed_sides, entry.facts["passed"]) == (("comparison",), False)
    assert both.store.value("SELECT status FROM sync_log WHERE operation = 'reconcile:compare'") == "failed"


def test_only_in_dual_write_the_stores_must_be_the_same() -> None:
    assert reason_to_skip(mode()) is None
    assert "validate" in str(reason_to_skip(mode("huggingface")))
    assert "sync-hf --verify" in str(reason_to_skip(mode("postgres", "postgres")))


def test_theme_cells_count_like_all_others(both: TwoStores) -> None:
    """Themes of a row that only one side has classified are a difference, cell by cell."""
    both.store.execute(f"UPDATE news SET theme_form = NULL, theme_l1_id = NULL WHERE unique_id = '{ID[4]}'")
    in_hub(both, ID[4], lambda row: row.update(theme_codes("01.01.01")))
    found = both.compare()
    assert found.columns["theme_1_level_3_code"] == 1
    assert found.metrics[1]["ok"] is False
