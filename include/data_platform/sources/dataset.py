"""Opening a dataset and reading it as normalised Arrow batches, in bounded memory.

A source is a dataset on the Hub, a folder in the same layout, or one parquet file. Opening it looks
at every file's footer, refuses what cannot be read with all problems at once, and pins what it saw
(`SourceSnapshot`): the commit, or a fingerprint of the local files. `reopen` gives another process
exactly the planned data, or an error. Rows are read a row group at a time, in order; how much is
held depends on the batch asked for, not on the size of a row group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path
from typing import Any

from data_platform.errors import SourceError
from data_platform.models.columns import COLUMNS, REQUIRED_COLUMNS, Column
from data_platform.settings import Settings
from data_platform.sources.hub import HubDataset
from data_platform.sources.normalise import NormalBatch, Normaliser, Unreadable, examine
from data_platform.sources.parquet_file import Footer, RowRange, fingerprint, read_footer, read_rows

__all__ = [
    "NormalBatch",
    "Source",
    "SourceFile",
    "SourceSnapshot",
    "Unreadable",
    "open_source",
    "reopen",
]

_HUB_PREFIXES = ("hf://datasets/", "hf://")
_DATA_FOLDER = "data/"
_PARQUET = "*.parquet"
_TRAIN = "train*.parquet"
_MOST_PROBLEMS_SHOWN = 20
_LAYOUT = "a dataset id (owner/name), a folder with data/train*.parquet, or one parquet file"


@dataclass(frozen=True)
class SourceFile:
    """One parquet file of a source.

    Attributes:
        path: its path in the dataset, such as data/train-00000-of-00003.parquet.
        rows: its rows.
        size: its bytes.
        row_groups: rows of each row group.
        footer: digest of its footer, hex; tells it from another file of the same size.
    """

    path: str
    rows: int
    size: int
    row_groups: tuple[int, ...]
    footer: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SourceFile:
        """Return what `to_dict` gave."""
        return cls(**{**values, "row_groups": tuple(values["row_groups"])})


@dataclass(frozen=True)
class SourceSnapshot:
    """What a source was when it was opened; enough to open exactly the same again.

    Attributes:
        source: as the caller wrote it.
        kind: "hub", "folder" or "file".
        revision: the commit (hub), or a digest over the path, size and footer of every file.
        files: in the order of their paths.
        notes: what is out of the ordinary in the files and was coped with, for a person.
        location: dataset id (hub), or the absolute folder that the paths of the files start from.
    """

    source: str
    kind: str
    revision: str
    files: tuple[SourceFile, ...]
    notes: tuple[str, ...]
    location: str

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SourceSnapshot:
        """Return what `to_dict` gave."""
        files = tuple(SourceFile.from_dict(file) for file in values["files"])
        return cls(**{**values, "files": files, "notes": tuple(values["notes"])})


class Source:
    """An open source. Made by `open_source` or `reopen`; holds no file open between calls.

    Attributes:
        snapshot: what it was when it was first opened.
    """

    def __init__(self, snapshot: SourceSnapshot, locate: Callable[[str], Path]) -> None:
        self.snapshot = snapshot
        self._locate = locate
        self._files = {file.path: file for file in snapshot.files}
        # A footer of hundreds of row groups takes long to parse, and segments follow each other in one file.
        self._last: Footer | None = None

    def batches(
        self,
        file: str,
        *,
        row_group: int,
        offset: int = 0,
        length: int | None = None,
        columns: Sequence[str] | None = None,
        batch_rows: int = 2048,
    ) -> Iterator[NormalBatch]:
        """Read rows of one row group.

        Args:
            file: path of the file, as in the snapshot.
            row_group: index of the row group.
            offset: first row, counted inside the row group. The rows before it are decoded and thrown away.
            length: how many rows; None means to the end of the row group.
            columns: only these columns (they come in the order of `NORMAL_SCHEMA`); None means all.
            batch_rows: most rows in a batch. A batch has fewer if its rows are big, or at an end.

        Returns:
            The batches in row order, without gaps; none for no rows. The file is opened at the first one.

        Raises:
            SourceError: the file is not part of this source, has changed since, or is damaged.
            SourceUnavailableError: the Hub or the disk did not answer as it should.
            ValueError: there is no such row group, rows or column in the file.
        """
        planned = self._files.get(file)
        if planned is None:
            raise SourceError(f"{file} is not a file of {self.snapshot.source!r}", hint="the plan is of another source")
        if not 0 <= row_group < len(planned.row_groups):
            raise ValueError(f"{file} has {len(planned.row_groups)} row groups, so no row group {row_group}")
        rows = planned.row_groups[row_group]
        stop = rows if length is None else offset + length
        if not 0 <= offset <= stop <= rows or batch_rows < 1:
            raise ValueError(f"{file}, row group {row_group} has {rows} rows; asked for rows {offset} to {stop}")
        wanted = _columns(columns)
        if offset == stop:
            return iter(())
        return self._read(planned, RowRange(row_group, offset, stop), wanted, batch_rows)

    def _read(
        self, planned: SourceFile, rows: RowRange, wanted: tuple[Column, ...], batch_rows: int
    ) -> Iterator[NormalBatch]:
        footer = self._footer(planned)
        before = sum(planned.row_groups[: rows.row_group])
        present = [column.name for column in wanted if column.name in footer.schema.names]
        normalise: Normaliser | None = None
        for first, batch in read_rows(footer, rows, columns=present, batch_rows=batch_rows):
            normalise = normalise or Normaliser(batch.schema, wanted)
            yield normalise(batch, before + first)

    def _footer(self, planned: SourceFile) -> Footer:
        if self._last is None or self._last.name != planned.path:
            path = self._locate(planned.path)
            footer = read_footer(path, planned.path)
            _check_unchanged(planned, footer.size, footer.sha256, path)
            self._last = footer
        return self._last


def open_source(source: str, *, settings: Settings, revision: str = "") -> Source:
    """Open a source, look at all its files, and pin it.

    Args:
        source: id of a dataset on the Hub (`owner/name`, also with `hf://`), a folder with `data/train*.parquet`
            (or with parquet files directly inside), or one parquet file. What exists on the disk wins over the Hub.
        settings: endpoint and token of the Hub.
        revision: branch, tag or commit on the Hub, empty for its head. Of a folder or file only the revision that it
            has now can be opened.

    Raises:
        SourceError: there is no such source, it has no parquet file, or files cannot be read; all problems of all
            files are in the message.
        SourceUnavailableError: the Hub or the disk did not answer as it should.
    """
    local = _existing(source.strip())
    if local is None:
        dataset = HubDataset(_dataset_id(source.strip()), settings)
        commit, listed = dataset.files_at(revision)
        paths, notes = _choose(listed, source)
        files, more = _inspect(source, paths, lambda path: dataset.fetch(path, commit))
        return _source(SourceSnapshot(source, "hub", commit, files, notes + more, dataset.dataset), settings)
    if local.is_dir():
        kind, folder = "folder", local
        paths, notes = _choose(_listing(folder), source)
    else:
        kind, folder, paths, notes = "file", local.parent, (local.name,), ()
    files, more = _inspect(source, paths, folder.joinpath)
    found = sha256(repr([(file.path, file.size, file.footer) for file in files]).encode()).hexdigest()
    if revision not in {"", found}:
        raise SourceError(
            f"{source} is at revision {found}, not {revision}", hint="only the Hub keeps older revisions; leave it out"
        )
    return _source(SourceSnapshot(source, kind, found, files, notes + more, str(folder)), settings)


def reopen(snapshot: SourceSnapshot, *, settings: Settings) -> Source:
    """Open the same data again, in another process or on another machine.

    On the Hub that is the pinned commit, wherever the head is now; its files are fetched when first read.

    Raises:
        SourceError: a local file is gone or is not the one that was planned.
        SourceUnavailableError: the disk did not answer as it should.
    """
    opened = _source(snapshot, settings)
    if snapshot.kind != "hub":
        for file in snapshot.files:
            path = Path(snapshot.location, file.path)
            _check_unchanged(file, *fingerprint(path, file.path), path)
    return opened


def _source(snapshot: SourceSnapshot, settings: Settings) -> Source:
    if snapshot.kind == "hub":
        dataset = HubDataset(snapshot.location, settings)
        return Source(snapshot, lambda path: dataset.fetch(path, snapshot.revision))
    return Source(snapshot, Path(snapshot.location).joinpath)


def _check_unchanged(planned: SourceFile, size: int, footer: str, path: Path) -> None:
    if (size, footer) != (planned.size, planned.footer or footer):
        raise SourceError(
            f"{planned.path} is not the file that was planned: it has {size} bytes, planned were {planned.size}",
            hint=f"plan anew; if it is a damaged copy in the cache of the Hub's client, delete {path}",
        )


def _columns(names: Sequence[str] | None) -> tuple[Column, ...]:
    if names is None:
        return COLUMNS
    wanted = tuple(column for column in COLUMNS if column.name in names)
    if not wanted or len(wanted) != len(set(names)):
        raise ValueError(f"not columns of the dataset: {sorted(set(names) - {column.name for column in wanted})}")
    return wanted


# ------------------------------------------------------------------------------------------- finding


def _existing(source: str) -> Path | None:
    """Return the local path that a source names, or None if it can only be on the Hub."""
    if not source:
        raise SourceError("no source is given", hint=f"give {_LAYOUT}")
    try:
        path = Path(source).expanduser()
        there = path.exists()
    except (OSError, RuntimeError) as error:  # no permission, too long a name, no such user
        raise SourceError(
            f"{source!r} cannot be looked up: {error}", hint="check the path and its permissions"
        ) from error
    if there:
        return path.absolute()  # not resolved: a link into a cache would lose its name
    looks_local = source.startswith(("/", ".", "~")) or source.endswith(".parquet") or source.count("/") > 1
    if looks_local and not source.startswith(_HUB_PREFIXES):
        raise SourceError(f"there is no file or folder {source!r}", hint=f"check the path; a source is {_LAYOUT}")
    return None


def _dataset_id(source: str) -> str:
    name = source
    for prefix in _HUB_PREFIXES:
        name = name.removeprefix(prefix)
    owner, _, title = name.strip("/").partition("/")
    if not owner or not title or "/" in title:
        raise SourceError(f"{source!r} is neither here nor the id of a dataset", hint=f"a source is {_LAYOUT}")
    return f"{owner}/{title}"


def _listing(folder: Path) -> list[str]:
    try:
        found = [path for folder_part in ("", _DATA_FOLDER) for path in folder.glob(folder_part + _PARQUET)]
    except OSError as error:
        raise SourceError(f"{folder} cannot be listed: {error.strerror}", hint="check its permissions") from error
    return [path.relative_to(folder).as_posix() for path in found if path.is_file()]


def _choose(paths: Sequence[str], source: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the data files among the files of a dataset, and notes on parquet files left aside."""
    parquet = sorted(path for path in paths if fnmatch(path, _PARQUET) and not Path(path).name.startswith("."))
    inside = [path for path in parquet if path.startswith(_DATA_FOLDER) and "/" not in path.removeprefix(_DATA_FOLDER)]
    direct = [path for path in parquet if "/" not in path]
    train = [path for path in inside or direct if fnmatch(Path(path).name, _TRAIN)]
    chosen = train or ([] if inside else direct)
    if not chosen:
        also = f"; left aside: {', '.join(parquet[:5])}" if parquet else ""
        raise SourceError(f"{source} has no data/train*.parquet{also}", hint=f"a source is {_LAYOUT}")
    aside = [path for path in parquet if path not in chosen]
    return tuple(chosen), tuple(f"{path} is not part of the split train: ignored" for path in aside)


