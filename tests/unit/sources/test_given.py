"""Rows as callers give them: every odd cell is read, or told; every malformed call names the column."""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.models.columns import COLUMN_NAMES, COLUMNS, NORMAL_SCHEMA, Kind
from data_platform.sources.given import batch_of_columns, batch_of_frame
from data_platform.sources.normalise import NormalBatch
from tests.support.rows import instants, texts

KEYS = {"unique_id": ["a"], "agency": ["mec"], "published_at": ["2024-01-01"], "title": ["t"]}


def read(column: str, *values: Any) -> tuple[list[Any], dict[int, str]]:
    """Return what values of a column become, and which of them could not be read."""
    many = {name: given * len(values) for name, given in KEYS.items()}
    return cells(batch_of_columns(many | {column: list(values)}), column)


def cells(batch: NormalBatch, column: str) -> tuple[list[Any], dict[int, str]]:
    unread = batch.unreadable.get(column)
    told = dict(zip(unread.indices, unread.values, strict=True)) if unread else {}
    return batch.batch.column(column).to_pylist(), told


@pytest.mark.parametrize(
    "nothing", [None, float("nan"), np.nan, np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT")]
)
def test_nothing_is_null_in_every_column(nothing: Any) -> None:
    for column in COLUMN_NAMES:
        assert read(column, nothing) == ([None], {})


@pytest.mark.parametrize("wrong", [7, 1.5, True, b"bytes", {"a": 1}, object, datetime(2024, 1, 1, tzinfo=UTC), ["a"]])
def test_what_is_no_text_is_told(wrong: Any) -> None:
    assert read("title", "bom", wrong, None) == (["bom", None, None], {1: repr(wrong)[:200]})


@pytest.mark.parametrize("wrong", [20240101, 1.7e9, True, b"2024-01-01", ["2024-01-01"], "amanhã", "2024-02-30"])
def test_what_is_no_date_is_told(wrong: Any) -> None:
    values, told = read("published_at", wrong)
    assert values == [None]
    assert list(told) == [0]


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("2024-05-06T10:00:00-03:00", datetime(2024, 5, 6, 13, tzinfo=UTC)),
        ("2024-05-06", datetime(2024, 5, 6, 3, tzinfo=UTC)),
        ("06/05/2024", datetime(2024, 5, 6, 3, tzinfo=UTC)),
        (date(2018, 12, 25), datetime(2018, 12, 25, 2, tzinfo=UTC)),
        (datetime(2018, 12, 25), datetime(2018, 12, 25, 2, tzinfo=UTC)),  # noqa: DTZ001 - that is the case
        (pd.Timestamp("2018-12-25", tz="America/Sao_Paulo"), datetime(2018, 12, 25, 2, tzinfo=UTC)),
        (np.datetime64("2024-05-06T10:00:00.123456789"), datetime(2024, 5, 6, 13, 0, 0, 123456, tzinfo=UTC)),
    ],
)
def test_dates_in_their_many_forms(value: Any, instant: datetime) -> None:
    """Faults 5, 6: what has no zone is São Paulo's wall clock, with its summer time."""
    assert read("published_at", value) == ([instant], {})


def test_extracted_at_without_a_zone_is_utc() -> None:
    assert read("extracted_at", datetime(2024, 5, 6, 10)) == ([datetime(2024, 5, 6, 10, tzinfo=UTC)], {})  # noqa: DTZ001


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        (["a", "b"], ["a", "b"]), (("a",), ["a"]), (np.array(["a", "b"]), ["a", "b"]), ([], []), ("a, b", ["a", "b"]),
        ("['a', 'b']", ["a", "b"]), (["a", None, float("nan")], ["a"]),
        (pa.array(["a"]), ["a"]), (pa.scalar(["a"]), ["a"]),
        ("", None), ("nan", None),
    ],
)  # fmt: skip
def test_tags_in_their_many_forms(value: Any, tags: list[str] | None) -> None:
    assert read("tags", value) == ([tags], {})


@pytest.mark.parametrize("wrong", [7, {"a": 1}, ["a", 7], "[['a']]", [b"a"], np.array(7)])
def test_what_is_no_list_of_texts_is_told(wrong: Any) -> None:
    values, told = read("tags", ["a"], wrong)
    assert (values, list(told)) == ([["a"], None], [1])


@pytest.mark.parametrize("neighbour", [["a"], ("a",)])
def test_what_a_cell_becomes_does_not_hang_on_its_neighbours(neighbour: Any) -> None:
    assert read("tags", [b"a"], neighbour) == ([None, ["a"]], {0: "[b'a']"})


def test_an_array_of_one_value_is_that_value() -> None:
    assert read("tags", np.array("a, b"), np.array(None)) == ([["a", "b"], None], {})


class _Word(str, Enum):  # noqa: UP042 - a StrEnum prints its characters, this one does not
    NEWS = "Notícias"


