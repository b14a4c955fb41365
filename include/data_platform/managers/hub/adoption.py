"""Reading a dataset in the legacy layout into months, in bounded memory.

Files are fetched one at a time, read as the migration reads them (any physical types, the same cleaning), and their
rows are spilled to one temporary file, in pieces by partition. Of several rows with one unique_id the latest
`extracted_at` wins, then the later place, as in a migration. Rows that admission refuses go to the undated partition
as they were read. Nothing is written to the Hub here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_platform.managers.hub.key_cache import KEY_SCHEMA, keys_of
from data_platform.managers.hub.layout import UNDATED, data_files, months_of, partition_path
from data_platform.managers.hub.state import Matches, Snapshot, find_among
from data_platform.models.columns import NORMAL_SCHEMA
from data_platform.models.theme_cells import ThemeIndex
from data_platform.settings import Settings
from data_platform.sources.dataset import open_source
from data_platform.sources.judged import ReadBatch, Reject, judge

__all__ = ["AdoptedState", "AdoptionPlan"]

_BATCH_ROWS = 1024
#: Rows wait for so many bytes before they are told apart, so that the pieces of a month are not tiny.
_WAITING_BYTES = 8 << 20
_WAITING_KEYS_BYTES = 3 << 20
#: Microseconds on either side of 1970 that nanoseconds in 64 bits can say.
_NANOSECONDS_REACH = 9_223_372_036_854_775
_PLACE = pa.field("place", pa.int64())
_SPILL_SCHEMA: pa.Schema = NORMAL_SCHEMA.append(_PLACE)
_KEYS_SCHEMA: pa.Schema = KEY_SCHEMA.append(_PLACE)


@dataclass(frozen=True, kw_only=True)
class AdoptionPlan:
    """What adopting the legacy layout would do.

    Attributes:
        commit: the commit that was looked at.
        files: data files that would go.
        partitions: path -> rows, of the files that would come.
        read: rows of all files; read = sum of partitions + duplicates.
        duplicates: rows that another one with the same unique_id stands for.
        held: rows that stay published in the undated partition.
        held_by_reason: how many for each reason, such as "title_missing".
        cleanings: cells that would change, "kind:column" -> how many.
        notes: what was out of the ordinary in the files and was coped with.
    """

    commit: str
    files: Sequence[str]
    partitions: dict[str, int]
    read: int
    duplicates: int
    held: int
    held_by_reason: dict[str, int] = field(default_factory=dict)
    cleanings: dict[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        """Return the account for a commit's message: there it outlives every log."""
        published = sum(self.partitions.values())
        return (
            f"from {len(self.files)} files of {self.read} rows: {published} published ({self.held} of them undated), "
            f"{self.duplicates} left out for another row with their unique_id; "
            f"cells cleaned: {self.cleanings or 'none'}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        return asdict(self) | {"files": list(self.files), "notes": list(self.notes)}


class AdoptedState:
    """A dataset in any layout, as if it were in the monthly one. See `dataset_state.State`.

    Args:
        snapshot: the commit.
        themes: the known themes.
        scratch: folder for the spill, whose owner deletes it.
        on_rejects: told the rows that admission refuses, some at a time.

    Raises:
        StoreError: a file is not there, or was changed on its way.
        SourceError: a file cannot be read; says what is wrong with it.
        StoreUnavailableError: the Hub did not answer as it should.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        themes: ThemeIndex,
        scratch: Path,
        *,
        on_rejects: Callable[[Sequence[Reject]], object] | None = None,
    ) -> None:
        self._scratch = scratch
        self._on_rejects = on_rejects
        self._pieces: dict[str, list[int]] = {}
        self._key_pieces: dict[str, list[int]] = {}
        self._held: Counter[str] = Counter()
        self._cleanings: Counter[str] = Counter()
        self._notes: list[str] = []
        self._read = 0
        files = data_files(snapshot.files)
        self._spill_all(snapshot, files, themes)
        self._lost = self._find_duplicates()
        pa.default_memory_pool().release_unused()
        counts = {path: self._count(path) for path in sorted(self._pieces)}
        self.plan = AdoptionPlan(
            commit=snapshot.commit,
            files=files,
            partitions={path: rows for path, rows in counts.items() if rows},
            read=self._read,
            duplicates=len(self._lost),
            held=counts.get(UNDATED, 0),
            held_by_reason=dict(sorted(self._held.items())),
            cleanings=dict(sorted(self._cleanings.items())),
            notes=self._notes,
        )

    @property
    def partitions(self) -> Sequence[str]:
        """Paths of the partitions that the rows make."""
        return list(self.plan.partitions)

    @property
    def adopting(self) -> bool:
        """Whether every partition is new: yes."""
        return True

    def partition_keys(self, only: Collection[str] | None = None) -> Iterator[tuple[str, pa.Table]]:
        """Give the keys of partitions; see `State`."""
        return ((path, self._keys(path)) for path in self.partitions if only is None or path in only)

    def match(self, rows: pa.RecordBatch) -> Matches:
        """Find the articles of a batch; see `State`."""
        return find_among(rows, self.partition_keys())

    def rows(self, path: str) -> pa.Table:
        """Return the rows of a partition; see `State`."""
        with pa.OSFile(str(self._scratch / "rows.arrow")) as file:
            reader = pa.ipc.open_file(file)
            pieces = [reader.get_batch(number) for number in self._pieces[path]]
        return self._without_lost(pa.Table.from_batches(pieces, _SPILL_SCHEMA))

    # ------------------------------------------------------------------------------------- spilling

    def _spill_all(self, snapshot: Snapshot, files: Sequence[str], themes: ThemeIndex) -> None:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with (
            pa.OSFile(str(self._scratch / "rows.arrow"), "wb") as rows_file,
            pa.OSFile(str(self._scratch / "keys.arrow"), "wb") as keys_file,
            pa.ipc.new_file(rows_file, _SPILL_SCHEMA, options=options) as rows_writer,
            pa.ipc.new_file(keys_file, _KEYS_SCHEMA, options=options) as keys_writer,
        ):
            spill = _Spill(rows_writer, self._pieces, _WAITING_BYTES)
            keys = _Spill(keys_writer, self._key_pieces, _WAITING_KEYS_BYTES)
            for path in files:
                local = self._scratch / Path(path).name
                snapshot.reader.download(snapshot.files[path], local)
                for read in self._judged(local, path, themes):
                    self._take(read, spill, keys)
                local.unlink()
            spill.flush()
            keys.flush()

    def _judged(self, local: Path, path: str, themes: ThemeIndex) -> Iterator[ReadBatch]:
        source = open_source(str(local), settings=Settings())
        self._notes += [note.replace(local.name, path) for note in source.snapshot.notes]
        (file,) = source.snapshot.files
        for group in range(len(file.row_groups)):
            for batch in source.batches(file.path, row_group=group, batch_rows=_BATCH_ROWS):
                yield judge(path, batch, themes)

    def _take(self, read: ReadBatch, spill: _Spill, keys: _Spill) -> None:
        places = pa.array(np.arange(self._read, self._read + read.raw.num_rows, dtype=np.int64))
        self._read += read.raw.num_rows
        self._cleanings.update(read.cleaned.counts(read.admitted))
        rejects = read.rejects()
        self._held.update(reject.reason for reject in rejects)
        if rejects and self._on_rejects:
            self._on_rejects(rejects)
        rows = read.cleaned.batch.filter(read.admitted)
        paths = _paths_of(rows)
        admitted = places.filter(read.admitted)
        spill.add(_placed(rows, admitted, _SPILL_SCHEMA), paths)
        keys.add(_placed(keys_of(rows), admitted, _KEYS_SCHEMA), paths)
        refused = pc.invert(read.admitted)
        if pc.any(refused).as_py():
            held = read.raw.filter(refused)
            undated = pa.array([UNDATED] * held.num_rows, pa.string())
            spill.add(_placed(_publishable(held), places.filter(refused), _SPILL_SCHEMA), undated)
            keys.add(_placed(keys_of(held), places.filter(refused), _KEYS_SCHEMA), undated)

    # ----------------------------------------------------------------------------------- duplicates

    def _find_duplicates(self) -> np.ndarray:
        """Return the places of rows that another row with the same unique_id stands for, sorted."""
        dated = [path for path in self._key_pieces if path != UNDATED]
        if not dated:
            return np.empty(0, np.int64)
        columns = ["unique_id", "extracted_at", "place"]
        whole = pa.concat_tables([self._keys(path, placed=True).select(columns) for path in dated])
        counts = whole.column("unique_id").value_counts()
        shared = pc.filter(counts.field("values"), pc.greater(counts.field("counts"), 1))
        rows = whole.filter(pc.is_in(whole.column("unique_id"), value_set=shared))
        by = [("unique_id", "ascending"), ("extracted_at", "descending"), ("place", "descending")]
        ordered = rows.sort_by(by)  # those without extracted_at come last
        ids, places = ordered.column("unique_id").to_pylist(), ordered.column("place").to_numpy()
        lost = [place for i, place in enumerate(places) if i and ids[i] == ids[i - 1]]
        return np.sort(np.array(lost, dtype=np.int64))

    def _without_lost(self, table: pa.Table) -> pa.Table:
        kept = ~np.isin(table.column("place").to_numpy(), self._lost)
        rows = table if kept.all() else table.filter(pa.array(kept))  # filtering would be a copy
        return rows.drop_columns(["place"])

    def _keys(self, path: str, *, placed: bool = False) -> pa.Table:
        with pa.OSFile(str(self._scratch / "keys.arrow")) as file:
            reader = pa.ipc.open_file(file)
            pieces = [reader.get_batch(number) for number in self._key_pieces[path]]
        table = pa.Table.from_batches(pieces, _KEYS_SCHEMA)
        return table if placed else self._without_lost(table)

    def _count(self, path: str) -> int:
        return int(self._keys(path).num_rows)


class _Spill:
    """Writes rows to a file in pieces of one partition each, and remembers which piece is whose."""

    def __init__(self, writer: pa.ipc.RecordBatchFileWriter, pieces: dict[str, list[int]], most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._writer = writer
        self._pieces = pieces
        self._written = 0
        self._waiting: list[tuple[pa.RecordBatch, pa.Array]] = []
        self._bytes = 0

    def add(self, rows: pa.RecordBatch, paths: pa.Array) -> None:
        """Take rows, and the partition of each."""
        if rows.num_rows:
            self._waiting.append((rows, paths))
            self._bytes += rows.nbytes
        if self._bytes > self._most_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what waits, sorted by partition."""
        if not self._waiting:
            return
        rows = pa.concat_batches([batch for batch, _ in self._waiting])
        paths = pa.concat_arrays([array for _, array in self._waiting])
        self._waiting, self._bytes = [], 0
        order = pc.array_sort_indices(paths)
        runs = pc.run_end_encode(paths.take(order))
        ordered = rows.take(order)
        start = 0
        for path, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            self._writer.write_batch(ordered.slice(start, end - start))
            self._pieces.setdefault(path, []).append(self._written)
            self._written += 1
            start = end
        del rows, ordered
        # What Arrow's allocator keeps for itself would come to hundreds of megabytes.
        pa.default_memory_pool().release_unused()


def _paths_of(rows: pa.RecordBatch) -> pa.Array:
    months = months_of(rows.column("published_at")).dictionary_encode()
    paths = [partition_path(month) for month in months.dictionary.to_pylist()]
    return pa.array(paths, pa.string()).take(months.indices)


def _placed(rows: pa.RecordBatch, places: pa.Array, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([*rows.columns, places], schema=schema)


def _publishable(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows as read, but an extracted_at that the published nanoseconds cannot hold is null."""
    extracted = rows.column("extracted_at")
    micros = extracted.cast(pa.int64())
    fits = pc.and_(pc.greater_equal(micros, -_NANOSECONDS_REACH), pc.less_equal(micros, _NANOSECONDS_REACH))
    kept = pc.if_else(fits, extracted, pa.scalar(None, extracted.type))
    return rows.set_column(rows.schema.get_field_index("extracted_at"), NORMAL_SCHEMA.field("extracted_at"), kept)
