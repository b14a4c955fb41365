"""themes_tree.yaml: what is read, and that the other theme files and wrong codes are refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.errors import SourceError
from data_platform.models.themes import Theme, ThemeTree, parse_themes

GOOD = """
18 - Comunicações e Mídia:
  18.03 - Comunicação Digital:
    - 18.03.05 - Comunicação Digital
    - 18.03.01 - Terceiro, com vírgula
  18.01 - Segundo:
    - 18.01.01 - Hífen-composto - e travessão
01 - Economia e Finanças: {}
"""


def parse(text: str) -> tuple[Theme, ...]:
    return parse_themes(text, origin="x.yaml")


def refusal(text: str) -> str:
    """Return what the error says; the test fails if there is none."""
    with pytest.raises(SourceError) as caught:
        parse(text)
    assert str(caught.value).startswith("x.yaml")
    return str(caught.value)


def test_reads_all_levels_in_the_order_of_codes() -> None:
    assert parse(GOOD) == (
        Theme("01", "Economia e Finanças", 1),
        Theme("18", "Comunicações e Mídia", 1),
        Theme("18.01", "Segundo", 2, "18"),
        Theme("18.01.01", "Hífen-composto - e travessão", 3, "18.01"),  # the first " - " splits
        Theme("18.03", "Comunicação Digital", 2, "18"),
        Theme("18.03.01", "Terceiro, com vírgula", 3, "18.03"),
        Theme("18.03.05", "Comunicação Digital", 3, "18.03"),  # one label, two codes
    )


def test_full_name_is_what_the_file_and_the_dataset_say() -> None:
    assert parse("'05 -   Meio Ambiente  ': {}\n")[0].full_name == "05 - Meio Ambiente"
    assert [theme.full_name for theme in parse(GOOD)][1] == "18 - Comunicações e Mídia"


@pytest.mark.parametrize("nothing", ["{}", "[]", "", "~"])
def test_a_node_may_have_no_children(nothing: str) -> None:
    assert [theme.code for theme in parse(f"01 - A: {nothing}\n")] == ["01"]
    assert [theme.code for theme in parse(f"01 - A:\n  01.01 - B: {nothing}\n")] == ["01", "01.01"]


@given(
    st.dictionaries(
        st.integers(0, 99), st.dictionaries(st.integers(0, 99), st.sets(st.integers(0, 99)), max_size=3),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_any_tree_comes_back_whole_with_parents_first(tree: dict[int, dict[int, set[int]]]) -> None:
    lines, codes = [], set()
    for first, seconds in tree.items():
        lines.append(f"{first:02} - Primeiro:")
        codes.add(f"{first:02}")
        for second, thirds in seconds.items():
            lines.append(f"  {first:02}.{second:02} - Segundo:")
            codes.add(f"{first:02}.{second:02}")
            for third in thirds:
                lines.append(f"    - {first:02}.{second:02}.{third:02} - Terceiro")
                codes.add(f"{first:02}.{second:02}.{third:02}")
    themes = parse("\n".join(lines))
    assert {theme.code for theme in themes} == codes
    seen: set[str | None] = {None}
    for theme in themes:
        assert theme.parent_code in seen
        assert theme.level == len(theme.code.split("."))
        seen.add(theme.code)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 - A: {}\n", "'1' is not a code"),
        ("001 - A: {}\n", "'001' is not a code"),
        ("A1 - A: {}\n", "'A1' is not a code"),
        ("٠١ - A: {}\n", "'٠١' is not a code"),
        ("01 - A:\n  01.1 - B: []\n", "'01.1' is not a code"),
        ("01 - A:\n  01.01 - B:\n    - 01.01.1 - C\n", "'01.01.1' is not a code"),
        ("01 - A:\n  01.01 - B:\n    - 01.01.01.01 - C\n", "'01.01.01.01' is not a code"),
        ("01.01 - A: {}\n", "level 1, where codes have the form NN"),
        ("01 - A:\n  01.01.01 - B: []\n", "level 2, where codes have the form NN.NN"),
        ("01 - A:\n  01.01 - B:\n    - 01.02 - C\n", "level 3, where codes have the form NN.NN.NN"),
        ("01 - A:\n  02.01 - B: []\n", "'02.01 - B': the code does not begin with its parent's code 01"),
        ("01 - A:\n  01.02 - B:\n    - 01.01.01 - C\n", "does not begin with its parent's code 01.02"),
        ("01 - A: {}\n01 - B: {}\n", "the code 01 stands twice: '01 - A' and '01 - B'"),
        ("01 - A:\n  01.01 - B:\n    - 01.01.01 - C\n    - 01.01.01 - D\n", "the code 01.01.01 stands twice"),
        ("01: {}\n", "1 was read as a number"),
        ("'01': {}\n", "'01' has no label"),
        ("'01 - ': {}\n", "has no label"),
        ("'01 -    ': {}\n", "has no label"),
        ("01-Economia: {}\n", "'01-Economia' has no label"),
        ("01 - A:\n  - 01.01 - B\n", "below '01 - A' there should be a mapping"),
        ("01 - A: texto\n", "below '01 - A' there should be a mapping"),
        ("01 - A: 0\n", "below '01 - A' there should be a mapping"),
        ("01 - A:\n  01.01 - B:\n    01.01.01 - C: {}\n", "below '01.01 - B' there should be a list"),
        ("01 - A:\n  01.01 - B:\n    - [01.01.01 - C]\n", "below '01.01 - B': ['01.01.01 - C'] is not a text"),
        ("01 - A:\n  01.01 - B:\n    -\n", "below '01.01 - B': None is not a text"),
        ("01 - A:\n  yes: []\n", "below '01 - A': True is not a text"),
        ("01 - A: {}\n01 - A: {}\n", "line 2, column 1: the key '01 - A' stands twice"),
        ("{}\n", "holds no theme"),
        ("[]\n", "holds a list"),
        ("Economia\n", "holds a str"),
        ("sources:\n  abc: {name: Nome}\n", "top keys 'sources', not themes"),
        ("themes:\n  01 - A: {}\n", "top keys 'themes', not themes"),
    ],
)
def test_names_what_is_wrong(text: str, words: str) -> None:
    assert words in refusal(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("01.01: {}\n", "1.01"),
        ("01 - A:\n  01.01: []\n", "1.01"),
        ("01 - A:\n  01.01 - B:\n    - 01.10\n", "1.1"),
        ("themes:\n  - {code: 01.01, label: A}\n", "1.01"),
        (
            "themes:\n  - {code: '01', label: A, children: [{code: '01.01', label: B, children: [{code: 22.05}]}]}\n",
            "22.05",
        ),
        ("- {code: '01', label: A, children: [{code: 01.02, label: B}]}\n", "1.02"),
    ],
    ids=["first level", "second level", "list", "enriched", "enriched, third level", "enriched_full"],
)
def test_names_an_unquoted_code_that_yaml_took_for_a_number(text: str, number: str) -> None:
    assert f"{number} was read as a number" in refusal(text)


def test_recognises_the_renumbered_file() -> None:
    said = refusal("themes:\n  - code: '22'\n    label: Minorias e Grupos Especiais\n    children: []\n")
    assert "looks like themes_tree_enriched.yaml" in said
    assert "codes clash with those of the dataset" in said
    assert "give themes_tree.yaml" in said
    assert "read as a number" not in said


def test_recognises_the_file_that_lacks_themes() -> None:
    nodes = "".join(
        f"- {{code: '{code:02}', label: Tema, children: []}}\n" for code in range(1, 26) if code not in {22, 23}
    )
    said = refusal(nodes)
    assert "looks like themes_tree_enriched_full.yaml" in said
    assert "lacks all of 22.* and 23.*" in said
    assert "give themes_tree.yaml" in said


def test_refuses_the_list_of_nodes_even_if_it_lacks_nothing() -> None:
    said = refusal("".join(f"- {{code: '{code:02}', label: Tema, children: []}}\n" for code in range(1, 26)))
    assert "looks like themes_tree_enriched_full.yaml" in said
    assert "lacks" not in said
    assert "only the nested mapping is read" in said


class TestThemeTree:
    tree = ThemeTree(parse(GOOD))

    def test_finds_themes_by_code(self) -> None:
        assert len(self.tree) == 7
        assert self.tree.get("18.03") == Theme("18.03", "Comunicação Digital", 2, "18")
        assert self.tree.get("22") is None
        assert self.tree.get(None) is None
        assert list(self.tree.by_code)[:2] == ["01", "18"]

    def test_cannot_be_changed(self) -> None:
        with pytest.raises(TypeError):
            self.tree.by_code["99"] = Theme("99", "Outro", 1)  # type: ignore[index]

    @pytest.mark.parametrize(
        ("codes", "deepest"),
        [
            (("18", "18.03", "18.03.05"), "18.03.05"),
            (("18.03.05", "18", None), "18.03.05"),
            (("18", None, None), "18"),
            (("18", "18.99", "18.99.01"), "18"),
            (("01", "18.01", "18.03.05"), "18.03.05"),  # levels that disagree
            (("22", None), None),
            ((), None),
        ],
    )
    def test_deepest_known_level(self, codes: tuple[str | None, ...], deepest: str | None) -> None:
        found = self.tree.deepest(*codes)
        assert (found.code if found else None) == deepest

    def test_refuses_a_code_twice(self) -> None:
        with pytest.raises(ValueError, match="01 stands twice"):
            ThemeTree([Theme("01", "A", 1), Theme("01", "B", 1)])
