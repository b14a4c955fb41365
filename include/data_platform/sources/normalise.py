"""Any physical form of the 24 columns met in the field -> exactly `NORMAL_SCHEMA`.

Works on one Arrow batch at a time and touches no file. Text stays text, an instant becomes UTC
microseconds, tags become a list of strings. What changes a value is counted (`repaired`), what
cannot be read becomes null and keeps its original text (`unreadable`); nothing else changes here:
sentinels, NUL bytes and empty texts are the business of admission.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.errors import SourceError
from data_platform.models.columns import NORMAL_SCHEMA, PUBLISHED_SCHEMA, Column, Kind
from data_platform.models.days import instants_of_local
from data_platform.sources.text_forms import NOTHING, iso_date, parse_tags

__all__ = [
    "NormalBatch",
    "Normaliser",
    "Unreadable",
    "examine",
]

#: Kinds of repair.
INVALID_UTF8 = "invalid_utf8"
TAGS_FROM_TEXT = "tags_from_text"
NULL_TAG_DROPPED = "null_tag_dropped"
NANOSECONDS_CUT = "nanoseconds_cut"

_STRING = pa.string()
_TAGS = pa.list_(_STRING)
_BYTE_LISTS = pa.list_(pa.large_binary())
_UTC_MICROS = pa.timestamp("us", tz="UTC")
#: Naive texts and timestamps are São Paulo wall-clock times, save this one, written in UTC.
_UTC_WALL_CLOCK = "extracted_at"

# The instants that Python can hold both in UTC and in São Paulo (−03:06:28 before 1914), in
# microseconds: 0001-01-01 00:00 in São Paulo to the last microsecond of 9999 in UTC.
_FIRST_INSTANT = -62_135_585_612_000_000
_LAST_INSTANT = 253_402_300_799_999_999
# Wall-clock times that may be looked up in the zone at all.
_FIRST_WALL_CLOCK = -62_135_596_800_000_000
_MICROS_PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}
_NANOS_PER_MICRO = 1_000

_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?"
_OFFSET = r"(?:Z|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)"
_DATE = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
#: What Arrow's own parser reads, impossible days such as 30 February aside.
_ISO = rf"^{_DATE}(?:[T ]{_TIME}{_OFFSET}?)?$"
_ISO_ZONED = rf"^{_DATE}[T ]{_TIME}{_OFFSET}$"


@dataclass(frozen=True)
class Unreadable:
    """Cells of one column of a batch that could not be read; their value in the batch is null.

    Attributes:
        indices: rows of the batch, ascending.
        values: the original value of each of these rows, as text.
    """

    indices: list[int]
    values: list[str]


@dataclass(frozen=True)
class NormalBatch:
    """Rows of a source in the types of `NORMAL_SCHEMA`.

    Attributes:
        batch: the asked columns in the order of `NORMAL_SCHEMA`, in exactly its types. The arrays may
            be slices (`Array.offset` need not be 0).
        first_row: index inside the file, from 0, of the first row.
        unreadable: column -> cells that could not be read.
        repaired: kind of repair -> column -> mask of the rows whose value was changed.
    """

    batch: pa.RecordBatch
    first_row: int
    unreadable: Mapping[str, Unreadable]
    repaired: Mapping[str, Mapping[str, pa.BooleanArray]]


@dataclass(frozen=True)
class _Cells:
    """One column of a batch after reading."""

    values: pa.Array
    unreadable: Unreadable | None = None
    repairs: dict[str, pa.BooleanArray] = field(default_factory=dict)


_Reader = Callable[[pa.Array], _Cells]


def examine(column: Column, found: pa.DataType, *, all_null: bool = False) -> tuple[str, str]:
    """Say whether a physical type can be read as a column.

    Args:
        column: the column wanted.
        found: its Arrow type in the file.
        all_null: the file's own statistics say that it holds no value there.

    Returns:
        (problem, note): what makes it unreadable, and what is worth telling a person; either may be "".
    """
    if not _readable(column.kind, found):
        if all_null:
            return "", f"{column.name} is {found} without any value: read as null"
        wanted = {Kind.TEXT: "text", Kind.INSTANT: "a timestamp with a unit", Kind.TAGS: "a list of texts"}[column.kind]
        return f"{column.name} is {found}, which cannot be read as {wanted}", ""
    if found == PUBLISHED_SCHEMA.field(column.name).type:
        return "", ""
    how = ": read as midnight in São Paulo" if pa.types.is_date(found) else ""
    return "", f"{column.name} is {found}{how}"


class Normaliser:
    """Reads the batches of one file into the types of `NORMAL_SCHEMA`.

    Args:
        found: the schema of the batches: columns by name in any order, absent ones are read as null.
        columns: the columns wanted, in the order of `NORMAL_SCHEMA`; each accepted by `examine`.
    """

    def __init__(self, found: pa.Schema, columns: Sequence[Column]) -> None:
        self._schema = pa.schema([NORMAL_SCHEMA.field(column.name) for column in columns])
        types = found.types
        self._readers: list[tuple[str, int, _Reader]] = []
        for column in columns:
            position = found.get_field_index(column.name)
            read = _nulls_for(column) if position < 0 else _reader(column, types[position])
            self._readers.append((column.name, max(0, position), read))

    def __call__(self, part: pa.RecordBatch, first_row: int) -> NormalBatch:
        """Read one batch.

        Args:
            part: a batch as it lies in the file.
            first_row: index inside the file of its first row.

        Raises:
            SourceError: a column that was promised to be without values has some.
        """
        values: list[pa.Array] = []
        unreadable: dict[str, Unreadable] = {}
        repaired: dict[str, dict[str, pa.BooleanArray]] = {}
        for name, position, read in self._readers:
            cells = read(part.column(position) if part.num_columns else pa.nulls(part.num_rows))
            values.append(cells.values)
            if cells.unreadable is not None:
                unreadable[name] = cells.unreadable
            for kind, mask in cells.repairs.items():
                repaired.setdefault(kind, {})[name] = mask
        batch = pa.RecordBatch.from_arrays(values, schema=self._schema)
        return NormalBatch(batch, first_row, unreadable, repaired)


def _readable(kind: Kind, found: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):
        return _readable(kind, found.value_type) and not pa.types.is_nested(found.value_type)
    if pa.types.is_null(found) or _is_text(found):
        return True
    if kind is Kind.INSTANT:
        return bool(pa.types.is_timestamp(found) or pa.types.is_date(found))
    return kind is Kind.TAGS and _is_list(found) and _readable(Kind.TEXT, found.value_type)


def _is_text(found: pa.DataType) -> bool:
    # Bytes without the UTF-8 annotation are what some older writers make of text.
    types = pa.types
    return bool(
        types.is_string(found) or types.is_large_string(found) or types.is_string_view(found)
        or types.is_binary(found) or types.is_large_binary(found) or types.is_binary_view(found)
    )  # fmt: skip


def _is_list(found: pa.DataType) -> bool:
    # No list views: pyarrow 25 loses entries when it casts one that has nulls.
    return bool(pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found))


def _reader(column: Column, found: pa.DataType) -> _Reader:
    """Return the function that reads arrays of a physical type as a column."""
    if pa.types.is_null(found) or not _readable(column.kind, found):
        return partial(_only_nulls, column)
    if pa.types.is_dictionary(found):
        read = _reader(column, found.value_type)
        return lambda array: read(array.dictionary_decode())
    if column.kind is Kind.TEXT:
        return _text_cells
    if column.kind is Kind.TAGS:
        return _tags_of_lists if _is_list(found) else _tags_of_text
    local = column.name != _UTC_WALL_CLOCK
    if _is_text(found):
        return partial(_instants_of_text, local=local)
    return _instants_of_dates if pa.types.is_date(found) else partial(_instants_of_timestamps, local=local)


def _nulls_for(column: Column) -> _Reader:
    wanted = NORMAL_SCHEMA.field(column.name).type
    return lambda array: _Cells(pa.nulls(len(array), wanted))


def _only_nulls(column: Column, array: pa.Array) -> _Cells:
    if pc.all(array.is_null(nan_is_null=True)).as_py() is False:
        raise SourceError(
            f"{column.name} is {array.type} and holds values, though the file's footer says that it holds none",
            hint="write the file anew, with this column in the type of the published dataset",
        )
    return _nulls_for(column)(array)


def _mask(indices: Sequence[int], length: int) -> pa.BooleanArray:
    marks = [False] * length
    for index in indices:
        marks[index] = True
    return pa.array(marks, pa.bool_())


# ---------------------------------------------------------------------------------------------- text


def _text_cells(array: pa.Array) -> _Cells:
    text, repaired = _text(array)
    return _Cells(text, None, {} if repaired is None else {INVALID_UTF8: repaired})


def _text(array: pa.Array) -> tuple[pa.StringArray, pa.BooleanArray | None]:
    """Return a plain string array and, if bytes had to be replaced, the mask of these rows."""
    try:
        text = array if array.type == _STRING else array.cast(_STRING)
        text.validate(full=True)  # neither Parquet nor a cast between string types looks at the bytes
    except pa.ArrowInvalid:
        return _decode_anew(array.cast(pa.large_binary()).to_pylist())
    return text, None


def _decode_anew(values: list[bytes | None]) -> tuple[pa.StringArray, pa.BooleanArray]:
    texts: list[str | None] = []
    damaged: list[int] = []
    for index, value in enumerate(values):
        try:
            texts.append(None if value is None else value.decode())
        except UnicodeDecodeError:
            damaged.append(index)
            texts.append(value.decode(errors="replace") if value is not None else None)
    return pa.array(texts, _STRING), _mask(damaged, len(values))


# ------------------------------------------------------------------------------------------ instants


def _instants_of_dates(array: pa.Array) -> _Cells:
    return _instants_of_timestamps(array.cast(pa.date32()).cast(pa.timestamp("s")), local=True)


def _instants_of_timestamps(array: pa.Array, *, local: bool) -> _Cells:
    unit, naive = array.type.unit, array.type.tz is None
    cut: pa.BooleanArray | None = None
    outside: pa.BooleanArray | None = None
    if unit == "ns":  # reaches from 1677 to 2262 only
        numbers, cut = _whole_micros(array)
    else:
        numbers = array.view(pa.int64())
        scale = _MICROS_PER_UNIT[unit]
        first = -(-(_FIRST_WALL_CLOCK if naive and local else _FIRST_INSTANT) // scale)
        outside = _outside(numbers, first, _LAST_INSTANT // scale)
        if outside is not None:
            numbers = pc.if_else(outside, pa.scalar(None, pa.int64()), numbers)
        numbers = numbers if scale == 1 else pc.multiply(numbers, scale)
    if naive and local:
        numbers = instants_of_local(numbers.view(pa.timestamp("us"))).view(pa.int64())
        beyond = _outside(numbers, _FIRST_INSTANT, _LAST_INSTANT)
        if beyond is not None:
            numbers = pc.if_else(beyond, pa.scalar(None, pa.int64()), numbers)
            outside = beyond if outside is None else pc.or_(outside, beyond)
    unreadable = None
    if outside is not None:
        # Written out in UTC, since the zone in the file may be one that nobody knows.
        shown = array if naive else array.cast(pa.timestamp(unit, tz="UTC"))
        rows = pc.indices_nonzero(outside)
        unreadable = Unreadable(rows.to_pylist(), shown.take(rows).cast(_STRING).to_pylist())
    return _Cells(numbers.view(_UTC_MICROS), unreadable, {} if cut is None else {NANOSECONDS_CUT: cut})


def _whole_micros(array: pa.Array) -> tuple[pa.Int64Array, pa.BooleanArray | None]:
    """Cut nanoseconds to the microsecond at or before; also return where something was cut off."""
    try:
        return array.cast(pa.timestamp("us", tz=array.type.tz)).view(pa.int64()), None
    except pa.ArrowInvalid:  # something would be cut off
        nanos = array.view(pa.int64())
    micros = pc.divide(nanos, _NANOS_PER_MICRO)  # towards zero
    rest = pc.subtract(nanos, pc.multiply(micros, _NANOS_PER_MICRO))
    cut = pc.fill_null(pc.not_equal(rest, 0), False)
    return pc.if_else(pc.less(rest, 0), pc.subtract(micros, 1), micros), cut


def _outside(numbers: pa.Array, first: int, last: int) -> pa.BooleanArray | None:
    limits = pc.min_max(numbers).as_py()
    if limits["min"] is None or (limits["min"] >= first and limits["max"] <= last):
        return None
    return pc.fill_null(pc.or_(pc.less(numbers, first), pc.greater(numbers, last)), False)


def _instants_of_text(array: pa.Array, *, local: bool) -> _Cells:
    original, _ = _text(array)  # a replaced byte makes the cell unreadable anyway
    text = pc.utf8_trim_whitespace(original)
    nothing = pc.is_in(pc.utf8_lower(text), pa.array(NOTHING))
    text = pc.if_else(nothing, pa.scalar(None, _STRING), text)
    regular = pc.match_substring_regex(text, _ISO)
    if pc.all(regular).as_py() is False:
        text = _rewrite(text, pc.indices_nonzero(pc.invert(regular)).to_pylist())
    try:
        values, cut = _parse_iso(text, local=local)
    except pa.ArrowInvalid:  # a day such as 30 February; Arrow does not say where
        text = _rewrite(text, range(len(text)))
        values, cut = _parse_iso(text, local=local)
    wanted = pc.and_(pc.invert(pc.fill_null(nothing, False)), original.is_valid())
    lost = pc.indices_nonzero(pc.and_(wanted, values.is_null()))
    unreadable = Unreadable(lost.to_pylist(), original.take(lost).to_pylist()) if len(lost) else None
    return _Cells(values, unreadable, {NANOSECONDS_CUT: cut} if pc.any(cut).as_py() else {})


def _parse_iso(text: pa.StringArray, *, local: bool) -> tuple[pa.Array, pa.BooleanArray]:
    """Parse texts that all match `_ISO`: instants (null: out of range), and where nanoseconds were cut."""
    nothing = pa.scalar(None, _STRING)
    cut = pc.fill_null(pc.match_substring_regex(text, r"\.\d{6}0*[1-9]"), False)
    text = pc.replace_substring_regex(text, r"(\.\d{6})\d+", r"\1")
    zoned = pc.match_substring_regex(text, _ISO_ZONED)
    with_zone = pc.if_else(zoned, text, nothing).cast(_UTC_MICROS)
    wall_clock = pc.if_else(zoned, nothing, text).cast(pa.timestamp("us"))
    values = pc.coalesce(
        _instants_of_timestamps(with_zone, local=local).values, _instants_of_timestamps(wall_clock, local=local).values
    )
    return values, pc.and_(cut, values.is_valid())


def _rewrite(text: pa.StringArray, indices: Sequence[int]) -> pa.StringArray:
    texts = text.to_pylist()
    for index in indices:
        if texts[index] is not None:
            texts[index] = iso_date(texts[index])
    return pa.array(texts, _STRING)


# ---------------------------------------------------------------------------------------------- tags


def _tags_of_lists(array: pa.Array) -> _Cells:
    repairs: dict[str, pa.BooleanArray] = {}
    try:
        lists = array.cast(_TAGS)
        lists.validate(full=True)
    except pa.ArrowInvalid:
        decoded = [None if tags is None else _decode_anew(tags) for tags in array.cast(_BYTE_LISTS).to_pylist()]
        damaged = [i for i, found in enumerate(decoded) if found is not None and pc.any(found[1]).as_py()]
        repairs[INVALID_UTF8] = _mask(damaged, len(array))
        lists = pa.array([None if found is None else found[0].to_pylist() for found in decoded], _TAGS)
    if lists.values.null_count and pc.list_flatten(lists).null_count:
        rows = lists.to_pylist()
        holed = [i for i, tags in enumerate(rows) if tags is not None and None in tags]
        repairs[NULL_TAG_DROPPED] = _mask(holed, len(rows))
        lists = pa.array([None if tags is None else [t for t in tags if t is not None] for tags in rows], _TAGS)
    return _Cells(lists, None, repairs)


def _tags_of_text(array: pa.Array) -> _Cells:
    text, damaged = _text(array)
    rows = text.to_pylist()
    found: list[list[str] | None] = []
    parsed: list[int] = []
    holed: list[int] = []
    lost: list[int] = []
    for index, value in enumerate(rows):
        tags = None if value is None or value.strip().lower() in NOTHING else parse_tags(value)
        if tags is not None:
            parsed.append(index)
            if None in tags:
                holed.append(index)
        elif value is not None and value.strip().lower() not in NOTHING:
            lost.append(index)
        found.append(None if tags is None else [tag for tag in tags if tag is not None])
    repairs = {} if damaged is None else {INVALID_UTF8: damaged}
    for kind, indices in ((TAGS_FROM_TEXT, parsed), (NULL_TAG_DROPPED, holed)):
        if indices:
            repairs[kind] = _mask(indices, len(rows))
    unreadable = Unreadable(lost, [rows[index] for index in lost]) if lost else None
    return _Cells(pa.array(found, _TAGS), unreadable, repairs)
