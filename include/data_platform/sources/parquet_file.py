"""One parquet file: its footer, and a row group of it as batches in bounded memory.

The memory rule: pages are streamed through small buffers (`buffer_size`, never a whole column chunk), and a
batch is decoded in steps small enough for what its rows weigh. Parquet says how much a row group weighs,
not how much its next rows do, so steps start small where big rows are possible and follow what is seen.
What cannot be bounded from here: pyarrow holds a page whole, and one page may hold many big rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_platform.errors import SourceError, SourceUnavailableError

__all__ = ["MAX_BATCH_BYTES", "Footer", "RowRange", "fingerprint", "read_footer", "read_rows"]

#: A batch whose values weigh more is cut into smaller ones.
MAX_BATCH_BYTES = 32 << 20
# What one decoding step aims at; well under MAX_BATCH_BYTES, since the next rows may weigh more than the last.
_STEP_BYTES = 16 << 20
# Decoding a row group of this size at once does no harm.
_SMALL_GROUP_BYTES = 64 << 20
_FIRST_STEP_ROWS = 32
_LEAST_STEP_ROWS = 16
# In a large row group a crowd of 2 MB rows may follow thousands of small ones: 128 of them are 256 MB.
_LARGE_GROUP_STEP_ROWS = 128
_READ_BUFFER_BYTES = 1 << 20

_MAGIC = b"PAR1"
_MAGIC_ENCRYPTED = b"PARE"
_TAIL_BYTES = 8  # length of the footer (4 bytes, little-endian) and the magic, at the end of the file
_LFS_POINTER = b"version https://git-lfs"
_ANEW = "fetch or write this file anew; if that is impossible, take it out of the source on purpose"


@dataclass(frozen=True)
class Footer:
    """What the end of a file says about it.

    Attributes:
        path: where the file is.
        name: what messages call it.
        size: bytes of the file.
        sha256: digest of the footer's bytes, hex.
        metadata: row groups and statistics.
        schema: Arrow schema.
    """

    path: Path
    name: str
    size: int
    sha256: str
    metadata: pq.FileMetaData
    schema: pa.Schema


@dataclass(frozen=True)
class RowRange:
    """Some rows of one row group.

    Attributes:
        row_group: index of the row group in the file.
        start: first row wanted, counted inside the row group.
        stop: row after the last one wanted.
    """

    row_group: int
    start: int
    stop: int


def fingerprint(path: Path, name: str) -> tuple[int, str]:
    """Return the size of a file and the digest of its footer, without reading anything else.

    Args:
        path: where it is.
        name: what messages call it.

    Raises:
        SourceError: it is gone, may not be read, or is not a whole parquet file.
        SourceUnavailableError: the disk did not answer as it should.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
            size = file.seek(0, 2)
            if start == _LFS_POINTER:
                raise SourceError(f"{name} is a Git LFS pointer, not the file itself", hint="run git lfs pull")
            file.seek(max(0, size - _TAIL_BYTES))
            tail = file.read()
            if tail[4:] == _MAGIC_ENCRYPTED:
                raise SourceError(f"{name} is encrypted", hint="write it without encryption")
            length = int.from_bytes(tail[:4], "little")
            if tail[4:] != _MAGIC or length > size - _TAIL_BYTES - len(_MAGIC):
                raise SourceError(f"{name} is cut off, damaged, or not a parquet file ({size} bytes)", hint=_ANEW)
            file.seek(size - _TAIL_BYTES - length)
            return size, sha256(file.read(length)).hexdigest()
    except OSError as error:
        raise _os_error(name, error) from error


def read_footer(path: Path, name: str) -> Footer:
    """Read the footer of a file.

    Raises:
        SourceError: see `fingerprint`; or the footer is damaged.
        SourceUnavailableError: the disk did not answer as it should.
    """
    size, digest = fingerprint(path, name)
    try:
        with _open(path, None) as file:
            metadata, schema = file.metadata, file.schema_arrow
    except OSError as error:
        if error.errno is not None:
            raise _os_error(name, error) from error
        raise SourceError(f"{name} has a damaged footer: {error}", hint=_ANEW) from error
    except pa.ArrowException as error:
        raise SourceError(f"{name} has a damaged footer: {error}", hint=_ANEW) from error
    groups = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    if sum(groups) != metadata.num_rows or any(rows < 0 for rows in groups):
        raise SourceError(f"{name} has a damaged footer: its row counts contradict each other", hint=_ANEW)
    return Footer(path, name, size, digest, metadata, schema)


