"""`sync-hf` as a person or a scheduler runs it: one JSON object, and an exit status that says what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from data_platform.managers.postgres_manager import PostgresManager
from tests.support.command_line import Ran
from tests.support.hub import Hub, columns, parquet_bytes
from tests.support.sources import article, articles
from tests.support.stores import Store
from tests.support.syncs import Jobs, checked, in_step

RUN = Callable[..., Ran]


@pytest.fixture
def run(run: RUN) -> RUN:
    """The command `sync-hf`."""
    return partial(run, "sync-hf")


def test_a_sync_prints_one_object_with_what_it_did(hub: Hub, store: Store, news: PostgresManager, run: RUN) -> None:
    news.insert(columns(articles(5)))
    ran = run("--incremental")
    assert ran.status == 0
    told = ran.result
    wanted = {"kind": "incremental", "dry_run": False, "rows": 5, "held": 0, "marked": 5, "committed": True}
    assert {name: told[name] for name in wanted} == wanted
    assert told["partitions"] == {"data/train-2024-03.parquet": 5}
    assert (told["commit"], told["uploaded"], told["proven"]) == (hub.head(), ["data/train-2024-03.parquet"], 1)
    assert told["account"]["new"] == 5
    assert told["seconds"]["total"] > 0
    in_step(hub, store)
    ran = run("--incremental")
    assert (ran.status, ran.result["partitions"], ran.result["committed"]) == (0, {}, False)


def test_for_a_person_it_says_the_same_in_lines(hub: Hub, store: Store, news: PostgresManager, run: RUN) -> None:
    news.insert(columns(articles(5)))
    ran = run("--full", json=False)
    assert ran.status == 0
    assert "5 rows published, 0 of them held; 1 files proven equal; 5 rows marked" in ran.out
    assert hub.head() in ran.out


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--incremental"], 1),  # refused: rows would go
        (["--incremental", "--dry-run"], 1),  # says so, and somebody should look
        (["--full", "--dry-run"], 1),
        (["--incremental", "--overwrite", "--dry-run"], 1),
        (["--incremental", "--overwrite"], 0),
    ],
)
def test_rows_that_would_go_need_attention(
    hub: Hub, store: Store, news: PostgresManager, run: RUN, arguments: list[str], status: int
) -> None:
    news.insert(columns(articles(2)))
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes([*articles(2), article(60, unique_id="only there")])})
    ran = run(*arguments)
    assert ran.status == status
    if arguments == ["--incremental"]:
        assert ran.result["kind"] == "IntegrityError"
        assert "only there" in ran.result["error"]
        assert ran.result["hint"]
    else:
        assert ran.result["account"]["unexplained_ids"] == ["only there"]


def test_a_verification_that_finds_something_needs_attention(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, run: RUN
) -> None:
    news.insert(columns(articles(3)))
    checked(make_job(), hub, store)
    ran = run("--verify")
    assert (ran.status, ran.result["passed"], ran.result["equal"]) == (0, True, 3)
    hub.put({"data/train-2024-03.parquet": parquet_bytes([*articles(2), article(2, title="X")])})
    ran = run("--verify")
    assert (ran.status, ran.result["passed"], ran.result["different"]) == (1, False, 1)
    assert ran.result["differences"][0]["column"] == "title"
    ran = run("--verify", json=False)
    assert "DIFFERENT" in ran.out
    assert "title: published 'X', PostgreSQL 'Notícia 2" in ran.out


def test_single_months_by_the_command(hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, run: RUN) -> None:
    news.insert(columns([article(1), article(40)]))
    checked(make_job(), hub, store)
    store.execute("UPDATE news SET title = 'x'")
    ran = run("--months", "2024-04")
    assert (ran.status, ran.result["partitions"]) == (0, {"data/train-2024-04.parquet": 1})
    for wrong in (["--months", "2024-4"], ["--months", "abril"]):
        ran = run(*wrong)
        assert (ran.status, ran.result["kind"]) == (2, "ConfigurationError")


@pytest.mark.parametrize(
    "arguments",
    [[], ["--incremental", "--full"], ["--full", "--months", "2024-03"], ["--verify", "--full"], ["--months"]],
)
def test_what_is_asked_for_must_be_clear(hub: Hub, run: RUN, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert hub.server.requests == []


def test_a_hub_that_does_not_answer_is_worth_another_try(
    hub: Hub, store: Store, news: PostgresManager, run: RUN, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda _: None)
    news.insert(columns(articles(2)))
    ran = run("--incremental")
    assert (ran.status, ran.result["retryable"]) == (2, True)
