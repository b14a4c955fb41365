"""A day of the pipeline while something else is down, damaged or behind: what can be done is done, the rest is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from data_platform.errors import ConfigurationError, DataPlatformError, IntegrityError
from data_platform.jobs.daily.run import run_day
from data_platform.jobs.reconcile.missed import repair_missed
from data_platform.jobs.scraper.catalogue import load_sites
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.managers.storage_mode import ReadSource, StorageMode
from data_platform.models.days import day_of, utc_now
from dev.gov_web.site_plan import plan_of
from tests.integration.daily.test_pipeline import ARTICLES, failing, recorded, sides, with_cogfy
from tests.support.daily import DAY, SITES, Day
from tests.support.enrichment import cogfy
from tests.support.two_stores import BOTH, mode

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


def edit_titles(its: Day) -> None:
    """Let every site correct its titles."""
    sites = plan_of(load_sites(its.settings.sites_source), DAY, days=4, per_day=1).sites
    for site in sites:
        articles = [replace(a, title=f"{a.title} (corrigido)") for a in site.articles]
        its.web.web.add(replace(site, articles=articles))
    its.web.web._made.clear()


@pytest.mark.parametrize(
    "which",
    [
        pytest.param(BOTH, id="huggingface"),
        pytest.param(mode("dual_write", "postgres"), id="postgres", marks=pytest.mark.slow),
    ],
)
def test_with_postgresql_down_the_day_is_in_the_dataset(its: Day, which: StorageMode) -> None:
    with pytest.raises(IntegrityError, match="postgres was not written"):
        run_day(its.pipeline(which, settings=replace(its.settings, database_url=NOWHERE)))
    assert len(its.on_hub()) == ARTICLES
    assert sides(recorded(its)) == {"postgres": "failed", "huggingface": "succeeded"}
    enriched = [bool(row["summary"]) for row in its.on_hub().values()]
    assert all(enriched) if which is BOTH else not any(enriched), "what is read says what lacks a summary"


@pytest.mark.parametrize(
    "which",
    [
        pytest.param(BOTH, id="huggingface", marks=pytest.mark.slow),
        pytest.param(mode("dual_write", "postgres"), id="postgres"),
    ],
)
def test_with_postgresql_refusing_the_day_is_in_the_dataset(its: Day, which: StorageMode) -> None:
    url = its.settings.database_url.rpartition("/")[0] + "/no_such_database"
    with pytest.raises(IntegrityError, match="postgres was not written"):
        run_day(its.pipeline(which, settings=replace(its.settings, database_url=url)))
    assert len(its.on_hub()) == ARTICLES


@pytest.mark.parametrize(
    "which",
    [
        pytest.param(BOTH, id="huggingface", marks=pytest.mark.slow),
        pytest.param(mode("dual_write", "postgres"), id="postgres"),
    ],
)
def test_with_the_hub_down_the_day_is_in_postgresql(its: Day, which: StorageMode) -> None:
    its.settings = replace(its.settings, hf_endpoint="http://127.0.0.1:1")
    with pytest.raises(IntegrityError, match="huggingface was not written"):
        run_day(its.pipeline(which))
    assert len(its.in_postgres()) == ARTICLES


def test_a_day_of_which_nothing_could_be_staged_is_recorded_as_failed(its: Day) -> None:
    (its.folder / "staging").write_text("not a folder")
    with pytest.raises(DataPlatformError, match="staging"):
        run_day(its.pipeline())
    entry = recorded(its)
    assert sides(entry) == {"postgres": "failed", "huggingface": "failed"}
    assert "staging" in entry.sides["postgres"].error


def test_an_article_that_one_store_missed_and_that_was_edited_since_has_one_id(
    its: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    which = mode("dual_write", "postgres")
    with monkeypatch.context() as patch:
        failing(PostgresManager, "insert_rows", patch)
        with pytest.raises(IntegrityError):
            run_day(its.pipeline(which))
    edit_titles(its)
    run_day(its.pipeline(which))
    assert its.in_postgres().keys() == its.on_hub().keys()
    assert {row["title"] for row in its.in_postgres().values()} == {row["title"] for row in its.on_hub().values()}
    assert all(row["title"].endswith("(corrigido)") for row in its.in_postgres().values())


@pytest.mark.parametrize("skip_enrichment", [False, True], ids=["enriched", "not enriched"])
def test_a_theme_that_only_one_store_has_is_not_made_anew_for_the_other(
    its: Day, monkeypatch: pytest.MonkeyPatch, skip_enrichment: bool
) -> None:
    with cogfy() as there:
        settings = with_cogfy(its, there)
        with monkeypatch.context() as patch:
            failing(PostgresManager, "insert_rows", patch)
            with pytest.raises(IntegrityError):
                run_day(its.pipeline(settings=settings), poll_s=0.05)
    # Which reads the store that has nothing, and has another enricher, or none.
    run_day(its.pipeline(mode("dual_write", "postgres"), skip_enrichment=skip_enrichment))
    assert its.alike(leave_out=["extracted_at"])
    assert {row["summary"] for row in its.in_postgres().values()} == {"O governo publicou um resumo."}


def test_themes_of_articles_that_are_there_are_on_record_too_if_a_store_missed_them(
    its: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_day(its.pipeline(skip_enrichment=True))
    with monkeypatch.context() as patch:
        failing(PostgresManager, "insert_rows", patch)
        failing(PostgresManager, "update_rows", patch)
        with pytest.raises(IntegrityError):
            run_day(its.pipeline())
    assert {(missed.side, missed.entry.operation) for missed in its.ledger.missed()} == {
        ("postgres", "insert"),
        ("postgres", "update"),
    }
    with its.adapter() as adapter:
        assert repair_missed(adapter).open == 0
    assert its.alike()
    assert all(row["summary"] for row in its.in_postgres().values())


def test_sites_that_nobody_visited_are_written_down_once(its: Day) -> None:
    pipeline = its.pipeline()
    groups = [pipeline.scrape(0), pipeline.scrape(2)]
    pipeline.gather(groups)
    pipeline.gather(groups)
    assert its.store.value("SELECT count(*) FROM scrape_runs") == len(SITES)


def test_a_damaged_record_of_an_old_run_is_told_and_keeps_no_article_from_being_written(its: Day) -> None:
    run_day(its.pipeline(run_date=DAY - timedelta(days=1)))
    (record,) = (its.folder / "state" / "ledger" / "scrape").rglob("*.json")
    record.chmod(0o600)
    record.write_text("{")
    done = run_day(its.pipeline())
    assert len(its.in_postgres()) == len(its.on_hub()) == ARTICLES + len(SITES)
    (alert,) = done["alerts"]
    assert record.name in alert


def test_an_article_without_a_date_is_kept_as_one_reject_however_often_it_is_read(its: Day) -> None:
    sites = plan_of(load_sites(its.settings.sites_source), DAY, days=4, per_day=1).sites
    dateless = replace(sites[0], listing_dates="none", article_dates="none")
    its.web.web.add(dateless)
    its.web.web._made.clear()
    run_day(its.pipeline())
    kept = [reject["payload_digest"] for reject in its.store.rejects()]
    assert len(kept) == len(dateless.articles)
    run_day(its.pipeline())
    run_day(its.pipeline(run_date=DAY + timedelta(days=1)))
    assert [reject["payload_digest"] for reject in its.store.rejects()] == kept
    assert len(list((its.folder / "state" / "rejects").iterdir())) == len(kept)


def test_a_wide_window_gives_a_site_more_time_and_its_task_never_too_little(its: Day) -> None:
    ordinary, sunday = its.plan(), its.plan(run_date=DAY + timedelta(days=4))
    assert (ordinary.site_seconds, sunday.site_seconds) == (600.0, 1500.0)
    assert 2 * its.plan(first="2020-01-01").site_seconds < timedelta(hours=1).total_seconds()


def test_a_day_that_lies_ahead_is_not_collected(its: Day) -> None:
    with pytest.raises(ConfigurationError, match="lies ahead"):
        its.plan(run_date=day_of(utc_now()) + timedelta(days=1))


def test_a_write_that_is_cleared_long_after_takes_no_better_theme_or_summary_away(
    its: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_day(its.pipeline(skip_enrichment=True))
    pipeline = its.pipeline()
    gathered = pipeline.gather([pipeline.scrape(number) for number in range(3)])
    approximate = pipeline.enriched(gathered, pipeline.submit(gathered))
    for side in pipeline.plan.mode.sides:
        assert pipeline.write(side, approximate)["counts"]["update"]["updated"] == ARTICLES
    with cogfy() as there:
        run_day(its.pipeline(settings=with_cogfy(its, there)), poll_s=0.05)
    better = its.state()
    assert {row["summary"] for row in better["postgres"].values()} == {"O governo publicou um resumo."}
    for side in pipeline.plan.mode.sides:
        pipeline.write(side, approximate)
    assert its.state() == better
    # Nor if the store does not say for a moment what it has, and then takes what it is given.
    with monkeypatch.context() as patch:
        failing(PostgresManager, "get_by_unique_ids", patch)
        with pytest.raises(DataPlatformError):
            pipeline.write(ReadSource.POSTGRES, approximate)
    assert its.state() == better


def test_an_article_that_gets_its_date_later_leaves_no_reject_behind(its: Day) -> None:
    """Without a date its id was another one."""
    dated = plan_of(load_sites(its.settings.sites_source), DAY, days=4, per_day=1).sites[0]
    its.web.web.add(replace(dated, listing_dates="none", article_dates="none"))
    its.web.web._made.clear()
    run_day(its.pipeline(mode("postgres", "postgres"), skip_enrichment=True))
    assert {row["status"] for row in its.store.query("SELECT status FROM rejects")} == {"open"}
    its.web.web.add(dated)
    its.web.web._made.clear()
    run_day(its.pipeline(mode("postgres", "postgres"), skip_enrichment=True))
    found = its.store.query("SELECT payload ->> 'url' AS url, status FROM rejects")
    stored = {row["url"] for row in its.in_postgres().values()}
    assert {row["status"] for row in found if row["url"] in stored} == {"replayed"}
