"""Rows laid out as columns of news, without a database."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from data_platform.errors import IntegrityError
from data_platform.managers.postgres.news_table import NEWS_COLUMNS, Catalogue, news_rows
from data_platform.models.theme_cells import ThemeIndex
from tests.support.rows import PUBLISHED, article, batch_of, sliced

CATALOGUE = Catalogue(
    agency_keys=pa.array(["aeb", "mec"]),
    agency_ids=pa.array([40, 30], pa.int32()),
    agency_names=pa.array(["Agência Espacial", "Educação"]),
    themes=ThemeIndex.of([(7, "01", "Economia")]),
)


def cells(made: list[pa.Array]) -> list[dict[str, Any]]:
    names = [name for name, _ in NEWS_COLUMNS]
    values = zip(*(array.to_pylist() for array in made), strict=True)
    return [dict(zip(names, row, strict=True)) for row in values]


ROWS = [
    article("a", url="http://WWW.gov.br/x/", image="i", theme_1_level_1="01 - Economia", tags=["t"]),
    article("b", agency="aeb", theme_1_level_1="77 - Nova", url="No address"),
]


def test_a_row_in_the_columns_of_the_table() -> None:
    made = news_rows(batch_of(ROWS), CATALOGUE, duplicate_of={"b": "z", "other": "a"})
    first, second = cells(made)
    assert {name: value for name, value in first.items() if value is not None} == {
        "unique_id": "a",
        "agency_key": "mec",
        "agency_id": 30,
        "agency_name": "Educação",
        "published_at": PUBLISHED,
        "title": "Título",
        "url": "http://WWW.gov.br/x/",
        "canonical_url": "https://www.gov.br/x",
        "image_url": "i",
        "tags": ["t"],
        "theme_l1_id": 7,
        "most_specific_theme_id": 7,
        "theme_form": "text",
    }
    assert (second["agency_id"], second["agency_name"], second["duplicate_of"]) == (40, "Agência Espacial", "z")
    assert (second["url"], second["canonical_url"]) == ("No address", None)
    assert second["theme_cells"] == '{"theme_1_level_1": "77 - Nova"}'


def test_a_part_of_a_batch_gives_what_the_same_rows_give() -> None:
    whole = news_rows(batch_of(ROWS), CATALOGUE, duplicate_of={})
    assert cells(news_rows(sliced(batch_of(ROWS)), CATALOGUE, duplicate_of={})) == cells(whole)
    assert cells(news_rows(batch_of([]), CATALOGUE, duplicate_of={"a": "b"})) == []


def test_an_agency_that_is_not_there_is_named() -> None:
    """Fault 20: never passed over."""
    batch = batch_of([article("a"), article("b", agency="inep"), article("c", agency="inep")])
    with pytest.raises(IntegrityError, match=r"agencies without an entry: inep \("):
        news_rows(batch, CATALOGUE, duplicate_of={})
