"""What the tests of the migration share: sources, commands, and a migration in one call."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_platform.cli import main
from tests.support.command_line import Command, CommandLine, Ran
from tests.support.migrations import Migrations
from tests.support.stores import Store


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
