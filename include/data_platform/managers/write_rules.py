"""The rules of writing that every store shares: which row is which article, and what a write makes of its cells.

Pure functions over rows in the types of `NORMAL_SCHEMA`. A batch is written as if its rows came one after the other:

* a row is the article with its unique_id, else the primary one with its agency and canonical address, else a new one;
* an address is the article's that has it in the store, or that an earlier row of the batch gives it (also one that then
  changes nothing, being an older scrape): what two rows say of one address is about one article;
* without `allow_update` an article that is there stays as it is;
* with it, the scraper's columns follow the row with the latest `extracted_at` (one without counts as latest; of two the
  later one), never an older one; a cell that says it could not be got (a sentinel, an unreadable value) leaves what is
  there, and a row that says so of its text leaves all: what came instead of the page (a firewall's notice, a shell)
  has neither its picture nor its tags; themes and summary are not touched;
* `extracted_at` moves only together with another column of the scraper (DESIGN §2.3, §2.7, §2.8).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.models.admission import Cleaned
from data_platform.models.columns import COLUMN_NAMES, COLUMNS, NORMAL_SCHEMA, THEME_COLUMNS, Owner
from data_platform.models.theme_cells import ThemeIndex, overlay_themes
from data_platform.models.urls import canonical_urls

__all__ = [
    "Found",
    "InsertPlan",
    "complete",
    "ids_to_delete",
    "last_of_each",
    "left_alone",
    "merge_scraped",
    "merge_updated",
    "plan_insert",
    "renamed",
    "same_cells",
]

#: The scraper's columns whose change moves extracted_at.
SCRAPED: tuple[str, ...] = tuple(c.name for c in COLUMNS if c.owner is Owner.SCRAPER and c.name != "extracted_at")
_NOT_GOT = ("sentinel", "unreadable")
_NO_PAGE = ("sentinel", "content")
_LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Found:
    """What a store has of a batch's articles.

    Attributes:
        ids: those of the batch's unique_ids that it has.
        articles: (agency, canonical address) -> unique_id of the primary row, for those of the batch that it has.
    """

    ids: Collection[str] = frozenset()
    articles: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class InsertPlan:
    """What an insert shall do. Rows are indexes into the batch.

    Attributes:
        new: (row that makes the article, row whose scraper cells it takes) of each new article.
        known: (unique_id in the store, row whose scraper cells it takes) of each article that is there.
        duplicates: rows that another row of the batch stands for.
        ids: unique_id given -> unique_id of the article, where they differ.
    """

    new: Sequence[tuple[int, int]]
    known: Sequence[tuple[str, int]]
    duplicates: int
    ids: Mapping[str, str]


def plan_insert(rows: pa.RecordBatch, found: Found, *, allow_update: bool) -> InsertPlan:
    """Say which article each admitted row is.

    Args:
        rows: at least unique_id and agency; url and extracted_at if they were given.
        found: what the store has.
        allow_update: whether a row may change an article that is there.
    """
    names, count = set(rows.schema.names), rows.num_rows
    ids, agencies = rows.column("unique_id").to_pylist(), rows.column("agency").to_pylist()
    urls = canonical_urls(rows.column("url")).to_pylist() if "url" in names else [None] * count
    times = rows.column("extracted_at").to_pylist() if "extracted_at" in names else [None] * count
    articles = dict(found.articles)
    members: dict[str, list[int]] = {}
    for row, (uid, agency, url) in enumerate(zip(ids, agencies, urls, strict=True)):
        target = uid
        if uid not in found.ids and uid not in members and url is not None:
            target = articles.setdefault((agency, url), uid)
        elif url is not None and (allow_update or uid not in found.ids):
            articles.setdefault((agency, url), uid)
        members.setdefault(target, []).append(row)
    there = set(found.ids) | set(found.articles.values())
    new: list[tuple[int, int]] = []
    known: list[tuple[str, int]] = []
    for target, its in members.items():
        wins = max(its, key=lambda row: (times[row] or _LATEST, row)) if allow_update else its[0]
        if target in there:
            known.append((target, wins))
        else:
            new.append((its[0], wins))
    given = {ids[row]: target for target, its in members.items() for row in its if ids[row] != target}
    return InsertPlan(new, known, count - len(members), given)


def left_alone(cleaned: Cleaned) -> dict[str, pa.Array]:
    """Return, by column of the scraper, which rows say that their cell could not be got."""
    masks: dict[str, pa.Array] = {}
    for (kind, column), mask in cleaned.marks.items():
        # A page of which the text could not be got may be any page: nothing that it lacks was taken off the article.
        columns = SCRAPED if (kind, column) == _NO_PAGE else (column,)
        for name in columns if kind in _NOT_GOT else ():
            if name in SCRAPED and name in cleaned.batch.schema.names:
                masks[name] = pc.or_(masks[name], mask) if name in masks else mask
    return masks


def complete(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows with all 24 columns; those that were not given are null."""
    have = set(rows.schema.names)
    arrays = [rows.column(f.name) if f.name in have else pa.nulls(rows.num_rows, f.type) for f in NORMAL_SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=NORMAL_SCHEMA)


