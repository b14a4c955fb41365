"""Every physical form of a cell met in the field -> one type; what changes is marked, what is lost is kept as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.errors import SourceError
from data_platform.jobs.migration.normalise import Normaliser, examine
from data_platform.jobs.migration.text_forms import iso_date, parse_tags
from data_platform.models.columns import COLUMN_BY_NAME, COLUMNS, NORMAL_SCHEMA, PUBLISHED_SCHEMA
from data_platform.models.days import SAO_PAULO, instants_of_local

BRASILIA = timezone(timedelta(hours=-3))


class Read(NamedTuple):
    """What one column became."""

    values: list[Any]
    lost: dict[int, str]
    repaired: dict[str, list[int]]


def read(column: str, array: pa.Array) -> Read:
    """Read an array as a column, checking on the way that type and masks are as promised."""
    part = pa.record_batch({column: array})
    problem, _ = examine(COLUMN_BY_NAME[column], array.type)
    assert problem == ""
    found = Normaliser(part.schema, [COLUMN_BY_NAME[column]])(part, 7)
    assert found.first_row == 7
    assert found.batch.schema == pa.schema([NORMAL_SCHEMA.field(column)])
    found.batch.validate(full=True)
    assert found.batch.num_rows == len(array)
    repaired = {}
    for kind, columns in found.repaired.items():
        assert columns.keys() == {column}
        mask = columns[column]
        assert (mask.type, len(mask), mask.null_count) == (pa.bool_(), len(array), 0)
        repaired[kind] = pc.indices_nonzero(mask).to_pylist()
    lost = found.unreadable.get(column)
    if lost is None:
        return Read(found.batch.column(0).to_pylist(), {}, repaired)
    assert lost.indices == sorted(lost.indices)
    values = found.batch.column(0).to_pylist()
    assert all(values[index] is None for index in lost.indices)
    return Read(values, dict(zip(lost.indices, lost.values, strict=True)), repaired)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def damaged(array: pa.Array) -> pa.Array:
    """Return a text array in whose every value the bytes of `??` became bytes that are no UTF-8."""
    assert pa.types.is_string(array.type)
    offsets, data = array.buffers()[1:]
    return pa.StringArray.from_buffers(len(array), offsets, pa.py_buffer(data.to_pybytes().replace(b"??", b"\xff\xe9")))


# ---------------------------------------------------------------------------------------------- text

TEXTS = ["Saúde", None, "", "a\0b", "None"]


@pytest.mark.parametrize(
    "form",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.large_string()),
        pa.binary(),
        pa.large_binary(),
    ],
    ids=str,
)
def test_text_of_any_form_is_kept_as_it_is(form: pa.DataType) -> None:
    assert read("title", pa.array(TEXTS, pa.string()).cast(form)) == Read(TEXTS, {}, {})


@pytest.mark.parametrize("form", [pa.string(), pa.string_view(), pa.large_string()], ids=str)
def test_bytes_that_are_no_utf8_are_replaced_and_marked(form: pa.DataType) -> None:
    array = damaged(pa.array(["bom", "caf?? com leite e muito a??úcar", None]))
    if form != pa.string():  # a cast between text types keeps the bytes only by way of bytes
        array = array.cast(pa.large_binary()).cast({pa.large_string(): pa.large_string()}.get(form, form), safe=False)
    values = ["bom", "caf\ufffd\ufffd com leite e muito a\ufffd\ufffdúcar", None]
    assert read("content", array) == Read(values, {}, {"invalid_utf8": [1]})
