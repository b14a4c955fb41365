"""The HTTP server of the embeddings' stand-in: which address answers what, and the faults on the way."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dev.embeddings_server.vectors import embed
from dev.stand_in import RefusalError, Reply, Request, StandIn, json_reply

__all__ = ["EmbeddingsServer"]

_ERROR_TYPES = {400: "Empty", 401: "Unauthorized", 413: "Validation", 422: "Validation", 429: "Overloaded"}


@dataclass
class _Spoiled:
    """What is wrong with the next answers."""

    times: int
    dimension: int | None
    missing: int
    not_a_number: Literal["NaN", "null"] | None


class EmbeddingsServer(StandIn):
    """Serves vectors on 127.0.0.1 while it is used as a context manager.

    Attributes:
        keys: the keys that are valid, in either header; without any, everybody is served.
        model: name of the model; another one gives other vectors.
        dimension: length of a vector.
        largest_batch: how many texts `/v1/embeddings` takes at once; `/generate` takes 100.
        too_large_status: what more texts are answered with there: 422, or 413 as the interface's description has it.
        loading: how many requests for vectors are still answered with 503, as by an instance that just started.
        has_info: whether `/info` is there, as with some servers only.
        is_reversed: whether `/v1/embeddings` gives the vectors in another order, told by their `index`.
        texts: all texts that vectors were given for, in order.
    """

    most_texts = 100

    def __init__(
        self,
        *,
        keys: Iterable[str] = (),
        model: str = "stand-in",
        dimension: int = 768,
        largest_batch: int = 32,
        port: int = 0,
    ) -> None:
        super().__init__(port=port)
        self.keys = set(keys)
        self.model = model
        self.dimension = dimension
        self.largest_batch = largest_batch
        self.too_large_status = 422
        self.loading = 0
        self.has_info = True
        self.is_reversed = False
        self.texts: list[str] = []
        self._spoiled: _Spoiled | None = None
        self._lock = threading.Lock()

    def spoil(
        self,
        *,
        times: int = 1_000_000,
        dimension: int | None = None,
        missing: int = 0,
        not_a_number: Literal["NaN", "null"] | None = None,
    ) -> None:
        """Make the next answers wrong, though their status is 200.

        Args:
            times: how many answers.
            dimension: length of their vectors.
            missing: how many vectors the answer has too few.
            not_a_number: what stands for the first number of the last vector, as Python or as other servers write it.
        """
        self._spoiled = _Spoiled(times, dimension, missing, not_a_number)

    def refuse(self, status: int, message: str) -> Reply:
        """Answer with an error that has what both kinds of service tell."""
        kind = _ERROR_TYPES.get(status, "Unhealthy" if status == 503 else "Backend")  # noqa: PLR2004 - the status itself
        return json_reply({"detail": message, "error": message, "error_type": kind}, status)

    def answer(self, request: Request) -> Reply:
        """Answer a request."""
        match (request.method, *request.parts):
            case ("GET", "health"):
                is_loaded = self.loading <= 0
                return json_reply({"status": "healthy" if is_loaded else "loading", "model_loaded": is_loaded})
            case ("GET", "info") if self.has_info:
                told = {"max_client_batch_size": self.largest_batch, "max_input_length": 512}
                return json_reply({"model_id": self.model, **told})
            case ("POST", "generate"):
                return json_reply(self._generate(request))
            case ("POST", "v1", "embeddings") | ("POST", "embeddings"):
                return json_reply(self._openai(request))
        raise RefusalError(404, "Not Found")

    def _generate(self, request: Request) -> dict[str, Any]:
        texts = self._texts(request, "texts", self.most_texts, 422)
        made = self._vectors(texts)
        return {"embeddings": made, "model": self.model, "dimension": len(made[0]) if made else 0, "count": len(made)}

    def _openai(self, request: Request) -> dict[str, Any]:
        texts = self._texts(request, "input", self.largest_batch, self.too_large_status)
        in_base64 = request.json().get("encoding_format") == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": _base64(vector) if in_base64 else vector}
            for index, vector in enumerate(self._vectors(texts))
        ]
        words = sum(len(text.split()) for text in texts)
        usage = {"prompt_tokens": words, "total_tokens": words}
        return {
            "object": "list",
            "data": data[::-1] if self.is_reversed else data,
            "model": self.model,
            "usage": usage,
        }

    def _texts(self, request: Request, name: str, most: int, too_many: int) -> list[str]:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.keys and not self.keys & {request.headers.get("x-api-key"), bearer}:
            raise RefusalError(401, "Invalid or missing API key")
        with self._lock:
            if self.loading > 0:
                self.loading -= 1
                raise RefusalError(503, "Model not loaded yet")
        try:
            told = request.json()
        except ValueError:
            raise RefusalError(422, "the body is no JSON") from None
        texts = told.get(name) if isinstance(told, dict) else None
        texts = [texts] if isinstance(texts, str) and name == "input" else texts
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise RefusalError(422, f"`{name}` must be a list of texts")
        if not texts:
            raise RefusalError(400 if name == "input" else 422, f"`{name}` cannot be empty")
        if len(texts) > most:
            raise RefusalError(too_many, f"batch size {len(texts)} > maximum allowed batch size {most}")
        return texts

    def _vectors(self, texts: Sequence[str]) -> list[list[float | None]]:
        with self._lock:
            self.texts.extend(texts)
            spoiled = self._spoiled if self._spoiled and self._spoiled.times > 0 else None
            if spoiled:
                spoiled.times -= 1
        dimension = (spoiled and spoiled.dimension) or self.dimension
        made: npt.NDArray[np.float64] = embed(texts, model=self.model, dimension=dimension)
        vectors: list[list[float | None]] = made.tolist()
        if spoiled and spoiled.not_a_number:
            vectors[-1][0] = None if spoiled.not_a_number == "null" else float("nan")
        return vectors[: len(vectors) - (spoiled.missing if spoiled else 0)]


def _base64(vector: Sequence[float | None]) -> str:
    """Write a vector as OpenAI does: 32-bit numbers, the least byte first."""
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()
