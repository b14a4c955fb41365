"""Vectors from the team's own service, `POST /generate` (FIELD_FACTS §10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data_platform.managers.embeddings.service import EmbeddingService

__all__ = ["GenerateEmbedder"]

#: More are refused (422).
_AT_ONCE = 100


class GenerateEmbedder(EmbeddingService):
    """Asks `/generate`."""

    def _headers(self) -> Mapping[str, str]:
        # Of its two versions one wants the one header, the other the other.
        return {"X-API-Key": self._key, "Authorization": f"Bearer {self._key}"} if self._key else {}

    def _texts_at_once(self) -> int:
        return _AT_ONCE

    def _ask(self, texts: Sequence[str]) -> tuple[list[Any], str]:
        answer = self._request("POST", "/generate", send={"texts": list(texts)})
        listed = answer.get("embeddings") if isinstance(answer, dict) else None
        if not isinstance(listed, list):
            raise self._shape_error()
        return listed, str(answer.get("model") or "")
