"""`datasets.load_dataset`, normal and streaming, of both datasets after every kind of write, by LFS and by Xet.

Each writer and each reader is a process of its own, as in life: `datasets` and the Hub's client read their settings
when they are imported. Faults 45 to 49 of FIELD_FACTS §14 are what these keep away.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dev.hub_server import HubServer, HubStore
from tests.support.hub import DATASET, REDUCED, TOKEN, Hub, parquet_bytes
from tests.support.loading import load
from tests.support.sources import BRASILIA, article, articles

#: Loads both datasets in both ways; prints what came.
READ = """
import json, sys
from datasets import load_dataset

def told(rows):
    return sorted(str(row["title"]) + "|" + str(row["published_at"]) for row in rows)

found = {}
for name in sys.argv[1:]:
    whole = load_dataset(name, split="train")
    found[name] = {
        "columns": whole.column_names,
        "types": [str(field.type) for field in whole.features.arrow_schema],
        "rows": told(whole),
        "streamed": told(load_dataset(name, split="train", streaming=True)),
    }
print(json.dumps(found))
"""

WRITE = """
import json, sys
import pandas as pd
from data_platform.managers.dataset_manager import DatasetManager
from tests.support.hub import columns
from tests.support.sources import article, newer, BRASILIA
from datetime import datetime

manager = DatasetManager()
what = sys.argv[1]
if what == "insert":
    done = manager.insert(columns([article(n) for n in (1, 2, 40)]))
elif what == "allow_update":
    done = manager.insert(columns([newer(article(1), title="Novo")]), allow_update=True)
elif what == "update":
    done = manager.update(pd.DataFrame({"unique_id": [article(2)["unique_id"]], "summary": ["s"]}))
elif what == "move":
    moved = datetime(2025, 7, 2, tzinfo=BRASILIA)
    done = manager.update(pd.DataFrame({"unique_id": [article(40)["unique_id"]], "published_at": [moved]}))
elif what == "adopt":
    done = sum(manager.adopt().partitions.values())
print(json.dumps(done))
"""


class Life:
    """A Hub, writers and readers in one storage mode."""

    def __init__(self, hub: Hub, folder: Path, mode: str) -> None:
        self.hub = hub
        self._folder = folder
        self._environment = hub.environment(
            folder / "writer",
            HF_HUB_DISABLE_XET="0" if mode == "xet" else "1",
            PYTHONPATH=os.pathsep.join([str(Path.cwd()), os.environ["PYTHONPATH"]]),
        )

    def write(self, what: str) -> Any:
        command = [sys.executable, "-c", WRITE, what]
        ran = subprocess.run(command, env=self._environment, capture_output=True, check=False, text=True)
        assert ran.returncode == 0, ran.stderr[-3000:]
        return json.loads(ran.stdout.splitlines()[-1])

    def check(self) -> None:
        """Load both datasets, with the cache of earlier loads, and compare with what is there."""
        found = load(READ, DATASET, REDUCED, environment=self._environment | {"HF_HOME": str(self._folder / "reader")})
        rows = self.hub.all_rows()
        wanted = sorted(f"{row['title']}|{_shown(row['published_at'])}" for row in rows)
        for name in (DATASET, REDUCED):
            assert found[name]["rows"] == found[name]["streamed"] == wanted
        assert found[REDUCED]["columns"] == ["published_at", "agency", "title", "url"]
        assert len(found[DATASET]["columns"]) == 24
        assert found[DATASET]["types"][2:5] == ["timestamp[us, tz=-03:00]"] * 2 + ["timestamp[ns]"]


def _shown(at: datetime | None) -> str:
    return str(at and at.astimezone(BRASILIA))


@pytest.fixture(params=["lfs", "xet"])
def life(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Life]:
    store = HubStore(tmp_path / "hub")
    store.create(DATASET)
    store.create(REDUCED)
    with HubServer(store, tokens=[TOKEN], xet=request.param == "xet") as server:
        yield Life(Hub(store, server, tmp_path / "state"), tmp_path, request.param)


@pytest.mark.slow
def test_both_datasets_load_after_every_kind_of_write(life: Life) -> None:
    for what, done in (("insert", 3), ("allow_update", 1), ("update", 1), ("move", 1)):
        assert life.write(what) == done
        life.check()
    assert sorted(life.hub.rows()) == ["data/train-2024-03.parquet", "data/train-2025-07.parquet"]
    head = life.hub.head()
    assert [life.write(what) for what in ("insert", "allow_update", "update", "move")] == [0, 0, 0, 0]
    assert life.hub.head() == head


@pytest.mark.slow
def test_both_datasets_load_after_the_legacy_layout_was_adopted(life: Life) -> None:
    """With stale numbers in the card, other writers' files and rows without a date."""
    card = (
        "---\ndataset_info:\n  features:\n  - name: unique_id\n    dtype: string\n  splits:\n  - name: train\n"
        "    num_bytes: 7\n    num_examples: 3\n  download_size: 9\n  dataset_size: 7\n"
        "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n---\n"
    )
    undated = [article(1000, published_at=None), article(1001, title=None)]
    files = {
        "README.md": card.encode(),
        "dataset_info.json": b'{"splits": {}}',
        "data/train-00000-of-00001.parquet": parquet_bytes([*articles(50), *undated]),
        "data/train-2026-01-08-090031.parquet": parquet_bytes(articles(3, first=50)),
        "years/2024_news_dataset.csv": b"a\n1\n",
    }
    life.hub.put(files)
    assert life.write("adopt") == 55
    life.check()
    assert "data/train-undated.parquet" in life.hub.files()
    assert life.write("insert") == 0
    assert life.write("update") == 1
    life.check()


@pytest.mark.slow
def test_by_xet_little_more_than_what_is_new_is_stored(tmp_path: Path) -> None:
    import hashlib

    store = HubStore(tmp_path / "hub")
    store.create(DATASET)
    store.create(REDUCED)
    rows = [
        row | {"content": "".join(hashlib.sha256(f"{n} {i}".encode()).hexdigest() for i in range(70))}
        for n, row in enumerate(
            article(n, published_at=datetime(2024, 3, 1 + n % 28, tzinfo=BRASILIA)) for n in range(1500)
        )
    ]
    store.commit(DATASET, {"data/train-00000-of-00001.parquet": parquet_bytes(rows, row_group_rows=500)})
    with HubServer(store, tokens=[TOKEN], xet=True) as server:
        life = Life(Hub(store, server, tmp_path / "state"), tmp_path, "xet")
        life.write("adopt")
        before, size = server.stored_bytes, len(life.hub.content("data/train-2024-03.parquet"))
        assert life.write("update") == 1
        assert server.stored_bytes - before < size / 10
