"""The daily comparison of both stores: found, told, recorded in the run ledger and mirrored into sync_log."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import date
from typing import Any

from data_platform.errors import DataPlatformError
from data_platform.jobs.progress import Clock, LogProgress, Progress, peak_rss_mb
from data_platform.jobs.reconcile.drift import Looked, find_drift
from data_platform.jobs.reconcile.records import CompareOptions, Comparison, Drift
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.ledger.entry import LedgerEntry, SideRecord, Status, new_entry_id
from data_platform.managers.ledger.run_ledger import RECONCILE, RunLedger
from data_platform.managers.storage_mode import StorageMode
from data_platform.models.days import utc_now
from data_platform.schema import require_current
from data_platform.settings import Settings

__all__ = ["Comparer"]

_LOG = logging.getLogger(__name__)
#: What a record in the ledger calls the thing that ran: neither store was written.
_SIDE = "comparison"
#: What of a comparison an entry of the ledger holds; the rest is in the object that it names.
_FACTS = ("commit", "full", "passed", "unexplained", "accounted", "accounted_in_target", "explained_by_kind", "causes")


class Comparer:
    """Compares the dataset with PostgreSQL.

    Args:
        settings: database, Hub, ledger.
        mode: which stores are written, for the record.
        options: how they are compared.
        run_date: the São Paulo day that it is for, for the record.
        started_by: who started it, for the record.
        progress: told how it gets on.
        manager: the dataset; None takes that of the settings.
        ledger: None takes that of the settings.
    """

    def __init__(
        self,
        settings: Settings,
        mode: StorageMode,
        *,
        options: CompareOptions | None = None,
        run_date: date | None = None,
        started_by: str = "",
        progress: Progress | None = None,
        manager: DatasetManager | None = None,
        ledger: RunLedger | None = None,
    ) -> None:
        self.settings = settings
        self.mode = mode
        self.options = options or CompareOptions()
        self.run_date = run_date
        self.started_by = started_by
        self.progress: Progress = progress or LogProgress()
        self.manager = manager or DatasetManager(settings=settings)
        self.ledger = ledger or RunLedger.of(settings, mirrored=True)

    def run(self) -> Comparison:
        """Compare the stores and record what was found; see `find_drift` for what it may raise."""
        return self.look().comparison

    def look(self, *, record: bool = True) -> Drift:
        """Compare the stores; return how they differ, row by row.

        Args:
            record: whether that goes into the run ledger.
        """
        started, clock = utc_now(), Clock()
        try:
            require_current(self.settings.require_database())
            looked = find_drift(self.settings, self.manager, self.ledger, self.options, self.progress)
        except Exception as error:
            if record:
                self._record_failure(started, error)
            raise
        seconds = clock.seconds()["total"]
        comparison = replace(looked.drift.comparison, seconds=seconds, peak_rss_mb=peak_rss_mb())
        for line in comparison.lines():
            _LOG.info("%s", line)
        if record:
            self._record(started, comparison, looked)
        return replace(looked.drift, comparison=comparison)

    # ------------------------------------------------------------------------------------------------

    def _record(self, started: Any, comparison: Comparison, looked: Looked) -> None:  # noqa: ANN401 - datetime
        entry_id, ended = new_entry_id(), utc_now()
        remembered = looked.memory.keep(looked.partitions, at=ended, entry_id=entry_id)
        told = comparison.to_dict()
        facts = {name: told[name] for name in (*_FACTS, "columns", "days", "days_different", "differences", "sample")}
        side = SideRecord(status=Status.SUCCEEDED, counts=comparison.counts)
        self.ledger.record(
            self._entry(
                started,
                side,
                entry_id=entry_id,
                finished_at=ended,
                rows=comparison.source_rows,
                facts={**facts, "remembered": remembered, "started_by": self.started_by, "seconds": told["seconds"]},
            )
        )

    def _record_failure(self, started: Any, error: Exception) -> None:  # noqa: ANN401 - datetime
        side = SideRecord.failed(error)
        facts = {"passed": False, "started_by": self.started_by}
        try:
            self.ledger.record(self._entry(started, side, entry_id=new_entry_id(), finished_at=utc_now(), facts=facts))
        except DataPlatformError as other:
            error.add_note(f"and it is not in the run ledger: {other}")

    def _entry(self, started: Any, side: SideRecord, **more: Any) -> LedgerEntry:  # noqa: ANN401 - fields of an entry
        return LedgerEntry(
            kind=RECONCILE,
            started_at=started,
            run_date=self.run_date,
            operation=self.options.kind,
            mode=self.mode,
            sides={_SIDE: side},
            **more,
        )
