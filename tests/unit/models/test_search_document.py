"""What Typesense holds of an article: its fields, its documents, and the lines that are sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.models.columns import COLUMN_NAMES
from data_platform.models.json_lines import json_lines
from data_platform.models.search_document import FIELDS, OWN_FIELDS, collection_schema, documents, imports, pieces
from tests.support.rows import article, batch_of, rows, sliced, texts
from tests.support.search import document_of

FULL: dict[str, Any] = {
    "unique_id": "a1",
    "agency": "mec",
    "published_at": datetime(2025, 3, 4, 15, 6, 7, 999999, UTC),
    "updated_datetime": datetime(2025, 3, 5, 1, tzinfo=UTC),
    "extracted_at": datetime(2025, 3, 4, 18, tzinfo=UTC),
    "title": "Título",
    "subtitle": "linha fina",
    "editorial_lead": "chapéu",
    "url": "https://www.gov.br/mec/x",
    "content": 'Texto\ncom "aspas", \\barras\\ e\ttab\r\n',
    "image": "https://www.gov.br/i.jpg",
    "video_url": "https://www.gov.br/v.mp4",
    "category": "Notícias",
    "tags": ["educação", "ciência"],
    "theme_1_level_1": "01 - Economia",
    "theme_1_level_1_code": "01",
    "theme_1_level_1_label": "Economia",
    "theme_1_level_2_code": "01.01",
    "theme_1_level_2_label": "Política",
    "theme_1_level_3_code": "01.01.02",
    "theme_1_level_3_label": "Juros",
    "most_specific_theme_code": "01.01.02",
    "most_specific_theme_label": "Juros",
    "summary": "resumo",
}


def sent(*given: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the documents as the service reads them."""
    return [json.loads(line) for line in imports(batch_of(given)).decode().split("\n")]


