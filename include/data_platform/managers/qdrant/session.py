"""Requests to Qdrant through its own client: address and key from the settings, typed errors, retries by type.

The client itself tries again in few of its calls only, and upsert is none of them; so here each call is, and every one
that is made through here may be made twice.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
from qdrant_client.http.models import InlineResponse2008, UpdateResult, UpdateStatus

from data_platform.errors import ConfigurationError, DataPlatformError, StoreError, StoreUnavailableError
from data_platform.managers.hub.session import Backoff
from data_platform.managers.loopback import is_loopback
from data_platform.settings import Settings

__all__ = [
    "PATIENCE",
    "QdrantConflictError",
    "QdrantLimitedError",
    "QdrantMissingError",
    "QdrantRefusedError",
    "QdrantSession",
]

T = TypeVar("T")

PATIENCE = Backoff(tries=7, first_s=0.5, most_s=30.0, total_s=300.0)
#: The longest silence that is borne, in seconds; the client's own 5 are too few for a large upsert.
_TIMEOUT_S = 60
_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_REFUSED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY})
_MOST_WORDS = 300


class QdrantMissingError(StoreError):
    """There is no such collection or point."""


class QdrantConflictError(StoreError):
    """Something of that name is there already."""


class QdrantRefusedError(StoreError):
    """Qdrant does not take what was sent."""


class QdrantLimitedError(StoreUnavailableError):
    """Qdrant did not answer as it should, or asks to come back later.

    Attributes:
        retry_after_s: how many seconds it asks to wait; 0 if it does not say.
    """

    retry_after_s: float = 0.0


class QdrantSession:
    """Asks Qdrant. Safe to use from several threads.

    Args:
        settings: address and key.
        backoff: how requests are tried again.
        timeout_s: the longest silence that is borne, in seconds.

    Raises:
        ConfigurationError: no address is set, or the client cannot read it.
    """

    def __init__(self, settings: Settings, *, backoff: Backoff = PATIENCE, timeout_s: int = _TIMEOUT_S) -> None:
        if not settings.qdrant_url:
            raise ConfigurationError("QDRANT_URL is not set", hint="set it to the address of Qdrant")
        self.url = settings.qdrant_url
        self._key = settings.qdrant_api_key
        self._backoff = backoff
        try:
            with warnings.catch_warnings():
                if is_loopback(urlsplit(self.url).hostname or ""):  # nobody overhears a key there
                    warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
                # Asking for the server's version would be a request of its own, whose failure it only warns of.
                self.client = QdrantClient(
                    url=self.url,
                    api_key=self._key or None,
                    timeout=timeout_s,
                    prefer_grpc=False,
                    check_compatibility=False,
                )
        except (ValueError, TypeError, httpx.InvalidURL) as error:
            raise ConfigurationError(
                f"QDRANT_URL is {self.url!r}: {error}", hint="write https://host or http://host:6333"
            ) from None

    def __str__(self) -> str:
        """Return how messages call it."""
        return f"Qdrant at {self.url}"

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def call(self, what: str, call: Callable[[QdrantClient], T]) -> T:
        """Do something with the client, again while that may help.

        Args:
            what: what is being done, for messages.
            call: does it.

        Raises:
            QdrantMissingError: there is no such collection or point.
            QdrantConflictError: something of that name is there already.
            QdrantRefusedError: what was sent is not taken.
            ConfigurationError: key or address are not good.
            StoreError: Qdrant refuses otherwise.
            StoreUnavailableError: it did not answer as it should, however often asked.
        """
        return self._backoff.run(lambda: self.once(what, call), on=(StoreUnavailableError,))

    def once(self, what: str, call: Callable[[QdrantClient], T]) -> T:
        """Do something with the client, once; see `call`."""
        where = f"{self}: {what}"
        try:
            return call(self.client)
        except UnexpectedResponse as error:
            raise self._status_problem(where, error) from None
        except ResourceExhaustedResponse as error:
            raise _later(f"{where}: it asks to come back later", error.retry_after_s) from None
        except ResponseHandlingException as error:
            raise self._transport_problem(where, error.source) from error
        except (json.JSONDecodeError, UnicodeDecodeError):
            # A page of what stands before it, or an answer that was cut off.
            raise QdrantLimitedError(f"{where}: the answer is no JSON", hint="try again later") from None

    def put_points(self, what: str, collection: str, body: bytes) -> None:
        """Insert or replace points, given as the JSON of a request, through the client's own connections.

        Raises:
            StoreError, StoreUnavailableError: see `call`; also when Qdrant does not say that it is done.
        """

        def put(client: QdrantClient) -> None:
            answer = client.http.client.request(
                type_=InlineResponse2008,
                method="PUT",
                url="/collections/{collection_name}/points",
                path_params={"collection_name": collection},
                params={"wait": "true"},
                headers={"Content-Type": "application/json"},
                content=body,
            )
            self.require_done(what, answer.result)

        self.call(what, put)

    def require_done(self, what: str, result: UpdateResult | None) -> None:
        """Check that an update is applied and not only noted down.

        Raises:
            QdrantLimitedError: it is not, or not yet.
        """
        if result is None or result.status is not UpdateStatus.COMPLETED:
            said = "nothing" if result is None else str(result.status)
            raise QdrantLimitedError(f"{self}: {what}: it does not say that it is done: {said}")

    # ------------------------------------------------------------------------------------------------

    def _status_problem(self, where: str, error: UnexpectedResponse) -> DataPlatformError:
        status, said = int(error.status_code or 0), self._said(error.content)
        if status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return _later(f"{where}: it answered {status}{said}", _seconds(error.headers))
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            about = "is not valid, or may not do this" if self._key else "is not set"
            return ConfigurationError(f"{where}: access denied ({status}{said})", hint=f"QDRANT_API_KEY {about}")
        known: dict[int, type[StoreError]] = {
            HTTPStatus.NOT_FOUND: QdrantMissingError,
            HTTPStatus.CONFLICT: QdrantConflictError,
            **dict.fromkeys(_REFUSED, QdrantRefusedError),
        }
        return known.get(status, StoreError)(f"{where}: it answered {status}{said}", hint="check QDRANT_URL")

    def _transport_problem(self, where: str, source: Exception) -> DataPlatformError:
        told = self._without_key(str(source) or type(source).__name__)
        if isinstance(source, ValidationError):
            return StoreError(f"{where}: the answer is not Qdrant's: {told[:_MOST_WORDS]}", hint="check QDRANT_URL")
        if isinstance(source, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
            return ConfigurationError(f"{where}: {told}", hint="write QDRANT_URL as https://host or http://host:6333")
        return QdrantLimitedError(f"{where}: no answer: {told}", hint="try again later")

    def _said(self, content: bytes) -> str:
        """Return what an answer says, in its `status.error` or as it stands."""
        text = content.decode(errors="replace")
        with suppress(ValueError):
            body = json.loads(text)
            status = body.get("status") if isinstance(body, dict) else None
            text = str(status.get("error") or text) if isinstance(status, dict) else text
        return f": {self._without_key(text)[:_MOST_WORDS]}" if text else ""

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _later(message: str, retry_after_s: float) -> QdrantLimitedError:
    later = QdrantLimitedError(message, hint="try again later")
    later.retry_after_s = max(0.0, float(retry_after_s))
    return later


def _seconds(headers: Mapping[str, Any]) -> float:
    with suppress(ValueError):
        return float(headers.get("Retry-After", "0"))
    return 0.0
