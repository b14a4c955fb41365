"""What a person should do after a migration, computed from what happened."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from data_platform.jobs.migration import charts
from data_platform.jobs.migration.report_model import RunReport

__all__ = ["Step", "next_steps", "verdict_of"]

_CLI = "python -m data_platform"


@dataclass(frozen=True)
class Step:
    """A thing to do or to say: "stop" forbids going on, "act" is work, "look" is to know, "go" is the way forward."""

    tone: Literal["stop", "act", "look", "go"]
    title: str
    detail: str
    commands: tuple[str, ...] = ()


def next_steps(report: RunReport) -> list[Step]:
    """Return what to do, what forbids going on first and the way forward last."""
    run = f"{_CLI} migrate --source {shlex.quote(report.run.source)}"
    compare = f"{_CLI} validate --source {shlex.quote(report.run.source)}"
    steps = [*_stops(report, run, compare), *_acts(report, run, compare), *_looks(report)]
    if any(step.tone == "stop" for step in steps):
        return steps
    first = "After the points above: " if any(step.tone == "act" for step in steps) else ""
    if report.run.dry_run:
        title, detail = "run again with dry_run off", "The real run reads the source anew and does as this one showed."
    elif report.run.mode == "bulk":
        title = "run the catch-up, then switch to dual_write"
        detail = (
            "The next phase is dual_write, and a catch-up run is required right before it, since the source may have "
            "grown since this run read it. The same command makes the catch-up."
        )
    else:
        title = "switch to dual_write at once, or catch up again first"
        detail = "This catch-up serves the switch only while the source has no newer commit; if it has, run another."
    steps.append(Step("go", (first + title)[0].upper() + (first + title)[1:], detail, (run,)))
    return steps


def _stops(report: RunReport, run: str, compare: str) -> Iterator[Step]:
    account, validation, dry = report.account, report.validation, report.run.dry_run
    again = f"{run} --dry-run" if dry else run
    if account.missing or not account.balanced:
        gap = f"{abs(account.missing):,} rows {'lack an outcome' if account.missing > 0 else 'are counted twice'}. "
        detail = "Run again: finished segments are not read twice. If it stays, the program is wrong; keep this file."
        yield Step("stop", "Do not go on: the rows do not add up", (gap if account.missing else "") + detail, (again,))
    if not account.read:
        detail = "Its name, revision or folder may be wrong, or the token may see nothing. This run proves nothing."
        yield Step("stop", "Check the source: it gave no rows", detail, (again,))
    if validation is not None and validation.failed:
        detail = (
            f"Different: {charts.rows(validation.different)}. In the source and nowhere else: "
            f"{charts.rows(validation.unaccounted)}. In the table only: {charts.rows(validation.only_in_target)}. "
            "Running again updates rows for which the source is newer; then compare again."
        )
        yield Step("stop", "Do not switch to dual_write: the table differs from the source", detail, (run, compare))
    if report.over_limit:
        reason, rows = max(account.rejected_by_reason.items(), key=lambda item: item[1], default=("not said", 0))
        rate, limit = charts.percent(account.reject_rate), charts.percent(report.max_reject_rate)
        detail = (
            f"{charts.rows(account.rejected)} {'would be' if dry else 'were'} rejected, most often: "
            f"{charts.shorten(reason, 80)} ({rows:,}). That many usually mean that the source has changed. Fix the "
            "cause; raise --max-reject-rate only for rows known to be unusable."
        )
        commands = (again,) if dry else (f"{_CLI} rejects list", again)
        yield Step("stop", f"Too many rejects: {rate}, and the limit is {limit}", detail, commands)


def _acts(report: RunReport, run: str, compare: str) -> Iterator[Step]:
    account, dry = report.account, report.run.dry_run
    if bad := [index.name for index in report.indexes if not index.fine]:
        detail = f"Not in place: {charts.shorten(', '.join(bad), 200)}. Running again builds them and keeps the rows."
        yield Step("act", f"Build the missing indexes and constraints ({len(bad)})", detail, (run,))
    if account.rejected and not report.over_limit and not dry:
        detail = "Each is kept whole, with field and reason. Fix the cause and run again: those that pass are loaded."
        title = f"Look at what was rejected: {charts.rows(account.rejected)}"
        yield Step("act", title, detail, (f"{_CLI} rejects list", run))
    if codes := account.unknown_theme_codes:
        detail = (
            f"{charts.rows(sum(codes.values()))} carry theme codes that the tree lacks. Their texts are kept, but they "
            "point to no theme until the tree has the codes and the migration has run again."
        )
        again = f"{run} --dry-run" if dry else run
        commands = (f"{_CLI} populate-themes --source themes_tree.yaml", again)
        yield Step("act", f"Load the full theme tree (unknown codes: {len(codes)})", detail, commands)
    if stubs := account.stub_agencies:
        detail = f"{charts.rows(sum(stubs.values()))} name agencies not in the catalogue; stubs are named by their key."
        populate = f"{_CLI} populate-agencies --source agencies.yaml"
        yield Step("act", f"Add the unknown agencies to agencies.yaml ({len(stubs)})", detail, (populate,))
    if (v := report.validation) is not None and (off := [m.name for m in v.metrics if not m.ok]):
        yield Step("act", f"Explain the measures that are off ({len(off)})", charts.shorten(", ".join(off), 300))
    if v is None and not dry and account.read:
        detail = "This run made no comparison, so nothing proves yet that the two are equal."
        yield Step("act", "Compare the table with the source", detail, (compare,))


def _looks(report: RunReport) -> Iterator[Step]:
    account, other = report.account, report.account.duplicates_by_kind.get("other_content", 0)
    if account.rejected and not report.over_limit and report.run.dry_run:
        detail = "They are within the limit. The real run keeps each whole, for a retry; a sample is below."
        yield Step("look", f"Would be rejected: {charts.rows(account.rejected)}", detail)
    if account.vanished:
        detail = "A migration deletes nothing. If they were taken down at the source, delete them on purpose."
        yield Step("look", f"In the table but no longer in the source: {charts.rows(account.vanished)}", detail)
    if other:
        detail = "The source has a unique_id more than once with different content; one of each is in the table."
        yield Step("look", f"Duplicates with other content: {charts.rows(other)}", detail)


def verdict_of(report: RunReport) -> Step:
    """Return the run in one line and one sentence, as bad as the worst thing there is to do."""
    steps, validation, dry = next_steps(report), report.validation, report.run.dry_run
    points = sum(step.tone in {"stop", "act"} for step in steps)
    said = "Nothing was written. " if dry else ""
    if steps[0].tone == "stop":
        more = "" if points == 1 else f" Points to see to, this one included: {points}."
        return Step("stop", steps[0].title, said + steps[0].detail + more)
    proof = f"Each of the {charts.rows(report.account.read)} read has exactly one outcome. "
    if validation is not None:
        cleaned = "" if validation.verdict == "equal" else ", apart from counted cleanings"
        proof += f"The table equals the source{cleaned}."
    elif not dry:
        proof += "The table was not compared with the source."
    if points:
        title = "" if dry else "Loaded and equal: " if validation else "Loaded: "
        return Step("act", f"{title}{points} point{'s' if points > 1 else ''} to see to before going on", said + proof)
    if dry:
        return Step("look", "The real run may follow", said + proof)
    return Step("go", f"All {report.account.read:,} rows are in place and compared", proof)
