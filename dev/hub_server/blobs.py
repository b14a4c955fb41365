"""Contents of files, kept once each by their digest and written in a stream."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Blobs", "File", "is_large", "pieces"]

_LARGE_SUFFIXES = (".parquet",)
_LARGE_SIZE = 10 * 1024 * 1024
_CHUNK = 1 << 20


@dataclass(frozen=True)
class File:
    """A file of a commit.

    Attributes:
        size: how many bytes it has.
        sha256: the digest of its content.
        oid: git's id of what git has: of the content, of a large file of its pointer.
        large: whether it is kept outside git, by LFS or Xet.
        xet: Xet's hash of its content, if it came that way.
    """

    size: int
    sha256: str
    oid: str
    large: bool = False
    xet: str | None = None

    @classmethod
    def of_large(cls, sha256: str, size: int, xet: str | None = None) -> File:
        """Return the file that git has as a pointer."""
        return cls(size, sha256, _git_id([pointer(sha256, size)], len(pointer(sha256, size))), large=True, xet=xet)


class Blobs:
    """`blobs/<sha256>` below a folder; half-written ones are in `incoming/`."""

    def __init__(self, root: Path) -> None:
        self._folder, self.incoming = root / "blobs", root / "incoming"
        self._folder.mkdir(parents=True, exist_ok=True)
        self.incoming.mkdir(exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Return where a blob is kept."""
        return self._folder / sha256

    def receive(self, content: Iterable[bytes], *, sha256: str | None = None) -> tuple[str, int]:
        """Keep what comes in pieces and return (sha256, size); ValueError if it is not what was announced."""
        draft = self.incoming / secrets.token_hex(8)
        digest, size = hashlib.sha256(), 0
        try:
            with draft.open("wb") as file:
                for piece in content:
                    digest.update(piece)
                    size += file.write(piece)
            if sha256 not in {None, digest.hexdigest()}:
                raise ValueError(f"announced {sha256}, received {digest.hexdigest()}")
            draft.replace(self.path(digest.hexdigest()))
        finally:
            draft.unlink(missing_ok=True)
        return digest.hexdigest(), size

    def keep(self, content: bytes | Path, *, large: bool) -> File:
        """Keep bytes or a copy of a local file."""
        sha256, size = self.receive([content] if isinstance(content, bytes) else pieces(content))
        return File.of_large(sha256, size) if large else File(size, sha256, _git_id(pieces(self.path(sha256)), size))

    def stored_bytes(self) -> int:
        """Return the bytes of all blobs together."""
        return sum(path.stat().st_size for path in self._folder.iterdir())


def is_large(path: str, size: int) -> bool:
    """Return whether a file belongs outside git."""
    return path.endswith(_LARGE_SUFFIXES) or size > _LARGE_SIZE


def pointer(sha256: str, size: int) -> bytes:
    """Return what git has in place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def pieces(path: Path, first: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Yield the bytes of a file, from one position to before another."""
    with path.open("rb") as file:
        file.seek(first)
        while piece := file.read(_CHUNK if stop is None else min(_CHUNK, stop - file.tell())):
            yield piece


def _git_id(content: Iterable[bytes], size: int) -> str:
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    for piece in content:
        digest.update(piece)
    return digest.hexdigest()
