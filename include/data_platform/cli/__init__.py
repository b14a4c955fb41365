"""The command line: everything the DAGs do, by the same code.

Exit status: 0 done, 1 finished but something needs attention, 2 could not run.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from data_platform.cli import commands
from data_platform.cli.console import Console
from data_platform.errors import DataPlatformError, TransientError
from data_platform.settings import Settings

__all__ = ["main", "make_parser"]

ATTENTION = 1
COULD_NOT_RUN = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    parsed = make_parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    console = Console(as_json=parsed.json)
    try:
        settings = Settings.from_environment().with_database(parsed.database_url)
        outcome = parsed.run(parsed, settings, console)
    except DataPlatformError as error:
        again = "trying again may help" if isinstance(error, TransientError) else "trying again will not help by itself"
        told = "; ".join([error.message, *getattr(error, "__notes__", ())])
        console.error(told, hint=error.hint, kind=type(error).__name__, retryable=error.retryable, again=again)
        return ATTENTION if isinstance(error, commands.FINISHED_WITH_ATTENTION) else COULD_NOT_RUN
    except KeyboardInterrupt:
        console.error("interrupted", hint="run the same command again: it goes on where it stopped")
        return COULD_NOT_RUN
    except Exception as error:
        logging.getLogger(__name__).critical("unexpected error", exc_info=True)
        hint = "this is a fault of the program, or of its installation: please report it with the lines above"
        console.error(f"{type(error).__name__}: {error}", hint=hint, kind=type(error).__name__, retryable=False)
        return COULD_NOT_RUN
    return ATTENTION if outcome else 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--database-url", metavar="URL", help="PostgreSQL address (default: DATABASE_URL)")
    common.add_argument("--json", action="store_true", help="print one JSON object and nothing else on standard output")
    parser = argparse.ArgumentParser(
        prog="python -m data_platform", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    commands.add_all(parser.add_subparsers(required=True, metavar="COMMAND"), common)
    return parser
