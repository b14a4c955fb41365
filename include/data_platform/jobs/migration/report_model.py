"""What the report of a migration shows, as plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Counts = Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What ran. Instants carry their zone; `revision` is the commit to which the source was pinned."""

    id: int
    source: str
    revision: str = ""
    mode: Literal["bulk", "catch-up"] = "bulk"
    dry_run: bool = False
    started_at: datetime
    finished_at: datetime
    seconds: float
    parallel: int = 1
    server_version: str = ""
    package_version: str = ""
    started_by: str = ""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where each row went, in rows. `balanced` is the run's own check; samples may be cut.

    Keys: duplicates_by_kind "same_content" and "other_content"; cleanings "kind:column";
    stub_agencies the agency; unknown_theme_codes the code. `url_doubles` are loaded and marked
    `duplicate_of`; `observations` were seen and kept; `vanished` rows are in the table only.
    """

    read: int
    loaded: int = 0
    updated: int = 0
    already_present: int = 0
    duplicates: int = 0
    rejected: int = 0
    balanced: bool = True
    duplicates_by_kind: Counts = field(default_factory=dict)
    url_doubles: int = 0
    rejected_by_reason: Counts = field(default_factory=dict)
    cleanings: Counts = field(default_factory=dict)
    observations: Counts = field(default_factory=dict)
    stub_agencies: Counts = field(default_factory=dict)
    unknown_theme_codes: Counts = field(default_factory=dict)
    vanished: int = 0
    vanished_sample: tuple[str, ...] = ()

    @property
    def missing(self) -> int:
        """Rows read without an outcome; below zero, outcomes without a row read."""
        return self.read - self.loaded - self.updated - self.already_present - self.duplicates - self.rejected

    @property
    def reject_rate(self) -> float:
        """Rejected rows as a share (0 to 1) of the rows read."""
        return self.rejected / self.read if self.read else 0.0


@dataclass(frozen=True, kw_only=True)
class SegmentRun:
    """One segment and what became of its rows. Without both instants it is in no chart over time."""

    no: int
    label: str = ""
    rows: int
    seconds: float = 0.0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    loaded: int = 0
    updated: int = 0
    already_present: int = 0
    duplicates: int = 0
    rejected: int = 0
    worker: str = ""


@dataclass(frozen=True, kw_only=True)
class Reject:
    """One rejected row; `excerpt` is the beginning of its payload."""

    unique_id: str | None
    file: str = ""
    row: int | None = None
    field: str = ""
    reason: str
    detail: str = ""
    excerpt: str = ""


@dataclass(frozen=True, kw_only=True)
class IndexBuild:
    """One index or constraint; a `state` other than "built", "already there", "not needed" is a fault."""

    name: str
    kind: Literal["index", "constraint"] = "index"
    seconds: float = 0.0
    state: str = "built"

    @property
    def fine(self) -> bool:
        """Whether it needs nobody's attention."""
        return self.state in {"built", "already there", "not needed"}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One cell in which the sides differ and no counted cleaning explains it."""

    unique_id: str
    column: str
    source: object
    target: object


@dataclass(frozen=True, kw_only=True)
class NullCount:
    """Rows without a value in a column, on each side."""

    column: str
    source: int
    target: int


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One measure taken on both sides; `expected` says in words what would be right."""

    name: str
    source: float | str | None
    target: float | str | None
    expected: str = ""
    ok: bool = True


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The comparison of source and table, in rows; names as in `validate --json` (DESIGN §4).

    A row that several cleanings explain counts under each in `explained` and once in `explained_rows`.
    """

    verdict: Literal["equal", "equal after counted cleanings", "DIFFERENT"]
    source_rows: int
    target_rows: int
    equal: int = 0
    explained: Counts = field(default_factory=dict)
    explained_rows: int | None = None
    only_in_source: int = 0
    accounted: int = 0
    unaccounted: int = 0
    only_in_target: int = 0
    different: int = 0
    differences: tuple[Difference, ...] = ()
    per_column_nulls: tuple[NullCount, ...] = ()
    metrics: tuple[Metric, ...] = ()
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether the sides differ, by the verdict or by a number that contradicts it."""
        return self.verdict == "DIFFERENT" or self.different > 0 or self.unaccounted > 0


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """All that the page shows; `max_reject_rate` is a share (0 to 1), years and agencies count rows read."""

    run: Run
    account: Account
    max_reject_rate: float = 0.01
    segments: tuple[SegmentRun, ...] = ()
    rows_by_year: Mapping[int, int] = field(default_factory=dict)
    rows_by_agency: Counts = field(default_factory=dict)
    rejects_sample: tuple[Reject, ...] = ()
    indexes: tuple[IndexBuild, ...] = ()
    validation: Validation | None = None

    @property
    def over_limit(self) -> bool:
        """Whether more rows were rejected than the run allows."""
        return self.account.reject_rate > self.max_reject_rate
