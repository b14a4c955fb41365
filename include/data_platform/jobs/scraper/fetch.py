"""Pages fetched politely: listed hosts only, one budget a host, patience by type of error, bounds on time and size.

    async with Fetcher(Hosts(["www.gov.br"])) as fetcher:
        page = await fetcher.get("https://www.gov.br/aeb/pt-br/assuntos/noticias", Visit.lasting(300))

HTTP/2 is spoken where the package h2 is installed and the server offers it, HTTP/1.1 otherwise; connections are kept.
Proxies of the environment are not used: a request goes to the address that was looked at (`hosts`).
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from secrets import SystemRandom
from typing import Self

import httpx

from data_platform.jobs.scraper.answers import (
    Accept,
    Page,
    RateLimitedError,
    TimeBudgetError,
    raise_for_status,
    raise_if_no_page,
    redirect_of,
)
from data_platform.jobs.scraper.decoding import ACCEPTED_ENCODINGS, BodyReader, PageTooLargeError, decode_text
from data_platform.jobs.scraper.hosts import Hosts, Target
from data_platform.jobs.scraper.politeness import HostGate, Politeness
from data_platform.jobs.scraper.problems import EmptyContentError, NetworkError, ScrapeError, UrlBrokenError
from data_platform.jobs.scraper.robots import ALLOW_ALL, Robots, parse_robots
from data_platform.settings import DEFAULT_USER_AGENT

__all__ = ["AGENT", "FetchLimits", "Fetcher", "RobotsRefusedError", "Visit"]

#: Our name in robots.txt, whatever the User-Agent says.
AGENT = "destaquesgovbr"

_LANGUAGES = "pt-BR,pt;q=0.9,en;q=0.5"
_PAGES = frozenset({HTTPStatus.OK, HTTPStatus.NON_AUTHORITATIVE_INFORMATION})
#: Read of the body of an error, or of a redirect so that its connection can be kept, in bytes.
_LOOKED_AT = 128 * 1024
#: Tries where a page came but not the one wanted: once more may help, often does not.
_TRIES_OF_EMPTY = 2
_TRIES_OF_ROBOTS = 2
_dice = SystemRandom()


class RobotsRefusedError(UrlBrokenError):
    """The host's robots.txt asks us not to fetch this address."""


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """Bounds on one page.

    Attributes:
        connect_s: seconds to connect.
        silence_s: the longest silence of a server, in seconds.
        request_s: seconds for one answer as a whole, however steadily it drips.
        largest_bytes: most bytes of a body, packed and unpacked.
        redirects: most redirects in a row.
        tries: most tries where the network or the server fails.
        first_s: pause before the second try in seconds; it doubles each time, up to `most_s`, less some jitter.
        most_s: the longest of these pauses.
        longest_retry_after_s: the longest pause that a host may ask for; if it asks for more, the page fails at once.
    """

    connect_s: float = 10.0
    silence_s: float = 20.0
    request_s: float = 60.0
    largest_bytes: int = 8_000_000
    redirects: int = 5
    tries: int = 4
    first_s: float = 1.0
    most_s: float = 20.0
    longest_retry_after_s: float = 60.0


@dataclass
class Visit:
    """The time that one site may take, and what it took.

    Attributes:
        seconds: the time budget.
        until: when it is over, by the clock of the event loop.
        requests: requests made, redirects and tries among them.
        tried_again: tries after the first.
        read_bytes: bytes of the bodies read, unpacked.
    """

    seconds: float
    until: float
    requests: int = 0
    tried_again: int = 0
    read_bytes: int = 0

    @classmethod
    def lasting(cls, seconds: float) -> Visit:
        """Begin one; in a running event loop."""
        return cls(seconds, asyncio.get_running_loop().time() + seconds)

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return asyncio.get_running_loop().time() >= self.until


@dataclass(frozen=True)
class _Answer:
    page: Page | None
    location: str | None


