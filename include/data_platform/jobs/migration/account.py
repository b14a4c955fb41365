"""The account of a run: every row that was read is somewhere, or the run fails.

read = loaded + updated + already there + duplicate + rejected, from counts that the database made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from psycopg import Connection

from data_platform.errors import IntegrityError
from data_platform.failpoints import failpoint
from data_platform.jobs.migration.merge import settle_primaries
from data_platform.jobs.migration.records import BULK, Run, Segment, read_segments, to_json
from data_platform.queries import read_sql

__all__ = ["Account", "close_account"]

_COUNTED = ("read", "loaded", "updated", "already_present", "duplicates", "rejected")
_MOST_SAMPLES = 50


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where each row went.

    Attributes:
        read: rows read from the source.
        loaded: rows this run added.
        updated: rows that were there and really changed.
        already_present: rows that were there and did not change.
        duplicates: rows whose id another row of the source has, and wins.
        rejected: rows that cannot be stored.
        kept_newer: of already_present, rows that differ but are newer here than in the source.
        duplicates_by_kind: same_content (dropped), other_content (kept among the rejects).
        url_doubles: rows loaded as doubles of an article that has a primary row.
        remarked: rows of news whose mark as a double this run corrected.
        vanished: rows of news that the source does not have.
        news_rows: rows of news afterwards.
    """

    read: int
    loaded: int
    updated: int
    already_present: int
    duplicates: int
    rejected: int
    kept_newer: int = 0
    duplicates_by_kind: Mapping[str, int] = field(default_factory=dict)
    rejected_by_reason: Mapping[str, int] = field(default_factory=dict)
    cleanings: Mapping[str, int] = field(default_factory=dict)
    observations: Mapping[str, int] = field(default_factory=dict)
    unknown_themes: Mapping[str, int] = field(default_factory=dict)
    stub_agencies: Mapping[str, int] = field(default_factory=dict)
    url_doubles: int = 0
    remarked: int = 0
    vanished: int = 0
    vanished_sample: tuple[str, ...] = ()
    rejects_sample: tuple[Mapping[str, Any], ...] = ()
    news_rows: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every row that was read is accounted for."""
        return self.read == self.loaded + self.updated + self.already_present + self.duplicates + self.rejected

    @property
    def changed_nothing(self) -> bool:
        """Whether the run left news as it found it."""
        return self.loaded == self.updated == self.remarked == 0

    def equation(self) -> str:
        """Return the account in one line."""
        return (
            f"{self.read:,} read = {self.loaded:,} loaded + {self.updated:,} updated"
            f" + {self.already_present:,} already there + {self.duplicates:,} duplicate + {self.rejected:,} rejected"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the account as plain data."""
        return asdict(self) | {"balanced": self.balanced}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Account:
        """Return the account that `to_dict` wrote."""
        return cls(**{k: v for k, v in data.items() if k != "balanced"})


def close_account(connection: Connection[Any], run: Run) -> Account:
    """Settle duplicates, add up what the segments counted, and store the account.

    Raises:
        IntegrityError: a segment is not loaded, or the sums do not match.
    """
    segments = read_segments(connection, run.id)
    undone = [segment.label for segment in segments if segment.status != "done"]
    if undone:
        raise IntegrityError(
            f"{len(undone)} of {len(segments)} segments are not loaded, the first: {undone[0]}",
            hint="run the same command again, or clear the failed tasks: loading goes on where it stopped",
        )
    with connection.transaction():
        by_kind = _settle_same_id(connection, run)
        # Closed before and stopped afterwards: what was corrected then counts as well.
        remarked = (run.account or {}).get("remarked", 0)
        remarked += 0 if run.dry_run or run.mode == BULK else settle_primaries(connection, run)
        account = _add_up(connection, run, segments, by_kind, remarked)
        _check(account, run)
        failpoint("account.before_store")
        connection.execute("UPDATE load_runs SET account = %s WHERE id = %s", (to_json(account.to_dict()), run.id))
    return account


def _settle_same_id(connection: Connection[Any], run: Run) -> dict[str, int]:
    """Say of each row that lost its id whether it held the same content, and keep those that did not."""
    connection.execute(read_sql("account_kinds.sql"), {"run": run.id})
    if not run.dry_run:
        connection.execute(read_sql("account_superseded.sql"), {"run": run.id})
        connection.execute(read_sql("account_replayed.sql"), {"run": run.id})
        connection.execute(
            "UPDATE load_duplicates SET payload = NULL WHERE run_id = %s AND payload IS NOT NULL", (run.id,)
        )
    rows = connection.execute(
        "SELECT kind, count(*) FROM load_duplicates WHERE run_id = %s AND NOT is_winner GROUP BY kind ORDER BY kind",
        (run.id,),
    ).fetchall()
    return dict(rows)


def _add_up(
    connection: Connection[Any], run: Run, segments: Iterable[Segment], by_kind: Mapping[str, int], remarked: int
) -> Account:
    counts = [segment.counts for segment in segments]
    row = connection.execute("SELECT count(*) FROM news").fetchone()
    return Account(
        **{name: sum(c[name] for c in counts) for name in _COUNTED},
        kept_newer=sum(c.get("kept_newer", 0) for c in counts),
        duplicates_by_kind=by_kind,
        rejected_by_reason=_merged(counts, "rejected_by_reason"),
        cleanings=_merged(counts, "cleanings"),
        observations=_merged(counts, "observations"),
        unknown_themes=_merged(counts, "unknown_themes"),
        stub_agencies=run.plan["stub_agencies"],
        url_doubles=run.plan["url_doubles"],
        remarked=remarked,
        vanished=run.plan["vanished"],
        vanished_sample=tuple(run.plan["vanished_sample"]),
        rejects_sample=tuple(s for c in counts for s in c["rejects_sample"])[:_MOST_SAMPLES],
        news_rows=row[0] if row else 0,
    )


def _check(account: Account, run: Run) -> None:
    problems = []
    if not account.balanced:
        problems.append(account.equation())
    if account.read != run.snapshot.rows:
        problems.append(f"the source has {run.snapshot.rows:,} rows, {account.read:,} were read")
    if sum(account.duplicates_by_kind.values()) != account.duplicates:
        problems.append(f"{account.duplicates:,} duplicates, by kind {dict(account.duplicates_by_kind)}")
    expected = run.plan["news_before"] + (0 if run.dry_run else account.loaded)
    if account.news_rows != expected:
        problems.append(
            f"news should hold {expected:,} rows and holds {account.news_rows:,}: another writer was at work"
        )
    if problems:
        raise IntegrityError(
            "the account does not balance: " + "; ".join(problems),
            hint="do not switch to this database; keep the run's record and find the difference with validate",
        )


def _merged(counts: Iterable[Mapping[str, Any]], name: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each[name])
    return dict(total.most_common())
