"""Both stores as they are, the command line, and the copy in sync_log."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from data_platform.cli import main
from data_platform.errors import StoreUnavailableError, TransientError
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.managers.storage_adapter import StorageAdapter
from data_platform.managers.storage_mode import ReadSource
from data_platform.settings import Settings
from tests.support.memory_store import MemoryStore
from tests.support.missed import HF, PG, Both, Faulty, columns, news
from tests.support.sources import article as sample


def test_both_real_stores_end_alike_whatever_each_missed(real: Both) -> None:
    whole = sample(3) | {"agency": "mec"}
    real.insert(whole, news("a1"))
    with real.failing(HF):
        real.insert(news("a2", tags=["x"], url="https://www.gov.br/mec/a2/view"), news("a1"))
    with real.failing(PG, when="after"):
        real.insert(
            news("a3", content="c"),
            news("a1", title="edited", extracted_at=datetime(2026, 11, 9, tzinfo=UTC)),
            allow_update=True,
        )
    with real.failing(PG):
        real.update(unique_id="a1", theme_1_level_1_code="01", summary="s")
    with real.failing(HF, when="after"):
        real.update(unique_id="a2", summary=None, tags=["y", "z"])
    with real.failing(HF, error=KeyboardInterrupt()):
        real.insert(news("a4"), read_from=ReadSource.POSTGRES)
    ids = (whole["unique_id"], "a1", "a2", "a3", "a4")
    assert not real.alike(*ids)
    outcome = real.repair()
    assert outcome.open == 0, outcome.lines()
    assert set(real.rows(PG, *ids)) == set(ids)
    assert real.alike(*ids)
    head = real.huggingface.store.repository.head()  # type: ignore[attr-defined]
    assert real.repair().writes == []
    assert real.huggingface.store.repository.head() == head  # type: ignore[attr-defined]


# -------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def command(
    both: Both, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, dict[str, Any]]]:
    monkeypatch.setenv("STATE_URI", both.ledger.objects.uri)
    monkeypatch.setattr(StorageAdapter, "_make_postgres", lambda _: both.postgres)
    monkeypatch.setattr(StorageAdapter, "_make_dataset", lambda _: both.huggingface)

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        status = main(["reconcile", "--repair", "missed", "--json", *arguments])
        return status, json.loads(capsys.readouterr().out)

    return run


def test_the_command_says_by_its_status_whether_something_is_open(
    both: Both, command: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    status, told = command()
    assert (status, told["missed"], told["known_writes"]) == (0, 0, 0)
    with both.failing(HF):
        both.insert(news("a1"))
    status, told = command("--dry-run")
    assert (status, told["open"], told["inserted"], told["dry_run"]) == (1, 1, 1, True)
    status, told = command()
    assert (status, told["open"], told["inserted"], told["known_writes"]) == (0, 0, 1, 1)
    assert told["writes"][0]["store"] == HF
    with both.failing(PG, HF):
        both.insert(news("a2"))
    status, told = command()
    assert (status, told["open"], told["writes"][0]["nowhere"]) == (1, 2, ["a2"])
    status, told = command("--accept", told["writes"][0]["entry_id"])
    assert (status, told["open"]) == (0, 0)


def test_the_command_that_could_not_run_says_so(both: Both, command: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    with both.failing(HF):
        both.insert(news("a1"))
    both.huggingface.always = lambda: (_ for _ in ()).throw(StoreUnavailableError("it sleeps"))  # type: ignore[assignment, return-value]
    status, told = command()
    assert (status, told["kind"], told["retryable"]) == (2, "StoreUnavailableError", True)


def test_words_for_a_person(both: Both, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_URI", both.ledger.objects.uri)
    monkeypatch.setattr(StorageAdapter, "_make_postgres", lambda _: both.postgres)
    monkeypatch.setattr(StorageAdapter, "_make_dataset", lambda _: both.huggingface)
    assert main(["reconcile", "--repair", "missed"]) == 0
    assert "knows of no write at all" in capsys.readouterr().out
    with both.failing(HF):
        both.insert(news("a1"))
    assert main(["reconcile", "--repair", "missed"]) == 0
    said = capsys.readouterr().out
    assert "huggingface missed insert of 2" in said
    assert "1 articles: 1 inserted; settled" in said
    assert main(["reconcile", "--repair", "missed"]) == 0
    assert "no store misses any of the 1 writes" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------- sync_log


def test_writes_and_repairs_are_copied_into_sync_log(database: str, tmp_path: Path) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DELETE FROM news")
        connection.execute("DELETE FROM sync_log")
    settings = Settings(database_url=database, state_uri=str(tmp_path))
    stores = Both(Faulty(PostgresManager(database)), MemoryStore("the dataset"), RunLedger.of(settings, mirrored=True))
    outcome = stores.adapter().insert_rows(columns(news("a1")))
    assert outcome.not_mirrored == 0
    with stores.failing(HF):
        stores.insert(news("a2"))
    stores.repair()
    with psycopg.connect(database) as connection:
        found = connection.execute(
            "SELECT operation, status, records_processed, records_failed, error_message, metadata->>'entry_id',"
            " completed_at >= started_at FROM sync_log ORDER BY id"
        ).fetchall()
    assert [row[:5] for row in found] == [
        ("write:insert", "completed", 1, 0, None),
        ("write:insert", "failed", 1, 1, "huggingface: it sleeps"),
        ("repair:insert", "completed", 1, 0, None),
    ]
    assert found[0][5] == outcome.entry_id
    assert all(row[6] for row in found)


def test_a_database_that_is_gone_costs_the_copy_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(database_url="postgresql://nobody@127.0.0.1:9/none", state_uri=str(tmp_path))
    stores = Both(MemoryStore("PostgreSQL"), MemoryStore("the dataset"), RunLedger.of(settings, mirrored=True))
    outcome = stores.adapter().insert_rows(columns(news("a1")))
    assert (outcome.inserted, outcome.not_mirrored) == (1, 1)
    assert "sync_log has no copy" in caplog.text
    with pytest.raises(TransientError):
        PostgresManager(settings=settings).get("2024-01-01", "2024-01-01")
