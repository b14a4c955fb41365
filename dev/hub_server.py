"""A stand-in for the HuggingFace Hub on loopback: datasets on disk, immutable commits, the read endpoints.

Speaks what the real huggingface_hub client asks when it describes a dataset and downloads from it. A commit
is a list of (path, blob) and never changes; blobs are kept by their digest; a branch is a name for a commit.
Large files are served as the real Hub does it: `resolve` redirects to another origin (here `localhost`
instead of `127.0.0.1`), without which the client would follow the redirect itself and lose the commit.

    store = HubStore(folder)
    store.create("owner/name")
    store.commit("owner/name", {"data/train-0.parquet": some_bytes})
    with HubServer(store) as server: HfApi(endpoint=server.url).dataset_info("owner/name")
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

__all__ = ["Fault", "HubServer", "HubStore"]

_MAIN = "main"
_LFS_SUFFIXES = (".parquet",)
_CHUNK = 1 << 20
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_INFO = re.compile(r"/api/datasets/(?P<id>[^/]+/[^/]+?)(?:/revision/(?P<rev>[^/]+))?")
_RESOLVE = re.compile(r"/datasets/(?P<id>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)")
_BLOB = re.compile(r"/blobs/(?P<sha256>[0-9a-f]{64})")

_Files = dict[str, dict[str, Any]]


class HubStore:
    """Datasets below one folder: `blobs/<sha256>`, and of each dataset `repo.json` and `commits/<id>.json`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        (root / "blobs").mkdir(parents=True, exist_ok=True)

    def create(self, dataset: str, *, private: bool = False, gated: bool = False) -> None:
        """Make an empty dataset, with one empty commit on the branch `main`."""
        self._commit_file(dataset, "").parent.mkdir(parents=True)
        self._write(dataset, {"private": private, "gated": gated, "refs": {}})
        self.commit(dataset, {})

    def commit(self, dataset: str, add: Mapping[str, bytes | Path], *, delete: Iterable[str] = ()) -> str:
        """Add and delete files in one commit on `main` and return its id."""
        with self._lock:
            repo = self.repo(dataset) or {"refs": {}}
            parent, gone = repo["refs"].get(_MAIN), set(delete)
            old = self.files(dataset, parent) if parent else {}
            files = {path: file for path, file in old.items() if path not in gone}
            for path, content in add.items():
                files[path] = self._keep(content if isinstance(content, bytes) else content.read_bytes())
            text = json.dumps({"parent": parent, "date": datetime.now(UTC).isoformat(), "files": files})
            sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            self._commit_file(dataset, sha).write_text(text)
            self._write(dataset, {**repo, "refs": {**repo["refs"], _MAIN: sha}})
        return sha

    def repo(self, dataset: str) -> dict[str, Any] | None:
        """Return what is known of a dataset: private, gated, refs; None if there is none."""
        path = self._root / "datasets" / dataset / "repo.json"
        return dict(json.loads(path.read_text())) if path.is_file() else None

    def resolve(self, dataset: str, revision: str) -> str | None:
        """Return the commit that a branch, tag or commit id names."""
        sha: str = (self.repo(dataset) or {"refs": {}})["refs"].get(revision, revision)
        return sha if re.fullmatch("[0-9a-f]{40}", sha) and self._commit_file(dataset, sha).is_file() else None

    def files(self, dataset: str, sha: str) -> _Files:
        """Return path -> {size, sha256, oid} of a commit; `oid` is git's id of the blob."""
        found: _Files = json.loads(self._commit_file(dataset, sha).read_text())["files"]
        return found

    def blob(self, sha256: str) -> Path:
        """Return where a blob is kept."""
        return self._root / "blobs" / sha256

    def _keep(self, content: bytes) -> dict[str, Any]:
        sha256 = hashlib.sha256(content).hexdigest()
        self.blob(sha256).write_bytes(content)
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        return {"size": len(content), "sha256": sha256, "oid": oid}

    def _commit_file(self, dataset: str, sha: str) -> Path:
        return self._root / "datasets" / dataset / "commits" / f"{sha}.json"

    def _write(self, dataset: str, repo: Mapping[str, Any]) -> None:
        path = self._root / "datasets" / dataset / "repo.json"
        path.with_suffix(".new").write_text(json.dumps(repo))
        path.with_suffix(".new").replace(path)


@dataclass
class Fault:
    """A status to answer, so many times, to requests in whose "METHOD /path" a regular expression is found."""

    pattern: str
    status: int
    times: int = 1_000_000


