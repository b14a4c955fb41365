"""The client that most people use, `datasets`, and those that speak Xet."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi, HfFileSystem, constants

from dev.hub_server import HubServer, HubStore
from tests.support.hub_clients import DATASET, TOKENS, commit, files, noise, read, url

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
