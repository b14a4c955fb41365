"""Whether a collection is what its source is: the ids of all rows, and every cell of a sample of them."""

from __future__ import annotations

from itertools import chain
from random import Random

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.errors import IntegrityError
from data_platform.managers.postgres.database import connect
from data_platform.managers.postgres.feed_ids import feed_ids
from data_platform.managers.postgres.news_snapshot import NewsSnapshot
from data_platform.managers.search_index import Index

__all__ = ["SAMPLE_ROWS", "compare_with_postgres", "ids_of", "require_equal_ids", "require_equal_rows"]

SAMPLE_ROWS = 500
#: Ids that a message names.
_NAMED = 5


def compare_with_postgres(
    index: Index, collection: str, *, database_url: str, horizon: int, pending: frozenset[str]
) -> dict[str, int]:
    """Compare a collection that has followed the feed up to a horizon with PostgreSQL.

    What has changed in PostgreSQL since is left out: the next run brings it.

    Args:
        index: which index.
        collection: which of its collections; nobody writes into it now.
        database_url: `postgresql://…`.
        horizon: of the last window.
        pending: documents that were refused and are known.

    Returns:
        What was compared, for a person: words -> count.

    Raises:
        IntegrityError: they differ; says where.
    """
    found = ids_of(index, collection)
    with connect(database_url, purpose="reindex compare", autocommit=True) as connection:
        wanted = feed_ids(connection, horizon)
    known = pa.array(sorted(pending), pa.string())
    settled = wanted.settled.filter(pc.invert(pc.is_in(wanted.settled, value_set=known)))
    require_equal_ids(collection, found, settled, may_have=pa.concat_arrays([wanted.moving, known]))
    chosen = Random(collection).sample(range(len(settled)), min(SAMPLE_ROWS, len(settled)))  # noqa: S311 - a sample
    with NewsSnapshot(database_url, purpose="reindex compare") as news:
        ids = settled.take(pa.array(chosen, pa.int64())).to_pylist()
        rows = news.rows_of(ids)
        moved = pa.array(sorted(news.pending(ids, horizon)), pa.string())
    rows = rows.filter(pc.invert(pc.is_in(rows.column("unique_id"), value_set=moved)))
    require_equal_rows(index, collection, rows)
    return {"ids equal": len(settled), "rows of a sample equal": rows.num_rows, "changed meanwhile": len(wanted.moving)}


def ids_of(index: Index, collection: str) -> pa.Array:
    """Return the ids of all rows of a collection."""
    return pa.array(list(chain.from_iterable(index.unique_ids(collection))), pa.string())


def require_equal_ids(collection: str, found: pa.Array, wanted: pa.Array, *, may_have: pa.Array) -> None:
    """Refuse a collection that lacks a row, or has one too much.

    Raises:
        IntegrityError: names the first ones.
    """
    lacks = wanted.filter(pc.invert(pc.is_in(wanted, value_set=found)))
    unknown = pc.or_(pc.is_in(found, value_set=wanted), pc.is_in(found, value_set=may_have))
    surplus = found.filter(pc.invert(unknown))
    problems = [
        f"{len(ids):,} {what}, such as {', '.join(ids.slice(0, _NAMED).to_pylist())}"
        for what, ids in (("rows are not there", lacks), ("are there too much", surplus))
        if len(ids)
    ]
    if len(found) != len(found.unique()):
        problems.append("an id is there twice")
    if problems:
        raise IntegrityError(
            f"{collection} is not what its source is: {'; '.join(problems)}",
            hint="searches do not see it; run it again with --afresh",
        )


def require_equal_rows(index: Index, collection: str, rows: pa.Table) -> None:
    """Refuse a collection in which rows are other than they should be.

    Raises:
        IntegrityError: names the first ones.
    """
    differing: dict[str, str] = {}
    for batch in rows.to_batches():
        differing |= index.differing(collection, batch)
    if differing:
        told = "; ".join(f"{uid}: {what}" for uid, what in list(differing.items())[:_NAMED])
        raise IntegrityError(
            f"{len(differing):,} of {rows.num_rows:,} rows of {collection} are other than they should be: {told}",
            hint="searches do not see it; run it again with --afresh",
        )
