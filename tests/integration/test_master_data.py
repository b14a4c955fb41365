"""Filling agencies and themes on a real PostgreSQL: exact counts, nothing touched twice, nothing deleted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from data_platform.errors import SourceError, StoreError, StoreUnavailableError
from data_platform.jobs.master_data import (
    PopulateResult,
    load_agencies,
    load_themes,
    populate_agencies,
    populate_themes,
)
from data_platform.models.agencies import Agency
from data_platform.models.themes import Theme
from data_platform.schema import upgrade

MRE = Agency("mre", "Ministério das Relações Exteriores", "Ministério", "presidencia", "https://www.gov.br/mre")
ABC = Agency("abc", "Agência Brasileira de Cooperação", "Agência", "mre", "https://www.gov.br/abc")
FUNAG = Agency("funag", "Fundação Alexandre de Gusmão", "Fundação", "mre", "https://www.gov.br/funag")
MEDIA = Theme("18", "Comunicações e Mídia", 1)
DIGITAL = Theme("18.03", "Comunicação Digital", 2, "18")
DIGITAL_3 = Theme("18.03.05", "Comunicação Digital", 3, "18.03")


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    upgrade(database_url)
    with psycopg.connect(database_url) as opened:
        yield opened


def result(
    read: int, inserted: int = 0, updated: int = 0, unchanged: int = 0, not_in_source: int = 0
) -> PopulateResult:
    return PopulateResult(read, inserted, updated, unchanged, not_in_source)


def rows_of(connection: psycopg.Connection[Any], table: str) -> dict[str, dict[str, Any]]:
    """Return the rows by key or code, each with `version`: where its present version lies and who touched it."""
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(f"SELECT *, ctid::text || ' ' || xmin || ' ' || xmax AS version FROM {table}")
        return {row["key" if table == "agencies" else "code"]: row for row in cursor.fetchall()}


def wait_for_blocked(watch: psycopg.Connection[Any], sessions: int) -> None:
    """Return when that many sessions of this database wait for a lock."""
    deadline = time.monotonic() + 20
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while watch.execute(query).fetchone() != (sessions,):
        assert time.monotonic() < deadline, "the sessions did not come to wait for each other"
        time.sleep(0.02)


class TestAgencies:
    def test_the_catalogue_goes_in_whole_and_a_second_time_changes_nothing(self, connection: Any) -> None:
        agencies = load_agencies()
        assert populate_agencies(connection, agencies) == result(166, inserted=166)
        first = rows_of(connection, "agencies")
        assert {
            key: Agency(*(row[c] for c in ("key", "name", "type", "parent_key", "url"))) for key, row in first.items()
        } == {agency.key: agency for agency in agencies}
        assert not any(row["is_stub"] for row in first.values())
        assert populate_agencies(connection, agencies) == result(166, unchanged=166)
        # Not even locked: the same row versions with the same marks, and no id drawn.
        assert rows_of(connection, "agencies") == first
        assert populate_agencies(connection, [Agency("nova", "Nova")]).inserted == 1
        assert rows_of(connection, "agencies")["nova"]["id"] == max(row["id"] for row in first.values()) + 1

    def test_counts_each_kind(self, connection: Any) -> None:
        populate_agencies(connection, [MRE, ABC])
        before = rows_of(connection, "agencies")
        renamed = replace(ABC, name="ABC")
        assert populate_agencies(connection, [renamed, FUNAG]) == result(2, inserted=1, updated=1, not_in_source=1)
        after = rows_of(connection, "agencies")
        assert after["abc"]["name"] == "ABC"
        assert after["abc"]["updated_at"] > before["abc"]["updated_at"]
        assert after["abc"]["id"] == before["abc"]["id"]
        assert after["mre"] == before["mre"]

    @pytest.mark.parametrize("field", ["name", "type", "parent_key", "url"])
    def test_a_difference_in_any_field_is_an_update_of_that_row_alone(self, connection: Any, field: str) -> None:
        populate_agencies(connection, [MRE, ABC])
        before = rows_of(connection, "agencies")
        changed = replace(ABC, **{field: "https://outro"})
        assert populate_agencies(connection, [MRE, changed]) == result(2, updated=1, unchanged=1)
        after = rows_of(connection, "agencies")
        assert after["abc"][field] == "https://outro"
        assert after["mre"] == before["mre"]

    def test_a_field_that_was_empty_is_filled(self, connection: Any) -> None:
        populate_agencies(connection, [Agency("abc", ABC.name)])
        assert populate_agencies(connection, [ABC]) == result(1, updated=1)
        assert rows_of(connection, "agencies")["abc"]["parent_key"] == "mre"

    def test_a_file_of_names_alone_erases_nothing(self, connection: Any) -> None:
        populate_agencies(connection, [MRE, ABC])
        assert populate_agencies(connection, [Agency("mre", MRE.name), Agency("abc", "ABC")]) == result(
            2, updated=1, unchanged=1
        )
        row = rows_of(connection, "agencies")["abc"]
        assert (row["name"], row["type"], row["parent_key"], row["url"]) == ("ABC", ABC.type, ABC.parent_key, ABC.url)

    def test_a_stub_becomes_a_full_agency_and_its_news_follow(self, connection: Any) -> None:
        connection.execute(
            "INSERT INTO agencies (key, name, is_stub) VALUES ('abc', 'abc', true), ('xyz', 'xyz', true)"
        )
        connection.execute(
            "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, title) "
            "SELECT 'n1', id, key, name, now(), 'Título' FROM agencies WHERE key = 'abc'"
        )
        assert populate_agencies(connection, [ABC, MRE]) == result(2, inserted=1, updated=1, not_in_source=1)
        rows = rows_of(connection, "agencies")
        assert rows["abc"]["is_stub"] is False
        assert rows["xyz"]["is_stub"] is True
        assert connection.execute("SELECT agency_name FROM news").fetchall() == [(ABC.name,)]

    def test_a_stub_that_only_differs_by_its_flag_is_updated(self, connection: Any) -> None:
        populate_agencies(connection, [ABC])
        connection.execute("UPDATE agencies SET is_stub = true")
        assert populate_agencies(connection, [ABC]) == result(1, updated=1)
        assert rows_of(connection, "agencies")["abc"]["is_stub"] is False

    def test_no_agencies_touch_nothing(self, connection: Any) -> None:
        populate_agencies(connection, [MRE, ABC])
        before = rows_of(connection, "agencies")
        assert populate_agencies(connection, []) == result(0, not_in_source=2)
        assert rows_of(connection, "agencies") == before

    def test_an_agency_twice_is_named_and_nothing_is_stored(self, connection: Any) -> None:
        with pytest.raises(SourceError, match="agency key 'abc' stands twice"):
            populate_agencies(connection, [MRE, ABC, ABC])
        assert rows_of(connection, "agencies") == {}

    def test_two_runs_at_once_agree(self, connection: Any, database_url: str) -> None:
        connection.commit()
        agencies = (ABC, FUNAG, MRE)

        def run(order: tuple[Agency, ...]) -> PopulateResult:
            # A merge or hash join would give both runs one order by chance, and hide that nothing else does.
            with psycopg.connect(database_url, options="-c enable_mergejoin=off -c enable_hashjoin=off") as own:
                return populate_agencies(own, order)

        # Both wait for the middle row, each with its first row in hand: in two orders that would be a deadlock.
        with ThreadPoolExecutor(2) as pool, psycopg.connect(database_url, autocommit=True) as watch:
            connection.execute("INSERT INTO agencies (key, name) VALUES (%s, 'outro')", (FUNAG.key,))
            runs = [pool.submit(run, order) for order in (agencies, agencies[::-1])]
            wait_for_blocked(watch, 2)
            connection.rollback()
            results = {each.result(timeout=30) for each in runs}
        assert results == {result(3, inserted=3), result(3, unchanged=3)}
        assert len(rows_of(connection, "agencies")) == 3


class TestThemes:
    def test_the_catalogue_goes_in_whole_and_a_second_time_changes_nothing(self, connection: Any) -> None:
        themes = load_themes()
        assert populate_themes(connection, themes) == result(27, inserted=27)
        first = rows_of(connection, "themes")
        assert {code: Theme(code, row["label"], row["level"], row["parent_code"]) for code, row in first.items()} == {
            theme.code: theme for theme in themes
        }
        assert {row["full_name"] for row in first.values()} == {theme.full_name for theme in themes}
        assert populate_themes(connection, themes) == result(27, unchanged=27)
        assert rows_of(connection, "themes") == first

    def test_children_may_come_before_their_parents(self, connection: Any) -> None:
        assert populate_themes(connection, [DIGITAL_3, DIGITAL, MEDIA]) == result(3, inserted=3)

    def test_a_parent_may_already_be_in_the_table(self, connection: Any) -> None:
        populate_themes(connection, [MEDIA])
        assert populate_themes(connection, [DIGITAL]) == result(1, inserted=1, not_in_source=1)

    def test_a_theme_without_its_parent_is_refused_and_nothing_is_stored(self, connection: Any) -> None:
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            populate_themes(connection, [MEDIA, DIGITAL_3])
        assert rows_of(connection, "themes") == {}

    def test_a_new_label_changes_the_full_name_too(self, connection: Any) -> None:
        populate_themes(connection, [MEDIA, DIGITAL, DIGITAL_3])
        before = rows_of(connection, "themes")
        renamed = replace(DIGITAL, label="Mídia Digital")
        assert populate_themes(connection, [MEDIA, renamed]) == result(2, updated=1, unchanged=1, not_in_source=1)
        after = rows_of(connection, "themes")
        assert (after["18.03"]["label"], after["18.03"]["full_name"]) == ("Mídia Digital", "18.03 - Mídia Digital")
        assert after["18.03"]["updated_at"] > before["18.03"]["updated_at"]
        assert after["18.03"]["id"] == before["18.03"]["id"]
        assert (after["18"], after["18.03.05"]) == (before["18"], before["18.03.05"])

    def test_a_code_twice_is_named(self, connection: Any) -> None:
        with pytest.raises(SourceError, match="theme code '18' stands twice"):
            populate_themes(connection, [MEDIA, replace(MEDIA, label="Outro")])
        assert rows_of(connection, "themes") == {}


class TestTransaction:
    def test_the_work_is_committed_on_its_own(self, connection: Any, database_url: str) -> None:
        connection.commit()
        populate_agencies(connection, [MRE])
        with psycopg.connect(database_url) as other:
            assert list(rows_of(other, "agencies")) == ["mre"]

    def test_within_a_transaction_of_the_caller_it_is_a_part_of_that_one(self, connection: Any) -> None:
        connection.commit()
        with connection.transaction():
            populate_agencies(connection, [MRE])
            populate_themes(connection, [MEDIA])
            raise psycopg.Rollback
        assert rows_of(connection, "agencies") == {}
        assert rows_of(connection, "themes") == {}

    @pytest.mark.parametrize("autocommit", [True, False])
    def test_works_whatever_the_connection_is_set_to(
        self, connection: Any, database_url: str, autocommit: bool
    ) -> None:
        connection.commit()
        with psycopg.connect(database_url, autocommit=autocommit, row_factory=dict_row) as other:
            counted = populate_agencies(other, [MRE, ABC])
        assert asdict(counted) == {"read": 2, "inserted": 2, "updated": 0, "unchanged": 0, "not_in_source": 0}


def test_a_database_without_the_schema_is_named_so(database_url: str) -> None:
    with psycopg.connect(database_url) as bare, pytest.raises(StoreError, match="create-schema"):
        populate_agencies(bare, [MRE])


def test_a_connection_that_broke_is_worth_another_try(connection: Any, database_url: str) -> None:
    connection.commit()
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
    with pytest.raises(StoreUnavailableError):
        populate_agencies(connection, [MRE])
