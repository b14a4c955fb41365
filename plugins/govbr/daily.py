"""The daily pipeline as Airflow tasks call it.

Each function opens nothing while a DAG is parsed; what it returns is small and fit for XCom, the rows lie staged. What
an earlier try of a task handed over can still be there when a later one failed or was not reached: whoever may run
without a task before it asks Airflow for that task's state, and does not go by what lies there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from govbr.run_date import run_date_of_task
from govbr.runtime import airflow_errors, mode_settings

if TYPE_CHECKING:
    from airflow.sdk import Asset

    from data_platform.jobs.daily.day_record import DayRecord
    from data_platform.jobs.daily.pipeline import DailyPipeline
    from data_platform.jobs.daily.plan import DayPlan

__all__ = [
    "SCRAPE_SLOTS",
    "choose_sides",
    "enrich_rows",
    "gather_groups",
    "name_groups",
    "pipeline_of",
    "plan_run",
    "raise_alerts",
    "record_run",
    "scrape_group",
    "submit_rows",
    "write_side",
]

_LOG = logging.getLogger(__name__)
#: Scraping tasks that run at once: the slots of the pool govbr_web. What may be asked of a host is shared by so many.
SCRAPE_SLOTS = 4
#: Parts that the sites are divided into; more than slots, so that one slow part holds up little.
_GROUPS = 8
_NAMED = 3
_SUCCEEDED = "success"


def plan_run(context: Mapping[str, Any]) -> dict[str, Any]:
    """Say what this run does: its day, its window, its sites, its stores; look at the form before anything is asked.

    Returns:
        `DayPlan.to_dict`.

    Raises:
        AirflowFailException: a setting or the form cannot be used; says which.
    """
    from data_platform.jobs.daily.plan import DayOptions, plan_day
    from govbr.hooks.storage_hook import StorageHook

    params = context["params"]
    with airflow_errors():
        run_date = run_date_of_task(context) or _yesterday(context)
        mode = StorageHook(run_parameters=params).get_mode()
        settings = mode_settings(mode)
        options = DayOptions(
            first=params.get("first") or "",
            last=params.get("last") or "",
            sites=tuple(params.get("sites") or ()),
            skip_enrichment=bool(params.get("skip_enrichment")),
            min_coverage=float(params["min_coverage"]),
            # Never more at once than there are connections to share.
            groups=min(_GROUPS, settings.scraper_connections) or 1,
        )
        plan = plan_day(run_date, mode, options, sites_source=settings.sites_source)
    _LOG.info("%s: %s to %s, %d sites, %s", run_date, plan.first, plan.last, plan.sites, mode.pair)
    return plan.to_dict()


def name_groups(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return number and name of each group of sites: what the task that collects is mapped over."""
    groups = plan["groups"]
    return [{"number": number, "name": _name_of(number, groups)} for number in range(len(groups))]


