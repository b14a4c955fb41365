"""Which staged files may go: those that are old enough and whose rows both stores are known to hold (DESIGN §5).

What is known stands in the run ledger. A store holds a file's rows if a write of that file succeeded there, if a repair
made up for one that did not, or if the store was shown to be equal to the other one later: by a comparison that passed,
or for the dataset by a sync. A file that nobody has written is never removed; it is told.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from data_platform.errors import IntegrityError, SourceError
from data_platform.managers.ledger.entry import LedgerEntry, Status
from data_platform.managers.ledger.run_ledger import RECONCILE, REPAIR, SYNC, WRITE, RunLedger
from data_platform.managers.staging import StagedFile, Staging
from data_platform.managers.storage_mode import ReadSource
from data_platform.models.days import utc_now

__all__ = ["KEPT_DAYS", "PruneOutcome", "held_by", "prune"]

_LOG = logging.getLogger(__name__)
#: How long a staged file stays at least.
KEPT_DAYS = 30
_DRAFT_SECONDS = 86_400.0


@dataclass(frozen=True, kw_only=True)
class PruneOutcome:
    """What a pruning did; files = removed + young + needed.

    Attributes:
        files: staged files that there were.
        removed: those that went; in a dry run, that would go.
        young: those that are not old enough.
        needed: those that stay since not both stores are known to hold them.
        needed_files: the uris of these.
        drafts: unfinished files of killed writers that went.
        dry_run: whether nothing was removed.
    """

    files: int
    removed: int
    young: int
    needed: int
    needed_files: Sequence[str] = ()
    drafts: int = 0
    dry_run: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        return asdict(self) | {"needed_files": list(self.needed_files)}


def prune(
    staging: Staging,
    ledger: RunLedger,
    *,
    keep_days: int = KEPT_DAYS,
    now: datetime | None = None,
    dry_run: bool = False,
) -> PruneOutcome:
    """Remove the staged files that may go.

    Args:
        staging: the place.
        ledger: what was written.
        keep_days: how old a file must be, in days.
        now: the present (default: now), with a zone.
        dry_run: say what would go.

    Raises:
        TransientError: the place or the ledger does not answer.
        LedgerError: an object of the ledger is damaged.
    """
    before = (now or utc_now()) - timedelta(days=keep_days)
    files = staging.files()
    old = [file for file in files if file.created_at < before]
    known = _Known(ledger)
    held = {file.name for file in old if held_by(file, ledger, known=known) == set(ReadSource)}
    held = _with_sources(staging, files, held)
    going = [file for file in old if file.name in held]
    needed = [file for file in old if file.name not in held]
    if not dry_run:
        for file in going:
            staging.remove(file)
    if needed:
        _LOG.warning("%d staged files are old and not known to be in both stores: %s", len(needed), needed[0].uri)
    return PruneOutcome(
        files=len(files),
        removed=len(going),
        young=len(files) - len(old),
        needed=len(needed),
        needed_files=[file.uri for file in needed],
        drafts=0 if dry_run else staging.objects.sweep(_DRAFT_SECONDS),
        dry_run=dry_run,
    )


class _Known:
    """What the ledger says of all files alike, read once."""

    def __init__(self, ledger: RunLedger) -> None:
        self.open = {missed.key for missed in ledger.missed()}
        # Settled by a person, who may have known better, but not by the rows.
        self.open |= {_settled(e) for e in ledger.entries(REPAIR) if e.facts.get("accepted_by")}
        self.synced = [e.started_at for e in ledger.entries(SYNC) if not e.failed_sides and e.operation != "verify"]
        self.compared = [e.started_at for e in ledger.entries(RECONCILE) if e.facts.get("passed")]


def _settled(repair: LedgerEntry) -> tuple[str, str, str]:
    settles = repair.facts.get("settles") or {}
    return (str(settles.get("kind")), str(settles.get("entry_id")), str(settles.get("side")))


def held_by(file: StagedFile, ledger: RunLedger, *, known: _Known | None = None) -> set[ReadSource]:
    """Return the stores that are known to hold the rows of a file."""
    known = known or _Known(ledger)
    day = file.run_date
    writes = [
        entry
        for entry in ledger.entries(WRITE, since=day, until=day)
        if entry.staged_file and "/".join(entry.staged_file.split("/")[-3:]) == file.name
    ]
    held = {side for side in ReadSource for entry in writes if _reached(entry, side, known)}
    if not held:
        return held
    ended = max(entry.at for entry in writes)
    if any(at >= ended for at in known.compared):
        return set(ReadSource)
    if ReadSource.POSTGRES in held and any(at >= ended for at in known.synced):
        held.add(ReadSource.HUGGINGFACE)
    return held


def _reached(entry: LedgerEntry, side: ReadSource, known: _Known) -> bool:
    record = entry.sides.get(side.value)
    if record is None:
        return False
    settled = record.status is Status.FAILED and (entry.kind, entry.entry_id, side.value) not in known.open
    return record.status is Status.SUCCEEDED or settled


def _with_sources(staging: Staging, files: Sequence[StagedFile], held: set[str]) -> set[str]:
    """Return the names of held files, of the files that they were made from, and of what those were made from."""
    there = {file.name: file for file in files}
    found: set[str] = set()
    waiting = sorted(held)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            waiting += staging.read(there[name]).made_from if name in there else ()
        except (SourceError, IntegrityError):
            # It may go itself; what it was made from stays, and is told.
            _LOG.warning("%s cannot be read, so what it was made from stays", there[name].uri, exc_info=True)
    return found