# ------------------------------------------------------------------------------------------ checking


def _inspect(
    source: str, paths: Sequence[str], locate: Callable[[str], Path]
) -> tuple[tuple[SourceFile, ...], tuple[str, ...]]:
    """Look at the footers of all files; return the files, and notes.

    Raises:
        SourceError: with the problems of all files.
    """
    files: list[SourceFile] = []
    problems: list[str] = []
    notes: dict[str, list[str]] = {}
    hint = ""
    for path in paths:
        local = locate(path)
        try:
            footer = read_footer(local, path)
        except SourceError as error:
            problems.append(error.message)
            hint = hint or error.hint
            continue
        found, noted = _check_schema(footer)
        problems += [f"{path}: {problem}" for problem in found]
        for note in noted:
            notes.setdefault(note, []).append(path)
        groups = tuple(footer.metadata.row_group(i).num_rows for i in range(footer.metadata.num_row_groups))
        files.append(SourceFile(path, footer.metadata.num_rows, footer.size, groups, footer.sha256))
    if problems:
        more = [f"and {len(problems) - _MOST_PROBLEMS_SHOWN} more"] if len(problems) > _MOST_PROBLEMS_SHOWN else []
        raise SourceError(
            f"{source} cannot be read: {'; '.join(problems[:_MOST_PROBLEMS_SHOWN] + more)}",
            hint=hint or "write these files anew with the columns and types of the published dataset",
        )
    return tuple(files), tuple(
        f"{where[0]}{f' and {len(where) - 1} more files' if len(where) > 1 else ''}: {note}"
        for note, where in notes.items()
    )


