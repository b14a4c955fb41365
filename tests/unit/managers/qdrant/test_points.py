"""Ids, payloads and the JSON of points, against plain Python and Qdrant's own models."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn
from qdrant_client.http import models

from data_platform.managers.qdrant.points import PAYLOAD_INDEXES, payloads_of, point_id, points_body, unit_vectors
from tests.support.rows import article, batch_of, rows, sliced


def payload_of(**cells: Any) -> dict[str, Any]:
    (payload,) = payloads_of(batch_of([article(**cells)]), ["hash"], "model")
    return payload


def test_ids_are_uuids_and_stay() -> None:
    """A change of the namespace would double every row of every index that there is."""
    assert point_id("0123456789abcdef0123456789abcdef") == "e9bb775b-d77d-5106-9d38-d6e0e1676ab8"
    assert UUID(point_id("é/🛰")).version == 5
    assert len({point_id(uid) for uid in ("a", "A", "a ", "é", "e\u0301")}) == 5


def test_a_payload_has_what_searches_filter_by_and_show() -> None:
    found = payload_of(
        unique_id="u",
        agency="mec",
        published_at=datetime(2024, 1, 1, 2, 30, 0, 5, UTC),
        title="T",
        url="https://x.br/a",
        category="C",
        tags=["a", "", "b"],
        theme_1_level_1="02 - Educação",
        theme_1_level_1_code="02",
        theme_1_level_2_code="02.03",
        theme_1_level_3_code="02.03.01",
        most_specific_theme_code="02.03.01",
        summary="s",
        content="c",
    )
    assert found == {
        "unique_id": "u",
        "agency": "mec",
        "published_at": "2024-01-01T02:30:00.000005Z",
        "published_year": 2023,  # in São Paulo it is still the year before
        "published_month": 12,
        "title": "T",
        "url": "https://x.br/a",
        "category": "C",
        "tags": ["a", "b"],
        "theme_1_level_1_code": "02",
        "theme_1_level_2_code": "02.03",
        "theme_1_level_3_code": "02.03.01",
        "most_specific_theme_code": "02.03.01",
        "text_hash": "hash",
        "embedding_model": "model",
    }
    assert set(PAYLOAD_INDEXES) < set(found)


@pytest.mark.parametrize(
    ("cells", "codes"),
    [
        ({"theme_1_level_1": "02 - Educação"}, ("02", None, None, "02")),
        ({"theme_1_level_1": "Educação"}, (None, None, None, None)),
        ({"theme_1_level_1": "02 - Educação", "theme_1_level_2_code": "02.03"}, ("02", "02.03", None, "02.03")),
        ({"theme_1_level_1_code": "05", "most_specific_theme_code": "05.01"}, ("05", None, None, "05.01")),
        ({}, (None, None, None, None)),
    ],
)
def test_a_code_that_only_its_text_has_is_found(cells: dict[str, str], codes: tuple[str | None, ...]) -> None:
    found = payload_of(**cells)
    names = [f"theme_1_level_{level}_code" for level in (1, 2, 3)] + ["most_specific_theme_code"]
    assert tuple(found.get(name) for name in names) == codes
    assert None not in found.values()


@pytest.mark.parametrize("tags", [None, [], [""]])
def test_no_tags_are_left_out(tags: list[str] | None) -> None:
    assert "tags" not in payload_of(tags=tags)


@given(rows())
def test_a_part_of_a_batch_has_the_payloads_of_its_rows(batch: Any) -> None:
    each = [payloads_of(batch_of([row]), ["h"], "m")[0] for row in batch.to_pylist()]
    assert payloads_of(sliced(batch), ["h"] * batch.num_rows, "m") == each


_floats = drawn.arrays(
    np.float32, st.tuples(st.integers(1, 20), st.integers(1, 9)), elements=st.floats(-1, 1, width=32)
)


def numbers_of(vectors: Any) -> list[list[float]]:
    ids = [point_id(str(n)) for n in range(len(vectors))]
    payloads = [{"unique_id": str(n), "title": 'aspas " \n 🛰 \x07'} for n in range(len(vectors))]
    told = json.loads(points_body(ids, payloads, vectors))
    points = models.PointsList.model_validate(told).points
    assert [(point.id, point.payload) for point in points] == list(zip(ids, payloads, strict=True))
    return [list(point.vector) for point in points]


@given(_floats)
def test_numbers_are_written_as_python_would_write_them(vectors: Any) -> None:
    expected = [[float(f"{number:.8f}") for number in vector] for vector in vectors.tolist()]
    np.testing.assert_allclose(numbers_of(vectors), expected, rtol=0, atol=1.0001e-8)
    np.testing.assert_allclose(numbers_of(vectors), vectors, rtol=0, atol=5.0001e-9)


def test_the_ends_of_the_range() -> None:
    given_numbers = [[1.0, -1.0, 0.0, -0.0, 1e-9, -1e-9, 0.99999999, 0.5, -0.00000001]]
    assert numbers_of(np.array(given_numbers, np.float32)) == [[1, -1, 0, 0, 0, 0, 1, 0.5, -0.00000001]]


def test_eight_decimals_turn_a_vector_no_further_than_float32_itself_does() -> None:
    exact = np.random.default_rng(0).standard_normal((200, 768))
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    read = np.array(numbers_of(unit_vectors(exact)), np.float32).astype(np.float64)
    rounded = exact.astype(np.float32).astype(np.float64)
    off = np.linalg.norm(read - exact, axis=1).max()
    assert off < 4 * np.linalg.norm(rounded - exact, axis=1).max()
    assert off < 2e-7


def test_vectors_are_brought_to_length_1() -> None:
    found = unit_vectors(np.array([[3e30, 4e30], [1e-30, 0], [-5, 0]], np.float32))
    np.testing.assert_allclose(found, [[0.6, 0.8], [1, 0], [-1, 0]], rtol=1e-6)
