"""One dataset on a Hub, for writing: its head, its files, and commits that are atomic and never made twice.

A commit names its parent, so it fails if somebody else was faster (`HeadMovedError`). The client never repeats a
commit by itself; this does, since each carries a mark of its own by which it is recognised in the history after an
answer was lost. Large files are uploaded one by one beforehand and can be deleted locally then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from data_platform.errors import StoreError, StoreUnavailableError
from data_platform.failpoints import failpoint
from data_platform.managers.hub.session import Backoff, HeadMovedError, HubSession
from data_platform.settings import Settings

__all__ = ["CommitNote", "HubRepository", "RemoteFile", "Upload"]

#: Files uploaded at once.
_THREADS = 4
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


class HubRepository:
    """One dataset on a Hub. Holds no state but its session's; safe to use from several threads.

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

    def __str__(self) -> str:
        """Return how messages call it."""
        return str(self.session)

    def head(self) -> str:
        """Return the id of the newest commit of the main branch.

        Raises:
            StoreError: no such dataset, or no access.
            StoreUnavailableError: the Hub did not answer as it should.
        """

        def ask() -> str:
            return str(self.session.api().dataset_info(self.dataset, expand=["sha"]).sha or "")

        sha = self.session.call("asking for its head", ask)
        if not sha:
            raise StoreError(f"{self} has no commit", hint="check HF_ENDPOINT")
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

    def history(self) -> list[CommitNote]:
        """Return the newest commits of the main branch, the newest first; how many is the Hub's choice.

        Raises:
            StoreError: no such dataset, or no access.
            StoreUnavailableError: the Hub did not answer as it should.
        """
        url = f"{self.session.endpoint}/api/datasets/{self.dataset}/commits/main"

        def ask() -> list[dict[str, Any]]:
            from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

            # Not the client's own listing: it would fetch every page of a history of thousands.
            answer = self.session.http().get(url, headers=self.session.headers())
            hf_raise_for_status(answer)
            return list(answer.json())

        notes = self.session.call("reading its history", ask)
        return [CommitNote(note["id"], note.get("title") or "", note.get("message") or "") for note in notes]

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
        return made if paths or self._is_ours(made, mark) else self._unmoved(parent)

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
        try:
            return self._made(mark) == commit
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
