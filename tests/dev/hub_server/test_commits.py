"""Commits: what they change, in which order, and what they are refused for; by the real huggingface_hub."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
)

from dev.hub_server import HubServer, HubStore
from tests.support.hub_clients import DATASET, commit, files, parquet, read, status


def test_one_commit_adds_large_and_small_files_and_deletes_others(api: HfApi, hub: HubServer, tmp_path: Path) -> None:
    first = commit(api, {"old/a.txt": b"a", "old/b.txt": b"b", "c.txt": b"c"})
    big = parquet([1, 2, 3])
    second = commit(api, {"data/x.parquet": big, "README.md": b"# News\n"}, delete=("old/", "c.txt"), parent=first)

    assert files(api) == ["README.md", "data/x.parquet"]
    assert files(api, first) == ["c.txt", "old/a.txt", "old/b.txt"]
    assert read(api, "data/x.parquet", tmp_path / "cache") == big
    assert read(api, "README.md", tmp_path / "cache") == b"# News\n"
    assert api.dataset_info(DATASET).sha == second
    assert [request for request in hub.requests if request.startswith("PUT")] == [
        f"PUT /lfs/{hashlib.sha256(big).hexdigest()}"
    ]


def test_what_a_commit_says_comes_back_newest_first(api: HfApi) -> None:
    commit(api, {"a.txt": b"a"}, commit_message="Add a", commit_description="Because.\n\nmark: 1")
    HfApi(endpoint=api.endpoint, token="w-bia").create_commit(
        DATASET, [CommitOperationAdd("b.txt", b"b")], commit_message="Add b", repo_type="dataset"
    )
    commits = api.list_repo_commits(DATASET, repo_type="dataset")
    assert [(each.title, each.message, each.authors) for each in commits] == [
        ("Add b", "", ["bia"]),
        ("Add a", "Because.\n\nmark: 1", ["ana"]),
        ("initial commit", "", ["ana"]),
    ]
    assert commits[0].created_at >= commits[1].created_at


def test_lists_come_in_pages(api: HfApi, hub: HubServer) -> None:
    hub.page_size = 3
    commit(api, {f"d{each}/f {each}%.txt": b"x" for each in range(5)})
    for each in range(4):
        commit(api, {"n.txt": b"%d" % each})
    hub.requests.clear()
    assert files(api) == [*(f"d{each}/f {each}%.txt" for each in range(5)), "n.txt"]
    assert hub.requests.count(f"GET /api/datasets/{DATASET}/tree/main") == 4  # 5 folders and 6 files
    assert len(api.list_repo_commits(DATASET, repo_type="dataset")) == 6


def test_trees_and_paths_tell_sizes_digests_and_last_commits(api: HfApi) -> None:
    big = parquet([1])
    first = commit(api, {"data/x.parquet": big, "a.txt": b"a"}, commit_message="first")
    commit(api, {"a.txt": b"b"}, commit_message="second")
    listed = {each.path: each for each in api.list_repo_tree(DATASET, repo_type="dataset", expand=True)}
    assert sorted(listed) == ["a.txt", "data"]
    assert [listed[path].last_commit.title for path in ("a.txt", "data")] == ["second", "first"]

    found, folder = api.get_paths_info(DATASET, ["data/x.parquet", "data", "none"], repo_type="dataset", expand=True)
    assert (found.size, found.lfs.sha256, found.last_commit.oid) == (len(big), hashlib.sha256(big).hexdigest(), first)
    assert folder.path == "data"
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(DATASET, "none", repo_type="dataset"))

    siblings = {each.rfilename: each for each in api.dataset_info(DATASET, files_metadata=True).siblings}
    assert siblings["data/x.parquet"].lfs.sha256 == hashlib.sha256(big).hexdigest()
    assert siblings["a.txt"].size == 1
    assert siblings["a.txt"].blob_id == hashlib.sha1(b"blob 1\0b", usedforsecurity=False).hexdigest()
    assert api.dataset_info(DATASET, revision=first).siblings[0].size is None  # told only if asked for


def test_what_is_the_same_makes_no_commit(api: HfApi, hub: HubServer) -> None:
    content = {"data/x.parquet": parquet([1]), "a.txt": b"a"}
    first = commit(api, content)
    hub.requests.clear()
    assert commit(api, content) == first
    assert not [request for request in hub.requests if request.startswith("PUT") or "/commit/" in request]

    commit(api, {**content, "a.txt": b"b", "copy.parquet": content["data/x.parquet"]})
    assert not [request for request in hub.requests if request.startswith("PUT")]  # its content is there


def test_a_commit_with_nothing_new_is_made_if_it_is_posted(api: HfApi, hub: HubServer) -> None:
    commit(api, {"a.txt": b"a"})
    before = api.dataset_info(DATASET).sha
    answer = post_commit(hub, {"key": "file", "value": {"path": "a.txt", "content": "YQ==", "encoding": "base64"}})
    assert answer.status_code == 200
    assert answer.json()["commitOid"] == api.dataset_info(DATASET).sha != before


def post_commit(hub: HubServer, *lines: dict[str, object]) -> httpx.Response:
    body = "".join(json.dumps(line) + "\n" for line in ({"key": "header", "value": {"summary": "by hand"}}, *lines))
    headers = {"Authorization": "Bearer w-ana"}
    return httpx.post(f"{hub.url}/api/datasets/{DATASET}/commit/main", content=body, headers=headers)


def test_a_parent_that_is_not_the_head_is_refused(api: HfApi) -> None:
    first = commit(api, {"a.txt": b"a"})
    second = commit(api, {"b.txt": b"b"}, parent=first)
    with pytest.raises(HfHubHTTPError, match="The branch was updated since you opened this page") as raised:
        commit(api, {"c.txt": b"c"}, parent=first)
    assert raised.value.response.status_code == 412
    assert api.dataset_info(DATASET).sha == second
    commit(api, {"c.txt": b"c"}, parent=second)


def test_of_eight_writers_with_one_parent_one_wins(api: HfApi, hub: HubServer) -> None:
    parent = commit(api, {"a.txt": b"a"})
    outcomes: list[object] = []

    def write(number: int) -> None:
        try:
            outcomes.append(commit(api, {f"{number}.parquet": parquet([number])}, parent=parent))
        except HfHubHTTPError as error:
            outcomes.append(error.response.status_code)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(412) == 7
    assert api.dataset_info(DATASET).sha in outcomes
    assert len(files(api)) == 2


def test_writers_without_a_parent_all_get_through_one_after_the_other(api: HfApi, hub: HubServer) -> None:
    code = """
        import sys
        from huggingface_hub import CommitOperationAdd, HfApi
        url, name = sys.argv[1:]
        for each in range(5):
            HfApi(endpoint=url, token="w-ana").create_commit(
                "ana/news", [CommitOperationAdd(f"{name}-{each}.txt", b"x")], commit_message="c", repo_type="dataset"
            )
    """
    command = [sys.executable, "-c", textwrap.dedent(code), hub.url]
    writers = [subprocess.Popen([*command, name]) for name in ("a", "b", "c")]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(files(api)) == 15
    assert len(api.list_repo_commits(DATASET, repo_type="dataset")) == 16


def test_a_commit_that_cannot_be_whole_changes_nothing(api: HfApi, hub: HubServer) -> None:
    head = commit(api, {"a.txt": b"a"})
    with pytest.raises(EntryNotFoundError, match="A file with this name doesn't exist"):
        commit(api, {"b.txt": b"b"}, delete=("none.txt",))
    with pytest.raises(EntryNotFoundError):
        commit(api, {"b.txt": b"b"}, delete=("none/",))
    pointer = {"path": "x.parquet", "algo": "sha256", "oid": "0" * 64, "size": 3}
    answer = post_commit(hub, {"key": "lfsFile", "value": pointer}, {"key": "deletedFile", "value": {"path": "a.txt"}})
    assert answer.status_code == 400
    assert "LFS pointer" in answer.json()["error"]
    assert post_commit(hub, {"key": "file", "value": {"path": "a"}}).status_code == 400
    assert (api.dataset_info(DATASET).sha, files(api)) == (head, ["a.txt"])


def test_the_head_can_be_moved_just_before_a_commit(api: HfApi, hub: HubServer, store: HubStore) -> None:
    head = commit(api, {"a.txt": b"a"})

    def move(dataset: str) -> None:
        hub.on_commit = None
        store.commit(dataset, {"other.txt": b"o"}, title="in between", description="d", author="zoe")

    hub.on_commit = move
    assert status(lambda: commit(api, {"b.txt": b"b"}, parent=head)) == 412
    newest = api.list_repo_commits(DATASET, repo_type="dataset")[0]
    assert (newest.title, newest.message, newest.authors) == ("in between", "d", ["zoe"])
