"""Git LFS at the Hub's stand-in: what to upload, the upload in one piece or in parts, and its check."""

from __future__ import annotations

import hashlib
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

from dev.hub_server.blobs import pieces
from dev.hub_server.exchange import Answer, Exchange, json_answer, refusal

__all__ = ["batch", "check_quota", "complete", "put", "put_part", "verify"]


def check_quota(x: Exchange, dataset: str, new_bytes: int) -> None:
    """Answer 403 if so many further bytes of large files are more than the dataset may hold.

    These are the words of the real Hub (huggingface_hub issues 3048 and 3049, seen with huggingface_hub 0.30.2 on a
    push to a private dataset). Which endpoint says them is not known; here preupload and the LFS batch.
    """
    own = (x.hub.store.repo(dataset) or {}).get("quota_bytes")
    quota = x.hub.quota_bytes if own is None else own
    if quota is None or not new_bytes:
        return
    if sum(x.hub.store.large_files(dataset).values()) + new_bytes > quota:
        told = (
            "Private repository storage limit reached, please upgrade your plan to increase your private storage limit."
        )
        raise refusal(403, told)


def batch(x: Exchange, dataset: str) -> Answer:
    """Say of each object where to put it; nothing of one that is there."""
    x.dataset(dataset, write=True)
    if x.json.get("operation") != "upload":
        raise refusal(400, "this stand-in knows uploads only")
    held = x.hub.store.large_files(dataset)
    check_quota(x, dataset, sum(item["size"] for item in x.json["objects"] if item["oid"] not in held))
    objects = [_object(x, dataset, item["oid"], item["size"]) for item in x.json["objects"]]
    transfer = "multipart" if any("chunk_size" in _upload(item).get("header", {}) for item in objects) else "basic"
    return json_answer({"transfer": transfer, "objects": objects})


def _upload(item: dict[str, Any]) -> dict[str, Any]:
    return dict(item.get("actions", {}).get("upload", {}))


def _object(x: Exchange, dataset: str, oid: str, size: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"oid": oid, "size": size}
    if x.hub.store.large(oid):
        return entry
    chunk = x.hub.multipart_chunk
    if chunk and size > chunk:
        parts = -(-size // chunk)
        urls = {str(number): f"{x.hub.files_url}/lfs/{oid}/parts/{number}" for number in range(1, parts + 1)}
        upload = {"href": f"{x.hub.url}/lfs/{oid}/complete", "header": {"chunk_size": str(chunk), **urls}}
    else:
        upload = {"href": f"{x.hub.files_url}/lfs/{oid}"}
    verify_at = f"{x.hub.url}/datasets/{dataset}.git/info/lfs/objects/verify"
    return {**entry, "actions": {"upload": upload, "verify": {"href": verify_at}}}


def put(x: Exchange, oid: str) -> Answer:
    """Take a large file in one piece; the address is all the leave one needs, as with a signed one."""
    try:
        x.hub.store.blobs.receive(x.body, sha256=oid)
    except ValueError as error:
        raise refusal(400, f"BadDigest: {error}") from None
    return Answer(200, {"ETag": f'"{oid}"'})


def put_part(x: Exchange, oid: str, number: str) -> Answer:
    """Take one part of a large file."""
    path = _part(x, oid, number)
    path.parent.mkdir(exist_ok=True)
    digest = hashlib.md5(usedforsecurity=False)
    with path.with_suffix(".new").open("wb") as file:
        for piece in x.body:
            digest.update(piece)
            file.write(piece)
    path.with_suffix(".new").replace(path)
    path.with_suffix(".etag").write_text(digest.hexdigest())
    return Answer(200, {"ETag": f'"{digest.hexdigest()}"'})


def complete(x: Exchange, oid: str) -> Answer:
    """Join the parts of a large file."""
    parts = sorted(x.json["parts"], key=lambda part: int(part["partNumber"]))
    paths = [_part(x, oid, str(part["partNumber"])) for part in parts]
    for part, path in zip(parts, paths, strict=True):
        etag = path.with_suffix(".etag")
        if not etag.is_file() or etag.read_text() != part["etag"].strip('"'):
            raise refusal(400, f"InvalidPart: {path.name}")
    try:
        x.hub.store.blobs.receive(chain.from_iterable(pieces(path) for path in paths), sha256=oid)
    except ValueError as error:
        raise refusal(400, f"BadDigest: {error}") from None
    shutil.rmtree(paths[0].parent, ignore_errors=True)
    return json_answer({})


def verify(x: Exchange, dataset: str) -> Answer:
    """Confirm that a large file has come whole."""
    x.dataset(dataset, write=True)
    path = x.hub.store.blob(x.json["oid"])
    if not path.is_file() or path.stat().st_size != x.json["size"]:
        raise refusal(404, "the object was not uploaded")
    return json_answer({})


def _part(x: Exchange, oid: str, number: str) -> Path:
    return x.hub.store.blobs.incoming / oid / number
