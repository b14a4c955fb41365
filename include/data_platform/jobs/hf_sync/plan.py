"""What a sync is to write: which months, which files stay, what becomes of every row that was published."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from data_platform.errors import IntegrityError
from data_platform.jobs.hf_sync.cells import other_cells, other_cells_adopted
from data_platform.jobs.hf_sync.held import account_for, still_held, vanished
from data_platform.jobs.hf_sync.published import ChangedBy, Published
from data_platform.jobs.hf_sync.records import Account, SyncOptions, SyncOutcome
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.hub.adoption import AdoptedState, AdoptionPlan
from data_platform.managers.hub.layout import UNDATED, data_files, month_of_path, partition_path, stray_files
from data_platform.managers.hub.state import State
from data_platform.managers.ledger.deletions import deleted
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.postgres.change_feed import ChangeFeed, Window
from data_platform.managers.postgres.news_snapshot import NewsSnapshot
from data_platform.managers.storage_mode import ReadSource

__all__ = ["Sides", "SyncPlan", "few", "make_plan", "require_allowed", "require_complete"]

#: Inserts only, and nothing that PostgreSQL has deleted; a migration would bring deleted articles back.
_BRING_IN = (
    "bring them in first (python -m data_platform reconcile --repair from-postgres --assume-mode postgres, without "
    "--allow-delete)"
)


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
        vanished: published rows of the months to be written that are not in news though nothing let them go there.
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
    vanished: Sequence[str] = ()
    notes: tuple[str, ...] = ()

    @property
    def partitions(self) -> dict[str, int]:
        """Path -> rows of the files to be written."""
        found = {partition_path(month): self.counts[month] for month in self.months if self.counts.get(month)}
        found |= {UNDATED: self.held_rows} if self.held is not None and self.held_rows else {}
        is_last = not found and not self.keep and bool(data_files(self.published.snapshot.files))
        return {UNDATED: 0} if is_last else found  # `publish` leaves a dataset that loses its last row one file

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
            notes=(*self.notes, *([f"to go unexplained: {few(self.vanished)}"] if self.vanished else [])),
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
        IntegrityError: single months were asked for where everything is to be written, or where a row would stand
            nowhere or twice; or a row cannot be expressed.
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
        along = [month for month in months if month not in options.months]
        notes = tuple([f"{few(along)} published along: rows moved between these months"] if along else [])
        state = sides.manager.state(published.snapshot, sides.folder)
        return _of_months(replace(plan, months=months, notes=notes), news, state, held_until_written=True)
    touched = sides.feed.months(window)
    plan = replace(
        plan,
        reason=reason,
        changed_rows=sum(changed for changed, _ in touched.values()),
        tombstones=sum(buried for _, buried in touched.values()),
    )
    state = sides.manager.state(published.snapshot, sides.folder, any_types=published.changed_by is ChangedBy.OTHERS)
    if options.full or reason or here.legacy:
        cells = other_cells_adopted(news, state) if isinstance(state, AdoptedState) else None
        if cells is None and reason:
            cells = other_cells(news, published, window, sides.folder)
        account, held = account_for(news, state, cells)
        adoption = state.plan if isinstance(state, AdoptedState) and here.legacy else None
        return replace(
            plan,
            months=sorted(plan.counts),
            held=held,
            held_rows=held.num_rows,
            account=account,
            adoption=adoption,
        )
    # Should a month have come or gone behind the feed's back, it is written too rather than left wrong.
    files = {month for path in here.partitions if (month := month_of_path(path)) is not None}
    stray = sorted((files ^ plan.counts.keys()) - touched.keys())
    notes = tuple(f"{month} differed though the change feed has nothing of it" for month in stray)
    return _of_months(replace(plan, months=sorted({*touched, *stray}), notes=notes), news, state)


def require_complete(ledger: RunLedger, news: NewsSnapshot, where: str) -> None:
    """Refuse to let the dataset follow PostgreSQL while that may lack what the dataset was given, deletions included.

    Raises:
        IntegrityError: says which writes, and what to do.
    """
    if owed := ledger.owed(ReadSource.POSTGRES.value):
        named = [f"{m.entry.operation} of {m.entry.started_at:%Y-%m-%d %H:%M}Z ({m.entry.entry_id[:8]})" for m in owed]
        raise IntegrityError(
            f"{where}: PostgreSQL may lack {len(owed):,} writes that the dataset was given, and would take them back "
            f"there: {few(named)}",
            hint="python -m data_platform reconcile --repair missed brings them; then sync again",
        )
    down = sorted(deleted(ledger).addresses)
    if down and (still := news.rows_of(down).column("unique_id").to_pylist()):
        raise IntegrityError(
            f"{where}: {len(still):,} articles that were taken down are still in PostgreSQL: {few(sorted(still))}",
            hint="delete them again, with --assume-mode dual_write; or let them be published: delete --allow-again",
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
    account = plan.account
    if account is not None and account.unasked:
        along = f"; {account.unexplained:,} more are unknown to it" if account.unexplained else ""
        raise IntegrityError(
            f"{where}: {account.unasked:,} published rows have other cells than PostgreSQL, which has not changed them "
            f"since the last sync: {few(account.unasked_ids)}{along}",
            hint="look at them (python -m data_platform reconcile) and bring the stores in line in the direction that "
            "you choose (docs/hf_sync.md, At 3 a.m.); to publish what PostgreSQL has, choose --overwrite",
        )
    if account is not None and account.unexplained:
        raise IntegrityError(
            f"{where}: {account.unexplained:,} published rows are unknown to PostgreSQL and would go: "
            f"{few(account.unexplained_ids)}",
            hint=f"perhaps it refused them once, in another version; {_BRING_IN}; to let them go, choose --overwrite",
        )
    if plan.vanished:
        raise IntegrityError(
            f"{where}: {len(plan.vanished):,} published rows would go that PostgreSQL has lost without deleting them: "
            f"{few(plan.vanished)}",
            hint=f"was a part of news restored? {_BRING_IN}; to let them go, choose --overwrite",
        )


def _of_months(plan: SyncPlan, news: NewsSnapshot, state: State, *, held_until_written: bool = False) -> SyncPlan:
    """Plan for some months: which files stay, which rows are still held, and which would go with nothing to say why.

    Args:
        plan: names the months.
        news: PostgreSQL as it is to be published.
        state: the dataset as it is.
        held_until_written: whether rows stay held until the month of their article is written.
    """
    months = set(plan.months)
    held, before = still_held(news, state, months=months if held_until_written else None)
    same = held.num_rows == before
    keep = [path for path in state.partitions if month_of_path(path) not in months and path != UNDATED]
    return replace(
        plan,
        keep=[*keep, UNDATED] if same and before else keep,
        held=None if same else held,
        held_rows=held.num_rows,
        vanished=vanished(news, state, months),
    )


def few(names: Sequence[str]) -> str:
    """Return some names for a line."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004 - readable


def _with_linked(months: Sequence[str], moves: Collection[tuple[str, str]]) -> list[str]:
    """Return months and those that rows came from, or went to, without which a row would stand twice or nowhere.

    Raises:
        IntegrityError: rows were renamed since the last sync; where they are now nobody can say.
    """
    if renamed := sorted(month for month, to in moves if not to):
        raise IntegrityError(
            f"single months cannot be published: rows that stood in {few(renamed)} have other ids since the last sync",
            hint="run a whole sync first",
        )
    found, found_before = set(months), set[str]()
    while found != found_before:
        found_before = set(found)
        found |= {month for move in moves if found.intersection(move) for month in move}
    return sorted(found)
