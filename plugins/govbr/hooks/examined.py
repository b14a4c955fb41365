"""What a connection test found, and how it is told without secrets."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from govbr.connections import secrets_of

if TYPE_CHECKING:
    from data_platform.managers.search_index import Index
    from data_platform.settings import Settings

__all__ = ["Examined", "collection_in_words", "examine", "without_secrets"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What a service said.

    Attributes:
        ok: whether it can be used at all.
        writable: whether it can be written to.
        message: in words, fit for a log.
    """

    ok: bool
    writable: bool = False
    message: str = ""


def examine(read_settings: Callable[[], Settings], look: Callable[[Settings], Examined]) -> Examined:
    """Ask a service; whatever goes wrong becomes a message without secrets.

    Args:
        read_settings: reads the connection.
        look: asks the service.
    """
    settings: Settings | None = None
    try:
        settings = read_settings()
        return look(settings)
    except Exception as error:  # noqa: BLE001 - a connection test tells, it never raises
        _LOG.debug("the connection test ended with %s", type(error).__name__)
        return Examined(ok=False, message=without_secrets(_words(error), settings))


def collection_in_words(index: Index) -> str:
    """Say which collection searches see through an alias, what is in it, and how it is not what it should be."""
    live = index.live()
    if live is None:
        return f"searches for {index.alias} see no collection yet"
    card, drift = index.card(live), list(index.drift(live))
    shown = f"{live} (a collection, not an alias yet)" if live == index.alias else f"alias {index.alias} -> {live}"
    source = f", from {card.source}" if card else ""
    told = f"{shown}, {index.count(live):,} documents{source}"
    return f"{told}; NOT AS IT SHOULD BE: {'; '.join(drift)}" if drift else told


def without_secrets(text: str, settings: Settings | None) -> str:
    """Return a text with every secret of the settings replaced, and the password of any address in it."""
    from data_platform.settings import redact_url

    for secret in secrets_of(settings) if settings else ():
        text = text.replace(secret, "***")
    return " ".join(redact_url(word) for word in text.split(" "))


def _words(error: Exception) -> str:
    from data_platform.errors import DataPlatformError

    return str(error) if isinstance(error, DataPlatformError) else f"{type(error).__name__}: {error}"
