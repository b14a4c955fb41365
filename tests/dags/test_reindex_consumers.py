"""The DAG of the search indexes, run for real in this process: a database, Typesense, Qdrant and a Hub as stand-ins."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, ParamValidationError

from data_platform.jobs.daily.day_record import DAY
from data_platform.managers.ledger.run_ledger import REINDEX, SYNC, RunLedger
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.days import SAO_PAULO, day_of, utc_now
from dev.airflow_local import POOLS_FILE
from dev.hub_server import HubServer, HubStore
from govbr.reindex import reindex_reader
from govbr.reindex_lags import LAG_LIMIT, measure_lags
from govbr.reindex_plan import ReaderPlan, plan_run
from tests.support.hub import DATASET, TOKEN, Hub, columns, parquet_bytes, published
from tests.support.recorded import record_write
from tests.support.reindexing import (
    ALL_WELL,
    FORM,
    FULL,
    HUGGINGFACE,
    POSTGRES,
    READERS,
    Services,
    asset_events,
    change,
    fill,
    keep,
    reindexed,
    result,
    say_shown,
    serve,
    started_by_hand,
    states,
)
from tests.support.sources import articles
from tests.support.stores import Store, prepare

pytestmark = pytest.mark.usefixtures("airflow_metadata")

DAG = "reindex_consumers"
Run = Callable[..., Any]


@pytest.fixture
def bag() -> Any:
    """The DAGs, parsed anew: `dag.test` leaves what a form said in them."""
    from airflow.dag_processing.dagbag import DagBag

    found = DagBag(str(Path(__file__).parents[2] / "dags" / f"{DAG}.py"))
    assert not found.import_errors
    return found


@pytest.fixture
def run(bag: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs the DAG to its end, by hand, without waiting between tries."""
    monkeypatch.setenv("STATE_URI", str(tmp_path / "state"))

    def start(*, mark_done: str | None = None, **conf: Any) -> Any:
        dag = bag.dags[DAG]
        for each in dag.tasks:
            if each.is_mapped:
                each.partial_kwargs["retries"] = 0
            else:
                monkeypatch.setattr(each, "retries", 0)
        return dag.test(run_conf=FORM | conf, mark_success_pattern=mark_done)

    return start


@pytest.fixture
def ledger(tmp_path: Path) -> RunLedger:
    return RunLedger(str(tmp_path / "state"))


