"""Writers that race, a Hub that fails, a process that dies: every row gets in, once, and both datasets agree."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from data_platform.errors import DataPlatformError, StoreUnavailableError
from data_platform.failpoints import FAILPOINTS, FailpointError
from data_platform.managers.dataset_manager import DatasetManager
from dev.hub_server import Fault
from tests.support.hub import REDUCED, Hub, columns, parquet_bytes
from tests.support.sources import Row, article, articles

MAKE = Callable[..., DatasetManager]
HUB_POINTS = [name for name in FAILPOINTS if name.startswith("hub.")]
LEGACY = "data/train-00000-of-00001.parquet"

#: Inserts articles of the given numbers in a process of its own, and prints how many were inserted.
INSERT = """
import json, sys
from data_platform.managers.dataset_manager import DatasetManager
from tests.support.hub import columns
from tests.support.sources import article
print(json.dumps(DatasetManager().insert(columns([article(int(n)) for n in sys.argv[1:]]))))
"""


def ids(rows: list[Row]) -> list[str]:
    return sorted(row["unique_id"] for row in rows)


def agree(hub: Hub) -> bool:
    """Whether the reduced dataset has every row of the main one, and says that it does."""
    names = ("published_at", "agency", "title", "url")
    wanted = [{name: row[name] for name in names} for row in hub.all_rows()]
    return hub.all_rows(REDUCED) == wanted and hub.head() in hub.commits(REDUCED)[0]["title"]


def insert_elsewhere(hub: Hub, home: Path, *numbers: int, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", INSERT, *map(str, numbers)],
        env=hub.environment(
            home, PYTHONPATH=os.pathsep.join([str(Path.cwd()), os.environ["PYTHONPATH"]]), **environment
        ),
        capture_output=True,
        check=False,
        text=True,
    )


# ------------------------------------------------------------------------------------------------ races


def test_eight_racing_threads_get_all_their_rows_in(make_manager: MAKE, hub: Hub) -> None:
    make_manager().insert(columns(articles(30)))
    begin = threading.Barrier(8)

    def write(number: int) -> int:
        manager = make_manager()
        begin.wait()
        # Into months that others write too, and one that only this one writes.
        return manager.insert(columns([article(100 + number), article(100 + 8 + number), article(400 + 31 * number)]))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(write, range(8))) == [3] * 8
    wanted = [article(n) for n in [*range(30), *range(100, 116), *(400 + 31 * n for n in range(8))]]
    assert ids(hub.all_rows()) == ids(wanted)
    assert agree(hub)
    assert len(hub.commits()) == 2 + 8


def test_writers_of_the_same_rows_insert_each_once(make_manager: MAKE, hub: Hub) -> None:
    rows = articles(10)
    with ThreadPoolExecutor(4) as pool:
        inserted = list(pool.map(lambda _: make_manager().insert(columns(rows)), range(4)))
    assert sum(inserted) == 10
    assert ids(hub.all_rows()) == ids(rows)
    assert agree(hub)


@pytest.mark.slow
def test_eight_racing_processes_get_all_their_rows_in(hub: Hub, tmp_path: Path) -> None:
    """They share the folder of keys."""
    with ThreadPoolExecutor(8) as pool:
        ran = list(pool.map(lambda n: insert_elsewhere(hub, tmp_path / "home", n, 10 + n, 50 + n), range(8)))
    assert [json.loads(each.stdout) for each in ran] == [3] * 8
    assert ids(hub.all_rows()) == ids([article(n + more) for n in range(8) for more in (0, 10, 50)])
    assert agree(hub)


def test_a_writer_that_is_overtaken_does_its_work_anew(make_manager: MAKE, hub: Hub) -> None:
    """Somebody commits into the same month between reading and committing, several times."""
    manager = make_manager()
    manager.insert(columns(articles(3)))
    others = iter([article(10), article(11), article(12)])

    def overtake(dataset: str) -> None:
        hub.server.on_commit = None
        if (row := next(others, None)) is not None:
            make_manager(reduced=None).insert(columns([row]))
            hub.server.on_commit = overtake

    hub.server.on_commit = overtake
    assert manager.insert(columns([article(20)])) == 1
    hub.server.on_commit = None
    assert ids(hub.all_rows()) == ids([article(n) for n in (0, 1, 2, 10, 11, 12, 20)])
    assert agree(hub)


def test_of_two_updates_of_one_row_both_columns_stay(make_manager: MAKE, hub: Hub) -> None:
    """The second one is made anew from what the first one left: no update is lost."""
    import pandas as pd

    manager = make_manager()
    row = article(1)
    manager.insert(columns([row]))

    def overtake(dataset: str) -> None:
        hub.server.on_commit = None
        make_manager(reduced=None).update(pd.DataFrame({"unique_id": [row["unique_id"]], "summary": ["dele"]}))

    hub.server.on_commit = overtake
    assert manager.update(pd.DataFrame({"unique_id": [row["unique_id"]], "title": ["nosso"]})) == 1
    (found,) = hub.all_rows()
    assert (found["title"], found["summary"]) == ("nosso", "dele")


# ----------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST .*/commit/", 412, times=2),
        Fault("POST .*/commit/", 409, times=2),
        Fault("POST .*/commit/", 503, times=2),
        Fault("POST .*/commit/", 503, times=2, after=True),
        Fault("POST .*/commit/", 429, times=2, headers={"Retry-After": "0"}),
        Fault("POST .*/commit/", times=1, drop=True),
        Fault("POST .*/commit/", times=2, drop=True, after=True),
        Fault("GET .*/tree/", 503, times=2),
        Fault("GET .*/resolve/", 502, times=2),
        Fault("GET /blobs/", times=1, cut=50),
        Fault("POST .*/preupload/", 500, times=1),
        Fault("PUT /lfs/", 503, times=1),
        Fault("", 503, times=2),
    ],
    ids=lambda fault: f"{fault.pattern or 'any'}-{fault.status or 'lost'}{'-after' if fault.after else ''}",
)
def test_a_passing_fault_is_not_noticed(fault: Fault, make_manager: MAKE, hub: Hub) -> None:
    make_manager().insert(columns(articles(5)))
    hub.server.faults.append(replace(fault))
    assert make_manager(cache=None).insert(columns([article(7), article(40)])) == 2
    assert ids(hub.all_rows()) == ids([*articles(5), article(7), article(40)])
    assert len(hub.commits()) == 3
    assert agree(hub)


def test_a_lasting_fault_leaves_what_was_there(make_manager: MAKE, hub: Hub) -> None:
    make_manager().insert(columns(articles(5)))
    head = hub.head()
    hub.server.faults.append(Fault("POST .*/commit/", 503))
    with pytest.raises(StoreUnavailableError, match="503"):
        make_manager().insert(columns([article(7)]))
    assert hub.head() == head


def test_the_reduced_dataset_failing_says_that_the_main_one_has_its_rows(make_manager: MAKE, hub: Hub) -> None:
    make_manager().insert(columns(articles(5)))
    hub.server.faults.append(Fault(f"POST .*{REDUCED}/commit/", 503))
    with pytest.raises(StoreUnavailableError, match="the main dataset has its rows") as caught:
        make_manager().insert(columns([article(7)]))
    assert REDUCED in caught.value.message
    assert len(hub.all_rows()) == 6
    hub.server.faults.clear()
    assert make_manager().insert(columns([article(7)])) == 0
    assert agree(hub)


# ------------------------------------------------------------------------------------------------ kills


@pytest.mark.parametrize("nth", ["", ":2"])
@pytest.mark.parametrize("name", HUB_POINTS)
@pytest.mark.parametrize("legacy", [False, True])
def test_stopped_anywhere_the_same_call_again_ends_the_same(
    name: str, nth: str, legacy: bool, make_manager: MAKE, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_platform import failpoints

    if legacy:
        hub.put({LEGACY: parquet_bytes(articles(40))})
    else:
        make_manager().insert(columns(articles(40)))
    failpoints._passed.clear()
    monkeypatch.setenv("GOVBR_FAILPOINTS", f"{name}=raise{nth}")
    rows = columns([article(50), article(5)])
    stopped = False
    try:
        make_manager().insert(rows)
    except FailpointError:
        stopped = True
    assert stopped is not (name == "hub.between_datasets" and nth == ":2")  # passed once
    monkeypatch.delenv("GOVBR_FAILPOINTS")
    make_manager().insert(rows)
    assert ids(hub.all_rows()) == ids([*articles(40), article(50)])
    assert sorted(hub.rows()) == [f"data/train-2024-0{month}.parquet" for month in (3, 4)]
    assert agree(hub)


@pytest.mark.parametrize("name", HUB_POINTS)
def test_killed_anywhere_the_next_write_brings_both_together(
    name: str, make_manager: MAKE, hub: Hub, tmp_path: Path
) -> None:
    make_manager().insert(columns(articles(5)))
    killed = insert_elsewhere(hub, tmp_path / "home", 7, 40, GOVBR_FAILPOINTS=f"{name}=kill")
    assert killed.returncode == -signal.SIGKILL
    make_manager().insert(columns([article(8)]))  # another write, by somebody else
    there = {article(7)["unique_id"], article(40)["unique_id"]} & set(ids(hub.all_rows()))
    assert len(there) == (0 if name in {"hub.before_preupload", "hub.before_commit"} else 2)
    assert agree(hub)
    make_manager().insert(columns([article(7), article(40)]))
    assert ids(hub.all_rows()) == ids([*articles(5), *(article(n) for n in (7, 8, 40))])
    assert agree(hub)


def test_no_temporary_file_stays(make_manager: MAKE, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    hub.put({LEGACY: parquet_bytes(articles(40))})
    make_manager().insert(columns([article(50)]))
    make_manager().get("2024-03-01", "2024-03-31")
    hub.server.faults.append(Fault("POST .*/commit/", 507))
    with pytest.raises(DataPlatformError):
        make_manager().insert(columns([article(51)]))
    assert list(scratch.iterdir()) == []
