"""How much is asked of a host at once: one budget for all sites that share it, over all processes that scrape.

Nearly all sites stand on www.gov.br, so a bound per site would be none at all. The budget of a host is for everything
of ours together; processes cannot see each other, so each gets a fixed share of it: budget = processes x share. On
Airflow the processes at once are the slots of the pool that scraping tasks run in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from data_platform.errors import ConfigurationError

__all__ = ["HostGate", "Politeness"]


@dataclass(frozen=True, kw_only=True)
class Politeness:
    """What may be asked of one host.

    Attributes:
        connections: most requests under way at once.
        per_second: most requests begun in a second; 0 for any number.
    """

    connections: int = 8
    per_second: float = 8.0

    def __post_init__(self) -> None:
        if self.connections < 1 or self.per_second < 0:
            raise ConfigurationError(
                f"a host cannot be asked by {self.connections} connections, {self.per_second} times a second",
                hint="set SCRAPER_CONNECTIONS to 1 or more, SCRAPER_REQUESTS_PER_SECOND to 0 (any number) or more",
            )

    def share(self, processes: int) -> Politeness:
        """Return the share of one of several processes that scrape at once.

        Raises:
            ConfigurationError: there is not even one connection for each.
        """
        if processes < 1 or processes > self.connections:
            raise ConfigurationError(
                f"{self.connections} connections to a host cannot be shared by {processes} processes",
                hint="give the pool of scraping tasks at most SCRAPER_CONNECTIONS slots",
            )
        return Politeness(connections=self.connections // processes, per_second=self.per_second / processes)


class HostGate:
    """Lets requests to one host pass, in the order in which they came.

    Args:
        politeness: the share of this process.
    """

    def __init__(self, politeness: Politeness) -> None:
        self._places = asyncio.Semaphore(politeness.connections)
        self._line = asyncio.Lock()
        self._interval_s = 1 / politeness.per_second if politeness.per_second else 0.0
        self._opens_at = 0.0

    @asynccontextmanager
    async def pass_through(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold the place until the answer is read."""
        async with self._places:
            async with self._line:
                # Looked at again after each sleep: the host may have asked for a pause meanwhile.
                while (wait := self._opens_at - time.monotonic()) > 0:  # noqa: ASYNC110 - a time, not an event
                    await asyncio.sleep(wait)
                # Counted from when it could have begun, if that was a moment ago: sleeps that last too long, as on a
                # busy machine, do not lower the rate. No longer rest is saved up.
                now = time.monotonic()
                begun = self._opens_at if now - self._opens_at < self._interval_s else now
                self._opens_at = begun + self._interval_s
            yield

    def pause(self, seconds: float) -> None:
        """Let nothing pass for so many seconds: the host asked all of us to wait."""
        self._opens_at = max(self._opens_at, time.monotonic() + seconds)