@pytest.fixture
def store(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    prepare(database_url)
    monkeypatch.setenv("DATABASE_URL", database_url)
    return Store(database_url)


@pytest.fixture
def news(store: Store) -> PostgresManager:
    """Twelve articles that wait to be indexed."""
    manager = PostgresManager(store.url)
    assert manager.insert(columns(articles(12))) == 12
    return manager


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Both services, empty, with connections to them, and words hashed to few numbers."""
    monkeypatch.setenv("STATE_URI", str(tmp_path / "state"))
    with serve(monkeypatch) as made:
        yield made


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A dataset with eight articles."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hf-home"))
    repositories = HubStore(tmp_path / "hub")
    repositories.create(DATASET)
    with HubServer(repositories, tokens=[TOKEN]) as server:
        for name, value in {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_DATASET": DATASET}.items():
            monkeypatch.setenv(name, value)
        made = Hub(repositories, server, tmp_path / "state")
        rows = [published(row) for row in articles(8)]
        made.put({"data/train-00000-of-00001.parquet": parquet_bytes(rows)})
        yield made


# ---------------------------------------------------------------------------------------------------- wiring


def test_it_is_scheduled_by_sao_paulo_s_clock(bag: Any) -> None:
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import TimeRestriction

    dag = bag.dags[DAG]
    restriction = TimeRestriction(datetime(2026, 11, 20, tzinfo=UTC), None, catchup=True)
    planned = coerce_to_core_timetable(dag.timetable).next_dagrun_info(
        last_automated_data_interval=None, restriction=restriction
    )
    assert planned is not None
    local = planned.logical_date.astimezone(SAO_PAULO)
    assert (local.hour, local.minute) == (3, 15)
    assert (dag.catchup, dag.max_active_runs) == (False, 1)


def test_the_tasks_follow_each_other_and_the_verdict_hangs_on_all(bag: Any) -> None:
    dag = bag.dags[DAG]
    assert {task_id: set(task.upstream_task_ids) for task_id, task in dag.task_dict.items()} == {
        "resolve": set(),
        "wait_for_write": {"resolve"},
        "reindex": {"resolve", "wait_for_write"},
        "lags": {"resolve", "reindex"},
        "verdict": {"reindex", "lags"},
    }
    gate = dag.task_dict["wait_for_write"]
    assert (gate.deferrable, gate.poke_interval, gate.timeout) == (True, 60, 4 * 3600)


def test_what_a_schedule_asks_for_is_what_the_form_shows_at_first(bag: Any) -> None:
    assert dict(bag.dags[DAG].params) == FORM


def test_its_pool_is_among_those_that_are_made(bag: Any) -> None:
    pool = bag.dags[DAG].task_dict["reindex"].pool
    assert json.loads(POOLS_FILE.read_text())[pool]["slots"] == len(READERS)


@pytest.mark.parametrize(
    ("conf", "word"),
    [
        ({"reader": "portal"}, "portal"),
        ({"kind": "everything"}, "everything"),
        ({"dry_run": True}, "string"),
        ({"max_failed": -1}, "minimum"),
        ({"run_date": "21/11/2026"}, "date"),
        ({"storage_backend": "mysql"}, "mysql"),
    ],
)
def test_the_form_refuses_what_is_no_answer(run: Run, conf: dict[str, Any], word: str) -> None:
    with pytest.raises(ParamValidationError, match=re.escape(word)):
        run(**conf)


# ---------------------------------------------------------------------------------------------------- the plan


@pytest.mark.parametrize(
    ("kind", "dry_run", "looks_only"),
    [
        ("incremental", "auto", False),
        ("full", "auto", True),
        ("rollback", "auto", True),
        ("incremental", "yes", True),
        ("full", "yes", True),
        ("full", "no", False),
        ("rollback", "no", False),
    ],
)
def test_what_moves_searches_is_only_looked_at_unless_somebody_says_no(
    services: Services, kind: str, dry_run: str, looks_only: bool
) -> None:
    plans = plan_run(started_by_hand(kind=kind, dry_run=dry_run, **POSTGRES))
    assert [(plan["reader"], plan["options"]["dry_run"]) for plan in plans] == [(name, looks_only) for name in READERS]
    assert [ReaderPlan.from_dict(json.loads(json.dumps(plan))).to_dict() for plan in plans] == plans


@pytest.mark.parametrize(
    ("backend", "source", "awaited"),
    [
        ("postgres", "postgres", (DAY, "postgres")),
        ("dual_write", "postgres", (DAY, "postgres")),
        ("huggingface", "postgres", ("", "")),
        ("postgres", "huggingface", (SYNC, "huggingface")),
        ("dual_write", "huggingface", (DAY, "huggingface")),
        ("huggingface", "huggingface", (DAY, "huggingface")),
    ],
)
def test_it_waits_for_who_writes_what_is_read(
    services: Services, store: Store, backend: str, source: str, awaited: tuple[str, str]
) -> None:
    kind = "full" if source == "huggingface" else "incremental"
    for plan in plan_run(started_by_hand(kind=kind, source=source, storage_backend=backend)):
        assert (plan["await_kind"], plan["await_side"]) == awaited


def test_an_index_that_is_not_configured_is_left_out_and_named(
    services: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_QDRANT_DEFAULT")
    assert [plan["reader"] for plan in plan_run(started_by_hand(**POSTGRES))] == ["typesense"]
    assert "qdrant is not configured and left out; to have it kept, set the connection qdrant_default" in caplog.text
    with pytest.raises(AirflowFailException, match=r"qdrant is not configured .*QDRANT_URL and QDRANT_API_KEY"):
        plan_run(started_by_hand(reader="qdrant", **POSTGRES))


def test_the_environment_configures_an_index_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_URL", "http://127.0.0.1:1")
    assert [plan["reader"] for plan in plan_run(started_by_hand(**POSTGRES))] == ["qdrant"]


def test_a_form_that_contradicts_itself_fails_before_anybody_waits(run: Run, services: Services) -> None:
    done = run(afresh=True, **POSTGRES)
    found = states(done)
    assert (found.pop("resolve"), found.pop("lags")) == ("failed", "skipped"), "no plan, so nothing to say"
    assert set(found.values()) == {"upstream_failed"}
    with pytest.raises(AirflowFailException, match="afresh belongs to a full run"):
        plan_run(started_by_hand(afresh=True, **POSTGRES))


def test_without_any_index_the_run_is_skipped_and_says_what_to_set(run: Run) -> None:
    done = run(**POSTGRES)
    assert set(states(done).values()) == {"skipped"}
    assert str(done.state) == "success"
    with pytest.raises(AirflowSkipException, match=r"no search index is configured.*typesense_default.*qdrant_default"):
        plan_run(started_by_hand(**POSTGRES))


@pytest.mark.parametrize(("address", "word"), [("", "no database is set"), ("mysql://x", "cannot be read")])
def test_in_mode_huggingface_without_a_database_each_index_is_skipped_and_lags_says_where_it_stands(
    run: Run, services: Services, monkeypatch: pytest.MonkeyPatch, address: str, word: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", address)
    with pytest.raises(AirflowSkipException, match=rf"the storage mode is huggingface/huggingface.*{word}"):
        keep("typesense", **HUGGINGFACE)
    with pytest.raises(AirflowFailException):  # whoever asks for it by hand shall see it fail
        keep("typesense", **FULL | HUGGINGFACE)
    if not address:
        done = run()
        found = {task: state for task, state in states(done).items() if task != "wait_for_write"}
        skipped = dict.fromkeys((f"reindex {reader}" for reader in READERS), "skipped")
        assert found == skipped | {"resolve": "success", "lags": "success", "verdict": "success"}
        assert set(result(done, "lags")) == set(READERS)


# ------------------------------------------------------------------------------------------------------ runs


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


# -------------------------------------------------------------------------------------------- the other modes


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


# ----------------------------------------------------------------------------------------------------- alert


@pytest.fixture
def gauges() -> Iterator[dict[str, float]]:
    """What is sent to Airflow's metrics."""
    from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
    from airflow.sdk.observability import stats

    seen: dict[str, float] = {}

    class Recorder(NoStatsLogger):
        @classmethod
        def gauge(cls, stat: str, value: float, *_: Any, **__: Any) -> None:
            seen[stat] = value

    stats.initialize(factory=Recorder, export_legacy_names=False)
    yield seen
    stats.initialize(factory=NoStatsLogger, export_legacy_names=False)


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
