"""Batches of rows that tasks hand on to each other, as Parquet files that are written once (DESIGN §5, Staging).

    <STAGING_URI>/<kind>/<run date>/<UTC time>-<rows>-<SHA-256>.parquet

A file is written whole or not at all, and its name says what it must hold, so a reader never takes half a file, or
another one, for it. The same rows staged again are the same file. What travels between tasks is the small handle.
Rows are kept as they came, before any cleaning; of a cell that cannot be read its text is kept, so that the row is
rejected whole when it is written.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_platform.errors import ConfigurationError, IntegrityError, SourceError
from data_platform.managers.ledger.write_once import WriteOnceObjects
from data_platform.models.columns import COLUMN_NAMES, NORMAL_SCHEMA
from data_platform.models.days import utc_now
from data_platform.settings import Settings
from data_platform.sources.given import batch_of_columns

__all__ = ["StagedFile", "StagedRows", "Staging"]

_SUFFIX = ".parquet"
_TIME = "%Y%m%dT%H%M%S.%fZ"
_KIND = re.compile(r"[a-z]+(?:-[a-z]+)*")
_NAME = re.compile(
    r"(?P<kind>[a-z-]+)/(?P<day>\d{4}-\d\d-\d\d)/(?P<at>\d{8}T\d{6}\.\d{6}Z)-(?P<rows>\d+)-(?P<sha>[0-9a-f]{64})\.parquet"
)
#: Beside the columns of the dataset: the original texts of cells that cannot be read, as a JSON object; null for none.
_UNREADABLE = "unreadable_cells"
_MADE_FROM = b"govbr.made_from"
_HINT = "stage the rows again: run the task that made them"


@dataclass(frozen=True, kw_only=True)
class StagedFile:
    """A staged batch, small enough to be handed from task to task.

    Attributes:
        uri: where it lies, for any process that sees the place.
        kind: what the rows are, such as "scraped", "identified" or "enriched".
        run_date: the São Paulo day that they are for.
        rows: how many there are.
        sha256: of the file's bytes, in hex.
        created_at: when it was staged.
    """

    uri: str
    kind: str
    run_date: date
    rows: int
    sha256: str
    created_at: datetime

    @property
    def name(self) -> str:
        """Its name below the place of staging; no other file has it."""
        return "/".join(self.uri.split("/")[-3:])

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        return {
            "uri": self.uri,
            "kind": self.kind,
            "run_date": self.run_date.isoformat(),
            "rows": self.rows,
            "sha256": self.sha256,
            "created_at": self.created_at.astimezone(UTC).isoformat(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StagedFile:
        """Read what `to_dict` wrote.

        Raises:
            ConfigurationError: it is no such thing, or contradicts its own name.
        """
        try:
            found = cls.of_uri(str(values["uri"]))
            told = (int(values["rows"]), str(values["sha256"]), str(values["kind"]), str(values["run_date"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"this is no staged file: {error!r}", hint=_HINT) from None
        if told != (found.rows, found.sha256, found.kind, found.run_date.isoformat()):
            raise ConfigurationError(f"{found.uri} is said to be another file than its name says", hint=_HINT)
        return found

    @classmethod
    def of_uri(cls, uri: str) -> StagedFile:
        """Return what the name of a file says.

        Raises:
            ConfigurationError: it is not the name of a staged file.
        """
        said = _NAME.fullmatch("/".join(uri.split("/")[-3:]))
        if said is None:
            raise ConfigurationError(f"{uri!r} is no staged file", hint="give the uri of one, as the run ledger has it")
        try:
            day, at = date.fromisoformat(said["day"]), datetime.strptime(said["at"], _TIME).replace(tzinfo=UTC)
        except ValueError as error:
            raise ConfigurationError(f"{uri!r} is no staged file: {error}", hint=_HINT) from None
        return cls(uri=uri, kind=said["kind"], run_date=day, rows=int(said["rows"]), sha256=said["sha"], created_at=at)


@dataclass(frozen=True)
class StagedRows:
    """The rows of a staged file.

    Attributes:
        table: the staged columns in the types of `NORMAL_SCHEMA`.
        unreadable: for each row, the original text of cells that could not be read, by column.
        made_from: names of the staged files that the rows were made from.
    """

    table: pa.Table
    unreadable: Sequence[Mapping[str, str]]
    made_from: Sequence[str]

    def columns(self) -> dict[str, list[Any]]:
        """Return the rows as they were given: column -> values, unreadable cells with their text."""
        columns: dict[str, list[Any]] = self.table.to_pydict()
        for row, cells in enumerate(self.unreadable):
            for name, text in cells.items():
                columns[name][row] = text
        return columns


class Staging:
    """The place of staged files. Safe for any number of processes at once.

    Args:
        uri: a folder or an fsspec URI such as `gs://bucket/staging`.
    """

    def __init__(self, uri: str) -> None:
        self.objects = WriteOnceObjects(uri, suffix=_SUFFIX, setting="STAGING_URI")

    @classmethod
    def of(cls, settings: Settings) -> Staging:
        """Return the place of these settings."""
        return cls(settings.staging_uri)

    def write(
        self,
        kind: str,
        run_date: date,
        rows: Mapping[str, Sequence[Any]],
        *,
        made_from: Iterable[StagedFile] = (),
    ) -> StagedFile:
        """Stage rows; the file is there, whole, when this returns.

        Args:
            kind: what they are, in lower-case words with hyphens.
            run_date: the São Paulo day that they are for.
            rows: column of the dataset -> one value a row; any columns. No rows make a file too.
            made_from: the staged files that the rows come from; they may go when this one may.

        Raises:
            ValueError: a column is unknown or of another length, or the kind is none.
            ConfigurationError: `STAGING_URI` cannot be written to.
            TransientError: it did not answer.
            IntegrityError: something else lies under the very name.
        """
        if not _KIND.fullmatch(kind):
            raise ValueError(f"a kind is lower-case words with hyphens, not {kind!r}")
        table = _table(rows, sorted(file.name for file in made_from))
        content = _parquet(table)
        sha = hashlib.sha256(content).hexdigest()
        for there in self.files(kind, run_date):
            if there.sha256 == sha and self._holds(there):
                return there
        at = utc_now()
        name = f"{kind}/{run_date.isoformat()}/{at.strftime(_TIME)}-{table.num_rows}-{sha}{_SUFFIX}"
        made = self._file(name)
        if not self.objects.put(name, content) and not self._holds(made):
            raise IntegrityError(f"{made.uri} is there already and holds something else", hint=_HINT)
        return made

    def read(self, file: StagedFile) -> StagedRows:
        """Return the rows of a file, once they are proven to be those that were staged.

        Raises:
            SourceError: it is not there.
            IntegrityError: its bytes, rows or columns are not what they should be.
            TransientError: the place did not answer.
        """
        content = _place_of(file).content(file.name)
        if content is None:
            raise SourceError(f"{file.uri} is not there", hint="it was pruned, or STAGING_URI is another one here")
        if (sha := hashlib.sha256(content).hexdigest()) != file.sha256:
            raise IntegrityError(f"{file.uri} is damaged: its digest is {sha}", hint=_HINT)
        try:
            table = pq.ParquetFile(io.BytesIO(content)).read(use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise IntegrityError(f"{file.uri} is no Parquet file: {error}", hint=_HINT) from error
        metadata = table.schema.metadata or {}
        table = table.replace_schema_metadata(None)
        names = [name for name in table.column_names if name != _UNREADABLE]
        if table.schema != _schema(names) or table.num_rows != file.rows:
            found = f"{table.num_rows} rows of {table.schema.names}"
            raise IntegrityError(f"{file.uri} holds {found}, not {file.rows} of the dataset's types", hint=_HINT)
        texts = table.column(_UNREADABLE).to_pylist()
        return StagedRows(
            table.select(names),
            [json.loads(text) if text else {} for text in texts],
            json.loads(metadata.get(_MADE_FROM, b"[]")),
        )

    def files(self, kind: str = "", run_date: date | None = None) -> list[StagedFile]:
        """Return the staged files, in order of time; of a kind, and of a day, if they are given.

        Raises:
            TransientError: the place did not answer.
        """
        folder = kind if run_date is None or not kind else f"{kind}/{run_date.isoformat()}"
        found = [self._file(name) for name in self.objects.names(folder) if _NAME.fullmatch(name)]
        return [
            file
            for file in found
            if (not kind or file.kind == kind) and (run_date is None or file.run_date == run_date)
        ]

    def remove(self, file: StagedFile) -> bool:
        """Take a file away; return False if somebody else has. Whether it may go is for `jobs.daily.prune` to say."""
        return self.objects.remove(file.name)

    def _file(self, name: str) -> StagedFile:
        return StagedFile.of_uri(f"{self.objects.location}/{name}")

    def _holds(self, file: StagedFile) -> bool:
        content = self.objects.content(file.name)
        return content is not None and hashlib.sha256(content).hexdigest() == file.sha256


def _place_of(file: StagedFile) -> WriteOnceObjects:
    """Return the place that a file lies in, which the handle says: the reader's setting may name it otherwise."""
    return WriteOnceObjects(file.uri[: -len(file.name) - 1], suffix=_SUFFIX, setting="STAGING_URI")


def _schema(names: Sequence[str]) -> pa.Schema:
    known = [NORMAL_SCHEMA.field(name) for name in COLUMN_NAMES if name in set(names)]
    return pa.schema([*known, pa.field(_UNREADABLE, pa.string())])


def _table(rows: Mapping[str, Sequence[Any]], made_from: Sequence[str]) -> pa.Table:
    given = batch_of_columns(rows, required=tuple(rows)[:1])
    originals: list[dict[str, str]] = [{} for _ in range(given.batch.num_rows)]
    for column, cells in given.unreadable.items():
        for row, text in zip(cells.indices, cells.values, strict=True):
            originals[int(row)][column] = text
    texts = [json.dumps(cells, ensure_ascii=False, sort_keys=True) if cells else None for cells in originals]
    arrays = [*given.batch.columns, pa.array(texts, pa.string())]
    table = pa.Table.from_arrays(arrays, schema=_schema(given.batch.schema.names))
    return table.replace_schema_metadata({_MADE_FROM: json.dumps(made_from)}) if made_from else table


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table.combine_chunks(), buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()
