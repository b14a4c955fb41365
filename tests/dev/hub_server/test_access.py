"""Who may do what, what there is, and what is missing."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from dev.hub_server import HubServer, HubStore
from tests.support.hub_clients import DATASET, commit, read, status, url


def test_tokens_say_who_may_write_and_read(api: HfApi, hub: HubServer, store: HubStore, tmp_path: Path) -> None:
    commit(api, {"a.txt": b"a"})
    reader, stranger = HfApi(endpoint=hub.url, token="r-caio"), HfApi(endpoint=hub.url, token=False)
    assert reader.whoami()["name"] == "caio"
    assert reader.whoami()["auth"]["accessToken"]["role"] == "read"
    assert read(reader, "a.txt", tmp_path / "cache") == b"a"
    assert status(lambda: commit(reader, {"b.txt": b"b"})) == 403
    assert status(lambda: reader.create_repo("caio/x", repo_type="dataset")) == 403
    with pytest.raises(HfHubHTTPError, match="pass `create_pr=1`"):
        commit(reader, {"b.txt": b"b"})
    with pytest.raises(RepositoryNotFoundError, match="401"):
        commit(stranger, {"b.txt": b"b"})
    assert httpx.post(f"{hub.url}/api/repos/create", json={"type": "dataset", "name": "x"}).status_code == 401
    with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header") as raised:
        HfApi(endpoint=hub.url, token="none").dataset_info(DATASET)
    assert raised.value.response.status_code == 401
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(endpoint=hub.url, token="none").whoami()


def test_a_private_dataset_is_there_only_for_who_has_a_token(api: HfApi, hub: HubServer) -> None:
    api.create_repo("ana/secret", repo_type="dataset", private=True)
    assert api.dataset_info("ana/secret").private is True
    for missing in ("ana/secret", "ana/none"):
        with pytest.raises(RepositoryNotFoundError):
            HfApi(endpoint=hub.url, token=False).dataset_info(missing)
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info("ana/none")


def test_datasets_are_made_once_and_removed(api: HfApi) -> None:
    assert status(lambda: api.create_repo(DATASET, repo_type="dataset")) == 409
    assert api.create_repo(DATASET, repo_type="dataset", exist_ok=True).repo_id == DATASET
    assert api.create_repo("mine", repo_type="dataset").repo_id == "ana/mine"
    api.delete_repo(DATASET, repo_type="dataset")
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info(DATASET)
    api.delete_repo(DATASET, repo_type="dataset", missing_ok=True)


def test_branches_and_tags_name_commits(api: HfApi, tmp_path: Path) -> None:
    first = commit(api, {"a.txt": b"a"})
    api.create_tag(DATASET, tag="v1", repo_type="dataset")
    api.create_branch(DATASET, branch="try/it", repo_type="dataset")
    operations = [CommitOperationAdd("a.txt", b"b")]
    api.create_commit(DATASET, operations, commit_message="m", repo_type="dataset", revision="try/it")
    refs = api.list_repo_refs(DATASET, repo_type="dataset")
    assert {each.name: each.target_commit for each in refs.branches}["main"] == first
    assert [(each.name, each.ref, each.target_commit) for each in refs.tags] == [("v1", "refs/tags/v1", first)]
    assert read(api, "a.txt", tmp_path / "cache", revision="try/it") == b"b"
    assert read(api, "a.txt", tmp_path / "cache", revision="v1") == b"a"
    assert status(lambda: api.create_tag(DATASET, tag="v1", repo_type="dataset")) == 409
    api.create_branch(DATASET, branch="old", revision=first, repo_type="dataset", exist_ok=True)
    api.delete_branch(DATASET, branch="try/it", repo_type="dataset")
    api.delete_tag(DATASET, tag="v1", repo_type="dataset")
    with pytest.raises(RevisionNotFoundError):
        api.dataset_info(DATASET, revision="v1")


def test_what_is_missing_says_in_which_commit(api: HfApi, hub: HubServer, tmp_path: Path) -> None:
    head = commit(api, {"a.txt": b"a"})
    answer = httpx.head(url(hub, "none.txt"))
    assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert answer.headers["X-Repo-Commit"] == head
    with pytest.raises(EntryNotFoundError):
        read(api, "none.txt", tmp_path / "cache")
    with pytest.raises(RevisionNotFoundError):
        read(api, "a.txt", tmp_path / "cache", revision="none")
