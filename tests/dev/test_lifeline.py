"""A command on a lifeline ends with its owner, whatever its processes do to escape."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from dev.lifeline import Lifeline

ROOT = Path(__file__).parents[2]
#: A parent, a child in a session of its own, and a grandchild whose parent has ended: each writes its process id.
FAMILY = """
import os, subprocess, sys, time
folder = sys.argv[1]
def note(name):
    with open(f"{folder}/{name}.part", "w") as file: file.write(str(os.getpid()))
    os.rename(f"{folder}/{name}.part", f"{folder}/{name}.pid")
note("parent")
if os.fork() == 0:
    os.setsid()
    note("child")
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            note("grandchild")
            time.sleep(1000)
        os._exit(0)
    time.sleep(1000)
time.sleep(1000)
"""
DEAF = """
import signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
open(sys.argv[1] + "/parent.pid", "w").write(str(__import__("os").getpid()))
time.sleep(1000)
"""


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def family(folder: Path, *names: str) -> list[psutil.Process]:
    wait_for(lambda: all((folder / f"{name}.pid").exists() for name in names))
    return [psutil.Process(int((folder / f"{name}.pid").read_text())) for name in names]


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def start(folder: Path, program: str, *, grace: float = 20.0) -> Lifeline:
    with (folder / "log").open("wb") as log:
        return Lifeline([sys.executable, "-c", program, folder], log=log, grace=grace)


def test_stopping_ends_also_those_that_left_the_group(tmp_path: Path) -> None:
    line = start(tmp_path, FAMILY)
    members = family(tmp_path, "parent", "child", "grandchild")
    assert line.poll() is None
    line.stop()
    assert [process.pid for process in members if psutil.pid_exists(process.pid)] == []  # nor is a zombie left
    line.stop()


def test_a_command_deaf_to_signals_is_killed_when_its_time_is_up(tmp_path: Path) -> None:
    line = start(tmp_path, DEAF, grace=0.5)
    (parent,) = family(tmp_path, "parent")
    line.stop()
    assert is_gone(parent)


def test_what_a_command_that_ends_by_itself_leaves_behind_is_ended(tmp_path: Path) -> None:
    line = start(tmp_path, FAMILY)
    members = family(tmp_path, "parent", "child", "grandchild")
    members[0].kill()
    wait_for(lambda: line.poll() is not None)
    assert all(map(is_gone, members))
    assert line.poll() == 128 + signal.SIGKILL


def test_its_exit_status_is_the_commands(tmp_path: Path) -> None:
    line = start(tmp_path, "raise SystemExit(7)")
    wait_for(lambda: line.poll() is not None)
    assert line.poll() == 7
    line.stop()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_command_ends_with_its_owner(tmp_path: Path, number: signal.Signals) -> None:
    program = (
        "import signal, sys, time; from pathlib import Path; from dev.lifeline import Lifeline\n"
        # What the tests were started by may have made them deaf, as nohup does.
        "signal.signal(signal.SIGINT, signal.SIG_DFL), signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "with open(sys.argv[1] + '/log', 'wb') as log:\n"
        "    line = Lifeline([sys.executable, '-c', sys.argv[2], sys.argv[1]], log=log)\n"
        "time.sleep(1000)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), FAMILY], cwd=ROOT, stderr=subprocess.DEVNULL
    ) as owner:
        members = family(tmp_path, "parent", "child", "grandchild")
        owner.send_signal(number)
    wait_for(lambda: all(map(is_gone, members)))


def test_it_ends_even_if_somebody_kills_the_supervisor(tmp_path: Path) -> None:
    line = start(tmp_path, FAMILY)
    parent, *escaped = family(tmp_path, "parent", "child", "grandchild")
    psutil.Process(line.pid).kill()
    wait_for(lambda: is_gone(parent))
    line.stop()
    for process in escaped:  # after these nobody looks any more
        process.kill()
