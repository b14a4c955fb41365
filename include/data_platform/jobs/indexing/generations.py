"""The collections that an alias has had: which to go on filling, which to keep, which to drop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from data_platform.errors import IntegrityError
from data_platform.failpoints import failpoint
from data_platform.jobs.indexing.records import Kind
from data_platform.managers.search_index import Card, Index, generation_name
from data_platform.models.days import utc_now

__all__ = [
    "SHOWN",
    "begin",
    "drop_old",
    "finish",
    "moved_before",
    "present",
    "previous_of",
    "require_no_shrink",
    "settle",
    "unfinished",
]

_LOG = logging.getLogger(__name__)
#: The fact of a card that says when searches began to see its collection.
SHOWN = "job_shown"
#: The fact of a card that names the run, in all its tries, that made its collection or moved searches to it last.
RUN = "job_run"
#: The fact of a card that says which kind of run is moving searches to its collection.
MOVING = "job_moving"
#: A new collection may have this share less than the one that searches see without anybody being asked.
_SHARE = 0.1
_FEW = 100


def _is_of(card: Card | None, run: str) -> bool:
    """Whether a collection was made, or searches moved to it, by an earlier try of this run."""
    return card is not None and bool(run) and card.facts.get(RUN) == run


def settle(index: Index) -> str:
    """Write down the end of a move of searches behind which a run was killed.

    Returns:
        The kind of run that moved them ("full", "rollback"); "" if no move was left so.
    """
    live = index.live()
    card = None if live is None else index.card(live)
    if live is None or card is None or MOVING not in card.facts:
        return ""
    index.set_card(live, _shown(card))
    return card.facts[MOVING]


def moved_before(index: Index, kind: Kind, *, run: str, source: str = "", afresh: bool = False) -> str | None:
    """Return the collection that searches see since an earlier try of a run; None if it has yet to move them.

    Args:
        index: which index.
        kind: of the run.
        run: which run asks; "" if its tries cannot be told from other runs. Then one of its kind counts that was killed
            just behind the move.
        source: what the run fills from; "" if that does not matter.
        afresh: whether only a try of this very run counts.

    Raises:
        IntegrityError: it has moved them, and somebody has moved them on since.
    """
    was_moving = settle(index) == kind
    live = index.live()
    for collection in index.collections() if run else ():
        card = index.card(collection)
        if (
            collection != live
            and card is not None
            and _is_of(card, run)
            and {SHOWN, MOVING} & set(card.facts) == {SHOWN}
        ):
            raise IntegrityError(
                f"this run let searches see {collection} already, and they were moved to {live} since",
                hint="by somebody who may have had a reason; if they are to be moved again, start another run",
            )
    card = None if live is None else index.card(live)
    is_killed = was_moving and not afresh and card is not None and source in {"", card.source}
    return live if _is_of(card, run) or is_killed else None


def unfinished(index: Index, source: str, *, run: str = "", afresh: bool = False) -> str | None:
    """Return the newest collection that was begun from a source and that searches never saw; None if there is none.

    One whose schema is no longer what it should be is not gone on with.

    Args:
        index: which index.
        source: what the collection is filled from.
        run: which run asks.
        afresh: only one that an earlier try of this run began.
    """
    live = index.live()
    for collection in reversed(index.collections()):
        card = index.card(collection)
        if card is None or card.source != source or SHOWN in card.facts or collection == live:
            continue
        if not afresh or _is_of(card, run):
            return None if index.drift(collection) else collection
    return None


def begin(index: Index, card: Card, run: str) -> str:
    """Make a collection and return its name."""
    collection = generation_name(index.alias, utc_now())
    index.create(collection, replace(card, facts={**card.facts, RUN: run}))
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


def present(index: Index, collection: str, card: Card, *, instead_of: str | None, kind: str, run: str) -> float | None:
    """Let searches see a collection that was compared.

    Args:
        index: which index.
        collection: which of its collections.
        card: what it says of itself.
        instead_of: what searches saw when the run began.
        kind: of the run.
        run: which run, in all its tries.

    Returns:
        For how many seconds they had none, if a collection had to make room for the alias; None otherwise.

    Raises:
        IntegrityError: searches were moved meanwhile, by somebody who may have had a reason.
    """
    failpoint("reindex.after_compare")
    live = index.live()
    if live != instead_of:
        raise IntegrityError(
            f"searches were moved from {instead_of} to {live} while this run was at work; {collection} is not shown",
            hint="was that a way back on purpose? if this run's collection is wanted all the same, start it again: it"
            " is gone on with",
        )
    card = replace(card, is_whole=True, facts={**card.facts, MOVING: kind, RUN: run})
    index.set_card(collection, card)
    failpoint("reindex.before_point")
    began = time.monotonic()
    index.point(collection)
    took = time.monotonic() - began
    failpoint("reindex.after_point")
    index.set_card(collection, _shown(card))
    return round(took, 3) if live == index.alias else None


def _shown(card: Card) -> Card:
    facts = {name: value for name, value in card.facts.items() if name != MOVING}
    return replace(card, facts={**facts, SHOWN: utc_now().isoformat()})


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


def drop_old(index: Index, *, keep: Collection[str | None], forget: Callable[[str], None]) -> list[str]:
    """Drop the collections that nobody needs any more, and return their names.

    Args:
        index: which index.
        keep: those to keep, beside the one that searches see.
        forget: takes away what else is known of a collection.
    """
    live = index.live()
    dropped = []
    for collection in index.collections():
        if collection not in {live, *keep}:
            index.drop(collection)
            failpoint("reindex.after_drop")
            forget(collection)
            dropped.append(collection)
    return dropped
