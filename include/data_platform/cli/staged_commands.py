"""The command over staged files: what lies there, written again, removed."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import date

from data_platform.cli.console import Console
from data_platform.errors import ConfigurationError, SourceError
from data_platform.settings import Settings

__all__ = ["add_staged"]

Command = Callable[[argparse.Namespace, Settings, Console], bool]
Add = Callable[[str, Command, str], argparse.ArgumentParser]

_LATE = "late"


def add_staged(add: Add) -> None:
    """Add the command `staged`.

    Args:
        add: adds a command: name, function, help.
    """
    command = add("staged", staged, "the batches that the daily pipeline staged: list, write again, remove")
    command.add_argument(
        "action",
        choices=["list", "replay", "prune"],
        help="list: what lies there; replay: write a batch into a store again, twice changes nothing;"
        " prune: remove what is old enough and known to be in both stores",
    )
    command.add_argument("--kind", default="", help="list only this kind: scraped, identified, day, late")
    command.add_argument("--date", type=date.fromisoformat, metavar="D", help="list only this run date, YYYY-MM-DD")
    command.add_argument("--file", metavar="NAME", help="replay: its name or address, as list shows it")
    command.add_argument("--store", choices=["postgres", "huggingface"], help="replay: the store")
    command.add_argument(
        "--insert-only",
        action="store_true",
        help="replay: leave articles that are there as they are, whatever the batch says",
    )
    command.add_argument(
        "--keep-days", type=_days, default=30, metavar="N", help="prune: how old a file must be (default 30)"
    )
    command.add_argument("--dry-run", action="store_true", help="prune: say what would go")


def staged(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Do what is asked with staged files; old files that a store may lack, and refused rows, need attention."""
    actions = {"list": _list, "replay": _replay, "prune": _prune}
    return actions[arguments.action](arguments, settings, console)


def _list(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    from data_platform.managers.staging import Staging

    if arguments.date and not arguments.kind:
        raise ConfigurationError("--date is for one kind", hint="say --kind day --date …")
    files = Staging.of(settings).files(arguments.kind, arguments.date)
    told = [f"{file.created_at:%Y-%m-%d %H:%M} UTC  {file.rows:>6,} rows  {file.name}" for file in files]
    console.result({"files": [file.to_dict() for file in files]}, *told, f"{len(files)} files")
    return False


def _replay(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    from data_platform.jobs.daily.replay import replay
    from data_platform.managers.staging import Staging
    from data_platform.managers.storage_mode import ReadSource

    if not arguments.file or not arguments.store:
        raise ConfigurationError("replay needs --file and --store", hint="see: staged list")
    if arguments.dry_run:
        raise ConfigurationError("--dry-run is for prune", hint="replay only writes what a store lacks or has older")
    found = [file for file in Staging.of(settings).files() if arguments.file in (file.name, file.uri)]
    if not found:
        raise SourceError(f"no staged file is called {arguments.file}", hint="see: staged list")
    if found[0].kind == _LATE:
        raise SourceError(
            f"{found[0].name} has only themes and summaries, as they were then; newer ones would be lost",
            hint="bring a store what it missed: reconcile --repair missed",
        )
    done = replay(found[0], ReadSource(arguments.store), settings, allow_update=not arguments.insert_only)
    counts = ", ".join(f"{count:,} {name}" for name, count in done.outcome.counts.items() if count) or "nothing"
    console.result(done.to_dict(), f"{done.file.name} into {done.store}: {counts}")
    return bool(done.outcome.rejected_by_reason)


def _prune(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    from data_platform.jobs.daily.prune import prune
    from data_platform.managers.ledger.run_ledger import RunLedger
    from data_platform.managers.staging import Staging

    done = prune(Staging.of(settings), RunLedger.of(settings), keep_days=arguments.keep_days, dry_run=arguments.dry_run)
    would = "would go" if done.dry_run else "went"
    lines = [f"of {done.files} staged files {done.removed} {would}, {done.young} are younger, {done.needed} are needed"]
    lines += [f"  a store may lack the rows of {uri}" for uri in done.needed_files]
    console.result(done.to_dict(), *lines)
    return bool(done.needed)


def _days(text: str) -> int:
    days = int(text)
    if days < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return days
