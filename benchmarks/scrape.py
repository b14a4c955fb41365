"""Scraping: a quiet day of all sites, articles a second, memory, against the sites' stand-in on loopback.

    python -m benchmarks.scrape [--articles N] [--latency SECONDS]

The stand-in runs in a process of its own; the scraping in another one, whose largest memory is read from the kernel.
The raw limit of the same run: the same addresses, fetched by httpx alone through as many connections, nothing parsed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from dev.state import REPOSITORY

__all__ = ["lines", "measure"]

SITES = 160
ARTICLES = 2_000
_LAST = date(2026, 2, 5)
_WINDOW = ("2026-02-04", "2026-02-05")
_CONNECTIONS = 8
_LIMITS = {"quiet_seconds": 30.0, "articles_per_second": 35.0, "memory_mb": 300.0}


def measure(*, articles: int = ARTICLES, latency: float = 0.1) -> dict[str, Any]:
    """Measure both days.

    Args:
        articles: articles of the busy day.
        latency: seconds that every answer takes on the quiet day.
    """
    figures: dict[str, Any] = {"articles": articles, "latency": latency}
    with _server("quiet", articles, latency) as url:
        figures["quiet_polite"] = _child("scrape", "quiet", url, "8")
        figures["quiet"] = _child("scrape", "quiet", url, "0")
        figures["quiet_raw"] = _child("raw", "quiet", url, "0")
    for kind in ("classic", "volto"):
        with _server(kind, articles, 0.0) as url:
            _child("raw", kind, url, "0")  # the stand-in makes its pages when they are first asked for
            figures[kind] = _child("scrape", kind, url, "0")
            figures[f"{kind}_raw"] = _child("raw", kind, url, "0")
    return figures


# ------------------------------------------------------------------------------------------- the sites


def _sites(day: str) -> list[Any]:
    """Return the sites of a day: those of the catalogue and a few more, or twenty with many articles each."""
    from data_platform.jobs.scraper.catalogue import choose_sites, load_sites
    from data_platform.models.sites import ScraperType, Site

    if day == "quiet":
        sites = [site for site in choose_sites(load_sites()) if site.host == "www.gov.br"]
        more = [replace(sites[0], key=f"more{n}", url=f"https://www.gov.br/more{n}/pt-br/noticias") for n in range(99)]
        return [*sites, *more][:SITES]
    kind = ScraperType.PLONE6_API if day == "volto" else ScraperType.HTML
    return [
        Site(key=f"s{n}", agency=f"s{n}", url=f"https://www.gov.br/s{n}/pt-br/noticias", scraper_type=kind)
        for n in range(20)
    ]


def _web(day: str, articles: int) -> Any:  # noqa: ANN401 - made in the process that serves
    from data_platform.models.sites import ScraperType
    from dev.gov_web.site_plan import GovWeb, PlannedSite, articles_of_days

    sites = _sites(day)
    each = 30 if day == "quiet" else articles // len(sites)
    newest = _LAST - timedelta(days=5) if day == "quiet" else _LAST
    per_day = 2 if day == "quiet" else each // 2
    models = articles_of_days("https://www.gov.br/x", newest, days=each // per_day, per_day=per_day)
    return GovWeb(
        [
            PlannedSite(
                listing=site.url,
                layout="volto" if site.scraper_type is ScraperType.PLONE6_API else "classic",
                articles=[replace(a, url=a.url.replace("https://www.gov.br/x", site.url)) for a in models],
            )
            for site in sites
        ]
    )


# ------------------------------------------------------------------------------------------- processes


@contextmanager
def _server(day: str, articles: int, latency: float) -> Iterator[str]:
    """The stand-in in a process of its own, until its standard input is closed."""
    command = [sys.executable, "-m", "benchmarks.scrape", "--serve", day, "--articles", str(articles)]
    command += ["--latency", str(latency)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as server:
        line = server.stdout.readline().strip() if server.stdout else ""
        if not line:
            raise SystemExit("the stand-in of the sites did not start")
        yield line


def _serve(day: str, articles: int, latency: float) -> int:
    from dev.gov_web.server import GovWebServer

    with GovWebServer(_web(day, articles), latency=latency) as server:
        print(server.url, flush=True)
        sys.stdin.read()
    return 0


def _child(*arguments: str) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SCRAPER_", "SITES_"))}
    command = [sys.executable, "-m", "benchmarks.scrape", "--do", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, check=False, text=True)
    if done.returncode:
        raise SystemExit(f"{arguments[0]} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _scrape(day: str, url: str, per_second: str) -> dict[str, Any]:
    """Scrape as a task does, rows into a file as sites finish; tell what it took."""
    from data_platform.jobs.scraper.row_file import RowFile
    from data_platform.jobs.scraper.run import scrape_sites
    from data_platform.models.days import Days
    from data_platform.settings import Settings

    settings = Settings(
        scraper_base_url=url, scraper_connections=_CONNECTIONS, scraper_requests_per_second=float(per_second)
    )
    sites = _sites(day)
    with tempfile.TemporaryDirectory() as folder, RowFile(Path(folder) / "rows.parquet") as output:
        started, cpu = time.monotonic(), time.process_time()
        outcomes = scrape_sites(sites, Days.of(*_WINDOW), settings, sink=lambda outcome: output.write(outcome.rows))
        seconds, cpu = time.monotonic() - started, time.process_time() - cpu
        rows = output.rows
    if failed := [outcome.to_dict() for outcome in outcomes if not outcome.succeeded]:
        raise SystemExit(f"{len(failed)} sites failed: {failed[0]}")
    requests = sum(outcome.requests for outcome in outcomes)
    return {
        "sites": len(sites),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "rows": rows,
        "requests": requests,
        "peak_mb": _peak_mb(),
    }


def _raw(day: str, url: str) -> dict[str, Any]:
    """Fetch the same addresses with httpx alone."""
    from data_platform.jobs.scraper import volto

    web = _web(day, ARTICLES)
    addresses: list[str] = []
    for site in web.sites:
        if site.layout == "volto":
            addresses += [volto.search_url(site.listing, start, 25) for start in range(0, len(site.articles), 25)]
        else:
            addresses.append(site.listing)
            addresses += [article.url for article in site.articles] if day != "quiet" else []
    started = time.monotonic()
    asyncio.run(_fetch_all(url, addresses))
    return {"seconds": time.monotonic() - started, "requests": len(addresses)}


async def _fetch_all(url: str, addresses: Sequence[str]) -> None:
    import httpx

    waiting = iter(addresses)
    async with httpx.AsyncClient(trust_env=False) as client:

        async def work() -> None:
            for address in waiting:
                answer = await client.get(
                    address.replace("https://www.gov.br", url), headers={"Host": "www.gov.br"}, timeout=60
                )
                answer.raise_for_status()

        await asyncio.gather(*(work() for _ in range(_CONNECTIONS)))


def _peak_mb() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("the kernel does not tell the largest memory of a process")


# -------------------------------------------------------------------------------------------- printing


def lines(figures: dict[str, Any]) -> list[str]:
    """Return what was measured, against the limits."""
    quiet, polite, raw = figures["quiet"], figures["quiet_polite"], figures["quiet_raw"]
    told = [
        f"quiet day: {quiet['sites']} sites, {quiet['requests']} requests, {figures['latency']:g} s an answer",
        _line(f"{_CONNECTIONS} connections", quiet["seconds"], "s", _LIMITS["quiet_seconds"]),
        _line(f"{_CONNECTIONS} connections, 8 requests a second", polite["seconds"], "s", _LIMITS["quiet_seconds"]),
        _line("processor, first", quiet["cpu_seconds"], "s", None),
        _line("first / httpx alone", quiet["seconds"] / raw["seconds"], "x", None),
        _line("largest memory", max(quiet["peak_mb"], polite["peak_mb"]), "MB", _LIMITS["memory_mb"]),
    ]
    for kind in ("classic", "volto"):
        figure, raw = figures[kind], figures[f"{kind}_raw"]
        told += [
            f"{figure['rows']:,} articles of {figure['sites']} {kind} sites, {figure['requests']:,} requests, any rate",
            _line("articles a second", figure["rows"] / figure["seconds"], "/s", -_LIMITS["articles_per_second"]),
            _line("articles a second of processor", figure["rows"] / figure["cpu_seconds"], "/s", None),
            _line("seconds / httpx alone", figure["seconds"] / raw["seconds"], "x", None),
            _line("largest memory", figure["peak_mb"], "MB", _LIMITS["memory_mb"]),
        ]
    return told


def _line(name: str, value: float, unit: str, limit: float | None) -> str:
    """Return a line; a limit below zero is one that is to be exceeded."""
    against = ""
    if limit is not None:
        met = value <= limit if limit >= 0 else value >= -limit
        against = f"{'met' if met else 'NOT MET'}: at {'most' if limit >= 0 else 'least'} {abs(limit):g} {unit}"
    return f"  {name:<56} {value:8.2f} {unit:<3} {against}".rstrip()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--articles", type=int, default=ARTICLES)
    parser.add_argument("--latency", type=float, default=0.1, metavar="SECONDS")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--do", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return _serve(arguments.serve, arguments.articles, arguments.latency)
    if arguments.do:
        what, day, url, per_second = arguments.do
        print(json.dumps(_raw(day, url) if what == "raw" else _scrape(day, url, per_second)))
        return 0
    print("\n".join(lines(measure(articles=arguments.articles, latency=arguments.latency))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
