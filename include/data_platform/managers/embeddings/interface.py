"""What turns texts into vectors, whoever does it, and what may go wrong there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from data_platform.errors import StoreError, StoreUnavailableError

__all__ = ["HARMLESS", "Embedded", "Embedder", "EmbeddingsError", "EmbeddingsUnavailableError", "Vectors"]

#: A text that every service takes: if it does not take this, it is not the texts.
HARMLESS = "notícia"
#: float32, one row a text.
Vectors = npt.NDArray[np.float32]


class EmbeddingsError(StoreError):
    """The service cannot do what is asked: vectors of another length or model, an answer of another shape."""


class EmbeddingsUnavailableError(StoreUnavailableError):
    """The service did not answer as it should, or asks to come back later.

    Attributes:
        retry_after_s: how many seconds it asks to wait; 0 if it does not say.
    """

    retry_after_s: float = 0.0


@dataclass(frozen=True)
class Embedded:
    """What became of some texts; each has a vector or a reason.

    Attributes:
        vectors: float32 (texts, dimension), finite; zeros for a text that was refused.
        refused: position of a text -> why the service does not take it.
    """

    vectors: Vectors
    refused: Mapping[int, str] = field(default_factory=dict)


class Embedder(Protocol):
    """Turns texts into vectors. Safe to use from several threads."""

    @property
    def model(self) -> str:
        """The name of the model, kept with every vector."""

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""

    @property
    def approximate(self) -> bool:
        """Whether its vectors only know words and not what they mean; such ones are not published by accident."""

    @property
    def is_local(self) -> bool:
        """Whether making a vector costs less than asking an index for the one that it has."""

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embed texts, in their order.

        Raises:
            ConfigurationError: key or address are not good.
            EmbeddingsError: the service cannot be used as it is set, or takes no text at all.
            EmbeddingsUnavailableError: it did not answer as it should, however often asked, nor does it answer others.
        """

    def close(self) -> None:
        """Close the connections."""
