"""A service that embeds, over HTTP: requests of a size that it takes, patience by type of error, vectors checked.

What is common to all of them. A request that is refused for its texts is asked again in halves, so that one text that
the service does not take costs only itself. So is one that it fails to answer while it answers another: a text may also
be what breaks it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import httpx
import numpy as np

from data_platform.errors import ConfigurationError, DataPlatformError
from data_platform.managers.embeddings.interface import (
    HARMLESS,
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
#: 424 is how text-embeddings-inference says that its model failed.
_LATER = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.FAILED_DEPENDENCY, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
_REFUSED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY})
_MOST_WORDS = 300
#: So many single texts refused before any was taken, and it may not be the texts.
_ENOUGH = 3
#: So often are texts sent that the service fails on, while it answers others.
_SUSPECT_TRIES = 3


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
        suspicious = replace(self._backoff, tries=min(_SUSPECT_TRIES, self._backoff.tries))
        parts = [range(first, min(first + size, len(texts))) for first in range(0, len(texts), size)]
        waiting = [(part, self._backoff) for part in reversed(parts)]
        while waiting:
            part, backoff = waiting.pop()
            try:
                vectors[part.start : part.stop] = self._vectors([texts[at] for at in part], backoff)
            except (TextsRefusedError, EmbeddingsUnavailableError) as error:
                is_silent = isinstance(error, EmbeddingsUnavailableError)
                if is_silent and (list(texts) == [HARMLESS] or not self._is_answering()):
                    raise
                if len(part) > 1:
                    middle = part.start + len(part) // 2
                    patience = suspicious if is_silent else backoff
                    waiting += [(range(middle, part.stop), patience), (range(part.start, middle), patience)]
                    continue
                refused[part.start] = error.message
                if not self._has_taken and len(refused) >= _ENOUGH:
                    self._require_any()
            else:
                self._has_taken = True
        return Embedded(vectors, refused)

    def _require_any(self) -> None:
        """Refuse to go on with a service that takes no text at all; of refused ones alone a later run may consist."""
        try:
            self._vectors([HARMLESS], self._backoff)
        except TextsRefusedError as error:
            raise TextsRefusedError(
                f"{error.message}; it takes no text at all, not even {HARMLESS!r}",
                hint="check the service, and EMBEDDINGS_API_KIND; once it takes texts, the next run goes on",
            ) from None
        self._has_taken = True

    def _is_answering(self) -> bool:
        """Return whether the service makes a vector of the harmless text, asked once."""
        try:
            self._vectors([HARMLESS], replace(self._backoff, tries=1))
        except (TextsRefusedError, EmbeddingsUnavailableError):
            return False
        return True

    def _vectors(self, texts: Sequence[str], backoff: Backoff) -> Vectors:
        listed, model = backoff.run(lambda: self._ask(texts), on=(EmbeddingsUnavailableError,))
        self._check_model(model)
        if len(listed) != len(texts):
            raise EmbeddingsError(f"{self}: {len(listed)} vectors for {len(texts)} texts", hint="check the service")
        with suppress(ValueError, TypeError):
            vectors = np.asarray(listed, np.float32)
            if vectors.shape == (len(texts), self.dimension):
                return self._checked(vectors)
        lengths = sorted({len(one) if isinstance(one, list) else 0 for one in listed})
        if set(lengths) <= {0, self.dimension}:  # of some texts it gives none, or one with gaps
            raise TextsRefusedError(f"{self}: a text has no vector", hint="check the service's model")
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

        A service may leave out the owner of a model, or add its version behind `@` or `:`. With anything else behind
        the name it is another model: `…-large-instruct` is not `…-large`.
        """
        asked, told = self.model.casefold(), named.casefold()
        is_versioned = told.startswith((f"{asked}@", f"{asked}:"))
        is_ours = told in {"", asked} or told.endswith(f"/{asked}") or asked.endswith(f"/{told}")
        if not (is_ours or is_versioned):
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
