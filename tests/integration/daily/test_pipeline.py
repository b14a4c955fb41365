"""A day of the pipeline in each mode: collected, identified, enriched, written, recorded; twice the same; and what
happens when a site, a group of sites, the enricher or a store fails.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_platform.errors import ConfigurationError, IntegrityError, StoreError
from data_platform.jobs.daily.day_record import DAY as DAY_KIND
from data_platform.jobs.daily.day_record import DayRecord
from data_platform.jobs.daily.plan import DayPlan, plan_day
from data_platform.jobs.daily.run import run_day
from data_platform.jobs.daily.visits import SCRAPE
from data_platform.jobs.reconcile.missed import repair_missed
from data_platform.managers.ledger.entry import LedgerEntry, Status
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.managers.storage_mode import ReadSource, StorageMode
from data_platform.models.days import day_of, utc_now
from dev.gov_web.faults import anti_bot, status
from tests.support.daily import DAY, SITES, Day
from tests.support.enrichment import KEY, NAME, cogfy
from tests.support.two_stores import BOTH, mode

MODES = {
    "huggingface": mode("huggingface"),
    "dual_write": BOTH,
    "dual_write/postgres": mode("dual_write", "postgres"),
    "postgres": mode("postgres", "postgres"),
}
#: Articles of the window of an ordinary day: three days of each site.
ARTICLES = 3 * len(SITES)


def recorded(its: Day) -> LedgerEntry:
    """Return the newest record of a day."""
    entry = its.ledger.newest(DAY_KIND)
    assert entry is not None
    return entry


def sides(entry: LedgerEntry) -> dict[str, str]:
    return {side: record.status.value for side, record in entry.sides.items()}


def failing(store: Any, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store refuse to be written."""

    def refuse(*_: Any, **__: Any) -> None:
        raise StoreError("no space left", hint="make some")

    monkeypatch.setattr(store, method, refuse)


# ------------------------------------------------------------------------------------------------ modes


@pytest.mark.parametrize("name", MODES)
def test_a_day_reaches_the_stores_of_its_mode_and_twice_is_the_same(its: Day, name: str) -> None:
    which = MODES[name]
    done = run_day(its.pipeline(which))
    written = {ReadSource.POSTGRES: its.in_postgres(), ReadSource.HUGGINGFACE: its.on_hub()}
    for side, rows in written.items():
        assert len(rows) == (ARTICLES if side in which.sides else 0)
        assert all(row["summary"] for row in rows.values())
    if which.backend.value == "dual_write":
        assert its.alike()
    assert done["gathered"]["identity"]["new"] == ARTICLES
    assert done["alerts"] == []
    entry = recorded(its)
    assert sides(entry) == {s.value: "succeeded" if s in which.sides else "skipped" for s in ReadSource}
    assert {entry.sides[side.value].counts["insert_inserted"] for side in which.sides} == {ARTICLES}
    assert (entry.run_date, entry.rows, entry.facts["sites"]["read"]) == (DAY, ARTICLES, len(SITES))
    assert entry.staged_file == done["enriched"]["staged"]["uri"]

    before = its.state()
    again = run_day(its.pipeline(which))
    assert its.state() == before, "a day that is run again changes nothing, and commits nothing"
    assert again["gathered"]["identity"]["existing"] == ARTICLES
    assert sides(recorded(its)) == sides(entry)


def test_in_mode_huggingface_nothing_of_postgresql_is_needed(its: Day) -> None:
    settings = replace(its.settings, database_url="postgresql://nobody@127.0.0.1:1/nothing")
    run_day(its.pipeline(MODES["huggingface"], settings=settings))
    assert len(its.on_hub()) == ARTICLES


def test_three_past_days_one_after_the_other_and_again_end_the_same(its: Day) -> None:
    days = [DAY - timedelta(days=back) for back in (2, 1, 0)]
    for run_date in days:
        run_day(its.pipeline(run_date=run_date))
    before = its.state()
    assert len(before["postgres"]) == 4 * len(SITES)
    for run_date in days:
        run_day(its.pipeline(run_date=run_date))
    assert its.state() == before


