"""The budget of a host: shared by all sites of a process, and by all processes."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.errors import ConfigurationError
from data_platform.jobs.scraper.politeness import HostGate, Politeness


@given(st.integers(1, 64), st.just(0.0) | st.floats(0.001, 100), st.integers(1, 64))
def test_shares_together_never_exceed_the_budget(connections: int, per_second: float, processes: int) -> None:
    whole = Politeness(connections=connections, per_second=per_second)
    if processes > connections:
        with pytest.raises(ConfigurationError, match="cannot be shared"):
            whole.share(processes)
        return
    share = whole.share(processes)
    assert share.connections >= 1
    assert share.connections * processes <= connections
    assert share.per_second * processes == pytest.approx(per_second)
    assert (share.per_second > 0) == (per_second > 0)


@pytest.mark.parametrize(("connections", "per_second"), [(0, 1.0), (-1, 1.0), (1, -0.5)])
def test_a_budget_that_allows_nothing_is_refused(connections: int, per_second: float) -> None:
    with pytest.raises(ConfigurationError, match="SCRAPER_CONNECTIONS"):
        Politeness(connections=connections, per_second=per_second)


def passed(politeness: Politeness, requests: int, *, pause_at: int = -1) -> tuple[list[float], int]:
    """Return when requests that are all there at once were begun, and the most under way."""

    async def run() -> tuple[list[float], int]:
        gate, loop = HostGate(politeness), asyncio.get_running_loop()
        begun: list[float] = []
        under_way = most = 0

        async def one(number: int) -> None:
            nonlocal under_way, most
            async with gate.pass_through():
                begun.append(loop.time())
                under_way += 1
                most = max(most, under_way)
                if number == pause_at:
                    gate.pause(0.15)
                await asyncio.sleep(0.02)
                under_way -= 1

        await asyncio.gather(*(one(number) for number in range(requests)))
        return begun, most

    return asyncio.run(run())


def test_no_more_than_so_many_at_once() -> None:
    _, most = passed(Politeness(connections=3, per_second=0), 12)
    assert most == 3


def test_no_more_than_so_many_begin_in_a_second() -> None:
    begun, _ = passed(Politeness(connections=8, per_second=50), 12)
    assert len(begun) == 12
    # One may come early by what the one before it was late, never by more.
    spans = [begun[j] - begun[i] - (j - i - 1) * 0.02 for i in range(12) for j in range(i + 1, 12)]
    assert min(spans) >= -0.001
    assert begun[-1] - begun[0] >= 11 * 0.02 - 0.001


def test_rest_is_not_saved_up_for_a_burst() -> None:
    async def run() -> list[float]:
        gate, begun = HostGate(Politeness(connections=8, per_second=20)), []
        await asyncio.sleep(0.3)
        for _ in range(4):
            async with gate.pass_through():
                begun.append(asyncio.get_running_loop().time())
        return begun

    begun = asyncio.run(run())
    assert begun[-1] - begun[0] >= 0.1499


def test_a_pause_that_the_host_asks_for_holds_all() -> None:
    begun, _ = passed(Politeness(connections=2, per_second=0), 6, pause_at=1)
    gaps = [later - earlier for earlier, later in pairwise(begun)]
    assert max(gaps) >= 0.149
    assert sum(gap >= 0.1 for gap in gaps) == 1
