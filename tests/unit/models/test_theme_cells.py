"""Theme cells to ids and back, without a database; the way through the real view is in tests/integration."""

from __future__ import annotations

import json
from typing import Any

import pytest

from data_platform.models.columns import THEME_COLUMNS
from data_platform.models.theme_cells import StoredThemes, ThemeIndex, rebuild_first_level, store_themes
from tests.support.rows import article, batch_of, sliced

TEXT, C1, L1, C2, L2, C3, L3, CM, LM = THEME_COLUMNS
#: The label of 01 stands under 01.01 too, as labels do in the real tree; ids are not positions.
INDEX = ThemeIndex.of(
    [
        (11, "01", "Economia"),
        (12, "01.01", "Economia"),
        (13, "01.01.02", "Juros"),
        (14, "02", "Educação"),
        (15, "04.04.05", "Fé"),
    ]
)


def row(*cells: str | None) -> dict[str, Any]:
    """Return a row with these theme cells, in the order of THEME_COLUMNS."""
    return article() | dict(zip(THEME_COLUMNS, (*cells, *[None] * (9 - len(cells))), strict=True))


def stored(*rows: dict[str, Any]) -> StoredThemes:
    return store_themes(batch_of(rows), INDEX)


def ids(themes: StoredThemes) -> list[tuple[int | None, ...]]:
    arrays = (themes.l1_id, themes.l2_id, themes.l3_id, themes.most_specific_id)
    return list(zip(*(a.to_pylist() for a in arrays), strict=True))


FULL = row("01 - Economia", "01", "Economia", "01.01", "Economia", "01.01.02", "Juros", "01.01.02", "Juros")


def test_the_text_alone_gives_the_first_level() -> None:
    """Fault 15: nine themes in ten stand in the text only."""
    found = stored(row("02 - Educação"))
    assert ids(found) == [(14, None, None, 14)]
    assert found.form.to_pylist() == ["text"]
    assert found.cells.to_pylist() == [None]


def test_all_cells_in_agreement_are_held_by_ids_alone() -> None:
    found = stored(FULL)
    assert ids(found) == [(11, 12, 13, 13)]
    assert found.form.to_pylist() == ["codes"]
    assert found.cells.to_pylist() == [None]
    assert found.unknown_codes == {}


def test_a_row_without_theme_holds_nothing() -> None:
    found = stored(row())
    assert ids(found) == [(None,) * 4]
    assert found.form.to_pylist() == found.cells.to_pylist() == [None]


@pytest.mark.parametrize(
    ("cells", "expected_ids"),
    [
        pytest.param(("01 - Outra",), (11, None, None, 11), id="other label in the text"),
        pytest.param(("Economia",), (None,) * 4, id="label only"),
        pytest.param(("01 - Economia", "01", "Outra"), (11, None, None, 11), id="other label"),
        pytest.param(("01 - Economia", "01", "Economia"), (11, None, None, 11), id="most specific is missing"),
        pytest.param(("01 - Economia", "02", "Educação"), (14, None, None, 14), id="text and code disagree"),
        pytest.param(("77 - Nova", "77", "Nova"), (None,) * 4, id="unknown code"),
        pytest.param((None, None, None, "01.01"), (None, 12, None, 12), id="code only"),
        pytest.param((None, None, None, None, "Economia"), (None,) * 4, id="lower label only"),
        pytest.param(("", "01"), (11, None, None, 11), id="empty text is a value"),
        pytest.param((None,) * 7 + ("04.04.05",), (None, None, None, 15), id="most specific without label"),
        pytest.param((None,) * 7 + ("99.99", "Fé"), (None,) * 4, id="unknown most specific"),
    ],
)
def test_what_ids_cannot_give_back_is_kept_beside_them(cells: tuple[str, ...], expected_ids: tuple[int, ...]) -> None:
    """Fault 14: an unknown code is kept as text, not lost."""
    given = row(*cells)
    found = stored(FULL, given)
    assert ids(found)[1] == expected_ids
    assert found.form.to_pylist() == ["codes", None]
    assert found.cells[0].as_py() is None
    assert json.loads(found.cells[1].as_py()) == {k: given[k] for k in THEME_COLUMNS if given[k] is not None}


