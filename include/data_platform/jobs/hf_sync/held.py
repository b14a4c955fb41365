"""Rows that are published though PostgreSQL does not hold them: which stay, and what became of all others.

Rows that admission refuses (no date, no title, …) stay published as they are in `data/train-undated.parquet`, until
their reject is replayed or discarded. A good row is never held, whatever reject of its id is open: that is of another
version of it, and whoever discards it does not mean this one. When the sync takes a dataset over, every row that was
published is accounted for before anything is written: it is in news, it is held, it was deleted, or nobody can explain
it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.jobs.hf_sync.cells import OtherCells
from data_platform.jobs.hf_sync.records import Account
from data_platform.managers.hub.adoption import AdoptedState
from data_platform.managers.hub.layout import UNDATED, partition_path
from data_platform.managers.hub.state import State
from data_platform.managers.postgres.news_snapshot import Absent, NewsSnapshot
from data_platform.models.admission import clean, reject_reasons
from data_platform.models.columns import NORMAL_SCHEMA
from data_platform.sources.judged import payload_digest, payloads_of

__all__ = ["account_for", "refused_rows", "released_since", "still_held", "vanished"]

#: Ids that an account names.
_NAMED = 20
_NO_ROWS: pa.Table = NORMAL_SCHEMA.empty_table()


def still_held(news: NewsSnapshot, state: State, *, months: Collection[str] | None = None) -> tuple[pa.Table, int]:
    """Return the rows of the undated file that are to stay (`NORMAL_SCHEMA`), and how many it has.

    Args:
        news: PostgreSQL as it is to be published.
        state: the dataset as it is.
        months: if only some months are written, these: a row stays until the month of its article is.
    """
    rows = _undated(state)
    released = _released(news, rows)
    if months is not None and released:
        ids = rows.column("unique_id").to_pylist()
        written = news.in_months([ids[place] for place in released], months)
        released = [place for place in released if ids[place] in written]
    return _without(rows, released), rows.num_rows


def released_since(news: NewsSnapshot, state: State, position: int) -> int:
    """Return how many rows of the undated file have lost their reason to stay since a transaction: they wait."""
    rows = _undated(state)
    rows = rows.take(pa.array(_released(news, rows), pa.int64()))
    return len(news.settled_since(rows.column("unique_id").to_pylist(), _payload_digests(rows), position))


def account_for(news: NewsSnapshot, state: State, cells: OtherCells | None = None) -> tuple[Account, pa.Table]:
    """Account for every row that is published, and return the rows that are to stay without being in news.

    Args:
        news: PostgreSQL as it is to be published.
        state: the dataset as it is.
        cells: which rows are published with other cells, if that was looked at.

    Returns:
        The account, and the held rows in the types of `NORMAL_SCHEMA`.
    """
    in_news = news.unique_ids().combine_chunks()
    stored = len(in_news)
    paths, ids, extracted = _published_ids(state)
    there = pc.is_in(ids, value_set=in_news)
    del in_news
    pa.default_memory_pool().release_unused()
    absent_ids = ids.filter(pc.invert(there))
    absent = _absent(news, absent_ids, extracted.filter(pc.invert(there)))
    published_rejects = _rows_with(state, paths, ids, absent.rejected)
    rejected = refused_rows(published_rejects)
    good = published_rejects.num_rows - rejected.num_rows
    undated = _undated(state)
    held = pa.concat_tables([_without(undated, _released(news, undated)), rejected])
    counts = Counter(absent_ids.to_pylist())
    unexplained = sorted(absent.unknown | ({*_ids(published_rejects)} - {*_ids(rejected)}))
    duplicates = state.plan.duplicates if isinstance(state, AdoptedState) else 0
    published = len(ids)
    found = ids.filter(there)
    del ids, paths, extracted
    in_postgres = len(found.unique())
    account = Account(
        published=published + undated.num_rows + duplicates,
        in_postgres=in_postgres,
        held=held.num_rows,
        released=undated.num_rows + rejected.num_rows - held.num_rows,
        deleted=sum(counts[uid] for uid in absent.buried),
        duplicates=duplicates + len(found) - in_postgres,
        unexplained=sum(counts[uid] for uid in absent.unknown) + good,
        unexplained_ids=unexplained[:_NAMED],
        new=stored - in_postgres,
        changed=None if cells is None else len(cells.ids),
        changed_ids=sorted(cells.ids)[:_NAMED] if cells else (),
        unasked=len(cells.unasked) if cells else 0,
        unasked_ids=sorted(cells.unasked)[:_NAMED] if cells else (),
    )
    return account, held


def refused_rows(rows: pa.Table) -> pa.Table:
    """Return those of some rows of the dataset that PostgreSQL must reject as they are."""
    kept = [batch.filter(reject_reasons(clean(batch).batch)[0].is_valid()) for batch in rows.to_batches()]
    return pa.Table.from_batches(kept, rows.schema)


def vanished(news: NewsSnapshot, state: State, months: Collection[str]) -> list[str]:
    """Return the ids that writing some months would take out of the dataset though PostgreSQL let none of them go.

    A row that it deleted, renamed or moved has left a tombstone, or stands in another of these months; one without
    either was lost behind the change feed, as by a restore of a part of the table.

    Args:
        news: PostgreSQL as it is to be published.
        state: the dataset as it is.
        months: those that are to be written.
    """
    found: set[str] = set()
    for _, keys in state.partition_keys({partition_path(month) for month in months}):
        ids = keys.column("unique_id").combine_chunks()
        staying = pa.array(news.in_months(ids.to_pylist(), months), pa.string())
        going = pc.invert(pc.is_in(ids, value_set=staying))
        if pc.any(going).as_py():
            extracted = keys.column("extracted_at").combine_chunks()
            absent = _absent(news, ids.filter(going), extracted.filter(going))
            found |= absent.unknown | absent.rejected
    return sorted(found)


def _absent(news: NewsSnapshot, ids: pa.Array, extracted: pa.Array) -> Absent:
    """Ask what is known of published ids, each with the latest instant at which a row of it was extracted."""
    latest = pa.table({"unique_id": ids, "at": extracted}).group_by("unique_id").aggregate([("at", "max")])
    return news.absent(latest.column("unique_id").to_pylist(), latest.column("at_max").to_pylist())


def _published_ids(state: State) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return path (dictionary), id and extracted_at of every published row that is not among the undated ones."""
    found: list[tuple[str, pa.Array, pa.Array]] = []
    for path, keys in state.partition_keys():
        if path != UNDATED:
            found.append((path, *(keys.column(name).combine_chunks() for name in ("unique_id", "extracted_at"))))
    paths = pa.array([path for path, _, _ in found], pa.string())
    places = [pa.array([number] * len(ids), pa.int32()) for number, (_, ids, _) in enumerate(found)]
    ids = pa.concat_arrays([pa.array([], pa.string()), *(ids for _, ids, _ in found)])
    nothing = pa.array([], NORMAL_SCHEMA.field("extracted_at").type)
    extracted = pa.concat_arrays([nothing, *(extracted for _, _, extracted in found)])
    at = pa.concat_arrays([pa.array([], pa.int32()), *places])
    return pa.DictionaryArray.from_arrays(at, paths), ids, extracted


