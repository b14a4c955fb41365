"""Faults that a test plants in a stand-in, and which of them strikes a request."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

__all__ = ["Fault", "FaultPlan"]


@dataclass
class Fault:
    """What goes wrong with requests in whose "METHOD /path" a regular expression is found.

    Without status, drop and cut the request is only served late. Of several faults that match, the first plays.

    Attributes:
        pattern: the regular expression; the path is decoded and has no query.
        status: the status to answer instead.
        times: how many requests it strikes.
        headers: further headers of the answer, such as Retry-After.
        delay: seconds to wait: before the request is looked at, or, with `after`, before it is answered.
        after: carry the request out first; only its answer is lost.
        skip: how many requests that match it lets pass first.
        cut: end the body of the answer after so many bytes, by closing the connection.
        drop: close the connection instead of answering.
    """

    pattern: str
    status: int | None = None
    times: int = 1_000_000
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    after: bool = False
    skip: int = 0
    cut: int | None = None
    drop: bool = False


class _Planted(Protocol):
    pattern: str
    times: int
    skip: int


_AnyFault = TypeVar("_AnyFault", bound=_Planted)


class FaultPlan:
    """Says which fault strikes a request, of whatever kind they are; safe to ask from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def strike(self, faults: Iterable[_AnyFault], request: str) -> _AnyFault | None:
        """Return the fault to play for a request, and count it.

        Args:
            faults: in this order, each with `pattern`, `times` and `skip` as `Fault` has them.
            request: what the patterns are looked for in.
        """
        with self._lock:
            for fault in list(faults):
                if not fault.times or not re.search(fault.pattern, request):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None
