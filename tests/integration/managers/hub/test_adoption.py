"""The legacy layout: adopted in one commit, equal cell by cell save for counted cleanings; read as it is before."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from data_platform.errors import IntegrityError, SourceError
from data_platform.managers.dataset_manager import DatasetManager
from data_platform.managers.hub.repository import HubRepository
from data_platform.managers.ledger.kept_rejects import KeptRejects
from data_platform.models.columns import COLUMN_NAMES, NORMAL_SCHEMA, PUBLISHED_SCHEMA
from data_platform.models.digest import row_digests
from data_platform.models.publication import normal_rows
from data_platform.sources.dataset import open_source
from data_platform.sources.judged import Reject, judge
from dev.hub_server import Fault
from dev.sample_data import write_corpus
from tests.support.hub import DATASET, REDUCED, Hub, columns, parquet_bytes, published
from tests.support.sources import BRASILIA, Row, article, articles, newer

MAKE = Callable[..., DatasetManager]
FIRST, SECOND = "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"
LATER = "data/train-2026-01-08-090031.parquet"
UNDATED = "data/train-undated.parquet"


def noise(number: int) -> str:
    """Return a text that does not compress."""
    return "".join(hashlib.sha256(f"{number} {i}".encode()).hexdigest() for i in range(200))


def ids(rows: list[Row]) -> list[str]:
    return sorted(str(row["unique_id"]) for row in rows)


def test_the_first_write_adopts_and_inserts_in_one_commit(manager: DatasetManager, hub: Hub) -> None:
    hub.put(
        {
            FIRST: parquet_bytes(articles(30)),
            SECOND: parquet_bytes(articles(30, first=30)),
            LATER: parquet_bytes(articles(5, first=60)),
            "README.md": b"---\nlicense: mit\n---\ntext",
        }
    )
    assert manager.insert(columns([article(3), article(100)])) == 1
    assert len(hub.commits()) == 3
    assert hub.files() == ["README.md", *(f"data/train-2024-0{month}.parquet" for month in (3, 4, 5, 6))]
    rows = [*articles(65), article(100)]
    assert sorted(hub.all_rows(), key=lambda r: r["unique_id"]) == sorted(
        [published(row) for row in rows], key=lambda r: r["unique_id"]
    )
    assert "adopted from 3 files of 65 rows" in hub.commits()[0]["message"]
    assert ids(manager.get("2024-01-01", "2024-12-31").to_dict("records")) == ids(rows)
    assert len(hub.all_rows(REDUCED)) == 66


def test_a_write_that_changes_nothing_does_not_adopt(manager: DatasetManager, hub: Hub) -> None:
    head = hub.put({FIRST: parquet_bytes(articles(30))})
    assert manager.insert(columns(articles(3)), allow_update=True) == 0
    assert hub.head() == head


def test_adoption_by_itself_happens_once(manager: DatasetManager, hub: Hub) -> None:
    hub.put({FIRST: parquet_bytes(articles(30))})
    plan = manager.adopt()
    assert plan is not None
    assert (plan.read, sum(plan.partitions.values())) == (30, 30)
    head = hub.head()
    assert manager.adopt() is None
    assert hub.head() == head


def test_a_dry_run_counts_and_writes_nothing(make_manager: MAKE, hub: Hub) -> None:
    old = article(1)
    hub.put(
        {
            FIRST: parquet_bytes([old, article(2, title="No Title"), article(40, category="No Category")]),
            SECOND: parquet_bytes([newer(old), newer(old, hours=-1, published_at=article(80)["published_at"])]),
        }
    )
    head = hub.head()
    plan = make_manager().plan_adoption()
    assert hub.head() == head
    assert plan.commit == head
    assert list(plan.files) == [FIRST, SECOND]
    assert plan.partitions == {"data/train-2024-03.parquet": 1, "data/train-2024-04.parquet": 1, UNDATED: 1}
    assert (plan.read, plan.duplicates, plan.held) == (5, 2, 1)
    assert plan.held_by_reason == {"title_missing": 1}
    assert plan.cleanings == {"sentinel:category": 1}
    assert plan.read == sum(plan.partitions.values()) + plan.duplicates


def test_of_rows_with_one_id_the_latest_then_the_later_place_wins(manager: DatasetManager, hub: Hub) -> None:
    base = article(1)
    files = {
        FIRST: [base | {"title": "a"}, newer(base, title="latest"), article(2, title="first", extracted_at=None)],
        SECOND: [newer(base, hours=1, title="b"), article(2, title="second", extracted_at=None)],
        LATER: [article(3, title="dated"), article(3, title="undated time", extracted_at=None)],
    }
    hub.put({path: parquet_bytes(rows) for path, rows in files.items()})
    manager.adopt()
    assert {row["unique_id"]: row["title"] for row in hub.all_rows()} == {
        base["unique_id"]: "latest",
        article(2)["unique_id"]: "second",
        article(3)["unique_id"]: "dated",
    }


def test_what_became_of_every_row_stands_in_the_commit_and_who_only_looks_keeps_nothing(
    manager: DatasetManager, hub: Hub
) -> None:
    rows = [article(1), newer(article(1), title="b"), article(2, category="No Category"), article(3, title=None)]
    hub.put({FIRST: parquet_bytes(rows)})
    manager.get_by_unique_ids([article(1)["unique_id"]])
    manager.resolve_ids(columns([article(9)]))
    assert list(KeptRejects.of(hub.settings).kept()) == []
    manager.adopt()
    told = hub.commits()[0]["message"]
    assert "1 files of 4 rows: 3 published (1 of them undated), 1 left out" in told
    assert "{'sentinel:category': 1}" in told
    assert len(list(KeptRejects.of(hub.settings).kept())) == 1


def test_rejects_that_are_not_kept_stop_the_write(make_manager: MAKE, hub: Hub) -> None:
    class Forgets:
        def keep(self, rejects: Sequence[Reject], *, origin: str) -> int:
            return len(rejects) - 1

    head = hub.put({FIRST: parquet_bytes([article(1)])})
    with pytest.raises(IntegrityError, match="only 0 of them were kept"):
        make_manager(rejects=Forgets()).insert(columns([article(2), article(3, title=None)]))
    assert hub.head() == head


def test_rows_that_are_not_admitted_stay_published_unchanged_and_are_kept_as_rejects(
    manager: DatasetManager, hub: Hub
) -> None:
    held = [
        article(1, published_at=None, category="No Category"),
        article(2, title="No Title", content="a\x00b"),
        article(3, unique_id=None),
        article(3, unique_id=None),
        article(4, published_at=datetime(1970, 1, 1, tzinfo=BRASILIA).replace(hour=21, day=1, year=1970)),
    ]
    held[4]["published_at"] = datetime(1969, 12, 31, 21, tzinfo=BRASILIA)  # 1970 in UTC: what no date became
    hub.put({FIRST: parquet_bytes([*held, article(5)])})
    manager.adopt()
    found = hub.rows()[UNDATED]
    assert sorted(map(repr, found)) == sorted(repr(published(row)) for row in held)
    reasons = Counter(str(reject["reason"]) for reject in KeptRejects.of(hub.settings).kept())
    assert reasons == {"published_at_missing": 2, "title_missing": 1, "unique_id_missing": 1}  # two of them are equal


def test_other_physical_types_become_the_published_ones(manager: DatasetManager, hub: Hub) -> None:
    """Text for dates, no zone, a column that is null, another order, columns that are not there (FIELD_FACTS §1.2)."""
    fields = {f.name: f for f in PUBLISHED_SCHEMA}
    fields["published_at"] = pa.field("published_at", pa.string())
    fields["updated_datetime"] = pa.field("updated_datetime", pa.timestamp("ns", tz="UTC"))
    fields["video_url"] = pa.field("video_url", pa.null())
    fields["tags"] = pa.field("tags", pa.string())
    del fields["editorial_lead"]
    schema = pa.schema(list(fields.values())[::-1])
    row = article(5) | {"published_at": "2024-03-06T10:20:30-03:00", "tags": "['a', 'b']", "video_url": None}
    hub.put({FIRST: parquet_bytes([{name: row[name] for name in schema.names}], schema=schema)})
    assert manager.adopt() is not None
    (found,) = hub.all_rows()
    at = datetime(2024, 3, 6, 10, 20, 30, tzinfo=BRASILIA)
    assert found == published(article(5) | {"published_at": at, "tags": ["a", "b"], "editorial_lead": None})
    assert hub.table("data/train-2024-03.parquet").schema.equals(PUBLISHED_SCHEMA, check_metadata=False)


def test_a_file_that_cannot_be_read_is_named_and_nothing_is_written(manager: DatasetManager, hub: Hub) -> None:
    head = hub.put({FIRST: parquet_bytes(articles(3)), SECOND: b"no parquet"})
    with pytest.raises(SourceError, match=r"train-00001-of-00002\.parquet"):
        manager.insert(columns([article(9)]))
    assert hub.head() == head


def test_a_legacy_file_that_comes_later_is_taken_in(
    manager: DatasetManager, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's old program appends a shard after the adoption. Months that it does not touch are not sent."""
    sent: list[str] = []
    upload = HubRepository.upload
    manager.insert(columns([*articles(30), article(100)]))
    monkeypatch.setattr(HubRepository, "upload", lambda self, files: (sent.extend(files), upload(self, files))[1])
    changed = newer(article(3), title="Novo")
    hub.put({LATER: parquet_bytes([changed, article(50)])})
    assert manager.insert(columns([article(51)])) == 1
    assert LATER not in hub.files()
    assert {path for path in sent if path.startswith("data/")} == {
        "data/train-2024-03.parquet",
        "data/train-2024-04.parquet",
    }
    titles = {row["unique_id"]: row["title"] for row in hub.all_rows()}
    assert len(titles) == len(hub.all_rows()) == 33
    assert titles[article(3)["unique_id"]] == "Novo"


