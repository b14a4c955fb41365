"""Somebody who watches a migration: a progress bar, a task's log, or nobody."""

from __future__ import annotations

import logging
from typing import Protocol

__all__ = ["LogProgress", "Progress"]

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
