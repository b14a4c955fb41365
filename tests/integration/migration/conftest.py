"""What the tests of the migration share: prepared databases, sources, and a migration in one call."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from data_platform.jobs.migration.job import MigrationJob, Outcome, validate_source
from data_platform.jobs.migration.records import MigrationOptions
from data_platform.jobs.migration.validation import ValidationResult
from data_platform.settings import Settings
from dev.embedded_postgres import EmbeddedPostgres
from tests.support.command_line import CommandLine
from tests.support.sources import Row, write_source
from tests.support.stores import Store, prepare

_TEMPLATE = "migration_template"


@pytest.fixture(scope="session")
def _template(postgres: EmbeddedPostgres) -> str:
    """A database with schema and master data, to copy: an upgrade for each test would take a second each."""
    prepare(postgres.create_database(_TEMPLATE))
    return _TEMPLATE


@pytest.fixture
def make_store(postgres: EmbeddedPostgres, _template: str) -> Iterator[Callable[[], Store]]:
    """A function that makes databases with schema and master data."""
    names: list[str] = []

    def make() -> Store:
        names.append(f"store_{secrets.token_hex(6)}")
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(names[-1]), sql.Identifier(_template))
            )
        return Store(postgres.url(names[-1]))

    yield make
    for name in names:
        postgres.drop_database(name)


@pytest.fixture
def store(make_store: Callable[[], Store]) -> Store:
    """A database with schema and master data."""
    return make_store()


@pytest.fixture
def commands(store: Store, tmp_path: Path) -> CommandLine:
    """The command line on `store`."""
    return CommandLine(store.url, tmp_path)


class Migrations:
    """Migrations of one source folder into one store, in this process."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder / "source"
        self.settings = Settings(database_url=store.url, reports_uri=str(folder / "reports"))

    def write(self, *files: Sequence[Row], **options: Any) -> Path:  # noqa: ANN401 - options of write_source
        """Put these files in the place of the source."""
        return write_source(self.folder, files, **options)

    def job(self, **options: Any) -> MigrationJob:  # noqa: ANN401 - fields of MigrationOptions
        """Return a migration of the source as it is."""
        chosen = {"source": str(self.folder), "parallel": 1, "batch_rows": 16, **options}
        return MigrationJob(self.settings, MigrationOptions(**chosen))

    def run(self, *, validate: bool = True, **options: Any) -> Outcome:  # noqa: ANN401 - fields of MigrationOptions
        """Migrate the source as it is."""
        return self.job(**options).run(validate=validate)

    def bring(self, *files: Sequence[Row], validate: bool = True, **options: Any) -> Outcome:  # noqa: ANN401
        """Write the source and migrate it."""
        self.write(*files)
        return self.run(validate=validate, **options)

    def validate(self) -> ValidationResult:
        """Compare the source as it is with the store."""
        return validate_source(self.settings, str(self.folder))


@pytest.fixture
def migrations(store: Store, tmp_path: Path) -> Migrations:
    """Migrations of `tmp_path/source` into `store`."""
    return Migrations(store, tmp_path)