def test_the_head_moving_during_an_adoption_starts_it_anew(make_manager: MAKE, hub: Hub) -> None:
    hub.put({FIRST: parquet_bytes(articles(30))})

    def append(dataset: str) -> None:
        hub.server.on_commit = None
        hub.put({LATER: parquet_bytes([article(50)])})

    hub.server.on_commit = append
    assert make_manager().insert(columns([article(60)])) == 1
    assert ids(hub.all_rows()) == ids([*articles(30), article(50), article(60)])


def test_a_broken_download_is_overcome(make_manager: MAKE, hub: Hub) -> None:
    hub.put({FIRST: parquet_bytes(articles(300))})
    hub.server.faults += [Fault("GET /blobs/", times=2, cut=500), Fault("GET /blobs/", 503, times=1)]
    assert make_manager().adopt() is not None
    assert len(hub.all_rows()) == 300


# ------------------------------------------------------------------------------- reading before adoption


def test_the_legacy_layout_is_read_cleaned_and_without_repeats(manager: DatasetManager, hub: Hub) -> None:
    row = article(1)
    hub.put(
        {
            FIRST: parquet_bytes([row, article(2, category="No Category"), article(3, title=None)]),
            LATER: parquet_bytes([newer(row, title="Novo"), article(60)]),
        }
    )
    found = manager.get("2024-03-01", "2024-03-31")
    assert {r["unique_id"]: r["title"] for r in found.to_dict("records")} == {
        row["unique_id"]: "Novo",
        article(2)["unique_id"]: article(2)["title"],
    }
    assert list(found["category"]) == ["Notícias", None]
    assert tuple(found.columns) == COLUMN_NAMES


