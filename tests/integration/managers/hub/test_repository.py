"""Commits through the real client of the Hub: once, from a known parent, whatever happens on the way."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from data_platform.errors import (
    BusyError,
    ConfigurationError,
    DataPlatformError,
    StoreError,
    StoreUnavailableError,
)
from data_platform.managers.hub.repository import CommitNote, HubRepository
from data_platform.managers.hub.session import Backoff, HeadMovedError
from dev.hub_server import Fault, Token
from tests.support.hub import DATASET, QUICK, TOKEN, Hub

PATH = "data/train-2024-03.parquet"
OTHER = "data/train-2024-04.parquet"


@pytest.fixture
def repository(hub: Hub) -> HubRepository:
    return HubRepository(DATASET, hub.settings, backoff=QUICK, timeout_s=5)


def commit(repository: HubRepository, content: bytes, *, parent: str = "", path: str = PATH) -> str:
    return repository.commit(parent or repository.head(), repository.upload({path: content}), title="Change")


# ------------------------------------------------------------------------------------ what is done


class Late:
    """The Hub's own client, shown the head of before for so many looks, as by a copy of the Hub that lags behind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, head: str, looks: int) -> None:
        from huggingface_hub import HfApi

        real = HfApi.dataset_info
        self.left = looks

        def dataset_info(api: HfApi, *given: Any, **options: Any) -> Any:
            found = real(api, *given, **options)
            if self.left:
                self.left -= 1
                found.sha = head
            return found

        monkeypatch.setattr(HfApi, "dataset_info", dataset_info)


