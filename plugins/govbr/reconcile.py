"""The reconciliation of the two stores as Airflow tasks call it.

Each function opens nothing while a DAG is parsed; what it returns is small and fit for XCom.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from govbr.run_date import run_date_of_task
from govbr.runtime import airflow_errors, task_settings

if TYPE_CHECKING:
    from data_platform.jobs.reconcile.compare import Comparer
    from data_platform.jobs.reconcile.records import Comparison
    from data_platform.managers.storage_adapter import StorageAdapter
    from data_platform.settings import Settings

__all__ = ["NO_REPAIR", "choose_mode", "compare_stores", "judge_stores", "repair_stores"]

_LOG = logging.getLogger(__name__)
NO_REPAIR, MISSED = "none", "missed"
_SUNDAY = 6
#: Switches of the form that say what a repair may delete, as `repair_drift` has them.
_DELETIONS = ("allow_delete", "delete_buried", "allow_shrink")
#: Lines of a comparison that go into XCom and an error; all of them are in the log, the rest in the run ledger.
_MOST_LINES = 20


def choose_mode(params: Mapping[str, Any]) -> dict[str, str]:
    """Resolve which stores are written and read; look at the form before anything is compared.

    Returns:
        The mode, as `StorageMode.to_dict` writes it.

    Raises:
        AirflowSkipException: the stores need not be the same in this mode; says why.
        AirflowFailException: a setting or the form cannot be used.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    from data_platform.errors import ConfigurationError
    from data_platform.jobs.reconcile.records import reason_to_skip
    from govbr.hooks.storage_hook import StorageHook

    with airflow_errors():
        mode = StorageHook(run_parameters=params).get_mode()
        if reason := reason_to_skip(mode):
            raise AirflowSkipException(reason)
        if params["allow_delete"] and not params["repair"].startswith("from-"):
            raise ConfigurationError(
                f"allow_delete means nothing for repair {params['repair']}",
                hint="choose the store that leads, or leave it off",
            )
        if params["delete_buried"] and params["repair"] != "from-postgres":
            raise ConfigurationError(
                f"delete_buried means nothing for repair {params['repair']}",
                hint="what is buried follows PostgreSQL: choose from-postgres, or leave it off",
            )
    return mode.to_dict()


def compare_stores(context: Mapping[str, Any], mode: Mapping[str, Any], *, statement_timeout_s: int) -> dict[str, Any]:
    """Compare the stores, and write what was found into the run ledger; that they differ fails the verdict, not this.

    Returns:
        Whether they are the same, counts, and the lines for a person.
    """
    from airflow.sdk.observability import stats

    with airflow_errors():
        found = _comparer(context, mode, statement_timeout_s=statement_timeout_s).run()
    stats.gauge("govbr.reconcile.unexplained", found.unexplained)
    stats.gauge("govbr.reconcile.different", found.different)
    stats.gauge("govbr.reconcile.only_in_postgres", found.only_in_target)
    stats.gauge("govbr.reconcile.only_in_huggingface", found.unaccounted)
    return _told(found)


