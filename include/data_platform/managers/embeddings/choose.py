"""Which embedder the settings say, and where its vectors may be written."""

from __future__ import annotations

from urllib.parse import urlsplit

from data_platform.errors import ConfigurationError
from data_platform.managers.embeddings.generate import GenerateEmbedder
from data_platform.managers.embeddings.hashing import HashingEmbedder
from data_platform.managers.embeddings.interface import Embedder
from data_platform.managers.embeddings.openai_api import OpenAiEmbedder
from data_platform.managers.embeddings.service import PATIENCE, ServiceSettings
from data_platform.managers.hub.session import Backoff
from data_platform.managers.loopback import is_loopback
from data_platform.settings import Settings

__all__ = ["KINDS", "choose_embedder", "require_publishable_vectors"]

OPENAI, GENERATE, HASHING = "openai", "generate", "hashing"
KINDS = (OPENAI, GENERATE, HASHING)


def choose_embedder(settings: Settings, *, backoff: Backoff = PATIENCE) -> Embedder:
    """Return the embedder that is chosen by EMBEDDINGS_API_KIND; the hashing one if no service is set.

    Raises:
        ConfigurationError: the kind is none, or a service is set without its kind, or the chosen one lacks a setting.
    """
    kind = settings.embeddings_api_kind.lower()
    hint = f"choose one of {', '.join(KINDS)}"
    if kind and kind not in KINDS:
        raise ConfigurationError(f"EMBEDDINGS_API_KIND is {settings.embeddings_api_kind!r}", hint=hint)
    if not kind and settings.embeddings_api_url:
        raise ConfigurationError("EMBEDDINGS_API_URL is set and EMBEDDINGS_API_KIND is not", hint=hint)
    if kind in {"", HASHING}:
        return HashingEmbedder(settings.embeddings_dimension)
    service = ServiceSettings(
        url=settings.embeddings_api_url,
        key=settings.embeddings_api_key,
        model=settings.embeddings_model,
        dimension=settings.embeddings_dimension,
    )
    chosen = OpenAiEmbedder if kind == OPENAI else GenerateEmbedder
    return chosen(service, backoff=backoff)


def require_publishable_vectors(settings: Settings, embedder: Embedder) -> None:
    """Refuse to write approximate vectors into an index that is not on this machine.

    Raises:
        ConfigurationError: it is not, and nobody said that it may have such ones.
    """
    if not embedder.approximate or settings.embeddings_publish_approximate:
        return
    if not is_loopback(urlsplit(settings.qdrant_url).hostname or ""):
        raise ConfigurationError(
            f"vectors of {embedder.model}, which know words and not what they mean, are not written to"
            f" {settings.qdrant_url or 'a Qdrant without address'}",
            hint="set EMBEDDINGS_API_URL, EMBEDDINGS_API_KIND and EMBEDDINGS_MODEL for real ones,"
            " or EMBEDDINGS_PUBLISH_APPROXIMATE=true to publish these",
        )
