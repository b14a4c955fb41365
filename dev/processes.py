"""Looking after processes that others started."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import psutil

__all__ = ["is_over", "wait_until", "working_in"]


def working_in(folder: Path, *, name: str) -> list[psutil.Process]:
    """Return the processes of a name whose working folder is this one."""
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == name:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
                if Path(process.cwd()).samefile(folder):
                    found.append(process)
    return found


def is_over(process: psutil.Process) -> bool:
    """Say whether a process has ended, collected by its parent or not."""
    try:
        return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition holds, so many seconds at most, and say whether it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True
