"""Has a write been recorded? What a gate before a reader of the change feed asks the run ledger (DESIGN §5, Sensors).

One look; waiting is the business of whoever asks. What stands in the ledger never decides what a reader does, for the
change feed gives every committed change at some time: it decides when it is worth reading, and what to tell people.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from data_platform.errors import ConfigurationError, LedgerError
from data_platform.managers.ledger.entry import LedgerEntry, Status
from data_platform.managers.ledger.run_ledger import WRITE, RunLedger
from data_platform.managers.storage_mode import ReadSource
from data_platform.models.days import SAO_PAULO, SAO_PAULO_NAME, day_of, utc_now

__all__ = ["Found", "Sighting", "clock", "in_words", "look_for_write"]

#: How far back the newest record is looked for when the newest of all says nothing of the store.
_DAYS_BACK = 30
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


class Found(StrEnum):
    """What a look found."""

    RECORDED = "recorded"
    FAILED = "failed"
    NEWEST = "newest"
    NONE = "none"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What a look found, and what to tell people.

    Attributes:
        found: recorded or failed: the newest write of the run date to the store; newest: the newest of any date, as no
            date was asked for; none: there is none; unreadable: there is something that cannot be understood, and
            waiting does not mend it.
        message: the same in words.
        run_date: the São Paulo day that was asked for; None means the newest of all.
        kind: of the entries.
        side: the store.
        place: where the ledger lies.
        entry: the entry that decided.
        succeeded: writes of the run date to the store that succeeded.
        failed: those that failed.
        age: of the entry; never negative.
    """

    found: Found
    message: str
    run_date: date | None
    kind: str
    side: str
    place: str
    entry: LedgerEntry | None = None
    succeeded: int = 0
    failed: int = 0
    age: timedelta | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values, small; the age in whole seconds."""
        told: dict[str, Any] = {
            "state": self.found.value,
            "message": self.message,
            "run_date": self.run_date.isoformat() if self.run_date else None,
            "kind": self.kind,
            "side": self.side,
            "place": self.place,
            "succeeded": self.succeeded,
            "failed": self.failed,
        }
        if self.entry is None:
            return told
        return told | {
            "entry_id": self.entry.entry_id,
            "recorded_at": self.entry.at.isoformat(),
            "age_s": None if self.age is None else int(self.age.total_seconds()),
            "counts": dict(self.entry.sides[self.side].counts),
        }


def look_for_write(
    ledger: RunLedger,
    *,
    run_date: date | None,
    kind: str = WRITE,
    side: str = ReadSource.POSTGRES,
    now: Callable[[], datetime] = utc_now,
) -> Sighting:
    """Look for a recorded write to a store.

    Of several entries of a run date the newest decides: it tells how things stand now. One of a part of the day, as of
    one site that was collected again, does not count. Entries without a run date are other people's writes and count
    for no date. A damaged entry is told as `unreadable`, even beside others that can be read: the damaged one may be
    the newest that counts.

    Args:
        ledger: where to look.
        run_date: the São Paulo day whose write is meant; None takes the newest of all.
        kind: of the entries.
        side: the store that must have been written.
        now: the present instant, with a zone.

    Raises:
        TransientError: the ledger did not answer; it may later.
    """
    looked = _Look(ledger.objects.uri, kind, str(side), run_date, now())
    try:
        if run_date is None:
            return looked.told_newest(_newest(ledger, kind, str(side), looked.now))
        entries = ledger.entries(kind, since=run_date, until=run_date)
        return looked.told_of([entry for entry in entries if entry.run_date == run_date and _decided(entry, str(side))])
    except (LedgerError, ConfigurationError) as error:
        return looked.told(Found.UNREADABLE, f"the run ledger cannot be understood: {error}")


@dataclass(frozen=True)
class _Look:
    """A question, and the words of its answers."""

    place: str
    kind: str
    side: str
    run_date: date | None
    now: datetime

    def told(self, found: Found, message: str, entry: LedgerEntry | None = None, **counts: int) -> Sighting:
        age = None if entry is None else max(self.now - entry.at, timedelta(0))  # clocks of machines differ
        return Sighting(
            found=found,
            message=message,
            run_date=self.run_date,
            kind=self.kind,
            side=self.side,
            place=self.place,
            entry=entry,
            age=age,
            **counts,
        )

    def told_newest(self, entry: LedgerEntry | None) -> Sighting:
        if entry is None:
            return self.told(
                Found.NONE, f"no write to {self.side} is recorded below {self.place} (looked {_DAYS_BACK} days back)"
            )
        of = f"for {entry.run_date}" if entry.run_date else "for no run date"
        return self.told(Found.NEWEST, f"the newest write to {self.side}, {of}, {self._ended(entry)}", entry)

    def told_of(self, entries: list[LedgerEntry]) -> Sighting:
        if not entries:
            return self.told(
                Found.NONE,
                f"no write to {self.side} is recorded for {self.run_date} (no entry of kind {self.kind!r} with that run"
                f" date and store below {self.place})",
            )
        newest = entries[-1]
        failed = sum(_status(entry, self.side) is Status.FAILED for entry in entries)
        counts = {"succeeded": len(entries) - failed, "failed": failed}
        message = f"the write to {self.side} for {self.run_date} {self._ended(newest)}"
        if len(entries) > 1:
            message += f"; of {len(entries)} recorded for that date {counts['succeeded']} succeeded, {failed} failed"
        found = Found.FAILED if _status(newest, self.side) is Status.FAILED else Found.RECORDED
        return self.told(found, message, newest, **counts)

    def _ended(self, entry: LedgerEntry) -> str:
        record = entry.sides[self.side]
        ago = f"{in_words(max(self.now - entry.at, timedelta(0)))} ago ({clock(entry.at)})"
        if record.status is Status.FAILED:
            why = ": ".join(filter(None, [record.error_type, record.error])) or "no error is recorded"
            return f"failed {ago}: {why}"
        counts = ", ".join(f"{count} {name}" for name, count in record.counts.items() if count)
        return f"succeeded {ago}" + (f": {counts}" if counts else "")


def _newest(ledger: RunLedger, kind: str, side: str, now: datetime) -> LedgerEntry | None:
    newest = ledger.newest(kind)
    if newest is None or _decided(newest, side):
        return newest
    # The newest of all was made for the other store alone: only now is it worth reading more than one.
    since = day_of(now) - timedelta(days=_DAYS_BACK)
    return next((entry for entry in reversed(list(ledger.entries(kind, since=since))) if _decided(entry, side)), None)


def _decided(entry: LedgerEntry, side: str) -> bool:
    # A run of some sites alone (`DayPlan.part`) says nothing of the day: it may have succeeded after the day failed.
    return _status(entry, side) in {Status.SUCCEEDED, Status.FAILED} and not entry.facts.get("part")


def _status(entry: LedgerEntry, side: str) -> Status | None:
    record = entry.sides.get(side)
    return None if record is None else record.status


def in_words(duration: timedelta) -> str:
    """Return a duration as people say it, in its two largest units: "2 days 3 hours", "40 seconds"."""
    left = max(int(duration.total_seconds()), 0)
    counts: list[tuple[int, str]] = []
    for seconds, unit in _UNITS:
        count, left = divmod(left, seconds)
        counts.append((count, unit))
    first = next((number for number, (count, _) in enumerate(counts) if count), 0)
    told = [f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in counts[first : first + 2] if count]
    return " ".join(told) or "0 seconds"


def clock(instant: datetime) -> str:
    """Return an instant as São Paulo's clocks show it, zone named."""
    return f"{instant.astimezone(SAO_PAULO):%Y-%m-%d %H:%M:%S} {SAO_PAULO_NAME}"
