"""The Hub's datasets on disk: blobs by digest, commits that never change, branches and tags that name them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dev.hub_server.blobs import Blobs, File, is_large
from dev.hub_server.xet import XetStorage

__all__ = ["MAIN", "Change", "Files", "HubStore", "StaleParentError"]

MAIN = "main"
_COMMIT_ID = re.compile(r"[0-9a-f]{40}")

Files = dict[str, File]


class StaleParentError(Exception):
    """The branch is no longer at the commit that was to be the parent."""


@dataclass(frozen=True)
class Change:
    """One line of a commit: a file to be at `path`, or, without one, `path` to be gone; a folder ends in "/"."""

    path: str
    file: File | None = None


class HubStore:
    """Datasets below one folder: `blobs/<sha256>`, and of each dataset `repo.json` and `commits/<id>.json`.

    Every change happens under one lock, a file's, which also holds between processes; every file is written
    beside its place and moved there.

    Attributes:
        root: the folder.
        blobs: the contents of files.
        xet: the contents of files that came by Xet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "datasets").mkdir(parents=True, exist_ok=True)
        self.blobs = Blobs(root)
        self.xet = XetStorage(root.absolute() / "xet")

    def create(
        self,
        dataset: str,
        *,
        private: bool = False,
        gated: bool = False,
        quota_bytes: int | None = None,
        author: str = "tester",
    ) -> None:
        """Make an empty dataset, with one empty commit on the branch `main`; FileExistsError if there is one."""
        with self._lock():
            if self.repo(dataset) is not None:
                raise FileExistsError(dataset)
            repo: dict[str, Any] = {
                "private": private,
                "gated": gated,
                "quota_bytes": quota_bytes,
                "refs": {},
                "tags": {},
            }
            self._commit_file(dataset, "").parent.mkdir(parents=True, exist_ok=True)
            self._apply(dataset, repo, MAIN, {}, title="initial commit", message="", author=author)

    def delete(self, dataset: str) -> None:
        """Remove a dataset; its blobs stay."""
        with self._lock():
            gone = self.root / f"deleted-{secrets.token_hex(8)}"
            (self.root / "datasets" / dataset).rename(gone)
        shutil.rmtree(gone)

    def commit(
        self,
        dataset: str,
        add: Mapping[str, bytes | Path],
        *,
        delete: Iterable[str] = (),
        title: str = "Change files",
        description: str = "",
        author: str = "tester",
        branch: str = MAIN,
    ) -> str:
        """Add and delete files in one commit and return its id; deleting what is not there does nothing."""
        kept = {path: self.blobs.keep(content, large=is_large(path, _size(content))) for path, content in add.items()}
        with self._lock():
            repo = self._known(dataset)
            gone = set(delete)
            files = {path: file for path, file in self.files(dataset, repo["refs"][branch]).items() if path not in gone}
            return self._apply(dataset, repo, branch, files | kept, title=title, message=description, author=author)

    def change(
        self,
        dataset: str,
        branch: str,
        changes: Iterable[Change],
        *,
        title: str,
        message: str = "",
        author: str = "tester",
        parent: str | None = None,
    ) -> str:
        """Apply all changes in one commit and return its id, as a client asks for it.

        Raises:
            StaleParentError: a parent is given and the branch is at another commit.
            FileNotFoundError: a path to delete is not there. Nothing was changed.
        """
        with self._lock():
            repo = self._known(dataset)
            head = repo["refs"][branch]
            if parent is not None and parent != head:
                raise StaleParentError(head)
            files = self.files(dataset, head)
            for change in changes:
                if change.file:
                    files[change.path] = change.file
                else:
                    _remove(files, change.path)
            return self._apply(dataset, repo, branch, files, title=title, message=message, author=author)

    def set_ref(self, dataset: str, kind: str, name: str, sha: str | None) -> bool:
        """Make (or with None delete) a branch ("refs") or a tag ("tags"); False if it is there (or is not)."""
        with self._lock():
            repo = self._known(dataset)
            if (name in repo[kind]) == (sha is not None):
                return False
            others = {key: value for key, value in repo[kind].items() if key != name}
            self._write(dataset, {**repo, kind: others | ({name: sha} if sha else {})})
        return True

    def repo(self, dataset: str) -> dict[str, Any] | None:
        """Return what is known of a dataset: private, gated, quota_bytes, refs, tags; None if there is none."""
        path = self.root / "datasets" / dataset / "repo.json"
        return dict(json.loads(path.read_text())) if path.is_file() else None

    def resolve(self, dataset: str, revision: str) -> str | None:
        """Return the commit that a branch, tag or commit id names."""
        repo = self.repo(dataset) or {"refs": {}, "tags": {}}
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        sha: str = repo["refs"].get(name) or repo["tags"].get(name) or revision
        return sha if _COMMIT_ID.fullmatch(sha) and self._commit_file(dataset, sha).is_file() else None

    def files(self, dataset: str, sha: str) -> Files:
        """Return path -> file of a commit."""
        return {path: File(**file) for path, file in self.info(dataset, sha)["files"].items()}

    def info(self, dataset: str, sha: str) -> dict[str, Any]:
        """Return a commit as it is kept: parent, date, title, message, author, files."""
        return dict(json.loads(self._commit_file(dataset, sha).read_text()))

    def history(self, dataset: str, sha: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (commit id, commit) from a commit back to the first."""
        at: str | None = sha
        while at:
            info = self.info(dataset, at)
            yield at, info
            at = info["parent"]

    def large_files(self, dataset: str) -> dict[str, int]:
        """Return sha256 -> size of every large file in any commit of a dataset: what its quota counts."""
        commits = (self.root / "datasets" / dataset / "commits").glob("*.json")
        files = [file for path in commits for file in json.loads(path.read_text())["files"].values()]
        return {file["sha256"]: file["size"] for file in files if file["large"]}

    def blob(self, sha256: str) -> Path:
        """Return where a blob is kept."""
        return self.blobs.path(sha256)

    def large(self, sha256: str) -> File | None:
        """Return the large file that was uploaded under a digest, if it was."""
        path = self.blob(sha256)
        if path.is_file():
            return File.of_large(sha256, path.stat().st_size)
        found = self.xet.find(sha256)
        return File.of_large(sha256, found.size, found.hash) if found else None

    def content(self, sha256: str) -> Path | None:
        """Return the local file with a large file's content, if it was uploaded; whole, whichever way it came."""
        path = self.blob(sha256)
        if path.is_file():
            return path
        found = self.xet.find(sha256)
        return self.xet.whole(found) if found else None

    def stored_bytes(self) -> int:
        """Return how many bytes all blobs and the chunks of Xet take up, whether committed or not."""
        return self.blobs.stored_bytes() + self.xet.stored_bytes()

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.root / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _known(self, dataset: str) -> dict[str, Any]:
        repo = self.repo(dataset)
        if repo is None:
            raise LookupError(f"no dataset {dataset}")
        return repo

    def _apply(
        self, dataset: str, repo: Mapping[str, Any], branch: str, files: Files, *, title: str, message: str, author: str
    ) -> str:
        commit = {
            "parent": repo["refs"].get(branch),
            "date": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "title": title,
            "message": message,
            "author": author,
            "files": {path: vars(file) for path, file in sorted(files.items())},
        }
        text = json.dumps(commit)
        sha = hashlib.sha1(f"{time.time_ns()} {text}".encode(), usedforsecurity=False).hexdigest()
        self._place(self._commit_file(dataset, sha), text)
        self._write(dataset, {**repo, "refs": {**repo["refs"], branch: sha}})
        return sha

    def _commit_file(self, dataset: str, sha: str) -> Path:
        return self.root / "datasets" / dataset / "commits" / f"{sha}.json"

    def _write(self, dataset: str, repo: Mapping[str, Any]) -> None:
        self._place(self.root / "datasets" / dataset / "repo.json", json.dumps(repo))

    @staticmethod
    def _place(path: Path, text: str) -> None:
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").replace(path)


def _remove(files: Files, path: str) -> None:
    gone = [each for each in files if each == path or (path.endswith("/") and each.startswith(path))]
    if not gone:
        raise FileNotFoundError(path)
    for each in gone:
        del files[each]


def _size(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size
