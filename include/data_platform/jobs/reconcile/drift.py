"""Finding how the two stores differ, and what of that has a reason (DESIGN §5, Reconciliation).

The dataset is read at one commit, PostgreSQL in one snapshot taken just after, a month at a time: memory does not grow
with the number of rows, but for the ids of those that differ. What is being written while that goes on differs for a
moment; the run ledger knows of every such write, and its articles are told as pending.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pyarrow as pa

from data_platform.jobs.hf_sync.held import refused_rows, still_held
from data_platform.jobs.progress import Progress
from data_platform.jobs.reconcile.cells import Cells, look_at_cells, one_sided, rows_at
from data_platform.jobs.reconcile.partitions import Found, Memory, Partition, Sides, compare_partition
from data_platform.jobs.reconcile.records import SOURCE, TARGET, CompareOptions, Comparison, Drift
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.hub.adoption import AdoptedState
from data_platform.managers.hub.layout import UNDATED, partition_path
from data_platform.managers.hub.scratch import scratch_folder
from data_platform.managers.hub.state import Snapshot
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.postgres.news_snapshot import NewsSnapshot
from data_platform.models.columns import COLUMN_NAMES, NORMAL_SCHEMA
from data_platform.models.theme_cells import ThemeIndex
from data_platform.settings import Settings

__all__ = ["Looked", "find_drift"]

_MOST_DAYS = 50
_IDS_AT_ONCE = 10_000
#: Columns whose coverage is worth a line of its own.
_MEASURED = ("theme_1_level_1", "summary", "content", "image", "url")


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a look at both stores found.

    Attributes:
        drift: how they differ.
        partitions: what is known of each month now.
        memory: keeps the settled ones of these.
    """

    drift: Drift
    partitions: Mapping[str, Partition]
    memory: Memory


@dataclass
class _Account:
    """What became of the rows that are not the same on both sides."""

    found: Found
    cells: Cells = field(default_factory=Cells)
    pending: set[str] = field(default_factory=set)
    rejected: frozenset[str] = frozenset()
    buried: frozenset[str] = frozenset()
    missed: dict[str, str] = field(default_factory=dict)
    held: int = 0
    released: list[str] = field(default_factory=list)
    duplicates: int = 0

    def loose(self, ids: Collection[str]) -> list[str]:
        """Return those of these ids of one side that have no reason."""
        return [uid for uid in ids if uid not in self.pending and uid not in self.rejected]

    def why(self) -> dict[str, str]:
        """Return what is known of rows of one side, by id."""
        told = {**dict.fromkeys(self.buried, "deleted in postgres"), **self.missed}
        return told | dict.fromkeys(self.rejected, "reject") | dict.fromkeys(self.pending, "pending")


def find_drift(
    settings: Settings, manager: DatasetManager, ledger: RunLedger, options: CompareOptions, progress: Progress
) -> Looked:
    """Compare the stores; nothing is written.

    Args:
        settings: of the database.
        manager: the dataset.
        ledger: the run ledger.
        options: how they are compared.
        progress: told how many rows are compared.

    Raises:
        SourceError, StoreError: the dataset or the database cannot be read.
        StoreUnavailableError, TransientError: a side, or the ledger, does not answer.
        IntegrityError: PostgreSQL holds rows that the dataset cannot express, or the account does not add up.
    """
    url, timeout = settings.require_database(), settings.statement_timeout_s
    ended_before = ledger.ended_writes()
    with (
        scratch_folder() as folder,
        NewsSnapshot(url, purpose="reconciliation", statement_timeout_s=timeout) as news,
    ):
        snapshot = Snapshot.of(manager.repository)
        state = manager.state(snapshot, folder)
        prints = news.prints()
        pending = _pending(ledger, ended_before, options.longest_write)
        sides = Sides(news, snapshot, state, folder)
        memory = Memory(ledger.objects, dataset=manager.repository.dataset, lineage=news.lineage())
        remembered, note = ({}, "") if options.full else memory.recall()
        notes = [note] if note else []
        progress.stage("compare", sum(month.rows for month in prints.values()))
        found, partitions, read = Found(), dict[str, Partition](), 0
        for path in sorted({*state.partitions, *map(partition_path, prints)} - {UNDATED}):
            month = prints.get(path.removeprefix("data/train-").removesuffix(".parquet"))
            before = remembered.get(path)
            now = ("" if isinstance(state, AdoptedState) else sides.blob(path), month.print if month else "")
            if before is not None and all(now) and now == (before.blob, before.print):
                partitions[path] = before
            else:
                read += 1
                partitions[path] = compare_partition(sides, path, found)
                partitions[path].blob, partitions[path].print = now
            progress.advance(partitions[path].target_rows)
        account = _Account(found)
        account.held, account.released = _undated(sides)
        if isinstance(state, AdoptedState):
            account.duplicates = state.plan.duplicates
            notes.append(f"the dataset is in the legacy layout: {len(state.plan.files)} files, read whole")
        _match_up(found, news)
        account.pending = pending
        _explain(account, sides, ledger, manager.themes, most=options.sample)
        comparison = _told(account, sides, partitions, options=options, read=read, notes=notes)
    drift = Drift(
        comparison=comparison.checked(),
        different=sorted(account.cells.different),
        only_in_source=sorted(account.loose(found.only_source)),
        only_in_target=sorted(account.loose(found.only_target)),
        buried=account.buried,
        repeated=sorted({uid for uid, _ in found.repeated}),
        released=account.released,
        misfiled=sorted(found.misfiled.keys() - account.pending),
    )
    return Looked(drift=drift, partitions=partitions, memory=memory)


