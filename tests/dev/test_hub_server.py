"""The Hub's stand-in, through the real huggingface_hub and datasets clients."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, HfFileSystem, constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from dev.hub_server import Fault, HubServer, HubStore, Token

ROOT = Path(__file__).resolve().parents[2]
SLEEP = time.sleep
DATASET = "ana/news"
TOKENS = {"w-ana": Token("ana"), "w-bia": Token("bia"), "r-caio": Token("caio", "read")}


@pytest.fixture(autouse=True)
def _lfs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("time.sleep", lambda seconds: SLEEP(min(seconds, 0.2)))  # clients wait before another try


@pytest.fixture
def store(tmp_path: Path) -> HubStore:
    return HubStore(tmp_path / "hub")


@pytest.fixture
def hub(store: HubStore) -> Iterator[HubServer]:
    with HubServer(store, tokens=TOKENS) as server:
        HfApi(endpoint=server.url, token="w-ana").create_repo(DATASET, repo_type="dataset")
        server.requests.clear()
        yield server


@pytest.fixture
def api(hub: HubServer) -> HfApi:
    return HfApi(endpoint=hub.url, token="w-ana")


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def parquet(values: list[int]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"n": values, "text": [f"row {value}" for value in values]}), file)
    return file.getvalue()


def commit(
    api: HfApi, add: dict[str, bytes], *, delete: tuple[str, ...] = (), parent: str | None = None, **more: str
) -> str:
    operations = [
        *(CommitOperationAdd(path, content) for path, content in add.items()),
        *(CommitOperationDelete(path) for path in delete),
    ]
    said = {"commit_message": "change", **more}
    oid: str = api.create_commit(DATASET, operations, repo_type="dataset", parent_commit=parent, **said).oid
    return oid


def files(api: HfApi, revision: str = "main") -> list[str]:
    return sorted(api.list_repo_files(DATASET, repo_type="dataset", revision=revision))


def read(api: HfApi, path: str, folder: Path, revision: str = "main") -> bytes:
    found = api.hf_hub_download(DATASET, path, repo_type="dataset", revision=revision, cache_dir=folder)
    return Path(found).read_bytes()


def url(hub: HubServer, path: str) -> str:
    return f"{hub.url}/datasets/{DATASET}/resolve/main/{path}"


def status(call: Callable[[], object]) -> int:
    with pytest.raises(HfHubHTTPError) as raised:
        call()
    assert raised.value.response is not None
    return raised.value.response.status_code


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


@pytest.mark.parametrize("path", ["x.parquet", "x.txt"])
def test_any_range_of_a_file_can_be_read(path: str, api: HfApi, hub: HubServer) -> None:
    content = noise(100_000)
    commit(api, {path: content})

    def get(wanted: str) -> httpx.Response:
        return httpx.get(url(hub, path), headers={"Range": wanted}, follow_redirects=True)

    for wanted, expected in (
        ("bytes=10-19", content[10:20]),
        ("bytes=99990-", content[99990:]),
        ("bytes=-7", content[-7:]),
        ("bytes=99990-200000", content[99990:]),
        ("bytes=-200000", content),
    ):
        assert (get(wanted).status_code, get(wanted).content) == (206, expected)
    assert get("bytes=99990-200000").headers["Content-Range"] == "bytes 99990-99999/100000"
    assert (get("bytes=100000-").status_code, get("bytes=100000-").headers["Content-Range"]) == (416, "bytes */100000")
    assert get("rows=1").content == content

    with HfFileSystem(endpoint=hub.url, token="w-ana").open(f"datasets/{DATASET}/{path}", block_size=1000) as file:
        file.seek(-8, 2)
        assert file.read() == content[-8:]
        file.seek(50_000)
        assert file.read(10) == content[50_000:50_010]


def test_folders_go_up_and_come_down(api: HfApi, tmp_path: Path) -> None:
    commit(api, {"data/old.parquet": parquet([0]), "keep.txt": b"k"})
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "new.parquet").write_bytes(parquet([1]))
    api.upload_folder(
        repo_id=DATASET, repo_type="dataset", folder_path=tmp_path / "up", path_in_repo="data", delete_patterns="*"
    )
    assert len(api.list_repo_commits(DATASET, repo_type="dataset")) == 3
    down = Path(api.snapshot_download(DATASET, repo_type="dataset", local_dir=tmp_path / "down"))
    assert (down / "data" / "new.parquet").read_bytes() == parquet([1])
    assert (down / "keep.txt").read_bytes() == b"k"
    assert not (down / "data" / "old.parquet").exists()


def test_what_is_missing_says_in_which_commit(api: HfApi, hub: HubServer, tmp_path: Path) -> None:
    head = commit(api, {"a.txt": b"a"})
    answer = httpx.head(url(hub, "none.txt"))
    assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert answer.headers["X-Repo-Commit"] == head
    with pytest.raises(EntryNotFoundError):
        read(api, "none.txt", tmp_path / "cache")
    with pytest.raises(RevisionNotFoundError):
        read(api, "a.txt", tmp_path / "cache", revision="none")


def test_large_files_come_in_parts(api: HfApi, hub: HubServer, store: HubStore, tmp_path: Path) -> None:
    hub.multipart_chunk = 100_000
    content = noise(1_050_000)
    hub.faults.append(Fault("PUT .*/parts/3", 503, times=1))
    commit(api, {"x.parquet": content, "y.parquet": noise(1000)})
    assert len({request for request in hub.requests if "/parts/" in request}) == 11
    assert read(api, "x.parquet", tmp_path / "cache") == content
    assert not list(store.blobs.incoming.iterdir())


def test_an_upload_that_is_not_what_it_says_is_refused(hub: HubServer, store: HubStore) -> None:
    announced = hashlib.sha256(b"right").hexdigest()
    assert httpx.put(f"{hub.files_url}/lfs/{announced}", content=b"wrong").status_code == 400
    assert not store.blob(announced).is_file()
    assert not list(store.blobs.incoming.iterdir())
    pieces = iter([b"ri", b"", b"ght"])  # chunked
    assert httpx.put(f"{hub.files_url}/lfs/{announced}", content=pieces).status_code == 200
    assert store.blob(announced).read_bytes() == b"right"


def test_a_full_dataset_is_told_so(api: HfApi, hub: HubServer, store: HubStore) -> None:
    hub.quota_bytes = 15_000
    commit(api, {"x.parquet": noise(10_000)})
    with pytest.raises(HfHubHTTPError, match="storage limit reached") as raised:
        commit(api, {"y.parquet": noise(10_000, seed=2)})
    assert raised.value.response.status_code == 403
    assert hub.requests[-1].endswith("/preupload/main")
    commit(api, {"x.parquet": noise(10_000), "a.txt": b"small files do not count"})
    store.create("ana/roomy", quota_bytes=100_000)
    api.create_commit(
        "ana/roomy", [CommitOperationAdd("y.parquet", noise(20_000))], commit_message="m", repo_type="dataset"
    )
    assert hub.stored_bytes == 30_000 + len(b"small files do not count")


def test_a_planted_answer_strikes_as_often_as_it_says(api: HfApi, hub: HubServer) -> None:
    hub.faults.append(Fault("GET .*/refs", 429, times=2, skip=1, headers={"Retry-After": "7"}))
    hub.faults.append(Fault("GET .*/refs", delay=0.15, times=1))
    assert httpx.get(f"{hub.url}/api/datasets/{DATASET}/refs").elapsed.total_seconds() > 0.14
    statuses = [httpx.get(f"{hub.url}/api/datasets/{DATASET}/refs") for _ in range(3)]
    assert [answer.status_code for answer in statuses] == [429, 429, 200]
    assert statuses[0].headers["Retry-After"] == "7"


def test_uploads_outlast_errors_but_the_commit_does_not(
    api: HfApi, hub: HubServer, caplog: pytest.LogCaptureFixture
) -> None:
    limited = {"RateLimit": '"api";r=0;t=1', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}
    hub.faults += [
        Fault("POST .*/preupload/", 503, times=1),
        Fault("POST .*/batch", 429, times=1, headers=limited),
        Fault("PUT ", 500, times=2),
        Fault("PUT ", times=1, drop=True),
    ]
    commit(api, {"x.parquet": parquet([1])})
    assert "Waiting 2.0s" in caplog.text
    hub.faults += [Fault("/commit/", 409, times=1)]
    before = len(hub.requests)
    assert status(lambda: commit(api, {"y.txt": b"y"})) == 409
    assert [request for request in hub.requests[before:] if "/commit/" in request] == [hub.requests[-1]]


@pytest.mark.parametrize("lost", [{"status": 502}, {"drop": True}])
def test_an_answer_can_be_lost_after_the_commit_was_made(lost: dict[str, int], api: HfApi, hub: HubServer) -> None:
    head = commit(api, {"a.txt": b"a"})
    hub.faults.append(Fault("POST .*/commit/", times=1, after=True, **lost))
    with pytest.raises(httpx.HTTPError):
        commit(api, {"b.txt": b"b"}, parent=head, commit_message="lost")
    newest = api.list_repo_commits(DATASET, repo_type="dataset")[0]
    assert newest.title == "lost"
    assert files(api) == ["a.txt", "b.txt"]


def test_a_body_can_be_cut_short(api: HfApi, hub: HubServer, tmp_path: Path) -> None:
    content = noise(300_000)
    commit(api, {"x.parquet": content})
    hub.faults.append(Fault("GET /blobs/", cut=1000, times=1))
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url(hub, "x.parquet"), follow_redirects=True)
    hub.faults.append(Fault("GET /blobs/", cut=1000, times=1))
    assert read(api, "x.parquet", tmp_path / "cache") == content  # the client asks for the rest


def test_another_server_on_the_folder_goes_on(api: HfApi, hub: HubServer, store: HubStore, tmp_path: Path) -> None:
    head = commit(api, {"x.parquet": parquet([1]), "a.txt": b"a"})
    api.preupload_lfs_files(DATASET, [CommitOperationAdd("y.parquet", parquet([2]))], repo_type="dataset")
    with HubServer(HubStore(store.root), tokens=TOKENS) as other:
        again = HfApi(endpoint=other.url, token="w-ana")
        assert again.dataset_info(DATASET).sha == head
        commit(again, {"y.parquet": parquet([2])}, parent=head)
        assert not [request for request in other.requests if request.startswith("PUT")]
    assert files(api) == ["a.txt", "x.parquet", "y.parquet"]


def test_the_memory_of_the_server_does_not_grow_with_a_file(tmp_path: Path) -> None:
    code = """
        import sys, pathlib
        from dev.hub_server import HubServer, HubStore
        with HubServer(HubStore(pathlib.Path(sys.argv[1]))) as server:
            print(server.url, flush=True)
            for _ in sys.stdin:
                status = pathlib.Path("/proc/self/status").read_text()
                print(status.split("VmHWM:")[1].split()[0], flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "hub")]
    piece, count = noise(1 << 20), 100
    digest = hashlib.sha256(piece * count).hexdigest()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stdin
        assert server.stdout
        endpoint = server.stdout.readline().strip()

        def peak() -> int:
            server.stdin.write("\n")
            server.stdin.flush()
            return int(server.stdout.readline())

        before = peak()
        answer = httpx.put(f"{endpoint}/lfs/{digest}", content=(piece for _ in range(count)), timeout=60)
        with httpx.stream("GET", f"{endpoint}/blobs/{digest}", timeout=60) as sent:
            assert sum(len(part) for part in sent.iter_raw()) == count << 20
        grown = peak() - before
        server.stdin.close()
    assert answer.status_code == 200
    assert grown < 20_000  # KB


