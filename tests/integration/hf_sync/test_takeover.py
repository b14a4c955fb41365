"""The first sync onto the legacy layout: one commit, every published row accounted for, every reader at rest."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data_platform.errors import IntegrityError
from data_platform.jobs.hf_sync.records import SyncOutcome
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.hub.layout import UNDATED
from data_platform.managers.postgres import database
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.columns import COLUMN_NAMES, PUBLISHED_SCHEMA
from dev.hub_server import Fault
from tests.support.hub import DATASET, QUICK, REDUCED, Hub, parquet_bytes, published
from tests.support.loading import load
from tests.support.migrations import Migrations
from tests.support.sources import BRASILIA, Row, article, articles, newer, theme_text
from tests.support.stores import Store
from tests.support.syncs import Jobs, checked, in_step, said_by_the_hub

BASE = [f"data/train-{n:05d}-of-00003.parquet" for n in range(3)]
SHARD = "data/train-2026-01-08-090031.parquet"
CARD = (
    "---\nlicense: mit\ndataset_info:\n  features:\n  - name: unique_id\n    dtype: string\n  splits:\n"
    "  - name: train\n    num_bytes: 7\n    num_examples: 3\n  download_size: 9\n  dataset_size: 7\n"
    "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n---\n# Notícias\n"
)
SOUND_CARD = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n---\n"


def legacy() -> dict[str, list[Row]]:
    """Base shards and an increment, with the quirks that such files have and that load all the same."""
    rows = articles(40)
    label = theme_text("01") | {"theme_1_level_1": "Economia e Finanças"}
    rows[4] |= label
    rows[7]["category"] = "No Category"
    rows[8]["video_url"] = ""
    rows[9]["content"] = "Error retrieving content"
    rows[11]["title"] = "\u200bTítulo com espaço\u00a0"
    rows[12]["published_at"] = datetime(2018, 11, 30, 23, tzinfo=BRASILIA)  # midnight of December, in summer time
    rows[13]["published_at"] = datetime(2003, 1, 1, tzinfo=BRASILIA)
    rows[14] |= {"agency": rows[15]["agency"], "url": rows[15]["url"] + "/view"}  # one article, two ids
    undated = [article(90, unique_id="no date", published_at=None), article(91, unique_id="no title", title="No Title")]
    shard = [
        article(50) | label,
        newer(rows[2], title="Corrigido"),  # the same id, newer
        newer(rows[3]),  # the same id and the same text
        article(51),
    ]
    return {BASE[0]: rows[:15], BASE[1]: rows[15:30], BASE[2]: [*rows[30:], *undated], SHARD: shard}


def put(hub: Hub, files: dict[str, list[Row]]) -> None:
    contents = {path: parquet_bytes(rows) for path, rows in files.items()}
    hub.put({"README.md": CARD.encode(), "dataset_info.json": b'{"splits": {}}', **contents})
    reduced = pa.schema([PUBLISHED_SCHEMA.field(name) for name in ("published_at", "agency", "title", "url")])
    contents = {
        path: parquet_bytes([{n: row[n] for n in reduced.names} for row in rows], schema=reduced)
        for path, rows in files.items()
    }
    hub.put({"README.md": SOUND_CARD.encode(), **contents}, dataset=REDUCED)


@pytest.fixture
def migrations(store: Store, tmp_path: Path) -> Migrations:
    return Migrations(store, tmp_path)


def migrate(migrations: Migrations, files: dict[str, list[Row]], **options: Any) -> None:
    from tests.support.sources import write_source

    write_source(migrations.folder, {Path(path).name: rows for path, rows in files.items()}, **options)
    migrations.run(max_reject_rate=1.0)


def held_of(files: dict[str, list[Row]]) -> list[Row]:
    return [published(row) for rows in files.values() for row in rows if row["unique_id"] in {"no date", "no title"}]


def test_it_becomes_the_new_layout_in_one_commit_with_every_row_accounted_for(
    hub: Hub, store: Store, make_job: Jobs, migrations: Migrations
) -> None:
    files = legacy()
    put(hub, files)
    migrate(migrations, files)
    commits = len(hub.commits())
    told = make_job(dry_run=True).run()
    outcome = checked(make_job(), hub, store, held=held_of(files))
    assert len(hub.commits()) == commits + 1
    assert set(outcome.removed) == set(files)
    assert "dataset_info.json" not in hub.files()
    assert (told.account, told.adoption) == (outcome.account, outcome.adoption)
    account = outcome.account
    assert account is not None
    parts = ("in_postgres", "held", "released", "deleted", "duplicates", "unexplained")
    assert account.published == sum(len(rows) for rows in files.values()) == sum(getattr(account, p) for p in parts)
    assert (account.held, account.duplicates, account.unexplained, account.new) == (2, 2, 0, 0)
    assert account.changed == 0  # what PostgreSQL has of each row is what the cleaning makes of it
    assert outcome.rows == account.published - 2
    cells_cleaned(files, hub, outcome)
    message = hub.commits()[0]["message"]
    assert "44 rows published before" in message or str(account) in message
    assert "monthly layout adopted" in message
    card = hub.content("README.md").decode()
    assert "num_examples" not in card
    assert "license: mit" in card
    assert checked(make_job(), hub, store, held=held_of(files)).committed is False
    assert make_job().verify().passed


def cells_cleaned(files: dict[str, list[Row]], hub: Hub, outcome: SyncOutcome) -> None:
    """Every cell is as it was published, but for those cleanings that the plan counts."""
    before: dict[str, Row] = {}
    for rows in files.values():
        for row in rows:
            there = before.get(row["unique_id"])
            if there is None or row["extracted_at"] >= there["extracted_at"]:
                before[row["unique_id"]] = published(row)
    after = {row["unique_id"]: row for row in hub.all_rows()}
    assert before.keys() == after.keys()
    differ = Counter(n for uid, row in before.items() for n in COLUMN_NAMES if row[n] != after[uid][n])
    assert outcome.adoption is not None
    counted: Counter[str] = Counter()
    for kind, cells in outcome.adoption["cleanings"].items():
        counted[kind.rpartition(":")[2]] += cells
    assert differ == counted
    assert {"theme_1_level_1", "category", "video_url", "content"} <= counted.keys()


def test_rows_that_postgresql_lacks_stop_the_takeover(
    hub: Hub, store: Store, make_job: Jobs, migrations: Migrations
) -> None:
    files = legacy()
    migrate(migrations, files)
    put(hub, files | {SHARD: [*files[SHARD], article(60, unique_id="came later")]})
    before = said_by_the_hub(hub)
    with pytest.raises(IntegrityError, match="1 published rows are unknown to PostgreSQL and would go: came later"):
        make_job().run()
    assert said_by_the_hub(hub) == before


def test_cells_that_postgresql_has_otherwise_are_counted_and_named(
    hub: Hub, store: Store, make_job: Jobs, migrations: Migrations
) -> None:
    files = legacy()
    migrate(migrations, files)
    put(hub, files)
    store.execute("UPDATE news SET title = 'enriquecido' WHERE published_date = '2003-01-01'")
    outcome = checked(make_job(), hub, store, held=held_of(files))
    assert outcome.account is not None
    assert (outcome.account.changed, outcome.account.changed_ids) == (1, [article(13)["unique_id"]])


@pytest.mark.parametrize("types", ["string dates", "naive instants", "null video", "other order"])
def test_files_of_odd_types_are_taken_over_like_all_others(
    hub: Hub, store: Store, make_job: Jobs, migrations: Migrations, types: str
) -> None:
    """As other writers left them; some of them no reader could load."""
    rows = articles(9)
    given, schema = rows, PUBLISHED_SCHEMA
    if types == "string dates":
        for at, name in ((2, "published_at"), (3, "updated_datetime"), (4, "extracted_at")):
            schema = schema.set(at, pa.field(name, pa.string()))
            given = [r | {name: r[name] and r[name].isoformat()} for r in given]
    elif types == "naive instants":
        schema = schema.set(2, pa.field("published_at", pa.timestamp("us", "UTC")))
    elif types == "null video":
        schema = schema.set(11, pa.field("video_url", pa.null()))
    else:
        schema = pa.schema([schema.field(n) for n in sorted(schema.names, reverse=True)])
    files = {BASE[0]: given}
    hub.put({BASE[0]: parquet_bytes(given, schema=schema)})
    migrate(migrations, files, schema=schema)
    outcome = checked(make_job(), hub, store)
    assert outcome.account is not None
    assert (outcome.account.in_postgres, outcome.account.changed) == (9, 0)


def test_a_dataset_that_the_pipeline_has_adopted_needs_no_upload(
    hub: Hub, store: Store, make_job: Jobs, migrations: Migrations
) -> None:
    """What DatasetManager wrote of the same rows is the same bytes."""
    files = legacy()
    put(hub, files)
    DatasetManager(DATASET, settings=hub.settings, backoff=QUICK).adopt()
    migrate(migrations, files)
    head = hub.head()
    outcome = checked(make_job(), hub, store, held=held_of(files))
    assert (outcome.commit, outcome.committed, outcome.uploaded) == (head, False, [])
    assert outcome.account is not None
    assert (outcome.account.held, outcome.account.unexplained) == (2, 0)


def test_a_takeover_over_a_slow_line_is_not_ended_by_the_server(
    hub: Hub, store: Store, make_job: Jobs, migrations: Migrations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL's snapshot waits while the dataset is fetched, longer than a transaction of ours may else be idle."""
    rows = articles(4)
    put(hub, {BASE[0]: rows})
    migrate(migrations, {BASE[0]: rows})
    monkeypatch.setattr(database, "IDLE_IN_TRANSACTION_MS", 400)
    hub.server.faults.append(Fault(r"GET .*train-00000", delay=1.0, times=2))
    checked(make_job(), hub, store)


