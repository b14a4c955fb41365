"""The local stack's Hub: the real client and our manager find the corpus there, and what they write stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from data_platform.managers.dataset_manager import DatasetManager
from data_platform.settings import Settings
from dev.local_hub import DATASET, local_hub
from tests.support.faces import as_columns
from tests.support.sources import article, articles, write_source


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HF_DATASET", DATASET)
    write_source(tmp_path / "corpus", [articles(4)])
    return tmp_path


def manager(folder: Path, environment: dict[str, str]) -> DatasetManager:
    return DatasetManager(settings=Settings.from_environment(environment), cache=None)


def test_the_corpus_is_there_and_can_be_written(folder: Path) -> None:
    with local_hub(folder / "hub", folder / "corpus") as environment:
        made = manager(folder, dict(environment) | {"STATE_URI": str(folder / "state")})
        assert len(made.get("2024-01-01", "2024-12-31")) == 4
        assert made.insert(as_columns([article(9)])) == 1
    with local_hub(folder / "hub", folder / "corpus") as environment:
        assert len(manager(folder, dict(environment)).get("2024-01-01", "2024-12-31")) == 5
