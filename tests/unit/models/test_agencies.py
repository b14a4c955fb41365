"""agencies.yaml: what is read, and that every wrong file and value is refused by name."""

from __future__ import annotations

import pytest

from data_platform.errors import SourceError
from data_platform.models.agencies import Agency, parse_agencies

GOOD = """
sources:
  cdtn:
    name: Centro de Desenvolvimento da Tecnologia Nuclear
    parent: cnen
    type: Centro
    url: https://www.gov.br/cdtn/pt-br/centrais-de-conteudo/noticias
  cnen:
    name: " Comissão Nacional de Energia Nuclear "
    parent: mcti
    type: Autarquia
    url: https://www.gov.br/cnen/pt-br/assunto/ultimas-noticias
  mcti:
    name: Ministério da Ciência, Tecnologia e Inovação
    parent: presidencia
    type: Ministério
    url: https://www.gov.br/mcti/pt-br/acompanhe-o-mcti/noticias/ultimas-noticias
"""


def parse(text: str) -> tuple[Agency, ...]:
    return parse_agencies(text, origin="x.yaml")


def refusal(text: str) -> str:
    """Return what the error says; the test fails if there is none."""
    with pytest.raises(SourceError) as caught:
        parse(text)
    assert str(caught.value).startswith("x.yaml")
    return str(caught.value)


def test_reads_the_fields_in_the_order_of_the_file() -> None:
    agencies = parse(GOOD)
    assert [agency.key for agency in agencies] == ["cdtn", "cnen", "mcti"]
    assert agencies[0] == Agency(
        key="cdtn",
        name="Centro de Desenvolvimento da Tecnologia Nuclear",
        type="Centro",
        parent_key="cnen",  # comes later in the file
        url="https://www.gov.br/cdtn/pt-br/centrais-de-conteudo/noticias",
    )
    assert agencies[1].name == "Comissão Nacional de Energia Nuclear"
    assert agencies[2].parent_key == "presidencia"  # has no entry


def test_only_the_name_is_required() -> None:
    assert parse("sources:\n  abc:\n    name: Agência\n    parent:\n    type: ''\n") == (Agency("abc", "Agência"),)


def test_reads_the_shape_that_the_scraper_once_had() -> None:
    assert parse("agencies:\n  abc: Agência Brasileira de Cooperação\n  agencia_brasil: Agência Brasil\n") == (
        Agency("abc", "Agência Brasileira de Cooperação"),
        Agency("agencia_brasil", "Agência Brasil"),
    )


@pytest.mark.parametrize("key", ["abc", "agencia_brasil", "conselho-nacional-de-saude", "g20"])
def test_keys_that_are_fine(key: str) -> None:
    assert parse(f"sources:\n  {key}: {{name: Nome}}\n")[0].key == key


@pytest.mark.parametrize("key", ["ABC", "saúde", "abc def", "abc/pt-br", "abc.gov", "''"])
def test_names_a_key_with_characters_that_it_may_not_have(key: str) -> None:
    key_shown = key.strip("'")
    assert f"agency key '{key_shown}'" in refusal(f"sources:\n  {key}: {{name: Nome}}\n")
    assert f"agency key '{key_shown}'" in refusal(f"agencies:\n  {key}: Nome\n")
    if key_shown:  # an empty parent is no parent
        assert f"agency 'abc': parent '{key_shown}'" in refusal(f"sources:\n  abc: {{name: N, parent: {key}}}\n")


@pytest.mark.parametrize(("key", "shown"), [("no", "False"), ("2025", "2025"), ("~", "None"), ("1.5", "1.5")])
def test_names_a_key_that_yaml_does_not_take_for_text(key: str, shown: str) -> None:
    said = refusal(f"sources:\n  {key}: {{name: Nome}}\n")
    assert f"agency key {shown} is" in said
    assert "quotes" in said


@pytest.mark.parametrize(
    "entry", ["{}", "{name: }", "{name: '  '}", "{parent: mre, type: Agência}", "{url: 'https://a'}"]
)
def test_names_the_agency_that_has_no_name(entry: str) -> None:
    assert "agency 'abc' has no name" in refusal(f"sources:\n  mre: {{name: M}}\n  abc: {entry}\n")


