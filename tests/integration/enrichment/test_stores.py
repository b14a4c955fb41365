"""Enrichment of real stores: picked from them, written by their own update, recorded beside them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from data_platform.jobs.enrichment.cells import Cells, Mark
from data_platform.jobs.enrichment.codes import ThemeCodes
from data_platform.jobs.enrichment.cogfy import CogfyEnricher
from data_platform.jobs.enrichment.cogfy_client import CogfyClient
from data_platform.jobs.enrichment.embedded import EmbeddedEnricher
from data_platform.jobs.enrichment.interface import Enrichment
from data_platform.jobs.enrichment.job import EnrichmentJob
from data_platform.jobs.enrichment.provenance import Provenance
from data_platform.jobs.enrichment.records import Window
from data_platform.jobs.master_data import populate_themes
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.managers.storage_mode import ReadSource
from data_platform.models.themes import ThemeTree
from data_platform.schema import downgrade, upgrade
from data_platform.settings import Settings
from dev.cogfy_server import Answer
from tests.support.enrichment import DAY, QUICK, TREE, Cogfy, row
from tests.support.hub import Hub, columns
from tests.support.stores import Store

POSTGRES = [ReadSource.POSTGRES]
WINDOW = Window(first=date(2026, 2, 10), last=date(2026, 2, 10), late_days=2)
COUNT = "SELECT count(*) FROM news_enrichment"
MARKS = """
SELECT unique_id, theme_approximate, summary_approximate, approximate, run_date FROM news_enrichment ORDER BY 1
"""


def article(uid: str, **cells: Any) -> dict[str, Any]:
    return row(uid, agency="mre", title=f"Esportes {uid}", **cells)


def real(there: Cogfy, tree: ThemeTree) -> CogfyEnricher:
    client = CogfyClient(there.settings, backoff=QUICK)
    return CogfyEnricher(client, ThemeCodes(tree), collection_name=there.settings.cogfy_collection_name)


@pytest.fixture
def settings(store: Store, tmp_path: Path) -> Settings:
    with store.connect() as connection:
        populate_themes(connection, TREE.by_code.values())
    return Settings(database_url=store.url, state_uri=str(tmp_path / "state"))


def test_approximate_values_in_postgresql_are_replaced_by_real_ones_and_wake_the_feed_only_when_they_change(
    store: Store, settings: Settings, there: Cogfy
) -> None:
    manager = PostgresManager(settings=settings)
    given = [article("a"), article("b", summary="Já há um resumo."), article("c", published_at=DAY - timedelta(days=9))]
    manager.insert(columns(given))
    codes = ThemeCodes(TREE)
    provenance = Provenance(RunLedger(settings.state_uri), database_url=store.url, run_date=WINDOW.first)

    rough = EnrichmentJob(EmbeddedEnricher(codes), manager, codes, provenance=provenance)
    outcome = rough.run(WINDOW)
    assert [done.updated for done in rough.write_late(outcome, manager, settings, POSTGRES)] == [1, 1]
    assert store.published()["a"]["theme_1_level_1"] == "09 - Esportes e Lazer"
    assert store.derived()["a"]["theme_form"] == "codes", "by ids of the themes, not beside them"
    assert store.published()["c"]["summary"] is None, "outside the window"
    assert [tuple(one.values()) for one in store.query(MARKS)] == [
        ("a", True, True, True, WINDOW.first),
        ("b", True, None, True, WINDOW.first),
    ]

    there.answers["b"] = Answer(level_1="02 - Educação", level_2="02.03 - x", level_3="nada", summary="Outro.")
    job = EnrichmentJob(real(there, TREE), manager, codes, provenance=provenance, sleep=lambda _: None)
    outcome = job.run(WINDOW, deadline_s=5, poll_s=0.01)
    assert sorted(there.uploaded()) == ["a", "b"]
    assert sum(done.updated for done in job.write_late(outcome, manager, settings, POSTGRES)) == 2
    now = store.published()
    assert (now["a"]["most_specific_theme_code"], now["a"]["summary"]) == ("01.01.02", "O governo publicou um resumo.")
    assert (now["b"]["most_specific_theme_code"], now["b"]["summary"]) == ("02.03", "Já há um resumo.")
    assert [tuple(one.values()) for one in store.query(MARKS)] == [
        ("a", False, False, False, WINDOW.first),
        ("b", False, None, False, WINDOW.first),
    ]

    versions = store.versions()
    again = job.run(WINDOW)
    assert (again.account.picked, again.frames()) == (0, [])
    assert store.versions() == versions, "a second run touches no row"
    manager.close()


def test_the_table_is_not_needed_to_know_what_is_approximate_and_neither_is_the_ledger(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """What was enriched in mode huggingface is known after the migration, and the other way round."""
    codes = ThemeCodes(TREE)
    manager = PostgresManager(settings=settings)
    manager.insert(columns([article("a")]))
    both = Provenance(RunLedger(settings.state_uri), database_url=store.url)
    job = EnrichmentJob(EmbeddedEnricher(codes), manager, codes, provenance=both)
    job.write_late(job.run(WINDOW), manager, settings, POSTGRES)
    only_table = Provenance(RunLedger(str(tmp_path / "another")), database_url=store.url)
    only_ledger = Provenance(RunLedger(settings.state_uri))
    for known in (both, only_table, only_ledger):
        assert known.marks(["a", "z"], since=WINDOW.begin)["a"].theme
        assert "z" not in known.marks(["a", "z"], since=WINDOW.begin)
    manager.close()


def test_a_summary_that_is_recorded_later_leaves_what_is_known_of_the_theme(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    def cells(part: str, *, approximate: bool) -> Cells:
        said = Enrichment(unique_id="a", enricher="x", version="1", approximate=approximate)
        return Cells(enrichment=said, parts=frozenset({part}))

    for number, (part, approximate) in enumerate([("theme", True), ("summary", False)]):
        with Provenance(RunLedger(str(tmp_path / str(number))), database_url=store.url).recorded(
            [cells(part, approximate=approximate)]
        ):
            pass
    known = Provenance(RunLedger(str(tmp_path / "none")), database_url=store.url).marks(["a"], since=WINDOW.begin)
    assert known == {"a": Mark(theme=True, summary=False)}


def test_a_day_of_the_dataset_is_enriched_without_postgresql(hub: Hub, there: Cogfy, tmp_path: Path) -> None:
    tree_file = tmp_path / "themes.yaml"
    tree_file.write_text("\n".join(f'"{t.full_name}": {{}}' for t in TREE.by_code.values() if t.level == 1))
    settings = replace(hub.settings, themes_source=str(tree_file))
    manager = DatasetManager(settings.hf_dataset, settings=settings, cache="")
    manager.insert(columns([article("a"), article("b")]))
    commits = len(hub.commits())
    codes = ThemeCodes(TREE)
    provenance = Provenance(RunLedger(settings.state_uri), run_date=WINDOW.first)
    job = EnrichmentJob(real(there, TREE), manager, codes, provenance=provenance, sleep=lambda _: None)
    outcome = job.run(WINDOW, deadline_s=5, poll_s=0.01)
    done = job.write_late(outcome, manager, settings, [ReadSource.HUGGINGFACE])
    assert [one.updated for one in done] == [2]
    assert len(hub.commits()) == commits + 1, "themes and summaries of a day are one commit"
    for one in hub.all_rows():
        assert one["theme_1_level_1"] == "01 - Economia e Finanças"
        assert one["theme_1_level_3_code"] == "01.01.02"
        assert one["summary"]
    entry = provenance.ledger.newest("enrichment", run_date=WINDOW.first)
    assert entry is not None
    assert (entry.operation, sorted(entry.ids.here), entry.facts["enricher"]) == ("theme+summary", ["a", "b"], "cogfy")


def test_the_table_comes_and_goes_and_leaves_the_news_alone(store: Store, settings: Settings) -> None:
    manager = PostgresManager(settings=settings)
    manager.insert(columns([article("a")]))
    manager.close()
    before = store.versions()
    downgrade(store.url, "0003")
    upgrade(store.url)
    assert store.value(COUNT) == 0
    assert store.versions() == before
