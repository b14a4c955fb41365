"""The triggers of news: what wakes the readers of the change feed, what does not, and what deletions leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from data_platform.managers.postgres.news_table import NEWS_COLUMNS
from data_platform.models.columns import COLUMNS
from tests.support.databases import shared_database

#: A value of each column that differs from what `Feed.add` puts there.
OTHER = {
    "agency_key": "aeb",
    "published_at": "2024-05-20 12:00Z",
    "updated_datetime": "2024-05-21 12:00Z",
    "extracted_at": "2024-06-01 12:00Z",
    "tags": ["outra"],
}
SCRAPER = [c.store for c in COLUMNS if c.store not in {None, "unique_id", "agency_key", "extracted_at", "summary"}]


@dataclass(frozen=True)
class Feed:
    """A database in autocommit mode: each statement is a transaction, as the feed's marks are by transaction."""

    connection: psycopg.Connection[Any]

    def do(self, query: str, *values: Any) -> int:
        """Run a statement; return how many rows it says it changed."""
        return self.connection.execute(query, values).rowcount

    def ask(self, query: str, *values: Any) -> list[Any]:
        return self.connection.execute(query, values).fetchall()

    def add(self, unique_id: str, **columns: Any) -> None:
        row = {
            "unique_id": unique_id,
            "agency_key": "mec",
            "published_at": "2024-05-10 12:00Z",
            "extracted_at": "2024-05-11 12:00Z",
            "title": "t",
            "url": f"https://x.br/{unique_id}",
            "content": "c" * 5000,
            "tags": ["a"],
            **columns,
        }
        names = sql.SQL(", ").join(map(sql.Identifier, row))
        places = sql.SQL(", ").join(sql.Placeholder() * len(row))
        query = sql.SQL(
            "INSERT INTO news (agency_id, agency_name, {}) SELECT id, name, {} FROM agencies WHERE key = %s"
        ).format(names, places)
        assert self.connection.execute(query, [*row.values(), row["agency_key"]]).rowcount == 1

    def set(self, unique_id: str, /, **columns: Any) -> int:
        """Update columns of a row."""
        pairs = sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(c), sql.Placeholder()) for c in columns)
        query = sql.SQL("UPDATE news SET {} WHERE unique_id = %s").format(pairs)
        return self.connection.execute(query, [*columns.values(), unique_id]).rowcount

    def state(self, unique_id: str) -> dict[str, Any]:
        with self.connection.cursor(row_factory=dict_row) as cursor:
            query = "SELECT *, ctid::text AS place FROM news WHERE unique_id = %s"
            row = cursor.execute(query, (unique_id,)).fetchone()
        assert row is not None, f"{unique_id} is not there"
        return row

    def position(self) -> int:
        """Return an id that every transaction from here on is above."""
        return int(self.ask("SELECT pg_current_xact_id()::text")[0][0])

    def woken(self, since: int) -> set[str]:
        """Return the rows that a reader would take from the feed."""
        return {uid for (uid,) in self.ask("SELECT unique_id FROM news WHERE change_xid > %s::text::xid8", str(since))}

    def tombstones(self, since: int = 0) -> list[Any]:
        return self.ask(
            "SELECT unique_id, published_month::text, reason FROM news_tombstones"
            " WHERE change_xid > %s::text::xid8 ORDER BY id",
            str(since),
        )

    def doubles(self) -> dict[str, str | None]:
        return dict(self.ask("SELECT unique_id, duplicate_of FROM news"))


@pytest.fixture(scope="module", params=["embedded", "15"])
def _shared(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[Any]]:
    server = request.getfixturevalue("postgres" if request.param == "embedded" else "postgres15")
    with shared_database(server) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def feed(_shared: psycopg.Connection[Any]) -> Iterator[Feed]:
    yield Feed(_shared)
    _shared.execute("DELETE FROM news")
    _shared.execute("DELETE FROM news_tombstones")
    for key, name in (("mec", "Ministério da Educação"), ("aeb", "Agência Espacial Brasileira")):
        _shared.execute("UPDATE agencies SET name = %s WHERE key = %s", (name, key))


def theme(feed: Feed, code: str) -> int:
    return int(feed.ask("SELECT id FROM themes WHERE code = %s", code)[0][0])


# ------------------------------------------------------------------------------------------- inserts


