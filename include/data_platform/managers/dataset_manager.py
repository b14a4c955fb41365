"""News in the dataset on the HuggingFace Hub, behind the interface of the old DatasetManager.

A write is one atomic commit of the monthly files that it touches (`hub.layout`), made from a known parent and made
anew when somebody else commits first. Which rows there are is read from the key columns alone (`hub.key_cache`). A
dataset in the legacy layout is adopted by the first write. The reduced dataset follows the main one (`hub.reduced`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.errors import ConfigurationError, IntegrityError, SourceError
from data_platform.failpoints import failpoint
from data_platform.managers.hub.adoption import AdoptedState, AdoptionPlan
from data_platform.managers.hub.edits import Edits, delete_edits, insert_edits, update_edits
from data_platform.managers.hub.key_cache import KeyCache, default_cache_folder
from data_platform.managers.hub.layout import write_partition
from data_platform.managers.hub.publish import PartitionFile, publish
from data_platform.managers.hub.reader import read_days
from data_platform.managers.hub.reduced import ReducedDataset
from data_platform.managers.hub.repository import HubRepository
from data_platform.managers.hub.scratch import scratch_folder
from data_platform.managers.hub.session import Backoff, HeadMovedError
from data_platform.managers.hub.state import MonthlyState, Snapshot, State
from data_platform.managers.interface import RejectSink, WriteOutcome
from data_platform.managers.ledger.kept_rejects import KeptRejects
from data_platform.managers.write_rules import ids_to_delete, plan_insert
from data_platform.models.columns import NORMAL_SCHEMA, PUBLISHED_SCHEMA, THEME_COLUMNS
from data_platform.models.days import Days
from data_platform.models.publication import published_frame
from data_platform.models.theme_cells import ThemeIndex
from data_platform.models.themes import parse_themes
from data_platform.models.yaml_source import display_source, read_text
from data_platform.settings import Settings
from data_platform.sources.given import batch_of_columns, batch_of_frame
from data_platform.sources.judged import Reject, judge

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RACE", "DatasetManager"]

_LOG = logging.getLogger(__name__)
#: How often a write begins anew because others commit first.
RACE = Backoff(tries=30, first_s=0.2, most_s=10.0, total_s=600.0)
_SHIPPED = files("data_platform").joinpath("catalogue", "themes.yaml")
_Plan = Callable[[State], tuple[Edits, WriteOutcome, Sequence[Reject]]]


class DatasetManager:
    """Reads and writes news in a dataset on the Hub. Safe to share between threads and to have in many processes.

    Args:
        dataset: id of the main dataset; None takes that of the settings.
        settings: endpoint, token and catalogue; None reads the environment.
        rejects: where rows go that cannot be stored; None keeps them below `STATE_URI` (`KeptRejects`).
        reduced: id of the reduced dataset; "" takes that of the settings, None leaves it alone.
        cache: folder where key columns are kept; "" is one below HF_HOME, None keeps none.
        backoff: how requests are tried again.
        timeout_s: the longest silence of the Hub that is borne, in seconds.

    Raises:
        ConfigurationError: the reduced dataset is the main one.
    """

    def __init__(
        self,
        dataset: str | None = None,
        *,
        settings: Settings | None = None,
        rejects: RejectSink | None = None,
        reduced: str | None = "",
        cache: str | Path | None = "",
        backoff: Backoff | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self._settings = settings or Settings.from_environment()
        chosen = (dataset or self._settings.hf_dataset).strip()
        self._on_purpose = bool(dataset) or _is_chosen(self._settings)
        self._rejects: RejectSink = rejects or KeptRejects.of(self._settings)
        self._themes: ThemeIndex | None = None
        self._cache = KeyCache(default_cache_folder() if cache == "" else Path(cache) if cache else None)
        self.repository = HubRepository(chosen, self._settings, backoff=backoff, timeout_s=timeout_s)
        self.reduced: ReducedDataset | None = None
        if reduced is not None:
            name = reduced.strip() or _reduced_of(chosen, self._settings).strip()
            other = HubRepository(name, self._settings, backoff=backoff, timeout_s=timeout_s)
            self.reduced = ReducedDataset(self.repository, other, RACE)

    # ------------------------------------------------------------------------------------------ writing

    def insert(self, new_data: Mapping[str, Sequence[Any]], allow_update: bool = False) -> int:  # noqa: FBT001, FBT002 - the old interface
        """Insert rows; return how many were inserted or, with `allow_update`, really changed.

        Args:
            new_data: column of the dataset -> one value a row; unique_id, agency, published_at and title are needed.
            allow_update: whether the scraper's columns of articles that are there follow these rows.

        Raises:
            ValueError: a column is unknown, missing or of another length; names it.
            ConfigurationError: dataset or token were not set on purpose, or the token is not valid.
            StoreUnavailableError, BusyError: worth trying again.
            StoreError: the Hub refuses.
        """
        return self.insert_rows(new_data, allow_update=allow_update).affected

    def insert_rows(self, new_data: Mapping[str, Sequence[Any]], *, allow_update: bool = False) -> WriteOutcome:
        """Insert rows and tell what became of each; see `insert`."""
        given = batch_of_columns(new_data)
        if not given.batch.num_rows:
            return WriteOutcome()
        self.require_purpose()
        read = judge("insert", given, self._theme_index())
        rejects = read.rejects()

        def plan(state: State) -> tuple[Edits, WriteOutcome, Sequence[Reject]]:
            return (*insert_edits(state, read, allow_update=allow_update), rejects)

        return self._write("insert", plan)

    def update(self, updated_df: pd.DataFrame) -> int:
        """Update rows by unique_id; return how many really changed.

        Args:
            updated_df: unique_id (column or index) and the columns to write. A null is written, an absent column stays
                as it is. What follows from a given theme code and is not given is made from the tree.

        Raises:
            ValueError: a column is unknown, there twice, or unique_id is missing; names it.
            ConfigurationError: dataset or token were not set on purpose, or the token is not valid.
            StoreUnavailableError, BusyError: worth trying again.
            StoreError: the Hub refuses.
        """
        return self.update_rows(updated_df).affected

    def update_rows(self, updated_df: pd.DataFrame) -> WriteOutcome:
        """Update rows and tell what became of each; see `update`."""
        given = batch_of_frame(updated_df)
        if not given.batch.num_rows:
            return WriteOutcome()
        self.require_purpose()
        themes = self._theme_index()
        whole = set(THEME_COLUMNS) <= set(given.batch.schema.names)
        read = judge("update", given, themes if whole else None).refuse_unreadable()
        return self._write("update", lambda state: update_edits(state, read, themes))

    def delete_rows(self, unique_ids: Sequence[str], *, reason: str) -> WriteOutcome:
        """Take rows out, in one commit that says why.

        Args:
            unique_ids: which; an id that is not there is counted as unchanged.
            reason: why; everybody can read it in the dataset's history.

        Raises:
            ValueError: there is an id that is none, or no reason.
            ConfigurationError, StoreError, StoreUnavailableError, BusyError: see `insert`.
        """
        ids = ids_to_delete(unique_ids, reason)
        if not ids:
            return WriteOutcome()
        self.require_purpose()
        return self._write("delete", lambda state: (*delete_edits(state, ids), ()), note=f"reason: {reason.strip()}")

    def plan_adoption(self) -> AdoptionPlan:
        """Count what adopting the legacy layout would do; nothing is written.

        Raises:
            SourceError: a file cannot be read; says what is wrong with it.
            StoreError: no such dataset, or no access.
            StoreUnavailableError: worth trying again.
        """
        with scratch_folder() as folder:
            return self._adopted(Snapshot.of(self.repository), folder).plan

    def adopt(self) -> AdoptionPlan | None:
        """Bring a dataset in the legacy layout into the monthly one, in one commit; None if it is so already.

        Raises:
            SourceError: a file cannot be read; says what is wrong with it.
            ConfigurationError, StoreError, StoreUnavailableError, BusyError: see `insert`.
        """
        self.require_purpose()
        plans: list[AdoptionPlan] = []

        def nothing(state: State) -> tuple[Edits, WriteOutcome, Sequence[Reject]]:
            plans[:] = [state.plan] if isinstance(state, AdoptedState) else []
            return Edits(), WriteOutcome(), ()

        self._write("adopt the monthly layout", nothing, even_unchanged=True)
        return plans[0] if plans else None

    # ------------------------------------------------------------------------------------------ reading

    def get(self, min_date: str, max_date: str, agency: str | None = None) -> pd.DataFrame:
        """Return the rows published on São Paulo days from min_date to max_date, both included.

        Args:
            min_date: first day, YYYY-MM-DD.
            max_date: last day, YYYY-MM-DD.
            agency: key of an agency; None means all.

        Returns:
            The 24 columns of the dataset in its types (`published_frame`), in order of published_at and unique_id.

        Raises:
            ValueError: a date is none.
            StoreError: no such dataset, or no access.
            StoreUnavailableError: worth trying again.
        """
        days = Days.of(min_date, max_date)
        with scratch_folder() as folder:
            rows = read_days(Snapshot.of(self.repository), days, agency, self._theme_index(), folder)
        return published_frame(rows)

    def get_by_unique_ids(self, unique_ids: Sequence[str]) -> pa.Table:
        """Return the rows with these ids that there are, in the types of `NORMAL_SCHEMA`, in no promised order."""
        ids = pa.array(sorted(set(unique_ids)), pa.string())
        found: list[pa.Table] = []
        with scratch_folder() as folder:
            state = self.state(Snapshot.of(self.repository), folder)
            matches = state.match(pa.RecordBatch.from_arrays([ids], names=["unique_id"]))
            for path in sorted(set(matches.places.values())):
                table = state.rows(path)
                found.append(table.filter(pc.is_in(table.column("unique_id"), value_set=ids)))
        return pa.concat_tables([NORMAL_SCHEMA.empty_table(), *found])

    def resolve_ids(self, new_data: Mapping[str, Sequence[Any]]) -> dict[str, str]:
        """Return which articles of a batch are here under another id: id given -> id here."""
        given = batch_of_columns(new_data)
        if not given.batch.num_rows:
            return {}
        read = judge("insert", given, self._theme_index())
        rows = read.cleaned.batch.filter(read.admitted)
        with scratch_folder() as folder:
            matches = self.state(Snapshot.of(self.repository), folder).match(rows)
        return dict(plan_insert(rows, matches.found, allow_update=False).ids)

    # ------------------------------------------------------------------------ for those who write it otherwise

    def state(self, snapshot: Snapshot, folder: Path, *, to_write: bool = False, any_types: bool = False) -> State:
        """Return the rows of a commit, whatever its layout.

        Args:
            snapshot: the commit.
            folder: for temporary files, deleted by its owner.
            to_write: whether rows of a legacy layout that admission refuses are kept as rejects.
            any_types: read files of the monthly layout too as if anybody might have made them.

        Raises:
            SourceError, StoreError, StoreUnavailableError: see `AdoptedState`.
        """
        if not (snapshot.layout.legacy or any_types):
            return MonthlyState(snapshot, self._cache, folder)
        keep = partial(self._keep, origin="adoption") if to_write else None  # who only looks keeps nothing
        return self._adopted(snapshot, folder, on_rejects=keep)

    @property
    def themes(self) -> ThemeIndex:
        """The known themes, by which rows are cleaned."""
        return self._theme_index()

    def require_purpose(self) -> None:
        """Refuse to write where nobody said to (DESIGN §2.15).

        Raises:
            ConfigurationError: the dataset or the token was not set.
        """
        if not self._on_purpose:
            raise ConfigurationError(
                f"{self.repository} is only the default and is not written", hint="set HF_DATASET to write to it"
            )
        self.repository.session.require_token()

    # ---------------------------------------------------------------------------------------- helpers

    def _adopted(
        self, snapshot: Snapshot, folder: Path, *, on_rejects: Callable[[Sequence[Reject]], object] | None = None
    ) -> AdoptedState:
        try:
            return AdoptedState(snapshot, self._theme_index(), folder, on_rejects=on_rejects)
        except SourceError as error:
            # Read as the files of a migration are, it is told of as one of this machine.
            told = error.message.replace(f"{folder}/", "data/")
            raise SourceError(
                f"{self.repository}: {told}",
                hint="mend or delete the file on the Hub, or revert the commit that brought it (see its history)",
            ) from error

    def _write(self, what: str, plan: _Plan, *, even_unchanged: bool = False, note: str = "") -> WriteOutcome:
        """Make one commit of a plan, and let the reduced dataset follow."""
        if self.reduced:
            self.reduced.require()
        outcome = RACE.run(lambda: self._attempt(what, plan, even_unchanged, note), on=(HeadMovedError,))
        failpoint("hub.between_datasets")
        if self.reduced:
            self.reduced.bring_up()
        _LOG.info("%s %s: %s", self.repository, what, outcome.counts)
        return outcome

    def _attempt(self, what: str, plan: _Plan, even_unchanged: bool, note: str) -> WriteOutcome:  # noqa: FBT001 - of `_write`
        with scratch_folder() as folder:
            snapshot = Snapshot.of(self.repository)
            state = self.state(snapshot, folder, to_write=True)
            edits, outcome, rejects = plan(state)
            self._keep(rejects, what)
            if edits or (even_unchanged and state.adopting):
                counts = f"inserted {outcome.inserted}, updated {outcome.updated}"
                counts = f"deleted {outcome.deleted}; {note}" if note else counts
                self._publish(snapshot, state, edits, folder, message=(what, counts))
        return outcome

    def _publish(
        self, snapshot: Snapshot, state: State, edits: Edits, folder: Path, *, message: tuple[str, str]
    ) -> None:
        here = list(state.partitions)
        touched = sorted({*here, *edits.paths}) if state.adopting else edits.paths

        def write(path: str, local: Path) -> int:
            # In one piece: taking rows in order from many would put the pieces together for each row group.
            rows = edits.applied(
                path, state.rows(path) if path in here else NORMAL_SCHEMA.empty_table()
            ).combine_chunks()
            pa.default_memory_pool().release_unused()
            return write_partition(local, rows) if rows.num_rows else 0

        what, description = message
        if isinstance(state, AdoptedState):
            _LOG.warning("%s adopts the monthly layout: %s", self.repository, state.plan.to_dict())
            description += f"; monthly layout adopted {state.plan}"
        publish(
            self.repository,
            snapshot,
            (PartitionFile(path, partial(write, path)) for path in touched),
            keep=[path for path in here if path not in touched],
            schema=PUBLISHED_SCHEMA,
            scratch=folder,
            title=f"{what.capitalize()}: {', '.join(_short(touched))}",
            description=description,
        )

    def _keep(self, rejects: Sequence[Reject], origin: str) -> None:
        if not rejects:
            return
        kept = self._rejects.keep(rejects, origin=origin)
        if kept != len(rejects):
            raise IntegrityError(
                f"{origin}: {len(rejects)} rows cannot be stored, and only {kept} of them were kept as rejects",
                hint="nothing was written; check STATE_URI",
            )
        _LOG.warning("%s: %d rows cannot be stored and are kept as rejects", origin, kept)

    def _theme_index(self) -> ThemeIndex:
        if self._themes is None:
            source = self._settings.themes_source
            text = read_text(source, what="themes") if source else _SHIPPED.read_text(encoding="utf-8")
            themes = parse_themes(text, origin=display_source(source) if source else "the shipped themes.yaml")
            self._themes = ThemeIndex.of((number, t.code, t.label) for number, t in enumerate(themes))
        return self._themes


def _is_chosen(settings: Settings) -> bool:
    return settings.hf_dataset != Settings().hf_dataset or bool(os.environ.get("HF_DATASET", "").strip())


def _reduced_of(dataset: str, settings: Settings) -> str:
    """Return the reduced dataset of a main one: that of the settings if it is of this one."""
    other = dataset != settings.hf_dataset or settings.hf_reduced_dataset == Settings().hf_reduced_dataset
    return f"{dataset}-reduced" if other else settings.hf_reduced_dataset


def _short(paths: Sequence[str]) -> list[str]:
    names = [Path(path).stem.removeprefix("train-") for path in paths]
    return names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"]  # noqa: PLR2004 - a readable title
