"""Reading parts of parquet files on a Hub, without downloading them: footers, and the bytes of some columns.

Ranges are asked by plain HTTP, which the Hub answers for files of either store, LFS or Xet. A large file's address
redirects to one that is signed; that one is asked for its further ranges. Files are read concurrently, a few at a
time, so that what is held does not grow with their number.
"""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from data_platform.errors import StoreError
from data_platform.managers.hub.repository import HubRepository, RemoteFile
from data_platform.managers.hub.session import HubLimitedError

__all__ = ["RemoteParquet", "RemoteReader", "concurrently"]

T = TypeVar("T")
_Keep = Callable[[bytes], object]

#: Files up to this size come whole, in one request.
_SMALL_BYTES = 256 << 10
#: What is fetched of the end of a larger file: as much as Arrow reads there at first. Nearly every footer fits.
_TAIL_BYTES = 64 << 10
#: Two ranges less apart than this are fetched as one: it takes less time than a request.
_GAP_BYTES = 128 << 10
#: Most bytes of one request.
_PIECE_BYTES = 8 << 20
_THREADS = 8
_STREAM_BYTES = 256 << 10
#: Signed addresses are not asked again once so many of them were refused.
_MOST_REFUSED = 3
_FOOTER_END = 8  # its length in four bytes, and the magic
_MAGIC = b"PAR1"
_EXPIRED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


class RemoteReader:
    """Reads files of one commit. Safe to use from several threads.

    Args:
        repository: the dataset.
        commit: the commit whose files are read.
    """

    def __init__(self, repository: HubRepository, commit: str) -> None:
        self.repository = repository
        self.commit = commit
        self._signed: dict[str, str] = {}
        self._refused = 0

    def columns(self, files: Iterable[RemoteFile], names: Sequence[str]) -> Iterator[tuple[RemoteFile, RemoteParquet]]:
        """Open files, some at a time, and fetch some of their columns (those that they have); see `RemoteParquet`.

        The columns are decoded by the caller: in many threads Arrow would keep hundreds of megabytes for them.

        Yields:
            The files in the order given, each ready for `decode`.
        """

        def fetched(file: RemoteFile) -> tuple[RemoteFile, RemoteParquet]:
            opened = self.open(file)
            opened.fetch(range(opened.metadata.num_row_groups), names)
            return file, opened

        return concurrently(files, fetched)

    def open(self, file: RemoteFile) -> RemoteParquet:
        """Open a parquet file; see `RemoteParquet`."""
        return RemoteParquet(self, file)

    def range(self, file: RemoteFile, start: int, stop: int) -> bytes:
        """Return bytes of a file, from one position to before another.

        Raises:
            StoreError: there is no such file, or no access.
            StoreUnavailableError: the Hub did not answer as it should.
        """
        pieces = [
            self._piece(file, first, min(first + _PIECE_BYTES, stop)) for first in range(start, stop, _PIECE_BYTES)
        ]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def content(self, file: RemoteFile) -> bytes:
        """Return all bytes of a small file; see `range`."""
        return self.range(file, 0, file.size)

    def download(self, file: RemoteFile, target: Path) -> Path:
        """Fetch a whole file to the disk and check its digest; see `range`. Little of it is held at any time."""
        digest = hashlib.sha256() if file.large else hashlib.sha1(usedforsecurity=False)
        if not file.large:
            digest.update(b"blob %d\0" % file.size)
        with target.open("wb") as out:

            def keep(piece: bytes) -> None:
                digest.update(piece)
                out.write(piece)

            while out.tell() < file.size:
                # What came before a break is kept: the next try goes on behind it.
                self.repository.session.call(
                    f"fetching {file.path}", lambda: self._get(file, out.tell(), file.size, keep)
                )
        if digest.hexdigest() != file.blob:
            raise StoreError(f"{self.repository}: {file.path} was changed on its way", hint="try again")
        return target

    def _piece(self, file: RemoteFile, start: int, stop: int) -> bytes:
        def ask() -> bytes:
            pieces: list[bytes] = []
            self._get(file, start, stop, pieces.append)
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)

        return self.repository.session.call(f"reading {file.path}", ask)

    def _get(self, file: RemoteFile, start: int, stop: int, keep: _Keep) -> None:
        """Ask for a range and hand on what comes; all of it, or an error."""
        session = self.repository.session
        signed = self._signed.get(file.path)
        url = signed or self.repository.url(file.path, self.commit)
        # Compressed on the way, bytes could not be told by their position.
        headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        if urlsplit(url).netloc == urlsplit(session.endpoint).netloc:
            headers = session.headers() | headers
        with session.http().stream("GET", url, headers=headers) as answer:
            if signed and answer.status_code in _EXPIRED:
                self._signed.pop(file.path, None)
                self._refused += 1
                expired = True
            else:
                expired = False
                self._take(answer, file, (start, stop), keep)
        if expired:
            self._get(file, start, stop, keep)

    def _take(self, answer: Any, file: RemoteFile, wanted: tuple[int, int], keep: _Keep) -> None:  # noqa: ANN401 - httpx
        from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

        if answer.is_error:
            answer.read()
        hf_raise_for_status(answer)
        # An address may also be signed for one range only (huggingface/xet-core issue 897): of no use for others then.
        if answer.history and self._refused < _MOST_REFUSED:
            self._signed[file.path] = str(answer.url)
        _check_range(answer, *wanted, f"{self.repository}: {file.path}", file.size)
        left = wanted[1] - wanted[0]
        for piece in answer.iter_raw(_STREAM_BYTES):
            left -= len(piece)
            keep(piece)
        if left:
            raise HubLimitedError(f"{self.repository}: {file.path}: {left} bytes are missing", hint="try again")


