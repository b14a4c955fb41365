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
from data_platform.models.columns import COLUMN_BY_NAME, COLUMNS, NORMAL_SCHEMA, PUBLISHED_SCHEMA
from data_platform.models.days import SAO_PAULO, instants_of_local
from data_platform.sources.normalise import Normaliser, examine
from data_platform.sources.text_forms import iso_date, parse_tags


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


def wall(*parts: int) -> datetime:
    """Return a wall-clock time, in no zone."""
    return datetime(*parts)  # type: ignore[misc,arg-type]  # noqa: DTZ001


def raw(values: Sequence[bytes | None], form: pa.DataType) -> pa.Array:
    """Return a text array of exactly these bytes, UTF-8 or not."""
    return pa.array(values, pa.large_binary()).cast(form, safe=False)


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


@pytest.mark.parametrize("form", [pa.string(), pa.string_view(), pa.large_string(), pa.binary()], ids=str)
def test_bytes_that_are_no_utf8_are_replaced_and_marked(form: pa.DataType) -> None:
    array = raw([b"bom", b"caf\xe9 com leite e muito a\xff\xe7\xc3\xba", None], form)
    values = ["bom", "caf\ufffd com leite e muito a\ufffd\ufffdú", None]
    assert read("content", array) == Read(values, {}, {"invalid_utf8": [1]})


def test_damaged_bytes_in_a_dictionary_mark_every_row_that_uses_them() -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 1], pa.int8()), raw([b"a", b"\xff"], pa.string()))
    assert read("category", array) == Read(["a", "\ufffd", None, "\ufffd"], {}, {"invalid_utf8": [1, 3]})


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_a_column_of_nulls_and_an_absent_column_are_nulls_of_the_right_type(column: Any) -> None:
    assert read(column.name, pa.nulls(3)) == Read([None] * 3, {}, {})
    other = pa.record_batch({"other": pa.array([1, 2, 3])})
    found = Normaliser(other.schema, [column])(other, 0).batch
    assert (found.schema.field(0), found.column(0).null_count) == (NORMAL_SCHEMA.field(column.name), 3)


# ------------------------------------------------------------------------------------------ instants

NOON = utc(2025, 3, 1, 12, 30)
PER_UNIT = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@pytest.mark.parametrize("unit", PER_UNIT)
@pytest.mark.parametrize("zone", ["-03:00", "UTC", "America/Sao_Paulo", "Asia/Tokyo", "Nowhere/Unknown"])
def test_a_timestamp_with_zone_is_the_same_instant_in_any_unit_and_zone(unit: str, zone: str) -> None:
    numbers = pa.array([int(NOON.timestamp()) * PER_UNIT[unit], None, -PER_UNIT[unit]], pa.int64())
    for column in ("published_at", "updated_datetime", "extracted_at"):
        found = read(column, numbers.cast(pa.timestamp(unit, tz=zone)))
        assert found == Read([NOON, None, utc(1969, 12, 31, 23, 59, 59)], {}, {})


@pytest.mark.parametrize("unit", PER_UNIT)
def test_without_a_zone_it_is_sao_paulo_time_save_extracted_at(unit: str) -> None:
    wall_clock = pa.array([wall(2025, 3, 1), wall(2018, 1, 1), None]).cast(pa.timestamp(unit))
    local = [utc(2025, 3, 1, 3), utc(2018, 1, 1, 2), None]  # standard time, summer time
    assert read("published_at", wall_clock) == Read(local, {}, {})
    assert read("updated_datetime", wall_clock) == Read(local, {}, {})
    assert read("extracted_at", wall_clock) == Read([utc(2025, 3, 1), utc(2018, 1, 1), None], {}, {})


def test_a_midnight_that_summer_time_skipped_keeps_its_day() -> None:
    skipped = pa.array([wall(2018, 11, 4)])  # clocks went from 00:00 to 01:00
    for array in (skipped, skipped.cast(pa.date32()), pa.array(["2018-11-04"]), pa.array(["04/11/2018"])):
        assert read("published_at", array).values == [utc(2018, 11, 4, 3)]


@pytest.mark.parametrize("form", [pa.date32(), pa.date64()], ids=str)
@pytest.mark.parametrize("column", ["published_at", "extracted_at"])
def test_a_day_is_midnight_in_sao_paulo(column: str, form: pa.DataType) -> None:
    days = pa.array([date(2025, 3, 1), None, date(2018, 1, 1)], pa.date32()).cast(form)
    assert read(column, days).values == [utc(2025, 3, 1, 3), None, utc(2018, 1, 1, 2)]


