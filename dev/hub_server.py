"""A stand-in for the HuggingFace Hub on loopback: datasets on disk, immutable commits, the read endpoints.

Speaks what the real huggingface_hub client asks when it describes a dataset and downloads from it. A commit
is a list of (path, blob) and never changes; blobs are kept by their digest; a branch is a name for a commit.
Large files are served as the real Hub does it: `resolve` redirects to another origin (here `localhost`
instead of `127.0.0.1`), without which the client would follow the redirect itself and lose the commit.

    store = HubStore(folder)
    store.create("owner/name")
    store.commit("owner/name", {"data/train-00000-of-00001.parquet": some_bytes})
    with HubServer(store) as server:
        HfApi(endpoint=server.url).dataset_info("owner/name")
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

__all__ = ["Fault", "HubServer", "HubStore"]

_MAIN = "main"
_LFS_SUFFIXES = (".parquet",)
_CHUNK = 1 << 20
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_INFO = re.compile(r"/api/datasets/(?P<id>[^/]+/[^/]+?)(?:/revision/(?P<rev>[^/]+))?")
_RESOLVE = re.compile(r"/datasets/(?P<id>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)")
_BLOB = re.compile(r"/blobs/(?P<sha256>[0-9a-f]{64})")


class HubStore:
    """Datasets under one folder: `blobs/<sha256>`, and per dataset `repo.json` and `commits/<sha>.json`.

    Args:
        root: the folder; made if it is not there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        (root / "blobs").mkdir(parents=True, exist_ok=True)

    def create(self, dataset: str, *, private: bool = False, gated: bool = False) -> None:
        """Make an empty dataset, with one empty commit on the branch `main`."""
        (self._folder(dataset) / "commits").mkdir(parents=True)
        self._write(dataset, {"private": private, "gated": gated, "refs": {}})
        self.commit(dataset, {}, message="initial commit")

    def commit(
        self, dataset: str, add: Mapping[str, bytes | Path], *, delete: Iterable[str] = (), message: str = "update"
    ) -> str:
        """Add and delete files in one commit on `main` and return its id."""
        with self._lock:
            repo = self.repo(dataset) or {"refs": {}}
            parent = repo["refs"].get(_MAIN)
            files = dict(self.files(dataset, parent)) if parent else {}
            for path in delete:
                del files[path]
            for path, content in add.items():
                files[path] = self._keep(content if isinstance(content, bytes) else content.read_bytes())
            commit = {"parent": parent, "message": message, "date": datetime.now(UTC).isoformat(), "files": files}
            text = json.dumps(commit, sort_keys=True)
            sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            self._commit(dataset, sha).write_text(text)
            self._write(dataset, {**repo, "refs": {**repo["refs"], _MAIN: sha}})
        return sha

    def repo(self, dataset: str) -> dict[str, Any] | None:
        """Return what is known of a dataset: private, gated, refs; None if there is none."""
        path = self._folder(dataset) / "repo.json"
        found: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
        return found

    def resolve(self, dataset: str, revision: str) -> str | None:
        """Return the commit that a branch, tag or commit id names."""
        sha: str = (self.repo(dataset) or {"refs": {}})["refs"].get(revision, revision)
        known = re.fullmatch("[0-9a-f]{40}", sha) and self._commit(dataset, sha).is_file()
        return sha if known else None

    def files(self, dataset: str, sha: str) -> dict[str, dict[str, Any]]:
        """Return path -> {size, sha256, oid} of a commit; `oid` is git's id of the blob."""
        found: dict[str, dict[str, Any]] = json.loads(self._commit(dataset, sha).read_text())["files"]
        return found

    def blob(self, sha256: str) -> Path:
        """Return where a blob is kept."""
        return self._root / "blobs" / sha256

    def _keep(self, content: bytes) -> dict[str, Any]:
        sha256 = hashlib.sha256(content).hexdigest()
        self.blob(sha256).write_bytes(content)
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        return {"size": len(content), "sha256": sha256, "oid": oid}

    def _folder(self, dataset: str) -> Path:
        return self._root / "datasets" / dataset

    def _commit(self, dataset: str, sha: str) -> Path:
        return self._folder(dataset) / "commits" / f"{sha}.json"

    def _write(self, dataset: str, repo: Mapping[str, Any]) -> None:
        path = self._folder(dataset) / "repo.json"
        path.with_suffix(".new").write_text(json.dumps(repo))
        path.with_suffix(".new").replace(path)


@dataclass
class Fault:
    """An answer to give instead of the right one.

    Attributes:
        pattern: regular expression searched in "METHOD /path".
        status: HTTP status.
        times: how often; then requests are answered as they should be.
    """

    pattern: str
    status: int
    times: int = 1_000_000


