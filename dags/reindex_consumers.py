"""
# Bring the search indexes up to PostgreSQL

Keeps what searches see, in Typesense (the portal's search, the MCP server) and in Qdrant (semantic search), in line
with the news in PostgreSQL: what is new, what was corrected, themes that came late, deletions. The same DAG fills an
index anew without taking search down, and goes back to the index before.

It begins at **03:15 in São Paulo**, a quarter of an hour after the daily pipeline, waits for the pipeline's write, and
follows within minutes of it. Runs are about the São Paulo day before. Each index that is configured is kept by a task
of its own; one that fails does not keep the other one from running.

## Safety

* It acts when it is scheduled: it follows the changes. A run by hand that follows the changes acts too; one that fills
  an index anew or goes back to the one before only looks, and says what it would do, **unless *Dry run* is `no`**.
* Searches go through an alias and never see an index that is being filled: a new collection is filled, compared with
  its source, and only then shown. The one before is kept, for *rollback*.
* It stops, and searches go on as they did, if the new collection is not what its source is, if a tenth of the documents
  would be gone (*Allow shrink*), or if more documents are refused than *Most refused*. Each refused document is named
  and tried again by the next run.
* Twice is safe, and killed anywhere is safe: the next run goes on where this one was. Two runs of one index exclude
  each other.
* An index outside this machine is written only if its address and its key were both set.
* The tasks run in the pool `govbr_search`. Without that pool (`dev/airflow/pools.json`) they wait for ever as
  *scheduled*.

## Parameters

| name | meaning |
|---|---|
| `reader` | `all` that are configured, or only `typesense`, or only `qdrant` |
| `kind` | `incremental`: follow the changes; `full`: fill a new collection, show it; `rollback`: show the one before |
| `source` | of a full run, where the rows come from: `postgres`, or `huggingface`, which needs no PostgreSQL |
| `dry_run` | `auto`: incremental runs act, full and rollback only look; `yes`: only look; `no`: act |
| `afresh` | of a full run: start over instead of going on with a collection that an earlier run did not finish |
| `replace_collection` | of a full run, once: drop the collection that has the alias's own name, see below |
| `allow_shrink` | go on though more than a tenth of what searches see now would be gone |
| `max_failed` | how many documents may be refused without failing the run, 0 to 1000 |
| `run_date` | the day whose write to wait for, `YYYY-MM-DD`; empty: by schedule the day before, by hand none |
| `storage_backend` | which mode to assume for this run; empty: as it is set |

Example: `{"reader": "typesense", "kind": "full", "dry_run": "no"}`

The same from a shell: `python -m data_platform reindex typesense --full`

## What happens

`resolve` finds the mode and the indexes and looks at the form; an index that is not configured is left out, and its log
says what to set; if there is none, everything is skipped → `wait_for_write` waits until the run ledger has the
pipeline's write to PostgreSQL for the run date → `reindex`, one task for each index, named after it → `lags` →
`verdict`, which is green only if all of these are.

`wait_for_write` is *deferred* (violet) while it waits, looks every minute, holds no worker slot and never fails: after
four hours, or if the pipeline failed, it says so and the indexes are brought up to what there is. A run by hand without
a date does not wait, a run of a backfill looks once. To go on at once, mark it as success.

`lags` also runs when a `reindex` failed. Its log says for each index which collection searches see, how many documents
it has, its position in the change feed and what waits for it; it sets the gauges `govbr.reindex.<reader>.lag_seconds`,
`lag_rows` and `lag_tombstones`, and **fails if a change has waited for more than 24 hours**: that is the alert. An
index that was filled from the dataset follows nothing: it is late if it is a day old and the dataset has gone on.

Each `reindex` that was no dry run updates the asset of its index, `typesense_news` or `qdrant_news`, with the counts
and the collection in the event's extra. A schema that is not what it should be is an error in its log, and stands in
that extra (`drift`) and in the gauge `govbr.reindex.<reader>.drift`; a full run mends it.

**Mode `huggingface`:** nobody writes PostgreSQL then, so `wait_for_write` is skipped. The indexes are brought up to
what PostgreSQL has, and the log of `reindex` says how old that is. An index that was filled from the dataset is
skipped, and so is each where no database is set; `lags` says in every mode where they stand.

## The first time

An index that does not exist yet is filled with `{"reader": "typesense", "kind": "full", "dry_run": "no"}`. Until then
the scheduled runs fail and say so.

Where searches use a *collection* called `news`, as before this package, it is followed as it is. To have it filled anew
without an interruption later on, it has to make room for an alias of that name, once:
`{"reader": "typesense", "kind": "full", "replace_collection": true, "dry_run": "no"}`. The new collection is filled and
compared first; then the old one is dropped and the alias made. **Between these two, searches fail**: for a moment,
which the end of the log of `reindex` states in seconds. The old collection is not kept: the way back is to fill it
again. Do it when few people search.

## Back

* *To the collection before*: `{"reader": "typesense", "kind": "rollback", "dry_run": "no"}`. Searches see it at once,
  and then it is brought up to now, for which alone PostgreSQL is needed. Tried again, or cleared, the same run does not
  go back a second time.
* *Off PostgreSQL*: `{"reader": "typesense", "kind": "full", "source": "huggingface", "dry_run": "no"}` fills a new
  collection from the published dataset; nothing of PostgreSQL is needed. Such a collection follows nothing: fill it
  again, in the same way, to renew it, or from `postgres` to have it follow again.

## After a failure

Read the log of the red `reindex`; its last line says what to do. Tasks are tried again by themselves if their error may
pass. When the cause is mended, clear it, or wait for tomorrow's run: nothing has to be repeated for the days between. A
full run that failed goes on where it was when it is started again, for as long as the source is the same. One that has
moved searches does not move them again when it is cleared: to rebuild once more, trigger a new run.

## When not to use it

* Not to get a theme or a text into search that is not in PostgreSQL: an index is a copy, and what is written into it by
  hand goes with the next change or the next full run.
* Not as a nightly full run: following the changes brings deletions and late themes too. A full run is for a new
  schema, another model of embeddings, or an index in doubt.
* Not as a backfill to index old days: one run brings everything that waits. A backfill works, and each of its runs
  after the first finds little to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task

from govbr.assets import NEWS_INDEXED
from govbr.reindex import reindex_reader
from govbr.reindex_lags import measure_lags
from govbr.reindex_plan import plan_run, skip_vain_wait
from govbr.sensors.run_ledger_sensor import RunLedgerSensor

_SCHEDULE = CronTriggerTimetable("15 3 * * *", timezone="America/Sao_Paulo")
#: Filling an index anew takes minutes, and hours where a service embeds; what is not through goes on at the next try.
_TASK_TIMEOUT = timedelta(hours=4)
_STATEMENT_TIMEOUT_S = int(_TASK_TIMEOUT.total_seconds()) - 60
#: The pipeline ends at any minute, and searches are to follow within a few.
_LOOK_EVERY = timedelta(minutes=1)
_WAIT_AT_MOST = timedelta(hours=4)

#: What the first task found for the run, for the sensor's fields.
_AWAITED = "{{ ti.xcom_pull(task_ids='resolve')[0]['await_%s'] }}"


@dag(
    schedule=_SCHEDULE,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["readers", "postgres", "typesense", "qdrant"],
    default_args={
        "owner": "data-platform",
        "retries": 4,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=20),
        "execution_timeout": _TASK_TIMEOUT,
    },
    params={
        "reader": Param(
            "all",
            type="string",
            enum=["all", "typesense", "qdrant"],
            title="Index",
            description="Which index is kept; all: every one that is configured",
        ),
        "kind": Param(
            "incremental",
            type="string",
            enum=["incremental", "full", "rollback"],
            title="Kind",
            description="Follow the changes; fill a new collection and show it; or show the collection before",
        ),
        "source": Param(
            "postgres",
            type="string",
            enum=["postgres", "huggingface"],
            title="Source",
            description="Of a full run: where the rows come from; huggingface needs no PostgreSQL",
        ),
        "dry_run": Param(
            "auto",
            type="string",
            enum=["auto", "yes", "no"],
            title="Dry run",
            description="Only look, and say what would be done; auto: incremental runs act, full and rollback look",
        ),
        "afresh": Param(
            False,
            type="boolean",
            title="Afresh",
            description="Of a full run: start over instead of going on with an unfinished collection",
        ),
        "replace_collection": Param(
            False,
            type="boolean",
            title="Replace the collection",
            description="Of a full run, once: drop the collection of the alias's own name; searches fail meanwhile",
        ),
        "allow_shrink": Param(
            False,
            type="boolean",
            title="Allow shrink",
            description="Go on though more than a tenth of what searches see now would be gone",
        ),
        "max_failed": Param(
            0,
            type="integer",
            minimum=0,
            maximum=1000,
            title="Most refused",
            description="How many documents may be refused without failing the run",
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
            enum=[None, "huggingface", "dual_write", "postgres"],
            title="Storage backend",
            description="Which mode to assume for this run; empty: as it is set",
        ),
    },
)
def reindex_consumers() -> None:
    """Wire the steps; what they do is in data_platform.jobs.indexing."""

    @task
    def resolve() -> list[dict[str, Any]]:
        """Find the mode and the indexes; skip the run if there is nothing to keep."""
        return plan_run(get_current_context())

    wait_for_write = RunLedgerSensor(
        task_id="wait_for_write",
        doc_md="Wait, deferred, for the recorded write of what is read, for the run date; go on in every case. Skipped"
        " where nobody writes it.",
        # The end of a whole run of daily_pipeline; in mode postgres, for rows of the dataset, that of the sync.
        kind=_AWAITED % "kind",
        side=_AWAITED % "side",
        poke_interval=_LOOK_EVERY,
        timeout=_WAIT_AT_MOST,
        # Airflow's own default is False. Where there is no triggerer it is rescheduled instead.
        deferrable=True,
        pre_execute=skip_vain_wait,
    )

    # Goes on where nothing was waited for, and not where the run is skipped.
    @task(
        outlets=[NEWS_INDEXED],
        pool="govbr_search",
        map_index_template="{{ reader_name }}",
        trigger_rule="none_failed_min_one_success",
    )
    def reindex(plan: dict[str, Any], waited: dict[str, Any] | None) -> dict[str, Any]:
        """Bring one index up to its source; tell its asset."""
        context = get_current_context()
        context["reader_name"] = plan["reader"]  # type: ignore[typeddict-unknown-key]  # read by map_index_template
        return reindex_reader(context, plan, waited, statement_timeout_s=_STATEMENT_TIMEOUT_S)

    # Also when indexes failed, or were skipped for following nothing.
    @task(task_id="lags", trigger_rule="all_done")
    def lag(plans: Sequence[dict[str, Any]] | None) -> dict[str, Any]:
        """Say where each index stands; fail if a change has waited for more than 24 hours. Skipped without a plan."""
        return measure_lags(plans or (), statement_timeout_s=_STATEMENT_TIMEOUT_S)

    verdict = EmptyOperator(
        task_id="verdict",
        doc_md="Green only if every index and lags are: a failed index whose lag is small must not end a green run.",
        trigger_rule="none_failed_min_one_success",
    )

    plans = resolve()
    indexed = reindex.partial(waited=wait_for_write.output).expand(plan=plans)
    plans >> wait_for_write
    indexed >> lag(plans) >> verdict
    indexed >> verdict


reindex_consumers()