DATASETS_PROGRAM = """
    import io, sys
    from pathlib import Path
    import pyarrow as pa, pyarrow.parquet as pq
    from datasets import Dataset, load_dataset
    from huggingface_hub import CommitOperationAdd, HfApi

    def numbers(**options):
        return sorted(row["n"] for row in load_dataset("ana/news", split="train", **options))

    def parquet(values):
        file = io.BytesIO()
        pq.write_table(pa.table({"n": values}), file)
        return file.getvalue()

    def commit(path, values):
        operations = [CommitOperationAdd(path, parquet(values))]
        return HfApi().create_commit("ana/news", operations, commit_message="c", repo_type="dataset").oid

    first = commit("data/train-00000.parquet", [1, 2])
    assert numbers() == [1, 2]
    assert numbers(streaming=True) == [1, 2]
    commit("data/train-00001.parquet", [3])
    assert numbers() == [1, 2, 3]
    assert numbers(streaming=True) == [1, 2, 3]
    assert numbers(revision=first) == [1, 2]
    Dataset.from_dict({"n": [7, 8, 9]}).push_to_hub("ana/pushed", commit_message="pushed", commit_description="d")
    assert load_dataset("ana/pushed", split="train")["n"][:] == [7, 8, 9]
    Dataset.from_dict({"n": [7, 8, 10]}).push_to_hub("ana/pushed")
    assert load_dataset("ana/pushed", split="train")["n"][:] == [7, 8, 10]
    print("done", [commit.title for commit in HfApi().list_repo_commits("ana/pushed", repo_type="dataset")], flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("xet", [False, True])
def test_datasets_reads_streams_follows_and_pushes(xet: bool, hub: HubServer, tmp_path: Path) -> None:
    hub.xet = xet
    environment = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": "w-ana",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "0" if xet else "1",
    }
    command = [sys.executable, "-c", textwrap.dedent(DATASETS_PROGRAM)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.startswith("done"), done.stderr
    assert any("xet-write-token" in request for request in hub.requests) is xet
    assert any(request.startswith("PUT") for request in hub.requests) is not xet


@pytest.fixture
def with_xet(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    hub.xet = True
    return hub


def test_xet_keeps_what_files_share_once(api: HfApi, with_xet: HubServer, store: HubStore, tmp_path: Path) -> None:
    content = noise(2_000_000)
    first = commit(api, {"x.parquet": content, "a.txt": b"a"})
    assert 2_000_000 < with_xet.stored_bytes < 2_010_000
    commit(api, {"x.parquet": b"new head" + content, "y.parquet": content[:1_500_000]}, parent=first)
    assert with_xet.stored_bytes < 2_600_000
    assert not [request for request in with_xet.requests if request.startswith("PUT")]

    with_xet.requests.clear()
    assert read(api, "x.parquet", tmp_path / "cache") == b"new head" + content
    assert read(api, "x.parquet", tmp_path / "cache", revision=first) == content
    assert not [request for request in with_xet.requests if "/blobs/" in request]
    plain = httpx.get(url(with_xet, "x.parquet"), headers={"Range": "bytes=0-9"}, follow_redirects=True)
    assert plain.content == b"new headXX"[:8] + content[:2]
    with HfFileSystem(endpoint=with_xet.url, token="w-ana").open(f"datasets/{DATASET}/y.parquet") as file:
        assert file.read() == content[:1_500_000]


def test_xet_serves_writers_in_several_processes_and_another_server(
    api: HfApi, with_xet: HubServer, store: HubStore, tmp_path: Path
) -> None:
    code = """
        import random, sys
        from huggingface_hub import CommitOperationAdd, HfApi
        url, name = sys.argv[1:]
        content = random.Random(1).randbytes(500_000) + random.Random(name).randbytes(1000)
        operation = CommitOperationAdd(f"{name}.parquet", content)
        api = HfApi(endpoint=url, token="w-ana")
        api.preupload_lfs_files("ana/news", [operation], repo_type="dataset")
        api.create_commit("ana/news", [operation], commit_message="c", repo_type="dataset")
    """
    command = [sys.executable, "-c", textwrap.dedent(code), with_xet.url]
    environment = os.environ | {"HF_HUB_DISABLE_XET": "0"}
    writers = [subprocess.Popen([*command, name], env=environment) for name in ("a", "b", "c")]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert files(api) == ["a.parquet", "b.parquet", "c.parquet"]
    assert with_xet.stored_bytes < 1_000_000
    with HubServer(HubStore(store.root), tokens=TOKENS, xet=True) as other:
        again = HfApi(endpoint=other.url, token="w-ana")
        for name in ("a", "b", "c"):
            assert read(again, f"{name}.parquet", tmp_path / "cache")[:500_000] == noise(500_000)
        commit(again, {"d.parquet": noise(500_000)})
        assert other.stored_bytes < 1_000_000


def test_without_xet_a_client_of_xet_is_told_there_is_none(api: HfApi, with_xet: HubServer) -> None:
    with_xet.xet = False
    with pytest.raises(ConnectionError, match=r"404 Not Found.*xet-write-token"):
        commit(api, {"x.parquet": noise(1000)})
