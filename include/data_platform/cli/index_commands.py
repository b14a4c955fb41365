"""The command that keeps the search indexes."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from data_platform.cli.console import Console
from data_platform.settings import Settings

__all__ = ["add_reindex"]

Command = Callable[[argparse.Namespace, Settings, Console], bool]
Add = Callable[[str, Command, str], argparse.ArgumentParser]


def add_reindex(add: Add, user: Callable[[], str]) -> None:
    """Add the command `reindex`.

    Args:
        add: adds a command: name, function, help.
        user: who runs it, for the record.
    """
    command = add("reindex", reindex, "keep a search index in line with PostgreSQL, or fill a new one")
    command.add_argument("reader", choices=["typesense", "qdrant"], help="which index")
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--incremental", action="store_true", help="what changed and went since the last run")
    what.add_argument(
        "--full", action="store_true", help="a new collection beside the old one; searches see it once it is compared"
    )
    what.add_argument(
        "--rollback", action="store_true", help="searches see the collection before again, brought up to now"
    )
    command.add_argument(
        "--from",
        dest="source",
        choices=["postgres", "huggingface"],
        default="postgres",
        help="with --full: where the rows come from; huggingface needs no PostgreSQL (default postgres)",
    )
    command.add_argument("--dry-run", action="store_true", help="say what would be done; write nothing")
    command.add_argument(
        "--afresh", action="store_true", help="with --full: start over instead of going on with an unfinished one"
    )
    command.add_argument(
        "--replace-collection",
        action="store_true",
        help="with --full, once: drop the collection that has the alias's own name; searches fail for that moment",
    )
    command.add_argument(
        "--allow-shrink", action="store_true", help="go on although a tenth of what searches see would go"
    )
    command.add_argument(
        "--max-failed",
        type=int,
        default=0,
        metavar="N",
        help="documents that may be refused without failing the run (default 0)",
    )
    command.set_defaults(user=user)


def reindex(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Run an index; refused documents and a schema that is not what it should be need attention."""
    from data_platform.jobs.indexing.job import run_reindex
    from data_platform.jobs.indexing.records import Kind, ReindexOptions, Source
    from data_platform.managers.storage_mode import resolve_storage_mode

    kind = Kind.FULL if arguments.full else Kind.ROLLBACK if arguments.rollback else Kind.INCREMENTAL
    options = ReindexOptions(
        reader=arguments.reader,
        kind=kind,
        source=Source(arguments.source),
        dry_run=arguments.dry_run,
        afresh=arguments.afresh,
        replace_collection=arguments.replace_collection,
        allow_shrink=arguments.allow_shrink,
        max_failed=arguments.max_failed,
    )
    with console.progress() as bars:
        done = run_reindex(
            settings,
            options,
            mode=resolve_storage_mode(),
            started_by=f"command line, {arguments.user()}",
            progress=bars,
        )
    console.result(done.to_dict(), *done.lines())
    return done.needs_attention
