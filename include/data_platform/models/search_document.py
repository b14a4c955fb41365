"""What Typesense holds of an article: the collection's fields, and the documents of rows (FIELD_FACTS §9.2-9.3).

Both are derived from the one list of columns. The fields are the 24 columns, São Paulo's year, month and week of
publication, and `content_embedding`, which others write: it is declared, so that the portal's hybrid search finds the
field, and never touched.

A document is imported with `emplace`, which changes the fields given and leaves others' alone. A field that has no
value is therefore sent as `null`: Typesense takes it out of the document, and drops it from a new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.models.columns import COLUMN_NAMES, COLUMNS, Column, Kind
from data_platform.models.days import SAO_PAULO_NAME
from data_platform.models.json_lines import json_lines

__all__ = ["FIELDS", "OF_OTHERS", "OWN_FIELDS", "SearchField", "collection_schema", "documents", "imports", "pieces"]

_DEFAULT_SORT = "published_at"
_PUBLISHED = ("published_year", "published_month", "published_week")
#: Fields that are declared here and written by others.
OF_OTHERS = ("content_embedding",)
_DIMENSIONS = 768
#: Longer ones are sentences, not tags; in characters.
_LONGEST_TAG = 100
_FACETS = frozenset({"unique_id", "agency", "category", "tags"})
_REQUIRED = frozenset({"unique_id", _DEFAULT_SORT})
_THEME_OF_TEXT = r"^(?P<code>\d\d) - (?P<label>.+)$"
_C1, _L1, _CM, _LM = (
    "theme_1_level_1_code",
    "theme_1_level_1_label",
    "most_specific_theme_code",
    "most_specific_theme_label",
)
_LEVELS = tuple((f"theme_1_level_{level}_code", f"theme_1_level_{level}_label") for level in (3, 2, 1))
_SECOND_US = 1_000_000


@dataclass(frozen=True)
class SearchField:
    """A field of the collection.

    Attributes:
        name: its name.
        type: as Typesense calls it.
        facet: whether it can be counted and grouped by.
        optional: whether a document may lack it.
        sort: whether results can be sorted by it; numbers always can.
        num_dim: length of a vector; 0 for all else.
    """

    name: str
    type: str
    facet: bool = False
    optional: bool = True
    sort: bool = False
    num_dim: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the declaration that Typesense takes."""
        told: dict[str, Any] = {"name": self.name, "type": self.type, "facet": self.facet, "optional": self.optional}
        if self.sort:
            told["sort"] = True
        return told | ({"num_dim": self.num_dim} if self.num_dim else {})


def _field(column: Column) -> SearchField:
    kinds = {Kind.TEXT: "string", Kind.INSTANT: "int64", Kind.TAGS: "string[]"}
    is_theme = column.name.startswith(("theme_", "most_specific_theme_"))
    return SearchField(
        column.name,
        kinds[column.kind],
        facet=is_theme or column.name in _FACETS,
        optional=column.name not in _REQUIRED,
        sort=column.name == "unique_id" or column.kind is Kind.INSTANT,
    )


#: All fields of the collection.
FIELDS: tuple[SearchField, ...] = (
    *map(_field, COLUMNS),
    *(SearchField(name, "int32", facet=True, sort=True) for name in _PUBLISHED),
    SearchField("content_embedding", "float[]", num_dim=_DIMENSIONS),
)
#: The fields that are written here: a document's, beside `id`.
OWN_FIELDS: tuple[str, ...] = (*COLUMN_NAMES, *_PUBLISHED)


