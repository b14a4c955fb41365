"""Requests to a Hub through its own client: address and token from the settings, time limits, typed errors, retries.

Whatever goes wrong becomes one of our errors, by whose type alone it is tried again. The Hub's own words are passed on
(quota, permission); addresses of requests are not, since those of large files are signed, and no token ever is.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from secrets import SystemRandom
from typing import Any, TypeVar

from data_platform.errors import (
    BusyError,
    ConfigurationError,
    DataPlatformError,
    StoreError,
    StoreUnavailableError,
    TransientError,
)
from data_platform.settings import Settings

__all__ = ["Backoff", "HeadMovedError", "HubLimitedError", "HubSession", "RepositoryMissingError"]

T = TypeVar("T")

_PUBLIC_HUB = "https://huggingface.co"
#: The longest silence of the Hub, in seconds. Its answer to a commit of hundreds of files takes long.
_TIMEOUT_SECONDS = 180.0
_RETRY_STATUS = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_NO_ROOM_STATUS = frozenset(
    {HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.INSUFFICIENT_STORAGE}
)
#: Words by which the Hub refuses for want of room; it has no status of its own for that.
_NO_ROOM_WORDS = ("storage limit", "quota", "storage space")
_INVALID_TOKEN = "Invalid credentials"  # noqa: S105 - the Hub's words about one
#: Shorter ones are none that a Hub gives out, and would be found in any text.
_LEAST_SECRET = 8
#: What the Xet client reads from the environment when it starts; what is set already stays.
_XET_BOUNDS = {
    "HF_XET_SHARD_CACHE_SIZE_LIMIT": "256mb",
    "HF_XET_SHARD_CHUNK_INDEX_TABLE_MAX_SIZE": "4mb",
    "HF_XET_DATA_MAX_CONCURRENT_FILE_INGESTION": "2",
    "HF_XET_DATA_INGESTION_BLOCK_SIZE": "1mb",
}
_M_ARENA_MAX, _ARENAS = -8, 2  # mallopt(3)
_dice = SystemRandom()


class HeadMovedError(BusyError):
    """Somebody else committed first; what was prepared is to be prepared anew."""


class RepositoryMissingError(StoreError):
    """There is no such dataset, or the token does not see it."""


class HubLimitedError(StoreUnavailableError):
    """The Hub asks to come back later, or is down.

    Attributes:
        retry_after_s: how many seconds it asks to wait; 0 if it does not say.
    """

    retry_after_s: float = 0.0


@dataclass(frozen=True)
class Backoff:
    """How often and after which pauses to try again.

    Attributes:
        tries: most tries.
        first_s: pause after the first failure, in seconds; it doubles each time.
        most_s: longest pause. A pause that the Hub asks for is kept, however long.
        total_s: no try begins later than this.
    """

    tries: int = 7
    first_s: float = 0.5
    most_s: float = 30.0
    total_s: float = 600.0

    def run(
        self,
        call: Callable[[], T],
        *,
        on: tuple[type[TransientError], ...],
        but: tuple[type[TransientError], ...] = (),
    ) -> T:
        """Call until it works or an error is not worth another try, and raise the last one.

        Args:
            call: what to try.
            on: errors after which it is tried again.
            but: among these, those after which it is not.
        """
        started = time.monotonic()
        for number in range(1, self.tries + 1):
            try:
                return call()
            except on as error:
                pause = min(self.most_s, self.first_s * 2 ** (number - 1)) * _dice.uniform(0.5, 1.0)
                pause = max(pause, getattr(error, "retry_after_s", 0.0))
                late = time.monotonic() - started + pause > self.total_s
                if isinstance(error, but) or number == self.tries or late:
                    raise
                time.sleep(pause)
        raise AssertionError("unreachable: the last try returns or raises")


class HubSession:
    """What a repository on a Hub is asked through.

    Args:
        dataset: id of the dataset, `owner/name`; named in every error.
        settings: endpoint and token.
        backoff: how requests are tried again.
        timeout_s: the longest silence of the Hub that is borne, in seconds.
    """

    def __init__(
        self,
        dataset: str,
        settings: Settings,
        *,
        backoff: Backoff | None = None,
        timeout_s: float = _TIMEOUT_SECONDS,
    ) -> None:
        self.dataset = dataset
        self.endpoint = settings.hf_endpoint.rstrip("/") or _PUBLIC_HUB
        self._token = settings.hf_token
        self._backoff = backoff or Backoff()
        self._timeout_s = timeout_s

    def __str__(self) -> str:
        """Return how messages call it."""
        return f"dataset {self.dataset!r} on {self.endpoint}"

    @property
    def token(self) -> str | bool:
        """The token; False, not None, which would make the client look for one of its own."""
        return self._token or False

    def require_token(self) -> None:
        """Refuse to write without a token set on purpose.

        Raises:
            ConfigurationError: there is none.
        """
        if not self._token:
            raise ConfigurationError(
                f"{self} cannot be written: HF_TOKEN is not set", hint="set HF_TOKEN to a token that may write to it"
            )
        _bound_xet()

    def api(self) -> Any:  # noqa: ANN401 - huggingface_hub is imported late
        """Return the client's API for this endpoint and token. It draws no bars: to a task's log they are errors."""
        from huggingface_hub import HfApi, constants
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

        self.http()
        if constants.HF_HUB_DISABLE_PROGRESS_BARS is None:  # else somebody has said what is to be
            disable_progress_bars()
        return HfApi(endpoint=self.endpoint, token=self.token)

    def http(self) -> Any:  # noqa: ANN401 - huggingface_hub is imported late
        """Return the client's own HTTP session, with a time limit: by itself it would wait for ever."""
        from huggingface_hub import get_session

        session = get_session()
        if session.timeout.read is None:
            session.timeout = self._timeout_s
        return session

    def headers(self) -> dict[str, str]:
        """Return the headers of a request to the Hub itself; other hosts get no token."""
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        return dict(build_hf_headers(token=self.token))

    def call(self, what: str, call: Callable[[], T], *, backoff: Backoff | None = None) -> T:
        """Do something with the client, again while that may help.

        Args:
            what: what is being done, for messages.
            call: does it.
            backoff: how it is tried again, if not as usual.

        Raises:
            ConfigurationError: the token is not valid.
            StoreError: the Hub refuses.
            StoreUnavailableError: the Hub did not answer as it should, however often asked.
            HeadMovedError: somebody else committed first.
            BusyError: the Hub is busy with another write.
        """
        again = backoff or self._backoff
        return again.run(lambda: self.once(what, call), on=(StoreUnavailableError, BusyError), but=(HeadMovedError,))

    def once(self, what: str, call: Callable[[], T]) -> T:
        """Do something with the client, once; see `call`."""
        try:
            return call()
        except DataPlatformError:
            raise
        # The client's failures have no common base: HTTP, operating system, Xet (a bare RuntimeError), bad JSON.
        except Exception as error:
            problem = self._problem(what, error)
            if problem is None:
                raise
            raise problem from error

    # ------------------------------------------------------------------------------------- errors

    def _problem(self, what: str, error: Exception) -> DataPlatformError | None:
        """Return what an error means, None for one that is no business of the Hub's."""
        from huggingface_hub import errors

        # "Error while uploading" wraps what the Hub said.
        if type(error) is RuntimeError and isinstance(error.__cause__, Exception):
            error = error.__cause__
        where = f"{self}: {what}"
        if isinstance(error, errors.OfflineModeIsEnabled):
            return ConfigurationError(f"{where}: HF_HUB_OFFLINE is set", hint="unset it")
        if isinstance(error, errors.GatedRepoError):
            hint = "ask for access on its page, for the account of HF_TOKEN"
            return StoreError(f"{where}: access is restricted", hint=hint)
        if isinstance(error, errors.RepositoryNotFoundError):
            hint = f"check its name; {self._about_token()}"
            return RepositoryMissingError(f"{where}: it does not exist or is private", hint=hint)
        if isinstance(error, errors.HfHubHTTPError):
            return self._status_problem(where, error.response)
        return self._other_problem(where, error)

    def _other_problem(self, where: str, error: Exception) -> DataPlatformError | None:
        from huggingface_hub import errors

        told = self._without_token(str(error))
        if isinstance(error, PermissionError) and error.errno is None:  # of the Xet client
            return ConfigurationError(f"{where}: access denied: {told}", hint=self._about_token())
        # The Hub's own errors are OSErrors without a number; one with a number is this machine's.
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
            hint = "temporary files need room and write permission; TMPDIR and HF_HOME say where they are"
            return StoreError(f"{where}: this machine refuses: {told}", hint=hint)
        # What the client's own errors are made of: httpx's base class, or httpx2's from version 2 of the client on.
        transport: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
        foreign = type(error).__module__.partition(".")[0] in {"hf_xet", "builtins"}
        if isinstance(error, (transport, OSError)) or (foreign and isinstance(error, RuntimeError)):
            silent = HubLimitedError(f"{where}: no answer: {told}", hint="try again later")
            return self._xet_problem(where, told) or silent
        if isinstance(error, (ValueError, KeyError, TypeError)):
            hint = f"check the id (owner/name) and HF_ENDPOINT={self.endpoint}"
            return StoreError(f"{where}: the answer is not a Hub's: {told}", hint=hint)
        return None

    def _xet_problem(self, where: str, told: str) -> DataPlatformError | None:
        """Return what the Xet client's text says another try cannot help; it has no types for that."""
        if any(word in told.lower() for word in _NO_ROOM_WORDS):
            return _no_room(where, told)
        if "401 Unauthorized" in told:
            return ConfigurationError(f"{where}: {told}", hint=self._about_token())
        return StoreError(f"{where}: {told}", hint=self._about_token()) if "403 Forbidden" in told else None

    def _status_problem(self, where: str, response: Any) -> DataPlatformError:  # noqa: ANN401 - httpx
        status, said = int(response.status_code), _said(response)
        if status in _NO_ROOM_STATUS or any(word in said.lower() for word in _NO_ROOM_WORDS):
            return _no_room(where, said)
        if status in _RETRY_STATUS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            limited = HubLimitedError(f"{where}: the Hub answered {status}{said}", hint="try again later")
            limited.retry_after_s = _retry_after(response.headers)
            return limited
        known: dict[int, DataPlatformError] = {
            HTTPStatus.PRECONDITION_FAILED: HeadMovedError(
                f"{where}: somebody else committed first", hint="read it anew and try again"
            ),
            HTTPStatus.CONFLICT: BusyError(f"{where}: another write is under way{said}", hint="try again later"),
            HTTPStatus.UNAUTHORIZED: ConfigurationError(
                f"{where}: access denied (401{said})", hint=self._about_token()
            ),
            HTTPStatus.FORBIDDEN: StoreError(
                f"{where}: access denied (403{said})",
                hint="HF_TOKEN may not do this: use one with the role write, of an account that may write to it",
            ),
            HTTPStatus.NOT_FOUND: StoreError(
                f"{where}: not found{said}", hint="check its name, and whether somebody deleted files"
            ),
        }
        other = StoreError(f"{where}: the Hub answered {status}{said}", hint="check the id and HF_ENDPOINT")
        return known.get(status, other)

    def _about_token(self) -> str:
        if not self._token:
            return "HF_TOKEN is not set"
        return "HF_TOKEN has no access to it, or is no longer valid"

    def _without_token(self, text: str) -> str:
        return text.replace(self._token, "***") if len(self._token) >= _LEAST_SECRET else text


def _bound_xet() -> None:
    """Keep the Xet client small, before it starts: by itself it takes 16 GB of disk and buffers eight files."""
    for name, value in _XET_BOUNDS.items():
        os.environ.setdefault(name, value)
    with suppress(OSError, AttributeError):  # only glibc has it
        # Its many threads would each get an arena, and what they free stays there: 200 MB in an adoption.
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def _no_room(where: str, said: str) -> StoreError:
    hint = "free storage of its owner's account, or raise the plan; what was there is unharmed"
    return StoreError(f"{where}: no room left{said}", hint=hint)


def _said(response: Any) -> str:  # noqa: ANN401 - httpx
    said = response.headers.get("X-Error-Message", "")
    return f": {said}" if said else ""


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that an answer asks to wait, 0 if it does not say (a date is not used by the Hub)."""
    with suppress(ValueError):
        return max(0.0, float(headers.get("Retry-After", "0")))
    return 0.0
