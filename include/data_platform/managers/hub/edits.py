"""What a write makes of a dataset's rows: which rows leave which partition, and which come in.

Pure but for the rows of partitions that it asks for; the rules are those of `write_rules`, which every store shares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.errors import IntegrityError
from data_platform.managers.hub.layout import UNDATED, months_of, partition_path
from data_platform.managers.hub.state import Matches, State
from data_platform.managers.interface import WriteOutcome
from data_platform.managers.write_rules import (
    complete,
    last_of_each,
    left_alone,
    merge_scraped,
    merge_updated,
    plan_insert,
    renamed,
    same_cells,
)
from data_platform.models.columns import NORMAL_SCHEMA
from data_platform.models.theme_cells import ThemeIndex
from data_platform.sources.judged import ReadBatch, Reject

__all__ = ["Edits", "delete_edits", "insert_edits", "update_edits"]


@dataclass
class Edits:
    """Changes of partitions.

    Attributes:
        leaving: path -> unique_ids of rows that leave it.
        coming: path -> rows (NORMAL_SCHEMA) that come into it.
    """

    leaving: dict[str, set[str]] = field(default_factory=dict)
    coming: dict[str, list[pa.RecordBatch]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything changes."""
        return bool(self.leaving or self.coming)

    @property
    def paths(self) -> list[str]:
        """Partitions that change, sorted."""
        return sorted({*self.leaving, *self.coming})

    def leave(self, path: str, unique_ids: Sequence[str]) -> None:
        """Take rows out of a partition."""
        if unique_ids:
            self.leaving.setdefault(path, set()).update(unique_ids)

    def come(self, rows: pa.RecordBatch) -> None:
        """Put rows into the partitions of their months."""
        months = months_of(rows.column("published_at"))
        for month in months.unique().to_pylist():
            its = rows.filter(pc.equal(months, month))
            self.coming.setdefault(partition_path(month), []).append(its)

    def applied(self, path: str, rows: pa.Table) -> pa.Table:
        """Return the rows of a partition after the changes.

        Raises:
            IntegrityError: a row that should leave is not there.
        """
        gone = self.leaving.get(path, set())
        kept = rows
        if gone:
            mask = pc.is_in(rows.column("unique_id"), value_set=pa.array(sorted(gone), pa.string()))
            kept = rows.filter(pc.invert(mask))
            there = set(pc.filter(rows.column("unique_id"), mask).to_pylist())
            # Among the undated rows one id may stand several times: all of them leave.
            if there != gone or (path != UNDATED and rows.num_rows - kept.num_rows != len(gone)):
                raise IntegrityError(
                    f"{path} does not hold each row once that was found in it", hint="nothing was written"
                )
        return pa.concat_tables([kept, *(pa.Table.from_batches([batch]) for batch in self.coming.get(path, []))])


def insert_edits(state: State, read: ReadBatch, *, allow_update: bool) -> tuple[Edits, WriteOutcome]:
    """Say what an insert changes.

    Args:
        state: the dataset.
        read: the judged rows.
        allow_update: whether the scraper's columns of articles that are there follow the rows.
    """
    rows = read.cleaned.batch.filter(read.admitted)
    leave = {name: mask.filter(read.admitted) for name, mask in left_alone(read.cleaned).items()}
    matches = state.match(rows)
    plan = plan_insert(rows, matches.found, allow_update=allow_update)
    edits = Edits()
    ids = rows.column("unique_id").to_pylist()
    fresh = [ids[row] for row, _ in plan.new]
    if plan.new:
        edits.come(_new_rows(rows, plan.new, leave))
        # A row that was held for want of a date has one now: this is it.
        edits.leave(UNDATED, [uid for uid in fresh if uid in matches.held])
    updated: list[str] = []
    if allow_update and plan.known:
        at = pa.array([row for _, row in plan.known], pa.int64())
        given = renamed(rows.take(at), [uid for uid, _ in plan.known])
        left = {name: mask.take(at) for name, mask in leave.items()}
        for path, places in _by_place(given, matches).items():
            old = _rows_with(state, path, given.column("unique_id").take(places))
            masks = {name: mask.take(places) for name, mask in left.items()}
            updated += _replace(edits, path, old, merge_scraped(old, given.take(places), masks))
    outcome = WriteOutcome(
        inserted=len(fresh),
        updated=len(updated),
        unchanged=len(plan.known) - len(updated),
        duplicates=plan.duplicates,
        ids=plan.ids,
        written=[*fresh, *updated],
    )
    return edits, _accounted(outcome, read, read.rejects())