def _undated(sides: Sides) -> tuple[int, list[str]]:
    """Return how many rows of the undated file have reason to be there, and the ids of those that have not."""
    if UNDATED not in sides.state.partitions:
        return 0, []
    held, there = still_held(sides.news, sides.state)
    if held.num_rows == there:
        return there, []
    every = Counter(uid or "" for uid in sides.state.rows(UNDATED).column("unique_id").to_pylist())
    released = every - Counter(uid or "" for uid in held.column("unique_id").to_pylist())
    return held.num_rows, sorted(released.elements())


def _match_up(found: Found, news: NewsSnapshot) -> None:
    """Put the halves of rows together whose month differs; tell rows apart that stand twice in the dataset."""
    for uid in found.only_source.keys() & found.only_target.keys():
        found.different[uid] = found.only_source.pop(uid)
        del found.only_target[uid]
    for part in _parts(sorted(found.only_source)):
        there = news.digests(pa.array(part, pa.string())).column("unique_id").to_pylist()
        found.repeated += [(uid, found.only_source.pop(uid)) for uid in there]


def _pending(ledger: RunLedger, ended_before: frozenset[str], longest: timedelta) -> set[str]:
    """Return the articles of writes that were under way between the looks at the one store and at the other."""
    return {uid for entry in ledger.under_way(ended_before, longest=longest) for uid in ledger.ids(entry.ids)}


def _explain(account: _Account, sides: Sides, ledger: RunLedger, themes: ThemeIndex, *, most: int) -> None:
    """Look for the reasons of all that differs."""
    found = account.found
    account.pending = {uid for uid in account.pending if found.has(uid)}
    account.cells = look_at_cells(
        sides, found.different, themes, misfiled=found.misfiled, leave_out=account.pending, most=most
    )
    rejected, buried = set[str](), set[str]()
    for part in _parts(sorted(found.only_source)):
        absent = sides.news.absent(part)
        rejected |= absent.rejected
        buried |= absent.buried
    # One that was extracted after its tombstone is not what was deleted.
    for batch in rows_at(sides, found.only_source, sorted(buried)):
        ids, extracted = (batch.column(name).to_pylist() for name in ("unique_id", "extracted_at"))
        buried -= set(ids) - sides.news.absent(ids, extracted).buried
    account.rejected = _refused(sides, found, sorted(rejected - account.pending))
    account.buried = frozenset(buried)
    for missed in ledger.missed():
        told = f"missed: {missed.side} may lack the {missed.entry.operation} {missed.entry.entry_id[:8]}"
        account.missed |= {uid: told for uid in missed.ids if found.has(uid)}


def _refused(sides: Sides, found: Found, rejected: list[str]) -> frozenset[str]:
    """Return those of these rows of the dataset that PostgreSQL must reject as they are.

    A reject that is open for an id may be of an older version; a good row that PostgreSQL lacks is still missing.
    """
    refused: set[str] = set()
    for batch in rows_at(sides, found.only_source, rejected):
        refused.update(refused_rows(pa.Table.from_batches([batch])).column("unique_id").to_pylist())
    return frozenset(refused)


