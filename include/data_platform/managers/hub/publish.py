"""Bringing changed partitions to the Hub: files written one by one, uploaded, deleted here, then one commit for all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from data_platform.errors import StoreError
from data_platform.managers.hub.card import CARD, STALE_FILES, edited_card
from data_platform.managers.hub.layout import UNDATED, data_files, stray_files, write_empty
from data_platform.managers.hub.repository import HubRepository, Upload
from data_platform.managers.hub.state import Snapshot

__all__ = ["PartitionFile", "publish"]

_PIECE = 1 << 20
#: Files are uploaded together up to about this size, which takes fewer requests.
_WAITING_BYTES = 32 << 20


@dataclass(frozen=True)
class PartitionFile:
    """A data file to be.

    Attributes:
        path: its path in the repository.
        write: writes it to a local path and returns its rows; no rows: the file is not to be there.
    """

    path: str
    write: Callable[[Path], int]


def publish(
    repository: HubRepository,
    snapshot: Snapshot,
    files: Iterable[PartitionFile],
    *,
    keep: Sequence[str],
    schema: pa.Schema,
    scratch: Path,
    title: str,
    description: str = "",
    notes: Mapping[str, bytes] | None = None,
) -> str:
    """Make the data files of a dataset the given ones, in one commit.

    A dataset that loses its last row keeps one file without any: so it keeps its columns, and can be streamed.

    Args:
        repository: the dataset.
        snapshot: the commit that all of this was made from.
        files: data files that may have changed; one that is the same already is not uploaded.
        keep: paths of data files that stay as they are. All others go; should none be left, `UNDATED` is written empty.
        schema: the columns of the data files, for the card.
        scratch: folder for a few files at a time.
        title: first line of the commit's message.
        description: more of it.
        notes: small files beside the data, by path; given, there is a commit even if no data changes.

    Returns:
        The id of the commit; that of `snapshot` if there is nothing to do.

    Raises:
        HeadMovedError: somebody else committed first; nothing was done.
        StoreError, StoreUnavailableError, BusyError, ConfigurationError: see `HubRepository.commit`.
    """
    uploads: list[Upload] = []
    there = set(keep)
    waiting: dict[str, Path | bytes] = {}

    def take(path: str, local: Path) -> None:
        there.add(path)
        found = snapshot.files.get(path)
        if found is not None and found.blob == _sha256(local):
            local.unlink()
        else:
            waiting[path] = local

    try:
        for file in files:
            local = scratch / f"upload-{Path(file.path).name}"
            pa.default_memory_pool().release_unused()  # else it would hold on to the largest of them all
            if not file.write(local):
                continue
            take(file.path, local)
            if _bytes(waiting) > _WAITING_BYTES:
                uploads += _sent(repository, waiting)
        if not there and data_files(snapshot.files):
            write_empty(scratch / "upload-empty.parquet", schema)
            take(UNDATED, scratch / "upload-empty.parquet")
        uploads += _sent(repository, waiting)
    finally:
        _delete(waiting)
    gone = [path for path in (*data_files(snapshot.files), *stray_files(snapshot.files)) if path not in there]
    if not uploads and not gone and not notes:
        return snapshot.commit
    small: dict[str, Path | bytes] = dict(notes or {})
    card = _card(repository, snapshot, schema)
    if card is not None:
        small[CARD] = card
    uploads += repository.upload(small) if small else []
    gone += [path for path in STALE_FILES if path in snapshot.files]
    return repository.commit(snapshot.commit, uploads, delete=gone, title=title, description=description)


def _sent(repository: HubRepository, waiting: dict[str, Path | bytes]) -> list[Upload]:
    """Upload what waits and delete it here."""
    pa.default_memory_pool().release_unused()
    uploads = repository.upload(waiting) if waiting else []
    _delete(waiting)
    return uploads


def _delete(waiting: dict[str, Path | bytes]) -> None:
    while waiting:
        _, local = waiting.popitem()
        if isinstance(local, Path):
            local.unlink(missing_ok=True)


def _bytes(waiting: Mapping[str, Path | bytes]) -> int:
    return sum(local.stat().st_size for local in waiting.values() if isinstance(local, Path))


def _card(repository: HubRepository, snapshot: Snapshot, schema: pa.Schema) -> bytes | None:
    """Return the card as it has to be, None if it is so already."""
    found = snapshot.files.get(CARD)
    before = snapshot.reader.content(found) if found else None
    try:
        text = None if before is None else before.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StoreError(f"{repository}: {CARD} is not UTF-8", hint="write it anew as UTF-8") from error
    try:
        after = edited_card(text, schema, title=repository.dataset.rpartition("/")[2]).encode("utf-8")
    except StoreError as error:
        raise StoreError(f"{repository}: {error.message}", hint=error.hint) from error
    return None if after == before else after


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
