"""What only PostgreSQL can show of PostgresManager: races, catalogues, primaries and doubles, marks, migrations."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import psycopg
import pytest

from data_platform.errors import BusyError, ConfigurationError, StoreError
from data_platform.jobs.master_data import populate_agencies, populate_themes
from data_platform.managers.postgres.news_writer import ready_to_write
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.agencies import Agency
from data_platform.models.themes import Theme
from tests.support.faces import as_columns
from tests.support.sources import Row, article, articles, newer, theme_codes
from tests.support.stores import Store
from tests.support.waiting import blocked, wait_until


@pytest.fixture
def manager(store: Store) -> Iterator[PostgresManager]:
    made = PostgresManager(store.url)
    yield made
    made.close()


def insert(manager: PostgresManager, *rows: Row, allow_update: bool = False) -> int:
    return manager.insert(as_columns(rows), allow_update)


def update(manager: PostgresManager, *rows: dict[str, Any]) -> int:
    return manager.update(pd.DataFrame(as_columns(rows)).astype(object))


# ------------------------------------------------------------------------------------------------ races


def test_eight_writers_of_the_same_articles_make_each_once(store: Store) -> None:
    """Every writer gives the same articles under ids of its own; the counts are what the table holds."""
    counts: list[int] = []
    start = threading.Barrier(8, timeout=60)

    def write(writer: int) -> None:
        manager = PostgresManager(store.url)
        rows = [article(n, unique_id=f"{writer}-{n}") for n in range(40)]
        start.wait()
        done = sum(
            insert(manager, *rows[first : first + 10]) for first in ((writer * 10 + i * 10) % 40 for i in range(4))
        )
        counts.append(done)
        manager.close()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(counts) == 8
    assert sum(counts) == 40 == len(store.published())
    assert store.value("SELECT count(DISTINCT (agency_key, canonical_url)) FROM news") == 40


def test_updates_of_the_same_rows_from_many_sides_all_arrive(store: Store, manager: PostgresManager) -> None:
    insert(manager, *articles(50))
    columns = ("summary", "subtitle", "category", "editorial_lead")

    def write(column: str) -> None:
        mine = PostgresManager(store.url)
        order = articles(50) if column < "f" else articles(50)[::-1]
        update(mine, *({"unique_id": row["unique_id"], column: f"{column} novo"} for row in order))
        mine.close()

    threads = [threading.Thread(target=write, args=(column,)) for column in columns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for row in store.published().values():
        assert {column: row[column] for column in columns} == {column: f"{column} novo" for column in columns}


def test_a_row_given_twice_may_end_at_the_address_of_another(store: Store, manager: PostgresManager) -> None:
    """Its later row has an address that is taken, in the table or by another new row: it comes in as a double."""
    there, one, two = article(0), article(3), article(6)
    insert(manager, there)
    rows = [one, two, newer(one, url=there["url"]), newer(two, url=one["url"] + "/view"), newer(one, hours=1)]
    outcome = manager.insert_rows(as_columns(rows), allow_update=True)
    assert outcome.counts == {"given": 5, "inserted": 2, "updated": 0, "unchanged": 0, "duplicates": 3, "rejected": 0}
    assert sorted(outcome.written) == sorted(row["unique_id"] for row in (one, two))
    assert {uid: row["url"] for uid, row in store.published().items()} == {
        there["unique_id"]: there["url"], one["unique_id"]: there["url"], two["unique_id"]: one["url"] + "/view",
    }  # fmt: skip
    assert doubles(store) == {one["unique_id"]: there["unique_id"]}


# ------------------------------------------------------------------------------------------- catalogues


def test_an_agency_that_nobody_listed_gets_an_entry_that_says_so(store: Store, manager: PostgresManager) -> None:
    """Fault 20."""
    outcome = manager.insert_rows(as_columns([article(1, agency="nova"), article(2, agency="nova"), article(3)]))
    assert (outcome.inserted, outcome.new_agencies) == (3, ["nova"])
    assert {row["key"] for row in store.agencies() if row["is_stub"]} == {"nova"}
    assert manager.insert_rows(as_columns([article(4, agency="nova")])).new_agencies == []


def test_a_row_that_is_not_written_makes_no_agency(store: Store, manager: PostgresManager) -> None:
    """An article stays with its agency, whatever a scrape calls it."""
    insert(manager, article(1))
    for allow_update in (False, True):
        outcome = manager.insert_rows(
            as_columns([newer(article(1, agency="typo"), title="n")]), allow_update=allow_update
        )
        assert (outcome.inserted, outcome.updated, outcome.new_agencies) == (0, allow_update, [])
    assert {row["agency"] for row in store.published().values()} == {article(1)["agency"]}
    assert "typo" not in {row["key"] for row in store.agencies()}


def test_a_catalogue_that_changes_under_a_write_is_read_again(
    store: Store, manager: PostgresManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows' copy of the agency's name is no longer true: a foreign key says so, which is no error."""
    read, names = manager._read_catalogue, ["Renomeada"]

    def read_then_rename(connection: Any) -> Any:
        catalogue = read(connection)
        if names:
            store.execute(f"UPDATE agencies SET name = '{names.pop()}' WHERE key = '{article(1)['agency']}'")
        return catalogue

    monkeypatch.setattr(manager, "_read_catalogue", read_then_rename)
    assert insert(manager, article(1)) == 1
    assert store.value("SELECT agency_name FROM news") == "Renomeada"


