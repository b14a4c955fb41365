"""Rows that a caller gives: a dict of lists, or a DataFrame, of whatever Python, numpy and pandas put into cells.

The call itself must make sense (known columns, as many values in each): a `ValueError` names the column that does
not. What single cells hold is judged row by row, as it is for files: a cell that cannot be read is null in the batch
and told. Dates become text in ISO form and are read by the rules for text, so that there is one reading of "no zone"
and of every other quirk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from itertools import chain, starmap
from typing import Any

import numpy as np
import pyarrow as pa

from data_platform.models.columns import COLUMN_BY_NAME, COLUMN_NAMES, COLUMNS, REQUIRED_COLUMNS, Column, Kind
from data_platform.sources.normalise import NormalBatch, Normaliser, Unreadable, examine
from data_platform.sources.text_forms import NOTHING, parse_tags

__all__ = ["batch_of_columns", "batch_of_frame"]

_UNREAD = object()


def batch_of_columns(
    new_data: Mapping[str, Sequence[Any]], *, required: Sequence[str] = REQUIRED_COLUMNS
) -> NormalBatch:
    """Read a dict of lists, as scrapers give rows.

    Args:
        new_data: column of the dataset -> one value a row.
        required: columns that must be given.

    Returns:
        The given columns in the order of `COLUMNS`; a batch without rows if nothing is given at all.

    Raises:
        ValueError: it is no dict; or a column is unknown, missing, no list, or of another length; names it.
    """
    if not hasattr(new_data, "items"):
        raise ValueError(f"a dict of lists is wanted, not {type(new_data).__name__}")
    columns = {_name(name): _values(name, values) for name, values in new_data.items()}
    if not columns:
        return _empty(required)
    _check_names(columns, required)
    lengths = {name: len(values) for name, values in columns.items()}
    rows = lengths[required[0]]
    for name, length in lengths.items():
        if length != rows:
            raise ValueError(f"column {name!r} has {length} values, {required[0]!r} has {rows}")
    return _read({name: _cells(COLUMN_BY_NAME[name], values) for name, values in columns.items()}, rows)


def batch_of_frame(frame: Any, *, required: Sequence[str] = ("unique_id",)) -> NormalBatch:  # noqa: ANN401 - pandas, which is slow to import
    """Read a DataFrame with columns of the dataset; an index called `unique_id` counts as that column.

    Args:
        frame: one row a line.
        required: columns that must be there.

    Raises:
        ValueError: a column is unknown, missing or there twice; names it.
    """
    if not hasattr(frame, "columns") or not hasattr(frame, "index"):
        raise ValueError(f"a DataFrame is wanted, not {type(frame).__name__}")
    if frame.index.name == "unique_id" and "unique_id" not in frame.columns:
        frame = frame.reset_index()
    names = [_name(name) for name in frame.columns]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"column {name!r} is there twice")
    if not names:
        return _empty(required)
    _check_names(names, required)
    cells = {name: _series(COLUMN_BY_NAME[name], frame[name]) for name in names}
    return _read(cells, len(frame))


def _name(name: Any) -> str:  # noqa: ANN401 - a caller's key
    if name not in COLUMN_BY_NAME:
        raise ValueError(f"column {name!r} is none of the dataset's: {', '.join(COLUMN_NAMES)}")
    return str(name)


def _check_names(names: Sequence[str] | Mapping[str, Any], required: Sequence[str]) -> None:
    for name in required:
        if name not in names:
            raise ValueError(f"column {name!r} is missing")


def _values(name: str, values: Any) -> Sequence[Any]:  # noqa: ANN401 - a caller's value
    # A set has no order to put beside other columns, an array of no dimension no values.
    odd = isinstance(values, str | bytes | Mapping | set | frozenset) or getattr(values, "ndim", 1) == 0
    if odd or not (hasattr(values, "__len__") and hasattr(values, "__iter__")):
        raise ValueError(f"column {name!r} must be a list of values, not {type(values).__name__}")
    return values if isinstance(values, list) else list(values)


#: An array that the normaliser can read, and the rows whose cell is of a type that it could not be put there.
_Given = tuple[pa.Array, dict[int, str]]


def _cells(column: Column, values: Sequence[Any]) -> _Given:
    if column.kind is Kind.TAGS:
        return _listed(values, _tags, pa.list_(pa.string()))
    if column.kind is Kind.INSTANT:
        if (wanted := _plain_instants(values)) is not None:  # as nearly always
            with suppress(pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # something odd inside: cell by cell
                return pa.array(values, wanted), {}
        return _listed(values, _instant, pa.string())
    return _listed(values, _text, pa.string())


def _plain_instants(values: Sequence[Any]) -> pa.DataType | None:
    """Return the type of a column of nothing but instants that all have a zone, or none of which has one."""
    if not set(map(type, values)) <= {datetime, type(None)}:
        return None
    zoned = {value.tzinfo is not None for value in values if value is not None}
    return pa.timestamp("us", tz="UTC" if zoned == {True} else None) if len(zoned) == 1 else None


def _series(column: Column, series: Any) -> _Given:  # noqa: ANN401 - pandas
    """Read a pandas column; one of dates as it is, others cell by cell."""
    if column.kind is Kind.INSTANT and series.dtype.kind == "M":
        array = pa.Array.from_pandas(series)
        return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array, {}
    return _cells(column, series.tolist() if series.dtype == object else list(series))


def _listed(values: Sequence[Any], read: Any, wanted: pa.DataType) -> _Given:  # noqa: ANN401 - a function of one cell
    if _is_plain(values, wanted):  # as nearly always
        with suppress(pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):  # something odd inside: cell by cell
            return pa.array(values, wanted), {}
    found = [read(value) for value in values]
    unread = {row: repr(values[row])[:200] for row, cell in enumerate(found) if cell is _UNREAD}
    for row in unread:
        found[row] = None
    return pa.array(found, wanted), unread


def _is_plain(values: Sequence[Any], wanted: pa.DataType) -> bool:
    """Whether Arrow reads every cell as the functions below would; it takes bytes for text, which they do not."""
    if wanted == pa.string():
        return set(map(type, values)) <= {str, type(None)}
    lists = set(map(type, values)) <= {list, type(None)}
    return lists and set(map(type, chain.from_iterable(filter(None, values)))) <= {str, type(None)}


def _text(value: Any) -> Any:  # noqa: ANN401 - any cell, or _UNREAD
    if value is None or (type(value) is str and value.isascii()):
        return value
    if isinstance(value, str):
        # Half a character, which no store can hold, becomes the sign for one that could not be read.
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return None if _is_nothing(value) else _UNREAD


def _instant(value: Any) -> Any:  # noqa: ANN401 - any cell, or _UNREAD
    if value is None or isinstance(value, str):
        return _text(value)
    if _is_nothing(value):
        return None
    if isinstance(value, date | datetime):  # pandas' Timestamp is a datetime, with nanoseconds in its ISO form
        return value.isoformat()
    return str(value) if isinstance(value, np.datetime64) else _UNREAD


def _tags(value: Any) -> Any:  # noqa: ANN401 - any cell, or _UNREAD
    if isinstance(value, str):
        if value.strip().lower() in NOTHING:
            return None
        parsed = parse_tags(value)
        return _UNREAD if parsed is None else parsed
    if isinstance(value, np.ndarray) and not value.ndim:
        return _tags(value.item())
    if isinstance(value, list | tuple | set | frozenset | np.ndarray | pa.ListScalar | pa.Array):
        listed = value.as_py() if isinstance(value, pa.ListScalar) else list(value)
        tags = [_text(tag.as_py() if isinstance(tag, pa.Scalar) else tag) for tag in listed or ()]
        return _UNREAD if any(tag is _UNREAD for tag in tags) else tags
    return None if _is_nothing(value) else _UNREAD


def _is_nothing(value: Any) -> bool:  # noqa: ANN401 - any cell
    """Whether a value stands for no value: None, NaN, NaT, pandas' NA."""
    if value is None:
        return True
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return type(value).__name__ in {"NAType", "NaTType"}


