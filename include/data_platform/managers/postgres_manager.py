"""News in PostgreSQL, behind the interface of the old DatasetManager.

Each call is one transaction: it is done whole or not at all, and is tried again where that is safe (`transactions`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import Connection

from data_platform.managers.interface import WriteOutcome
from data_platform.managers.postgres import news_writer
from data_platform.managers.postgres.binary_read import read_query
from data_platform.managers.postgres.news_table import Catalogue
from data_platform.managers.postgres.rejects import discard_rejects, settle_rejects, store_rejects
from data_platform.managers.postgres.sync_marks import hand_out, mark_synced
from data_platform.managers.postgres.transactions import Transactions
from data_platform.managers.write_rules import complete, ids_to_delete, last_of_each, left_alone, plan_insert, renamed
from data_platform.models.columns import COLUMN_NAMES, NORMAL_SCHEMA, THEME_COLUMNS
from data_platform.models.days import Days
from data_platform.models.publication import published_frame, published_rows
from data_platform.models.theme_cells import overlay_themes
from data_platform.models.urls import canonical_urls
from data_platform.settings import Settings
from data_platform.sources.given import batch_of_columns, batch_of_frame
from data_platform.sources.judged import judge

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PostgresManager"]

_LOG = logging.getLogger(__name__)
_FETCH_ROWS = 8192
_CATALOGUE_VERSION = """
    SELECT (SELECT (count(*), sum(hashtextextended(a::text, 0)))::text FROM agencies a)
        || (SELECT (count(*), sum(hashtextextended(t::text, 0)))::text FROM themes t)
