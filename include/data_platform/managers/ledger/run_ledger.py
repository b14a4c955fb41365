"""The run ledger: what ran, for which day, into which store, with which outcome (DESIGN §5).

It lies outside PostgreSQL, as write-once JSON objects below `STATE_URI`:

    ledger/<kind>/<day>/<UTC time>-<id>-<words>.json
    ledger/write/2026-11-21/20261122T090312.123456Z-<id>-postgres.succeeded-huggingface.failed.json
    ledger/repair/2026-11-21/20261122T100001.000000Z-<id>-settles-write-<id of the write>-huggingface.json
    ledger/ids/…                                    ids of articles that are too many for an entry

The day is the run date, or the São Paulo day of the beginning for what has none. Names say so much that what is open
is found by listing; only the entries concerned are read. Nothing is ever changed: a repair is one more entry.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from data_platform.errors import ConfigurationError
from data_platform.managers.ledger.entry import IdList, LedgerEntry, SideRecord, Status
from data_platform.managers.ledger.write_once import WriteOnceObjects
from data_platform.managers.storage_mode import ReadSource
from data_platform.models.days import utc_now
from data_platform.settings import Settings

__all__ = [
    "DELETION",
    "RECONCILE",
    "REINDEX",
    "REPAIR",
    "SIDE",
    "STARTED",
    "SYNC",
    "WRITE",
    "Missed",
    "Recorded",
    "RunLedger",
]

#: A write that has begun; one of its sides, when it ended; the write, when it ended; what made up for one.
STARTED, SIDE, WRITE, REPAIR = "write-started", "write-side", "write", "repair"
#: Articles that were taken down, or allowed again; see `deletions`.
DELETION = "deletion"
#: A sync of the open dataset, a comparison of the stores, a run of a search index, when it ended.
SYNC, RECONCILE, REINDEX = "sync", "reconcile", "reindex"

#: Most ids that an entry holds itself; more go into an object of their own.
MOST_IDS_HERE = 1000
_LOG = logging.getLogger(__name__)
_TIME = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(
    r"(?P<folder>ledger/(?P<kind>[a-z-]+)/(?P<day>\d{4}-\d\d-\d\d))"
    r"/(?P<at>\d{8}T\d{6}\.\d{6}Z)-(?P<id>[0-9a-f]{32})-(?P<words>[a-z0-9._-]*)\.json"
)
_SETTLES = re.compile(r"settles-(?P<kind>write|write-started)-(?P<id>[0-9a-f]{32})-(?P<side>[a-z]+)")
Mirror = Callable[[LedgerEntry], bool]


@dataclass(frozen=True)
class Recorded:
    """An entry as it was recorded.

    Attributes:
        name: the object, below `STATE_URI`.
        mirrored: whether sync_log has it too; None if it is not to have it.
        mirror_error: why it has not.
    """

    name: str
    mirrored: bool | None = None
    mirror_error: str = ""


@dataclass(frozen=True, kw_only=True)
class Missed:
    """A write that a store may lack.

    Attributes:
        entry: the write; for one without an end what is known of it, the sides that had ended included.
        side: the store.
        ids: the articles, as both stores shall call them.
        ended: whether the write came to its end; without one it was killed, or still runs.
    """

    entry: LedgerEntry
    side: str
    ids: tuple[str, ...]
    ended: bool

    @property
    def key(self) -> tuple[str, str, str]:
        """What a repair names to settle this: kind, entry, store."""
        return (self.entry.kind, self.entry.entry_id, self.side)


@dataclass(frozen=True)
class _Named:
    """What the name of an entry says."""

    name: str
    at: str
    entry_id: str
    words: str

    def state_of(self, side: str) -> str:
        return next((w.rpartition(".")[2] for w in self.words.split("-") if w.startswith(f"{side}.")), "")


class RunLedger:
    """Records entries and finds them again. Safe for any number of processes at once.

    Args:
        state_uri: a folder or an fsspec URI such as `gs://bucket/state`.
        mirror: copies an entry into sync_log and says whether it is one to copy; its failure is logged and returned,
            never raised.
    """

    def __init__(self, state_uri: str, *, mirror: Mirror | None = None) -> None:
        self.objects = WriteOnceObjects(state_uri)
        self._mirror = mirror

    @classmethod
    def of(cls, settings: Settings, *, mirrored: bool = False) -> RunLedger:
        """Return the ledger of these settings.

        Args:
            settings: `state_uri`; for the mirror the database too.
            mirrored: whether sync_log shall have its writes and repairs too.
        """
        if not mirrored:
            return cls(settings.state_uri)
        from data_platform.managers.postgres.sync_log import sync_log_mirror

        return cls(settings.state_uri, mirror=sync_log_mirror(settings))

    def record(self, entry: LedgerEntry) -> Recorded:
        """Write an entry down; it is there, whole, when this returns.

        Raises:
            ConfigurationError: `STATE_URI` cannot be written to.
            TransientError: it did not answer.
        """
        stored = self._with_ids_elsewhere(entry)
        name = _name_of(entry)
        if not self.objects.create(name, stored.to_dict()):
            raise ConfigurationError(
                f"{self.objects.uri}/{name} is there already", hint="this is a fault of the program"
            )
        if self._mirror is None:
            return Recorded(name)
        try:
            copied = self._mirror(entry)
        except Exception as error:  # noqa: BLE001 - logged and returned: see below
            # The record is made; whatever the copy does must not take back that the write was made.
            _LOG.warning("sync_log has no copy of %s: %s", name, error)
            return Recorded(name, mirrored=False, mirror_error=f"{type(error).__name__}: {error}")
        return Recorded(name, mirrored=copied or None)

    def entries(self, kind: str, *, since: date | None = None, until: date | None = None) -> Iterator[LedgerEntry]:
        """Give the entries of a kind in order of time, those filed under the days from since to until."""
        for named in self._named(kind):
            day = date.fromisoformat(named.name.split("/")[2])
            if (since is None or day >= since) and (until is None or day <= until):
                yield self._read(named.name)

    def newest(self, kind: str, *, run_date: date | None = None) -> LedgerEntry | None:
        """Return the newest entry of a kind, of a run date or of all; None if there is none."""
        named = self._named(f"{kind}/{run_date.isoformat()}" if run_date else kind)
        return self._read(named[-1].name) if named else None

    def count(self, kind: str) -> int:
        """Return how many entries of a kind there are."""
        return len(self._named(kind))

    def missed(self) -> list[Missed]:
        """Return what each store may lack, the newest write first.

        That is each side that failed, and each side of a write that has begun and not ended, unless a repair has
        settled it, or another write has given the side the very same rows. A write without an end may also be one that
        runs right now.
        """
        settled = {
            (found["kind"], found["id"], found["side"])
            for named in self._named(REPAIR)
            if (found := _SETTLES.fullmatch(named.words))
        }
        ended = {named.entry_id: named for named in self._named(WRITE)}
        open_: list[Missed] = []
        for named in self._named(STARTED):
            if named.entry_id not in ended:
                sides = [s for s in ReadSource if (STARTED, named.entry_id, s.value) not in settled]
                open_ += self._unfinished(named, [s.value for s in sides if named.state_of(s)])
        for named in ended.values():
            for side in ReadSource:
                if named.state_of(side) == Status.FAILED and (WRITE, named.entry_id, side.value) not in settled:
                    entry = self._read(named.name)
                    if self.carried_out(entry, side.value):  # tried again, and done
                        continue
                    ids = self.ids(entry.sides[side.value].missed)
                    open_.append(Missed(entry=entry, side=side.value, ids=ids, ended=True))
        return sorted(open_, key=lambda m: (m.entry.started_at, m.entry.entry_id, m.side), reverse=True)

    def owed(self, side: str) -> list[Missed]:
        """Return what a store may lack of writes that another store was given; see `missed`."""

        def given(missed: Missed) -> bool:
            others = [record for name, record in missed.entry.sides.items() if name != side]
            if any(record.status is not Status.SKIPPED for record in others):
                return True
            return any(self.carried_out(missed.entry, other.value) for other in ReadSource if other.value != side)

        return [missed for missed in self.missed() if missed.side == side and given(missed)]

    def ended_writes(self) -> frozenset[str]:
        """Return the ids of the writes that have ended by now; see `under_way`."""
        return frozenset(named.entry_id for named in self._named(WRITE))

    def under_way(self, ended_before: frozenset[str], *, longest: timedelta) -> Iterator[LedgerEntry]:
        """Give the beginnings of the writes that were at work at some time since `ended_writes` was asked.

        No clocks are compared, but for the question which ones are dead.

        Args:
            ended_before: what `ended_writes` said then.
            longest: a write without an end that began longer ago than this counts as dead.
        """
        oldest = _stamp(utc_now() - longest)
        ended = self.ended_writes()
        for named in self._named(STARTED):
            if named.entry_id not in ended_before and (named.entry_id in ended or named.at > oldest):
                yield self._read(named.name)

    def ids(self, listed: IdList) -> tuple[str, ...]:
        """Return the ids of a list, wherever they are.

        Raises:
            LedgerError: the object that has them is not there or is damaged.
        """
        if not listed.elsewhere:
            return listed.here
        found = self.objects.read(listed.elsewhere).get("ids")
        if not isinstance(found, list) or len(found) != listed.count:
            raise self.objects.damaged(listed.elsewhere, f"it should hold {listed.count} ids")
        return tuple(map(str, found))

    def later_writes(self, entry: LedgerEntry, side: str) -> Iterator[LedgerEntry]:
        """Give the beginnings of the writes that began after this one and succeeded on a side."""
        done = {named.entry_id for named in self._named(WRITE) if named.state_of(side) == Status.SUCCEEDED}
        after = entry.started_at.astimezone(UTC).strftime(_TIME)
        for named in self._named(STARTED):
            if named.entry_id in done and named.at > after:
                yield self._read(named.name)

    def carried_out(self, entry: LedgerEntry, side: str) -> bool:
        """Say whether other writes gave a side the very rows of this one: the same staged file, in the same way.

        So it is with the daily pipeline, where each side is a task and a write of its own, and with a write that was
        tried again. One staged file may be written in several calls: all of this one's articles have to be in them.
        """
        if not entry.staged_file:
            return False
        began = {named.entry_id: named for named in self._named(f"{STARTED}/{entry.day.isoformat()}")}
        given: set[str] = set()
        found = False
        for named in self._named(f"{WRITE}/{entry.day.isoformat()}"):
            if named.state_of(side) == Status.SUCCEEDED and named.entry_id in began.keys() - {entry.entry_id}:
                other = self._read(began[named.entry_id].name)
                same = (other.staged_file, other.operation) == (entry.staged_file, entry.operation)
                if same and other.allow_update >= entry.allow_update and set(entry.columns) <= set(other.columns):
                    found = True
                    given |= {*self.ids(other.ids)}
        if not found or entry.entry_id not in began:
            return False
        its = self._read(began[entry.entry_id].name)
        return given.issuperset(self.ids(its.ids))

    # ------------------------------------------------------------------------------------------------

    def _unfinished(self, named: _Named, sides: Sequence[str]) -> list[Missed]:
        """Return what the sides of a write without an end may lack; a side known to have succeeded lacks nothing."""
        if not sides:
            return []
        entry = self._read(named.name)
        ids = self.ids(entry.ids)
        known: dict[str, SideRecord] = {}
        for told in self._named(f"{SIDE}/{entry.day.isoformat()}"):
            if told.entry_id == named.entry_id:
                known |= self._read(told.name).sides
        entry = replace(entry, sides={**entry.sides, **known})
        lacking = [s for s in sides if entry.sides[s].status is not Status.SUCCEEDED]
        return [Missed(entry=entry, side=side, ids=ids, ended=False) for side in lacking]

    def _named(self, folder: str) -> list[_Named]:
        base = f"ledger/{folder}"
        # Some stores list by prefix, and "write" is one of "write-started".
        found = (_NAME.fullmatch(name) for name in self.objects.names(base) if name.startswith(f"{base}/"))
        return [_Named(f[0], f["at"], f["id"], f["words"]) for f in found if f]

    def _read(self, name: str) -> LedgerEntry:
        values = self.objects.read(name)
        try:
            return LedgerEntry.from_dict(values)
        except KeyError as error:
            raise self.objects.damaged(name, f"{error} is missing") from None
        except (TypeError, ValueError, AttributeError, ConfigurationError) as error:
            raise self.objects.damaged(name, str(error)) from None

    def _with_ids_elsewhere(self, entry: LedgerEntry) -> LedgerEntry:
        """Put long lists of ids into objects of their own, before the entry that names them."""
        sides = {
            name: replace(side, missed=self._placed(entry, name, side.missed)) for name, side in entry.sides.items()
        }
        return replace(entry, ids=self._placed(entry, "all", entry.ids), sides=sides)

    def _placed(self, entry: LedgerEntry, what: str, listed: IdList) -> IdList:
        if len(listed.here) <= MOST_IDS_HERE:
            return listed
        name = f"ledger/ids/{entry.day.isoformat()}/{_stamp(entry.at)}-{entry.entry_id}-{entry.kind}.{what}.json"
        values: dict[str, Any] = {"entry_id": entry.entry_id, "ids": list(listed.here)}
        if not self.objects.create(name, values):
            raise ConfigurationError(
                f"{self.objects.uri}/{name} is there already", hint="this is a fault of the program"
            )
        return IdList(count=listed.count, elsewhere=name)


def _stamp(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime(_TIME)


def _name_of(entry: LedgerEntry) -> str:
    words = "-".join(f"{name}.{side.status}" for name, side in entry.sides.items())
    if settles := entry.facts.get("settles"):
        words = f"settles-{settles['kind']}-{settles['entry_id']}-{settles['side']}"
    return f"ledger/{entry.kind}/{entry.day.isoformat()}/{_stamp(entry.at)}-{entry.entry_id}-{words or 'done'}.json"