def test_a_newer_catalogue_is_noticed(store: Store, manager: PostgresManager) -> None:
    insert(manager, article(1, agency="nova"))
    code = {"unique_id": article(1)["unique_id"], "theme_1_level_1_code": "30"}
    update(manager, code)
    assert store.published()[code["unique_id"]]["theme_1_level_1_label"] is None
    with psycopg.connect(store.url) as connection:
        populate_agencies(connection, [Agency("nova", "Agência Nova", None, None, None)])
        populate_themes(connection, [Theme("30", "Espaço", 1)])
    insert(manager, article(2, agency="nova"))
    assert {row["agency_name"] for row in store.query("SELECT agency_name FROM news")} == {"Agência Nova"}
    update(manager, code)
    assert store.published()[code["unique_id"]]["theme_1_level_1"] == "30 - Espaço"


def test_themes_by_code_are_filed_under_their_ids(store: Store, manager: PostgresManager) -> None:
    """Faults 12, 25."""
    insert(manager, article(1))
    uid = article(1)["unique_id"]
    update(manager, {"unique_id": uid, **theme_codes("05.02.03"), "image": "https://x.br/i.png"})
    derived = store.derived()[uid]
    assert (derived["l1"], derived["l2"], derived["l3"], derived["most"]) == ("05", "05.02", "05.02.03", "05.02.03")
    assert (derived["theme_form"], derived["theme_cells"]) == ("codes", None)
    assert store.value("SELECT image_url FROM news") == "https://x.br/i.png"


# ---------------------------------------------------------------------------------- primaries and doubles


def doubles(store: Store) -> dict[str, str]:
    return {uid: row["duplicate_of"] for uid, row in store.derived().items() if row["duplicate_of"]}


def test_an_address_that_belongs_to_another_row_makes_a_double(store: Store, manager: PostgresManager) -> None:
    """The earliest extracted_at is the primary, whoever came to the address last."""
    first, second = article(0), article(3)
    insert(manager, first, second)
    assert update(manager, {"unique_id": second["unique_id"], "url": first["url"]}) == 1
    assert doubles(store) == {second["unique_id"]: first["unique_id"]}
    assert update(manager, {"unique_id": second["unique_id"], "url": second["url"]}) == 1
    assert doubles(store) == {}


def test_the_earlier_row_becomes_the_primary(store: Store, manager: PostgresManager) -> None:
    first, second = article(0), article(3)
    insert(manager, first, second)
    update(manager, {"unique_id": first["unique_id"], "url": second["url"]})
    assert doubles(store) == {second["unique_id"]: first["unique_id"]}
    # A scrape finds the primary, under whatever id it comes.
    again = newer(second, unique_id="outra", title="Novo")
    outcome = manager.insert_rows(as_columns([again]), allow_update=True)
    assert (outcome.updated, outcome.ids) == (1, {"outra": first["unique_id"]})


