"""One self-contained HTML file per migration run: pictures first, the numbers behind them.

The page is made from plain data (`RunReport`) alone. It has no script, and its content security
policy forbids any, since titles and payloads come from the data. The same run gives the same bytes
under the same name, so that a retried task overwrites its own file.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import fsspec  # type: ignore[import-untyped]  # ships no types
import jinja2
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from data_platform.errors import ConfigurationError, TransientError
from data_platform.jobs.migration import charts
from data_platform.jobs.migration.next_steps import next_steps, verdict_of
from data_platform.jobs.migration.report_model import RunReport

__all__ = ["render_report", "write_report"]


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
