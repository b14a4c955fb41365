"""A staged batch, written again into one store: what it lost, or never got, comes back from the file.

It is a write like any other: by the rules of writing, recorded in the run ledger, under the ids that the batch got when
it was identified. Doing it twice changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from data_platform.errors import SourceError
from data_platform.jobs.daily.identify import unmixed
from data_platform.managers.interface import WriteOutcome
from data_platform.managers.ledger.run_ledger import RunLedger
from data_platform.managers.staging import StagedFile, Staging
from data_platform.managers.storage_adapter import MakeStore, StorageAdapter
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode
from data_platform.models.columns import REQUIRED_COLUMNS
from data_platform.settings import Settings

__all__ = ["Replay", "replay"]

_LOG = logging.getLogger(__name__)
_WHY = "a staged file is written again"


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What writing a staged file again did.

    Attributes:
        file: the staged file.
        store: the one that was written.
        operation: "insert" for whole rows; "update" for a file that only has columns of articles that are there.
        outcome: what became of each row.
        renamed: id in the file -> id written, where the first is another article's by now.
    """

    file: StagedFile
    store: str
    operation: str
    outcome: WriteOutcome
    renamed: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON values."""
        return {
            "file": self.file.to_dict(),
            "store": self.store,
            "operation": self.operation,
            "outcome": self.outcome.to_dict(),
            "renamed": dict(self.renamed),
        }


def replay(
    file: StagedFile,
    side: ReadSource,
    settings: Settings,
    *,
    allow_update: bool = True,
    make_store: MakeStore | None = None,
    ledger: RunLedger | None = None,
) -> Replay:
    """Write a staged batch into one store.

    Args:
        file: a batch whose rows have ids.
        side: the store.
        settings: of the store, the ledger and the place of staging.
        allow_update: whether articles that are there follow the batch; an older scrape never overwrites a newer one.
        make_store: makes the store; None means that of the settings.
        ledger: None means that of the settings.

    Raises:
        SourceError: the file is not there, or its rows have no ids yet.
        IntegrityError: it is not what was staged.
        DataPlatformError: the store's own error, after it was recorded.
    """
    rows = Staging.of(settings).read(file).columns()
    if "unique_id" not in rows:
        raise SourceError(
            f"the rows of {file.uri} have no unique_id",
            hint="identify them first (jobs.daily.identify); or replay the file that was made from this one",
        )
    mode = StorageMode(
        backend=StorageBackend(side.value), read_from=side, backend_source=_WHY, read_source=_WHY
    )  # fmt: skip
    makers: dict[str, Any] = {"postgres" if side is ReadSource.POSTGRES else "dataset": make_store}
    with StorageAdapter(
        mode, settings=settings, ledger=ledger, run_date=file.run_date, staged_file=file.uri, **makers
    ) as adapter:
        if set(REQUIRED_COLUMNS) <= rows.keys():
            rows, renamed = unmixed(rows, adapter.store(side))  # type: ignore[arg-type]
            outcome = adapter.insert_rows(rows, allow_update=allow_update)
            operation = "insert"
        else:
            import pandas as pd

            renamed, operation = {}, "update"
            outcome = adapter.update_rows(pd.DataFrame(rows, dtype=object))
    if renamed:
        _LOG.warning("%d ids of %s are other articles' by now; their rows got salted ones", len(renamed), file.uri)
    return Replay(
        file=file, store=side.value, operation=operation, outcome=outcome.outcomes[side.value], renamed=renamed
    )
