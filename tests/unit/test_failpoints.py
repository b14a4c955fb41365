"""Failpoints: silent unless asked, at the asked place and the asked time."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import data_platform
from data_platform import failpoints
from data_platform.failpoints import FAILPOINTS, FailpointError, failpoint


@pytest.fixture(autouse=True)
def _forget_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOVBR_FAILPOINTS", raising=False)
    failpoints._passed.clear()


def passes(name: str, times: int) -> list[bool]:
    """Pass a place several times; return where it raised."""
    raised = []
    for _ in range(times):
        try:
            failpoint(name)
            raised.append(False)
        except FailpointError:
            raised.append(True)
    return raised


def test_unset_nothing_happens() -> None:
    for name in FAILPOINTS:
        failpoint(name)


def test_an_exception_at_the_place_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOVBR_FAILPOINTS", "load.before_commit=raise")
    failpoint("load.after_commit")
    with pytest.raises(FailpointError, match=r"load\.before_commit"):
        failpoint("load.before_commit")


def test_a_number_lets_it_be_passed_that_many_times_less_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOVBR_FAILPOINTS", "index.after_one=raise:3;load.mid_copy=raise")
    assert passes("index.after_one", 5) == [False, False, True, False, False]
    assert passes("load.mid_copy", 2) == [True, False]


def test_one_place_may_fail_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOVBR_FAILPOINTS", "load.mid_copy=raise:1;load.mid_copy=raise:3")
    assert passes("load.mid_copy", 4) == [True, False, True, False]


def test_a_name_that_is_not_registered_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOVBR_FAILPOINTS", "load.before_commit=raise")
    with pytest.raises(LookupError, match="nowhere"):
        failpoint("nowhere")


@pytest.mark.parametrize(
    "spec", ["load.befor_commit=raise", "load.before_commit", "load.before_commit=rise", "load.before_commit=raise:x"]
)
def test_a_wish_that_cannot_come_true_is_a_mistake(monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    """A misspelt failpoint would make a test of resuming pass without any failure."""
    monkeypatch.setenv("GOVBR_FAILPOINTS", spec)
    with pytest.raises(LookupError, match="GOVBR_FAILPOINTS: 'load"):
        failpoint("load.mid_copy")


def test_kill_kills() -> None:
    passing = "f('load.mid_copy')"
    code = f"from data_platform.failpoints import failpoint as f; {passing}; print(1, flush=True); {passing}"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env={"GOVBR_FAILPOINTS": "load.mid_copy=kill:2", "PYTHONPATH": str(Path(data_platform.__file__).parent.parent)},
    )
    assert ran.returncode == -signal.SIGKILL
    assert ran.stdout == "1\n"


def test_every_registered_place_is_in_the_code_once_and_no_other() -> None:
    package = Path(data_platform.__file__).parent
    named = [
        name
        for file in sorted(package.rglob("*.py"))
        if file.name != "failpoints.py"
        for call in re.findall(r"failpoint\(([^)]*)\)", file.read_text(encoding="utf-8"))
        for name in re.findall(r'"([^"]+\.[^"]+)"', call)
    ]
    assert sorted(named) == sorted(FAILPOINTS)
