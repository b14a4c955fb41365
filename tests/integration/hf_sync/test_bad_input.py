"""What a sync cannot cope with: it says what and what to do, harms nothing, and the next one catches up."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import httpx
import pyarrow as pa
import pytest

from data_platform.errors import (
    ConfigurationError,
    DataPlatformError,
    IntegrityError,
    StoreError,
    StoreUnavailableError,
)
from data_platform.jobs.hf_sync.records import SyncOptions
from data_platform.jobs.hf_sync.sync_job import HuggingFaceSyncJob
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.hub.session import Backoff, HubSession
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.columns import PUBLISHED_SCHEMA
from data_platform.settings import Settings
from dev.hub_server import Fault
from dev.hub_server.tokens import Token
from tests.support.hub import DATASET, REDUCED, TOKEN, Hub, columns, parquet_bytes
from tests.support.sources import article, articles
from tests.support.stores import Store
from tests.support.syncs import Jobs, checked, position, said_by_the_hub

#: Gives up at once, where it is not the trying again that is looked at.
ONCE = Backoff(tries=2, first_s=0.01, most_s=0.01, total_s=5)


@pytest.fixture
def waiting(hub: Hub, store: Store, news: PostgresManager, make_job: Jobs) -> Hub:
    """A Hub that is in step, with something new in PostgreSQL."""
    news.insert(columns(articles(4)))
    checked(make_job(), hub, store)
    news.insert(columns([article(70), article(71)]))
    store.execute(f"DELETE FROM news WHERE unique_id = '{article(0)['unique_id']}'")
    return hub


def fails(job: HuggingFaceSyncJob, store: Store, kind: type[DataPlatformError], match: str) -> DataPlatformError:
    """See a sync fail, with its position and its marks where they were, and the failure on record."""
    before = position(store)
    with pytest.raises(kind, match=match) as caught:
        job.run()
    assert position(store) == before
    assert caught.value.hint
    return caught.value


def job_with(hub: Hub, store: Store, make_job: Jobs, settings: Settings, **options: Any) -> HuggingFaceSyncJob:
    mode = make_job().mode
    settings = settings.with_database(store.url)
    manager = DatasetManager(settings.hf_dataset, settings=settings, backoff=ONCE)
    return HuggingFaceSyncJob(settings, mode, options=SyncOptions(**options), manager=manager)


# ------------------------------------------------------------------------------------- tokens and datasets


def test_without_a_token_nothing_is_tried(waiting: Hub, store: Store, make_job: Jobs) -> None:
    before, asked = said_by_the_hub(waiting), len(waiting.server.requests)
    error = fails(
        job_with(waiting, store, make_job, replace(waiting.settings, hf_token="")),
        store,
        ConfigurationError,
        "HF_TOKEN",
    )
    assert not error.retryable
    assert said_by_the_hub(waiting) == before
    assert len(waiting.server.requests) == asked
    checked(make_job(), waiting, store)


def test_a_dry_run_needs_no_token(waiting: Hub, store: Store, make_job: Jobs) -> None:
    told = job_with(waiting, store, make_job, replace(waiting.settings, hf_token=""), dry_run=True).run()
    assert told.changed_rows == 2


def test_a_dataset_that_nobody_named_is_not_written(waiting: Hub, store: Store, make_job: Jobs) -> None:
    settings = replace(waiting.settings, hf_dataset=Settings().hf_dataset).with_database(store.url)
    job = HuggingFaceSyncJob(settings, make_job().mode)
    error = fails(job, store, ConfigurationError, "only the default and is not written")
    assert "HF_DATASET" in error.hint


def test_a_token_that_may_only_read_is_refused_by_the_hub(waiting: Hub, store: Store, make_job: Jobs) -> None:
    before = said_by_the_hub(waiting)
    waiting.server.tokens[TOKEN] = Token(role="read")
    error = fails(make_job(), store, StoreError, "403")
    assert "role write" in error.hint
    last = store.query("SELECT operation, status, error_message FROM sync_log ORDER BY id DESC LIMIT 1")[0]
    assert (last["operation"], last["status"]) == ("sync:incremental", "failed")
    assert "403" in last["error_message"]
    assert said_by_the_hub(waiting) == before
    waiting.server.tokens[TOKEN] = Token()
    checked(make_job(), waiting, store)


def test_a_token_that_is_none_is_refused(waiting: Hub, store: Store, make_job: Jobs) -> None:
    job = job_with(waiting, store, make_job, replace(waiting.settings, hf_token="hf_wrong_one"))
    error = fails(job, store, ConfigurationError, "401")
    assert "hf_wrong_one" not in str(error)


@pytest.mark.parametrize(("name", "word"), [(DATASET, "does not exist"), (REDUCED, "HF_REDUCED_DATASET")])
def test_a_dataset_that_is_missing_is_named(waiting: Hub, store: Store, make_job: Jobs, name: str, word: str) -> None:
    main = waiting.head()
    waiting.store.delete(name)
    error = fails(make_job(), store, StoreError, name)
    assert word in str(error)
    if name == REDUCED:
        assert waiting.head() == main  # the reduced one could not follow, so nothing was begun
        waiting.store.create(name)
        checked(make_job(), waiting, store)


@pytest.mark.parametrize("name", [DATASET, DATASET.upper(), f" {DATASET}\n"])
def test_a_reduced_dataset_that_is_the_main_one_is_refused_before_anything_is_written(
    waiting: Hub, store: Store, make_job: Jobs, name: str
) -> None:
    before, asked = said_by_the_hub(waiting), len(waiting.server.requests)
    with pytest.raises(ConfigurationError, match="the main one") as caught:
        job_with(waiting, store, make_job, replace(waiting.settings, hf_reduced_dataset=name)).run()
    assert "HF_REDUCED_DATASET" in caught.value.hint
    assert said_by_the_hub(waiting) == before
    assert len(waiting.server.requests) == asked


def test_a_history_that_is_no_list_is_worth_another_try(
    waiting: Hub, store: Store, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Hub answers 200 with an error inside."""
    real = HubSession.http

    class Odd:
        def __init__(self, client: Any) -> None:
            self.client = client

        def __getattr__(self, name: str) -> Any:
            return getattr(self.client, name)

        def get(self, url: str, **options: Any) -> Any:
            if "/commits/" in url:
                return httpx.Response(200, json={"error": "internal"}, request=httpx.Request("GET", url))
            return self.client.get(url, **options)

    with monkeypatch.context() as patch:
        patch.setattr(HubSession, "http", lambda session: Odd(real(session)))
        job = job_with(waiting, store, make_job, waiting.settings)
        assert fails(job, store, StoreUnavailableError, "reading its history").retryable
    checked(make_job(), waiting, store)


