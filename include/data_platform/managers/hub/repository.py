"""One dataset on a Hub, for writing: its head, its files, and commits that are atomic and never made twice.

A commit names its parent, so it fails if somebody else was faster (`HeadMovedError`). The client never repeats a
commit by itself; this does, since each carries a mark of its own by which it is recognised in the history after an
answer was lost. Large files are uploaded one by one beforehand and can be deleted locally then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from data_platform.errors import StoreError, StoreUnavailableError
from data_platform.failpoints import failpoint
from data_platform.managers.hub.session import Backoff, HeadMovedError, HubLimitedError, HubSession
from data_platform.settings import Settings

__all__ = ["CommitNote", "HubRepository", "RemoteFile", "Upload"]

#: Files uploaded at once.
_THREADS = 4
#: A Hub may show the old head, or the old history, for a moment after a commit.
_CATCHING_UP = Backoff(tries=8, first_s=0.25, most_s=5.0, total_s=30.0)
#: Commits that are looked through for one of ours.
_MOST_HISTORY = 1_000
_MARK = "govbr-write:"
_MARK_LINE = re.compile(rf"^{_MARK} (?P<id>[0-9a-f-]{{36}})\s*$", re.MULTILINE)


@dataclass(frozen=True)
class RemoteFile:
    """One file of a commit.

    Attributes:
        path: its path in the repository.
        size: its bytes.
        blob: what its content is known by: SHA-256 of a large file, git's id of a small one.
        large: whether it is kept outside git.
    """

    path: str
    size: int
    blob: str
    large: bool


@dataclass(frozen=True)
class CommitNote:
    """What the history says of a commit: its id, and the first line and the rest of its message."""

    commit: str
    title: str
    message: str

    @property
    def write_id(self) -> str:
        """The mark that `HubRepository.commit` gave it; "" if somebody else made it."""
        found = _MARK_LINE.search(f"{self.title}\n{self.message}")
        return found["id"] if found else ""


@dataclass(frozen=True)
class Upload:
    """A file that is ready to be committed.

    Attributes:
        path: its path in the repository.
        size: its bytes.
        operation: what the client knows it by.
    """

    path: str
    size: int
    operation: Any = field(repr=False)


class _LateError(StoreUnavailableError):
    """The Hub does not show yet what it has taken."""


class HubRepository:
    """One dataset on a Hub. Its state is its session's, and which heads its commits replaced; fit for many threads.

    Args:
        dataset: its id, `owner/name`.
        settings: endpoint and token.
        backoff: how requests are tried again.
        timeout_s: the longest silence of the Hub that is borne, in seconds.
    """

    def __init__(
        self, dataset: str, settings: Settings, *, backoff: Backoff | None = None, timeout_s: float | None = None
    ) -> None:
        limits = {} if timeout_s is None else {"timeout_s": timeout_s}
        self.session = HubSession(dataset, settings, backoff=backoff, **limits)
        self.dataset = dataset
        # An upload is tried again inside the client too.
        self._upload_backoff = Backoff(tries=3)
        self._replaced = frozenset[str]()

    def __str__(self) -> str:
        """Return how messages call it."""
        return str(self.session)

    def head(self) -> str:
        """Return the id of the newest commit of the main branch; never one that a commit of this object has replaced.

        Raises:
            StoreError: no such dataset, or no access.
            StoreUnavailableError: the Hub did not answer as it should, or goes on showing a head that was replaced.
        """
        try:
            return _CATCHING_UP.run(self._head, on=(_LateError,))
        except _LateError:
            self._replaced = frozenset()  # so long nobody is late: the next look takes what is there
            raise

    def _head(self) -> str:
        def ask() -> str:
            return str(self.session.api().dataset_info(self.dataset, expand=["sha"]).sha or "")

        sha = self.session.call("asking for its head", ask)
        if not sha:
            raise StoreError(f"{self} has no commit", hint="check HF_ENDPOINT")
        if sha in self._replaced:
            raise _LateError(
                f"{self} shows {sha} as its head, though our commit has replaced it",
                hint="the Hub is late: try again later; if somebody put the dataset back, look at its history",
            )
        return sha

    def files(self, commit: str) -> dict[str, RemoteFile]:
        """Return path -> file of a commit, from one listing.

        Raises:
            StoreError: no such commit, or no access.
            StoreUnavailableError: the Hub did not answer as it should.
        """

        def ask() -> list[Any]:
            api = self.session.api()
            return list(api.list_repo_tree(self.dataset, recursive=True, revision=commit, repo_type="dataset"))

        found: dict[str, RemoteFile] = {}
        for entry in self.session.call("listing its files", ask):
            if hasattr(entry, "blob_id"):  # folders have none
                large = entry.lfs is not None
                blob = entry.lfs.sha256 if large else entry.blob_id
                found[entry.path] = RemoteFile(entry.path, entry.size, blob, large)
        return found

    def history(self, *, until: Callable[[CommitNote], bool] | None = None) -> list[CommitNote]:
        """Return the newest commits of the main branch, the newest first.

        Args:
            until: says of a commit that no older ones than its page are needed; without one of these, about 1,000 are
                returned. None: one page, of as many as the Hub chooses.

        Raises:
            StoreError: no such dataset, or no access.
            StoreUnavailableError: the Hub did not answer as it should.
        """
        found: list[CommitNote] = []
        url = f"{self.session.endpoint}/api/datasets/{self.dataset}/commits/main"
        while url:
            notes, url = self._history_page(url)
            found += notes
            if until is None or any(map(until, notes)) or len(found) >= _MOST_HISTORY:
                break
        return found

    def _history_page(self, url: str) -> tuple[list[CommitNote], str]:
        """Return a page of the history, and the address of the next; "" if it is the last."""

        def ask() -> Any:  # noqa: ANN401 - httpx
            from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

            # Not the client's own listing: it would fetch every page of a history of thousands.
            answer = self.session.http().get(url, headers=self.session.headers())
            hf_raise_for_status(answer)
            listed = answer.json()
            if not isinstance(listed, list) or not all(isinstance(n, dict) and n.get("id") for n in listed):
                raise HubLimitedError(f"{self}: reading its history: the answer is no list", hint="try again later")
            return listed, str(answer.links.get("next", {}).get("url", ""))

        listed, following = self.session.call("reading its history", ask)
        notes = [CommitNote(note["id"], note.get("title") or "", note.get("message") or "") for note in listed]
        # Which page is next is the Hub's to say, which host is asked is ours: the token goes with it.
        return notes, urlsplit(url)._replace(query=urlsplit(following).query).geturl() if following else ""

    def url(self, path: str, commit: str) -> str:
        """Return the address of a file of a commit."""
        from huggingface_hub import hf_hub_url

        where = {"repo_type": "dataset", "revision": commit, "endpoint": self.session.endpoint}
        return str(hf_hub_url(self.dataset, path, **where))

    def upload(self, contents: Mapping[str, Path | bytes]) -> list[Upload]:
        """Bring some files to the Hub, in no commit yet. Local files are not needed any more afterwards.

        Args:
            contents: path in the repository -> local file or bytes.

        Raises:
            ConfigurationError: the token is missing or not valid.
            StoreError: the Hub refuses: no permission, no room.
            StoreUnavailableError: the Hub did not answer as it should.
        """
        from huggingface_hub import CommitOperationAdd

        self.session.require_token()
        failpoint("hub.before_preupload")
        sizes = {path: len(c) if isinstance(c, bytes) else c.stat().st_size for path, c in contents.items()}

        def send() -> list[Any]:
            operations = [CommitOperationAdd(path, content) for path, content in contents.items()]
            api = self.session.api()
            api.preupload_lfs_files(
                self.dataset, operations, repo_type="dataset", free_memory=True, num_threads=_THREADS
            )
            return operations

        sent = self.session.call(f"uploading {', '.join(sizes)}", send, backoff=self._upload_backoff)
        return [Upload(path, size, operation) for (path, size), operation in zip(sizes.items(), sent, strict=True)]

    def commit(
        self,
        parent: str,
        uploads: Sequence[Upload],
        *,
        delete: Iterable[str] = (),
        title: str,
        description: str = "",
    ) -> str:
        """Make one commit with all uploads and deletions, or none.

        Args:
            parent: id of the commit that all of this was made from.
            uploads: files to be there, all different from what `parent` has.
            delete: paths to be gone.
            title: first line of the message.
            description: more of it.

        Returns:
            The id of the new commit; `parent` if there is nothing to do.

        Raises:
            HeadMovedError: the head is not `parent` any more; nothing was done.
            ConfigurationError: the token is missing or not valid.
            StoreError: the Hub refuses: no permission, no room.
            StoreUnavailableError: the Hub did not answer. The commit may have been made; the same again is safe.
            BusyError: another write did not end in time.
        """
        self.session.require_token()
        paths = sorted(delete)
        if not uploads and not paths:
            return self._unmoved(parent)
        mark = str(uuid4())
        text = "\n\n".join(filter(None, [description, f"{_MARK} {mark}"]))

        def attempt() -> str:
            failpoint("hub.before_commit")
            try:
                made = self.session.once("committing", lambda: self._send(parent, uploads, paths, title, text))
            except (HeadMovedError, StoreUnavailableError):
                # Our own commit may be what moved the head, or what was not answered.
                if ours := self._made(mark):
                    return ours
                raise
            failpoint("hub.after_commit")
            return made

        made = self.session.call("committing", attempt)
        if not paths and not self._is_ours(made, mark):
            return self._unmoved(parent)
        self._replaced |= {parent} - {made}
        return made

    def _send(self, parent: str, uploads: Sequence[Upload], delete: Sequence[str], title: str, text: str) -> str:
        from huggingface_hub import CommitOperationDelete

        operations = [upload.operation for upload in uploads]
        operations += [CommitOperationDelete(path, is_folder=False) for path in delete]
        made = self.session.api().create_commit(
            self.dataset,
            operations,
            commit_message=title,
            commit_description=text,
            parent_commit=parent,
            repo_type="dataset",
        )
        return str(made.oid)

    def _made(self, mark: str) -> str | None:
        """Return the id of the commit with our mark, if it is in the history."""
        return next((note.commit for note in self.history() if note.write_id == mark), None)

    def _is_ours(self, commit: str, mark: str) -> bool:
        """Whether the client really posted: if all files are there it does not, and answers with the head."""

        def look() -> bool:
            notes = self.history()
            if not any(note.commit == commit for note in notes):
                raise _LateError(f"{self}: its history does not show {commit} yet", hint="try again later")
            return any(note.commit == commit and note.write_id == mark for note in notes)

        try:
            return _CATCHING_UP.run(look, on=(_LateError,))
        except StoreUnavailableError:
            return True  # one way or the other the head has every file

    def _unmoved(self, parent: str) -> str:
        """Return the commit that was to be the parent, if it is the head.

        Raises:
            HeadMovedError: it is not: somebody else made the very change.
        """
        if (head := self.head()) != parent:
            raise HeadMovedError(f"{self}: somebody else committed {head} first", hint="read it anew and try again")
        return parent