def test_a_row_carries_the_transaction_that_inserted_it(feed: Feed) -> None:
    since = feed.position()
    with feed.connection.transaction():
        feed.add("a")
        feed.add("b")
        now = int(feed.ask("SELECT pg_current_xact_id()::text")[0][0])
    marks = feed.ask("SELECT DISTINCT change_xid::text, created_at = updated_at FROM news")
    assert marks == [(str(now), True)]
    assert feed.woken(since) == {"a", "b"}
    assert feed.tombstones() == []


def test_a_change_in_a_nested_transaction_carries_the_outer_one(feed: Feed) -> None:
    feed.add("a")
    with feed.connection.transaction():
        now = feed.ask("SELECT pg_current_xact_id()::text")
        with feed.connection.transaction():
            feed.set("a", title="x")
    assert feed.ask("SELECT change_xid::text FROM news") == now


# -------------------------------------------------------------------------- updates that change nothing


def test_an_update_that_changes_nothing_does_not_touch_the_row(feed: Feed) -> None:
    """Fault 23: nor is it counted, nor are the readers woken."""
    feed.add("a", summary="s", theme_cells='{"theme_1_level_1": "x"}')
    before, since = feed.state("a"), feed.position()
    same = {name: before[name] for name, _ in NEWS_COLUMNS} | {"theme_cells": '{ "theme_1_level_1" : "x" }'}
    assert feed.set("a", **same) == 0
    assert feed.do("UPDATE news SET title = title, updated_at = now(), updated_datetime = NULL") == 0
    assert feed.do("UPDATE news SET updated_at = '2000-01-01', change_xid = change_xid") == 0
    assert feed.state("a") == before
    assert feed.woken(since) == set()
    assert feed.tombstones() == []


def test_an_upsert_that_changes_nothing_is_not_counted(feed: Feed) -> None:
    feed.add("a")
    before = feed.state("a")
    upsert = (
        "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, title)"
        " SELECT unique_id, agency_id, agency_key, agency_name, published_at, %s FROM news"
        " ON CONFLICT (unique_id) DO UPDATE SET title = excluded.title RETURNING unique_id"
    )
    assert feed.ask(upsert, "t") == []
    after = feed.state("a")
    assert (after["place"], after["updated_at"], after["change_xid"]) == (
        before["place"],
        before["updated_at"],
        before["change_xid"],
    )
    assert feed.ask(upsert, "outro") == [("a",)]


@pytest.mark.parametrize("value", ["2030-01-01Z", None])
def test_extracted_at_by_itself_is_no_difference(feed: Feed, value: str | None) -> None:
    feed.add("a")
    before = feed.state("a")
    assert feed.set("a", extracted_at=value) == 0
    assert feed.state("a") == before


def test_extracted_at_moves_with_another_scraper_column(feed: Feed) -> None:
    feed.add("a")
    assert feed.set("a", extracted_at="2030-01-01Z", title="outro") == 1
    assert feed.state("a")["extracted_at"].year == 2030


@pytest.mark.parametrize("column", ["summary", "theme_form", "duplicate_of"])
def test_extracted_at_does_not_move_with_what_is_not_the_scraper_s(feed: Feed, column: str) -> None:
    """Enrichment is no re-scrape: extracted_at stays as first seen."""
    feed.add("p")
    feed.add("a")
    before, since = feed.state("a"), feed.position()
    assert feed.set("a", extracted_at="2030-01-01Z", **{column: {"theme_form": "text"}.get(column, "p")}) == 1
    assert feed.state("a")["extracted_at"] == before["extracted_at"]
    assert feed.woken(since) == {"a"}


# --------------------------------------------------------------------------------- updates that change


@pytest.mark.parametrize("column", [*SCRAPER, "summary", "theme_l1_id", "theme_l2_id", "theme_l3_id"])
def test_a_change_of_any_published_column_wakes_the_readers(feed: Feed, column: str) -> None:
    feed.add("a")
    feed.add("b")
    before, since = feed.state("a"), feed.position()
    value = theme(feed, "01") if column.startswith("theme_") else OTHER.get(column, "outro")
    assert feed.set("a", **{column: value}) == 1
    assert feed.woken(since) == {"a"}
    assert feed.state("a")["updated_at"] > before["updated_at"]
    since = feed.position()
    if column not in {"published_at", "title"}:
        assert feed.set("a", **{column: None}) == 1
        assert feed.woken(since) == {"a"}


