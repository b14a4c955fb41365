"""A service that embeds, over HTTP: requests of a size that it takes, patience by type of error, vectors checked.

What is common to all of them. A request that is refused for its texts is asked again in halves, so that one text that
the service does not take costs only itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx
import numpy as np

from data_platform.errors import ConfigurationError, DataPlatformError
from data_platform.managers.embeddings.interface import (
    Embedded,
    EmbeddingsError,
    EmbeddingsUnavailableError,
    Vectors,
)
from data_platform.managers.hub.session import Backoff

__all__ = ["PATIENCE", "EmbeddingService", "ServiceSettings", "TextsRefusedError"]

#: A service that scales to zero loads its model for minutes and answers 503 meanwhile (FIELD_FACTS §10).
PATIENCE = Backoff(tries=10, first_s=2.0, most_s=60.0, total_s=600.0)
_TIMEOUT_S = 120.0
_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_REFUSED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY})
_MOST_WORDS = 300
#: So many single texts refused before any was taken: it is not the texts.
_ENOUGH = 3


class TextsRefusedError(EmbeddingsError):
    """The service does not take some texts (400, 413, 422), or makes vectors of them that are none."""


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """Where a service is, how it knows us, and what is expected of it.

    Attributes:
        url: its base address.
        key: the secret; "" for none.
        model: name of the model that is expected.
        dimension: numbers of a vector.
    """

    url: str
    key: str = ""
    model: str
    dimension: int


class EmbeddingService(ABC):
    """Asks a service for vectors.

    Args:
        settings: where it is.
        backoff: how requests are tried again.
        timeout_s: the longest silence that is borne, in seconds.

    Raises:
        ConfigurationError: no address or no model is set, no vector is that long, or the key cannot be sent.
    """

    approximate = False
    is_local = False

    def __init__(
        self, settings: ServiceSettings, *, backoff: Backoff = PATIENCE, timeout_s: float = _TIMEOUT_S
    ) -> None:
        for name, value in (("EMBEDDINGS_API_URL", settings.url), ("EMBEDDINGS_MODEL", settings.model)):
            if not value:
                raise ConfigurationError(f"{name} is not set", hint="set it, or EMBEDDINGS_API_KIND=hashing")
        if settings.dimension < 1:
            raise ConfigurationError(f"EMBEDDINGS_DIMENSION is {settings.dimension}", hint="write that of the model")
        if not (settings.key.isascii() and settings.key.isprintable()):
            raise ConfigurationError("EMBEDDINGS_API_KEY has signs that no key has", hint="copy it anew")
        self.model = settings.model
        self.dimension = settings.dimension
        self._url = settings.url.rstrip("/")
        self._key = settings.key
        self._backoff = backoff
        self._has_taken = False
        self._client = httpx.Client(headers=dict(self._headers()), timeout=timeout_s)

    def __str__(self) -> str:
        """Return how messages call it."""
        return f"the embeddings service at {self._url}"

    @abstractmethod
    def _texts_at_once(self) -> int:
        """Return how many texts a request may have."""

    @abstractmethod
    def _ask(self, texts: Sequence[str]) -> tuple[list[Any], str]:
        """Ask once for the vectors of some texts; return them in order, and the model that the service names."""

    @abstractmethod
    def _headers(self) -> Mapping[str, str]:
        """Return the headers that carry the key."""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embed texts, in requests of the size that the service takes; see `Embedder.embed`."""
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        refused: dict[int, str] = {}
        size = self._texts_at_once() if texts else 1
        waiting = [range(first, min(first + size, len(texts))) for first in range(0, len(texts), size)][::-1]
        while waiting:
            part = waiting.pop()
            try:
                vectors[part.start : part.stop] = self._vectors([texts[at] for at in part])
            except TextsRefusedError as error:
                if len(part) > 1:
                    middle = part.start + len(part) // 2
                    waiting += [range(middle, part.stop), range(part.start, middle)]
                    continue
                refused[part.start] = error.message
                if not self._has_taken and len(refused) >= _ENOUGH:
                    raise
            else:
                self._has_taken = True
        return Embedded(vectors, refused)

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        listed, model = self._backoff.run(lambda: self._ask(texts), on=(EmbeddingsUnavailableError,))
        self._check_model(model)
        if len(listed) != len(texts):
            raise EmbeddingsError(f"{self}: {len(listed)} vectors for {len(texts)} texts", hint="check the service")
        with suppress(ValueError, TypeError):
            vectors = np.asarray(listed, np.float32)
            if vectors.shape == (len(texts), self.dimension):
                return self._checked(vectors)
        lengths = sorted({len(one) if isinstance(one, list) else 0 for one in listed})
        raise EmbeddingsError(
            f"{self}: vectors of {', '.join(map(str, lengths))} numbers, expected are {self.dimension}",
            hint="set EMBEDDINGS_DIMENSION to what EMBEDDINGS_MODEL has; an index of another one is to be rebuilt",
        )

    def _checked(self, vectors: Vectors) -> Vectors:
        # Of one text among many, this is that text's matter.
        if not np.isfinite(vectors).all():
            raise TextsRefusedError(f"{self}: a vector has NaN or infinity", hint="check the service's model")
        if not vectors.any(axis=1).all():
            raise TextsRefusedError(f"{self}: a vector has only zeros", hint="check the service's model")
        return vectors

    def _check_model(self, named: str) -> None:
        """Refuse vectors of another model: among others they mean nothing.

        A service may leave out the owner of a model or add its version, so one name may be the other's end or start.
        """
        asked, told = self.model.casefold(), named.casefold()
        if told and not (told.startswith(asked) or told.endswith("/" + asked) or asked.endswith("/" + told)):
            raise EmbeddingsError(
                f"{self}: its vectors are of the model {named!r}, expected is {self.model!r}",
                hint="set EMBEDDINGS_MODEL to it and rebuild the index, or ask another service",
            )

    # ------------------------------------------------------------------------------------------------

    def _request(self, method: str, path: str, *, send: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Ask once; return the JSON of the answer."""
        where = f"{self}: {method} {path}"
        try:
            response = self._client.request(method, self._url + path, json=send)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            hint = "set EMBEDDINGS_API_URL to an address that begins with https://"
            raise ConfigurationError(f"{where}: {error}", hint=hint) from None
        except httpx.HTTPError as error:
            told = self._without_key(str(error) or type(error).__name__)
            raise EmbeddingsUnavailableError(f"{where}: no answer: {told}", hint="try again later") from error
        if response.status_code >= HTTPStatus.MULTIPLE_CHOICES:
            raise self._problem(where, response)
        try:
            return response.json()
        except ValueError:  # a page of the gateway, or an answer that was cut off
            raise EmbeddingsUnavailableError(f"{where}: the answer is no JSON", hint="try again later") from None

    def _problem(self, where: str, response: httpx.Response) -> DataPlatformError:
        status, said = response.status_code, self._said(response)
        if status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            later = EmbeddingsUnavailableError(f"{where}: it answered {status}{said}", hint="try again later")
            with suppress(ValueError):
                later.retry_after_s = max(0.0, float(response.headers.get("Retry-After", "0")))
            return later
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            about = "is not valid, or has no access" if self._key else "is not set"
            return ConfigurationError(f"{where}: access denied ({status}{said})", hint=f"EMBEDDINGS_API_KEY {about}")
        if status in _REFUSED:
            return TextsRefusedError(f"{where}: refused ({status}{said})", hint="it does not take what was sent")
        hint = "check EMBEDDINGS_API_URL and EMBEDDINGS_API_KIND"
        return EmbeddingsError(f"{where}: it answered {status}{said}", hint=hint)

    def _said(self, response: httpx.Response) -> str:
        with suppress(ValueError):
            body = response.json()
            if isinstance(body, dict):
                told = body.get("error") or body.get("detail") or body.get("message") or body
                return f": {self._without_key(str(told))[:_MOST_WORDS]}"
        return ""

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text

    def _shape_error(self) -> EmbeddingsError:
        return EmbeddingsError(f"{self}: its answer holds no vectors", hint="check EMBEDDINGS_API_KIND")
