"""`daily` as a person types it."""

from __future__ import annotations

import json

import pytest

from data_platform.cli import main


def test_a_day_on_a_shell_that_knows_no_mode_is_not_begun(capsys: pytest.CaptureFixture[str]) -> None:
    """Else it is written to the dataset alone, whatever Airflow's Variable says."""
    assert main(["daily", "--date", "2026-11-20", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], "daily writes" in told["error"]) == ("ConfigurationError", True)
    assert all(way in told["hint"] for way in ("STORAGE_BACKEND=", "--assume-mode"))
