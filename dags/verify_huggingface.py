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

The error names the months that differ. Find out who changed them: the dataset's history on the Hub shows commits that
are not ours. Then publish those months anew with `sync_huggingface`, as a dry run first, and trigger this DAG again.

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
