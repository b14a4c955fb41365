"""Commands over both stores; each returns whether something needs attention."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from data_platform.cli.console import Console
from data_platform.cli.said_mode import add_assume_mode, assumed_mode, said_mode
from data_platform.errors import ConfigurationError
from data_platform.settings import Settings

if TYPE_CHECKING:
    from data_platform.managers.storage_adapter import StorageAdapter

__all__ = ["add_delete", "add_reconcile", "add_sync"]

Command = Callable[[argparse.Namespace, Settings, Console], bool]
Add = Callable[[str, Command, str], argparse.ArgumentParser]


def add_reconcile(add: Add, user: Callable[[], str]) -> None:
    """Add the command `reconcile`.

    Args:
        add: adds a command: name, function, help.
        user: who runs it, for the record.
    """
    what = "compare the dataset with PostgreSQL, row by row; or bring them in line"
    command = add("reconcile", reconcile, what)
    command.add_argument(
        "--repair",
        choices=["missed", "from-postgres", "from-huggingface"],
        help="missed: the writes that the run ledger has open; from-…: these, and then every row that differs follows "
        "that store; rows of one store only are inserted into the other",
    )
    command.add_argument(
        "--allow-delete",
        action="store_true",
        help="with --repair from-…: rows that the leading store does not have are deleted from the other one",
    )
    command.add_argument(
        "--delete-buried",
        action="store_true",
        help="with --repair from-postgres: rows that PostgreSQL has deleted go from the dataset, and no others",
    )
    command.add_argument(
        "--allow-shrink",
        action="store_true",
        help="with one of these: delete even more than a tenth of a store (and than 100 rows), or all of it",
    )
    command.add_argument(
        "--full", action="store_true", help="compare every month, also those that did not change since found equal"
    )
    command.add_argument("--dry-run", action="store_true", help="say what would be brought; write nothing")
    command.add_argument(
        "--sample", type=int, default=20, metavar="N", help="differing rows that are shown one by one (default 20)"
    )
    command.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="ENTRY",
        help="with --repair missed: settle this write of the run ledger although something of it is left; may be given "
        "several times",
    )
    add_assume_mode(command, needed_for="--repair from-…")
    command.set_defaults(user=user)


def reconcile(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Compare the stores, or repair; stores that differ beyond what is explained need attention."""
    repair = arguments.repair or ""
    _require_sense(arguments, repair)
    if repair == "missed":
        return _repair_missed(arguments, settings, console)
    from data_platform.jobs.reconcile.compare import Comparer
    from data_platform.jobs.reconcile.records import CompareOptions, reason_to_skip

    mode = said_mode(arguments, what=f"--repair {repair}") if repair else assumed_mode(arguments)
    options = CompareOptions(full=arguments.full, sample=arguments.sample)
    started_by = f"command line, {arguments.user()}"
    with console.progress() as bars:
        if not repair and (why := reason_to_skip(mode)):
            bars.note(f"the stores need not be the same now: {why}")
        comparer = Comparer(settings, mode, options=options, started_by=started_by, progress=bars)
        if not repair:
            found = comparer.look(record=not arguments.dry_run).comparison
            console.result(found.to_dict(), *found.lines())
            return not found.passed
        from data_platform.jobs.reconcile.repair import Direction, repair_drift

        with _both_stores(settings) as adapter:
            done = repair_drift(
                comparer,
                adapter,
                Direction(repair),
                allow_delete=arguments.allow_delete,
                delete_buried=arguments.delete_buried,
                allow_shrink=arguments.allow_shrink,
                dry_run=arguments.dry_run,
            )
    console.result(done.to_dict(), *done.lines())
    return done.needs_attention