def test_when_the_primary_leaves_the_next_is_promoted(store: Store, manager: PostgresManager) -> None:
    rows = [article(n) for n in (0, 3, 6)]
    insert(manager, *rows)
    for row in rows[1:]:
        update(manager, {"unique_id": row["unique_id"], "url": rows[0]["url"]})
    ids = [row["unique_id"] for row in rows]
    assert doubles(store) == {ids[1]: ids[0], ids[2]: ids[0]}
    update(manager, {"unique_id": ids[0], "url": None})
    assert doubles(store) == {ids[2]: ids[1]}
    update(manager, {"unique_id": ids[1], "agency": "saude"})
    assert doubles(store) == {}


def test_a_later_extraction_of_the_primary_changes_the_order(store: Store, manager: PostgresManager) -> None:
    first, second = article(0), article(3)
    insert(manager, first, second)
    update(manager, {"unique_id": second["unique_id"], "url": first["url"]})
    insert(manager, newer(first, title="Novo"), allow_update=True)
    assert doubles(store) == {first["unique_id"]: second["unique_id"]}


def test_two_rows_of_an_article_deleted_at_once_leave_the_third_as_its_primary(
    store: Store, manager: PostgresManager
) -> None:
    """The heir that one session is about to promote is being deleted by the other."""
    rows = [article(n) for n in (0, 3, 6)]
    insert(manager, *rows)
    update(manager, *({"unique_id": row["unique_id"], "url": rows[0]["url"]} for row in rows[1:]))
    first, second, third = (row["unique_id"] for row in rows)
    remove = "DELETE FROM news WHERE unique_id = %s"
    with psycopg.connect(store.url) as one, psycopg.connect(store.url, application_name="govbr heir") as other:
        one.execute(remove, (second,))
        thread = threading.Thread(target=other.execute, args=(remove, (first,)))
        thread.start()
        wait_until(lambda: blocked(store, "heir"), "the second deletion does not wait for the heir")
        one.commit()
        thread.join(30)
        other.commit()
    assert set(store.published()) == {third}
    assert doubles(store) == {}


def test_many_rows_change_places_at_once(store: Store, manager: PostgresManager) -> None:
    """A ring of addresses, and several rows to one address, in one call."""
    rows = [article(3 * n) for n in range(8)]
    insert(manager, *rows)
    ring = [{"unique_id": rows[n]["unique_id"], "url": rows[(n + 1) % 5]["url"]} for n in range(5)]
    crowd = [{"unique_id": rows[n]["unique_id"], "url": rows[0]["url"] + "/view"} for n in (5, 6, 7)]
    assert update(manager, *ring, *crowd) == 8
    ids = [row["unique_id"] for row in rows]
    assert doubles(store) == {ids[n]: ids[4] for n in (5, 6, 7)}


# --------------------------------------------------------------------------------------- the open dataset


def ids_of(frame: pd.DataFrame) -> set[str]:
    return set(frame["unique_id"])


def test_rows_are_pending_until_they_are_marked(manager: PostgresManager) -> None:
    insert(manager, *articles(4))
    pending = manager.get_records_for_hf_sync()
    assert ids_of(pending) == {row["unique_id"] for row in articles(4)}
    manager.mark_as_synced_to_hf(list(pending["unique_id"][:3]))
    assert ids_of(manager.get_records_for_hf_sync()) == set(pending["unique_id"][3:])


def test_a_row_changed_while_it_was_on_its_way_stays_pending(store: Store, manager: PostgresManager) -> None:
    insert(manager, *articles(3))
    handed = manager.get_records_for_hf_sync()
    update(manager, {"unique_id": article(1)["unique_id"], "summary": "Depois"})
    another = PostgresManager(store.url)  # as another process would
    another.mark_as_synced_to_hf(list(handed["unique_id"]))
    another.close()
    left = manager.get_records_for_hf_sync()
    assert ids_of(left) == {article(1)["unique_id"]}
    assert list(left["summary"]) == ["Depois"]


