"""The commands over both stores: what they say by their exit status, and in which mode they write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from data_platform.cli import main
from data_platform.models.columns import COLUMN_NAMES
from tests.support.hub import columns
from tests.support.sources import article
from tests.support.two_stores import ID, TwoStores, frame, mode

Run = Callable[..., tuple[int, Any]]


def test_the_command_compares_repairs_and_says_so_in_its_exit_status(both: TwoStores, run: Run) -> None:
    status, found = run("reconcile", "--full")
    wanted = {"source_rows", "target_rows", "equal", "explained", "only_in_source", "only_in_target", "different"}
    wanted |= {"differences", "per_column_nulls", "metrics", "seconds"}
    assert status == 0
    assert wanted <= found.keys()
    assert set(found["per_column_nulls"]) == set(COLUMN_NAMES)
    both.store.execute(f"UPDATE news SET title = 'novo' WHERE unique_id = '{ID[0]}'")
    status, found = run("reconcile")
    assert (status, found["different"], found["differences"][0]["target"]) == (1, 1, "novo")
    status, done = run("reconcile", "--repair", "from-postgres", "--dry-run")
    assert (status, done["updated"], done["after"]) == (1, 1, None)
    status, done = run("reconcile", "--repair", "from-postgres")
    assert (status, done["updated"], done["after"]["equal"]) == (0, 1, 40)
    assert both.on_hub()[ID[0]]["title"] == "novo"
    assert run("reconcile", "--allow-delete")[0] == 2
    assert run("reconcile", "--repair", "missed", "--full")[0] == 2
    assert run("reconcile", "--repair", "missed")[0] == 0


def test_the_command_deletes_with_a_reason(both: TwoStores, run: Run) -> None:
    status, told = run("delete", "--unique-id", ID[0], "--reason", "decisão judicial")
    assert (status, told["not_there"], told["outcomes"]["huggingface"]["deleted"]) == (0, [], 1)
    assert ID[0] not in both.in_postgres()
    assert both.compare().equal == 39
    assert run("delete", "--unique-id", ID[0], "--reason", "de novo")[0] == 1
    assert run("delete", "--unique-id", ID[1], "--reason", " ")[0] == 2
    assert ID[1] in both.in_postgres()


# ------------------------------------------------------------------------------------------ the mode has to be said


def test_a_repair_on_a_shell_that_knows_no_mode_writes_nothing(
    both: TwoStores, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Variable says huggingface since a rollback; the shell does not know it."""
    monkeypatch.delenv("STORAGE_BACKEND")
    with both.adapter(mode("huggingface")) as adapter:
        adapter.update_rows(frame({"unique_id": ID[0], "summary": "newer, only on the Hub"}))
    before = both.hub.head()
    for more in ((), ("--dry-run",)):
        status, told = run("reconcile", "--repair", "from-postgres", *more)
        assert (status, told["kind"]) == (2, "ConfigurationError")
        assert "STORAGE_BACKEND=" in told["hint"]
        assert "--assume-mode" in told["hint"]
    status, told = run("reconcile", "--repair", "from-postgres", "--assume-mode", "huggingface")
    assert (status, "behind by design" in told["error"]) == (2, True)
    assert both.hub.head() == before
    assert run("reconcile")[0] == 1  # who only looks, or goes by the ledger, needs no mode
    assert run("reconcile", "--repair", "missed")[0] == 0
    assert run("reconcile", "--repair", "from-huggingface", "--assume-mode", "dual_write")[0] == 0
    assert both.in_postgres()[ID[0]]["summary"] == "newer, only on the Hub"


def test_a_deletion_on_a_shell_that_knows_no_mode_deletes_nothing(
    both: TwoStores, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of the dataset alone it would be published again by the next sync."""
    monkeypatch.delenv("STORAGE_BACKEND")
    delete = ("delete", "--unique-id", ID[0], "--reason", "decisão judicial")
    status, told = run(*delete)
    assert (status, told["kind"], "--assume-mode" in told["hint"]) == (2, "ConfigurationError", True)
    assert ID[0] in both.on_hub()
    assert ID[0] in both.in_postgres()
    assert run(*delete, "--assume-mode", "postgres")[0] == 0
    assert ID[0] not in both.in_postgres()
    assert ID[0] in both.on_hub()


def test_no_mode_is_assumed_against_the_way_back(both: TwoStores, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_BACKEND", "huggingface")
    delete = ("delete", "--unique-id", ID[0], "--reason", "decisão judicial")
    status, told = run(*delete, "--assume-mode", "dual_write")
    assert (status, "does not hold" in told["error"]) == (2, True)
    assert ID[0] in both.on_hub()
    assert run(*delete)[0] == 0  # said in the environment
    assert (ID[0] in both.on_hub(), ID[0] in both.in_postgres()) == (False, True)


def test_a_deletion_says_which_store_it_did_not_look_into(
    both: TwoStores, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What only the dataset has is not in PostgreSQL, and a repair would bring it there."""
    uid = article(60)["unique_id"]
    both.dataset().insert(columns([article(60)]))
    monkeypatch.setenv("STORAGE_BACKEND", "postgres")
    assert main(["delete", "--unique-id", uid, "--reason", "decisão judicial"]) == 1
    assert f"{uid} was not in postgres; nobody looked into the other store" in capsys.readouterr().out
    status, told = run("delete", "--unique-id", uid, "--reason", "decisão judicial", "--assume-mode", "dual_write")
    assert (status, told["not_there"]) == (0, [])
    assert uid not in both.on_hub()
