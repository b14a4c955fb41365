"""All pages of a listing, whatever the gateway does with large ones (FIELD_FACTS §6.1, §6.3, §14 fault 38)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from data_platform.jobs.enrichment.problems import EnricherError, EnricherUnavailableError, GatewayError

__all__ = ["PAGE_SIZES", "AskPage", "all_items"]

#: One page: (its number from 0, how many items, whether a smaller one is still to be tried) -> the answer.
AskPage = Callable[[int, int, bool], dict[str, Any]]
#: From the size that is asked for first to the smallest that the gateway may bring it down to.
PAGE_SIZES = (1000, 500, 250, 125, 25)


def all_items(ask: AskPage, *, what: str, sizes: Sequence[int] = PAGE_SIZES) -> Iterator[dict[str, Any]]:
    """Give every item of a listing once, with pages that become smaller where the gateway gives up.

    An item may come on two pages, if the listing grows meanwhile or the size of its pages changes: it is known by its
    id. That all have come is checked against the total that the listing itself tells.

    Args:
        ask: gets a page.
        what: is listed, for messages.
        sizes: of pages, the largest first.

    Raises:
        GatewayError: even the smallest pages do not come.
        EnricherUnavailableError: pages are missing; worth trying again.
        EnricherError: the answers are no pages.
    """
    left = list(sizes)
    first, seen = 0, set[str]()
    while True:
        number, answer = _ask(ask, first, left)
        items, total, size = _page(answer, left[0], what)
        if size != left[0]:  # the service has a size of its own: pages are counted by that
            left = [size, *(smaller for smaller in left if smaller < size)]
            if number:
                continue
        for item in items:
            if item["id"] not in seen:
                seen.add(item["id"])
                yield item
        first = (number + 1) * size
        if first >= total:
            break
        if not items:
            raise EnricherUnavailableError(f"{what}: page {number} is empty, though there are {total} in all")
    if len(seen) < total:
        raise EnricherUnavailableError(
            f"{what}: {len(seen)} came of {total}", hint="it changes while it is read; try again later"
        )


def _ask(ask: AskPage, first: int, left: list[int]) -> tuple[int, dict[str, Any]]:
    """Return (number, answer) of the page with an item; sizes with which the gateway gives up are taken from `left`."""
    while True:
        number = first // left[0]  # rounded down: what was seen already comes once more and does no harm
        try:
            return number, ask(number, left[0], len(left) > 1)
        except GatewayError:
            if len(left) == 1:
                raise
            del left[0]


def _page(answer: dict[str, Any], asked: int, what: str) -> tuple[list[dict[str, Any]], int, int]:
    """Return (items, items of the whole listing, size of pages)."""
    items, total, size = answer.get("data"), answer.get("totalSize"), answer.get("pageSize")
    if not isinstance(items, list) or not isinstance(total, int) or not all(_is_item(item) for item in items):
        raise EnricherError(f"{what}: the answer is no page: it has {', '.join(answer) or 'nothing'}")
    return items, total, size if isinstance(size, int) and 0 < size < asked else asked


def _is_item(item: object) -> bool:
    return isinstance(item, dict) and isinstance(item.get("id"), str)
