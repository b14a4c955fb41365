"""Bringing two stores that differ in line, in the direction that one is told (DESIGN §5, Reconciliation).

First what the run ledger lists as missed comes to each store from the other. Then the stores are compared, and of the
rows without a reason to differ

* those that both have follow the leading store, whole: every column, whoever owns it;
* those that the other store lacks are inserted there, under their own id;
* those that the leading store lacks are inserted into it, never overwriting anything; or, if that is allowed, deleted
  from the other one. A row that PostgreSQL has buried is not brought back from the dataset while PostgreSQL leads; it
  is taken out there if that is asked for, which touches no row that merely only the dataset has. An article that was
  taken down (`deletions`) comes back into neither.

A held row that lost its reason to be published goes while PostgreSQL leads, and a row in another month's file than its
own is put in its place. Much is never deleted without a word of its own, as when `news` was emptied.

Somebody may roll back meanwhile, so the mode is asked again before each chunk. Rows are read again just before they are
written, and again afterwards, so that only what is seen in both stores counts as brought in line. Nothing of progress
is stored: killed anywhere, the next repair finds what is left by comparing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import pyarrow as pa

from data_platform.errors import ConfigurationError, DataPlatformError, IntegrityError
from data_platform.failpoints import failpoint
from data_platform.jobs.reconcile.compare import Comparer
from data_platform.jobs.reconcile.drift_repair import DriftRepair, SideRepair
from data_platform.jobs.reconcile.missed import repair_missed
from data_platform.jobs.reconcile.records import Drift
from data_platform.jobs.reconcile.rows import different, places, rows_in, soiled, take
from data_platform.managers.interface import NewsStore
from data_platform.managers.ledger.deletions import deleted
from data_platform.managers.ledger.entry import IdList, LedgerEntry, SideRecord, Status, new_entry_id
from data_platform.managers.ledger.run_ledger import REPAIR
from data_platform.managers.storage_adapter import StorageAdapter
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode
from data_platform.models.columns import COLUMN_NAMES, NORMAL_SCHEMA
from data_platform.models.days import utc_now

__all__ = ["Direction", "repair_drift", "require_direction"]

_LOG = logging.getLogger(__name__)
#: Rows held in memory at once; a commit of the dataset each.
_CHUNK = 2_000
#: extracted_at by itself is no difference, in either store (DESIGN §2.3).
_COUNTED = tuple(name for name in COLUMN_NAMES if name != "extracted_at")
_DEFAULT = StorageMode().backend_source
#: More than this, and than this share of a store, is not deleted unless that was said: the leading store may be broken.
_FEW, _SHARE = 100, 0.1
_BURIED = "deleted in postgres: --delete-buried takes it out here too"
_DOWN = "taken down, and still here: delete it again, with --assume-mode dual_write"
_SOILED = "postgres has cells that no writer of ours leaves so, as an empty text: mend them there, with an update"
_RELEASED = (
    "no longer held; without an id, or in its month too: sync-hf --incremental --assume-mode postgres takes it out"
)


class Direction(StrEnum):
    """Which store leads."""

    FROM_POSTGRES = "from-postgres"
    FROM_HUGGINGFACE = "from-huggingface"

    @property
    def leading(self) -> ReadSource:
        """The store that the other one follows."""
        return ReadSource.POSTGRES if self is Direction.FROM_POSTGRES else ReadSource.HUGGINGFACE

    @property
    def following(self) -> ReadSource:
        """The other one."""
        return ReadSource.HUGGINGFACE if self is Direction.FROM_POSTGRES else ReadSource.POSTGRES


def require_direction(direction: Direction, mode: StorageMode) -> None:
    """Refuse to write what is behind over what leads: somebody set a mode in which only the other store is written.

    Raises:
        ConfigurationError: says which mode that is, and where it was set.
    """
    wrong = StorageBackend(direction.following.value)
    if mode.backend is wrong and mode.backend_source != _DEFAULT:
        raise ConfigurationError(
            f"storage_backend is {mode.backend} ({mode.backend_source}): {direction.leading} is behind by design, and "
            f"{direction} would write what it has over newer rows",
            hint="go to dual_write first, or repair in the other direction",
        )


def repair_drift(
    comparer: Comparer,
    adapter: StorageAdapter,
    direction: Direction,
    *,
    allow_delete: bool = False,
    delete_buried: bool = False,
    allow_shrink: bool = False,
    dry_run: bool = False,
    mode_now: Callable[[], StorageMode] | None = None,
) -> DriftRepair:
    """Bring the stores in line.

    Args:
        comparer: compares them.
        adapter: both stores and the ledger; its mode does not matter.
        direction: which store leads.
        allow_delete: delete from the other store what the leading one does not have, instead of inserting it there.
        delete_buried: delete from the dataset what PostgreSQL, which leads, has deleted, and nothing else.
        allow_shrink: delete even more than a tenth of the store (and than 100 rows), or all of it.
        dry_run: say what would be done; nothing is written, not even into the ledger.
        mode_now: says the mode at any later moment; None: it stays what it is, as on a shell.

    Raises:
        ConfigurationError: the mode says that the leading store is behind, or says so by now; what was done stays.
        TransientError: a store or the ledger does not answer; what was done stays, call it again.
        IntegrityError: much would be deleted; nothing was, though what was missed was brought.
        StoreError, SourceError, IntegrityError, LedgerError: a store refuses, or something is damaged.
    """
    require_direction(direction, comparer.mode)
    if delete_buried and direction is not Direction.FROM_POSTGRES:
        raise ConfigurationError(
            f"--delete-buried means nothing for {direction}", hint="what is buried follows PostgreSQL only"
        )
    missed = repair_missed(adapter, dry_run=dry_run)
    failpoint("repair.after_missed")
    drift = comparer.look(record=not dry_run)
    repair = _Repair(adapter, direction, drift, dry_run=dry_run, mode_now=mode_now or (lambda: comparer.mode))
    repair.run(allow_delete=allow_delete, delete_buried=delete_buried, allow_shrink=allow_shrink)
    after = None if dry_run else comparer.look().comparison
    done = DriftRepair(
        direction=direction.value,
        allow_delete=allow_delete,
        delete_buried=delete_buried,
        dry_run=dry_run,
        missed=missed,
        found=drift.comparison,
        sides={side.store: side.checked() for side in repair.told.values()},
        after=after,
    )
    _LOG.info("repair %s: %s", direction, done.totals())
    return done


class _Repair:
    """Writes what a comparison found."""

    def __init__(
        self,
        adapter: StorageAdapter,
        direction: Direction,
        drift: Drift,
        *,
        dry_run: bool,
        mode_now: Callable[[], StorageMode],
    ) -> None:
        self.adapter, self.direction, self.drift, self.dry_run = adapter, direction, drift, dry_run
        self.mode_now = mode_now
        self.down = deleted(adapter.ledger)
        self.told = {side: SideRepair(store=side.value) for side in (direction.following, direction.leading)}

    def run(self, *, allow_delete: bool, delete_buried: bool, allow_shrink: bool) -> None:
        """Do it; see the module."""
        leading, following = self.direction.leading, self.direction.following
        repeated = set(self.drift.repeated)
        one_sided = {
            ReadSource.HUGGINGFACE: [uid for uid in self.drift.only_in_source if uid not in repeated],
            ReadSource.POSTGRES: [uid for uid in self.drift.only_in_target if uid not in repeated],
        }
        both = [uid for uid in self.drift.different if uid not in repeated]
        self._refuse(ReadSource.HUGGINGFACE, "repeated in the dataset: take one of the two out", sorted(repeated))
        extra, incoming = one_sided[following], one_sided[leading]
        buried = [uid for uid in extra if uid in self.drift.buried] if leading is ReadSource.POSTGRES else []
        down = {uid for uid in (*extra, *incoming) if self.down.keeps_out(uid)}
        gone = extra if allow_delete else buried if delete_buried else []
        self._require_few(len(gone), allowed=allow_shrink)
        begun_at = utc_now()
        try:
            # Before anything comes in: a row that is to go may stand for the article of one that comes.
            self._delete(following, gone)
            if not allow_delete:
                self._refuse(following, _BURIED, [] if delete_buried else buried)
                self._refuse(following, _DOWN, [uid for uid in extra if uid in down and uid not in {*buried}])
                self._insert(following, leading, [uid for uid in extra if uid not in {*buried, *down}])
            self._update(leading, following, both)
            self._refuse(leading, _DOWN, [uid for uid in incoming if uid in down])
            self._insert(leading, following, [uid for uid in incoming if uid not in down])
            self._put_in_place([uid for uid in self.drift.misfiled if uid not in repeated])
            # An insert takes the held row of its id along.
            self._release([uid for uid in self.drift.released if uid not in {*self.drift.only_in_target} - repeated])
        except DataPlatformError as error:
            self._record(begun_at, error)
            raise
        self._record(begun_at)

    # ------------------------------------------------------------------------------------------------

    def _refuse(self, side: ReadSource, reason: str, ids: Sequence[str]) -> None:
        self.told[side].to_repair += len(ids)
        self.told[side].fail(reason, *ids)

    def _require_few(self, gone: int, *, allowed: bool) -> None:
        """Refuse to take much out of a store.

        Raises:
            IntegrityError: it is much, and nobody said that it may go.
        """
        found = self.drift.comparison
        there = found.target_rows if self.direction.following is ReadSource.POSTGRES else found.source_rows
        if gone and not allowed and (gone > max(_FEW, _SHARE * there) or gone >= there):
            raise IntegrityError(
                f"{gone:,} of {there:,} rows would be deleted from {self.direction.following}",
                hint=f"is {self.direction.leading} right, and is it whole? if so many shall go: --allow-shrink",
            )

    def _chunks(self, side: ReadSource, ids: Sequence[str]) -> Iterator[Sequence[str]]:
        for start in range(0, len(ids), _CHUNK):
            if not self.dry_run:
                require_direction(self.direction, self.mode_now())
            chunk = ids[start : start + _CHUNK]
            self.told[side].to_repair += len(chunk)
            yield chunk
            failpoint("repair.after_chunk")

    def _delete(self, side: ReadSource, ids: Sequence[str]) -> None:
        told, store = self.told[side], self.adapter.store(side)
        for chunk in self._chunks(side, ids):
            leader = places(rows_in(self.adapter.store(self.direction.leading), chunk))
            due = [uid for uid in chunk if uid not in leader]
            if self.dry_run:
                told.deleted += len(due)
                told.alike += len(chunk) - len(due)
                continue
            gone = store.delete_rows(due, reason=f"repair {self.direction}: {self.direction.leading} does not have it")
            told.deleted += gone.deleted
            told.alike += len(chunk) - gone.deleted

    def _update(self, source: ReadSource, target: ReadSource, ids: Sequence[str]) -> None:
        """Make whole rows of one store those of the other."""
        told, store = self.told[target], self.adapter.store(target)
        for chunk in self._chunks(target, ids):
            old, new = rows_in(store, chunk), rows_in(self.adapter.store(source), chunk)
            due = different(old, new, _COUNTED)
            soil = soiled(take(new, due)) if source is ReadSource.POSTGRES else []
            told.fail(_SOILED, *soil)
            halves = self._complete(source, take(old, due), take(new, due))
            due = [uid for uid in due if uid not in {*soil, *halves}]
            rest = len(chunk) - len(soil)
            if self.dry_run or not due:
                told.updated += len(due)
                told.alike += rest - len(due)
                continue
            outcome = store.update_rows(take(new, due).to_pandas())
            left = set(self._unlike(source, target, due))
            reasons = ", ".join(sorted(outcome.rejected_by_reason))
            told.fail(f"rejected: {reasons}" if reasons else "still different: somebody writes it too", *sorted(left))
            updated = len(set(outcome.written) - left)
            told.updated += updated
            told.alike += rest - len(left) - updated

    def _complete(self, side: ReadSource, whole: pa.Table, rows: pa.Table) -> list[str]:
        """Give doubles of a store the address that a killed repair left off; return their ids.

        Such a row lacks its address and is else the same as in the other store, and its article stands there under
        another id. An address that somebody took out of an article of its own is none of them.

        Args:
            side: the store that leads.
            whole: rows of the other one.
            rows: the same of the store.
        """
        bare = rows.filter(rows.column("url").is_null()).column("unique_id").to_pylist()
        other = different(whole, rows, [name for name in _COUNTED if name != "url"])
        halves = [uid for uid in bare if uid not in other]
        store = self.adapter.store(side)
        resolve_ids = getattr(store, "resolve_ids", None)
        if not halves or resolve_ids is None:
            return []
        # Asked for under ids that nobody has, an address tells whose it is.
        asked = {f"?{place}": uid for place, uid in enumerate(halves)}
        probes = take(whole, halves).set_column(0, NORMAL_SCHEMA.field(0), pa.array(list(asked), pa.string()))
        halves = [asked[probe] for probe in resolve_ids(_columns(probes)) if probe in asked]
        told = self.told[side]
        told.to_repair += len(halves)
        told.updated += len(halves)
        if halves and not self.dry_run:
            store.update_rows(take(whole, halves).select(["unique_id", "url"]).to_pandas())
        return halves

    def _put_in_place(self, ids: Sequence[str]) -> None:
        """Put rows of the dataset into the files of their months, whatever leads: an update moves what it is given."""
        told, store = self.told[ReadSource.HUGGINGFACE], self.adapter.store(ReadSource.HUGGINGFACE)
        for chunk in self._chunks(ReadSource.HUGGINGFACE, ids):
            rows = rows_in(store, chunk)
            moved = rows.num_rows if self.dry_run else len(store.update_rows(rows.to_pandas()).written)
            told.updated += moved
            told.alike += len(chunk) - moved

    def _release(self, ids: Sequence[str]) -> None:
        """Take out held rows that lost their reason to be published: PostgreSQL says so, and only while it leads."""
        store = self.adapter.store(ReadSource.HUGGINGFACE)
        named = list(dict.fromkeys(uid for uid in ids if uid))
        if self.direction is not Direction.FROM_POSTGRES:
            self._refuse(ReadSource.HUGGINGFACE, "no longer held: from-postgres takes it out", ids)
            return
        told = self.told[ReadSource.HUGGINGFACE]
        dated = places(rows_in(store, named))  # a deletion would take the article along
        self._refuse(ReadSource.HUGGINGFACE, _RELEASED, [uid for uid in ids if not uid or uid in dated])
        for chunk in self._chunks(ReadSource.HUGGINGFACE, [uid for uid in named if uid not in dated]):
            gone = len(chunk) if self.dry_run else store.delete_rows(chunk, reason="its reject was settled").deleted
            told.deleted += gone
            told.alike += len(chunk) - gone

    def _insert(self, source: ReadSource, target: ReadSource, ids: Sequence[str]) -> None:
        """Insert rows that a store lacks, under their own ids, doubles of its articles too."""
        told, store = self.told[target], self.adapter.store(target)
        for chunk in self._chunks(target, ids):
            there = places(rows_in(store, chunk))
            have = rows_in(self.adapter.store(source), chunk)
            due = [uid for uid in chunk if uid not in there and uid in places(have)]
            told.alike += len(chunk) - len(due)
            if self.dry_run or not due:
                told.inserted += len(due)
                continue
            rows = take(have, due)
            outcome = store.insert_rows(_columns(rows))
            doubles = take(rows, sorted(outcome.ids.keys() & {*due}))
            written = {*outcome.written, *self._insert_doubles(store, doubles)}
            now = places(rows_in(store, due))
            reasons = ", ".join(sorted(outcome.rejected_by_reason)) or "it did not arrive"
            told.fail(f"refused: {reasons}", *(uid for uid in due if uid not in now))
            told.inserted += sum(uid in now and uid in written for uid in due)
            told.alike += sum(uid in now and uid not in written for uid in due)

    @staticmethod
    def _insert_doubles(store: NewsStore, rows: pa.Table) -> Sequence[str]:
        """Insert rows whose article the store has under another id; return those that it took.

        An insert takes such a row for the article that is there. So it comes without its address, which then follows
        as an update, by which it becomes what it is in the other store: a double, marked as one. Left off in between,
        the next comparison finds that its address is missing.
        """
        if not rows.num_rows:
            return ()
        place = rows.schema.get_field_index("url")
        nothing = pa.nulls(rows.num_rows, pa.string())
        outcome = store.insert_rows(_columns(rows.set_column(place, rows.schema.field(place), nothing)))
        failpoint("repair.between_double_and_address")
        store.update_rows(rows.select(["unique_id", "url"]).to_pandas())
        return outcome.written

    def _unlike(self, source: ReadSource, target: ReadSource, ids: Sequence[str]) -> list[str]:
        """Return those of these ids that both stores have with other cells."""
        old, new = (rows_in(self.adapter.store(side), ids) for side in (target, source))
        return different(old, new, _COUNTED)

    def _record(self, begun_at: datetime, error: DataPlatformError | None = None) -> None:
        """Write into the ledger what was done; a repair that had nothing to do, or only looked, leaves no trace."""
        told = [side for side in self.told.values() if side.to_repair]
        if self.dry_run or not told:
            return
        status = Status.SUCCEEDED if error is None else Status.FAILED
        kind, said = (type(error).__name__, error.message) if error else ("", "")
        entry = LedgerEntry(
            kind=REPAIR,
            entry_id=new_entry_id(),
            started_at=begun_at,
            finished_at=utc_now(),
            operation=self.direction.value,
            sides={
                side.store: SideRecord(status=status, counts=side.counts, error_type=kind, error=said) for side in told
            },
            rows=sum(side.to_repair for side in told),
            ids=IdList.of([uid for side in told for ids in side.failed_ids.values() for uid in ids]),
            facts={"failed": {side.store: side.failed for side in told}, "commit": self.drift.comparison.commit},
        )
        try:
            self.adapter.ledger.record(entry)
        except DataPlatformError as other:
            if error is None:
                raise
            error.add_note(f"and it is not in the run ledger: {other}")


def _columns(rows: pa.Table) -> dict[str, list[Any]]:
    """Return rows as scrapers give them: column -> values."""
    return {name: rows.column(name).to_pylist() for name in rows.schema.names}
