"""Many made-up sites over HTTP, from listing to rows: every layout, and an outcome for every site, whatever happens."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data_platform.cli import main
from data_platform.errors import ConfigurationError
from data_platform.jobs.scraper.fetch import FetchLimits
from data_platform.jobs.scraper.outcome import Note, SiteOutcome, Status
from data_platform.jobs.scraper.run import ScrapeOptions, scrape_sites
from data_platform.jobs.scraper.site import SiteLimits
from data_platform.models.days import SAO_PAULO, Days, day_of
from data_platform.models.sites import ScraperType, Site
from data_platform.settings import Settings
from dev.gov_web import faults, pages
from dev.gov_web.faults import WebFault
from dev.gov_web.made_up import MadeUp
from dev.gov_web.pages import CONTAINERS, LISTING_DATES
from dev.gov_web.server import GovWebServer
from dev.gov_web.site_plan import GovWeb, PlannedSite, articles_of_days, plan_of
from tests.support.gov_web import LAST, QUICK

WINDOW = Days.of("2026-02-04", "2026-02-05")
EXTRACTED_AT = datetime(2026, 2, 6, 9, tzinfo=UTC)


def site(key: str, path: str = "pt-br/noticias", kind: ScraperType = ScraperType.HTML) -> Site:
    return Site(key=key, agency=key, url=f"https://www.gov.br/{key}/{path}", scraper_type=kind)


CLASSIC = [site("aeb"), site("abin"), site("mma"), site("hfa")]
REST = [site("funai", kind=ScraperType.PLONE6_API), site("iphan", kind=ScraperType.PLONE6_API)]
EBC = [
    Site(
        key="agencia_brasil",
        agency="agencia_brasil",
        url="https://agenciabrasil.ebc.com.br/ultimas",
        scraper_type=ScraperType.AGENCIA_BRASIL,
    ),
    Site(
        key="tvbrasil",
        agency="tvbrasil",
        url="https://tvbrasil.ebc.com.br/ultimas",
        scraper_type=ScraperType.TV_BRASIL,
    ),
]
ALL = [*CLASSIC, *REST, *EBC]


@pytest.fixture(scope="module")
def planned() -> GovWeb:
    return plan_of(ALL, LAST, days=6, per_day=2)


@pytest.fixture
def running(planned: GovWeb) -> Iterator[GovWebServer]:
    with GovWebServer(planned) as server:
        yield server


def settings_of(server: GovWebServer, **more: Any) -> Settings:
    return replace(Settings(scraper_base_url=server.url, scraper_requests_per_second=0), **more)


def scrape(
    server: GovWebServer, sites: Sequence[Site], window: Days = WINDOW, fetch: FetchLimits = QUICK, **more: Any
) -> list[SiteOutcome]:
    options = ScrapeOptions(fetch=replace(fetch, silence_s=1.5, request_s=3), site=SiteLimits(seconds=60))
    outcomes = scrape_sites(sites, window, settings_of(server), options=options, extracted_at=EXTRACTED_AT, **more)
    assert [outcome.site for outcome in outcomes] == list(sites)
    for outcome in outcomes:
        assert outcome.account.adds_up, outcome.to_dict()
        json.dumps(outcome.to_dict())
    return outcomes


def wanted(server: GovWebServer, of: Site, window: Days = WINDOW) -> list[MadeUp]:
    return [
        article
        for planned_site in server.web.sites
        if planned_site.listing == of.url
        for article in planned_site.articles
        if window.first <= day_of(article.published) <= window.last
    ]


def test_every_layout_gives_its_articles_of_the_window(running: GovWebServer) -> None:
    outcomes = scrape(running, ALL)
    for outcome in outcomes:
        articles = wanted(running, outcome.site)
        assert (outcome.status, outcome.error_message, len(articles)) == (Status.SUCCESS, None, 4)
        assert [row["url"] for row in outcome.rows] == [article.url for article in articles]
        assert [row["title"] for row in outcome.rows] == [article.title for article in articles]
        assert {row["agency"] for row in outcome.rows} == {outcome.site.key}
        assert {row["extracted_at"] for row in outcome.rows} == {EXTRACTED_AT}
        for row, article in zip(outcome.rows, articles, strict=True):
            assert day_of(row["published_at"]) == day_of(article.published)
            assert len(row["content"]) > 500
        assert not outcome.fallback_triggered
        assert outcome.account.content_missing == 0
    assert {request.host for request in running.requests} == {outcome.site.host for outcome in outcomes}


@pytest.fixture(scope="module")
def articles() -> list[MadeUp]:
    """Articles of twelve days, two a day."""
    return articles_of_days(CLASSIC[0].url, LAST, days=12, per_day=2)


@pytest.mark.parametrize(("dates", "container"), [*zip(LISTING_DATES, cycle(CONTAINERS))])
def test_every_markup_and_date_of_a_classic_listing(articles: list[MadeUp], dates: Any, container: Any) -> None:
    planned_site = PlannedSite(
        listing=CLASSIC[0].url, articles=articles[:14], container=container, listing_dates=dates, per_page=15
    )
    web = GovWeb([planned_site])
    with GovWebServer(web) as server:
        (outcome,) = scrape(server, CLASSIC[:1])
    assert (outcome.status, len(outcome.rows)) == (Status.SUCCESS, 4)
    opened = 14 if dates == "none" else 4
    assert outcome.account.opened == opened


@pytest.mark.parametrize("behind", ["empty", "last"])
@pytest.mark.parametrize("says_next", [True, False])
def test_pages_of_any_size_are_turned(articles: list[MadeUp], behind: Any, says_next: bool) -> None:
    web = GovWeb(
        [PlannedSite(listing=CLASSIC[0].url, articles=articles, per_page=7, says_next=says_next, behind=behind)]
    )
    with GovWebServer(web) as server:
        (outcome,) = scrape(server, CLASSIC[:1], Days.of("2026-01-25", "2026-02-05"))
    assert (outcome.status, len(outcome.rows)) == (Status.SUCCESS, 24)
    assert (Note.LISTING_REPEATS in outcome.notes) is (behind == "last")


@pytest.mark.parametrize("total", [None, 0, 5, 10_000])
def test_an_interface_that_counts_wrongly_loses_nothing(total: int | None) -> None:
    articles = articles_of_days(REST[0].url, LAST, days=2, per_day=14)
    with GovWebServer(GovWeb([PlannedSite(listing=REST[0].url, layout="volto", articles=articles, total=total)])) as s:
        (outcome,) = scrape(s, REST[:1])
    # One that ends before its total may have broken off: what it gave is kept, and it is asked again.
    assert outcome.error_category == ("empty_content" if total == 10_000 else None)
    assert len(outcome.rows) == (25 if total == 5 else 28)


def test_a_site_that_moved_to_plone_6_is_read_all_the_same(running: GovWebServer) -> None:
    """Fault 30: 270 to 420 KB of HTML without one item."""
    as_in_the_catalogue = replace(REST[0], scraper_type=ScraperType.HTML)
    (outcome,) = scrape(running, [as_in_the_catalogue])
    assert (outcome.status, len(outcome.rows), outcome.layout) == (Status.SUCCESS, 4, "volto")
    assert outcome.fallback_triggered
    assert outcome.to_dict()["notes"]["fallback"].startswith("volto instead of classic: no article is found")


def test_a_site_that_the_catalogue_calls_plone_6_and_is_not(running: GovWebServer) -> None:
    (outcome,) = scrape(running, [replace(CLASSIC[0], scraper_type=ScraperType.PLONE6_API)])
    assert (outcome.status, len(outcome.rows), outcome.layout) == (Status.SUCCESS, 4, "classic")
    assert outcome.fallback_triggered


SITE_FAULTS: dict[str, tuple[list[WebFault], str]] = {
    "maintenance everywhere": ([faults.maintenance("/funai/")], "empty_content"),
    "maintenance of the interface": ([faults.maintenance("/funai/.*@search")], "empty_content"),
    "interface gone": ([faults.status("/funai/.*@search", 404)], "url_broken"),
    "interface forbidden": ([faults.status("/funai/.*@search", 403)], "url_broken"),
    "challenge": ([faults.anti_bot("/funai/", 403)], "anti_bot"),
    "challenge as a page": ([faults.anti_bot("/funai/")], "anti_bot"),
    "login": ([faults.login_redirect("/funai/")], "empty_content"),
    "server error": ([faults.status("/funai/", 502)], "network_error"),
    "silence": ([faults.hanging("/funai/")], "network_error"),
    "foreign": ([faults.redirect("/funai/", "https://evil.example/")], "url_broken"),
    "private": ([faults.redirect("/funai/", "http://10.0.0.1/")], "url_broken"),
    "endless": ([faults.endless("/aeb/")], "url_broken"),
    "JSON that breaks off": ([WebFault("@search", body=b'{"items": [', headers={})], "network_error"),
    "all articles gone": ([faults.status(r"/aeb/pt-br/noticias/", 404)], "url_broken"),
    "a large page of nothing": ([faults.volto_shell("/aeb/")], "html_changed"),
    "a small page of nothing": ([WebFault("/aeb/", body=b"<html><p>Oi</p></html>")], "empty_content"),
    "not a page": ([WebFault("/aeb/", body=b"\x00\xff" * 4000)], "html_changed"),
}


@pytest.mark.parametrize(("planted", "category"), SITE_FAULTS.values(), ids=SITE_FAULTS)
def test_a_fault_of_one_site_has_its_category_and_harms_no_other(
    running: GovWebServer, planted: list[WebFault], category: str
) -> None:
    """Fault 27."""
    running.faults += [replace(fault) for fault in planted]
    limits = replace(QUICK, tries=1, largest_bytes=2_000_000)
    # A type of JSON, so that what breaks off is not taken for a page.
    for fault in running.faults:
        if fault.pattern == "@search":
            fault.headers = {"Content-Type": "application/json"}
    sites = [CLASSIC[0], CLASSIC[1], REST[0]]
    outcomes = {outcome.site.key: outcome for outcome in scrape(running, sites, fetch=limits)}
    struck = "aeb" if "/aeb/" in planted[0].pattern else "funai"
    assert (outcomes[struck].status, outcomes[struck].error_category) == (Status.ERROR, category)
    assert outcomes[struck].rows == ()
    others = [outcome for key, outcome in outcomes.items() if key != struck]
    assert [(other.status, len(other.rows)) for other in others] == [(Status.SUCCESS, 4)] * 2


def test_wrong_dates_of_a_listing_are_put_right_by_the_articles(articles: list[MadeUp]) -> None:
    web = GovWeb([PlannedSite(listing=CLASSIC[0].url, articles=articles)])
    wrong = [replace(article, published=datetime(1969, 12, 31, 12, tzinfo=SAO_PAULO)) for article in articles]
    with GovWebServer(web) as server:
        server.faults.append(WebFault("/pt-br/noticias$", body=pages.classic_listing(wrong).encode()))
        (outcome,) = scrape(server, CLASSIC[:1])
    assert (outcome.status, len(outcome.rows), outcome.account.opened) == (Status.SUCCESS, 4, 24)


def test_a_listing_that_moved_is_followed(running: GovWebServer) -> None:
    running.faults.append(faults.redirect("/velho/pt-br/noticias", "/aeb/pt-br/noticias", 301))
    (outcome,) = scrape(running, [site("velho")])
    assert (outcome.status, len(outcome.rows)) == (Status.SUCCESS, 4)
    assert outcome.notes[Note.LISTING_MOVED].endswith("leads to https://www.gov.br/aeb/pt-br/noticias")


def test_the_year_in_an_address_on_2_january() -> None:
    """Fault 32, over HTTP, in both layouts."""
    for kind, layout in ((ScraperType.HTML, "classic"), (ScraperType.PLONE6_API, "volto")):
        above = "https://www.gov.br/ibama/pt-br/assuntos/noticias"
        old = site("ibama", "pt-br/assuntos/noticias/2025", kind)
        planned = [
            PlannedSite(
                listing=f"{above}/{last.year}",
                layout=layout,  # type: ignore[arg-type]
                articles=articles_of_days(f"{above}/{last.year}", last, days=count, per_day=2),
            )
            for last, count in ((date(2025, 12, 31), 9), (date(2026, 1, 2), 2))
        ]
        with GovWebServer(GovWeb(planned)) as server:
            (outcome,) = scrape(server, [old], Days.of("2025-12-31", "2026-01-02"))
        assert (outcome.status, len(outcome.rows)) == (Status.SUCCESS, 6)
        assert outcome.addresses == (old.url, f"{above}/2026")


def test_many_sites_one_of_which_is_struck_by_the_unforeseen(
    running: GovWebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_platform.jobs.scraper import run

    original = run.scrape_site

    async def scrape_site(of: Site, *arguments: Any, **more: Any) -> SiteOutcome:
        if of.key == "abin":
            raise RuntimeError("nobody foresaw this")
        return await original(of, *arguments, **more)

    monkeypatch.setattr(run, "scrape_site", scrape_site)
    outcomes = scrape(running, CLASSIC)
    assert [outcome.status for outcome in outcomes] == ["success", "error", "success", "success"]
    assert (outcomes[1].error_category, outcomes[1].error_message) == ("unknown", "RuntimeError: nobody foresaw this")


def test_rows_go_to_the_sink_as_sites_finish_and_are_let_go(running: GovWebServer) -> None:
    taken: list[SiteOutcome] = []
    outcomes = scrape(running, ALL, sink=taken.append)
    assert {outcome.site.key: len(outcome.rows) for outcome in taken} == dict.fromkeys([s.key for s in ALL], 4)
    assert [(outcome.rows, outcome.account.rows) for outcome in outcomes] == [((), 4)] * len(ALL)


def test_a_sink_that_fails_ends_everything(running: GovWebServer) -> None:
    def sink(_outcome: SiteOutcome) -> None:
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        scrape(running, ALL, sink=sink)


def test_what_is_known_is_asked_of_each_site(running: GovWebServer) -> None:
    known = {article.url: day_of(article.published) for s in CLASSIC for article in wanted(running, s)[:3]}
    for outcome in scrape(running, CLASSIC, known=lambda s: {u: d for u, d in known.items() if f"/{s.key}/" in u}):
        assert (outcome.account.known, len(outcome.rows)) == (3, 1)


def test_more_processes_than_connections_are_refused(running: GovWebServer) -> None:
    with pytest.raises(ConfigurationError, match="8 connections to a host cannot be shared by 9 processes"):
        scrape_sites(CLASSIC, WINDOW, settings_of(running), options=ScrapeOptions(processes=9))


def test_the_budget_holds_over_all_sites(running: GovWebServer) -> None:
    running.latency = 0.02
    scrape_sites(
        [*CLASSIC, *REST], WINDOW, settings_of(running, scraper_connections=6), options=ScrapeOptions(processes=2)
    )
    assert running.most_at_once["www.gov.br"] == 3


def test_no_sites_are_no_work(running: GovWebServer) -> None:
    assert scrape(running, []) == []


# ----------------------------------------------------------------------------------------- command line


def command(
    server: GovWebServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    monkeypatch.setenv("SCRAPER_BASE_URL", server.url)
    monkeypatch.setenv("SCRAPER_REQUESTS_PER_SECOND", "0")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    code = main(["scrape", *arguments])
    return code, capsys.readouterr().out


def test_the_command_writes_a_file_and_tells_of_each_site(
    running: GovWebServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = tmp_path / "rows.parquet"
    code, told = command(
        running,
        monkeypatch,
        capsys,
        *("--site", "ana", "--site", "abin", "--start-date", "2026-02-04", "--end-date", "2026-02-05"),
        *("--output", str(output), "--json"),
    )
    facts = json.loads(told)
    assert (code, facts["sites"], facts["succeeded"], facts["rows"]) == (1, 2, 0, 0)  # listings of the catalogue
    assert [outcome["error_category"] for outcome in facts["outcomes"]] == ["url_broken", "url_broken"]
    assert pq.read_table(output).num_rows == 0


def test_the_command_on_sites_that_are_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from data_platform.jobs.scraper.catalogue import load_sites
    from data_platform.jobs.scraper.row_file import ROW_SCHEMA

    chosen = [s for s in load_sites() if s.key in {"ana", "anatel", "agencia_brasil"}]
    output = tmp_path / "rows.parquet"
    with GovWebServer(plan_of(chosen, LAST, days=6, per_day=2)) as server:
        server.faults.append(faults.status(r"/ana/.*/noticias/.+", 404, times=1))
        arguments = [part for s in chosen for part in ("--site", s.key)]
        dates = ("--start-date", "2026-02-04", "--end-date", "2026-02-05", "--output", str(output))
        code, told = command(server, monkeypatch, capsys, *arguments, *dates)
    assert code == 0
    assert "ana: success, 3 rows of 12 items on 2 pages" in told
    assert "url_broken: https://www.gov.br/ana/" in told
    assert "3 of 3 sites read, 11 rows" in told
    table = pq.read_table(output)
    assert (table.num_rows, table.schema.equals(ROW_SCHEMA)) == (11, True)
    assert table.column("url").null_count == 0
    assert "unique_id" not in table.schema.names
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--start-date", "ontem", "--end-date", "2026-02-05"), "min_date must be a day"),
        (("--start-date", "2026-02-06", "--end-date", "2026-02-05"), "is after --end-date"),
        (("--site", "x", "--start-date", "2026-02-05", "--end-date", "2026-02-05"), "there is no site 'x'"),
        (
            ("--start-date", "2026-02-05", "--end-date", "2026-02-05", "--output", "/nowhere/x.parquet"),
            "/nowhere/x.parquet cannot be written",
        ),
    ],
)
def test_what_cannot_be_done_is_said(
    running: GovWebServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    told: str,
) -> None:
    code, out = command(running, monkeypatch, capsys, *arguments, "--json")
    assert code == 2
    assert told in json.loads(out)["error"]
    assert running.requests == []