def collection_schema(name: str, more: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return what makes a collection.

    Args:
        name: its name.
        more: fields of others; one that has the name of a field of `OF_OTHERS` replaces it.
    """
    theirs = {field["name"] for field in more}
    fields = [field.to_dict() for field in FIELDS if field.name not in theirs]
    return {"name": name, "fields": [*fields, *map(dict, more)], "default_sorting_field": _DEFAULT_SORT}


def documents(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return the documents of rows: `id` and `OWN_FIELDS`, null where a document has no such field.

    Theme codes that only the first level's text knows are taken from there, so that filters by code find the nine rows
    in ten that were classified before codes were kept; the most specific theme is the deepest level that is known.

    Args:
        rows: the 24 columns in the types of `NORMAL_SCHEMA`; unique_id and published_at are never null.
    """
    made = {column.name: _value(column, rows.column(column.name)) for column in COLUMNS}
    made |= _themes(made)
    made |= _published(rows.column(_DEFAULT_SORT))
    arrays = [made["unique_id"], *(made[name] for name in OWN_FIELDS)]
    return pa.RecordBatch.from_arrays(arrays, names=["id", *OWN_FIELDS])


def imports(rows: pa.RecordBatch) -> bytes:
    """Return the body of an import of rows with `emplace`: a document a line."""
    return json_lines(documents(rows))


def pieces(rows: pa.RecordBatch, *, most_rows: int, most_bytes: int) -> Iterator[pa.RecordBatch]:
    """Give rows in pieces of a bounded size; one row is a piece however large it is."""
    for start in range(0, rows.num_rows, most_rows):
        piece = rows.slice(start, most_rows)
        if piece.num_rows > 1 and piece.nbytes > most_bytes:
            yield from pieces(piece, most_rows=(piece.num_rows + 1) // 2, most_bytes=most_bytes)
        else:
            yield piece


def _value(column: Column, array: pa.Array) -> pa.Array:
    if column.kind is Kind.INSTANT:
        return _seconds(array)
    return _tags(array) if column.kind is Kind.TAGS else _filled(array)


def _filled(texts: pa.Array) -> pa.Array:
    """Return texts with null in the place of empty ones."""
    empty = pc.equal(pc.binary_length(texts), 0)
    return pc.if_else(empty, pa.scalar(None, pa.string()), texts) if pc.any(empty).as_py() else texts


def _seconds(instants: pa.Array) -> pa.Array:
    """Return whole seconds since 1970, rounded down: before it too."""
    us = instants.cast(pa.int64())
    whole = pc.divide(us, _SECOND_US)  # towards 0
    return pc.subtract(whole, pc.less(pc.subtract(us, pc.multiply(whole, _SECOND_US)), 0).cast(pa.int64()))


def _tags(lists: pa.Array) -> pa.Array:
    """Return lists without empty and overlong entries; null where nothing is left."""
    values = lists.flatten()
    length = pc.utf8_length(values)
    good = pc.fill_null(pc.and_(pc.greater(length, 0), pc.less_equal(length, _LONGEST_TAG)), False)
    parents = pc.list_parent_indices(lists).filter(good)
    counts = pc.value_counts(parents)
    sizes = pc.replace_with_mask(
        pa.nulls(len(lists), pa.int64()).fill_null(0),
        pc.is_in(pa.array(range(len(lists)), pa.int64()), value_set=counts.field("values")),
        counts.field("counts"),
    )
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(sizes)]).cast(pa.int32())
    kept = pa.ListArray.from_arrays(offsets, values.filter(good))
    return pc.if_else(pc.greater(sizes, 0), kept, pa.scalar(None, kept.type))


def _themes(made: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """Return the first level's code and label, and the most specific ones, with what can be known of them."""
    told = pc.extract_regex(made["theme_1_level_1"], _THEME_OF_TEXT)
    code_told, label_told = pc.struct_field(told, "code"), pc.struct_field(told, "label")
    code = pc.coalesce(made[_C1], code_told)
    label = pc.coalesce(made[_L1], pc.if_else(pc.equal(code, code_told), label_told, pa.scalar(None, pa.string())))
    found = {**made, _C1: code, _L1: label}
    nothing = pa.nulls(len(code), pa.string())
    deepest_code, deepest_label = nothing, nothing
    for level_code, level_label in reversed(_LEVELS):
        there = found[level_code].is_valid()
        deepest_code = pc.if_else(there, found[level_code], deepest_code)
        deepest_label = pc.if_else(there, found[level_label], deepest_label)
    most = pc.coalesce(made[_CM], deepest_code)
    label_most = pc.coalesce(
        made[_LM], pc.if_else(pc.equal(most, deepest_code), deepest_label, pa.scalar(None, pa.string()))
    )
    return {_C1: code, _L1: label, _CM: most, _LM: label_most}


def _published(instants: pa.Array) -> dict[str, pa.Array]:
    """Return year, month and ISO year * 100 + ISO week in São Paulo."""
    local = pc.local_timestamp(instants.cast(pa.timestamp("us", tz=SAO_PAULO_NAME)))
    week = pc.add(pc.multiply(pc.iso_year(local), 100), pc.iso_week(local))
    return dict(zip(_PUBLISHED, (pc.year(local), pc.month(local), week), strict=True))
