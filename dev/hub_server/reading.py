"""What the Hub's stand-in answers about datasets and their files."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

from dev.hub_server.blobs import File, pointer
from dev.hub_server.exchange import Answer, Exchange, file_answer, json_answer, refusal
from dev.hub_server.store import MAIN, Files

__all__ = ["blob", "commits", "info", "paths_info", "refs", "resolve", "tree", "whoami", "xet_token"]

_HOUR = 3600
_SAFE = {"status": "safe", "avScan": None, "pickleImportScan": None}


def whoami(x: Exchange) -> Answer:
    """Answer whose token it is."""
    if x.token is None:
        raise refusal(401, "Invalid username or password.")
    access = {"displayName": x.token.account, "role": x.token.role}
    return json_answer(
        {
            "type": "user",
            "id": hashlib.md5(x.token.account.encode(), usedforsecurity=False).hexdigest()[:24],
            "name": x.token.account,
            "fullname": x.token.account,
            "orgs": [],
            "auth": {"type": "access_token", "accessToken": access},
        }
    )


def info(x: Exchange, dataset: str, rev: str = MAIN) -> Answer:
    """Describe a dataset at a revision; with `blobs=true` the sizes and digests of its files too."""
    repo = x.dataset(dataset)
    sha, files = x.commit(dataset, rev)
    siblings = [{"rfilename": path, **(_blob_info(file) if x.flag("blobs") else {})} for path, file in files.items()]
    return json_answer(
        {
            "id": dataset,
            "author": dataset.partition("/")[0],
            "sha": sha,
            "lastModified": x.hub.store.info(dataset, sha)["date"],
            "private": repo["private"],
            "gated": "manual" if repo["gated"] else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "usedStorage": sum(x.hub.store.large_files(dataset).values()),
            "siblings": siblings,
        }
    )


def tree(x: Exchange, dataset: str, rev: str, path: str = "") -> Answer:
    """List a folder, or with `recursive=true` all below it, folders included."""
    sha, files = x.commit(dataset, rev)
    prefix = f"{path.strip('/')}/" if path.strip("/") else ""
    inside = {name: file for name, file in files.items() if name.startswith(prefix)}
    if prefix and not inside:
        raise refusal(404, f"{path} does not exist on {rev!r}", "EntryNotFound", headers={"X-Repo-Commit": sha})
    names = {*_folders(inside, prefix), *inside}
    listed = sorted(name for name in names if x.flag("recursive") or "/" not in name.removeprefix(prefix))
    return x.page(_entries(x, dataset, sha, files, listed, expand=x.flag("expand")))


def paths_info(x: Exchange, dataset: str, rev: str) -> Answer:
    """Describe the paths that a form names; what is not there is left out."""
    sha, files = x.commit(dataset, rev)
    form = parse_qs(x.raw.decode())
    names = {*files, *_folders(files, "")}
    wanted = [path.strip("/") for path in form.get("paths", []) if path.strip("/") in names]
    expand = form.get("expand", [""])[0].lower() in {"1", "true"}
    return json_answer(_entries(x, dataset, sha, files, wanted, expand=expand))


def commits(x: Exchange, dataset: str, rev: str) -> Answer:
    """List the commits of a revision, the newest first."""
    sha, _ = x.commit(dataset, rev)
    return x.page(
        [
            {
                "id": each,
                "title": commit["title"],
                "message": commit["message"],
                "authors": [{"user": commit["author"]}],
                "date": commit["date"],
            }
            for each, commit in x.hub.store.history(dataset, sha)
        ]
    )


def refs(x: Exchange, dataset: str) -> Answer:
    """List the branches and tags."""
    repo = x.dataset(dataset)
    return json_answer(
        {
            "branches": [_ref("heads", name, sha) for name, sha in repo["refs"].items()],
            "tags": [_ref("tags", name, sha) for name, sha in repo["tags"].items()],
            "converts": [],
            "pullRequests": [],
        }
    )


def resolve(x: Exchange, dataset: str, rev: str, path: str) -> Answer:
    """Send a file; a large one by a redirect to the other origin, with which the client keeps the commit."""
    repo = x.dataset(dataset)
    if repo["gated"] and not x.token:
        raise refusal(401, "Access to this dataset is restricted.", "GatedRepo")
    sha, files = x.commit(dataset, rev)
    headers = {"X-Repo-Commit": sha}
    if path not in files:
        raise refusal(404, "Entry not found", "EntryNotFound", headers=headers)
    file = files[path]
    if not file.large:
        return file_answer(x.hub.store.blob(file.sha256), file.oid, x.headers.get("Range", ""), headers)
    headers |= {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.sha256}"'}
    if file.xet:
        route = f"{x.hub.url}/api/datasets/{dataset}/xet-read-token/{sha}"
        headers |= {"X-Xet-Hash": file.xet, "Link": f'<{route}>; rel="xet-auth"'}
    return Answer(302, headers | {"Location": f"{x.hub.files_url}/blobs/{file.sha256}"})


def blob(x: Exchange, sha256: str) -> Answer:
    """Send the content of a large file, or a range of it; who has the address needs no token."""
    path = x.hub.store.content(sha256)
    if path is None:
        raise refusal(404, "no such content")
    return file_answer(path, sha256, x.headers.get("Range", ""), {"Content-Type": "application/octet-stream"})


def xet_token(x: Exchange, dataset: str, right: str, rev: str) -> Answer:
    """Name a folder from which to download, or to which to upload, by Xet."""
    x.dataset(dataset, write=right == "write")
    x.commit(dataset, rev)
    if not x.hub.xet:
        raise refusal(404, "this stand-in was started without Xet")
    address = x.hub.store.xet.open_session()
    return json_answer({"casUrl": address, "exp": int(time.time()) + _HOUR, "accessToken": "none-is-needed"})


def _ref(kind: str, name: str, sha: str) -> dict[str, str]:
    return {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha}


def _lfs(file: File) -> dict[str, Any]:
    return {"size": file.size, "pointerSize": len(pointer(file.sha256, file.size))}


def _blob_info(file: File) -> dict[str, Any]:
    lfs = {"lfs": {"sha256": file.sha256, **_lfs(file)}} if file.large else {}
    return {"size": file.size, "blobId": file.oid, **lfs}


def _folders(files: Iterable[str], prefix: str) -> set[str]:
    parts = [path.removeprefix(prefix).split("/")[:-1] for path in files]
    return {prefix + "/".join(part[: depth + 1]) for part in parts for depth in range(len(part))}


def _folder_id(files: Mapping[str, File], folder: str) -> str:
    text = "".join(f"{path} {file.oid}\n" for path, file in files.items() if path.startswith(f"{folder}/"))
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _entries(
    x: Exchange, dataset: str, sha: str, files: Files, paths: list[str], *, expand: bool
) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for path in paths:
        if file := files.get(path):
            lfs = {"lfs": {"oid": file.sha256, **_lfs(file)}} if file.large else {}
            xet = {"xetHash": file.xet} if file.xet else {}
            entries.append({"type": "file", "path": path, "oid": file.oid, "size": file.size, **lfs, **xet})
        else:
            entries.append({"type": "directory", "path": path, "oid": _folder_id(files, path), "size": 0})
    if expand:
        _add_last_commits(x, dataset, sha, entries)
    return entries


def _add_last_commits(x: Exchange, dataset: str, sha: str, entries: list[dict[str, Any]]) -> None:
    """Walk the history once and give each entry the oldest commit since which it is as it is."""
    waiting = {entry["path"]: entry for entry in entries}
    for each, commit in x.hub.store.history(dataset, sha):
        files = {path: File(**file) for path, file in commit["files"].items()}
        for path, entry in list(waiting.items()):
            present = files[path].oid if path in files else _folder_id(files, path)
            if present == entry["oid"]:
                entry["lastCommit"] = {"id": each, "title": commit["title"], "date": commit["date"]}
            else:
                del waiting[path]
    for entry in entries:
        if entry["type"] == "file":
            entry["securityFileStatus"] = _SAFE