def test_a_main_dataset_that_was_made_anew_is_filled_again(waiting: Hub, store: Store, make_job: Jobs) -> None:
    waiting.store.delete(DATASET)
    waiting.store.create(DATASET)
    assert checked(make_job(), waiting, store).reason == "outside carries no stamp"


# --------------------------------------------------------------------------------------------- rows and files

_ODD = {
    "published_at": [
        ("'12000-01-01Z'", "published_at is 12000"), ("'infinity'", "published_at is infinity"),
        ("'-infinity'", "published_at is -infinity"), ("'0044-03-15 12:00Z BC'", "published_at is 0044-03-15"),
        ("'0001-01-01 12:00Z'", "published_at is 0001-01-01"), ("'9999-12-31 12:00Z'", "published_at is 9999-12-31"),
    ],
    "updated_datetime": [("'12000-01-01Z'", "updated_datetime is 12000"), ("'-infinity'", "updated_datetime is -inf")],
    "extracted_at": [("'1500-01-01Z'", "extracted_at is 1500"), ("'infinity'", "extracted_at is infinity"),
                     ("'2262-04-12Z'", "extracted_at is 2262-04-12")],
}  # fmt: skip


@pytest.mark.parametrize("column", list(_ODD))
def test_a_row_that_the_published_types_cannot_hold_is_named(
    waiting: Hub, store: Store, make_job: Jobs, column: str
) -> None:
    before = said_by_the_hub(waiting)
    for value, told in _ODD[column]:
        store.execute(
            f"UPDATE news SET title = title || '.', {column} = {value} WHERE unique_id = '{article(1)['unique_id']}'"
        )
        for options in ({}, {"full": True, "dry_run": True}, {"overwrite": True})[
            : 3 if (value, told) == _ODD[column][0] else 1
        ]:
            error = fails(make_job(**options), store, IntegrityError, told)
            assert article(1)["unique_id"] in error.message
        assert said_by_the_hub(waiting) == before
    # mended, the next sync takes everything up, from whatever month the row was thought to be of
    store.execute(
        f"UPDATE news SET title = 't', {column} = '2024-05-01Z' WHERE unique_id = '{article(1)['unique_id']}'"
    )
    outcome = checked(make_job(), waiting, store)
    assert outcome.reason == ""
    assert not outcome.notes
    assert make_job().lag().rows == 0


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ("ARRAY['a', NULL, 'b']", r"tags has NULL among its texts; array_remove\(tags, NULL\) takes it out"),
        ("ARRAY[NULL]::text[]", "tags has NULL among its texts"),
        ("ARRAY[['a', 'b'], ['c', NULL]]", "tags has 2 dimensions; write it as one list"),
    ],
)
def test_tags_that_are_no_plain_list_are_named(
    waiting: Hub, store: Store, make_job: Jobs, tags: str, told: str
) -> None:
    """Only SQL by hand makes them. Whatever reads them would fail without saying which row it is."""
    before, uid = said_by_the_hub(waiting), article(2)["unique_id"]
    store.execute(f"UPDATE news SET tags = {tags} WHERE unique_id = '{uid}'")
    for options in ({}, {"months": ("2024-04",)}, {"dry_run": True}):
        error = fails(make_job(**options), store, IntegrityError, f"{uid}: {told}")
        assert "mend them in news" in error.hint
    assert said_by_the_hub(waiting) == before
    store.execute(f"UPDATE news SET tags = ARRAY['a', 'b'] WHERE unique_id = '{uid}'")
    checked(make_job(), waiting, store)


