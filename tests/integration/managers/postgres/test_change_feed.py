"""Readers of the change feed: where they begin, where they go on, what they are told is gone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from data_platform.errors import BusyError
from data_platform.managers.postgres import change_feed
from data_platform.managers.postgres.change_feed import TOMBSTONE_SCHEMA, ChangeFeed, Stamp
from data_platform.managers.postgres.feed_health import OldestTransaction, oldest_transaction
from data_platform.models.columns import NORMAL_SCHEMA
from tests.support.databases import shared_database
from tests.support.feeds import Crash, Mirror, Writer, published


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


@pytest.fixture
def feed(url: str, writer: Writer) -> Iterator[ChangeFeed]:
    with ChangeFeed(url, consumer="test") as made:
        yield made


@pytest.fixture
def mirror(feed: ChangeFeed) -> Mirror:
    """A reader that has come as far as the feed goes."""
    made = Mirror()
    made.follow(feed)
    made.reasons.clear()
    return made


def position(writer: Writer) -> dict[str, Any]:
    query = (
        "SELECT position_xid::text::bigint, position_unique_id, outside_stamp, resync_reason FROM consumer_positions"
    )
    with writer.connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        (row,) = cursor.execute(query).fetchall()
    return row


# ------------------------------------------------------------------------------------------------- the usual case


def test_a_new_reader_takes_everything_and_then_only_what_changes(feed: ChangeFeed, writer: Writer) -> None:
    """Fault 43: deletions travel too."""
    writer.add("a", "b", "c")
    mirror = Mirror()
    assert mirror.follow(feed) == 3
    assert mirror.reasons == ["no position yet"]
    assert mirror.rows == published(writer.connection)
    assert mirror.follow(feed) == 0
    writer.retitle("a", title="outro")
    writer.delete("b")
    writer.rename("c", "d")
    writer.move("a", "2023-01-01 12:00Z")
    assert mirror.follow(feed) == 2
    assert mirror.rows == published(writer.connection)
    assert set(mirror.rows) == {"a", "d"}
    assert mirror.buried == {"a", "b", "c"}
    assert mirror.reasons == ["no position yet"]


def test_what_a_page_holds(feed: ChangeFeed, writer: Writer) -> None:
    writer.add("a", "b")
    writer.do("UPDATE news SET duplicate_of = 'a' WHERE unique_id = 'b'")
    (page,) = feed.changes(feed.open_window())
    assert page.rows.schema == NORMAL_SCHEMA
    assert page.duplicate_of.to_pylist() == [None, "a"]
    assert page.change_xids.type == pa.int64()
    assert page.last == (page.change_xids[1].as_py(), "b")
    assert page.rows.to_pylist() == [published(writer.connection)[key] for key in ("a", "b")]


def test_what_a_tombstone_tells(feed: ChangeFeed, writer: Writer, mirror: Mirror) -> None:
    writer.add("gone", "moved", "renamed", "again")
    mirror.follow(feed)
    writer.delete("gone", "again")
    writer.add("again")
    writer.move("moved", "2023-01-31 12:00Z")
    writer.rename("renamed", "new")
    (batch,) = feed.deletions(feed.open_window())
    assert batch.schema == TOMBSTONE_SCHEMA
    told = {row["unique_id"]: (row["reason"], row["exists_now"]) for row in batch.to_pylist()}
    assert told == {
        "gone": ("deleted", False),
        "again": ("deleted", True),
        "moved": ("moved", True),
        "renamed": ("renamed", False),
    }
    assert {str(row["published_month"]) for row in batch.to_pylist()} == {"2024-05-01"}
    assert {(row["agency_key"], row["url"]) for row in batch.to_pylist()} >= {("mec", "https://x.br/gone")}


def test_many_rows_of_one_transaction_come_once_each(feed: ChangeFeed, writer: Writer, mirror: Mirror) -> None:
    """Fault 24. A bulk load gives thousands of rows one change_xid: pages go on by unique_id inside it."""
    writer.add(*(f"n{number}" for number in range(3000)))
    window = feed.open_window()
    pages = list(feed.changes(window, 700))
    assert [len(page.rows) for page in pages] == [700, 700, 700, 700, 200]
    ids = [uid for page in pages for uid in page.rows.column("unique_id").to_pylist()]
    assert len(set(ids)) == 3000
    assert {xid for page in pages for xid in page.change_xids.to_pylist()} == {pages[0].last[0]}
    writer.delete(*ids)
    stones = [len(batch) for batch in feed.deletions(feed.open_window(), batch_rows=1500)]
    assert stones == [1500, 1500]


def test_a_transaction_that_is_still_open_holds_the_horizon(
    url: str, feed: ChangeFeed, writer: Writer, mirror: Mirror
) -> None:
    """One that began earlier and commits later is not missed, and what came after it comes after it."""
    with psycopg.connect(url) as slow:
        Writer(slow).add("slow")
        writer.add("quick")
        assert mirror.follow(feed) == 0
        assert mirror.follow(feed) == 0
        slow.commit()
    assert mirror.follow(feed) == 2
    assert set(mirror.rows) == {"slow", "quick"}


def test_rows_may_move_on_between_pages(feed: ChangeFeed, writer: Writer, mirror: Mirror) -> None:
    ids = [f"n{number}" for number in range(6)]
    for uid in ids:
        writer.add(uid)
    window = feed.open_window()
    mirror.bury(feed, window)
    pages = feed.changes(window, 2)
    for number, page in enumerate(pages):
        mirror.apply(page.rows.to_pylist(), page.change_xids.to_pylist())
        if number == 0:
            writer.retitle("n0", "n3", title="later")  # one that was read, one that was not
            writer.delete("n1", "n4")
            writer.add("n6")
    feed.store(window)
    assert set(mirror.rows) == {"n0", "n1", "n2", "n5"}
    mirror.follow(feed)
    assert mirror.rows == published(writer.connection)
    assert mirror.reasons == []


def test_no_transaction_is_open_while_the_reader_works(url: str, feed: ChangeFeed, writer: Writer) -> None:
    writer.add("a", "b", "c")
    query = "SELECT state FROM pg_stat_activity WHERE application_name = 'govbr feed test'"
    pages = feed.changes(feed.open_window(), 1)
    for _ in pages:
        assert writer.connection.execute(query).fetchall() == [("idle",)]


def test_a_deletion_judged_too_early_is_mended_by_the_change(feed: ChangeFeed, writer: Writer, mirror: Mirror) -> None:
    writer.add("a")
    mirror.follow(feed)
    writer.delete("a")
    window = feed.open_window()
    mirror.bury(feed, window)  # not there now
    writer.add("a", title="again")
    assert list(feed.changes(window)) == []
    feed.store(window)
    assert mirror.rows == {}
    mirror.follow(feed)
    assert mirror.rows == published(writer.connection)


def test_an_id_that_was_inserted_again_is_kept_whichever_transaction_is_older(
    url: str, feed: ChangeFeed, writer: Writer, mirror: Mirror
) -> None:
    """The new row's transaction may have the smaller id, and so come a window earlier than the tombstone."""
    writer.add("a")
    mirror.follow(feed)
    with psycopg.connect(url) as older, psycopg.connect(url) as slow:
        for connection in (older, slow):
            connection.execute("SELECT pg_current_xact_id()")
        writer.delete("a")
        Writer(older).add("a", title="again")
        older.commit()
        assert mirror.follow(feed) == 1  # the insertion; the deletion waits behind the slow one
        assert mirror.buried == set()
        slow.commit()
    mirror.follow(feed)
    assert mirror.buried == {"a"}
    assert mirror.rows == published(writer.connection) != {}


