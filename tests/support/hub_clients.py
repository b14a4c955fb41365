"""What tests of the Hub's stand-in ask it by the real client."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
)

from dev.hub_server import HubServer, Token

__all__ = ["DATASET", "ROOT", "TOKENS", "commit", "files", "noise", "parquet", "read", "status", "url"]

ROOT = Path(__file__).resolve().parents[2]
DATASET = "ana/news"
TOKENS = {"w-ana": Token("ana"), "w-bia": Token("bia"), "r-caio": Token("caio", "read")}


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
