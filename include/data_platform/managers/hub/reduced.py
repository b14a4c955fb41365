"""The reduced dataset: four columns of the main one, in the same files, made from it and from nothing else.

Each of its commits names the main commit that it was made from (`derived from <id>`). That stamp says which of the
main dataset's files have changed since; if there is none to trust, all are made anew. So whatever happened to a writer
between the two datasets, the next one brings them together.
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

from data_platform.errors import ConfigurationError, DataPlatformError, StoreError
from data_platform.managers.hub.layout import REDUCED_SCHEMA, check_schema, data_files, layout_of, write_reduced
from data_platform.managers.hub.publish import PartitionFile, publish
from data_platform.managers.hub.repository import HubRepository, RemoteFile
from data_platform.managers.hub.scratch import scratch_folder
from data_platform.managers.hub.session import Backoff, HeadMovedError, RepositoryMissingError
from data_platform.managers.hub.state import Snapshot

__all__ = ["DERIVED_FROM", "ReducedDataset"]

#: Says the same as the stamp, for people, and lets every commit change something.
DERIVED_FROM = "derived_from.json"
_STAMP = re.compile(r"\bderived from (?P<commit>[0-9a-f]{40})\b")


class ReducedDataset:
    """Keeps the reduced dataset in step with the main one.

    Args:
        main: the main dataset.
        reduced: the reduced one.
        backoff: how often to begin anew when somebody else commits first.

    Raises:
        ConfigurationError: both are the same dataset: its rows would be cut down to four columns.
    """

    def __init__(self, main: HubRepository, reduced: HubRepository, backoff: Backoff) -> None:
        if main.dataset.casefold() == reduced.dataset.casefold():  # the Hub does not tell them apart either
            raise ConfigurationError(
                f"the reduced dataset is to be {reduced.dataset!r}, which is the main one",
                hint=f"set HF_REDUCED_DATASET to another id, or leave it unset for {main.dataset}-reduced",
            )
        self._main = main
        self._reduced = reduced
        self._backoff = backoff

    def require(self) -> None:
        """Refuse to go on if the reduced dataset is not there: it could not follow.

        Raises:
            StoreError: it does not exist, or HF_TOKEN does not see it.
            StoreUnavailableError: the Hub did not answer as it should.
        """
        try:
            self._reduced.head()
        except RepositoryMissingError as error:
            raise StoreError(
                f"{self._reduced} does not exist or HF_TOKEN does not see it",
                hint=f"create it once (hf repos create {self._reduced.dataset} --type dataset), "
                "or set HF_REDUCED_DATASET to the one to use",
            ) from error

    @property
    def repository(self) -> HubRepository:
        """The reduced dataset."""
        return self._reduced

    def bring_up(self, *, anew: bool = False) -> str:
        """Derive the reduced dataset from the head of the main one, if it is not already; return its head.

        Args:
            anew: derive every file, whatever the stamp says.

        Raises:
            DataPlatformError: of the kind that says whether to try again; the main dataset is unharmed.
        """
        try:
            return self._backoff.run(partial(self._bring_up, anew=anew), on=(HeadMovedError,))
        except DataPlatformError as error:
            told = f"{error.message}; the main dataset has its rows, the reduced one follows with the next write"
            raise type(error)(told, hint=error.hint) from error

    def _bring_up(self, *, anew: bool) -> str:
        head = self._reduced.head()
        derived_from = None if anew else self._stamp(head)
        # Asked after the reduced head: as long as that one stays, no later main commit can have been derived.
        main = self._main.head()
        if derived_from == main:
            return head
        source, target = Snapshot.of(self._main, main), Snapshot.of(self._reduced, head)
        if source.layout.legacy:
            return head  # nobody has written to it yet; its reduced one is as old
        before = self._files_then(derived_from) if derived_from else {}
        same = [
            path
            for path in source.layout.partitions
            if path in before and path in target.files and before[path].blob == source.files[path].blob
        ]
        changed = [path for path in source.layout.partitions if path not in same]
        with scratch_folder() as folder:
            return publish(
                self._reduced,
                target,
                (PartitionFile(path, partial(self._write, source, path)) for path in changed),
                keep=same,
                schema=REDUCED_SCHEMA,
                scratch=folder,
                title=f"Follow the main dataset (derived from {main})",
                notes={DERIVED_FROM: self._note(main)},
            )

    def _stamp(self, head: str) -> str | None:
        """Return the main commit that the data files of the reduced head were made from; None if nobody can say."""
        for note in self._reduced.history():
            if found := _STAMP.search(f"{note.title}\n{note.message}"):
                if note.commit == head or self._same_data(note.commit, head):
                    return found["commit"]
                return None
        return None

    def _same_data(self, commit: str, head: str) -> bool:
        """Whether somebody's later commits left the data files alone, as who edits the card does."""
        before, after = self._reduced.files(commit), self._reduced.files(head)
        paths = data_files({*before, *after})
        return not layout_of(paths).legacy and all(
            path in before and path in after and before[path].blob == after[path].blob for path in paths
        )

    def _files_then(self, commit: str) -> dict[str, RemoteFile]:
        """Return the files of a commit of the main dataset; none if its history was squashed or begun anew since."""
        try:
            return self._main.files(commit)
        except StoreError:  # the head could be read just now, so it is this commit that is not there
            return {}

    def _note(self, main: str) -> bytes:
        # A write that changes none of the four columns changes no file here, and there are no empty commits on the Hub.
        return (json.dumps({"dataset": self._main.dataset, "commit": main}, indent=2) + "\n").encode()

    @staticmethod
    def _write(source: Snapshot, path: str, local: Path) -> int:
        opened = source.reader.open(source.files[path])
        check_schema(opened.schema, f"{source.reader.repository}: {path}")
        opened.fetch(range(opened.metadata.num_row_groups), REDUCED_SCHEMA.names)
        return write_reduced(local, opened.decode())
