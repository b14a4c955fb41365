"""JSON over HTTP with a service that has a key: typed errors, patience by type, no key in any message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from data_platform.errors import ConfigurationError, DataPlatformError
from data_platform.jobs.enrichment.problems import (
    EnricherError,
    EnricherUnavailableError,
    GatewayError,
    RequestRefusedError,
)
from data_platform.managers.hub.session import Backoff

if TYPE_CHECKING:
    import httpx

__all__ = ["PATIENCE", "JsonService", "ServiceAddress"]

#: The gateway of the field is often down for seconds; longer than this is for another day (FIELD_FACTS §6.3).
PATIENCE = Backoff(tries=4, first_s=1.0, most_s=30.0, total_s=180.0)
_TIMEOUT_S = 60.0
_GATEWAY = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})
_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_REFUSED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY})
_MOST_WORDS = 300


@dataclass(frozen=True, kw_only=True)
class ServiceAddress:
    """Where a service is and how it knows us.

    Attributes:
        name: for messages.
        url: its base address, with or without a slash at its end.
        key: the secret; "" for none.
        key_header: the header that carries it.
        key_form: how the header carries it.
        url_setting: the setting that holds the address, for hints.
        key_setting: the setting that holds the key, for hints.
    """

    name: str
    url: str
    key: str = ""
    key_header: str
    key_form: str = "{}"
    url_setting: str
    key_setting: str


class JsonService:
    """Asks a service.

    Args:
        address: where it is.
        backoff: how requests are tried again.
        timeout_s: the longest silence that is borne, in seconds.
    """

    def __init__(self, address: ServiceAddress, *, backoff: Backoff = PATIENCE, timeout_s: float = _TIMEOUT_S) -> None:
        self.address = address
        self.backoff = backoff
        self._timeout_s = timeout_s
        self._client: httpx.Client | None = None

    def __str__(self) -> str:
        """Return how messages call it."""
        return f"{self.address.name} at {self.address.url}"

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def call(
        self,
        method: str,
        path: str,
        *,
        send: Mapping[str, Any] | None = None,
        query: Mapping[str, int | str] | None = None,
        but: tuple[type[EnricherUnavailableError], ...] = (),
    ) -> dict[str, Any]:
        """Ask, again while that may help; only for what may be asked twice.

        Args:
            method: of HTTP.
            path: below the address.
            send: the JSON body.
            query: parameters of the address.
            but: errors after which it is not asked again, though later it might help.

        Returns:
            The JSON object of the answer.

        Raises:
            ConfigurationError: key or address are not good.
            RequestRefusedError: what was sent is not accepted.
            EnricherError: it cannot do that.
            EnricherUnavailableError: it did not answer as it should, however often asked.
        """
        return self.backoff.run(
            lambda: self.once(method, path, send=send, query=query), on=(EnricherUnavailableError,), but=but
        )

    def once(
        self,
        method: str,
        path: str,
        *,
        send: Mapping[str, Any] | None = None,
        query: Mapping[str, int | str] | None = None,
    ) -> dict[str, Any]:
        """Ask once; see `call`."""
        import httpx

        where = f"{self}: {method} {path}"
        try:
            response = self._http().request(method, path, json=send, params=query)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            hint = f"set {self.address.url_setting} to an address that begins with https://"
            raise ConfigurationError(f"{where}: {error}", hint=hint) from None
        except httpx.HTTPError as error:
            told = self._without_key(str(error) or type(error).__name__)
            raise EnricherUnavailableError(f"{where}: no answer: {told}", hint="try again later") from error
        if response.status_code >= HTTPStatus.MULTIPLE_CHOICES:
            raise self._problem(where, response)
        return self._object(where, response)

    # ------------------------------------------------------------------------------------------------

    def _http(self) -> httpx.Client:
        if self._client is None:
            import httpx

            key = self.address.key
            if not (key.isascii() and key.isprintable()):
                raise ConfigurationError(f"{self.address.key_setting} has signs that no key has", hint="copy it anew")
            headers = {self.address.key_header: self.address.key_form.format(key)} if key else {}
            # The final slash matters: without it the last part of the address would be replaced by the path.
            self._client = httpx.Client(
                base_url=self.address.url.rstrip("/") + "/", headers=headers, timeout=self._timeout_s
            )
        return self._client

    def _object(self, where: str, response: httpx.Response) -> dict[str, Any]:
        try:
            found = response.json()
        except ValueError:
            # A page of the gateway, or an answer that was cut off.
            raise EnricherUnavailableError(f"{where}: the answer is no JSON", hint="try again later") from None
        if not isinstance(found, dict):
            raise EnricherError(
                f"{where}: the answer is a {type(found).__name__}, not an object", hint=self._about_url()
            )
        return found

    def _problem(self, where: str, response: httpx.Response) -> DataPlatformError:
        status, said = response.status_code, self._said(response)
        if status in _GATEWAY or status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            kind = GatewayError if status in _GATEWAY else EnricherUnavailableError
            later = kind(f"{where}: it answered {status}{said}", hint="try again later")
            later.retry_after_s = _retry_after(response.headers)
            return later
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            setting = self.address.key_setting
            about = f"{setting} is not valid, or has no access" if self.address.key else f"{setting} is not set"
            return ConfigurationError(f"{where}: access denied ({status}{said})", hint=about)
        if status in _REFUSED:
            return RequestRefusedError(f"{where}: refused ({status}{said})", hint="it does not take what was sent")
        if status == HTTPStatus.NOT_FOUND:
            return EnricherError(f"{where}: there is no such thing{said}", hint=self._about_url())
        return EnricherError(f"{where}: it answered {status}{said}", hint=self._about_url())

    def _about_url(self) -> str:
        return f"check {self.address.url_setting}"

    def _said(self, response: httpx.Response) -> str:
        with suppress(ValueError):
            body = response.json()
            if isinstance(body, dict):
                told = body.get("message") or body.get("error") or body
                text = told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)
                return f": {self._without_key(text)[:_MOST_WORDS]}"
        return ""

    def _without_key(self, text: str) -> str:
        return text.replace(self.address.key, "***") if self.address.key else text


def _retry_after(headers: Mapping[str, str]) -> float:
    with suppress(ValueError):
        return max(0.0, float(headers.get("Retry-After", "0")))
    return 0.0
