"""The fetcher against every fault that a site was seen with; each has its type, and none is a page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from data_platform.errors import TerminalError, TransientError
from data_platform.jobs.scraper.answers import Accept, Page, PageMissingError, RateLimitedError, TimeBudgetError
from data_platform.jobs.scraper.decoding import PageTooLargeError
from data_platform.jobs.scraper.fetch import Fetcher, RobotsRefusedError, Visit
from data_platform.jobs.scraper.hosts import HostRefusedError
from data_platform.jobs.scraper.politeness import Politeness
from data_platform.jobs.scraper.problems import AntiBotError, EmptyContentError, NetworkError, UrlBrokenError
from data_platform.settings import DEFAULT_USER_AGENT
from dev.gov_web import faults
from dev.gov_web.faults import WebFault
from dev.gov_web.server import GovWebServer
from dev.gov_web.site_plan import GovWeb, PlannedSite, articles_of_days
from tests.support.gov_web import LAST, LISTING, QUICK

Run = Callable[..., Any]
NEWS = r"/assuntos/noticias$"


def getting(
    url: str = LISTING, *, seconds: float = 20, accept: Accept = Accept.HTML, visits: list[Visit] | None = None
) -> Callable[[Fetcher], Any]:
    async def work(fetcher: Fetcher) -> Page:
        visit = Visit.lasting(seconds)
        if visits is not None:
            visits.append(visit)
        return await fetcher.get(url, visit, accept=accept)

    return work


def test_a_page_comes_with_what_was_asked(server: GovWebServer, with_fetcher: Run) -> None:
    visits: list[Visit] = []
    page = with_fetcher(getting(visits=visits))
    assert page.url == LISTING
    assert 'class="tileItem' in page.text
    assert (visits[0].requests, visits[0].tried_again, visits[0].read_bytes > page.size) == (2, 0, False)
    robots, listing = server.requests
    assert (robots.path, listing.host) == ("/robots.txt", "www.gov.br")
    assert listing.user_agent == DEFAULT_USER_AGENT
    assert "DestaquesGovBr" in listing.user_agent
    assert listing.languages.startswith("pt-BR,pt;")


@pytest.mark.parametrize(
    ("fault", "error", "requests"),
    [
        pytest.param(faults.status(NEWS, 403), UrlBrokenError, 1, id="403"),
        pytest.param(faults.status(NEWS, 404), PageMissingError, 1, id="404"),
        pytest.param(faults.status(NEWS, 410), PageMissingError, 1, id="410"),
        pytest.param(faults.status(NEWS, 451), UrlBrokenError, 1, id="451"),
        pytest.param(faults.status(NEWS, 206), EmptyContentError, 2, id="206"),
        pytest.param(faults.status(NEWS, 302), UrlBrokenError, 1, id="a redirect to nowhere"),
        pytest.param(faults.status(NEWS, 401), EmptyContentError, 2, id="401"),
        pytest.param(faults.status(NEWS, 500), RateLimitedError, 4, id="500"),
        pytest.param(faults.status(NEWS, 502), RateLimitedError, 4, id="502"),
        pytest.param(faults.status(NEWS, 503), RateLimitedError, 4, id="503"),
        pytest.param(faults.too_many(NEWS), RateLimitedError, 4, id="429"),
        pytest.param(faults.too_many(NEWS, "600"), RateLimitedError, 1, id="429, long"),
        pytest.param(faults.too_many(NEWS, "600", 503), RateLimitedError, 1, id="503, long"),
        pytest.param(faults.anti_bot(NEWS, 403), AntiBotError, 1, id="challenge, 403"),
        pytest.param(faults.anti_bot(NEWS, 503), AntiBotError, 1, id="challenge, 503"),
        pytest.param(faults.login_redirect(NEWS), EmptyContentError, 2, id="login of the government"),
        pytest.param(
            faults.redirect(NEWS, "/aeb/acl_users/credentials_cookie_auth/require_login?came_from=x"),
            EmptyContentError,
            2,
            id="login of Plone",
        ),
        pytest.param(faults.redirect(NEWS, "https://www.gov.br/manutencao"), EmptyContentError, 2, id="maintenance"),
        pytest.param(faults.empty(NEWS), EmptyContentError, 2, id="empty"),
        pytest.param(faults.hanging(NEWS), NetworkError, 4, id="silence"),
        pytest.param(WebFault(NEWS, drop=True), NetworkError, 4, id="connection closed"),
        pytest.param(faults.truncated(NEWS), NetworkError, 4, id="breaks off"),
        pytest.param(faults.slow_drip(NEWS), NetworkError, 4, id="drips"),
        pytest.param(faults.endless(NEWS), PageTooLargeError, 1, id="endless"),
        pytest.param(faults.bomb(NEWS, 20), PageTooLargeError, 1, id="bomb"),
        pytest.param(WebFault(NEWS, headers={"Content-Encoding": "br"}), NetworkError, 4, id="brotli, unasked"),
        pytest.param(WebFault(NEWS, headers={"Content-Type": "application/pdf"}), UrlBrokenError, 1, id="a file"),
        pytest.param(faults.redirect(NEWS, "https://evil.example/x"), HostRefusedError, 1, id="foreign host"),
        pytest.param(faults.redirect(NEWS, "http://127.0.0.1:1/x"), HostRefusedError, 1, id="private address"),
        pytest.param(
            faults.redirect(NEWS, "http://169.254.169.254/computeMetadata/v1/"), HostRefusedError, 1, id="metadata"
        ),
        pytest.param(faults.redirect(NEWS, "file:///etc/passwd"), UrlBrokenError, 1, id="file of this machine"),
        pytest.param(faults.redirect(NEWS, LISTING), UrlBrokenError, 6, id="leads to itself"),
    ],
)
def test_each_fault_has_its_type_and_its_number_of_tries(
    server: GovWebServer, with_fetcher: Run, fault: WebFault, error: type[Exception], requests: int
) -> None:
    """Fault 27: a failure is raised by type, after the tries that its type is worth; it is never an empty page."""
    server.faults.append(replace(fault))
    with pytest.raises(error, match=r"www\.gov\.br/aeb/pt-br/assuntos/noticias|evil|127|169|passwd") as caught:
        with_fetcher(getting(), limits=replace(QUICK, silence_s=0.15, request_s=0.4, largest_bytes=1_000_000))
    assert isinstance(caught.value, TransientError if requests in {2, 4} else (TerminalError, TransientError))
    assert len(server.asked("/assuntos/noticias")) == requests
    assert {request.host for request in server.requests} == {"www.gov.br"}


@pytest.mark.parametrize(
    "fault",
    [
        faults.status(NEWS, 500, times=3),
        faults.too_many(NEWS, times=3),
        WebFault(NEWS, drop=True, times=3),
        faults.truncated(NEWS, times=3),
        faults.empty(NEWS, times=1),
    ],
)
def test_what_passes_is_survived(server: GovWebServer, with_fetcher: Run, fault: WebFault) -> None:
    """Fault 27: the retry works."""
    server.faults.append(replace(fault))
    visits: list[Visit] = []
    assert "tileItem" in with_fetcher(getting(visits=visits)).text
    assert visits[0].tried_again == fault.times


@pytest.mark.parametrize("form", ["1", "instant"])
def test_the_pause_that_is_asked_for_is_kept(server: GovWebServer, with_fetcher: Run, form: str) -> None:
    wait = "1" if form == "1" else format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    server.faults.append(faults.too_many(NEWS, wait, times=1))
    with_fetcher(getting())
    first, second = server.asked("/assuntos/noticias")
    assert 0.9 <= second.at - first.at <= 2.5


def test_too_many_of_us_holds_the_other_sites_of_the_host_too(server: GovWebServer, with_fetcher: Run) -> None:
    server.faults.append(faults.too_many("/um$", "1", times=1))

    async def work(fetcher: Fetcher) -> None:
        visit = Visit.lasting(10)

        async def other() -> None:
            await asyncio.sleep(0.3)
            with pytest.raises(PageMissingError):
                await fetcher.get("https://www.gov.br/dois", visit)

        await asyncio.gather(fetcher.get(LISTING, visit), self_paused(fetcher, visit), other())

    async def self_paused(fetcher: Fetcher, visit: Visit) -> None:
        with pytest.raises(PageMissingError):
            await fetcher.get("https://www.gov.br/um", visit)

    with_fetcher(work)
    (first, _), (other,) = server.asked("/um"), server.asked("/dois")
    assert other.at - first.at >= 0.95


def test_a_redirect_within_the_host_is_followed(server: GovWebServer, with_fetcher: Run) -> None:
    server.faults.append(faults.redirect("/antiga$", "http://www.gov.br/aeb/pt-br/assuntos/noticias", 301))
    page = with_fetcher(getting("https://www.gov.br/aeb/antiga"))
    assert (page.url, page.redirects) == (LISTING, 1)


def test_no_cookie_is_kept(server: GovWebServer, with_fetcher: Run) -> None:
    server.faults.append(WebFault(NEWS, headers={"Set-Cookie": "a=b; Path=/"}))

    async def twice(fetcher: Fetcher) -> int:
        for _ in range(2):
            await fetcher.get(LISTING, Visit.lasting(5))
        return sum(len(client.cookies.jar) for client in fetcher._clients.values())

    assert with_fetcher(twice) == 0


@pytest.mark.parametrize("says", ["iso-8859-1", "utf-8", None])
def test_a_page_in_latin_1_is_read_whatever_it_is_called(
    server: GovWebServer, with_fetcher: Run, says: str | None
) -> None:
    usual = with_fetcher(getting()).text
    server.faults.append(faults.latin1(NEWS, says=says))
    page = with_fetcher(getting())
    assert page.encoding == "cp1252"
    for letter in "çãé":
        assert page.text.count(letter) == usual.count(letter) > 0


def test_json_that_comes_as_a_page_is_none(server: GovWebServer, with_fetcher: Run) -> None:
    server.faults.append(faults.maintenance("@search"))
    with pytest.raises(EmptyContentError, match="with a page, not with JSON"):
        with_fetcher(getting(f"{LISTING}/@search", accept=Accept.JSON))


def test_a_bad_answer_stays_in_bounds_of_memory(server: GovWebServer, with_fetcher: Run) -> None:
    import tracemalloc

    server.faults += [faults.bomb("/bomba", 100), faults.endless("/sem-fim")]
    tracemalloc.start()
    try:
        for path in ("bomba", "sem-fim"):
            with pytest.raises(PageTooLargeError):
                with_fetcher(getting(f"https://www.gov.br/{path}"), limits=replace(QUICK, largest_bytes=2_000_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12_000_000


# ----------------------------------------------------------------------------------------------- time


def test_the_time_of_a_site_is_kept_whatever_it_does(server: GovWebServer, with_fetcher: Run) -> None:
    server.faults.append(faults.hanging(NEWS))
    started = time.monotonic()
    with pytest.raises(TimeBudgetError, match=r"0\.4 s .* were over at https://www\.gov\.br/aeb"):
        with_fetcher(getting(seconds=0.4), limits=replace(QUICK, silence_s=30, request_s=30))
    assert time.monotonic() - started < 2


def test_waiting_for_its_turn_counts(with_fetcher: Run) -> None:
    with pytest.raises(TimeBudgetError):
        with_fetcher(getting(seconds=0.3), politeness=Politeness(connections=1, per_second=0.5))


# ------------------------------------------------------------------------------------------- the budget


@pytest.mark.parametrize(
    ("politeness", "latency", "most", "seconds"),
    [(Politeness(connections=3, per_second=0), 0.05, 3, 0.0), (Politeness(connections=8, per_second=40), 0.0, 8, 0.6)],
)
def test_many_sites_share_one_budget_of_their_host(
    server: GovWebServer, with_fetcher: Run, politeness: Politeness, latency: float, most: int, seconds: float
) -> None:
    server.latency = latency

    async def work(fetcher: Fetcher) -> None:
        urls = [f"https://www.gov.br/agencia{number}/pt-br" for number in range(24)]
        results = await asyncio.gather(*(fetcher.get(url, Visit.lasting(20)) for url in urls), return_exceptions=True)
        assert {type(result) for result in results} == {PageMissingError}

    with_fetcher(work, politeness=politeness)
    begun = sorted(request.at for request in server.requests)
    assert len(begun) == 25
    assert begun[-1] - begun[0] >= seconds * 0.95
    assert server.most_at_once["www.gov.br"] <= most
    if latency:
        assert server.most_at_once["www.gov.br"] == most


def test_hosts_have_budgets_of_their_own(server: GovWebServer, with_fetcher: Run) -> None:
    server.latency = 0.1

    async def work(fetcher: Fetcher) -> None:
        urls = [f"https://{host}/x" for host in ("www.gov.br", "tvbrasil.ebc.com.br") for _ in range(3)]
        await asyncio.gather(*(fetcher.get(url, Visit.lasting(20)) for url in urls), return_exceptions=True)

    with_fetcher(work, politeness=Politeness(connections=1, per_second=0), honours_robots=False)
    assert server.most_at_once == {"www.gov.br": 1, "tvbrasil.ebc.com.br": 1}
    last_of_first = max(request.at for request in server.requests if request.host == "www.gov.br")
    first_of_other = min(request.at for request in server.requests if request.host != "www.gov.br")
    assert first_of_other < last_of_first


def test_connections_are_kept(server: GovWebServer, with_fetcher: Run) -> None:
    seen: set[int] = set()

    async def work(fetcher: Fetcher) -> None:
        for _ in range(5):
            await fetcher.get(LISTING, Visit.lasting(5))
            seen.update(id(connection) for connection in server.connections)
            assert len(server.connections) == 1

    with_fetcher(work)
    assert len(seen) == 1


# ------------------------------------------------------------------------------------------- robots.txt


def test_robots_is_read_once_and_obeyed(server: GovWebServer, with_fetcher: Run) -> None:
    server.web.robots["www.gov.br"] = "User-agent: *\nDisallow: /*/noticias/\n"

    async def work(fetcher: Fetcher) -> None:
        visit = Visit.lasting(5)
        await asyncio.gather(*(fetcher.get(LISTING, visit) for _ in range(4)))
        with pytest.raises(RobotsRefusedError, match=r"robots\.txt of www\.gov\.br asks us not to fetch"):
            await fetcher.get(f"{LISTING}/um", visit)

    with_fetcher(work)
    assert len(server.asked("/robots.txt")) == 1
    assert server.asked("/um") == []


def test_robots_can_be_left_out(server: GovWebServer, with_fetcher: Run) -> None:
    server.web.robots["www.gov.br"] = "User-agent: *\nDisallow: /\n"
    assert with_fetcher(getting(), honours_robots=False).url == LISTING
    assert server.asked("/robots.txt") == []


def test_a_redirect_to_what_robots_forbids_is_not_followed(server: GovWebServer, with_fetcher: Run) -> None:
    server.web.robots["www.gov.br"] = "User-agent: *\nDisallow: /fechado\n"
    server.faults.append(faults.redirect(NEWS, "/fechado/x"))
    with pytest.raises(RobotsRefusedError):
        with_fetcher(getting())
    assert server.asked("/fechado") == []


@pytest.mark.parametrize(
    ("fault", "noted"),
    [
        (faults.status("robots", 503), True),
        (WebFault("robots", drop=True), True),
        (faults.status("robots", 403), False),
        (faults.empty("robots"), False),
        (faults.redirect("robots", "https://evil.example/robots.txt"), False),
        (faults.redirect("robots", "https://www.gov.br/robots.txt"), False),
    ],
)
def test_a_robots_txt_that_cannot_be_read_silences_nobody(
    server: GovWebServer, with_fetcher: Run, fault: WebFault, noted: bool
) -> None:
    server.faults.append(replace(fault))

    async def work(fetcher: Fetcher) -> list[str]:
        await fetcher.get(LISTING, Visit.lasting(5))
        return fetcher.notes

    notes = with_fetcher(work)
    assert bool(notes) is noted
    assert all("robots.txt of www.gov.br could not be read" in note for note in notes)


# ------------------------------------------------------------------------------------------ the stand-in


def test_the_stand_in_shows_every_layout_and_404_elsewhere() -> None:
    rest = "https://www.gov.br/int/pt-br/assuntos/noticias"
    web = GovWeb([PlannedSite(listing=rest, layout="volto", articles=articles_of_days(rest, LAST, days=1, per_day=2))])
    shell = web.answer("www.gov.br", "/int/pt-br/assuntos/noticias/", "")
    assert (shell.status, len(shell.body) > 270_000) == (200, True)
    found = web.answer("www.gov.br", "/int/++api++/pt-br/assuntos/noticias/@search", "b_start=0&b_size=25")
    assert found.content_type == "application/json"
    assert web.answer("www.gov.br", "/nada", "").status == 404
