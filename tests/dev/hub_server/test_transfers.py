"""Ranges, folders, large files, faults that strike, and memory."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, HfFileSystem
from huggingface_hub.errors import (
    HfHubHTTPError,
)

from dev.hub_server import Fault, HubServer, HubStore
from tests.support.hub_clients import DATASET, ROOT, TOKENS, commit, files, noise, parquet, read, status, url


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
