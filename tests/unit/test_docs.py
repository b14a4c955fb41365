"""Documents say what is there: links lead somewhere, named files and tests exist, rules of the house hold."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_FAULTS = ROOT / "docs" / "faults.md"
_PLAN_MAP = ROOT / "docs" / "plan-map.md"
_MOST_LINES = 400
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def sources(*folders: str) -> list[Path]:
    """Return the Python files below some folders of the checkout."""
    return sorted(
        path for folder in folders for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts
    )


def anchors(text: str) -> set[str]:
    """Return the anchors of a Markdown text's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+?)\s*$", _FENCED.sub("", text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(document: Path, root: Path = ROOT) -> list[str]:
    """Return the relative links of a document that lead to no file, or to no heading in it."""
    broken = []
    for target in _LINK.findall(_FENCED.sub("", document.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        found = file.exists() and file.is_relative_to(root)
        if found and anchor and file.suffix == ".md":
            found = anchor in anchors(file.read_text(encoding="utf-8"))
        broken += [] if found else [target]
    return broken


def rows(document: Path, first: str) -> list[list[str]]:
    """Return the cells of the rows of the table whose header begins with a word."""
    found: list[list[str]] = []
    inside = False
    for line in document.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[0].lstrip("| ") == first:
            inside = True
        elif inside and not set(cells[0]) <= {"-", " ", "|"}:
            found.append(cells)
    return found


def missing_tests(text: str, root: Path = ROOT / "tests") -> list[str]:
    """Return the tests that a text names as `file::function` and that are not there."""
    missing = []
    for file, function in re.findall(r"`([\w/]+\.py)::(\w+)`", text):
        path = root / file
        if not path.exists() or not re.search(rf"^\s*def {function}\(", path.read_text(encoding="utf-8"), re.MULTILINE):
            missing.append(f"{file}::{function}")
    return missing


def imported(file: Path) -> set[str]:
    """Return the top-level names of all modules that a file imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def too_long(files: Iterable[Path]) -> list[str]:
    """Return the files that cannot be read in one sitting."""
    counted = [(file, len(file.read_text(encoding="utf-8").splitlines())) for file in files]
    return [f"{file.name}: {lines} lines" for file, lines in counted if lines > _MOST_LINES]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    assert broken_links(document) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading, with words\n", encoding="utf-8")
    document = tmp_path / "page.md"
    document.write_text(
        "[a](there.md) [b](there.md#a-heading-with-words) [c](https://example.org) [d](#own)\n# Own\n"
        "[e](gone.md) [f](there.md#another) [g](#nothing)\n```\n[h](in-code.md)\n```\n",
        encoding="utf-8",
    )
    assert broken_links(document, tmp_path) == ["gone.md", "there.md#another", "#nothing"]


def test_the_readme_names_the_two_commands_and_every_setting() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    settings = (ROOT / "include/data_platform/settings.py").read_text(encoding="utf-8")
    read = set(re.findall(r"env\.get\(\"(\w+)\"", settings))
    assert {"DATABASE_URL", "HF_TOKEN", "REPORTS_URI"} <= read
    named = {
        name if not name.startswith("GOVBRNEWS_DB_") else f"_{name.removeprefix('GOVBRNEWS_DB_')}" for name in read
    }
    named.discard("_HOST")
    assert [name for name in ["make demo", "make test", "GOVBRNEWS_DB_HOST", *sorted(named)] if name not in text] == []


def test_every_fault_is_answered_once() -> None:
    numbers = [int(cells[0].lstrip("| ")) for cells in rows(_FAULTS, "#")]
    assert numbers == list(range(1, 64))
    assert [cells for cells in rows(_FAULTS, "#") if len(cells) != 3 or not cells[2].strip(" |")] == []


def test_every_test_that_a_document_names_is_there() -> None:
    text = "".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    assert text.count("::test_") > 30
    assert missing_tests(text) == []


def test_a_test_that_is_not_there_is_found(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("def test_one():\n    pass\n", encoding="utf-8")
    text = "`test_x.py::test_one` `test_x.py::test_two` `test_y.py::test_one`"
    assert missing_tests(text, tmp_path) == ["test_x.py::test_two", "test_y.py::test_one"]


def test_every_file_that_the_plan_map_places_here_is_there() -> None:
    placed = [path for cells in rows(_PLAN_MAP, "first plan") for path in re.findall(r"`([\w./-]+)`", cells[1])]
    paths = [path for path in placed if "/" in path or "." in path]
    assert len(paths) > 30
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_what_is_done_in_the_plan_map_has_a_place() -> None:
    assert [cells for cells in rows(_PLAN_MAP, "first plan") if cells[-1].startswith("done") and not cells[1]] == []


def test_no_file_is_too_long_to_read_in_one_sitting() -> None:
    assert too_long(sources("include", "plugins", "dags")) == []


def test_a_file_that_is_too_long_is_found(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("pass\n" * 401, encoding="utf-8")
    (tmp_path / "fits.py").write_text("pass\n" * 400, encoding="utf-8")
    assert too_long(sorted(tmp_path.glob("*.py"))) == ["long.py: 401 lines"]


def test_data_platform_knows_nothing_of_airflow_nor_of_what_stands_beside_it() -> None:
    strangers = {"airflow", "govbr", "govbr_plugin", "dev", "tests", "benchmarks"}
    assert [str(file) for file in sources("include") if imported(file) & strangers] == []


def test_nothing_that_is_deployed_imports_the_local_stack() -> None:
    assert [str(file) for file in sources("plugins", "dags") if imported(file) & {"dev", "tests", "benchmarks"}] == []


def test_an_import_inside_a_function_counts(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from airflow.sdk import dag\n    import dev.state\n", encoding="utf-8")
    assert imported(file) == {"airflow", "dev"}


def test_no_document_names_a_place_that_its_readers_do_not_have() -> None:
    named = [document.name for document in DOCUMENTS if "../shared" in document.read_text(encoding="utf-8")]
    assert named == []


def test_the_architecture_names_every_module_and_no_other() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("```")[1]
    named = set(re.findall(r"([\w]+\.py)", text))
    there = {file.name for file in sources("include", "plugins", "dags") if "versions" not in file.parts}
    there -= {"__init__.py", "__main__.py", "env.py"}
    assert sorted(there - named) == []
    assert sorted(named - there - {"run.py"}) == []
