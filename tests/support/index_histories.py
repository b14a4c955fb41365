"""Histories between PostgreSQL and an index of searches, whichever service has it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from hypothesis import strategies as st

from data_platform.failpoints import FAILPOINTS
from data_platform.jobs.indexing.records import ReindexOutcome
from data_platform.settings import Settings
from tests.support.histories import Crash, Histories, Life, Step, crashes, histories, is_broken_off, step, steps
from tests.support.hub import columns
from tests.support.sources import NO_THEME, Row, articles, theme_codes, theme_text
from tests.support.syncs import update

__all__ = ["INSTANTS", "KILLED_AT", "STALE", "IndexLife", "index_histories"]

INSTANTS = [
    datetime(2024, 12, 30, 2, 59, 59, 999999, UTC),
    datetime(2025, 1, 1, 2, 59, tzinfo=UTC),
    datetime(2019, 1, 1, 2, tzinfo=UTC),  # summer time
    datetime(1969, 12, 31, 23, 59, 59, 500000, UTC),
]
#: Every place that both kinds of runs pass.
_POINTS = [name for name in FAILPOINTS if name.startswith("reindex.") and name != "reindex.after_partition"]
#: Those that a full run passes too.
KILLED_AT = [name for name in _POINTS if name != "reindex.after_sweep"]
_CELLS: list[Row] = [
    {"title": 'outro "título"\n\\'},
    {"summary": None},
    {"tags": []},
    {"image": None, "subtitle": "linha"},
    {**NO_THEME},
    theme_codes("05.02"),
    theme_text("20"),
]
#: Cells are emptied, articles go, come again and take names of others, and runs are broken off between.
STALE: list[Step] = [
    ("insert", "a", INSTANTS[0]), ("update", "a", theme_codes("05.02")), ("incremental", None, None),
    ("update", "a", {**NO_THEME}), ("update", "a", {"summary": None}),
    ("incremental", None, ("reindex.after_place", 1)),
    ("update", "a", {"tags": []}), ("incremental", None, None),
    ("delete", "a", None), ("insert", "a", INSTANTS[1]), ("rename", "a", "B"),
    ("full", None, ("reindex.after_page", 2)), ("insert", "a", INSTANTS[2]), ("delete", "B", None),
]  # fmt: skip


def index_histories(ids: Sequence[str], cells: Sequence[Row]) -> Histories:
    """Return histories of an index.

    Args:
        ids: of the articles that are written.
        cells: what updates write beside what they write for every index.
    """
    known = [*_CELLS, *cells]
    more = step("update", st.sampled_from(ids), st.sampled_from(known)), step("long")
    kinds = st.sampled_from(["incremental", "incremental", "incremental", "full"])
    run = st.tuples(kinds, st.none(), crashes(_POINTS))
    return histories(steps(ids, INSTANTS, known, *more), run, most=6)


@dataclass
class IndexLife(Life):
    """PostgreSQL and an index of it.

    Attributes:
        reader: the index's name on the command line.
        settings: of both.
    """

    reader: ClassVar[str]
    settings: Settings

    @abstractmethod
    def clear(self) -> None:
        """Leave nothing in the service."""

    @abstractmethod
    def job(self, kind: str) -> ReindexOutcome:
        """Run the job, with pages of two rows."""

    @abstractmethod
    def collections(self) -> Collection[str]:
        """The collections of the service that hold articles."""

    @abstractmethod
    def found(self) -> Collection[Any]:
        """What searches find."""

    @abstractmethod
    def check(self) -> None:
        """The index is PostgreSQL."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Where a process of its own finds the service."""

    def begin(self) -> None:
        """Start over: a few rows, indexed."""
        super().begin()
        self.clear()
        self.news.insert(columns(articles(3)))
        self.job("full")

    def play(self, what: str, one: Any, other: Any) -> None:
        if what in {"incremental", "full"}:
            self.run(what, other)
        elif what != "long":
            super().play(what, one, other)
        elif self.long is None:
            self.in_long("UPDATE news SET title = title || '!' WHERE unique_id = %s", articles(1)[0]["unique_id"])

    def run(self, kind: str, crash: Crash | None = None) -> None:
        """Run; if it comes to its end and nobody's transaction is open, the index is PostgreSQL."""
        if is_broken_off(lambda: self.job(kind), crash):
            assert self.found(), "searches still find something"
        elif self.long is None:
            self.check()

    def end(self) -> None:
        """Everything that was open is over; one run brings the index up, and nothing waits any more."""
        self.end_of_long()
        self.run("incremental")
        self.rest()

    def rest(self) -> None:
        """Nothing is left to do, and a rebuild leaves the collection before it."""
        assert self.job("incremental").rows == 0
        self.run("full")
        assert len(self.collections()) == 2

    def survive(self, point: str) -> None:
        """Be killed at a place, in a full run and in an incremental one where it passes there; the next makes up."""
        self.begin()
        self.job("full")
        self.news.insert(columns(articles(4, first=10)))
        self.ask("DELETE FROM news WHERE unique_id = %s", articles(1)[0]["unique_id"])
        assert self._killed("--full", point) == -signal.SIGKILL
        assert self.found(), "searches still find something"
        update(self.news, {"unique_id": articles(3)[1]["unique_id"], "title": "mudou"})
        assert self._killed("--incremental", point) in {0, -signal.SIGKILL}
        self.run("incremental")
        self.end()

    def _killed(self, kind: str, point: str) -> int:
        """Run the command in a process that is killed at a place; return how it ended."""
        environment = os.environ | self.environment() | {
            "DATABASE_URL": self.settings.database_url,
            "STATE_URI": self.settings.state_uri,
            "STORAGE_BACKEND": "postgres",
            "GOVBR_FAILPOINTS": f"{point}=kill",
        }  # fmt: skip
        command = [sys.executable, "-m", "data_platform", "reindex", self.reader, kind, "--json"]
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode
