"""A run of a search index as an Airflow task calls it.

Each function opens nothing while a DAG is parsed; what it returns is small and fit for XCom.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from govbr.assets import NEWS_INDEXED, QDRANT_NEWS, TYPESENSE_NEWS
from govbr.reindex_plan import ReaderPlan, nothing_to_read
from govbr.run_date import run_date_of_task
from govbr.runtime import airflow_errors, reader_settings

if TYPE_CHECKING:
    from data_platform.jobs.indexing.records import ReindexOutcome
    from data_platform.managers.dataset_manager import DatasetManager
    from data_platform.settings import Settings

__all__ = ["reindex_reader"]

_LOG = logging.getLogger(__name__)
#: Refused documents, notes and so on that go into XCom; all of them are in the log and the run ledger.
_MOST_LINES = 20
_ASSETS = {"typesense": TYPESENSE_NEWS, "qdrant": QDRANT_NEWS}
#: States of the sensor after which there is nothing to say.
_NOT_WAITED = "not waited"
_GOOD = {"recorded", "newest", _NOT_WAITED}


def reindex_reader(
    context: Mapping[str, Any], plan: Mapping[str, Any], waited: Mapping[str, Any] | None, *, statement_timeout_s: int
) -> dict[str, Any]:
    """Bring one index up to its source; tell its asset, unless nothing was to be written.

    Args:
        context: of the task, whose outlets have `NEWS_INDEXED`.
        plan: of the index, as `ReaderPlan.to_dict` writes it.
        waited: what the sensor before it found; None if it was skipped, or a person marked it as done.
        statement_timeout_s: bound on one SQL statement, in seconds.

    Returns:
        What was done, counts, and the sensor's state and message.

    Raises:
        AirflowSkipException: in mode huggingface, there is no database, or its collection was filled from the dataset
            and follows nothing.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    from data_platform.jobs.indexing.job import run_reindex

    waited = waited or {"state": _NOT_WAITED, "message": "nothing was waited for, or a person marked it as done"}
    if waited["state"] not in _GOOD:
        _LOG.warning("%s is brought up to what is there now, though: %s", plan["reader"], waited["message"])
    with airflow_errors():
        its = ReaderPlan.from_dict(plan)
        if reason := nothing_to_read(its):
            raise AirflowSkipException(reason)
        settings = _settings_for(its, statement_timeout_s)
        _skip_if_it_follows_nothing(its, settings)
        outcome = run_reindex(
            settings,
            # Tried again, it knows what it has done: a second try must neither go back further nor fill another one.
            replace(its.options, run=context["run_id"]),
            mode=its.mode,
            run_date=run_date_of_task(context),
            started_by=f"DAG run {context['run_id']}",
            manager=_dataset(settings) if its.reads_dataset else None,
        )
    told = _announce(context, outcome)
    return told | {"waited": {name: waited.get(name) for name in ("state", "run_date", "message")}}


# ------------------------------------------------------------------------------------------------------


def _settings_for(plan: ReaderPlan, statement_timeout_s: int) -> Settings:
    """Return the settings of a run; those of PostgreSQL only if it is asked.

    Going back must be possible whatever is wrong with PostgreSQL: an address that cannot be read is then left out.
    Where the dataset is read PostgreSQL has no more than the lock of runs, and in mode huggingface not even that.
    """
    from data_platform.errors import ConfigurationError

    reader, bound, with_hub = plan.reader, statement_timeout_s, plan.reads_dataset
    if with_hub and not plan.writes_postgres:
        return reader_settings(reader, with_postgres=False, with_hub=True, statement_timeout_s=bound)
    try:
        return reader_settings(reader, with_hub=with_hub, statement_timeout_s=bound)
    except ConfigurationError:
        if not (plan.goes_back or with_hub):
            raise
        _LOG.exception("going back without PostgreSQL")
        return reader_settings(reader, with_postgres=False, with_hub=with_hub, statement_timeout_s=bound)


def _skip_if_it_follows_nothing(plan: ReaderPlan, settings: Settings) -> None:
    """Skip an incremental run where searches see what was filled from the dataset, and the dataset leads."""
    from airflow.sdk.exceptions import AirflowSkipException

    from data_platform.jobs.indexing.readers import make_index
    from data_platform.jobs.indexing.records import POSTGRES

    if not (plan.follows and plan.needs_no_postgres):
        return
    with closing(make_index(settings, plan.reader)) as index:
        live = index.live()
        card = index.card(live) if live else None
    if card is not None and card.source != POSTGRES:
        raise AirflowSkipException(
            f"the storage mode is {plan.mode.pair}, and {live} was filled from {card.source}, so it follows nothing. To"
            ' have it filled anew, trigger this DAG with {"kind": "full", "source": "huggingface", "dry_run": "no"}'
        )


def _dataset(settings: Settings) -> DatasetManager:
    from govbr.hooks.huggingface_dataset_hook import HuggingFaceDatasetHook

    return HuggingFaceDatasetHook().get_manager(settings)


def _announce(context: Mapping[str, Any], outcome: ReindexOutcome) -> dict[str, Any]:
    """Tell people, metrics and the asset what was done; return it."""
    from airflow.sdk.observability import stats

    from data_platform.jobs.awaited_write import in_words
    from data_platform.models.days import utc_now

    if outcome.data_as_of:
        age = ""
        if outcome.data_as_of != "never":
            age = f", {in_words(utc_now() - datetime.fromisoformat(outcome.data_as_of))} ago"
        _LOG.warning("in mode huggingface nobody writes PostgreSQL: its newest row is of %s%s", outcome.data_as_of, age)
    if outcome.drift:
        _LOG.error("the schema of %s is not what it should be: %s", outcome.collection, "; ".join(outcome.drift))
    stats.gauge(f"govbr.reindex.{outcome.reader}.drift", len(outcome.drift))
    stats.gauge(f"govbr.reindex.{outcome.reader}.refused", len(outcome.failed))
    told = _told(outcome)
    if not outcome.dry_run:
        day = run_date_of_task(context)
        names = ("alias", "collection", "kind", "source", "drift")
        extra = {**outcome.counts, **{name: told[name] for name in names}, "run_date": day and day.isoformat()}
        context["outlet_events"][NEWS_INDEXED].add(_ASSETS[outcome.reader], extra=extra)
    return told


def _told(outcome: ReindexOutcome) -> dict[str, Any]:
    told = outcome.to_dict() | {"counts": outcome.counts}
    return told | {
        "failed": dict(list(outcome.failed.items())[:_MOST_LINES]),
        **{name: told[name][:_MOST_LINES] for name in ("dropped", "mended", "drift", "notes")},
    }
