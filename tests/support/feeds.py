"""Writers that change news, and a reader that keeps a copy of it by the change feed's contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

import psycopg
from psycopg.rows import dict_row

from data_platform.managers.postgres.change_feed import ChangeFeed, Window
from data_platform.managers.postgres.feed_position import BEGINNING

__all__ = ["Crash", "Mirror", "Writer", "published"]

Row = dict[str, Any]


class Crash(Exception):  # noqa: N818 - no error of anything
    """Ends a reader at a place that the test chose."""


@dataclass
class Writer:
    """Changes rows of news; in which transaction is its connection's matter."""

    connection: psycopg.Connection[Any]

    def do(self, query: str, *bound: Any) -> int:
        return self.connection.execute(query.encode(), bound).rowcount

    def add(self, *unique_ids: str, title: str = "t", published_at: str = "2024-05-10 12:00Z") -> int:
        return self.do(
            "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, title, url, content, tags)"
            " SELECT u, id, key, name, %s::timestamptz, %s, 'https://x.br/' || u, repeat(u, 40), ARRAY[u, 'ação']"
            " FROM agencies, unnest(%s::text[]) u WHERE key = 'mec'",
            published_at,
            title,
            list(unique_ids),
        )

    def retitle(self, *unique_ids: str, title: str) -> int:
        return self.do("UPDATE news SET title = %s WHERE unique_id = ANY (%s)", title, list(unique_ids))

    def move(self, unique_id: str, published_at: str) -> int:
        return self.do("UPDATE news SET published_at = %s::timestamptz WHERE unique_id = %s", published_at, unique_id)

    def rename(self, unique_id: str, new: str) -> int:
        return self.do("UPDATE news SET unique_id = %s WHERE unique_id = %s", new, unique_id)

    def delete(self, *unique_ids: str) -> int:
        return self.do("DELETE FROM news WHERE unique_id = ANY (%s)", list(unique_ids))

    def clear(self) -> None:
        """Leave nothing of an earlier test."""
        for table in ("news", "news_tombstones", "consumer_positions", "hf_sync_marks"):
            self.do(f"DELETE FROM {table}")


def published(connection: psycopg.Connection[Any]) -> dict[str, Row]:
    """Return what the world sees of each row, by another way than the feed reads it."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute("SELECT * FROM news_published").fetchall()
    for row in rows:
        if row["extracted_at"] is not None:
            row["extracted_at"] = row["extracted_at"].replace(tzinfo=UTC)
    return {row["unique_id"]: row for row in rows}


@dataclass
class Mirror:
    """A copy of news outside, with the stamp that was written on it.

    Attributes:
        rows: the copy.
        stamp: what stands on it; "" for nothing.
        seen: every (unique_id, change_xid) that the feed gave.
        buried: every id that the feed gave a tombstone of.
        reasons: of the windows that were resyncs, one after the other.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    stamp: str = ""
    seen: set[tuple[str, int]] = field(default_factory=set)
    buried: set[str] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)

    def follow(
        self, feed: ChangeFeed, *, batch_rows: int = 1000, crash_at: int | None = None, step: bool = False
    ) -> int:
        """Take one window; return how many rows it gave.

        Args:
            feed: the reader's feed.
            batch_rows: rows of a page.
            crash_at: number of the place at which to raise Crash: before anything, after the deletions, after each
                page, after the stamp was written outside, in this order.
            step: store the place after each page.
        """
        steps = self._steps(feed, batch_rows, step=step)
        count = 0
        for number, count in enumerate(steps):  # noqa: B007 - the last count is the answer
            if number == crash_at:
                raise Crash(number)
        return count

    def _steps(self, feed: ChangeFeed, batch_rows: int, *, step: bool) -> Iterator[int]:
        window = feed.open_window(outside_stamp=self.stamp)
        if window.resync_reason is not None:
            self.reasons.append(window.resync_reason)
            if window.start == BEGINNING:
                self.rows = {}
        yield 0
        self.bury(feed, window, batch_rows)
        yield 0
        count = 0
        for page in feed.changes(window, batch_rows):
            count += len(page.rows)
            self.apply(page.rows.to_pylist(), page.change_xids.to_pylist())
            if step:
                feed.store(window, through=page.last)
            yield count
        self.stamp = feed.announce(window)
        yield count
        feed.store(window, outside_stamp=self.stamp)
        yield count

    def bury(self, feed: ChangeFeed, window: Window, batch_rows: int = 1000) -> None:
        for batch in feed.deletions(window, batch_rows=batch_rows):
            for stone in batch.to_pylist():
                self.buried.add(stone["unique_id"])
                if not stone["exists_now"]:
                    self.rows.pop(stone["unique_id"], None)

    def apply(self, rows: Iterable[Row], xids: Iterable[int]) -> None:
        for row, xid in zip(rows, xids, strict=True):
            self.rows[row["unique_id"]] = row
            self.seen.add((row["unique_id"], xid))
