"""How the enrichment of a day stands between two tasks: small objects beside the staged files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Self
from uuid import uuid4

from data_platform.jobs.daily.known_articles import KnownArticles
from data_platform.jobs.daily.plan import DayPlan
from data_platform.jobs.enrichment.cells import Cells
from data_platform.jobs.enrichment.choose import choose_enricher
from data_platform.jobs.enrichment.codes import ThemeCodes
from data_platform.jobs.enrichment.interface import Enrichment, Progress
from data_platform.jobs.enrichment.job import EnrichmentJob
from data_platform.jobs.enrichment.provenance import Provenance
from data_platform.jobs.enrichment.records import Window
from data_platform.jobs.master_data import load_themes
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.ledger.write_once import WriteOnceObjects
from data_platform.managers.staging import StagedFile, Staging
from data_platform.managers.storage_adapter import MakeStore, StorageAdapter
from data_platform.models.themes import ThemeTree
from data_platform.settings import Settings

__all__ = ["Enriched", "EnrichmentState", "enriching"]


@contextmanager
def enriching(
    plan: DayPlan,
    settings: Settings,
    ledger: RunLedger,
    *,
    database_url: str = "",
    dataset: MakeStore | None = None,
    asks: bool = True,
) -> Iterator[tuple[EnrichmentJob, Window]]:
    """Give the job that enriches a day, and the days of publication that it looks at.

    Args:
        plan: of the day.
        settings: of the enricher and the stores.
        ledger: the run ledger.
        database_url: where it is recorded who wrote what besides; "" if PostgreSQL is not written.
        dataset: makes the HuggingFace side; None means `DatasetManager` of these settings.
        asks: whether an enricher is needed; what it said long ago is written without one.
    """
    codes = ThemeCodes(ThemeTree(load_themes(settings.themes_source)))
    enricher = choose_enricher(settings, codes) if asks and not plan.options.skip_enrichment else None
    provenance = Provenance(ledger, database_url=database_url, run_date=plan.run_date)
    window = Window(first=plan.first, last=max(plan.last, plan.first), late_days=plan.options.late_days)
    try:
        with StorageAdapter(
            plan.mode, settings=settings, ledger=ledger, run_date=plan.run_date, dataset=dataset
        ) as adapter:
            # A theme that only one store has, since the other missed the article, is not made anew: it would differ.
            yield EnrichmentJob(enricher, KnownArticles(adapter), codes, provenance=provenance), window
    finally:
        if enricher is not None:
            enricher.close()


@dataclass(frozen=True)
class EnrichmentState:
    """What was picked, and how far the enricher is.

    Attributes:
        picked: `Picked.to_dict`.
        progress: how far it is.
    """

    picked: Mapping[str, Any]
    progress: Progress

    def kept(self, staging: Staging, run_date: date, *, waits: bool) -> dict[str, Any]:
        """Keep this; return where, how many are pending, and whether waiting is of use."""
        values = {"picked": dict(self.picked), "progress": self.progress.to_dict()}
        return {
            "kept": _keep(staging, "enrichment", run_date, values),
            "ready": len(self.progress.ready),
            "pending": len(self.progress.pending),
            "failed": len(self.progress.failed),
            "problems": list(self.progress.problems)[:5],
            "waits": waits,
        }

    @classmethod
    def read(cls, staging: Staging, kept: Mapping[str, Any]) -> Self:
        """Read what `kept` returned."""
        values = _objects(staging).read(kept["kept"])
        return cls(values["picked"], Progress.from_dict(values["progress"]))


@dataclass(frozen=True)
class Enriched:
    """What is to be written.

    Attributes:
        staged: new rows, and those that are collected again, whole.
        late: themes and summaries of rows that are there, in files of whole columns.
        cells: who says what in all of them.
    """

    staged: StagedFile
    late: Sequence[StagedFile]
    cells: Sequence[Cells]

    def kept(self, staging: Staging, run_date: date) -> dict[str, Any]:
        """Keep this; return the files, and where the rest is."""
        cells = [
            {
                "enrichment": vars(each.enrichment) | {"notes": list(each.enrichment.notes)},
                "parts": sorted(each.parts),
                "columns": dict(each.columns),
                "before": dict(each.before),
            }
            for each in self.cells
        ]
        return {
            "staged": self.staged.to_dict(),
            "late": [file.to_dict() for file in self.late],
            "cells": _keep(staging, "cells", run_date, {"cells": cells}) if cells else "",
        }

    @classmethod
    def read(cls, staging: Staging, kept: Mapping[str, Any]) -> Self:
        """Read what `kept` returned."""
        told = _objects(staging).read(kept["cells"])["cells"] if kept["cells"] else []
        cells = [
            Cells(
                enrichment=Enrichment(**{**each["enrichment"], "notes": tuple(each["enrichment"]["notes"])}),
                parts=frozenset(each["parts"]),
                columns=each["columns"],
                before=each.get("before", {}),
            )
            for each in told
        ]
        late = [StagedFile.from_dict(file) for file in kept["late"]]
        return cls(StagedFile.from_dict(kept["staged"]), late, cells)


def _objects(staging: Staging) -> WriteOnceObjects:
    return WriteOnceObjects(staging.objects.uri, setting="STAGING_URI")


def _keep(staging: Staging, what: str, run_date: date, values: Mapping[str, Any]) -> str:
    name = f"{what}/{run_date.isoformat()}/{uuid4().hex}.json"
    _objects(staging).create(name, dict(values))
    return name
