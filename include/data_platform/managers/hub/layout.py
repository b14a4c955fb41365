"""Where a row stands in the published dataset, and the file that a set of rows makes.

`data/train-YYYY-MM.parquet` holds the rows of one São Paulo month of publication; `data/train-undated.parquet` those
that admission refuses (no date, no title, ...), which stay published as they are. Anything else below `data/train` is
the legacy layout. A file is a pure function of its rows: fixed order, exact types, fixed row groups, content-defined
chunks. So equal rows give equal bytes and need no upload, and a small edit leaves most chunks as they were. Its footer
carries a digest of its rows, so that what is published can be told without fetching it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_platform.errors import IntegrityError, StoreError
from data_platform.models.columns import NORMAL_SCHEMA, PUBLISHED_SCHEMA
from data_platform.models.days import days_of
from data_platform.models.digest import row_digests
from data_platform.models.publication import normal_rows, published_rows

__all__ = [
    "NO_ROWS",
    "ORDER",
    "REDUCED_SCHEMA",
    "UNDATED",
    "Layout",
    "PartitionWriter",
    "Rows",
    "check_schema",
    "data_files",
    "layout_of",
    "month_of_path",
    "months_of",
    "partition_path",
    "read_partition",
    "rows_told",
    "stray_files",
    "write_empty",
    "write_partition",
    "write_reduced",
]

UNDATED = "data/train-undated.parquet"
#: What the rows of a file are sorted by, ids by their bytes. Undated rows repeat both and go by their digest then.
ORDER = ("published_at", "unique_id")
#: The columns of the reduced dataset, in its order (FIELD_FACTS §1.1).
REDUCED_SCHEMA: pa.Schema = pa.schema([PUBLISHED_SCHEMA.field(n) for n in ("published_at", "agency", "title", "url")])

_MONTHLY = re.compile(r"data/train-(?P<month>\d{4}-(?:0[1-9]|1[0-2]))\.parquet")
_DATA = re.compile(r"data/train[^/]*\.parquet")
#: What the card's `data/train-*` takes in, whatever it is.
_TAKEN = re.compile(r"data/train-[^/]*")
_MONTHS_A_YEAR = 12
#: Where a footer says what the rows of its file are.
_DIGEST_KEY = "govbr.rows_md5"
#: Some 12 MB, of which a writer holds a few copies; more row groups would mean more ranges to read keys from.
_ROW_GROUP_ROWS = 2_500
#: Where values repeat. A dictionary of texts that do not would only be given up half-way, and blur the chunks.
_REPEATING = [
    "agency",
    "category",
    "tags.list.element",
    *(n for n in PUBLISHED_SCHEMA.names if n.startswith(("theme_1", "most_specific"))),
]
#: The extremes of long texts would make up most of a footer, which is read to find any row.
_WITH_STATISTICS = ["unique_id", "published_at", "updated_datetime", "extracted_at", *_REPEATING]


@dataclass(frozen=True)
class Layout:
    """The data files of a commit.

    Attributes:
        partitions: paths of monthly files and of the undated one, sorted.
        legacy: paths of data files in any other form, sorted.
    """

    partitions: tuple[str, ...]
    legacy: tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """What tells the rows of a file from others, in their order.

    Attributes:
        count: how many there are.
        digest: MD5 in hex over their digests (`row_digests`), one after the other.
    """

    count: int
    digest: str


#: Of a file without rows.
NO_ROWS = Rows(0, hashlib.md5(usedforsecurity=False).hexdigest())


def data_files(paths: Iterable[str]) -> list[str]:
    """Return the paths that `data/train-*` takes in, sorted."""
    return sorted(path for path in paths if _DATA.fullmatch(path))


def stray_files(paths: Iterable[str]) -> list[str]:
    """Return the paths that `load_dataset` takes for data though they are no parquet files, sorted."""
    return sorted(path for path in paths if _TAKEN.fullmatch(path) and not _DATA.fullmatch(path))


def layout_of(paths: Iterable[str]) -> Layout:
    """Tell the data files among the paths of a commit apart."""
    ours: list[str] = []
    legacy: list[str] = []
    for path in data_files(paths):
        (ours if path == UNDATED or _MONTHLY.fullmatch(path) else legacy).append(path)
    return Layout(tuple(ours), tuple(legacy))


def partition_path(month: str | None) -> str:
    """Return the path of a month's file (`YYYY-MM`), or of the undated rows."""
    return UNDATED if month is None else f"data/train-{month}.parquet"


