"""What an enrichment is asked for, what it picks, and what it tells afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from data_platform.errors import IntegrityError
from data_platform.jobs.enrichment.cells import Cells, update_frames
from data_platform.jobs.enrichment.interface import Failure, Row, Ticket
from data_platform.models.columns import COLUMNS, Owner

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EnrichmentAccount", "EnrichmentOutcome", "Picked", "Window", "counted"]

#: The columns that enrichment owns.
_ITS_COLUMNS = tuple(column.name for column in COLUMNS if column.owner is Owner.ENRICHMENT)


@dataclass(frozen=True, kw_only=True)
class Window:
    """The São Paulo days of publication whose rows are looked at, both ends included.

    Attributes:
        first: the first day that the run is for.
        last: the last one.
        late_days: how many days before them rows are looked at that were not ready in their time.
    """

    first: date
    last: date
    late_days: int = 14

    @property
    def begin(self) -> date:
        """The first day that is looked at."""
        return self.first - timedelta(days=self.late_days)


@dataclass(frozen=True, kw_only=True)
class Picked:
    """Rows that lack a theme or a summary.

    Attributes:
        rows: those to hand over, the newest first.
        fresh: ids of those that the store does not have yet.
        skipped: ids of rows that lack something and are not handed over -> the reason.
        leaving: ids of rows of the first day that is looked at, which a run for the next day does not look at any more;
            not of those without a text.
    """

    rows: tuple[Row, ...] = ()
    fresh: frozenset[str] = frozenset()
    skipped: Mapping[str, str] = field(default_factory=dict)
    leaving: frozenset[str] = frozenset()

    @property
    def unique_ids(self) -> list[str]:
        """The ids of the rows to hand over."""
        return [row["unique_id"] for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """Return what `finish` needs of this, as JSON values: all but the rows."""
        return {"fresh": sorted(self.fresh), "skipped": dict(self.skipped), "leaving": sorted(self.leaving)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Picked:
        """Read what `to_dict` wrote."""
        return cls(
            fresh=frozenset(values["fresh"]),
            skipped=dict(values["skipped"]),
            leaving=frozenset(values.get("leaving", ())),
        )


@dataclass(frozen=True, kw_only=True)
class EnrichmentAccount:
    """What became of the rows that lacked something: picked = enriched + pending + failed + skipped.

    Attributes:
        enricher: which one; "" for none.
        picked: rows without a theme or a summary.
        enriched: rows that get one or both.
        pending: rows to be asked for again on a later day.
        failed: rows for which the enricher has nothing, this time.
        skipped: rows that were not handed over, or for which it has nothing better than they have.
        leaving: of those that were not enriched, rows that the next run does not look at any more; in the others, too.
        failed_by_reason: how many for each reason.
        skipped_by_reason: the same.
        notes: words for codes that were left out -> how many rows.
        problems: what went wrong with a part and did not stop the rest.
    """

    enricher: str
    picked: int
    enriched: int
    pending: int
    failed: int
    skipped: int
    leaving: int = 0
    failed_by_reason: Mapping[str, int] = field(default_factory=dict)
    skipped_by_reason: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)
    problems: Sequence[str] = ()

    def checked(self) -> EnrichmentAccount:
        """Return this if it adds up.

        Raises:
            IntegrityError: a row is missing from it.
        """
        if self.picked != self.enriched + self.pending + self.failed + self.skipped:
            raise IntegrityError(f"the enrichment's rows do not add up: {self}", hint="nothing was written")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        return asdict(self) | {"problems": list(self.problems)}

    def __str__(self) -> str:
        """Return the account in one line, for a log."""
        told = f"{self.picked} without theme or summary = {self.enriched} enriched + {self.pending} pending"
        return f"{self.enricher or 'no enricher'}: {told} + {self.failed} failed + {self.skipped} skipped"


@dataclass(frozen=True, kw_only=True)
class EnrichmentOutcome:
    """What is to be written, and the account.

    Attributes:
        account: what became of each row.
        late: cells for rows that the store has.
        fresh: cells for rows that it does not have yet.
        pending: tickets of the rows to ask for again.
        failed: rows that failed, with reasons.
    """

    account: EnrichmentAccount
    late: tuple[Cells, ...] = ()
    fresh: tuple[Cells, ...] = ()
    pending: tuple[Ticket, ...] = ()
    failed: tuple[Failure, ...] = ()

    def frames(self) -> list[pd.DataFrame]:
        """Return what `update_rows` of a store is to be given: three frames at most, mostly one."""
        return update_frames(self.late)

    def columns_for(self, unique_ids: Sequence[str]) -> dict[str, list[str | None]]:
        """Return the columns of enrichment for rows that are about to be inserted, in their order.

        Args:
            unique_ids: of the rows; those that have nothing get null, which an insert makes of them anyway.
        """
        values = {cells.enrichment.unique_id: cells.columns for cells in self.fresh}
        return {name: [values.get(uid, {}).get(name) for uid in unique_ids] for name in _ITS_COLUMNS}


def counted(reasons: Mapping[str, str]) -> dict[str, int]:
    """Return how many ids there are for each reason."""
    return dict(Counter(reasons.values()))