class HubServer:
    """Serves a store on 127.0.0.1 while it is used as a context manager.

    Attributes:
        url: the endpoint; large files come from `files_url`.
        tokens: tokens that are valid; each may read everything.
        requests: "METHOD /path" of each request, in order.
        faults: faults to play; change it at any time.
    """

    def __init__(self, store: HubStore, *, tokens: Iterable[str] = (), port: int = 0) -> None:
        self.store = store
        self.tokens = frozenset(tokens)
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.connections: list[socket.socket] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"hub": self}))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self.files_url = f"http://localhost:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        for connection in self.connections:  # kept alive by clients, they would be served on
            if connection.fileno() >= 0:
                connection.shutdown(socket.SHUT_RDWR)


class _Answer(Exception):  # noqa: N818 -- ends the handling of a request, from any depth
    def __init__(self, status: int, headers: Mapping[str, str], body: Iterable[bytes] = ()) -> None:
        super().__init__(status)
        self.status = status
        self.headers = {"Content-Length": "0", **headers}
        self.body = body


def _refusal(status: int, message: str, code: str = "", **headers: str) -> _Answer:
    return _Answer(status, {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {}) | headers)


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.hub.connections.append(self.connection)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        request = f"{self.command} {unquote(path)}"
        self.hub.requests.append(request)
        try:
            for fault in self.hub.faults:
                if fault.times and re.search(fault.pattern, request):
                    fault.times -= 1
                    raise _refusal(fault.status, "planted by a test")
            answer = self._route(path)
        except _Answer as refusal:
            answer = refusal
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        for piece in answer.body if self.command == "GET" else ():
            self.wfile.write(piece)

    do_HEAD = do_GET  # noqa: N815 -- named by http.server

    def log_message(self, *_: object) -> None:
        """Keep quiet: `HubServer.requests` has it."""

    def _route(self, path: str) -> _Answer:
        if found := _BLOB.fullmatch(path):
            return self._file(self.hub.store.blob(found["sha256"]), found["sha256"], {})
        if found := _RESOLVE.fullmatch(path):
            return self._resolve(found["id"], unquote(found["rev"]), unquote(found["path"]))
        if found := _INFO.fullmatch(path):
            sha, files = self._commit(found["id"], unquote(found["rev"] or _MAIN))
            siblings = [{"rfilename": path, "size": file["size"]} for path, file in sorted(files.items())]
            body = json.dumps({"id": found["id"], "sha": sha, "siblings": siblings}).encode()
            return _Answer(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}, [body])
        raise _refusal(404, "no such address")

    def _commit(self, dataset: str, revision: str) -> tuple[str, _Files]:
        """Return (commit id, files), or answer that there is none or no access."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.tokens:
            raise _refusal(401, "Invalid credentials in Authorization header")
        repo = self.hub.store.repo(dataset)
        if repo is None or (repo["private"] and not token):
            # As the real one: a stranger learns nothing about what exists.
            raise (
                _refusal(404, "not found", "RepoNotFound") if token else _refusal(401, "Invalid username or password.")
            )
        if repo["gated"] and not token and "/resolve/" in self.path:
            raise _refusal(401, "Access to this dataset is restricted.", "GatedRepo")
        sha = self.hub.store.resolve(dataset, revision)
        if sha is None:
            raise _refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha, self.hub.store.files(dataset, sha)

    def _resolve(self, dataset: str, revision: str, path: str) -> _Answer:
        sha, files = self._commit(dataset, revision)
        headers = {"X-Repo-Commit": sha}
        if path not in files:
            raise _refusal(404, "Entry not found", "EntryNotFound", **headers)
        file = files[path]
        if not path.endswith(_LFS_SUFFIXES):
            return self._file(self.hub.store.blob(file["sha256"]), file["oid"], headers)
        headers |= {"X-Linked-Size": str(file["size"]), "X-Linked-Etag": f'"{file["sha256"]}"'}
        return _Answer(302, headers | {"Location": f"{self.hub.files_url}/blobs/{file['sha256']}"})

    def _file(self, path: Path, etag: str, headers: Mapping[str, str]) -> _Answer:
        size = path.stat().st_size
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        stop = min(size, int(asked[2]) + 1) if asked and asked[2] else size
        sent = {"ETag": f'"{etag}"', "Accept-Ranges": "bytes", "Content-Length": str(stop - first), **headers}
        partial = {"Content-Range": f"bytes {first}-{stop - 1}/{size}"} if asked else {}
        return _Answer(206 if asked else 200, sent | partial, _pieces(path, first, stop))


def _pieces(path: Path, first: int, stop: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(first)
        while first < stop:
            piece = file.read(min(_CHUNK, stop - first))
            first += len(piece)
            yield piece
