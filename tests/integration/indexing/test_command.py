"""`reindex` as a person or a scheduler runs it: one JSON object, and an exit status that says what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from data_platform.cli import main
from data_platform.managers.postgres_manager import PostgresManager
from dev.typesense_server import FailingDocument
from tests.support.command_line import Ran
from tests.support.hub import columns
from tests.support.search import KEY, Search
from tests.support.sources import article, articles

RUN = Callable[..., Ran]


@pytest.fixture
def run(search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RUN:
    values = {
        "DATABASE_URL": search.store.url,
        "STATE_URI": str(tmp_path / "state"),
        "TYPESENSE_HOST": "127.0.0.1",
        "TYPESENSE_PORT": str(search.server.port),
        "TYPESENSE_API_KEY": KEY,
        "STORAGE_BACKEND": "postgres",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str, json: bool = True) -> Ran:
        capsys.readouterr()
        try:
            status = main(["reindex", *arguments, *(["--json"] if json else [])])
        except SystemExit as error:
            status = int(error.code or 0)
        return Ran(status, *capsys.readouterr())

    return call


def test_full_then_incremental(search: Search, news: PostgresManager, run: RUN) -> None:
    news.insert(columns(articles(5)))
    ran = run("typesense", "--full")
    assert ran.status == 0
    wanted = {"kind": "full", "source": "postgres", "written": 5, "documents": 5, "failed": {}, "data_as_of": ""}
    assert {name: ran.result[name] for name in wanted} == wanted
    assert ran.result["collection"] == search.live()
    assert ran.result["peak_rss_mb"] > 0
    news.insert(columns([article(9)]))
    ran = run("typesense", "--incremental", json=False)
    assert ran.status == 0
    assert "1 rows read, 1 documents written, 0 deleted" in ran.out
    assert search.documents() == search.wanted()


def test_a_refused_document_needs_attention(search: Search, news: PostgresManager, run: RUN) -> None:
    news.insert(columns(articles(5)))
    run("typesense", "--full")
    bad = article(9)
    news.insert(columns([bad]))
    search.server.store.failing[bad["unique_id"]] = FailingDocument(400, "no")
    ran = run("typesense", "--incremental")
    assert ran.status == 1
    assert bad["unique_id"] in ran.result["error"]
    ran = run("typesense", "--incremental", "--max-failed", "1")
    assert (ran.status, ran.result["failed"]) == (1, {bad["unique_id"]: "400: no"})


def test_a_dry_run_of_a_rebuild(search: Search, news: PostgresManager, run: RUN) -> None:
    news.insert(columns(articles(5)))
    ran = run("typesense", "--full", "--dry-run")
    assert (ran.status, ran.result["rows"], ran.result["dry_run"]) == (0, 5, True)
    assert search.server.store.collections == {}


def test_in_mode_huggingface_it_says_how_old_the_rows_are(
    search: Search, news: PostgresManager, run: RUN, monkeypatch: pytest.MonkeyPatch
) -> None:
    news.insert(columns(articles(2)))
    run("typesense", "--full")
    monkeypatch.setenv("STORAGE_BACKEND", "huggingface")
    ran = run("typesense", "--incremental")
    assert ran.result["data_as_of"] == search.store.value("SELECT max(updated_at) FROM news").isoformat(
        timespec="seconds"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["typesense", "--incremental"], "see no collection"),
        (["typesense", "--rollback"], "no older collection is kept"),
        (["typesense", "--incremental", "--from", "huggingface"], "belongs to a full run"),
        (["typesense", "--incremental", "--replace-collection"], "belongs to a full run"),
        (["typesense", "--full", "--max-failed", "-1"], "max_failed"),
    ],
)
def test_what_cannot_run_says_so(run: RUN, arguments: list[str], words: str) -> None:
    ran = run(*arguments)
    assert ran.status == 2
    assert words in ran.result["error"]


def test_without_an_address_nothing_is_asked(run: RUN, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TYPESENSE_HOST")
    ran = run("typesense", "--full")
    assert (ran.status, ran.result["error"]) == (2, "no Typesense is set")