def test_nanoseconds_are_cut_downwards_and_marked() -> None:
    array = pa.array([1_500, 1_000, None, -1, -1_000], pa.int64()).cast(pa.timestamp("ns"))
    micro = timedelta(microseconds=1)
    epoch = utc(1970, 1, 1)
    values = [epoch + micro, epoch + micro, None, epoch - micro, epoch - micro]
    assert read("extracted_at", array) == Read(values, {}, {"nanoseconds_cut": [0, 3]})
    text = [
        "2025-03-01 12:30:00.123456789",
        "2025-03-01 12:30:00.123456000",
        "?.1234567",
        "0001-01-01T00:00:00.1234567Z",
    ]
    found = read("extracted_at", pa.array(text))
    assert found.values == [NOON.replace(microsecond=123456)] * 2 + [None] * 2
    assert found.repaired == {"nanoseconds_cut": [0]}


def test_the_first_and_last_instants_are_those_that_python_can_hold_in_both_zones() -> None:
    first = int(pc.cast(instants_of_local(pa.array([wall(1, 1, 1)])), pa.int64())[0].as_py())
    last = pa.array([wall(9999, 12, 31, 23, 59, 59, 999999)]).cast(pa.int64())[0].as_py()
    edges = pa.array([first - 1, first, last, last + 1], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    found = read("published_at", edges)
    assert found.values[1].astimezone(SAO_PAULO).replace(tzinfo=None) == wall(1, 1, 1)
    assert found.values[2] == datetime.max.replace(tzinfo=UTC)
    assert found.lost.keys() == {0, 3}
    with pytest.raises(OverflowError):
        (found.values[1] - timedelta(microseconds=1)).astimezone(SAO_PAULO)


def test_the_last_hours_of_the_calendar_in_sao_paulo_are_after_its_end_in_utc() -> None:
    late = pa.array([wall(9999, 12, 31, 20, 59), wall(9999, 12, 31, 21)])
    expected = Read([utc(9999, 12, 31, 23, 59), None], {1: "9999-12-31 21:00:00.000000"}, {})
    assert read("published_at", late) == expected
    assert read("published_at", late.cast(pa.string())) == expected


@given(
    numbers=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-(10**12), 10**12), min_size=1),
    unit=st.sampled_from(sorted(PER_UNIT)),
    zone=st.sampled_from([None, "UTC", "-03:00", "Nowhere/Unknown"]),
    column=st.sampled_from(["published_at", "extracted_at"]),
)
def test_every_instant_that_is_kept_can_be_held_and_every_other_is_told(
    numbers: list[int | None], unit: str, zone: str | None, column: str
) -> None:
    found = read(column, pa.array(numbers, pa.int64()).cast(pa.timestamp(unit, tz=zone)))
    for index, (number, value) in enumerate(zip(numbers, found.values, strict=True)):
        assert (value is None) == (number is None or index in found.lost)
        if value is not None:
            value.astimezone(SAO_PAULO)
            offset = timedelta(0)
            if zone is None and column == "published_at":  # how much the clocks were behind
                offset = value.replace(tzinfo=None) - value.astimezone(SAO_PAULO).replace(tzinfo=None)
            exact = utc(1970, 1, 1) + timedelta(microseconds=number * 10**6 // PER_UNIT[unit])
            # Skipped wall-clock times, an hour a year at most, move.
            assert abs(value - offset - exact) in (timedelta(0), timedelta(hours=1))


NOTHING = ["", "None", "nan", "NaT", "null", "NONE", "  ", " NaN "]


def test_words_for_nothing_are_null_without_being_lost() -> None:
    for column in ("published_at", "extracted_at", "tags"):
        assert read(column, pa.array([*NOTHING, None])) == Read([None] * (len(NOTHING) + 1), {}, {})


@pytest.mark.parametrize(
    ("text", "local", "as_utc"),
    [
        ("2025-03-01T12:30:00Z", NOON, NOON),
        ("2025-03-01T09:30:00-03:00", NOON, NOON),
        ("2025-03-01 09:30:00-0300", NOON, NOON),
        ("2025-03-01 09:30:00-03", NOON, NOON),
        ("2025-03-01T09:30-03:00", NOON, NOON),
        ("2025-03-01 12:30:00 UTC", NOON, NOON),
        ("2025-03-01t12:30:00z", NOON, NOON),
        (" 2025-03-01T12:30:00+00:00\n", NOON, NOON),
        ("1900-01-01 00:00:00-03:06:28", utc(1900, 1, 1, 3, 6, 28), utc(1900, 1, 1, 3, 6, 28)),
        ("2025-03-01 12:30", NOON + timedelta(hours=3), NOON),
        ("2025-03-01T12:30:00", NOON + timedelta(hours=3), NOON),
        ("2025-03-01", utc(2025, 3, 1, 3), utc(2025, 3, 1)),
        ("01/03/2025", utc(2025, 3, 1, 3), utc(2025, 3, 1)),
        ("1/3/2025 12:30", NOON + timedelta(hours=3), NOON),
        ("01/03/2025 12:30:00", NOON + timedelta(hours=3), NOON),
        ("01/01/2018", utc(2018, 1, 1, 2), utc(2018, 1, 1)),  # summer time
        ("9999-12-31 20:59:59", utc(9999, 12, 31, 23, 59, 59), utc(9999, 12, 31, 20, 59, 59)),
    ],
)
def test_dates_as_text(text: str, local: datetime, as_utc: datetime) -> None:
    assert read("published_at", pa.array([text])) == Read([local], {}, {})
    assert read("updated_datetime", pa.array([None, text, "x"]).dictionary_encode()).values == [None, local, None]
    assert read("extracted_at", pa.array([text], pa.large_string())) == Read([as_utc], {}, {})


@pytest.mark.parametrize(
    "text",
    [
        "ontem",
        "2025-02-30",
        "2025-13-01",
        "30/02/2025",
        "03/25/2025",  # month first is never guessed
        "01/03/25",
        "2025-03-01T24:00:00",
        "2025-03-01T12:60:00",
        "2025-03-01T12:30:00.1234567890",
        "2025-03-01T12:30:00+24:00",
        "2025-03-01Z",
        "20250301",
        "1740832200",
        "0000-01-01",
        "0001-01-01T00:00:00Z",  # the year 0 in São Paulo
        "9999-12-31T23:00:00-03:00",
        "10000-01-01",
        "٢٠٢٥-٠٣-٠١",
    ],
)
def test_what_is_no_date_is_lost_with_its_text_and_spoils_no_neighbour(text: str) -> None:
    array = pa.array(["2025-03-01T12:30:00Z", text, None, "01/03/2025"])
    assert read("published_at", array) == Read([NOON, None, None, utc(2025, 3, 1, 3)], {1: text}, {})


def test_damaged_bytes_in_a_date_are_lost_not_an_error() -> None:
    assert read("published_at", raw([b"2025-03-01\xff"], pa.string())) == Read([None], {0: "2025-03-01\ufffd"}, {})


INSTANTS = st.datetimes(wall(2, 1, 1), wall(9998, 12, 31))
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
PRINTED: list[Callable[[datetime], str]] = [
    datetime.isoformat,
    str,
    lambda when: when.isoformat(sep=" ", timespec="microseconds"),
]


@given(st.lists(st.tuples(INSTANTS, OFFSETS, st.sampled_from(PRINTED)), min_size=1))
def test_a_date_printed_with_its_zone_is_read_back_exactly(cases: list[tuple[datetime, timezone, Any]]) -> None:
    whens = [when.replace(tzinfo=zone) for when, zone, _ in cases]
    texts = [show(when) for when, (_, _, show) in zip(whens, cases, strict=True)]
    assert read("published_at", pa.array(texts)).values == [when.astimezone(UTC) for when in whens]


@given(st.lists(st.tuples(INSTANTS, st.booleans()), min_size=1))
def test_a_printed_wall_clock_reads_as_the_same_timestamp_without_zone(cases: list[tuple[datetime, bool]]) -> None:
    whens = [when.replace(microsecond=0) if brazilian else when for when, brazilian in cases]
    texts = [
        f"{when.day:02}/{when.month:02}/{when.year:04} {when.time()}" if brazilian else str(when)
        for when, (_, brazilian) in zip(whens, cases, strict=True)
    ]
    stamps = pa.array(whens, pa.timestamp("us"))
    for column in ("published_at", "extracted_at"):
        assert read(column, pa.array(texts)) == read(column, stamps)


@given(st.lists(st.text() | st.from_regex(r"[0-9/:TZ .+-]{6,25}", fullmatch=True), min_size=1))
def test_any_text_is_a_date_or_nothing_or_told(texts: list[str]) -> None:
    found = read("published_at", pa.array(texts, pa.string()))
    for index, (text, value) in enumerate(zip(texts, found.values, strict=True)):
        nothing = text.strip().lower() in {"", "none", "nan", "nat", "null"}
        assert (value is None) == (nothing or index in found.lost)
        if index in found.lost:
            assert found.lost[index] == text
            assert not nothing


@given(
    st.from_regex(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|-03:00)?)?", fullmatch=True
    )
)
def test_the_fast_and_the_thorough_reading_agree(text: str) -> None:
    alone = read("published_at", pa.array([text]))
    rewritten = iso_date(text)
    assert (rewritten is None or rewritten.startswith("0000")) <= (alone.values == [None])
    # A neighbour that no calendar has makes Arrow refuse the batch, and every cell is read one by one.
    assert read("published_at", pa.array([text, "2025-02-30"])).values[:1] == alone.values


