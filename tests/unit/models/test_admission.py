"""Admission: each kind of cleaning by itself, and all of them against a second, slow reading of the same rules."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.models.admission import MAX_AGENCY, MAX_UNIQUE_ID, clean, observe, reject_reasons
from data_platform.models.columns import COLUMN_NAMES, COLUMNS, NORMAL_SCHEMA, THEME_COLUMNS, Column, Kind
from data_platform.models.publication import published_rows
from data_platform.models.theme_cells import ThemeIndex
from tests.support.rows import PUBLISHED, article, batch_of, sliced, texts

THEMES = ThemeIndex.of([(7, "01", "Economia"), (8, "01.01", "Economia"), (9, "02", "Educação")])
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONG = "x" * 70

SENTINELS = {"title": "No Title", "url": "No URL", "content": "Error retrieving content", "category": "No Category"}
NULL_WORDS = ("None", "nan", "NaN", "NaT")
KINDS = {"nul_character", "control_character", "null_tag_dropped", "empty", "null_word", "sentinel", "epoch"}


def cleaned_cell(column: str, value: Any) -> tuple[Any, dict[tuple[str, str], list[bool]]]:
    """Clean one cell of an otherwise null row; return its new value and the marks."""
    found = clean(batch_of([{column: value}]), THEMES)
    return found.batch.column(column)[0].as_py(), {key: mask.to_pylist() for key, mask in found.marks.items()}


@pytest.mark.parametrize(
    ("column", "before", "after", "kinds"),
    [
        ("content", "um\x00 texto\x00", "um texto", {"nul_character"}),
        ("content", "\x00", None, {"nul_character", "empty"}),
        ("title", "No\x00ne", None, {"nul_character", "null_word"}),
        ("content", "linha\n\ttab\x1f", "linha\n\ttab\x1f", set()),
        ("content", "", None, {"empty"}),
        ("content", " \t\n\u00a0\u3000", None, {"empty"}),
        ("content", " " * 100_000, None, {"empty"}),
        ("content", "\u200b", "\u200b", set()),
        ("content", "  x ", "  x ", set()),
        ("subtitle", "None", None, {"null_word"}),
        ("subtitle", "nan", None, {"null_word"}),
        ("image", "NaN", None, {"null_word"}),
        ("summary", "NaT", None, {"null_word"}),
        ("subtitle", "none", "none", set()),
        ("subtitle", "Nancy", "Nancy", set()),
        ("title", "No Title", None, {"sentinel"}),
        ("url", "No URL", None, {"sentinel"}),
        ("content", "Error retrieving content", None, {"sentinel"}),
        ("category", "No Category", None, {"sentinel"}),
        ("title", "No Category", "No Category", set()),
        ("content", "Error retrieving content of page 2", "Error retrieving content of page 2", set()),
        ("updated_datetime", EPOCH, None, {"epoch"}),
        ("updated_datetime", EPOCH + timedelta(hours=3), None, {"epoch"}),
        ("published_at", EPOCH, None, {"epoch"}),
        ("published_at", EPOCH + timedelta(microseconds=1), EPOCH + timedelta(microseconds=1), set()),
        ("tags", ["a\x00b", "c\nd\x1f", "é"], ["ab", "cd", "é"], {"control_character"}),
        ("tags", ["a", None, ""], ["a", ""], {"null_tag_dropped"}),
        ("tags", [None, "\x1f"], [""], {"null_tag_dropped", "control_character"}),
        ("tags", [], [], set()),
        ("tags", ["None", "  "], ["None", "  "], set()),
    ],
)
def test_each_kind_of_cleaning(column: str, before: Any, after: Any, kinds: set[str]) -> None:
    value, marks = cleaned_cell(column, before)
    assert value == after
    assert marks == {(kind, column): [True] for kind in kinds}


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ({"theme_1_level_1": "Economia"}, "01 - Economia"),
        ({"theme_1_level_1": "Economia", "theme_1_level_1_code": "02"}, "02 - Educação"),
        ({"theme_1_level_1_code": "02"}, "02 - Educação"),
        ({"theme_1_level_1_code": "02", "theme_1_level_1_label": "Outra"}, "02 - Outra"),
        ({"theme_1_level_1_code": "77", "theme_1_level_1_label": "Nova"}, "77 - Nova"),
    ],
)
def test_the_first_level_is_always_published_as_code_and_label(cells: dict[str, str], text: str) -> None:
    """Fault 42: label only and full text by turns."""
    found = clean(batch_of([article("a", theme_1_level_1="02 - Educação"), article("b", **cells)]), THEMES)
    assert found.batch.column("theme_1_level_1").to_pylist() == ["02 - Educação", text]
    assert {key: mask.to_pylist() for key, mask in found.marks.items()} == {
        ("theme_text", "theme_1_level_1"): [False, True]
    }
    assert found.counts() == {"theme_text:theme_1_level_1": 1}


def test_counts_may_be_taken_of_some_rows_only() -> None:
    found = clean(batch_of([article("a", url=""), article("b", url=""), article("c", url="No URL")]))
    assert found.counts() == {"empty:url": 2, "sentinel:url": 1}
    assert found.counts(pa.array([True, False, False])) == {"empty:url": 1}
    assert found.counts(pa.array([False, False, False])) == {}


def test_what_reading_repaired_is_counted_with_the_rest() -> None:
    batch = batch_of([article("a", tags=["x"]), article("b", tags=["\x00"])])
    masks = {
        "unreadable": {"updated_datetime": pa.array([True, False])},
        "control_character": {"tags": pa.array([True, False])},
    }
    found = clean(batch, repaired=masks)
    assert {key: mask.to_pylist() for key, mask in found.marks.items()} == {
        ("unreadable", "updated_datetime"): [True, False],
        ("control_character", "tags"): [True, True],  # one kind and column, met twice: both rows
    }


def test_a_clean_batch_comes_back_as_it_is() -> None:
    batch = batch_of([article("a", content=LONG, tags=[]), article("b", theme_1_level_1="01 - Economia")])
    found = clean(batch, THEMES)
    assert found.batch == batch
    assert found.marks == {}


def test_a_batch_without_rows() -> None:
    for batch in (batch_of([]), sliced(batch_of([]))):
        found = clean(batch, THEMES)
        assert found.batch == batch
        assert found.marks == {}
        assert [a.to_pylist() for a in reject_reasons(batch)] == [[], []]
        assert observe(batch, now_us=0) == {}


def test_some_columns_suffice() -> None:
    """Planning decides from the key columns alone."""
    names = ["unique_id", "agency", "published_at", "extracted_at", "title", "url"]
    batch = batch_of([article("a", url="No URL"), article("", title="None")])
    found = clean(batch.select(names))
    assert found.batch.schema.names == names
    assert found.batch == clean(batch, THEMES).batch.select(names)
    assert [a.to_pylist() for a in reject_reasons(found.batch)] == [[None, "unique_id"], [None, "missing"]]


# ------------------------------------------------------------ all rules at once, read a second time


_words = st.sampled_from(["None", "nan", "NaN", "NaT", "N", "one", "No ", "Title", "No Title", "No URL", "No Category"])
_signs = st.sampled_from(["", " ", "\x00", "\n", "\u00a0", " " * 70, "\u200b", "\x1f", "é", "\U0001f600", LONG])
_awkward = st.lists(_words | _signs | st.just("Error retrieving content"), max_size=3).map("".join) | texts
_instants = st.sampled_from([EPOCH, EPOCH + timedelta(hours=3), EPOCH + timedelta(hours=-3), PUBLISHED])
_cell = {
    Kind.TEXT: st.none() | _awkward,
    Kind.INSTANT: st.none() | _instants,
    Kind.TAGS: st.none() | st.lists(st.none() | _awkward, max_size=3),
}
_DRAWN = ["unique_id", "title", "url", "content", "category", "subtitle", "tags", "published_at", "extracted_at"]
_KIND = {c.name: c.kind for c in COLUMNS}


@st.composite
def awkward_batches(draw: st.DrawFn) -> pa.RecordBatch:
    names = draw(st.lists(st.sampled_from(_DRAWN), unique=True, max_size=4))
    row = st.fixed_dictionaries({name: _cell[_KIND[name]] for name in names})
    batch = batch_of(draw(st.lists(row, max_size=5)))
    return sliced(batch) if draw(st.booleans()) else batch


def clean_slowly(column: Column, value: Any) -> tuple[Any, set[str]]:
    """Clean a cell by the rules of `admission`; return it and the kinds of cleaning."""
    if value is None:
        return None, set()
    if column.kind is Kind.INSTANT:
        return (None, {"epoch"}) if value in {EPOCH, EPOCH + timedelta(hours=3)} else (value, set())
    return clean_tags_slowly(value) if column.kind is Kind.TAGS else clean_text_slowly(column, value)


def clean_tags_slowly(tags: list[str | None]) -> tuple[list[str], set[str]]:
    kept = [tag for tag in tags if tag is not None]
    bare = [re.sub("[\x00-\x1f]", "", tag) for tag in kept]
    differs = {"null_tag_dropped": kept != tags, "control_character": bare != kept}
    return bare, {kind for kind, does in differs.items() if does}


def clean_text_slowly(column: Column, text: str) -> tuple[str | None, set[str]]:
    bare = text.replace("\x00", "")
    kinds = {"nul_character"} if bare != text else set()
    means_nothing = {
        "empty": not bare.strip(),
        "null_word": bare in NULL_WORDS,
        "sentinel": bare == SENTINELS.get(column.name),
    }
    nothing = {kind for kind, does in means_nothing.items() if does}
    return None if nothing else bare, kinds | nothing


@settings(max_examples=80, deadline=None)
@given(awkward_batches())
def test_cells_and_marks_are_exactly_what_the_rules_say(batch: pa.RecordBatch) -> None:
    found = clean(batch, THEMES)
    expected_marks: dict[tuple[str, str], list[bool]] = {}
    for column in COLUMNS:
        before = batch.column(column.name).to_pylist()
        expected = [clean_slowly(column, value) for value in before]
        assert found.batch.column(column.name).to_pylist() == [value for value, _ in expected], column.name
        for kind in KINDS:
            mask = [kind in kinds for _, kinds in expected]
            if any(mask):
                expected_marks[kind, column.name] = mask
    assert {key: mask.to_pylist() for key, mask in found.marks.items()} == expected_marks
    assert found.batch.schema == NORMAL_SCHEMA
    found.batch.validate(full=True)


_theme_cells = st.sampled_from([None, "01", "02", "77", "01.01", "Economia", "Educação", "01 - Economia", "", "x"])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.fixed_dictionaries(dict.fromkeys(THEME_COLUMNS, _theme_cells)), max_size=4), st.booleans())
def test_cleaning_twice_marks_nothing_and_marks_are_the_changed_cells(rows: list[dict[str, Any]], cut: bool) -> None:
    batch = sliced(batch_of(rows)) if cut else batch_of(rows)
    once = clean(batch, THEMES)
    twice = clean(once.batch, THEMES)
    assert twice.batch == once.batch
    assert twice.marks == {}
    for name in COLUMN_NAMES:
        marked = [False] * len(rows)
        for (_, column), mask in once.marks.items():
            if column == name:
                marked = [a or b for a, b in zip(marked, mask.to_pylist(), strict=True)]
        changed = zip(batch.column(name).to_pylist(), once.batch.column(name).to_pylist(), strict=True)
        assert marked == [a != b for a, b in changed], name


@settings(max_examples=40, deadline=None)
@given(awkward_batches())
def test_cleaning_anything_twice_marks_nothing(batch: pa.RecordBatch) -> None:
    once = clean(batch, THEMES)
    twice = clean(once.batch, THEMES)
    assert twice.batch == once.batch
    assert twice.marks == {}


# ------------------------------------------------------------------------------ rejects, observations


def reasons(*given_rows: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    fields, why = reject_reasons(batch_of(given_rows))
    return list(zip(fields.to_pylist(), why.to_pylist(), strict=True))


def test_a_row_with_what_is_required_may_enter() -> None:
    assert reasons(article()) == [(None, None)]


@pytest.mark.parametrize("column", ["unique_id", "agency", "published_at", "title"])
def test_a_row_without_a_required_cell_is_rejected_for_it(column: str) -> None:
    """Faults 8 and 20: nothing that is missing is dropped without a reason."""
    assert reasons(article("a"), article("b") | {column: None}, article("c")) == [
        (None, None),
        (column, "missing"),
        (None, None),
    ]


def test_the_first_missing_column_names_the_reason() -> None:
    assert reasons(dict.fromkeys(COLUMN_NAMES), article("a", published_at=None, title=None)) == [
        ("unique_id", "missing"),
        ("published_at", "missing"),
    ]


def test_ids_and_agencies_may_be_as_long_as_the_store_holds_and_no_longer() -> None:
    assert reasons(
        article("é" * MAX_UNIQUE_ID),
        article("é" * (MAX_UNIQUE_ID + 1)),
        article("a", agency="é" * MAX_AGENCY),
        article("b", agency="é" * (MAX_AGENCY + 1)),
        article("c" * 500, agency=None),
    ) == [
        (None, None),
        ("unique_id", "too_long"),
        (None, None),
        ("agency", "too_long"),
        ("unique_id", "too_long"),
    ]


def test_observations_are_counted_and_change_nothing() -> None:
    now = datetime(2025, 1, 1, tzinfo=UTC)
    rows = [
        article("a", published_at=now + timedelta(microseconds=1), image="https://x.br/a.png"),
        article("b", published_at=now, image="http://x.br/b.png"),
        article("c", published_at=datetime(2000, 1, 1, tzinfo=UTC), image="resolveuid/1"),
        article("d", published_at=datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), image=None),
        article("e", image="/x?de=https://x.br"),
    ]
    expected = {"published_in_future": 1, "published_before_2000": 1, "image_not_absolute": 2}
    now_us = int(now.timestamp()) * 1_000_000
    assert observe(batch_of(rows), now_us=now_us) == expected
    assert observe(sliced(batch_of(rows)), now_us=now_us) == expected
    assert observe(batch_of(rows[1:2]), now_us=now_us) == {}


def test_an_extraction_time_that_nanoseconds_cannot_hold_is_taken_out() -> None:
    """To the microsecond: what is left can be published, what is taken out could not."""
    first, last = -9_223_372_036_854_775, 9_223_372_036_854_775
    times = pa.array([first - 1, first, None, last, last + 1], pa.int64()).cast(
        NORMAL_SCHEMA.field("extracted_at").type
    )
    batch = pa.RecordBatch.from_arrays([times, times], names=["extracted_at", "updated_datetime"])
    cleaned = clean(batch)
    assert cleaned.batch.column("extracted_at").cast(pa.int64()).to_pylist() == [None, first, None, last, None]
    assert cleaned.batch.column("updated_datetime").null_count == 1
    assert cleaned.counts() == {"out_of_range:extracted_at": 2}
    assert published_rows(cleaned.batch.select(["extracted_at"])).num_rows == 5
