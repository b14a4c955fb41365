"""`python -m data_platform` as a person or a scheduler runs it: its own process, its own environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Command", "CommandLine", "Ran"]

_TIMEOUT_S = 600


@dataclass(frozen=True)
class Ran:
    """A command that ended; `status` is negative if a signal ended it."""

    status: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """The one JSON object that standard output must be."""
        lines = self.out.splitlines()
        assert len(lines) == 1, f"not one line on standard output: {self.out!r}\n{self.err}"
        found = json.loads(lines[0])
        assert isinstance(found, dict)
        return found


class Command(Protocol):
    """Runs a command with --json in this process: faster by a start of Python."""

    def __call__(self, *arguments: str) -> Ran:
        """Run it to its end."""


@dataclass(frozen=True)
class CommandLine:
    """How commands are run in processes of their own.

    Attributes:
        database_url: the database.
        folder: working folder; reports go into `reports` below it.
    """

    database_url: str
    folder: Path

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a command."""
        return os.environ | {"DATABASE_URL": self.database_url, "REPORTS_URI": str(self.folder / "reports")} | more

    def start(self, *arguments: str, failpoints: str = "", **environment: str) -> subprocess.Popen[str]:
        """Start a command with --json."""
        return subprocess.Popen(
            [sys.executable, "-m", "data_platform", *arguments, "--json"],
            cwd=self.folder,
            env=self.environment(GOVBR_FAILPOINTS=failpoints, **environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, failpoints: str = "", **environment: str) -> Ran:
        """Run a command with --json to its end."""
        with self.start(*arguments, failpoints=failpoints, **environment) as process:
            try:
                out, err = process.communicate(timeout=_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Ran(process.returncode, out, err)
