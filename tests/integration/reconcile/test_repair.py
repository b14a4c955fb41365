"""Two stores that differ are brought in line in the direction told, every row accounted for, nothing else touched."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from data_platform import failpoints
from data_platform.errors import ConfigurationError, WriteError
from data_platform.failpoints import FailpointError
from data_platform.jobs.reconcile.missed import repair_missed
from data_platform.managers.hub.layout import UNDATED
from data_platform.managers.ledger.run_ledger import REPAIR, WRITE
from tests.support.hub import columns, parquet_bytes
from tests.support.sources import Row, article, articles, newer, theme_codes
from tests.support.two_stores import DIRECTIONS, ID, ROWS, TwoStores, account, frame, state

MARCH = "data/train-2024-03.parquet"


def drift(both: TwoStores) -> None:
    """Let the stores differ in every way that has no reason."""
    postgres, dataset = both.postgres(), both.dataset()
    postgres.update(frame({"unique_id": ID[0], "title": "só no PostgreSQL"}))
    postgres.update(frame({"unique_id": ID[1], "summary": "resumo novo", **theme_codes("05.02.03")}))
    postgres.update(frame({"unique_id": ID[2], "published_at": ROWS[35]["published_at"]}))
    postgres.insert(columns([article(50), article(51, agency="nova")]))
    dataset.update(frame({"unique_id": ID[3], "content": None, "tags": ["outra"], "image": None}))
    dataset.update(frame({"unique_id": ID[4], **dict.fromkeys(theme_codes("05"))}))
    dataset.insert(columns([article(52), article(53, published_at=ROWS[0]["published_at"] + timedelta(days=400))]))
    dataset.delete_rows([ID[5]], reason="a test")
    both.store.execute(f"DELETE FROM news WHERE unique_id = '{ID[6]}'", behind_triggers=True)


# ------------------------------------------------------------------------------------------------- directions


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_kind_of_drift_is_brought_in_line_and_a_second_repair_changes_nothing(
    both: TwoStores, direction: str
) -> None:
    drift(both)
    before = {"from-postgres": both.in_postgres(), "from-huggingface": both.on_hub()}[direction]
    other = {"from-postgres": both.on_hub(), "from-huggingface": both.in_postgres()}[direction]
    planned = both.repair(direction, full=True, dry_run=True)
    done = both.repair(direction, full=True)
    assert both.alike()
    assert done.after is not None
    assert done.after.passed
    following, leading = ("huggingface", "postgres") if direction == "from-postgres" else ("postgres", "huggingface")
    assert account(done)[following] == {"to_repair": 8, "inserted": 3, "updated": 5}
    assert account(done)[leading] == {"to_repair": 3, "inserted": 3}
    assert account(planned) == account(done)
    # Rows follow the leading store whole, whoever owns a column; what it did not have came in; nothing went.
    assert both.in_postgres() == {uid: before.get(uid, row) for uid, row in (other | before).items()}
    (entry,) = (e for e in both.ledger.entries(REPAIR) if e.operation == direction)
    assert entry.sides[following].counts["updated"] == 5
    assert both.store.value("SELECT count(*) FROM sync_log WHERE operation = 'repair:' || %s", direction) == 1
    now = state(both)
    again = both.repair(direction, full=True)
    assert again.totals()["to_repair"] == 0
    assert state(both) == now
    assert len([e for e in both.ledger.entries(REPAIR) if e.operation == direction]) == 1


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_rows_of_the_other_store_alone_are_deleted_only_if_that_is_allowed(both: TwoStores, direction: str) -> None:
    both.postgres().insert(columns([article(50)]))
    both.dataset().insert(columns([article(52)]))
    wanted = both.in_postgres() if direction == "from-postgres" else both.on_hub()
    done = both.repair(direction, allow_delete=True)
    assert both.in_postgres() == both.on_hub() == wanted
    assert (done.totals()["deleted"], done.totals()["inserted"]) == (1, 1)
    stones = both.store.query("SELECT unique_id FROM news_tombstones")
    assert [row["unique_id"] for row in stones] == ([] if direction == "from-postgres" else [article(50)["unique_id"]])


def test_what_postgresql_has_buried_is_not_brought_back_while_it_leads(both: TwoStores) -> None:
    both.postgres().delete_rows([ID[7]], reason="a test")
    done = both.repair("from-postgres")
    assert done.needs_attention
    assert done.sides["huggingface"].failed == {"deleted in postgres: --delete-buried takes it out here too": 1}
    assert ID[7] not in both.in_postgres()
    assert ID[7] in both.on_hub()


def test_what_postgresql_has_buried_goes_and_nothing_that_merely_only_the_dataset_has(both: TwoStores) -> None:
    """A night in mode huggingface brought articles that PostgreSQL has not yet; they are no deletions."""
    both.postgres().delete_rows([ID[7]], reason="court")
    both.dataset().insert(columns([article(50), article(51)]))
    planned = both.repair("from-postgres", delete_buried=True, dry_run=True)
    done = both.repair("from-postgres", delete_buried=True)
    assert account(planned) == account(done)
    assert account(done) == {
        "huggingface": {"to_repair": 1, "deleted": 1},
        "postgres": {"to_repair": 2, "inserted": 2},
    }
    assert not done.needs_attention
    assert both.alike()
    assert ID[7] not in both.on_hub()
    with pytest.raises(ConfigurationError, match="means nothing"):
        both.repair("from-huggingface", delete_buried=True)


def test_a_dry_run_writes_nothing_at_all(both: TwoStores) -> None:
    drift(both)
    before = state(both), sorted((both.folder / "state").rglob("*.json"))
    planned = both.repair("from-postgres", allow_delete=True, dry_run=True)
    assert planned.totals()["deleted"] == 3
    assert planned.needs_attention
    assert (state(both), sorted((both.folder / "state").rglob("*.json"))) == before


def test_doubles_are_brought_as_doubles(both: TwoStores) -> None:
    """What an insert takes for the article that is there comes under its own id, and is marked."""
    double = ROWS[8] | {"unique_id": "segundo", "title": "segunda cópia", "extracted_at": None}
    both.edit_hub(lambda tables: tables["data/train-2024-03.parquet"].append(double))
    third = newer(ROWS[9], unique_id="terceiro")
    both.postgres().insert(columns([third | {"url": None}]))
    both.postgres().update(frame({"unique_id": "terceiro", "url": third["url"]}))
    done = both.repair("from-huggingface")
    assert both.alike()
    assert account(done) == {
        "postgres": {"to_repair": 1, "inserted": 1},
        "huggingface": {"to_repair": 1, "inserted": 1},
    }
    marks = {uid: row["duplicate_of"] for uid, row in both.store.derived().items() if row["duplicate_of"]}
    assert marks == {"segundo": ID[8], "terceiro": ID[9]}


def test_a_row_that_stands_twice_in_the_dataset_is_left_for_a_person(both: TwoStores) -> None:
    twin = both.hub.table("data/train-2024-03.parquet").to_pylist()[0]
    both.edit_hub(lambda tables: tables["data/train-2024-04.parquet"].append(twin | {"title": "outro"}))
    both.postgres().insert(columns([article(50)]))
    done = both.repair("from-postgres")
    assert done.needs_attention
    assert account(done)["huggingface"] == {"to_repair": 2, "inserted": 1, "failed": 1}
    assert done.sides["huggingface"].failed == {"repeated in the dataset: take one of the two out": 1}


def test_held_rows_stay_where_they_are(both: TwoStores) -> None:
    held = [article(number, published_at=None) for number in (90, 91, 92)]
    both.hub.put({UNDATED: parquet_bytes(held)})
    both.postgres().insert(columns([article(50), article(91)]))  # the second has its date by now
    both.postgres().insert(columns(held))
    both.store.execute(f"UPDATE rejects SET status = 'discarded' WHERE unique_id = '{held[2]['unique_id']}'")
    done = both.repair("from-huggingface")
    assert done.sides["huggingface"].failed == {"no longer held: from-postgres takes it out": 1}
    assert [row["unique_id"] for row in both.hub.rows()[UNDATED]] == sorted(r["unique_id"] for r in (held[0], held[2]))
    assert both.alike()
    assert (done.after.causes, done.after.accounted) == ({"no longer held": 1}, {"held": 1})  # type: ignore[union-attr]
    assert both.repair("from-postgres", dry_run=True).totals()["deleted"] == 1
    done = both.repair("from-postgres")
    assert account(done) == {"huggingface": {"to_repair": 1, "deleted": 1}, "postgres": {}}
    assert not done.needs_attention
    assert [row["unique_id"] for row in both.hub.rows()[UNDATED]] == [held[0]["unique_id"]]


# ------------------------------------------------------------------------------- missed writes, and interruption


class Down(Exception):  # noqa: N818 - a fault, no error of anything
    pass


@contextmanager
def down(monkeypatch: pytest.MonkeyPatch, call: str, *sides: str) -> Iterator[None]:
    """Let a call of stores fail, and the write that makes it."""
    kinds = {"postgres": "postgres_manager.PostgresManager", "huggingface": "dataset_manager.DatasetManager"}

    def fail(*_: Any, **__: Any) -> None:
        raise Down

    with monkeypatch.context() as patched:
        for side in sides:
            patched.setattr(f"data_platform.managers.{kinds[side]}.{call}", fail)
        with pytest.raises(WriteError):
            yield


def test_what_was_missed_comes_first_in_both_directions(both: TwoStores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that one store missed is not undone by a repair in the other's direction."""
    with down(monkeypatch, "insert_rows", "huggingface"):
        both.write([article(60)])
    with down(monkeypatch, "insert_rows", "postgres"):
        both.write([article(61)])
    found = both.compare()
    assert (found.causes, found.passed) == ({"missed": 2}, False)
    done = both.repair("from-postgres", allow_delete=True)
    assert done.missed.open == 0
    assert not done.needs_attention
    assert {article(60)["unique_id"], article(61)["unique_id"]} <= both.on_hub().keys()
    assert both.alike()


