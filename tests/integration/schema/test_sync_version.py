"""Revision 0003: rejects are found by id, the heir of an article is held; the way down is the way back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from data_platform.schema import downgrade, upgrade
from tests.support.databases import fill_master_data

_DEFINITIONS = """
SELECT 'function', proname::text, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT relname, attname, format_type(atttypid, atttypmod) FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
 WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'v')
 ORDER BY 1, 2, 3
"""
_INSERT = (
    "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, extracted_at, title, url,"
    " canonical_url, duplicate_of) SELECT %s, id, key, name, '2024-05-10 12:00Z', %s, 't', 'u', 'u', %s"
    " FROM agencies WHERE key = 'mec'"
)


def definitions(url: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(_DEFINITIONS.encode()).fetchall()


def article(url: str) -> None:
    """One article under three ids, the first of them its primary; a reject of each."""
    with psycopg.connect(url) as connection:
        fill_master_data(connection)
        for number, (uid, of) in enumerate((("p", None), ("q", "p"), ("r", "p"))):
            connection.execute(_INSERT, (uid, f"2024-05-1{number} 12:00Z", of))
            connection.execute(
                "INSERT INTO rejects (payload_digest, unique_id, field, reason, payload, origin)"
                " VALUES (%s, %s, 'title', 'title_missing', '{}', 'insert')",
                (uid, uid),
            )


def marks(url: str) -> dict[str, str | None]:
    with psycopg.connect(url) as connection:
        return dict(connection.execute("SELECT unique_id, duplicate_of FROM news").fetchall())


def test_the_way_down_is_the_way_back_and_loses_nothing(make_database: Callable[[], str]) -> None:
    before, gone_back = make_database(), make_database()
    upgrade(before, "0002")
    upgrade(gone_back, "0002")
    article(gone_back)
    upgrade(gone_back, "0003")
    at_three = definitions(gone_back)
    assert at_three != definitions(before)
    assert downgrade(gone_back, "0002").changed
    assert definitions(gone_back) == definitions(before)
    assert upgrade(gone_back, "0003").changed
    assert definitions(gone_back) == at_three
    assert not upgrade(gone_back, "0003").changed
    assert marks(gone_back) == {"p": None, "q": "p", "r": "p"}
    with psycopg.connect(gone_back) as connection:
        assert connection.execute("SELECT count(*) FROM rejects").fetchone() == (3,)


def test_rejects_are_found_by_id_with_an_index(database_url: str) -> None:
    """The sync asks for each of the rows that are published without being in news."""
    upgrade(database_url, "0003")
    article(database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute("EXPLAIN SELECT FROM rejects WHERE unique_id = 'q' AND status = 'open'").fetchall()
    assert any("rejects_unique_id_idx" in line for (line,) in plan)


def _delete_both(url: str) -> None:
    """Delete the heir, and before that is committed the primary."""
    with psycopg.connect(url) as first, psycopg.connect(url) as second:
        first.execute("DELETE FROM news WHERE unique_id = 'q'")
        pid = second.info.backend_pid

        def delete_primary() -> None:
            second.execute("DELETE FROM news WHERE unique_id = 'p'")
            second.commit()

        thread = threading.Thread(target=delete_primary)
        thread.start()
        with psycopg.connect(url, autocommit=True) as watcher:
            for _ in range(1200):
                if watcher.execute(
                    "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'", (pid,)
                ).fetchone() is not None:  # fmt: skip
                    break
                thread.join(0.05)
        first.commit()
        thread.join(30)
        assert not thread.is_alive()


def test_who_is_being_deleted_inherits_nothing(each_database_url: str) -> None:
    upgrade(each_database_url, "0003")
    article(each_database_url)
    _delete_both(each_database_url)
    assert marks(each_database_url) == {"r": None}


@pytest.mark.parametrize("version", ["0002"])
def test_that_is_what_the_version_before_did(make_database: Callable[[], str], version: str) -> None:
    """So that the test above is known to meet the case: a double of nobody, which no reader takes for an article."""
    url = make_database()
    upgrade(url, version)
    article(url)
    _delete_both(url)
    assert marks(url) == {"r": "q"}
