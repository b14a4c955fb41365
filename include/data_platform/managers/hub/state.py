"""The published dataset at one commit, as a writer needs it: which rows it has, and the rows of one partition."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.errors import StoreError
from data_platform.managers.hub.key_cache import KeyCache, read_keys
from data_platform.managers.hub.layout import UNDATED, Layout, layout_of, read_partition
from data_platform.managers.hub.remote_parquet import RemoteReader
from data_platform.managers.hub.repository import HubRepository, RemoteFile
from data_platform.managers.write_rules import Found
from data_platform.models.urls import canonical_urls

__all__ = ["Matches", "MonthlyState", "Snapshot", "State", "find_among"]


@dataclass(frozen=True)
class Matches:
    """What a dataset has of a batch's articles.

    Attributes:
        found: ids and articles, as the rules of writing want them; held rows are not among them.
        places: unique_id -> path of the partition, of every id in `found`.
        held: those of the batch's ids that stand among the undated rows.
    """

    found: Found
    places: Mapping[str, str] = field(default_factory=dict)
    held: frozenset[str] = frozenset()


class State(Protocol):
    """The rows of a dataset at one commit."""

    @property
    def partitions(self) -> Sequence[str]:
        """Paths of the partitions that there are."""

    @property
    def adopting(self) -> bool:
        """Whether every partition is new, for the layout is."""

    def partition_keys(self, only: Collection[str] | None = None) -> Iterator[tuple[str, pa.Table]]:
        """Give path and keys (`KEY_SCHEMA`) of each partition, or of some of them, in no promised order."""

    def match(self, rows: pa.RecordBatch) -> Matches:
        """Find the articles of a batch (at least unique_id; agency and url if they were given)."""

    def rows(self, path: str) -> pa.Table:
        """Return the rows of a partition, in the types of `NORMAL_SCHEMA`; none if it is not there."""


@dataclass(frozen=True)
class Snapshot:
    """A commit of a dataset: its id, its files, and how they are read."""

    commit: str
    files: Mapping[str, RemoteFile]
    reader: RemoteReader

    @classmethod
    def of(cls, repository: HubRepository, commit: str = "") -> Snapshot:
        """Look at a commit, by default at the head.

        Raises:
            StoreError: no such dataset, no access, or its data files are not where they belong.
            StoreUnavailableError: the Hub did not answer as it should.
        """
        sha = commit or repository.head()
        files = repository.files(sha)
        if not layout_of(files).partitions and not layout_of(files).legacy:
            aside = [path for path in files if "/" not in path and path.endswith(".parquet")]
            if aside:
                raise StoreError(
                    f"{repository}: {', '.join(aside[:3])} is not below data/", hint="move it to data/train-…"
                )
        return cls(sha, files, RemoteReader(repository, sha))

    @property
    def layout(self) -> Layout:
        """Its data files."""
        return layout_of(self.files)


class MonthlyState:
    """A dataset in the monthly layout. Partitions are fetched whole when their rows are asked for.

    Args:
        snapshot: the commit.
        cache: where keys are kept.
        scratch: folder for the partitions, whose owner deletes it.
    """

    def __init__(self, snapshot: Snapshot, cache: KeyCache, scratch: Path) -> None:
        self._snapshot = snapshot
        self._cache = cache
        self._scratch = scratch

    @property
    def partitions(self) -> Sequence[str]:
        """Paths of the partitions that there are."""
        return self._snapshot.layout.partitions

    @property
    def adopting(self) -> bool:
        """Whether every partition is new: no."""
        return False

    def partition_keys(self, only: Collection[str] | None = None) -> Iterator[tuple[str, pa.Table]]:
        """Give the keys of partitions; see `State`."""
        files = [self._snapshot.files[path] for path in self.partitions if only is None or path in only]
        return read_keys(self._snapshot.reader, files, self._cache)

    def match(self, rows: pa.RecordBatch) -> Matches:
        """Find the articles of a batch; see `State`."""
        return find_among(rows, self.partition_keys())

    def rows(self, path: str) -> pa.Table:
        """Return the rows of a partition; see `State`."""
        file = self._snapshot.files[path]
        local = self._scratch / file.blob
        if not local.exists():
            self._snapshot.reader.download(file, local)
        return read_partition(local, f"{self._snapshot.reader.repository}: {path}")


def find_among(rows: pa.RecordBatch, keys: Iterable[tuple[str, pa.Table]]) -> Matches:
    """Find the articles of a batch among the keys of partitions.

    Args:
        rows: at least unique_id; agency and url if they were given.
        keys: path and keys (`KEY_SCHEMA`) of each partition.

    Raises:
        StoreError: two partitions have one of the ids.
    """
    ids = rows.column("unique_id").unique()
    has_url = {"agency", "url"} <= set(rows.schema.names)
    urls = canonical_urls(rows.column("url")).unique().drop_null() if has_url else pa.array([], pa.string())
    agencies = rows.column("agency").to_pylist() if has_url else []
    wanted = set(zip(agencies, canonical_urls(rows.column("url")).to_pylist() if has_url else [], strict=True))
    places: dict[str, str] = {}
    held: set[str] = set()
    members: dict[tuple[str, str], list[tuple[bool, object, str, str]]] = {}
    for path, table in keys:
        by_id = pc.is_in(table.column("unique_id"), value_set=ids)
        by_url = pc.is_in(table.column("url"), value_set=urls)
        given = set(pc.filter(table.column("unique_id"), by_id).to_pylist())
        if path == UNDATED:
            held |= given
            continue
        for uid in given:
            if uid in places:
                raise StoreError(f"{uid} stands in {places[uid]} and in {path}", hint="take one of the two rows out")
            places[uid] = path
        for row in table.filter(by_url).to_pylist():
            if (article := (row["agency"], row["url"])) in wanted:
                at = row["extracted_at"]
                members.setdefault(article, []).append((at is None, at or 0, row["unique_id"], path))
    primaries = {article: min(its, key=_first) for article, its in members.items()}
    found = Found(frozenset(places), {article: uid for article, (_, _, uid, _) in primaries.items()})
    return Matches(found, places | {uid: path for _, _, uid, path in primaries.values()}, frozenset(held))


def _first(member: tuple[bool, object, str, str]) -> tuple[bool, object, bytes]:
    """The earliest extracted_at, those without one last; then the smallest id, by its bytes."""
    return member[0], member[1], member[2].encode()