def test_on_sundays_a_run_looks_thirty_days_back(its: Day) -> None:
    sunday = DAY + timedelta(days=4)
    plan = its.plan(run_date=sunday)
    assert (sunday.weekday(), plan.first) == (6, sunday - timedelta(days=30))
    assert its.plan(run_date=DAY).first == DAY - timedelta(days=2)


def test_a_plan_is_the_same_after_a_journey_through_json(its: Day) -> None:
    import json

    plan = its.plan(sites=("mec", "saude"), skip_enrichment=True)
    assert DayPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert sorted(key for group in plan.groups for key in group) == ["mec", "saude"]


def test_a_run_of_a_part_of_the_day_says_so(its: Day) -> None:
    run_day(its.pipeline(MODES["postgres"]))
    assert recorded(its).facts["part"] == ""
    run_day(its.pipeline(MODES["postgres"], sites=("mec",), skip_enrichment=True))
    assert recorded(its).facts["part"] == "only mec"
    assert its.plan(first="2026-01-01").part == ""
    assert its.plan(first="2026-01-01", last="2026-01-31").part == "only 2026-01-01 to 2026-01-31"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"first": "2026-02-05", "last": "2026-02-03"}, "is after the last"),
        ({"first": "yesterday"}, "'yesterday', which is no day"),
        ({"sites": ("mec", "nowhere")}, "there is no site 'nowhere'"),
        ({"min_coverage": 1.5}, "min_coverage is 1.5"),
        ({"groups": 0}, "counted from 0 and 1"),
    ],
)
def test_a_form_that_cannot_be_meant_is_refused(its: Day, options: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        its.plan(**options)


# ---------------------------------------------------------------------------------------------- sites


@pytest.mark.parametrize(
    ("elsewhere", "named"),
    [
        ({"hf_endpoint": ""}, "the public Hub"),
        ({"database_url": "postgresql://db.example.org/news"}, "the database on db.example.org"),
    ],
)
def test_made_up_news_is_not_written_to_a_store_elsewhere(its: Day, elsewhere: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        its.pipeline(settings=replace(its.settings, **elsewhere)).scrape(0)
    assert its.web.requests == []


def test_a_site_that_fails_is_told_and_the_others_are_written(its: Day) -> None:
    its.web.faults = [status(r"^www\.gov\.br/mec", 404)]
    done = run_day(its.pipeline())
    assert len(its.in_postgres()) == len(its.on_hub()) == ARTICLES - 3
    assert done["gathered"]["sites"]["failed"] == {"mec": "url_broken"}
    assert any("5 of 6 read; failed: mec (url_broken)" in line for line in done["lines"])
    rows = its.store.query("SELECT agency_key, status, error_category, articles_saved FROM scrape_runs ORDER BY 1")
    assert [row["agency_key"] for row in rows] == list(SITES)
    assert [(row["status"], row["error_category"], row["articles_saved"]) for row in rows] == [
        ("error", "url_broken", 0) if site == "mec" else ("success", None, 3) for site in SITES
    ]


def test_too_few_sites_fail_the_run_after_what_there_is_was_written(its: Day) -> None:
    its.web.faults = [anti_bot(r"^www\.gov\.br/(mec|saude|mre)")]
    with pytest.raises(IntegrityError, match=r"only 3 of 6 sites were read, less than 80%: mec .*, mre .*, saude"):
        run_day(its.pipeline())
    assert len(its.in_postgres()) == ARTICLES - 9
    assert sides(recorded(its)) == {"postgres": "succeeded", "huggingface": "succeeded"}
    assert run_day(its.pipeline(min_coverage=0.5))["gathered"]["sites"]["read"] == 3


def test_the_sites_of_a_group_that_is_lost_count_as_not_read_and_are_recorded(its: Day) -> None:
    pipeline = its.pipeline()
    assert [len(group) for group in pipeline.plan.groups] == [2, 2, 2]
    gathered = pipeline.gather([pipeline.scrape(0), pipeline.scrape(2)])
    lost = pipeline.plan.groups[1]
    assert gathered["sites"]["failed"] == dict.fromkeys(lost, "not_visited")
    assert (gathered["sites"]["visited"], gathered["sites"]["read"]) == (4, 4)
    found = its.store.query("SELECT agency_key FROM scrape_runs WHERE error_category = 'not_visited' ORDER BY 1")
    assert [row["agency_key"] for row in found] == sorted(lost)
    entry = its.ledger.newest(SCRAPE)
    assert entry is not None
    assert {site for site, told in entry.facts["sites"].items() if told[0]} == set(lost)
    record = DayRecord(started_at=utc_now(), gathered=gathered)
    assert "only 4 of 6 sites were read" in "; ".join(record.problems(pipeline.plan))


def test_a_site_that_is_taken_out_after_the_plan_costs_nobody_else_s_news(its: Day) -> None:
    """As the alert says: take it out there; then the failed task is cleared, with the plan that has it."""
    pipeline = its.pipeline()
    catalogue = Path(its.settings.sites_source)
    sites = yaml.safe_load(catalogue.read_text(encoding="utf-8"))
    del sites["agencies"]["mec"]
    catalogue.write_text(yaml.safe_dump(sites), encoding="utf-8")
    gathered = pipeline.gather([pipeline.scrape(number) for number in range(3)])
    assert gathered["sites"]["failed"] == {"mec": "not_visited"}
    assert gathered["sites"]["read"] == len(SITES) - 1
    (row,) = its.store.query("SELECT agency_key, error_message FROM scrape_runs WHERE status = 'error'")
    assert tuple(row.values()) == ("mec", "it is not in the catalogue any more")


def test_if_every_group_is_lost_nothing_is_written_that_looks_like_a_day_without_news(its: Day) -> None:
    with pytest.raises(IntegrityError, match="no site was visited"):
        its.pipeline().gather([])
    assert its.ledger.newest("write") is None


def test_a_site_that_fails_three_runs_in_a_row_needs_a_person(its: Day) -> None:
    its.web.faults = [status(r"^www\.gov\.br/mec", 404)]
    for back in (2, 1):
        assert run_day(its.pipeline(run_date=DAY - timedelta(days=back)))["alerts"] == []
    done = run_day(its.pipeline())
    assert done["alerts"] == ["mec: failed 3 runs in a row (url_broken)"]
    assert recorded(its).facts["alerts"] == done["alerts"]
    its.web.faults = []
    assert run_day(its.pipeline())["alerts"] == [], "read at last, on the same day"


# ---------------------------------------------------------------------------------------- enrichment


def with_cogfy(its: Day, there: Any) -> Any:
    return replace(its.settings, cogfy_server_url=there.server.url, cogfy_api_key=KEY, cogfy_collection_name=NAME)


def test_rows_that_are_not_ready_in_time_are_written_and_enriched_on_a_later_day(its: Day) -> None:
    with cogfy() as there:
        there.store.ready_after_s = 3600.0
        settings = with_cogfy(its, there)
        done = run_day(its.pipeline(settings=settings, deadline_s=0.2), poll_s=0.05)
        assert done["enriched"]["enrichment"]["pending"] == ARTICLES
        assert (len(its.in_postgres()), done["alerts"]) == (ARTICLES, [])
        assert not any(row["summary"] for row in its.in_postgres().values())
        there.store.ready_after_s = 0.0
        run_day(its.pipeline(settings=settings, run_date=DAY + timedelta(days=1)), poll_s=0.05)
        assert all(row["summary"] == "O governo publicou um resumo." for row in its.in_postgres().values())
        assert its.alike()
        assert len(there.uploaded()) == ARTICLES, "asked for again, not handed over again"


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"cogfy_api_key": "k"}, "no collection is named"),
        ({"enricher": "oracle"}, "ENRICHER is 'oracle'"),
        ({"cogfy_api_key": "k", "cogfy_collection_name": "c", "cogfy_server_url": "there"}, "Cogfy"),
    ],
)
def test_an_enricher_that_cannot_be_used_keeps_no_article_from_being_written(
    its: Day, settings: dict[str, str], word: str
) -> None:
    with cogfy() as there:
        made = {name: there.server.url if value == "there" else value for name, value in settings.items()}
        done = run_day(its.pipeline(settings=replace(its.settings, **made)))
    assert len(its.in_postgres()) == len(its.on_hub()) == ARTICLES
    (alert,) = done["alerts"]
    assert alert.startswith("the day's news is not enriched")
    assert word in alert
    assert recorded(its).facts["not_enriched"]


