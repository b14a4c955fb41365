"""The key columns of the published files: read by ranges from the Hub, kept on the local disk by content.

A file's content never changes under its digest, so what is kept stays right; only files that are new are read. The
folder may be deleted at any time, is shared by processes, and is kept under a size.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from data_platform.managers.hub.layout import check_schema
from data_platform.managers.hub.remote_parquet import RemoteReader
from data_platform.managers.hub.repository import RemoteFile
from data_platform.models.columns import NORMAL_SCHEMA
from data_platform.models.publication import normal_rows
from data_platform.models.urls import canonical_urls

__all__ = ["KEY_SCHEMA", "KeyCache", "default_cache_folder", "keys_of", "read_keys"]

#: What tells which article a row is; `url` in its canonical form.
KEY_SCHEMA: pa.Schema = pa.schema([NORMAL_SCHEMA.field(n) for n in ("unique_id", "agency", "extracted_at", "url")])
#: Another form of what is kept gets another folder.
_FOLDER = "govbr-keys-1"
_MOST_BYTES = 256 << 20


def default_cache_folder() -> Path:
    """Return a folder beside the cache of the Hub's client (`HF_HOME`)."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / _FOLDER


class KeyCache:
    """Key columns by the digest of the file they came from.

    Args:
        folder: where they are kept; None keeps nothing.
        most_bytes: what is used longest ago is deleted beyond this.
    """

    def __init__(self, folder: Path | None, *, most_bytes: int = _MOST_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes

    def get(self, blob: str) -> pa.Table | None:
        """Return the keys of a file, None if they are not here (or not whole)."""
        if self._folder is None:
            return None
        path = self._folder / blob
        try:
            with pa.OSFile(str(path)) as file:
                table = pa.ipc.open_file(file).read_all()
            os.utime(path)
        except (OSError, pa.ArrowException):
            return None
        return table if table.schema.equals(KEY_SCHEMA) else None

    def put(self, blob: str, keys: pa.Table) -> None:
        """Keep the keys of a file. A disk that does not take them is no error: they are read again."""
        if self._folder is None:
            return
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, draft = tempfile.mkstemp(dir=self._folder, prefix=".draft-")
            try:
                with os.fdopen(handle, "wb") as file, pa.ipc.new_file(file, KEY_SCHEMA) as writer:
                    writer.write_table(keys)
                Path(draft).replace(self._folder / blob)
            finally:
                Path(draft).unlink(missing_ok=True)

    def prune(self) -> None:
        """Delete what was used longest ago, beyond the most that is kept."""
        if self._folder is None:
            return
        found: list[tuple[float, int, Path]] = []
        for path in self._folder.glob("*"):
            with suppress(OSError):  # another process prunes too
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._most_bytes:
                return
            with suppress(OSError):
                path.unlink()
            total -= size


def keys_of(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return the keys of rows in the types of `NORMAL_SCHEMA`."""
    columns = {name: rows.column(name) for name in KEY_SCHEMA.names}
    columns["url"] = canonical_urls(columns["url"])
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=KEY_SCHEMA)


def read_keys(reader: RemoteReader, files: Iterable[RemoteFile], cache: KeyCache) -> Iterator[tuple[str, pa.Table]]:
    """Give the path and the keys of each file, in no promised order.

    Args:
        reader: of the commit that has the files.
        files: files in the published types.
        cache: where keys are kept.

    Raises:
        StoreError: a file is not in the published types, or is damaged.
        StoreUnavailableError: the Hub did not answer as it should.
    """
    unknown: list[RemoteFile] = []
    for file in files:
        keys = cache.get(file.blob)
        if keys is None:
            unknown.append(file)
        else:
            yield file.path, keys
    for file, opened in reader.columns(unknown, KEY_SCHEMA.names):
        check_schema(opened.schema, f"{reader.repository}: {file.path}")
        found = opened.decode().select(KEY_SCHEMA.names)
        keys = pa.Table.from_batches([keys_of(normal_rows(batch)) for batch in found.to_batches()], KEY_SCHEMA)
        cache.put(file.blob, keys)
        yield file.path, keys
    if unknown:
        cache.prune()
