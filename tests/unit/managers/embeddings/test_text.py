"""The text that is embedded, as FIELD_FACTS §10 has it, against the same rule in plain Python."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.managers.embeddings.text import MOST_CHARACTERS, embedded_texts, text_hashes
from tests.support.rows import article, batch_of, sliced


def text_of(**cells: str | None) -> str:
    (text,) = embedded_texts(batch_of([article(**cells)])).to_pylist()
    return str(text)


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ({"title": "Título", "summary": "Resumo.", "content": "Texto."}, "Título Resumo."),
        ({"title": "Título", "summary": None, "content": "Texto."}, "Título Texto."),
        ({"title": "Título", "summary": "", "content": "Texto."}, "Título Texto."),
        ({"title": "Título", "summary": " \n", "content": "Texto."}, "Título Texto."),
        ({"title": "Título", "summary": None, "content": None}, "Título"),
        ({"title": "Título", "summary": None, "content": " "}, "Título"),
        ({"title": "T", "summary": None, "content": "é" * 600}, "T " + "é" * 500),
        ({"title": "T", "summary": "🛰" * 3000, "content": "c"}, "T " + "🛰" * 2046),
        ({"title": "t" * 3000, "summary": "s", "content": None}, "t" * 2048),
    ],
    ids=range(9),
)
def test_title_space_summary_or_else_the_beginning_of_the_content(cells: dict[str, str | None], text: str) -> None:
    assert text_of(**cells) == text


texts = st.none() | st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@given(
    st.lists(
        st.fixed_dictionaries({"title": texts.map(lambda text: text or "t"), "summary": texts, "content": texts}),
        max_size=4,
    )
)
def test_the_rule_in_plain_python(rows: list[dict[str, str | None]]) -> None:
    def rule(title: str, summary: str | None, content: str | None) -> str:
        beginning = (content or "")[:500]
        # White space as Arrow and Unicode have it; Python's strip() also takes the four separators of ASCII.
        told = next((one for one in (summary, beginning) if one and not one.isspace()), None)
        return (title if told is None else f"{title} {told}")[:MOST_CHARACTERS]

    ours = [{k: v.translate(dict.fromkeys(range(0x1C, 0x20), " ")) if v else v for k, v in row.items()} for row in rows]
    batch = batch_of([article(f"{n}", **row) for n, row in enumerate(ours)])
    for some in (batch, sliced(batch)):
        assert embedded_texts(some).to_pylist() == [rule(**row) for row in ours]


def test_a_text_is_known_by_its_hash() -> None:
    found = text_hashes(embedded_texts(batch_of([article("a"), article("b", title="Titulo"), article("c")])))
    assert found[0] == found[2] == blake2b("Título".encode(), digest_size=16).hexdigest()
    assert found[1] != found[0]
