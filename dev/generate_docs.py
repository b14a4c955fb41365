"""Writes the documents that can be read off the code: `python -m dev.generate_docs [--check]`.

DAGs from their manuals and wiring, the command line from its parser, the columns from their module and the schema
from a database that the migrations made. The same code gives the same bytes; `--check` writes nothing and fails with
a diff where a document is stale.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dev.state import REPOSITORY

__all__ = ["DOCUMENTS", "documents", "main", "stale", "table"]

FOLDER = REPOSITORY / "docs" / "generated"
_DAGS = REPOSITORY / "dags"
_NOTE = "<!-- Written by `make docs` from the code. Do not edit: the next run overwrites it. -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the documents, or say which are stale."""
    parser = argparse.ArgumentParser(prog="python -m dev.generate_docs", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail with a diff where a file is stale")
    options = parser.parse_args(arguments)
    wanted = documents()
    differences = stale(FOLDER, wanted)
    if options.check:
        sys.stdout.writelines(differences)
        if differences:
            print("these documents are stale; run `make docs`", file=sys.stderr)
        return 1 if differences else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for extra in {path.name for path in FOLDER.iterdir()} - set(wanted):
        (FOLDER / extra).unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    print(f"{len(wanted)} documents in {FOLDER}, {'some were stale' if differences else 'none was stale'}")
    return 0


def documents() -> dict[str, str]:
    """Return the text of every generated document, by file name."""
    return {name: f"{_NOTE}\n\n{make().strip()}\n" for name, make in DOCUMENTS.items()}


def stale(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Return the lines of a diff between the files of a folder and what they should be; none if all are fresh."""
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*")} if folder.exists() else {}
    lines: list[str] = []
    for name in sorted({*wanted, *found}):
        before, after = (texts.get(name, "").splitlines(keepends=True) for texts in (found, wanted))
        lines += difflib.unified_diff(before, after, f"{name} (as it is)", f"{name} (as the code says)")
    return lines


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; cells may hold any text."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return " ".join(text.replace("|", "\\|").split())


def _code(value: object) -> str:
    return "" if value is None or value == "" else f"`{value}`"


# ---------------------------------------------------------------------------------------------- DAGs


def _dags() -> str:
    with _airflow_home():
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(_DAGS))
        if bag.import_errors:
            raise SystemExit(f"DAGs do not import: {bag.import_errors}")
        groups: dict[str, list[Any]] = {}
        for dag in sorted(bag.dags.values(), key=lambda dag: dag.dag_id):
            groups.setdefault(_first_tag(dag), []).append(dag)
        listed = [
            [f"[{dag.dag_id}](#{dag.dag_id})", group, _schedule(dag), _title(dag)]
            for group, dags in sorted(groups.items())
            for dag in dags
        ]
        parts = ["# DAGs", table(["DAG", "group", "schedule", "what it does"], listed)]
        for group, dags in sorted(groups.items()):
            parts.append(f"## {group}")
            parts += [_dag(dag) for dag in dags]
    return "\n\n".join(parts)


def _dag(dag: Any) -> str:  # noqa: ANN401 - Airflow's DAG, whose import is slow
    params = [
        [
            _code(name),
            _type(param.schema.get("type")),
            _code(param.value),
            param.description or param.schema.get("description"),
        ]
        for name, param in ((name, dag.params.get_param(name)) for name in dag.params)
    ]
    tasks = [
        [
            _code(task.task_id) + (" (mapped)" if task.is_mapped else ""),
            ", ".join(_code(name) for name in sorted(task.upstream_task_ids)),
            task.retries,
            task.execution_timeout,
            _what(task),
        ]
        for task in dag.task_group.topological_sort()
    ]
    facts = [
        ["schedule", _schedule(dag)],
        ["owner", dag.owner],
        ["tags", ", ".join(sorted(dag.tags))],
        ["runs at once", dag.max_active_runs],
        ["file", _code(Path(dag.fileloc).relative_to(REPOSITORY))],
    ]
    return "\n\n".join(
        [
            f"### {dag.dag_id}",
            table(["", ""], facts),
            _demoted(dag.doc_md or "", by=3),
            "#### Form",
            table(["parameter", "type", "default", "meaning"], params),
            "#### Tasks",
            table(["task", "after", "retries", "time limit", "what it does"], tasks),
        ]
    )


def _type(told: str | list[str] | None) -> str:
    """Return the type of a field as people say it; one that may be empty has several."""
    return told or "" if not isinstance(told, list) else " or ".join("nothing" if t == "null" else t for t in told)


def _what(task: Any) -> str:  # noqa: ANN401 - any of Airflow's operators
    function = getattr(task, "python_callable", None) or getattr(task, "partial_kwargs", {}).get("python_callable")
    text = task.doc_md or getattr(function, "__doc__", None) or type(task).__doc__ or ""
    return str(text).strip().split("\n\n")[0]


def _title(dag: Any) -> str:  # noqa: ANN401 - Airflow's DAG
    return str(dag.doc_md or "").strip().split("\n", 1)[0].lstrip("# ")


def _schedule(dag: Any) -> str:  # noqa: ANN401 - Airflow's DAG
    if dag.schedule is None:
        return "by hand only"
    return f"`{getattr(dag.schedule, 'expression', dag.schedule)}` {getattr(dag.timetable, 'timezone', '')}".strip()


def _first_tag(dag: Any) -> str:  # noqa: ANN401 - Airflow's DAG
    """Return the tag that stands first in the file: Airflow keeps tags without their order."""
    for node in ast.walk(ast.parse(Path(dag.fileloc).read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.keyword)
            and node.arg == "tags"
            and isinstance(node.value, ast.List)
            and node.value.elts
        ):
            return str(ast.literal_eval(node.value.elts[0]))
    return "other"


def _demoted(markdown: str, *, by: int) -> str:
    """Return Markdown without its title, its headings lower by some levels; what is in code fences stays."""
    lines = markdown.strip().split("\n")
    fenced = False
    for number, line in enumerate(lines):
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            lines[number] = "#" * (by - 1) + line if number else ""
    return "\n".join(lines).strip()


@contextmanager
def _airflow_home() -> Iterator[None]:
    """Airflow reads its environment when it is first imported: give it an empty home, unless it is imported."""
    if "airflow" in sys.modules:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="govbr-docs-") as home:
        os.environ.update(
            {
                "AIRFLOW_HOME": home,
                "AIRFLOW__CORE__DAGS_FOLDER": str(_DAGS),
                "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            }
        )
        yield


# -------------------------------------------------------------------------------------- command line


_CALLING = (
    "`.venv/bin/python -m data_platform COMMAND …`, from any folder. Progress goes to standard error, the result to"
    " standard output. Exit status: 0 done, 1 finished but something needs attention, 2 could not run."
)


def _command_line() -> str:
    from data_platform.cli import make_parser

    parser = make_parser()
    choices: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # noqa: SLF001 - argparse tells nobody what was added to it
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - the same
            choices = action.choices
    options = {
        name: [_option(action) for action in command._actions if action.dest != "help"]  # noqa: SLF001 - the same
        for name, command in choices.items()
    }
    header = ["option", "meaning", "default"]
    common = [option for option in next(iter(options.values())) if all(option in rows for rows in options.values())]
    parts = [
        "# Command line",
        _CALLING,
        "Every command takes:",
        table(header, common),
    ]
    for name, command in choices.items():
        parts += [f"## {name}", _sentence(command.description or "")]
        own = [option for option in options[name] if option not in common]
        parts += [table(header, own)] if own else []
    return "\n\n".join(parts)


def _option(action: argparse.Action) -> list[str]:
    name = ", ".join(action.option_strings) or action.dest
    value = action.metavar or (action.dest.upper() if action.nargs is None else "")
    if action.choices:
        value = " or ".join(map(str, action.choices))
    shown = f"{name} {value}".strip() if action.option_strings else str(value)
    default = "" if action.default in (None, False, "", []) else str(action.default)
    meaning = re.sub(r" \(default[ :][^)]*\)$", "", action.help or "") if default else action.help or ""
    return [_code(shown), meaning, default]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text and not text.endswith(".") else text


# ------------------------------------------------------------------------------------------- columns


def _columns() -> str:
    from data_platform.models.columns import COLUMNS, PUBLISHED_SCHEMA

    rows = [
        [
            number,
            _code(column.name),
            column.kind.value,
            column.owner.value,
            _code(column.store) or "theme ids",
            "yes" if column.required else "",
            ", ".join(f'"{word}"' for word in column.sentinels),
            _code(PUBLISHED_SCHEMA.field(column.name).type),
        ]
        for number, column in enumerate(COLUMNS, start=1)
    ]
    header = [
        "#",
        "column",
        "kind",
        "owner",
        "column of `news`",
        "required",
        "texts that mean nothing",
        "published type",
    ]
    about = (
        "The 24 columns of the published dataset, in its order. A row without a required one is rejected. Only the"
        " owner writes a column: a scraper never touches what enrichment wrote. `theme ids` are `theme_l1_id`,"
        " `theme_l2_id`, `theme_l3_id`, `most_specific_theme_id`, `theme_form` and `theme_cells` together."
    )
    return "\n\n".join(["# Columns", about, table(header, rows)])


# -------------------------------------------------------------------------------------------- schema

_TABLES = """
SELECT oid, relname, relkind::text FROM pg_class
 WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')
"""
_FIELDS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       CASE WHEN a.attidentity <> '' THEN 'numbered by the server'
            WHEN a.attgenerated <> '' THEN 'always ' || pg_get_expr(d.adbin, d.adrelid)
            ELSE pg_get_expr(d.adbin, d.adrelid) END
  FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
# Not-null constraints have rows of their own from PostgreSQL 18 on; they stand with the columns already.
_RULES = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %(oid)s AND contype <> 'n'
UNION ALL
SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE i.indrelid = %(oid)s AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = c.oid AND contype IN ('p', 'u'))
UNION ALL
SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %(oid)s AND NOT tgisinternal
ORDER BY 1
"""


def _schema() -> str:
    import psycopg

    from data_platform.schema import head_version, upgrade

    parts = [
        "# Database schema",
        f"Version {head_version()}, as the migrations make it. Why the tables are so: [database.md](../database.md).",
    ]
    with _database() as url:
        upgrade(url)
        with psycopg.connect(url) as connection:
            for oid, name, kind in sorted(connection.execute(_TABLES).fetchall(), key=lambda row: str(row[1])):
                fields = connection.execute(_FIELDS, (oid,)).fetchall()
                rows = [[_code(f), _code(t), "" if n else "may be", _code(d)] for f, t, n, d in fields]
                parts.append(f"## {name}{' (view)' if kind == 'v' else ''}")
                if kind == "v":
                    parts.append(table(["column", "type"], [row[:2] for row in rows]))
                    continue
                parts.append(table(["column", "type", "null", "by default"], rows))
                rules = connection.execute(_RULES, {"oid": oid}).fetchall()
                parts.append(table(["rule", "definition"], [[_code(r), _code(_cell(d))] for r, d in rules]))
    return "\n\n".join(parts)


@contextmanager
def _database() -> Iterator[str]:
    """An empty database on a server of its own, which is gone afterwards."""
    from dev.embedded_postgres import DURABILITY_OFF, EmbeddedPostgres

    # Not the state folder's server: that one may hold work. As root the server runs as another user, who must pass.
    folder = Path(tempfile.mkdtemp(prefix="govbr-docs-pg-", dir="/var/tmp"))
    folder.chmod(0o711)
    try:
        with EmbeddedPostgres(folder / "data", settings=DURABILITY_OFF, bound=True) as server:
            yield server.create_database("docs")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


#: File name -> the function that makes its text.
DOCUMENTS: Mapping[str, Callable[[], str]] = {
    "columns.md": _columns,
    "command-line.md": _command_line,
    "dags.md": _dags,
    "schema.md": _schema,
}


if __name__ == "__main__":
    sys.exit(main())
