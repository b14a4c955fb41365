"""The real client of the Hub against a stand-in on loopback: what is read, what is pinned, how it fails."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from data_platform.errors import SourceError, SourceUnavailableError
from data_platform.models.columns import PUBLISHED_SCHEMA, REQUIRED_COLUMNS
from data_platform.settings import Settings
from data_platform.sources.dataset import Source, SourceSnapshot, open_source, reopen
from dev.hub_server import Fault, HubServer, HubStore

DATASET = "owner/govbrnews"
TOKEN = "hf_of_somebody"
FIRST = "data/train-00000-of-00001.parquet"
LATER = "data/train-2026-01-08-090031.parquet"
START = datetime(2025, 3, 1, 3, tzinfo=UTC)


def parquet(titles: list[str]) -> bytes:
    """Return a file with a row for each title."""
    columns = {name: titles for name in REQUIRED_COLUMNS if name != "published_at"}
    columns["published_at"] = [START + timedelta(days=i) for i in range(len(titles))]  # type: ignore[assignment]
    nulls = {f.name: pa.nulls(len(titles), f.type) for f in PUBLISHED_SCHEMA}
    buffer = io.BytesIO()
    pq.write_table(pa.table({**nulls, **columns}, schema=PUBLISHED_SCHEMA), buffer)
    return buffer.getvalue()


def titles(source: Source) -> list[str]:
    """Return all titles of a source."""
    return [
        title
        for file in source.snapshot.files
        for group in range(len(file.row_groups))
        for found in source.batches(file.path, row_group=group, columns=["title"])
        for title in found.batch.column("title").to_pylist()
    ]


def use_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client keep its files there, as on another machine."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))


@pytest.fixture
def store(tmp_path: Path) -> HubStore:
    store = HubStore(tmp_path / "hub")
    store.create(DATASET)
    store.commit(DATASET, {FIRST: parquet(["a", "b"]), "README.md": b"---\n---\n", "years/2024_news_dataset.csv": b"x"})
    return store


@pytest.fixture
def hub(store: HubStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    use_cache(tmp_path / "cache", monkeypatch)
    with HubServer(store, tokens=[TOKEN]) as server:
        yield server


@pytest.fixture
def anonymous(hub: HubServer) -> Settings:
    return Settings(hf_endpoint=hub.url)


# --------------------------------------------------------------------------------- reading and pinning


@pytest.mark.parametrize("source", [DATASET, f"hf://{DATASET}", f"hf://datasets/{DATASET}"])
def test_a_dataset_is_read_at_the_commit_of_its_head(
    source: str, hub: HubServer, store: HubStore, anonymous: Settings
) -> None:
    head = store.commit(DATASET, {LATER: parquet(["c"])})
    opened = open_source(source, settings=anonymous)
    snapshot = opened.snapshot
    assert (snapshot.source, snapshot.kind, snapshot.location, snapshot.revision) == (source, "hub", DATASET, head)
    assert [(file.path, file.rows) for file in snapshot.files] == [(FIRST, 2), (LATER, 1)]
    assert titles(opened) == ["a", "b", "c"]
    downloads = [request for request in hub.requests if "/resolve/" in request]
    assert len(downloads) == 2  # nothing but the data, each file once
    assert all(f"/resolve/{head}/" in request for request in downloads)


def test_a_planned_commit_is_read_after_the_head_has_moved(
    store: HubStore, anonymous: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = open_source(DATASET, settings=anonymous).snapshot
    store.commit(DATASET, {LATER: parquet(["changed"])}, delete=[FIRST])
    use_cache(tmp_path / "another machine", monkeypatch)
    assert titles(reopen(SourceSnapshot.from_dict(planned.to_dict()), settings=anonymous)) == ["a", "b"]
    assert titles(open_source(DATASET, settings=anonymous)) == ["changed"]
    assert titles(open_source(DATASET, settings=anonymous, revision=planned.revision)) == ["a", "b"]


def test_a_worker_fetches_only_what_it_reads_and_only_once(
    hub: HubServer, store: HubStore, anonymous: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit(DATASET, {LATER: parquet(["c"])})
    planned = open_source(DATASET, settings=anonymous).snapshot
    use_cache(tmp_path / "another machine", monkeypatch)
    hub.requests.clear()
    source = reopen(planned, settings=anonymous)
    assert hub.requests == []
    for _ in range(2):
        assert next(source.batches(LATER, row_group=0)).batch.column("title").to_pylist() == ["c"]
    assert len([request for request in hub.requests if request.startswith("GET")]) == 1
    assert not any(FIRST in request for request in hub.requests)


def test_what_is_in_the_cache_is_read_while_the_hub_is_down(anonymous: Settings, hub: HubServer) -> None:
    planned = open_source(DATASET, settings=anonymous).snapshot
    hub.faults.append(Fault("", 503))
    assert titles(reopen(planned, settings=anonymous)) == ["a", "b"]


def test_a_damaged_copy_in_the_cache_is_named(anonymous: Settings, tmp_path: Path) -> None:
    planned = open_source(DATASET, settings=anonymous).snapshot
    (copy,) = (tmp_path / "cache").glob(f"**/snapshots/*/{FIRST}")
    other = parquet(["a", "x"])
    copy.resolve().write_bytes(other)
    with pytest.raises(SourceError, match="not the file that was planned") as caught:
        titles(reopen(planned, settings=anonymous))
    assert str(copy) in caught.value.hint


def test_problems_of_files_on_the_hub_are_told_by_their_paths_there(store: HubStore, anonymous: Settings) -> None:
    store.commit(DATASET, {LATER: b"not parquet"})
    with pytest.raises(SourceError, match=r"data/train-2026-01-08-090031\.parquet is cut off"):
        open_source(DATASET, settings=anonymous)


def test_a_dataset_without_parquet_files_is_refused(store: HubStore, anonymous: Settings) -> None:
    store.commit(DATASET, {}, delete=[FIRST])
    with pytest.raises(SourceError, match=r"has no data/train\*\.parquet"):
        open_source(DATASET, settings=anonymous)


# ---------------------------------------------------------------------------------- access and failures


def test_token_and_endpoint_come_from_the_settings_alone(
    store: HubStore, anonymous: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("owner/private", private=True)
    store.commit("owner/private", {FIRST: parquet(["p"])})
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    elsewhere = "http://127.0.0.1:9"  # what the client makes of HF_ENDPOINT when it is imported
    monkeypatch.setattr(constants, "ENDPOINT", elsewhere)
    template = f"{elsewhere}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.raises(SourceError, match="HF_TOKEN is not set"):
        open_source("owner/private", settings=anonymous)
    assert titles(open_source("owner/private", settings=replace(anonymous, hf_token=TOKEN))) == ["p"]


@pytest.mark.parametrize(
    ("dataset", "token", "revision", "told"),
    [
        ("owner/misspelt", "", "", "check its name; HF_TOKEN is not set"),
        ("owner/misspelt", TOKEN, "", "does not exist or is private"),
        (DATASET, "hf_expired", "", "or is no longer valid"),
        (DATASET, "", "v1.0", "revision 'v1.0' of dataset"),
        (DATASET, "", "f" * 40, "does not exist"),
        ("owner/gated", "", "", "has restricted access"),
        ("own er/x", "", "", "check the id"),
    ],
)
def test_what_may_not_be_read_or_does_not_exist_is_refused(
    dataset: str, token: str, revision: str, told: str, store: HubStore, anonymous: Settings
) -> None:
    store.create("owner/gated", gated=True)
    store.commit("owner/gated", {FIRST: parquet(["g"])})
    with pytest.raises(SourceError) as caught:
        open_source(dataset, settings=replace(anonymous, hf_token=token), revision=revision)
    assert told in str(caught.value)
    assert dataset in caught.value.message


def test_a_file_that_the_commit_does_not_have_is_refused(anonymous: Settings) -> None:
    planned = open_source(DATASET, settings=anonymous).snapshot
    absent = replace(planned, files=(replace(planned.files[0], path=LATER),))
    with pytest.raises(SourceError, match=r"090031\.parquet at commit .* does not exist"):
        titles(reopen(absent, settings=anonymous))


@pytest.mark.parametrize(
    ("pattern", "status", "kind"),
    [
        ("GET /api", 429, SourceUnavailableError),
        ("GET /api", 500, SourceUnavailableError),
        ("GET /api", 503, SourceUnavailableError),
        ("GET /api", 400, SourceError),
        ("GET /api", 401, SourceError),
        ("GET /api", 403, SourceError),
        ("GET /api", 404, SourceError),
        ("GET /api", 200, SourceError),  # of nothing: whoever this is, it is no Hub
        ("HEAD /datasets", 401, SourceError),
        ("HEAD /datasets", 403, SourceError),
        ("HEAD /datasets", 404, SourceError),
        ("HEAD /datasets", 200, SourceError),
        ("GET /blobs", 403, SourceError),
        ("GET /blobs", 404, SourceError),
        ("GET /blobs", 500, SourceUnavailableError),
        ("GET /blobs", 503, SourceUnavailableError),
    ],
)
def test_whether_another_try_can_help_follows_from_the_answer(
    pattern: str, status: int, kind: type[Exception], hub: HubServer, anonymous: Settings
) -> None:
    hub.faults.append(Fault(pattern, status))
    with pytest.raises((SourceError, SourceUnavailableError)) as caught:
        open_source(DATASET, settings=anonymous)
    assert caught.type is kind
    assert DATASET in caught.value.message
    assert caught.value.hint
    hub.faults.clear()
    assert titles(open_source(DATASET, settings=anonymous)) == ["a", "b"]


def test_nobody_there_is_worth_another_try(store: HubStore) -> None:
    with HubServer(store) as server:
        settings = Settings(hf_endpoint=server.url)
    with pytest.raises(SourceUnavailableError, match="no answer"):
        open_source(DATASET, settings=settings)


def test_offline_by_setting_is_said_so(anonymous: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match="HF_HUB_OFFLINE"):
        open_source(DATASET, settings=anonymous)


def test_a_cache_that_cannot_be_written_is_this_machines_fault(
    anonymous: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    use_cache(tmp_path / "file/cache", monkeypatch)
    with pytest.raises(SourceError, match="HF_HOME"):
        open_source(DATASET, settings=anonymous)


def test_errors_of_other_origin_pass_through(network_blocked_error: type[RuntimeError]) -> None:
    with pytest.raises(network_blocked_error):
        open_source(DATASET, settings=Settings(hf_endpoint="http://192.0.2.1"))
