"""The sync as an operator sees it: what is published afterwards, and what it says of that."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from data_platform.jobs.hf_sync.sync_job import HuggingFaceSyncJob
from data_platform.managers.hub.layout import UNDATED
from data_platform.managers.postgres_manager import PostgresManager
from tests.support.hub import REDUCED, Hub, columns, published
from tests.support.sources import Row, articles, theme_codes
from tests.support.stores import Store

JOBS = Callable[..., HuggingFaceSyncJob]


def in_news(store: Store) -> list[Row]:
    """What should be published of PostgreSQL, in the order of ids."""
    return sorted((_plain(row) for row in store.published().values()), key=lambda row: row["unique_id"])


def on_the_hub(hub: Hub) -> list[Row]:
    """What is published, save what is held."""
    rows = [row for path, found in hub.rows().items() if path != UNDATED for row in found]
    return sorted(rows, key=lambda row: row["unique_id"])


def _plain(row: Row) -> Row:
    return published(row) | {"extracted_at": row["extracted_at"].replace(tzinfo=None) if row["extracted_at"] else None}


def in_step(hub: Hub) -> bool:
    """Whether the reduced dataset has the same rows."""
    names = ("published_at", "agency", "title", "url")
    main = {path: [{n: row[n] for n in names} for row in rows] for path, rows in hub.rows().items()}
    return main == hub.rows(REDUCED)


def update(news: PostgresManager, *rows: Row) -> None:
    news.update(pd.DataFrame(list(rows), dtype=object))


def test_the_first_sync_publishes_everything_and_the_next_only_what_changed(
    hub: Hub, store: Store, news: PostgresManager, make_job: JOBS
) -> None:
    rows = articles(12)
    news.insert(columns(rows))
    first = make_job().run()
    assert on_the_hub(hub) == in_news(store)
    assert in_step(hub)
    assert (first.rows, first.proven, first.marked) == (12, len(first.partitions), 12)
    assert first.reason == "no position yet"
    moved = rows[0]["published_at"].replace(year=2031)
    update(news, {"unique_id": rows[0]["unique_id"], "published_at": moved})
    update(news, {"unique_id": rows[1]["unique_id"], **theme_codes("01.01.01")})
    store.execute(f"DELETE FROM news WHERE unique_id = '{rows[2]['unique_id']}'")
    second = make_job().run()
    assert on_the_hub(hub) == in_news(store)
    assert in_step(hub)
    assert (second.changed_rows, second.tombstones, second.marked) == (2, 2, 2)
    assert second.reason == ""
    assert len(hub.commits()) == len(hub.commits(REDUCED)) == 3
    third = make_job().run()
    assert (third.partitions, third.committed, third.commit) == ({}, False, second.commit)
    assert len(hub.commits()) == len(hub.commits(REDUCED)) == 3
    assert make_job().lag().rows == 0
    assert make_job().verify().passed
