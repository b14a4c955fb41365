"""Rows of one id: the latest extracted_at wins in whatever order they arrive, the others are kept or counted."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from tests.support.migrations import Migrations
from tests.support.sources import Row, article, articles, expected, newer, write_source
from tests.support.stores import Store

_OTHERS = articles(10, first=100)
_OLD = article(1)
_MIDDLE = newer(_OLD, hours=1, title="Segunda versão", tags=None)
_NEW = newer(_OLD, hours=2, title="Terceira versão", content=None)
_NEW_AGAIN = newer(_NEW, hours=3)


def _payload(row: Row) -> dict[str, Any]:
    """Return a row as a reject holds it: every cell, instants in UTC and ISO form."""
    cells = dict(row)
    for name in ("published_at", "updated_datetime", "extracted_at"):
        if row[name] is not None:
            zoned = row[name] if row[name].tzinfo else row[name].replace(tzinfo=UTC)
            cells[name] = zoned.astimezone(UTC).isoformat()
    return cells


def _check(store: Store, winner: Row, losers: list[Row]) -> None:
    rows = [*_OTHERS, winner]
    assert store.published() == {row["unique_id"]: expected(row) for row in rows}
    rejects = {reject["payload_digest"]: reject for reject in store.rejects()}
    assert sorted((reject["payload"] for reject in rejects.values()), key=str) == sorted(map(_payload, losers), key=str)
    for reject in rejects.values():
        assert (reject["reason"], reject["field"], reject["status"]) == ("superseded", "unique_id", "discarded")
        assert reject["unique_id"] == winner["unique_id"]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_the_latest_wins_in_any_order_of_files(order: tuple[int, ...], migrations: Migrations, store: Store) -> None:
    versions = [_OLD, _MIDDLE, _NEW]
    files = {f"train-{place}.parquet": [*_OTHERS[n : n + 1], versions[n]] for n, place in enumerate(order)}
    files["train-3.parquet"] = _OTHERS[3:]
    write_source(migrations.folder, files)
    outcome = migrations.run()
    account = outcome.account
    assert (account.read, account.loaded, account.duplicates, account.rejected) == (13, 11, 2, 0)
    assert account.duplicates_by_kind == {"other_content": 2}
    _check(store, _NEW, [_OLD, _MIDDLE])
    validation = outcome.validation
    assert validation is not None
    assert (validation.verdict, validation.equal, validation.only_in_source) == ("equal", 11, 2)
    assert validation.accounted == {"duplicate:superseded": 2}


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)], ids=str)
def test_kinds_are_counted_apart(order: tuple[int, ...], migrations: Migrations, store: Store) -> None:
    versions = [_OLD, _NEW, _NEW_AGAIN, _OLD]
    rows = [versions[n] for n in order]
    outcome = migrations.bring(rows[:2], rows[2:], _OTHERS)
    assert outcome.account.duplicates_by_kind == {"same_content": 1, "other_content": 2}
    _check(store, _NEW_AGAIN, [_OLD])  # twice the same row is one reject
    assert outcome.validation is not None
    assert outcome.validation.verdict == "equal"
    assert outcome.validation.accounted == {"duplicate:same_content": 1, "duplicate:superseded": 2}


def test_the_same_row_many_times_in_one_batch_is_one_row(migrations: Migrations, store: Store) -> None:
    outcome = migrations.bring([_OLD] * 7, [*_OTHERS, _OLD])
    assert outcome.account.duplicates_by_kind == {"same_content": 7}
    _check(store, _OLD, [])
    assert outcome.validation is not None
    assert outcome.validation.accounted == {"duplicate:same_content": 7}


def test_of_two_extracted_at_once_the_later_place_wins(migrations: Migrations, store: Store) -> None:
    other = _OLD | {"title": "Outra versão"}
    migrations.bring([other, *_OTHERS], [_OLD], validate=False)
    _check(store, _OLD, [other])


def test_a_row_without_extracted_at_wins_over_nobody(migrations: Migrations, store: Store) -> None:
    undated = _OLD | {"title": "Sem data de extração", "extracted_at": None}
    migrations.bring([*_OTHERS, _OLD], [undated], validate=False)
    _check(store, _OLD, [undated])


def test_one_that_cannot_be_stored_wins_over_nobody(migrations: Migrations, store: Store) -> None:
    damaged = _NEW | {"title": None}
    outcome = migrations.bring([*_OTHERS, _OLD], [damaged], max_reject_rate=1)
    account = outcome.account
    assert (account.loaded, account.duplicates, account.rejected) == (11, 0, 1)
    assert store.published()[_OLD["unique_id"]] == expected(_OLD)
    assert [reject["reason"] for reject in store.rejects()] == ["title_missing"]
    assert outcome.validation is not None
    assert outcome.validation.passed
    assert outcome.validation.accounted == {"reject:title_missing": 1}


def test_rows_that_only_cleaning_makes_the_same_are_the_same(migrations: Migrations, store: Store) -> None:
    unclean = newer(_OLD, hours=-1, subtitle="None", video_url="")
    outcome = migrations.bring([*_OTHERS, unclean], [_OLD | {"subtitle": None}])
    assert outcome.account.duplicates_by_kind == {"same_content": 1}
    _check(store, _OLD | {"subtitle": None}, [])
    assert outcome.validation is not None
    assert outcome.validation.verdict == "equal"


def test_a_duplicate_may_be_a_double_too(migrations: Migrations, store: Store) -> None:
    """The id's winner moved to another article's address; what lost there marks nobody."""
    moved = newer(_OLD, hours=5, agency=_OTHERS[0]["agency"], url=_OTHERS[0]["url"], extracted_at=datetime(2026, 1, 1))  # noqa: DTZ001
    outcome = migrations.bring([_OLD, *_OTHERS], [moved])
    assert outcome.account.url_doubles == 1
    assert store.derived()[moved["unique_id"]]["duplicate_of"] == _OTHERS[0]["unique_id"]
    assert outcome.validation is not None
    assert outcome.validation.verdict == "equal"


def test_the_payload_is_the_row_as_it_came(migrations: Migrations, store: Store) -> None:
    """A reject can be replayed only if nothing of it was cleaned away."""
    came = _OLD | {
        "category": "No Category",
        "subtitle": "",
        "summary": "None",
        "content": "a\x00b",
        "tags": ["x", "y"],
    }
    migrations.bring([*_OTHERS, came], [_NEW], validate=False)
    reject = store.query("SELECT payload::text AS payload, payload_digest, file, row_no FROM rejects")[0]
    assert json.loads(reject["payload"]) == _payload(came)
    assert hashlib.md5(reject["payload"].encode(), usedforsecurity=False).hexdigest() == reject["payload_digest"]
    assert (reject["file"], reject["row_no"]) == ("data/train-00000-of-00002.parquet", 10)
