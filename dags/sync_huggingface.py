"""
# Sync PostgreSQL to the HuggingFace dataset

Brings the open dataset on the Hub up to PostgreSQL, once a day: the months with changes are written anew, in **one
commit**, proven by reading them back, and the reduced dataset follows. It acts only in mode `postgres`, where
PostgreSQL leads and the dataset is its copy; in the other modes every task is skipped, and `resolve_mode` says why.

It runs at **06:00 in São Paulo**: the pipeline begins at night, and is through when people come to work; the portal's
own indexing comes after it. Runs are about the São Paulo day before.

## Safety

* It acts when it is scheduled. A run by hand acts too, unless you tick *Dry run*: then it says what would be published,
  writes nothing anywhere, emits no asset event and raises no alert.
* It stops, and changes nothing, if somebody else changed data files since the last sync, or if published rows would go
  that nobody deleted in PostgreSQL. Look first; *Overwrite* goes on all the same, with what was there when it began.
* `STORAGE_BACKEND=huggingface` in the environment beats the form: the sync is then skipped. Every task looks at the
  mode again, in every try and before the commit: a run that waited or was cleared overwrites nothing after a rollback.
* Twice is safe: a second sync finds nothing to do. Two at once are safe too: the second is refused and tries again.
* Missing a day is safe: the next sync brings over everything since the last one that succeeded.

## Parameters

| name | meaning |
|---|---|
| `full` | write every month anew and account for every published row; not with `months` |
| `dry_run` | say what would be published; write nothing (default: off) |
| `months` | only these months, whole, one `YYYY-MM` a line; the position in the change feed stays |
| `overwrite` | go on though others changed data files, or rows would go that nobody deleted |
| `run_date` | the day whose write to wait for, `YYYY-MM-DD`; empty: by schedule the day before, by hand none |
| `storage_backend` | which mode to assume for this run; empty: as it is set |

Example: `{"months": ["2026-10"], "dry_run": true}`

The same from a shell: `python -m data_platform sync-hf --incremental --assume-mode postgres`

## What happens

`resolve_mode` finds the mode and looks at the form → `wait_for_write` waits until the run ledger has the pipeline's
write to PostgreSQL for the run date → `sync` → `check_lag` → `verdict`, which is green only if both of these are.

`wait_for_write` is *deferred* (violet) while it waits and holds no worker slot. Its log says what it looks for and
until when, at most four hours after the run began. It never fails: if the pipeline failed, or nothing was recorded in
time, or the ledger cannot be read, it says so and the sync publishes what PostgreSQL has. A run by hand without a date
does not wait, a run of a backfill looks once. To go on at once, mark `wait_for_write` as success: runs come one at a
time, so a run by hand is queued while another one waits. When the DAG is unpaused, the newest 06:00 that passed is made
up for at once.

`check_lag` also runs when `sync` failed. It sets the gauges `govbr.hf_sync.lag_seconds`, `lag_rows` and
`lag_tombstones`, and **fails if a change has waited for more than 24 hours**: that is the alert.

`sync` updates the asset `huggingface_news`, with the counts and the commit in the event's extra.

## After a failure

Read the log of `sync`; its last line says what to do. Tasks are tried again by themselves if their error may pass.
When the cause is mended, clear `sync`, or wait for tomorrow's run. Nothing has to be repeated for the days between.

## When not to use it

* Not to bring rows *into* PostgreSQL: that is `migrate_hf_to_postgres`.
* Not as a backfill to publish old days: one sync publishes everything that waits. A backfill works, and each of its
  runs after the first finds little to do.
* Not to find out whether the two are equal: that is `verify_huggingface`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task

from govbr.assets import HUGGINGFACE_NEWS_PUBLISHED
from govbr.hf_sync import check_lag, choose_mode, run_sync
from govbr.sensors.run_ledger_sensor import RunLedgerSensor

_SCHEDULE = CronTriggerTimetable("0 6 * * *", timezone="America/Sao_Paulo")
#: A full sync of 310,000 rows takes minutes; the rest is for a Hub that is slow or answers only now and then.
_TASK_TIMEOUT = timedelta(hours=2)
_STATEMENT_TIMEOUT_S = int(_TASK_TIMEOUT.total_seconds()) - 60
_LOOK_EVERY = timedelta(minutes=5)
#: At 10:00 people are at work; what comes later is tomorrow's.
_WAIT_AT_MOST = timedelta(hours=4)


@dag(
    schedule=_SCHEDULE,
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
        "full": Param(
            False,
            type="boolean",
            title="Full",
            description="Write every month anew and account for every published row; not with months",
        ),
        "dry_run": Param(
            False, type="boolean", title="Dry run", description="Say what would be published; write nothing anywhere"
        ),
        "months": Param(
            [],
            type="array",
            items={"type": "string", "pattern": "^[0-9]{4}-(0[1-9]|1[0-2])$"},
            title="Months",
            description="Only these months, whole, one YYYY-MM a line; none: every month with changes",
        ),
        "overwrite": Param(
            False,
            type="boolean",
            title="Overwrite",
            description="Go on though others changed data files, or rows would go that nobody deleted in PostgreSQL",
        ),
        "run_date": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Run date",
            description="The São Paulo day whose write to wait for; empty: by schedule the day before, by hand none",
        ),
        "storage_backend": Param(
            None,
            type=["null", "string"],
            enum=[None, "postgres"],
            title="Storage backend",
            description="Which mode to assume for this run; empty: as it is set",
        ),
    },
)
def sync_huggingface() -> None:
    """Wire the steps; what they do is in data_platform.jobs.hf_sync."""

    @task
    def resolve_mode() -> dict[str, str]:
        """Find which stores are written and read; skip the run unless PostgreSQL leads."""
        return choose_mode(get_current_context()["params"])

    wait_for_write = RunLedgerSensor(
        task_id="wait_for_write",
        doc_md="Wait, deferred, for the recorded write to PostgreSQL of the run date; go on in every case and say why.",
        # The end of a whole run of daily_pipeline: one that failed before it wrote anything is known at once, too.
        kind="day",
        side="postgres",
        poke_interval=_LOOK_EVERY,
        timeout=_WAIT_AT_MOST,
        # Airflow's own default is False. Where there is no triggerer it is rescheduled instead.
        deferrable=True,
    )

    @task(outlets=[HUGGINGFACE_NEWS_PUBLISHED])
    def sync(mode: dict[str, str], waited: dict[str, Any] | None) -> dict[str, Any]:
        """Publish what changed, in one commit; prove it; tell the asset."""
        return run_sync(get_current_context(), mode, waited, statement_timeout_s=_STATEMENT_TIMEOUT_S)

    # Runs when sync failed, is skipped when the mode was, and has nothing to say when no mode was found.
    @task(task_id="check_lag", trigger_rule="all_done_min_one_success")
    def lag(mode: dict[str, str]) -> dict[str, Any]:
        """Measure how far the dataset is behind; fail if a change has waited for more than 24 hours."""
        return check_lag(get_current_context(), mode, statement_timeout_s=_STATEMENT_TIMEOUT_S)

    verdict = EmptyOperator(
        task_id="verdict",
        doc_md="Green only if sync and check_lag are: a failed sync whose lag is small must not end a green run.",
    )

    mode = resolve_mode()
    synced = sync(mode, wait_for_write.output)
    mode >> wait_for_write
    synced >> lag(mode) >> verdict
    synced >> verdict


sync_huggingface()