# ---------------------------------------------------------------------------------------------- killed and resumed


def test_killed_between_pages_it_goes_on_behind_the_last_one_stored(
    url: str, feed: ChangeFeed, writer: Writer, mirror: Mirror
) -> None:
    writer.add("old")
    mirror.follow(feed)
    writer.delete("old")
    writer.add(*(f"n{number}" for number in range(10)))
    with pytest.raises(Crash):
        mirror.follow(feed, batch_rows=4, step=True, crash_at=3)
    assert position(writer)["position_unique_id"] == "n7"
    writer.add("late")
    with ChangeFeed(url, consumer="test") as again:
        assert mirror.follow(again) == 3  # n8, n9, late
    assert mirror.rows == published(writer.connection)
    assert mirror.reasons == []


@pytest.mark.parametrize("crash_at", range(5))
def test_killed_anywhere_without_a_place_stored_it_does_the_window_again(
    url: str, feed: ChangeFeed, writer: Writer, mirror: Mirror, crash_at: int
) -> None:
    """Also between writing its stamp outside and storing its position: the stamp was announced."""
    writer.add("gone", "a")
    mirror.follow(feed)
    writer.delete("gone")
    writer.retitle("a", title="outro")
    writer.add("b")
    with pytest.raises(Crash):
        mirror.follow(feed, batch_rows=1, crash_at=crash_at)
    with ChangeFeed(url, consumer="test") as again:
        assert mirror.follow(again) == 2
    assert mirror.rows == published(writer.connection)
    assert mirror.reasons == []


