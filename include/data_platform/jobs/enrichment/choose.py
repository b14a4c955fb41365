"""Which enricher the settings say, and where its answers may be written."""

from __future__ import annotations

from collections.abc import Collection

from data_platform.errors import ConfigurationError
from data_platform.jobs.enrichment.codes import ThemeCodes
from data_platform.jobs.enrichment.interface import Enricher
from data_platform.jobs.enrichment.service import PATIENCE
from data_platform.managers.hub.session import Backoff
from data_platform.managers.loopback import stores_outside
from data_platform.managers.storage_mode import ReadSource
from data_platform.settings import Settings

__all__ = ["CHOICES", "choose_enricher", "chosen_name", "require_publishable"]

COGFY, EMBEDDED, CHAT, NONE = "cogfy", "embedded", "chat", "none"
CHOICES = (COGFY, EMBEDDED, CHAT, NONE)


def chosen_name(settings: Settings) -> str:
    """Return which enricher is chosen: ENRICHER, else Cogfy if it has a key, else the embedded one.

    Raises:
        ConfigurationError: ENRICHER names none.
    """
    chosen = settings.enricher.lower()
    if chosen and chosen not in CHOICES:
        raise ConfigurationError(f"ENRICHER is {settings.enricher!r}", hint=f"choose one of {', '.join(CHOICES)}")
    return chosen or (COGFY if settings.cogfy_api_key else EMBEDDED)


def choose_enricher(settings: Settings, codes: ThemeCodes, *, backoff: Backoff = PATIENCE) -> Enricher | None:
    """Return the enricher that is chosen; None if there shall be none.

    Args:
        settings: what is set.
        codes: the tree.
        backoff: how requests are tried again.

    Raises:
        ConfigurationError: ENRICHER names none, or the chosen one lacks a setting; says which.
    """
    name = chosen_name(settings)
    if name == COGFY:
        from data_platform.jobs.enrichment.cogfy import CogfyEnricher
        from data_platform.jobs.enrichment.cogfy_client import CogfyClient

        if not (settings.cogfy_collection_name or settings.cogfy_collection_id):
            raise ConfigurationError(
                "Cogfy is chosen and no collection is named",
                hint="set COGFY_COLLECTION_NAME or COGFY_COLLECTION_ID: none is written by default",
            )
        return CogfyEnricher(
            CogfyClient(settings, backoff=backoff),
            codes,
            collection_name=settings.cogfy_collection_name,
            collection_id=settings.cogfy_collection_id,
        )
    if name == CHAT:
        from data_platform.jobs.enrichment.chat import ChatEnricher

        return ChatEnricher(settings, codes, backoff=backoff)
    if name == EMBEDDED:
        from data_platform.jobs.enrichment.embedded import EmbeddedEnricher

        return EmbeddedEnricher(codes)
    return None


def require_publishable(settings: Settings, sides: Collection[ReadSource], *, approximate: bool) -> None:
    """Refuse to write approximate themes and summaries where the world reads them; for whoever writes to call.

    Args:
        settings: where the stores are, and whether approximate values may go there.
        sides: the stores that are written.
        approximate: whether what is to be written is.

    Raises:
        ConfigurationError: a store is not on this machine, and nobody said that it may have approximate values.
    """
    if not approximate or settings.enrich_publish_approximate:
        return
    if outside := stores_outside(settings, sides):
        raise ConfigurationError(
            f"approximate themes and summaries are not written to {' and '.join(outside)}",
            hint="set COGFY_API_KEY or ENRICHER=chat for real ones, ENRICHER=none for none,"
            " or ENRICH_PUBLISH_APPROXIMATE=true to publish these",
        )