def last_of_each(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows without those that a later one with the same id replaces."""
    last = {uid: place for place, uid in enumerate(rows.column("unique_id").to_pylist())}
    return rows if len(last) == rows.num_rows else rows.take(pa.array(sorted(last.values()), pa.int64()))


def ids_to_delete(unique_ids: Sequence[str], reason: str) -> list[str]:
    """Return the ids of a deletion, each once.

    Raises:
        ValueError: there is an id that is none, or no reason.
    """
    if isinstance(unique_ids, str) or not all(isinstance(uid, str) and uid for uid in unique_ids):
        raise ValueError("unique_ids must be a list of ids, none of them empty")
    if not reason.strip():
        raise ValueError("a deletion needs a reason: it is recorded, and is all that is left of the row")
    return list(dict.fromkeys(unique_ids))


def renamed(rows: pa.RecordBatch, unique_ids: Sequence[str]) -> pa.RecordBatch:
    """Return rows under other ids."""
    place = rows.schema.get_field_index("unique_id")
    return rows.set_column(place, rows.schema.field(place), pa.array(unique_ids, pa.string()))


def merge_scraped(
    old: pa.RecordBatch, new: pa.RecordBatch, leave: Mapping[str, pa.Array] | None = None
) -> pa.RecordBatch:
    """Return rows after a scraper wrote them anew; row beside row, all 24 columns as `old` has them.

    Args:
        old: the rows as they are.
        new: the columns that the scraper gave; of other owners' columns nothing is taken.
        leave: column -> rows whose new cell is not to be taken.
    """
    given = set(new.schema.names)
    stale = pa.scalar(False)
    if "extracted_at" in given:
        stale = pc.fill_null(pc.less(new.column("extracted_at"), old.column("extracted_at")), False)
    cells = {name: old.column(name) for name in COLUMN_NAMES}
    for name in SCRAPED:
        if name in given:
            keep = pc.or_(stale, leave[name]) if leave and name in leave else stale
            cells[name] = pc.if_else(keep, old.column(name), new.column(name))
    return _with_extraction(old, cells, new)


def merge_updated(old: pa.RecordBatch, new: pa.RecordBatch, themes: ThemeIndex) -> pa.RecordBatch:
    """Return rows after an update; row beside row, all 24 columns as `old` has them.

    Args:
        old: the rows as they are.
        new: the columns written; what is null there becomes null, what is absent stays.
        themes: the known themes.
    """
    given = set(new.schema.names) - {"unique_id", "extracted_at", *THEME_COLUMNS}
    cells = {name: new.column(name) if name in given else old.column(name) for name in COLUMN_NAMES}
    if set(THEME_COLUMNS) & set(new.schema.names):
        cells |= dict(zip(THEME_COLUMNS, overlay_themes(old.select(list(THEME_COLUMNS)), new, themes), strict=True))
    return _with_extraction(old, cells, new)


def same_cells(old: pa.RecordBatch, new: pa.RecordBatch, names: Sequence[str] = COLUMN_NAMES) -> pa.Array:
    """Return which rows have the same cells in the named columns, nulls being the same as nulls."""
    same = pa.array([True] * old.num_rows, pa.bool_())
    for name in names:
        same = pc.and_(same, _same(old.column(name), new.column(name)))
    return same


def _with_extraction(old: pa.RecordBatch, cells: dict[str, pa.Array], new: pa.RecordBatch) -> pa.RecordBatch:
    """Put rows together; extracted_at is the new one where another column that scraping gives differs."""
    arrays = [cells[name] for name in COLUMN_NAMES]
    merged = pa.RecordBatch.from_arrays(arrays, schema=NORMAL_SCHEMA)
    if "extracted_at" not in new.schema.names:
        return merged
    before = old.column("extracted_at")
    moved = pc.coalesce(new.column("extracted_at"), before)
    extracted = pc.if_else(same_cells(old, merged, ("agency", *SCRAPED)), before, moved)
    return merged.set_column(COLUMN_NAMES.index("extracted_at"), NORMAL_SCHEMA.field("extracted_at"), extracted)


def _same(a: pa.Array, b: pa.Array) -> pa.Array:
    if pa.types.is_list(a.type):  # Arrow compares no lists
        return pa.array([x == y for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True)], pa.bool_())
    return pc.or_(pc.fill_null(pc.equal(a, b), False), pc.and_(a.is_null(), b.is_null()))
