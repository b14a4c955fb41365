"""Articles that have to go, and are held: their rejects are discarded, and the next sync takes their rows out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from data_platform.managers.hub.layout import UNDATED
from data_platform.managers.postgres_manager import PostgresManager
from tests.support.command_line import Ran
from tests.support.hub import Hub, columns, parquet_bytes, published
from tests.support.migrations import Migrations
from tests.support.sources import Row, article, articles
from tests.support.stores import Store
from tests.support.syncs import Jobs, checked, said_by_the_hub

HELD = [
    article(20, unique_id="no date", published_at=None),
    article(21, unique_id="no title", title=None),
    article(23, unique_id=None),
]
RUN = Callable[..., Ran]


@pytest.fixture
def held(hub: Hub, store: Store, make_job: Jobs, tmp_path: Path) -> list[Row]:
    """Rows that are held after a takeover, one of them without an id."""
    rows = [*articles(4), *HELD]
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes(rows)})
    Migrations(store, tmp_path).bring(rows, max_reject_rate=1.0)
    found = [published(row) for row in HELD]
    checked(make_job(), hub, store, held=found)
    return found


def rejects_of(store: Store) -> list[tuple[str | None, str]]:
    found = store.query("SELECT unique_id, status FROM rejects ORDER BY id")
    return [(row["unique_id"], row["status"]) for row in found]


def test_a_held_article_goes_by_its_id(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, held: list[Row]
) -> None:
    gone = news.delete_rows(["no title", "never heard of"], reason="court order 12")
    assert (gone.deleted, gone.unchanged, list(gone.written)) == (1, 1, ["no title"])
    (detail,) = [row["detail"] for row in store.query("SELECT detail FROM rejects WHERE status = 'discarded'")]
    assert detail.endswith("discarded by a deletion: court order 12")
    outcome = checked(make_job(), hub, store, held=[row for row in held if row["unique_id"] != "no title"])
    assert outcome.held == 2
    assert news.delete_rows(["no title"], reason="again").unchanged == 1
    checked(make_job(full=True), hub, store, held=[row for row in held if row["unique_id"] != "no title"])


def test_an_article_in_news_goes_with_its_bad_scrapes(store: Store, news: PostgresManager) -> None:
    """Else one of them could be put right later, and bring back what was taken down."""
    (row,) = articles(1)
    news.insert(columns([row]))
    news.insert(columns([row | {"title": None}]))
    assert rejects_of(store) == [(row["unique_id"], "open")]
    gone = news.delete_rows([row["unique_id"]], reason="court order")
    assert (gone.deleted, gone.unchanged) == (1, 0)
    assert rejects_of(store) == [(row["unique_id"], "discarded")]


def test_the_command_delete_takes_a_held_article_down(
    hub: Hub, store: Store, make_job: Jobs, held: list[Row], run: RUN
) -> None:
    ran = run("delete", "--unique-id", "no date", "--reason", "court order")
    assert (ran.status, ran.result["not_there"]) == (0, [])
    checked(make_job(), hub, store, held=[row for row in held if row["unique_id"] != "no date"])


def test_rejects_are_discarded_by_id_or_number_with_a_reason_that_the_list_shows(
    hub: Hub, store: Store, make_job: Jobs, held: list[Row], run: RUN
) -> None:
    listed = {row["unique_id"]: row["id"] for row in run("rejects", "list").result["rejects"]}
    assert set(listed) == {"no date", "no title", None}
    before = said_by_the_hub(hub)
    ran = run("rejects", "discard", "--unique-id", "no title", "--number", str(listed[None]), "--reason", "  spam\n")
    assert ran.status == 0
    assert [(row["number"], row["unique_id"]) for row in ran.result["discarded"]] == [
        (number, uid) for uid, number in sorted(listed.items(), key=lambda item: item[1]) if uid != "no date"
    ]
    assert rejects_of(store).count(("no date", "open")) == 1
    told = run("rejects", "list").result
    assert [row["unique_id"] for row in told["rejects"]] == ["no date"]
    assert {row["unique_id"] for row in told["discarded"]} == {"no title", None}
    assert all(row["detail"].endswith(": spam") and "discarded by " in row["detail"] for row in told["discarded"])
    assert "discarded by " in run("rejects", "list", json=False).out
    assert said_by_the_hub(hub) == before  # the sync does it
    checked(make_job(), hub, store, held=[row for row in held if row["unique_id"] == "no date"])
    run("rejects", "discard", "--unique-id", "no date", "--reason", "spam too")
    assert checked(make_job(), hub, store).removed == [UNDATED]


def test_what_is_not_open_needs_attention(held: list[Row], run: RUN) -> None:
    ran = run("rejects", "discard", "--unique-id", "nobody", "--number", "999999", "--reason", "x")
    assert (ran.status, ran.result) == (1, {"discarded": [], "not_open": ["nobody", 999999]})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["discard", "--unique-id", "no title"], "--reason says nothing"),
        (["discard", "--unique-id", "no title", "--reason", " "], "--reason says nothing"),
        (["discard", "--reason", "x"], "nothing is named"),
        (["discard", "--unique-id", " ", "--reason", "x"], "nothing is named"),
        (["list", "--unique-id", "no title"], "--unique-id means nothing for list"),
    ],
)
def test_who_discards_says_what_and_why(
    store: Store, held: list[Row], run: RUN, arguments: list[str], told: str
) -> None:
    ran = run("rejects", *arguments)
    assert (ran.status, ran.result["kind"]) == (2, "ConfigurationError")
    assert told in ran.result["error"]
    assert {status for _, status in rejects_of(store)} == {"open"}


def test_the_command_allows_again_what_was_taken_down(
    run: RUN, hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    news.insert(columns(articles(3)))
    checked(make_job(), hub, store)
    gone = str(article(1)["unique_id"])
    why = ("--reason", "court order 12")
    assert run("delete", "--unique-id", gone, *why).status == 0
    assert len(checked(make_job(), hub, store).uploaded) == 1
    ran = run("delete", "--allow-again", "--unique-id", gone, "--unique-id", "never heard of", *why)
    assert (ran.status, ran.result["allowed"], ran.result["not_taken_down"]) == (1, [gone], ["never heard of"])
    assert run("delete", "--allow-again", "--unique-id", gone, *why).status == 1
    assert len(store.published()) == 2, "it comes with whatever brings it next"
