"""Revision 0002: the trigger decides as the first one did and reads less for it; the way down is the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from data_platform.schema import downgrade, upgrade
from tests.support.databases import fill_master_data, shared_database

INSERT = (
    "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, extracted_at, title, url, content,"
    " tags, theme_cells, theme_l1_id, summary)"
    " SELECT %(unique_id)s, id, key, name, '2024-05-10 12:00Z', '2024-05-11 12:00Z', 't', 'u', %(content)s, '{a}',"
    " '{\"a\": 1}', 1, 's' FROM agencies WHERE key = 'mec'"
)
CONTENT = "".join(f"{number:x}" for number in range(20_000))  # does not become small by compression: goes to TOAST
#: Values to set, the present one among them.
CELLS: dict[str, list[Any]] = {
    "unique_id": ["a", "b"],
    "published_at": ["2024-05-10 12:00Z", "2024-05-11 12:00Z", "2024-06-10 12:00Z"],
    "updated_datetime": [None, "2024-05-10 12:00Z"],
    "extracted_at": ["2024-05-11 12:00Z", "2030-01-01Z", None],
    "title": ["t", "x"],
    "subtitle": [None, "x"],
    "editorial_lead": [None, "x"],
    "url": ["u", None],
    "content": [CONTENT, CONTENT[:-1] + "x", None],
    "image_url": [None, "x"],
    "video_url": [None, "x"],
    "category": [None, "x"],
    "tags": [["a"], [], None],
    "theme_l1_id": [1, 2, None],
    "theme_l2_id": [None, 2],
    "theme_l3_id": [None, 2],
    "most_specific_theme_id": [None, 2],
    "theme_form": [None, "text"],
    "theme_cells": ['{"a":1}', '{"a": 2}', None],
    "summary": ["s", "x", None],
    "duplicate_of": [None, "p"],
    "canonical_url": [None, "c"],
    "updated_at": ["2000-01-01Z"],
    "change_xid": ["5"],
    "created_at": ["2000-01-01Z"],
}
_updates = st.dictionaries(st.sampled_from(sorted(CELLS)), st.integers(0, 2), min_size=1, max_size=4).map(
    lambda drawn: {column: CELLS[column][index % len(CELLS[column])] for column, index in drawn.items()}
)


@pytest.fixture(scope="module", params=["embedded", "15"])
def both(request: pytest.FixtureRequest) -> Iterator[list[psycopg.Connection[Any]]]:
    """Connections to a database with the first trigger and to one with the second."""
    server = request.getfixturevalue("postgres" if request.param == "embedded" else "postgres15")
    with shared_database(server, schema=False) as first, shared_database(server, schema=False) as second:
        upgrade(first, "0001")
        upgrade(second, "0002")
        opened = [psycopg.connect(url, options="-c timezone=UTC") for url in (first, second)]
        for connection in opened:
            fill_master_data(connection)
            connection.commit()
        yield opened
        for connection in opened:
            connection.close()


def outcome(connection: psycopg.Connection[Any], update: dict[str, Any]) -> list[Any]:
    """Return all that an update of one row does, without the clock and the counters."""
    with connection.transaction(force_rollback=True):
        connection.execute(INSERT, {"unique_id": "a", "content": CONTENT})
        connection.execute("ALTER TABLE news DISABLE TRIGGER USER")
        connection.execute("UPDATE news SET updated_at = '2024-01-01Z', change_xid = '7', created_at = '2024-01-01Z'")
        connection.execute("ALTER TABLE news ENABLE TRIGGER USER")
        pairs = sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(c), sql.Placeholder()) for c in update)
        count = connection.execute(sql.SQL("UPDATE news SET {}").format(pairs), [*update.values()]).rowcount
        row = connection.execute(
            "SELECT to_jsonb(n) - '{id,updated_at,change_xid}'::text[], updated_at = now(), updated_at = '2024-01-01Z',"
            " change_xid = pg_current_xact_id(), change_xid = '7' FROM news n"
        ).fetchone()
        stones = connection.execute("SELECT unique_id, published_month, reason FROM news_tombstones").fetchall()
        return [count, row, stones]


@settings(max_examples=150, deadline=None)
@given(_updates)
@example({"theme_l1_id": 2, "extracted_at": "2030-01-01Z"})
@example({"theme_l1_id": 2, "extracted_at": "2030-01-01Z", "content": CONTENT[:-1] + "x"})
@example({"summary": "x", "extracted_at": "2030-01-01Z", "title": "x"})
@example({"change_xid": "5", "extracted_at": "2030-01-01Z"})
@example({"change_xid": None})
@example({"content": CONTENT[:-1] + "x", "extracted_at": "2030-01-01Z"})
@example({"theme_l1_id": 2, "published_at": "2024-06-10 12:00Z"})
@example({"theme_l1_id": 2, "unique_id": "b"})
def test_every_update_ends_as_with_the_first_trigger(
    both: list[psycopg.Connection[Any]], update: dict[str, Any]
) -> None:
    if update == {"change_xid": None}:  # the trigger sets it; the rest of the row stays
        assert outcome(both[1], update)[1][3] is True
    first, second = (outcome(connection, update) for connection in both)
    assert first == second


def test_an_update_of_themes_does_not_read_the_content(both: list[psycopg.Connection[Any]]) -> None:
    """Counted by the server: blocks of the TOAST table that this transaction asked for."""
    blocks = (
        "SELECT pg_stat_get_xact_blocks_fetched(reltoastrelid) + pg_stat_get_xact_blocks_fetched("
        "(SELECT indexrelid FROM pg_index WHERE indrelid = reltoastrelid)) FROM pg_class WHERE relname = 'news'"
    )

    def fetched(connection: psycopg.Connection[Any], update: str) -> int:
        with connection.transaction(force_rollback=True):
            connection.execute(INSERT, {"unique_id": "a", "content": CONTENT})
            before = connection.execute(blocks.encode()).fetchone()
            assert connection.execute(update.encode()).rowcount == 1
            after = connection.execute(blocks.encode()).fetchone()
        assert before is not None
        assert after is not None
        return int(after[0] - before[0])

    first, second = both
    for change in ("theme_l1_id = 2", "summary = 'x'", "title = 'x', extracted_at = now()", "duplicate_of = 'p'"):
        assert fetched(second, f"UPDATE news SET {change}") == 0, change
    assert fetched(second, "UPDATE news SET content = 'short'") <= fetched(first, "UPDATE news SET content = 'short'")
    # that the counter counts: these need the content
    assert fetched(first, "UPDATE news SET theme_l1_id = 2") > 0
    assert fetched(second, "UPDATE news SET theme_l1_id = 2, extracted_at = now()") > 0


def test_the_way_down_is_the_way_back(make_database: Callable[[], str]) -> None:
    def definitions(url: str) -> list[Any]:
        with psycopg.connect(url) as connection:
            return connection.execute(
                "SELECT 'function', proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace UNION ALL"
                " SELECT relname, attname, format_type(atttypid, atttypmod) FROM pg_attribute a JOIN pg_class c"
                " ON c.oid = attrelid WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped"
                " AND relkind IN ('r', 'v') UNION ALL"
                " SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint"
                " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2, 3"
            ).fetchall()

    first, gone_back = make_database(), make_database()
    upgrade(first, "0001")
    upgrade(gone_back, "0001")
    with psycopg.connect(gone_back) as connection:
        fill_master_data(connection)
        connection.execute(INSERT, {"unique_id": "a", "content": "c"})
        connection.execute(
            "INSERT INTO consumer_positions (consumer, position_xid, system_identifier) VALUES ('x', '1', '1')"
        )
    upgrade(gone_back, "0002")
    assert definitions(gone_back) != definitions(first)
    assert downgrade(gone_back, "0001").changed
    assert definitions(gone_back) == definitions(first)
    assert upgrade(gone_back, "0002").changed
    with psycopg.connect(gone_back) as connection:
        assert connection.execute("SELECT unique_id FROM news").fetchall() == [("a",)]
        assert connection.execute("SELECT timeline FROM consumer_positions").fetchall() == [(None,)]
