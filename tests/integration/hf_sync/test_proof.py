"""What is published is read back before it is believed: what came out otherwise is named, no position is stored."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_platform.errors import DataPlatformError, IntegrityError
from data_platform.managers.hub.layout import PartitionWriter, read_partition, write_partition
from data_platform.managers.postgres import news_snapshot
from data_platform.managers.postgres.news_snapshot import NewsSnapshot
from data_platform.managers.postgres_manager import PostgresManager
from tests.support.hub import DATASET, REDUCED, Hub, columns, parquet_bytes
from tests.support.sources import article
from tests.support.stores import Store
from tests.support.syncs import Jobs, at_failpoint, checked, position, said_by_the_hub, update

MARCH, APRIL = "data/train-2024-03.parquet", "data/train-2024-04.parquet"
ROWS = [
    article(n, unique_id=f"row {n}", published_at=datetime(2024, 3 + n % 2, 5 + n, 12, tzinfo=UTC)) for n in range(8)
]


@pytest.fixture
def waiting(hub: Hub, store: Store, news: PostgresManager, make_job: Jobs) -> Hub:
    """A Hub that is in step, with something new in PostgreSQL in two months."""
    news.insert(columns(ROWS))
    checked(make_job(), hub, store)
    update(news, {"unique_id": "row 0", "title": "x"}, {"unique_id": "row 1", "title": "y"})
    return hub


def without_digest(hub: Hub) -> None:
    buffer = io.BytesIO()
    pq.write_table(hub.table(MARCH).replace_schema_metadata(None), buffer)
    hub.put({MARCH: buffer.getvalue()})


def other_rows(hub: Hub) -> None:
    """A file that this package might have written, of other rows."""
    folder = hub.store.root / "aside"
    folder.mkdir()
    (folder / "here").write_bytes(hub.content(MARCH))
    rows = read_partition(folder / "here", "it")
    titles = pa.array(["other", *rows.column("title").to_pylist()[1:]])
    write_partition(folder / "there", rows.set_column(rows.schema.get_field_index("title"), "title", titles))
    hub.put({MARCH: (folder / "there").read_bytes()})


def fewer_rows(hub: Hub) -> None:
    folder = hub.store.root / "aside"
    folder.mkdir()
    (folder / "here").write_bytes(hub.content(MARCH))
    write_partition(folder / "there", read_partition(folder / "here", "it").slice(1))
    hub.put({MARCH: (folder / "there").read_bytes()})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without_digest, rf"{MARCH} does not say what its rows are"),
        (other_rows, rf"{MARCH} has other rows than PostgreSQL \(digest"),
        (fewer_rows, rf"{MARCH} has 3 rows, PostgreSQL 4"),
        (lambda hub: hub.store.commit(DATASET, {}, delete=[MARCH]), rf"{MARCH} is not there"),
    ],
    ids=["no digest", "other rows", "fewer rows", "a month missing"],
)
def test_a_file_that_is_not_what_was_committed_is_named(
    waiting: Hub,
    store: Store,
    make_job: Jobs,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Hub], None],
    told: str,
) -> None:
    before, reduced = position(store), waiting.head(REDUCED)
    with (
        at_failpoint(monkeypatch, "sync.before_proof", lambda: change(waiting)),
        pytest.raises(IntegrityError, match=told) as e,
    ):
        make_job().run()
    assert "position was not stored" in e.value.hint
    assert (position(store), waiting.head(REDUCED)) == (before, reduced)
    checked(make_job(overwrite=True), waiting, store)


def test_a_month_that_was_to_go_and_is_still_there_is_named(
    waiting: Hub, store: Store, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = waiting.content(APRIL)
    store.execute("DELETE FROM news WHERE published_date >= '2024-04-01'")
    back = at_failpoint(monkeypatch, "sync.before_proof", lambda: waiting.put({APRIL: old}))
    with back, pytest.raises(IntegrityError, match=f"{APRIL} is there and has no rows in PostgreSQL"):
        make_job().run()


def test_a_file_that_was_damaged_at_the_hub_is_named(
    waiting: Hub, store: Store, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end, by which it is read, is not what was uploaded."""

    def damage() -> None:
        blob = waiting.store.blob(waiting.store.files(DATASET, waiting.head())[MARCH].sha256)
        blob.write_bytes(b"\0" * blob.stat().st_size)

    before = position(store)
    with at_failpoint(monkeypatch, "sync.before_proof", damage), pytest.raises(DataPlatformError, match="2024-03"):
        make_job().run()
    assert position(store) == before