# ---------------------------------------------------------------------------------------------- tags

LISTS = [["saúde", "SUS"], None, [], [""]]


@pytest.mark.parametrize(
    "form",
    [
        pa.list_(pa.string()),
        pa.list_(pa.field("element", pa.large_string())),
        pa.large_list(pa.string_view()),
        pa.list_(pa.dictionary(pa.int32(), pa.string())),
        pa.list_(pa.binary()),
    ],
    ids=str,
)
def test_lists_of_any_form_are_kept(form: pa.DataType) -> None:
    assert read("tags", pa.array(LISTS, form)) == Read(LISTS, {}, {})


def test_lists_of_fixed_size_and_slices_are_kept() -> None:
    assert read("tags", pa.array([["a", "b"], ["c", "d"]], pa.list_(pa.string(), 2))).values == [["a", "b"], ["c", "d"]]
    assert read("tags", pa.array([[None], ["x"], *LISTS]).slice(2)) == Read(LISTS, {}, {})


def test_null_tags_are_dropped_and_marked() -> None:
    array = pa.array([["a", None, "b"], None, [None], ["c"], []])
    expected = Read([["a", "b"], None, [], ["c"], []], {}, {"null_tag_dropped": [0, 2]})
    assert read("tags", array) == expected
    assert read("tags", array.cast(pa.large_list(pa.large_string()))) == expected
    nothing = pa.array([[None], None, []], pa.list_(pa.null()))
    assert read("tags", nothing) == Read([[], None, []], {}, {"null_tag_dropped": [0]})


