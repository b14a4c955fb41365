"""One self-contained HTML file per migration run: pictures first, the numbers behind them.

The page is made from plain data (`RunReport`) alone. It has no script, and its content security
policy forbids any, since titles and payloads come from the data. The same run gives the same bytes
under the same name, so that a retried task overwrites its own file.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Literal

import fsspec  # type: ignore[import-untyped]  # ships no types
import jinja2
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from data_platform.errors import ConfigurationError, TransientError
from data_platform.jobs.migration import charts

_CLI = "python -m data_platform"

Counts = Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What ran. Instants carry their zone; `revision` is the commit to which the source was pinned."""

    id: int
    source: str
    revision: str = ""
    mode: Literal["bulk", "catch-up"] = "bulk"
    dry_run: bool = False
    started_at: datetime
    finished_at: datetime
    seconds: float
    parallel: int = 1
    server_version: str = ""
    package_version: str = ""
    started_by: str = ""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where each row went, in rows. `balanced` is the run's own check; samples may be cut.

    Keys: duplicates_by_kind "same_content" and "other_content"; cleanings "kind:column";
    stub_agencies the agency; unknown_theme_codes the code. `url_doubles` are loaded and marked
    `duplicate_of`; `observations` were seen and kept; `vanished` rows are in the table only.
    """

    read: int
    loaded: int = 0
    updated: int = 0
    already_present: int = 0
    duplicates: int = 0
    rejected: int = 0
    balanced: bool = True
    duplicates_by_kind: Counts = field(default_factory=dict)
    url_doubles: int = 0
    rejected_by_reason: Counts = field(default_factory=dict)
    cleanings: Counts = field(default_factory=dict)
    observations: Counts = field(default_factory=dict)
    stub_agencies: Counts = field(default_factory=dict)
    unknown_theme_codes: Counts = field(default_factory=dict)
    vanished: int = 0
    vanished_sample: tuple[str, ...] = ()

    @property
    def missing(self) -> int:
        """Rows read without an outcome; below zero, outcomes without a row read."""
        return self.read - self.loaded - self.updated - self.already_present - self.duplicates - self.rejected

    @property
    def reject_rate(self) -> float:
        """Rejected rows as a share (0 to 1) of the rows read."""
        return self.rejected / self.read if self.read else 0.0


@dataclass(frozen=True, kw_only=True)
class SegmentRun:
    """One segment and what became of its rows. Without both instants it is in no chart over time."""

    no: int
    label: str = ""
    rows: int
    seconds: float = 0.0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    loaded: int = 0
    updated: int = 0
    already_present: int = 0
    duplicates: int = 0
    rejected: int = 0
    worker: str = ""


@dataclass(frozen=True, kw_only=True)
class Reject:
    """One rejected row; `excerpt` is the beginning of its payload."""

    unique_id: str | None
    file: str = ""
    row: int | None = None
    field: str = ""
    reason: str
    detail: str = ""
    excerpt: str = ""


@dataclass(frozen=True, kw_only=True)
class IndexBuild:
    """One index or constraint; a `state` other than "built", "already there", "not needed" is a fault."""

    name: str
    kind: Literal["index", "constraint"] = "index"
    seconds: float = 0.0
    state: str = "built"

    @property
    def fine(self) -> bool:
        """Whether it needs nobody's attention."""
        return self.state in {"built", "already there", "not needed"}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One cell in which the sides differ and no counted cleaning explains it."""

    unique_id: str
    column: str
    source: object
    target: object


@dataclass(frozen=True, kw_only=True)
class NullCount:
    """Rows without a value in a column, on each side."""

    column: str
    source: int
    target: int


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One measure taken on both sides; `expected` says in words what would be right."""

    name: str
    source: float | str | None
    target: float | str | None
    expected: str = ""
    ok: bool = True


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The comparison of source and table, in rows; names as in `validate --json` (DESIGN §4).

    A row that several cleanings explain counts under each in `explained` and once in `explained_rows`.
    """

    verdict: Literal["equal", "equal after counted cleanings", "DIFFERENT"]
    source_rows: int
    target_rows: int
    equal: int = 0
    explained: Counts = field(default_factory=dict)
    explained_rows: int | None = None
    only_in_source: int = 0
    accounted: int = 0
    unaccounted: int = 0
    only_in_target: int = 0
    different: int = 0
    differences: tuple[Difference, ...] = ()
    per_column_nulls: tuple[NullCount, ...] = ()
    metrics: tuple[Metric, ...] = ()
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether the sides differ, by the verdict or by a number that contradicts it."""
        return self.verdict == "DIFFERENT" or self.different > 0 or self.unaccounted > 0


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """All that the page shows; `max_reject_rate` is a share (0 to 1), years and agencies count rows read."""

    run: Run
    account: Account
    max_reject_rate: float = 0.01
    segments: tuple[SegmentRun, ...] = ()
    rows_by_year: Mapping[int, int] = field(default_factory=dict)
    rows_by_agency: Counts = field(default_factory=dict)
    rejects_sample: tuple[Reject, ...] = ()
    indexes: tuple[IndexBuild, ...] = ()
    validation: Validation | None = None

    @property
    def over_limit(self) -> bool:
        """Whether more rows were rejected than the run allows."""
        return self.account.reject_rate > self.max_reject_rate


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


