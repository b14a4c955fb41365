"""
# Collect a day's news

Every day: visits some 160 gov.br sites and two sites of EBC, identifies each article, has it classified and summarised,
and writes it to the store or stores that the storage mode names: the HuggingFace dataset, PostgreSQL, or both.

It runs at **03:00 in São Paulo**, for the day before. A run reads again the two days before that day, and 30 days on
Sundays, so that what was published late or corrected is met.

## Safety

* It acts when it is scheduled and when it is started by hand: it writes to the stores of the mode.
* Twice is safe: an article that is there keeps its id, and one that is the same is not written. So are retries,
  clearing any task, and a backfill.
* `STORAGE_BACKEND=huggingface` in the environment beats the form: nothing of PostgreSQL is then needed or touched.
* The sites are asked politely: all scraping tasks together, in the pool `govbr_web`, keep within `SCRAPER_CONNECTIONS`
  and `SCRAPER_REQUESTS_PER_SECOND` for each host. Do not give the pool more slots.
* Nothing is quiet: each site has an outcome, each row is in an account, each store's outcome is in the run ledger.

## Parameters

| name | meaning |
|---|---|
| `run_date` | the day that the run is for, `YYYY-MM-DD`; empty: by schedule the day before, by hand yesterday |
| `first` | first day that is collected; empty: two days before the run date, on Sundays 30 |
| `last` | last day that is collected; empty: the run date |
| `sites` | only these sites, one key of `site_urls.yaml` a line, inactive ones too; none: every active one |
| `skip_enrichment` | ask nobody for themes and summaries; a later day does it (default: off) |
| `storage_backend` | which stores are written in this run; empty: as it is set |
| `storage_read_from` | which store says what is there already; empty: as it is set |
| `min_coverage` | share of the sites that must be read, 0 to 1; below, the run fails, after writing what there is |

Example: `{"run_date": "2026-11-20", "sites": ["mec", "saude"], "skip_enrichment": true}`

The same from a shell: `python -m data_platform daily --date 2026-11-20 --assume-mode dual_write`

## What happens

`plan` finds day, window, sites and mode, once for the run → `groups` deals the sites out → `scrape`, eight groups, four
at a time, each named after its sites → `gather` identifies every article, once for both stores, and writes down what
was found at each site → `submit` hands over what lacks a theme or a summary → `wait_for_enrichment` waits, *deferred*
(violet) and without a worker slot, for 20 minutes at most → `enriched` stages what is to be written → `choose_sides` →
`write_postgres` and/or `write_huggingface`, each of which updates its asset, `postgres_news` or `huggingface_news`,
with the run date and the counts → `record`.

`record` runs whatever happened. It writes the outcome of each store into the run ledger, then fails if a store of the
mode was not written or too few sites were read. Look at its log first: it has the whole day in ten lines.

`alerts` fails if something needs a person while the news itself is written: a site that failed three runs in a row, one
that is silent beyond its own rhythm or moved its articles, an enricher that did not work or gave nothing, many rejects,
an agency that nobody listed. The run is then red, and `record` green.

| red | and the others? |
|---|---|
| one or more of `scrape` | their sites count as not read; everything else goes on |
| `submit`, `wait_for_enrichment` | the articles are written, with the themes that were ready; `alerts` is red |
| one `write_…` | the other store has the day; `record` is red |
| `gather`, `enriched` | nothing was written; what was collected lies staged; `record` is red |
| `alerts` alone | the day is complete |

## After a failure

Tasks are tried again by themselves if their error may pass. When the cause is mended, clear the red task with what
comes after it (*Downstream*): it goes on from what is staged. What one store missed while the other has it is also
brought over by `reconcile_backends`. More: docs/daily.md.

## When not to use it

* Not to load the history: that is `migrate_hf_to_postgres`.
* Not for many days at once with a wide `first`: make a backfill, one run a day, with `--max-active-runs 1`. Sites show
  only what they still list.
* Not to enrich rows of long ago: a run looks 14 days back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task

from govbr.assets import HUGGINGFACE_NEWS, POSTGRES_NEWS
from govbr.daily import (
    choose_sides,
    enrich_rows,
    gather_groups,
    name_groups,
    plan_run,
    raise_alerts,
    record_run,
    scrape_group,
    submit_rows,
    write_side,
)
from govbr.sensors.enrichment_sensor import EnrichmentSensor

_SCHEDULE = CronTriggerTimetable("0 3 * * *", timezone="America/Sao_Paulo")
#: A group of twenty sites takes minutes; on a Sunday, with 30 days of each, half an hour.
_TASK_TIMEOUT = timedelta(hours=1)
_STATEMENT_TIMEOUT_S = int(_TASK_TIMEOUT.total_seconds()) - 60
_LOOK_EVERY = timedelta(minutes=1)

_DAY = {"type": ["null", "string"], "format": "date"}


@dag(
    schedule=_SCHEDULE,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    # Whoever wants it unpauses it: a local stack must not set out for the real sites by itself.
    is_paused_upon_creation=True,
    doc_md=__doc__,
    tags=["pipeline", "postgres", "huggingface"],
    default_args={
        "owner": "data-platform",
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": _TASK_TIMEOUT,
    },
    params={
        "run_date": Param(
            None,
            **_DAY,
            title="Run date",
            description="The São Paulo day that the run is for; empty: by schedule the day before, by hand yesterday",
        ),
        "first": Param(None, **_DAY, title="First day", description="First day that is collected; empty: as every day"),
        "last": Param(None, **_DAY, title="Last day", description="Last day that is collected; empty: the run date"),
        "sites": Param(
            [],
            type="array",
            items={"type": "string", "minLength": 1},
            title="Sites",
            description="Only these sites, one key of site_urls.yaml a line; none: every active one",
        ),
        "skip_enrichment": Param(
            False,
            type="boolean",
            title="Skip enrichment",
            description="Ask nobody for themes and summaries; a later day does it",
        ),
        "storage_backend": Param(
            None,
            type=["null", "string"],
            enum=[None, "huggingface", "dual_write", "postgres"],
            title="Storage backend",
            description="Which stores are written in this run; empty: as it is set",
        ),
        "storage_read_from": Param(
            None,
            type=["null", "string"],
            enum=[None, "huggingface", "postgres"],
            title="Read from",
            description="Which store says what is there already; empty: as it is set",
        ),
        "min_coverage": Param(
            0.8,
            type="number",
            minimum=0,
            maximum=1,
            title="Least coverage",
            description="Share of the sites that must be read; below, the run fails after writing what there is",
        ),
    },
)
def daily_pipeline() -> None:  # noqa: C901 - a step after the other
    """Wire the steps; what they do is in data_platform.jobs.daily."""

    @task(task_id="plan")
    def make_plan() -> dict[str, Any]:
        """Find day, window, sites and mode, once for the run."""
        return plan_run(get_current_context())

    @task
    def groups(plan: dict[str, Any]) -> list[dict[str, Any]]:
        """Name the groups of sites."""
        return name_groups(plan)

    @task(pool="govbr_web", map_index_template="{{ group_name }}", retries=1)
    def scrape(plan: dict[str, Any], group: dict[str, Any]) -> dict[str, Any]:
        """Collect the sites of one group and stage their articles."""
        context = get_current_context()
        context["group_name"] = group["name"]  # type: ignore[typeddict-unknown-key]  # read by map_index_template
        return scrape_group(context, plan, group)

    # Goes on with what came back, and says of the rest that it was not read; not if there is no plan.
    @task(trigger_rule="all_done_min_one_success")
    def gather(plan: dict[str, Any], collected: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Identify every article, once for both stores; write down what was found at each site."""
        return gather_groups(get_current_context(), plan, collected, timeout_s=_STATEMENT_TIMEOUT_S)

    @task
    def submit(plan: dict[str, Any], gathered: dict[str, Any]) -> dict[str, Any]:
        """Hand over what lacks a theme or a summary; skipped if the form says so."""
        return submit_rows(get_current_context(), plan, gathered, timeout_s=_STATEMENT_TIMEOUT_S)

    # Whatever became of the enrichment: the day's articles are written.
    @task(trigger_rule="all_done")
    def enriched(
        plan: dict[str, Any],
        gathered: dict[str, Any] | None,
        submitted: dict[str, Any] | None,
        waited: dict[str, Any] | None,
    ) -> dict[str, Any]:
        """Stage what is to be written, with the themes and summaries that there are."""
        states = {"wait_for_enrichment": waited, "submit": submitted}
        return enrich_rows(get_current_context(), plan, gathered, states, timeout_s=_STATEMENT_TIMEOUT_S)

    @task.branch(task_id="choose_sides")
    def choose(plan: dict[str, Any], _day: dict[str, Any]) -> list[str]:
        """Go on with the store or stores that the mode names."""
        return choose_sides(plan)

    @task(outlets=[POSTGRES_NEWS])
    def write_postgres(plan: dict[str, Any], day: dict[str, Any]) -> dict[str, Any]:
        """Write the day into PostgreSQL and tell its asset."""
        return write_side(
            get_current_context(), plan, day, "postgres", asset=POSTGRES_NEWS, timeout_s=_STATEMENT_TIMEOUT_S
        )

    @task(outlets=[HUGGINGFACE_NEWS])
    def write_huggingface(plan: dict[str, Any], day: dict[str, Any]) -> dict[str, Any]:
        """Write the day into the dataset on the Hub and tell its asset."""
        return write_side(
            get_current_context(), plan, day, "huggingface", asset=HUGGINGFACE_NEWS, timeout_s=_STATEMENT_TIMEOUT_S
        )

    @task(trigger_rule="all_done")
    def record(
        plan: dict[str, Any] | None,
        gathered: dict[str, Any] | None,
        day: dict[str, Any] | None,
        postgres: dict[str, Any] | None,
        huggingface: dict[str, Any] | None,
    ) -> dict[str, Any]:
        """Write the outcome of each store into the run ledger; then fail if the day did not end well."""
        handed_over = {
            "gather": gathered,
            "enriched": day,
            "write_postgres": postgres,
            "write_huggingface": huggingface,
        }
        return record_run(get_current_context(), plan, handed_over, timeout_s=_STATEMENT_TIMEOUT_S)

    # A leaf of its own: it makes the run red without making the day look as if it were missing.
    @task(trigger_rule="all_done")
    def alerts(
        gathered: dict[str, Any] | None,
        day: dict[str, Any] | None,
        postgres: dict[str, Any] | None,
        huggingface: dict[str, Any] | None,
    ) -> None:
        """Fail if a site, the enricher or the rows of the day need a person while the news is written."""
        written = {"postgres": postgres, "huggingface": huggingface}
        raise_alerts(get_current_context(), gathered, day, written)

    plan = make_plan()
    gathered = gather(plan, scrape.partial(plan=plan).expand(group=groups(plan)))
    submitted = submit(plan, gathered)
    waited = EnrichmentSensor(
        task_id="wait_for_enrichment",
        doc_md="Wait, deferred, for themes and summaries until the deadline; being late is no failure.",
        plan=plan,
        submitted=submitted,
        poke_interval=_LOOK_EVERY,
        # Airflow's own default is False. Where there is no triggerer it is rescheduled instead.
        deferrable=True,
        statement_timeout_s=_STATEMENT_TIMEOUT_S,
    )
    day = enriched(plan, gathered, submitted, waited.output)
    postgres, huggingface = write_postgres(plan, day), write_huggingface(plan, day)
    choose(plan, day) >> [postgres, huggingface]
    record(plan, gathered, day, postgres, huggingface)
    alerts(gathered, day, postgres, huggingface)


daily_pipeline()
