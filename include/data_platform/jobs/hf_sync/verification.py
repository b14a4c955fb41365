"""Verification of the whole published dataset against PostgreSQL, row by row, a month at a time.

Every published file is fetched and every row of it digested, as whoever loads the dataset gets it; the other side is
digested by PostgreSQL. What changed since the last sync is no difference but pending. The reduced dataset is compared
cell by cell with the main one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_platform.errors import StoreError
from data_platform.jobs.hf_sync.held import released_since, still_held
from data_platform.jobs.progress import Progress
from data_platform.managers.hub.layout import (
    REDUCED_SCHEMA,
    UNDATED,
    check_schema,
    data_files,
    month_of_path,
    partition_path,
    stray_files,
)
from data_platform.managers.hub.reduced import DERIVED_FROM
from data_platform.managers.hub.state import Snapshot, State
from data_platform.managers.postgres.news_snapshot import NewsSnapshot
from data_platform.models.columns import NORMAL_SCHEMA
from data_platform.models.digest import row_digests
from data_platform.models.publication import normal_rows

__all__ = ["Look", "Verification", "verify"]

_BATCH_ROWS = 1_250
#: Differences that are told cell by cell; the others are counted.
_MOST_TOLD = 20
_LONGEST_CELL = 80
_KINDS = ("different", "only_published", "only_in_postgres")


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What a verification found; counts are rows.

    Attributes:
        commit: the head of the main dataset that was read.
        reduced_commit: that of the reduced one; "" if there is none.
        files: data files read.
        published: rows of them.
        in_postgres: rows of news.
        equal: rows with the same cells on both sides, in the file where they belong.
        held: published rows that PostgreSQL does not hold, and need not.
        pending: rows that differ because they changed, or lost their reason to be held, since the last sync.
        different: rows with other cells. Must be 0.
        only_published: rows that should not be there, or not in that file. Must be 0.
        only_in_postgres: rows that should be there. Must be 0.
        by_file: path -> how many of its rows differ in one of these ways.
        differences: the first of them: unique_id, path, what, and for other cells column, published, postgres.
        reduced_problems: how the reduced dataset differs from the main one, or from the commit of it that it was made
            from. Must be none.
        reduced_waits: that the reduced dataset has yet to follow the head of the main one; "" if it has.
        seconds: how long it took.
        peak_rss_mb: largest resident memory of this process so far.
    """

    commit: str
    reduced_commit: str = ""
    files: int = 0
    published: int = 0
    in_postgres: int = 0
    equal: int = 0
    held: int = 0
    pending: int = 0
    different: int = 0
    only_published: int = 0
    only_in_postgres: int = 0
    by_file: Mapping[str, int] = field(default_factory=dict)
    differences: Sequence[Mapping[str, Any]] = ()
    reduced_problems: Sequence[str] = ()
    reduced_waits: str = ""
    seconds: float = 0.0
    peak_rss_mb: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether everything that is published is as it should be."""
        return not (self.different or self.only_published or self.only_in_postgres or self.reduced_problems)

    @property
    def counts(self) -> dict[str, int]:
        """The numbers."""
        names = ("files", "published", "in_postgres", "equal", "held", "pending")
        return {n: getattr(self, n) for n in (*names, "different", "only_published", "only_in_postgres")}

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        return asdict(self) | {"passed": self.passed}

    def lines(self) -> list[str]:
        """Return this for a terminal."""
        verdict = "equal" if self.passed else "DIFFERENT"
        sides = f"{self.published:,} rows in {self.files} files, {self.in_postgres:,} in PostgreSQL"
        found = f"{self.equal:,} equal, {self.held:,} held, {self.pending:,} changed since the last sync"
        lines = [f"verification of {self.commit}: {verdict}", f"  {sides}: {found}"]
        if self.different or self.only_published or self.only_in_postgres:
            lines.append(
                f"  {self.different:,} with other cells, {self.only_published:,} that should not be there, "
                f"{self.only_in_postgres:,} missing, in {', '.join(self.by_file)}"
            )
        lines += [f"  {_told(difference)}" for difference in self.differences]
        lines += [f"  reduced: {problem}" for problem in self.reduced_problems]
        lines += [f"  reduced: waits for the next sync: {self.reduced_waits}"] if self.reduced_waits else []
        return lines


@dataclass
class _Found:
    """Counts in the making."""

    published: int = 0
    equal: int = 0
    held: int = 0
    #: path, unique_id, what
    odd: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Look:
    """Both sides as a verification looks at them.

    Attributes:
        news: PostgreSQL.
        main: the main dataset, in the monthly layout.
        reduced: the reduced one, if there is one.
        state: the main one's rows.
        folder: for one file at a time.
    """

    news: NewsSnapshot
    main: Snapshot
    reduced: Snapshot | None
    state: State
    folder: Path


def verify(look: Look, *, position: int, progress: Progress) -> Verification:
    """Compare what is published with PostgreSQL.

    Args:
        look: both sides.
        position: transactions from this id on are yet to be published.
        progress: told how many rows are read.

    Raises:
        StoreError: a file is damaged or not in the published types.
        StoreUnavailableError, BusyError: a side does not answer.
    """
    news, main, reduced = look.news, look.main, look.reduced
    counts = news.months()
    progress.stage("verify", sum(counts.values()))
    found = _Found()
    paths = sorted({*data_files(main.files), *map(partition_path, counts)} - {UNDATED})
    for path in paths:
        rows = _published(main, path, look.folder) if path in main.files else iter(())
        _compare(news, path, rows, found, progress)
    waiting = 0
    if UNDATED in main.files:
        held, before = still_held(news, look.state)
        waiting = released_since(news, look.state, position)
        found.published += before
        found.held = held.num_rows
        found.odd += [(UNDATED, "", "only_published")] * (before - held.num_rows - waiting)
    found.odd += [(path, "", "only_published") for path in stray_files(main.files)]
    pending = news.pending([uid for _, uid, _ in found.odd], position)
    odd = [entry for entry in found.odd if entry[1] not in pending]
    derived_from, waits = _followed(main, reduced) if reduced else (main, "")
    kinds = {what: sum(1 for entry in odd if entry[2] == what) for what in _KINDS}
    return Verification(
        commit=main.commit,
        reduced_commit=reduced.commit if reduced else "",
        files=len(data_files(main.files)),
        published=found.published,
        in_postgres=sum(counts.values()),
        equal=found.equal,
        held=found.held,
        pending=len(pending) + waiting,
        **kinds,
        by_file={path: sum(1 for entry in odd if entry[0] == path) for path in sorted({entry[0] for entry in odd})},
        differences=list(_explained(news, look.state, odd[:_MOST_TOLD])),
        reduced_problems=list(_reduced_problems(derived_from, reduced)) if reduced and derived_from else (),
        reduced_waits=waits,
    )


def _compare(
    news: NewsSnapshot, path: str, published: Iterator[pa.RecordBatch], found: _Found, progress: Progress
) -> None:
    """Compare the rows of one month's file with that month in PostgreSQL."""
    month = month_of_path(path)
    there: dict[str, bytes] = {}
    for batch in published:
        progress.advance(batch.num_rows)
        found.published += batch.num_rows
        for uid, digest in zip(batch.column("unique_id").to_pylist(), row_digests(batch), strict=True):
            if uid in there:
                found.odd.append((path, uid, "only_published"))  # once too often
            there[uid] = digest
    for uid, digest in news.month_digests(month) if month else ():
        mine = there.pop(uid, None)
        if mine == digest:
            found.equal += 1
        else:
            found.odd.append((path, uid, "only_in_postgres" if mine is None else "different"))
    found.odd += [(path, uid, "only_published") for uid in there]


