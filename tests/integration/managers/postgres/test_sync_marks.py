"""Marks of the HuggingFace sync: a mark holds for the version that was handed out, and for no other."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from data_platform.managers.postgres import sync_marks
from data_platform.managers.postgres.sync_marks import hand_out, mark_synced
from data_platform.models.columns import NORMAL_SCHEMA
from tests.support.databases import shared_database
from tests.support.feeds import Writer, published

#: What another process does: "hand" prints the ids it got, "mark" marks the ids it is given and prints their number.
_OTHER = """
import sys, psycopg
from data_platform.managers.postgres.sync_marks import hand_out, mark_synced
url, what, *ids = sys.argv[1:]
with psycopg.connect(url, autocommit=True) as connection:
    if what == "hand":
        print(*(uid for batch in hand_out(connection) for uid in batch.column("unique_id").to_pylist()))
    else:
        print(mark_synced(connection, ids))
"""


@pytest.fixture(scope="module", params=["embedded", "15"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    server = request.getfixturevalue("postgres" if request.param == "embedded" else "postgres15")
    with shared_database(server) as made:
        yield made


@pytest.fixture
def writer(url: str) -> Iterator[Writer]:
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        made = Writer(connection)
        made.clear()
        yield made


def other_process(url: str, what: str, *ids: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", _OTHER, url, what, *ids], capture_output=True, text=True, check=True)
    return done.stdout.split()


def handed(writer: Writer, *, since: datetime | None = None, batch_rows: int | None = None) -> list[str]:
    batches = hand_out(writer.connection, since=since, batch_rows=batch_rows)
    return [uid for batch in batches for uid in batch.column("unique_id").to_pylist()]


def synced(writer: Writer) -> set[str]:
    """Return the ids whose present version is marked, without handing anything out."""
    query = "SELECT n.unique_id FROM news n JOIN hf_sync_marks m USING (unique_id) WHERE m.synced_xid = n.change_xid"
    return {uid for (uid,) in writer.connection.execute(query).fetchall()}


def test_what_is_handed_out_and_marked_is_pending_no_more(writer: Writer) -> None:
    writer.add("a", "b", "c")
    (batch,) = hand_out(writer.connection)
    assert batch.schema == NORMAL_SCHEMA
    assert {row["unique_id"]: row for row in batch.to_pylist()} == published(writer.connection)
    assert handed(writer) == ["a", "b", "c"]  # handing out alone settles nothing
    assert mark_synced(writer.connection, ["c", "a", "a"]) == 2
    assert handed(writer) == ["b"]
    assert mark_synced(writer.connection, ["a", "b", "c"]) == 1  # those marked before do not count again
    assert handed(writer) == []
    assert list(hand_out(writer.connection, batch_rows=5)) == []


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 7, 8, None])
def test_pages_give_each_row_once(writer: Writer, batch_rows: int | None) -> None:
    ids = sorted(f"n{number}" for number in range(7))
    writer.add(*ids)
    batches = list(hand_out(writer.connection, batch_rows=batch_rows))
    assert [uid for batch in batches for uid in batch.column("unique_id").to_pylist()] == ids
    assert max(len(batch) for batch in batches) == min(batch_rows or 7, 7)


@pytest.mark.parametrize("is_other_process", [False, True])
def test_a_row_changed_after_it_was_handed_out_stays_pending(
    url: str, writer: Writer, *, is_other_process: bool
) -> None:
    """Fault 53: though only ids are passed, and whichever process marks them."""
    writer.add("changed", "same", "renamed", "gone", "again")
    ids = handed(writer)
    writer.retitle("changed", title="outro")
    writer.rename("renamed", "new")
    writer.delete("gone", "again")
    writer.add("again", title="inserted again")
    if is_other_process:
        other_process(url, "mark", *ids)
    else:
        mark_synced(writer.connection, ids)
    assert synced(writer) == {"same"}
    assert handed(writer) == ["again", "changed", "new"]
    assert mark_synced(writer.connection, ["again", "changed", "new"]) == 3
    assert handed(writer) == []


def test_another_process_marks_what_this_one_handed_out(url: str, writer: Writer) -> None:
    writer.add("a", "b")
    ids = handed(writer)
    assert other_process(url, "mark", *ids) == ["2"]
    assert handed(writer) == []
    writer.retitle("a", title="outro")
    assert other_process(url, "hand") == ["a"]
    assert mark_synced(writer.connection, ["a"]) == 1


def test_an_update_that_changes_nothing_leaves_the_mark(writer: Writer) -> None:
    writer.add("a")
    mark_synced(writer.connection, handed(writer))
    writer.retitle("a", title="t")
    writer.do("UPDATE news SET canonical_url = 'https://x.br/other'")
    assert handed(writer) == []


def test_ids_that_were_never_handed_out_stay_pending_and_are_named(
    writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    writer.add("a")
    handed(writer)
    writer.add("b")
    with caplog.at_level(logging.WARNING):
        assert mark_synced(writer.connection, ["a", "b", "nowhere"]) == 1
    assert "2 rows were never handed out and stay pending: b, nowhere" in caplog.text
    assert handed(writer) == ["b"]


def test_since_only_narrows(writer: Writer) -> None:
    writer.add("old", "marked")
    mark_synced(writer.connection, [uid for uid in handed(writer) if uid == "marked"])
    writer.do("ALTER TABLE news DISABLE TRIGGER USER")
    writer.do("UPDATE news SET updated_at = '2024-01-01Z'")
    writer.do("ALTER TABLE news ENABLE TRIGGER USER")
    writer.add("new")
    edge = datetime(2024, 1, 1, tzinfo=UTC)
    assert handed(writer, since=edge + timedelta(microseconds=1)) == ["new"]
    assert handed(writer, since=edge) == ["new", "old"]
    assert handed(writer) == ["new", "old"]


def test_a_large_list_is_marked_in_pieces(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_marks, "_MARK_CHUNK", 100)
    ids = [f"n{number}" for number in range(1050)]
    writer.add(*ids)
    handed(writer, batch_rows=99)
    assert mark_synced(writer.connection, [*ids[::-1], "x"]) == 1050
    assert handed(writer) == []
    assert mark_synced(writer.connection, []) == 0


def test_bad_calls(writer: Writer) -> None:
    with pytest.raises(ValueError, match="zone"):
        hand_out(writer.connection, since=datetime(2024, 1, 1))  # noqa: DTZ001 - the fault
    with pytest.raises(ValueError, match="batch_rows"):
        hand_out(writer.connection, batch_rows=0)


def test_what_is_handed_out_in_a_transaction_that_fails_was_not(writer: Writer) -> None:
    writer.add("a")
    with writer.connection.transaction(force_rollback=True):
        assert handed(writer) == ["a"]
    assert mark_synced(writer.connection, ["a"]) == 0
    assert handed(writer) == ["a"]


# --------------------------------------------------------------------------------------------- two at the same time


def test_a_mark_proves_neither_of_two_versions_that_are_out(
    url: str, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    """One process wrote the old version and marks; the other, which had the new one, was killed."""
    writer.add("a", "same")
    handed(writer)
    writer.retitle("a", title="new")
    assert other_process(url, "hand") == ["a", "same"]
    with caplog.at_level(logging.WARNING):
        assert mark_synced(writer.connection, ["a", "same"]) == 1
    assert "1 rows were handed out in two versions at once" in caplog.text
    assert handed(writer) == ["a"]
    assert mark_synced(writer.connection, ["a"]) == 1  # and that is the end of it
    assert handed(writer) == []


def test_one_process_may_look_again_before_it_marks(writer: Writer) -> None:
    writer.add("a")
    handed(writer)
    writer.retitle("a", title="new")
    handed(writer)
    assert mark_synced(writer.connection, ["a"]) == 1
    assert handed(writer) == []


def test_a_note_that_comes_late_does_not_pass_for_the_newer_version(url: str, writer: Writer) -> None:
    """The page of one process was read before the change, its note waits for the other's lock."""
    writer.add("a")
    with psycopg.connect(url, autocommit=True) as late, ThreadPoolExecutor(1) as pool, psycopg.connect(url) as other:
        mark_synced(late, [])
        writer.do("INSERT INTO hf_sync_marks (unique_id, handed_xid, handed_by) VALUES ('a', '1', 'first')")
        writer.do("UPDATE hf_sync_marks SET synced_xid = handed_xid")
        other.execute("SELECT FROM hf_sync_marks FOR UPDATE")
        job = pool.submit(lambda: [batch.to_pylist() for batch in hand_out(late)])
        while writer.connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):
            assert not job.done()
        writer.retitle("a", title="new")
        other.execute("UPDATE hf_sync_marks SET handed_by = 'x', handed_xid = (SELECT change_xid FROM news)")
        other.commit()
        ((row,),) = job.result(timeout=30)
    assert row["title"] == "t"
    mark_synced(writer.connection, ["a"])
    assert handed(writer) == ["a"], "the old version was written, the new one is marked"


