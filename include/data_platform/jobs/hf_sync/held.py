"""Rows that are published though PostgreSQL does not hold them: which stay, and what became of all others.

Rows that admission refuses (no date, no title, …) stay published as they are in `data/train-undated.parquet`, until
their reject is replayed or discarded. When the sync takes a dataset over, every row that was published is accounted for
before anything is written: it is in news, it is held, it was deleted, or nobody can explain it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.jobs.hf_sync.records import Account
from data_platform.managers.hub.adoption import AdoptedState
from data_platform.managers.hub.layout import UNDATED
from data_platform.managers.hub.state import State
from data_platform.managers.postgres.news_snapshot import NewsSnapshot
from data_platform.models.columns import NORMAL_SCHEMA
from data_platform.models.digest import row_digests
from data_platform.sources.judged import payload_digest, payloads_of

__all__ = ["account_for", "still_held"]

#: Ids that an account names.
_NAMED = 20
_NO_ROWS: pa.Table = NORMAL_SCHEMA.empty_table()


def still_held(news: NewsSnapshot, state: State) -> tuple[pa.Table, int]:
    """Return the rows of the undated file that have reason to stay (`NORMAL_SCHEMA`), and how many it has."""
    rows = state.rows(UNDATED) if UNDATED in state.partitions else _NO_ROWS
    return _unreleased(news, rows), rows.num_rows


def account_for(news: NewsSnapshot, state: State) -> tuple[Account, pa.Table]:
    """Account for every row that is published, and return the rows that are to stay without being in news.

    Args:
        news: PostgreSQL as it is to be published.
        state: the dataset as it is.

    Returns:
        The account, and the held rows in the types of `NORMAL_SCHEMA`.
    """
    # First, while nothing else is in memory: it goes through every row.
    changed = _changed(news, state) if isinstance(state, AdoptedState) else None
    in_news = news.unique_ids().combine_chunks()
    stored = len(in_news)
    paths, ids = _published_ids(state)
    there = pc.is_in(ids, value_set=in_news)
    del in_news
    pa.default_memory_pool().release_unused()
    absent_ids = ids.filter(pc.invert(there))
    absent = news.absent(absent_ids.unique().to_pylist())
    rejected = _rows_with(state, paths, ids, absent.rejected)
    undated = state.rows(UNDATED) if UNDATED in state.partitions else _NO_ROWS
    held = pa.concat_tables([_unreleased(news, undated), rejected])
    counts = Counter(absent_ids.to_pylist())
    unexplained = sorted(absent.unknown)
    duplicates = state.plan.duplicates if isinstance(state, AdoptedState) else 0
    published = len(ids)
    found = ids.filter(there)
    del ids, paths
    in_postgres = len(found.unique())
    account = Account(
        published=published + undated.num_rows + duplicates,
        in_postgres=in_postgres,
        held=held.num_rows,
        released=undated.num_rows + rejected.num_rows - held.num_rows,
        deleted=sum(counts[uid] for uid in absent.buried),
        duplicates=duplicates + len(found) - in_postgres,
        unexplained=sum(counts[uid] for uid in unexplained),
        unexplained_ids=unexplained[:_NAMED],
        new=stored - in_postgres,
        changed=None if changed is None else len(changed),
        changed_ids=sorted(changed or ())[:_NAMED],
    )
    return account, held


def _published_ids(state: State) -> tuple[pa.Array, pa.Array]:
    """Return path (dictionary) and id of every published row that is not among the undated ones."""
    found: list[tuple[str, pa.Array]] = []
    for path, keys in state.partition_keys():
        if path != UNDATED:
            found.append((path, keys.column("unique_id").combine_chunks()))
    paths = pa.array([path for path, _ in found], pa.string())
    places = [pa.array([number] * len(ids), pa.int32()) for number, (_, ids) in enumerate(found)]
    ids = pa.concat_arrays([pa.array([], pa.string()), *(ids for _, ids in found)])
    at = pa.concat_arrays([pa.array([], pa.int32()), *places])
    return pa.DictionaryArray.from_arrays(at, paths), ids


def _rows_with(state: State, paths: pa.Array, ids: pa.Array, wanted: frozenset[str]) -> pa.Table:
    """Return the published rows with some ids."""
    if not wanted:
        return _NO_ROWS
    value_set = pa.array(sorted(wanted), pa.string())
    places = paths.filter(pc.is_in(ids, value_set=value_set)).unique().to_pylist()
    found = [state.rows(path) for path in sorted(places)]
    return pa.concat_tables([t.filter(pc.is_in(t.column("unique_id"), value_set=value_set)) for t in found])


def _unreleased(news: NewsSnapshot, rows: pa.Table) -> pa.Table:
    if not rows.num_rows:
        return rows
    payloads = [payload for batch in rows.to_batches() for payload in payloads_of(batch, [{}] * batch.num_rows)]
    released = news.released(rows.column("unique_id").to_pylist(), list(map(payload_digest, payloads)))
    return rows.take(pa.array(sorted(set(range(rows.num_rows)) - set(released)), pa.int64()))


def _changed(news: NewsSnapshot, state: AdoptedState) -> Sequence[str]:
    """Return the ids of published rows whose cells, once cleaned, are others in PostgreSQL."""
    changed: list[str] = []
    for path in state.partitions:
        if path == UNDATED:
            continue
        rows = state.rows(path).combine_chunks()
        digests = pa.array([d.hex() for batch in rows.to_batches() for d in row_digests(batch)], pa.string())
        ids = rows.column("unique_id").combine_chunks()
        ours = news.digests(ids)
        at = pc.index_in(ids, value_set=ours.column("unique_id").combine_chunks())
        same = pc.equal(digests, ours.column("row_digest").combine_chunks().take(at))
        changed += ids.filter(pc.invert(pc.fill_null(same, True))).to_pylist()
        del rows, digests, ids, ours
        pa.default_memory_pool().release_unused()
    return changed
