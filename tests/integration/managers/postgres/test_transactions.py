"""Transactions over a network that loses connections, and among sessions that are in each other's way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from data_platform.errors import BusyError, StoreUnavailableError
from data_platform.managers.postgres import transactions as module
from data_platform.managers.postgres.transactions import Transactions
from tests.support.lossy_proxy import LossyProxy, lossy_proxy


@pytest.fixture
def proxy(database_url: str) -> Iterator[LossyProxy]:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE t (i integer PRIMARY KEY)")
    with lossy_proxy(database_url) as made:
        yield made


def made(url: str, **options: Any) -> Transactions:
    return Transactions(url, purpose="test", **options)


def numbers(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [i for (i,) in connection.execute("SELECT i FROM t ORDER BY i")]


def insert(i: int, calls: list[int]) -> Any:
    def work(connection: psycopg.Connection[Any]) -> int:
        calls.append(i)
        return connection.execute("INSERT INTO t VALUES (%s)", (i,)).rowcount

    return work


def test_a_lost_answer_to_commit_is_no_loss_and_no_repetition(database_url: str, proxy: LossyProxy) -> None:
    """The server has committed; the work must not run again, or its counts would be wrong."""
    calls: list[int] = []
    runs = made(proxy.url)
    proxy.times = 1
    assert runs.run(insert(1, calls)) == 1
    assert (proxy.happened, calls, numbers(database_url)) == (1, [1], [1])


def test_a_lost_commit_is_done_again(database_url: str, proxy: LossyProxy) -> None:
    calls: list[int] = []
    runs = made(proxy.url)
    proxy.times, proxy.after = 1, False
    assert runs.run(insert(1, calls)) == 1
    assert (proxy.happened, calls, numbers(database_url)) == (1, [1, 1], [1])


def test_a_connection_lost_before_commit_is_no_loss(database_url: str, proxy: LossyProxy) -> None:
    calls: list[int] = []
    runs = made(proxy.url)
    proxy.times, proxy.word = 1, b"INSERT INTO t"
    assert runs.run(insert(1, calls)) == 1
    assert (calls, numbers(database_url)) == ([1, 1], [1])


def test_connections_that_died_in_the_pool_are_noticed(database_url: str, proxy: LossyProxy) -> None:
    runs = made(proxy.url)
    runs.run(insert(1, []))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'govbr test'"
        )
    calls: list[int] = []
    assert runs.run(insert(2, calls)) == 1
    assert (calls, numbers(database_url)) == ([2], [1, 2])


def test_when_nobody_knows_the_outcome_the_work_is_not_repeated(
    database_url: str, proxy: LossyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    runs = made(proxy.url)
    monkeypatch.setattr(module, "_COMMIT_QUESTION_S", 0.0)
    proxy.times = 1
    with pytest.raises(StoreUnavailableError, match="does not say what became of it"):
        runs.run(insert(1, calls))
    assert calls == [1]


def test_a_server_that_takes_connections_and_drops_them_is_a_clear_error(proxy: LossyProxy) -> None:
    """As a proxy does whose database is away."""
    runs = made(proxy.url, pool_size=1)
    runs.run(lambda connection: connection.execute("SELECT 2"))
    proxy.times, proxy.word, proxy.after = 1000, b"SELECT 1", False
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        runs.run(insert(1, []))
    assert proxy.happened < 20


def test_a_server_that_does_not_know_the_transaction_leaves_the_outcome_open(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that took over before it had heard of it: its answer is an error of its own."""
    monkeypatch.setattr(module, "_COMMIT_QUESTION_S", 0.5)
    with pytest.raises(StoreUnavailableError, match="does not say what became of it"):
        made(database_url)._became("9999999999")


def test_a_server_that_is_gone_is_a_clear_error(proxy: LossyProxy) -> None:
    runs = made("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        runs.run(insert(1, []))


def test_a_statement_that_takes_too_long_is_not_repeated(database_url: str) -> None:
    calls: list[int] = []

    def slow(connection: psycopg.Connection[Any]) -> None:
        calls.append(1)
        connection.execute("SELECT pg_sleep(30)")

    with pytest.raises(StoreUnavailableError, match="statement timeout"):
        made(database_url, statement_timeout_s=1).run(slow)
    assert calls == [1]


def test_two_sessions_that_lock_each_other_both_get_through(database_url: str, proxy: LossyProxy) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO t VALUES (1), (2)")
    runs, both_hold, calls = made(database_url), threading.Barrier(2, timeout=30), []

    def work(first: int, second: int) -> Any:
        def lock(connection: psycopg.Connection[Any]) -> None:
            calls.append(first)
            connection.execute("SELECT FROM t WHERE i = %s FOR UPDATE", (first,))
            if len(calls) <= 2:
                both_hold.wait()
            connection.execute("UPDATE t SET i = i WHERE i = %s", (second,))

        return lock

    threads = [threading.Thread(target=runs.run, args=(work(*pair),)) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(calls) == 3  # one of the two was rolled back and done again


def test_a_key_that_another_session_takes_is_looked_up_again(database_url: str, proxy: LossyProxy) -> None:
    calls: list[int] = []

    def work(connection: psycopg.Connection[Any]) -> int:
        calls.append(1)
        row = connection.execute("SELECT coalesce(max(i), 0) FROM t").fetchone()
        if len(calls) == 1:
            with psycopg.connect(database_url) as other:
                other.execute("INSERT INTO t VALUES (1)")
        return connection.execute("INSERT INTO t VALUES (%s)", (row[0] + 1 if row else 0,)).rowcount

    assert made(database_url).run(work) == 1
    assert numbers(database_url) == [1, 2]


def test_a_key_that_is_always_taken_ends(database_url: str, proxy: LossyProxy) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(BusyError, match="keeps writing the same articles"):
        made(database_url).run(insert(1, []))


def test_an_error_of_ours_rolls_back_and_is_not_repeated(database_url: str, proxy: LossyProxy) -> None:
    calls: list[int] = []

    def work(connection: psycopg.Connection[Any]) -> None:
        insert(1, calls)(connection)
        raise ValueError("no")

    runs = made(database_url, pool_size=1)
    for _ in range(3):  # the connection is given back each time
        with pytest.raises(ValueError, match=r"^no$"):
            runs.run(work)
    assert (calls, numbers(database_url)) == ([1, 1, 1], [])


def test_a_connection_lent_for_pages_is_not_lent_again(database_url: str, proxy: LossyProxy) -> None:
    runs = made(database_url, pool_size=1)
    with runs.autocommit() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        assert numbers(database_url) == [1]
    assert runs.run(lambda c: c.autocommit) is False
