"""Commands that collect news from the sites; each returns whether something needs attention."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_platform.cli.console import Console
from data_platform.errors import ConfigurationError
from data_platform.settings import Settings

if TYPE_CHECKING:
    from data_platform.jobs.scraper.outcome import SiteOutcome

__all__ = ["add_scrape"]

Command = Callable[[argparse.Namespace, Settings, Console], bool]
Add = Callable[[str, Command, str], argparse.ArgumentParser]


def add_scrape(add: Add) -> None:
    """Add the command `scrape`.

    Args:
        add: adds a command: name, function, help.
    """
    command = add("scrape", scrape, "collect the news of some days from the sites; no store is written")
    command.add_argument(
        "--site",
        action="append",
        default=[],
        metavar="KEY",
        help="this site, also an inactive one; may be given several times (default: every active one)",
    )
    command.add_argument("--start-date", required=True, metavar="D", help="first São Paulo day, YYYY-MM-DD")
    command.add_argument("--end-date", required=True, metavar="D", help="last São Paulo day, YYYY-MM-DD")
    command.add_argument("--output", type=Path, metavar="FILE", help="write the rows to this parquet file")
    command.add_argument(
        "--max-pages", type=int, default=50, metavar="N", help="most pages of one listing (default 50)"
    )
    command.add_argument(
        "--site-seconds", type=float, default=600.0, metavar="S", help="time budget of one site (default 600)"
    )


def scrape(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Collect and tell; a site that failed needs attention."""
    from data_platform.jobs.scraper.catalogue import choose_sites, load_sites
    from data_platform.jobs.scraper.row_file import RowFile
    from data_platform.jobs.scraper.run import ScrapeOptions, scrape_sites
    from data_platform.jobs.scraper.site import SiteLimits
    from data_platform.models.days import Days

    try:
        window = Days.of(arguments.start_date, arguments.end_date)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    if window.first > window.last:
        raise ConfigurationError(f"--start-date {window.first} is after --end-date {window.last}")
    sites = choose_sites(load_sites(settings.sites_source), arguments.site)
    options = ScrapeOptions(site=SiteLimits(pages=arguments.max_pages, seconds=arguments.site_seconds))
    with (
        console.progress() as bars,
        RowFile(arguments.output) if arguments.output else nullcontext() as output,
    ):
        bars.stage("sites", len(sites))

        def take(outcome: SiteOutcome) -> None:
            if output is not None:
                output.write(outcome.rows)
            bars.advance(1)

        outcomes = scrape_sites(sites, window, settings, options=options, sink=take)
    console.result(_facts(outcomes, arguments), *_lines(outcomes, arguments))
    return any(not outcome.succeeded for outcome in outcomes)


def _facts(outcomes: Sequence[SiteOutcome], arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "start_date": arguments.start_date,
        "end_date": arguments.end_date,
        "sites": len(outcomes),
        "succeeded": sum(outcome.succeeded for outcome in outcomes),
        "rows": sum(outcome.account.rows for outcome in outcomes),
        "output": str(arguments.output) if arguments.output else None,
        "outcomes": [outcome.to_dict() for outcome in outcomes],
    }


def _lines(outcomes: Sequence[SiteOutcome], arguments: argparse.Namespace) -> list[str]:
    lines = []
    for outcome in outcomes:
        account, failed = outcome.account, outcome.account.failed
        line = f"{outcome.site.key}: {outcome.status.value}, {account.rows} rows of {account.listed} items"
        line += f" on {account.pages} pages, {outcome.seconds:.1f} s"
        if failed:
            line += f"; failed: {', '.join(f'{name} {times}' for name, times in failed.most_common())}"
        if outcome.error_message:
            line += f"; {outcome.error_category}: {outcome.error_message}"
        lines.append(line)
        lines += [f"  {note.value}: {text}" for note, text in outcome.notes.items()]
        lines += [f"  {failure.category}: {failure}" for failure in outcome.failures]
    succeeded = sum(outcome.succeeded for outcome in outcomes)
    rows = sum(outcome.account.rows for outcome in outcomes)
    lines.append(f"{succeeded} of {len(outcomes)} sites read, {rows:,} rows")
    if arguments.output:
        lines.append(f"rows: {arguments.output}")
    return lines
