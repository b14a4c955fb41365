"""The example for Streamlit, run headless on a real PostgreSQL; its frame against that of `load_dataset`."""

from __future__ import annotations

import importlib.util
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg.conninfo import conninfo_to_dict
from streamlit.testing.v1 import AppTest

from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.columns import COLUMN_NAMES, PUBLISHED_SCHEMA
from tests.support.hub import columns
from tests.support.sources import Row, article, theme_codes, theme_text
from tests.support.stores import Store

APP = Path(__file__).resolve().parents[3] / "docs" / "consumers" / "streamlit_app.py"
#: Awkward for both ways: no theme, half a theme, empty and missing lists, summer time, microseconds, nothing at all.
ROWS: list[Row] = [
    article(1, published_at=datetime(2024, 5, 2, 2, 59, 59, 999999, UTC), **theme_text("20")),
    article(2, published_at=datetime(2024, 5, 2, 3, tzinfo=UTC), tags=["a", "ação"], **theme_codes("05.02.03")),
    article(3, published_at=datetime(2024, 5, 3, 12, tzinfo=UTC), tags=[], summary=None, image=None),
    article(4, published_at=datetime(2018, 12, 1, 1, 30, tzinfo=UTC), updated_datetime=None, tags=None),
    article(5, published_at=datetime(2024, 5, 3, 13, tzinfo=UTC), agency="aeb", subtitle=None, category=None),
]


@pytest.fixture
def reader_url(store: Store) -> Iterator[str]:
    """The address of somebody who is in the role for readers, and nothing more."""
    PostgresManager(store.url).insert(columns(ROWS))
    name = f"leitor_{secrets.token_hex(4)}"
    with psycopg.connect(store.url) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x' IN ROLE govbrnews_reader".encode())
    told = conninfo_to_dict(store.url)
    yield f"postgresql://{name}:x@{told['host']}:{told['port']}/{told['dbname']}"
    with psycopg.connect(store.url) as connection:
        connection.execute(f"DROP ROLE {name}".encode())


@pytest.fixture
def app_module() -> Any:
    spec = importlib.util.spec_from_file_location("streamlit_app", APP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.read_news.clear()
    return module


@pytest.fixture
def page(reader_url: str, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("DATABASE_URL", reader_url)
    return AppTest.from_file(str(APP), default_timeout=30)


def shown(page: AppTest) -> dict[str, str]:
    assert not page.exception, page.exception
    return {metric.label: metric.value for metric in page.metric}


def test_a_panorama_of_some_days_and_agencies(page: AppTest) -> None:
    page.run()
    assert shown(page)["Notícias"] == "0"  # of the last days there are none
    page.sidebar.date_input("days").set_value((date(2024, 5, 2), date(2024, 5, 3))).run()
    assert shown(page) == {"Notícias": "3", "Sem tema": "0"}  # the first one is of the day before, in São Paulo
    table = page.dataframe[0].value
    assert table.loc["Total", "Total"] == 3
    assert table.loc["05 - Meio Ambiente", ROWS[1]["agency"]] == 1
    assert list(page.dataframe[1].value["title"]) == [ROWS[n]["title"] for n in (4, 2, 1)]
    page.sidebar.multiselect("agencies").set_value(["aeb"]).run()
    assert shown(page)["Notícias"] == "1"
    page.sidebar.date_input("days").set_value((date(2024, 5, 1), date(2024, 5, 1))).run()
    page.sidebar.multiselect("agencies").set_value([]).run()
    assert shown(page)["Notícias"] == "1"


_LOAD = """
import sys
from datasets import load_dataset
load_dataset("parquet", data_files=sys.argv[1], split="train", cache_dir=sys.argv[2]).to_pandas().to_pickle(sys.argv[3])
"""


def test_the_frame_is_that_of_load_dataset(reader_url: str, app_module: Any, tmp_path: Path) -> None:
    """Names, their order, dtypes and cells; so a notebook swaps the one for the other."""
    published = pa.Table.from_pylist([_told(row) for row in ROWS], schema=PUBLISHED_SCHEMA)
    pq.write_table(published, tmp_path / "train-2024-05.parquet")
    command = [sys.executable, "-c", _LOAD, *(str(tmp_path / n) for n in ("train-2024-05.parquet", "cache", "f.pkl"))]
    subprocess.run(command, check=True, capture_output=True)
    expected = pd.read_pickle(tmp_path / "f.pkl")  # noqa: S301 - written above
    found = app_module.read_news(reader_url, date(2018, 1, 1), date(2024, 12, 31))
    assert tuple(found.columns) == tuple(expected.columns) == COLUMN_NAMES
    assert found.dtypes.to_dict() == expected.dtypes.to_dict()
    order = ["unique_id"]
    found, expected = (frame.sort_values(order, ignore_index=True) for frame in (found, expected))
    for name in COLUMN_NAMES:
        assert list(map(_plain, found[name])) == list(map(_plain, expected[name])), name


def test_the_app_cannot_write(reader_url: str, app_module: Any) -> None:
    import sqlalchemy as sa

    with app_module.engine(reader_url).connect() as connection, pytest.raises(sa.exc.DBAPIError, match="read-only"):
        connection.execute(sa.text("CREATE TABLE x ()"))
    with app_module.engine(reader_url).connect() as connection, pytest.raises(sa.exc.DBAPIError, match="permission"):
        connection.execute(sa.text("SELECT 1 FROM news"))


def test_the_days_are_read_by_the_index(store: Store, reader_url: str, app_module: Any) -> None:
    with psycopg.connect(store.url) as connection:
        connection.execute("SET enable_seqscan = off")
        query = str(app_module.OF_DAYS).replace(":first", "'2024-05-01'").replace(":after", "'2024-05-02'")
        plan = connection.execute(f"EXPLAIN (FORMAT JSON) {query}".encode()).fetchall()
    assert "published_at" in json.dumps(plan)
    assert "news_published_at_idx" in json.dumps(plan)


def _told(row: Row) -> Row:
    """Return a row as it is published: extracted_at is UTC without saying so."""
    extracted = row["extracted_at"]
    return {**row, "extracted_at": extracted.astimezone(UTC).replace(tzinfo=None) if extracted else None}


def _plain(cell: Any) -> Any:
    if isinstance(cell, np.ndarray):
        return cell.tolist()
    return None if cell is None or cell is pd.NaT else cell