@pytest.mark.parametrize(
    ("column", "value"),
    [("theme_cells", '{"theme_1_level_1": "y"}'), ("theme_form", "codes"), ("duplicate_of", "b")],
)
def test_so_does_a_change_of_how_it_is_published(feed: Feed, column: str, value: str) -> None:
    feed.add("a", theme_cells='{"theme_1_level_1": "x"}')
    since = feed.position()
    assert feed.set("a", **{column: value}) == 1
    assert feed.woken(since) == {"a"}


def test_what_is_not_published_may_change_without_waking_anyone(feed: Feed) -> None:
    feed.add("a")
    before, since = feed.state("a"), feed.position()
    assert feed.set("a", canonical_url="https://x.br/b", updated_at="2000-01-01") == 1
    after = feed.state("a")
    assert after["canonical_url"] == "https://x.br/b"
    assert (after["updated_at"], after["change_xid"]) == (before["updated_at"], before["change_xid"])
    assert feed.woken(since) == set()


def test_nobody_sets_the_marks_by_hand(feed: Feed) -> None:
    feed.add("a")
    since = feed.position()
    assert feed.do("UPDATE news SET change_xid = '5', updated_at = '2000-01-01'") == 1
    assert feed.woken(since) == {"a"}
    assert feed.state("a")["updated_at"].year > 2000


# ------------------------------------------------------------------------------------------ tombstones


def test_a_deleted_row_leaves_its_old_place(feed: Feed) -> None:
    """Fault 43: deletions travel too. The month is the São Paulo one (fault 6)."""
    feed.add("a", published_at="2018-12-01 01:30Z")  # 23:30 of 30 November in São Paulo's summer time
    since = feed.position()
    assert feed.do("DELETE FROM news WHERE unique_id = 'a'") == 1
    assert feed.tombstones(since) == [("a", "2018-11-01", "deleted")]
    assert feed.ask("SELECT agency_key, url FROM news_tombstones") == [("mec", "https://x.br/a")]


def test_a_renamed_row_leaves_its_old_name(feed: Feed) -> None:
    """Fault 4: the old id is known, so whoever shows articles can lead on."""
    feed.add("a")
    since = feed.position()
    assert feed.set("a", unique_id="slug_a1b2c3") == 1
    assert feed.tombstones(since) == [("a", "2024-05-01", "renamed")]
    assert feed.woken(since) == {"slug_a1b2c3"}


def test_a_row_that_moves_to_another_month_leaves_its_old_one(feed: Feed) -> None:
    feed.add("a", published_at="2024-05-31 12:00Z")
    since = feed.position()
    assert feed.set("a", published_at="2024-06-01 02:59:59Z") == 1  # still 31 May in São Paulo
    assert feed.tombstones(since) == []
    assert feed.set("a", published_at="2024-06-01 03:00Z") == 1
    assert feed.tombstones(since) == [("a", "2024-05-01", "moved")]


def test_renamed_and_moved_at_once(feed: Feed) -> None:
    feed.add("a")
    assert feed.set("a", unique_id="b", published_at="2023-01-01 12:00Z") == 1
    assert feed.tombstones() == [("a", "2024-05-01", "renamed")]


def test_a_tombstone_carries_its_transaction(feed: Feed) -> None:
    feed.add("a")
    with feed.connection.transaction():
        now = feed.ask("SELECT pg_current_xact_id()::text")
        feed.do("DELETE FROM news")
    assert feed.ask("SELECT change_xid::text FROM news_tombstones") == now


@pytest.mark.parametrize("statement", ["TRUNCATE news", "TRUNCATE agencies CASCADE", "TRUNCATE themes CASCADE"])
def test_truncate_is_refused(feed: Feed, statement: str) -> None:
    feed.add("a")
    with pytest.raises(psycopg.errors.RaiseException, match="cannot be truncated"):
        feed.do(statement)
    assert feed.doubles() == {"a": None}


# --------------------------------------------------------------------------------------------- doubles


def article_with_doubles(feed: Feed) -> None:
    """p is the primary; d2 was extracted before d1, d3 without a time, and e1, e2 are tied."""
    feed.add("p", canonical_url="u", extracted_at="2024-01-01Z")
    for name, extracted in (("d1", "2024-03-01Z"), ("d2", "2024-02-01Z"), ("d3", None), ("e2", "2024-04-01Z")):
        feed.add(name, canonical_url="u", extracted_at=extracted, duplicate_of="p")
    feed.add("e1", canonical_url="u", extracted_at="2024-04-01Z", duplicate_of="p")