@pytest.mark.parametrize("form", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_damaged_bytes_in_a_tag_are_replaced_and_marked(form: pa.DataType) -> None:
    offsets = pa.array([0, 2, None, 2, 4], pa.int32())
    array = pa.ListArray.from_arrays(offsets, raw([b"a", b"\xe9 e mais de doze bytes", b"b", None], form))
    values = [["a", "\ufffd e mais de doze bytes"], [], None, ["b"]]
    repaired = {"invalid_utf8": [0], "null_tag_dropped": [3]}
    assert read("tags", array) == Read(values, {}, repaired)


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("['saúde', 'SUS']", ["saúde", "SUS"]),
        ('["saúde", "SUS"]', ["saúde", "SUS"]),
        ("['saúde' 'SUS']", ["saúde", "SUS"]),
        ("['saúde'\n 'SUS']", ["saúde", "SUS"]),
        ("array(['saúde', 'SUS'], dtype=object)", ["saúde", "SUS"]),
        ("saúde, SUS", ["saúde", "SUS"]),
        ("saúde,SUS,", ["saúde", "SUS"]),
        ("[saúde, SUS]", ["saúde", "SUS"]),
        ("saúde", ["saúde"]),
        ("copa d'água, 1º lugar", ["copa d'água", "1º lugar"]),
        ("[]", []),
        ("[ ]", []),
        ("['d\\'água', \"copa d'água\"]", ["d'água", "copa d'água"]),
        ('["a", 2025]', ["a", "2025"]),
        (r"['a\xa0b' 'c\\d']", ["a\xa0b", "c\\d"]),
        ("['a', 'b',]", ["a", "b"]),
        (r'["\ud83d\ude00", "\ud83d"]', ["😀", "\ufffd"]),
        ("[Vídeo] saúde", ["[Vídeo] saúde"]),
    ],
)
def test_tags_as_text(text: str, tags: list[str]) -> None:
    assert read("tags", pa.array([text, None])) == Read([tags, None], {}, {"tags_from_text": [0]})


@pytest.mark.parametrize("text", ["['a', nan]", '["a", null]', "['a' None]", '["a", NaN]'])
def test_null_tags_in_text_are_dropped_and_marked(text: str) -> None:
    repaired = {"tags_from_text": [1], "null_tag_dropped": [1]}
    assert read("tags", pa.array([None, text])) == Read([None, ["a"]], {}, repaired)