def _check_range(answer: Any, start: int, stop: int, name: str, size: int) -> None:  # noqa: ANN401 - httpx
    wanted = f"bytes {start}-{stop - 1}/{size}"
    whole = answer.status_code == HTTPStatus.OK and (start, stop) == (0, size)
    if not whole and answer.headers.get("Content-Range") != wanted:
        got = answer.headers.get("Content-Range") or f"all, with status {answer.status_code}"
        raise HubLimitedError(f"{name}: asked for {wanted}, got {got}", hint="try again later")


class RemoteParquet:
    """One parquet file of a commit, of which only the footer is fetched at first.

    Args:
        reader: the commit's.
        file: the file.

    Attributes:
        schema: its Arrow schema.
        metadata: its row groups and statistics.

    Raises:
        StoreError: there is no such file, no access, or it is damaged.
        StoreUnavailableError: the Hub did not answer as it should.
    """

    def __init__(self, reader: RemoteReader, file: RemoteFile) -> None:
        self._name = f"{reader.repository}: {file.path}"
        self._sparse = _SparseFile(file.size, lambda start, stop: reader.range(file, start, stop))
        self._sparse.fetch(0 if file.size <= _SMALL_BYTES else file.size - _TAIL_BYTES, file.size)
        tail = self._sparse.held(max(0, file.size - _FOOTER_END), file.size)
        length = int.from_bytes(tail[:4], "little") + _FOOTER_END
        if tail[4:] != _MAGIC or length > file.size:
            raise StoreError(f"{self._name} is no parquet file", hint="go back to the commit before it")
        self._footer_at = file.size - length
        self._sparse.fetch(self._footer_at, file.size)
        self._file = self._decoded(lambda: pq.ParquetFile(self._sparse))
        self.schema: pa.Schema = self._file.schema_arrow
        self.metadata: pq.FileMetaData = self._file.metadata
        self._groups: list[int] = []
        self._names: list[str] = []

    def fetch(self, row_groups: Iterable[int], names: Sequence[str]) -> None:
        """Fetch the bytes of some columns of some row groups, and no others; what was fetched before is let go.

        Raises:
            StoreError: there is no such file any more, or no access.
            StoreUnavailableError: the Hub did not answer as it should.
        """
        self._sparse.let_go(self._footer_at)
        self._groups = list(row_groups)
        self._names = [name for name in names if name in self.schema.names]
        for start, stop in _chunks(self.metadata, self._groups, self._names):
            self._sparse.fetch(start, stop)

    def decode(self) -> pa.Table:
        """Return what was fetched.

        Raises:
            StoreError: it is damaged.
        """
        return self._decoded(
            lambda: self._file.read_row_groups(self._groups, columns=self._names, use_threads=False)
        ).replace_schema_metadata(None)

    def _decoded(self, decode: Callable[[], T]) -> T:
        try:
            return decode()
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"{self._name} is damaged: {error}", hint="go back to the commit before it") from error


def concurrently(items: Iterable[Any], work: Callable[[Any], T], *, threads: int = _THREADS) -> Iterator[T]:
    """Do a work on each item in a few threads; yield the results in order, with few of them waiting."""
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="hub") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _chunks(metadata: pq.FileMetaData, row_groups: Sequence[int], names: Sequence[str]) -> list[tuple[int, int]]:
    """Return the ranges (start, stop) of some columns, near ones joined, in order."""
    spans: list[tuple[int, int]] = []
    wanted = set(names)
    for number in row_groups:
        group = metadata.row_group(number)
        for index in range(group.num_columns):
            chunk = group.column(index)
            if chunk.path_in_schema.split(".")[0] in wanted:
                first = min(filter(None, [chunk.dictionary_page_offset, chunk.data_page_offset]))
                spans.append((first, first + chunk.total_compressed_size))
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if joined and start - joined[-1][1] <= _GAP_BYTES:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


class _SparseFile(io.RawIOBase):
    """A file of which some ranges are held; what is read beyond them is fetched then."""

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self._parts: list[tuple[int, bytes]] = []
        self._position = 0

    def fetch(self, start: int, stop: int) -> None:
        """Hold a range."""
        if not any(at <= start and stop <= at + len(part) for at, part in self._parts):
            self._parts.append((start, self._fetch(start, stop)))

    def held(self, start: int, stop: int) -> bytes:
        """Return bytes, fetching them if they are not held."""
        self.fetch(start, stop)
        at, part = next((at, part) for at, part in self._parts if at <= start and stop <= at + len(part))
        return part[start - at : stop - at]

    def let_go(self, stop: int) -> None:
        """Forget what is held before a position, save a part that reaches beyond it."""
        self._parts = [(at, part) for at, part in self._parts if at + len(part) > stop]

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it can be read anywhere."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position and return it."""
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        stop = self._size if size < 0 else min(self._size, self._position + size)
        data = self.held(self._position, stop) if stop > self._position else b""
        self._position = max(stop, self._position)
        return data
