"""Who may write the dataset: in no mode but `postgres` does a sync act, and nobody overwrites the source by a slip."""

from __future__ import annotations

from contextlib import nullcontext

import pandas as pd
import pytest

from data_platform.cli import main
from data_platform.errors import ConfigurationError
from data_platform.jobs.hf_sync.records import OtherModeError, reason_to_skip
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.ledger.run_ledger import SYNC, RunLedger
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode, resolve_storage_mode
from tests.support.command_line import Ran
from tests.support.hub import DATASET, QUICK, TOKEN, Hub, columns
from tests.support.sources import articles
from tests.support.stores import Store
from tests.support.syncs import Jobs, at_failpoint, checked, on_the_hub, position, said_by_the_hub, update

OTHER_MODES = [
    (StorageBackend.HUGGINGFACE, ReadSource.HUGGINGFACE),
    (StorageBackend.DUAL_WRITE, ReadSource.HUGGINGFACE),
    (StorageBackend.DUAL_WRITE, ReadSource.POSTGRES),
]


def mode_of(backend: StorageBackend, read_from: ReadSource) -> StorageMode:
    return StorageMode(backend=backend, read_from=read_from, backend_source="the test", read_source="the test")


@pytest.fixture
def source(hub: Hub, store: Store, news: PostgresManager) -> Hub:
    """A Hub that is the source: PostgreSQL lags behind."""
    DatasetManager(DATASET, settings=hub.settings, backoff=QUICK).insert(columns(articles(6)))
    news.insert(columns(articles(3)))
    return hub


@pytest.mark.parametrize(("backend", "read_from"), OTHER_MODES)
def test_a_job_does_nothing_in_another_mode(
    source: Hub, store: Store, make_job: Jobs, backend: StorageBackend, read_from: ReadSource
) -> None:
    before, asked = (said_by_the_hub(source), position(store)), len(source.server.requests)
    for options in ({}, {"full": True}, {"months": ("2024-03",)}, {"dry_run": True}, {"overwrite": True}):
        job = make_job(mode=mode_of(backend, read_from), **options)
        for act in (job.run, job.run_full_sync, job.run_incremental_sync, job.verify):
            with pytest.raises(
                ConfigurationError, match=rf"no sync: storage_backend is {backend} \(the test\)"
            ) as told:
                act()
            assert "STORAGE_BACKEND=postgres" in told.value.hint
    assert len(source.server.requests) == asked
    assert (said_by_the_hub(source), position(store)) == before


@pytest.mark.parametrize("point", ["before it", "sync.after_window", "hub.on_commit"])
def test_a_rollback_while_a_sync_is_at_work_keeps_what_the_pipeline_writes_from_then_on(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """The pipeline writes the dataset alone from then on: what PostgreSQL has is older."""
    rows = articles(3)
    news.insert(columns(rows))
    checked(make_job(), hub, store)
    update(news, {"unique_id": rows[0]["unique_id"], "title": "Later"})
    modes = [mode_of(StorageBackend.POSTGRES, ReadSource.POSTGRES)]
    before = position(store)

    def roll_back(_: str = "") -> None:
        hub.server.on_commit = None
        modes[:] = [mode_of(StorageBackend.HUGGINGFACE, ReadSource.HUGGINGFACE)]
        summary = pd.DataFrame([{"unique_id": rows[1]["unique_id"], "summary": "of the pipeline"}])
        assert DatasetManager(DATASET, settings=hub.settings, backoff=QUICK).update(summary) == 1

    job = make_job(mode_now=lambda: modes[0])
    if point == "before it":
        roll_back()
    elif point == "hub.on_commit":
        hub.server.on_commit = roll_back  # after the last look at the mode; but the head is another one then
    meanwhile = at_failpoint(monkeypatch, point, roll_back) if point.startswith("sync.") else nullcontext()
    refusal = pytest.raises(OtherModeError, match="no sync: storage_backend is huggingface")
    with meanwhile, refusal as caught:
        job.run()
    assert not caught.value.retryable
    found = {row["unique_id"]: row for row in on_the_hub(hub)}
    assert found[rows[1]["unique_id"]]["summary"] == "of the pipeline"
    assert found[rows[0]["unique_id"]]["title"] == rows[0]["title"]
    assert position(store) == before
    assert len(list(RunLedger(hub.settings.state_uri).entries(SYNC))) == 1, "it neither failed nor did anything"


def test_only_in_mode_postgres_there_is_no_reason_to_skip() -> None:
    assert reason_to_skip(mode_of(StorageBackend.POSTGRES, ReadSource.POSTGRES)) is None
    for backend, read_from in OTHER_MODES:
        assert "must not be overwritten" in (reason_to_skip(mode_of(backend, read_from)) or "")
    assert reason_to_skip(resolve_storage_mode(environment={})) is not None  # nothing is set


@pytest.mark.parametrize(
    ("arguments", "environment", "status"),
    [
        ([], {}, 2),
        ([], {"STORAGE_BACKEND": "huggingface"}, 2),
        ([], {"STORAGE_BACKEND": "dual_write"}, 2),
        (["--assume-mode", "postgres"], {"STORAGE_BACKEND": "huggingface"}, 2),
        (["--assume-mode", "postgres", "--overwrite"], {"STORAGE_BACKEND": " huggingface\n"}, 2),
        (["--assume-mode", "dual_write"], {}, 2),
        (["--assume-mode", "postgres"], {"STORAGE_BACKEND": "dual_write"}, 0),
        ([], {"STORAGE_BACKEND": "postgres"}, 0),
    ],
)
def test_the_command_acts_in_mode_postgres_only(
    hub: Hub, store: Store, news: PostgresManager, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], environment: dict[str, str], status: int,
) -> None:  # fmt: skip
    news.insert(columns(articles(3)))
    before = said_by_the_hub(hub), position(store)
    values = {"HF_ENDPOINT": hub.server.url, "HF_TOKEN": TOKEN, "HF_DATASET": DATASET, "DATABASE_URL": store.url}
    for name, value in (values | {"STATE_URI": hub.settings.state_uri} | environment).items():
        monkeypatch.setenv(name, value)
    try:
        ended = main(["sync-hf", "--incremental", "--json", *arguments])
    except SystemExit as error:
        ended = int(error.code or 0)
    ran = Ran(ended, *capsys.readouterr())
    assert ran.status == status, ran
    assert ((said_by_the_hub(hub), position(store)) == before) == (status == 2)
    if status == 2 and "dual_write" not in arguments:
        assert ran.result["kind"] == "OtherModeError"
        assert "must not be overwritten" in ran.result["error"]


def test_back_in_another_mode_the_position_stays_and_later_counts_again(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    news.insert(columns(articles(3)))
    checked(make_job(), hub, store)
    before = position(store)
    with pytest.raises(ConfigurationError):
        make_job(mode=mode_of(StorageBackend.DUAL_WRITE, ReadSource.POSTGRES)).run()
    assert position(store) == before
    both = columns(articles(3, first=50))
    news.insert(both)
    DatasetManager(DATASET, settings=hub.settings, backoff=QUICK).insert(both)
    outcome = checked(make_job(), hub, store)
    assert (outcome.committed, outcome.uploaded) == (False, [])  # what both wrote are the same bytes