def test_marks_are_locked_in_one_order(url: str, writer: Writer) -> None:
    """Whatever the order in which ids are given: so two processes that mark cannot wait for each other."""
    writer.add("a", "b", "c")
    handed(writer)
    lock = "SELECT FROM hf_sync_marks WHERE unique_id = %s FOR UPDATE NOWAIT"
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    # The holder is left first: should the test fail, the job must not wait for it.
    with psycopg.connect(url, autocommit=True) as other, ThreadPoolExecutor(1) as pool, psycopg.connect(url) as holder:
        holder.execute(lock, ("b",))
        job = pool.submit(mark_synced, other, ["c", "b", "a"])
        while writer.connection.execute(waiting).fetchone() == (0,):
            assert not job.done()
        writer.connection.execute(lock, ("c",))
        with pytest.raises(psycopg.errors.LockNotAvailable):
            writer.connection.execute(lock, ("a",))
        holder.rollback()
        assert job.result(timeout=30) == 3


def test_two_versions_stay_unproven_until_a_mark(url: str, writer: Writer) -> None:
    writer.add("a")
    other_process(url, "hand")
    writer.retitle("a", title="new")
    for _ in range(2):
        handed(writer)  # looking twice does not make the other's version go away
    assert mark_synced(writer.connection, ["a"]) == 0
    assert handed(writer) == ["a"]


def test_many_at_once_neither_wait_for_each_other_nor_lose(url: str, writer: Writer) -> None:
    ids = [f"n{number}" for number in range(300)]
    writer.add(*ids)

    def work(number: int) -> None:
        with psycopg.connect(url, autocommit=number % 2 == 0) as connection:
            for turn in range(6):
                if number == 3:
                    Writer(connection).retitle(*ids[turn::7], title=f"{turn}")
                    connection.commit()
                    continue
                pages = hand_out(connection, batch_rows=40 + number)
                given = [uid for batch in pages for uid in batch.column("unique_id").to_pylist()]
                connection.commit()
                mark_synced(connection, given[::-1])
                connection.commit()

    with ThreadPoolExecutor(4) as pool:
        for job in [pool.submit(work, number) for number in range(4)]:
            job.result(timeout=60)
    mark_synced(writer.connection, handed(writer))
    mark_synced(writer.connection, handed(writer))
    assert synced(writer) == set(ids)
