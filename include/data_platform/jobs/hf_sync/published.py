"""What stands at the head of the published dataset, how far it has come, and who has changed it since our last sync.

Each sync writes its stamp into the message of its commit (`govbr-sync: <stamp>`), where no restore of the database can
turn it back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from data_platform.managers.hub.layout import data_files, stray_files
from data_platform.managers.hub.repository import CommitNote, HubRepository, RemoteFile
from data_platform.managers.hub.session import HeadMovedError
from data_platform.managers.hub.state import Snapshot

__all__ = ["ChangedBy", "Published", "stamp_line"]

_STAMP = re.compile(r"^govbr-sync: (?P<stamp>\S+)\s*$", re.MULTILINE)


class ChangedBy(StrEnum):
    """Who has changed data files since the last sync."""

    NOBODY = "nobody"
    PIPELINE = "the pipeline, in another mode"
    OTHERS = "others"


@dataclass(frozen=True)
class Published:
    """The head of the main dataset.

    Attributes:
        snapshot: its commit and files.
        stamp: what the newest sync wrote there; "" if there is none in the newest 1,000 commits.
        changed_by: who has changed data files since that one; nobody if there is none.
        changed: the data files that were.
    """

    snapshot: Snapshot
    stamp: str
    changed_by: ChangedBy
    changed: Sequence[str]

    @classmethod
    def of(cls, repository: HubRepository) -> Self:
        """Look at the head.

        Raises:
            HeadMovedError: it moved while we looked.
            StoreError: no such dataset, no access, or its data files are not where they belong.
            StoreUnavailableError: the Hub did not answer as it should.
        """
        snapshot = Snapshot.of(repository)
        notes = _up_to(repository.history(until=_has_stamp), snapshot.commit, str(repository))
        place = next((place for place, note in enumerate(notes) if _stamp_of(note)), None)
        strays = stray_files(snapshot.files)
        if place is None:
            return cls(snapshot, "", ChangedBy.OTHERS if strays else ChangedBy.NOBODY, strays)
        ours, since = notes[place], notes[:place]
        changed = _changed(repository.files(ours.commit), snapshot.files) if since else set[str]()
        # Commits of others that left the data alone, as who edits the card does, make nobody's data theirs.
        foreign = set[str]()
        for newest, before in _foreign_runs(notes[: place + 1]) if changed else ():
            foreign |= _changed(repository.files(before.commit), repository.files(newest.commit))
        by = ChangedBy.OTHERS if strays or changed & foreign else ChangedBy.PIPELINE if changed else ChangedBy.NOBODY
        return cls(snapshot, _stamp_of(ours), by, sorted(changed.union(strays)))


def stamp_line(stamp: str) -> str:
    """Return the line that a sync's commit carries."""
    return f"govbr-sync: {stamp}"


def _changed(before: Mapping[str, RemoteFile], after: Mapping[str, RemoteFile]) -> set[str]:
    """Return the data files that differ between two commits."""
    paths = data_files({*before, *after})
    return {p for p in paths if p not in before or p not in after or before[p].blob != after[p].blob}


def _up_to(notes: Sequence[CommitNote], head: str, name: str) -> Sequence[CommitNote]:
    place = next((place for place, note in enumerate(notes) if note.commit == head), None)
    if place is None:
        raise HeadMovedError(f"{name}: somebody committed while we looked", hint="read it anew and try again")
    return notes[place:]


def _foreign_runs(notes: Sequence[CommitNote]) -> Iterator[tuple[CommitNote, CommitNote]]:
    """Give of each run of commits that others made the newest one, and the one of ours before all of them."""
    newest: CommitNote | None = None
    for note in notes:
        if note.write_id:
            if newest is not None:
                yield newest, note
            newest = None
        elif newest is None:
            newest = note


def _has_stamp(note: CommitNote) -> bool:
    return bool(_stamp_of(note))


def _stamp_of(note: CommitNote) -> str:
    """Return the stamp of a commit of ours, "" for every other."""
    found = _STAMP.search(note.message) if note.write_id else None
    return found["stamp"] if found else ""
