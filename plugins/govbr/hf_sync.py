"""The sync to the dataset on the Hub as Airflow tasks call it.

Each function opens nothing while a DAG is parsed; what it returns is small and fit for XCom.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from govbr.assets import HUGGINGFACE_NEWS, HUGGINGFACE_NEWS_PUBLISHED
from govbr.run_date import run_date_of_task
from govbr.runtime import airflow_errors, task_settings

if TYPE_CHECKING:
    from data_platform.jobs.hf_sync.records import SyncOptions, SyncOutcome
    from data_platform.jobs.hf_sync.sync_job import HuggingFaceSyncJob

__all__ = ["LAG_LIMIT", "check_lag", "choose_mode", "run_sync", "verify_dataset"]

_LOG = logging.getLogger(__name__)
#: A change that waits longer raises the alert: a whole day's sync did not bring it over.
LAG_LIMIT = timedelta(hours=24)
#: Notes, or lines of differences, that go into XCom; all of them are in the log.
_MOST_LINES = 20


def choose_mode(params: Mapping[str, Any]) -> dict[str, str]:
    """Resolve which stores are written and read, once for the run; look at the form before anybody waits for it.

    Args:
        params: the form: what a sync can be asked for, and `storage_backend` to assume.

    Returns:
        The mode, as `StorageMode.to_dict` writes it.

    Raises:
        AirflowSkipException: the dataset is not the sync's to write in this mode; says why.
        AirflowFailException: a setting or the form cannot be used.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    from data_platform.jobs.hf_sync.records import reason_to_skip
    from govbr.hooks.storage_hook import StorageHook

    with airflow_errors():
        mode = StorageHook(run_parameters=params).get_mode()
        if reason := reason_to_skip(mode):
            raise AirflowSkipException(reason)
        _options_of(params)
    return mode.to_dict()


def run_sync(
    context: Mapping[str, Any], mode: Mapping[str, Any], waited: Mapping[str, Any] | None, *, statement_timeout_s: int
) -> dict[str, Any]:
    """Bring the dataset up to PostgreSQL; tell its asset, unless nothing was to be written.

    Args:
        context: of the task, whose outlets have `HUGGINGFACE_NEWS_PUBLISHED`.
        mode: what `choose_mode` returned.
        waited: what the sensor before it found; None if a person marked it as done to go on at once.
        statement_timeout_s: bound on one SQL statement, in seconds.

    Returns:
        Kind, counts, commits, reason, notes, and the sensor's state and message.

    Raises:
        AirflowSkipException: the mode is another one by now; nothing was written.
    """
    waited = waited or {"state": "marked", "message": "a person marked wait_for_write as done"}
    if waited["state"] not in {"recorded", "newest"}:
        _LOG.warning("what is in PostgreSQL now is published, though: %s", waited["message"])
    with airflow_errors(), _skipped_in_another_mode():
        job = _job(context, mode, statement_timeout_s=statement_timeout_s)
        outcome = job.run()
    told = _told(outcome)
    if not outcome.dry_run:
        # Also where nothing had to be committed: a try that was killed after its commit told nobody.
        extra = {**told["counts"], "dataset": job.settings.hf_dataset, "commit": outcome.commit, "kind": outcome.kind}
        extra |= {"committed": outcome.committed, "reduced_commit": outcome.reduced_commit}
        context["outlet_events"][HUGGINGFACE_NEWS_PUBLISHED].add(HUGGINGFACE_NEWS, extra=extra)
    return told | {"waited": {name: waited.get(name) for name in ("state", "run_date", "message")}}


def check_lag(context: Mapping[str, Any], mode: Mapping[str, Any], *, statement_timeout_s: int) -> dict[str, Any]:
    """Measure how far the dataset is behind, as gauges `govbr.hf_sync.*`; fail if it is too far.

    Args:
        context: of the task; of its form `dry_run` counts: a dry run brings nothing over, and raises no alert.
        mode: what `choose_mode` returned.
        statement_timeout_s: bound on one SQL statement, in seconds.

    Returns:
        Rows, tombstones, seconds that the oldest of them waited, and the reason of a resync.

    Raises:
        AirflowSkipException: the mode is another one by now.
        AirflowFailException: the alert: the oldest change has waited longer than `LAG_LIMIT`.
    """
    from airflow.sdk.exceptions import AirflowFailException
    from airflow.sdk.observability import stats

    from data_platform.jobs.awaited_write import in_words

    with airflow_errors(), _skipped_in_another_mode():
        lag = _job(context, mode, statement_timeout_s=statement_timeout_s).lag()
    waited = lag.oldest or timedelta(0)
    seconds = int(waited.total_seconds())
    stats.gauge("govbr.hf_sync.lag_seconds", seconds)
    stats.gauge("govbr.hf_sync.lag_rows", lag.rows)
    stats.gauge("govbr.hf_sync.lag_tombstones", lag.tombstones)
    resync = f"; the next sync reads everything: {lag.resync_reason}" if lag.resync_reason else ""
    message = f"{lag.rows:,} changed rows and {lag.tombstones:,} tombstones wait to be published" + (
        f", the oldest for {in_words(waited)} (limit: {in_words(LAG_LIMIT)})" if lag.oldest is not None else ""
    )
    _LOG.info("%s%s", message, resync)
    if waited > LAG_LIMIT and not context["params"].get("dry_run"):
        raise AirflowFailException(
            f"the open dataset is behind PostgreSQL: {message}{resync}. What to do: if the task sync failed, in this"
            " run or an earlier one, mend what its log names and clear it, or trigger this DAG by hand; if it"
            " succeeded, a transaction stays open in PostgreSQL and holds the change feed back:"
            " `python -m data_platform status` names it"
        )
    return {"rows": lag.rows, "tombstones": lag.tombstones, "oldest_s": seconds, "resync_reason": lag.resync_reason}