@pytest.mark.parametrize("side", ["postgres", "huggingface"])
def test_a_deletion_that_one_store_missed_is_made_up_for(
    both: TwoStores, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    with both.adapter() as adapter, down(monkeypatch, "delete_rows", side):
        adapter.delete_rows([ID[0], ID[1]], reason="decisão judicial")
    back = newer(ROWS[1], title="publicada de novo")
    (both.dataset() if side == "postgres" else both.postgres()).insert(columns([back]))
    with both.adapter() as adapter:
        outcome = repair_missed(adapter)
    (told,) = outcome.writes
    assert (told.settled, told.deleted, told.already_there) == (True, 1, 1)
    assert ID[0] not in both.in_postgres()
    assert ID[0] not in both.on_hub()
    assert ID[1] in both.in_postgres()
    assert ID[1] in both.on_hub()


def test_a_deletion_that_no_store_carried_out_stays_open(both: TwoStores, monkeypatch: pytest.MonkeyPatch) -> None:
    with both.adapter() as adapter, down(monkeypatch, "delete_rows", "postgres", "huggingface"):
        adapter.delete_rows([ID[0]], reason="decisão judicial")
    with both.adapter() as adapter:
        assert repair_missed(adapter).open == 2
        assert ID[0] in both.in_postgres()
        adapter.delete_rows([ID[0]], reason="decisão judicial")
        assert repair_missed(adapter).open == 0


PLACES = [
    "repair.after_chunk=raise:2",
    "repair.between_double_and_address=raise",
    "hub.after_commit=raise:2",
    "hub.between_datasets=raise",
    "postgres.before_commit=raise",
    "postgres.after_commit=raise",
]


def test_a_repair_that_is_interrupted_anywhere_is_finished_by_the_next(
    both: TwoStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, place in enumerate(PLACES):
        row, uid = ROWS[number], ID[number]
        double = row | {"unique_id": f"double {number}", "title": "segunda cópia"}
        new = [double, article(200 + number)]
        both.edit_hub(lambda tables, new=new: tables[MARCH].extend(new))  # type: ignore[misc]
        both.store.execute(
            f"UPDATE news SET title = 'título {number}' WHERE unique_id = '{uid}'",
            f"UPDATE news SET unique_id = unique_id || ' {number}', url = NULL WHERE unique_id = '{ID[20 + number]}'",
        )
        failpoints._passed.clear()
        with monkeypatch.context() as patched:
            patched.setenv("GOVBR_FAILPOINTS", place)
            with pytest.raises(FailpointError):
                both.repair("from-postgres", allow_delete=number == 0)
        done = both.repair("from-huggingface")
        assert not done.needs_attention, place
        assert both.alike(), place


# ------------------------------------------------------------------------------------------------- any drift


@pytest.mark.parametrize("seed", range(3))
def test_after_any_drift_a_repair_in_either_direction_makes_both_stores_the_same(stores: TwoStores, seed: int) -> None:
    dice = random.Random(seed)
    rows = articles(30)
    stores.write(rows)
    numbers = iter(range(100, 200))
    for round_no in range(2):
        for side in dice.sample([stores.postgres(), stores.dataset()], 2):
            there = sorted(stores.in_postgres().keys() & stores.on_hub().keys())
            side.update(frame(*_changes(dice, dice.sample(there, 4))))
            side.insert(columns([_odd(dice, next(numbers)) for _ in range(dice.randint(1, 4))]))
            side.delete_rows(dice.sample(there, dice.randint(0, 2)), reason="drift")
        direction, allow = dice.choice(DIRECTIONS), dice.random() < 0.5
        done = stores.repair(direction, full=dice.random() < 0.5, allow_delete=allow)
        if not allow and direction == "from-postgres":  # what it has buried stays where it is
            done = stores.repair("from-huggingface")
        assert done.after is not None
        assert not done.needs_attention, done.lines()
        assert stores.alike(leave_out=("extracted_at",)), (seed, direction, allow)
        assert stores.alike() or done.after.explained_by_kind.keys() == {"extracted_at"}
        now = state(stores)
        if round_no == 1:
            assert stores.repair(direction).totals()["to_repair"] == 0
            assert state(stores) == now


def _changes(dice: random.Random, ids: Sequence[str]) -> list[Row]:
    cells: list[Row] = [
        {"title": f"título {dice.random()}"},
        {"summary": dice.choice([None, "outro resumo"])},
        {"content": dice.choice([None, "texto " * 9]), "image": None},
        {"published_at": article(dice.randint(0, 90))["published_at"]},
        {"tags": dice.choice([None, [], ["a", "b"]])},
        {"agency": dice.choice(["mre", "nova"]), "url": f"https://x.br/{dice.random()}"},
        dict(theme_codes(dice.choice(["01.01.01", "05.02"]))),
    ]
    names = sorted({name for cell in cells for name in cell})
    chosen = dice.choice(cells)
    return [{"unique_id": uid, **{name: chosen[name] for name in names if name in chosen}} for uid in ids]


def _odd(dice: random.Random, number: int) -> Row:
    """Return a new article; sometimes one that both stores get, with other cells."""
    shared = dice.random() < 0.3
    row = article(500 + dice.randint(0, 3) if shared else number)
    return row | {"title": f"novo {dice.random()}", "extracted_at": row["extracted_at"] + timedelta(days=number)}


# ----------------------------------------------------------------------------------------------------- guards


def test_a_deletion_is_recorded_with_its_reason(both: TwoStores) -> None:
    with both.adapter() as adapter:
        outcome = adapter.delete_rows([ID[0], "unknown"], reason="decisão judicial")
    assert {side: made.counts["deleted"] for side, made in outcome.outcomes.items()} == {
        "postgres": 1,
        "huggingface": 1,
    }
    assert outcome.unchanged == 1
    entry = both.ledger.newest(WRITE)
    assert entry is not None
    assert (entry.operation, entry.facts["reason"]) == ("delete", "decisão judicial")
    assert "decisão judicial" in both.hub.commits()[0]["message"]
    assert both.store.value("SELECT reason FROM news_tombstones WHERE unique_id = %s", ID[0]) == "deleted"
    assert both.compare().passed


def test_a_primary_that_is_deleted_leaves_its_article_to_the_next(both: TwoStores) -> None:
    both.postgres().insert(columns([newer(ROWS[9], unique_id="terceiro", url=None)]))
    both.postgres().update(frame({"unique_id": "terceiro", "url": ROWS[9]["url"]}))
    assert both.store.derived()["terceiro"]["duplicate_of"] == ID[9]
    assert both.postgres().delete_rows([ID[9]], reason="a test").deleted == 1
    assert both.store.derived()["terceiro"]["duplicate_of"] is None


def test_a_row_that_is_held_can_be_deleted(both: TwoStores) -> None:
    held = article(90, published_at=None)
    both.hub.put({UNDATED: parquet_bytes([held, article(91, published_at=None)])})
    outcome = both.dataset().delete_rows([held["unique_id"], ID[0]], reason="a test")
    assert outcome.deleted == 2
    assert [row["unique_id"] for row in both.hub.rows()[UNDATED]] == [article(91)["unique_id"]]
    for reason, ids in (("", [ID[1]]), ("a test", [""]), ("a test", ID[1])):
        with pytest.raises(ValueError, match=r"reason|ids"):
            both.dataset().delete_rows(ids, reason=reason)