def update_edits(state: State, read: ReadBatch, themes: ThemeIndex) -> tuple[Edits, WriteOutcome, list[Reject]]:
    """Say what an update changes; also return the rows that it refuses, among them those that the dataset lacks.

    Args:
        state: the dataset.
        read: the judged rows.
        themes: the known themes.
    """
    matches = state.match(read.cleaned.batch.filter(read.admitted).select(["unique_id"]))
    there = pa.array(sorted(matches.found.ids), pa.string())
    unknown = pc.invert(pc.is_in(read.cleaned.batch.column("unique_id"), value_set=there))
    read = read.refuse(unknown, "unique_id", "unknown")
    admitted = read.cleaned.batch.filter(read.admitted)
    rows = last_of_each(admitted)
    edits = Edits()
    updated: list[str] = []
    for path, places in _by_place(rows, matches).items():
        old = _rows_with(state, path, rows.column("unique_id").take(places))
        updated += _replace(edits, path, old, merge_updated(old, rows.take(places), themes))
    rejects = read.rejects()
    outcome = WriteOutcome(
        updated=len(updated),
        unchanged=rows.num_rows - len(updated),
        duplicates=admitted.num_rows - rows.num_rows,
        written=updated,
    )
    return edits, _accounted(outcome, read, rejects), rejects


def delete_edits(state: State, unique_ids: Sequence[str]) -> tuple[Edits, WriteOutcome]:
    """Say what a deletion changes; rows that are held for want of a date go too.

    Args:
        state: the dataset.
        unique_ids: which, each once.
    """
    ids = pa.array(unique_ids, pa.string())
    matches = state.match(pa.RecordBatch.from_arrays([ids], names=["unique_id"]))
    edits = Edits()
    for uid in unique_ids:
        if uid in matches.places:
            edits.leave(matches.places[uid], [uid])
    edits.leave(UNDATED, sorted(matches.held))
    gone = [uid for uid in unique_ids if uid in matches.places or uid in matches.held]
    outcome = WriteOutcome(
        given=len(unique_ids), deleted=len(gone), unchanged=len(unique_ids) - len(gone), written=gone
    )
    return edits, outcome.checked("the dataset")


def _accounted(outcome: WriteOutcome, read: ReadBatch, rejects: Sequence[Reject]) -> WriteOutcome:
    values = {
        name: getattr(outcome, name) for name in ("inserted", "updated", "unchanged", "duplicates", "ids", "written")
    }
    return WriteOutcome(
        **values,
        given=read.raw.num_rows,
        rejected=len(rejects),
        rejected_by_reason=Counter(reject.reason for reject in rejects),
        cleanings=read.cleaned.counts(read.admitted),
    ).checked("the dataset")


def _replace(edits: Edits, path: str, old: pa.RecordBatch, new: pa.RecordBatch) -> list[str]:
    """Note which rows really change, or stand in another month's file than their own; return their ids."""
    in_place = pa.array([partition_path(month) == path for month in months_of(new.column("published_at")).to_pylist()])
    differ = pc.invert(pc.and_(same_cells(old, new), in_place.cast(pa.bool_())))
    changed = new.filter(differ)
    ids: list[str] = changed.column("unique_id").to_pylist()
    if ids:
        edits.leave(path, ids)
        edits.come(changed)
    return ids


def _by_place(rows: pa.RecordBatch, matches: Matches) -> dict[str, pa.Array]:
    """Return path -> places in `rows` of the rows that stand in that partition."""
    found: dict[str, list[int]] = {}
    for place, uid in enumerate(rows.column("unique_id").to_pylist()):
        found.setdefault(matches.places[uid], []).append(place)
    return {path: pa.array(found[path], pa.int64()) for path in sorted(found)}


def _rows_with(state: State, path: str, unique_ids: pa.Array) -> pa.RecordBatch:
    """Return rows of a partition in the order of the ids.

    Raises:
        IntegrityError: the partition does not have what its key column promised.
    """
    table = state.rows(path)
    its = table.filter(pc.is_in(table.column("unique_id"), value_set=unique_ids)).combine_chunks()
    at = pc.index_in(unique_ids, value_set=its.column("unique_id").combine_chunks())
    if at.null_count or its.num_rows != len(unique_ids):
        raise IntegrityError(f"{path} does not hold each row once that was found in it", hint="nothing was written")
    rows = its.take(at).combine_chunks().to_batches()
    return rows[0] if rows else pa.RecordBatch.from_pylist([], NORMAL_SCHEMA)


def _new_rows(rows: pa.RecordBatch, new: Sequence[tuple[int, int]], leave: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """Return whole rows for new articles; one given several times takes the scraper's cells of the row that wins."""
    made = complete(rows.take(pa.array([first for first, _ in new], pa.int64())))
    if all(first == wins for first, wins in new):
        return made
    at = pa.array([wins for _, wins in new], pa.int64())
    return merge_scraped(made, rows.take(at), {name: mask.take(at) for name, mask in leave.items()})