@pytest.mark.parametrize(
    "text",
    [
        '[["a"]]',
        '[{"a": 1}]',
        "[true]",
        "['a' ... 'b']",
        "['a', 'b]",
        "[a, 'b']",
        "['a' + 'b']",
        "[__import__('os').getcwd()]",
        "[" * 100_000 + "]" * 100_000,
        "[1.5]",
    ],
)
def test_lists_that_are_not_of_tags_are_lost_with_their_text(text: str) -> None:
    assert read("tags", pa.array([text])) == Read([None], {0: text}, {})


WORDS = st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=5)


@given(WORDS)
def test_a_printed_list_is_read_back_exactly(tags: list[str]) -> None:
    assert parse_tags(str(tags)) == tags
    assert parse_tags(json.dumps(tags)) == tags
    assert parse_tags(json.dumps(tags, ensure_ascii=False)) == tags
    assert parse_tags(str(np.array(tags, dtype=object))) == tags


@given(st.lists(st.text("abç í-'", min_size=1).map(str.strip).filter(bool), min_size=1))
def test_joined_by_commas_is_read_back(tags: list[str]) -> None:
    joined = ", ".join(tags)
    if "'" not in joined and joined.lower() != "nan":
        assert parse_tags(joined) == tags


@given(st.lists(st.text() | st.text("[]'\",\\ anb"), min_size=1))
def test_any_text_is_tags_or_nothing_or_told(texts: list[str]) -> None:
    found = read("tags", pa.array(texts, pa.string()))
    for index, (text, tags) in enumerate(zip(texts, found.values, strict=True)):
        nothing = text.strip().lower() in {"", "none", "nan", "nat", "null"}
        assert (tags is None) == (nothing or index in found.lost)
        assert (index in found.repaired.get("tags_from_text", [])) == (tags is not None)
        assert found.lost.get(index, text) == text


# -------------------------------------------------------------------------------- which types can be


@pytest.mark.parametrize(
    ("column", "form"),
    [
        ("published_at", pa.int64()),
        ("published_at", pa.int32()),
        ("published_at", pa.float64()),
        ("published_at", pa.time64("us")),
        ("published_at", pa.list_(pa.string())),
        ("title", pa.int64()),
        ("title", pa.bool_()),
        ("title", pa.struct([("a", pa.string())])),
        ("title", pa.timestamp("us")),
        ("title", pa.list_(pa.string())),
        ("unique_id", pa.dictionary(pa.int8(), pa.int64())),
        ("tags", pa.list_(pa.int64())),
        ("tags", pa.list_(pa.list_(pa.string()))),
        ("tags", pa.list_view(pa.string())),
        ("tags", pa.struct([("a", pa.string())])),
    ],
)
def test_types_that_cannot_be_the_column_are_a_problem_unless_nothing_is_in_them(
    column: str, form: pa.DataType
) -> None:
    problem, note = examine(COLUMN_BY_NAME[column], form)
    assert problem.startswith(f"{column} is {form}")
    assert note == ""
    problem, note = examine(COLUMN_BY_NAME[column], form, all_null=True)
    assert problem == ""
    assert note.startswith(f"{column} is {form}")


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_the_published_types_are_neither_problem_nor_note(column: Any) -> None:
    assert examine(column, PUBLISHED_SCHEMA.field(column.name).type) == ("", "")


def test_a_column_promised_to_be_empty_is_checked() -> None:
    column = COLUMN_BY_NAME["video_url"]
    schema = pa.schema([("video_url", pa.float64())])
    empty = Normaliser(schema, [column])(pa.record_batch([pa.array([None, float("nan")])], schema=schema), 0)
    assert empty.batch.column(0) == pa.nulls(2, pa.string())
    with pytest.raises(SourceError, match="video_url is double and holds values"):
        Normaliser(schema, [column])(pa.record_batch([pa.array([None, 1.0])], schema=schema), 0)


def test_columns_come_in_the_order_asked_whatever_the_order_in_the_file() -> None:
    part = pa.record_batch({"x": ["?"], "url": ["u"], "title": ["t"], "agency": ["a"]})
    wanted = [COLUMN_BY_NAME[name] for name in ("agency", "title", "url", "summary")]
    found = Normaliser(part.schema, wanted)(part, 0).batch
    assert found.to_pylist() == [{"agency": "a", "title": "t", "url": "u", "summary": None}]
    assert found.schema.names == ["agency", "title", "url", "summary"]