def test_a_head_that_is_late_after_our_commit_is_waited_for(
    repository: HubRepository, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = hub.head()
    made = commit(repository, b"new")
    late = Late(monkeypatch, old, 2)
    assert repository.head() == made != old
    assert late.left == 0
    hub.put({OTHER: b"of somebody"})
    assert repository.head() == hub.head() != made


def test_a_head_that_stays_behind_our_commit_is_worth_another_try(
    repository: HubRepository, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless somebody put the dataset back: then the next look takes what is there."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    old = hub.head()
    commit(repository, b"new")
    Late(monkeypatch, old, 1_000)
    with pytest.raises(StoreUnavailableError, match=f"shows {old} as its head"):
        repository.head()
    assert repository.head() == old


def test_a_history_that_is_late_does_not_hide_our_commit(
    repository: HubRepository, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = repository.upload({PATH: b"new"})
    old = repository.head()
    real, looks = repository.history, [0]

    def history(**options: Any) -> list[CommitNote]:
        looks[0] += 1
        return [note for note in real(**options) if looks[0] > 2 or note.commit == old]

    monkeypatch.setattr(repository, "history", history)
    assert repository.commit(old, uploads, title="Change") == hub.head() != old


def test_a_commit_adds_and_deletes_at_once(repository: HubRepository, hub: Hub, tmp_path: Path) -> None:
    hub.put({OTHER: b"old", "notes.txt": b"of somebody"})
    local = tmp_path / "file"
    local.write_bytes(b"large" * 1000)
    uploads = repository.upload({PATH: local, "README.md": b"card"})
    local.unlink()  # not needed any more
    made = repository.commit(hub.head(), uploads, delete=[OTHER], title="First line", description="More words")
    assert made == hub.head()
    assert hub.files() == ["README.md", PATH, "notes.txt"]
    assert hub.content(PATH) == b"large" * 1000
    assert hub.commits()[0]["title"] == "First line"
    assert hub.commits()[0]["message"].startswith("More words\n\ngovbr-write: ")


def test_the_client_draws_no_bars(repository: HubRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the log of a task they look like errors."""
    from huggingface_hub import constants
    from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", None)  # which our own tests set in the environment
    monkeypatch.setitem(enable_progress_bars.__globals__, "HF_HUB_DISABLE_PROGRESS_BARS", None)
    enable_progress_bars()
    assert not are_progress_bars_disabled()
    repository.session.api()
    assert are_progress_bars_disabled()


def test_the_listing_has_sizes_and_what_contents_are_known_by(repository: HubRepository, hub: Hub) -> None:
    hub.server.page_size = 2
    hub.put({f"data/train-{n}.parquet": b"x" * n for n in range(1, 6)} | {"README.md": b"card"})
    files = repository.files(hub.head())
    assert {path: file.size for path, file in files.items()} == {
        **{f"data/train-{n}.parquet": n for n in range(1, 6)},
        "README.md": 4,
    }
    stored = hub.store.files(DATASET, hub.head())
    assert files[PATH.replace("2024-03", "1")].blob == stored["data/train-1.parquet"].sha256
    assert files["README.md"].blob == stored["README.md"].oid


def test_nothing_to_do_makes_no_commit(repository: HubRepository, hub: Hub) -> None:
    head = hub.head()
    assert repository.commit(head, [], title="Nothing") == head
    assert hub.head() == head


def test_nothing_to_do_on_an_old_parent_is_noticed(repository: HubRepository, hub: Hub) -> None:
    """The client answers with the head and posts nothing if all files are there."""
    old = hub.head()
    hub.put({PATH: b"the same"})
    with pytest.raises(HeadMovedError):
        repository.commit(old, [], title="Nothing")
    with pytest.raises(HeadMovedError):
        commit(repository, b"the same", parent=old)
    assert len(hub.commits()) == 2


# ------------------------------------------------------------------------------ who is first, who waits


def test_a_moved_head_is_told_and_nothing_is_written(repository: HubRepository, hub: Hub) -> None:
    old = hub.head()
    hub.put({OTHER: b"of somebody"})
    with pytest.raises(HeadMovedError) as caught:
        commit(repository, b"ours", parent=old)
    assert caught.value.retryable
    assert DATASET in caught.value.message
    assert hub.files() == [OTHER]


def test_of_writers_with_one_parent_one_wins(hub: Hub) -> None:
    parent = hub.head()
    outcomes: list[str] = []

    def write(number: int) -> None:
        repository = HubRepository(DATASET, hub.settings, backoff=QUICK)
        try:
            commit(repository, b"%d" % number, parent=parent)
            outcomes.append("won")
        except HeadMovedError:
            outcomes.append("moved")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["moved"] * 7 + ["won"]


def test_a_locked_repository_is_waited_for(repository: HubRepository, hub: Hub) -> None:
    hub.server.faults.append(Fault("POST .*/commit/", 409, times=2))
    assert commit(repository, b"x") == hub.head()
    hub.server.faults.append(Fault("POST .*/commit/", 409))
    with pytest.raises(BusyError, match="another write"):
        commit(repository, b"y")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("where", ["GET /api/datasets/owner/govbrnews$", "GET .*/tree/", "POST .*/commit/"])
def test_a_hub_that_is_down_for_a_moment_is_asked_again(
    status: int, where: str, repository: HubRepository, hub: Hub
) -> None:
    hub.server.faults.append(Fault(where, status, times=2))
    made = commit(repository, b"x")
    assert repository.files(made)[PATH].size == 1
    assert len(hub.commits()) == 2


def test_what_the_hub_asks_to_wait_is_waited(repository: HubRepository, hub: Hub) -> None:
    hub.server.faults.append(Fault("POST .*/commit/", 429, times=1, headers={"Retry-After": "1"}))
    uploads = repository.upload({PATH: b"x"})
    started = time.monotonic()
    repository.commit(hub.head(), uploads, title="Change")
    assert time.monotonic() - started >= 1


def test_a_wait_beyond_the_limit_is_not_begun(hub: Hub) -> None:
    repository = HubRepository(DATASET, hub.settings, backoff=replace(QUICK, total_s=5))
    hub.server.faults.append(Fault("POST .*/commit/", 429, headers={"Retry-After": "3600"}))
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="429"):
        commit(repository, b"x")
    assert time.monotonic() - started < 5


def test_a_hub_that_stays_down_is_told(repository: HubRepository, hub: Hub) -> None:
    hub.server.faults.append(Fault("/api/datasets", 503))
    with pytest.raises(StoreUnavailableError, match="503") as caught:
        repository.head()
    assert DATASET in caught.value.message


# --------------------------------------------------------------------------------------- lost answers


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST .*/commit/", 503, times=1, after=True),
        Fault("POST .*/commit/", 504, times=3, after=True),
        Fault("POST .*/commit/", times=1, after=True, drop=True),
        Fault("POST .*/commit/", times=1, after=True, delay=3),
        Fault("POST .*/commit/", 412, times=1, after=True),
        Fault("POST .*/commit/", 409, times=1, after=True),
    ],
    ids=["503", "504 thrice", "connection lost", "too late", "412 about itself", "409 about itself"],
)
def test_a_commit_whose_answer_was_lost_is_recognised(fault: Fault, hub: Hub) -> None:
    repository = HubRepository(DATASET, hub.settings, backoff=QUICK, timeout_s=1)
    hub.server.faults.append(replace(fault))
    made = commit(repository, b"x")
    assert made == hub.head()
    assert len(hub.commits()) == 2  # the empty first one, and ours, once


def test_a_lost_answer_is_told_from_somebody_elses_commit(hub: Hub) -> None:
    repository = HubRepository(DATASET, hub.settings, backoff=QUICK)
    uploads = repository.upload({PATH: b"x"})
    old = hub.head()
    hub.server.faults.append(Fault("POST .*/commit/", times=1, drop=True))
    hub.put({OTHER: b"of somebody"})
    with pytest.raises(HeadMovedError):
        repository.commit(old, uploads, title="Change")
    assert hub.files() == [OTHER]


def test_our_commit_is_found_below_later_ones(hub: Hub) -> None:
    """The answer is lost, and before we look somebody else has committed."""
    repository = HubRepository(DATASET, hub.settings, backoff=QUICK)
    uploads = repository.upload({PATH: b"x"})
    old = hub.head()
    hub.server.faults += [Fault("POST .*/commit/", 503, times=1, after=True, delay=0.5)]
    other = threading.Timer(0.3, lambda: hub.put({OTHER: b"of somebody"}))
    other.start()
    made = repository.commit(old, uploads, title="Change")
    other.join()
    assert [commit["title"] for commit in hub.commits()] == ["Change files", "Change", "initial commit"]
    assert hub.store.info(DATASET, made)["title"] == "Change"


# --------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("dataset", "token", "kind", "told"),
    [
        (DATASET, "", ConfigurationError, "HF_TOKEN is not set"),
        (DATASET, "hf_expired_token", ConfigurationError, "HF_TOKEN has no access"),
        (DATASET, "hf_read_only", StoreError, "role write"),
        ("owner/misspelt", TOKEN, StoreError, "does not exist or is private"),
    ],
)
def test_who_may_not_write_is_told_why(
    dataset: str, token: str, kind: type[DataPlatformError], told: str, hub: Hub
) -> None:
    hub.server.tokens = {**hub.server.tokens, "hf_read_only": Token("reader", "read")}
    repository = HubRepository(dataset, replace(hub.settings, hf_token=token), backoff=QUICK)
    with pytest.raises(kind) as caught:
        repository.commit(hub.head(), repository.upload({PATH: b"x"}), title="Change")
    assert told in str(caught.value)
    assert dataset in caught.value.message
    assert not caught.value.retryable
    assert not token or token not in str(caught.value)
    assert hub.files() == []


def test_a_full_quota_is_told(repository: HubRepository, hub: Hub) -> None:
    hub.server.quota_bytes = 100
    with pytest.raises(StoreError, match=r"no room left.*storage limit") as caught:
        commit(repository, b"x" * 200)
    assert "raise the plan" in caught.value.hint


@pytest.mark.parametrize("status", [402, 413, 507])
def test_statuses_that_mean_no_room_are_not_tried_again(status: int, repository: HubRepository, hub: Hub) -> None:
    hub.server.faults.append(Fault("POST .*/commit/", status))
    with pytest.raises(StoreError, match="no room"):
        commit(repository, b"x")
    assert len([request for request in hub.server.requests if "/commit/" in request]) == 1


def test_a_gated_or_private_dataset_is_told_to_strangers(hub: Hub) -> None:
    hub.store.create("owner/private", private=True)
    stranger = HubRepository("owner/private", replace(hub.settings, hf_token=""), backoff=QUICK)
    with pytest.raises(StoreError, match=r"does not exist or is private.*HF_TOKEN is not set"):
        stranger.head()


def test_who_is_no_hub_is_told(repository: HubRepository, hub: Hub) -> None:
    hub.server.faults.append(Fault("GET /api/datasets", 200))
    with pytest.raises(StoreError, match="HF_ENDPOINT"):
        repository.head()


def test_nobody_there_is_worth_another_try(hub: Hub) -> None:
    nobody = HubRepository(DATASET, replace(hub.settings, hf_endpoint="http://127.0.0.1:9"), backoff=QUICK)
    with pytest.raises(StoreUnavailableError, match="no answer"):
        nobody.head()


def test_an_upload_that_is_interrupted_is_tried_again(repository: HubRepository, hub: Hub) -> None:
    hub.server.faults.append(Fault("PUT /lfs/", 503, times=1))
    assert commit(repository, b"x" * 5000) == hub.head()
    assert hub.content(PATH) == b"x" * 5000


def test_errors_of_other_origin_pass_through(network_blocked_error: type[RuntimeError], hub: Hub) -> None:
    with pytest.raises(network_blocked_error):
        HubRepository(DATASET, replace(hub.settings, hf_endpoint="http://192.0.2.1")).head()


def test_backing_off_doubles_up_to_a_most_and_ends() -> None:
    tried: list[float] = []

    def fail() -> None:
        tried.append(time.monotonic())
        raise BusyError("busy")

    with pytest.raises(BusyError):
        Backoff(tries=4, first_s=0.05, most_s=0.1, total_s=10).run(fail, on=(BusyError,))
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    assert len(pauses) == 3
    assert all(least <= pause < 0.25 for least, pause in zip([0.025, 0.05, 0.05], pauses, strict=True))