def test_of_two_runs_of_one_reader_only_the_newer_stores(url: str, feed: ChangeFeed, writer: Writer) -> None:
    writer.add("a")
    older = feed.open_window()
    with ChangeFeed(url, consumer="test") as other, ChangeFeed(url, consumer="another") as third:
        newer = other.open_window()
        third.store(third.open_window())
        for call in (lambda: feed.store(older), lambda: feed.announce(older)):
            with pytest.raises(BusyError, match="another run of the reader test"):
                call()
        other.store(newer)
    assert feed.open_window().resync_reason is None


def test_the_position_may_be_stored_with_the_caller_s_own_rows(url: str, feed: ChangeFeed, writer: Writer) -> None:
    window = feed.open_window()
    with psycopg.connect(url) as mine:
        feed.store(window, connection=mine)
        mine.rollback()
        assert feed.open_window().resync_reason == "no position yet"
        feed.store(feed.open_window(), connection=mine)
        mine.commit()
    assert feed.open_window().resync_reason is None


def test_a_window_to_look_only_changes_nothing(url: str, feed: ChangeFeed, writer: Writer) -> None:
    writer.add("a")
    looked = feed.open_window(read_only=True)
    assert looked.resync_reason == "no position yet"
    assert writer.do("SELECT FROM consumer_positions") == 0
    mirror = Mirror()
    mirror.follow(feed)
    window = feed.open_window()
    looked = feed.open_window(read_only=True)
    feed.store(window)  # not made void
    for call in (feed.store, feed.announce):
        with pytest.raises(ValueError, match="to look only"):
            call(looked)


# ------------------------------------------------------------------------------------------------ reasons to resync


def broken(feed: ChangeFeed, mirror: Mirror) -> str:
    """Return why the reader must start over, having seen that it then has everything."""
    window = feed.open_window(outside_stamp=mirror.stamp)
    assert window.resync_reason is not None
    assert window.start == (0, "")
    assert list(feed.deletions(window)) == []
    mirror.reasons.clear()
    mirror.follow(feed)
    assert mirror.reasons == [window.resync_reason]
    assert feed.open_window(outside_stamp=mirror.stamp).resync_reason is None
    return window.resync_reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("system_identifier = '1'", "other system identifier"),
        ("timeline = timeline + 1", "other timeline"),
        ("timeline = NULL", "other timeline"),
        ("position_xid = (position_xid::text::bigint + 1000)::text::xid8", "ahead of the server's present snapshot"),
        ("resync_reason = 'x', resync_horizon = '99999999'", "ahead of the server's present snapshot"),
    ],
)
def test_a_replaced_database_is_noticed(
    feed: ChangeFeed, writer: Writer, mirror: Mirror, change: str, reason: str
) -> None:
    writer.add("a", "b")
    mirror.follow(feed)
    mirror.rows["ghost"] = {}
    assert writer.do(f"UPDATE consumer_positions SET {change}") == 1
    assert feed.lag().resync_reason is not None
    assert reason in broken(feed, mirror)
    assert mirror.rows == published(writer.connection)


@pytest.mark.parametrize("where", ["ahead", "another system", "another timeline", "nothing", "no stamp", "put back"])
def test_a_stamp_outside_that_does_not_fit_is_noticed(
    feed: ChangeFeed, writer: Writer, mirror: Mirror, where: str
) -> None:
    writer.add("a")
    mirror.follow(feed)
    stamp = Stamp.parse(mirror.stamp)
    mirror.stamp, reason = {
        "ahead": (str(Stamp(stamp.system_identifier, stamp.timeline, stamp.xid + 1)), "is ahead of the position"),
        "another system": (str(Stamp("1", stamp.timeline, 1)), "of another lineage"),
        "another timeline": (str(Stamp(stamp.system_identifier, 9, 1)), "of another lineage"),
        "nothing": ("", "carries no stamp"),
        "no stamp": ("v1.2", "carries no stamp: 'v1.2'"),
        "put back": (str(Stamp(stamp.system_identifier, stamp.timeline, stamp.xid - 1)), "is behind"),
    }[where]
    assert reason in broken(feed, mirror)


