"""
# Compare the two stores, and bring them in line

While news is written to PostgreSQL and to the HuggingFace dataset alike (mode `dual_write`), compares the two every
day, row by row, by a digest of every column, and fails if they differ beyond what is explained. On request it repairs.
In the other modes one store is behind by design, and every task is skipped; `resolve_mode` says why.

It runs at **05:00 in São Paulo**, two hours after the pipeline begins. Of the months whose file and rows have not
changed since they were found equal only the counts are looked at; the run for a Sunday reads all of them.

## Safety

* A comparison writes nothing to either store; what it finds goes into the run ledger and into `sync_log`.
* It can run beside the pipeline: rows of a write that is under way count as explained.
* A repair asked for here is a **dry run** unless you untick that: look at what it would do, then do it.
* No article is deleted unless you tick *Delete buried* or *Allow delete*. (`missed` makes up for deletions, and
  `from-postgres` takes held rows out whose reject was settled.) Too much at once is refused (*Allow shrink*).
* The mode is asked again before each piece that a repair writes: after a rollback it stops, red, and says so.
* `STORAGE_BACKEND=huggingface` in the environment beats the form: the run is then skipped.

## Parameters

| name | meaning |
|---|---|
| `repair` | `none`, `missed`, `from-postgres`, `from-huggingface`; see below (default: `none`) |
| `dry_run` | of a repair: say what would be done, write nothing (default: **on**) |
| `allow_delete` | with `from-…`: rows that the leading store does not have are deleted from the other one |
| `delete_buried` | with `from-postgres`: what PostgreSQL has deleted is deleted from the dataset, and nothing else |
| `allow_shrink` | delete even more than a tenth of a store (and than 100 rows), or all of it |
| `full` | read every month, also those that have not changed since they were found equal |
| `run_date` | the day that the record is for, `YYYY-MM-DD`; empty: by schedule the day before, by hand none |
| `storage_backend` | which mode to assume for this run; empty: as it is set |

A repair `missed` brings over, in both directions, what writes did not reach a store by the run ledger. `from-postgres`
and `from-huggingface` do that first; then every row that still differs follows the store named, and a row that only one
store has is inserted into the other.

Example: `{"repair": "missed", "dry_run": false}`

The same from a shell: `python -m data_platform reconcile --repair missed`

## What happens

`resolve_mode` finds the mode and looks at the form → `compare` counts by day and agency, compares the digests of every
month that may have changed, and looks at the cells of what differs; its log shows the first rows of both sides next to
each other → `repair`, skipped unless asked for, compares again afterwards → `verdict` is red if the stores differ
beyond what is explained, or if a missed write is still open after its repair.

Counts, days, columns and the sample are in the run ledger (`ledger/reconcile/…`), the gauges are
`govbr.reconcile.unexplained`, `different`, `only_in_postgres` and `only_in_huggingface`.

## After a failure

Read the log of `verdict`: it says how many rows differ, in which columns, on which days, and why as far as the ledger
knows. If a `write_…` task of `daily_pipeline` is red, clear that first: it is the simplest repair. Else trigger this
DAG with `{"repair": "missed"}`, and again with `"dry_run": false`. What differs then was not missed but changed: find
out which store is right, and let the other one follow.

## When not to use it

* Not in mode `postgres`: there `verify_huggingface` compares, and `sync_huggingface` brings in line.
* Not in mode `huggingface`: there the catch-up of `migrate_hf_to_postgres` does both.
* Not to load a store that is far behind: a repair writes in pieces of 2,000 rows, a commit each.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task

from govbr.reconcile import NO_REPAIR, choose_mode, compare_stores, judge_stores, repair_stores

#: A full comparison reads the whole dataset from the Hub: minutes, unless the Hub is slow.
_TASK_TIMEOUT = timedelta(hours=2)
_STATEMENT_TIMEOUT_S = int(_TASK_TIMEOUT.total_seconds()) - 60


@dag(
    schedule=CronTriggerTimetable("0 5 * * *", timezone="America/Sao_Paulo"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["reconciliation", "postgres", "huggingface"],
    default_args={
        "owner": "data-platform",
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=20),
        "execution_timeout": _TASK_TIMEOUT,
    },
    params={
        "repair": Param(
            NO_REPAIR,
            type="string",
            enum=[NO_REPAIR, "missed", "from-postgres", "from-huggingface"],
            title="Repair",
            description="none; missed: what the run ledger has open; from-…: that store leads, the other follows",
        ),
        "dry_run": Param(
            True,
            type="boolean",
            title="Dry run",
            description="Of a repair: say what would be done; write nothing. A comparison changes nothing anyway",
        ),
        "allow_delete": Param(
            False,
            type="boolean",
            title="Allow delete",
            description="With from-…: delete from the other store what the leading one does not have",
        ),
        "delete_buried": Param(
            False,
            type="boolean",
            title="Delete buried",
            description="With from-postgres: delete from the dataset what PostgreSQL has deleted, and nothing else",
        ),
        "allow_shrink": Param(
            False,
            type="boolean",
            title="Allow shrink",
            description="Delete even more than a tenth of a store (and than 100 rows), or all of it",
        ),
        "full": Param(
            False,
            type="boolean",
            title="Full",
            description="Read every month, also those that have not changed since they were found equal",
        ),
        "run_date": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Run date",
            description="The São Paulo day that the record is for; empty: by schedule the day before, by hand none",
        ),
        "storage_backend": Param(
            None,
            type=["null", "string"],
            enum=[None, "dual_write"],
            title="Storage backend",
            description="Which mode to assume for this run; empty: as it is set",
        ),
    },
)
def reconcile_backends() -> None:
    """Wire the steps; what they do is in data_platform.jobs.reconcile."""

    @task
    def resolve_mode() -> dict[str, str]:
        """Find which stores are written and read; skip the run unless both are written."""
        return choose_mode(get_current_context()["params"])

    @task
    def compare(mode: dict[str, str]) -> dict[str, Any]:
        """Compare both stores by a digest of every row; write down what was found."""
        return compare_stores(get_current_context(), mode, statement_timeout_s=_STATEMENT_TIMEOUT_S)

    @task
    def repair(mode: dict[str, str], _found: dict[str, Any]) -> dict[str, Any]:
        """Bring the stores in line as the form says; skipped if it does not."""
        return repair_stores(get_current_context(), mode, statement_timeout_s=_STATEMENT_TIMEOUT_S)

    @task(trigger_rule="none_failed_min_one_success")
    def verdict(found: dict[str, Any], repaired: dict[str, Any] | None) -> None:
        """Fail if the stores differ beyond what is explained, after the repair if there was one."""
        judge_stores(get_current_context(), found, repaired)

    mode = resolve_mode()
    found = compare(mode)
    verdict(found, repair(mode, found))


reconcile_backends()
