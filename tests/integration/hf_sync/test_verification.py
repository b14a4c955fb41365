"""Verification of what is published: every planted fault is named, what merely waits is none."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_platform.errors import ConfigurationError, StoreError
from data_platform.jobs.hf_sync.verification import Verification
from data_platform.managers.hub.layout import UNDATED
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.columns import PUBLISHED_SCHEMA
from tests.support.hub import REDUCED, Hub, columns, parquet_bytes
from tests.support.sources import Row, article
from tests.support.stores import Store
from tests.support.syncs import Jobs, checked, failing_at, position, said_by_the_hub, update

MARCH = "data/train-2024-03.parquet"
ROWS = [
    article(n, unique_id=f"row {n}", published_at=datetime(2024, 3 + n % 2, 5 + n, 12, tzinfo=UTC)) for n in range(8)
]


@pytest.fixture
def synced(hub: Hub, store: Store, news: PostgresManager, make_job: Jobs) -> Hub:
    """A Hub that is in step."""
    news.insert(columns(ROWS))
    checked(make_job(), hub, store)
    return hub


def rewrite(hub: Hub, path: str, change: Callable[[list[Row]], list[Row]], dataset: str = "") -> None:
    """Have somebody write a file anew, with its digest in the footer if it has one: the proof of a sync cannot tell."""
    of = {"dataset": dataset} if dataset else {}
    table = hub.table(path, **of)
    rows = change(table.to_pylist())
    buffer = io.BytesIO()
    changed = pa.Table.from_pylist(rows, schema=table.schema)
    pq.write_table(changed, buffer)
    hub.put({path: buffer.getvalue()}, **of)


def _first(rows: list[Row], **cells: Any) -> list[Row]:
    return [rows[0] | cells, *rows[1:]]


def _shifted(rows: list[Row]) -> list[Row]:
    return _first(rows, published_at=rows[0]["published_at"] + timedelta(microseconds=1))


def _told(found: Verification) -> list[tuple[Any, ...]]:
    return [(d["unique_id"], d["path"], d["what"], d.get("column", "")) for d in found.differences]


_FAULTS: dict[str, tuple[Callable[[list[Row]], list[Row]], tuple[str, str, str]]] = {
    "one character": (
        lambda rows: _first(rows, content=rows[0]["content"][:-1] + "X"),
        ("row 0", "different", "content"),
    ),
    "an invisible one": (lambda rows: _first(rows, title=rows[0]["title"] + "\u00a0"), ("row 0", "different", "title")),
    "a dropped row": (lambda rows: rows[1:], ("row 0", "only_in_postgres", "")),
    "a microsecond": (_shifted, ("row 0", "different", "published_at")),
    "a nulled cell": (lambda rows: _first(rows, summary=None), ("row 0", "different", "summary")),
    "an empty text": (lambda rows: _first(rows, editorial_lead=""), ("row 0", "different", "editorial_lead")),
    "other tags": (lambda rows: _first(rows, tags=["x"]), ("row 0", "different", "tags")),
    "a null list of tags": (lambda rows: _first(rows, tags=None), ("row 0", "different", "tags")),
    "a repeated row": (lambda rows: [*rows, rows[0]], ("row 0", "only_published", "")),
    "a foreign row": (lambda rows: [*rows, rows[0] | {"unique_id": "other"}], ("other", "only_published", "")),
    "another id": (lambda rows: _first(rows, unique_id="ROW 0"), ("ROW 0", "only_published", "")),
}


def test_a_planted_fault_is_named(synced: Hub, make_job: Jobs) -> None:
    good = synced.content(MARCH)
    for fault, (change, (uid, what, column)) in _FAULTS.items():
        assert make_job().verify().passed, fault
        rewrite(synced, MARCH, change)
        found = make_job().verify()
        assert not found.passed, fault
        assert (uid, MARCH, what, column) in _told(found), fault
        assert found.by_file.keys() == {MARCH}, fault
        assert len(_told(found)) == found.different + found.only_published + found.only_in_postgres, fault
        assert any(uid in line for line in found.lines()), fault
        synced.put({MARCH: good})


def test_a_row_in_the_file_of_another_month_is_named_on_both_sides(synced: Hub, make_job: Jobs) -> None:
    april = "data/train-2024-04.parquet"
    row = synced.table(MARCH).to_pylist()[0]
    rewrite(synced, MARCH, lambda rows: rows[1:])
    rewrite(synced, april, lambda rows: [*rows, row])
    found = make_job().verify()
    assert _told(found) == [("row 0", MARCH, "only_in_postgres", ""), ("row 0", april, "only_published", "")]
    assert found.by_file == {MARCH: 1, april: 1}


def test_a_file_that_is_gone_and_one_too_many_are_named(synced: Hub, make_job: Jobs) -> None:
    synced.store.commit("owner/govbrnews", {"data/train-1999-01.parquet": parquet_bytes(ROWS[:1])}, delete=[MARCH])
    found = make_job().verify()
    assert (found.only_in_postgres, found.only_published, found.equal) == (4, 1, 4)
    assert found.by_file == {MARCH: 4, "data/train-1999-01.parquet": 1}


def test_a_reduced_dataset_that_differs_is_named(synced: Hub, make_job: Jobs) -> None:
    good = synced.content(MARCH, REDUCED)
    for change in (lambda rows: rows[1:], lambda rows: _first(rows, title="X"), lambda rows: rows[::-1]):
        rewrite(synced, MARCH, change, REDUCED)
        found = make_job().verify()
        assert (found.passed, found.different) == (False, 0)
        assert found.reduced_problems == [f"{MARCH} has other rows than the main dataset"]
        synced.put({MARCH: good}, dataset=REDUCED)


def test_a_reduced_dataset_without_a_file_is_named(synced: Hub, make_job: Jobs) -> None:
    synced.store.commit(REDUCED, {}, delete=[MARCH])
    assert make_job().verify().reduced_problems == [f"{MARCH} is there only once"]


def test_a_reduced_dataset_that_a_broken_off_sync_left_behind_waits(
    synced: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    news.insert(columns([article(50)]))
    update(news, {"unique_id": "row 0", "title": "x"})
    behind = synced.head()
    with failing_at("sync.between_datasets"):
        make_job().run()
    found = make_job().verify()
    assert found.passed, found.lines()
    assert behind in found.reduced_waits
    assert any("waits for the next sync" in line for line in found.lines())
    rewrite(synced, MARCH, lambda rows: _first(rows, title="planted"), REDUCED)
    found = make_job().verify()  # what is wrong beside is still named
    assert (found.passed, found.reduced_problems) == (False, [f"{MARCH} has other rows than the main dataset"])
    checked(make_job(full=True), synced, store)
    found = make_job().verify()
    assert (found.passed, found.reduced_waits) == (True, "")


def test_a_reduced_dataset_that_has_followed_nothing_yet_waits(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    news.insert(columns(ROWS))
    checked(make_job(), hub, store)
    hub.store.delete(REDUCED)
    hub.store.create(REDUCED)
    found = make_job().verify()
    assert (found.passed, found.reduced_waits) == (True, "it has not followed the main dataset yet")


def test_a_file_that_readers_could_not_load_is_named(synced: Hub, make_job: Jobs) -> None:
    strings = PUBLISHED_SCHEMA.set(2, pa.field("published_at", pa.string()))
    rows = [row | {"published_at": str(row["published_at"])} for row in ROWS[:2]]
    synced.put({MARCH: parquet_bytes(rows, schema=strings)})
    with pytest.raises(StoreError, match=r"2024-03.*published_at is string, not timestamp"):
        make_job().verify()
    synced.put({MARCH: b"PAR1 no parquet file PAR1"})
    with pytest.raises(StoreError, match=r"2024-03.*cannot be read"):
        make_job().verify()


def test_what_waits_for_the_next_sync_is_no_difference(
    synced: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    update(news, {"unique_id": "row 0", "title": "x"}, {"unique_id": "row 2", "published_at": ROWS[1]["published_at"]})
    store.execute(
        "DELETE FROM news WHERE unique_id = 'row 4'", "UPDATE news SET unique_id = 'new' WHERE unique_id = 'row 1'"
    )
    news.insert(columns([article(60, unique_id="later")]))
    found = make_job().verify()
    assert found.passed
    assert (found.equal, found.pending) == (4, 6)  # the renamed row waits under both its ids
    assert found.published == len(synced.all_rows())
    rewrite(synced, MARCH, lambda rows: [r | {"title": "planted"} if r["unique_id"] == "row 6" else r for r in rows])
    found = make_job().verify()
    assert [d["unique_id"] for d in found.differences] == ["row 6"]  # beside what waits


def test_what_a_sync_brought_does_not_count_as_waiting_any_more(
    synced: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    update(news, {"unique_id": "row 0", "title": "x"})
    checked(make_job(), synced, store)
    rewrite(synced, MARCH, lambda rows: _first(rows, title="planted"))
    assert not make_job().verify().passed


def test_nothing_is_verified_where_everything_would_count_as_waiting(synced: Hub, store: Store, make_job: Jobs) -> None:
    """Else a dataset with any fault would pass: every row is one that the next sync takes up."""
    rewrite(synced, MARCH, lambda rows: _first(rows, title="planted"))
    for lost in (
        "UPDATE consumer_positions SET position_xid = '9000000000'",
        "UPDATE consumer_positions SET system_identifier = '1'",
        "DELETE FROM consumer_positions",
    ):
        store.execute(lost)
        with pytest.raises(ConfigurationError, match="cannot be told from what waits") as caught:
            make_job().verify()
        assert "sync-hf" in caught.value.hint


def test_the_legacy_layout_is_refused(synced: Hub, make_job: Jobs) -> None:
    synced.put({"data/train-00000-of-00001.parquet": parquet_bytes(ROWS)})
    with pytest.raises(ConfigurationError, match="legacy layout") as caught:
        make_job().verify()
    assert "sync-hf" in caught.value.hint


def test_a_held_row_is_counted_and_one_without_reason_to_stay_is_named(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs
) -> None:
    held = article(30, unique_id="held", title=None)
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes([*ROWS, held])})
    news.insert(columns([*ROWS, held]))
    make_job().run()
    found = make_job().verify()
    assert (found.passed, found.held, found.equal) == (True, 1, 8)
    rewrite(hub, UNDATED, lambda rows: [*rows, ROWS[0] | {"title": "x"}])
    found = make_job().verify()
    assert (found.passed, found.held, found.only_published, found.pending) == (False, 1, 1, 0)
    assert _told(found) == [("", UNDATED, "only_published", "")]


@pytest.mark.parametrize("settled", ["discarded", "replayed", "the article came in"])
def test_a_held_row_whose_reject_was_settled_since_the_last_sync_waits(
    hub: Hub, store: Store, news: PostgresManager, make_job: Jobs, settled: str
) -> None:
    """However often the position has been stored since the row itself came: what counts is when its reject changed."""
    held = [article(30, unique_id="held", title=None), article(31, unique_id="held too", title=None)]
    hub.put({"data/train-00000-of-00001.parquet": parquet_bytes([*ROWS, *held])})
    news.insert(columns([*ROWS, *held]))
    for _ in range(2):
        make_job().run()
    if settled == "the article came in":
        news.insert(columns([held[0] | {"title": "Título"}]))
    else:
        store.execute(f"UPDATE rejects SET status = '{settled}' WHERE unique_id = 'held'")
    found = make_job().verify()
    came_in = settled == "the article came in"
    assert (found.passed, found.held, found.pending) == (True, 1, 1 + came_in), found.lines()
    left = hub.content(UNDATED)
    make_job().run()
    hub.put({UNDATED: left})  # as if that sync had not taken it out
    found = make_job().verify()
    assert (found.passed, found.only_published, found.pending) == (False, 1, 0)


def test_verification_writes_nothing_but_its_record(synced: Hub, store: Store, make_job: Jobs) -> None:
    before = said_by_the_hub(synced), position(store)
    job = make_job()
    assert job.verify().passed
    assert (said_by_the_hub(synced), position(store)) == before
    last = store.query("SELECT operation, status FROM sync_log ORDER BY id DESC LIMIT 1")
    assert last == [{"operation": "sync:verify", "status": "completed"}]
