"""Batches between tasks: whole or not at all, and proven to be what was staged when they are read."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_platform.errors import ConfigurationError, IntegrityError, SourceError
from data_platform.managers.staging import StagedFile, Staging
from data_platform.models.columns import COLUMN_NAMES, NORMAL_SCHEMA
from data_platform.settings import Settings
from tests.support.hub import columns
from tests.support.sources import articles

DAY = date(2026, 11, 20)
AT = datetime(2026, 11, 20, 15, tzinfo=UTC)
ROWS: dict[str, list[Any]] = {
    "unique_id": ["a", "b", "c"],
    "agency": ["mec", "mec", "aeb"],
    "published_at": [AT, None, "quando der"],
    "title": ["Título", "No Title", "Ação"],
    "url": ["https://x.br/a", None, "https://x.br/c"],
    "tags": [["x", "y"], [], None],
    "content": ["Texto", "Error retrieving content", ""],
}


@pytest.fixture(params=["folder", "object storage"])
def staging(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Staging]:
    """A place in a folder, then one in object storage with an exclusive create."""
    name = uuid4().hex
    yield Staging(str(tmp_path / "staging") if request.param == "folder" else f"memory://{name}/staging")
    memory = fsspec.filesystem("memory")
    if memory.exists(f"/{name}"):
        memory.rm(f"/{name}", recursive=True)


@pytest.fixture
def folder(tmp_path: Path) -> Staging:
    """A place in a folder."""
    return Staging(str(tmp_path / "staging"))


def damage(file: StagedFile, change: Any) -> None:
    path = Path(file.uri)
    path.write_bytes(change(path.read_bytes()))


def test_rows_come_back_as_they_were_given(staging: Staging) -> None:
    """Nothing is cleaned on the way, and a cell that cannot be read keeps its text for the reject."""
    file = staging.write("identified", DAY, ROWS)
    assert (file.rows, file.kind, file.run_date) == (3, "identified", DAY)
    rows = staging.read(file)
    assert rows.columns() == ROWS
    assert rows.table.schema.names == [name for name in COLUMN_NAMES if name in ROWS]
    assert all(field == NORMAL_SCHEMA.field(field.name) for field in rows.table.schema)


def test_whole_rows_and_no_rows_come_back_too(staging: Staging) -> None:
    whole = columns(articles(7))
    back = staging.read(staging.write("day", DAY, whole)).columns()
    assert list(back) == list(COLUMN_NAMES)
    assert back["content"] == whole["content"]
    assert [at.timestamp() for at in back["published_at"]] == [at.timestamp() for at in whole["published_at"]]
    for nothing in ({}, {"agency": [], "title": []}):
        assert staging.read(staging.write("scraped", DAY, nothing)).columns() == nothing


def test_a_handle_is_small_plain_and_says_all_that_a_reader_needs(staging: Staging) -> None:
    file = staging.write("day", DAY, columns(articles(50)))
    told = json.loads(json.dumps(file.to_dict()))
    assert len(json.dumps(told)) < 600
    assert StagedFile.from_dict(told) == file
    elsewhere = Staging("memory://another-setting")  # the handle says where the rows are
    assert elsewhere.read(StagedFile.from_dict(told)).table.num_rows == 50
    for wrong in ({**told, "rows": 51}, {**told, "kind": "late"}, {"uri": "x"}, {**told, "uri": "/a/b.parquet"}):
        with pytest.raises(ConfigurationError):
            StagedFile.from_dict(wrong)


def test_the_same_rows_staged_again_are_the_same_file(staging: Staging) -> None:
    first = staging.write("day", DAY, ROWS)
    assert staging.write("day", DAY, ROWS) == first
    assert staging.write("day", DAY, {**ROWS, "title": ["outro", "No Title", "Ação"]}) != first
    assert staging.write("day", DAY + timedelta(days=1), ROWS) != first
    assert len(staging.files()) == 3
    assert staging.files("day", DAY)[0] == first
    assert staging.files("other") == []


def test_what_a_call_gets_wrong_is_named_and_nothing_is_staged(staging: Staging) -> None:
    for kind, rows, match in (
        ("day", {"agency": ["a"], "link": ["x"]}, "link"),
        ("day", {"agency": ["a"], "title": []}, "title"),
        ("Day 1", {"agency": ["a"]}, "kind"),
    ):
        with pytest.raises(ValueError, match=match):
            staging.write(kind, DAY, rows)
    assert staging.files() == []


# ----------------------------------------------------------------------------------------------- damaged files


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[: len(content) // 2],
        lambda _: b"",
        lambda content: content[:-9] + b"x" + content[-8:],
        lambda content: content + b"\n",
    ],
    ids=["torn", "empty", "one byte", "longer"],
)
def test_a_file_that_is_not_what_was_staged_is_refused(folder: Staging, change: Any) -> None:
    file = folder.write("day", DAY, ROWS)
    damage(file, change)
    with pytest.raises(IntegrityError, match="damaged"):
        folder.read(file)
    again = folder.write("day", DAY, ROWS)  # it is not taken for the same rows
    assert again != file
    assert folder.read(again).columns() == ROWS


def test_a_file_of_other_columns_or_rows_than_its_name_says_is_refused(folder: Staging) -> None:
    file = folder.write("day", DAY, ROWS)
    table = pq.read_table(file.uri)
    for wrong, match in (
        (table.slice(0, 2), "holds 2 rows"),
        (table.append_column("theme", pa.array(["x"] * 3)), "theme"),
        (table.set_column(0, "unique_id", pa.array([1, 2, 3])), "not 3 of the dataset's types"),
    ):
        pq.write_table(wrong, file.uri)
        content = Path(file.uri).read_bytes()
        forged = Path(file.uri.replace(file.sha256, hashlib.sha256(content).hexdigest()))
        forged.write_bytes(content)
        with pytest.raises(IntegrityError, match=match):
            folder.read(StagedFile.of_uri(str(forged)))


def test_a_file_that_is_not_there_is_told(staging: Staging) -> None:
    file = staging.write("day", DAY, ROWS)
    assert staging.remove(file)
    assert not staging.remove(file)
    with pytest.raises(SourceError, match="is not there"):
        staging.read(file)


def test_a_place_that_cannot_be_written_to_names_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match="STAGING_URI"):
        Staging(str(tmp_path / "file" / "staging")).write("day", DAY, ROWS)


# ------------------------------------------------------------------------------------- killed, and many at once

_KILLED = """
import os, signal, sys
from datetime import date
from data_platform.managers.ledger import write_once
from data_platform.managers.staging import Staging
kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "while writing":
    write_once.os.fsync = kill
