"""Documents that are read off the code: as the code says now, and noticed when they are not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from data_platform.cli import make_parser
from data_platform.models.columns import COLUMN_NAMES
from dev import generate_docs


@pytest.fixture(scope="module")
def texts() -> Mapping[str, str]:
    """The documents as the code says they should be; made once, since a server is started for the schema."""
    return generate_docs.documents()


def test_the_documents_are_fresh(texts: Mapping[str, str]) -> None:
    assert "".join(generate_docs.stale(generate_docs.FOLDER, texts)) == "", "run `make docs`"


def test_what_has_to_be_in_them_is(texts: Mapping[str, str]) -> None:
    assert set(texts) == set(generate_docs.DOCUMENTS)
    assert [name for name in COLUMN_NAMES if f"| `{name}` |" not in texts["columns.md"]] == []
    commands = ("create-schema", "populate-agencies", "populate-themes", "migrate", "validate", "rejects", "status")
    assert [name for name in commands if f"## {name}\n" not in texts["command-line.md"]] == []
    assert "`--max-reject-rate R`" in texts["command-line.md"]
    assert "`load_segment` (mapped)" in texts["dags.md"]
    assert "#### When not to use it" in texts["dags.md"]
    assert "## news_published (view)" in texts["schema.md"]
    assert "`news_primary_url_key`" in texts["schema.md"]


def test_no_command_is_left_out(texts: Mapping[str, str]) -> None:
    listed = re.findall(r"^    (\S+)", make_parser().format_help(), flags=re.MULTILINE)
    assert "migrate" in listed
    assert [line[3:] for line in texts["command-line.md"].splitlines() if line.startswith("## ")] == listed


@pytest.mark.parametrize("change", ["edited", "missing", "one too many"])
def test_a_stale_file_is_noticed_and_named(change: str, tmp_path: Path) -> None:
    wanted = {"one.md": "first\nsecond\n", "two.md": "third\n"}
    for name, text in wanted.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert generate_docs.stale(tmp_path, wanted) == []
    if change == "edited":
        (tmp_path / "one.md").write_text("first\nchanged\n", encoding="utf-8")
    elif change == "missing":
        (tmp_path / "one.md").unlink()
    else:
        (tmp_path / "extra.md").write_text("of a DAG that is gone\n", encoding="utf-8")
    said = "".join(generate_docs.stale(tmp_path, wanted))
    assert ("extra.md" if change == "one too many" else "one.md") in said
    assert "two.md" not in said


def test_check_fails_with_a_diff_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate_docs, "FOLDER", tmp_path / "generated")
    monkeypatch.setattr(generate_docs, "DOCUMENTS", {"only.md": lambda: "# Only"})
    assert generate_docs.main(["--check"]) == 1
    assert "+# Only" in capsys.readouterr().out
    assert not (tmp_path / "generated").exists()
    assert generate_docs.main([]) == 0
    assert generate_docs.main(["--check"]) == 0
    (tmp_path / "generated" / "left-over.md").write_text("x", encoding="utf-8")
    assert generate_docs.main(["--check"]) == 1
    assert generate_docs.main([]) == 0
    assert [path.name for path in (tmp_path / "generated").iterdir()] == ["only.md"]


def test_a_table_holds_any_text() -> None:
    made = generate_docs.table(["a", "b"], [["x|y", "two\nlines"], [None, 3]])
    assert made.splitlines() == ["| a | b |", "| --- | --- |", "| x\\|y | two lines |", "|  | 3 |"]


def test_headings_of_a_manual_go_down_but_not_what_is_in_code() -> None:
    manual = "\n# Title\n\n## Safety\n\n```\n# no heading\n```\n\n### Deeper"
    assert generate_docs._demoted(manual, by=3).splitlines() == [
        "#### Safety", "", "```", "# no heading", "```", "", "##### Deeper",
    ]  # fmt: skip


def test_a_schedule_is_told_with_its_zone() -> None:
    by_hand = SimpleNamespace(schedule=None)
    daily = SimpleNamespace(schedule="0 6 * * *", timetable=SimpleNamespace(timezone="America/Sao_Paulo"))
    assert generate_docs._schedule(by_hand) == "by hand only"
    assert generate_docs._schedule(daily) == "`0 6 * * *` America/Sao_Paulo"


def test_the_first_tag_is_the_first_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "some_dag.py"
    file.write_text('@dag(schedule=None, tags=["zebra", "ant"])\ndef some_dag(): ...\n', encoding="utf-8")
    assert generate_docs._first_tag(SimpleNamespace(fileloc=str(file))) == "zebra"
    file.write_text("@dag(schedule=None)\ndef some_dag(): ...\n", encoding="utf-8")
    assert generate_docs._first_tag(SimpleNamespace(fileloc=str(file))) == "other"
