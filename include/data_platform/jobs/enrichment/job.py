"""EnrichmentJob: which rows lack a theme or a summary, what an enricher says of them, and what of that is written.

Its steps stand by themselves, so that a task may stop between two looks at a service and another go on: `pick`,
`submit`, `collect` as often as it takes, `finish`. What passes between them is small and goes through JSON, rows
excepted, which are only needed for `submit`. `run` does all of them in turn.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from data_platform.jobs.enrichment.cells import Cells, Mark, ThemeCells, missing_parts
from data_platform.jobs.enrichment.choose import require_publishable
from data_platform.jobs.enrichment.codes import ThemeCodes
from data_platform.jobs.enrichment.interface import Enricher, Progress, Row
from data_platform.jobs.enrichment.problems import EnricherUnavailableError
from data_platform.jobs.enrichment.provenance import Provenance
from data_platform.jobs.enrichment.records import EnrichmentAccount, EnrichmentOutcome, Picked, Window, counted
from data_platform.managers.interface import WriteOutcome
from data_platform.managers.storage_mode import ReadSource
from data_platform.managers.write_rules import complete, last_of_each
from data_platform.models.columns import THEME_COLUMNS
from data_platform.models.days import day_of
from data_platform.settings import Settings
from data_platform.sources.given import batch_of_columns, batch_of_frame
from data_platform.sources.judged import judge

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EnrichmentJob", "ReadsNews", "WritesNews"]

_LOG = logging.getLogger(__name__)
#: Days that are read at once: a day has 50 to 500 rows and may have 2,000, of 5 kB each.
_DAYS_AT_ONCE = 7
_ITS_CELLS = (*THEME_COLUMNS, "summary")


class ReadsNews(Protocol):
    """The store that is read."""

    def get(self, min_date: str, max_date: str, agency: str | None = None) -> pd.DataFrame:
        """Return the rows of some days."""

    def get_by_unique_ids(self, unique_ids: Sequence[str]) -> pa.Table:
        """Return rows by id."""


class WritesNews(Protocol):
    """What is written to: one store, or the adapter over both."""

    def update_rows(self, updated_df: pd.DataFrame) -> WriteOutcome:
        """Update rows and tell what became of each."""


class EnrichmentJob:
    """Enriches the rows of some days, and those of the days before that were not ready in their time.

    Args:
        enricher: None picks rows and says that nobody enriches them.
        store: the store that is read.
        codes: the tree.
        provenance: who wrote what; None means that nothing is known to be approximate, and nothing is recorded.
        most_rows: most rows that one run hands over, the newest first.
        clock: tells seconds.
        sleep: waits for some.
    """

    def __init__(
        self,
        enricher: Enricher | None,
        store: ReadsNews,
        codes: ThemeCodes,
        *,
        provenance: Provenance | None = None,
        most_rows: int = 5000,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.enricher = enricher
        self._store = store
        self._cells = ThemeCells(codes)
        self._provenance = provenance
        self._most_rows = most_rows
        self._clock = clock
        self._sleep = sleep

    def run(
        self,
        window: Window,
        *,
        fresh: Mapping[str, Sequence[Any]] | None = None,
        deadline_s: float = 1200.0,
        poll_s: float = 30.0,
    ) -> EnrichmentOutcome:
        """Do all steps, and wait for the enricher until the deadline.

        Args:
            window: the days.
            fresh: rows that the store does not have yet, column -> values, as they will be inserted.
            deadline_s: how long rows are waited for, in seconds, from their submission.
            poll_s: pause between two looks, in seconds.

        Raises:
            ConfigurationError, EnricherError: the enricher cannot be used as it is set, or refuses.
            EnricherUnavailableError: it does not answer at all; worth trying again.
            DataPlatformError: the store's own errors.
        """
        picked = self.pick(window, fresh=fresh)
        progress = self.submit(picked)
        ends = self._clock() + deadline_s
        while progress.pending and self.waits and self._clock() + poll_s <= ends:
            self._sleep(poll_s)
            progress = self.collect(progress)
        if progress.pending and self.waits:
            progress = self.collect(progress, final=True)
        return self.finish(window, picked, progress)

    @property
    def waits(self) -> bool:
        """Whether pending rows may get ready by waiting."""
        return self.enricher is not None and self.enricher.waits

    def pick(self, window: Window, *, fresh: Mapping[str, Sequence[Any]] | None = None) -> Picked:
        """Return the rows without a theme or a summary; for a real enricher also approximate and partial ones.

        A row whose text could not be had waits for it: what is made of a title alone would stay when the text is there.

        Args:
            window: the days that are looked at in the store.
            fresh: rows that the store does not have yet; of one that it has, its theme and summary count.
        """
        scraped, new = self._fresh(fresh or {})
        its = {row["unique_id"] for row in scraped}
        lacking = self._lacking(scraped, window)
        for rows in self._stored(window):
            lacking += self._lacking([row for row in rows if row["unique_id"] not in its], window)
        if self.enricher is None:
            return Picked(skipped=dict.fromkeys((row["unique_id"] for row in lacking), "no_enricher"))
        bare = [row["unique_id"] for row in lacking if not row["content"]]
        whole = [row for row in lacking if row["content"]]
        whole.sort(key=lambda row: (row["published_at"], row["unique_id"]), reverse=True)
        chosen, over = whole[: self._most_rows], whole[self._most_rows :]
        return Picked(
            rows=tuple(chosen),
            fresh=new.intersection(row["unique_id"] for row in chosen),
            skipped=dict.fromkeys(bare, "without_text")
            | dict.fromkeys((row["unique_id"] for row in over), "over_the_limit"),
            leaving=frozenset(row["unique_id"] for row in whole if day_of(row["published_at"]) <= window.begin),
        )

    def submit(self, picked: Picked) -> Progress:
        """Hand the picked rows over; see `Enricher.submit`."""
        if self.enricher is None or not picked.rows:
            return Progress()
        return self.enricher.submit(picked.rows).checked(picked.unique_ids)

    def collect(self, progress: Progress, *, final: bool = False) -> Progress:
        """Ask for the pending rows once more; if the service does not answer, they stay pending.

        Args:
            progress: where things stand.
            final: whether nobody will ask again today.
        """
        if self.enricher is None or not progress.pending:
            return progress
        try:
            later = self.enricher.collect(progress.pending, final=final)
        except EnricherUnavailableError as error:
            # What is ready is kept; the next look, or a later day, asks again.
            _LOG.warning("%s", error)
            return progress.followed_by(Progress(pending=progress.pending, problems=(str(error),)))
        return progress.followed_by(later.checked([ticket.unique_id for ticket in progress.pending]))

    def finish(
        self, window: Window, picked: Picked, progress: Progress, *, current: Mapping[str, Row] | None = None
    ) -> EnrichmentOutcome:
        """Say what is to be written into the rows as they are now, and give the account.

        Args:
            window: the days.
            picked: what was picked; its rows are not needed any more.
            progress: what the enricher said.
            current: the rows as they are; None reads them.
        """
        ids = [enrichment.unique_id for enrichment in progress.ready]
        rows = self._rows(ids) if current is None else current
        made = self._cells.to_write(progress.ready, rows, self._marks(ids, window))
        written = [cells for cells in made if cells.parts]
        nothing = {cells.enrichment.unique_id: "nothing_better" for cells in made if not cells.parts}
        skipped = {**picked.skipped, **nothing}
        left = picked.leaving - {cells.enrichment.unique_id for cells in made}
        account = EnrichmentAccount(
            enricher=self.enricher.name if self.enricher else "",
            picked=len(progress.ready) + len(progress.pending) + len(progress.failed) + len(picked.skipped),
            enriched=len(written),
            pending=len(progress.pending),
            failed=len(progress.failed),
            skipped=len(skipped),
            leaving=len(left),
            failed_by_reason=progress.failed_by_reason,
            skipped_by_reason=counted(skipped),
            notes=dict(Counter(note for cells in written for note in cells.enrichment.notes)),
            problems=progress.problems,
        ).checked()
        _LOG.info("enrichment: %s", account)
        return EnrichmentOutcome(
            account=account,
            late=tuple(cells for cells in written if cells.enrichment.unique_id in rows),
            fresh=tuple(cells for cells in written if cells.enrichment.unique_id not in rows),
            pending=progress.pending,
            failed=progress.failed,
        )

    def still_to_write(self, made: Sequence[Cells], rows: Sequence[Row], window: Window) -> list[Cells]:
        """Say what of cells that were made some time ago is to be written now; see `ThemeCells.still_to_write`.

        Args:
            made: of `finish`.
            rows: those of them that the store has that is written, as it has them.
            window: the days.
        """
        current = {row["unique_id"]: row for row in rows}
        marks = self._marks([cells.enrichment.unique_id for cells in made], window)
        return self._cells.still_to_write(made, current, marks)

    @contextmanager
    def writing(self, cells: Sequence[Cells], settings: Settings, sides: Collection[ReadSource]) -> Iterator[None]:
        """Refuse what may not be written, and record who said what is; to be open while it is written.

        Args:
            cells: what is written, into rows that are there or with new ones.
            settings: where the stores are.
            sides: which of them are written.

        Raises:
            ConfigurationError: approximate values would leave this machine.
        """
        approximate = any(each.enrichment.approximate for each in cells)
        require_publishable(settings, sides, approximate=approximate)
        with self._provenance.recorded(cells) if self._provenance else nullcontext():
            yield

    def write_late(
        self, outcome: EnrichmentOutcome, store: WritesNews, settings: Settings, sides: Collection[ReadSource]
    ) -> list[WriteOutcome]:
        """Write what is for rows that the store has, and record who said it; see `writing`.

        Args:
            outcome: what is to be written.
            store: what is written to.
            settings: where it is.
            sides: which stores that are.

        Raises:
            ConfigurationError: approximate values would leave this machine.
            DataPlatformError: the store's own errors.
        """
        with self.writing(outcome.late, settings, sides):
            return [store.update_rows(frame) for frame in outcome.frames()]

    # ------------------------------------------------------------------------------------------------

    def _lacking(self, rows: Sequence[Row], window: Window) -> list[Row]:
        approximate = self.enricher is None or self.enricher.approximate
        # Whether a value is approximate matters only to an enricher that may replace it.
        marks = {} if approximate else self._marks([row["unique_id"] for row in rows], window)

        def lacks(row: Row) -> bool:
            mark = marks.get(row["unique_id"], Mark())
            return mark.partial or bool(missing_parts(row, mark, approximate=approximate))

        return [row for row in rows if lacks(row)]

    def _marks(self, unique_ids: Sequence[str], window: Window) -> Mapping[str, Mark]:
        if self._provenance is None or not unique_ids:
            return {}
        return self._provenance.marks(unique_ids, since=window.begin)

    def _stored(self, window: Window) -> Iterator[list[Row]]:
        """Give the rows of the window in parts, so that only those that lack something are held together."""
        last = window.last
        while last >= window.begin:
            first = max(window.begin, last - timedelta(days=_DAYS_AT_ONCE - 1))
            frame = self._store.get(first.isoformat(), last.isoformat())
            if len(frame):
                yield batch_of_frame(frame).batch.to_pylist()
            last = first - timedelta(days=1)

    def _fresh(self, fresh: Mapping[str, Sequence[Any]]) -> tuple[list[Row], frozenset[str]]:
        """Return the fresh rows that can be stored, and the ids of those that the store does not have."""
        given = batch_of_columns(fresh)
        if not given.batch.num_rows:
            return [], frozenset()
        read = judge("enrich", given, self._cells.index)
        # Rows that cannot be stored are told of by the write, which keeps them as rejects.
        rows: list[Row] = complete(last_of_each(read.cleaned.batch.filter(read.admitted))).to_pylist()
        there = self._rows([row["unique_id"] for row in rows])
        kept = {uid: {name: known[name] for name in _ITS_CELLS} for uid, known in there.items()}
        # A text that could not be had this time is, after the write, the one that the store has.
        texts = {uid: known["content"] for uid, known in there.items()}
        made: list[Row] = [
            {**row, **kept.get(row["unique_id"], {}), "content": row["content"] or texts.get(row["unique_id"])}
            for row in rows
        ]
        return made, frozenset(row["unique_id"] for row in rows if row["unique_id"] not in there)

    def _rows(self, unique_ids: Sequence[str]) -> dict[str, Row]:
        if not unique_ids:
            return {}
        return {row["unique_id"]: row for row in self._store.get_by_unique_ids(unique_ids).to_pylist()}
