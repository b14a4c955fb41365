"""Fault 38: all pages of a listing, each item once, whatever the gateway does with large pages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.jobs.enrichment.paging import PAGE_SIZES, all_items
from data_platform.jobs.enrichment.problems import EnricherError, EnricherUnavailableError, GatewayError


class Listing:
    """A listing that grows, has a largest page of its own, and a gateway that gives up on large pages."""

    def __init__(self, count: int, *, own: int = 10**6, most: int = 10**6, grows_at: set[int] | None = None) -> None:
        self.items = [{"id": f"i{n:05}"} for n in range(count)]
        self.own, self.most, self.grows_at = own, most, grows_at or set()
        self.asked: list[tuple[int, int]] = []

    def page(self, number: int, size: int, smaller: bool) -> dict[str, Any]:
        self.asked.append((number, size))
        if len(self.asked) in self.grows_at:
            self.items.append({"id": f"later{len(self.asked)}"})
        if size > self.most:
            raise GatewayError("504")
        real = min(size, self.own)
        return {
            "data": self.items[number * real : (number + 1) * real],
            "pageNumber": number,
            "pageSize": real,
            "totalSize": len(self.items),
        }


@settings(deadline=None)  # a busy machine is no finding
@given(
    st.integers(0, 2600),
    st.sampled_from([10**6, 1000, 300, 100, 7]),
    st.sampled_from([10**6, 999, 499, 130, 25]),
    st.sets(st.integers(1, 12), max_size=3),
)
def test_every_item_comes_once(count: int, own: int, most: int, grows_at: set[int]) -> None:
    listing = Listing(count, own=own, most=most, grows_at=grows_at)
    found = [item["id"] for item in all_items(listing.page, what="things")]
    assert len(found) == len(set(found))
    assert {item["id"] for item in listing.items[:count]} <= set(found)


def test_more_than_a_thousand_are_not_cut_at_the_first_page() -> None:
    """Fault 38, as it was: one page of 1,000 was taken for all."""
    listing = Listing(1001)
    assert len(list(all_items(listing.page, what="things"))) == 1001
    assert listing.asked == [(0, 1000), (1, 1000)]


def test_a_page_that_the_gateway_gives_up_on_is_asked_for_in_smaller_ones_and_not_from_the_beginning() -> None:
    listing = Listing(2500)
    pages = all_items(listing.page, what="things")
    for _ in range(1500):
        next(pages)
    listing.most = 250
    assert len(list(pages)) == 1000
    assert listing.asked == [(0, 1000), (1, 1000), (2, 1000), (4, 500), (8, 250), (9, 250)]


def test_a_gateway_that_gives_up_on_the_smallest_page_too_is_an_error() -> None:
    listing = Listing(10, most=0)
    with pytest.raises(GatewayError):
        list(all_items(listing.page, what="things"))
    assert [size for _, size in listing.asked] == list(PAGE_SIZES)


def test_pages_that_are_missing_are_an_error_and_not_an_end() -> None:
    listing = Listing(30)
    with pytest.raises(EnricherUnavailableError, match="page 0 is empty, though there are 30"):
        list(all_items(lambda *a: listing.page(*a) | {"data": []}, what="things", sizes=(10,)))
    with pytest.raises(EnricherUnavailableError, match="27 came of 30"):
        list(all_items(lambda *a: listing.page(*a) | {"data": listing.page(*a)["data"][1:]}, what="x", sizes=(10,)))


@pytest.mark.parametrize("answer", [{}, {"data": []}, {"data": {}, "totalSize": 0}, {"data": [{}], "totalSize": 1}])
def test_what_is_no_page_is_not_taken_for_an_empty_one(answer: dict[str, Any]) -> None:
    with pytest.raises(EnricherError, match="the answer is no page"):
        list(all_items(lambda *_: answer, what="things"))
