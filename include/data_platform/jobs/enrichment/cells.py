"""What of an enrichment is written into a row, and as which cells.

A theme is one value in nine cells, and a summary is another. Each is written whole or not at all: where the row has
none; where what it has is known to be approximate and this is not; or, of a theme, where this one goes deeper and all
that is there stays as it is. So no value gives way to null or to a lesser one (DESIGN §2.7).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from data_platform.jobs.enrichment.codes import ThemeCodes
from data_platform.jobs.enrichment.interface import Enrichment, Row
from data_platform.models.columns import THEME_COLUMNS
from data_platform.models.theme_cells import ThemeIndex, overlay_themes

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SUMMARY", "THEME", "Cells", "Mark", "ThemeCells", "missing_parts", "update_frames"]

#: The two things that enrichment gives.
THEME, SUMMARY = "theme", "summary"
_COLUMNS: Mapping[str, tuple[str, ...]] = {THEME: tuple(THEME_COLUMNS), SUMMARY: ("summary",)}
_CODES = ("theme_1_level_1_code", "theme_1_level_2_code", "theme_1_level_3_code")
_MOST = ("most_specific_theme_code", "most_specific_theme_label")


@dataclass(frozen=True)
class Mark:
    """Which parts of a row are known to be approximate, or not to be all of it.

    Attributes:
        theme: whether its theme is approximate.
        summary: whether its summary is.
        partial: whether deeper levels of its theme were still to come when it was written.
    """

    theme: bool = False
    summary: bool = False
    partial: bool = False

    def of(self, part: str) -> bool:
        """Return whether a part is approximate."""
        return self.theme if part == THEME else self.summary


@dataclass(frozen=True, kw_only=True)
class Cells:
    """What is to be written into a row.

    Attributes:
        enrichment: who says so.
        parts: THEME, SUMMARY or both.
        columns: column of the dataset -> value; the nine theme cells, if there is a theme, and the summary.
        before: the same columns -> what the row had when this was made.
    """

    enrichment: Enrichment
    parts: frozenset[str]
    columns: Mapping[str, str | None] = field(default_factory=dict)
    before: Mapping[str, str | None] = field(default_factory=dict)

    def of(self, parts: Collection[str]) -> Cells:
        """Return these parts of it alone."""
        names = [name for part in parts for name in _COLUMNS[part]]
        columns, before = (
            {name: values[name] for name in values if name in names} for values in (self.columns, self.before)
        )
        return Cells(enrichment=self.enrichment, parts=frozenset(parts), columns=columns, before=before)


def missing_parts(row: Row, mark: Mark, *, approximate: bool) -> frozenset[str]:
    """Say what a row lacks that an enricher may give.

    Args:
        row: its cells.
        mark: which of them are known to be approximate.
        approximate: whether the enricher's answers are; if not, approximate ones count as lacking.
    """
    there = {THEME: any(row.get(name) for name in THEME_COLUMNS), SUMMARY: bool(row.get("summary"))}
    return frozenset(p for p, found in there.items() if not found or (mark.of(p) and not approximate))


class ThemeCells:
    """Makes the cells of enrichments.

    Args:
        codes: the tree.
    """

    def __init__(self, codes: ThemeCodes) -> None:
        self.codes = codes

    @cached_property
    def index(self) -> ThemeIndex:
        """The tree, as the rules of the theme cells want it."""
        themes = self.codes.tree.by_code.values()
        return ThemeIndex.of((number, theme.code, theme.label) for number, theme in enumerate(themes))

    def of(self, theme_codes: Sequence[str | None]) -> list[dict[str, str | None]]:
        """Return the nine cells of each code; labels, "NN - Label" and the most specific theme come from the tree."""
        paths = [[theme.code for theme in self.codes.path(code)] for code in theme_codes]
        levels = [pa.array([dict(enumerate(path)).get(n) for path in paths], pa.string()) for n in range(len(_CODES))]
        nothing = pa.nulls(len(paths), pa.string())
        old = pa.RecordBatch.from_arrays([nothing] * len(THEME_COLUMNS), names=list(THEME_COLUMNS))
        made = overlay_themes(old, pa.RecordBatch.from_arrays(levels, names=list(_CODES)), self.index)
        rows: list[dict[str, str | None]] = pa.RecordBatch.from_arrays(made, names=list(THEME_COLUMNS)).to_pylist()
        return rows

    def to_write(
        self, enrichments: Sequence[Enrichment], current: Mapping[str, Row], marks: Mapping[str, Mark]
    ) -> list[Cells]:
        """Say what each enrichment writes, which may be nothing.

        Args:
            enrichments: what is known now.
            current: unique_id -> the row as the store has it; a row that is not there has nothing yet.
            marks: unique_id -> which parts are known to be approximate.
        """
        themes = self.of([enrichment.theme_code for enrichment in enrichments])
        return [
            self._cells(enrichment, cells, current.get(enrichment.unique_id, {}), marks.get(enrichment.unique_id))
            for enrichment, cells in zip(enrichments, themes, strict=True)
        ]

    @staticmethod
    def _cells(enrichment: Enrichment, cells: Mapping[str, str | None], row: Row, mark: Mark | None) -> Cells:
        known = mark or Mark()
        lacking = missing_parts(row, known, approximate=enrichment.approximate)
        parts: set[str] = set()
        columns: dict[str, str | None] = {}
        if cells["theme_1_level_1"] and (THEME in lacking or _goes_deeper(enrichment, cells, row, known)):
            parts.add(THEME)
            columns |= cells
        if enrichment.summary and SUMMARY in lacking:
            parts.add(SUMMARY)
            columns["summary"] = enrichment.summary
        before = {name: row.get(name) for name in columns}
        return Cells(enrichment=enrichment, parts=frozenset(parts), columns=columns, before=before)

    def still_to_write(
        self, made: Sequence[Cells], current: Mapping[str, Row], marks: Mapping[str, Mark]
    ) -> list[Cells]:
        """Say what of cells that were made some time ago is to be written into the rows as they are now.

        A part is, if the row has what it had then, or has it already, or if it would be made of this row again. What
        somebody else wrote in the meantime stays: it may be better.

        Args:
            made: by `to_write`.
            current: unique_id -> the row as the store has it that is written; one that is not there gets all.
            marks: unique_id -> which parts are known to be approximate.
        """
        again = self.to_write([cells.enrichment for cells in made], current, marks)
        return [
            cells.of([part for part in cells.parts if part in now.parts or _untouched(cells, part, row)])
            for cells, now in zip(made, again, strict=True)
            for row in [current.get(cells.enrichment.unique_id, {})]
        ]


def _goes_deeper(enrichment: Enrichment, cells: Mapping[str, str | None], row: Row, known: Mark) -> bool:
    """Whether a real theme adds levels to a real one of which every cell stays as it is."""
    if enrichment.approximate or known.theme:
        return False
    its = {name: row[name] for name in THEME_COLUMNS if name not in _MOST and row.get(name)}
    return all(cells[name] == value for name, value in its.items()) and any(
        cells[name] and name not in its for name in _CODES[1:]
    )


def _untouched(cells: Cells, part: str, row: Row) -> bool:
    """Whether a part of a row is what it was when the cells were made, or what they make of it."""
    return any(
        values and all(row.get(name) == values.get(name) for name in _COLUMNS[part])
        for values in (cells.before, cells.columns)
    )


def update_frames(given: Iterable[Cells]) -> list[pd.DataFrame]:
    """Return what is to be written as frames for `update_rows`: one for each set of parts, so three at most.

    A frame has only columns that every one of its rows is to get, since a null in a frame is written. Of the theme
    cells, levels below the theme are null.
    """
    import pandas as pd

    groups: dict[tuple[str, ...], list[dict[str, str | None]]] = {}
    for cells in given:
        if cells.parts:
            row: dict[str, str | None] = {"unique_id": cells.enrichment.unique_id, **cells.columns}
            groups.setdefault(tuple(sorted(cells.parts)), []).append(row)
    return [pd.DataFrame(rows, dtype=object) for _, rows in sorted(groups.items())]
