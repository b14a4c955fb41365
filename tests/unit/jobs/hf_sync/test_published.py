"""Who has changed the published dataset since the last sync, told from its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest

from data_platform.jobs.hf_sync.published import ChangedBy, Published, stamp_line
from data_platform.managers.hub.repository import CommitNote, RemoteFile
from data_platform.managers.hub.session import HeadMovedError

MARCH, APRIL, EXTRA = "data/train-2024-03.parquet", "data/train-2024-04.parquet", "data/train-extra.parquet"


def note(number: int, *lines: str, ours: bool = True) -> CommitNote:
    """A commit; one of ours carries the mark that every write of this package has."""
    message = "\n\n".join([*lines, *([f"govbr-write: {uuid4()}"] if ours else [])])
    return CommitNote(f"{number:040d}", "title", message)


class Repository:
    """A history and the files of its commits, the newest first."""

    def __init__(self, *commits: tuple[CommitNote, Mapping[str, str]]) -> None:
        self._notes = [each for each, _ in commits]
        self._files = {each.commit: files for each, files in commits}
        self.listings = 0
        self.first = 0

    def head(self) -> str:
        return self._notes[0].commit

    def history(self, *, until: Any) -> Sequence[CommitNote]:
        return self._notes[self.first :]

    def files(self, commit: str) -> dict[str, RemoteFile]:
        self.listings += 1
        return {path: RemoteFile(path, 1, blob, large=True) for path, blob in self._files[commit].items()}

    def look(self) -> Published:
        of: Any = self
        return Published.of(of)


SYNC = note(1, "3 rows changed", stamp_line("77/1/1000"))
THERE = {MARCH: "m1", APRIL: "a1", "README.md": "r1"}


def test_right_after_a_sync_nobody_has() -> None:
    found = Repository((SYNC, THERE), (note(0), {})).look()
    assert (found.stamp, found.changed_by, list(found.changed)) == ("77/1/1000", ChangedBy.NOBODY, [])


@pytest.mark.parametrize(
    ("since", "by", "changed"),
    [
        ([(False, {"README.md": "r2"})], ChangedBy.NOBODY, []),
        ([(True, {MARCH: "m2"})], ChangedBy.PIPELINE, [MARCH]),
        ([(False, {MARCH: "m2"})], ChangedBy.OTHERS, [MARCH]),
        ([(False, {EXTRA: "x"})], ChangedBy.OTHERS, [EXTRA]),
        ([(False, {MARCH: ""})], ChangedBy.OTHERS, [MARCH]),
        ([(False, {EXTRA: "x"}), (False, {EXTRA: ""})], ChangedBy.NOBODY, []),
        # a card edited, before or after what the pipeline wrote
        ([(True, {MARCH: "m2"}), (False, {"README.md": "r2"})], ChangedBy.PIPELINE, [MARCH]),
        ([(False, {"README.md": "r2"}), (True, {MARCH: "m2"})], ChangedBy.PIPELINE, [MARCH]),
        # others changed one file, the pipeline another, or the same one after them
        ([(False, {APRIL: "a2"}), (True, {MARCH: "m2"})], ChangedBy.OTHERS, [MARCH, APRIL]),
        ([(False, {MARCH: "m2"}), (True, {MARCH: "m3"})], ChangedBy.OTHERS, [MARCH]),
        # others took back what they did, the pipeline wrote elsewhere
        ([(False, {APRIL: "a2"}), (True, {MARCH: "m2"}), (False, {APRIL: "a1"})], ChangedBy.PIPELINE, [MARCH]),
    ],
)
def test_who_changed_data_since(since: list[tuple[bool, dict[str, str]]], by: ChangedBy, changed: list[str]) -> None:
    commits: list[tuple[CommitNote, Mapping[str, str]]] = [(SYNC, THERE)]
    for number, (ours, edit) in enumerate(since, start=2):
        files = {path: blob for path, blob in {**commits[0][1], **edit}.items() if blob}
        commits.insert(0, (note(number, ours=ours), files))
    found = Repository(*commits).look()
    assert (found.stamp, found.changed_by, list(found.changed)) == ("77/1/1000", by, changed)


def test_only_a_commit_of_this_package_carries_a_stamp() -> None:
    """Somebody may quote the message of ours: that is no stamp, nor is one that the pipeline leaves out."""
    quoted = note(2, "Revert", stamp_line("77/1/2000"), ours=False)
    found = Repository((quoted, THERE), (SYNC, THERE)).look()
    assert found.stamp == "77/1/1000"
    assert Repository((note(3), THERE), (note(2), {})).look().stamp == ""


def test_a_history_without_a_stamp_says_that_there_is_none() -> None:
    found = Repository((note(1, ours=False), THERE)).look()
    assert (found.stamp, found.changed_by) == ("", ChangedBy.NOBODY)


def test_a_commit_made_while_we_look_is_left_for_later() -> None:
    """The history is read after the head: what is newer is not looked at; a head that is not in it is."""
    repository = Repository((note(2, ours=False), {**THERE, EXTRA: "x"}), (SYNC, THERE))
    repository.first = 1
    with pytest.raises(HeadMovedError, match="somebody committed while we looked"):
        repository.look()


def test_without_a_commit_since_nothing_more_is_listed() -> None:
    repository = Repository((SYNC, THERE), (note(0), {}))
    repository.look()
    assert repository.listings == 1
