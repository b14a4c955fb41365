"""What a sync is to write: which months, which files stay, what becomes of every row that was published."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from data_platform.errors import IntegrityError
from data_platform.jobs.hf_sync.held import account_for, still_held
from data_platform.jobs.hf_sync.published import ChangedBy, Published
from data_platform.jobs.hf_sync.records import Account, SyncOptions, SyncOutcome
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.hub.adoption import AdoptedState, AdoptionPlan
from data_platform.managers.hub.layout import UNDATED, data_files, month_of_path, partition_path, stray_files
from data_platform.managers.hub.state import Snapshot
from data_platform.managers.postgres.change_feed import ChangeFeed, Window
from data_platform.managers.postgres.news_snapshot import NewsSnapshot

__all__ = ["Sides", "SyncPlan", "few", "make_plan", "require_allowed"]


@dataclass(frozen=True)
class SyncPlan:
    """What one sync is to write.

    Attributes:
        published: the head that it is made from.
        window: what of the change feed it takes.
        counts: month -> rows of the snapshot.
        months: those to be written; all of them, or the ones with changes.
        keep: data files that stay as they are.
        held: rows for the undated file; None if that stays as it is.
        held_rows: how many are published without being in news.
        reason: why every month is written though only changes were asked for; "" otherwise.
        changed_rows: rows of the window.
        tombstones: deletions, renames and moves of the window.
        account: of a sync of everything.
        adoption: of a legacy layout.
        notes: what a person should know.
    """

    published: Published
    window: Window
    counts: dict[str, int]
    months: Sequence[str]
    keep: Sequence[str]
    held: pa.Table | None
    held_rows: int
    reason: str = ""
    changed_rows: int = 0
    tombstones: int = 0
    account: Account | None = None
    adoption: AdoptionPlan | None = None
    notes: tuple[str, ...] = ()

    @property
    def partitions(self) -> dict[str, int]:
        """Path -> rows of the files to be written."""
        found = {partition_path(month): self.counts[month] for month in self.months if self.counts.get(month)}
        return found | ({UNDATED: self.held_rows} if self.held is not None and self.held_rows else {})

    @property
    def removed(self) -> list[str]:
        """Data files that are to go."""
        there = self.published.snapshot.files
        return sorted({*data_files(there), *stray_files(there)} - {*self.keep} - {*self.partitions})

    def outcome(self, options: SyncOptions) -> SyncOutcome:
        """Return what the sync will have done, as far as that is known before it."""
        return SyncOutcome(
            kind=options.kind,
            dry_run=options.dry_run,
            reason=self.reason,
            changed_rows=self.changed_rows,
            tombstones=self.tombstones,
            partitions=self.partitions,
            removed=self.removed,
            rows=sum(self.counts.values()) + self.held_rows,
            held=self.held_rows,
            stamp=str(self.window.stamp),
            account=self.account,
            adoption=self.adoption.to_dict() if self.adoption else None,
            notes=self.notes,
        )


@dataclass(frozen=True)
class Sides:
    """Both sides as a plan looks at them.

    Attributes:
        published: the head of the main dataset.
        manager: the dataset.
        feed: this reader's change feed.
        window: what is taken of it.
        news: PostgreSQL as it is to be published.
        folder: for temporary files, deleted by its owner.
    """

    published: Published
    manager: DatasetManager
    feed: ChangeFeed
    window: Window
    news: NewsSnapshot
    folder: Path


def make_plan(options: SyncOptions, sides: Sides) -> SyncPlan:
    """Plan a sync; nothing is written.

    Raises:
        IntegrityError: single months were asked for where everything is to be written, or a row cannot be expressed.
        SourceError, StoreError, StoreUnavailableError: the dataset cannot be read.
    """
    published, window, news = sides.published, sides.window, sides.news
    plan = SyncPlan(published, window, news.months(), (), (), None, 0)
    here = published.snapshot.layout
    reason = window.resync_reason or ""
    if published.changed_by is not ChangedBy.NOBODY:
        reason = f"{published.changed_by} changed the dataset since the last sync"
    if options.months:
        if reason or here.legacy:
            raise IntegrityError(
                f"single months cannot be published: {reason or 'the dataset is in the legacy layout'}",
                hint="run a whole sync first",
            )
        months = _with_linked(options.months, sides.feed.moves(window))
        keep = [path for path in here.partitions if month_of_path(path) not in months]
        held_rows = _rows_at(published.snapshot, UNDATED)
        along = [month for month in months if month not in options.months]
        notes = (f"{few(along)} published along: rows moved between these months",) if along else ()
        return replace(plan, months=months, keep=keep, held_rows=held_rows, notes=notes)
    touched = sides.feed.months(window)
    plan = replace(
        plan,
        reason=reason,
        changed_rows=sum(changed for changed, _ in touched.values()),
        tombstones=sum(buried for _, buried in touched.values()),
    )
    state = sides.manager.state(published.snapshot, sides.folder, any_types=published.changed_by is ChangedBy.OTHERS)
    if options.full or reason or here.legacy:
        account, held = account_for(news, state)
        adoption = state.plan if isinstance(state, AdoptedState) and here.legacy else None
        return replace(
            plan,
            months=sorted(plan.counts),
            held=held,
            held_rows=held.num_rows,
            account=account,
            adoption=adoption,
        )
    held, held_before = still_held(news, state)
    # Should a month have come or gone behind the feed's back, it is written too rather than left wrong.
    files = {month for path in here.partitions if (month := month_of_path(path)) is not None}
    stray = sorted((files ^ plan.counts.keys()) - touched.keys())
    months = sorted({*touched, *stray})
    same_held = held.num_rows == held_before
    keep = [path for path in here.partitions if month_of_path(path) not in months and path != UNDATED]
    return replace(
        plan,
        months=months,
        keep=[*keep, UNDATED] if same_held and held_before else keep,
        held=None if same_held else held,
        held_rows=held.num_rows,
        notes=tuple(f"{month} differed though the change feed has nothing of it" for month in stray),
    )


def require_allowed(plan: SyncPlan, where: str, *, overwrite: bool) -> None:
    """Refuse to take away what others have put there (DESIGN §2.1, §2.11).

    Raises:
        IntegrityError: says what, and what to do.
    """
    if overwrite:
        return
    if plan.published.changed_by is ChangedBy.OTHERS:
        raise IntegrityError(
            f"{where}: somebody else changed data files since the last sync: {few(plan.published.changed)}",
            hint="look at its history on the Hub; to publish what PostgreSQL has instead, choose --overwrite",
        )
    if plan.account is not None and plan.account.unexplained:
        raise IntegrityError(
            f"{where}: {plan.account.unexplained:,} published rows are unknown to PostgreSQL and would go: "
            f"{few(plan.account.unexplained_ids)}",
            hint="bring them in first (python -m data_platform migrate, the catch-up); "
            "to let them go, choose --overwrite",
        )


def few(names: Sequence[str]) -> str:
    """Return some names for a line."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004 - readable


def _with_linked(months: Sequence[str], moves: Collection[tuple[str, str]]) -> list[str]:
    """Return months and those that rows came from, or went to, without which a row would stand twice or nowhere."""
    found, found_before = set(months), set[str]()
    while found != found_before:
        found_before = set(found)
        found |= {month for move in moves if found.intersection(move) for month in move}
    return sorted(found)


def _rows_at(snapshot: Snapshot, path: str) -> int:
    """Return the rows of a file; 0 if it is not there."""
    if path not in snapshot.files:
        return 0
    return int(snapshot.reader.open(snapshot.files[path]).metadata.num_rows)
