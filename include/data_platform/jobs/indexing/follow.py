"""One collection follows PostgreSQL by the change feed: deletions first, then the rows that changed, page by page.

After each page the position is stored, so a run that is killed repeats a page at most. Documents that the service
refuses do not hold the feed up: they are noted on the collection's card, before the position moves past them, and are
tried again first thing in the next run.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from data_platform.errors import IntegrityError
from data_platform.failpoints import failpoint
from data_platform.jobs.indexing.ahead import ahead
from data_platform.jobs.indexing.records import MOST_PENDING, POSTGRES, ReindexOptions, named
from data_platform.jobs.progress import Progress
from data_platform.managers.postgres.change_feed import ChangeFeed, Window
from data_platform.managers.postgres.news_snapshot import NewsSnapshot
from data_platform.managers.search_index import Card, Index, consumer_of

__all__ = ["PENDING", "Follower", "Tally", "pending_of", "with_pending"]

_LOG = logging.getLogger(__name__)
#: The fact of a card that names documents that were refused: a JSON object, unique_id -> reason.
PENDING = "job_pending"
#: A collection may lose this many documents, or this share of them, without anybody being asked.
_FEW, _SHARE = 100, 0.1


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
    """

    def __init__(self, index: Index, database_url: str, options: ReindexOptions, progress: Progress) -> None:
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
            self._try_again(collection)
            self._delete(collection, feed, window)
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
        for tombstones in feed.deletions(window):
            gone = tombstones.filter(pc.invert(tombstones.column("exists_now"))).column("unique_id")
            if len(gone):
                unique_ids = gone.unique().to_pylist()
                self.tally.deleted += self._index.delete(collection, unique_ids)
                for uid in unique_ids:
                    self.tally.failed.pop(uid, None)

    def _write(self, collection: str, card: Card, feed: ChangeFeed, pages: ChangeFeed, window: Window) -> Card:
        """Write the rows that changed; the position follows each page."""
        self._progress.stage("write", 0)
        reading = ahead(pages.changes(window, self._options.batch_rows))
        try:
            for page in reading:
                self._take(collection, page.rows)
                failpoint("reindex.after_page")
                card = self._keep_pending(collection, card)
                feed.store(window, through=page.last)
                failpoint("reindex.after_place")
                self._progress.advance(page.rows.num_rows)
        finally:
            reading.close()
        return card

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
        # Read first: what is inserted meanwhile is in PostgreSQL then, and not among these.
        there = list(chain.from_iterable(self._index.unique_ids(collection)))
        with NewsSnapshot(self._url, purpose="reindex sweep") as news:
            kept = set(_texts(news.unique_ids().chunks))
        gone = [uid for uid in there if uid not in kept]
        if len(gone) > max(_FEW, _SHARE * len(there)) and not self._options.allow_shrink:
            raise IntegrityError(
                f"{len(gone):,} of the {len(there):,} documents of {collection} are not in PostgreSQL",
                hint="is this the right database, and is it whole? if they shall go: --allow-shrink",
            )
        self.tally.deleted += self._index.delete(collection, gone) if gone else 0


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