"""


class PostgresManager:
    """Reads and writes news in PostgreSQL. Safe to share between threads; make one in each process.

    Args:
        database_url: the database; None takes that of the settings.
        settings: None reads the environment.
        pool_size: most connections at once.

    Raises:
        ConfigurationError: no database is set, or its address cannot be read.
    """

    def __init__(
        self, database_url: str | None = None, *, settings: Settings | None = None, pool_size: int = 4
    ) -> None:
        chosen = (settings or Settings.from_environment()).with_database(database_url)
        self._transactions = Transactions(
            chosen.require_database(),
            purpose="PostgresManager",
            statement_timeout_s=chosen.statement_timeout_s,
            pool_size=pool_size,
        )
        self._catalogue: tuple[str, Catalogue] | None = None

    def close(self) -> None:
        """Close the connections."""
        self._transactions.close()

    # ------------------------------------------------------------------------------------------ writing

    def insert(self, new_data: Mapping[str, Sequence[Any]], allow_update: bool = False) -> int:  # noqa: FBT001, FBT002 - the old interface
        """Insert rows; return how many the database inserted or, with `allow_update`, really changed.

        Args:
            new_data: column of the dataset -> one value a row; unique_id, agency, published_at and title are needed.
            allow_update: whether the scraper's columns of articles that are there follow these rows.

        Raises:
            ValueError: a column is unknown, missing or of another length; names it.
            StoreUnavailableError, BusyError: worth trying again.
            StoreError: PostgreSQL refuses.
        """
        return self.insert_rows(new_data, allow_update=allow_update).affected

    def insert_rows(self, new_data: Mapping[str, Sequence[Any]], *, allow_update: bool = False) -> WriteOutcome:
        """Insert rows and tell what became of each; see `insert`."""
        given = batch_of_columns(new_data)
        if not given.batch.num_rows:
            return WriteOutcome()

        def work(connection: Connection[Any]) -> WriteOutcome:
            news_writer.ready_to_write(connection)
            catalogue = self._read_catalogue(connection)
            read = judge("insert", given, catalogue.themes)
            rejects = read.rejects()
            rows = read.cleaned.batch.filter(read.admitted)
            leave = {name: mask.filter(read.admitted) for name, mask in left_alone(read.cleaned).items()}
            found = news_writer.find(connection, rows, to_write=allow_update)
            plan = plan_insert(rows, found, allow_update=allow_update)
            ids = rows.column("unique_id").to_pylist()
            new = {ids[first]: first for first, _ in plan.new}
            inserted, stubs = 0, list[str]()
            if new:
                fresh = complete(rows if len(new) == rows.num_rows else rows.take(pa.array(new.values(), pa.int64())))
                catalogue, stubs = self._with_agencies(connection, catalogue, fresh)
                inserted = news_writer.insert_new(connection, fresh, catalogue)
                settle_rejects(connection, new, articles=_articles(fresh))
            updated: list[str] = []
            if allow_update:
                # A new article comes with the row that makes it; the row that wins may lead it to another's address.
                later = [(ids[first], wins) for first, wins in plan.new if wins != first]
                scraped = _scraped(rows, leave, [*plan.known, *later])
                changed = news_writer.update_scraped(connection, *scraped, catalogue)
                updated = [uid for uid in changed if uid not in new]
            return WriteOutcome(
                given=given.batch.num_rows,
                inserted=inserted,
                updated=len(updated),
                unchanged=len(plan.known) - len(updated),
                duplicates=plan.duplicates,
                rejected=store_rejects(connection, rejects, origin="insert", run_id=None),
                rejected_by_reason=Counter(reject.reason for reject in rejects),
                ids=plan.ids,
                written=[*new, *updated],
                cleanings=read.cleaned.counts(read.admitted),
                new_agencies=stubs,
            ).checked("PostgreSQL")

        return _told("insert", self._transactions.run(work))

    def update(self, updated_df: pd.DataFrame) -> int:
        """Update rows by unique_id; return how many really changed.

        Args:
            updated_df: unique_id (column or index) and the columns to write, named as in the dataset. A null is
                written, an absent column stays as it is. What follows from a given theme code (label, first-level
                text, most specific theme) and is not given is made from the tree.

        Raises:
            ValueError: a column is unknown, there twice, or unique_id is missing; names it.
            StoreUnavailableError, BusyError: worth trying again.
            StoreError: PostgreSQL refuses.
        """
        return self.update_rows(updated_df).affected

    def update_rows(self, updated_df: pd.DataFrame) -> WriteOutcome:
        """Update rows and tell what became of each; see `update`."""
        given = batch_of_frame(updated_df)
        if not given.batch.num_rows:
            return WriteOutcome()

        def work(connection: Connection[Any]) -> WriteOutcome:
            news_writer.ready_to_write(connection)
            catalogue = self._read_catalogue(connection)
            read = judge("update", given, catalogue.themes if _all_themes(given.batch) else None).refuse_unreadable()
            there = pa.array(
                sorted(news_writer.hold(connection, read.cleaned.batch.filter(read.admitted))), pa.string()
            )
            known = pc.is_in(read.cleaned.batch.column("unique_id"), value_set=there)
            read = read.refuse(pc.invert(known), "unique_id", "unknown")
            rejects = read.rejects()
            admitted = read.cleaned.batch.filter(read.admitted)
            rows = last_of_each(admitted)
            catalogue, stubs = self._with_agencies(connection, catalogue, rows)
            rows = _with_whole_themes(connection, rows, catalogue)
            updated = news_writer.update_cells(connection, rows, catalogue)
            return WriteOutcome(
                given=given.batch.num_rows,
                updated=len(updated),
                unchanged=rows.num_rows - len(updated),
                duplicates=admitted.num_rows - rows.num_rows,
                rejected=store_rejects(connection, rejects, origin="update", run_id=None),
                rejected_by_reason=Counter(reject.reason for reject in rejects),
                written=updated,
                cleanings=read.cleaned.counts(read.admitted),
                new_agencies=stubs,
            ).checked("PostgreSQL")

        return _told("update", self._transactions.run(work))

    def delete_rows(self, unique_ids: Sequence[str], *, reason: str) -> WriteOutcome:
        """Delete rows, all or none; each leaves a tombstone, by which the readers of the change feed follow.

        Open rejects of these ids are discarded with them. So an article also goes that was never in news: as long as a
        reject of it is open, the open dataset holds its row and the sync keeps publishing it.

        Args:
            unique_ids: which; an id that is neither there nor rejected is counted as unchanged.
            reason: why, for the log and the rejects; whoever calls records it where it lasts.

        Raises:
            ValueError: there is an id that is none, or no reason.
            StoreUnavailableError, BusyError: worth trying again.
            StoreError: PostgreSQL refuses.
        """
        ids = ids_to_delete(unique_ids, reason)
        if not ids:
            return WriteOutcome()

        def work(connection: Connection[Any]) -> WriteOutcome:
            news_writer.ready_to_write(connection)
            gone = news_writer.delete(connection, ids)
            discarded = discard_rejects(connection, unique_ids=ids, why=f"discarded by a deletion: {reason.strip()}")
            held = {reject.unique_id for reject in discarded}
            gone += [uid for uid in ids if uid in held and uid not in gone]
            left = len(ids) - len(gone)
            return WriteOutcome(given=len(ids), deleted=len(gone), unchanged=left, written=gone).checked("PostgreSQL")

        return _told(f"delete ({reason})", self._transactions.run(work))

    # ------------------------------------------------------------------------------------------ reading

    def get(self, min_date: str, max_date: str, agency: str | None = None) -> pd.DataFrame:
        """Return the rows published on São Paulo days from min_date to max_date, both included.

        Args:
            min_date: first day, YYYY-MM-DD.
            max_date: last day, YYYY-MM-DD.
            agency: key of an agency; None means all.

        Returns:
            The 24 columns of the dataset in its types (`published_frame`), in order of published_at and unique_id.

        Raises:
            ValueError: a date is none.
        """
        days = Days.of(min_date, max_date)
        query = (
            f"SELECT {', '.join(COLUMN_NAMES)} FROM news_published"  # noqa: S608 - names of ours
            " WHERE published_at >= %(start)s AND published_at < %(end)s"
            + (" AND agency = %(agency)s" if agency is not None else "")
        )
        params = {"start": days.start, "end": days.end or "infinity", "agency": agency}

        def work(connection: Connection[Any]) -> pa.Table:
            batches = read_query(connection, query, params, NORMAL_SCHEMA, batch_rows=_FETCH_ROWS)
            return pa.Table.from_batches(batches, NORMAL_SCHEMA)

        return published_frame(self._transactions.run(work))

    def get_by_unique_id(self, unique_id: str) -> dict[str, Any] | None:
        """Return a row as the dataset has it, with created_at and updated_at; None if there is none."""

        def work(connection: Connection[Any]) -> dict[str, Any] | None:
            found = news_writer.rows_of(connection, [unique_id]).to_batches()
            times = connection.execute(
                "SELECT created_at, updated_at FROM news WHERE unique_id = %s", (unique_id,)
            ).fetchone()
            if not found or times is None:
                return None
            row: dict[str, Any] = published_rows(found[0]).to_pylist()[0]
            extracted = row["extracted_at"]
            plain = extracted.to_pydatetime() if hasattr(extracted, "to_pydatetime") else extracted
            return row | {"extracted_at": plain, "created_at": times[0], "updated_at": times[1]}

        return self._transactions.run(work)

    def get_by_unique_ids(self, unique_ids: Sequence[str]) -> pa.Table:
        """Return the rows with these ids that there are, in the types of `NORMAL_SCHEMA`, in no promised order."""
        return self._transactions.run(lambda connection: news_writer.rows_of(connection, unique_ids))

    def resolve_ids(self, new_data: Mapping[str, Sequence[Any]]) -> dict[str, str]:
        """Return which articles of a batch are here under another id: id given -> id here."""
        given = batch_of_columns(new_data)
        if not given.batch.num_rows:
            return {}
        read = judge("insert", given, None)
        rows = read.cleaned.batch.filter(read.admitted)
        found = self._transactions.run(lambda connection: news_writer.find(connection, rows))
        return dict(plan_insert(rows, found, allow_update=False).ids)

    # ------------------------------------------------------------------------------- the open dataset

    def get_records_for_hf_sync(self, since: datetime | None = None) -> pd.DataFrame:
        """Return the rows that the open dataset does not have yet as they are now, and remember what was handed out.

        Args:
            since: only rows changed since then, with a zone; it narrows and marks nothing as done.

        Raises:
            ValueError: `since` has no zone.
        """
        work = lambda connection: list(hand_out(connection, since=since, batch_rows=None))  # noqa: E731
        return published_frame(pa.Table.from_batches(self._transactions.run(work), NORMAL_SCHEMA))

    def iterate_records_for_hf_sync(
        self, *, batch_rows: int, since: datetime | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Give what `get_records_for_hf_sync` returns in batches of `NORMAL_SCHEMA`, each handed out by itself."""
        with self._transactions.autocommit() as connection:
            yield from hand_out(connection, since=since, batch_rows=batch_rows)

    def mark_as_synced_to_hf(self, unique_ids: list[str]) -> None:
        """Note that rows are in the open dataset as they were handed out.

        An id that was never handed out stays pending, and so does a row that was changed since: the mark holds for the
        version that was handed out, whichever process did that.
        """
        marked = self._transactions.run(lambda connection: mark_synced(connection, unique_ids))
        _LOG.info("marked %s of %d rows as synced", marked, len(unique_ids))

    # ---------------------------------------------------------------------------------------- helpers

    def _read_catalogue(self, connection: Connection[Any]) -> Catalogue:
        """Return agencies and themes, read anew only if somebody changed them."""
        row = connection.execute(_CATALOGUE_VERSION).fetchone()
        version = row[0] if row else ""
        kept = self._catalogue  # another thread may put another one there at any moment
        if kept is None or kept[0] != version:
            kept = self._catalogue = (version, Catalogue.read(connection))
        return kept[1]

    def _with_agencies(
        self, connection: Connection[Any], catalogue: Catalogue, rows: pa.RecordBatch
    ) -> tuple[Catalogue, list[str]]:
        """Return the catalogue with an entry for every agency of the rows, and the agencies that were new."""
        if "agency" not in rows.schema.names:
            return catalogue, []
        unknown = pc.is_in(rows.column("agency"), value_set=catalogue.agency_keys)
        missing = pc.unique(rows.column("agency").filter(pc.invert(unknown))).to_pylist()
        if not missing:
            return catalogue, []
        stubs = news_writer.make_stubs(connection, missing)
        _LOG.warning("agencies that nobody had listed: %s", ", ".join(missing))
        return Catalogue.read(connection), stubs


