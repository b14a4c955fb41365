"""The second act of the demo: the open dataset follows PostgreSQL, through the real DAG."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import psycopg

from dev.airflow_local import AirflowLocal
from dev.state import REPOSITORY, LocalStackError

__all__ = ["SYNC_DAG_ID", "play_sync"]

SYNC_DAG_ID = "sync_huggingface"
#: The form: the local stack is in mode huggingface, and only this run is to act as if PostgreSQL led.
_FORM = {"storage_backend": "postgres"}
_TITLED = 5
Say = Callable[[str], None]


def play_sync(airflow: AirflowLocal, environment: Mapping[str, str], say: Say) -> bool:
    """Publish what was migrated, then a day's changes; whether both arrived and nothing else changed.

    Args:
        airflow: a running one.
        environment: what the stack runs with (DATABASE_URL, HF_…).
        say: told what goes on, a line at a time.
    """
    say("the open dataset follows PostgreSQL: base files and increments become one file a month, in one commit")
    first = _sync(airflow, say)
    if first is None:
        return False
    changed, deleted = _a_day_of_changes(environment["DATABASE_URL"])
    say(f"a day later: {changed} articles were corrected, {deleted} deleted; only their months are published again")
    second = _sync(airflow, say)
    if second is None:
        return False
    counts = second["counts"]
    arrived = (counts["changed_rows"], counts["tombstones"]) == (changed, deleted)
    verdict = "all of it arrived" if arrived else "NOT ALL OF IT ARRIVED"
    say(f"  {verdict}: {counts['uploaded']} of {first['counts']['partitions']} files are new")
    return arrived and _verified(environment, say)


def _sync(airflow: AirflowLocal, say: Say) -> Mapping[str, Any] | None:
    """Run the DAG and say what it published; None if it failed."""
    outcome = airflow.run(SYNC_DAG_ID, _FORM)
    if not outcome.succeeded:
        return None
    told = airflow.client.xcom(SYNC_DAG_ID, outcome.run_id, "sync")
    if not isinstance(told, Mapping) or "counts" not in told:
        raise LocalStackError(f"task sync of {SYNC_DAG_ID} handed over {told!r}")
    counts = told["counts"]
    if told["reason"]:
        say(f"  everything was written: {told['reason']}")
    say(f"  {counts['rows']:,} rows published, {counts['held']} of them held for want of a date or a title")
    files = f"files: {counts['partitions']} written, {counts['uploaded']} of them new, {counts['removed']} removed"
    say(f"  {files}, {counts['proven']} read back and proven equal; commit {told['commit'][:12]}")
    return dict(told)


def _a_day_of_changes(database_url: str) -> tuple[int, int]:
    """Correct some titles and delete an article, as people do; return how many of each."""
    with psycopg.connect(database_url) as connection:
        changed = connection.execute(
            "UPDATE news SET title = title || ' (corrigido)' WHERE unique_id IN"
            " (SELECT unique_id FROM news ORDER BY published_at DESC, unique_id LIMIT %s)",
            (_TITLED,),
        ).rowcount
        deleted = connection.execute(
            "DELETE FROM news WHERE unique_id = (SELECT unique_id FROM news WHERE duplicate_of IS NULL AND NOT EXISTS"
            " (SELECT FROM news d WHERE d.duplicate_of = news.unique_id) ORDER BY published_at, unique_id LIMIT 1)"
        ).rowcount
    return changed, deleted


def _verified(environment: Mapping[str, str], say: Say) -> bool:
    """Compare every published row with PostgreSQL, from the command line."""
    command = [sys.executable, "-m", "data_platform", "sync-hf", "--verify", "--assume-mode", "postgres", "--json"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STORAGE_")}
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**kept, **environment}, capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode not in {0, 1}:
        raise LocalStackError(f"the verification could not run: {done.stderr[-1000:]}")
    found = json.loads(done.stdout)
    verdict = "equal" if found["passed"] else "DIFFERENT"
    say(
        f"every published row compared with PostgreSQL: {verdict}; {found['published']:,} rows = "
        f"{found['equal']:,} equal + {found['held']} held"
    )
    return bool(found["passed"])
