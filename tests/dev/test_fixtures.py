"""The fixtures that other tests lean on."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

_SEEN: list[str] = []


@pytest.mark.parametrize("_turn", [1, 2])
def test_each_test_has_an_empty_database_of_its_own(database_url: str, _turn: int) -> None:
    assert database_url not in _SEEN
    _SEEN.append(database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE news ()")


def test_a_connection_left_open_does_not_keep_the_database(make_database: Callable[[], str]) -> None:
    urls = [make_database(), make_database()]
    assert urls[0] != urls[1]
    left_open = psycopg.connect(urls[0])
    assert left_open.execute("SELECT 1").fetchone() == (1,)


def test_postgresql_15(postgres15_url: str) -> None:
    with psycopg.connect(postgres15_url) as connection:
        assert connection.info.server_version // 10000 == 15


def test_each_server(each_database_url: str, request: pytest.FixtureRequest) -> None:
    wanted = {"embedded": 18, "15": 15}[request.node.callspec.params["each_database_url"]]
    with psycopg.connect(each_database_url) as connection:
        assert connection.info.server_version // 10000 == wanted
