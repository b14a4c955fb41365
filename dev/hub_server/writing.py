"""What changes a dataset at the Hub's stand-in: datasets, branches, tags, and the commit."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from dev.hub_server.blobs import File, is_large
from dev.hub_server.exchange import Answer, Exchange, json_answer, refusal
from dev.hub_server.lfs import check_quota
from dev.hub_server.store import MAIN, Change, StaleParentError

__all__ = [
    "commit",
    "create",
    "create_branch",
    "create_tag",
    "delete",
    "delete_branch",
    "delete_tag",
    "preupload",
    "validate_yaml",
]

_STALE = "The branch was updated since you opened this page. Please refresh and try again."


def create(x: Exchange) -> Answer:
    """Make a dataset; 409 with its address if it is there, which is what `exist_ok` reads."""
    token = x.writer()
    if x.json.get("type") != "dataset":
        raise refusal(400, "this stand-in has datasets only")
    dataset = f"{x.json.get('organization') or token.account}/{x.json['name']}"
    private = x.json.get("visibility") == "private" or bool(x.json.get("private"))
    place = {"url": f"{x.hub.url}/datasets/{dataset}", "name": dataset}
    try:
        x.hub.store.create(dataset, private=private, author=token.account)
    except FileExistsError:
        return json_answer({"error": "You already created this dataset repo", **place}, 409)
    return json_answer(place)


def delete(x: Exchange) -> Answer:
    """Remove a dataset."""
    token = x.writer()
    dataset = f"{x.json.get('organization') or token.account}/{x.json['name']}"
    x.dataset(dataset)
    x.hub.store.delete(dataset)
    return json_answer({})


def validate_yaml(_: Exchange) -> Answer:
    """Find no fault with the metadata of a README."""
    return json_answer({"errors": [], "warnings": []})


def preupload(x: Exchange, dataset: str, rev: str) -> Answer:
    """Say of each file how it is to come, and which one is there, with which the client skips what is the same."""
    x.dataset(dataset, write=True)
    _, files = x.commit(dataset, rev)
    answer, new_bytes = [], 0
    for asked in x.json["files"]:
        path, size, old = asked["path"], asked["size"], files.get(asked["path"])
        large = is_large(path, size)
        if large and not (old and old.size == size):  # of the same size it is most likely the same
            new_bytes += size
        present = {"oid": old.sha256 if old.large else old.oid} if old else {}
        answer.append({"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, **present})
    check_quota(x, dataset, new_bytes)
    return json_answer({"files": answer})


def commit(x: Exchange, dataset: str, rev: str) -> Answer:
    """Apply the lines of a commit to a branch, all or nothing.

    A commit that changes nothing is made all the same: that is why the client looks for no-ops itself.
    """
    repo = x.dataset(dataset, write=True)
    if x.flag("create_pr"):
        raise refusal(400, "this stand-in has no pull requests")
    if rev not in repo["refs"]:
        raise refusal(404, f"Invalid rev id: {rev}", "RevisionNotFound")
    header: dict[str, Any] = {}
    changes = list(_changes(x, header))
    if not header.get("summary"):
        raise refusal(400, "a commit begins with a header that has a summary")
    if x.hub.on_commit:
        x.hub.on_commit(dataset)
    try:
        sha = x.hub.store.change(
            dataset,
            rev,
            changes,
            title=header["summary"],
            message=header.get("description", ""),
            author=x.writer().account,
            parent=header.get("parentCommit"),
        )
    except StaleParentError:
        raise refusal(412, _STALE) from None
    except FileNotFoundError as error:
        told = f"A file with this name doesn't exist: {error}"
        raise refusal(404, told, "EntryNotFound") from None
    url = f"{x.hub.url}/datasets/{dataset}/commit/{sha}"
    return json_answer({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})


def _changes(x: Exchange, header: dict[str, Any]) -> Iterator[Change]:
    for line in x.body.lines():
        try:
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                header.update(value)
            else:
                yield _change(x, key, value)
        except (binascii.Error, KeyError, TypeError, ValueError) as error:
            raise refusal(400, f"not a line of a commit: {error!r}") from None


def _change(x: Exchange, key: str, value: dict[str, Any]) -> Change:
    path = value["path"]
    if key == "file":
        content = base64.b64decode(value["content"]) if value.get("encoding") == "base64" else value["content"].encode()
        return Change(path, x.hub.store.blobs.keep(content, large=False))
    if key == "lfsFile":
        return Change(path, _large_file(x, path, value))
    if key == "deletedFile":
        return Change(path)
    if key == "deletedFolder":
        return Change(path.rstrip("/") + "/")
    raise ValueError(f"unknown key {key}")


def _large_file(x: Exchange, path: str, value: dict[str, Any]) -> File:
    file = x.hub.store.large(value["oid"])
    if file is None or value.get("size", file.size) != file.size:
        told = "Your push was rejected because an LFS pointer pointed to a file that does not exist."
        raise refusal(400, f"{told} Offending file: {path}")
    return file


def create_branch(x: Exchange, dataset: str, branch: str) -> Answer:
    """Make a branch, at the head of `main` or where it is asked to start."""
    x.dataset(dataset, write=True)
    sha, _ = x.commit(dataset, x.json.get("startingPoint") or MAIN)
    if not x.hub.store.set_ref(dataset, "refs", branch, sha):
        raise refusal(409, f'Reference "refs/heads/{branch}" already exists')
    return json_answer({})


def delete_branch(x: Exchange, dataset: str, branch: str) -> Answer:
    """Remove a branch; not `main`."""
    x.dataset(dataset, write=True)
    if branch == MAIN:
        raise refusal(403, "Cannot delete the default branch")
    if not x.hub.store.set_ref(dataset, "refs", branch, None):
        raise refusal(404, f"Invalid rev id: {branch}", "RevisionNotFound")
    return json_answer({})


def create_tag(x: Exchange, dataset: str, rev: str) -> Answer:
    """Name a revision for good."""
    x.dataset(dataset, write=True)
    sha, _ = x.commit(dataset, rev)
    if not x.hub.store.set_ref(dataset, "tags", x.json["tag"], sha):
        raise refusal(409, f'Tag reference "{x.json["tag"]}" already exists')
    return json_answer({})


def delete_tag(x: Exchange, dataset: str, tag: str) -> Answer:
    """Remove a tag."""
    x.dataset(dataset, write=True)
    if not x.hub.store.set_ref(dataset, "tags", tag, None):
        raise refusal(404, f"Invalid rev id: {tag}", "RevisionNotFound")
    return json_answer({})
