"""The command that runs the daily pipeline in one process."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from data_platform.cli.console import Console
from data_platform.cli.said_mode import add_assume_mode, said_mode
from data_platform.settings import Settings

__all__ = ["add_daily"]

Command = Callable[[argparse.Namespace, Settings, Console], bool]
Add = Callable[[str, Command, str], argparse.ArgumentParser]


def add_daily(add: Add, user: Callable[[], str]) -> None:
    """Add the command `daily`.

    Args:
        add: adds a command: name, function, help.
        user: who runs it, for the record.
    """
    command = add("daily", daily, "collect a day's news, enrich it, and write it to the store or stores of the mode")
    command.add_argument("--date", required=True, metavar="D", help="the São Paulo day that the run is for, YYYY-MM-DD")
    command.add_argument("--start-date", default="", metavar="D", help="first day collected (default: as every day)")
    command.add_argument("--end-date", default="", metavar="D", help="last day collected (default: the date)")
    command.add_argument(
        "--site", action="append", default=[], metavar="KEY", help="only this site; may be given several times"
    )
    command.add_argument("--skip-enrichment", action="store_true", help="ask nobody for themes and summaries")
    add_assume_mode(command, needed_for="a run")
    command.set_defaults(user=user)


def daily(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Run a day; a site that needs a person needs attention."""
    from data_platform.jobs.daily.pipeline import DailyPipeline
    from data_platform.jobs.daily.plan import DayOptions, plan_day
    from data_platform.jobs.daily.run import run_day
    from data_platform.models.run_date import run_date_of

    run_date = run_date_of(None, arguments.date)
    assert run_date is not None  # noqa: S101 - the argument is required
    options = DayOptions(
        first=arguments.start_date,
        last=arguments.end_date,
        sites=tuple(arguments.site),
        skip_enrichment=arguments.skip_enrichment,
        groups=1,
    )
    plan = plan_day(run_date, said_mode(arguments, what="daily"), options, sites_source=settings.sites_source)
    with console.progress() as bars:
        done = run_day(DailyPipeline(plan, settings, started_by=f"command line, {arguments.user()}"), progress=bars)
    console.result({"plan": plan.to_dict(), **done}, *done["lines"])
    return bool(done["alerts"])