def test_a_text_is_its_characters_however_its_type_prints_it() -> None:
    assert read("title", _Word.NEWS, np.str_("é")) == (["Notícias", "é"], {})


def test_half_a_character_is_replaced() -> None:
    assert read("title", "a\ud800b", "c") == (["a\ufffdb", "c"], {})


def test_cells_that_came_and_cells_that_were_read_are_told_in_order() -> None:
    values, told = read("published_at", "amanhã", 7, "2024-01-01", "ontem")
    assert values == [None, None, datetime(2024, 1, 1, 3, tzinfo=UTC), None]
    assert told == {0: "amanhã", 1: "7", 3: "ontem"}


def test_columns_come_in_the_datasets_order_and_only_those_given() -> None:
    batch = batch_of_columns(dict(reversed(KEYS.items()))).batch
    assert batch.schema.names == ["unique_id", "agency", "published_at", "title"]
    assert batch.schema == pa.schema([NORMAL_SCHEMA.field(name) for name in batch.schema.names])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (KEYS | {"image_url": ["x"]}, "column 'image_url' is none of the dataset's"),
        (KEYS | {7: ["x"]}, "column 7 is none of the dataset's"),
        ({name: values for name, values in KEYS.items() if name != "agency"}, "column 'agency' is missing"),
        (KEYS | {"tags": [["a"], ["b"]]}, "column 'tags' has 2 values, 'unique_id' has 1"),
        (KEYS | {"title": []}, "column 'title' has 0 values"),
        (KEYS | {"title": "t"}, "column 'title' must be a list of values, not str"),
        (KEYS | {"title": None}, "column 'title' must be a list of values, not NoneType"),
        (KEYS | {"title": {"t": 1}}, "column 'title' must be a list of values, not dict"),
        (KEYS | {"title": {"t"}}, "column 'title' must be a list of values, not set"),
        (KEYS | {"title": np.array("t")}, "column 'title' must be a list of values, not ndarray"),
        (None, "a dict of lists is wanted, not NoneType"),
        ([KEYS], "a dict of lists is wanted, not list"),
    ],
)
def test_a_malformed_call_names_the_column(call: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        batch_of_columns(call)


def test_nothing_at_all_is_no_rows() -> None:
    for call in ({}, {name: [] for name in COLUMN_NAMES}):
        assert batch_of_columns(call).batch.num_rows == 0
    for frame in (pd.DataFrame(), pd.DataFrame({"unique_id": [], "tags": []}), pd.DataFrame(columns=["unique_id"])):
        assert batch_of_frame(frame).batch.num_rows == 0


def test_a_frame_of_every_type() -> None:
    frame = pd.DataFrame(
        {
            "unique_id": ["a", "b"],
            "published_at": pd.to_datetime(["2024-05-06", None]).tz_localize("America/Sao_Paulo"),
            "updated_datetime": pd.to_datetime(["2018-12-25", "2024-01-01"]),
            "title": pd.array(["t", pd.NA], dtype="string"),
            "category": pd.Categorical(["c", None]),
            "tags": [["a"], np.nan],
            "summary": [np.nan, np.nan],
        }
    )
    assert batch_of_frame(frame).batch.to_pylist() == [
        {
            "unique_id": "a", "published_at": datetime(2024, 5, 6, 3, tzinfo=UTC), "title": "t", "category": "c",
            "updated_datetime": datetime(2018, 12, 25, 2, tzinfo=UTC), "tags": ["a"], "summary": None,
        },
        {
            "unique_id": "b", "published_at": None, "title": None, "category": None,
            "updated_datetime": datetime(2024, 1, 1, 3, tzinfo=UTC), "tags": None, "summary": None,
        },
    ]  # fmt: skip


def test_a_malformed_frame_names_the_column() -> None:
    for frame, said in (
        (pd.DataFrame({"title": ["t"]}), "column 'unique_id' is missing"),
        (pd.DataFrame({"unique_id": ["a"], "theme_l1_id": [1]}), "column 'theme_l1_id' is none of the dataset's"),
        (pd.DataFrame([["a", "b"]], columns=["unique_id", "unique_id"]), "column 'unique_id' is there twice"),
        ([["a"]], "a DataFrame is wanted, not list"),
    ):
        with pytest.raises(ValueError, match=said):
            batch_of_frame(frame)


_CELLS = {
    Kind.TEXT: st.none() | texts,
    Kind.TAGS: st.none() | st.lists(texts, max_size=3),
    Kind.INSTANT: st.none() | instants,
}


@given(st.fixed_dictionaries({c.name: _CELLS[c.kind] for c in COLUMNS}))
def test_good_cells_come_out_as_they_went_in(row: dict[str, Any]) -> None:
    batch = batch_of_columns({name: [value] for name, value in row.items()})
    assert batch.batch.to_pylist() == [row]
    assert not batch.unreadable