def _check_schema(footer: Footer) -> tuple[list[str], list[str]]:
    """Return problems and notes of one file."""
    problems: list[str] = []
    notes: list[str] = []
    names = footer.schema.names
    for column in COLUMNS:
        count = names.count(column.name)
        if count > 1:
            problems.append(f"{column.name} is there {count} times")
        elif count == 0 and column.name in REQUIRED_COLUMNS:
            problems.append(f"{column.name} is missing")
        elif count == 0:
            notes.append(f"{column.name} is missing: read as null")
        else:
            found = footer.schema.field(column.name).type
            problem, note = examine(column, found)
            if problem and _holds_nothing(footer, column.name):
                problem, note = examine(column, found, all_null=True)
            problems += [problem] if problem else []
            notes += [note] if note else []
    known = {column.name for column in COLUMNS}
    if extra := [name for name in names if name not in known]:
        notes.append(f"columns that the dataset does not have are ignored: {', '.join(extra)}")
    return problems, notes


def _holds_nothing(footer: Footer, name: str) -> bool:
    """Whether the statistics say that a column has no value in any row group."""
    for index in range(footer.metadata.num_row_groups):
        group = footer.metadata.row_group(index)
        chunk = next((c for i in range(group.num_columns) if (c := group.column(i)).path_in_schema == name), None)
        found = chunk.statistics if chunk is not None and chunk.is_stats_set else None
        if chunk is None or found is None or not found.has_null_count or found.null_count != chunk.num_values:
            return False
    return True
