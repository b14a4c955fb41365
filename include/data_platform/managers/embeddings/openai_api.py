"""Vectors from any service that speaks OpenAI's `/v1/embeddings`: text-embeddings-inference, vLLM, and others.

How many texts a request may have, text-embeddings-inference says at `/info`; for others it is 32, what that one has by
default (its docs/openapi.json).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from data_platform.managers.embeddings.interface import EmbeddingsError
from data_platform.managers.embeddings.service import EmbeddingService

__all__ = ["OpenAiEmbedder"]

_AT_ONCE = 32
_MOST_AT_ONCE = 2_048  # what OpenAI itself takes; a service that says more is not believed


class OpenAiEmbedder(EmbeddingService):
    """Asks `/v1/embeddings`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - those of the base class
        super().__init__(*args, **kwargs)
        self._url = self._url.removesuffix("/embeddings").removesuffix("/v1")
        self._at_once = 0
        self._lock = Lock()

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def _texts_at_once(self) -> int:
        with self._lock:
            if not self._at_once:
                self._at_once = self._told_at_once()
            return self._at_once

    def _told_at_once(self) -> int:
        from data_platform.errors import DataPlatformError

        try:
            told = self._request("GET", "/info")
        except DataPlatformError:  # it has no such page, or is starting: asking for vectors will tell
            return _AT_ONCE
        most = told.get("max_client_batch_size") if isinstance(told, dict) else None
        return min(most, _MOST_AT_ONCE) if isinstance(most, int) and most > 0 else _AT_ONCE

    def _ask(self, texts: Sequence[str]) -> tuple[list[Any], str]:
        send = {"input": list(texts), "model": self.model, "encoding_format": "float"}
        answer = self._request("POST", "/v1/embeddings", send=send)
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, list) or not all(isinstance(one, dict) and "embedding" in one for one in data):
            raise self._shape_error()
        # Each says which text it is of; the order of the list is not promised.
        by_index = {one.get("index", at): one["embedding"] for at, one in enumerate(data)}
        if set(by_index) != set(range(len(data))):
            raise EmbeddingsError(f"{self}: its vectors are not numbered one by one", hint="check the service")
        return [by_index[at] for at in range(len(data))], str(answer.get("model") or "")
