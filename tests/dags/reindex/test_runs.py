"""What runs write, tell and leave; tried again, beside a side that fails, and back."""

from __future__ import annotations

import logging
import re
from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from data_platform.jobs.daily.day_record import DAY
from data_platform.managers.ledger.run_ledger import REINDEX, RunLedger
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.days import day_of, utc_now
from govbr.reindex import reindex_reader
from govbr.reindex_plan import plan_run
from tests.support.recorded import record_write
from tests.support.reindexing import (
    ALL_WELL,
    FULL,
    POSTGRES,
    READERS,
    Run,
    Services,
    asset_events,
    change,
    fill,
    keep,
    reindexed,
    result,
    started_by_hand,
    states,
)
from tests.support.sources import articles
from tests.support.stores import Store

pytestmark = pytest.mark.usefixtures("airflow_metadata")


def test_it_fills_both_and_then_follows(
    run: Run, store: Store, services: Services, news: PostgresManager, ledger: RunLedger
) -> None:
    filled = run(**FULL)
    assert states(filled) == ALL_WELL
    events, lags = asset_events(filled), result(filled, "lags")
    assert set(events) == {"typesense_news", "qdrant_news"}
    for reader in READERS:
        event, live = events[f"{reader}_news"], services.live(reader)
        assert {name: event[name] for name in ("kind", "collection", "documents", "written", "failed", "source")} == {
            "kind": "full",
            "collection": live,
            "documents": 12,
            "written": 12,
            "failed": 0,
            "source": "postgres",
        }
        assert {name: lags[reader][name] for name in ("collection", "documents", "rows", "tombstones", "oldest_s")} == {
            "collection": live,
            "documents": 12,
            "rows": 0,
            "tombstones": 0,
            "oldest_s": 0,
        }
        assert re.fullmatch(r"\d+/\d+/\d+", lags[reader]["position"])
        assert reindexed(filled, reader)["waited"]["state"] == "none"

    uid = change(store, 3, "Um título novo")
    gone = str(articles(6)[5]["unique_id"])
    store.execute(f"DELETE FROM news WHERE unique_id = '{gone}'")
    followed = run(**POSTGRES)
    assert states(followed) == ALL_WELL
    for reader in READERS:
        told = reindexed(followed, reader)
        assert (told["kind"], told["counts"]["rows"], told["counts"]["deleted"]) == ("incremental", 1, 1)
        titles = services.titles(reader)
        assert (titles[uid], len(titles), gone in titles) == ("Um título novo", 11, False)
    entry = ledger.newest(REINDEX)
    assert entry is not None
    assert (entry.run_date, entry.facts["started_by"]) == (None, f"DAG run {followed.run_id}")


def test_a_dry_run_writes_nothing_and_tells_no_asset(
    run: Run, services: Services, news: PostgresManager, ledger: RunLedger
) -> None:
    done = run(kind="full", **POSTGRES)
    assert states(done) == ALL_WELL
    for reader in READERS:
        told = reindexed(done, reader)
        assert (told["dry_run"], told["rows"], services.collections(reader)) == (True, 12, [])
    assert (asset_events(done), ledger.newest(REINDEX)) == ({}, None)


