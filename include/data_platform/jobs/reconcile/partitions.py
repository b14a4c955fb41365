"""One month in both stores: digests of every row, counts by day and agency, nulls; and what was found equal before.

A partition whose file in the dataset is the same, byte for byte, and whose rows PostgreSQL has not changed, is as equal
as it was. That is remembered beside the run ledger, outside PostgreSQL; only partitions that were equal, or differ for
reasons that stay, are remembered, so what is wrong is looked at until it is mended.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.errors import LedgerError
from data_platform.managers.hub.adoption import AdoptedState
from data_platform.managers.hub.layout import month_of_path, months_of, partition_path
from data_platform.managers.hub.reader import partition_batches
from data_platform.managers.hub.state import Snapshot, State
from data_platform.managers.ledger.write_once import WriteOnceObjects
from data_platform.managers.postgres.news_snapshot import NewsSnapshot
from data_platform.models.columns import COLUMN_NAMES
from data_platform.models.days import days_of
from data_platform.models.digest import row_digests

__all__ = ["Found", "Memory", "Partition", "Sides", "compare_partition"]

_LOG = logging.getLogger(__name__)
_FOLDER = "reconcile"
#: Another form of what is remembered, or of digests, makes all of it worthless.
_VERSION = 1
_BATCH_ROWS = 1_250


@dataclass(frozen=True)
class Sides:
    """Both stores as a comparison looks at them.

    Attributes:
        news: PostgreSQL.
        snapshot: the head of the dataset.
        state: its rows.
        folder: for one file at a time.
    """

    news: NewsSnapshot
    snapshot: Snapshot
    state: State
    folder: Path

    def blob(self, path: str) -> str:
        """Return what the file of a partition is known by; "" if there is no such file."""
        return self.snapshot.files[path].blob if path in self.snapshot.files else ""

    def batches(self, path: str) -> Iterator[pa.RecordBatch]:
        """Give the dataset's rows of a partition; none if there is no such partition."""
        if path not in self.state.partitions:
            return iter(())
        if isinstance(self.state, AdoptedState):
            return iter(self.state.rows(path).to_batches(max_chunksize=_BATCH_ROWS))
        return partition_batches(self.snapshot, path, self.folder)