def scrape_group(context: Mapping[str, Any], plan: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the sites of one group; a site that cannot be read fails by itself, not the task."""
    with airflow_errors():
        pipeline = pipeline_of(plan, context)
        # By the slots of the pool, not by the groups of this run: other runs, of a backfill, may have the other slots.
        at_once = min(SCRAPE_SLOTS, pipeline.settings.scraper_connections)
        return pipeline.scrape(int(group["number"]), processes=max(at_once, 1))


def gather_groups(
    context: Mapping[str, Any], plan: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], *, timeout_s: int
) -> dict[str, Any]:
    """Put together what came back; the sites of a group that did not come back count as not read.

    Raises:
        AirflowFailException: no group came back, so nothing is known of any site.
    """
    from airflow.sdk.observability import stats

    with airflow_errors():
        pipeline = pipeline_of(plan, context, statement_timeout_s=timeout_s)
        gathered = pipeline.gather(list(groups), last_try=_is_last_try(context))
    sites = gathered["sites"]
    stats.gauge("govbr.daily.sites_read", sites["read"])
    stats.gauge("govbr.daily.sites_failed", len(sites["failed"]))
    stats.gauge("govbr.daily.articles", sites["articles"])
    return gathered


def submit_rows(
    context: Mapping[str, Any], plan: Mapping[str, Any], gathered: Mapping[str, Any], *, timeout_s: int
) -> dict[str, Any]:
    """Hand over what lacks a theme or a summary.

    Returns:
        Where that stands (`EnrichmentState.kept`), and when it was.

    Raises:
        AirflowSkipException: the form says that nothing is enriched.
        AirflowFailException: the enricher cannot be used as it is set.
    """
    from airflow.sdk import timezone
    from airflow.sdk.exceptions import AirflowSkipException

    if plan["options"]["skip_enrichment"]:
        raise AirflowSkipException("the form says that nothing is enriched; a later day does it")
    with airflow_errors():
        state = pipeline_of(plan, context, statement_timeout_s=timeout_s).submit(gathered)
    return state | {"submitted_at": timezone.utcnow().isoformat()}


def enrich_rows(
    context: Mapping[str, Any],
    plan: Mapping[str, Any],
    gathered: Mapping[str, Any] | None,
    states: Mapping[str, Mapping[str, Any] | None],
    *,
    timeout_s: int,
) -> dict[str, Any]:
    """Stage what is to be written. If enriching failed, the day's articles are written as they are.

    Args:
        context: of the task.
        plan: of the day.
        gathered: of `gather_groups`.
        states: the tasks that enrich, the last one first -> what they handed over.
        timeout_s: bound on one SQL statement.

    Raises:
        AirflowFailException: nothing was gathered.
    """
    from airflow.sdk.exceptions import AirflowFailException

    from data_platform.errors import DataPlatformError

    ended = _states(context, ["gather", *states])
    if gathered is None or ended.get("gather") != _SUCCEEDED:
        raise AirflowFailException("nothing was gathered, so there is nothing to write; see the log of gather")
    failed = [task for task in states if ended.get(task) == "failed"]
    state = next((state for task, state in states.items() if state and ended.get(task) == _SUCCEEDED), None)
    with airflow_errors():
        pipeline = pipeline_of(plan, context, statement_timeout_s=timeout_s)
        if state is None:
            skipped = pipeline.plan.options.skip_enrichment
            return pipeline.unenriched(gathered, problem="" if skipped else f"{_listed(failed)} failed; see its log")
        try:
            enriched = pipeline.enriched(gathered, state)
        except DataPlatformError as error:
            if error.retryable and not _is_last_try(context):
                raise
            _LOG.exception("what the enricher said cannot be used")
            return pipeline.unenriched(gathered, problem=str(error))
    if failed:
        _LOG.error("%s failed: only what was ready before is used", _listed(failed))
        enriched["problem"] = f"{_listed(failed)} failed; what was ready before is used"
    return enriched


def choose_sides(plan: Mapping[str, Any]) -> list[str]:
    """Return the ids of the tasks that write the stores of the mode."""
    from data_platform.jobs.daily.plan import DayPlan

    mode = DayPlan.from_dict(plan).mode
    _LOG.info("storage: %s", mode)
    return [f"write_{side}" for side in mode.sides]


def write_side(
    context: Mapping[str, Any],
    plan: Mapping[str, Any],
    enriched: Mapping[str, Any],
    side: str,
    *,
    asset: Asset,
    timeout_s: int,
) -> dict[str, Any]:
    """Write the day into one store; tell its asset the run date and the counts.

    Raises:
        AirflowException: the store's own error, after it was recorded; tried again if it may pass.
    """
    from data_platform.managers.storage_mode import ReadSource

    with airflow_errors():
        written = pipeline_of(plan, context, statement_timeout_s=timeout_s).write(ReadSource(side), enriched)
    counts = {f"{what}_{name}": count for what, its in written["counts"].items() for name, count in its.items()}
    context["outlet_events"][asset].extra = {"run_date": plan["run_date"], "side": side, **counts}
    return written


def record_run(
    context: Mapping[str, Any],
    plan: Mapping[str, Any] | None,
    handed_over: Mapping[str, Mapping[str, Any] | None],
    *,
    timeout_s: int,
) -> dict[str, Any]:
    """Write down how the run ended, whatever happened before; then fail if it did not end well.

    Args:
        context: of the task.
        plan: of the day; None if there is none.
        handed_over: gather, enriched, write_postgres, write_huggingface -> what that task handed over.
        timeout_s: bound on one SQL statement.

    Raises:
        AirflowFailException: a store of the mode was not written, or too few sites were read; that is in the ledger.
    """
    from airflow.sdk.exceptions import AirflowFailException

    ended = _states(context, ["plan", *handed_over])
    if plan is None or ended.get("plan") != _SUCCEEDED:
        raise AirflowFailException("there is no plan, so nothing was begun; see the log of plan")
    found = {task: what for task, what in handed_over.items() if what is not None and ended.get(task) == _SUCCEEDED}
    with airflow_errors():
        pipeline = pipeline_of(plan, context, statement_timeout_s=timeout_s)
        return pipeline.record(_day(context, pipeline, found, ended))


def raise_alerts(
    context: Mapping[str, Any],
    gathered: Mapping[str, Any] | None,
    enriched: Mapping[str, Any] | None,
    written: Mapping[str, Mapping[str, Any] | None],
) -> None:
    """Fail if something needs a person though the news is written; the run is red then, the data is not.

    A run of a backfill only says so: what is wrong with a site is today's run's to tell.

    Args:
        context: of the task.
        gathered: of `gather_groups`.
        enriched: of `enrich_rows`.
        written: store -> of `write_side`.

    Raises:
        AirflowFailException: the alert; says which sites, and what of the enricher and of the rows.
        AirflowSkipException: nothing was gathered; the record says so.
    """
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
    from airflow.sdk.observability import stats

    from data_platform.jobs.daily.day_record import DayRecord
    from data_platform.models.days import utc_now

    ended = _states(context, ["gather", "enriched", *(f"write_{side}" for side in written)])
    if gathered is None or ended.get("gather") != _SUCCEEDED:
        raise AirflowSkipException("nothing was gathered; record says why")
    told = DayRecord(
        started_at=utc_now(),
        gathered=gathered,
        enriched=enriched if ended.get("enriched") == _SUCCEEDED else None,
        written={side: done for side, done in written.items() if done and ended.get(f"write_{side}") == _SUCCEEDED},
    )
    stats.gauge("govbr.daily.alerts", len(told.alerts))
    if not told.alerts:
        _LOG.info("nothing needs a person")
        return
    message = "\n".join(["this needs a person; that the day was written is said by record:", *told.alerts])
    if context["dag_run"].run_type == "backfill":
        _LOG.warning("%s", message)
        return
    raise AirflowFailException(
        f"{message}\nWhat to do: look at the site in a browser; if it has moved or changed, mend site_urls.yaml or the"
        " scraper, or take the site out there. A site is told again every day until it is read, or publishes."
        " The others: docs/daily.md, under Alerts"
    )


def pipeline_of(plan: Mapping[str, Any], context: Mapping[str, Any], *, statement_timeout_s: int = 0) -> DailyPipeline:
    """Return the pipeline of a plan, on the stores and services of this Airflow's connections.

    Args:
        plan: as the task `plan` returned it.
        context: of the task.
        statement_timeout_s: bound on one SQL statement, in seconds.
    """
    from data_platform.jobs.daily.pipeline import DailyPipeline
    from data_platform.jobs.daily.plan import DayPlan
    from govbr.hooks.huggingface_dataset_hook import HuggingFaceDatasetHook

    day: DayPlan = DayPlan.from_dict(plan)
    settings = mode_settings(day.mode, statement_timeout_s=statement_timeout_s)
    # The hook's manager knows that a dataset named in the connection was named on purpose.
    return DailyPipeline(
        day,
        settings,
        started_by=f"DAG run {context['run_id']}",
        dataset=lambda: HuggingFaceDatasetHook().get_manager(settings),
    )


# --------------------------------------------------------------------------------------------------


def _yesterday(context: Mapping[str, Any]) -> date:
    """Return the São Paulo day before the one on which a person started the run; clearing it changes nothing."""
    from data_platform.models.days import day_of, utc_now

    run = context["dag_run"]
    return day_of(run.run_after or run.start_date or utc_now()) - timedelta(days=1)


def _name_of(number: int, groups: Sequence[Sequence[str]]) -> str:
    sites = groups[number]
    more = f" and {len(sites) - _NAMED} more" if len(sites) > _NAMED else ""
    return f"{number + 1} of {len(groups)}: {', '.join(sites[:_NAMED])}{more}"


def _day(
    context: Mapping[str, Any],
    pipeline: DailyPipeline,
    found: Mapping[str, Mapping[str, Any]],
    ended: Mapping[str, str],
) -> DayRecord:
    from data_platform.jobs.daily.day_record import DayRecord
    from data_platform.models.days import utc_now

    written, errors = {}, {}
    for side in pipeline.plan.mode.sides:
        if f"write_{side}" in found:
            written[side.value] = found[f"write_{side}"]
        else:
            errors[side.value] = _why_not(pipeline, side.value, ended)
    return DayRecord(
        started_at=context["dag_run"].start_date or utc_now(),
        gathered=found.get("gather"),
        enriched=found.get("enriched"),
        written=written,
        errors=errors,
    )


def _why_not(pipeline: DailyPipeline, side: str, ended: Mapping[str, str]) -> str:
    """Say why a store was not written: the newest write of the day to it that failed, or what came before it."""
    from data_platform.managers.ledger.entry import Status
    from data_platform.managers.ledger.run_ledger import WRITE

    task = f"write_{side}"
    if ended.get(task) != "failed":
        before = next((name for name in ("gather", "enriched") if ended.get(name) != _SUCCEEDED), "an earlier task")
        return f"{task} did not run ({ended.get(task) or 'no state'}), since {before} failed"
    day = pipeline.plan.run_date
    entries = [entry for entry in pipeline.ledger.entries(WRITE, since=day, until=day) if side in entry.failed_sides]
    its = entries[-1].sides[side] if entries and entries[-1].sides[side].status is Status.FAILED else None
    return its.error if its else f"{task} failed; its log says why"


def _states(context: Mapping[str, Any], tasks: Sequence[str]) -> dict[str, str]:
    """Return how tasks of this run, that are not mapped, stand: task -> state."""
    run = context["dag_run"]
    found = context["ti"].get_task_states(dag_id=run.dag_id, task_ids=list(tasks), run_ids=[run.run_id])
    return {task: str(getattr(state, "value", state)) for task, state in found.get(run.run_id, {}).items()}


def _is_last_try(context: Mapping[str, Any]) -> bool:
    task = context["ti"]
    return int(task.try_number) > int(task.max_tries or 0)


def _listed(tasks: Sequence[str]) -> str:
    return " and ".join(tasks) or "a task before it"