class HubServer:
    """Serves a store on 127.0.0.1 while it is used as a context manager.

    Args:
        store: the datasets.
        tokens: tokens that are valid; each may read everything.
        port: 0 for a free one.

    Attributes:
        requests: "METHOD /path" of each request, in order.
        faults: faults to play; change it at any time.
    """

    def __init__(self, store: HubStore, *, tokens: Iterable[str] = (), port: int = 0) -> None:
        self.store = store
        self.tokens = frozenset(tokens)
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"hub": self}))
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def files_url(self) -> str:
        """The other origin, from which large files come."""
        return f"http://localhost:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Answer(Exception):  # noqa: N818 -- ends the handling of a request, from any depth
    def __init__(self, status: int, headers: Mapping[str, str] | None = None, body: Iterable[bytes] = ()) -> None:
        super().__init__(status)
        self.status = int(status)
        self.headers = {"Content-Length": "0", **(headers or {})}
        self.body = body


def _json(value: object) -> _Answer:
    body = json.dumps(value).encode()
    return _Answer(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}, [body])


def _refusal(status: int, message: str, code: str = "") -> _Answer:
    return _Answer(status, {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {}))


def _pieces(path: Path, first: int, stop: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(first)
        while first < stop:
            piece = file.read(min(_CHUNK, stop - first))
            first += len(piece)
            yield piece


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def log_message(self, *_: object) -> None:
        """Keep quiet: `HubServer.requests` has it."""

    def _handle(self) -> None:
        path = urlsplit(self.path).path
        request = f"{self.command} {unquote(path)}"
        self.hub.requests.append(request)
        try:
            for fault in self.hub.faults:
                if fault.times and re.search(fault.pattern, request):
                    fault.times -= 1
                    raise _refusal(fault.status, "planted by a test")
            self._route(path)
        except _Answer as answer:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            for piece in answer.body if self.command == "GET" else ():
                self.wfile.write(piece)

    def _route(self, path: str) -> None:
        if found := _BLOB.fullmatch(path):
            self._send_file(self.hub.store.blob(found["sha256"]), f'"{found["sha256"]}"', {})
        elif found := _RESOLVE.fullmatch(path):
            self._resolve(found["id"], unquote(found["rev"]), unquote(found["path"]))
        elif found := _INFO.fullmatch(path):
            raise _json(self._info(found["id"], unquote(found["rev"] or _MAIN)))
        raise _refusal(404, "no such address")

    def _commit(self, dataset: str, revision: str) -> tuple[str, dict[str, dict[str, Any]]]:
        """Return (commit id, files), or answer that there is none or no access."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.tokens:
            raise _refusal(401, "Invalid credentials in Authorization header")
        repo = self.hub.store.repo(dataset)
        if repo is None or (repo["private"] and not token):
            # As the real one: who is not known learns nothing about what exists.
            if not token:
                raise _refusal(401, "Invalid username or password.")
            raise _refusal(404, "Repository not found", "RepoNotFound")
        if repo["gated"] and not token and "/resolve/" in self.path:
            raise _refusal(401, "Access to this dataset is restricted.", "GatedRepo")
        sha = self.hub.store.resolve(dataset, revision)
        if sha is None:
            raise _refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha, self.hub.store.files(dataset, sha)

    def _info(self, dataset: str, revision: str) -> dict[str, Any]:
        sha, files = self._commit(dataset, revision)
        siblings = [{"rfilename": path, "size": file["size"]} for path, file in sorted(files.items())]
        return {"id": dataset, "sha": sha, "siblings": siblings}

    def _resolve(self, dataset: str, revision: str, path: str) -> None:
        sha, files = self._commit(dataset, revision)
        if path not in files:
            raise _Answer(404, {"X-Repo-Commit": sha, "X-Error-Code": "EntryNotFound"})
        file = files[path]
        headers = {"X-Repo-Commit": sha}
        if not path.endswith(_LFS_SUFFIXES):
            self._send_file(self.hub.store.blob(file["sha256"]), f'"{file["oid"]}"', headers)
        etag = f'"{file["sha256"]}"'
        headers |= {"X-Linked-Size": str(file["size"]), "X-Linked-Etag": etag, "ETag": etag}
        headers["Location"] = f"{self.hub.files_url}/blobs/{file['sha256']}"
        raise _Answer(HTTPStatus.FOUND, headers)

    def _send_file(self, path: Path, etag: str, headers: Mapping[str, str]) -> None:
        if not path.is_file():
            raise _Answer(404)
        size = path.stat().st_size
        first, last, status = 0, size - 1, 200
        if asked := _RANGE.fullmatch(self.headers.get("Range", "")):
            start, end = asked.groups()
            first = int(start) if start else max(0, size - int(end))
            last = min(last, int(end)) if start and end else last
            if first > last:
                raise _Answer(416, {"Content-Range": f"bytes */{size}"})
            status = 206
        sent = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Length": str(last - first + 1), **headers}
        if status == HTTPStatus.PARTIAL_CONTENT:
            sent["Content-Range"] = f"bytes {first}-{last}/{size}"
        raise _Answer(status, sent, _pieces(path, first, last + 1))
