"""Which enricher wrote what: the run ledger always, the table `news_enrichment` where PostgreSQL is written.

It is asked which values are approximate, so that a real enricher may replace them and nothing else. Approximate values
are recorded before they are written and real ones after: whatever ends the process between the two, a value that is
approximate is never taken for a real one. The ledger is enough by itself (DESIGN §2.14): if the table does not answer,
that is logged and holds nothing up, least of all a write to the other store.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import LiteralString

from data_platform.errors import DataPlatformError
from data_platform.jobs.enrichment.cells import SUMMARY, THEME, Cells, Mark
from data_platform.managers.ledger.entry import IdList, LedgerEntry, new_entry_id
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.models.days import utc_now

__all__ = ["ENRICHMENT", "Provenance"]

_LOG = logging.getLogger(__name__)
#: The kind of ledger entry: what one enricher wrote into some rows.
ENRICHMENT = "enrichment"
_PARTS = (THEME, SUMMARY)

_RECORD: LiteralString = """
INSERT INTO news_enrichment AS e
       (unique_id, enricher, version, theme_approximate, summary_approximate, run_date, enriched_at)
SELECT unique_id, enricher, version, theme_approximate, summary_approximate, %(run_date)s, %(enriched_at)s
  FROM unnest(%(unique_ids)s::text[], %(enrichers)s::text[], %(versions)s::text[], %(themes)s::boolean[],
              %(summaries)s::boolean[]) AS s (unique_id, enricher, version, theme_approximate, summary_approximate)
 ORDER BY unique_id
ON CONFLICT (unique_id) DO UPDATE
   SET enricher = excluded.enricher, version = excluded.version,
       theme_approximate = coalesce(excluded.theme_approximate, e.theme_approximate),
       summary_approximate = coalesce(excluded.summary_approximate, e.summary_approximate),
       run_date = excluded.run_date, enriched_at = excluded.enriched_at
 WHERE excluded.enriched_at >= e.enriched_at
"""
_MARKS: LiteralString = """
SELECT unique_id, enriched_at, theme_approximate, summary_approximate
  FROM news_enrichment WHERE unique_id = ANY (%(unique_ids)s)