def test_an_empty_dataset_and_an_empty_table_are_in_step(hub: Hub, store: Store, make_job: Jobs) -> None:
    outcome = checked(make_job(), hub, store)
    assert (outcome.rows, outcome.committed) == (0, False)
    assert checked(make_job(), hub, store).reason in {"", "outside carries no stamp"}
    assert make_job().lag().rows == 0


def test_a_dataset_of_held_rows_only_is_taken_over(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, migrations: Migrations
) -> None:
    rows = [article(1, unique_id="no date", published_at=None)]
    put(hub, {BASE[0]: rows})
    migrate(migrations, {BASE[0]: rows})
    outcome = checked(make_job(), hub, store, held=[published(r) for r in rows])
    assert outcome.partitions == {UNDATED: 1}
    checked(make_job(), hub, store, held=[published(r) for r in rows])


def test_broken_off_the_takeover_begins_anew(hub: Hub, store: Store, make_job: Jobs, migrations: Migrations) -> None:
    from tests.support.syncs import POINTS, failing_at

    files = legacy()
    put(hub, files)
    migrate(migrations, files)
    commits = len(hub.commits())
    for point in POINTS:
        if point == "hub.after_commit":
            continue  # from here on the commit is there
        with failing_at(point):
            make_job().run()
        if point == "hub.before_commit":
            assert len(hub.commits()) == commits
    outcome = checked(make_job(), hub, store, held=held_of(files))
    assert len(hub.commits()) == commits + 1
    assert outcome.committed is False