def test_the_held_rows_are_proven_too(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    undated = "data/train-undated.parquet"
    held = article(30, unique_id="held", title=None)
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes([*ROWS, held])})
    news.insert(columns([*ROWS, held]))
    gone = at_failpoint(monkeypatch, "sync.before_proof", lambda: hub.store.commit(DATASET, {}, delete=[undated]))
    with gone, pytest.raises(IntegrityError, match=f"{undated} is not there"):
        make_job().run()
    assert position(store)["position"] == []


def test_a_reduced_dataset_that_does_not_follow_is_named(
    waiting: Hub, store: Store, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_platform.managers.hub.reduced import ReducedDataset

    before, whole = position(store), ReducedDataset.bring_up
    faults = [
        (lambda: waiting.store.commit(REDUCED, {}, delete=[APRIL]), f"{APRIL} is there only once"),
        (
            lambda: waiting.put({MARCH: parquet_bytes(ROWS[:1])}, dataset=REDUCED),
            f"{MARCH} has 1 rows, 4 in the main dataset",
        ),
    ]
    for fault, told in faults:

        def bring_up(self: ReducedDataset, *, anew: bool = False, _fault: Callable[[], object] = fault) -> str:
            whole(self, anew=anew)
            _fault()
            return waiting.head(REDUCED)

        with monkeypatch.context() as patch:
            patch.setattr(ReducedDataset, "bring_up", bring_up)
            with pytest.raises(IntegrityError, match=told):
                make_job(full=True).run()
        assert position(store) == before
    checked(make_job(), waiting, store)


# ----------------------------------------------------------------- before the commit: what comes out of PostgreSQL


def test_a_row_that_arrives_with_other_cells_than_postgresql_digested_is_named(
    waiting: Hub, store: Store, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = said_by_the_hub(waiting), position(store)
    whole = news_snapshot.row_digests
    with monkeypatch.context() as patch:
        patch.setattr(news_snapshot, "row_digests", lambda rows: [bytes(16), *whole(rows)[1:]])
        with pytest.raises(IntegrityError, match="row 0 arrived with other cells than PostgreSQL has"):
            make_job().run()
    assert (said_by_the_hub(waiting), position(store)) == before


def test_rows_that_do_not_arrive_are_missed(
    waiting: Hub, store: Store, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = said_by_the_hub(waiting), position(store)
    with monkeypatch.context() as patch:
        patch.setattr(NewsSnapshot, "rows", lambda *_: iter(()))
        with pytest.raises(IntegrityError, match="2024-03 has 4 rows in PostgreSQL, 0 of them were read"):
            make_job().run()
    assert (said_by_the_hub(waiting), position(store)) == before


def test_a_file_that_holds_fewer_rows_than_it_was_given_is_not_uploaded(
    waiting: Hub, store: Store, make_job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = said_by_the_hub(waiting), position(store)
    whole = PartitionWriter._flush

    def flush(self: PartitionWriter, rows: int) -> None:
        self._waiting = [pa.concat_batches(self._waiting).slice(1)]
        whole(self, rows - 1)
        self._written += 1

    with monkeypatch.context() as patch:
        patch.setattr(PartitionWriter, "_flush", flush)
        with pytest.raises(IntegrityError, match="was given 4 rows and holds 3"):
            make_job().run()
    assert (said_by_the_hub(waiting), position(store)) == before