"""


@dataclass(frozen=True)
class _Said:
    """What a record says of one part of a row."""

    at: datetime
    approximate: bool
    partial: bool = False


class Provenance:
    """Records who wrote what, and tells it.

    Args:
        ledger: the run ledger.
        database_url: where the table is; "" if PostgreSQL is not written.
        run_date: the São Paulo day that the run is for.
    """

    def __init__(self, ledger: RunLedger, *, database_url: str = "", run_date: date | None = None) -> None:
        self.ledger = ledger
        self._database_url = database_url
        self._run_date = run_date
        self._from_ledger: tuple[date, dict[tuple[str, str], _Said]] | None = None

    def marks(self, unique_ids: Sequence[str], *, since: date) -> dict[str, Mark]:
        """Return which rows have approximate or partial values, by the newest record of each part.

        That a theme is partial stands in the ledger alone.

        Args:
            unique_ids: the rows.
            since: the first day of publication among them; no record of theirs is older.

        Raises:
            LedgerError, TransientError: the ledger does not tell.
        """
        known = dict(self._of_ledger(since))
        try:
            of_table = list(self._of_table(unique_ids))
        except DataPlatformError:
            _LOG.warning("which values are approximate is told by the run ledger alone", exc_info=True)
            of_table = []
        for uid, part, said in of_table:
            before = known.get((uid, part))
            if before is None:
                known[uid, part] = said
            elif said.at >= before.at:
                known[uid, part] = replace(said, partial=before.partial)
        found: dict[str, Mark] = {}
        for uid in unique_ids:
            theme, summary = (known.get((uid, part)) for part in _PARTS)
            mark = Mark(
                theme=bool(theme and theme.approximate),
                summary=bool(summary and summary.approximate),
                partial=bool(theme and theme.partial),
            )
            if mark != Mark():
                found[uid] = mark
        return found

    @contextmanager
    def recorded(self, given: Iterable[Cells]) -> Iterator[None]:
        """Record what is written while this is open: approximate values before, real ones if it ends well.

        Args:
            given: what is written.
        """
        cells = [each for each in given if each.parts]
        self._record([each for each in cells if each.enrichment.approximate])
        yield
        self._record([each for each in cells if not each.enrichment.approximate])

    # ------------------------------------------------------------------------------------------------

    def _record(self, given: Sequence[Cells]) -> None:
        if not given:
            return
        now = utc_now()
        self._from_ledger = None
        groups: dict[tuple[str, str, bool, bool, frozenset[str]], list[str]] = {}
        for cells in given:
            its = cells.enrichment
            key = (its.enricher, its.version, its.approximate, its.partial, cells.parts)
            groups.setdefault(key, []).append(its.unique_id)
        for (enricher, version, approximate, partial, parts), ids in groups.items():
            self.ledger.record(
                LedgerEntry(
                    kind=ENRICHMENT,
                    entry_id=new_entry_id(),
                    started_at=now,
                    finished_at=now,
                    run_date=self._run_date,
                    operation="+".join(part for part in _PARTS if part in parts),
                    rows=len(ids),
                    ids=IdList.of(ids),
                    facts={"enricher": enricher, "version": version, "approximate": approximate}
                    | ({"partial": True} if partial else {}),
                )
            )
        if self._database_url:
            try:
                self._into_table(given, now)
            except DataPlatformError:
                _LOG.warning("news_enrichment does not say who enriched %d rows", len(given), exc_info=True)

    def _into_table(self, given: Sequence[Cells], now: datetime) -> None:
        from data_platform.managers.postgres.database import connect, translate_errors

        def said(part: str) -> list[bool | None]:
            return [cells.enrichment.approximate if part in cells.parts else None for cells in given]

        values = {
            "unique_ids": [cells.enrichment.unique_id for cells in given],
            "enrichers": [cells.enrichment.enricher for cells in given],
            "versions": [cells.enrichment.version for cells in given],
            "themes": said(THEME),
            "summaries": said(SUMMARY),
            "run_date": self._run_date,
            "enriched_at": now,
        }
        with (
            translate_errors(),
            connect(self._database_url, purpose="enrichment record", autocommit=True) as connection,
        ):
            connection.execute(_RECORD, values)

    def _of_table(self, unique_ids: Sequence[str]) -> Iterator[tuple[str, str, _Said]]:
        if not self._database_url or not unique_ids:
            return
        from data_platform.managers.postgres.database import connect, translate_errors

        with (
            translate_errors(),
            connect(self._database_url, purpose="enrichment record", autocommit=True) as connection,
        ):
            found = connection.execute(_MARKS, {"unique_ids": list(unique_ids)}).fetchall()
        for uid, at, *approximate in found:
            for part, value in zip(_PARTS, approximate, strict=True):
                if value is not None:
                    yield uid, part, _Said(at, value)

    def _of_ledger(self, since: date) -> dict[tuple[str, str], _Said]:
        """Return (unique_id, part) -> the newest record; entries come in order of time."""
        if self._from_ledger is not None and self._from_ledger[0] <= since:
            return self._from_ledger[1]
        known: dict[tuple[str, str], _Said] = {}
        # A day earlier: a run may be for the day before the one on which its rows are dated.
        for entry in self.ledger.entries(ENRICHMENT, since=since - timedelta(days=1)):
            said = _Said(entry.at, bool(entry.facts.get("approximate")), bool(entry.facts.get("partial")))
            for uid in self.ledger.ids(entry.ids):
                known |= {(uid, part): said for part in entry.operation.split("+")}
        self._from_ledger = (since, known)
        return known
