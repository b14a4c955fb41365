"""What runs do where PostgreSQL does not lead, and when an alert is raised."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from airflow.sdk.exceptions import AirflowFailException

from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.days import day_of, utc_now
from govbr.reindex_lags import LAG_LIMIT, measure_lags
from govbr.reindex_plan import plan_run
from tests.support.hub import DATASET, Hub, parquet_bytes, published
from tests.support.reindexing import (
    ALL_WELL,
    FULL,
    HUGGINGFACE,
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
    say_shown,
    started_by_hand,
    states,
)
from tests.support.sources import articles
from tests.support.stores import Store

pytestmark = pytest.mark.usefixtures("airflow_metadata")


def test_in_mode_huggingface_nobody_waits_and_the_age_of_the_rows_is_told(
    run: Run,
    store: Store,
    services: Services,
    news: PostgresManager,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill("typesense")
    store.execute("UPDATE news SET updated_at = now() - interval '50 hours'", behind_triggers=True)
    yesterday = (day_of(utc_now()) - timedelta(days=1)).isoformat()
    done = run(run_date=yesterday, reader="typesense", **HUGGINGFACE)
    expected = {name: state for name, state in ALL_WELL.items() if name != "reindex qdrant"}
    assert states(done) == expected | {"wait_for_write": "skipped"}
    told = reindexed(done, "typesense")
    assert utc_now() - datetime.fromisoformat(told["data_as_of"]) > timedelta(hours=49)
    assert told["waited"]["state"] == "not waited"
    waited = "in mode huggingface nobody writes PostgreSQL, so there is no write to wait for"
    assert waited in capfd.readouterr().out
    assert re.search(r"nobody writes PostgreSQL: its newest row is of .*, 2 days 2 hours ago", caplog.text)


def test_from_the_dataset_no_postgresql_is_needed_and_what_follows_nothing_is_skipped(
    run: Run, services: Services, hub: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://cannot be read")
    monkeypatch.setenv("STORAGE_BACKEND", "huggingface")
    looked = keep("qdrant", kind="full", source="huggingface")
    assert (looked["dry_run"], looked["rows"], services.collections("qdrant")) == (True, 8, [])
    done = run(kind="full", source="huggingface", dry_run="no")
    assert states(done) == ALL_WELL
    source, events, lags = f"{DATASET}@{hub.head()}", asset_events(done), result(done, "lags")
    for reader in READERS:
        assert len(services.titles(reader)) == 8
        assert (events[f"{reader}_news"]["source"], lags[reader]["source"]) == (source, source)

    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    capfd.readouterr()
    nightly = run()
    found = {reader: states(nightly)[f"reindex {reader}"] for reader in READERS}
    assert (found, str(nightly.state)) == (dict.fromkeys(READERS, "skipped"), "success")
    assert f"was filled from {source}, so it follows nothing" in capfd.readouterr().out


def test_where_postgresql_leads_an_index_of_the_dataset_is_no_quiet_matter(
    services: Services, store: Store, hub: Hub
) -> None:
    keep("typesense", **FULL | HUGGINGFACE, source="huggingface")
    with pytest.raises(AirflowFailException, match=r"was filled from .*, and follows nothing"):
        keep("typesense")


def test_the_alert_says_how_far_behind_and_what_to_do(
    store: Store, services: Services, news: PostgresManager, gauges: dict[str, float]
) -> None:
    fill()
    change(store, 4, "Tarde")
    store.execute("UPDATE news SET updated_at = now() - interval '31 hours'", behind_triggers=True)
    plans = plan_run(started_by_hand(**POSTGRES))
    with pytest.raises(AirflowFailException) as caught:
        measure_lags(plans, statement_timeout_s=60)
    for word in (
        "1 changed rows and 0 tombstones wait for typesense",
        "wait for qdrant",
        "1 day 7 hours",
        "What to do",
    ):
        assert word in str(caught.value)
    for reader in READERS:
        assert gauges[f"govbr.reindex.{reader}.lag_rows"] == 1
        assert gauges[f"govbr.reindex.{reader}.lag_tombstones"] == 0
        assert gauges[f"govbr.reindex.{reader}.lag_seconds"] == pytest.approx(31 * 3600, abs=60)
    looked = plan_run(started_by_hand(dry_run="yes", **POSTGRES))
    assert measure_lags(looked, statement_timeout_s=60)["qdrant"]["rows"] == 1, "a dry run raises no alert"
    store.execute("UPDATE news SET updated_at = now() - interval '23 hours 55 minutes'", behind_triggers=True)
    assert measure_lags(plans, statement_timeout_s=60)["typesense"]["oldest_s"] < LAG_LIMIT.total_seconds()


def test_an_index_of_the_dataset_is_late_when_the_dataset_has_gone_on_for_a_day(
    services: Services, hub: Hub, gauges: dict[str, float]
) -> None:
    made = keep("typesense", **FULL | HUGGINGFACE, source="huggingface")["collection"]
    (plan,) = plan_run(started_by_hand(reader="typesense", **HUGGINGFACE))
    measure_lags([plan], statement_timeout_s=60)
    say_shown("typesense", made, utc_now() - timedelta(hours=25))
    measure_lags([plan], statement_timeout_s=60)
    assert gauges["govbr.reindex.typesense.lag_seconds"] == 0, "the dataset is what it was"
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes([published(row) for row in articles(9)])})
    with pytest.raises(AirflowFailException, match=r"filled 1 day 1 hour ago and follows nothing, and the dataset has"):
        measure_lags([plan], statement_timeout_s=60)
    say_shown("typesense", made, utc_now() - timedelta(hours=2))
    measure_lags([plan], statement_timeout_s=60)


def test_in_mode_huggingface_a_database_that_is_down_raises_no_alert(
    services: Services, news: PostgresManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill("typesense")
    (plan,) = plan_run(started_by_hand(reader="typesense", **HUGGINGFACE))
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    told = measure_lags([plan], statement_timeout_s=60)["typesense"]
    assert (told["documents"], "does not answer" in told["problem"]) == (12, True)
