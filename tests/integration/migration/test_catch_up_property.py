"""Any history of sources and local edits: after each catch-up the table is what the rules of `merge` say.

The rules are written out here once more, over plain dicts; PostgreSQL must come to the same rows, marks and counts.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_platform.models.columns import COLUMNS, Owner
from data_platform.models.urls import canonical_url
from tests.support.migrations import Migrations
from tests.support.sources import NO_THEME, Row, article, expected, theme_codes, theme_text
from tests.support.stores import Store

_FIRST = datetime(2025, 1, 1)  # noqa: DTZ001 - as published
#: What the scraper owns, save extracted_at, which follows them.
_SCRAPER = tuple(c.name for c in COLUMNS if c.owner is Owner.SCRAPER and c.name != "extracted_at")
_THEMES = {
    "none": NO_THEME,
    "text": theme_text("05"),
    "codes": theme_codes("01.01.01"),
    "beside": theme_text("20") | {"theme_1_level_1_code": "77"},
}
_NUMBERS = st.integers(0, 5)
_HOURS = st.one_of(st.integers(0, 5), st.none())
_URLS = st.sampled_from(["a", "b", "a/", "c", None])


def _row(number: int, hour: int | None, url: str | None, title: str, theme: str, summary: str | None) -> Row:
    return article(
        number,
        agency="mre",
        extracted_at=None if hour is None else _FIRST + timedelta(hours=hour),
        url=None if url is None else f"https://www.gov.br/mre/{url}",
        title=title,
        summary=summary,
        **_THEMES[theme],
    )


_ROWS = st.builds(
    _row,
    _NUMBERS,
    _HOURS,
    _URLS,
    st.sampled_from(["Um título", "Outro título"]),
    st.sampled_from(list(_THEMES)),
    st.sampled_from([None, "Um resumo", "Outro resumo"]),
)
_SOURCES = st.lists(_ROWS, max_size=7)


@dataclass(frozen=True)
class Enrich:
    """Somebody writes a theme and a summary."""

    number: int
    summary: str


@dataclass(frozen=True)
class Retitle:
    """The scraper writes a text."""

    number: int
    title: str
    hour: int


@dataclass(frozen=True)
class Delete:
    """Somebody deletes a row."""

    number: int


@dataclass(frozen=True)
class Make:
    """The scraper makes a row."""

    number: int
    url: str


Edit = Enrich | Retitle | Delete | Make
_EDITS = st.lists(
    st.one_of(
        st.builds(Enrich, _NUMBERS, st.sampled_from(["Um resumo", "Daqui"])),
        st.builds(Retitle, _NUMBERS, st.sampled_from(["Um título", "Daqui"]), st.integers(0, 5)),
        st.builds(Delete, _NUMBERS),
        st.builds(Make, st.integers(4, 8), st.sampled_from(["a", "b", "c"])),
    ),
    max_size=4,
)


@dataclass
class Model:
    """What the table must hold: published cells, marks, and which rows others than migrations have written."""

    rows: dict[str, Row] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)

    def catch_up(self, source: list[Row]) -> Counter[str]:
        """Apply a source by the rules; return the account."""
        winners: dict[str, Row] = {}
        for row in source:  # the latest extracted_at wins; if that does not decide, the later place
            other = winners.get(row["unique_id"])
            if other is None or _age(row) >= _age(other):
                winners[row["unique_id"]] = row
        account = Counter(read=len(source), duplicates=len(source) - len(winners))
        account["vanished"] = len(set(self.rows) - set(winners))
        for uid, row in winners.items():
            account[self._bring(uid, row)] += 1
        self._settle()
        return +account

    def _bring(self, uid: str, row: Row) -> str:
        ours = self.rows.get(uid)
        if ours is None:
            self.rows[uid] = dict(row)
            return "loaded"
        wanted = dict(row)
        if uid in self.touched:
            if not _not_older(row, ours):
                wanted |= {name: ours[name] for name in _SCRAPER}
            if not any(row[name] is not None for name in NO_THEME):
                wanted |= {name: ours[name] for name in NO_THEME}
            wanted["summary"] = row["summary"] or ours["summary"]
        if all(wanted[name] == ours[name] for name in _SCRAPER):
            wanted["extracted_at"] = ours["extracted_at"]
        changed = wanted != ours
        self.rows[uid] = wanted
        return "updated" if changed else "already_present"

    def _settle(self) -> None:
        self.marks = {}
        known = sorted((canonical_url(row["url"]) or "", *_place(row)) for row in self.rows.values())
        for url, members in groupby(known, key=lambda member: member[0]):
            first, *others = [uid for *_, uid in members]
            if url:
                self.marks |= dict.fromkeys(others, first)

    def edit(self, edit: Edit) -> str | None:
        """Apply an edit by somebody else; return the statement that does it, None if there is nothing to do."""
        uid = article(edit.number)["unique_id"]
        if isinstance(edit, Make):
            return self._make(uid, edit)
        if uid not in self.rows:
            return None
        row, before = self.rows[uid], dict(self.rows[uid])
        if isinstance(edit, Delete):
            return self._delete(uid)
        if isinstance(edit, Retitle):
            if edit.title == row["title"]:
                return None
            row |= {"title": edit.title, "extracted_at": _FIRST + timedelta(hours=edit.hour)}
            changes = f"title = '{edit.title}', extracted_at = '{row['extracted_at']}Z'"
        else:
            row |= theme_codes("05.02") | {"summary": edit.summary}
            changes = (
                f"summary = '{edit.summary}', theme_form = 'codes', theme_cells = NULL, theme_l3_id = NULL, "
                + ", ".join(
                    f"{column} = (SELECT id FROM themes WHERE code = '{code}')"
                    for column, code in (
                        ("theme_l1_id", "05"),
                        ("theme_l2_id", "05.02"),
                        ("most_specific_theme_id", "05.02"),
                    )
                )
            )
        if row != before:
            self.touched.add(uid)
        return f"UPDATE news SET {changes} WHERE unique_id = '{uid}'"

    def _delete(self, uid: str) -> str:
        del self.rows[uid]
        self.touched.discard(uid)
        # The trigger of news promotes an heir, so these rows were written by somebody else than a migration.
        self.touched |= {double for double, first in self.marks.items() if first == uid}
        heirs = sorted(_place(self.rows[double]) for double, first in self.marks.items() if first == uid)
        self.marks.pop(uid, None)
        if heirs:
            heir = heirs[0][-1]
            self.marks = {d: heir if f == uid else f for d, f in self.marks.items() if d != heir}
        return f"DELETE FROM news WHERE unique_id = '{uid}'"

    def _make(self, uid: str, edit: Make) -> str | None:
        if uid in self.rows:
            return None
        row = _row(edit.number, 2, edit.url, "Feito aqui", "none", None) | {
            "content": None,
            "image": None,
            "category": None,
        }
        row |= {"subtitle": None, "tags": None, "updated_datetime": None}
        self.rows[uid] = row
        self.touched.add(uid)
        held = next(
            (other for other, it in self.rows.items()
             if other not in self.marks and other != uid and it["url"] and canonical_url(it["url"]) == row["url"]), None
        )  # fmt: skip
        if held is not None:
            self.marks[uid] = held
        mark = f"'{held}'" if held else "NULL"
        return (
            "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, extracted_at, title, url,"
            f" canonical_url, duplicate_of) SELECT '{uid}', id, key, name, '{row['published_at']}',"
            f" '{row['extracted_at']}Z', '{row['title']}', '{row['url']}', '{row['url']}', {mark}"
            " FROM agencies WHERE key = 'mre'"
        )


def _age(row: Row) -> tuple[bool, Any]:
    return row["extracted_at"] is not None, row["extracted_at"] or _FIRST


def _place(row: Row) -> tuple[bool, Any, str]:
    return row["extracted_at"] is None, row["extracted_at"] or _FIRST, row["unique_id"]


def _not_older(row: Row, ours: Row) -> bool:
    if row["extracted_at"] is None or ours["extracted_at"] is None:
        return ours["extracted_at"] is None
    return bool(row["extracted_at"] >= ours["extracted_at"])


def _play(make_store: Callable[[], Store], history: list[tuple[list[Row], int, list[Edit]]]) -> None:
    store, model = make_store(), Model()
    with tempfile.TemporaryDirectory() as folder:
        migrations = Migrations(store, Path(folder))
        for source, cut, edits in history:
            migrations.write(source[:cut], source[cut:])
            account = migrations.run(validate=False).account
            told = {
                name: getattr(account, name)
                for name in ("read", "loaded", "updated", "already_present", "duplicates", "vanished")
            }
            assert +Counter(told) == model.catch_up(source)
            _check(store, model)
            for edit in edits:
                if statement := model.edit(edit):
                    store.execute(statement)
            _check(store, model)
        if history:
            migrations.run(validate=False)
            model.catch_up(history[-1][0])
            versions = store.versions()
            assert migrations.run(validate=False).account.changed_nothing
            assert store.versions() == versions
            _check(store, model)


def _check(store: Store, model: Model) -> None:
    assert store.published() == {uid: expected(row) for uid, row in model.rows.items()}
    derived = store.derived()
    assert {uid: row["duplicate_of"] for uid, row in derived.items() if row["duplicate_of"]} == model.marks
    assert {uid: row["canonical_url"] for uid, row in derived.items()} == {
        uid: canonical_url(row["url"]) for uid, row in model.rows.items()
    }


_HISTORIES = st.lists(st.tuples(_SOURCES, st.integers(0, 7), _EDITS), min_size=2, max_size=4)
_COMMON: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


@settings(max_examples=5, derandomize=True, **_COMMON)
@given(history=_HISTORIES)
def test_a_few_histories(make_store: Callable[[], Store], history: list[tuple[list[Row], int, list[Edit]]]) -> None:
    _play(make_store, history)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=60, **_COMMON)
@given(history=_HISTORIES)
def test_many_histories(make_store: Callable[[], Store], history: list[tuple[list[Row], int, list[Edit]]]) -> None:
    _play(make_store, history)
