"""News at one instant, month by month, for whoever publishes or proves it whole.

All is read in one REPEATABLE READ transaction: a row that moves from one month to another meanwhile is seen in exactly
one of them. It only reads, so it has no transaction id and holds no reader of the change feed back. So it may also wait
while its reader is busy elsewhere, as with fetching the dataset over a slow line before a first takeover.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import psycopg
import pyarrow as pa

from data_platform.errors import IntegrityError
from data_platform.managers.postgres.binary_read import read_query
from data_platform.managers.postgres.database import connect, translate_errors
from data_platform.managers.postgres.news_writer import rows_of
from data_platform.models.columns import COLUMN_NAMES, NORMAL_SCHEMA
from data_platform.models.digest import row_digests, sql_row_digest
from data_platform.queries import read_sql

__all__ = ["Absent", "MonthPrint", "MonthRows", "NewsSnapshot"]

_BATCH_ROWS = 1_250
_DIGEST = pa.field("row_digest", pa.string())
_ROWS_SCHEMA: pa.Schema = NORMAL_SCHEMA.append(_DIGEST)
_DIGESTS_SCHEMA: pa.Schema = pa.schema([NORMAL_SCHEMA.field("unique_id"), _DIGEST])
_IDS_SCHEMA: pa.Schema = pa.schema([NORMAL_SCHEMA.field("unique_id")])
_NO_EARLIER, _NO_LATER = datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 11, 1, tzinfo=UTC)
#: Rows that a message names.
_NAMED = 5


@dataclass(frozen=True)
class MonthRows:
    """Some rows of a month, in the order of its file.

    Attributes:
        rows: the 24 columns in the types of `NORMAL_SCHEMA`.
        digests: of each row, as PostgreSQL computed it and as the rows that came have it.
    """

    rows: pa.RecordBatch
    digests: Sequence[bytes]


@dataclass(frozen=True)
class MonthPrint:
    """What tells the rows of a month from what they were, as far as the change feed knows of their changes.

    Attributes:
        rows: how many there are.
        print: another one for other rows, or for rows that were changed since; means something on one server only.
    """

    rows: int
    print: str


@dataclass(frozen=True)
class Absent:
    """What PostgreSQL knows of ids that are not in news.

    Attributes:
        buried: deleted, or renamed away.
        rejected: with an open reject, and not buried.
        unknown: neither.
    """

    buried: frozenset[str]
    rejected: frozenset[str]
    unknown: frozenset[str]


class NewsSnapshot:
    """News as it was at the first question, for use in a `with` statement.

    Args:
        database_url: `postgresql://…`.
        purpose: shown to a DBA.
        statement_timeout_s: bound on a single statement in seconds, 0 for none.
    """

    def __init__(self, database_url: str, *, purpose: str, statement_timeout_s: int = 0) -> None:
        self._connection = connect(
            database_url, purpose=purpose, statement_timeout_s=statement_timeout_s, may_idle=True
        )
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._connection.read_only = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def months(self) -> dict[str, int]:
        """Return month (YYYY-MM) -> rows, in order.

        Raises:
            IntegrityError: rows that the published types cannot hold; names them.
        """
        self._require_expressible()
        return dict(self._ask("snapshot_months.sql"))

    def prints(self) -> dict[str, MonthPrint]:
        """Return month -> what tells its rows from what they were, in order.

        Raises:
            IntegrityError: rows that the published types cannot hold; names them.
        """
        self._require_expressible()
        return {month: MonthPrint(rows, found) for month, rows, found in self._ask("snapshot_prints.sql")}

    def lineage(self) -> str:
        """Return which server this is: transaction ids of another one, or of one put back, mean nothing here."""
        ((system, timeline, _),) = self._ask("feed_server.sql")
        return f"{system}/{timeline}"

    def day_counts(self, month: str) -> dict[tuple[date, str], int]:
        """Return (São Paulo day, agency) -> rows of a month."""
        first = date.fromisoformat(f"{month}-01")
        last = first.replace(day=monthrange(first.year, first.month)[1])
        return {(day, agency): rows for day, agency, rows in self._ask("snapshot_days.sql", first=first, last=last)}

    def null_counts(self, month: str) -> dict[str, int]:
        """Return column of the dataset -> its nulls in the rows of a month."""
        counts = "".join(f", count(*) - count(p.{name})" for name in COLUMN_NAMES)
        query = read_sql("snapshot_nulls.sql").replace("/*counts*/", counts)
        with translate_errors():
            row = self._connection.execute(query, _month_bounds(month)).fetchone()
        return dict(zip(COLUMN_NAMES, (row or (0,))[1:], strict=True))

    def rows(self, month: str) -> Iterator[MonthRows]:
        """Give the rows of a month, sorted by published_at, then by the bytes of unique_id.

        Raises:
            IntegrityError: a row arrived with other cells than PostgreSQL digested.
        """
        bound = _month_bounds(month)
        query = _with_digest("snapshot_rows.sql")
        with translate_errors():
            for batch in read_query(self._connection, query, bound, _ROWS_SCHEMA, batch_rows=_BATCH_ROWS):
                yield _checked(batch)

    def month_digests(self, month: str) -> Iterator[tuple[str, bytes]]:
        """Give unique_id and digest of the rows of a month, in no promised order."""
        query = _with_digest("snapshot_rows.sql").replace("p.*", "p.unique_id").partition("ORDER BY")[0]
        with translate_errors():
            bound = _month_bounds(month)
            for batch in read_query(self._connection, query, bound, _DIGESTS_SCHEMA, batch_rows=10_000):
                digests = map(bytes.fromhex, batch.column(_DIGEST.name).to_pylist())
                yield from zip(batch.column("unique_id").to_pylist(), digests, strict=True)

    def digests(self, unique_ids: pa.Array, *, leave_out: Collection[str] = ()) -> pa.Table:
        """Return unique_id and row_digest (hex), without some columns, of the rows with these ids that there are."""
        query = _with_digest("snapshot_digests.sql", leave_out)
        with translate_errors():
            bound = {"ids": unique_ids.to_pylist()}
            batches = read_query(self._connection, query, bound, _DIGESTS_SCHEMA, batch_rows=100_000)
            return pa.Table.from_batches(batches, _DIGESTS_SCHEMA)

    def rows_of(self, unique_ids: Sequence[str]) -> pa.Table:
        """Return the rows with these ids that there are, in the types of `NORMAL_SCHEMA`, in no promised order."""
        with translate_errors():
            return rows_of(self._connection, unique_ids)

    def unique_ids(self) -> pa.ChunkedArray:
        """Return the ids of all rows."""
        with translate_errors():
            query = "SELECT unique_id FROM news"
            batches = read_query(self._connection, query, None, _IDS_SCHEMA, batch_rows=100_000)
            return pa.Table.from_batches(batches, _IDS_SCHEMA).column(0)

    def absent(self, unique_ids: Sequence[str], extracted_at: Sequence[datetime | None] = ()) -> Absent:
        """Say what is known of ids that are not in news.

        Args:
            unique_ids: the ids.
            extracted_at: of the row that stands elsewhere under each, if known: no tombstone older than it is its own.
        """
        buried, rejected, unknown = set[str](), set[str](), set[str]()
        bound = {"ids": list(unique_ids), "extracted": list(extracted_at)}
        for uid, is_buried, is_rejected in self._ask("snapshot_absent.sql", **bound):
            (buried if is_buried else rejected if is_rejected else unknown).add(uid)
        return Absent(frozenset(buried), frozenset(rejected), frozenset(unknown))

    def pending(self, unique_ids: Sequence[str], position: int) -> frozenset[str]:
        """Say which ids were changed or buried by transactions from an id on."""
        if not unique_ids:
            return frozenset()
        bound = {"ids": list(unique_ids), "xid": str(position)}
        return frozenset(uid for (uid,) in self._ask("snapshot_pending.sql", **bound))

    def as_synced(self, unique_ids: Sequence[str], *, or_unmarked: bool) -> frozenset[str]:
        """Say which rows are, by their marks, as the dataset was last told; also those without a mark, if wanted."""
        bound = {"ids": list(unique_ids), "or_unmarked": or_unmarked}
        return frozenset(uid for (uid,) in self._ask("snapshot_as_synced.sql", **bound))

    def in_months(self, unique_ids: Sequence[str | None], months: Collection[str]) -> frozenset[str]:
        """Say which ids stand in one of some months (YYYY-MM)."""
        bound = {"ids": list(unique_ids), "months": list(months)}
        return frozenset(uid for (uid,) in self._ask("snapshot_in_months.sql", **bound))

    def settled_since(
        self, unique_ids: Sequence[str | None], payload_digests: Sequence[str], position: int
    ) -> list[int]:
        """Say which rows that were published without being in news lost their reason to be there since an id.

        Args:
            unique_ids: of each row, None where it has none.
            payload_digests: `judged.payload_digest` of each row.
            position: transactions from this id on settled a reject of it, or brought its article in.

        Returns:
            Their places, from 0.
        """
        bound = {"ids": list(unique_ids), "digests": list(payload_digests), "xid": position}
        return [number - 1 for (number,) in self._ask("snapshot_settled.sql", **bound)]

    def released(self, unique_ids: Sequence[str | None], payload_digests: Sequence[str]) -> list[int]:
        """Say which rows that were published without being in news have no reason to be any more.

        Args:
            unique_ids: of each row, None where it has none.
            payload_digests: `judged.payload_digest` of each row.

        Returns:
            Their places, from 0.
        """
        bound = {"ids": list(unique_ids), "digests": list(payload_digests)}
        return [number - 1 for (number,) in self._ask("snapshot_released.sql", **bound)]

    def _require_expressible(self) -> None:
        found = self._ask("snapshot_inexpressible.sql", most=_NAMED)
        if found:
            told = "; ".join(f"{uid}: {problem}" for uid, problem in found)
            raise IntegrityError(
                f"rows that the published dataset cannot express: {told}",
                hint="mend them in news; nothing was published, and the next sync takes all of them up",
            )

    def _ask(self, query: str, **bound: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401 - parameters of a query
        with translate_errors():
            return self._connection.execute(read_sql(query), bound).fetchall()


def _month_bounds(month: str) -> dict[str, Any]:
    """Return the month and two instants between which it lies, in whatever zone it is meant."""
    first = date.fromisoformat(f"{month}-01")
    begin = datetime(first.year, first.month, 1, tzinfo=UTC)
    until = begin + timedelta(days=33) if begin < _NO_LATER else "infinity"
    return {"month": month, "from": max(begin, _NO_EARLIER) - timedelta(days=2), "until": until}


def _with_digest(query: str, leave_out: Collection[str] = ()) -> str:
    return read_sql(query).replace("/*digest*/", sql_row_digest("p", leave_out=leave_out))


def _checked(batch: pa.RecordBatch) -> MonthRows:
    """Take the digests off, and refuse rows that are not what they say.

    Raises:
        IntegrityError: names the first such row.
    """
    rows, told = batch.select(COLUMN_NAMES), batch.column(_DIGEST.name).to_pylist()
    digests = row_digests(rows)
    wrong = [place for place, digest in enumerate(digests) if digest.hex() != told[place]]
    if wrong:
        raise IntegrityError(
            f"{rows.column('unique_id')[wrong[0]]} arrived with other cells than PostgreSQL has",
            hint="nothing was published; try again, and look at network and memory if it comes back",
        )
    return MonthRows(rows, digests)
