"""Temporary folders go with their process, at the latest when the next one starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from data_platform.managers.hub.scratch import scratch_folder

_HOLD = """
import sys, time, tempfile
tempfile.tempdir = sys.argv[1]
from data_platform.managers.hub.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "rows").write_text("x")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_folder_is_removed_however_its_work_ends() -> None:
    with scratch_folder() as folder:
        (folder / "rows").write_text("x")
    assert not folder.exists()
    with pytest.raises(RuntimeError, match="stop"), scratch_folder() as folder:
        raise RuntimeError("stop")
    assert not folder.exists()


def test_the_folder_of_a_living_process_stays_and_of_a_dead_one_goes(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        with scratch_folder() as ours:
            assert (theirs / "rows").exists()
            assert ours.exists()
        other.send_signal(signal.SIGKILL)
    with scratch_folder():
        assert not theirs.exists()


def test_folders_that_begin_at_once_leave_each_other_alone() -> None:
    def work(_: int) -> bool:
        with scratch_folder() as folder:
            (folder / "rows").write_text("x")
            return (folder / "rows").exists()

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(800)))


def test_a_folder_without_a_lock_is_left_for_a_while(tmp_path: Path) -> None:
    young, old = tmp_path / "govbr-dataset-young", tmp_path / "govbr-dataset-old"
    other = tmp_path / "somebodys"
    for folder in (young, old, other):
        folder.mkdir()
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    with scratch_folder():
        assert young.exists()
        assert other.exists()
        assert not old.exists()
