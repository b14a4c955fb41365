"""Taking the next item of an iterator while the one before is still being worked on."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["ahead"]

T = TypeVar("T")


def ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """Give the items of an iterator; while one is worked on, a thread fetches the next.

    At most two items are there at once. The iterator is used by one thread at a time, and by none when this is closed.
    """

    def fetch() -> list[T]:
        return list(islice(items, 1))

    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        coming = pool.submit(fetch)
        while found := coming.result():
            coming = pool.submit(fetch)
            yield from found
