"""Reading the rows of some days from a dataset on the Hub: only the partitions, or row groups, that may hold them.

In the monthly layout a partition is fetched to the disk and read in batches. In the legacy one a row group is fetched
only if its statistics do not rule the days out; its rows are cleaned, and of rows with one unique_id one is given, as
after adoption.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_platform.errors import StoreError
from data_platform.managers.hub.layout import check_schema, data_files, month_of_path
from data_platform.managers.hub.state import Snapshot
from data_platform.models.columns import COLUMNS, NORMAL_SCHEMA, PUBLISHED_SCHEMA
from data_platform.models.days import Days
from data_platform.models.publication import normal_rows
from data_platform.models.theme_cells import ThemeIndex
from data_platform.sources.judged import judge
from data_platform.sources.normalise import Normaliser

__all__ = ["partition_batches", "read_days"]

_BATCH_ROWS = 1024
_PLACE = pa.field("place", pa.int64())
_RANK_SCHEMA: pa.Schema = pa.schema([NORMAL_SCHEMA.field(n) for n in ("unique_id", "extracted_at")]).append(_PLACE)


def read_days(snapshot: Snapshot, days: Days, agency: str | None, themes: ThemeIndex, scratch: Path) -> pa.Table:
    """Return the rows of some days, in the types of `NORMAL_SCHEMA`, in no particular order.

    Args:
        snapshot: the commit.
        days: the days.
        agency: key of an agency; None means all.
        themes: the known themes, for what has not been cleaned yet.
        scratch: folder for one file at a time.

    Raises:
        StoreError: a file is damaged or not in the published types.
        StoreUnavailableError: the Hub did not answer as it should.
    """
    parts = _of_any_layout if snapshot.layout.legacy else _of_months
    batches = list(parts(snapshot, days, agency, themes, scratch))
    if not snapshot.layout.legacy:
        return pa.Table.from_batches(batches, NORMAL_SCHEMA)
    table = pa.Table.from_batches(batches, NORMAL_SCHEMA.append(_PLACE))
    return _winners(table, _rivals(snapshot, table, themes))


def partition_batches(snapshot: Snapshot, path: str, scratch: Path) -> Iterator[pa.RecordBatch]:
    """Give the rows of a partition in batches of `NORMAL_SCHEMA`, in the order of the file.

    Args:
        snapshot: the commit, in the monthly layout.
        path: of the partition.
        scratch: folder for the file while it is read.

    Raises:
        StoreError: the file is damaged or not in the published types.
        StoreUnavailableError: the Hub did not answer as it should.
    """
    name = f"{snapshot.reader.repository}: {path}"
    local = snapshot.reader.download(snapshot.files[path], scratch / f"read-{Path(path).name}")
    try:
        with pq.ParquetFile(local, memory_map=False, page_checksum_verification=True) as file:
            check_schema(file.schema_arrow, name)
            for part in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
                yield normal_rows(part.replace_schema_metadata(None))
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{name} cannot be read: {error}", hint="go back to the commit before it") from error
    finally:
        local.unlink()
        pa.default_memory_pool().release_unused()


def _of_months(
    snapshot: Snapshot, days: Days, agency: str | None, _: ThemeIndex, scratch: Path
) -> Iterator[pa.RecordBatch]:
    for path in (path for path in snapshot.layout.partitions if _may_hold(path, days)):
        for rows in partition_batches(snapshot, path, scratch):
            yield from _chosen(rows, days, agency)


def _of_any_layout(
    snapshot: Snapshot, days: Days, agency: str | None, themes: ThemeIndex, _: Path
) -> Iterator[pa.RecordBatch]:
    """Read row groups as the migration does; each row comes with its place, by which repeats are told apart."""
    place = 0
    for path in data_files(snapshot.files):
        file = snapshot.files[path]
        opened = snapshot.reader.open(file)
        normalise = Normaliser(opened.schema, COLUMNS)
        for number in range(opened.metadata.num_row_groups):
            group = opened.metadata.row_group(number)
            first, place = place, place + group.num_rows
            if _ruled_out(group, opened.schema, days):
                continue
            opened.fetch([number], list(PUBLISHED_SCHEMA.names))
            for part in opened.decode().to_batches(max_chunksize=_BATCH_ROWS):
                read = judge(path, normalise(part, first), themes)
                rows = read.cleaned.batch.filter(read.admitted)
                places = pa.array(read.row_numbers).filter(read.admitted)
                first += part.num_rows
                yield from _chosen(rows.append_column(_PLACE, places), days, agency)


def _chosen(rows: pa.RecordBatch, days: Days, agency: str | None) -> Iterator[pa.RecordBatch]:
    mask = days.mask(rows.column("published_at"))
    if agency is not None:
        mask = pc.and_(mask, pc.fill_null(pc.equal(rows.column("agency"), agency), False))
    if pc.any(mask).as_py():
        yield rows.filter(mask)


def _ruled_out(group: pq.RowGroupMetaData, schema: pa.Schema, days: Days) -> bool:
    """Whether the statistics of a row group say that it has no row of these days."""
    if "published_at" not in schema.names or not pa.types.is_timestamp(schema.field("published_at").type):
        return False
    chunks = (group.column(i) for i in range(group.num_columns))
    chunk = next((c for c in chunks if c.path_in_schema == "published_at"), None)
    found = chunk.statistics if chunk is not None and chunk.is_stats_set else None
    if found is None or not found.has_min_max:
        return False
    # A day on either side: whatever zone the statistics are in, and however naive texts were meant.
    low, high = (datetime.fromisoformat(str(at)).replace(tzinfo=None) for at in (found.min, found.max))
    margin = timedelta(days=1)
    after = days.end is not None and low - margin >= days.end.replace(tzinfo=None)
    return after or high + margin < days.start.replace(tzinfo=None)


def _rivals(snapshot: Snapshot, chosen: pa.Table, themes: ThemeIndex) -> pa.Table:
    """Return what ranks the admitted rows of any day that share an id with a chosen row (`_RANK_SCHEMA`)."""
    ids = chosen.column("unique_id").combine_chunks()
    places = chosen.column(_PLACE.name).combine_chunks()
    needed = [column for column in COLUMNS if column.required or column.name in _RANK_SCHEMA.names]
    found: list[pa.RecordBatch] = []
    place = 0
    for path in data_files(snapshot.files):
        opened = snapshot.reader.open(snapshot.files[path])
        groups = range(opened.metadata.num_row_groups)
        opened.fetch(groups, ["unique_id"])
        there = _is_in(opened.decode().column("unique_id"), ids)
        others = pc.invert(pc.is_in(pa.array(np.arange(place, place + len(there))), value_set=places))
        doubtful = pc.and_(there, others).to_numpy(zero_copy_only=False)
        first = 0
        for number in groups:
            rows = opened.metadata.row_group(number).num_rows
            if doubtful[first : first + rows].any():
                opened.fetch([number], [column.name for column in needed])
                for part in opened.decode().combine_chunks().to_batches():
                    read = judge(path, Normaliser(part.schema, needed)(part, place + first), themes)
                    ranked = pa.RecordBatch.from_arrays(
                        [*(read.cleaned.batch.column(n) for n in _RANK_SCHEMA.names[:-1]), pa.array(read.row_numbers)],
                        schema=_RANK_SCHEMA,
                    )
                    found.append(ranked.filter(pc.and_(read.admitted, pc.is_in(ranked.column(0), value_set=ids))))
            first += rows
        place += first
    return pa.Table.from_batches(found, _RANK_SCHEMA)


def _is_in(values: pa.ChunkedArray, ids: pa.Array) -> pa.Array:
    """Return where one of the ids may stand; whatever is not plain text is not ruled out."""
    if not pa.types.is_string(values.type):
        return pa.array(np.ones(len(values), dtype=bool))
    return pc.is_in(values, value_set=ids).combine_chunks()


def _winners(chosen: pa.Table, rivals: pa.Table) -> pa.Table:
    """Of all rows with one unique_id keep the chosen one only if it has the latest extracted_at, then place."""
    ranked = pa.concat_tables([chosen.select(_RANK_SCHEMA.names), rivals])
    by = [("unique_id", "ascending"), ("extracted_at", "descending"), (_PLACE.name, "descending")]
    ordered = ranked.sort_by(by)  # rows without extracted_at come last
    ids = ordered.column("unique_id").combine_chunks()
    first = np.ones(len(ids), dtype=bool)
    if len(ids) > 1:
        first[1:] = pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1)).to_numpy(zero_copy_only=False)
    winners = ordered.column(_PLACE.name).filter(pa.array(first)).combine_chunks()
    kept = pc.is_in(chosen.column(_PLACE.name), value_set=winners)
    return chosen.filter(kept).drop_columns([_PLACE.name])


def _may_hold(path: str, days: Days) -> bool:
    """Whether a monthly file may hold rows of these days; none but monthly files do."""
    month = month_of_path(path)
    return month is not None and f"{days.first:%Y-%m}" <= month <= f"{days.last:%Y-%m}"
