"""Commands over both stores; each returns whether something needs attention."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from data_platform.cli.console import Console
from data_platform.settings import Settings

__all__ = ["add_reconcile"]

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
