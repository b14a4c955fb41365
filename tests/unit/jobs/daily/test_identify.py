"""Which article a scraped row is: found by its address, new, or said twice (faults 1, 3)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.errors import StoreError, StoreUnavailableError
from data_platform.jobs.daily.identify import Identified, identify, identify_in, unmixed
from data_platform.managers.storage_adapter import StorageAdapter
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode
from data_platform.models.identity import new_id, salted_id
from data_platform.settings import Settings
from tests.support.memory_store import MemoryStore

Row = dict[str, Any]
AT = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
SITE = "https://www.gov.br/mec/noticias"


def scraped(path: str = "a", **cells: Any) -> Row:
    """Return a row as a scraper gives it."""
    row = {
        "agency": "mec",
        "published_at": AT,
        "title": "Título",
        "url": f"{SITE}/{path}",
        "content": f"Texto de {path}.",
        "extracted_at": AT + timedelta(hours=9),
    }
    return row | cells


def columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def by_url(found: Identified) -> dict[str, str]:
    return dict(zip(found.columns["url"], found.columns["unique_id"], strict=True))


def identified(store: MemoryStore, *rows: Row) -> Identified:
    return identify(columns(rows), store)


def test_a_new_article_gets_an_id_by_the_formula_and_a_known_one_keeps_its_own() -> None:
    store = MemoryStore("store")
    store.put({"unique_id": "old", "agency": "mec", "published_at": AT, "title": "Outro", "url": f"{SITE}/b/view"})
    found = identified(store, scraped("a"), scraped("b", title="editado", published_at=AT + timedelta(hours=1)))
    assert by_url(found) == {f"{SITE}/a": new_id("mec", AT, "Título"), f"{SITE}/b": "old"}
    account = found.account
    assert (account.read, account.existing, account.new, account.duplicates) == (2, 1, 1, 0)
    assert found.new_ids == [new_id("mec", AT, "Título")]


def test_an_address_is_an_article_of_one_agency() -> None:
    store = MemoryStore("store")
    store.put({"unique_id": "old", "agency": "ebc", "published_at": AT, "title": "Título", "url": f"{SITE}/a"})
    assert identified(store, scraped("a")).account.new == 1


def test_an_article_that_comes_twice_is_one_and_the_best_of_its_rows_stands_for_it() -> None:
    rows = [
        scraped("a", extracted_at=AT, content="primeira"),
        scraped("a/", extracted_at=AT + timedelta(hours=1), content="segunda"),
        scraped("a?utm_source=x", extracted_at=AT + timedelta(hours=2), content=None),
    ]
    for order in (rows, rows[::-1]):
        found = identified(MemoryStore("store"), *order)
        assert (found.account.duplicates, found.account.new) == (2, 1)
        assert found.columns["content"] == ["segunda"]


def test_two_articles_that_one_id_would_fall_to_get_two() -> None:
    """Agency, instant and title are the same, as with notes that are published every day at midnight."""
    plain = new_id("mec", AT, "Título")
    salted = {path: salted_id("mec", AT, "Título", f"{SITE}/{path}") for path in "abc"}
    wanted = {f"{SITE}/a": plain, f"{SITE}/b": salted["b"], f"{SITE}/c": salted["c"]}
    rows = [scraped(path) for path in "abc"]
    for seed in range(4):
        random.Random(seed).shuffle(rows)
        found = identified(MemoryStore("store"), *rows)
        assert by_url(found) == wanted
        assert found.account.salted == 2
    store = MemoryStore("store")
    store.insert_rows({**identified(store, scraped("a")).columns})
    assert by_url(identified(store, *rows)) == wanted  # the first is there already
    store.insert_rows({**identified(store, *rows).columns})
    again = identified(store, *rows)
    assert by_url(again) == wanted
    assert (again.account.existing, again.account.new) == (3, 0)


def test_an_id_that_is_another_article_s_is_not_given_again() -> None:
    store = MemoryStore("store")
    store.put(
        {
            "unique_id": new_id("mec", AT, "Título"),
            "agency": "mec",
            "published_at": AT,
            "title": "T",
            "url": f"{SITE}/z",
        }
    )
    found = identified(store, scraped("a"))
    assert found.salted_ids == [salted_id("mec", AT, "Título", f"{SITE}/a")]


def test_a_row_of_the_store_without_an_address_is_the_article_that_its_id_says() -> None:
    store = MemoryStore("store")
    plain = new_id("mec", AT, "Título")
    store.put({"unique_id": plain, "agency": "mec", "published_at": AT, "title": "Título", "url": None})
    found = identified(store, scraped("b"), scraped("a"))
    assert by_url(found) == {f"{SITE}/a": plain, f"{SITE}/b": salted_id("mec", AT, "Título", f"{SITE}/b")}
    assert (found.account.existing, found.account.new, found.account.salted) == (1, 1, 1)


def test_a_listing_that_moved_is_told() -> None:
    """The same articles, to the second and the letter, elsewhere: by their addresses they are others (DESIGN §2.8)."""

    def listed(folder: str, count: int, at: datetime = AT) -> list[Row]:
        return [
            scraped(f"{folder}/{n}", title=f"Título {n}", published_at=at + timedelta(days=n)) for n in range(count)
        ]

    store = MemoryStore("store")
    first = identified(store, *listed("assuntos", 20))
    assert first.alerts == []
    store.insert_rows({**first.columns})
    both = identified(store, *listed("assuntos", 20), *listed("novo", 20))
    assert (both.account.salted, both.alerts) == (20, []), "both are listed, so they are two"
    assert identified(store, *listed("novo", 4)).alerts == []
    found = identified(store, *listed("novo", 20))
    assert (found.account.salted, len(found.moved)) == (20, 20)
    (alert,) = found.alerts
    assert alert.startswith("mec: 20 new articles have title and time of ones that are in the store at another address")
    assert f"as {SITE}/assuntos/0 and now {SITE}/novo/0" in alert
    store.insert_rows({**found.columns})
    assert identified(store, *listed("novo", 20)).alerts == [], "told once: they are known now"


def test_articles_of_which_only_the_day_is_known_are_not_told_as_moved() -> None:
    midnight = datetime(2026, 11, 20, 3, tzinfo=UTC)
    store = MemoryStore("store")
    rows = [scraped(f"a/{n}", published_at=midnight + timedelta(days=n)) for n in range(9)]
    store.insert_rows({**identified(store, *rows).columns})
    found = identified(store, *(row | {"url": row["url"].replace("/a/", "/b/")} for row in rows))
    assert (found.account.salted, found.alerts) == (9, [])


def test_every_row_is_accounted_for_also_those_without_what_an_id_is_made_of() -> None:
    rows = [
        scraped("a"),
        scraped("a"),
        scraped("x", url=None, title="sem endereço"),
        scraped("x", url="No URL", title="sem endereço"),
        scraped("a", url=None),  # the article above, without its address
        scraped("b", title="No Title"),
        scraped("c", url=None, title=None, content="um"),
        scraped("c", url=None, title=None, content="dois"),
        scraped("c", url=None, title=None, content="dois"),
        scraped("d", agency=None),
    ]
    for order in (rows, rows[::-1]):
        found = identified(MemoryStore("store"), *order)
        told = found.account.to_dict()
        assert told == {
            "read": 10,
            "existing": 0,
            "new": 2,
            "without_url": 4,
            "duplicates": 4,
            "salted": 0,
            "incomplete": 4,
        }
        assert len(set(found.columns["unique_id"])) == 6


def test_no_rows_are_no_articles() -> None:
    found = identify({}, MemoryStore("store"))
    assert found.account.read == 0
    assert MemoryStore("store").insert_rows(found.columns).given == 0
    assert identify({"agency": [], "published_at": [], "title": []}, MemoryStore("store")).columns["unique_id"] == []


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ({"unique_id": ["x"], "agency": ["mec"], "published_at": [AT], "title": ["t"]}, "unique_id"),
        ({"agency": ["mec"], "title": ["t"]}, "published_at"),
        ({"agency": ["mec"], "published_at": [AT], "title": ["t"], "link": ["x"]}, "link"),
    ],
)
def test_a_call_that_makes_no_sense_names_the_column(rows: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        identify(rows, MemoryStore("store"))


_PATHS = st.sampled_from(["a", "a/", "a#x", "b", "b?fbclid=1", "c"])
_ROWS = st.lists(
    st.builds(
        scraped,
        _PATHS,
        title=st.sampled_from(["Título", "Outro", None]),
        agency=st.sampled_from(["mec", "mec", "aeb"]),
        extracted_at=st.sampled_from([AT, AT + timedelta(hours=1), None]),
        content=st.sampled_from(["x", "y", None]),
        published_at=st.sampled_from([AT, AT, None]),
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(_ROWS, _ROWS, st.randoms(use_true_random=False))
def test_ids_depend_neither_on_the_order_nor_on_how_often(before: list[Row], rows: list[Row], dice: Any) -> None:
    store = MemoryStore("store")
    store.insert_rows({**identified(store, *before).columns})
    first = identified(store, *rows)
    shuffled = dice.sample(rows, len(rows))
    assert {**identified(store, *shuffled).columns} == {**first.columns}
    twice = identified(store, *rows, *rows)
    assert {**twice.columns} == {**first.columns}
    assert twice.account.duplicates == first.account.duplicates + len(rows)
    kept = store.rows
    if rows:
        outcome = store.insert_rows({**first.columns})
        written = {row["unique_id"]: row["url"] for row in store.rows.values()}
        # Nothing that was there was taken for something else: a new article never falls on another's id.
        assert outcome.inserted + outcome.unchanged + outcome.duplicates + outcome.rejected == len(
            first.columns["title"]
        )
        assert {uid: row for uid, row in store.rows.items() if uid in kept} == kept
        again = identified(store, *rows)
        stored = [uid for uid in first.columns["unique_id"] if uid in written]
        assert set(stored) <= set(again.columns["unique_id"])


# ---------------------------------------------------------------------------------- by which store, and later


def adapter(read_from: ReadSource, **stores: MemoryStore) -> StorageAdapter:
    return StorageAdapter(
        StorageMode(backend=StorageBackend.DUAL_WRITE, read_from=read_from),
        settings=Settings(),
        postgres=lambda: stores["postgres"],
        dataset=lambda: stores["huggingface"],
    )


def test_the_store_that_is_read_says_which_article_it_is_and_the_other_only_if_it_is_silent() -> None:
    stores = {name: MemoryStore(name) for name in ("postgres", "huggingface")}
    for name, store in stores.items():
        store.put({"unique_id": name, "agency": "mec", "published_at": AT, "title": "T", "url": f"{SITE}/a"})
    both = adapter(ReadSource.POSTGRES, **stores)
    found = identify_in(both, columns([scraped("a")]))
    assert (by_url(found)[f"{SITE}/a"], found.identity) == ("postgres", "by postgres")
    assert stores["huggingface"].calls == []

    def silent() -> None:
        raise StoreUnavailableError("it sleeps")

    stores["postgres"].always = silent
    found = identify_in(both, columns([scraped("a")]))
    assert (by_url(found)[f"{SITE}/a"], found.identity) == ("huggingface", "by huggingface")
    stores["huggingface"].always = silent
    with pytest.raises(StoreUnavailableError):
        identify_in(both, columns([scraped("a")]))


def test_an_article_that_only_the_other_store_has_keeps_the_id_that_it_has_there() -> None:
    """One store missed it; then its title was edited. Made anew, its id would be another one for ever."""
    stores = {name: MemoryStore(name) for name in ("postgres", "huggingface")}
    cells = {"agency": "mec", "published_at": AT, "title": "Título"}
    stores["huggingface"].put({"unique_id": "there", "url": f"{SITE}/a", **cells})
    stores["huggingface"].put({"unique_id": new_id("mec", AT, "Título"), "url": f"{SITE}/moved", **cells})
    both = adapter(ReadSource.POSTGRES, **stores)
    found = identify_in(both, columns([scraped("a", title="editado"), scraped("b")]))
    assert by_url(found) == {f"{SITE}/a": "there", f"{SITE}/b": salted_id("mec", AT, "Título", f"{SITE}/b")}
    assert (found.account.existing, found.account.new, found.account.salted) == (1, 1, 1)
    assert found.identity == "by postgres and huggingface"


def test_a_store_that_may_answer_later_is_asked_again_as_long_as_somebody_tries() -> None:
    """PostgreSQL missed the article, whose title was edited since; the Hub is busy for a moment: two ids for ever."""
    stores = {name: MemoryStore(name) for name in ("postgres", "huggingface")}
    stores["huggingface"].put({"unique_id": "h", "agency": "mec", "published_at": AT, "title": "T", "url": f"{SITE}/a"})
    both = adapter(ReadSource.HUGGINGFACE, **stores)

    def busy() -> None:
        raise StoreUnavailableError("503, try again")

    def refuses() -> None:
        raise StoreError("401")

    stores["huggingface"].always = busy
    with pytest.raises(StoreUnavailableError):
        identify_in(both, columns([scraped("a", title="editado")]), last_try=False)
    assert identify_in(both, columns([scraped("a", title="editado")])).identity == "by postgres"
    stores["huggingface"].always = refuses
    found = identify_in(both, columns([scraped("a", title="editado")]), last_try=False)
    assert found.identity == "by postgres", "it will not answer later either"


def test_a_store_that_refuses_leaves_the_other_one_to_say_which_article_it_is() -> None:
    stores = {name: MemoryStore(name) for name in ("postgres", "huggingface")}
    stores["huggingface"].put({"unique_id": "h", "agency": "mec", "published_at": AT, "title": "T", "url": f"{SITE}/a"})

    def refuses() -> None:
        raise StoreError("password authentication failed")

    stores["postgres"].always = refuses
    found = identify_in(adapter(ReadSource.POSTGRES, **stores), columns([scraped("a")]))
    assert (by_url(found)[f"{SITE}/a"], found.identity) == ("h", "by huggingface")


def test_written_later_a_row_does_not_take_an_id_that_is_another_article_s_by_now() -> None:
    store = MemoryStore("store")
    first = identified(store, scraped("a"), scraped("b"))  # a has the plain id, b a salted one
    store.insert_rows({**identified(store, scraped("b")).columns})  # alone, and earlier: b has the plain id now
    columns_now, renamed = unmixed(first.columns, store)
    plain = new_id("mec", AT, "Título")
    assert renamed == {plain: salted_id("mec", AT, "Título", f"{SITE}/a")}
    outcome = store.insert_rows(columns_now, allow_update=True)
    assert outcome.inserted == 1
    assert {row["url"] for row in store.rows.values()} == {f"{SITE}/a", f"{SITE}/b"}
    assert store.rows[plain]["content"] == "Texto de b."
