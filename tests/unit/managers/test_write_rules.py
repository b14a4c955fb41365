"""The rules of writing, as both stores use them: against the same rules told row by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.managers.write_rules import (
    Found,
    complete,
    left_alone,
    merge_scraped,
    merge_updated,
    plan_insert,
    same_cells,
)
from data_platform.models.admission import clean
from data_platform.models.columns import COLUMN_NAMES
from data_platform.models.theme_cells import ThemeIndex
from data_platform.models.urls import canonical_url
from tests.support.rows import article, batch_of

TREE = ThemeIndex.of([(1, "01", "Economia"), (2, "01.01", "Fiscal"), (5, "05", "Clima")])
T0 = datetime(2025, 9, 1, tzinfo=UTC)


def row(uid: str, url: str | None = None, hours: int | None = 0, **cells: Any) -> dict[str, Any]:
    return article(
        uid, url=None if url is None else f"https://x.br/{url}",
        extracted_at=None if hours is None else T0 + timedelta(hours=hours), **cells,
    )  # fmt: skip


_ROWS = st.builds(
    row, st.sampled_from("abcd"), st.sampled_from([None, "1", "2", "3/", "3"]), st.none() | st.integers(0, 3),
    agency=st.sampled_from(["mec", "aeb"]),
)  # fmt: skip


@given(st.lists(_ROWS, max_size=4), st.lists(_ROWS, max_size=8), st.booleans())
def test_a_plan_is_what_rows_one_by_one_would_do(there: list[Any], rows: list[Any], allow_update: bool) -> None:
    have: dict[str, tuple[str, str | None]] = {}
    for r in there:
        key = (r["agency"], canonical_url(r["url"]))
        if r["unique_id"] not in have and (key[1] is None or key not in have.values()):
            have[r["unique_id"]] = key
    ids, urls = {r["unique_id"] for r in rows}, {(r["agency"], canonical_url(r["url"])) for r in rows}
    found = Found(ids & set(have), {key: uid for uid, key in have.items() if key[1] and key in urls})  # type: ignore[misc]
    plan = plan_insert(batch_of(rows), found, allow_update=allow_update)

    articles = {key: uid for uid, key in have.items() if key[1]}
    members: dict[str, list[int]] = {}
    for place, r in enumerate(rows):
        key, uid = (r["agency"], canonical_url(r["url"])), r["unique_id"]
        target = uid if uid in have or uid in members or not key[1] else articles.get(key, uid)
        if key[1] and (allow_update or uid not in have):
            articles.setdefault(key, target)
        members.setdefault(target, []).append(place)
    assert {uid for uid, _ in plan.known} == set(members) & set(have)
    assert {rows[first]["unique_id"] for first, _ in plan.new} == set(members) - set(have)
    assert plan.duplicates == len(rows) - len(members)
    assert plan.ids == {
        rows[p]["unique_id"]: uid for uid, its in members.items() for p in its if rows[p]["unique_id"] != uid
    }
    latest = datetime.max.replace(tzinfo=UTC)
    wins = dict(plan.known) | {rows[first]["unique_id"]: wins for first, wins in plan.new}
    for uid, its in members.items():
        expected = max(its, key=lambda p: (rows[p]["extracted_at"] or latest, p)) if allow_update else its[0]
        assert wins[uid] == expected


def merged(old: dict[str, Any], new: dict[str, Any], **leave: bool) -> dict[str, Any]:
    masks = {name: pa.array([left]) for name, left in leave.items()}
    given = batch_of([dict.fromkeys(COLUMN_NAMES) | new]).select(list(new))
    found: dict[str, Any] = merge_scraped(batch_of([old]), given, masks).to_pylist()[0]
    return {name: value for name, value in found.items() if value != old[name]}


def test_a_scrape_takes_the_scrapers_columns_and_the_time() -> None:
    old = row("a", "1", summary="s", theme_1_level_1="01 - Economia", tags=["x"])
    new = {"title": "Novo", "tags": ["y"], "summary": None, "theme_1_level_1": None, "agency": "aeb", "unique_id": "z"}
    later = T0 + timedelta(hours=1)
    assert merged(old, new | {"extracted_at": later}) == {"title": "Novo", "tags": ["y"], "extracted_at": later}
    assert merged(old, {"title": old["title"], "extracted_at": later}) == {}
    assert merged(old, new | {"extracted_at": T0 - timedelta(hours=1)}) == {}
    assert merged(old, new | {"extracted_at": None}) == {"title": "Novo", "tags": ["y"]}
    assert merged(old, {"title": "Novo", "content": None}, title=True) == {}


@pytest.mark.parametrize("content", ["Error retrieving content", "Novo texto"])
def test_a_page_without_its_text_changes_nothing_of_an_article_that_is_there(content: str) -> None:
    """A firewall's page, or a shell: its subtitle, image, tags and dates are none of the article's."""
    old = row("a", "1", subtitle="s", image="i", tags=["x"], content="Texto")
    new = {"unique_id": "a", "agency": "mec", "published_at": T0, "title": "Outro", "content": content, "tags": None}
    new |= {"image": None, "subtitle": None, "extracted_at": T0 + timedelta(hours=1)}
    cleaned = clean(batch_of([row("b") | new, row("c", content="Texto")]))
    leave = {name: mask.take(pa.array([0])) for name, mask in left_alone(cleaned).items()}
    after = merge_scraped(batch_of([old]), cleaned.batch.slice(0, 1).select(list(new)), leave).to_pylist()[0]
    assert (after == old) is (content == "Error retrieving content")
    assert not any(mask[1].as_py() for mask in left_alone(cleaned).values())


def updated(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    given = batch_of([dict.fromkeys(COLUMN_NAMES) | new]).select(list(new))
    found: dict[str, Any] = merge_updated(batch_of([old]), given, TREE).to_pylist()[0]
    return {name: value for name, value in found.items() if value != old[name]}


def test_an_update_writes_what_is_given() -> None:
    old = row("a", "1", summary="s", image="i")
    assert updated(old, {"summary": None, "agency": "aeb"}) == {"summary": None, "agency": "aeb"}
    assert updated(old, {"extracted_at": T0 + timedelta(1)}) == {}
    assert updated(old, {"extracted_at": T0 + timedelta(1), "summary": None}) == {"summary": None}
    # Of whose news it is a page tells: PostgreSQL's trigger says the same.
    moved = {"agency": "aeb", "extracted_at": T0 + timedelta(1)}
    assert updated(old, moved) == moved
    assert updated(old, {"extracted_at": T0 + timedelta(1), "image": None}) == {
        "image": None, "extracted_at": T0 + timedelta(1),
    }  # fmt: skip


def test_what_follows_from_a_theme_is_made_from_the_tree() -> None:
    plain = row("a")
    first = {
        "theme_1_level_1": "01 - Economia", "theme_1_level_1_code": "01", "theme_1_level_1_label": "Economia",
        "most_specific_theme_code": "01", "most_specific_theme_label": "Economia",
    }  # fmt: skip
    assert updated(plain, {"theme_1_level_1_code": "01"}) == first
    second = {
        "theme_1_level_2_code": "01.01", "theme_1_level_2_label": "Fiscal",
        "most_specific_theme_code": "01.01", "most_specific_theme_label": "Fiscal",
    }  # fmt: skip
    assert updated(plain | first, {"theme_1_level_2_code": "01.01"}) == second
    assert updated(plain | first | second, {"theme_1_level_2_code": None}) == dict.fromkeys(second) | {
        name: first[name] for name in ("most_specific_theme_code", "most_specific_theme_label")
    }


def test_a_text_alone_moves_the_code_only_where_there_is_one() -> None:
    """A first level known by its text only stays so (DESIGN §5, publication)."""
    old = row("a", theme_1_level_1="01 - Economia")
    assert updated(old, {"theme_1_level_1": "Clima"}) == {"theme_1_level_1": "05 - Clima"}
    coded = old | {"theme_1_level_1_code": "01", "theme_1_level_1_label": "Economia"}
    assert updated(coded, {"theme_1_level_1": "05 - Clima"}) == {
        "theme_1_level_1": "05 - Clima", "theme_1_level_1_code": "05", "theme_1_level_1_label": "Clima",
        "most_specific_theme_code": "05", "most_specific_theme_label": "Clima",
    }  # fmt: skip


def test_labels_that_are_given_are_taken_as_they_are() -> None:
    cells = {"theme_1_level_1_code": "01", "theme_1_level_1_label": "Outro nome", "most_specific_theme_code": None}
    assert updated(row("a"), cells) == {
        "theme_1_level_1": "01 - Outro nome", "theme_1_level_1_code": "01", "theme_1_level_1_label": "Outro nome",
    }  # fmt: skip


def test_a_batch_of_some_columns_becomes_one_of_all() -> None:
    few = batch_of([article("a"), article("b")]).select(["title", "unique_id"])
    assert complete(few).schema.names == list(COLUMN_NAMES)
    assert complete(few).column("title").to_pylist() == ["Título", "Título"]
    assert complete(few).column("tags").null_count == 2


def test_equal_cells_are_equal_with_nulls_and_lists() -> None:
    rows = [article("a", tags=None), article("b", tags=["x"]), article("c", tags=[]), article("d", summary="s")]
    other = [rows[0], rows[1] | {"tags": ["y"]}, rows[2] | {"tags": None}, rows[3]]
    assert same_cells(batch_of(rows), batch_of(other)).to_pylist() == [True, False, False, True]