def test_ids_that_were_never_handed_out_stay_pending(manager: PostgresManager) -> None:
    insert(manager, *articles(2))
    manager.mark_as_synced_to_hf([article(0)["unique_id"], "nobody"])
    assert len(manager.get_records_for_hf_sync()) == 2


def test_since_only_narrows(store: Store, manager: PostgresManager) -> None:
    insert(manager, *articles(2))
    soon = datetime.now(UTC) + timedelta(minutes=1)
    assert len(manager.get_records_for_hf_sync(since=soon)) == 0
    assert len(manager.get_records_for_hf_sync()) == 2
    with pytest.raises(ValueError, match="zone"):
        manager.get_records_for_hf_sync(since=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the case


def test_pages_of_pending_rows(manager: PostgresManager) -> None:
    insert(manager, *articles(10))
    pages = list(manager.iterate_records_for_hf_sync(batch_rows=4))
    assert sum(page.num_rows for page in pages) == 10
    assert max(page.num_rows for page in pages) <= 4
    manager.mark_as_synced_to_hf([uid for page in pages for uid in page.column("unique_id").to_pylist()])
    assert list(manager.iterate_records_for_hf_sync(batch_rows=4)) == []


# ------------------------------------------------------------------------------------------------- other


def test_one_row_with_its_times(manager: PostgresManager) -> None:
    insert(manager, article(3))
    found = manager.get_by_unique_id(article(3)["unique_id"])
    assert found is not None
    assert found["created_at"] == found["updated_at"]
    assert found["created_at"].tzinfo is not None
    assert {name: found[name] for name in article(3)} == article(3)
    assert type(found["extracted_at"]) is datetime
    assert manager.get_by_unique_id("nobody") is None


def test_every_day_that_a_date_can_name_can_be_asked_for(manager: PostgresManager) -> None:
    last = article(1, published_at=datetime.max.replace(tzinfo=UTC))
    insert(manager, article(0), last)
    assert len(manager.get("0001-01-01", "9999-12-31")) == 2
    assert list(manager.get("9999-12-31", "9999-12-31")["unique_id"]) == [last["unique_id"]]


def test_ids_here_of_articles_elsewhere(manager: PostgresManager) -> None:
    insert(manager, *articles(3))
    given = [article(1, unique_id="novo"), article(2), article(7), article(5, title=None)]
    assert manager.resolve_ids(as_columns(given)) == {"novo": article(1)["unique_id"]}


def test_nothing_is_written_while_a_migration_has_taken_the_keys_off(store: Store, manager: PostgresManager) -> None:
    """Without the keys two rows of one id could come in; the call is refused, and worth trying again."""
    store.execute("ALTER TABLE news DROP CONSTRAINT news_unique_id_key")
    for call in (lambda: insert(manager, article(1)), lambda: update(manager, {"unique_id": "a", "title": "t"})):
        with pytest.raises(BusyError, match="a migration is loading it"):
            call()
    assert store.published() == {}


def test_a_migration_cannot_take_the_keys_off_under_a_write(store: Store) -> None:
    with psycopg.connect(store.url) as writer, psycopg.connect(store.url) as migration:
        ready_to_write(writer)
        migration.execute("SET LOCAL lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            migration.execute("ALTER TABLE news DROP CONSTRAINT news_unique_id_key")


def test_a_call_that_fails_at_its_last_step_keeps_nothing(store: Store, manager: PostgresManager) -> None:
    insert(manager, article(1))
    store.execute("ALTER TABLE rejects RENAME TO rejects_gone")
    with pytest.raises(StoreError):
        insert(manager, newer(article(1), title="Novo"), article(2), article(3, title=None), allow_update=True)
    store.execute("ALTER TABLE rejects_gone RENAME TO rejects")
    assert [row["title"] for row in store.published().values()] == [article(1)["title"]]
    assert store.rejects() == []


def test_no_database_is_a_clear_error() -> None:
    with pytest.raises(ConfigurationError, match="no database is set"):
        PostgresManager()
