"""Only hosts of the catalogue are asked, only at public addresses, and at the very address that was looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.errors import ConfigurationError
from data_platform.jobs.scraper.hosts import HostRefusedError, Hosts, Target, is_public
from data_platform.jobs.scraper.problems import NetworkError, UrlBrokenError

GOV = "www.gov.br"


def resolving(*addresses: str) -> Callable[[str], Awaitable[list[str]]]:
    async def resolve(_host: str) -> list[str]:
        return list(addresses)

    return resolve


def target(url: str, *addresses: str, attempt: int = 0) -> Target:
    hosts = Hosts([GOV], resolve=resolving(*(addresses or ("161.148.164.31",))))
    return asyncio.run(hosts.target(url, attempt=attempt))


def test_the_connection_goes_to_the_address_that_was_looked_at() -> None:
    found = target("https://www.gov.br/aeb/pt-br?b_start:int=30#topo")
    assert found == Target(
        url="https://www.gov.br/aeb/pt-br?b_start:int=30",
        host=GOV,
        connect="https://161.148.164.31/aeb/pt-br?b_start:int=30",
        is_tls=True,
    )


def test_addresses_are_written_as_a_server_wants_them() -> None:
    assert target("http://WWW.GOV.BR:80/a b/notícias/%20x/++api++/@search").connect == (
        "https://161.148.164.31/a%20b/not%C3%ADcias/%20x/++api++/@search"
    )
    assert target("https://www.gov.br", "2804:1::5").connect == "https://[2804:1::5]/"


def test_another_try_takes_the_next_address() -> None:
    several = ("161.148.164.31", "2804:1::5")
    tried = [target("https://www.gov.br/", *several, attempt=attempt).connect for attempt in range(3)]
    assert tried == ["https://161.148.164.31/", "https://[2804:1::5]/", "https://161.148.164.31/"]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/aeb",
        "https://gov.br/aeb",
        "https://www.gov.br.evil.example/",
        "https://www.gov.br@evil.example/",
        "https://user@www.gov.br/",
        "https://user:pass@www.gov.br/",
        "https://www.gov.br:8443/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/computeMetadata/v1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://localhost/",
        "https://metadata.google.internal/",
    ],
)
def test_other_hosts_are_refused(url: str) -> None:
    with pytest.raises(HostRefusedError):
        target(url)


@pytest.mark.parametrize(
    "url", ["", "ftp://www.gov.br/", "javascript:alert(1)", "//www.gov.br", "https://[::1", "https://www.gov.br:nn/"]
)
def test_what_is_no_address_is_broken(url: str) -> None:
    with pytest.raises(UrlBrokenError):
        target(url)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.7", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.1", "100.64.0.1"),
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "not one"),
        *("::127.0.0.1", "::ffff:0:7f00:1", "64:ff9b:1::7f00:1", "64:ff9b:1::a1fd:1", "fec0::1", "5f00::1", "4000::1"),
    ],
)
def test_addresses_inside_are_not_public_and_one_is_enough(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(HostRefusedError, match="no public address"):
        target("https://www.gov.br/", "161.148.164.31", address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_inside_ipv6_is_as_public_as_by_itself(address: object) -> None:
    assert is_public(f"::ffff:{address}") <= is_public(str(address))
    packed = int(address)  # type: ignore[call-overload]
    assert is_public(f"64:ff9b::{packed >> 16:x}:{packed & 0xFFFF:x}") == is_public(str(address))


def test_a_name_that_answers_otherwise_later_gains_nothing() -> None:
    """DNS rebinding: the first answer is public, every later one is not."""
    answers = [["161.148.164.31"], ["127.0.0.1"], ["127.0.0.1"]]

    async def resolve(_host: str) -> list[str]:
        return answers.pop(0)

    async def both() -> list[Target]:
        hosts = Hosts([GOV], resolve=resolve)
        first = [await hosts.target("https://www.gov.br/a"), await hosts.target("https://www.gov.br/b")]
        hosts._addresses.clear()  # as after a minute
        with pytest.raises(HostRefusedError):
            await hosts.target("https://www.gov.br/c")
        return first

    assert {urlsplit(found.connect).hostname for found in asyncio.run(both())} == {"161.148.164.31"}


def test_a_name_that_cannot_be_looked_up_may_be_later() -> None:
    async def resolve(_host: str) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(NetworkError, match=r"www\.gov\.br: the name cannot be looked up"):
        asyncio.run(Hosts([GOV], resolve=resolve).target("https://www.gov.br/"))
    with pytest.raises(NetworkError, match="no address"):
        asyncio.run(Hosts([GOV], resolve=resolving()).target("https://www.gov.br/"))


def test_a_host_may_be_allowed_to_be_private_on_purpose() -> None:
    hosts = Hosts(["127.0.0.1"], private=["127.0.0.1"], resolve=resolving("127.0.0.1"))
    found = asyncio.run(hosts.target("http://127.0.0.1:8080/a"))
    assert (found.connect, found.is_tls) == ("http://127.0.0.1:8080/a", False)


def test_the_stand_in_gets_every_request_and_rows_keep_the_public_address() -> None:
    hosts = Hosts([GOV], base_url="http://localhost:8080/")
    found = asyncio.run(hosts.target("https://www.gov.br/aeb?x=1"))
    assert found == Target(
        url="https://www.gov.br/aeb?x=1", host=GOV, connect="http://127.0.0.1:8080/aeb?x=1", is_tls=False
    )
    with pytest.raises(HostRefusedError):
        asyncio.run(hosts.target("https://evil.example/"))


@pytest.mark.parametrize(
    "base_url",
    [
        *("http://10.0.0.1:80", "http://example.com", "https://127.0.0.1", "127.0.0.1:8080", "http://127.0.0.1/x"),
        *("http://u@127.0.0.1", "http://127.0.0.1?a", "http://[::1", "http://127.0.0.1.evil.example"),
    ],
)
def test_the_stand_in_is_on_this_machine(base_url: str) -> None:
    with pytest.raises(ConfigurationError, match="SCRAPER_BASE_URL"):
        Hosts([GOV], base_url=base_url)
