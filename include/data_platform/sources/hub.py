"""A dataset on the Hub: which files a commit has, and fetching one of them into the local cache.

Endpoint and token come from `Settings` and are passed on each call, never left to the environment.
A file is fetched whole, to disk (the cache of huggingface_hub, `HF_HOME`); a file of a known commit
that is already there needs no network. Errors become ours, retryable by their type.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import NoReturn, TypeVar

from data_platform.errors import SourceError, SourceUnavailableError
from data_platform.settings import Settings

__all__ = ["HubDataset"]

T = TypeVar("T")

_PUBLIC_HUB = "https://huggingface.co"
_TIMEOUT_SECONDS = 30.0
_RETRY_STATUS = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


class HubDataset:
    """One dataset on the Hub, for reading.

    Args:
        dataset: its id, `owner/name`.
        settings: endpoint and token.
    """

    def __init__(self, dataset: str, settings: Settings) -> None:
        self.dataset = dataset
        self._endpoint = settings.hf_endpoint.rstrip("/") or _PUBLIC_HUB
        # False, not None: None would make the client look for a token of its own.
        self._token: str | bool = settings.hf_token or False

    def __str__(self) -> str:
        """Return how messages call it."""
        return f"dataset {self.dataset!r} on {self._endpoint}"

    def files_at(self, revision: str = "") -> tuple[str, tuple[str, ...]]:
        """Return the id of the commit that a revision names, and the paths of its files.

        Args:
            revision: branch, tag or commit; empty means the head of the main branch.

        Raises:
            SourceError: no such dataset or revision, or no access.
            SourceUnavailableError: the Hub did not answer as it should.
        """
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self._endpoint, token=self._token)
        where = f"revision {revision!r} of {self}" if revision else str(self)
        info = self._call(
            where, lambda: api.dataset_info(self.dataset, revision=revision or None, timeout=_TIMEOUT_SECONDS)
        )
        if not info.sha:
            raise SourceError(f"{where} has no commit", hint="upload the dataset first, or check HF_ENDPOINT")
        return info.sha, tuple(sorted(sibling.rfilename for sibling in info.siblings or ()))

    def fetch(self, path: str, commit: str) -> Path:
        """Return the local copy of one file of a commit, fetching it if it is not in the cache.

        Raises:
            SourceError: no such file or commit, no access, or no room for it.
            SourceUnavailableError: the Hub did not answer as it should.
        """
        from huggingface_hub import hf_hub_download

        def download() -> str:
            return hf_hub_download(
                self.dataset, path, repo_type="dataset", revision=commit, endpoint=self._endpoint, token=self._token
            )

        return Path(self._call(f"{path} at commit {commit} of {self}", download))

    def _call(self, what: str, call: Callable[[], T]) -> T:
        try:
            return call()
        # The client's failures have no common base: HTTP, operating system, Xet (a bare RuntimeError), bad JSON.
        except Exception as error:  # noqa: BLE001 -- what is none of these is raised as it is
            self._raise(what, error)

    def _raise(self, what: str, error: Exception) -> NoReturn:
        from huggingface_hub import errors

        # "Not found locally" wraps what the Hub said.
        if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
            error = error.__cause__
        for kinds, happened, hint in self._terminal():
            if isinstance(error, kinds):
                raise SourceError(f"{what} {happened} ({type(error).__name__})", hint=hint) from error
        if isinstance(error, errors.HfHubHTTPError):
            self._raise_status(what, error, error.response.status_code)
        # The Hub's own errors are OSErrors without a number; one with a number is this machine's.
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
            hint = "the cache needs room and write permission; HF_HOME says where it is"
            raise SourceError(f"{what} cannot be kept in the cache: {error}", hint=hint) from error
        # What the client's own errors are made of: httpx's base class, or httpx2's from version 2 of the client on.
        transport: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
        if isinstance(error, (transport, errors.XetDownloadError, OSError)) or type(error) is RuntimeError:
            raise SourceUnavailableError(f"{what}: no answer: {error}", hint="try again later") from error
        raise error

    def _terminal(self) -> list[tuple[tuple[type[Exception], ...], str, str]]:
        """Return what another try cannot help: (errors, what happened, what to do), the first that fits holds."""
        from huggingface_hub import errors

        not_a_hub = (errors.FileMetadataError, ValueError, KeyError, TypeError)
        access = "ask for access on the dataset's page, and set HF_TOKEN to a token of that account"
        return [
            ((errors.GatedRepoError,), "has restricted access", access),
            (
                (errors.RepositoryNotFoundError,),
                "does not exist or is private",
                f"check its name; {self._about_token()}",
            ),
            ((errors.RevisionNotFoundError,), "does not exist", "give a branch, tag or commit that exists"),
            ((errors.RemoteEntryNotFoundError,), "does not exist", "plan anew from the present commit"),
            ((errors.OfflineModeIsEnabled,), "is not in the cache, and HF_HUB_OFFLINE is set", "unset it"),
            (
                not_a_hub,
                "is not described as a Hub would",
                f"check the id (owner/name) and HF_ENDPOINT={self._endpoint}",
            ),
        ]

    def _raise_status(self, what: str, error: Exception, status: int) -> NoReturn:
        if status in _RETRY_STATUS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            limited = "; with a token the limits are higher" if status == HTTPStatus.TOO_MANY_REQUESTS else ""
            raise SourceUnavailableError(
                f"{what}: the Hub answered {status}", hint=f"try again later{limited}"
            ) from error
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            # Of what does not exist the Hub tells strangers no more than of what is private.
            raise SourceError(
                f"{what}: access denied ({status})", hint=f"check its name; {self._about_token()}"
            ) from error
        raise SourceError(f"{what}: the Hub answered {status}: {error}", hint="check the id and HF_ENDPOINT") from error

    def _about_token(self) -> str:
        return "HF_TOKEN has no access to it, or is no longer valid" if self._token else "HF_TOKEN is not set"
