"""What a job tells of itself while it runs: to a progress bar, a task's log, or nobody; its seconds and its memory."""

from __future__ import annotations

import logging
import resource
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

__all__ = ["Clock", "LogProgress", "Progress", "peak_rss_mb"]

_LOG = logging.getLogger(__name__)


class Progress(Protocol):
    """Somebody who watches: a progress bar, a task's log, or nobody."""

    def stage(self, name: str, total: int) -> None:
        """A stage begins that will advance by `total` in all (0: unknown)."""

    def advance(self, by: int) -> None:
        """So much more is done."""

    def note(self, text: str) -> None:
        """Something worth a line happened."""


class LogProgress:
    """Progress as log lines, for tasks and pipes."""

    def stage(self, name: str, total: int) -> None:
        """Log the stage."""
        _LOG.info("%s%s", name, f" ({total:,})" if total else "")

    def advance(self, by: int) -> None:
        """Say nothing: a line a batch would drown the others."""

    def note(self, text: str) -> None:
        """Log the line."""
        _LOG.info("%s", text)


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """A stage ended."""
        now = time.monotonic()
        self._laps[name] = round(now - self._last, 3)
        self._last = now

    def seconds(self) -> dict[str, float]:
        """Return seconds by stage, and the total."""
        return {**self._laps, "total": round(time.monotonic() - self._start, 3)}


def peak_rss_mb(*, children: bool = False) -> float:
    """Return the peak resident memory in MB of this process, or of its largest child that has ended."""
    if children:
        return round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, 1)
    # Not ru_maxrss of this process: on Linux it begins at what the process that started this one had in memory.
    with suppress(OSError), Path("/proc/self/status").open(encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