def test_one_that_fails_does_not_keep_the_other_from_running(
    run: Run,
    store: Store,
    services: Services,
    news: PostgresManager,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill()
    caplog.set_level(logging.INFO)
    caplog.clear()
    uid = change(store, 0, "Agora")
    services.connect("typesense", password="a-wrong-secret-key")
    done = run(**POSTGRES)
    assert states(done) == ALL_WELL | {"reindex typesense": "failed", "lags": "failed", "verdict": "upstream_failed"}
    assert str(done.state) == "failed"
    assert (services.titles("qdrant")[uid], set(asset_events(done))) == ("Agora", {"qdrant_news"})
    told = capfd.readouterr().out
    assert "access denied (401" in told
    assert "TYPESENSE_API_KEY is not valid" in told
    assert f"qdrant: {services.live('qdrant')} has 12 documents; position: " in caplog.text, "told all the same"


@pytest.mark.parametrize("broken", ["AIRFLOW_CONN_TYPESENSE_DEFAULT", "TYPESENSE_WRITE_CONN"])
def test_one_whose_settings_cannot_be_read_fails_by_itself(
    services: Services, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setenv(broken, '{"conn_type": "generic", "extra": "[1]"}' if "AIRFLOW" in broken else "no JSON")
    plans = {plan["reader"]: plan for plan in plan_run(started_by_hand(**POSTGRES))}
    assert set(plans) == set(READERS)
    with pytest.raises(AirflowFailException, match="JSON"):
        reindex_reader(started_by_hand(**POSTGRES), plans["typesense"], None, statement_timeout_s=60)
    with pytest.raises(AirflowFailException, match="no database is set"):  # it came as far as that
        reindex_reader(started_by_hand(**POSTGRES), plans["qdrant"], None, statement_timeout_s=60)
    with pytest.raises(AirflowFailException, match="JSON"):
        plan_run(started_by_hand(reader="typesense", **POSTGRES))


def test_refused_documents_fail_the_task_name_themselves_and_come_with_the_next_run(
    run: Run, store: Store, services: Services, news: PostgresManager, capfd: pytest.CaptureFixture[str]
) -> None:
    fill("typesense")
    uid = change(store, 2, "Recusado")
    services.typesense.fail_documents([uid], times=2)
    found = states(run(reader="typesense", **POSTGRES))
    assert (found["reindex typesense"], found["lags"], found["verdict"]) == ("failed", "success", "upstream_failed")
    assert re.search(rf"1 documents were refused: {uid} \(.*planted by a test", capfd.readouterr().out)
    borne = keep("typesense", max_failed=1)
    assert (list(borne["failed"]), borne["counts"]["failed"]) == ([uid], 1)
    assert (keep("typesense")["failed"], services.titles("typesense")[uid]) == ({}, "Recusado")


def test_the_way_back_is_looked_at_first_and_then_taken_once_however_often_it_is_tried(
    store: Store, services: Services, news: PostgresManager
) -> None:
    fill("qdrant")
    first = services.live("qdrant")
    fill("qdrant")
    second = services.live("qdrant")
    uid = change(store, 1, "Depois")
    assert (keep("qdrant", kind="rollback")["collection"], services.live("qdrant")) == (first, second)
    for _ in range(2):  # the worker was lost behind the end, or somebody cleared the task
        keep("qdrant", kind="rollback", dry_run="no", run_id="back")
        assert (services.live("qdrant"), services.titles("qdrant")[uid]) == (first, "Depois")
    with pytest.raises(AirflowFailException, match="no older collection is kept"):
        keep("qdrant", kind="rollback", dry_run="no")
    assert services.live("qdrant") == first


@pytest.mark.parametrize("address", ["postgresql://nobody@127.0.0.1:1/nothing", "mysql://cannot be read"])
def test_going_back_works_while_postgresql_is_down_and_once(
    store: Store, services: Services, news: PostgresManager, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    fill("typesense")
    first = services.live("typesense")
    fill("typesense")
    uid = change(store, 1, "Depois")
    monkeypatch.setenv("DATABASE_URL", address)
    for _ in range(2):
        with pytest.raises(AirflowException, match=rf"searches see {first} again; an incremental run is all"):
            keep("typesense", kind="rollback", dry_run="no", run_id="back")
        assert services.live("typesense") == first
    monkeypatch.setenv("DATABASE_URL", store.url)
    keep("typesense", kind="rollback", dry_run="no", run_id="back")
    assert (services.live("typesense"), services.titles("typesense")[uid]) == (first, "Depois")


def test_a_full_run_that_is_tried_again_keeps_the_collection_before(services: Services, news: PostgresManager) -> None:
    """The worker is lost behind the end, or the ledger's bucket does not answer: that must not fill another one."""
    fill("typesense")
    before = services.live("typesense")
    made = keep("typesense", **FULL, run_id="one")["collection"]
    again = keep("typesense", **FULL, run_id="one", afresh=True)
    assert (again["collection"], again["resumed"], again["previous"]) == (made, True, before)
    assert services.collections("typesense") == [before, made]
    other = keep("typesense", **FULL, run_id="two")
    assert (other["previous"], services.live("typesense")) == (made, other["collection"])


def test_a_collection_of_the_alias_s_name_makes_room_once_when_it_is_told_to(
    services: Services, news: PostgresManager
) -> None:
    from data_platform.models.search_document import collection_schema

    services.typesense.store.create_collection(collection_schema("news", []))
    with pytest.raises(AirflowFailException):
        keep("typesense", **FULL)
    assert "news" in services.typesense.store.collections
    told = keep("typesense", **FULL, replace_collection=True)
    assert (told["resumed"], services.live("typesense")) == (True, told["collection"])
    assert 0 <= told["down_s"] < 5
    assert "news" not in services.typesense.store.collections


def test_the_date_of_the_form_is_the_date_of_the_run(
    run: Run, services: Services, news: PostgresManager, ledger: RunLedger
) -> None:
    fill("typesense")
    day = day_of(utc_now()) - timedelta(days=50)
    record_write(ledger, day, kind=DAY)
    done = run(run_date=day.isoformat(), reader="typesense", **POSTGRES)
    assert reindexed(done, "typesense")["waited"]["state"] == "recorded"
    entry = ledger.newest(REINDEX)
    assert entry is not None
    assert entry.run_date == day
    assert asset_events(done)["typesense_news"]["run_date"] == day.isoformat()


def test_a_person_who_marks_the_wait_as_done_goes_on_at_once(
    run: Run, services: Services, news: PostgresManager
) -> None:
    fill("typesense")
    done = run(run_date=day_of(utc_now()).isoformat(), mark_done="wait_for_write", reader="typesense", **POSTGRES)
    assert states(done)["verdict"] == "success"
