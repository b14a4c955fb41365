"""One collection follows PostgreSQL by the change feed: deletions first, then the rows that changed, page by page.

After each page the position is stored, so a run that is killed repeats a page at most. Documents that the service
refuses do not hold the feed up: they are noted on the collection's card, before the position moves past them, and are
tried again first thing in the next run.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import Connection

from data_platform.errors import BusyError, IntegrityError
from data_platform.failpoints import failpoint
from data_platform.jobs.ahead import ahead
from data_platform.jobs.indexing.records import MOST_PENDING, POSTGRES, ReindexOptions, named
from data_platform.jobs.progress import Progress
from data_platform.managers.postgres.change_feed import PAGE_ROWS, ChangeFeed, Window
from data_platform.managers.postgres.database import translate_errors
from data_platform.managers.postgres.news_snapshot import NewsSnapshot
from data_platform.managers.search_index import Card, Index, consumer_of

__all__ = ["PENDING", "Follower", "Tally", "pending_of", "with_pending"]

_LOG = logging.getLogger(__name__)
#: The fact of a card that names documents that were refused: a JSON object, unique_id -> reason.
PENDING = "job_pending"
#: A collection may lose this many documents, or this share of them, without anybody being asked.
_FEW, _SHARE = 100, 0.1
#: But never all of them, if they are some.
_SOME = 10


@dataclass
class Tally:
    """What a run did so far; added up over all it followed.

    Attributes:
        rows: read from the source.
        written: documents taken, as the service says.
        deleted: documents taken away, as the service says.
        failed: unique_id -> why the service refused it, of those that are still refused.
        reason: why everything was read anew; "" if it was not.
        horizon: up to where the feed was followed.
        stamp: the same in the feed's form.
    """

    rows: int = 0
    written: int = 0
    deleted: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    horizon: int = 0
    stamp: str = ""


class Follower:
    """Brings collections up to PostgreSQL.

    Args:
        index: which index.
        database_url: `postgresql://…`.
        options: size of a page, and what may be lost.
        progress: told how it gets on.
        lock: in autocommit mode; holds the lock of the run.
    """

    def __init__(
        self, index: Index, database_url: str, options: ReindexOptions, progress: Progress, *, lock: Connection[Any]
    ) -> None:
        self._lock = lock
        self._index = index
        self._url = database_url
        self._options = options
        self._progress = progress
        self.tally = Tally()

    def follow(self, collection: str, card: Card, *, is_empty: bool = False) -> Card:
        """Take one window of the feed into a collection, to its end.

        Args:
            collection: which.
            card: what it says of itself.
            is_empty: whether it was made just now: then nothing in it can be too much.

        Returns:
            The card as it is now.

        Raises:
            IntegrityError: so many documents are refused, or would go, that something is wrong.
            BusyError: another run reads for this collection.
            StoreError, StoreUnavailableError: PostgreSQL or the service refuses, or does not answer.
        """
        consumer = consumer_of(self._index, collection)
        self.tally.failed = pending_of(card)
        with ChangeFeed(self._url, consumer=consumer) as feed, ChangeFeed(self._url, consumer=consumer) as pages:
            window = feed.open_window(outside_stamp=card.stamp)
            failpoint("reindex.after_window")
            self._note(collection, window)
            if window.resync_reason is not None and not (is_empty or window.is_resumed_resync):
                self._surplus(collection)  # before anything is written: it may be the wrong database
            self._delete(collection, feed, window)
            self._try_again(collection)
            card = self._keep_pending(collection, card)
            failpoint("reindex.after_deletions")
            card = self._write(collection, card, feed, pages, window)
            if window.resync_reason is not None and not is_empty:
                self._sweep(collection)
                failpoint("reindex.after_sweep")
            stamp = feed.announce(window)
            failpoint("reindex.after_announce")
            card = replace(card, source=POSTGRES, stamp=stamp)
            self._index.set_card(collection, card)
            failpoint("reindex.after_stamp")
            feed.store(window, outside_stamp=stamp)
            failpoint("reindex.after_follow")
        self.tally.stamp = stamp
        return card

    def require_few_failed(self) -> None:
        """Fail the run for the documents that the service refused, now that everything else is done.

        Raises:
            IntegrityError: they are more than the options allow; names them.
        """
        failed = self.tally.failed
        if len(failed) > self._options.max_failed:
            raise IntegrityError(
                f"{len(failed):,} documents were refused: {named(failed)}",
                hint="everything else is indexed; mend their rows, or the schema: the next run tries them again",
            )

    # ------------------------------------------------------------------------------------------------

    def _note(self, collection: str, window: Window) -> None:
        self.tally.horizon = window.horizon
        if window.resync_reason is not None:
            self.tally.reason = window.resync_reason
            again = "goes on with reading everything" if window.is_resumed_resync else "reads everything"
            self._progress.note(f"{collection} {again}: {window.resync_reason}")

    def _try_again(self, collection: str) -> None:
        """Write the documents anew that were refused before; rows that are gone need it no more."""
        if not self.tally.failed:
            return
        with NewsSnapshot(self._url, purpose="reindex pending") as news:
            rows = news.rows_of(sorted(self.tally.failed))
        there = set(rows.column("unique_id").to_pylist())
        self.tally.failed = {uid: reason for uid, reason in self.tally.failed.items() if uid in there}
        for batch in rows.to_batches():
            self._take(collection, batch)

    def _delete(self, collection: str, feed: ChangeFeed, window: Window) -> None:
        gone: set[str] = set()
        for tombstones in feed.deletions(window):
            gone.update(tombstones.filter(pc.invert(tombstones.column("exists_now"))).column("unique_id").to_pylist())
        if len(gone) > _FEW:
            there = self._ids(collection)
            self._require_few_gone(collection, len(gone.intersection(there)), len(there))
        ids = sorted(gone)
        for first in range(0, len(ids), PAGE_ROWS):
            self._require_alone()
            self._take_away(collection, ids[first : first + PAGE_ROWS])

    def _take_away(self, collection: str, unique_ids: Sequence[str]) -> None:
        self.tally.deleted += self._index.delete(collection, unique_ids) if unique_ids else 0
        for uid in unique_ids:
            self.tally.failed.pop(uid, None)

    def _write(self, collection: str, card: Card, feed: ChangeFeed, pages: ChangeFeed, window: Window) -> Card:
        """Write the rows that changed; the position follows each page."""
        self._progress.stage("write", 0)
        reading = ahead(pages.changes(window, self._options.batch_rows))
        try:
            for page in reading:
                self._require_alone()
                self._take(collection, page.rows)
                failpoint("reindex.after_page")
                card = self._keep_pending(collection, card)
                try:
                    feed.store(window, through=page.last)
                except BusyError:
                    self._make_good(collection, page.rows.column("unique_id").to_pylist())
                    raise
                failpoint("reindex.after_place")
                self._progress.advance(page.rows.num_rows)
        finally:
            reading.close()
        return card

    def _require_alone(self) -> None:
        """Stop before the next write if the connection that holds the lock is gone: another run may be at work."""
        with translate_errors():
            self._lock.execute("SELECT")

    def _make_good(self, collection: str, unique_ids: Sequence[str]) -> None:
        """Write rows as they are now: another run went past them while an older form was on its way."""
        with NewsSnapshot(self._url, purpose="reindex repeated") as news:
            rows = news.rows_of(sorted(unique_ids))
        for batch in rows.to_batches():
            self._take(collection, batch)
        self._take_away(collection, sorted(set(unique_ids).difference(rows.column("unique_id").to_pylist())))

    def _take(self, collection: str, rows: pa.RecordBatch) -> None:
        done = self._index.write(collection, rows)
        self.tally.rows += rows.num_rows
        self.tally.written += done.written
        if self.tally.failed or done.failed:
            for uid in rows.column("unique_id").to_pylist():
                self.tally.failed.pop(uid, None)
            self.tally.failed |= {one.unique_id: one.reason for one in done.failed}
        if len(self.tally.failed) > MOST_PENDING:
            raise IntegrityError(
                f"more than {MOST_PENDING:,} documents were refused: {named(self.tally.failed)}",
                hint="the position stays before them; find out what is wrong with the index, and run it again",
            )

    def _keep_pending(self, collection: str, card: Card) -> Card:
        """Note on the card what was refused, if that is something else than it says."""
        if pending_of(card) == self.tally.failed:
            return card
        if self.tally.failed:
            _LOG.warning("%s: refused, and noted on its card: %s", collection, named(self.tally.failed))
        card = with_pending(card, self.tally.failed)
        self._index.set_card(collection, card)
        return card

    def _sweep(self, collection: str) -> None:
        """Take away the documents that PostgreSQL does not have; everything that it has was written before."""
        self._progress.stage("sweep", 0)
        gone = self._surplus(collection)
        self._require_alone()
        self._take_away(collection, gone)

    def _surplus(self, collection: str) -> list[str]:
        """Return the ids of the documents that PostgreSQL does not have.

        Raises:
            IntegrityError: they are so many that something is wrong.
        """
        # Read first: what is inserted meanwhile is in PostgreSQL then, and not among these.
        there = self._ids(collection)
        with NewsSnapshot(self._url, purpose="reindex sweep") as news:
            kept = set(_texts(news.unique_ids().chunks))
        gone = [uid for uid in there if uid not in kept]
        self._require_few_gone(collection, len(gone), len(there))
        return gone

    def _ids(self, collection: str) -> list[str]:
        return list(chain.from_iterable(self._index.unique_ids(collection)))

    def _require_few_gone(self, collection: str, gone: int, there: int) -> None:
        is_much = gone > max(_FEW, _SHARE * there) or gone == there >= _SOME
        if is_much and not self._options.allow_shrink:
            raise IntegrityError(
                f"{gone:,} of the {there:,} documents of {collection} are not in PostgreSQL",
                hint="is this the right database, and is it whole? if they shall go: --allow-shrink; should they only"
                " have got other ids, --full, which searches do not notice",
            )


def pending_of(card: Card) -> dict[str, str]:
    """Return unique_id -> reason of the documents that a collection's card says were refused."""
    found: dict[str, str] = json.loads(card.facts.get(PENDING, "{}"))
    return found


def with_pending(card: Card, failed: Mapping[str, str]) -> Card:
    """Return a card that names the documents that were refused, and no others."""
    facts = {name: value for name, value in card.facts.items() if name != PENDING}
    if failed:
        facts[PENDING] = json.dumps(dict(failed), ensure_ascii=False)
    return replace(card, facts=facts)


def _texts(chunks: Iterable[pa.Array]) -> Iterator[str]:
    for chunk in chunks:
        yield from chunk.to_pylist()