def month_of_path(path: str) -> str | None:
    """Return the month of a monthly file, None for every other path."""
    found = _MONTHLY.fullmatch(path)
    return found["month"] if found else None


def months_of(instants: pa.Array) -> pa.Array:
    """Return the São Paulo months (`YYYY-MM`) of instants with zone, null for null."""
    days = days_of(instants)
    numbers = pc.add(pc.multiply(pc.year(days), _MONTHS_A_YEAR), pc.subtract(pc.month(days), 1))
    encoded = numbers.dictionary_encode()
    names = [f"{n // _MONTHS_A_YEAR:04d}-{n % _MONTHS_A_YEAR + 1:02d}" for n in encoded.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(encoded.indices)


def check_schema(found: pa.Schema, name: str, wanted: pa.Schema = PUBLISHED_SCHEMA) -> None:
    """Refuse a file that is not exactly in the published types.

    Raises:
        StoreError: says which columns differ and how.
    """
    if found.equals(wanted, check_metadata=False):
        return
    told = [f"{n} is missing" for n in wanted.names if n not in found.names]
    told += [f"{n} does not belong there" for n in found.names if n not in wanted.names]
    told += [
        f"{n} is {found.field(n).type}, not {wanted.field(n).type}"
        for n in wanted.names
        if found.names.count(n) == 1 and found.field(n).type != wanted.field(n).type
    ]
    raise StoreError(
        f"{name} does not have the published columns: {'; '.join(told) or 'their order differs'}",
        hint="it would break the whole dataset for its readers; write it anew, or go back to the commit before it",
    )


class PartitionWriter:
    """Writes a file from rows that come in their order; holds a row group of them.

    Used in a `with` statement; the file is whole after it, and is not to be used if it was left by an error.

    Args:
        path: where to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.md5(usedforsecurity=False)
        self._waiting: list[pa.RecordBatch] = []
        self._count = self._written = 0
        self._writer = _writer(path, PUBLISHED_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush(self._count - self._written)
            self._writer.add_key_value_metadata({_DIGEST_KEY: self._digest.hexdigest()})
        self._writer.close()
        if error is None:
            _written(self._path, PUBLISHED_SCHEMA, self._count)

    @property
    def rows(self) -> Rows:
        """What was given so far."""
        return Rows(self._count, self._digest.hexdigest())

    def write(self, rows: pa.RecordBatch, digests: Sequence[bytes]) -> None:
        """Add rows.

        Args:
            rows: all 24 columns in the types of `NORMAL_SCHEMA`, in the order of `ORDER`.
            digests: `row_digests(rows)`.

        Raises:
            pa.ArrowInvalid: a cell is outside what the published types can hold.
        """
        self._digest.update(b"".join(digests))
        self._count += rows.num_rows
        self._waiting.append(rows)
        while self._count - self._written >= _ROW_GROUP_ROWS:
            self._flush(_ROW_GROUP_ROWS)

    def _flush(self, rows: int) -> None:
        """Write the first rows of those that wait, as a row group."""
        if not rows:
            return
        waiting = pa.concat_batches(self._waiting)
        self._waiting = [waiting.slice(rows)] if waiting.num_rows > rows else []
        # In one piece and from its own beginning: the same rows shall make the same bytes, however they came.
        published = published_rows(waiting.slice(0, rows))
        self._writer.write_table(pa.Table.from_batches([published]).combine_chunks(), row_group_size=_ROW_GROUP_ROWS)
        self._written += rows


def write_partition(path: Path, rows: pa.Table) -> int:
    """Write the file that some rows make and return how many rows it has.

    Args:
        path: where to.
        rows: all 24 columns in the types of `NORMAL_SCHEMA`, in any order.

    Raises:
        IntegrityError: the file does not hold every row given.
    """
    order = _sorted(rows)
    with PartitionWriter(path) as writer:
        for start in range(0, rows.num_rows, _ROW_GROUP_ROWS):
            # One row group's rows at a time are put in order: a second copy of all is not needed.
            group = rows.take(pa.array(order[start : start + _ROW_GROUP_ROWS])).combine_chunks()
            for batch in group.to_batches():
                writer.write(batch, row_digests(batch))
    return writer.rows.count


def write_empty(path: Path, schema: pa.Schema) -> None:
    """Write a file without rows, in the columns of either dataset."""
    with _writer(path, schema) as writer:  # without a row group either: an empty one is an error to `datasets`
        writer.add_key_value_metadata({_DIGEST_KEY: NO_ROWS.digest})


def rows_told(metadata: pq.FileMetaData) -> Rows | None:
    """Return what a footer says of the rows of its file; None if it says nothing, being of somebody else's making.

    Whoever changes rows with Arrow and writes them again may take the old digest along: it is a proof of what this
    package wrote, not of what others did.
    """
    told = (metadata.metadata or {}).get(_DIGEST_KEY.encode())
    return None if told is None else Rows(int(metadata.num_rows), told.decode("ascii", "replace"))


def write_reduced(path: Path, rows: pa.Table) -> int:
    """Write a file of the reduced dataset: the rows of one of the main one's, in its order, in four columns.

    Args:
        path: where to.
        rows: the four columns in their published types, in the order of the main dataset's file.

    Raises:
        IntegrityError: the file does not hold every row given.
    """
    with _writer(path, REDUCED_SCHEMA) as writer:
        whole = rows.select(REDUCED_SCHEMA.names).cast(REDUCED_SCHEMA).combine_chunks()
        writer.write_table(whole, row_group_size=_ROW_GROUP_ROWS)
    return _written(path, REDUCED_SCHEMA, rows.num_rows)


def read_partition(path: Path, name: str) -> pa.Table:
    """Return the rows of a file that `write_partition` made, in the types of `NORMAL_SCHEMA`.

    Args:
        path: the local file.
        name: what messages call it.

    Raises:
        StoreError: its columns are not the published ones, or it is damaged.
    """
    try:
        with pq.ParquetFile(path, memory_map=False, page_checksum_verification=True) as file:
            check_schema(file.schema_arrow, name)
            table = file.read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{name} cannot be read: {error}", hint="go back to the commit before it") from error
    batches = [normal_rows(batch) for batch in table.replace_schema_metadata(None).to_batches()]
    return pa.Table.from_batches(batches, NORMAL_SCHEMA)


def _sorted(rows: pa.Table) -> np.ndarray:
    keys = rows.select(list(ORDER))
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in ORDER]).to_numpy()
    ordered = keys.take(pa.array(order))
    if _repeats(ordered):
        # Nothing but the whole row tells such rows apart; equal ones may stand in any order.
        digests = np.array([d.hex() for batch in rows.to_batches() for d in row_digests(batch)])
        whole = keys.append_column("digest", pa.array(digests, pa.string()))
        by = [(name, "ascending") for name in (*ORDER, "digest")]
        order = pc.sort_indices(whole, sort_keys=by).to_numpy()
    return np.asarray(order)


def _repeats(ordered: pa.Table) -> bool:
    """Whether any two neighbours have the same keys, nulls counting as the same."""
    rows = ordered.num_rows
    if rows <= 1:
        return False
    same = pa.array(np.ones(rows - 1, dtype=bool))
    for name in ORDER:
        column = ordered.column(name).combine_chunks()
        before, after = column.slice(0, rows - 1), column.slice(1)
        both_null = pc.and_(before.is_null(), after.is_null())
        same = pc.and_(same, pc.or_(pc.fill_null(pc.equal(before, after), False), both_null))
    return bool(pc.any(same).as_py())


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=[name for name in _REPEATING if name.split(".")[0] in schema.names],
        use_content_defined_chunking=True,
        write_statistics=[name for name in _WITH_STATISTICS if name.split(".")[0] in schema.names],
        write_page_checksum=True,
    )


def _written(path: Path, schema: pa.Schema, rows: int) -> int:
    with pq.ParquetFile(path) as file:
        check_schema(file.schema_arrow, path.name, schema)
        found = int(file.metadata.num_rows)
    if found != rows:
        raise IntegrityError(f"{path.name} was given {rows} rows and holds {found}", hint="nothing was uploaded")
    return found
