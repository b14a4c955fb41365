"""The command over rows that could not be stored: what lies there, given up."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from data_platform.cli.console import Console
from data_platform.errors import ConfigurationError
from data_platform.settings import Settings

if TYPE_CHECKING:
    from psycopg import Connection

__all__ = ["add_rejects"]

Command = Callable[[argparse.Namespace, Settings, Console], bool]
Add = Callable[[str, Command, str], argparse.ArgumentParser]


def add_rejects(add: Add, user: Callable[[], str]) -> None:
    """Add the command `rejects`.

    Args:
        add: adds a command: name, function, help.
        user: who runs it, for the record.
    """
    command = add("rejects", rejects, "the rows that could not be stored: list, give up")
    command.add_argument(
        "action",
        choices=["list", "discard"],
        help="list: the open ones, by reason and one by one, and those that were given up;"
        " discard: give some up, for good; rows that the dataset holds for them go with the next sync",
    )
    command.add_argument("--limit", type=int, default=50, metavar="N", help="list: rows shown one by one (default 50)")
    command.add_argument(
        "--unique-id",
        action="append",
        default=[],
        metavar="ID",
        help="discard: every open reject of this id; may be given several times",
    )
    command.add_argument(
        "--number",
        action="append",
        type=int,
        default=[],
        metavar="N",
        help="discard: this one, by the number that list shows, as for a row without an id; may be given several times",
    )
    command.add_argument("--reason", default="", metavar="TEXT", help="discard: why; list shows it")
    command.set_defaults(user=user)


def rejects(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    """Do what is asked with rejects; one to be given up that is not open needs attention."""
    chosen = {"--unique-id": arguments.unique_id, "--number": arguments.number, "--reason": arguments.reason}
    if arguments.action == "discard":
        return _discard(arguments, settings, console)
    if given := [name for name, value in chosen.items() if value]:
        raise ConfigurationError(f"{', '.join(given)} means nothing for list", hint="see rejects --help")
    return _list(arguments, settings, console)


def _list(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    from psycopg.rows import dict_row

    from data_platform.queries import read_sql

    with _connected(settings) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        by_reason = cursor.execute(
            "SELECT reason, field, count(*) AS rows FROM rejects WHERE status = 'open' GROUP BY 1, 2 ORDER BY 3 DESC, 1"
        ).fetchall()
        rows = cursor.execute(read_sql("reject_list.sql"), {"limit": arguments.limit}).fetchall()
        discarded = cursor.execute(read_sql("reject_discarded.sql"), {"limit": arguments.limit}).fetchall()
    lines = [f"{row['rows']:>8,}  {row['reason']} ({row['field']})" for row in by_reason] or ["no open rejects"]
    lines += map(_line, rows)
    lines += ["given up:"] * bool(discarded) + list(map(_line, discarded))
    console.result({"by_reason": by_reason, "rejects": rows, "discarded": discarded}, *lines)
    return False


def _discard(arguments: argparse.Namespace, settings: Settings, console: Console) -> bool:
    from data_platform.managers.postgres.rejects import discard_rejects

    ids, numbers = _asked(arguments.unique_id, arguments.number)
    if not arguments.reason.strip():
        raise ConfigurationError("--reason says nothing", hint="say why; it is what remains of the decision")
    why = f"discarded by {arguments.user()}: {arguments.reason.strip()}"
    with _connected(settings) as connection:
        found = discard_rejects(connection, unique_ids=ids, numbers=numbers, why=why)
    gone = {reject.number for reject in found} | {reject.unique_id for reject in found}
    missing: list[object] = [each for each in (*ids, *numbers) if each not in gone]
    lines = [f"#{each.number}  {each.reason}  {each.unique_id or '(no id)'}: {each.detail}" for each in found]
    lines += [f"{f'#{each}' if isinstance(each, int) else each} has no open reject" for each in missing]
    told = [asdict(reject) for reject in found]
    console.result({"discarded": told, "not_open": missing}, *lines)
    return bool(missing)


def _asked(unique_ids: Sequence[str], numbers: Sequence[int]) -> tuple[list[str], list[int]]:
    ids = list(dict.fromkeys(map(str.strip, unique_ids)))
    if not (ids or numbers) or not all(ids):
        raise ConfigurationError(
            "nothing is named to be discarded", hint="give --unique-id, or the --number that rejects list shows"
        )
    return ids, list(dict.fromkeys(numbers))


@contextmanager
def _connected(settings: Settings) -> Iterator[Connection[Any]]:
    from data_platform.managers.postgres.database import connect, translate_errors
    from data_platform.schema import require_current

    url = settings.require_database()
    require_current(url)
    with translate_errors(), connect(url, purpose="rejects") as connection:
        yield connection


def _line(row: Mapping[str, Any]) -> str:
    where = f"{row['file']} row {row['row_no']}" if row["file"] else "no file"
    return f"#{row['id']}  {row['reason']}  {row['unique_id'] or '(no id)'}  {where}: {row['detail']}"
