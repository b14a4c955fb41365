"""
# Verify the HuggingFace dataset against PostgreSQL

Compares every row of the open dataset on the Hub with PostgreSQL, once a week, by a digest of every column, and fails
if they differ. It acts only in mode `postgres`; in the other modes every task is skipped, and `resolve_mode` says why.

It runs on **Sundays at 13:00 in São Paulo**, the quietest day of the week: that day's sync has ended by then, even if
it waited as long as it may. If a sync is at work all the same, it tries again.

## Safety

* It writes nothing, neither to the Hub nor to PostgreSQL.
* Changes that wait for the next sync are no difference.
* `STORAGE_BACKEND=huggingface` in the environment beats the form: the run is then skipped.

## Parameters

| name | meaning |
|---|---|
| `storage_backend` | which mode to assume for this run; empty: as it is set |

Example: `{"storage_backend": "postgres"}`

## What happens

`resolve_mode` finds the mode → `verify` reads both sides and compares them. Its log says what differs, by month and id.

## After a failure

The error names the files and rows that differ. Find out which side is right before anything is written:

* *with other cells*, *missing*: the dataset's history on the Hub shows commits that are not ours. If the dataset is
  right after all, correct the row in PostgreSQL first.
* *should not be there*: **see whether PostgreSQL lost the row.** Nobody deleted it there, so the dataset may have the
  only copy. Bring it back (a backup; or `reconcile --repair from-postgres` without `--allow-delete`), or `delete` it.

Once PostgreSQL is right, trigger `sync_huggingface` with `{"full": true, "dry_run": true}`, read its account, then with
`{"full": true}`. It refuses, and names what it would take away, if rows would go that nobody deleted, or if others
changed data files (single months are refused then too). Only a person who has seen what goes, and agrees, adds
`"overwrite": true`: what the dataset has and PostgreSQL has not is then taken out. Trigger this DAG again afterwards.

## When not to use it

* Not to bring the dataset up to date: that is `sync_huggingface`, every day.
* Not while both stores are written by the pipeline (mode `dual_write`): use the reconciliation.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task

from govbr.hf_sync import choose_mode, verify_dataset

#: It reads the whole dataset from the Hub: minutes, unless the Hub is slow.
_TASK_TIMEOUT = timedelta(hours=2)
_STATEMENT_TIMEOUT_S = int(_TASK_TIMEOUT.total_seconds()) - 60


@dag(
    schedule=CronTriggerTimetable("0 13 * * 0", timezone="America/Sao_Paulo"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["sync", "postgres", "huggingface"],
    default_args={
        "owner": "data-platform",
        "retries": 4,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=20),
        "execution_timeout": _TASK_TIMEOUT,
    },
    params={
        "storage_backend": Param(
            None,
            type=["null", "string"],
            enum=[None, "postgres"],
            title="Storage backend",
            description="Which mode to assume for this run; empty: as it is set",
        ),
    },
)
def verify_huggingface() -> None:
    """Wire the steps; what they do is in data_platform.jobs.hf_sync."""

    @task
    def resolve_mode() -> dict[str, str]:
        """Find which stores are written and read; skip the run unless PostgreSQL leads."""
        return choose_mode(get_current_context()["params"])

    @task
    def verify(mode: dict[str, str]) -> dict[str, Any]:
        """Compare the dataset with PostgreSQL by a digest of every row; fail if they differ."""
        return verify_dataset(get_current_context(), mode, statement_timeout_s=_STATEMENT_TIMEOUT_S)

    verify(resolve_mode())


verify_huggingface()
