"""The commands. Each takes (arguments, settings, console) and returns whether something needs attention."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from data_platform.cli import (
    daily_commands,
    index_commands,
    reject_commands,
    scrape_commands,
    staged_commands,
    storage_commands,
)
from data_platform.cli.console import Console
from data_platform.errors import IntegrityError
from data_platform.settings import Settings

if TYPE_CHECKING:
    from data_platform.jobs.master_data import PopulateResult
    from data_platform.jobs.migration.job import Outcome
    from data_platform.jobs.migration.validation import ValidationResult

__all__ = ["FINISHED_WITH_ATTENTION", "add_all"]

#: The work was done as far as it should be; a person must look at what was found.
FINISHED_WITH_ATTENTION = (IntegrityError,)

#: Characters of a differing cell that a line shows; the report shows more.
_LONGEST_CELL = 80
#: Kinds that a line of counts names; the report and --json name all.
_MOST_COUNTED = 10

Command = Callable[[argparse.Namespace, Settings, Console], bool]


def add_all(commands: Any, common: argparse.ArgumentParser) -> None:  # noqa: ANN401 - argparse's type is private
    """Add every command to a parser."""

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, parents=[common], help=text, description=text)
        command.set_defaults(run=run)
        return command  # type: ignore[no-any-return]

    add("create-schema", create_schema, "create the database schema, or upgrade it to this release's version")
    for name, run, what in (
        ("populate-agencies", populate_agencies, "agencies.yaml"),
        ("populate-themes", populate_themes, "themes_tree.yaml"),
    ):
        command = add(name, run, f"load {what} into the database; running it again updates in place")
        command.add_argument(
            "--source", default="", help=f"path or URL of {what} (default: setting, else the shipped catalogue)"
        )
    command = add("migrate", migrate, "bring a dataset into PostgreSQL, every row accounted for, equality proven")
    _source(command)
    command.add_argument("--dry-run", action="store_true", help="read, clean and account; write nothing to news")
    command.add_argument(
        "--max-reject-rate",
        type=float,
        default=0.01,
        metavar="R",
        help="share of rows that may be rejected (default 0.01)",
    )
    command.add_argument(
        "--batch-size", type=int, default=1024, metavar="N", help="rows held in memory by each loader (default 1024)"
    )
    command.add_argument("--parallel", type=int, default=2, metavar="N", help="segments that load at once (default 2)")
    command.add_argument(
        "--no-resume", action="store_true", help="give up an unfinished run instead of going on with it"
    )
    command.add_argument("--no-validate", action="store_true", help="leave the comparison for later")
    command = add("validate", validate, "compare a dataset with PostgreSQL by a digest of every column of every row")
    _source(command)
    command.add_argument(
        "--parallel", type=int, default=2, metavar="N", help="processes that read the source (default 2)"
    )
    reject_commands.add_rejects(add, _user)
    storage_commands.add_reconcile(add, _user)
    storage_commands.add_delete(add)
    storage_commands.add_sync(add, _user)
    index_commands.add_reindex(add, _user)
    scrape_commands.add_scrape(add)
    daily_commands.add_daily(add, _user)
    staged_commands.add_staged(add)
    add("status", status, "show schema, rows, runs and open rejects")


def create_schema(_arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Create or upgrade the schema and say from what to what."""
    from data_platform.schema import upgrade

    change = upgrade(settings.require_database())
    before = change.before or "nothing"
    said = (
        f"schema brought from {before} to {change.after}" if change.changed else f"schema is at {change.after} already"
    )
    console.result({**asdict(change), "changed": change.changed}, said)
    return False