# ------------------------------------------------------------------------------------- as readers load it

READ = """
import json, sys
from datasets import load_dataset

found = {}
for name in sys.argv[1:]:
    for way in (False, True):
        rows = load_dataset(name, split="train", streaming=way)
        found[f"{name} {way}"] = sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)
print(json.dumps(found))
"""


def loaded(hub: Hub, home: Path) -> dict[str, list[str]]:
    """Load both datasets, normally and streaming, in a process of its own; the cache of earlier loads is kept."""
    environment = hub.environment(home, PYTHONPATH=os.pathsep.join([str(Path.cwd()), os.environ["PYTHONPATH"]]))
    found: dict[str, list[str]] = load(READ, DATASET, REDUCED, environment=environment)
    for name in (DATASET, REDUCED):
        assert found[f"{name} False"] == found[f"{name} True"]
    return {name: found[f"{name} False"] for name in (DATASET, REDUCED)}


@pytest.mark.slow
def test_before_during_and_after_the_takeover_readers_load_the_same_rows(
    hub: Hub, store: Store, make_job: Jobs, migrations: Migrations, tmp_path: Path
) -> None:
    """And they load after every later sync: months come and go, rows move, are held and let go."""
    files = legacy()
    put(hub, files)
    hub.put({"README.md": SOUND_CARD.encode()})  # with the stale numbers nobody could load it even before
    hub.store.commit(DATASET, {}, delete=["dataset_info.json"])
    migrate(migrations, files)
    seen: dict[str, dict[str, list[str]]] = {"before": loaded(hub, tmp_path / "reader")}

    def during(dataset: str) -> None:
        seen.setdefault(f"during {dataset}", loaded(hub, tmp_path / "reader"))

    hub.server.on_commit = during
    make_job().run()
    hub.server.on_commit = None
    seen["after"] = loaded(hub, tmp_path / "reader")
    assert seen[f"during {DATASET}"] == seen["before"]
    assert seen[f"during {REDUCED}"][REDUCED] == seen["before"][REDUCED]
    assert seen[f"during {REDUCED}"][DATASET] == seen["after"][DATASET]
    in_step(hub, store, held=held_of(files))
    for at, rows in (("before", [r for its in files.values() for r in its]), ("after", hub.all_rows())):
        assert seen[at][DATASET] == sorted(json.dumps(shown(row), default=str, sort_keys=True) for row in rows), at
        assert len(seen[at][REDUCED]) == len(rows)
    store.execute("DELETE FROM news WHERE published_date < '2010-01-01'")
    store.execute("UPDATE news SET published_at = '2031-05-01 12:00Z' WHERE published_date < '2024-03-10'")
    store.execute("UPDATE rejects SET status = 'discarded'")
    checked(make_job(), hub, store)
    later = loaded(hub, tmp_path / "reader")
    assert later[DATASET] == sorted(json.dumps(shown(row), default=str, sort_keys=True) for row in hub.all_rows())


def shown(row: Row) -> Row:
    """Return a row as `datasets` gives it."""
    at = {n: row[n] and row[n].astimezone(BRASILIA) for n in ("published_at", "updated_datetime")}
    return row | at | {"extracted_at": row["extracted_at"] and row["extracted_at"].replace(tzinfo=None)}
