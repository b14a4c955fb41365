"""Which rows may enter a store and in what form: one pure, idempotent rule for every writer.

`clean` brings a batch to the form in which it is published and marks every cell it changed, by kind.
`reject_reasons` says which cleaned rows cannot be stored, and why. Both work on a subset of the
columns too, so that planning can decide from the key columns alone.

Kinds of cleaning: `nul_character` taken out of a text, `control_character` out of a tag, `null_tag_dropped`; made
null: `empty` (blank text), `null_word` ("None", "nan"), `sentinel` (see `columns`), `epoch` (1970 for "no date");
`out_of_range` (an extracted_at that the published nanoseconds cannot hold);
`theme_text` rebuilt as "NN - Label". What reading had to repair already: `invalid_utf8`, `tags_from_text`,
`nanoseconds_cut`, `unreadable`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_platform.models.columns import COLUMN_BY_NAME, REQUIRED_COLUMNS, THEME_COLUMNS, Column, Kind
from data_platform.models.theme_cells import ThemeIndex, rebuild_first_level

__all__ = ["MAX_AGENCY", "MAX_UNIQUE_ID", "Cleaned", "Marks", "clean", "observe", "reject_reasons"]

#: In characters. Both are indexed, and an index refuses what is much longer, which would fail the whole load.
MAX_UNIQUE_ID = 120
MAX_AGENCY = 100
_NULL_WORDS = pa.array(["None", "nan", "NaN", "NaT"])
#: No sentinel or null word is longer; longer texts are not compared with them.
_SHORT = 64
#: 1970-01-01 00:00 in UTC and at −03:00, in microseconds: what a missing date became in some writer.
_EPOCHS = pa.array([0, 3 * 3600 * 1_000_000], pa.int64())
#: What nanoseconds since 1970, as the dataset publishes extracted_at, can hold, in microseconds: 1677 to 2262.
_EXTRACTED_LIMITS = (-9_223_372_036_854_775, 9_223_372_036_854_775)
_CONTROL = re.compile(r"[\x00-\x1f]")

#: (kind, column) -> which rows were changed so.
Marks = dict[tuple[str, str], pa.Array]


@dataclass
class Cleaned:
    """A batch in published form, and which cells differ from how they came."""

    batch: pa.RecordBatch
    marks: Marks = field(default_factory=dict)

    def counts(self, rows: pa.Array | None = None) -> dict[str, int]:
        """Return how many cells each kind of cleaning changed, as "kind:column", optionally in some rows only."""
        found = {}
        for (kind, column), mask in self.marks.items():
            counted = mask if rows is None else pc.and_(mask, rows)
            if total := pc.sum(counted).as_py():
                found[f"{kind}:{column}"] = total
        return found


def clean(
    batch: pa.RecordBatch,
    themes: ThemeIndex | None = None,
    *,
    repaired: Mapping[str, Mapping[str, pa.Array]] | None = None,
) -> Cleaned:
    """Bring a batch to published form.

    Args:
        batch: columns of NORMAL_SCHEMA, all of them or some.
        themes: the known themes; needed if the theme columns are there.
        repaired: cells that reading changed already, kind -> column -> mask.
    """
    marks: Marks = {
        (kind, column): mask for kind, columns in (repaired or {}).items() for column, mask in columns.items()
    }
    arrays = {name: _clean_column(COLUMN_BY_NAME[name], batch.column(name), marks) for name in batch.schema.names}
    cleaned = pa.RecordBatch.from_arrays(list(arrays.values()), schema=batch.schema)
    if themes is not None and THEME_COLUMNS[0] in arrays:
        text, changed = rebuild_first_level(cleaned, themes)
        _mark(marks, "theme_text", THEME_COLUMNS[0], changed)
        cleaned = cleaned.set_column(cleaned.schema.get_field_index(THEME_COLUMNS[0]), THEME_COLUMNS[0], text)
    return Cleaned(cleaned, marks)


def reject_reasons(cleaned: pa.RecordBatch) -> tuple[pa.Array, pa.Array]:
    """Return (field, reason) of each row that cannot be stored, null in both for those that can.

    Reasons: `missing` (a required cell is null) and `too_long` (a unique_id over 120 or an agency over 100 characters).
    Only columns that are there are asked: an update gives some.
    """
    rows, there = cleaned.num_rows, set(cleaned.schema.names)
    fields, reasons = pa.nulls(rows, pa.string()), pa.nulls(rows, pa.string())
    for name in reversed(REQUIRED_COLUMNS):  # the first column that fails names the row's reason
        if name not in there:
            continue
        missing = cleaned.column(name).is_null()
        if pc.any(missing).as_py():
            fields, reasons = pc.if_else(missing, name, fields), pc.if_else(missing, "missing", reasons)
    for name, most in (("agency", MAX_AGENCY), ("unique_id", MAX_UNIQUE_ID)):
        if name not in there:
            continue
        too_long = pc.fill_null(pc.greater(pc.utf8_length(cleaned.column(name)), most), False)
        if pc.any(too_long).as_py():
            fields, reasons = pc.if_else(too_long, name, fields), pc.if_else(too_long, "too_long", reasons)
    return fields, reasons


def observe(rows: pa.RecordBatch, *, now_us: int) -> dict[str, int]:
    """Count what is odd about admitted rows but stays as it is.

    Args:
        rows: admitted rows with at least published_at and image.
        now_us: the present, in microseconds since 1970.
    """
    published = rows.column("published_at").cast(pa.int64())
    image = rows.column("image")
    seen = {
        "published_in_future": pc.greater(published, now_us),
        "published_before_2000": pc.less(published, 946_684_800_000_000),
        "image_not_absolute": pc.invert(pc.match_substring_regex(image, "^https?://")),
    }
    counted = {name: pc.sum(mask).as_py() or 0 for name, mask in seen.items()}
    return {name: count for name, count in counted.items() if count}


def _clean_column(column: Column, array: pa.Array, marks: Marks) -> pa.Array:
    if column.kind is Kind.TAGS:
        return _clean_tags(column, array, marks)
    if column.kind is Kind.INSTANT:
        return _clean_instants(column, array, marks)
    array = _strip_nul(column, array, marks)
    blank = pc.or_(pc.utf8_is_space(array), pc.equal(pc.binary_length(array), 0))  # the former says no to ""
    array = _nullify(array, pc.fill_null(blank, False), "empty", column, marks)
    short = pc.fill_null(pc.less_equal(pc.binary_length(array), _SHORT), False)
    if not pc.any(short).as_py():
        return array
    array = _nullify(array, pc.and_(short, pc.is_in(array, value_set=_NULL_WORDS)), "null_word", column, marks)
    if column.sentinels:
        words = pa.array(column.sentinels, pa.string())
        array = _nullify(array, pc.and_(short, pc.is_in(array, value_set=words)), "sentinel", column, marks)
    return array


def _clean_instants(column: Column, array: pa.Array, marks: Marks) -> pa.Array:
    micros = array.cast(pa.int64())
    array = _nullify(array, pc.is_in(micros, value_set=_EPOCHS), "epoch", column, marks)
    if column.name == "extracted_at":
        first, last = _EXTRACTED_LIMITS
        outside = pc.fill_null(pc.or_(pc.less(micros, first), pc.greater(micros, last)), False)
        array = _nullify(array, outside, "out_of_range", column, marks)
    return array


def _strip_nul(column: Column, array: pa.Array, marks: Marks) -> pa.Array:
    if not _has_byte_below(array, 1):
        return array
    found = pc.fill_null(pc.match_substring(array, "\x00"), False)
    _mark(marks, "nul_character", column.name, found)
    return pc.replace_substring(array, "\x00", "")


def _clean_tags(column: Column, array: pa.Array, marks: Marks) -> pa.Array:
    elements = array.flatten()
    if not elements.null_count and not _has_byte_below(elements, 32):
        return array
    lists = array.to_pylist()
    whole = [None if tags is None else [tag for tag in tags if tag is not None] for tags in lists]
    cleaned = [None if tags is None else [_CONTROL.sub("", tag) for tag in tags] for tags in whole]
    for kind, before, after in (("null_tag_dropped", lists, whole), ("control_character", whole, cleaned)):
        changed = pa.array([a != b for a, b in zip(before, after, strict=True)], pa.bool_())
        _mark(marks, kind, column.name, changed)
    return pa.array(cleaned, array.type)


def _nullify(array: pa.Array, mask: pa.Array, kind: str, column: Column, marks: Marks) -> pa.Array:
    if not pc.any(mask).as_py():
        return array
    _mark(marks, kind, column.name, mask)
    return pc.if_else(mask, pa.scalar(None, array.type), array)


def _mark(marks: Marks, kind: str, column: str, mask: pa.Array) -> None:
    if pc.any(mask).as_py():
        before = marks.get((kind, column))
        marks[kind, column] = mask if before is None else pc.or_(before, mask)


def _has_byte_below(array: pa.Array, limit: int) -> bool:
    """Whether any byte of the texts of an array is below a limit; looks at the buffer, not at each text."""
    data = array.buffers()[2]
    if data is None or len(array) == 0:
        return False
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int32, count=len(array) + 1 + array.offset)
    view = np.frombuffer(data, dtype=np.uint8)[offsets[array.offset] : offsets[-1]]
    # Counting non-zero bytes is many times as fast as comparing each.
    return bool(np.count_nonzero(view) != len(view)) if limit == 1 else bool((view < limit).any())