def verify_dataset(context: Mapping[str, Any], mode: Mapping[str, Any], *, statement_timeout_s: int) -> dict[str, Any]:
    """Compare what is published with PostgreSQL, row by row; change nothing.

    Args:
        context: of the task.
        mode: what `choose_mode` returned.
        statement_timeout_s: bound on one SQL statement, in seconds.

    Returns:
        Whether they are equal, and counts.

    Raises:
        AirflowSkipException: the mode is another one by now.
        AirflowFailException: they differ; says where, and what to do.
    """
    from airflow.sdk.exceptions import AirflowFailException

    with airflow_errors(), _skipped_in_another_mode():
        verification = _job(context, mode, statement_timeout_s=statement_timeout_s).verify()
    if not verification.passed:
        shown = "\n".join(verification.lines()[:_MOST_LINES])
        raise AirflowFailException(
            f"the open dataset is not what PostgreSQL says:\n{shown}\nWhat to do: find out which side is right. Rows"
            " that should not be there may be all that is left of a loss in PostgreSQL; the history on the Hub and the"
            " run ledger say who wrote last. If PostgreSQL is right, trigger sync_huggingface with"
            ' {"full": true, "dry_run": true} and read its account, then with {"full": true}. That refuses to take away'
            ' what nobody deleted, or what others put there: "overwrite": true publishes that too, and is for a person'
            " who has seen what goes and agrees"
        )
    return {"passed": True, "counts": dict(verification.counts)}


# --------------------------------------------------------------------------------------------------


def _options_of(params: Mapping[str, Any]) -> SyncOptions:
    from data_platform.jobs.hf_sync.records import SyncOptions

    return SyncOptions(
        full=bool(params.get("full")),
        dry_run=bool(params.get("dry_run")),
        months=tuple(params.get("months") or ()),
        overwrite=bool(params.get("overwrite")),
    )


@contextmanager
def _skipped_in_another_mode() -> Iterator[None]:
    """Skip a task that finds another mode than its run began with: it was cleared, is tried again, or woke late."""
    from airflow.sdk.exceptions import AirflowSkipException

    from data_platform.jobs.hf_sync.records import OtherModeError

    try:
        yield
    except OtherModeError as error:
        raise AirflowSkipException(error.message) from error


def _job(context: Mapping[str, Any], mode: Mapping[str, Any], *, statement_timeout_s: int) -> HuggingFaceSyncJob:
    """Return the job of a task.

    Raises:
        OtherModeError: the mode that the run began with does not hold any more.
    """
    from data_platform.jobs.hf_sync.records import require_lead
    from data_platform.jobs.hf_sync.sync_job import HuggingFaceSyncJob
    from data_platform.managers.storage_mode import StorageMode
    from govbr.hooks.huggingface_dataset_hook import HuggingFaceDatasetHook
    from govbr.hooks.storage_hook import StorageHook

    def mode_now() -> StorageMode:
        return StorageHook(run_parameters=context["params"]).get_mode()  # a new hook: one remembers what it found

    require_lead(mode_now())
    settings = task_settings(statement_timeout_s=statement_timeout_s)
    return HuggingFaceSyncJob(
        settings,
        StorageMode.from_dict(mode),
        mode_now=mode_now,
        options=_options_of(context["params"]),
        run_date=run_date_of_task(context),
        started_by=f"DAG run {context['run_id']}",
        # The hook's manager knows that a dataset named in the connection was named on purpose.
        manager=HuggingFaceDatasetHook().get_manager(settings),
    )


def _told(outcome: SyncOutcome) -> dict[str, Any]:
    return {
        "kind": outcome.kind,
        "dry_run": outcome.dry_run,
        "reason": outcome.reason,
        "counts": outcome.counts,
        "commit": outcome.commit,
        "committed": outcome.committed,
        "reduced_commit": outcome.reduced_commit,
        "notes": list(outcome.notes)[:_MOST_LINES],
        "seconds": dict(outcome.seconds),
        "peak_rss_mb": outcome.peak_rss_mb,
    }
