"""A store of news in memory, with the real rules of writing, that fails when and how a test wants it to.

With a path it is kept in a file, so that a process that is killed leaves behind what it had written.
"""

from __future__ import annotations

import os
import pickle
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from data_platform.managers.interface import WriteOutcome
from data_platform.managers.write_rules import (
    Found,
    complete,
    ids_to_delete,
    left_alone,
    merge_scraped,
    merge_updated,
    plan_insert,
    same_cells,
)
from data_platform.models.columns import COLUMN_NAMES, NORMAL_SCHEMA
from data_platform.models.days import day_of
from data_platform.models.publication import published_frame
from data_platform.models.theme_cells import ThemeIndex
from data_platform.models.urls import canonical_urls
from data_platform.sources.given import batch_of_columns, batch_of_frame
from data_platform.sources.judged import ReadBatch, Reject, judge

__all__ = ["MemoryStore"]

Row = dict[str, Any]
#: What a test does at a point of a write: raise, kill the process, look around.
Fault = Callable[[], None]


@dataclass
class MemoryStore:
    """A store; every write is done whole or not at all.

    Attributes:
        name: for messages.
        path: the file that holds the rows; None for memory alone.
        always: called at every call, reads included.
        before, during, after: called before a write looks at anything, before its rows are kept, after that.
        calls: names of the calls made.
        rejects: rows that could not be stored.
    """

    name: str
    path: Path | None = None
    always: Fault | None = None
    before: Fault | None = None
    during: Fault | None = None
    after: Fault | None = None
    calls: list[str] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    closed: bool = False
    _rows: dict[str, Row] = field(default_factory=dict)

    themes = ThemeIndex.of([(1, "01", "Economia"), (2, "01.01", "Juros"), (3, "02", "Educação")])

    # ------------------------------------------------------------------------------------ what a test sees

    @property
    def rows(self) -> dict[str, Row]:
        """The rows by id."""
        if self.path is not None:
            return pickle.loads(self.path.read_bytes()) if self.path.exists() else {}  # noqa: S301 - our own
        return self._rows

    def put(self, *rows: Row) -> None:
        """Put whole rows there, as somebody else would have."""
        self._keep(self.rows | {row["unique_id"]: dict.fromkeys(COLUMN_NAMES) | row for row in rows})

    def forget(self, *unique_ids: str) -> None:
        """Take rows away, as somebody else would have."""
        self._keep({uid: row for uid, row in self.rows.items() if uid not in unique_ids})

    # -------------------------------------------------------------------------------------- the interface

    def insert(self, new_data: Mapping[str, Sequence[Any]], allow_update: bool = False) -> int:
        return self.insert_rows(new_data, allow_update=allow_update).affected

    def update(self, updated_df: pd.DataFrame) -> int:
        return self.update_rows(updated_df).affected

    def get(self, min_date: str, max_date: str, agency: str | None = None) -> pd.DataFrame:
        self._call("get")
        first, last = date.fromisoformat(min_date), date.fromisoformat(max_date)
        rows = [
            row
            for row in self.rows.values()
            if first <= day_of(row["published_at"]) <= last and agency in (None, row["agency"])
        ]
        return published_frame(pa.Table.from_pylist(rows, NORMAL_SCHEMA))

    def get_by_unique_ids(self, unique_ids: Sequence[str]) -> pa.Table:
        self._call("get_by_unique_ids")
        return pa.Table.from_pylist([self.rows[uid] for uid in unique_ids if uid in self.rows], NORMAL_SCHEMA)

    def resolve_ids(self, new_data: Mapping[str, Sequence[Any]]) -> dict[str, str]:
        self._call("resolve_ids")
        read = judge("insert", batch_of_columns(new_data), self.themes)
        rows = read.cleaned.batch.filter(read.admitted)
        return dict(plan_insert(rows, self._find(rows), allow_update=False).ids)

    def insert_rows(self, new_data: Mapping[str, Sequence[Any]], *, allow_update: bool = False) -> WriteOutcome:
        self._call("insert_rows")
        self._pass(self.before)
        given = batch_of_columns(new_data)
        if not given.batch.num_rows:
            return WriteOutcome()
        read = judge("insert", given, self.themes)
        rows = read.cleaned.batch.filter(read.admitted)
        plan = plan_insert(rows, self._find(rows), allow_update=allow_update)
        leave = {name: mask.filter(read.admitted) for name, mask in left_alone(read.cleaned).items()}
        table = self.rows
        ids = rows.column("unique_id").to_pylist()
        whole = complete(rows).to_pylist()
        made = {ids[first]: whole[first] for first, _ in plan.new}
        for first, wins in plan.new:
            if first != wins:
                made |= self._scraped({ids[first]: wins}, made, rows, leave)
        changed: dict[str, Row] = {}
        if allow_update and plan.known:
            after = self._scraped(dict(plan.known), table, rows, leave)
            changed = {uid: row for uid, row in after.items() if row != table[uid]}
        return self._done(
            read,
            table | made | changed,
            WriteOutcome(
                given=given.batch.num_rows,
                inserted=len(made),
                updated=len(changed),
                unchanged=len(plan.known) - len(changed),
                duplicates=plan.duplicates,
                ids=plan.ids,
                written=[*made, *changed],
            ),
        )

    def update_rows(self, updated_df: pd.DataFrame) -> WriteOutcome:
        self._call("update_rows")
        self._pass(self.before)
        given = batch_of_frame(updated_df)
        if not given.batch.num_rows:
            return WriteOutcome()
        table = self.rows
        read = judge("update", given, None).refuse_unreadable()
        ids = read.cleaned.batch.column("unique_id")
        read = read.refuse(
            pc.invert(pc.is_in(ids, value_set=pa.array(list(table), pa.string()))), "unique_id", "unknown"
        )
        rows = read.cleaned.batch.filter(read.admitted)
        last = {uid: at for at, uid in enumerate(rows.column("unique_id").to_pylist())}
        new = rows.take(pa.array(list(last.values()), pa.int64()))
        old = self._batch([table[uid] for uid in last])
        merged = merge_updated(old, new, self.themes)
        same = same_cells(old, merged).to_pylist()
        changed = {uid: row for uid, row, alike in zip(last, merged.to_pylist(), same, strict=True) if not alike}
        return self._done(
            read,
            table | changed,
            WriteOutcome(
                given=given.batch.num_rows,
                updated=len(changed),
                unchanged=len(last) - len(changed),
                duplicates=rows.num_rows - len(last),
                written=list(changed),
            ),
        )

    def delete_rows(self, unique_ids: Sequence[str], *, reason: str) -> WriteOutcome:
        self._call("delete_rows")
        self._pass(self.before)
        ids = ids_to_delete(unique_ids, reason)
        gone = [uid for uid in ids if uid in self.rows]
        self.forget(*gone)
        self._pass(self.after)
        left = len(ids) - len(gone)
        return WriteOutcome(given=len(ids), deleted=len(gone), unchanged=left, written=gone).checked(self.name)

    def close(self) -> None:
        self.closed = True

    # ------------------------------------------------------------------------------------------- helpers

    @staticmethod
    def _batch(rows: Sequence[Row]) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist(list(rows), schema=NORMAL_SCHEMA)

    def _find(self, rows: pa.RecordBatch) -> Found:
        table = self.rows
        urls = canonical_urls(pa.array([row["url"] for row in table.values()], pa.string())).to_pylist()
        articles: dict[tuple[str, str], str] = {}
        for (uid, row), url in zip(table.items(), urls, strict=True):
            if url is not None:
                articles.setdefault((row["agency"], url), uid)
        return Found(frozenset(uid for uid in rows.column("unique_id").to_pylist() if uid in table), articles)

    def _scraped(
        self, which: Mapping[str, int], table: Mapping[str, Row], rows: pa.RecordBatch, leave: Mapping[str, pa.Array]
    ) -> dict[str, Row]:
        """Return rows of a table after a scraper wrote them anew: id -> row of the batch that it follows."""
        at = pa.array(list(which.values()), pa.int64())
        left = {name: mask.take(at) for name, mask in leave.items()}
        merged = merge_scraped(self._batch([table[uid] for uid in which]), rows.take(at), left)
        return dict(zip(which, merged.to_pylist(), strict=True))

    def _done(self, read: ReadBatch, table: dict[str, Row], outcome: WriteOutcome) -> WriteOutcome:
        self._pass(self.during)
        rejects = read.rejects()
        self._keep(table)
        self.rejects += rejects
        self._pass(self.after)
        reasons = Counter(reject.reason for reject in rejects)
        facts = {f: getattr(outcome, f) for f in outcome.__dataclass_fields__}
        return WriteOutcome(**facts | {"rejected": len(rejects), "rejected_by_reason": reasons}).checked(self.name)

    def _keep(self, table: dict[str, Row]) -> None:
        if self.path is None:
            self._rows = table
            return
        temporary = self.path.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(pickle.dumps(table))
        temporary.replace(self.path)

    def _call(self, name: str) -> None:
        self.calls.append(name)
        self._pass(self.always)

    @staticmethod
    def _pass(fault: Fault | None) -> None:
        if fault is not None:
            fault()
