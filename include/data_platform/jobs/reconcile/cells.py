"""Rows that differ, cell by cell: in which columns, whether for a reason, and side by side for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.jobs.reconcile.partitions import Sides
from data_platform.jobs.reconcile.rows import take
from data_platform.managers.write_rules import same_cells
from data_platform.models.admission import clean
from data_platform.models.columns import COLUMN_NAMES
from data_platform.models.theme_cells import ThemeIndex

__all__ = ["Cells", "look_at_cells", "one_sided", "rows_at"]

_LONGEST_CELL = 200
#: What a difference is told as that lies in no cell: a row stands in another month's file than its own.
FILE = "file"
#: What a row of one side only is known by.
_KNOWN_BY = ("agency", "published_at", "title", "url", "extracted_at")
_COUNTED = tuple(name for name in COLUMN_NAMES if name != "extracted_at")


@dataclass
class Cells:
    """What looking at the cells of rows found.

    Attributes:
        explained: unique_id -> the reasons for which the row differs.
        different: ids of rows without a reason.
        columns: column -> how many of these differ in it.
        differences: the first of these, cell by cell.
    """

    explained: dict[str, tuple[str, ...]] = field(default_factory=dict)
    different: list[str] = field(default_factory=list)
    columns: Counter[str] = field(default_factory=Counter)
    differences: list[dict[str, Any]] = field(default_factory=list)
    _shown: int = 0

    def add(self, uid: str, path: str, cells: Mapping[str, tuple[Any, Any]], *, most: int) -> None:
        """Count a row without a reason, and show it if not enough are shown.

        Args:
            uid: its id.
            path: its partition.
            cells: column -> both values, of those that differ.
            most: rows to show.
        """
        self.different.append(uid)
        self.columns.update(cells.keys())
        if self._shown < most:
            self._shown += 1
            self.differences += [
                {"unique_id": uid, "path": path, "column": name, "source": shown(a), "target": shown(b)}
                for name, (a, b) in cells.items()
            ]


def look_at_cells(
    sides: Sides,
    rows: Mapping[str, str],
    themes: ThemeIndex,
    *,
    misfiled: Mapping[str, str],
    leave_out: Collection[str] = (),
    most: int,
) -> Cells:
    """Look at rows that both stores have with other digests.

    Args:
        sides: both stores.
        rows: unique_id -> path of its partition in the dataset.
        themes: the known themes.
        misfiled: unique_id -> path of its month, of rows that the dataset has in another one's file.
        leave_out: ids that are not looked at.
        most: rows that are shown cell by cell.
    """
    cells = Cells()
    by_path: dict[str, list[str]] = {}
    for uid, path in rows.items():
        if uid not in leave_out:
            by_path.setdefault(path, []).append(uid)
    for path in sorted(by_path):
        wanted = pa.array(by_path[path], pa.string())
        seen: set[str] = set()
        for batch in sides.batches(path):
            its = batch.filter(pc.is_in(batch.column("unique_id"), value_set=wanted))
            fresh = [uid not in seen for uid in its.column("unique_id").to_pylist()]
            seen.update(its.column("unique_id").to_pylist())
            if its.num_rows:
                looked_at = its.filter(pa.array(fresh, pa.bool_()))
                for uid, kinds, values in _judged(sides, looked_at, themes):
                    if uid in misfiled:
                        cells.add(uid, path, values | {FILE: (path, misfiled[uid])}, most=most)
                    elif kinds:
                        cells.explained[uid] = kinds
                    else:
                        cells.add(uid, path, values, most=most)
    return cells


def shown(value: object) -> Any:  # noqa: ANN401 - a JSON value
    """Return a cell as a JSON value, a long text shortened."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and len(value) > _LONGEST_CELL:
        return f"{value[:_LONGEST_CELL]}… ({len(value):,} characters)"
    return value


def one_sided(rows: pa.Table, paths: Mapping[str, str], only_in: str, why: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return rows of one side only as they are shown.

    Args:
        rows: the rows.
        paths: unique_id -> partition.
        only_in: the store that has them.
        why: unique_id -> what is known of it.
    """
    return [
        {
            "unique_id": row["unique_id"],
            "path": paths[row["unique_id"]],
            "only_in": only_in,
            "why": why.get(row["unique_id"], "nothing is known of it"),
            **{name: shown(row[name]) for name in _KNOWN_BY},
        }
        for row in rows.select(["unique_id", *_KNOWN_BY]).to_pylist()
    ]


def rows_at(sides: Sides, rows: Mapping[str, str], ids: Sequence[str]) -> Iterable[pa.RecordBatch]:
    """Give rows of the dataset, by id and the path of their partition."""
    for path in sorted({rows[uid] for uid in ids}):
        wanted = pa.array([uid for uid in ids if rows[uid] == path], pa.string())
        for batch in sides.batches(path):
            yield batch.filter(pc.is_in(batch.column("unique_id"), value_set=wanted))


def _judged(
    sides: Sides, batch: pa.RecordBatch, themes: ThemeIndex
) -> Iterator[tuple[str, tuple[str, ...], dict[str, tuple[Any, Any]]]]:
    """Give id, reasons and differing cells of rows of the dataset that PostgreSQL has too."""
    ids = batch.column("unique_id").to_pylist()
    target = take(sides.news.rows_of(ids), ids).combine_chunks().to_batches()[0]
    same = {name: same_cells(batch, target, [name]).to_pylist() for name in COLUMN_NAMES}
    cleaned = clean(batch, themes)
    alike = same_cells(cleaned.batch, target, _COUNTED).to_pylist()
    marks = {":".join(mark): rows.to_pylist() for mark, rows in cleaned.marks.items()}
    for row, uid in enumerate(ids):
        differ = [name for name in COLUMN_NAMES if not same[name][row]]
        if alike[row]:
            yield uid, tuple(kind for kind, marked in marks.items() if marked[row]) or ("extracted_at",), {}
        else:
            values = {name: (batch.column(name)[row].as_py(), target.column(name)[row].as_py()) for name in differ}
            yield uid, (), values