def test_tags_that_are_empty_absent_or_counted_otherwise_are_published(
    waiting: Hub, store: Store, make_job: Jobs
) -> None:
    for number, tags in ((1, "NULL"), (2, "'{}'"), (3, "'[0:1]={a,b}'")):
        store.execute(f"UPDATE news SET tags = {tags} WHERE unique_id = '{article(number)['unique_id']}'")
    checked(make_job(), waiting, store)
    assert make_job().verify().passed


def test_the_last_instants_that_can_be_held_are_published(waiting: Hub, store: Store, make_job: Jobs) -> None:
    for number, (column, value) in enumerate(
        [
            ("published_at", "0001-01-02 12:00Z"), ("published_at", "9999-12-30 12:00Z"),
            ("updated_datetime", "0001-01-02Z"), ("extracted_at", "1677-09-21 00:12:43.145225Z"),
            ("extracted_at", "2262-04-11 23:47:16.854775Z"),
        ]
    ):  # fmt: skip
        uid = [*(article(n)["unique_id"] for n in (1, 2, 3, 70, 71))][number]
        store.execute(f"UPDATE news SET title = 'last', {column} = '{value}' WHERE unique_id = '{uid}'")
    checked(make_job(), waiting, store)
    assert make_job().verify().passed
    assert {"data/train-0001-01.parquet", "data/train-9999-12.parquet"} <= set(waiting.files())


