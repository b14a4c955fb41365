"""Rejects in a real table: whole, once each, counted by the database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from data_platform.managers.postgres.rejects import settle_rejects, store_rejects
from data_platform.sources.judged import Reject, payloads_of
from dev.embedded_postgres import EmbeddedPostgres
from tests.support.databases import shared_database
from tests.support.rows import article, batch_of

REJECT = Reject('{"a": 1}', "id", "mec", "title", "title_missing", "no value", "f.parquet", 3)


@pytest.fixture(scope="module")
def shared(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with shared_database(postgres) as url, psycopg.connect(url) as opened:
        yield opened


@pytest.fixture
def connection(shared: psycopg.Connection) -> Iterator[psycopg.Connection]:
    with shared.transaction(force_rollback=True):
        yield shared


def store(connection: psycopg.Connection, *rejects: Reject, run: int | None = None) -> int:
    return store_rejects(connection, list(rejects), origin="migration", run_id=run)


def a_run(connection: psycopg.Connection) -> int:
    row = connection.execute(
        "INSERT INTO load_runs (source, revision, snapshot, mode, dry_run, status, options, started_by)"
        " VALUES ('s', 'r', '{}', 'bulk', false, 'done', '{}', 'test') RETURNING id"
    ).fetchone()
    assert row is not None
    return int(row[0])


def stored(connection: psycopg.Connection, columns: str) -> list[Any]:
    return connection.execute(f"SELECT {columns} FROM rejects ORDER BY id").fetchall()


def test_a_reject_is_kept_with_all_that_is_known_of_it(connection: psycopg.Connection) -> None:
    run = a_run(connection)
    assert store(connection, REJECT, run=run) == 1
    columns = "payload_digest, unique_id, agency_key, field, reason, detail, payload::text, origin, file, row_no"
    whole = (REJECT.digest, "id", "mec", "title", "title_missing", "no value", '{"a": 1}', "migration", "f.parquet", 3)
    assert stored(connection, columns) == [whole]
    assert stored(connection, "first_run_id, last_run_id, status") == [(run, run, "open")]


def test_no_rejects(connection: psycopg.Connection) -> None:
    assert store(connection) == 0
    assert stored(connection, "*") == []


def test_nul_characters_survive_in_the_payload_and_do_no_harm_elsewhere(connection: psycopg.Connection) -> None:
    """Fault 21: PostgreSQL's text holds no NUL, a rejected row may have one anywhere."""
    row = article("i\x00d", agency="m\x00ec", title="\x00", content="um\x00dois", tags=["\x00"])
    (payload,) = payloads_of(batch_of([row]), [{"published_at": "\x00"}])
    given = Reject(payload, row["unique_id"], row["agency"], "title", "title_missing", "d\x00", "f", 0)
    assert store(connection, given) == 1
    assert stored(connection, "unique_id, agency_key, detail, payload::text") == [("id", "mec", "d", payload)]
    (kept,) = stored(connection, "payload")[0]
    assert kept == json.loads(payload)
    assert kept["content"] == "um\x00dois"
    assert store(connection, given) == 1


def test_doing_it_twice_adds_nothing_and_marks_the_later_run(connection: psycopg.Connection) -> None:
    first, second = a_run(connection), a_run(connection)
    assert store(connection, REJECT, run=first) == 1
    elsewhere = replace(REJECT, file="g.parquet", row_no=9, detail="other words")
    assert store(connection, elsewhere, run=second) == 1
    assert stored(connection, "file, row_no, first_run_id, last_run_id") == [("f.parquet", 3, first, second)]


@pytest.mark.parametrize(("status", "afterwards"), [("open", "open"), ("replayed", "open"), ("discarded", "discarded")])
def test_a_row_met_again_is_open_unless_a_person_discarded_it(
    connection: psycopg.Connection, status: str, afterwards: str
) -> None:
    store(connection, REJECT)
    connection.execute("UPDATE rejects SET status = %s", (status,))
    assert store(connection, REJECT) == 1
    assert stored(connection, "status") == [(afterwards,)]


def test_one_row_repeated_in_one_call_is_counted_each_time_and_kept_once(connection: psycopg.Connection) -> None:
    """read = loaded + … + rejected holds though two rows of a source are the same."""
    later = replace(REJECT, row_no=7)
    other_reason = replace(REJECT, field="agency", reason="agency_missing")
    assert store(connection, later, REJECT, REJECT, other_reason) == 4
    assert stored(connection, "reason, row_no") == [("agency_missing", 3), ("title_missing", 3)]


def test_rows_without_id_or_agency(connection: psycopg.Connection) -> None:
    assert store(connection, replace(REJECT, unique_id=None, agency=None)) == 1
    assert stored(connection, "unique_id, agency_key") == [(None, None)]


def test_the_count_is_the_database_s(connection: psycopg.Connection) -> None:
    """Counts come from the database: a row that the table did not take is not counted."""
    connection.execute(
        "CREATE FUNCTION pg_temp.lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.unique_id = 'lost' THEN RETURN NULL; END IF; RETURN NEW; END $$"
    )
    connection.execute("CREATE TRIGGER lose BEFORE INSERT ON rejects FOR EACH ROW EXECUTE FUNCTION pg_temp.lose()")
    lost = replace(REJECT, payload='{"b": 2}', unique_id="lost")
    assert store(connection, REJECT, lost) == 1


def test_a_text_that_is_no_json_is_an_error_and_leaves_nothing(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.DataError), connection.transaction():
        store(connection, REJECT, replace(REJECT, payload="{"))
    assert stored(connection, "*") == []


def test_a_very_large_row_is_kept_whole(connection: psycopg.Connection) -> None:
    (payload,) = payloads_of(batch_of([article("a", title=None, content="ação " * 500_000)]), [{}])
    assert store(connection, replace(REJECT, payload=payload, detail="x" * 10_000, unique_id="u" * 10_000)) == 1
    assert stored(connection, "payload::text")[0][0] == payload


def test_an_article_that_comes_in_under_another_id_settles_its_reject_by_its_address(
    connection: psycopg.Connection,
) -> None:
    """Without a date its id was another one: the reject would stay open for ever."""
    page = "https://www.gov.br/mec/noticias"
    undated = replace(REJECT, payload=json.dumps({"url": f"{page}/a/view", "title": "a\x00"}), detail="undated")
    other = replace(REJECT, payload=json.dumps({"url": f"{page}/b"}), detail="another")
    bare = replace(REJECT, payload=json.dumps({"url": None}), detail="bare")
    store_rejects(connection, [undated, other, bare], origin="insert", run_id=None)
    store(connection, replace(undated, payload=json.dumps({"url": f"{page}/a"}), detail="loaded"))
    assert settle_rejects(connection, ["new"], articles=[("mec", f"{page}/a"), ("aeb", f"{page}/b")]) == 1
    told = dict(stored(connection, "detail, status"))
    assert told == {"undated": "replayed", "another": "open", "bare": "open", "loaded": "open"}
    assert settle_rejects(connection, ["new"]) == 0
