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
#: So many rows of which an enricher has nothing for one are no accident.
_MANY_ASKED = 25
#: So few rows without a theme may leave the days that are looked at: an enricher has nothing to say of some.
_FEW_LEAVING = 5
#: Rejects that need a person: at least so many, and more than this share of what was given.
_MANY_REJECTS, _REJECTS_SHARE = 5, 0.1


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
        """What needs a person though the news is written: sites, the enricher, rejects, agencies that nobody listed."""
        found = list(self.gathered["alerts"]) if self.gathered else []
        if self.problem:
            found.append(f"the day's news is not enriched: {self.problem}")
        return [*found, *self._of_enricher(), *self._of_writes()]

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
            "identified_by": str((self.gathered or {}).get("identified_by", "")),
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
        # Of sites that were read and then could not be gathered nothing is known here; the sides say why not.
        if self.gathered and self.coverage(plan) < plan.options.min_coverage:
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
        lines = [f"{plan.run_date}: {plan.first} to {plan.last}, {plan.mode.pair}"]
        if self.gathered:
            failed = f"; failed: {self._failed()}" if sites["failed"] else ""
            lines.append(f"  sites: {sites['read']} of {plan.sites} read{failed}")
            lines.append(f"  articles: {_numbers(self.gathered['identity'])}")
            if lost := sites.get("articles_failed"):
                lines.append(f"  {lost} articles could not be had: {_first(sites.get('missed', ()), lost)}")
        else:
            lines.append("  sites: what was found at them was not gathered")
        enrichment = (self.enriched or {}).get("enrichment")
        if enrichment:
            parts = ("picked", "enriched", "pending", "failed", "skipped")
            why = _numbers(enrichment.get("skipped_by_reason", {})) if enrichment["skipped"] else ""
            told = f"{_numbers({n: enrichment[n] for n in parts})}{f' ({why})' if why else ''}"
            lines.append(f"  {enrichment['enricher'] or 'no enricher'}: {told}")
        for side in plan.mode.sides:
            record = self.side(side)
            what = _numbers(record.counts) if record.status is Status.SUCCEEDED else f"FAILED: {record.error}"
            lines.append(f"  {side}: {what}")
        return lines + [f"  needs a person: {alert}" for alert in self.alerts]

    def _of_enricher(self) -> list[str]:
        """Say what of an enricher that runs needs a person: it may be green for ever and enrich nothing."""
        account = (self.enriched or {}).get("enrichment")
        if not account:
            return []
        found = []
        asked = account["picked"] - account["skipped"]
        if asked >= _MANY_ASKED and not account["enriched"]:
            told = _numbers({name: account[name] for name in ("pending", "failed")})
            why = "; ".join(list(account.get("problems", ()))[:1])
            found.append(f"{account['enricher']} has nothing for any of {asked} articles: {told}{why and f' ({why})'}")
        if (leaving := account.get("leaving", 0)) > _FEW_LEAVING:
            found.append(
                f"{leaving} articles have no theme or no summary and are too old to be asked for again by the next runs"
            )
        return found

    def _of_writes(self) -> list[str]:
        """Say what of writes that succeeded needs a person."""
        found = []
        agencies: dict[str, None] = {}
        for side, done in self.written.items():
            agencies |= dict.fromkeys(done.get("new_agencies", ()))
            counts = done["counts"].get("insert", {})
            given, rejected = counts.get("given", 0), counts.get("rejected", 0)
            if rejected >= _MANY_REJECTS and rejected > _REJECTS_SHARE * given:
                why = _numbers(done.get("rejected_by_reason", {}))
                found.append(f"{side} rejected {rejected} of {given} rows: {why}")
        if agencies:
            found.append(f"news of agencies that nobody listed: {_first(list(agencies), len(agencies))}")
        return found

    def _failed(self) -> str:
        failed = [f"{site} ({category})" for site, category in self.sites["failed"].items()]
        return _first(failed, len(failed))


def _first(names: Sequence[str], count: int) -> str:
    """Return the first of so many names, and how many more there are."""
    told = names[:_NAMED]
    return ", ".join(told) + (f" and {count - len(told)} more" if count > len(told) else "")


def _numbers(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count) or "nothing"
