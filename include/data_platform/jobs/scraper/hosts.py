"""Which hosts may be asked, and at which addresses: nothing else is ever connected to.

A listing is written by others. A link or a redirect in it may lead anywhere, also into our own network. So a request
goes only to a host of the catalogue, and only to an address of it that is public; the connection is made to the very
address that was looked at, not to the name, so that a name that answers otherwise the second time (DNS rebinding)
gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, quote, urlsplit

from data_platform.errors import ConfigurationError
from data_platform.jobs.scraper.problems import NetworkError, UrlBrokenError

__all__ = ["HostRefusedError", "Hosts", "Resolve", "Target", "is_public", "resolve_host"]

Resolve = Callable[[str], Awaitable[list[str]]]

_PORTS = {"http": 80, "https": 443}
#: How long the addresses of a name are used, in seconds.
_ADDRESSES_LAST_S = 60.0
#: Of IPv6 only this part is given out as public; all the rest is local, or carries IPv4 in a form of its own.
_GIVEN_OUT = IPv6Network("2000::/3")
#: But for the addresses that networks without IPv4 make of IPv4 ones, which `ipaddress` does not look into (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")
_PATH_SAFE = "/:@!$&'()*+,;=-._~%"
_LOCAL_NAMES = frozenset({"localhost"})


class HostRefusedError(UrlBrokenError):
    """The address is one of a host that is not to be asked, or that leads into a network of our own."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a request goes.

    Attributes:
        url: the public address, as rows and messages have it.
        host: its host.
        connect: the address to connect to: the public one with the host replaced by an IP address.
        is_tls: whether the connection is encrypted, and the host's certificate checked.
    """

    url: str
    host: str
    connect: str
    is_tls: bool


class Hosts:
    """The hosts that may be asked.

    Args:
        allowed: their names.
        base_url: address of a stand-in on this machine that gets every request instead (`http://127.0.0.1:8080`);
            it is told the host by the Host header.
        private: names among `allowed` that may lead to addresses that are not public.
        resolve: gives the addresses of a name.

    Raises:
        ConfigurationError: `base_url` is not the address of a server on this machine.
    """

    def __init__(
        self,
        allowed: Iterable[str],
        *,
        base_url: str = "",
        private: Iterable[str] = (),
        resolve: Resolve | None = None,
    ) -> None:
        self._allowed = frozenset(name.lower() for name in allowed)
        self._private = frozenset(name.lower() for name in private)
        self._resolve = resolve or resolve_host
        self._base = _loopback(base_url) if base_url else None
        self._addresses: dict[str, tuple[float, list[str]]] = {}

    def check(self, url: str) -> SplitResult:
        """Return the parts of an address that may be asked, as https unless its host may be private.

        Raises:
            HostRefusedError: it may not be asked.
            UrlBrokenError: it is no address.
        """
        try:
            parts = urlsplit(url.strip())
            host, port = (parts.hostname or "").lower().rstrip("."), parts.port
        except ValueError as error:
            raise UrlBrokenError(f"{url[:200]!r} is no address: {error}") from error
        scheme = parts.scheme.lower()
        if scheme not in _PORTS or not host:
            raise UrlBrokenError(f"{url[:200]!r} is not an http(s) address")
        if host not in self._allowed:
            raise HostRefusedError(f"{url[:200]}: the host {host!r} is not one of the catalogue")
        if parts.username is not None:
            raise HostRefusedError(f"{host}: an address with a user name is not asked")
        if host in self._private:
            return parts._replace(fragment="")
        if port not in {None, _PORTS[scheme], _PORTS["https"]}:
            raise HostRefusedError(f"{url[:200]}: port {port} is not asked")
        # Old pages link by http; the sites have served https only for years, and rows are kept under https.
        return parts._replace(scheme="https", netloc=host, fragment="")

    async def target(self, url: str, *, attempt: int = 0) -> Target:
        """Return where a request for an address goes.

        Args:
            url: the public address.
            attempt: how often it was tried before; another try takes the host's next address.

        Raises:
            HostRefusedError: it may not be asked, or its host leads to an address that is not public.
            UrlBrokenError: it is no address.
            NetworkError: the name cannot be looked up.
        """
        parts = self.check(url)
        host = (parts.hostname or "").rstrip(".")
        parts = parts._replace(path=quote(parts.path or "/", safe=_PATH_SAFE), query=_encoded(parts.query))
        if self._base is not None:
            connect = parts._replace(scheme=self._base.scheme, netloc=self._base.netloc)
            return Target(url=parts.geturl(), host=host, connect=connect.geturl(), is_tls=False)
        addresses = await self._public_addresses(host)
        address = addresses[attempt % len(addresses)]
        netloc = f"[{address}]" if ":" in address else address
        if parts.port is not None:
            netloc = f"{netloc}:{parts.port}"
        connect = parts._replace(netloc=netloc)
        return Target(url=parts.geturl(), host=host, connect=connect.geturl(), is_tls=parts.scheme == "https")

    async def _public_addresses(self, host: str) -> list[str]:
        kept = self._addresses.get(host)
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        try:
            addresses = await self._resolve(host)
        except OSError as error:
            raise NetworkError(f"{host}: the name cannot be looked up: {error}", hint="try again later") from error
        if not addresses:
            raise NetworkError(f"{host}: the name has no address", hint="try again later")
        # One private address among public ones is enough to refuse: the connection must not depend on luck.
        if host not in self._private and (inside := [a for a in addresses if not is_public(a)]):
            raise HostRefusedError(f"{host} leads to {inside[0]}, which is no public address")
        self._addresses[host] = (time.monotonic() + _ADDRESSES_LAST_S, addresses)
        return addresses


async def resolve_host(host: str) -> list[str]:
    """Return the IP addresses of a name, in the system's order of preference.

    Raises:
        OSError: it cannot be looked up.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the open Internet, also by the IPv4 address that an IPv6 one carries."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip not in _GIVEN_OUT and ip not in _NAT64:
        return False
    return all(part.is_global and not part.is_multicast for part in (ip, *_carried(ip)))


def _carried(ip: IPv4Address | IPv6Address) -> list[IPv4Address]:
    if isinstance(ip, IPv4Address):
        return []
    carried = [ip.sixtofour, *(ip.teredo or ())]
    if ip in _NAT64:
        carried.append(IPv4Address(int(ip) & 0xFFFF_FFFF))
    return [part for part in carried if part is not None]


def _encoded(query: str) -> str:
    return quote(query, safe=_PATH_SAFE + "?")


def _loopback(base_url: str) -> SplitResult:
    hint = "SCRAPER_BASE_URL is for the local stack: http://127.0.0.1:PORT, or nothing at all"
    try:
        parts = urlsplit(base_url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigurationError(f"SCRAPER_BASE_URL {base_url!r} is no address: {error}", hint=hint) from error
    is_local = host in _LOCAL_NAMES or _is_loopback(host)
    if parts.scheme != "http" or not is_local or parts.path.rstrip("/") or parts.query or parts.username is not None:
        raise ConfigurationError(f"SCRAPER_BASE_URL {base_url!r} is not a server on this machine", hint=hint)
    # The name would be looked up again at every connection.
    netloc = f"127.0.0.1:{port or 80}" if host in _LOCAL_NAMES else parts.netloc
    return SplitResult("http", netloc, "", "", "")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
