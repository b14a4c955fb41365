"""What only the dataset has: cells that the pipeline wrote there, articles that came back, rows that news has lost.

A sync takes none of it away unasked, names it, and what its hint advises brings the stores in line without undoing what
PostgreSQL did.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data_platform.errors import ConfigurationError, IntegrityError
from data_platform.jobs.hf_sync.sync_job import HuggingFaceSyncJob
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.postgres_manager import PostgresManager
from tests.integration.hf_sync.conftest import MODE
from tests.support.hub import DATASET, QUICK, Hub, columns, parquet_bytes
from tests.support.migrations import Migrations
from tests.support.sources import article, articles
from tests.support.stores import Store
from tests.support.syncs import Jobs, checked, failing_at, on_the_hub, position, said_by_the_hub, update
from tests.support.two_stores import BOTH, TwoStores

ROWS = articles(5)
IDS = [row["unique_id"] for row in ROWS]
LATER = datetime(2035, 1, 1, tzinfo=UTC)
UNASKED = "published rows have other cells than PostgreSQL"


@pytest.fixture
def synced(hub: Hub, store: Store, news: PostgresManager, make_job: Jobs) -> Hub:
    """A Hub that is in step."""
    news.insert(columns(ROWS))
    checked(make_job(), hub, store)
    return hub


@pytest.fixture
def both(store: Store, hub: Hub, tmp_path: Path) -> TwoStores:
    return TwoStores(store, hub, tmp_path)


def pipeline(hub: Hub) -> DatasetManager:
    """The pipeline in mode huggingface: it writes the dataset alone."""
    return DatasetManager(DATASET, settings=hub.settings, backoff=QUICK)


def enrich(hub: Hub, place: int, **cells: Any) -> None:
    assert pipeline(hub).update(pd.DataFrame([{"unique_id": IDS[place], **cells}], dtype=object)) == 1


def cell(hub: Hub, place: int, name: str) -> Any:
    return next(row[name] for row in on_the_hub(hub) if row["unique_id"] == IDS[place])


def refused(job: HuggingFaceSyncJob, hub: Hub, store: Store, match: str) -> IntegrityError:
    """See a sync refuse, and leave everything as it is."""
    before = said_by_the_hub(hub), position(store)
    with pytest.raises(IntegrityError, match=match) as caught:
        job.run()
    assert (said_by_the_hub(hub), position(store)) == before
    assert "--overwrite" in caught.value.hint
    return caught.value


# ------------------------------------------------------------------------------------------------- cells


@pytest.mark.parametrize("full", [False, True])
def test_what_the_pipeline_wrote_into_the_dataset_alone_is_not_overwritten_unasked(
    synced: Hub, store: Store, make_job: Jobs, full: bool
) -> None:
    """Mode postgres, back to huggingface, and forward again without the catch-up."""
    enrich(synced, 0, summary="só no Hub", title="Correção")
    enrich(synced, 2, summary="também")
    error = refused(make_job(full=full), synced, store, f"2 {UNASKED}")
    assert IDS[0] in error.message
    assert IDS[2] in error.message
    told = make_job(dry_run=True).run()
    assert told.account is not None
    assert (told.account.changed, told.account.unasked) == (2, 2)
    assert any("overwritten unasked" in line and IDS[0] in line for line in told.lines())
    checked(make_job(overwrite=True), synced, store)
    assert cell(synced, 0, "summary") != "só no Hub"


def test_what_postgresql_changed_itself_is_published_beside(
    synced: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    """It leads: where both changed a row, its own is what is to be published."""
    update(news, {"unique_id": IDS[1], "summary": "só no banco"}, {"unique_id": IDS[2], "title": "do banco"})
    enrich(synced, 2, title="do Hub")
    pipeline(synced).update(pd.DataFrame([{"unique_id": IDS[3], "summary": "dos dois"}], dtype=object))
    update(news, {"unique_id": IDS[3], "summary": "dos dois"})
    outcome = checked(make_job(), synced, store)
    assert outcome.reason.startswith("the pipeline")
    assert outcome.account is not None
    assert (outcome.account.changed, outcome.account.unasked) == (2, 0)


def test_both_stores_written_alike_are_no_reason_to_refuse(
    synced: Hub, store: Store, make_job: Jobs, both: TwoStores
) -> None:
    """The usual way: dual_write, then postgres. A re-scrape that finds nothing new is no difference either."""
    both.write([*articles(3, first=40), ROWS[0] | {"extracted_at": LATER}])
    with both.adapter() as adapter:
        adapter.update(pd.DataFrame([{"unique_id": IDS[0], "summary": "nos dois"}], dtype=object))
    store.execute("UPDATE news SET extracted_at = now()", behind_triggers=True)  # as a catch-up leaves it
    outcome = make_job().run()
    assert outcome.account is not None
    assert (outcome.account.unasked, outcome.rows) == (0, 8)


def test_only_the_files_that_the_pipeline_changed_are_compared(
    synced: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    may = columns([article(60, published_at=datetime(2024, 5, 5, 12, tzinfo=UTC))])
    pipeline(synced).insert(may)
    news.insert(may)
    store.execute("UPDATE news SET title = 'behind the feed'", behind_triggers=True)
    outcome = checked(make_job(), synced, store)
    assert outcome.account is not None
    assert (outcome.account.changed_ids, outcome.account.unasked) == (may["unique_id"], 0)


@pytest.mark.parametrize(
    "lost",
    [
        "UPDATE consumer_positions SET system_identifier = '1'",
        "DELETE FROM consumer_positions",
        "UPDATE consumer_positions SET position_xid = '3', outside_stamp = NULL, announced_stamp = NULL",
    ],
)
def test_a_database_put_back_in_time_undoes_no_later_cells(
    synced: Hub, store: Store, news: PostgresManager, make_job: Jobs, lost: str
) -> None:
    """The older backup has not the summary that was published since; what it changes after that is its own."""
    before = store.query("SELECT unique_id, change_xid::text, summary FROM news WHERE unique_id = %s", IDS[0])[0]
    update(news, {"unique_id": IDS[0], "summary": "posterior"})
    checked(make_job(), synced, store)
    older = f"UPDATE news SET summary = NULL, change_xid = '{before['change_xid']}' WHERE unique_id = '{IDS[0]}'"
    marks = f"UPDATE hf_sync_marks SET synced_xid = '{before['change_xid']}' WHERE unique_id = '{IDS[0]}'"
    store.execute(older, marks, lost, behind_triggers=True)
    update(news, {"unique_id": IDS[1], "title": "depois do backup"})
    for _ in range(2):  # the second finds the resync begun
        with pytest.raises(IntegrityError, match=f"1 {UNASKED}.*{IDS[0]}"):
            make_job().run()
    assert cell(synced, 0, "summary") == "posterior"
    checked(make_job(overwrite=True), synced, store)
    assert cell(synced, 1, "title") == "depois do backup"


def test_a_lost_history_hides_no_cells_of_the_pipeline(
    synced: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    """No stamp says how far the dataset has come; the marks say which version of each row it was told of."""
    enrich(synced, 0, summary="só no Hub")
    update(news, {"unique_id": IDS[1], "title": "do banco"})
    squash(synced)
    with pytest.raises(IntegrityError, match=f"1 {UNASKED}.*{IDS[0]}"):
        make_job().run()
    enrich(synced, 0, summary=ROWS[0]["summary"])
    assert checked(make_job(), synced, store).reason == "outside carries no stamp"


def test_a_server_without_marks_overwrites_nothing_that_an_older_one_published(
    synced: Hub, store: Store, make_job: Jobs
) -> None:
    """Built anew from an older copy of the dataset: neither position nor marks, and rows of its own."""
    store.execute("DELETE FROM consumer_positions", "DELETE FROM hf_sync_marks")
    store.execute("UPDATE news SET title = 'mais antigo'", behind_triggers=True)
    with pytest.raises(IntegrityError, match=f"5 {UNASKED}"):
        make_job().run()


def test_the_first_sync_onto_months_that_the_pipeline_made_tells_what_differs(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    """No sync has been there: what PostgreSQL wrote since dual_write ended is its own, and is counted."""
    pipeline(hub).insert(columns(ROWS))
    news.insert(columns(ROWS))
    update(news, {"unique_id": IDS[0], "summary": "da noite"})
    outcome = checked(make_job(), hub, store)
    assert outcome.account is not None
    assert (outcome.account.changed, outcome.account.changed_ids) == (1, [IDS[0]])


def test_a_sync_that_broke_off_before_storing_has_published_what_it_published(
    synced: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    """How far the dataset has come is said by the stamp in it, not by the position in PostgreSQL."""
    update(news, {"unique_id": IDS[0], "title": "publicado"})
    with failing_at("sync.before_store"):
        make_job().run()
    enrich(synced, 0, title="do Hub, depois")
    refused(make_job(), synced, store, f"1 {UNASKED}")


@pytest.mark.parametrize("direction", ["from-postgres", "from-huggingface"])
def test_the_stores_are_brought_in_line_in_the_direction_chosen(
    synced: Hub, store: Store, make_job: Jobs, both: TwoStores, direction: str
) -> None:
    enrich(synced, 0, summary="só no Hub")
    pipeline(synced).insert(columns([article(60)]))
    assert "1 more are unknown" in refused(make_job(), synced, store, UNASKED).message
    if direction == "from-huggingface":  # refused where the mode says that PostgreSQL leads
        with pytest.raises(ConfigurationError):
            both.repair(direction, which=MODE)
    assert not both.repair(direction, which=BOTH if direction == "from-huggingface" else MODE).needs_attention
    outcome = checked(make_job(), synced, store)
    assert outcome.rows == 6
    assert (cell(synced, 0, "summary") == "só no Hub") == (direction == "from-huggingface")


# -------------------------------------------------------------------------------------------------- rows


def test_an_article_that_came_back_in_the_dataset_alone_is_not_taken_for_deleted(
    synced: Hub, store: Store, make_job: Jobs, both: TwoStores
) -> None:
    """Its tombstone tells of the row that was there before; the site has published it again since."""
    store.execute(f"DELETE FROM news WHERE unique_id = '{IDS[0]}'")
    checked(make_job(), synced, store)
    pipeline(synced).insert(columns([ROWS[0] | {"title": "voltou", "extracted_at": LATER}]))
    error = refused(make_job(), synced, store, "1 published rows are unknown to PostgreSQL and would go")
    assert IDS[0] in error.message
    assert not both.repair("from-postgres", which=MODE).needs_attention
    checked(make_job(), synced, store)
    assert cell(synced, 0, "title") == "voltou"


@pytest.mark.parametrize("extracted_at", ["before", None])
def test_an_old_copy_of_a_deleted_row_is_still_taken_for_deleted(
    synced: Hub, store: Store, make_job: Jobs, extracted_at: str | None
) -> None:
    store.execute(f"DELETE FROM news WHERE unique_id = '{IDS[0]}'")
    checked(make_job(), synced, store)
    old = ROWS[0] if extracted_at else ROWS[0] | {"extracted_at": None}
    pipeline(synced).insert(columns([old]))
    outcome = checked(make_job(), synced, store)
    assert outcome.account is not None
    assert outcome.account.deleted == 1


def test_what_the_refusal_advises_brings_nothing_deleted_back_and_undoes_no_correction(
    synced: Hub, store: Store, news: PostgresManager, make_job: Jobs, both: TwoStores
) -> None:
    news.delete_rows([IDS[0]], reason="ordem judicial")
    update(news, {"unique_id": IDS[1], "title": "corrigido"}, {"unique_id": IDS[2], "summary": None})
    update(news, {"unique_id": IDS[3], "summary": "tardio"})
    pipeline(synced).insert(columns([article(70, unique_id="only on the Hub")]))
    error = refused(make_job(), synced, store, "1 published rows are unknown to PostgreSQL and would go")
    assert "reconcile --repair from-postgres --assume-mode postgres, without --allow-delete" in error.hint
    corrected = both.in_postgres()
    told = both.repair("from-postgres", which=MODE)
    assert list(told.sides["huggingface"].failed_ids.values()) == [[IDS[0]]]  # deleted: goes with the sync
    assert {uid: row for uid, row in both.in_postgres().items() if uid != "only on the Hub"} == corrected
    outcome = checked(make_job(), synced, store)
    assert outcome.rows == 5
    ids = {row["unique_id"] for row in synced.all_rows()}
    assert IDS[0] not in ids
    assert "only on the Hub" in ids


def test_what_the_refusal_advised_before_would_have(
    synced: Hub, store: Store, news: PostgresManager, both: TwoStores, tmp_path: Path
) -> None:
    """Why it is not the catch-up: that one takes the dataset for the source."""
    news.delete_rows([IDS[0]], reason="ordem judicial")
    Migrations(store, tmp_path).bring(synced.all_rows(), max_reject_rate=1.0)
    assert IDS[0] in both.in_postgres()


# ------------------------------------------------------------------------------- rows that news has lost


def lose(store: Store, *places: int) -> None:
    """Take rows out behind the change feed, as the restore of a part of a table does."""
    for place in places:
        store.execute(f"DELETE FROM news WHERE unique_id = '{IDS[place]}'", behind_triggers=True)


@pytest.mark.parametrize("months", [(), ("2024-03",)])
def test_rows_that_news_lost_without_a_tombstone_do_not_go_with_the_next_change(
    synced: Hub, store: Store, news: PostgresManager, make_job: Jobs, both: TwoStores, months: tuple[str, ...]
) -> None:
    lose(store, 0, 3)
    update(news, {"unique_id": IDS[1], "title": "x"})
    store.execute(f"DELETE FROM news WHERE unique_id = '{IDS[2]}'")
    error = refused(
        make_job(months=months), synced, store, "2 published rows would go that PostgreSQL has lost without deleting"
    )
    assert IDS[0] in error.message
    assert IDS[3] in error.message
    told = make_job(dry_run=True, months=months).run()
    assert any(IDS[0] in note and "unexplained" in note for note in told.notes)
    both.repair("from-postgres", which=MODE)
    checked(make_job(), synced, store)
    assert {row["unique_id"] for row in synced.all_rows()} == {*IDS} - {IDS[2]}


def test_they_go_if_one_says_so(synced: Hub, store: Store, news: PostgresManager, make_job: Jobs) -> None:
    lose(store, 0)
    update(news, {"unique_id": IDS[1], "title": "x"})
    checked(make_job(overwrite=True), synced, store)
    assert IDS[0] not in {row["unique_id"] for row in synced.all_rows()}


def test_a_whole_month_that_news_lost_stays(synced: Hub, store: Store, make_job: Jobs) -> None:
    """The sync would take its file away even without a change in it."""
    lose(store, *range(5))
    refused(make_job(), synced, store, "5 published rows would go")


def test_a_lost_row_with_an_open_reject_is_named_too(
    synced: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    """The reject is of another version: the row is good, and neither held nor left out."""
    lose(store, 0)
    news.insert(columns([ROWS[0] | {"title": None}]))
    update(news, {"unique_id": IDS[1], "title": "x"})
    refused(make_job(), synced, store, "1 published rows would go")
    refused(make_job(full=True), synced, store, "1 published rows are unknown to PostgreSQL")


def test_deleted_moved_and_renamed_rows_go_as_ever(
    synced: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    store.execute(
        f"DELETE FROM news WHERE unique_id = '{IDS[0]}'",
        f"UPDATE news SET unique_id = 'renamed' WHERE unique_id = '{IDS[1]}'",
        f"UPDATE news SET published_at = '2031-05-01 12:00Z' WHERE unique_id = '{IDS[2]}'",
    )
    checked(make_job(), synced, store)


def squash(hub: Hub) -> None:
    """Make one commit of the history, as `super_squash_history` does: the old ones are gone."""
    contents = {path: hub.content(path) for path in hub.files()}
    hub.store.delete(DATASET)
    hub.store.create(DATASET)
    hub.put(contents)


def test_a_squashed_file_of_others_is_compared_like_the_pipelines(synced: Hub, store: Store, make_job: Jobs) -> None:
    path = "data/train-2024-03.parquet"
    rows = [row | {"title": "corrigido por alguém"} for row in synced.rows()[path]]
    synced.put({path: parquet_bytes(rows)})
    squash(synced)
    with pytest.raises(IntegrityError, match=f"5 {UNASKED}"):
        make_job().run()