def _read(cells: Mapping[str, _Given], rows: int) -> NormalBatch:
    names = [name for name in COLUMN_NAMES if name in cells]
    given = pa.RecordBatch.from_arrays([cells[name][0] for name in names], names=names)
    columns = [COLUMN_BY_NAME[name] for name in names]
    for problem, _ in starmap(examine, [(c, given.schema.field(c.name).type) for c in columns]):
        if problem:
            raise ValueError(problem)
    batch = Normaliser(given.schema, columns)(given, 0)
    if batch.batch.num_rows != rows:
        raise ValueError(f"{rows} rows were given, {batch.batch.num_rows} were read")
    unreadable = dict(batch.unreadable)
    for name in names:
        if unread := cells[name][1]:
            unreadable[name] = _merged(unreadable.get(name), unread)
    return NormalBatch(batch.batch, 0, unreadable, batch.repaired)


def _merged(found: Unreadable | None, unread: Mapping[int, str]) -> Unreadable:
    cells = dict(unread)
    if found is not None:
        cells |= dict(zip(found.indices, found.values, strict=True))
    rows = sorted(cells)
    return Unreadable(rows, [cells[row] for row in rows])


def _empty(required: Sequence[str]) -> NormalBatch:
    """Return no rows of the required columns."""
    columns = [column for column in COLUMNS if column.name in required]
    given = pa.schema([(column.name, pa.null()) for column in columns])
    return Normaliser(given, columns)(pa.RecordBatch.from_pylist([], given), 0)
