"""A whole run of the daily pipeline in one process, as the command line does it; on Airflow each step is a task."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import Any

from data_platform.errors import DataPlatformError, IntegrityError
from data_platform.jobs.daily.day_record import DayRecord
from data_platform.jobs.daily.pipeline import DailyPipeline
from data_platform.jobs.progress import LogProgress, Progress
from data_platform.models.days import utc_now

__all__ = ["run_day"]

_LOG = logging.getLogger(__name__)
_POLL_S = 30.0


def run_day(pipeline: DailyPipeline, *, progress: Progress | None = None, poll_s: float = _POLL_S) -> dict[str, Any]:
    """Collect, identify, enrich, write and record a day.

    Both sides are attempted, and the end is recorded, whatever happened before it; also that nothing could be written.

    Args:
        pipeline: of the day.
        progress: told how it gets on.
        poll_s: pause between two looks at the enricher, in seconds.

    Returns:
        `lines`: for a person; and what each step handed over.

    Raises:
        IntegrityError: a side was not written, or too few sites were read; that is recorded.
        DataPlatformError: nothing could be collected or identified; nothing was written.
    """
    bars = progress or LogProgress()
    plan, started = pipeline.plan, utc_now()
    bars.stage("collect", len(plan.groups))
    try:
        groups = []
        for number in range(len(plan.groups)):
            groups.append(pipeline.scrape(number))
            bars.advance(1)
        bars.stage("identify", 0)
        gathered = pipeline.gather(groups)
        bars.stage("enrich", 0)
        enriched = _enriched(pipeline, gathered, poll_s)
    except Exception as error:
        why = dict.fromkeys((side.value for side in plan.mode.sides), f"nothing was staged: {error}")
        with suppress(IntegrityError):  # that no side was written; the record says it, and the cause is raised
            pipeline.record(DayRecord(started_at=started, errors=why))
        raise
    written: dict[str, dict[str, Any]] = {}
    errors: dict[str, str] = {}
    for side in plan.mode.sides:
        bars.stage(f"write {side}", 0)
        try:
            written[side.value] = pipeline.write(side, enriched)
        except Exception as error:  # noqa: BLE001 - recorded and raised below, after the other side was attempted
            _LOG.exception("%s was not written", side)
            errors[side.value] = str(error)
    record = DayRecord(started_at=started, gathered=gathered, enriched=enriched, written=written, errors=errors)
    told = pipeline.record(record)
    return {"gathered": gathered, "enriched": enriched, "written": written, **told}


def _enriched(pipeline: DailyPipeline, gathered: dict[str, Any], poll_s: float) -> dict[str, Any]:
    """Enrich what can be; the day's articles are written in any case."""
    if pipeline.plan.options.skip_enrichment:
        return pipeline.unenriched(gathered)
    try:
        return _waited_for(pipeline, gathered, poll_s)
    except DataPlatformError as error:
        # Told in the record, and to whoever asks for what needs a person.
        _LOG.exception("the day's news is not enriched")
        return pipeline.unenriched(gathered, problem=str(error))


def _waited_for(pipeline: DailyPipeline, gathered: dict[str, Any], poll_s: float) -> dict[str, Any]:
    state = pipeline.submit(gathered)
    ends = time.monotonic() + pipeline.plan.options.deadline_s
    while state["pending"] and state["waits"] and time.monotonic() + poll_s <= ends:
        time.sleep(poll_s)
        state = pipeline.collect(state)
    if state["pending"] and state["waits"]:
        state = pipeline.collect(state, final=True)
    return pipeline.enriched(gathered, state)