def test_answers_that_may_not_be_published_are_refused_before_anything_is_handed_over(
    its: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = its.pipeline(MODES["huggingface"])
    gathered = pipeline.gather([pipeline.scrape(number) for number in range(3)])
    pipeline.settings = replace(its.settings, hf_endpoint="https://huggingface.example")
    with pytest.raises(ConfigurationError, match="approximate themes and summaries are not written"):
        pipeline.submit(gathered)
    pipeline.settings = its.settings
    assert pipeline.write(ReadSource.HUGGINGFACE, pipeline.unenriched(gathered))["counts"]["insert"]["inserted"]


def test_nothing_is_asked_for_where_that_is_said(its: Day) -> None:
    done = run_day(its.pipeline(skip_enrichment=True, settings=replace(its.settings, enricher="oracle")))
    assert (len(its.in_postgres()), done["alerts"]) == (ARTICLES, [])
    assert not any(row["summary"] for row in its.in_postgres().values())


# --------------------------------------------------------------------------------------- failing sides


@pytest.mark.parametrize("side", ReadSource)
def test_a_side_that_fails_leaves_the_other_one_written_and_the_run_fails(
    its: Day, side: ReadSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        made = its.dataset() if side is ReadSource.HUGGINGFACE else None
        if made is not None:
            failing(made, "insert_rows", patch)
            patch.setattr(its, "dataset", lambda: made)
        else:
            failing(PostgresManager, "insert_rows", patch)
        with pytest.raises(IntegrityError, match=f"{side} was not written: no space left"):
            run_day(its.pipeline())
    entry = recorded(its)
    assert sides(entry) == {s.value: "failed" if s is side else "succeeded" for s in ReadSource}
    assert "no space left" in entry.sides[side.value].error
    there = {ReadSource.POSTGRES: its.in_postgres(), ReadSource.HUGGINGFACE: its.on_hub()}
    assert {s: len(rows) for s, rows in there.items()} == {s: 0 if s is side else ARTICLES for s in ReadSource}
    run_day(its.pipeline())
    assert its.alike(leave_out=["extracted_at"]), "themes and summaries included, which the other one had"
    assert len(its.in_postgres()) == ARTICLES


def test_what_one_store_missed_is_settled_once_its_write_was_made_again(
    its: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        failing(PostgresManager, "insert_rows", patch)
        with pytest.raises(IntegrityError):
            run_day(its.pipeline())
    assert [missed.side for missed in its.ledger.missed()] == ["postgres"]
    run_day(its.pipeline())
    with its.adapter() as adapter:
        assert repair_missed(adapter).open == 0
    assert its.ledger.missed() == []


def test_what_one_store_missed_is_brought_from_the_other(its: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        failing(PostgresManager, "insert_rows", patch)
        with pytest.raises(IntegrityError):
            run_day(its.pipeline())
    with its.adapter() as adapter:
        outcome = repair_missed(adapter)
    assert outcome.open == 0, outcome.lines()
    assert its.alike()
    assert len(its.in_postgres()) == ARTICLES


def test_both_sides_that_fail_are_both_told(its: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    made = its.dataset()
    failing(made, "insert_rows", monkeypatch)
    monkeypatch.setattr(its, "dataset", lambda: made)
    failing(PostgresManager, "insert_rows", monkeypatch)
    with pytest.raises(IntegrityError, match=r"postgres was not written: .*; huggingface was not written"):
        run_day(its.pipeline())
    assert sides(recorded(its)) == {"postgres": "failed", "huggingface": "failed"}
    assert all(record.status is Status.FAILED for record in recorded(its).sides.values())


def test_a_run_date_can_be_any_past_day(its: Day) -> None:
    plan = plan_day(date(2020, 2, 29), StorageMode(), its.plan().options, sites_source=its.settings.sites_source)
    assert (plan.first, plan.last) == (date(2020, 2, 27), date(2020, 2, 29))
    assert day_of(utc_now()) > plan.run_date
