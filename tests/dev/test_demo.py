"""The demo: what it takes for success, and the whole story once in a real Airflow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dev.demo import Result, corpus_environment
from dev.state import LocalStackError

ROOT = Path(__file__).parents[2]
ACCOUNT: dict[str, Any] = {
    "read": 10,
    "loaded": 5,
    "updated": 1,
    "already_present": 1,
    "duplicates": 1,
    "rejected": 2,
    "rejected_by_reason": {"title_missing": 2},
}
VALIDATION: dict[str, Any] = {"verdict": "equal", "source_rows": 10, "target_rows": 7, "equal": 7, "explained": 0}


def result(account: dict[str, Any] | None = None, validation: dict[str, Any] | None = None) -> Result:
    return Result.from_xcom(
        {
            "account": ACCOUNT | (account or {}),
            "validation": VALIDATION | (validation or {}),
            "seconds": 2,
            "report": "/r.html",
        }
    )


def test_the_account_is_shown_and_adds_up() -> None:
    good = result()
    assert good.adds_up
    assert good.equal
    shown = "\n".join(good.lines())
    assert "title_missing: 2" in shown
    assert "/r.html" in shown


def test_a_row_that_is_lost_is_said_aloud() -> None:
    bad = result({"loaded": 4})
    assert not bad.adds_up
    assert "DO NOT ADD UP" in "\n".join(bad.lines())


@pytest.mark.parametrize(
    ("verdict", "equal"),
    [("equal", True), ("equal after counted cleanings", True), ("different", False), (None, False)],
)
def test_only_an_equal_verdict_counts_as_equal(verdict: str | None, *, equal: bool) -> None:
    assert result(validation={"verdict": verdict}).equal is equal


@pytest.mark.parametrize(
    "value", [None, {}, {"account": {}}, {"account": {}, "validation": None, "seconds": 1, "report": ""}]
)
def test_a_task_that_does_not_keep_the_contract_is_named(value: object) -> None:
    with pytest.raises(LocalStackError, match="task report"):
        Result.from_xcom(value)


def test_made_up_news_never_go_to_a_real_bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REPORTS_URI", "gs://real/reports")
    assert corpus_environment(tmp_path, "postgresql://x")["REPORTS_URI"] == str(ROOT / "reports")
    monkeypatch.setenv("REPORTS_URI", str(tmp_path))
    assert corpus_environment(tmp_path, "postgresql://x")["REPORTS_URI"] == str(tmp_path)


@pytest.fixture
def state() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="govbr-demo-", dir="/var/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.xdist_group("airflow")
def test_the_whole_story(state: Path) -> None:
    environment = {**os.environ, "GOVBR_STATE_DIR": str(state), "REPORTS_URI": str(state / "reports")}
    done = subprocess.run(
        [sys.executable, "-m", "dev.demo"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("migrate_hf_to_postgres: success") == 2
    assert done.stdout.count("found all") == 2
    assert "the dataset demo/govbrnews on a stand-in of the Hub: http://127.0.0.1:" in done.stdout
    assert "the second run loaded 0 and updated 0: nothing changed" in done.stdout
    assert len(list((state / "reports").glob("*.html"))) == 2
    assert [p for p in psutil.process_iter(["cmdline"]) if str(state) in " ".join(p.info["cmdline"] or ())] == []
