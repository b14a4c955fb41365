"""Faults 41 and 42: what a model wrote is a code only if the tree says so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.enrichment import CODES, TREE

KNOWN = sorted(TREE.by_code)
_forms = st.sampled_from(["{code} - {label}", "{code}", " {code} – {label}\n", "{code}: {label}", "{label}"])


@st.composite
def written(draw: st.DrawFn) -> str | None:
    """Draw what may stand in a cell: a theme in some form, an unknown code, any text, nothing."""
    theme = TREE.by_code[draw(st.sampled_from(KNOWN))]
    told = draw(_forms).format(code=theme.code, label=theme.label)
    digits = st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,4}( - \w+)?", fullmatch=True)
    return draw(st.just(told) | digits | st.text(max_size=20) | st.sampled_from([None, "", "  "]))


@settings(deadline=None)  # a busy machine is no finding
@given(st.lists(written(), min_size=3, max_size=3))
def test_a_chain_is_a_way_down_the_tree_and_as_long_as_what_was_written_holds(levels: list[str | None]) -> None:
    chain = CODES.chain(levels)
    for number, theme in enumerate(chain.themes, start=1):
        assert TREE.get(theme.code) is theme
        assert theme.level == number
        assert theme.parent_code == (chain.themes[number - 2].code if number > 1 else None)
        text = levels[number - 1] or ""
        assert theme.code in text or theme.label in text
    if len(chain.themes) < 3 and any(text and text.strip() for text in levels[len(chain.themes) :]):
        assert chain.notes, "what is left out is told"
    # A cell more never takes away what the cells before it say.
    for fewer in range(3):
        assert CODES.chain(levels[:fewer]).themes == chain.themes[:fewer]


@settings(deadline=None)  # a busy machine is no finding
@given(st.sampled_from(KNOWN), _forms.filter(lambda form: "code" in form))
def test_a_chain_that_is_written_whole_is_read_whole(code: str, form: str) -> None:
    path = CODES.path(code)
    chain = CODES.chain([form.format(code=theme.code, label=theme.label) for theme in path])
    assert chain.themes == path
    assert chain.notes == ()
    assert CODES.single(form.format(code=code, label="x")).themes == path


@settings(deadline=None)  # a busy machine is no finding
@given(written())
def test_a_single_code_is_read_with_all_levels_above_it(text: str | None) -> None:
    chain = CODES.single(text)
    assert chain.themes == CODES.path(chain.code)
    if chain.code:
        assert chain.code in (text or "")


@pytest.mark.parametrize(
    ("levels", "code", "notes"),
    [
        # A real row of the field: the third level is another branch's (FIELD_FACTS §1.4).
        (["01 - x", "01.01 - x", "01.02.01 - x"], "01.01", ["level_3_not_below_level_2"]),
        (["01 - x", "02.03 - x", "02.03.02 - x"], "01", ["level_2_not_below_level_1"]),
        (["01 - x", "01.09 - Inventada", "01.09.01 - x"], "01", ["level_2_unknown"]),
        (["01 - x", "01.01.02 - x", None], "01", ["level_2_of_another_level"]),
        (["01 - x", "Não sei classificar", None], "01", ["level_2_no_code"]),
        (["01 - x", None, "01.01.02 - x"], "01", ["level_2_empty"]),
        ([None, "01.01 - x", None], None, ["level_1_empty"]),
        (["26 - Nenhum", "01.01 - x", None], None, ["level_1_unknown"]),
        (["01 - x", "10 anos de política econômica", None], "01", ["level_2_no_code"]),
        (["22 - Eventos", "", None], "22", []),
        # Labels alone: read below the level above, where they name one theme.
        (["Economia e Financas", "política econômica", None], "01.01", []),
        (["02 - x", "02.03", "Capacitação Profissional"], "02.03.02", []),
        (["11 - x", "11.01", "capacitação profissional"], "11.01.03", []),
    ],
)
def test_the_deepest_valid_level_stays(levels: list[str | None], code: str | None, notes: list[str]) -> None:
    """Fault 41."""
    chain = CODES.chain(levels)
    assert chain.code == code
    assert list(chain.notes) == notes


@pytest.mark.parametrize(
    ("text", "code", "notes"),
    [
        ("01.01.99", "01.01", ["level_3_unknown"]),
        ("01.77.01 - x", "01", ["level_3_unknown"]),
        ("99.01", None, ["level_1_unknown"]),
        ("01.01.01.05", None, ["no_code"]),
        ("2024 foi um ano", None, ["no_code"]),
        ("1.01", None, ["no_code"]),
        ("", None, []),
    ],
)
def test_an_unknown_code_counts_as_the_known_one_above_it(text: str, code: str | None, notes: list[str]) -> None:
    chain = CODES.single(text)
    assert chain.code == code
    assert list(chain.notes) == notes
