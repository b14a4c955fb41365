"""The lists of packages agree: what the project asks for, what is locked, what Composer gets."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[a-z0-9,]+\])?==(?P<version>[A-Za-z0-9.+!]+)")


def pins(text: str) -> dict[str, str]:
    """Return name -> version of a file of exact pins.

    Raises:
        ValueError: a line is something else.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = PIN.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"not an exact pin: {line!r}")
        found[canonicalize_name(match["name"])] = match["version"]
    return found


def plain_pins(text: str) -> dict[str, str]:
    """Return the pins of a file that Composer reads: nothing but `name==version` lines.

    Raises:
        ValueError: a line is something else; comments, options and extras count as that.
    """
    for line in text.splitlines():
        if re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) is None:
            raise ValueError(f"Composer takes plain name==version lines, not {line!r}")
    return pins(text)


def disagreements(wanted: dict[str, str], locked: dict[str, str]) -> dict[str, tuple[str, str | None]]:
    return {name: (version, locked.get(name)) for name, version in wanted.items() if locked.get(name) != version}


@pytest.fixture(scope="module")
def lock() -> dict[str, str]:
    return pins((ROOT / "requirements.lock").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def project() -> dict[str, Requirement]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    parsed = [Requirement(text) for text in table["dependencies"]]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


@pytest.fixture(scope="module")
def requirements() -> dict[str, str]:
    return pins((ROOT / "requirements.txt").read_text(encoding="utf-8"))


def test_requirements_are_the_direct_packages_at_the_locked_versions(
    requirements: dict[str, str], lock: dict[str, str], project: dict[str, Requirement]
) -> None:
    assert set(requirements) == set(project)
    assert disagreements(requirements, lock) == {}


def test_extras_are_the_projects(project: dict[str, Requirement]) -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    named = [Requirement(line) for line in lines if not line.startswith("#")]
    assert {canonicalize_name(r.name): r.extras for r in named} == {name: r.extras for name, r in project.items()}


def test_locked_versions_satisfy_the_project(lock: dict[str, str], project: dict[str, Requirement]) -> None:
    refused = [str(r) for name, r in project.items() if not r.specifier.contains(lock[name], prereleases=True)]
    assert refused == []


def test_development_packages_are_locked(lock: dict[str, str]) -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for text in table["optional-dependencies"]["dev"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(lock[canonicalize_name(requirement.name)]), text


def test_composer_gets_plain_pins_of_what_its_image_lacks(lock: dict[str, str]) -> None:
    composer = plain_pins((ROOT / "requirements-composer.txt").read_text(encoding="utf-8"))
    assert disagreements(composer, lock) == {}
    assert "datasets" in composer
    # The image brings these, at versions of its own: asking for another one makes its resolver run for half an hour.
    assert not {"apache-airflow", "pandas", "pyarrow", "psycopg", "sqlalchemy", "huggingface-hub"} & set(composer)


@pytest.mark.parametrize("line", ["datasets>=5", "-c constraints.txt", "# why", "psycopg[binary]==3.3.4", ""])
def test_a_line_that_composer_refuses_is_found(line: str) -> None:
    with pytest.raises(ValueError, match="plain name==version"):
        plain_pins(f"datasets==5.0.1\n{line}\n")


def test_a_pin_that_left_the_lock_behind_is_found(lock: dict[str, str]) -> None:
    assert disagreements({"pandas": "1.0", "no-such": "2"}, lock) == {
        "pandas": ("1.0", lock["pandas"]),
        "no-such": ("2", None),
    }