def _rows_with(state: State, paths: pa.Array, ids: pa.Array, wanted: frozenset[str]) -> pa.Table:
    """Return the published rows with some ids."""
    if not wanted:
        return _NO_ROWS
    value_set = pa.array(sorted(wanted), pa.string())
    places = paths.filter(pc.is_in(ids, value_set=value_set)).unique().to_pylist()
    found = [state.rows(path) for path in sorted(places)]
    return pa.concat_tables([t.filter(pc.is_in(t.column("unique_id"), value_set=value_set)) for t in found])


def _ids(rows: pa.Table) -> list[str]:
    return list(rows.column("unique_id").to_pylist())


def _undated(state: State) -> pa.Table:
    return state.rows(UNDATED) if UNDATED in state.partitions else _NO_ROWS


def _released(news: NewsSnapshot, rows: pa.Table) -> list[int]:
    """Return the places of rows that have no reason any more to be published without being in news."""
    if not rows.num_rows:
        return []
    return news.released(rows.column("unique_id").to_pylist(), _payload_digests(rows))


def _without(rows: pa.Table, places: Sequence[int]) -> pa.Table:
    return rows.take(pa.array(sorted(set(range(rows.num_rows)) - set(places)), pa.int64()))


def _payload_digests(rows: pa.Table) -> list[str]:
    payloads = [payload for batch in rows.to_batches() for payload in payloads_of(batch, [{}] * batch.num_rows)]
    return list(map(payload_digest, payloads))
