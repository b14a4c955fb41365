"""What the command line prints: progress and words on standard error, results on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["Bars", "Console"]


class Console:
    """Standard output and standard error of one command."""

    def __init__(self, *, as_json: bool) -> None:
        """Choose between words for a person and one JSON object."""
        self.as_json = as_json
        self._out = RichConsole(soft_wrap=True, highlight=False)
        self._err = RichConsole(stderr=True, soft_wrap=True, highlight=False)

    def result(self, data: Mapping[str, Any], *lines: str) -> None:
        """Print a result: the data as JSON, or the lines."""
        if self.as_json:
            print(json.dumps(data, ensure_ascii=False, default=str))
            return
        for line in lines:
            self._out.print(line, markup=False)

    def error(self, message: str, *, hint: str = "", again: str = "", **facts: Any) -> None:  # noqa: ANN401 - JSON facts
        """Print an error: what happened, what to do, whether trying again can help."""
        if self.as_json:
            print(json.dumps({"error": message, "hint": hint, **facts}, ensure_ascii=False, default=str))
        self._err.print(f"error: {message}", style="bold red", markup=False)
        for line in (hint, again):
            if line:
                self._err.print(f"  {line}", markup=False)

    def progress(self) -> Bars:
        """Return a progress display: bars on a terminal, stage names otherwise."""
        return Bars(self._err)


class Bars(AbstractContextManager["Bars"]):
    """Progress bars, one a stage; plain lines where there is no terminal."""

    def __init__(self, console: RichConsole) -> None:
        """Prepare on a console."""
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:>30}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        self._progress.stop()

    def stage(self, name: str, total: int) -> None:
        """Begin a stage."""
        self._task = self._progress.add_task(name, total=total or None)
        if not self._console.is_terminal:
            print(f"{name} ({total:,})" if total else name, file=sys.stderr, flush=True)

    def advance(self, by: int) -> None:
        """Advance the present stage."""
        if self._task is not None:
            self._progress.advance(self._task, by)

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(f"  {text}", markup=False)
