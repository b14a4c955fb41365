"""Xet at the Hub's stand-in: files cut into chunks, each kept once, by the local mode of the real hf_xet.

hf_xet takes `local:///folder` for the address of a storage, which no document mentions (seen with 1.6.0), and then
reads and writes that folder itself: no content comes through this server. It locks a database in the folder for as
long as its session lives, and finds files by that database alone. So here no folder is opened twice: every token names
a copy of the storage (hard links, and the database), and when a commit speaks of a file that is in a client's copy,
the Hub takes it from there and adds it to a further copy, which then is the storage. The file is also kept whole, for
clients without Xet; `stored_bytes` counts the chunks only.
"""

from __future__ import annotations

import importlib
import re
import secrets
import shutil
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["XetFile", "XetStorage"]

#: Folders of a storage, and the names of what belongs to it: data, descriptions, descriptions known to its client.
_PARTS = {
    "xet/xorbs/xorbs": re.compile(r"default\.[0-9a-f]{64}"),
    "xet/xorbs/shards": re.compile(r"[0-9a-f]{64}\.mdb"),
    "xet/shard-cache": re.compile(r"[0-9a-f]{64}\.mdb"),
}
_XORBS, _SHARDS, _ = _PARTS
_DATABASE = "xet/xorbs/global_dedup_lookup.redb"
# A shard is made of records of 48 bytes; the first is its header. https://huggingface.co/docs/xet/shard
_RECORD = 48
_HEAD = struct.Struct("<32sIIQ")  # of a file: hash, flags, how many segments
_SEGMENT = struct.Struct("<32sIIII")  # xorb, flags, bytes, first chunk, chunk after the last
_WITH_VERIFICATION, _WITH_METADATA = 1 << 31, 1 << 30
_END = b"\xff" * 32


@dataclass(frozen=True)
class XetFile:
    """A file that came by Xet: its hash there, its digest, its size."""

    hash: str
    sha256: str
    size: int


class XetStorage:
    """The storage `current` (a link to one in `storages/`), the copies in `sessions/`, the whole files in `whole/`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._shards: dict[Path, dict[str, XetFile]] = {}

    def open_session(self) -> str:
        """Return the address of a new copy of the storage."""
        folder = self._root / "sessions" / secrets.token_hex(8)
        with self._lock:
            _copy(self._current, folder)
        return f"local://{folder}"

    def close_sessions(self) -> None:
        """Remove the copies that tokens name; one stays that has a file of which no commit has spoken yet."""
        with self._lock:
            for session in (self._root / "sessions").glob("*"):
                if self._digests(session) <= self._digests(self._current):
                    shutil.rmtree(session, ignore_errors=True)

    def find(self, sha256: str) -> XetFile | None:
        """Return the file with a digest, if it was uploaded."""
        with self._lock:
            if known := self._look_up(sha256, self._current):
                return known
            for session in (self._root / "sessions").glob("*"):
                if found := self._look_up(sha256, session):
                    self._take(found, session)
                    return found
        return None

    def whole(self, file: XetFile) -> Path:
        """Return where a file is that was found."""
        return self._root / "whole" / file.sha256

    def stored_bytes(self) -> int:
        """Return the bytes of all chunks of files that were found, compressed as they are."""
        folder = self._current / _XORBS
        return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0

    @property
    def _current(self) -> Path:
        return (self._root / "current").resolve()

    def _digests(self, storage: Path) -> set[str]:
        return {sha256 for path in (storage / _SHARDS).glob("*.mdb") for sha256 in self._read(path)}

    def _read(self, shard: Path) -> dict[str, XetFile]:
        if shard not in self._shards:
            self._shards[shard] = {file.sha256: file for file in _files_of(shard.read_bytes())}
        return self._shards[shard]

    def _look_up(self, sha256: str, storage: Path) -> XetFile | None:
        for path in (storage / _SHARDS).glob("*.mdb"):
            if found := self._read(path).get(sha256):
                return found
        return None

    def _take(self, file: XetFile, session: Path) -> None:
        hf_xet = importlib.import_module("hf_xet")
        key = secrets.token_hex(8)
        copy, storage, link = (self._root / name / key for name in ("copies", "storages", "links"))
        whole = self.whole(file)
        for folder in (whole.parent, link.parent):
            folder.mkdir(parents=True, exist_ok=True)
        _copy(session, copy)
        with hf_xet.XetSession().new_file_download_group(endpoint=f"local://{copy}") as group:
            group.start_download_file(hf_xet.XetFileInfo(file.hash, file.size), str(whole))
        _copy(self._current, storage)
        with hf_xet.XetSession().new_upload_commit(endpoint=f"local://{storage}") as upload:
            upload.start_upload_file(str(whole), sha256=file.sha256)
        old = self._current
        link.symlink_to(storage)
        link.replace(self._root / "current")
        shutil.rmtree(copy)
        if old.parent == storage.parent:
            shutil.rmtree(old)


def _copy(source: Path, target: Path) -> None:
    for part, name in _PARTS.items():
        (target / part).mkdir(parents=True)
        for path in (source / part).iterdir() if (source / part).is_dir() else ():
            if name.fullmatch(path.name):
                (target / part / path.name).hardlink_to(path)
    if (source / _DATABASE).is_file():
        shutil.copy2(source / _DATABASE, target / _DATABASE)


def _files_of(shard: bytes) -> Iterator[XetFile]:
    at = _RECORD
    while at + _RECORD <= len(shard) and shard[at : at + len(_END)] != _END:
        name, flags, segments, _ = _HEAD.unpack_from(shard, at)
        size = sum(_SEGMENT.unpack_from(shard, at + _RECORD * (1 + each))[2] for each in range(segments))
        at += _RECORD * (1 + segments * (2 if flags & _WITH_VERIFICATION else 1))
        if flags & _WITH_METADATA:
            yield XetFile(_hex(name), _hex(shard[at : at + len(_END)]), size)
            at += _RECORD


def _hex(digest: bytes) -> str:
    """Write a digest as Xet does: four numbers, each with its lowest byte first."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", digest))
