"""A migration in one call, in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from data_platform import failpoints
from data_platform.jobs.migration.comparison import validate_source
from data_platform.jobs.migration.job import MigrationJob, Outcome
from data_platform.jobs.migration.records import MigrationOptions
from data_platform.jobs.migration.validation import ValidationResult
from data_platform.settings import Settings
from tests.support.sources import Row, write_source
from tests.support.stores import Store

__all__ = ["Migrations"]


class Migrations:
    """Migrations of one source folder into one store, in this process."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder / "source"
        self.settings = Settings(database_url=store.url, reports_uri=str(folder / "reports"))

    def write(self, *files: Sequence[Row], **options: Any) -> Path:
        """Put these files in the place of the source."""
        return write_source(self.folder, files, **options)

    def job(self, **options: Any) -> MigrationJob:
        """Return a migration of the source as it is."""
        chosen = {"source": str(self.folder), "parallel": 1, "batch_rows": 16, **options}
        return MigrationJob(self.settings, MigrationOptions(**chosen))

    def run(self, *, validate: bool = True, **options: Any) -> Outcome:
        """Migrate the source as it is."""
        return self.job(**options).run(validate=validate)

    def bring(self, *files: Sequence[Row], validate: bool = True, **options: Any) -> Outcome:
        """Write the source and migrate it."""
        self.write(*files)
        return self.run(validate=validate, **options)

    @contextmanager
    def interrupted(self, spec: str) -> Iterator[None]:
        """Expect that an exception is raised at a failpoint ("name" or "name:n" for the n-th time)."""
        name, _, nth = spec.partition(":")
        failpoints._passed.clear()
        os.environ["GOVBR_FAILPOINTS"] = f"{name}=raise:{nth or 1}"
        try:
            with pytest.raises(failpoints.FailpointError, match=f"^{name}$"):
                yield
        finally:
            del os.environ["GOVBR_FAILPOINTS"]

    def validate(self) -> ValidationResult:
        """Compare the source as it is with the store."""
        return validate_source(self.settings, str(self.folder))
