"""Requests to Typesense: address and key from the settings, long time limits, typed errors, patience by type.

A server that answers 503 is loading or has fallen behind its queue of writes; asking it again at once makes that worse,
so it is given minutes, with pauses of random length. One that refuses for want of memory or disk is not asked again:
nothing gets better until somebody gives it room (docs/decisions/0014).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import quote

from data_platform.errors import ConfigurationError, DataPlatformError, StoreError, StoreUnavailableError
from data_platform.managers.hub.session import Backoff
from data_platform.managers.loopback import is_loopback
from data_platform.settings import Settings

if TYPE_CHECKING:
    import httpx

__all__ = ["BACKOFF", "PATIENCE", "ExistsError", "LaggingError", "NotFoundError", "TypesenseSession", "out_of_room"]

T = TypeVar("T")

#: After what passes within seconds: a broken connection, a gateway that is down.
BACKOFF = Backoff(tries=5, first_s=1.0, most_s=30.0, total_s=300.0)
#: After 503: the server is loading its data, or works off its queue.
PATIENCE = Backoff(tries=30, first_s=10.0, most_s=120.0, total_s=3600.0)
_CONNECT_S = 15.0
#: An import is answered when all of it is indexed; a busy server takes its time (PLATFORM_FACTS Part 2 §2).
_ANSWER_S = 3600.0
_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_OUT_OF_ROOM = ("OUT_OF_DISK", "OUT_OF_MEMORY", "running out of resource")
_MOST_WORDS = 300


class LaggingError(StoreUnavailableError):
    """The server is not ready, or its writes lag behind: worth asking again after a long pause."""


class NotFoundError(StoreError):
    """There is no such collection, alias or document."""


class ExistsError(StoreError):
    """There is one of that name already; perhaps of our own making, if an answer was lost."""


class TypesenseSession:
    """What a server is asked through; may be used by several threads at once.

    Args:
        settings: address and key.
        backoff: how requests are tried again.
        patience: how they are after 503.
        answer_s: the longest silence that is borne, in seconds.

    Raises:
        ConfigurationError: the address is not set, or lies outside this machine and the key is not set.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        backoff: Backoff = BACKOFF,
        patience: Backoff = PATIENCE,
        answer_s: float = _ANSWER_S,
    ) -> None:
        host, self._key = settings.typesense_host, settings.typesense_api_key
        if not host:
            raise ConfigurationError("no Typesense is set", hint="set TYPESENSE_HOST and TYPESENSE_API_KEY")
        shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
        self.url = f"{settings.typesense_protocol}://{shown}:{settings.typesense_port}"
        if not self._key and not is_loopback(host):
            raise ConfigurationError(
                f"{self} cannot be written: TYPESENSE_API_KEY is not set",
                hint="set it to a key that may write; a search-only key may not",
            )
        if not (self._key.isascii() and self._key.isprintable()):
            raise ConfigurationError("TYPESENSE_API_KEY has signs that no key has", hint="copy it anew")
        self.backoff = backoff
        self._patience = patience
        self._answer_s = answer_s
        self._connections = settings.typesense_concurrency + 1
        self._client: httpx.Client | None = None
        self._making = Lock()

    def __str__(self) -> str:
        """Return how messages call it."""
        return f"Typesense at {self.url}"

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def json(
        self,
        method: str,
        *path: str,
        send: Mapping[str, Any] | None = None,
        query: Mapping[str, str | int] | None = None,
    ) -> dict[str, Any]:
        """Ask for something and return the JSON object of the answer.

        Only for what may be asked twice: an answer may be lost after the work was done.

        Args:
            method: of HTTP.
            path: the parts of the path.
            send: the body.
            query: parameters.

        Raises:
            NotFoundError: there is no such thing.
            ConfigurationError: the key is not good.
            StoreError: the server refuses.
            StoreUnavailableError: it did not answer as it should, however often asked.
        """
        body = None if send is None else json.dumps(send, ensure_ascii=False).encode()
        return self.patiently(lambda: self._object(method, path, body, query))

    def json_list(self, *path: str, query: Mapping[str, str | int] | None = None) -> list[Any]:
        """Get something and return the JSON list of the answer; errors as `json`."""

        def ask() -> list[Any]:
            where = self._where("GET", path)
            found = self._read(where, self._ask("GET", path, None, query, "application/json").text)
            return list(found) if isinstance(found, list) else self._refuse_form(where)

        return self.patiently(ask)

    def post_lines(self, *path: str, lines: bytes, query: Mapping[str, str | int], read: Callable[[bytes], T]) -> T:
        """Send JSON lines and return what is read in the answer; errors as `json`.

        Args:
            path: the parts of the path.
            lines: the body.
            query: parameters.
            read: reads the answer; StoreUnavailableError of it has the lines sent again.
        """
        return self.patiently(lambda: read(self._ask("POST", path, lines, query, "text/plain").content))

    def lines(self, *path: str, query: Mapping[str, str | int]) -> Iterator[dict[str, Any]]:
        """Give the JSON objects of a long answer, a line each, while it comes in.

        Raises:
            StoreUnavailableError: it broke off; whoever asks begins anew, see `patiently`.
            NotFoundError, ConfigurationError, StoreError: as `json`.
        """
        import httpx

        where = self._where("GET", path)
        try:
            with self._http().stream("GET", _path(path), params=dict(query)) as response:
                if response.status_code != HTTPStatus.OK:
                    response.read()
                    raise self._problem(where, response)
                for line in response.iter_lines():
                    if line:
                        yield self._read_object(where, line)
        except httpx.HTTPError as error:
            raise self._silent(where, error) from error

    def patiently(self, call: Callable[[], T]) -> T:
        """Call until it works or an error is not worth another try: some seconds, or long after 503."""

        def soon() -> T:
            return self.backoff.run(call, on=(StoreUnavailableError,), but=(LaggingError,))

        return self._patience.run(soon, on=(LaggingError,))

    # ------------------------------------------------------------------------------------------------

    def _object(
        self, method: str, path: Sequence[str], body: bytes | None, query: Mapping[str, str | int] | None
    ) -> dict[str, Any]:
        response = self._ask(method, path, body, query, "application/json")
        return self._read_object(self._where(method, path), response.text)

    def _ask(
        self,
        method: str,
        path: Sequence[str],
        body: bytes | None,
        query: Mapping[str, str | int] | None,
        kind: str,
    ) -> httpx.Response:
        import httpx

        where = self._where(method, path)
        try:
            response = self._http().request(
                method, _path(path), content=body, params=dict(query or {}), headers={"Content-Type": kind}
            )
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ConfigurationError(f"{where}: {error}", hint="check TYPESENSE_HOST and TYPESENSE_PORT") from None
        except httpx.HTTPError as error:
            raise self._silent(where, error) from error
        if response.status_code not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            raise self._problem(where, response)
        return response

    def _http(self) -> httpx.Client:
        import httpx

        with self._making:
            if self._client is None:
                most = self._connections
                self._client = httpx.Client(
                    base_url=self.url,
                    headers={"X-TYPESENSE-API-KEY": self._key} if self._key else {},
                    timeout=httpx.Timeout(self._answer_s, connect=min(_CONNECT_S, self._answer_s)),
                    limits=httpx.Limits(max_connections=most, max_keepalive_connections=most),
                )
            return self._client

    def _read(self, where: str, text: str) -> Any:  # noqa: ANN401 - JSON
        try:
            return json.loads(text)
        except ValueError:  # a page of a gateway, or an answer that was cut off
            raise StoreUnavailableError(f"{where}: the answer is no JSON", hint="try again later") from None

    def _read_object(self, where: str, text: str) -> dict[str, Any]:
        found = self._read(where, text)
        return found if isinstance(found, dict) else self._refuse_form(where)

    def _refuse_form(self, where: str) -> NoReturn:
        raise StoreError(f"{where}: the answer is not one of Typesense's", hint="check TYPESENSE_HOST and _PORT")

    def _where(self, method: str, path: Sequence[str]) -> str:
        return f"{self}: {method} /{'/'.join(path)}"

    def _silent(self, where: str, error: Exception) -> StoreUnavailableError:
        told = self._without_key(str(error) or type(error).__name__)
        return StoreUnavailableError(
            f"{where}: no answer: {told}", hint="check that it runs, and TYPESENSE_HOST, _PORT, _PROTOCOL"
        )

    def _problem(self, where: str, response: httpx.Response) -> DataPlatformError:
        status, said = response.status_code, self._said(response)
        if status == HTTPStatus.UNPROCESSABLE_ENTITY and any(words in said for words in _OUT_OF_ROOM):
            return out_of_room(where, said)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            return LaggingError(f"{where}: not ready, or lagging behind (503{said})", hint="give it time")
        if status in _LATER or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and "conflicts with" not in said):
            return StoreUnavailableError(f"{where}: it answered {status}{said}", hint="try again later")
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            about = "is not valid, or may not do this" if self._key else "is not set"
            return ConfigurationError(f"{where}: access denied ({status}{said})", hint=f"TYPESENSE_API_KEY {about}")
        known: dict[int, StoreError] = {
            HTTPStatus.NOT_FOUND: NotFoundError(
                f"{where}: there is no such thing{said}", hint="check TYPESENSE_COLLECTION"
            ),
            HTTPStatus.CONFLICT: ExistsError(f"{where}: it is there already{said}", hint="run it again"),
        }
        refused = StoreError(f"{where}: refused ({status}{said})", hint="it does not take what was asked")
        return known.get(status, refused)

    def _said(self, response: httpx.Response) -> str:
        text = response.text
        with suppress(ValueError):
            body = json.loads(text)
            if isinstance(body, dict):
                text = str(body.get("message", body))
        return f": {self._without_key(text)[:_MOST_WORDS]}" if text else ""

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def out_of_room(where: str, said: str) -> StoreError:
    """Return the error of a server that has no memory or disk left."""
    return StoreError(
        f"{where}: no memory or disk left{said}",
        hint="give the server more, or drop old collections; searches go on, and the next run does where this one was",
    )


def _path(parts: Sequence[str]) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)