def repair_stores(context: Mapping[str, Any], mode: Mapping[str, Any], *, statement_timeout_s: int) -> dict[str, Any]:
    """Bring the stores in line as the form says; a dry run says what would be done.

    Returns:
        What was done, and how the stores compare afterwards; of a dry run, how they do now.

    Raises:
        AirflowSkipException: the form asks for none, or the mode is another one by now.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    from data_platform.jobs.reconcile.missed import repair_missed
    from data_platform.jobs.reconcile.repair import Direction, repair_drift
    from govbr.hooks.storage_hook import StorageHook

    params = context["params"]
    wanted, dry_run = params["repair"], bool(params["dry_run"])
    if wanted == NO_REPAIR:
        raise AirflowSkipException("no repair was asked for")
    mode = choose_mode(params)  # anew: a repair that is cleared later must not write over the store that leads by then
    with airflow_errors():
        comparer = _comparer(context, mode, statement_timeout_s=statement_timeout_s)
        with _both_stores(comparer.settings, mode) as adapter:
            if wanted == MISSED:
                missed = repair_missed(adapter, dry_run=dry_run)
                lines, open_ = missed.lines(), missed.open
                after = None if dry_run else comparer.run()
            else:
                done = repair_drift(
                    comparer,
                    adapter,
                    Direction(wanted),
                    **{name: bool(params[name]) for name in _DELETIONS},
                    dry_run=dry_run,
                    mode_now=lambda: StorageHook(run_parameters=params).get_mode(),  # a new hook: one remembers
                )
                lines, open_, after = done.lines(), done.missed.open, done.after
    for line in lines:
        _LOG.info("%s", line)
    return {
        "repair": wanted,
        "dry_run": dry_run,
        "open": open_,
        "lines": lines[:_MOST_LINES],
        "after": _told(after) if after else None,
    }


def judge_stores(context: Mapping[str, Any], found: Mapping[str, Any], repaired: Mapping[str, Any] | None) -> None:
    """Fail if the stores differ beyond what is explained, after the repair if there was one.

    Raises:
        AirflowFailException: they do; says how, and what to do.
    """
    from airflow.sdk.exceptions import AirflowFailException

    if context["params"]["repair"] == NO_REPAIR:
        repaired = None  # of an earlier try, perhaps
    after = (repaired or {}).get("after")
    last = after or found
    open_ = repaired["open"] if repaired and not repaired["dry_run"] else 0
    if last["passed"] and not open_:
        _LOG.info("the stores are the same, but for what is explained")
        return
    told = "\n".join(last["lines"])
    left = f"\n{open_} missed writes are still open; the log of repair says why" if open_ else ""
    when = " after the repair" if after else ""
    raise AirflowFailException(
        f"the stores differ{when}:\n{told}{left}\nWhat to do: trigger this DAG with"
        ' {"repair": "missed"}, which brings over what the run ledger knows to be missed; read what its dry run says,'
        ' then do it with {"repair": "missed", "dry_run": false}. What still differs then follows one store with'
        ' "from-postgres" or "from-huggingface"'
    )


# --------------------------------------------------------------------------------------------------


def _comparer(context: Mapping[str, Any], mode: Mapping[str, Any], *, statement_timeout_s: int) -> Comparer:
    from data_platform.jobs.reconcile.compare import Comparer
    from data_platform.jobs.reconcile.records import CompareOptions
    from data_platform.managers.storage_mode import StorageMode
    from govbr.hooks.huggingface_dataset_hook import HuggingFaceDatasetHook

    settings = task_settings(statement_timeout_s=statement_timeout_s)
    run_date = run_date_of_task(context)
    return Comparer(
        settings,
        StorageMode.from_dict(mode),
        options=CompareOptions(full=bool(context["params"]["full"]) or _is_weekly(context, run_date)),
        run_date=run_date,
        started_by=f"DAG run {context['run_id']}",
        manager=HuggingFaceDatasetHook().get_manager(settings),
    )


def _is_weekly(context: Mapping[str, Any], run_date: date | None) -> bool:
    """Whether this is the scheduled run of the week that reads every partition: Monday's, for the Sunday."""
    return context["dag_run"].run_type == "scheduled" and run_date is not None and run_date.weekday() == _SUNDAY


def _both_stores(settings: Settings, mode: Mapping[str, Any]) -> StorageAdapter:
    from data_platform.managers.ledger.run_ledger import RunLedger
    from data_platform.managers.storage_adapter import StorageAdapter
    from data_platform.managers.storage_mode import StorageMode
    from govbr.hooks.huggingface_dataset_hook import HuggingFaceDatasetHook

    return StorageAdapter(
        StorageMode.from_dict(mode),
        settings=settings,
        dataset=lambda: HuggingFaceDatasetHook().get_manager(settings),
        ledger=RunLedger.of(settings, mirrored=True),
    )


def _told(found: Comparison) -> dict[str, Any]:
    return {
        "passed": found.passed,
        "counts": dict(found.counts),
        "columns": dict(found.columns),
        "days_different": found.days_different,
        "commit": found.commit,
        "full": found.full,
        "seconds": found.seconds,
        "lines": found.lines()[:_MOST_LINES],
    }