def test_if_the_primary_goes_the_next_is_promoted(feed: Feed) -> None:
    article_with_doubles(feed)
    order = ["p", "d2", "d1", "e1", "e2", "d3"]
    for gone, heir in pairwise(order):
        since = feed.position()
        assert feed.do("DELETE FROM news WHERE unique_id = %s", gone) == 1
        left = order[order.index(heir) :]
        assert feed.doubles() == {name: None if name == heir else heir for name in left}
        assert feed.woken(since) == set(left)
        assert feed.tombstones(since) == [(gone, "2024-05-01", "deleted")]


def test_a_double_that_goes_changes_nothing_for_the_others(feed: Feed) -> None:
    article_with_doubles(feed)
    since = feed.position()
    feed.do("DELETE FROM news WHERE unique_id = 'd2'")
    assert feed.woken(since) == set()
    assert set(feed.doubles().values()) == {None, "p"}


@pytest.mark.parametrize("gone", [["p", "d2"], ["d2", "p"], ["p", "d1", "d2", "d3", "e1", "e2"]])
def test_several_that_go_in_one_statement(feed: Feed, gone: list[str]) -> None:
    article_with_doubles(feed)
    assert feed.do("DELETE FROM news WHERE unique_id = ANY (%s)", gone) == len(gone)
    left = {"d1", "d3", "e1", "e2"} - set(gone)
    assert feed.doubles() == {name: None if name == "d1" else "d1" for name in left}
    assert {uid for uid, _, _ in feed.tombstones()} == set(gone)


def test_doubles_follow_their_primary_s_new_name(feed: Feed) -> None:
    article_with_doubles(feed)
    since = feed.position()
    assert feed.set("p", unique_id="q") == 1
    assert feed.doubles() == {name: None if name == "q" else "q" for name in ("q", "d1", "d2", "d3", "e1", "e2")}
    assert feed.woken(since) == set(feed.doubles())


def test_all_may_be_renamed_in_one_statement(feed: Feed) -> None:
    """As the change to readable ids does (FIELD_FACTS §2.2)."""
    article_with_doubles(feed)
    feed.add("other")
    assert feed.do("UPDATE news SET unique_id = 'slug-' || unique_id") == 7
    assert feed.doubles() == {"slug-p": None, "slug-other": None} | {
        f"slug-{name}": "slug-p" for name in ("d1", "d2", "d3", "e1", "e2")
    }
    assert len(feed.tombstones()) == 7


def test_a_double_whose_article_has_a_primary_of_its_own_goes_to_that_one(feed: Feed) -> None:
    """The primary's address was changed, and the article was then met again under the old one."""
    feed.add("p", canonical_url="u")
    feed.add("d", canonical_url="u", duplicate_of="p")
    feed.set("p", canonical_url="v")
    feed.add("q", canonical_url="u")
    assert feed.do("DELETE FROM news WHERE unique_id = 'p'") == 1
    assert feed.doubles() == {"d": "q", "q": None}


def test_one_article_has_one_primary(feed: Feed) -> None:
    """Fault 3."""
    feed.add("p", canonical_url="u")
    with pytest.raises(psycopg.errors.UniqueViolation, match="news_primary_url_key"):
        feed.add("d", canonical_url="u")
    feed.add("d", canonical_url="u", duplicate_of="p")
    feed.add("other agency", canonical_url="u", agency_key="aeb")
    feed.add("no address 1", canonical_url=None)
    feed.add("no address 2", canonical_url=None)
    with pytest.raises(psycopg.errors.CheckViolation):
        feed.set("d", duplicate_of="d")


# -------------------------------------------------------------------------------- themes and agencies