def test_a_most_specific_theme_alone_is_held_by_its_id() -> None:
    found = stored(row(*[None] * 7, "04.04.05", "Fé"))
    assert ids(found) == [(None, None, None, 15)]
    assert found.form.to_pylist() == ["codes"]


def test_levels_that_disagree_are_kept_as_they_are() -> None:
    """A real row has 04.02 on the second level and 04.04.05 on the third; both codes known, ids hold them."""
    found = stored(row("01 - Economia", "01", "Economia", "01.01", "Economia", "04.04.05", "Fé", "04.04.05", "Fé"))
    assert ids(found) == [(11, 12, 15, 15)]
    assert found.form.to_pylist() == ["codes"]


def test_the_deepest_known_level_is_the_most_specific_unless_one_is_given() -> None:
    """Fault 41: on a mismatch the deepest valid level is kept."""
    unknown_third = row("01 - Economia", "01", "Economia", "01.01", "Economia", "99.99.99", "?")
    assert ids(stored(unknown_third)) == [(11, 12, None, 12)]
    assert ids(stored(FULL | {CM: "01", LM: "Economia"})) == [(11, 12, 13, 11)]
    assert ids(stored(FULL | {CM: "88"})) == [(11, 12, 13, 13)]


def test_unknown_codes_are_counted_by_row_and_not_by_cell() -> None:
    """Fault 14: unknown codes are reported."""
    found = stored(
        row("77 - Nova", "77", "Nova", "77.01", "x", None, None, "77.01", "x"),
        row("77 - Nova"),
        row(None, None, None, None, None, None, None, "77.01"),
        FULL,
    )
    assert found.unknown_codes == {"77": 2, "77.01": 2}


def test_an_empty_tree_knows_no_code() -> None:
    found = store_themes(batch_of([FULL, row()]), ThemeIndex.of([]))
    assert ids(found) == [(None,) * 4] * 2
    assert found.unknown_codes == {"01": 1, "01.01": 1, "01.01.02": 1}
    assert [cell is None for cell in found.cells.to_pylist()] == [False, True]
    rebuilt, changed = rebuild_first_level(batch_of([row("Economia"), row(None, "01", "X")]), ThemeIndex.of([]))
    assert rebuilt.to_pylist() == ["Economia", "01 - X"]
    assert changed.to_pylist() == [False, True]


@pytest.mark.parametrize(
    ("cells", "text", "changed"),
    [
        pytest.param(("01 - Economia", "01", "Economia"), "01 - Economia", False, id="as it should be"),
        pytest.param(("01 - Outra", "01", "Economia"), "01 - Outra", False, id="another label is still a text"),
        pytest.param(("Economia",), "01 - Economia", True, id="label of the first level"),
        pytest.param(("Juros",), "Juros", False, id="label of a lower level says nothing"),
        pytest.param(("Nada",), "Nada", False, id="unknown label"),
        pytest.param((None, "02", None), "02 - Educação", True, id="code known, label not given"),
        pytest.param((None, "02", "Ensino"), "02 - Ensino", True, id="label beside the code comes first"),
        pytest.param((None, "77", None), None, False, id="unknown code without label"),
        pytest.param((None, None, "Economia"), None, False, id="label without code"),
        pytest.param(("01 - ", "01", "Economia"), "01 - Economia", True, id="text without label"),
        pytest.param(("1 - Economia", None, None), "1 - Economia", False, id="nothing to rebuild from"),
        pytest.param(("Economia", "02", None), "02 - Educação", True, id="the code says more than the text"),
        pytest.param((), None, False, id="nothing"),
    ],
)
def test_the_first_level_is_rebuilt_where_it_can_be(cells: tuple[str, ...], text: str | None, changed: bool) -> None:
    """Fault 42."""
    for batch in (batch_of([FULL, row(*cells)]), sliced(batch_of([FULL, row(*cells)]))):
        rebuilt, marked = rebuild_first_level(batch, INDEX)
        assert rebuilt.to_pylist() == ["01 - Economia", text]
        assert marked.to_pylist() == [False, changed]


def test_no_rows() -> None:
    found = store_themes(batch_of([]), INDEX)
    assert ids(found) == []
    assert found.unknown_codes == {}
    assert [a.to_pylist() for a in rebuild_first_level(batch_of([]), INDEX)] == [[], []]
