"""The nine published theme cells of a row, and how the store holds them.

The store holds ids of themes and a form: 'text' publishes only "NN - Label" of the first level (nine rows in ten know
no more), 'codes' publishes every cell. Where neither gives back the cells exactly (an unknown code, a label that is not
the tree's) the cells are kept beside as JSON and published from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.models.columns import THEME_COLUMNS

__all__ = ["StoredThemes", "ThemeIndex", "overlay_themes", "rebuild_first_level", "store_themes"]

_TEXT, _C1, _L1, _C2, _L2, _C3, _L3, _CM, _LM = THEME_COLUMNS
_FULL_NAME = r"^\d\d - ."
_CODE_OF_TEXT = r"^(?P<code>\d\d) - "


@dataclass(frozen=True)
class ThemeIndex:
    """The themes of a store, by position: id, code and label of each, for look-ups on whole arrays."""

    ids: pa.Array
    codes: pa.Array
    labels: pa.Array

    @classmethod
    def of(cls, rows: Iterable[tuple[int, str, str]]) -> ThemeIndex:
        """Build from (id, code, label) rows."""
        listed = list(rows)
        columns = list(zip(*listed, strict=True)) if listed else [(), (), ()]
        return cls(
            pa.array(columns[0], pa.int32()), pa.array(columns[1], pa.string()), pa.array(columns[2], pa.string())
        )

    @cached_property
    def full_names(self) -> pa.Array:
        """Code and label of each theme, "NN - Label"."""
        return pc.binary_join_element_wise(self.codes, self.labels, " - ")

    @cached_property
    def first_level_labels(self) -> pa.Array:
        """Labels of the first level at their positions, null at the others: lower levels repeat labels."""
        return pc.if_else(pc.equal(pc.binary_length(self.codes), 2), self.labels, pa.scalar(None, pa.string()))

    def positions(self, codes: pa.Array) -> pa.Array:
        """Return the position of each code, null where it is unknown or null."""
        return pc.index_in(codes, value_set=self.codes)


@dataclass(frozen=True)
class StoredThemes:
    """How the store holds the theme cells of a batch: one value a row in each array."""

    l1_id: pa.Array
    l2_id: pa.Array
    l3_id: pa.Array
    most_specific_id: pa.Array
    form: pa.Array
    cells: pa.Array
    unknown_codes: Mapping[str, int]


def rebuild_first_level(batch: pa.RecordBatch, index: ThemeIndex) -> tuple[pa.Array, pa.Array]:
    """Return theme_1_level_1 as it is published, always "NN - Label", and where that differs from what came.

    Writers of the past put the label alone there, or nothing although the code was known (FIELD_FACTS §14, 42). The
    label beside the code is used first, then the tree's.
    """
    text, code, label = (batch.column(name) for name in (_TEXT, _C1, _L1))
    unfit = pc.invert(pc.fill_null(pc.match_substring_regex(text, _FULL_NAME), False))
    unfit = pc.and_(unfit, pc.or_(text.is_valid(), code.is_valid()))
    if not pc.any(unfit).as_py():
        return text, unfit
    tree_label = index.labels.take(index.positions(code))
    from_cells = pc.binary_join_element_wise(code, pc.coalesce(label, tree_label), " - ")
    from_label = index.full_names.take(pc.index_in(text, value_set=index.first_level_labels, skip_nulls=True))
    rebuilt = pc.if_else(unfit, pc.coalesce(from_cells, from_label, text), text)
    return rebuilt, pc.invert(_same(rebuilt, text))


def overlay_themes(old: pa.RecordBatch, given: pa.RecordBatch, index: ThemeIndex) -> list[pa.Array]:
    """Return the nine cells after somebody wrote some of them.

    What is given is taken as it is, null included. What follows from it and is not given is made from the tree: the
    label of a given code; "NN - Label" of a given first level, or the first level's code and label of a given text if
    the row had a code; the most specific theme, as the deepest level that is known. All else stays as it was.

    Args:
        old: the nine cells of each row as they are published.
        given: the cells written, row beside row; columns of `THEME_COLUMNS`, all or some.
        index: the known themes.
    """
    cell = {name: old.column(name) for name in THEME_COLUMNS}
    there = set(given.schema.names) & set(THEME_COLUMNS)
    cell |= {name: given.column(name) for name in there}
    if _TEXT in there and _C1 not in there:
        cell[_TEXT] = _full_names_of(cell[_TEXT], index)
        from_text = pc.struct_field(pc.extract_regex(cell[_TEXT], _CODE_OF_TEXT), "code")
        had_code = old.column(_C1).is_valid()
        cell[_C1] = pc.if_else(had_code, from_text, cell[_C1])
        if _L1 not in there:
            cell[_L1] = pc.if_else(had_code, index.labels.take(index.positions(cell[_C1])), cell[_L1])
    for code, label in ((_C1, _L1), (_C2, _L2), (_C3, _L3), (_CM, _LM)):
        if code in there and label not in there:
            cell[label] = index.labels.take(index.positions(cell[code]))
    if _C1 in there and _TEXT not in there:
        cell[_TEXT] = pc.binary_join_element_wise(cell[_C1], cell[_L1], " - ")
    if not there & {_CM, _LM} and there & {_TEXT, _C1, _C2, _C3}:
        cell[_CM] = pc.coalesce(cell[_C3], cell[_C2], cell[_C1])
        cell[_LM] = pc.if_else(cell[_C3].is_valid(), cell[_L3], pc.if_else(cell[_C2].is_valid(), cell[_L2], cell[_L1]))
    arrays = [cell[name] for name in THEME_COLUMNS]
    arrays[0], _ = rebuild_first_level(pa.RecordBatch.from_arrays(arrays, names=list(THEME_COLUMNS)), index)
    return arrays


def _full_names_of(texts: pa.Array, index: ThemeIndex) -> pa.Array:
    """Return texts as "NN - Label" where they are a first level's label alone."""
    nothing = pa.nulls(len(texts), pa.string())
    return rebuild_first_level(pa.RecordBatch.from_arrays([texts, nothing, nothing], names=[_TEXT, _C1, _L1]), index)[0]


