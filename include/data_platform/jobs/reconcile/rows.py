"""The same rows in two stores, beside each other: for whoever brings one of them up to the other."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.managers.interface import NewsStore
from data_platform.managers.write_rules import same_cells
from data_platform.models.admission import clean
from data_platform.models.columns import COLUMN_NAMES, NORMAL_SCHEMA

__all__ = ["different", "places", "rows_in", "soiled", "some", "take"]

_SHOWN = 5


def rows_in(store: NewsStore, ids: Sequence[str]) -> pa.Table:
    """Return the rows with these ids that a store has; it is not asked for none."""
    return store.get_by_unique_ids(ids) if ids else NORMAL_SCHEMA.empty_table()


def places(rows: pa.Table) -> dict[str, int]:
    """Return unique_id -> place of the row."""
    return {uid: place for place, uid in enumerate(rows.column("unique_id").to_pylist())}


def take(rows: pa.Table, ids: Sequence[str]) -> pa.Table:
    """Return the rows with these ids, in their order."""
    at = places(rows)
    return rows.take(pa.array([at[uid] for uid in ids], pa.int64()))


def different(old: pa.Table, new: pa.Table, columns: Sequence[str]) -> list[str]:
    """Return the ids that both have with other cells in these columns."""
    in_new = places(new)
    common = [uid for uid in places(old) if uid in in_new]
    if not common or not columns:
        return []
    sides = [take(rows, common).combine_chunks().to_batches()[0] for rows in (old, new)]
    same = same_cells(sides[0], sides[1], columns)
    return list(pa.array(common, pa.string()).filter(pc.invert(same)).to_pylist())


def soiled(rows: pa.Table) -> list[str]:
    """Return the ids of rows that admission would clean: whoever takes them over gets other cells."""
    if not rows.num_rows:
        return []
    batch = rows.select(COLUMN_NAMES).combine_chunks().to_batches()[0]
    same = same_cells(batch, clean(batch).batch, COLUMN_NAMES)
    return list(batch.filter(pc.invert(same)).column("unique_id").to_pylist())


def some(ids: Sequence[str]) -> str:
    """Return some ids for a line."""
    shown = ", ".join(ids[:_SHOWN])
    return f"{shown} and {len(ids) - _SHOWN:,} more" if len(ids) > _SHOWN else shown