def test_of_the_legacy_layout_only_row_groups_that_may_hold_the_days_are_fetched(make_manager: MAKE, hub: Hub) -> None:
    big = [row | {"content": noise(n)} for n, row in enumerate(articles(400))]
    hub.put({FIRST: parquet_bytes(big, row_group_rows=40)})
    before = sum(hub.store.files(DATASET, hub.head())[path].size for path in [FIRST])
    sent: list[int] = []
    from data_platform.managers.hub.remote_parquet import RemoteReader

    ask = RemoteReader._get
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            RemoteReader,
            "_get",
            lambda self, file, start, stop, keep: (sent.append(stop - start), ask(self, file, start, stop, keep)),
        )
        found = make_manager().get("2024-05-10", "2024-05-12")
    assert list(found["unique_id"]) == [row["unique_id"] for row in big[70:73]]
    assert sum(sent) < before / 2


def test_both_layouts_give_the_same_rows(make_manager: MAKE, hub: Hub, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", 600, dirty=True)
    hub.put({f"data/{file.name}": file.read_bytes() for file in (tmp_path / "corpus/data").glob("*.parquet")})
    days = [("2003-01-01", "2019-12-31"), ("2020-01-01", "2023-06-15"), ("2023-06-16", "2026-12-31")]
    before = [make_manager().get(*each) for each in days]
    make_manager().adopt()
    after = [make_manager().get(*each) for each in days]
    for one, other in zip(before, after, strict=True):
        assert one.equals(other)
        assert len(one)


# ------------------------------------------------------------------------------------------ cell by cell


@pytest.mark.parametrize("rows", [1200, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_dirty_dataset_is_equal_cell_by_cell_save_for_counted_cleanings(
    rows: int, make_manager: MAKE, hub: Hub, tmp_path: Path
) -> None:
    write_corpus(tmp_path / "corpus", rows, dirty=True)
    files = sorted((tmp_path / "corpus/data").glob("*.parquet"))
    hub.put({f"data/{file.name}": file.read_bytes() for file in files})
    manager = make_manager()
    plan = manager.adopt()
    assert plan is not None
    # What it should be, worked out from the files by themselves: cleaned rows, of each id the one that wins.
    wanted: dict[str, tuple[tuple[bool, datetime, int], bytes]] = {}
    held: Counter[bytes] = Counter()
    cleanings: Counter[str] = Counter()
    place = read_rows = 0
    for file in files:
        source = open_source(str(file), settings=replace(hub.settings, hf_endpoint=""))
        (each,) = source.snapshot.files
        for group in range(len(each.row_groups)):
            for batch in source.batches(each.path, row_group=group):
                read = judge("", batch, manager._theme_index())
                read_rows += read.raw.num_rows
                cleanings.update(read.cleaned.counts(read.admitted))
                good = read.cleaned.batch.filter(read.admitted)
                for row, digest in zip(
                    good.select(["unique_id", "extracted_at"]).to_pylist(), row_digests(good), strict=True
                ):
                    place += 1
                    at = row["extracted_at"]
                    rank = (at is not None, at or datetime.min.replace(tzinfo=BRASILIA), place)
                    if row["unique_id"] not in wanted or wanted[row["unique_id"]][0] < rank:
                        wanted[row["unique_id"]] = (rank, digest)
                held.update(row_digests(read.raw.filter(pa.compute.invert(read.admitted))))
    found: Counter[bytes] = Counter()
    there: Counter[bytes] = Counter()
    for path in plan.partitions:
        for part in hub.table(path).replace_schema_metadata(None).to_batches():
            (there if path == UNDATED else found).update(row_digests(normal_rows(part)))
    assert found == Counter(digest for _, digest in wanted.values())
    assert there == held
    assert plan.cleanings == dict(cleanings)
    assert plan.read == read_rows == rows
    assert plan.duplicates == rows - len(wanted) - plan.held
    assert NORMAL_SCHEMA.names == list(COLUMN_NAMES)


@pytest.mark.slow
def test_every_file_has_the_published_schema_and_row_order(make_manager: MAKE, hub: Hub, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", 3000, dirty=True)
    hub.put({f"data/{file.name}": file.read_bytes() for file in (tmp_path / "corpus/data").glob("*.parquet")})
    make_manager().adopt()
    for path in hub.rows():
        table = hub.table(path)
        assert table.schema.equals(PUBLISHED_SCHEMA, check_metadata=False)
        if path != UNDATED:
            keys = [
                (row["published_at"], row["unique_id"].encode())
                for row in table.select(["published_at", "unique_id"]).to_pylist()
            ]
            assert keys == sorted(keys)
