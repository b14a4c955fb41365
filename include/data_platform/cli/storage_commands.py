"""Commands over both stores; each returns whether something needs attention."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from data_platform.cli.console import Console
from data_platform.settings import Settings

__all__ = ["add_reconcile", "add_sync"]

Command = Callable[[argparse.Namespace, Settings, Console], bool]
Add = Callable[[str, Command, str], argparse.ArgumentParser]


def add_reconcile(add: Add, user: Callable[[], str]) -> None:
    """Add the command `reconcile`.

    Args:
        add: adds a command: name, function, help.
        user: who runs it, for the record.
    """
    command = add("reconcile", reconcile, "bring to each store what it missed, from the other")
    command.add_argument(
        "--repair", choices=["missed"], required=True, help="missed: the writes that the run ledger has open"
    )
    command.add_argument("--dry-run", action="store_true", help="say what would be brought; write nothing")
    command.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="ENTRY",
        help="settle this write of the run ledger although something of it is left; may be given several times",
    )
    command.set_defaults(user=user)


def reconcile(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Repair what the stores missed; something still open needs attention."""
    from data_platform.jobs.reconcile.missed import repair_missed
    from data_platform.managers.ledger.run_ledger import RunLedger
    from data_platform.managers.storage_adapter import StorageAdapter
    from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode

    why = "reconcile looks at both"
    mode = StorageMode(
        backend=StorageBackend.DUAL_WRITE, read_from=ReadSource.HUGGINGFACE, backend_source=why, read_source=why
    )
    ledger = RunLedger.of(settings, mirrored=bool(settings.database_url))
    with StorageAdapter(mode, settings=settings, ledger=ledger) as adapter:
        outcome = repair_missed(
            adapter, dry_run=arguments.dry_run, accept=arguments.accept, accepted_by=arguments.user()
        )
    console.result(outcome.to_dict(), *outcome.lines())
    return outcome.open > 0


def add_sync(add: Add, user: Callable[[], str]) -> None:
    """Add the command `sync-hf`.

    Args:
        add: adds a command: name, function, help.
        user: who runs it, for the record.
    """
    command = add("sync-hf", sync_hf, "publish what changed in PostgreSQL to the open dataset on the Hub")
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--incremental", action="store_true", help="the months with changes since the last sync")
    what.add_argument("--full", action="store_true", help="every month anew; accounts for every published row")
    what.add_argument("--months", nargs="+", default=[], metavar="YYYY-MM", help="these months, whole")
    what.add_argument(
        "--verify", action="store_true", help="write nothing: compare every published row with PostgreSQL"
    )
    command.add_argument("--dry-run", action="store_true", help="say what would be published; write nothing")
    command.add_argument(
        "--overwrite",
        action="store_true",
        help="go on although others changed the dataset, or rows would go that PostgreSQL knows nothing of",
    )
    command.add_argument(
        "--assume-mode",
        choices=["postgres"],
        help="act as in this storage mode, whatever is set (not against STORAGE_BACKEND=huggingface)",
    )
    command.set_defaults(user=user)


def sync_hf(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Sync or verify the open dataset; a difference, or rows that nobody can explain, need attention."""
    from data_platform.jobs.hf_sync.records import SyncOptions
    from data_platform.jobs.hf_sync.sync_job import HuggingFaceSyncJob
    from data_platform.managers.storage_mode import resolve_storage_mode

    options = SyncOptions(
        full=arguments.full, months=tuple(arguments.months), dry_run=arguments.dry_run, overwrite=arguments.overwrite
    )
    assumed = {"storage_backend": arguments.assume_mode, "storage_read_from": arguments.assume_mode}
    mode = resolve_storage_mode(run_parameters=assumed if arguments.assume_mode else {})
    started_by = f"command line, {arguments.user()}"
    with console.progress() as bars:
        job = HuggingFaceSyncJob(settings, mode, options=options, started_by=started_by, progress=bars)
        if arguments.verify:
            found = job.verify()
            console.result(found.to_dict(), *found.lines())
            return not found.passed
        done = job.run()
    console.result(done.to_dict(), *done.lines())
    return bool(done.dry_run and done.account and done.account.unexplained)
