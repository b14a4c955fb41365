"""What a repair leaves alone, refuses, or first puts right, so that nothing good is lost by it."""

from __future__ import annotations

import pytest

from data_platform import failpoints
from data_platform.errors import ConfigurationError, IntegrityError
from data_platform.failpoints import FailpointError
from data_platform.jobs.hf_sync.records import SyncOptions
from data_platform.jobs.hf_sync.sync_job import HuggingFaceSyncJob
from data_platform.managers.hub.layout import UNDATED
from data_platform.managers.ledger.run_ledger import REPAIR
from data_platform.managers.storage_mode import StorageMode
from tests.support.hub import columns, parquet_bytes
from tests.support.sources import Row, article
from tests.support.two_stores import DIRECTIONS, ID, ROWS, TwoStores, account, frame, mode, state

MARCH, APRIL = "data/train-2024-03.parquet", "data/train-2024-04.parquet"


def test_a_held_row_without_an_id_is_left_to_a_sync_that_a_person_asks_for(both: TwoStores) -> None:
    held = article(90, published_at=None, unique_id=None)
    both.hub.put({UNDATED: parquet_bytes([held])})
    both.postgres().insert(columns([held]))
    both.store.execute("UPDATE rejects SET status = 'discarded'")
    done = both.repair("from-postgres")
    (told,) = done.sides["huggingface"].failed
    assert "sync-hf --incremental --assume-mode postgres" in told
    leads = mode("postgres", "postgres")
    HuggingFaceSyncJob(both.settings, leads, options=SyncOptions(), manager=both.dataset()).run()
    assert both.compare().passed
    assert UNDATED not in both.hub.rows()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_row_in_another_month_s_file_is_told_and_put_in_its_place(both: TwoStores, direction: str) -> None:
    """Its cells are the same, so nothing else would ever move it; one that PostgreSQL lacks stands wrong too."""

    def misfile(tables: dict[str, list[Row]]) -> None:
        row = next(row for row in tables[MARCH] if row["unique_id"] == ID[0])
        tables[MARCH].remove(row)
        tables["data/train-2024-09.parquet"] = [row, article(35)]

    both.edit_hub(misfile)
    both.store.execute(f"DELETE FROM news WHERE unique_id = '{ID[35]}'", behind_triggers=True)
    both.edit_hub(lambda tables: tables.update({APRIL: [r for r in tables[APRIL] if r["unique_id"] != ID[35]]}))
    found = both.compare()
    assert (found.different, dict(found.columns), found.explained) == (1, {"file": 1}, 0)
    assert [d["target"] for d in found.differences] == [MARCH]
    done = both.repair(direction)
    assert not done.needs_attention, done.lines()
    assert both.alike()
    assert "data/train-2024-09.parquet" not in both.hub.rows()


def test_a_double_that_a_killed_repair_left_without_its_address_costs_nobody_that_address(
    both: TwoStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = ROWS[8] | {"unique_id": "segundo", "title": "segunda cópia"}
    both.edit_hub(lambda tables: tables[MARCH].append(double))
    failpoints._passed.clear()
    with monkeypatch.context() as patched:
        patched.setenv("GOVBR_FAILPOINTS", "repair.between_double_and_address=raise")
        with pytest.raises(FailpointError):
            both.repair("from-huggingface")
    both.postgres().update(frame({"unique_id": ID[3], "url": None}))  # this one lost its address on purpose
    planned = both.repair("from-postgres", dry_run=True)
    done = both.repair("from-postgres")
    assert account(planned) == account(done)
    assert both.alike()
    assert both.on_hub()["segundo"]["url"] == double["url"]
    assert both.on_hub()[ID[3]]["url"] is None
    assert both.store.derived()["segundo"]["duplicate_of"] == ID[8]


def test_cells_that_no_writer_leaves_so_are_named_and_cost_the_dataset_nothing(both: TwoStores) -> None:
    before = both.on_hub()[ID[0]]["title"]
    both.store.execute(
        f"UPDATE news SET subtitle = '' WHERE unique_id = '{ID[0]}'",
        f"UPDATE news SET content = '' WHERE unique_id = '{ID[1]}'",
    )
    content = both.on_hub()[ID[1]]["content"]
    assert content
    done = both.repair("from-postgres")
    (told,) = done.sides["huggingface"].failed_ids
    assert ("mend them there" in told, "somebody writes" in told) == (True, False)
    assert (both.on_hub()[ID[0]]["title"], both.on_hub()[ID[1]]["content"]) == (before, content)
    both.postgres().update(frame({"unique_id": ID[0], "subtitle": None}, {"unique_id": ID[1], "content": None}))
    assert not both.repair("from-postgres").needs_attention
    assert both.alike()


@pytest.mark.parametrize(("direction", "wrong"), [("from-huggingface", "postgres"), ("from-postgres", "huggingface")])
def test_what_is_behind_by_design_is_not_written_over_what_leads(both: TwoStores, direction: str, wrong: str) -> None:
    before = state(both)
    with pytest.raises(ConfigurationError, match="behind by design"):
        both.repair(direction, which=mode(wrong, wrong))
    assert state(both) == before
    assert not both.repair("from-postgres", which=StorageMode()).needs_attention  # a mode that nobody has set


def test_a_rollback_while_a_repair_is_at_work_stops_it(both: TwoStores) -> None:
    """From then on the pipeline writes the dataset alone: what PostgreSQL has is older."""
    both.postgres().update(frame({"unique_id": ID[0], "title": "older"}))
    both.postgres().insert(columns([article(50)]))
    now = [mode(), mode("huggingface")]  # asked before the update, then before the insert
    with pytest.raises(ConfigurationError, match="behind by design"):
        both.repair("from-postgres", mode_now=lambda: now.pop(0))
    assert both.on_hub()[ID[0]]["title"] == "older"
    assert article(50)["unique_id"] not in both.on_hub()
    entry = both.ledger.newest(REPAIR)
    assert entry is not None
    assert entry.sides["huggingface"].error_type == "ConfigurationError"


def test_a_store_is_not_emptied_for_the_other_one_is_unless_that_is_said(both: TwoStores) -> None:
    both.store.execute("DELETE FROM news", behind_triggers=True)
    with pytest.raises(IntegrityError, match="40 of 40 rows would be deleted from huggingface") as told:
        both.repair("from-postgres", allow_delete=True)
    assert "--allow-shrink" in told.value.hint
    assert len(both.on_hub()) == 40
    assert not both.repair("from-postgres", allow_delete=True, allow_shrink=True).needs_attention
    assert both.on_hub() == {}


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("gone_from", ["postgres", "huggingface"])
def test_an_article_that_was_taken_down_does_not_come_back_from_the_store_that_still_has_it(
    both: TwoStores, direction: str, gone_from: str
) -> None:
    with both.adapter(mode(gone_from, gone_from)) as adapter:
        assert adapter.delete_rows([ID[0]], reason="court order").deleted == 1
    done = both.repair(direction)
    assert done.needs_attention
    (told,) = done.sides["postgres" if gone_from == "huggingface" else "huggingface"].failed
    assert "taken down" in told or "deleted in postgres" in told
    assert ID[0] not in (both.in_postgres() if gone_from == "postgres" else both.on_hub())
    with both.adapter() as adapter:
        adapter.delete_rows([ID[0]], reason="court order")
    assert both.compare().passed