else:
    write_once._give_name = kill
Staging(sys.argv[1]).write("day", date(2026, 11, 20), {"unique_id": ["a"] * 500, "agency": ["mec"] * 500})
"""


@pytest.mark.parametrize("when", ["while writing", "before the name"])
def test_a_writer_that_is_killed_leaves_no_file_behind_that_a_reader_could_take(folder: Staging, when: str) -> None:
    place = folder.objects.location
    ended = subprocess.run([sys.executable, "-c", _KILLED, place, when], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert folder.files() == []
    (left,) = (path for path in Path(place).rglob("*") if path.is_file())
    assert folder.objects.sweep(3600) == 0  # it may be at work
    os.utime(left, (time.time() - 7200,) * 2)
    assert folder.objects.sweep(3600) == 1
    assert not left.exists()


def _stage(place: str, seed: int) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    staging = Staging(place)
    made = []
    for _ in range(6):
        number = dice.randint(0, 3)
        made.append(staging.write("day", DAY, {"unique_id": [f"{number}"] * 300, "agency": ["mec"] * 300}).to_dict())
    return made


def test_writers_at_once_each_find_their_own_rows(folder: Staging) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        made = pool.starmap(_stage, [(folder.objects.location, seed) for seed in range(3)])
    for handle in (handle for handles in made for handle in handles):
        file = StagedFile.from_dict(handle)
        assert len(set(folder.read(file).columns()["unique_id"])) == 1
    assert {folder.read(file).columns()["unique_id"][0] for file in folder.files()} <= set("0123")


def test_the_setting_has_its_place() -> None:
    assert Staging.of(Settings.from_environment({"STAGING_URI": " memory://x/y/ \n"})).objects.uri == "memory://x/y"
    assert Settings.from_environment({}).staging_uri == "staging"