@pytest.mark.parametrize("field", ["name", "parent", "type", "url"])
@pytest.mark.parametrize(("value", "kind"), [("12", "a number"), ("yes", "a truth value"), ("[a]", "a list")])
def test_names_the_field_that_is_not_text(field: str, value: str, kind: str) -> None:
    entry = {"name": "Nome", "parent": "mre", "type": "Agência", "url": "https://a"} | {field: value}
    text = "sources:\n  abc:\n" + "".join(f"    {name}: {content}\n" for name, content in entry.items())
    assert f"agency 'abc': {field} is {kind}" in refusal(text)


def test_names_an_address_that_is_none() -> None:
    assert "agency 'abc': url 'www.gov.br/abc'" in refusal("sources:\n  abc: {name: Nome, url: www.gov.br/abc}\n")


@pytest.mark.parametrize("value", ["[a, b]", "3", "~", "Nome"])
def test_names_an_agency_whose_entry_is_no_mapping(value: str) -> None:
    assert "agency 'abc' holds" in refusal(f"sources:\n  abc: {value}\n")


@pytest.mark.parametrize("value", ["[a, b]", "3", "~", "{name: Nome}", "' '"])
def test_names_an_agency_of_the_old_shape_without_a_name(value: str) -> None:
    assert "agency 'abc' has no name" in refusal(f"agencies:\n  abc: {value}\n")


@pytest.mark.parametrize("text", ["- abc\n- mre\n", "abc\n", "42\n"])
def test_refuses_what_is_no_mapping(text: str) -> None:
    assert "not a mapping" in refusal(text)


@pytest.mark.parametrize("value", ["[a]", "~", "abc"])
@pytest.mark.parametrize("top", ["sources", "agencies"])
def test_refuses_a_top_key_that_holds_no_mapping(top: str, value: str) -> None:
    assert f"`{top}` holds" in refusal(f"{top}: {value}\n")


def test_refuses_a_catalogue_of_nothing() -> None:
    # Taken for a source, it would mark every agency of the table as gone.
    assert "holds no agency" in refusal("sources: {}\n")


def test_refuses_two_shapes_in_one_file() -> None:
    assert "both top keys" in refusal(GOOD + "agencies:\n  abc: Nome\n")


def test_refuses_a_key_that_stands_twice() -> None:
    assert "line 3, column 3: the key 'abc' stands twice" in refusal("sources:\n  abc: {name: A}\n  abc: {name: B}\n")


@pytest.mark.parametrize(
    "text",
    [
        "agencies:\n  abc: https://www.gov.br/abc/pt-br/assuntos/noticias\n",
        "agencies:\n  mre: Ministério\n  abc: https://www.gov.br/abc/pt-br/assuntos/noticias\n",
        "agencies:\n  abc:\n    url: https://www.gov.br/abc/pt-br/assuntos/noticias\n    active: true\n",
        "sources:\n  abc: https://www.gov.br/abc/pt-br/assuntos/noticias\n",
    ],
    ids=["old form", "mixed", "new form", "other top key"],
)
def test_recognises_site_urls_yaml(text: str) -> None:
    said = refusal(text)
    assert "looks like site_urls.yaml: agency 'abc'" in said
    assert "give agencies.yaml" in said


def test_recognises_hierarchy_yaml() -> None:
    said = refusal("presidencia:\n  - agu\n  - mcti:\n    - cnen:\n      - cdtn\n")
    assert "looks like hierarchy.yaml" in said
    assert "give agencies.yaml" in said


def test_names_the_top_keys_of_any_other_file() -> None:
    said = refusal("'01 - Economia e Finanças': {}\n")
    assert "no top key `sources`" in said
    assert "01 - Economia e Finanças" in said
    assert "no top key `sources`" in refusal("{}\n")


@pytest.mark.parametrize(
    ("parents", "circle"),
    [
        ({"a": "a"}, "a -> a"),
        ({"a": "b", "b": "a"}, "a -> b -> a"),
        ({"z": "a", "a": "b", "b": "c", "c": "a"}, "a -> b -> c -> a"),
    ],
)
def test_refuses_parents_that_go_round(parents: dict[str, str], circle: str) -> None:
    entries = "".join(f"  {key}: {{name: N, parent: {parent}}}\n" for key, parent in parents.items())
    assert circle in refusal("sources:\n" + entries)


def test_two_branches_that_meet_are_no_circle() -> None:
    parents = {"a": "c", "b": "c", "c": "d", "d": "presidencia", "e": "b"}
    entries = "".join(f"  {key}: {{name: N, parent: {parent}}}\n" for key, parent in parents.items())
    assert {agency.key: agency.parent_key for agency in parse("sources:\n" + entries)} == parents


def test_an_agency_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        parse(GOOD)[0].name = "outro"  # type: ignore[misc]