def test_a_renamed_theme_touches_the_rows_that_publish_it(feed: Feed) -> None:
    one, two, three, other = (theme(feed, code) for code in ("04", "04.04", "04.04.05", "01"))
    feed.add("first", theme_l1_id=one, most_specific_theme_id=one, theme_form="text")
    feed.add("second", theme_l1_id=one, theme_l2_id=two, most_specific_theme_id=two, theme_form="codes")
    feed.add("third", theme_l1_id=one, theme_l2_id=two, theme_l3_id=three, most_specific_theme_id=three)
    feed.add("most only", most_specific_theme_id=three)
    feed.add("other", theme_l1_id=other, most_specific_theme_id=other, theme_form="text")
    feed.add("none")
    before = feed.state("first")
    rename = "UPDATE themes SET label = %s, full_name = code || ' - ' || %s WHERE code = %s"
    for code, touched in (
        ("04", {"first", "second", "third"}),
        ("04.04", {"second", "third"}),
        ("04.04.05", {"third", "most only"}),
        ("02", set()),
    ):
        since = feed.position()
        old = feed.ask("SELECT label FROM themes WHERE code = %s", code)[0][0]
        assert feed.do(rename, "Novo", "Novo", code) == 1
        assert feed.woken(since) == touched, code
        since = feed.position()
        assert feed.do(rename, "Novo", "Novo", code) == 1  # the same name again
        assert feed.do("UPDATE themes SET updated_at = now() WHERE code = %s", code) == 1
        assert feed.woken(since) == set()
        feed.do(rename, old, old, code)
    after = feed.state("first")
    assert after["updated_at"] > before["updated_at"]
    assert after["extracted_at"] == before["extracted_at"]


def test_a_theme_renamed_in_the_transaction_that_wrote_a_row_is_no_error(feed: Feed) -> None:
    with feed.connection.transaction(force_rollback=True):
        feed.add("a", theme_l1_id=theme(feed, "04"), theme_form="text")
        feed.do("UPDATE themes SET label = 'Novo', full_name = '04 - Novo' WHERE code = '04'")
        assert feed.ask("SELECT theme_1_level_1 FROM news_published") == [("04 - Novo",)]


def test_a_theme_with_another_code_keeps_its_rows_and_children(feed: Feed) -> None:
    with feed.connection.transaction(force_rollback=True):
        feed.add("a", theme_l1_id=theme(feed, "04"), theme_form="text")
        feed.do("UPDATE themes SET code = '99', full_name = '99 - ' || label WHERE code = '04'")
        assert feed.ask("SELECT theme_1_level_1 FROM news_published") == [("99 - Segurança",)]
        assert feed.ask("SELECT DISTINCT parent_code FROM themes WHERE code LIKE '04.%%' AND level = 2") == [("99",)]


def test_a_theme_that_rows_have_cannot_go(feed: Feed) -> None:
    feed.add("a", theme_l3_id=theme(feed, "04.04.05"))
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        feed.do("DELETE FROM themes WHERE code = '04.04.05'")


def test_a_new_name_of_an_agency_reaches_its_rows_and_wakes_no_reader(feed: Feed) -> None:
    """Fault 26: the copy of the name is kept true; it is not published."""
    feed.add("a")
    feed.add("b", agency_key="aeb")
    before, since = feed.state("a"), feed.position()
    assert feed.do("UPDATE agencies SET name = 'MEC' WHERE key = 'mec'") == 1
    after = feed.state("a")
    assert after["agency_name"] == "MEC"
    assert (after["updated_at"], after["change_xid"]) == (before["updated_at"], before["change_xid"])
    assert feed.woken(since) == set()
    assert feed.state("b")["agency_name"] == "Agência Espacial Brasileira"


def test_a_new_key_of_an_agency_is_published_and_wakes_the_readers(feed: Feed) -> None:
    feed.add("a")
    feed.add("b", agency_key="aeb")
    since = feed.position()
    try:
        assert feed.do("UPDATE agencies SET key = 'educacao' WHERE key = 'mec'") == 1
        assert feed.ask("SELECT agency FROM news_published WHERE unique_id = 'a'") == [("educacao",)]
        assert feed.woken(since) == {"a"}
        assert feed.tombstones(since) == []
    finally:
        feed.do("UPDATE agencies SET key = 'mec' WHERE key = 'educacao'")


def test_key_and_name_of_a_row_are_those_of_its_agency(feed: Feed) -> None:
    feed.add("a")
    for columns in ({"agency_key": "aeb"}, {"agency_name": "x"}, {"agency_id": -1}):
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            feed.set("a", **columns)
    moved = (
        "UPDATE news SET (agency_id, agency_key, agency_name) = (SELECT id, key, name FROM agencies WHERE key = 'aeb')"
    )
    since = feed.position()
    assert feed.do(moved) == 1
    assert feed.woken(since) == {"a"}
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        feed.do("DELETE FROM agencies WHERE key = 'aeb'")