def _told(what: str, outcome: WriteOutcome) -> WriteOutcome:
    _LOG.info("PostgreSQL %s: %s", what, outcome.counts)
    if outcome.rejected:
        _LOG.warning(
            "%d rows cannot be stored and are kept among the rejects: %s",
            outcome.rejected,
            dict(outcome.rejected_by_reason),
        )
    return outcome


def _scraped(
    rows: pa.RecordBatch, leave: Mapping[str, pa.Array], known: Sequence[tuple[str, int]]
) -> tuple[pa.RecordBatch, dict[str, pa.Array]]:
    """Return the rows that articles follow, under the articles' ids, and their cells that could not be got."""
    at = pa.array([row for _, row in known], pa.int64())
    named = renamed(rows.take(at), [uid for uid, _ in known])
    return named, {name: mask.take(at) for name, mask in leave.items()}


def _articles(rows: pa.RecordBatch) -> list[tuple[str, str]]:
    """Return agency and canonical address of the rows that have one."""
    pairs = zip(rows.column("agency").to_pylist(), canonical_urls(rows.column("url")).to_pylist(), strict=True)
    return [(agency, url) for agency, url in pairs if url is not None]


def _all_themes(rows: pa.RecordBatch) -> bool:
    return set(THEME_COLUMNS) <= set(rows.schema.names)


def _with_whole_themes(connection: Connection[Any], rows: pa.RecordBatch, catalogue: Catalogue) -> pa.RecordBatch:
    """Return rows with all nine theme cells if they have any: the others as the table has them, or as follows."""
    given = set(THEME_COLUMNS) & set(rows.schema.names)
    if not given or len(given) == len(THEME_COLUMNS) or not rows.num_rows:
        return rows
    old = news_writer.rows_of(connection, rows.column("unique_id").to_pylist(), names=("unique_id", *THEME_COLUMNS))
    at = pc.index_in(rows.column("unique_id"), value_set=old.column("unique_id").combine_chunks())
    before = old.take(at).combine_chunks().to_batches()[0]
    cells = dict(zip(THEME_COLUMNS, overlay_themes(before, rows, catalogue.themes), strict=True))
    others = {name: rows.column(name) for name in rows.schema.names if name not in given}
    arrays = others | cells
    schema = pa.schema([NORMAL_SCHEMA.field(name) for name in arrays])
    return pa.RecordBatch.from_arrays(list(arrays.values()), schema=schema)
