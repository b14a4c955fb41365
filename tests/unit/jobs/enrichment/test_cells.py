"""What of an enrichment is written: never null over a value, never a lesser value over a better one."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.jobs.enrichment.cells import Cells, Mark, ThemeCells, missing_parts, update_frames
from data_platform.jobs.enrichment.interface import Enrichment
from data_platform.models.columns import THEME_COLUMNS
from tests.support.enrichment import CODES, TREE, row

CELLS = ThemeCells(CODES)
NONE = dict.fromkeys(THEME_COLUMNS)


def says(
    code: str | None = None, summary: str | None = None, *, approximate: bool = False, uid: str = "a"
) -> Enrichment:
    return Enrichment(
        unique_id=uid, theme_code=code, summary=summary, enricher="x", version="1", approximate=approximate
    )


def written(enrichment: Enrichment, mark: Mark | None = None, **present: Any) -> Cells:
    current = {"a": row("a", **present)} if present else {}
    return CELLS.to_write([enrichment], current, {"a": mark} if mark else {})[0]


@pytest.mark.parametrize("code", sorted(TREE.by_code))
def test_the_nine_cells_of_a_code_are_those_of_the_tree(code: str) -> None:
    """Fault 42: the first level is always published as code and label, whatever level is the deepest."""
    cells = CELLS.of([code])[0]
    path = CODES.path(code)
    assert cells["theme_1_level_1"] == path[0].full_name
    for level in (1, 2, 3):
        theme = path[level - 1] if level <= len(path) else None
        assert cells[f"theme_1_level_{level}_code"] == (theme.code if theme else None)
        assert cells[f"theme_1_level_{level}_label"] == (theme.label if theme else None)
    assert cells["most_specific_theme_code"] == code
    assert cells["most_specific_theme_label"] == path[-1].label


def test_no_code_makes_no_cells() -> None:
    assert CELLS.of([None, "77"]) == [NONE, NONE]
    assert written(says(None, None)).parts == frozenset()


def test_a_row_without_either_gets_both() -> None:
    cells = written(says("01.01", "Resumo."))
    assert cells.parts == {"theme", "summary"}
    assert cells.columns == CELLS.of(["01.01"])[0] | {"summary": "Resumo."}


def test_what_is_there_stays() -> None:
    cells = written(says("02.03", "Outro."), **CELLS.of(["01.01"])[0], summary="Resumo.")
    assert cells.parts == frozenset()
    cells = written(says("02.03", "Outro."), theme_1_level_1="01 - Economia e Finanças")
    assert cells.columns == {"summary": "Outro."}
    cells = written(says("02.03", "Outro."), summary="Resumo.")
    assert cells.columns == CELLS.of(["02.03"])[0]


def test_an_approximate_value_gives_way_to_a_real_one_and_never_the_other_way() -> None:
    there = CELLS.of(["09.05.02"])[0] | {"summary": "Início do texto."}
    both = Mark(theme=True, summary=True)
    assert written(says("01", "Resumo."), both, **there).columns == CELLS.of(["01"])[0] | {"summary": "Resumo."}
    assert written(says("01", "Resumo."), Mark(theme=True), **there).parts == {"theme"}
    assert written(says("01", "Resumo."), Mark(summary=True), **there).parts == {"summary"}
    assert written(says("01", "Resumo.", approximate=True), both, **there).parts == frozenset()
    assert written(says("01", "Resumo.", approximate=True), **there).parts == frozenset()


def test_a_real_theme_goes_deeper_where_all_that_is_there_stays() -> None:
    text_alone = NONE | {"theme_1_level_1": "01 - Economia e Finanças"}
    assert written(says("01.01.02"), **text_alone).columns == CELLS.of(["01.01.02"])[0]
    assert written(says("01.01.02"), **CELLS.of(["01.01"])[0]).columns == CELLS.of(["01.01.02"])[0]
    assert written(says("01"), **text_alone).parts == frozenset(), "nothing is added to a text that says the same"
    assert written(says("01.02"), **CELLS.of(["01.01"])[0]).parts == frozenset()
    assert written(says("01.01.02", approximate=True), **text_alone).parts == frozenset()
    assert written(says("01.01.02"), Mark(theme=True), **CELLS.of(["02"])[0]).parts == {"theme"}
    odd = NONE | {"theme_1_level_1": "01 - Economia"}
    assert written(says("01.01.02"), **odd).parts == frozenset(), "a label that is not the tree's stays"


_codes = st.none() | st.sampled_from(sorted(TREE.by_code))
_texts = st.none() | st.sampled_from(["Um resumo.", "Outro resumo."])


@settings(deadline=None)  # a busy machine is no finding
@given(_codes, _texts, st.booleans(), _codes, _texts, st.booleans(), st.booleans())
def test_no_value_gives_way_to_null_or_to_a_lesser_one(
    old_code: str | None,
    old_summary: str | None,
    old_theme_approximate: bool,
    code: str | None,
    summary: str | None,
    approximate: bool,
    old_summary_approximate: bool,
) -> None:
    old = CELLS.of([old_code])[0] | {"summary": old_summary}
    mark = Mark(theme=old_theme_approximate, summary=old_summary_approximate)
    cells = written(says(code, summary, approximate=approximate), mark, **old)
    frames = update_frames([cells])
    assert len(frames) <= 1
    given_columns = frames[0].drop(columns="unique_id").iloc[0].to_dict() if frames else {}
    new = old | given_columns
    for part, names, lesser in (
        ("theme", THEME_COLUMNS, old_theme_approximate),
        ("summary", ("summary",), old_summary_approximate),
    ):
        changed = {name: (old[name], new[name]) for name in names if old[name] != new[name]}
        if not changed or not any(before for before, _ in changed.values()):
            continue  # nothing was there
        most = {"most_specific_theme_code", "most_specific_theme_label"}
        deeper = (
            part == "theme" and not approximate and all(b is None for n, (b, _) in changed.items() if n not in most)
        )
        assert deeper or (lesser and not approximate), changed
        assert new[names[0]] is not None


def test_rows_go_into_one_frame_for_each_set_of_parts_and_none_has_a_null_that_was_not_meant() -> None:
    made = CELLS.to_write(
        [says("01", "A.", uid="a"), says("02.03", "B.", uid="b"), says("09", uid="c"), says(None, "D.", uid="d")],
        {},
        {},
    )
    nothing = Cells(enrichment=says(uid="e"), parts=frozenset())
    frames = update_frames([*made, nothing])
    assert sorted(tuple(frame["unique_id"]) for frame in frames) == [("a", "b"), ("c",), ("d",)]
    for frame in frames:
        assert isinstance(frame, pd.DataFrame)
        if "summary" in frame:
            assert frame["summary"].notna().all()
        if "theme_1_level_1" in frame:
            assert set(THEME_COLUMNS) <= set(frame.columns)
            assert frame["theme_1_level_1"].notna().all()
        else:
            assert list(frame.columns) == ["unique_id", "summary"]


def test_what_a_row_lacks_depends_on_who_asks() -> None:
    whole = row("a", theme_1_level_1="01 - Economia e Finanças", summary="Resumo.")
    assert missing_parts(whole, Mark(), approximate=False) == frozenset()
    assert missing_parts(whole, Mark(theme=True), approximate=False) == {"theme"}
    assert missing_parts(whole, Mark(theme=True), approximate=True) == frozenset()
    assert missing_parts(row("a", theme_1_level_1_code="01"), Mark(), approximate=False) == {"summary"}
    assert missing_parts(row("a"), Mark(), approximate=True) == {"theme", "summary"}


@pytest.mark.parametrize(
    ("now", "mark", "parts"),
    [
        ({"summary": "Aprox."}, Mark(), {"summary"}),  # as it was, though the other store's write has settled the mark
        ({"summary": None}, Mark(), {"summary"}),
        ({"summary": "Real."}, Mark(), {"summary"}),  # written before, and the record may be what is missing
        ({"summary": "De outro."}, Mark(), set()),
        ({"summary": "De outro."}, Mark(summary=True), {"summary"}),
    ],
)
def test_what_was_written_since_stays(now: dict[str, Any], mark: Mark, parts: set[str]) -> None:
    made = written(says(None, "Real."), Mark(summary=True), summary="Aprox.")
    assert (made.parts, made.before) == ({"summary"}, {"summary": "Aprox."})
    (still,) = CELLS.still_to_write([made], {"a": row("a", **now)}, {"a": mark})
    assert still.parts == parts
    assert still.columns == ({"summary": "Real."} if parts else {})


def test_of_two_parts_the_one_that_somebody_wrote_since_stays_and_the_other_is_written() -> None:
    made = written(says("01.01", "Lead.", approximate=True), title="Título")
    assert made.parts == {"theme", "summary"}
    now = row("a", **CELLS.of(["09"])[0])
    (still,) = CELLS.still_to_write([made], {"a": now}, {})
    assert (still.parts, still.columns) == ({"summary"}, {"summary": "Lead."})
    assert CELLS.still_to_write([made], {}, {})[0].columns == made.columns