def test_a_first_sync_onto_files_of_other_types_writes_them_anew(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    """Dates as strings make the whole dataset unreadable; who has no stamp yet may not be stopped by that."""
    rows = articles(4)
    strings = PUBLISHED_SCHEMA.set(2, pa.field("published_at", pa.string()))
    there = [row | {"published_at": row["published_at"].isoformat()} for row in rows]
    hub.put({"data/train-2026-01-08-090031.parquet": parquet_bytes(there, schema=strings)})
    news.insert(columns(rows))
    outcome = checked(make_job(), hub, store)
    assert outcome.removed == ["data/train-2026-01-08-090031.parquet"]
    assert outcome.account is not None
    assert (outcome.account.in_postgres, outcome.account.changed) == (4, 0)


def test_a_first_sync_onto_a_month_of_other_types_says_so(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    rows = articles(4)
    strings = PUBLISHED_SCHEMA.set(2, pa.field("published_at", pa.string()))
    there = [row | {"published_at": row["published_at"].isoformat()} for row in rows]
    hub.put({"data/train-2024-03.parquet": parquet_bytes(there, schema=strings)})
    news.insert(columns(rows))
    error = fails(make_job(), store, StoreError, "published_at is string, not timestamp")
    assert "2024-03" in error.message


# ------------------------------------------------------------------------------------------------ a bad Hub


def test_a_hub_without_room_harms_nothing(waiting: Hub, store: Store, make_job: Jobs) -> None:
    before = said_by_the_hub(waiting)
    waiting.server.quota_bytes = 10
    error = fails(make_job(), store, StoreError, "storage limit")
    assert "free storage" in error.hint
    assert said_by_the_hub(waiting) == before
    waiting.server.quota_bytes = None
    checked(make_job(), waiting, store)


def test_a_reduced_dataset_without_room_follows_later(waiting: Hub, store: Store, make_job: Jobs) -> None:
    before = waiting.head(REDUCED)
    repo = waiting.store.repo(REDUCED)
    assert repo is not None
    waiting.store._write(REDUCED, {**repo, "quota_bytes": 10})
    error = fails(make_job(), store, StoreError, "storage limit")
    assert "main dataset has its rows" in error.message
    assert waiting.head(REDUCED) == before
    repo = waiting.store.repo(REDUCED)
    assert repo is not None
    waiting.store._write(REDUCED, {**repo, "quota_bytes": None})
    outcome = checked(make_job(), waiting, store)
    assert outcome.reason == ""  # what it announced, it knows again as its own
    assert not outcome.committed


@pytest.mark.parametrize(
    "request_of",
    [
        "GET /api/datasets/[^/]+/[^/]+$", "GET .*/tree/", "GET .*/commits/", "GET .*/resolve/",
        "POST .*/preupload/", "PUT /lfs/", "POST .*/commit/",
    ],
)  # fmt: skip
def test_a_storm_of_errors_ends_in_one_that_is_worth_another_try(
    waiting: Hub, store: Store, make_job: Jobs, request_of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the client waits for a minute inside an upload
    waiting.server.faults = [Fault(request_of, status=503)]
    error = fails(job_with(waiting, store, make_job, waiting.settings), store, StoreUnavailableError, "503")
    assert error.retryable
    waiting.server.faults = []
    checked(make_job(), waiting, store)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_few_errors_are_borne(waiting: Hub, store: Store, make_job: Jobs, status: int) -> None:
    waiting.server.faults = [Fault("(GET|POST) .*(tree|commits|resolve|commit)/", status=status, times=3)]
    checked(make_job(), waiting, store)


@pytest.mark.parametrize("dataset", [DATASET, REDUCED])
def test_an_answer_that_is_lost_after_the_commit_makes_no_second_one(
    waiting: Hub, store: Store, make_job: Jobs, dataset: str
) -> None:
    commits = len(waiting.commits(dataset))
    waiting.server.faults = [Fault(f"POST /api/datasets/{dataset}/commit/", times=1, after=True, drop=True)]
    outcome = checked(make_job(), waiting, store)
    assert len(waiting.commits(dataset)) == commits + 1
    assert outcome.committed
    assert waiting.server.faults[0].times == 0


def test_a_hub_that_is_silent_after_the_commit_leaves_the_rest_to_the_next_sync(
    waiting: Hub, store: Store, make_job: Jobs
) -> None:
    commits = len(waiting.commits())
    waiting.server.on_commit = lambda _: waiting.server.faults.append(Fault("GET|POST", status=503))
    fails(job_with(waiting, store, make_job, waiting.settings), store, StoreUnavailableError, "503")
    waiting.server.faults, waiting.server.on_commit = [], None
    outcome = checked(make_job(), waiting, store)
    assert outcome.reason == ""
    assert len(waiting.commits()) == commits + 1


def test_a_database_without_the_newest_schema_is_refused(hub: Hub, store: Store, make_job: Jobs) -> None:
    from data_platform.schema import downgrade

    downgrade(store.url, "0002")
    with pytest.raises(StoreError) as caught:
        make_job().run()
    assert "create-schema" in caught.value.hint


def test_a_database_that_does_not_answer_is_worth_another_try(hub: Hub, make_job: Jobs) -> None:
    job = make_job()
    job.settings = replace(job.settings, database_url="postgresql://x:y@127.0.0.1:9/none")
    with pytest.raises(StoreUnavailableError):
        job.run()
