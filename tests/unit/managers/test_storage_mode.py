"""Which stores are written and which is read: one table, and the rule that beats it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.errors import ConfigurationError
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode, resolve_storage_mode

HF, PG, DUAL = StorageBackend.HUGGINGFACE, StorageBackend.POSTGRES, StorageBackend.DUAL_WRITE
FROM_HF, FROM_PG = ReadSource.HUGGINGFACE, ReadSource.POSTGRES

_settings = st.dictionaries(
    st.sampled_from(["storage_backend", "storage_read_from"]),
    st.sampled_from(["", "huggingface", "postgres", "dual_write", " Postgres\n", "nonsense"]),
)


def env(backend: str = "", read_from: str = "") -> dict[str, str]:
    named = {"STORAGE_BACKEND": backend, "STORAGE_READ_FROM": read_from}
    return {name: value for name, value in named.items() if value}


def low(backend: str = "", read_from: str = "") -> dict[str, str]:
    return {name.lower(): value for name, value in env(backend, read_from).items()}


def resolve(environment: Mapping[str, str], form: Mapping[str, str], variables: Mapping[str, str]) -> StorageMode:
    return resolve_storage_mode(environment=environment, run_parameters=form, variables=variables)


@pytest.mark.parametrize(
    ("environment", "form", "variables", "backend", "read_from"),
    [
        # nothing is set
        ({}, {}, {}, HF, FROM_HF),
        # each place by itself; the read source follows the backend
        (env("postgres"), {}, {}, PG, FROM_PG),
        ({}, low("postgres"), {}, PG, FROM_PG),
        ({}, {}, low("postgres"), PG, FROM_PG),
        (env("dual_write"), {}, {}, DUAL, FROM_HF),
        # form before environment before Variable
        (env("postgres"), low("dual_write"), low("huggingface"), DUAL, FROM_HF),
        (env("postgres"), {}, low("dual_write"), PG, FROM_PG),
        (env("", "postgres"), low("dual_write", "huggingface"), low("", "postgres"), DUAL, FROM_HF),
        (env("", "postgres"), low("dual_write"), low("", "huggingface"), DUAL, FROM_PG),
        # each setting by itself
        (env("dual_write"), {}, low("huggingface", "postgres"), DUAL, FROM_PG),
        ({}, low("huggingface"), {}, HF, FROM_HF),
        # the way back beats everything, even a read source beside it
        (env("huggingface", "postgres"), low("postgres", "postgres"), low("dual_write", "postgres"), HF, FROM_HF),
        (env(" HuggingFace\n"), low("nonsense"), low("nonsense", "nonsense"), HF, FROM_HF),
        # blank is unset, white space and capitals do not count
        (env(" Dual_Write ", "\tPOSTGRES\n"), low(" "), {}, DUAL, FROM_PG),
        (env(" "), low(""), low("postgres"), PG, FROM_PG),
    ],
)
def test_the_first_place_that_says_something_holds(
    environment: dict[str, str],
    form: dict[str, str],
    variables: dict[str, str],
    backend: StorageBackend,
    read_from: ReadSource,
) -> None:
    mode = resolve(environment, form, variables)
    assert (mode.backend, mode.read_from) == (backend, read_from)


@given(_settings, _settings, st.sampled_from(["", "postgres", "huggingface", "nonsense"]))
def test_huggingface_in_the_environment_beats_all_else(
    form: dict[str, str], variables: dict[str, str], read_from: str
) -> None:
    mode = resolve({"STORAGE_BACKEND": "huggingface", "STORAGE_READ_FROM": read_from}, form, variables)
    assert mode.pair == "huggingface/huggingface"
    assert "environment" in mode.backend_source
    assert mode.read_source == mode.backend_source


@given(_settings, _settings, _settings)
def test_what_comes_out_is_possible_or_refused(
    environment: dict[str, str], form: dict[str, str], variables: dict[str, str]
) -> None:
    try:
        mode = resolve({name.upper(): value for name, value in environment.items()}, form, variables)
    except ConfigurationError:
        return
    assert mode.read_from in mode.sides
    assert StorageMode.from_dict(mode.to_dict()) == mode


@pytest.mark.parametrize(
    ("environment", "form", "variables", "words"),
    [
        (
            env("postgres"),
            {},
            low("", "huggingface"),
            [
                "STORAGE_BACKEND in the environment",
                "Airflow Variable storage_read_from",
                "huggingface is read but never",
            ],
        ),
        (
            {},
            low("huggingface"),
            low("", "postgres"),
            ["storage_backend in the form", "Airflow Variable storage_read_from", "postgres is read but never"],
        ),
        (env("", "postgres"), {}, {}, ["the default", "STORAGE_READ_FROM in the environment"]),
    ],
)
def test_a_store_that_is_read_but_not_written_is_refused_with_both_places(
    environment: dict[str, str], form: dict[str, str], variables: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve(environment, form, variables)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("name", ["storage_backend", "storage_read_from"])
@pytest.mark.parametrize("place", ["environment", "form", "Variable"])
def test_an_unknown_value_is_named_with_its_place_and_what_is_allowed(name: str, place: str) -> None:
    given_there = {name: "postgress"}
    environment = {key.upper(): value for key, value in given_there.items()} if place == "environment" else {}
    form = given_there if place == "form" else {}
    with pytest.raises(ConfigurationError) as caught:
        resolve(environment, form, given_there if place == "Variable" else {})
    assert f"{name} is 'postgress'" in caught.value.message
    assert place in caught.value.message
    assert ("dual_write" in caught.value.hint) is (name == "storage_backend")
    assert "postgres" in caught.value.hint


def test_a_variable_is_asked_only_if_nothing_stronger_speaks() -> None:
    asked: list[str] = []

    def variables(name: str) -> str | None:
        asked.append(name)
        return None

    resolve_storage_mode(environment=env("huggingface"), run_parameters={}, variables=variables)
    resolve_storage_mode(environment=env("postgres", "postgres"), run_parameters={}, variables=variables)
    resolve_storage_mode(environment={}, run_parameters=low("dual_write", "postgres"), variables=variables)
    assert asked == []
    resolve_storage_mode(environment=env("dual_write"), run_parameters={}, variables=variables)
    assert asked == ["storage_read_from"]


def test_the_process_s_environment_is_read_if_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_storage_mode().pair == "huggingface/huggingface"
    monkeypatch.setenv("STORAGE_BACKEND", "dual_write")
    assert resolve_storage_mode().pair == "dual_write/huggingface"


def test_the_log_tells_both_and_where_from() -> None:
    mode = resolve(env("dual_write"), {}, {})
    said = str(mode)
    assert "dual_write (STORAGE_BACKEND in the environment)" in said
    assert "huggingface (follows storage_backend=dual_write)" in said


def test_postgresql_is_written_first() -> None:
    assert resolve(env("dual_write"), {}, {}).sides == (FROM_PG, FROM_HF)
    assert resolve(env("postgres"), {}, {}).sides == (FROM_PG,)
    assert resolve({}, {}, {}).sides == (FROM_HF,)


def test_a_stored_mode_is_read_again_and_a_strange_one_refused() -> None:
    mode = resolve({}, low("dual_write", "postgres"), {})
    assert StorageMode.from_dict({**mode.to_dict(), "of_a_later_release": 1}) == mode
    with pytest.raises(ConfigurationError, match="backend is None"):
        StorageMode.from_dict({})
    with pytest.raises(ConfigurationError, match="read but never written"):
        StorageMode.from_dict({"backend": "postgres", "read_from": "huggingface"})