def populate_agencies(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Load agencies."""
    from data_platform.jobs.master_data import load_agencies
    from data_platform.jobs.master_data import populate_agencies as populate
    from data_platform.managers.postgres.database import connect

    agencies = load_agencies(arguments.source or settings.agencies_source)
    with _ready(settings), connect(settings.require_database(), purpose="populate-agencies") as connection:
        result = populate(connection, agencies)
    return _populated("agencies", result, console)


def populate_themes(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Load themes."""
    from data_platform.jobs.master_data import load_themes
    from data_platform.jobs.master_data import populate_themes as populate
    from data_platform.managers.postgres.database import connect

    themes = load_themes(arguments.source or settings.themes_source)
    with _ready(settings), connect(settings.require_database(), purpose="populate-themes") as connection:
        result = populate(connection, themes)
    return _populated("themes", result, console)


def migrate(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Run a whole migration."""
    from data_platform.jobs.migration.job import MigrationJob
    from data_platform.jobs.migration.records import MigrationOptions

    options = MigrationOptions(
        source=arguments.source or settings.hf_dataset,
        dry_run=arguments.dry_run,
        max_reject_rate=arguments.max_reject_rate,
        parallel=arguments.parallel,
        resume=not arguments.no_resume,
        batch_rows=arguments.batch_size,
        started_by=f"command line, {_user()}",
    )
    with console.progress() as bars:
        outcome = MigrationJob(settings, options, progress=bars).run(validate=not arguments.no_validate)
    console.result(_migration_facts(outcome), *_migration_lines(outcome))
    return outcome.needs_attention


def validate(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Compare source and table."""
    from data_platform.jobs.migration.comparison import validate_source

    with console.progress() as bars:
        result = validate_source(
            settings, arguments.source or settings.hf_dataset, parallel=arguments.parallel, progress=bars
        )
    console.result(result.to_dict(), *_validation_lines(result))
    return not result.passed


def status(_arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Show where things stand."""
    from data_platform.jobs.status import read_status

    found = read_status(settings.require_database())
    console.result(found.to_dict(), *found.lines())
    return found.needs_attention


def _source(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--source", default="", help="dataset id on the Hub, folder, or parquet file (default: HF_DATASET)"
    )


def _ready(settings: Settings) -> Any:  # noqa: ANN401 - a context manager
    from data_platform.managers.postgres.database import translate_errors
    from data_platform.schema import require_current

    require_current(settings.require_database())
    return translate_errors()


def _populated(what: str, result: PopulateResult, console: Console) -> bool:
    line = f"{what}: {result.read} read, {result.inserted} inserted, {result.updated} updated"
    line += f", {result.unchanged} unchanged"
    more = (
        [f"  {result.not_in_source} in the table that the source does not have; they stay"]
        if result.not_in_source
        else []
    )
    console.result(asdict(result), line, *more)
    return False


def _migration_facts(outcome: Outcome) -> dict[str, Any]:
    total = outcome.seconds["total"]
    load = outcome.seconds["load"] + outcome.seconds["indexes"]
    return {
        "run_id": outcome.run.id,
        "source": outcome.run.snapshot.source,
        "revision": outcome.run.snapshot.revision,
        "mode": outcome.run.mode,
        "dry_run": outcome.run.dry_run,
        **outcome.account.to_dict(),
        "changed_nothing": outcome.account.changed_nothing,
        "verdict": outcome.validation.verdict if outcome.validation else None,
        "seconds": total,
        "seconds_by_stage": outcome.seconds,
        "rows_per_second": round(outcome.account.read / load, 1) if load else None,
        "peak_rss_mb": outcome.peak_rss_mb,
        "report": outcome.report,
    }


def _migration_lines(outcome: Outcome) -> list[str]:
    run, account = outcome.run, outcome.account
    lines = [
        f"{'dry run' if run.dry_run else 'migration'} {run.id} of {run.snapshot.source} ({run.mode})",
        f"  {account.equation()}",
    ]
    if not run.dry_run and account.changed_nothing:
        lines.append("  nothing changed: every row was there already")
    for title, counts in (
        ("rejected", account.rejected_by_reason),
        ("duplicates", account.duplicates_by_kind),
        ("cleaned", account.cleanings),
        ("seen and kept", account.observations),
        ("unknown theme codes, kept as text", account.unknown_themes),
        ("agencies without an entry", account.stub_agencies),
    ):
        if counts:
            lines.append(f"  {title}: {_counted(counts)}")
    if account.vanished:
        lines.append(f"  {account.vanished:,} rows of news are no longer in the source; they stay")
    if outcome.validation is not None:
        lines += [f"  {line}" for line in _validation_lines(outcome.validation)]
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in outcome.seconds.items() if name != "total")
    lines.append(f"  {outcome.seconds['total']:.1f} s ({stages}), at most {outcome.peak_rss_mb:.0f} MB a process")
    lines.append(f"  report: {outcome.report}")
    return lines


def _counted(counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name} {rows:,}" for name, rows in list(counts.items())[:_MOST_COUNTED])
    left = len(counts) - _MOST_COUNTED
    return f"{shown} and {left} more kinds" if left > 0 else shown


def _validation_lines(result: ValidationResult) -> list[str]:
    lines = [
        f"verdict: {result.verdict}",
        (
            f"{result.source_rows:,} source rows = {result.equal:,} equal + {result.explained:,} explained"
            f" + {result.only_in_source:,} only in source ({sum(result.accounted.values()):,} accounted for)"
            f" + {result.different:,} different"
        ),
        f"{result.target_rows:,} rows in the table, {result.only_in_target:,} of them not in the source",
    ]
    lines += [
        f"  {d['unique_id']} {d['column']}: source {_short(d['source'])}, table {_short(d['target'])}"
        for d in result.differences[:10]
    ]
    return lines


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]}…"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a user id without a name
        return "unknown user"