def _published(snapshot: Snapshot, path: str, folder: Path) -> Iterator[pa.RecordBatch]:
    local = snapshot.reader.download(snapshot.files[path], folder / "verified.parquet")
    name = f"{snapshot.reader.repository}: {path}"
    try:
        with pq.ParquetFile(local, memory_map=False, page_checksum_verification=True) as file:
            check_schema(file.schema_arrow, name)
            for part in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
                yield normal_rows(part.replace_schema_metadata(None))
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{name} cannot be read: {error}", hint="go back to the commit before it") from error
    finally:
        local.unlink()
        pa.default_memory_pool().release_unused()


def _explained(news: NewsSnapshot, state: State, odd: Sequence[tuple[str, str, str]]) -> Iterator[dict[str, Any]]:
    """Say of each row what is wrong, of other cells which and how."""
    for path, uid, what in odd:
        if what != "different":
            yield {"unique_id": uid, "path": path, "what": what}
            continue
        table = state.rows(path)
        theirs = table.filter(pc.equal(table.column("unique_id"), uid)).to_pylist()
        ours = news.rows_of([uid]).to_pylist()
        for column in NORMAL_SCHEMA.names:
            values = [side[0][column] if side else None for side in (theirs, ours)]
            if values[0] != values[1]:
                told = dict(zip(("published", "postgres"), map(_short, values), strict=True))
                yield {"unique_id": uid, "path": path, "what": what, "column": column, **told}


def _followed(main: Snapshot, reduced: Snapshot) -> tuple[Snapshot | None, str]:
    """Return the commit of the main dataset that the reduced one is to be compared with, and what that waits for.

    A sync that was broken off between the two has left the reduced one as it was: right, for an older commit. None: it
    has not followed any commit in months yet.
    """
    note = reduced.files.get(DERIVED_FROM)
    try:
        commit = str(json.loads(reduced.reader.content(note))["commit"]) if note else ""
    except (ValueError, KeyError, TypeError):  # somebody else's; the files tell
        return main, ""
    if commit == main.commit:
        return main, ""
    if not commit:
        return (main, "") if reduced.layout.partitions else (None, "it has not followed the main dataset yet")
    try:
        before = Snapshot.of(main.reader.repository, commit)
    except StoreError:  # its history was squashed since
        return main, ""
    return before, f"it is made from {commit}, and {main.commit} came since"


def _reduced_problems(main: Snapshot, reduced: Snapshot) -> Iterator[str]:
    names = REDUCED_SCHEMA.names
    ours, theirs = set(data_files(main.files)), set(data_files(reduced.files))
    yield from (f"{path} is there only once" for path in sorted(ours ^ theirs))
    both = sorted(ours & theirs)
    sides = (side.reader.columns([side.files[path] for path in both], names) for side in (main, reduced))
    for path, (_, here), (_, there) in zip(both, *sides, strict=True):
        if not here.decode().select(names).equals(there.decode().select(names)):
            yield f"{path} has other rows than the main dataset"


def _told(difference: Mapping[str, Any]) -> str:
    head = f"{difference['unique_id'] or '(no id)'} in {difference['path']}"
    if difference["what"] == "different":
        told = f"published {difference['published']}, PostgreSQL {difference['postgres']}"
        return f"{head}: {difference['column']}: {told}"
    return f"{head}: {'should not be there' if difference['what'] == 'only_published' else 'is missing'}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]}…"
