"""The daily pipeline, step by step: collect, identify, enrich, write, record (DESIGN §5).

Each step is a call that another process may make: what goes from one to the next is small, fit for JSON, and rows lie
in staged files. A step done twice changes nothing: the same rows get the same ids, and a write that finds its rows
there changes none. Nothing is quiet: each site has an outcome, each row is in an account, each side of a write is
recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from data_platform.errors import ConfigurationError, DataPlatformError, IntegrityError
from data_platform.jobs.daily.day_record import DAY, DayRecord
from data_platform.jobs.daily.enriched import Enriched, EnrichmentState, enriching
from data_platform.jobs.daily.identify import identify_in
from data_platform.jobs.daily.known_articles import KnownArticles
from data_platform.jobs.daily.plan import DayPlan
from data_platform.jobs.daily.visits import Visit, not_visited, planned_sites, record_visits, told_alerts
from data_platform.jobs.enrichment.choose import require_publishable
from data_platform.managers.ledger.entry import LedgerEntry, SideRecord, Status, new_entry_id
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.loopback import stores_outside
from data_platform.managers.staging import StagedFile, Staging
from data_platform.managers.storage_adapter import MakeStore, StorageAdapter
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode
from data_platform.models.columns import THEME_COLUMNS
from data_platform.models.days import utc_now
from data_platform.settings import Settings

if TYPE_CHECKING:
    from data_platform.jobs.enrichment.cells import Cells
    from data_platform.jobs.enrichment.job import EnrichmentJob
    from data_platform.jobs.enrichment.records import Window

__all__ = ["DailyPipeline"]

_LOG = logging.getLogger(__name__)
#: Articles that could not be had, of all sites together, whose addresses are handed on.
_NAMED = 10


class DailyPipeline:
    """One run of the pipeline.

    Args:
        plan: what it does.
        settings: of the stores, the sites, the enricher, the ledger and the staging place.
        started_by: who started it, for the record.
        dataset: makes the HuggingFace side; None means `DatasetManager` of these settings.
    """

    def __init__(
        self, plan: DayPlan, settings: Settings, *, started_by: str = "", dataset: MakeStore | None = None
    ) -> None:
        self.plan = plan
        self.settings = settings
        self.started_by = started_by
        self._dataset = dataset
        self.staging = Staging.of(settings)
        writes_postgres = ReadSource.POSTGRES in plan.mode.sides
        self.ledger = RunLedger.of(settings, mirrored=writes_postgres and bool(settings.database_url))

    # ---------------------------------------------------------------------------------------- collecting

    def scrape(self, number: int, *, processes: int = 1) -> dict[str, Any]:
        """Collect the sites of one group, and stage their rows.

        Args:
            number: of the group.
            processes: processes that collect at the same time, this one among them; each gets its share of what may be
                asked of a host.

        Returns:
            `group`: the number; `staged`: the file; `visits`: what was found at each site (`Visit`).

        Raises:
            ConfigurationError: the sites are a stand-in, and a store that is written is not on this machine.
        """
        from data_platform.jobs.scraper.rows import ROW_COLUMNS
        from data_platform.jobs.scraper.run import ScrapeOptions, scrape_sites
        from data_platform.jobs.scraper.site import SiteLimits

        plan = self.plan
        outside = stores_outside(self.settings, plan.mode.sides) if self.settings.scraper_base_url else []
        if outside:
            raise ConfigurationError(
                f"made-up news of {self.settings.scraper_base_url} is not written to {' and '.join(outside)}",
                hint="take SCRAPER_BASE_URL out of the environment",
            )
        sites = planned_sites(plan.groups[number], self.settings.sites_source)
        columns: dict[str, list[Any]] = {name: [] for name in ROW_COLUMNS}
        visits: list[Visit] = []

        def take(outcome: Any) -> None:  # noqa: ANN401 - SiteOutcome, whose module is heavy
            for row in outcome.rows:
                for name in ROW_COLUMNS:
                    columns[name].append(row[name])
            visits.append(Visit.of(outcome, plan.run_date))

        options = ScrapeOptions(processes=processes, site=SiteLimits(seconds=plan.site_seconds))
        scrape_sites(sites, plan.window, self.settings, options=options, sink=take)
        staged = self.staging.write("scraped", plan.run_date, columns)
        for visit in sorted(visits, key=lambda visit: visit.site):
            _LOG.log(logging.WARNING if visit.failed else logging.INFO, "%s", visit)
        return {"group": number, "staged": staged.to_dict(), "visits": [visit.to_dict() for visit in visits]}

    def gather(self, groups: Sequence[Mapping[str, Any]], *, last_try: bool = True) -> dict[str, Any]:
        """Put the groups together: identify every article, each once, and record every visit.

        Args:
            groups: of `scrape`. Sites of the plan that are in none of them count as not read, and are recorded as such.
            last_try: whether this is not tried again if one of two stores does not answer; see `identify_in`.

        Returns:
            `staged`: the file of identified rows; `identity`: their account; `sites`: how many were visited and read,
            `alerts`: which of them need a person.

        Raises:
            IntegrityError: no group is there; so nothing is known of any site, which is not "no news".
        """
        plan = self.plan
        if not groups:
            raise IntegrityError("no site was visited: every group of sites failed", hint="the logs of scrape say why")
        files = [StagedFile.from_dict(group["staged"]) for group in groups]
        rows = _together([self.staging.read(file).columns() for file in files])
        with self._adapter() as adapter:
            identified = identify_in(adapter, rows, last_try=last_try)
        staged = self.staging.write("identified", plan.run_date, identified.columns, made_from=files)
        visits = [Visit.from_dict(values) for group in groups for values in group["visits"]]
        lost = not_visited(plan, visits, sites_source=self.settings.sites_source)
        visits = sorted([*visits, *lost], key=lambda visit: visit.site)
        not_copied = record_visits(visits, self.ledger, plan, database_url=self._database_url)
        alerts = [*told_alerts(self.ledger, plan.run_date), *identified.alerts]
        if not_copied:
            alerts.append(f"scrape_runs does not say what was found at the sites: {not_copied}")
        for alert in alerts:
            _LOG.error("%s", alert)
        return {
            "staged": staged.to_dict(),
            "identity": identified.account.to_dict(),
            "identified_by": identified.identity,
            "sites": {
                "visited": len(visits) - len(lost),
                "read": sum(not visit.failed for visit in visits),
                "failed": {visit.site: visit.category for visit in visits if visit.failed},
                "articles": sum(visit.articles for visit in visits),
                "articles_failed": sum(visit.articles_failed for visit in visits),
                "missed": [url for visit in visits for url in visit.missed][:_NAMED],
            },
            "alerts": alerts,
        }

    # ----------------------------------------------------------------------------------------- enriching

    def submit(self, gathered: Mapping[str, Any]) -> dict[str, Any]:
        """Hand rows without theme or summary over; return where that stands, and how many are pending.

        Raises:
            ConfigurationError: the enricher cannot be used as it is set, or its answers may not be written to the
                stores of this run: better said now than when they are written.
            EnricherError, EnricherUnavailableError: it refuses, or does not answer.
        """
        with self._enriching() as (job, window):
            approximate = job.enricher is not None and job.enricher.approximate
            require_publishable(self.settings, self.plan.mode.sides, approximate=approximate)
            picked = job.pick(window, fresh=self._identified(gathered))
            progress = job.submit(picked)
            waits = job.waits
        return EnrichmentState(picked.to_dict(), progress).kept(self.staging, self.plan.run_date, waits=waits)

    def collect(self, state: Mapping[str, Any], *, final: bool = False) -> dict[str, Any]:
        """Ask once more for what is pending.

        Args:
            state: what `submit` or the last `collect` returned.
            final: whether nobody will ask again today.
        """
        before = EnrichmentState.read(self.staging, state)
        with self._enriching() as (job, _):
            progress = job.collect(before.progress, final=final)
        after = EnrichmentState(before.picked, progress)
        return after.kept(self.staging, self.plan.run_date, waits=bool(state["waits"]))

    def enriched(self, gathered: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
        """Stage what is to be written: new rows with their themes and summaries, and those of rows that are there."""
        from data_platform.jobs.enrichment.records import Picked

        found = EnrichmentState.read(self.staging, state)
        identified = StagedFile.from_dict(gathered["staged"])
        with self._enriching() as (job, window):
            outcome = job.finish(window, Picked.from_dict(found.picked), found.progress)
        rows = self.staging.read(identified).columns()
        cells = outcome.columns_for(rows["unique_id"])
        if len(self.plan.mode.sides) > 1:
            cells = self._with_known(
                rows["unique_id"], cells, {c.enrichment.unique_id: c.columns for c in outcome.late}
            )
        made = {**rows, **cells}
        staged = self.staging.write("day", self.plan.run_date, made, made_from=[identified])
        late = [
            self.staging.write("late", self.plan.run_date, {name: list(frame[name]) for name in frame.columns})
            for frame in outcome.frames()
        ]
        enriched = Enriched(staged=staged, late=late, cells=[*outcome.fresh, *outcome.late])
        told = enriched.kept(self.staging, self.plan.run_date)
        return told | {"enrichment": outcome.account.to_dict()}

    def unenriched(self, gathered: Mapping[str, Any], *, problem: str = "") -> dict[str, Any]:
        """Stage the identified rows with what a store has of themes and summaries: a later day enriches the others.

        Args:
            gathered: of `gather`.
            problem: why they are not enriched; "" if nobody wanted it.
        """
        staged = StagedFile.from_dict(gathered["staged"])
        if len(self.plan.mode.sides) > 1:
            rows = self.staging.read(staged).columns()
            nothing = {name: [None] * staged.rows for name in (*THEME_COLUMNS, "summary")}
            try:
                made = {**rows, **self._with_known(rows["unique_id"], nothing, {})}
            except DataPlatformError:
                _LOG.warning(
                    "no store says which themes it has, so articles that are new to one get none", exc_info=True
                )
            else:
                staged = self.staging.write("day", self.plan.run_date, made, made_from=[staged])
        told = Enriched(staged=staged, late=[], cells=[]).kept(self.staging, self.plan.run_date)
        return told | ({"problem": problem} if problem else {})

    # ------------------------------------------------------------------------------------------- writing

    def write(self, side: ReadSource, enriched: Mapping[str, Any]) -> dict[str, Any]:
        """Write the day into one store; return what became of each row, by operation.

        Raises:
            DataPlatformError: the store's own error, after it was recorded in the ledger.
        """
        day = Enriched.read(self.staging, enriched)
        why = f"one side of {self.plan.mode.backend}"
        mode = StorageMode(backend=StorageBackend(side.value), read_from=side, backend_source=why, read_source=why)
        counts: dict[str, dict[str, int]] = {}
        told: dict[str, Any] = {}
        failed: list[DataPlatformError] = []
        with self._adapter(mode, staged=day.staged) as adapter, self._writing(day, side, adapter) as (cells, unread):
            rows = self.staging.read(day.staged).columns()
            try:
                outcome = adapter.insert_rows(rows, allow_update=True)
                counts["insert"] = outcome.counts
                told = {
                    "new_agencies": list(outcome.new_agencies),
                    "rejected_by_reason": dict(outcome.rejected_by_reason),
                }
            except DataPlatformError as error:
                failed.append(error)
            if unread is not None and not failed:
                # It answers again, and what it has is not known: old themes could come over newer ones.
                raise unread
            for file in day.late:
                # Attempted whatever became of the rows: only so is it in the ledger that this store lacks them.
                with self._adapter(mode, staged=file) as late:
                    for frame in self._frames(file, cells):
                        try:
                            done = late.update_rows(frame).counts
                        except DataPlatformError as error:
                            failed.append(error)
                        else:
                            counts["update"] = _summed(counts.get("update", {}), done)
            if failed:
                raise failed[0]
        _LOG.info("%s: %s", side, counts)
        return {"side": side.value, "staged_file": day.staged.uri, "counts": counts, **told}

    def record(self, day: DayRecord) -> dict[str, Any]:
        """Write down how the run ended; it is there before anything is raised.

        Raises:
            IntegrityError: a side that was to be written was not, or too few sites were read.
        """
        entry = LedgerEntry(
            kind=DAY,
            entry_id=new_entry_id(),
            started_at=day.started_at,
            finished_at=utc_now(),
            run_date=self.plan.run_date,
            operation="daily",
            mode=self.plan.mode,
            sides={
                side.value: day.side(side) if side in self.plan.mode.sides else SideRecord(status=Status.SKIPPED)
                for side in ReadSource
            },
            rows=day.rows,
            staged_file=day.staged_file,
            facts=day.facts
            | {"started_by": self.started_by, "first": self.plan.first.isoformat(), "part": self.plan.part},
        )
        self.ledger.record(entry)
        told = day.lines(self.plan)
        for line in told:
            _LOG.info("%s", line)
        if problems := day.problems(self.plan):
            raise IntegrityError("; ".join(problems), hint=day.hint)
        return {"lines": told, "alerts": list(day.alerts)}

    # ------------------------------------------------------------------------------------------- helpers

    @property
    def _database_url(self) -> str:
        return self.settings.database_url if ReadSource.POSTGRES in self.plan.mode.sides else ""

    def _adapter(self, mode: StorageMode | None = None, *, staged: StagedFile | None = None) -> StorageAdapter:
        return StorageAdapter(
            mode or self.plan.mode,
            settings=self.settings,
            ledger=self.ledger,
            run_date=self.plan.run_date,
            staged_file=staged.uri if staged else "",
            dataset=self._dataset,
        )

    def _identified(self, gathered: Mapping[str, Any]) -> dict[str, list[Any]]:
        return self.staging.read(StagedFile.from_dict(gathered["staged"])).columns()

    def _enriching(self, *, asks: bool = True) -> AbstractContextManager[tuple[EnrichmentJob, Window]]:
        url, dataset = self._database_url, self._dataset
        return enriching(self.plan, self.settings, self.ledger, database_url=url, dataset=dataset, asks=asks)

    @contextmanager
    def _writing(
        self, day: Enriched, side: ReadSource, adapter: StorageAdapter
    ) -> Iterator[tuple[Mapping[str, Cells], DataPlatformError | None]]:
        """Give what enrichers said and is still to be written, by id; have it recorded who said it.

        The write may come long after it was staged: what was written since stays (DESIGN §2.3). Given besides is why
        the store does not say what it has; then none of it may come over a row that is there.
        """
        unread: DataPlatformError | None = None
        if not day.cells:
            yield {}, None
            return
        try:
            rows = adapter.get_by_unique_ids([cells.enrichment.unique_id for cells in day.cells]).to_pylist()
        except DataPlatformError as error:
            # The write will meet the same, and it is that which is recorded.
            _LOG.warning("%s does not say what it has of the enriched rows", side, exc_info=True)
            rows, unread = [], error
        with self._enriching(asks=False) as (job, window):
            cells = job.still_to_write(day.cells, rows, window)
            with job.writing([each for each in cells if each.parts], self.settings, [side]):
                yield {each.enrichment.unique_id: each for each in cells}, unread

    def _frames(self, file: StagedFile, cells: Mapping[str, Cells]) -> list[Any]:
        """Return what is to be written of a file of late themes and summaries: frames, one at least."""
        import pandas as pd

        from data_platform.jobs.enrichment.cells import update_frames

        frame = pd.DataFrame(self.staging.read(file).columns(), dtype=object)
        return update_frames(cells[uid] for uid in frame["unique_id"]) or [frame.head(0)]

    def _with_known(
        self,
        unique_ids: Sequence[str],
        cells: Mapping[str, Sequence[Any]],
        late: Mapping[str, Mapping[str, Any]],
    ) -> dict[str, list[Any]]:
        """Return the cells of enrichment, those included that a store has, or gets now.

        A store that has an article keeps its own; but the other one may have missed it, and would get it bare.
        """
        with self._adapter() as adapter:
            known = {row["unique_id"]: row for row in KnownArticles(adapter).get_by_unique_ids(unique_ids).to_pylist()}
        filled = {name: list(values) for name, values in cells.items()}
        for place, uid in enumerate(unique_ids):
            if uid in known:
                for name, values in filled.items():
                    values[place] = late.get(uid, {}).get(name, known[uid][name])
        return filled


def _together(parts: Sequence[Mapping[str, Sequence[Any]]]) -> dict[str, list[Any]]:
    from data_platform.jobs.scraper.rows import ROW_COLUMNS

    return {name: [value for part in parts for value in part[name]] for name in ROW_COLUMNS}


def _summed(before: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {name: before.get(name, 0) + more.get(name, 0) for name in {**before, **more}}