def store_themes(batch: pa.RecordBatch, index: ThemeIndex) -> StoredThemes:
    """Return how the store holds the published theme cells of a batch."""
    cell = {name: batch.column(name) for name in THEME_COLUMNS}
    from_text = pc.struct_field(pc.extract_regex(cell[_TEXT], _CODE_OF_TEXT), "code")
    code_1 = pc.coalesce(cell[_C1], from_text)
    at1, at2, at3, given = (index.positions(code) for code in (code_1, cell[_C2], cell[_C3], cell[_CM]))
    at_most = pc.coalesce(given, at3, at2, at1)
    as_codes = _same(cell[_TEXT], index.full_names.take(at1))
    for at, code, label in ((at1, _C1, _L1), (at2, _C2, _L2), (at3, _C3, _L3), (at_most, _CM, _LM)):
        as_codes = pc.and_(as_codes, _same(cell[code], index.codes.take(at)))
        as_codes = pc.and_(as_codes, _same(cell[label], index.labels.take(at)))
    lower = _any_valid([cell[name] for name in THEME_COLUMNS[1:]])
    as_text = pc.and_(pc.invert(lower), _same(cell[_TEXT], index.full_names.take(at1)))
    none = pc.and_(pc.invert(lower), cell[_TEXT].is_null())
    form = pc.if_else(
        none, None, pc.if_else(as_text, "text", pc.if_else(as_codes, "codes", pa.scalar(None, pa.string())))
    )
    beside = pc.and_(pc.invert(none), form.is_null())
    return StoredThemes(
        l1_id=index.ids.take(at1),
        l2_id=index.ids.take(at2),
        l3_id=index.ids.take(at3),
        most_specific_id=index.ids.take(at_most),
        form=form,
        cells=_cells_beside(batch, beside),
        unknown_codes=_unknown([(code_1, at1), (cell[_C2], at2), (cell[_C3], at3), (cell[_CM], given)]),
    )


def _cells_beside(batch: pa.RecordBatch, beside: pa.Array) -> pa.Array:
    if not pc.any(beside).as_py():
        return pa.nulls(batch.num_rows, pa.string())
    rows = batch.select(list(THEME_COLUMNS)).filter(beside).to_pylist()
    texts = [json.dumps({k: v for k, v in row.items() if v is not None}, ensure_ascii=False) for row in rows]
    return pc.replace_with_mask(pa.nulls(batch.num_rows, pa.string()), beside, pa.array(texts, pa.string()))


def _unknown(pairs: Iterable[tuple[pa.Array, pa.Array]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for codes, positions in pairs:
        unknown = codes.filter(pc.and_(codes.is_valid(), positions.is_null()))
        for entry in pc.value_counts(unknown).to_pylist():
            # A row names a code once as its level and once as its most specific: count rows, not cells.
            found[entry["values"]] = max(found.get(entry["values"], 0), entry["counts"])
    return found


def _any_valid(arrays: list[pa.Array]) -> pa.Array:
    result = arrays[0].is_valid()
    for array in arrays[1:]:
        result = pc.or_(result, array.is_valid())
    return result


def _same(a: pa.Array, b: pa.Array) -> pa.Array:
    """Equal, or both null."""
    return pc.or_(pc.fill_null(pc.equal(a, b), False), pc.and_(a.is_null(), b.is_null()))