def kept(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document as the service keeps it."""
    return {name: value for name, value in document.items() if value is not None}


def test_all_columns_are_in_the_document() -> None:
    (document,) = sent(FULL)
    week = {"published_year": 2025, "published_month": 3, "published_week": 202510}
    times = {"published_at": 1741100767, "updated_datetime": 1741136400, "extracted_at": 1741111200}
    assert document == {"id": "a1", **FULL, **times, **week}
    assert set(OWN_FIELDS) == {*COLUMN_NAMES, *week}


def test_what_is_not_there_is_sent_as_null_so_that_it_goes() -> None:
    (document,) = sent(article())
    assert set(document) == {"id", *OWN_FIELDS}
    assert set(kept(document)) == {
        "id", "unique_id", "agency", "title", "published_at", "published_year", "published_month", "published_week",
    }  # fmt: skip
    (empty,) = sent(article(summary="", tags=[]))
    assert empty == document


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        (None, None),
        ([], None),
        (["", "x" * 101], None),
        (["", "a", "x" * 100, "x" * 101, None, "b"], ["a", "x" * 100, "b"]),
        (['q"t', "a\nb"], ['q"t', "a\nb"]),
    ],
)
def test_tags_lose_empty_and_overlong_entries(tags: list[str | None] | None, wanted: list[str] | None) -> None:
    documents_sent = sent(article("a", tags=["x"]), article("b", tags=tags), article("c", tags=["y", "z"]))
    assert [one["tags"] for one in documents_sent] == [["x"], wanted, ["y", "z"]]


@pytest.mark.parametrize(
    ("at", "wanted"),
    [
        (datetime(2025, 1, 1, 2, 59, tzinfo=UTC), (2024, 12, 202501)),  # 23:59 of 31 December, in week 1 of 2025
        (datetime(2025, 1, 1, 3, tzinfo=UTC), (2025, 1, 202501)),
        (datetime(2024, 12, 30, 2, 59, tzinfo=UTC), (2024, 12, 202452)),  # Sunday evening
        (datetime(2024, 12, 30, 3, tzinfo=UTC), (2024, 12, 202501)),
        (datetime(2021, 1, 1, 12, tzinfo=UTC), (2021, 1, 202053)),
        (datetime(2025, 3, 1, 2, 30, tzinfo=UTC), (2025, 2, 202509)),
        (datetime(2019, 1, 1, 2, tzinfo=UTC), (2019, 1, 201901)),  # summer time: midnight there, 23:00 at −03:00
        (datetime(2018, 12, 1, 1, 59, tzinfo=UTC), (2018, 11, 201848)),
    ],
)
def test_year_month_and_week_are_those_of_brasilia(at: datetime, wanted: tuple[int, int, int]) -> None:
    """Fault 7: they were computed in several zones."""
    (document,) = sent(article(published_at=at))
    assert tuple(document[f"published_{part}"] for part in ("year", "month", "week")) == wanted


@pytest.mark.parametrize(
    ("at", "seconds"),
    [
        (datetime(2024, 1, 1, 0, 0, 0, 999999, UTC), 1704067200),
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1969, 12, 31, 23, 59, 59, 1, UTC), -1),
        (datetime(2087, 5, 3, tzinfo=UTC), 3702758400),
    ],
)
def test_times_are_whole_seconds_since_1970(at: datetime, seconds: int) -> None:
    (document,) = sent(article(published_at=at))
    assert document["published_at"] == seconds


def test_codes_are_recovered_from_the_text_of_the_first_level() -> None:
    by_text, by_label, deeper, other = sent(
        article("a", theme_1_level_1="07 - Saúde - geral"),
        article("b", theme_1_level_1="Saúde"),
        article("c", theme_1_level_1="07 - Saúde", theme_1_level_2_code="07.01", theme_1_level_2_label="SUS"),
        article("d", theme_1_level_1="07 - Saúde", theme_1_level_1_code="08"),
    )
    assert (by_text["theme_1_level_1_code"], by_text["theme_1_level_1_label"]) == ("07", "Saúde - geral")
    assert (by_text["most_specific_theme_code"], by_text["most_specific_theme_label"]) == ("07", "Saúde - geral")
    assert by_label["theme_1_level_1_code"] is None
    assert (deeper["most_specific_theme_code"], deeper["most_specific_theme_label"]) == ("07.01", "SUS")
    assert (other["theme_1_level_1_code"], other["theme_1_level_1_label"]) == ("08", None)


@given(rows())
def test_documents_are_what_python_makes_of_the_rows(batch: pa.RecordBatch) -> None:
    made = [json.loads(line) for line in imports(batch).decode().split("\n")] if batch.num_rows else []
    assert [kept(document) for document in made] == [document_of(row) for row in batch.to_pylist()]
    assert made == documents(batch).to_pylist()


@given(
    st.lists(st.tuples(texts, st.none() | st.integers(-(2**63), 2**63 - 1), st.lists(texts, max_size=3)), max_size=5)
)
def test_lines_are_json_whatever_the_texts_hold(cells: list[Any]) -> None:
    schema = pa.schema([("text", pa.string()), ("number", pa.int64()), ("list", pa.list_(pa.string()))])
    given_rows = [dict(zip(schema.names, cell, strict=True)) for cell in cells]
    batch = pa.RecordBatch.from_pylist(given_rows, schema=schema)
    lines = json_lines(batch).decode().split("\n") if cells else []
    assert [json.loads(line) for line in lines] == [row | {"list": row["list"] or None} for row in given_rows]


def test_control_characters_do_not_break_lines() -> None:
    awkward = ["\x02", "\x03\x02", "\x00", "\x1f", "\u2028", "\x7f", 'x\x02","id":\x02y']
    made = sent(*(article(f"a{n}", content=text, tags=[text]) for n, text in enumerate(awkward)))
    assert [(one["content"], one["tags"]) for one in made] == [(text, [text]) for text in awkward]


def test_a_part_of_a_larger_batch_is_read_from_its_own_place() -> None:
    batch = batch_of([FULL, article("b", tags=["t"]), article("c")])
    assert imports(sliced(batch)) == imports(batch)


def test_no_rows_are_no_lines() -> None:
    assert imports(batch_of([])) == b""


def test_pieces_are_bounded_in_rows_and_bytes() -> None:
    batch = batch_of([article(f"a{n}", content="x" * (10 if n < 6 else 5000)) for n in range(9)])
    made = list(pieces(batch, most_rows=4, most_bytes=6000))
    assert [piece.num_rows for piece in made] == [4, 2, 1, 1, 1]
    assert pa.Table.from_batches(made).to_pylist() == batch.to_pylist()


def test_the_fields_are_those_of_the_field() -> None:
    """FIELD_FACTS §9.2, word by word; theme_1_level_1 is restored, updated_datetime is beside it."""
    told = {field["name"]: field for field in collection_schema("x")["fields"]}
    facets = {name for name, field in told.items() if field["facet"]}
    assert facets == {
        "unique_id", "agency", "category", "tags", "published_year", "published_month", "published_week",
        "theme_1_level_1", "theme_1_level_1_code", "theme_1_level_1_label", "theme_1_level_2_code",
        "theme_1_level_2_label", "theme_1_level_3_code", "theme_1_level_3_label", "most_specific_theme_code",
        "most_specific_theme_label",
    }  # fmt: skip
    assert {name for name, field in told.items() if not field["optional"]} == {"unique_id", "published_at"}
    assert told["unique_id"]["sort"] is True
    types = {name: field["type"] for name, field in told.items() if field["type"] != "string"}
    assert types == {
        "published_at": "int64", "updated_datetime": "int64", "extracted_at": "int64", "tags": "string[]",
        "published_year": "int32", "published_month": "int32", "published_week": "int32",
        "content_embedding": "float[]",
    }  # fmt: skip
    assert told["content_embedding"]["num_dim"] == 768
    assert collection_schema("x")["default_sorting_field"] == "published_at"
    assert len(told) == len(FIELDS) == 24 + 3 + 1


def test_fields_of_others_come_along_and_may_replace_the_vector() -> None:
    theirs = [
        {"name": "content_embedding", "type": "float[]", "num_dim": 1024},
        {"name": "view_count", "type": "int32"},
    ]
    told = collection_schema("x", theirs)["fields"]
    assert [field for field in told if field["name"] == "content_embedding"] == theirs[:1]
    assert theirs[1] in told
