"""Random histories of writes to PostgreSQL, held beside the rules of writing told in plain Python.

The model knows nothing of transactions, temporary tables or triggers: it has rows in a dict, writes them as the
docstring of `write_rules` says, and works out from scratch who is the primary of each article.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from data_platform.errors import TransientError
from data_platform.managers.interface import WriteOutcome
from data_platform.managers.postgres import transactions as module
from data_platform.managers.postgres.transactions import Transactions
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.columns import COLUMN_NAMES, COLUMNS, Owner
from data_platform.models.urls import canonical_url
from tests.support.faces import as_columns
from tests.support.sources import Row
from tests.support.stores import Store

T0 = datetime(2025, 9, 1, tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
REQUIRED = ("unique_id", "agency", "published_at", "title")
SCRAPED = tuple(c.name for c in COLUMNS if c.owner is Owner.SCRAPER and c.name != "extracted_at")
NOT_GOT = {"content": "Error retrieving content", "url": "No URL"}

# ---------------------------------------------------------------------------------------------- the model


@dataclass
class Model:
    """What a store holds after a history."""

    rows: dict[str, Row] = field(default_factory=dict)
    rejects: set[tuple[Any, ...]] = field(default_factory=set)

    def primaries(self) -> dict[tuple[str, str], str]:
        """(agency, canonical address) -> the earliest extracted, then the smallest id."""
        order = sorted(self.rows.values(), key=lambda r: (r["extracted_at"] or LATEST, r["unique_id"].encode()))
        found: dict[tuple[str, str], str] = {}
        for row in order:
            if url := canonical_url(row["url"]):
                found.setdefault((row["agency"], url), row["unique_id"])
        return found

    def marks(self) -> dict[str, str | None]:
        """unique_id -> the primary of its article, None for the primary itself and for rows without an address."""
        firsts = self.primaries()
        found = {uid: firsts.get((row["agency"], canonical_url(row["url"]) or "")) for uid, row in self.rows.items()}
        return {uid: None if first == uid else first for uid, first in found.items()}

    def insert(self, given: Sequence[Row], *, allow_update: bool) -> dict[str, int]:
        admitted = [row for row in given if self.admits("insert", row)]
        members: dict[str, list[Row]] = {}
        holders = self.primaries()
        for row in admitted:
            uid, url = row["unique_id"], canonical_url(clean(row).get("url"))
            is_new = uid not in self.rows and uid not in members
            if url and (is_new or allow_update or uid not in self.rows):
                holder = holders.setdefault((row["agency"], url), uid)
                uid = holder if is_new else uid
            members.setdefault(uid, []).append(row)
        inserted = updated = 0
        for uid, its in members.items():
            wins = max(enumerate(its), key=lambda one: (one[1].get("extracted_at") or LATEST, one[0]))[1]
            if uid not in self.rows:
                inserted += 1
                self.rows[uid] = scraped(dict.fromkeys(COLUMN_NAMES) | clean(its[0]), wins if allow_update else its[0])
            elif allow_update:
                after = scraped(self.rows[uid], wins)
                updated += after != self.rows[uid]
                self.rows[uid] = after
        return {
            "given": len(given), "inserted": inserted, "updated": updated,
            "unchanged": len(members) - inserted - updated, "duplicates": len(admitted) - len(members),
            "rejected": len(given) - len(admitted),
        }  # fmt: skip

    def update(self, given: Sequence[Row]) -> dict[str, int]:
        admitted = [row for row in given if self.admits("update", row)]
        changed = 0
        last = {row["unique_id"]: row for row in admitted}
        for uid, row in last.items():
            old = self.rows[uid]
            after = old | clean(row) | {"extracted_at": old["extracted_at"]}
            if any(after[name] != old[name] for name in ("agency", *SCRAPED)):
                after["extracted_at"] = row.get("extracted_at") or old["extracted_at"]
            changed += after != old
            self.rows[uid] = after
        return {
            "given": len(given), "inserted": 0, "updated": changed, "unchanged": len(last) - changed,
            "duplicates": len(admitted) - len(last), "rejected": len(given) - len(admitted),
        }  # fmt: skip

    def admits(self, what: str, row: Row) -> bool:
        missing = [name for name in REQUIRED if name in row and not row[name]]
        unknown = what == "update" and row["unique_id"] not in self.rows
        if missing or unknown:
            reason = f"{missing[0]}_missing" if missing else "unique_id_unknown"
            self.rejects.add((reason, *sorted((name, str(value)) for name, value in row.items())))
        return not missing and not unknown


def clean(row: Row) -> Row:
    return {name: None if value == NOT_GOT.get(name, "") else value for name, value in row.items()}


def scraped(old: Row, new: Row) -> Row:
    """What a scrape makes of a row: nothing if it is older or without its text; else the cells that could be got."""
    before, time = old["extracted_at"], new.get("extracted_at")
    if (before and time and time < before) or new.get("content") == NOT_GOT["content"]:
        return old
    after = old | {name: new[name] for name in SCRAPED if name in new and new[name] != NOT_GOT.get(name, "")}
    return after if after == old else after | {"extracted_at": time or before}


# --------------------------------------------------------------------------------------------- histories

_IDS = ["a", "b", "é", "B"]
_CELLS: dict[str, st.SearchStrategy[Any]] = {
    "unique_id": st.sampled_from(_IDS * 5 + [None]),
    "agency": st.sampled_from(["mre", "mre", "mre", "aeb"]),
    "published_at": st.sampled_from([datetime(2024, 3, 1, 12, tzinfo=UTC), datetime(2024, 5, 1, 12, tzinfo=UTC)]),
    "title": st.sampled_from(["t", "T"] * 6 + [None]),
    "url": st.sampled_from([
        "https://x.br/1", "http://X.br/1/?utm_source=s", "https://x.br/2", "https://x.br/2/view", "https://x.br/3",
        "No URL", None,
    ]),
    "extracted_at": st.sampled_from([None, *(T0 + timedelta(hours=hours) for hours in range(5))]),
    "content": st.sampled_from(["c", "d", "Error retrieving content", None]),
    "tags": st.sampled_from([["x"], [], None]),
    "summary": st.sampled_from(["s", None]),
}  # fmt: skip


def _batches(required: Sequence[str], *, optional: Sequence[str], size: int = 1) -> st.SearchStrategy[list[Row]]:
    """Rows of one batch, all with the same columns."""
    columns = st.just(optional) | st.lists(st.sampled_from(optional), unique=True, min_size=1)
    return columns.flatmap(
        lambda names: st.lists(
            st.fixed_dictionaries({name: _CELLS[name] for name in (*required, *names)}), min_size=size, max_size=5
        )
    )


_SCRAPES = _batches(REQUIRED, optional=[name for name in _CELLS if name not in REQUIRED])
_STEPS = st.one_of(
    st.tuples(st.just("insert"), _SCRAPES),
    st.tuples(st.just("insert or update"), _SCRAPES),
    st.tuples(st.just("update"), _batches(["unique_id"], optional=["url", "extracted_at", "agency", "content"])),
    st.tuples(st.just("update"), _batches(["unique_id"], optional=["title", "published_at", "tags", "summary"])),
    st.tuples(st.just("delete"), st.lists(st.sampled_from(_IDS), min_size=1, max_size=2, unique=True)),
)
#: Rows that share addresses: an insert makes no doubles by itself, an update of addresses does.
_FIRST = [
    dict.fromkeys(_CELLS) | {"unique_id": uid, "agency": "mre", "title": "t", "url": f"https://x.br/{uid}"}
    | {"published_at": T0, "extracted_at": T0 + timedelta(hours=hours)}
    for hours, uid in enumerate(_IDS)
]  # fmt: skip
_HISTORIES = st.lists(_STEPS, min_size=3, max_size=10).map(
    lambda steps: [
        ("insert", _FIRST),
        ("update", [{"unique_id": uid, "url": "https://x.br/1"} for uid in "aéB"]),
        *steps,
    ]
)


@pytest.fixture
def manager(store: Store) -> Iterator[PostgresManager]:
    made = PostgresManager(store.url)
    yield made
    made.close()


def published_rows(store: Store) -> dict[str, Row]:
    """Return the published rows, with extracted_at as the instant that it means."""
    rows = store.published()
    for row in rows.values():
        row["extracted_at"] = row["extracted_at"] and row["extracted_at"].replace(tzinfo=UTC)
    return rows


def live(store: Store, manager: PostgresManager, history: Sequence[tuple[str, Any]]) -> None:
    """Play a history to the store and to the model, and compare them after each step."""
    store.execute("DELETE FROM news", "DELETE FROM rejects", "DELETE FROM agencies WHERE is_stub")
    model = Model()
    versions: Mapping[str, Row] = {}
    for what, rows in history:
        before, marked = {uid: dict(row) for uid, row in model.rows.items()}, model.marks()
        if what == "delete":
            gone = [uid for uid in rows if model.rows.pop(uid, None)]
            with store.connect() as connection:
                assert connection.execute("DELETE FROM news WHERE unique_id = ANY (%s)", (rows,)).rowcount == len(gone)
        else:
            outcome, wanted = _write(manager, model, what, rows)
            assert outcome.counts == wanted, what
        published = {uid: {name: row[name] for name in _CELLS} for uid, row in published_rows(store).items()}
        assert published == {uid: {name: row[name] for name in _CELLS} for uid, row in model.rows.items()}, what
        marks = model.marks()
        assert {uid: row["duplicate_of"] for uid, row in store.derived().items()} == marks, what
        assert len(store.rejects()) == len(model.rejects), what
        changed = {uid for uid in model.rows if before.get(uid) != model.rows[uid] or marked.get(uid) != marks[uid]}
        now = store.versions()
        assert {uid for uid in now if now[uid] != versions.get(uid)} == changed, what
        moved = {uid for uid in now if now[uid]["change_xid"] != versions.get(uid, {}).get("change_xid")}
        assert moved == changed, what
        versions = now
        event("doubles" if any(marks.values()) else "no doubles")


def _write(
    manager: PostgresManager, model: Model, what: str, given: Sequence[Row]
) -> tuple[WriteOutcome, dict[str, int]]:
    columns = as_columns(given)
    if what == "update":
        return manager.update_rows(pd.DataFrame(columns).astype(object)), model.update(given)
    allow_update = what != "insert"
    there = set(model.rows)
    outcome = manager.insert_rows(columns, allow_update=allow_update)
    wanted = model.insert(given, allow_update=allow_update)
    assert len(outcome.written) == len(set(outcome.written)) == outcome.affected
    assert set(model.rows) - there <= set(outcome.written)
    return outcome, wanted


_QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
#: Explaining a failure would play the history another hundred times.
_PHASES = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]


@settings(max_examples=20, deadline=None, phases=_PHASES, suppress_health_check=_QUIET)
@given(history=_HISTORIES)
def test_a_history_ends_as_the_rules_say(store: Store, manager: PostgresManager, history: Any) -> None:
    live(store, manager, history)


@pytest.mark.slow
@settings(max_examples=110, deadline=None, phases=_PHASES, suppress_health_check=_QUIET)
@given(history=_HISTORIES)
def test_many_histories_end_as_the_rules_say(store: Store, manager: PostgresManager, history: Any) -> None:
    live(store, manager, history)


# ---------------------------------------------------------------------------------------- several writers


def _hustle(url: str, seed: int, errors: list[BaseException]) -> None:
    """Move rows between addresses, change their times, bring them anew and take them away, in any order."""
    draw = random.Random(seed)
    manager, transactions = PostgresManager(url), Transactions(url, purpose="test")
    ids = [*_IDS, "x", "y"]

    def row(uid: str) -> Row:
        hours = T0 + timedelta(hours=draw.randrange(24))
        cells = {"agency": "mre", "published_at": T0, "title": f"t{draw.random()}", "extracted_at": hours}
        return cells | {"unique_id": uid, "url": f"https://x.br/{draw.randrange(3)}"}

    def one() -> None:
        given = as_columns([row(uid) for uid in draw.sample(ids, draw.randint(1, 3))])
        what = draw.random()
        if what < 0.5:
            del given["agency"], given["published_at"]
            manager.update(pd.DataFrame(given))
        elif what < 0.9:
            manager.insert(given, allow_update=draw.random() < 0.7)
        else:
            uid = draw.choice(ids)
            transactions.run(lambda connection: connection.execute("DELETE FROM news WHERE unique_id = %s", (uid,)))

    try:
        for _ in range(12):
            with suppress(TransientError):  # as a caller may meet it among so many; what counts is what the table holds
                one()
    except BaseException as error:
        errors.append(error)
        raise
    finally:
        manager.close()
        transactions.close()


def play_together(store: Store, rounds: int) -> None:
    for round_no in range(rounds):
        errors: list[BaseException] = []
        threads = [threading.Thread(target=_hustle, args=(store.url, 10 * round_no + n, errors)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        assert store.published()
        assert {uid: row["duplicate_of"] for uid, row in store.derived().items()} == Model(
            published_rows(store)
        ).marks(), round_no


def test_writers_in_each_others_way_leave_one_primary_an_article(store: Store) -> None:
    play_together(store, 2)


@pytest.mark.slow
def test_many_writers_in_each_others_way(store: Store) -> None:
    play_together(store, 10)


#: Two writes of which the second begins when the first is done but not committed: p, q and r are at addresses of their
#: own, extracted one after the other; s is a double of r.
_MEETINGS: dict[str, tuple[str, str, list[Row]]] = {
    "a row comes while the primary leaves": (
        "update", "update", [{"unique_id": "p", "url": "https://x.br/new"}, {"unique_id": "q", "url": "https://x.br/p"}],
    ),
    "a row comes while the primary is deleted": (
        "delete", "update", [{"unique_id": "p"}, {"unique_id": "q", "url": "https://x.br/p"}],
    ),
    "the primary becomes later while its double is deleted": (
        "delete", "update",
        [{"unique_id": "s"}, {"unique_id": "r", "title": "n", "extracted_at": T0 + timedelta(hours=9)}],
    ),
    "two rows come, one of them earlier than the primary": (
        "update", "update",
        [{"unique_id": "p", "url": "https://x.br/q"}, {"unique_id": "r", "url": "https://x.br/q"}],
    ),
    "the primary becomes later than its double while a row comes": (
        "update", "update",
        [
            {"unique_id": "r", "title": "n", "extracted_at": T0 + timedelta(hours=8)},
            {"unique_id": "p", "title": "n", "extracted_at": T0 + timedelta(hours=9), "url": "https://x.br/r"},
        ],
    ),
    "a scrape finds an article that is leaving": (
        "update", "scrape",
        [
            {"unique_id": "p", "url": "https://x.br/new"},
            {"unique_id": "z", "agency": "mre", "published_at": T0, "title": "n", "url": "https://x.br/p"},
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("meeting", list(_MEETINGS))
def test_a_write_sees_what_another_made_of_its_article(
    store: Store, manager: PostgresManager, monkeypatch: pytest.MonkeyPatch, meeting: str
) -> None:
    """It ends as if the first write had been over before the second began."""
    first, second, (one, other) = _MEETINGS[meeting]
    begin = [dict.fromkeys(_CELLS) | {"unique_id": uid, "agency": "mre", "title": "t"} for uid in "pqrs"]
    for hours, row in enumerate(begin):
        row |= {"published_at": T0, "url": f"https://x.br/{row['unique_id']}"}
        row |= {"extracted_at": T0 + timedelta(hours=hours + 1)}
    manager.insert(as_columns(begin))
    manager.update(pd.DataFrame({"unique_id": ["s"], "url": ["https://x.br/r"]}))
    model = Model(published_rows(store))

    def write(what: str, row: Row) -> None:
        if what == "delete":
            manager._transactions.run(
                lambda connection: connection.execute("DELETE FROM news WHERE unique_id = %s", (row["unique_id"],))
            )
        else:
            _write(manager, Model(), "update" if what == "update" else "insert or update", [row])

    done, may_commit = threading.Event(), threading.Event()

    def wait(place: str) -> None:
        if place == "postgres.before_commit" and not done.is_set():
            done.set()
            assert may_commit.wait(30)

    monkeypatch.setattr(module, "failpoint", wait)
    threads = [threading.Thread(target=write, args=of) for of in ((first, one), (second, other))]
    threads[0].start()
    assert done.wait(30)
    threads[1].start()
    threads[1].join(0.5)  # time enough to be over, if nothing makes it wait
    may_commit.set()
    for thread in threads:
        thread.join(30)
    if first == "delete":
        del model.rows[one["unique_id"]]
    else:
        model.update([one])
    if second == "update":
        model.update([other])
    else:
        model.insert([other], allow_update=True)
    assert {uid: row["url"] for uid, row in store.published().items()} == {
        uid: r["url"] for uid, r in model.rows.items()
    }
    assert {uid: row["duplicate_of"] for uid, row in store.derived().items()} == model.marks()