def read_rows(
    footer: Footer, rows: RowRange, *, columns: Sequence[str], batch_rows: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Read rows of a row group, as they lie in the file.

    Rows before the first one wanted are decoded too (pyarrow cannot jump into a column chunk) but not kept.

    Args:
        footer: of the file.
        rows: the rows wanted.
        columns: columns to read.
        batch_rows: most rows in a batch; a batch is also kept under `MAX_BATCH_BYTES` unless one row is bigger.

    Yields:
        (index inside the row group of the first row, batch), without gaps.

    Raises:
        SourceError: a page is damaged, or rows are missing.
        SourceUnavailableError: the disk did not answer as it should.
    """
    held: list[pa.RecordBatch] = []
    held_rows = held_bytes = 0
    position = rows.start
    for part in _kept(footer, rows, columns, batch_rows):
        weight = _most_weight(part)
        # Joining costs a copy, so it is for small parts only.
        large = 4 * part.num_rows >= batch_rows or weight > _STEP_BYTES
        if held and (large or held_rows + part.num_rows > batch_rows or held_bytes + weight > MAX_BATCH_BYTES):
            yield position, _join(held)
            position += held_rows
            held, held_rows, held_bytes = [], 0, 0
        if not large:
            held.append(part)
            held_rows += part.num_rows
            held_bytes += weight
            continue
        for piece in _light_pieces(part, weight):
            yield position, piece
            position += piece.num_rows
    if held:
        yield position, _join(held)


def _kept(footer: Footer, rows: RowRange, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
    seen = 0
    for part in _parts(footer, rows.row_group, columns, batch_rows):
        first, seen = seen, seen + part.num_rows
        if seen > rows.start and part.num_rows:
            skip = max(0, rows.start - first)
            yield part.slice(skip, min(seen, rows.stop) - first - skip)
        if seen >= rows.stop:
            return
    promised = footer.metadata.row_group(rows.row_group).num_rows
    raise SourceError(
        f"{footer.name}, row group {rows.row_group}: the footer promises {promised} rows, only {seen} are there",
        hint=_ANEW,
    )


def _parts(footer: Footer, row_group: int, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
    step, most = _steps(footer.metadata.row_group(row_group), columns, batch_rows)
    try:
        with _open(footer.path, footer.metadata) as file:
            parts = file.iter_batches(batch_size=step, row_groups=[row_group], columns=list(columns), use_threads=False)
            for part in parts:
                yield part
                if part.num_rows:
                    light_enough = _STEP_BYTES * part.num_rows // max(1, _most_weight(part))
                    step = min(most, max(_LEAST_STEP_ROWS, light_enough))
                    # Takes effect on the next part. Were it ignored, steps would stay as small as the first.
                    file.reader.set_batch_size(step)
    except OSError as error:
        if error.errno is not None:
            raise _os_error(footer.name, error) from error
        raise _damaged(footer.name, row_group, error) from error
    except pa.ArrowException as error:
        raise _damaged(footer.name, row_group, error) from error


def _steps(group: pq.RowGroupMetaData, columns: Sequence[str], batch_rows: int) -> tuple[int, int]:
    """Return how many rows to decode in the first step, and at most in later ones."""
    chunks = [group.column(i) for i in range(group.num_columns)]
    chunks = [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] in columns]
    total = sum(chunk.total_uncompressed_size for chunk in chunks)
    small = total <= _SMALL_GROUP_BYTES
    most = batch_rows if small else min(batch_rows, _LARGE_GROUP_STEP_ROWS)
    average = max(1, total // max(1, group.num_rows))
    first = most if small and not any(map(_may_repeat_big_values, chunks)) else min(most, _FIRST_STEP_ROWS)
    return max(1, min(first, max(_LEAST_STEP_ROWS, _STEP_BYTES // average), batch_rows)), most


def _may_repeat_big_values(chunk: pq.ColumnChunkMetaData) -> bool:
    # In a dictionary a value is stored once, however often it occurs, so the chunk's size says nothing about its rows.
    # Writers leave out the extremes of a column (as does pyarrow over 4 kB) when they are long.
    if chunk.physical_type != "BYTE_ARRAY" or not chunk.has_dictionary_page:
        return False
    found = chunk.statistics if chunk.is_stats_set else None
    return found is None or (not found.has_min_max and found.null_count != chunk.num_values)


def _open(path: Path, metadata: pq.FileMetaData | None) -> pq.ParquetFile:
    return pq.ParquetFile(
        path,
        metadata=metadata,
        memory_map=False,
        pre_buffer=False,
        buffer_size=_READ_BUFFER_BYTES,
        page_checksum_verification=True,
    )


def _most_weight(batch: pa.RecordBatch) -> int:
    """Return the bytes of the values of a batch, or more: of a slice it may count what was cut off. Takes no time."""
    return int(batch.get_total_buffer_size()) + _repeated_bytes(batch)


def _weight(batch: pa.RecordBatch) -> int:
    return int(batch.nbytes) + _repeated_bytes(batch)


def _repeated_bytes(batch: pa.RecordBatch) -> int:
    """Return what decoding will add to dictionary-encoded columns."""
    total = 0
    for index, found in enumerate(batch.schema.types):
        if pa.types.is_dictionary(found) and pa.types.is_string(found.value_type):
            column = batch.column(index)
            total += pc.sum(pc.binary_length(column.dictionary).take(column.indices)).as_py() or 0
    return total


def _light_pieces(batch: pa.RecordBatch, most_weight: int) -> Iterator[pa.RecordBatch]:
    if most_weight <= MAX_BATCH_BYTES or batch.num_rows <= 1:
        yield batch
        return
    half = batch.num_rows // 2
    for piece in (batch.slice(0, half), batch.slice(half)):
        yield from _light_pieces(piece, _weight(piece))


def _join(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def _damaged(name: str, row_group: int, error: Exception) -> SourceError:
    return SourceError(f"{name}, row group {row_group} cannot be decoded, so the file is damaged: {error}", hint=_ANEW)


def _os_error(name: str, error: OSError) -> SourceError | SourceUnavailableError:
    if isinstance(error, FileNotFoundError):
        return SourceError(f"{name} is not there", hint="it was moved or deleted; open the source anew")
    if isinstance(error, (PermissionError, IsADirectoryError)):
        return SourceError(f"{name} cannot be opened: {error.strerror}", hint="it must be a file this user may read")
    return SourceUnavailableError(f"{name} cannot be read: {error}", hint="try again later, or check the disk")
