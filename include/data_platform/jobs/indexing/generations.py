"""The collections that an alias has had: which to go on filling, which to keep, which to drop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from data_platform.errors import IntegrityError
from data_platform.failpoints import failpoint
from data_platform.managers.search_index import Card, Index, generation_name
from data_platform.models.days import utc_now

__all__ = ["SHOWN", "begin", "drop_old", "finish", "present", "previous_of", "require_no_shrink", "unfinished"]

_LOG = logging.getLogger(__name__)
#: The fact of a card that says when searches began to see its collection.
SHOWN = "job_shown"
#: A new collection may have this share less than the one that searches see without anybody being asked.
_SHARE = 0.1
_FEW = 100


def unfinished(index: Index, source: str) -> str | None:
    """Return the newest collection that was begun from a source and not done with; None if there is none.

    It may be what searches see already, if a run was killed just then. One whose schema is no longer what it should be
    is not gone on with.
    """
    for collection in reversed(index.collections()):
        card = index.card(collection)
        if card is not None and card.source == source and SHOWN not in card.facts:
            return None if index.drift(collection) else collection
    return None


def begin(index: Index, card: Card) -> str:
    """Make a collection and return its name."""
    collection = generation_name(index.alias, utc_now())
    index.create(collection, card)
    failpoint("reindex.after_create")
    return collection


def finish(index: Index, collection: str) -> None:
    """Do what was put off while a collection was filled; a run that is killed after it does it again."""
    index.finish(collection)
    failpoint("reindex.after_finish")


def require_no_shrink(index: Index, collection: str, *, allowed: bool) -> None:
    """Refuse to show a collection that has much less than what searches see now.

    Raises:
        IntegrityError: it has.
    """
    live = index.live()
    if live is None or live == collection or allowed:
        return
    before, after = index.count(live), index.count(collection)
    if before - after > max(_FEW, _SHARE * before):
        raise IntegrityError(
            f"{collection} has {after:,} documents, {live}, which searches see, has {before:,}",
            hint="is the source whole? if so many shall go: --allow-shrink",
        )


def present(index: Index, collection: str, card: Card) -> float | None:
    """Let searches see a collection that was compared.

    Returns:
        For how many seconds they had none, if a collection had to make room for the alias; None otherwise.
    """
    failpoint("reindex.after_compare")
    makes_room = index.live() == index.alias
    card = replace(card, is_whole=True)
    index.set_card(collection, card)
    failpoint("reindex.before_point")
    began = time.monotonic()
    index.point(collection)
    took = time.monotonic() - began
    failpoint("reindex.after_point")
    index.set_card(collection, replace(card, facts={**card.facts, SHOWN: utc_now().isoformat()}))
    return round(took, 3) if makes_room else None


def previous_of(index: Index, *, is_older: bool = False) -> str | None:
    """Return the collection that searches saw last before the present one; None if there is none.

    Args:
        index: which index.
        is_older: only one that was made before the present one: going back twice does not lead forth again.
    """
    live = index.live()
    shown: list[tuple[str, str]] = []
    for collection in index.collections():
        card = index.card(collection)
        if collection == live or (is_older and live is not None and collection > live):
            continue
        if card is not None and card.is_whole and SHOWN in card.facts:
            shown.append((card.facts[SHOWN], collection))
    return max(shown)[1] if shown else None


def drop_old(index: Index, *, keep: str | None, forget: Callable[[str], None]) -> list[str]:
    """Drop the collections that nobody needs any more, and return their names.

    Args:
        index: which index.
        keep: one to keep, beside the one that searches see.
        forget: takes away what else is known of a collection.
    """
    live = index.live()
    dropped = []
    for collection in index.collections():
        if collection not in {live, keep}:
            index.drop(collection)
            failpoint("reindex.after_drop")
            forget(collection)
            dropped.append(collection)
    return dropped
