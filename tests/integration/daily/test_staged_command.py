"""`staged` as a person uses it: what the pipeline staged, written again into a store, removed when it may go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from data_platform.cli import main
from data_platform.jobs.daily.run import run_day
from tests.support.command_line import Ran
from tests.support.daily import SITES, Day

ARTICLES = 3 * len(SITES)
Run = Callable[..., Ran]


@pytest.fixture
def run(its: Day, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The pipeline's day, collected and written to both stores; and the command after it."""
    run_day(its.pipeline(skip_enrichment=True))
    for name, value in its.environment.items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        try:
            status = main(["staged", *arguments, "--json"])
        except SystemExit as error:
            status = int(error.code or 0)
        return Ran(status, *capsys.readouterr())

    return call


def test_a_batch_brings_back_what_a_store_lost_and_twice_is_the_same(its: Day, run: Run) -> None:
    listed = run("list", "--kind", "day")
    (file,) = listed.result["files"]
    assert (listed.status, file["rows"]) == (0, ARTICLES)
    before = its.in_postgres()
    its.store.execute("DELETE FROM news")
    first = run("replay", "--file", file["uri"], "--store", "postgres")
    assert (first.status, first.result["outcome"]["inserted"]) == (0, ARTICLES)
    assert its.in_postgres() == before
    versions = its.store.versions()
    again = run("replay", "--file", file["uri"], "--store", "postgres", "--insert-only")
    assert (again.status, again.result["outcome"]["unchanged"]) == (0, ARTICLES)
    assert its.store.versions() == versions


def test_what_is_young_stays_whatever_both_stores_hold(run: Run) -> None:
    files = len(run("list").result["files"])
    assert files
    pruned = run("prune").result
    assert (pruned["files"], pruned["removed"], pruned["young"]) == (files, 0, files)
    assert len(run("list").result["files"]) == files


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["replay", "--file", "day/2026-02-04/none.parquet", "--store", "postgres"], "no staged file is called"),
        (["replay", "--store", "postgres"], "needs --file and --store"),
        (["replay", "--file", "x", "--store", "postgres", "--dry-run"], "--dry-run is for prune"),
        (["list", "--date", "2026-02-04"], "--date is for one kind"),
        (["prune", "--keep-days", "0"], "at least 1"),
    ],
)
def test_what_cannot_be_done_is_said(run: Run, arguments: list[str], told: str) -> None:
    ran = run(*arguments)
    assert ran.status == 2
    assert told in ran.err
