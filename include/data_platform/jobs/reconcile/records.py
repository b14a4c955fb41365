"""What a comparison of the two stores is asked for, and what it tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from data_platform.errors import IntegrityError
from data_platform.managers.storage_mode import StorageBackend, StorageMode

__all__ = ["SOURCE", "TARGET", "CompareOptions", "Comparison", "Drift", "reason_to_skip"]

#: The two stores as `validate` calls its own: the dataset, and PostgreSQL.
SOURCE, TARGET = "huggingface", "postgres"
#: What of a comparison a person is shown.
_SHOWN_COLUMNS, _SHOWN_DAYS, _LONGEST_CELL = 8, 5, 60


def reason_to_skip(mode: StorageMode) -> str | None:
    """Say why the daily comparison has nothing to say in a mode; None if it has.

    Only in dual_write both stores are to be the same at any time; otherwise one of them is behind by design.
    """
    if mode.backend is StorageBackend.DUAL_WRITE:
        return None
    role = {
        StorageBackend.POSTGRES: "the dataset follows by the daily sync, which `sync-hf --verify` proves",
        StorageBackend.HUGGINGFACE: "PostgreSQL follows by the catch-up of the migration, which `validate` proves",
    }[mode.backend]
    return f"storage_backend is {mode.backend} ({mode.backend_source}): {role}"


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """How the stores are compared.

    Attributes:
        full: read every partition, also those that have not changed since they were found equal.
        sample: differing rows that are shown cell by cell, and rows of one side that are shown.
        longest_write: a write without an end that began longer ago is not under way any more, but dead.
    """

    full: bool = False
    sample: int = 20
    longest_write: timedelta = timedelta(hours=2)

    @property
    def kind(self) -> str:
        """What it is called in the run ledger."""
        return "compare-full" if self.full else "compare"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a comparison found; counts are rows.

    source_rows = equal + explained + different + only_in_source, and
    target_rows = equal + explained + different + only_in_target.

    Attributes:
        commit: the head of the dataset that was compared.
        full: whether every partition was read.
        source_rows: rows of the dataset.
        target_rows: rows of PostgreSQL.
        equal: rows whose every cell is the same in both.
        explained: rows on both sides that differ for a known reason.
        explained_by_kind: the same by reason: "pending" (a write of them is under way), "extracted_at" (nothing else
            differs, and by itself it is no difference), or the cleanings by which the dataset's cells become
            PostgreSQL's ("kind:column"; a row with two counts under both).
        only_in_source: rows of the dataset that PostgreSQL does not have.
        accounted: of those, the ones that need not be there, by reason: "held" (no date or title: published, and a
            reject in PostgreSQL), "reject", "duplicate" (of the legacy layout), "pending".
        unaccounted: the others. Must be 0.
        only_in_target: rows of PostgreSQL that the dataset does not have.
        accounted_in_target: of those, the ones that need not be there yet, by reason: "pending".
        different: rows with other cells, without a reason. Must be 0.
        causes: of the rows without a reason, what is known of them: "missed" (the run ledger has the write open),
            "deleted in postgres", "repeated in the dataset", "no longer held".
        columns: column -> how many of the different rows differ in it; "file" where a row stands in another month's.
        days: São Paulo days and agencies with other counts: day, agency, source, target; the first of them.
        days_different: how many there are.
        differences: the first different rows, cell by cell: unique_id, path, column, source, target.
        sample: the first rows of one side only: unique_id, path, only_in, why, and cells to know it by.
        partitions: path -> counts, of the partitions with anything but equal rows.
        partitions_compared: how many there are.
        partitions_read: how many of them were read; the others have not changed since they were found equal.
        per_column_nulls: column -> nulls in "source" and in "target".
        metrics: measures beside each other, as `validate` tells them.
        notes: what a person should know.
        seconds: how long it took.
        peak_rss_mb: largest resident memory of this process so far.
    """

    commit: str
    full: bool = False
    source_rows: int = 0
    target_rows: int = 0
    equal: int = 0
    explained: int = 0
    explained_by_kind: Mapping[str, int] = field(default_factory=dict)
    only_in_source: int = 0
    accounted: Mapping[str, int] = field(default_factory=dict)
    unaccounted: int = 0
    only_in_target: int = 0
    accounted_in_target: Mapping[str, int] = field(default_factory=dict)
    different: int = 0
    causes: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, int] = field(default_factory=dict)
    days: Sequence[Mapping[str, Any]] = ()
    days_different: int = 0
    differences: Sequence[Mapping[str, Any]] = ()
    sample: Sequence[Mapping[str, Any]] = ()
    partitions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    partitions_compared: int = 0
    partitions_read: int = 0
    per_column_nulls: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    metrics: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    seconds: float = 0.0
    peak_rss_mb: float = 0.0

    @property
    def unexplained(self) -> int:
        """Rows that differ or stand on one side only without a reason."""
        return self.different + self.unaccounted + self.only_in_target - sum(self.accounted_in_target.values())

    @property
    def passed(self) -> bool:
        """Whether the stores hold the same, but for what is explained."""
        return not self.unexplained

    @property
    def counts(self) -> dict[str, int]:
        """The numbers, for the ledger and for an asset."""
        names = ("source_rows", "target_rows", "equal", "explained", "only_in_source", "unaccounted", "only_in_target")
        return {name: getattr(self, name) for name in (*names, "different", "unexplained", "partitions_read")}

    def checked(self) -> Comparison:
        """Return this if its account adds up.

        Raises:
            IntegrityError: a row is missing from the account.
        """
        both = self.equal + self.explained + self.different
        accounted = sum(self.accounted.values()) + self.unaccounted
        if (
            self.source_rows != both + self.only_in_source
            or self.target_rows != both + self.only_in_target
            or self.only_in_source != accounted
        ):
            raise IntegrityError(f"comparison: rows do not add up: {self.counts}", hint="this is a fault of ours")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        return asdict(self) | {"passed": self.passed, "unexplained": self.unexplained}

    def lines(self) -> list[str]:
        """Return this for a terminal."""
        verdict = "equal, but for what is explained" if self.passed else "DIFFERENT"
        read = f"{self.partitions_read} of {self.partitions_compared} partitions read"
        lines = [
            f"huggingface {self.commit[:12]} and postgres: {verdict} ({read})",
            (
                f"  {self.source_rows:,} rows in huggingface = {self.equal:,} equal + {self.explained:,} explained"
                f" + {self.different:,} different + {self.only_in_source:,} only there"
                f" ({sum(self.accounted.values()):,} accounted for)"
            ),
            f"  {self.target_rows:,} rows in postgres, {self.only_in_target:,} of them only there",
        ]
        counted = {"explained": self.explained_by_kind, "accounted for": self.accounted, "causes": self.causes}
        lines += [f"  {what}: {_counted(counts)}" for what, counts in counted.items() if counts]
        if self.columns:
            lines.append(f"  columns that differ: {_counted(self.columns)}")
        for day in self.days[:_SHOWN_DAYS]:
            lines.append(
                f"  {day['day']} {day['agency']}: {day['source']:,} in huggingface, {day['target']:,} in postgres"
            )
        if self.days_different > _SHOWN_DAYS:
            lines.append(f"  … {self.days_different:,} days of an agency with other counts in all")
        lines += [
            f"  {d['unique_id']} {d['column']}: huggingface {_short(d['source'])}, postgres {_short(d['target'])}"
            for d in self.differences
        ]
        lines += [f"  {row['unique_id']} only in {row['only_in']}: {row['why']}" for row in self.sample]
        return [*lines, *(f"  {note}" for note in self.notes)]


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What has to be brought in line: ids of rows without a reason to differ.

    Attributes:
        comparison: the same in numbers.
        different: rows of both stores with other cells.
        only_in_source: rows of the dataset alone.
        only_in_target: rows of PostgreSQL alone.
        buried: those of `only_in_source` that were deleted in PostgreSQL.
        repeated: ids that stand more than once in the dataset; only a person can say which row goes.
        released: ids of rows that the dataset holds for want of a date without a reason any more; "" for one without.
        misfiled: ids of rows that the dataset has in another month's file than their own.
    """

    comparison: Comparison
    different: Sequence[str] = ()
    only_in_source: Sequence[str] = ()
    only_in_target: Sequence[str] = ()
    buried: frozenset[str] = frozenset()
    repeated: Sequence[str] = ()
    released: Sequence[str] = ()
    misfiled: Sequence[str] = ()


def _counted(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {rows:,}" for name, rows in ordered[:_SHOWN_COLUMNS])
    return f"{shown} and {len(ordered) - _SHOWN_COLUMNS} more" if len(ordered) > _SHOWN_COLUMNS else shown


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]}…"