def _told(
    account: _Account,
    sides: Sides,
    partitions: Mapping[str, Partition],
    *,
    options: CompareOptions,
    read: int,
    notes: Iterable[str],
) -> Comparison:
    found, cells = account.found, account.cells
    for uid, kinds in cells.explained.items():
        its = partitions[found.different[uid]]
        its.explained_rows += 1
        for kind in kinds:
            its.explained[kind] = its.explained.get(kind, 0) + 1
    by_kind = Counter[str]()
    for partition in partitions.values():
        by_kind.update(partition.explained)
    pending = sum(uid in account.pending for uid in found.different)
    loose_source, loose_target = account.loose(found.only_source), account.loose(found.only_target)
    accounted = {
        "held": account.held,
        "reject": sum(uid in account.rejected for uid in found.only_source),
        "duplicate": account.duplicates,
        "pending": sum(uid in account.pending for uid in found.only_source),
    }
    beside = len(found.repeated) + account.held + len(account.released) + account.duplicates
    undated = account.held + len(account.released)
    source_rows = sum(partition.source_rows for partition in partitions.values()) + undated + account.duplicates
    unreasoned = [*cells.different, *loose_source, *loose_target]
    causes = {
        "missed": sum(uid in account.missed for uid in unreasoned),
        "deleted in postgres": sum(uid in account.buried for uid in loose_source),
        "repeated in the dataset": len(found.repeated),
        "no longer held": len(account.released),
    }
    nulls = _nulls(partitions)
    target_rows = sum(partition.target_rows for partition in partitions.values())
    pending_target = len(found.only_target) - len(loose_target)
    return Comparison(
        commit=sides.snapshot.commit,
        full=options.full,
        source_rows=source_rows,
        target_rows=target_rows,
        equal=sum(partition.equal for partition in partitions.values()),
        explained=sum(partition.explained_rows for partition in partitions.values()) + pending,
        explained_by_kind=dict(by_kind) | ({"pending": pending} if pending else {}),
        only_in_source=len(found.only_source) + beside,
        accounted={kind: rows for kind, rows in accounted.items() if rows},
        unaccounted=len(loose_source) + len(found.repeated) + len(account.released),
        only_in_target=len(found.only_target),
        accounted_in_target={"pending": pending_target} if pending_target else {},
        different=len(cells.different),
        causes={cause: rows for cause, rows in causes.items() if rows},
        columns=dict(cells.columns),
        days=[
            {"day": str(day), "agency": agency, "source": source, "target": target}
            for (day, agency), (source, target) in sorted(found.days.items())[:_MOST_DAYS]
        ],
        days_different=len(found.days),
        differences=cells.differences,
        sample=_sample(account, sides, loose_source, loose_target, most=options.sample),
        partitions=_partitions(account, partitions),
        partitions_compared=len(partitions),
        partitions_read=read,
        per_column_nulls=nulls,
        metrics=_metrics(nulls, source_rows - undated - account.duplicates, target_rows),
        notes=list(notes),
    )


def _sample(
    account: _Account, sides: Sides, source: list[str], target: list[str], *, most: int
) -> list[dict[str, Any]]:
    """Return the first rows of one side only, with what is known of them."""
    found, why = account.found, account.why()
    first_source, first_target = sorted(source)[:most], sorted(target)[:most]
    batches = list(rows_at(sides, found.only_source, first_source))
    theirs = pa.Table.from_batches(batches, NORMAL_SCHEMA)
    ours = sides.news.rows_of(first_target) if first_target else NORMAL_SCHEMA.empty_table()
    rows = one_sided(theirs, found.only_source, SOURCE, why) + one_sided(ours, found.only_target, TARGET, why)
    rows += [
        {"unique_id": uid, "path": path, "only_in": SOURCE, "why": "repeated in the dataset"}
        for uid, path in sorted(found.repeated)[:most]
    ]
    return rows[:most]


def _partitions(account: _Account, partitions: Mapping[str, Partition]) -> dict[str, dict[str, int]]:
    """Return path -> counts, of the partitions with anything but equal rows."""
    found = account.found
    odd: dict[str, Counter[str]] = {}
    reasoned = account.cells.explained.keys() | account.pending
    for name, rows, left_out in (
        ("different", found.different, reasoned),
        ("only_in_source", found.only_source, set()),
        ("only_in_target", found.only_target, set()),
    ):
        for uid, path in rows.items():
            if uid not in left_out:
                odd.setdefault(path, Counter())[name] += 1
    for _, path in found.repeated:
        odd.setdefault(path, Counter())["only_in_source"] += 1
    names = ("source_rows", "target_rows", "equal", "explained_rows")
    return {path: {n: getattr(partitions[path], n) for n in names} | dict(odd[path]) for path in sorted(odd)}


def _nulls(partitions: Mapping[str, Partition]) -> dict[str, dict[str, int]]:
    return {
        name: {
            "source": sum(partition.source_nulls[place] for partition in partitions.values()),
            "target": sum(partition.target_nulls[place] for partition in partitions.values()),
        }
        for place, name in enumerate(COLUMN_NAMES)
    }


def _metrics(nulls: Mapping[str, Mapping[str, int]], source: int, target: int) -> list[dict[str, Any]]:
    """Return measures beside each other, in the form of `validate`; held rows do not count."""
    measures = [("rows", source, target)]
    measures += [(f"with {name}", source - nulls[name]["source"], target - nulls[name]["target"]) for name in _MEASURED]
    return [
        {
            "name": name,
            "source": ours,
            "source_share": round(ours / source, 6) if source else 1.0,
            "target": theirs,
            "target_share": round(theirs / target, 6) if target else 1.0,
            "expected": "the same",
            "ok": ours == theirs,
        }
        for name, ours, theirs in measures
    ]


def _parts(ids: list[str]) -> Iterable[list[str]]:
    return (ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE))
