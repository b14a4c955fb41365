"""Rows as the world sees them: the physical types of the published dataset, and its DataFrame.

Everything inside works with `NORMAL_SCHEMA` (instants in UTC microseconds). Here alone they become what the dataset
publishes: instants at a fixed −03:00, `extracted_at` as wall clock in UTC, in nanoseconds, without a zone. The instants
themselves never change (DESIGN §2.9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.models.columns import NORMAL_SCHEMA, PUBLISHED_SCHEMA

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["normal_rows", "published_frame", "published_rows"]


def published_rows(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows of `NORMAL_SCHEMA` (all columns or some) in the types of `PUBLISHED_SCHEMA`.

    Raises:
        pa.ArrowInvalid: an extracted_at is outside what nanoseconds can hold (admission takes such a one out).
    """
    arrays = []
    for name in rows.schema.names:
        array, wanted = rows.column(name), PUBLISHED_SCHEMA.field(name).type
        if name == "extracted_at":
            array = pc.local_timestamp(array)  # of an instant in UTC: its wall clock there
        arrays.append(array.cast(wanted))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([PUBLISHED_SCHEMA.field(n) for n in rows.schema.names]))


def normal_rows(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows in the types of `PUBLISHED_SCHEMA` (all columns or some) in those of `NORMAL_SCHEMA`.

    For files of our own making, whose instants have no nanoseconds; what others wrote goes through `sources`.
    """
    arrays = [rows.column(name).cast(NORMAL_SCHEMA.field(name).type) for name in rows.schema.names]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([NORMAL_SCHEMA.field(n) for n in rows.schema.names]))


def published_frame(rows: pa.Table) -> pd.DataFrame:
    """Return rows of `NORMAL_SCHEMA` as the DataFrame that readers of the dataset know.

    Columns in the order of `COLUMNS`; instants as datetime64[us] at −03:00, `extracted_at` as naive datetime64[ns],
    tags as numpy arrays of str (None for null), text as str objects with None for null. Rows are in order of
    published_at, then unique_id, so that no code can tell which store they came from.
    """
    table = pa.Table.from_batches([published_rows(batch) for batch in rows.to_batches()], PUBLISHED_SCHEMA)
    table = table.sort_by([("published_at", "ascending"), ("unique_id", "ascending")])
    return table.to_pandas()
