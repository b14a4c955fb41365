"""The sync as an operator sees it: what is published afterwards, and what it says of that."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from data_platform.errors import IntegrityError
from data_platform.jobs.hf_sync.records import SyncOutcome
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.hub.layout import UNDATED
from data_platform.managers.ledger.run_ledger import SYNC, RunLedger
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.columns import COLUMN_NAMES
from tests.support.hub import DATASET, QUICK, Hub, columns
from tests.support.sources import article, articles, theme_codes
from tests.support.stores import Store
from tests.support.syncs import (
    Jobs,
    by_file,
    checked,
    in_news,
    is_in_step,
    on_the_hub,
    position,
    said_by_the_hub,
    update,
)


def test_the_first_sync_publishes_everything_and_the_next_only_what_changed(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    rows = articles(12)
    news.insert(columns(rows))
    first = make_job().run()
    assert on_the_hub(hub) == in_news(store)
    assert is_in_step(hub)
    assert (first.rows, first.proven, first.marked) == (12, len(first.partitions), 12)
    assert first.reason == "no position yet"
    moved = rows[0]["published_at"].replace(year=2031)
    update(news, {"unique_id": rows[0]["unique_id"], "published_at": moved})
    update(news, {"unique_id": rows[1]["unique_id"], **theme_codes("01.01.01")})
    store.execute(f"DELETE FROM news WHERE unique_id = '{rows[2]['unique_id']}'")
    second = make_job().run()
    assert on_the_hub(hub) == in_news(store)
    assert is_in_step(hub)
    assert (second.changed_rows, second.tombstones, second.marked) == (2, 2, 2)
    assert second.reason == ""
    assert len(hub.commits()) == 3
    third = make_job().run()
    assert (third.partitions, third.committed, third.commit) == ({}, False, second.commit)
    assert len(hub.commits()) == 3
    assert make_job().lag().rows == 0
    assert make_job().verify().passed


def test_only_the_months_with_changes_are_read_written_and_uploaded(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    """Fault 43, 48: every change goes, whatever day it is about, and files do not multiply."""
    rows = [article(n, published_at=datetime(2020, n + 1, 9, 12, tzinfo=UTC)) for n in range(12)]
    news.insert(columns(rows))
    checked(make_job(), hub, store)
    blobs = {path: hub.content(path) for path in hub.files()}
    update(
        news, {"unique_id": rows[0]["unique_id"], "summary": "late"}, {"unique_id": rows[8]["unique_id"], "title": "x"}
    )
    asked = len(hub.server.requests)
    outcome = checked(make_job(), hub, store)
    assert outcome.partitions == {"data/train-2020-01.parquet": 1, "data/train-2020-09.parquet": 1}
    assert list(outcome.uploaded) == list(outcome.partitions)
    assert outcome.proven == 2
    assert {p for p in blobs if hub.content(p) != blobs[p]} == set(outcome.partitions)
    # two files there, and one in the reduced dataset, which has titles but no summaries
    assert len([r for r in hub.server.requests[asked:] if r.startswith("PUT")]) == 3
    assert len(hub.files()) == 12 + 1


def test_a_month_that_becomes_empty_goes_and_comes_back(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    one, other = article(1), article(40)
    news.insert(columns([one, other]))
    checked(make_job(), hub, store)
    store.execute(f"DELETE FROM news WHERE unique_id = '{one['unique_id']}'")
    outcome = checked(make_job(), hub, store)
    assert (outcome.removed, outcome.partitions) == (["data/train-2024-03.parquet"], {})
    news.insert(columns([one]))
    assert checked(make_job(), hub, store).partitions == {"data/train-2024-03.parquet": 1}
    store.execute("DELETE FROM news")
    outcome = checked(make_job(), hub, store)
    assert (outcome.rows, len(outcome.removed)) == (0, 2)
    assert hub.rows() == {UNDATED: []}
    news.insert(columns([one, other]))
    assert checked(make_job(), hub, store).rows == 2


def test_what_happens_to_a_row_at_once_is_published_at_once(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    """Renamed and moved in one statement; deleted and inserted in one transaction, elsewhere; two ids exchanged."""
    staying = [article(8), article(40)]
    news.insert(columns([*staying, *(article(n, unique_id=f"row {n}") for n in range(1, 5))]))
    checked(make_job(), hub, store)
    store.execute("UPDATE news SET unique_id = 'new', published_at = '2024-04-20Z' WHERE unique_id = 'row 1'")
    store.execute(
        "CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM news WHERE unique_id = 'row 2'",
        "DELETE FROM news WHERE unique_id = 'row 2'",
        "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, title, url)"
        " SELECT unique_id, agency_id, agency_key, agency_name, '2024-04-21Z', title, url FROM kept",
    )
    store.execute(
        "UPDATE news SET unique_id = 'aside' WHERE unique_id = 'row 3'",
        "UPDATE news SET unique_id = 'row 3' WHERE unique_id = 'row 4'",
        "UPDATE news SET unique_id = 'row 4' WHERE unique_id = 'aside'",
    )
    outcome = checked(make_job(), hub, store)
    assert outcome.rows == 6
    assert make_job().verify().passed
    assert news.get_records_for_hf_sync().empty


def test_rows_stand_in_the_month_of_the_zone_and_in_the_order_of_their_bytes(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    """The server sorts by collation unless told otherwise; offsets were others before 2019 and before 1914."""
    at = datetime(2018, 12, 1, 1, 30, tzinfo=UTC)  # 23:30 of November by the published offset
    ids = ["B", "a", "é", "e\u0301", "z", "Z", "ß", "ss", "🛰", "\uffff", "a b", "ab", "a-b", "1", "10", "2", "\u200bx"]
    instants = [
        datetime(2018, 11, 4, 2, 59, tzinfo=UTC), datetime(2018, 11, 4, 3, 0, tzinfo=UTC),
        datetime(2019, 1, 1, 1, 59, 59, 999999, UTC), datetime(2019, 1, 1, 2, tzinfo=UTC),
        datetime(2019, 3, 1, 2, 59, tzinfo=UTC), datetime(2019, 3, 1, 3, tzinfo=UTC),
        datetime(1914, 1, 1, 3, 6, 27, tzinfo=UTC), datetime(1914, 1, 1, 3, 6, 28, tzinfo=UTC),
        datetime(1913, 12, 1, 3, 6, 27, tzinfo=UTC), datetime(1913, 12, 1, 3, 6, 28, tzinfo=UTC),
        datetime(1932, 1, 1, 2, 30, tzinfo=UTC), datetime(1963, 12, 9, 2, 30, tzinfo=UTC),
    ]  # fmt: skip
    rows = [article(n, unique_id=uid, published_at=at) for n, uid in enumerate(ids)]
    rows += [article(50 + n, unique_id=f"at {n}", published_at=instant) for n, instant in enumerate(instants)]
    news.insert(columns(rows))
    checked(make_job(), hub, store)
    assert make_job().verify().passed
    assert len(by_file(in_news(store))) > 6
    written = {path: hub.content(path) for path in hub.rows()}
    for name in (DATASET, f"{DATASET}-reduced"):
        hub.store.delete(name)
        hub.store.create(name)
    DatasetManager(DATASET, settings=hub.settings, backoff=QUICK).insert(columns(rows[::-1]))
    assert {path: hub.content(path) for path in hub.rows()} == written


def test_very_large_and_very_many_rows_of_one_instant_are_published(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    """Content of 2.3 MB was met (FIELD_FACTS §1.4); nine rows in ten share their instant with others."""
    at = datetime(2024, 5, 1, 3, tzinfo=UTC)
    few = [article(n, content=f"ç{n} " * 500_000, published_at=at) for n in range(3)]
    news.insert(columns(few))
    store.execute(
        "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, title, url)"
        " SELECT md5(n::text), id, key, name, '2024-05-01 03:00Z', 't' || n, 'https://x.br/' || n"
        " FROM agencies, generate_series(1, 6000) n WHERE key = 'mre'"
    )
    outcome = make_job().run()
    assert outcome.partitions == {"data/train-2024-05.parquet": 6003}
    assert on_the_hub(hub) == in_news(store)
    assert make_job().verify().equal == 6003
    store.execute("DELETE FROM news WHERE title = 't3000'")
    assert make_job().run().rows == 6002
    assert on_the_hub(hub) == in_news(store)


def test_a_theme_that_is_renamed_renames_the_published_cells(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    news.insert(columns(articles(9)))
    checked(make_job(), hub, store)
    store.execute("UPDATE themes SET label = 'Clima!', full_name = '05.02 - Clima!' WHERE code = '05.02'")
    outcome = checked(make_job(), hub, store)
    assert outcome.changed_rows > 0
    assert "Clima!" in {row["theme_1_level_2_label"] for row in on_the_hub(hub)}


def test_every_sync_is_on_record_with_its_counts(hub: Hub, store: Store, news: PostgresManager, make_job: Jobs) -> None:
    news.insert(columns(articles(6)))
    outcome = make_job().run()
    (entry,) = RunLedger.of(hub.settings).entries(SYNC)
    side = entry.sides["huggingface"]
    assert side.counts == dict(outcome.counts)
    assert (entry.operation, entry.facts["commit"], entry.facts["stamp"]) == (
        "incremental",
        outcome.commit,
        outcome.stamp,
    )
    assert entry.sides["postgres"].status == "skipped"
    (logged,) = store.query("SELECT operation, status FROM sync_log")
    assert logged == {"operation": "sync:incremental", "status": "completed"}


def test_the_commit_says_how_far_the_dataset_has_come(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    news.insert(columns(articles(6)))
    outcome = make_job().run()
    message = hub.commits()[0]["message"]
    assert f"govbr-sync: {outcome.stamp}" in message.splitlines()
    (kept,) = position(store)["position"]
    assert kept["outside_stamp"] == outcome.stamp
    assert outcome.stamp.endswith(f"/{kept['position_xid']}")
    assert outcome.commit in hub.commits(f"{DATASET}-reduced")[0]["title"]


def test_a_full_sync_of_what_is_there_uploads_nothing(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    news.insert(columns(articles(40)))
    first = checked(make_job(), hub, store)
    again: SyncOutcome = checked(make_job(full=True), hub, store)
    assert (again.commit, list(again.uploaded), again.proven) == (first.commit, [], 2)
    assert again.account is not None
    assert (again.account.in_postgres, again.account.published) == (40, 40)


def test_cells_that_are_missing_are_published_as_null(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    missing: list[dict[str, Any]] = [{"extracted_at": None}, {"tags": None}, {"url": None}, {"content": ""}]
    news.insert(columns([article(n, unique_id=f"row {n}", **cells) for n, cells in enumerate(missing)]))
    checked(make_job(), hub, store)
    for row, cells in zip(on_the_hub(hub), missing, strict=True):
        assert set(row) == set(COLUMN_NAMES)
        assert not row[next(iter(cells))]


def test_single_months_wait_for_a_whole_sync_where_rows_were_renamed(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    """Nothing ties the new id to the old one: in another month the article would stand nowhere, or twice."""
    days = [datetime(2024, 3 + n % 2, 5 + n, 12, tzinfo=UTC) for n in range(4)]
    news.insert(columns([article(n, unique_id=f"row {n}", published_at=day) for n, day in enumerate(days)]))
    checked(make_job(), hub, store)
    store.execute(
        "UPDATE news SET unique_id = 'new name', published_at = '2024-04-20 12:00+00' WHERE unique_id = 'row 0'"
    )
    before = said_by_the_hub(hub)
    for month in ("2024-03", "2024-04", "2024-09"):
        with pytest.raises(IntegrityError, match="single months cannot be published: rows that stood in 2024-03") as e:
            make_job(months=(month,)).run()
        assert "whole sync" in e.value.hint
    assert said_by_the_hub(hub) == before
    checked(make_job(), hub, store)
    assert make_job(months=("2024-03",)).run().committed is False