def _require_sense(arguments: argparse.Namespace, repair: str) -> None:
    """Refuse options that mean nothing together, rather than leave one out."""
    wrong = {
        "--allow-delete": arguments.allow_delete and not repair.startswith("from-"),
        "--delete-buried": arguments.delete_buried and repair != "from-postgres",
        "--allow-shrink": arguments.allow_shrink and not (arguments.allow_delete or arguments.delete_buried),
        "--accept": bool(arguments.accept) and repair != "missed",
        "--full": arguments.full and repair == "missed",
    }
    if found := [name for name, is_wrong in wrong.items() if is_wrong]:
        chosen = f"--repair {repair}" if repair else "a comparison"
        raise ConfigurationError(f"{', '.join(found)} means nothing for {chosen}", hint="see reconcile --help")


def _repair_missed(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    from data_platform.jobs.reconcile.missed import repair_missed

    with _both_stores(settings) as adapter:
        outcome = repair_missed(
            adapter, dry_run=arguments.dry_run, accept=arguments.accept, accepted_by=arguments.user()
        )
    console.result(outcome.to_dict(), *outcome.lines())
    return outcome.open > 0


def _both_stores(settings: Settings) -> StorageAdapter:
    """Return an adapter over both stores, whatever the mode is."""
    from data_platform.managers.ledger.run_ledger import RunLedger
    from data_platform.managers.storage_adapter import StorageAdapter
    from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode

    why = "reconcile looks at both"
    mode = StorageMode(
        backend=StorageBackend.DUAL_WRITE, read_from=ReadSource.HUGGINGFACE, backend_source=why, read_source=why
    )
    ledger = RunLedger.of(settings, mirrored=bool(settings.database_url))
    return StorageAdapter(mode, settings=settings, ledger=ledger)


def add_delete(add: Add) -> None:
    """Add the command `delete`.

    Args:
        add: adds a command: name, function, help.
    """
    command = add("delete", delete, "take an article out of every store that the mode writes, for good")
    command.add_argument(
        "--unique-id", action="append", required=True, metavar="ID", help="which; may be given several times"
    )
    command.add_argument(
        "--reason", required=True, metavar="TEXT", help="why: kept in the run ledger, public in the dataset's history"
    )
    command.add_argument(
        "--allow-again",
        action="store_true",
        help="delete nothing: let articles that were deleted come in again, with whatever brings them next",
    )
    add_assume_mode(command, needed_for="a deletion")


def delete(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Delete articles, or allow them again; an article that no store had, or that was not deleted, needs attention."""
    from data_platform.managers.storage_adapter import StorageAdapter

    if not arguments.reason.strip():
        raise ConfigurationError("--reason says nothing", hint="say why; it is all that is left of the article")
    if not all(uid.strip() for uid in arguments.unique_id):
        raise ConfigurationError("--unique-id is empty", hint="give the id of an article")
    if arguments.allow_again:
        return _allow_again(arguments, settings, console)
    mode = said_mode(arguments, what="delete")
    with StorageAdapter(mode, settings=settings) as adapter:
        outcome = adapter.delete_rows([uid.strip() for uid in arguments.unique_id], reason=arguments.reason)
    lines = [
        f"{side}: {made.deleted} deleted, {made.unchanged} were not there" for side, made in outcome.outcomes.items()
    ]
    gone = {uid for made in outcome.outcomes.values() for uid in made.written}
    missing = [uid for uid in dict.fromkeys(map(str.strip, arguments.unique_id)) if uid not in gone]
    if len(mode.sides) > 1:
        where = "was in no store"
    else:
        where = f"was not in {mode.backend}; nobody looked into the other store: --assume-mode dual_write does both"
    lines += [f"{uid} {where}" for uid in missing]
    console.result(outcome.to_dict() | {"not_there": missing}, *lines)
    return bool(missing)


def _allow_again(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    from data_platform.managers.ledger.deletions import allow_again
    from data_platform.managers.ledger.run_ledger import RunLedger

    asked = list(dict.fromkeys(uid.strip() for uid in arguments.unique_id))
    allowed = allow_again(RunLedger.of(settings), asked, reason=arguments.reason.strip())
    unknown = [uid for uid in asked if uid not in allowed]
    lines = [f"{uid} may come in again" for uid in allowed] + [f"{uid} was not taken down" for uid in unknown]
    console.result({"allowed": allowed, "not_taken_down": unknown}, *lines)
    return bool(unknown)


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
