"""How far the search indexes are behind PostgreSQL, as an Airflow task says it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from govbr.reindex_plan import ReaderPlan
from govbr.runtime import airflow_errors, reader_settings

if TYPE_CHECKING:
    from data_platform.managers.postgres.feed_health import Lag
    from data_platform.managers.search_index import Index

__all__ = ["LAG_LIMIT", "measure_lags"]

_LOG = logging.getLogger(__name__)
#: A change that waits longer raises the alert: a whole day's run did not bring it over.
LAG_LIMIT = timedelta(hours=24)
_FOLLOW = (
    "What to do: if the task reindex failed, in this run or an earlier one, mend what its log names and clear it, or"
    " trigger this DAG by hand; if it succeeded, a transaction stays open in PostgreSQL and holds the change feed back:"
    " `python -m data_platform status` names it"
)
_FILL = (
    'What to do: have it filled anew, {"kind": "full", "source": "huggingface", "dry_run": "no"}; or, if it is to'
    ' follow PostgreSQL again, {"kind": "full", "dry_run": "no"}'
)


def measure_lags(plans: Sequence[Mapping[str, Any]], *, statement_timeout_s: int) -> dict[str, Any]:
    """Say for each index where it stands and what of PostgreSQL waits for it; fail if something waits too long.

    Args:
        plans: of the indexes, as `ReaderPlan.to_dict` writes them.
        statement_timeout_s: bound on one SQL statement, in seconds.

    Returns:
        reader -> collection, documents, source, position; and if it follows PostgreSQL rows, tombstones, seconds that
        the oldest of them waited, the reason of a resync.

    Raises:
        AirflowFailException: the alert: a change has waited longer than `LAG_LIMIT`, and this was no dry run.
        AirflowException: an index or PostgreSQL cannot be asked; the others were.
        AirflowSkipException: there is no plan.
    """
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

    from data_platform.errors import DataPlatformError

    if not plans:
        raise AirflowSkipException("no index was planned: see the log of resolve")
    told: dict[str, Any] = {}
    late: list[str] = []
    problems: list[DataPlatformError] = []
    with airflow_errors():
        for plan in map(ReaderPlan.from_dict, plans):
            try:
                told[plan.reader], message = _measure(plan, statement_timeout_s)
            except DataPlatformError as error:
                _LOG.exception("where %s stands cannot be said", plan.reader)
                problems.append(error)
            else:
                late += [message] if message else []
    if late:
        raise AirflowFailException("\n".join(["search is behind:", *late]))
    with airflow_errors():
        for problem in sorted(problems, key=lambda error: error.retryable):  # a final one first: the others may pass
            raise problem
    return told


# ------------------------------------------------------------------------------------------------------


def _measure(plan: ReaderPlan, statement_timeout_s: int) -> tuple[dict[str, Any], str]:
    """Say where an index stands; and the alert, "" if there is none."""
    from data_platform.jobs.indexing.readers import make_index

    reader = plan.reader
    with closing(make_index(reader_settings(reader, with_postgres=False), reader)) as index:
        live = index.live()
        if live is None:
            _LOG.error("%s: searches for %s see no collection", reader, index.alias)
            return {"collection": "", "documents": 0}, ""
        card = index.card(live)
        told: dict[str, Any] = {
            "collection": live,
            "documents": index.count(live),
            "source": card.source if card else "",
            "position": card.stamp if card else "",
        }
        where = f"{reader}: {live} has {told['documents']:,} documents"
        lag, problem = _lag_of(plan, index, statement_timeout_s)
        if lag is None and not problem:
            problem, alert = _behind_dataset(plan, index, f"{where}, from {told['source'] or 'an unknown source'}")
            return told | ({"problem": problem} if problem else {}), alert
    if lag is None:
        _LOG.warning("%s; what waits for it is not known, and PostgreSQL not needed: %s", where, problem)
        return told | {"problem": problem}, ""
    message = _told(reader, lag)
    _LOG.info("%s; position: %s; %s", where, told["position"] or "none yet", message)
    waited = lag.oldest or timedelta(0)
    found = {"rows": lag.rows, "tombstones": lag.tombstones, "oldest_s": int(waited.total_seconds())}
    is_late = waited > LAG_LIMIT and not plan.options.dry_run
    return told | found | {"resync_reason": lag.resync_reason}, f"{message}\n{_FOLLOW}" if is_late else ""


def _behind_dataset(plan: ReaderPlan, index: Index, where: str) -> tuple[str, str]:
    """Say how long ago a collection was filled from the dataset; return why that cannot be said, and the alert."""
    from airflow.sdk.observability import stats

    from data_platform.errors import DataPlatformError
    from data_platform.jobs.awaited_write import in_words
    from data_platform.jobs.indexing.job import dataset_age
    from govbr.hooks.huggingface_dataset_hook import HuggingFaceDatasetHook

    try:
        settings = reader_settings(plan.reader, with_postgres=False, with_hub=True)
        age = dataset_age(index, HuggingFaceDatasetHook().get_manager(settings))
    except DataPlatformError as error:
        _LOG.warning("%s; whether the dataset has gone on since is not known: %s", where, error)
        return str(error), ""
    stats.gauge(f"govbr.reindex.{plan.reader}.lag_seconds", int((age or timedelta(0)).total_seconds()))
    if not age:
        _LOG.info("%s; it follows nothing%s", where, "" if age is None else ", and the dataset has not changed since")
        return "", ""
    message = f"{where}; it was filled {in_words(age)} ago and follows nothing, and the dataset has changed since"
    _LOG.info("%s", message)
    return "", f"{message}\n{_FILL}" if age > LAG_LIMIT and not plan.options.dry_run else ""


def _lag_of(plan: ReaderPlan, index: Index, statement_timeout_s: int) -> tuple[Lag | None, str]:
    """Return what waits for an index, None if it does not follow PostgreSQL; and why that cannot be said."""
    from data_platform.errors import DataPlatformError
    from data_platform.jobs.indexing.job import index_lag

    try:
        settings = reader_settings(plan.reader, statement_timeout_s=statement_timeout_s)
    except DataPlatformError as error:
        # Only one that follows PostgreSQL asks for it.
        settings = reader_settings(plan.reader, with_postgres=False)
        _LOG.warning("PostgreSQL's address cannot be read: %s", error)
    try:
        return index_lag(settings, index), ""
    except DataPlatformError as error:
        if not plan.needs_no_postgres:
            raise
        return None, str(error)


def _told(reader: str, lag: Lag) -> str:
    """Say what waits, to metrics as gauges `govbr.reindex.<reader>.*` and to people."""
    from airflow.sdk.observability import stats

    from data_platform.jobs.awaited_write import in_words

    waited = lag.oldest or timedelta(0)
    stats.gauge(f"govbr.reindex.{reader}.lag_seconds", int(waited.total_seconds()))
    stats.gauge(f"govbr.reindex.{reader}.lag_rows", lag.rows)
    stats.gauge(f"govbr.reindex.{reader}.lag_tombstones", lag.tombstones)
    message = f"{lag.rows:,} changed rows and {lag.tombstones:,} tombstones wait for {reader}"
    if lag.oldest is not None:
        message += f", the oldest for {in_words(waited)} (limit: {in_words(LAG_LIMIT)})"
    return f"{message}; the next run reads everything: {lag.resync_reason}" if lag.resync_reason else message