class Fetcher:
    """Fetches pages of the sites; used as an asynchronous context manager, by many sites at once.

    Args:
        hosts: which may be asked.
        politeness: what this process may ask of one host (`Politeness.share`).
        user_agent: header User-Agent.
        limits: bounds on one page.
        honours_robots: whether robots.txt is read, once a host, and obeyed. If it cannot be read, all is allowed:
            RFC 9309 would have all forbidden, but one file that fails must not silence 150 sites; `notes` tells.

    Attributes:
        notes: what was out of the ordinary, such as a robots.txt that could not be read.
    """

    def __init__(
        self,
        hosts: Hosts,
        *,
        politeness: Politeness | None = None,
        user_agent: str = DEFAULT_USER_AGENT,
        limits: FetchLimits | None = None,
        honours_robots: bool = True,
    ) -> None:
        self.notes: list[str] = []
        self._hosts = hosts
        self._politeness = politeness or Politeness()
        self._limits = limits or FetchLimits()
        self._user_agent = user_agent
        self._honours_robots = honours_robots
        self._gates: dict[str, HostGate] = {}
        self._clients: dict[tuple[str, bool], httpx.AsyncClient] = {}
        self._robots: dict[str, Robots] = {}
        self._robots_locks: dict[str, asyncio.Lock] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def get(self, url: str, visit: Visit, *, accept: Accept = Accept.HTML) -> Page:
        """Return a page, after as many tries as its errors are worth.

        Args:
            url: its public address.
            visit: the site's time budget.
            accept: what is wanted.

        Raises:
            NetworkError: no usable answer, however often asked; `TimeBudgetError` if the site's time is over.
            AntiBotError: a challenge for browsers; not tried again, since asking again is what these punish.
            EmptyContentError: a login form, a maintenance page, an empty body.
            UrlBrokenError: there is no such page, or it may not be asked for (`HostRefusedError`,
                `RobotsRefusedError`), or it is too large (`PageTooLargeError`).
        """
        try:
            async with asyncio.timeout_at(visit.until):
                return await self._patiently(url, visit, accept)
        except TimeoutError as error:
            raise TimeBudgetError(
                f"the {visit.seconds:g} s that a site may take were over at {url}", hint="it is asked again later"
            ) from error

    async def _patiently(self, url: str, visit: Visit, accept: Accept) -> Page:
        limits, attempt = self._limits, 0
        while True:
            try:
                return await self._follow(url, visit, accept, attempt)
            except (NetworkError, EmptyContentError) as error:
                attempt += 1
                pause = self._pause_after(error, attempt)
                if isinstance(error, RateLimitedError) and error.is_host_wide:
                    # The host means all of us: the other sites wait too.
                    self._gate(self._hosts.check(url).hostname or "").pause(min(pause, limits.longest_retry_after_s))
                tries = limits.tries if isinstance(error, NetworkError) else min(_TRIES_OF_EMPTY, limits.tries)
                if attempt >= tries or pause > limits.longest_retry_after_s:
                    raise
                visit.tried_again += 1
                await asyncio.sleep(pause)

    def _pause_after(self, error: ScrapeError, attempt: int) -> float:
        usual = min(self._limits.most_s, self._limits.first_s * 2.0 ** (attempt - 1)) * _dice.uniform(0.5, 1.0)
        return max(usual, error.retry_after_s) if isinstance(error, RateLimitedError) else usual

    async def _follow(self, url: str, visit: Visit, accept: Accept, attempt: int) -> Page:
        asked = url
        for redirects in range(self._limits.redirects + 1):
            target = await self._hosts.target(asked, attempt=attempt)
            await self._obey_robots(target, visit)
            answer = await self._ask(target, visit, accept, redirects)
            if answer.page is not None:
                return answer.page
            asked = answer.location or ""
        raise UrlBrokenError(f"{url} leads on and on, in the end to {asked[:200]}")

    # ------------------------------------------------------------------------------------ one answer

    async def _ask(self, target: Target, visit: Visit, accept: Accept, redirects: int) -> _Answer:
        """Ask once, and read the answer."""
        headers = {
            "Host": target.host,
            "User-Agent": self._user_agent,
            "Accept": accept,
            "Accept-Language": _LANGUAGES,
            "Accept-Encoding": ACCEPTED_ENCODINGS,
        }
        # The connection is made to an address, so the name for the certificate has to be said apart.
        extensions = {"sni_hostname": target.host} if target.is_tls else {}
        async with self._gate(target.host).pass_through():
            visit.requests += 1
            try:
                async with asyncio.timeout(self._limits.request_s):
                    request = self._client(target).stream("GET", target.connect, headers=headers, extensions=extensions)
                    async with request as response:
                        return await self._read(target.url, response, visit, accept, redirects)
            except TimeoutError as error:
                raise NetworkError(
                    f"{target.url}: the answer took longer than {self._limits.request_s:g} s", hint="asked again later"
                ) from error
            except httpx.InvalidURL as error:
                raise UrlBrokenError(f"{target.url[:200]} is no address: {error}") from error
            except httpx.HTTPError as error:
                raise NetworkError(
                    f"{target.url}: no whole answer: {type(error).__name__}: {error}", hint="asked again later"
                ) from error

    async def _read(self, url: str, response: httpx.Response, visit: Visit, accept: Accept, redirects: int) -> _Answer:
        status, largest = response.status_code, self._limits.largest_bytes
        headers = {name.lower(): value for name, value in response.headers.items()}
        content_type, packed = headers.get("content-type", ""), headers.get("content-encoding", "")
        if status not in _PAGES:
            seen = await _beginning(url, response, packed)
            raise_for_status(url, status, headers, seen)
            location = redirect_of(url, status, headers)
            if location is None:
                raise EmptyContentError(f"{url} answered {status}, which is no page", hint="asked again later")
            return _Answer(None, location)
        raise_if_no_page(url, content_type, accept=accept)
        reader = BodyReader(url, encoding=packed, largest=largest)
        # Raw, and unpacked by ourselves: httpx unpacks whole pieces, and 64 KB of gzip may be 64 MB.
        async for piece in response.aiter_raw():
            reader.add(piece)
        body = reader.finish()
        visit.read_bytes += len(body)
        if not body.strip():
            raise EmptyContentError(f"the answer from {url} is empty", hint="it is asked again later")
        text, encoding = decode_text(body, content_type)
        return _Answer(Page(url=url, text=text, encoding=encoding, size=len(body), redirects=redirects), None)

    # ---------------------------------------------------------------------------------- what is kept

    def _gate(self, host: str) -> HostGate:
        return self._gates.setdefault(host, HostGate(self._politeness))

    def _client(self, target: Target) -> httpx.AsyncClient:
        """Return the client for a host: of two hosts at one address each needs connections of its own."""
        key = (target.host, target.is_tls)
        client = self._clients.get(key)
        if client is None:
            limits = self._limits
            client = self._clients[key] = httpx.AsyncClient(
                http2=True,
                verify=ssl.create_default_context() if target.is_tls else False,
                trust_env=False,
                # Sites set cookies at will; nothing of ours needs one, and of 150 sites they would pile up.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                limits=httpx.Limits(
                    max_connections=self._politeness.connections, max_keepalive_connections=None, keepalive_expiry=30.0
                ),
                timeout=httpx.Timeout(limits.silence_s, connect=limits.connect_s, pool=None),
            )
        return client

    # ---------------------------------------------------------------------------------------- robots

    async def _obey_robots(self, target: Target, visit: Visit) -> None:
        if not self._honours_robots:
            return
        async with self._robots_locks.setdefault(target.host, asyncio.Lock()):
            if target.host not in self._robots:
                self._robots[target.host] = await self._read_robots(target.host, visit)
        if not self._robots[target.host].allows(target.url):
            raise RobotsRefusedError(
                f"robots.txt of {target.host} asks us not to fetch {target.url}",
                hint="disable the site, or agree with its owner and set SCRAPER_ROBOTS=ignore",
            )

    async def _read_robots(self, host: str, visit: Visit) -> Robots:
        asked, problem = f"https://{host}/robots.txt", ""
        for attempt in range(_TRIES_OF_ROBOTS):
            try:
                for redirects in range(self._limits.redirects + 1):
                    target = await self._hosts.target(asked, attempt=attempt)
                    answer = await self._ask(target, visit, Accept.HTML, redirects)
                    if answer.page is not None:
                        return parse_robots(answer.page.text, agent=AGENT)
                    asked = answer.location or ""
            except (UrlBrokenError, EmptyContentError):
                return ALLOW_ALL  # RFC 9309 §2.3.1.3: there is none
            except ScrapeError as error:
                problem = str(error)
            else:
                return ALLOW_ALL  # nor is one behind many redirects (§2.3.1.2)
        self.notes.append(f"robots.txt of {host} could not be read, so all was allowed: {problem}")
        return ALLOW_ALL


async def _beginning(url: str, response: httpx.Response, packed: str) -> str:
    """Return the beginning of a body that is only looked at; what cannot be read of it does not matter."""
    try:
        reader = BodyReader(url, encoding=packed, largest=_LOOKED_AT)
        async for piece in response.aiter_raw():
            reader.add(piece)
    except PageTooLargeError:
        return decode_text(reader.body)[0]
    except NetworkError:
        return ""
    return decode_text(reader.body)[0]