def render_report(report: RunReport) -> str:
    """Return the page as HTML text; the same report gives the same text.

    Raises:
        ValueError: an instant has no zone.
    """
    facts = {"verdict": verdict_of(report), "steps": next_steps(report), "spans": _spans(report), "charts": charts}
    page = _template().render(r=report, run=report.run, account=report.account, v=report.validation, **facts)
    return charts.fit(page)


@cache
def _template() -> jinja2.Template:
    """The page to fill in; compiling it takes longer than filling it in."""
    env = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    env.filters |= {"n": charts.thousands, "pct": charts.percent, "took": charts.duration, "cut": charts.shorten}
    env.filters["when"] = charts.clock
    return env.from_string(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))


def _spans(report: RunReport) -> list[charts.Span]:
    begun = min((s.started_at for s in report.segments if s.started_at), default=report.run.started_at)
    spans = []
    for s in report.segments:
        if s.started_at and s.finished_at and s.started_at <= s.finished_at:
            start, end = (s.started_at - begun).total_seconds(), (s.finished_at - begun).total_seconds()
            spans.append(charts.Span(str(s.no), s.worker or "worker unknown", start, end, s.rows, s.rejected))
    return spans


def write_report(report: RunReport, *, reports_uri: str) -> str:
    """Write the page as `migration-<run id>-<start, São Paulo>.html` and return its full path or URI.

    Args:
        report: what to show.
        reports_uri: a local folder, made if missing, or an fsspec URI (`gs://bucket/folder`), whose bucket must exist.

    Raises:
        ConfigurationError: the place cannot be used as it is.
        TransientError: a remote place failed to take the file.
    """
    name = f"migration-{report.run.id}-{charts.clock(report.run.started_at, '%Y%m%d-%H%M%S')}.html"
    page = render_report(report).encode()
    hint = "set REPORTS_URI to a folder or bucket that this process may write to"
    try:
        filesystem, folder = fsspec.core.url_to_fs(reports_uri)
        if isinstance(filesystem, LocalFileSystem):
            return _write_local(Path(folder) / name, page)
        # No folder is made: object stores have none, and making one could create a bucket.
        target = f"{reports_uri.rstrip('/')}/{name}"
        with filesystem.open(f"{str(folder).rstrip('/')}/{name}", "wb") as out:
            out.write(page)
    except (PermissionError, FileNotFoundError, NotADirectoryError, FileExistsError, ValueError, ImportError) as error:
        raise ConfigurationError(f"cannot write the report to {reports_uri!r}: {error}", hint=hint) from error
    except Exception as error:
        # Each store's client raises types of its own; what is not surely a wrong setting may pass.
        raise TransientError(f"the report could not be written to {reports_uri!r}: {error}", hint=hint) from error
    return target


def _write_local(path: Path, page: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(page)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return str(path)
