"""From a run's record to what its report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from data_platform import __version__
from data_platform.jobs.migration import report_model as report
from data_platform.jobs.migration.account import Account
from data_platform.jobs.migration.records import Run, Segment
from data_platform.jobs.migration.validation import DIFFERENT
from data_platform.models.days import utc_now

__all__ = ["report_of"]


def report_of(run: Run, segments: Sequence[Segment], *, server_version: str) -> report.RunReport:
    """Return the report of a run whose account is closed."""
    account = Account.from_dict(run.account or {})
    finished = _finished(run, segments)
    return report.RunReport(
        run=report.Run(
            id=run.id,
            source=run.snapshot.source,
            revision=run.snapshot.revision,
            mode="bulk" if run.mode == "bulk" else "catch-up",
            dry_run=run.dry_run,
            started_at=run.started_at,
            finished_at=finished,
            seconds=(finished - run.started_at).total_seconds(),
            parallel=run.options.parallel,
            server_version=f"PostgreSQL {server_version}",
            package_version=__version__,
            started_by=run.started_by,
        ),
        account=report.Account(
            read=account.read,
            loaded=account.loaded,
            updated=account.updated,
            already_present=account.already_present,
            duplicates=account.duplicates,
            rejected=account.rejected,
            balanced=account.balanced,
            duplicates_by_kind=account.duplicates_by_kind,
            url_doubles=account.url_doubles,
            rejected_by_reason=account.rejected_by_reason,
            cleanings=account.cleanings,
            observations=account.observations,
            stub_agencies=account.stub_agencies,
            unknown_theme_codes=account.unknown_themes,
            vanished=account.vanished,
            vanished_sample=tuple(account.vanished_sample),
        ),
        max_reject_rate=run.options.max_reject_rate,
        segments=tuple(_segment(segment) for segment in segments),
        rows_by_year={int(year): rows for year, rows in run.plan["rows_by_year"].items()},
        rows_by_agency=run.plan["rows_by_agency"],
        rejects_sample=tuple(report.Reject(**sample) for sample in account.rejects_sample),
        indexes=tuple(_index(item) for item in run.deferred),
        validation=_validation(run.validation) if run.validation else None,
    )


def _finished(run: Run, segments: Sequence[Segment]) -> datetime:
    """The end of a run that is done, the present for one that is about to be."""
    return run.finished_at or max([utc_now(), *(s.finished_at for s in segments if s.finished_at)])


def _segment(segment: Segment) -> report.SegmentRun:
    seconds = (
        (segment.finished_at - segment.started_at).total_seconds()
        if segment.started_at and segment.finished_at
        else 0.0
    )
    names = ("loaded", "updated", "already_present", "duplicates", "rejected")
    return report.SegmentRun(
        no=segment.number,
        label=segment.label,
        rows=segment.rows,
        seconds=seconds,
        started_at=segment.started_at,
        finished_at=segment.finished_at,
        worker=segment.worker,
        **{name: segment.counts.get(name, 0) for name in names},
    )


def _index(item: Mapping[str, Any]) -> report.IndexBuild:
    return report.IndexBuild(
        name=item["name"],
        kind="index" if item["kind"] == "i" else "constraint",
        seconds=item["seconds"] or 0.0,
        state="built" if item["state"] == "on" else item["state"],
    )


def _validation(result: Mapping[str, Any]) -> report.Validation:
    verdict = result["verdict"]
    return report.Validation(
        verdict="DIFFERENT" if verdict == DIFFERENT else verdict,
        source_rows=result["source_rows"],
        target_rows=result["target_rows"],
        equal=result["equal"],
        explained=result["explained_by_kind"],
        explained_rows=result["explained"],
        only_in_source=result["only_in_source"],
        accounted=sum(result["accounted"].values()),
        unaccounted=result["unaccounted"],
        only_in_target=result["only_in_target"],
        different=result["different"],
        differences=tuple(report.Difference(**difference) for difference in result["differences"]),
        per_column_nulls=tuple(
            report.NullCount(column=column, source=counts["expected"], target=counts["target"])
            for column, counts in result["per_column_nulls"].items()
        ),
        metrics=tuple(_metric(m) for m in result["metrics"]),
        seconds=result["seconds"],
    )


def _metric(measure: Mapping[str, Any]) -> report.Metric:
    source, target = (f"{measure[side]:,} ({measure[f'{side}_share']:.2%})" for side in ("source", "target"))
    return report.Metric(
        name=measure["name"], source=source, target=target, expected=measure["expected"], ok=measure["ok"]
    )