def test_a_database_that_was_put_back_is_noticed_by_the_stamp_alone(
    feed: ChangeFeed, writer: Writer, mirror: Mirror
) -> None:
    """As a restored disk snapshot: same system, same timeline, everything inside agrees with itself."""
    mirror.follow(feed)
    writer.do("CREATE TEMPORARY TABLE backup AS SELECT * FROM consumer_positions")
    writer.add("lost")
    mirror.follow(feed)
    writer.delete("lost")
    writer.do("DELETE FROM news_tombstones")
    writer.do("DELETE FROM consumer_positions")
    writer.do("INSERT INTO consumer_positions SELECT * FROM backup")
    writer.do("DROP TABLE backup")
    assert "is ahead of the position" in broken(feed, mirror)
    assert mirror.rows == {}


def test_a_window_without_an_outside_commit_leaves_the_older_stamp_valid(
    feed: ChangeFeed, writer: Writer, mirror: Mirror
) -> None:
    for _ in range(2):
        window = feed.open_window(outside_stamp=mirror.stamp)
        assert window.resync_reason is None
        feed.store(window)
        writer.do("SELECT pg_current_xact_id()")


def test_rows_restored_from_another_server_are_taken_whatever_their_id(
    feed: ChangeFeed, writer: Writer, mirror: Mirror
) -> None:
    """Their change_xid is of a future that this server has yet to reach."""
    writer.add("a", "b", "c", "d")
    writer.do("ALTER TABLE news DISABLE TRIGGER USER")
    writer.do("UPDATE news SET change_xid = '900000000' WHERE unique_id <> 'a'")
    writer.do("ALTER TABLE news ENABLE TRIGGER USER")
    mirror.rows = {}
    feed.start_over("restored")
    with pytest.raises(Crash):  # behind the first row of the future
        mirror.follow(feed, batch_rows=1, step=True, crash_at=3)
    assert mirror.reasons == ["restored"]
    horizon = Stamp.parse(str(feed.open_window().stamp)).xid
    writer.retitle("d", title="changed before it was read: now far behind the place reached")
    mirror.follow(feed, batch_rows=1, step=True)
    assert set(mirror.rows) == {"a", "b", "c"}
    assert Stamp.parse(mirror.stamp).xid == horizon  # so that what moved behind it is not passed over
    mirror.follow(feed)
    assert mirror.rows == published(writer.connection)


def test_a_resync_that_was_killed_goes_on_and_ignores_the_old_stamp(
    url: str, feed: ChangeFeed, writer: Writer, mirror: Mirror
) -> None:
    writer.add(*"abcdef")
    writer.do("UPDATE consumer_positions SET timeline = 7")
    mirror.stamp = "1/7/5"
    with pytest.raises(Crash):
        mirror.follow(feed, batch_rows=2, step=True, crash_at=3)
    writer.delete("a")
    with ChangeFeed(url, consumer="test") as again:
        window = again.open_window(outside_stamp=mirror.stamp)
        assert window.is_resumed_resync
        assert window.start[1] == "d"
        assert mirror.follow(again) == 2
        assert set(mirror.rows) == set("abcdef")
        mirror.follow(again)
    assert mirror.rows == published(writer.connection)


def test_a_reason_is_not_forgotten_when_it_no_longer_shows(feed: ChangeFeed, writer: Writer, mirror: Mirror) -> None:
    """The database was put back; the run that noticed was killed; by the next one its ids had passed the position."""
    writer.add("a")
    writer.do("UPDATE consumer_positions SET position_xid = (position_xid::text::bigint + 20)::text::xid8")
    with pytest.raises(Crash):
        mirror.follow(feed, crash_at=0)
    for _ in range(30):
        writer.do("SELECT pg_current_xact_id()")
    mirror.follow(feed)
    assert ["ahead of" in reason for reason in mirror.reasons] == [True, True]
    assert mirror.rows == published(writer.connection)