@dataclass
class Partition:
    """What is known of a month in both stores; counts are rows.

    Attributes:
        blob: what its file was known by.
        print: what PostgreSQL's rows were known by.
        source_rows: rows of the dataset.
        target_rows: rows of PostgreSQL.
        equal: rows that are the same.
        explained: rows that differ for reasons that stay, by reason.
        explained_rows: how many these are.
        digest: MD5 in hex over the sorted digests of the dataset's rows.
        source_nulls: nulls of each column of the dataset.
        target_nulls: the same of PostgreSQL.
        days: days of an agency that were counted.
    """

    blob: str = ""
    print: str = ""
    source_rows: int = 0
    target_rows: int = 0
    equal: int = 0
    explained: dict[str, int] = field(default_factory=dict)
    explained_rows: int = 0
    digest: str = ""
    source_nulls: list[int] = field(default_factory=lambda: [0] * len(COLUMN_NAMES))
    target_nulls: list[int] = field(default_factory=lambda: [0] * len(COLUMN_NAMES))
    days: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether every row on either side is equal, or differs for a reason that stays."""
        return self.source_rows == self.target_rows == self.equal + self.explained_rows


@dataclass
class Found:
    """Rows that are not the same on both sides; unique_id -> path of the partition.

    Attributes:
        different: rows of both with other cells.
        only_source: rows of the dataset that are not in this month of PostgreSQL.
        only_target: the other way round.
        repeated: ids that stand more than once in the dataset, with path.
        misfiled: rows of the dataset that stand in another month's file than their own, with the path of their own.
        days: (day, agency) -> rows in the dataset and in PostgreSQL, where they differ.
    """

    different: dict[str, str] = field(default_factory=dict)
    only_source: dict[str, str] = field(default_factory=dict)
    only_target: dict[str, str] = field(default_factory=dict)
    repeated: list[tuple[str, str]] = field(default_factory=list)
    misfiled: dict[str, str] = field(default_factory=dict)
    days: dict[tuple[Any, str], tuple[int, int]] = field(default_factory=dict)

    def has(self, uid: str) -> bool:
        """Whether an id is among them, but for the repeated ones."""
        return uid in self.different or uid in self.only_source or uid in self.only_target


def compare_partition(sides: Sides, path: str, found: Found) -> Partition:
    """Compare a month; what is not the same is added to `found`.

    Raises:
        StoreError: the file is damaged or not in the published types.
        StoreUnavailableError: a side does not answer.
    """
    month = month_of_path(path) or ""
    theirs: dict[str, bytes] = {}
    days: Counter[tuple[Any, str]] = Counter()
    nulls: Counter[str] = Counter()
    digests: list[bytes] = []
    made = Partition(blob=sides.blob(path))
    for batch in sides.batches(path):
        made.source_rows += batch.num_rows
        for name in COLUMN_NAMES:
            nulls[name] += batch.column(name).null_count
        days.update(zip(days_of(batch.column("published_at")).to_pylist(), _texts(batch, "agency"), strict=True))
        of_rows = row_digests(batch)
        digests += of_rows
        found.misfiled |= _misfiled(batch, month)
        for uid, digest in zip(_texts(batch, "unique_id"), of_rows, strict=True):
            if uid in theirs:
                found.repeated.append((uid, path))
            else:
                theirs[uid] = digest
    for uid, digest in sides.news.month_digests(month):
        made.target_rows += 1
        other = theirs.pop(uid, None)
        if other == digest:
            made.equal += 1
        elif other is None:
            found.only_target[uid] = path
        else:
            found.different[uid] = path
    found.repeated += [(uid, path) for uid in theirs if uid in found.only_source]
    found.only_source |= {uid: path for uid in theirs if uid not in found.only_source}
    ours = sides.news.day_counts(month)
    for key in {*days, *ours}:
        if days.get(key, 0) != ours.get(key, 0):
            found.days[key] = (days.get(key, 0), ours.get(key, 0))
    target_nulls = sides.news.null_counts(month)
    made.days = len({*days, *ours})
    made.digest = hashlib.md5(b"".join(sorted(digests)), usedforsecurity=False).hexdigest()
    made.source_nulls = [nulls[name] for name in COLUMN_NAMES]
    made.target_nulls = [target_nulls[name] for name in COLUMN_NAMES]
    return made


class Memory:
    """Partitions that were found equal, in objects that are written once, beside the run ledger.

    Args:
        objects: below `STATE_URI`.
        dataset: the dataset that is compared.
        lineage: the server whose rows are compared.
    """

    def __init__(self, objects: WriteOnceObjects, *, dataset: str, lineage: str) -> None:
        self._objects = objects
        self._about = {"version": _VERSION, "dataset": dataset, "lineage": lineage}

    def recall(self) -> tuple[dict[str, Partition], str]:
        """Return what the newest comparison remembered, by path; and why that is nothing, "" if it is something."""
        names = self._objects.names(_FOLDER)
        if not names:
            return {}, ""
        try:
            values = self._objects.read(names[-1])
            if {name: values.get(name) for name in self._about} != self._about:
                return {}, "what was found equal before was of another dataset or database: everything is read"
            return {path: Partition(**facts) for path, facts in values["partitions"].items()}, ""
        except (LedgerError, KeyError, TypeError, AttributeError) as error:
            # What is remembered saves work and proves nothing that reading all does not.
            _LOG.warning("%s cannot be used", names[-1], exc_info=True)
            return {}, f"what was found equal before cannot be read, so everything is: {error}"

    def keep(self, partitions: Mapping[str, Partition], *, at: datetime, entry_id: str) -> str:
        """Remember the settled ones of these; return the object that has them.

        Raises:
            ConfigurationError: `STATE_URI` cannot be written to.
            TransientError: it did not answer.
        """
        settled = {path: asdict(found) for path, found in partitions.items() if found.blob and found.is_settled}
        name = f"{_FOLDER}/{at:%Y-%m-%d}/{at:%Y%m%dT%H%M%S.%fZ}-{entry_id}.json"
        self._objects.create(name, {**self._about, "partitions": settled})
        return name


def _misfiled(batch: pa.RecordBatch, month: str) -> dict[str, str]:
    """Return unique_id -> path of its own month, of rows in the file of another one."""
    months = months_of(batch.column("published_at"))
    elsewhere = pc.fill_null(pc.not_equal(months, month), False)
    ids = pa.array(_texts(batch, "unique_id")).filter(elsewhere).to_pylist()
    return dict(zip(ids, map(partition_path, months.filter(elsewhere).to_pylist()), strict=True))


def _texts(batch: pa.RecordBatch, name: str) -> list[str]:
    """Return the texts of a column; a null, which no file of ours has, is ""."""
    return list(pc.fill_null(batch.column(name), "").to_pylist())
