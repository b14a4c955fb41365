"""What the tests of the migration share: prepared databases, sources, and a migration in one call."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from data_platform.cli import main
from dev.embedded_postgres import EmbeddedPostgres
from tests.support.command_line import Command, CommandLine, Ran
from tests.support.migrations import Migrations
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


@pytest.fixture(autouse=True)
def _reports_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of commands that run in this process go to the test's folder."""
    monkeypatch.setenv("REPORTS_URI", str(tmp_path / "reports"))


@pytest.fixture
def commands(store: Store, tmp_path: Path) -> CommandLine:
    """The command line on `store`."""
    return CommandLine(store.url, tmp_path)


@pytest.fixture
def command(store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line on `store`, in this process."""
    monkeypatch.setenv("DATABASE_URL", store.url)

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        try:
            status = main([*arguments, "--json"])
        except SystemExit as error:  # arguments that argparse refuses
            status = int(error.code or 0)
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return run


@pytest.fixture
def migrations(store: Store, tmp_path: Path) -> Migrations:
    """Migrations of `tmp_path/source` into `store`."""
    return Migrations(store, tmp_path)