def test_a_person_may_ask_for_everything(feed: ChangeFeed, writer: Writer, mirror: Mirror) -> None:
    writer.add("a")
    mirror.follow(feed)
    window = feed.open_window()
    feed.start_over("asked for by ana")
    with pytest.raises(BusyError):
        feed.store(window)
    assert broken(feed, mirror) == "asked for by ana"


# ---------------------------------------------------------------------------------------------- lag and bad callers


def test_the_lag_counts_what_waits(url: str, feed: ChangeFeed, writer: Writer) -> None:
    writer.add("a", "b")
    with ChangeFeed(url, consumer="nobody") as nobody:
        lag = nobody.lag()
    assert (lag.rows, lag.tombstones, lag.resync_reason) == (2, 0, "no position yet")
    mirror = Mirror()
    mirror.follow(feed)
    assert (feed.lag().rows, feed.lag().tombstones, feed.lag().oldest) == (0, 0, None)
    writer.delete("a")
    writer.do("UPDATE news_tombstones SET created_at = now() - interval '2 hours'")
    writer.retitle("b", title="x")
    writer.add("c")
    lag = feed.lag()
    assert (lag.rows, lag.tombstones, lag.resync_reason) == (2, 1, None)
    assert lag.oldest is not None
    assert 7200 <= lag.oldest.total_seconds() < 7260


def test_who_holds_the_horizon_is_named(
    url: str, feed: ChangeFeed, writer: Writer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert oldest_transaction(writer.connection) is None
    with psycopg.connect(url, application_name="forgotten") as slow, psycopg.connect(url) as reading:
        reading.execute("SELECT 1")  # has no transaction id, holds nothing
        slow.execute("SELECT pg_current_xact_id()")
        found = oldest_transaction(writer.connection)
        assert found is not None
        assert (found.pid, found.application_name) == (slow.info.backend_pid, "forgotten")
        assert found.age is not None
        with caplog.at_level(logging.WARNING):
            feed.open_window()
            assert "forgotten" not in caplog.text
            monkeypatch.setattr(change_feed, "OLDEST_TRANSACTION_LIMIT", found.age)
            feed.open_window()
        assert f"pid {slow.info.backend_pid}, forgotten, idle in transaction" in caplog.text


def test_a_transaction_whose_age_we_may_not_see_is_no_error(
    feed: ChangeFeed, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_feed, "oldest_transaction", lambda _: OldestTransaction(1, None, None, None))
    assert feed.open_window().resync_reason is not None


def test_a_feed_inside_a_longer_transaction_is_refused(url: str, writer: Writer) -> None:
    writer.add("a")
    with psycopg.connect(url) as connection:
        feed = ChangeFeed(connection, consumer="mine")
        window = feed.open_window()
        assert connection.info.transaction_status.name == "IDLE"
        connection.execute("SELECT 1")
        for call in (feed.open_window, lambda: next(feed.changes(window)), feed.lag, lambda: feed.store(window)):
            with pytest.raises(ValueError, match="transaction open"):
                call()
        connection.rollback()
        feed.close()  # the caller's connection stays open
        assert [len(page.rows) for page in feed.changes(window)] == [1]


def test_bad_calls(feed: ChangeFeed, writer: Writer, mirror: Mirror) -> None:
    window = feed.open_window()
    for through in ((window.horizon, "a"), (window.horizon + 1, ""), (window.start[0] - 1, "")):
        with pytest.raises(ValueError, match="not in the window"):
            feed.store(window, through=through)
    for stamp in ("x", "1/1/1"):
        with pytest.raises(ValueError, match="stamp"):
            feed.store(window, outside_stamp=stamp)
    with pytest.raises(ValueError, match="name"):
        ChangeFeed("postgresql://nowhere", consumer=" ")


@pytest.mark.parametrize("text", ["", "1/2", "1/2/3/4", "a/1/2", "1/2/-3", "1/2/٣", "1/2/3 x"])
def test_a_stamp_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="not a stamp"):
        Stamp.parse(text)


def test_a_stamp_comes_back_as_written() -> None:
    stamp = Stamp("7711050629017394660", 3, 18_446_744_073)
    assert str(stamp) == "7711050629017394660/3/18446744073"
    assert Stamp.parse(f" {stamp}\n") == stamp
