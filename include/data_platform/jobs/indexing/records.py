"""What a run of an index is asked for, and what it tells afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from data_platform.errors import ConfigurationError

__all__ = ["MOST_PENDING", "POSTGRES", "READERS", "Kind", "ReindexOptions", "ReindexOutcome", "Source", "named"]

READERS = ("typesense", "qdrant")
#: What a card says of a collection that follows PostgreSQL.
POSTGRES = "postgres"
#: More refused documents than this are no bad documents but a bad index: the run stops where it is.
MOST_PENDING = 1_000
#: Ids that a line names.
_NAMED = 20


class Kind(StrEnum):
    """What is to be done."""

    INCREMENTAL = "incremental"
    FULL = "full"
    ROLLBACK = "rollback"


class Source(StrEnum):
    """Where the rows come from."""

    POSTGRES = "postgres"
    HUGGINGFACE = "huggingface"


@dataclass(frozen=True, kw_only=True)
class ReindexOptions:
    """What a run shall do.

    Attributes:
        reader: `typesense` or `qdrant`.
        kind: follow the changes, fill a new collection, or go back to the collection before.
        source: of a full run, where the rows come from.
        dry_run: say what would be done; nothing is written anywhere.
        afresh: of a full run, start over instead of going on with an unfinished collection.
        replace_collection: of a full run, drop a collection that has the alias's own name, so that the alias can be.
        allow_shrink: go on although much of what searches see now would be gone.
        max_failed: documents that the service may refuse without failing the run.
        batch_rows: rows of a page.
        run: names the run in all its tries, so that one that is tried again does not do twice what it has done; "" if
            each try is a run of its own, as on a shell.

    Raises:
        ConfigurationError: the options mean nothing together.
    """

    reader: str
    kind: Kind = Kind.INCREMENTAL
    source: Source = Source.POSTGRES
    dry_run: bool = False
    afresh: bool = False
    replace_collection: bool = False
    allow_shrink: bool = False
    max_failed: int = 0
    batch_rows: int = 2_000
    run: str = ""

    def __post_init__(self) -> None:
        if self.reader not in READERS:
            raise ConfigurationError(f"{self.reader!r} is no index", hint=f"there are {', '.join(READERS)}")
        if not 0 <= self.max_failed <= MOST_PENDING or self.batch_rows < 1:
            raise ConfigurationError(f"max_failed is from 0 to {MOST_PENDING}, batch_rows at least 1")
        of_full = {
            "huggingface as the source": self.source is Source.HUGGINGFACE,
            "afresh": self.afresh,
            "replace_collection": self.replace_collection,
        }
        if self.kind is not Kind.FULL and (wrong := [name for name, given in of_full.items() if given]):
            raise ConfigurationError(f"{', '.join(wrong)} belongs to a full run", hint="say --full")


@dataclass(frozen=True, kw_only=True)
class ReindexOutcome:
    """What a run did, or in a dry run would do.

    Attributes:
        reader: `typesense` or `qdrant`.
        alias: the name that searches use.
        kind: "incremental", "full" or "rollback".
        source: `postgres`, or `<dataset>@<commit>`.
        dry_run: whether nothing was written.
        collection: which was followed or filled; "" in a dry run that would make one.
        previous: what searches saw before, if another one; it is kept.
        resumed: whether an unfinished collection was gone on with.
        reason: why everything was read anew though only changes were asked for; "" in the usual case.
        rows: rows read from the source; in a dry run, that would be.
        written: documents taken, as the service says; a row that changed again counts again.
        deleted: documents taken away, as the service says.
        failed: unique_id -> why the service refused it; tried again by the next run.
        skipped: rows of the dataset that no index can hold, for they have no date or are held.
        documents: how many the collection has afterwards.
        compared: ids that are the same on both sides, and rows of the sample; empty if nothing was compared.
        dropped: collections that went.
        mended: fields that were added to the schema.
        drift: in which ways the schema is not what it should be.
        stamp: how far the collection has come, in the change feed's form.
        down_s: seconds for which searches had no collection; only where one was replaced by an alias.
        data_as_of: in mode huggingface, when PostgreSQL was last written; "" otherwise.
        notes: what a person should know.
        seconds: how long it took, by stage, and "total".
        peak_rss_mb: largest resident memory of this process so far.
    """

    reader: str
    alias: str
    kind: str
    source: str = POSTGRES
    dry_run: bool = False
    collection: str = ""
    previous: str = ""
    resumed: bool = False
    reason: str = ""
    rows: int = 0
    written: int = 0
    deleted: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)
    skipped: int = 0
    documents: int = 0
    compared: Mapping[str, int] = field(default_factory=dict)
    dropped: Sequence[str] = ()
    mended: Sequence[str] = ()
    drift: Sequence[str] = ()
    stamp: str = ""
    down_s: float | None = None
    data_as_of: str = ""
    notes: Sequence[str] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_rss_mb: float = 0.0

    @property
    def needs_attention(self) -> bool:
        """Whether a person should look at it."""
        return bool(self.drift or self.failed)

    @property
    def counts(self) -> dict[str, int]:
        """The numbers, for the ledger and for an asset."""
        names = ("rows", "written", "deleted", "skipped", "documents")
        return {name: getattr(self, name) for name in names} | {"failed": len(self.failed)}

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        lists = {name: list(getattr(self, name)) for name in ("dropped", "mended", "drift", "notes")}
        mappings = {name: dict(getattr(self, name)) for name in ("failed", "compared", "seconds")}
        return asdict(self) | lists | mappings | {"needs_attention": self.needs_attention}

    def lines(self) -> list[str]:
        """Return this for a terminal."""
        of = f"{self.reader}, alias {self.alias}"
        lines = [f"{self.kind} run of {of}{' (dry run)' if self.dry_run else ''}: {self._what()}"]
        told = {
            "everything is read anew": self.reason,
            "PostgreSQL was last written": self.data_as_of,
            "fields added": ", ".join(self.mended),
            "schema": "; ".join(self.drift),
            "dropped": ", ".join(self.dropped),
            "compared": ", ".join(f"{count:,} {what}" for what, count in self.compared.items()),
            "refused, and tried again by the next run": named(self.failed),
            "searches had no collection for": "" if self.down_s is None else f"{self.down_s:.3f} s",
        }
        lines += [f"  {what}: {text}" for what, text in told.items() if text]
        lines += [f"  {note}" for note in self.notes]
        if not self.dry_run:
            kept = f"; {self.previous} is kept" if self.previous else ""
            lines.append(f"  {self.collection} has {self.documents:,} documents{kept}")
        return lines

    def _what(self) -> str:
        if self.dry_run:
            where = f"into {self.collection}" if self.collection else "into a new collection"
            return f"{self.rows:,} rows would be read, {self.deleted:,} deletions, {where}"
        told = f"{self.rows:,} rows read, {self.written:,} documents written, {self.deleted:,} deleted"
        return f"{told}, {self.skipped:,} rows skipped" if self.skipped else told


def named(failed: Mapping[str, str]) -> str:
    """Name documents that were refused, with the reason of each; the first ones if they are many."""
    shown = ", ".join(f"{uid} ({reason})" for uid, reason in list(failed.items())[:_NAMED])
    return f"{shown} and {len(failed) - _NAMED:,} more" if len(failed) > _NAMED else shown
