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

from data_platform.errors import ConfigurationError, IntegrityError
from data_platform.jobs.daily.day_record import DAY, DayRecord
from data_platform.jobs.daily.enriched import Enriched, EnrichmentState, enriching
from data_platform.jobs.daily.identify import identify_in
from data_platform.jobs.daily.plan import DayPlan
from data_platform.jobs.daily.site_health import site_alerts
from data_platform.jobs.daily.visits import Visit, record_visits, site_history
from data_platform.jobs.enrichment.choose import require_publishable
from data_platform.managers.ledger.entry import LedgerEntry, SideRecord, Status, new_entry_id
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.loopback import stores_outside
from data_platform.managers.staging import StagedFile, Staging
from data_platform.managers.storage_adapter import MakeStore, StorageAdapter
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode
from data_platform.models.days import utc_now
from data_platform.settings import Settings

if TYPE_CHECKING:
    from data_platform.jobs.enrichment.job import EnrichmentJob
    from data_platform.jobs.enrichment.records import Window

__all__ = ["DailyPipeline"]

_LOG = logging.getLogger(__name__)


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
        from data_platform.jobs.scraper.catalogue import choose_sites, load_sites
        from data_platform.jobs.scraper.rows import ROW_COLUMNS
        from data_platform.jobs.scraper.run import ScrapeOptions, scrape_sites

        plan = self.plan
        outside = stores_outside(self.settings, plan.mode.sides) if self.settings.scraper_base_url else []
        if outside:
            raise ConfigurationError(
                f"made-up news of {self.settings.scraper_base_url} is not written to {' and '.join(outside)}",
                hint="take SCRAPER_BASE_URL out of the environment",
            )
        sites = choose_sites(load_sites(self.settings.sites_source), self.plan.groups[number])
        columns: dict[str, list[Any]] = {name: [] for name in ROW_COLUMNS}
        visits: list[Visit] = []

        def take(outcome: Any) -> None:  # noqa: ANN401 - SiteOutcome, whose module is heavy
            for row in outcome.rows:
                for name in ROW_COLUMNS:
                    columns[name].append(row[name])
            visits.append(Visit.of(outcome, plan.run_date))

        options = ScrapeOptions(processes=processes)
        scrape_sites(sites, plan.window, self.settings, options=options, sink=take)
        staged = self.staging.write("scraped", plan.run_date, columns)
        for visit in sorted(visits, key=lambda visit: visit.site):
            _LOG.log(logging.WARNING if visit.failed else logging.INFO, "%s", visit)
        return {"group": number, "staged": staged.to_dict(), "visits": [visit.to_dict() for visit in visits]}

    def gather(self, groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Put the groups together: identify every article, each once, and record every visit.

        Args:
            groups: of `scrape`. The sites of a group that is missing count as not read, and are recorded as such.

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
            identified = identify_in(adapter, rows)
        staged = self.staging.write("identified", plan.run_date, identified.columns, made_from=files)
        visits = [Visit.from_dict(values) for group in groups for values in group["visits"]]
        lost = self._not_visited(groups)
        visits = sorted([*visits, *lost], key=lambda visit: visit.site)
        record_visits(visits, self.ledger, plan, database_url=self._database_url)
        alerts = site_alerts(site_history(self.ledger, plan.run_date), today=plan.run_date)
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
            },
            "alerts": [str(alert) for alert in alerts],
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
        """Stage the identified rows as they are: a later day enriches them.

        Args:
            gathered: of `gather`.
            problem: why they are not enriched; "" if nobody wanted it.
        """
        staged = StagedFile.from_dict(gathered["staged"])
        told = Enriched(staged=staged, late=[], cells=[]).kept(self.staging, self.plan.run_date)
        return told | ({"problem": problem} if problem else {})

    # ------------------------------------------------------------------------------------------- writing

    def write(self, side: ReadSource, enriched: Mapping[str, Any]) -> dict[str, Any]:
        """Write the day into one store; return what became of each row, by operation.

        Raises:
            DataPlatformError: the store's own error, after it was recorded in the ledger.
        """
        import pandas as pd

        day = Enriched.read(self.staging, enriched)
        why = f"one side of {self.plan.mode.backend}"
        mode = StorageMode(backend=StorageBackend(side.value), read_from=side, backend_source=why, read_source=why)
        counts: dict[str, dict[str, int]] = {}
        with self._writing(day, side):
            with self._adapter(mode, staged=day.staged) as adapter:
                rows = self.staging.read(day.staged).columns()
                counts["insert"] = adapter.insert_rows(rows, allow_update=True).counts
            for file in day.late:
                with self._adapter(mode, staged=file) as adapter:
                    frame = pd.DataFrame(self.staging.read(file).columns(), dtype=object)
                    done = adapter.update_rows(frame).counts
                counts["update"] = _summed(counts.get("update", {}), done)
        _LOG.info("%s: %s", side, counts)
        return {"side": side.value, "staged_file": day.staged.uri, "counts": counts}

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
            facts=day.facts | {"started_by": self.started_by, "first": self.plan.first.isoformat()},
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

    def _enriching(self) -> AbstractContextManager[tuple[EnrichmentJob, Window]]:
        return enriching(self.plan, self.settings, self.ledger, database_url=self._database_url, dataset=self._dataset)

    @contextmanager
    def _writing(self, day: Enriched, side: ReadSource) -> Iterator[None]:
        """Have it recorded who says what is written; without such cells no enricher is needed, nor asked for."""
        if not day.cells:
            yield
            return
        with self._enriching() as (job, _), job.writing(day.cells, self.settings, [side]):
            yield

    def _with_known(
        self,
        unique_ids: Sequence[str],
        cells: Mapping[str, Sequence[Any]],
        late: Mapping[str, Mapping[str, Any]],
    ) -> dict[str, list[Any]]:
        """Return the cells of enrichment, those included that the store that is read has, or gets now.

        A store that has an article keeps its own; but the other one may have missed it, and would get it bare.
        """
        with self._adapter() as adapter:
            known = {row["unique_id"]: row for row in adapter.get_by_unique_ids(unique_ids).to_pylist()}
        filled = {name: list(values) for name, values in cells.items()}
        for place, uid in enumerate(unique_ids):
            if uid in known:
                for name, values in filled.items():
                    values[place] = late.get(uid, {}).get(name, known[uid][name])
        return filled

    def _not_visited(self, groups: Sequence[Mapping[str, Any]]) -> list[Visit]:
        """Return the outcome of each site whose group did not come back."""
        from data_platform.jobs.scraper.catalogue import choose_sites, load_sites

        back = {group["group"] for group in groups}
        keys = [key for number, its in enumerate(self.plan.groups) if number not in back for key in its]
        lost = choose_sites(load_sites(self.settings.sites_source), keys) if keys else ()
        if lost:
            _LOG.error("%d sites were not visited, since their groups failed: %s", len(lost), ", ".join(keys))
        return [Visit.not_visited(site, utc_now()) for site in lost]


def _together(parts: Sequence[Mapping[str, Sequence[Any]]]) -> dict[str, list[Any]]:
    from data_platform.jobs.scraper.rows import ROW_COLUMNS

    return {name: [value for part in parts for value in part[name]] for name in ROW_COLUMNS}


def _summed(before: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {name: before.get(name, 0) + more.get(name, 0) for name in {**before, **more}}
