"""How a day's run ended: what every reader of the stores, and whoever is called at night, wants to know of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from data_platform.jobs.daily.plan import DayPlan
from data_platform.managers.ledger.entry import SideRecord, Status
from data_platform.managers.storage_mode import ReadSource

__all__ = ["DAY", "DayRecord"]

#: The kind of ledger entry: how a run of the pipeline ended.
DAY = "day"
_NAMED = 10


@dataclass(frozen=True, kw_only=True)
class DayRecord:
    """What the tasks of a run handed over; what a task that failed would have handed over is missing.

    Attributes:
        started_at: when the run began, with a zone.
        gathered: of `DailyPipeline.gather`.
        enriched: of `DailyPipeline.enriched` or `unenriched`.
        written: side -> of `DailyPipeline.write`, of the sides that were written.
        errors: side -> why not, of the others, as far as that is known.
    """

    started_at: datetime
    gathered: Mapping[str, Any] | None = None
    enriched: Mapping[str, Any] | None = None
    written: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of the day."""
        return int(self.enriched["staged"]["rows"]) if self.enriched else 0

    @property
    def staged_file(self) -> str:
        """Where they lie; "" if they were not staged."""
        return str(self.enriched["staged"]["uri"]) if self.enriched else ""

    @property
    def sites(self) -> Mapping[str, Any]:
        """What was found at the sites."""
        return self.gathered["sites"] if self.gathered else {"visited": 0, "read": 0, "failed": {}}

    @property
    def alerts(self) -> Sequence[str]:
        """What needs a person though the news is written: sites, and an enricher that did not work."""
        found = list(self.gathered["alerts"]) if self.gathered else []
        return [*found, f"the day's news is not enriched: {self.problem}"] if self.problem else found

    @property
    def problem(self) -> str:
        """Why nothing was enriched; "" if it was, or nobody wanted it."""
        return str((self.enriched or {}).get("problem", ""))

    @property
    def facts(self) -> dict[str, Any]:
        """What the ledger keeps of it."""
        return {
            "sites": dict(self.sites),
            "alerts": list(self.alerts),
            "identity": dict(self.gathered["identity"]) if self.gathered else {},
            "enrichment": dict((self.enriched or {}).get("enrichment") or {}),
            "not_enriched": self.problem,
        }

    def side(self, side: ReadSource) -> SideRecord:
        """Return what became of a store."""
        done = self.written.get(side.value)
        if done is None:
            told = self.errors.get(side.value) or "it was not written; the log of its task says why"
            return SideRecord(status=Status.FAILED, error_type="NotWritten", error=told, retryable=True)
        counts = {f"{what}_{name}": n for what, its in done["counts"].items() for name, n in its.items()}
        return SideRecord(status=Status.SUCCEEDED, counts=counts)

    def coverage(self, plan: DayPlan) -> float:
        """Return the share of sites that were read."""
        return float(self.sites["read"]) / plan.sites if plan.sites else 1.0

    def problems(self, plan: DayPlan) -> list[str]:
        """Say why the run must not be green."""
        found = [
            f"{side} was not written: {self.side(side).error}"
            for side in plan.mode.sides
            if side.value not in self.written
        ]
        if self.coverage(plan) < plan.options.min_coverage:
            found.append(
                f"only {self.sites['read']} of {plan.sites} sites were read, less than"
                f" {plan.options.min_coverage:.0%}: {self._failed()}"
            )
        return found

    @property
    def hint(self) -> str:
        """What to do about the problems."""
        return (
            "what was collected lies staged, and what one store has stays: mend the cause and clear the task that "
            "failed; python -m data_platform reconcile --repair missed brings to a store what it missed"
        )

    def lines(self, plan: DayPlan) -> list[str]:
        """Return this for a log or a terminal."""
        sites = self.sites
        lines = [
            f"{plan.run_date}: {plan.first} to {plan.last}, {plan.mode.pair}",
            f"  sites: {sites['read']} of {plan.sites} read{f'; failed: {self._failed()}' if sites['failed'] else ''}",
        ]
        if self.gathered:
            lines.append(f"  articles: {_numbers(self.gathered['identity'])}")
        enrichment = (self.enriched or {}).get("enrichment")
        if enrichment:
            parts = ("picked", "enriched", "pending", "failed", "skipped")
            lines.append(f"  {enrichment['enricher'] or 'no enricher'}: {_numbers({n: enrichment[n] for n in parts})}")
        for side in plan.mode.sides:
            record = self.side(side)
            what = _numbers(record.counts) if record.status is Status.SUCCEEDED else f"FAILED: {record.error}"
            lines.append(f"  {side}: {what}")
        return lines + [f"  needs a person: {alert}" for alert in self.alerts]

    def _failed(self) -> str:
        failed = [f"{site} ({category})" for site, category in self.sites["failed"].items()]
        more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        return ", ".join(failed[:_NAMED]) + more


def _numbers(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count) or "nothing"
