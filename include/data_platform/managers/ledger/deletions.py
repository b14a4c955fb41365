"""Articles that were taken down: no writer brings them back until somebody allows it.

A site may go on listing an article long after it was deleted here, a task that is cleared writes the rows of days ago,
and a store that was down has the article still. So each deletion is on record, beside the write that carries it out,
and whoever inserts asks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from data_platform.managers.interface import NewsStore
from data_platform.managers.ledger.entry import IdList, LedgerEntry, new_entry_id
from data_platform.managers.ledger.run_ledger import DELETION, RunLedger
from data_platform.models.columns import COLUMN_NAMES
from data_platform.models.days import utc_now
from data_platform.models.urls import canonical_url

__all__ = ["Deleted", "allow_again", "deleted", "taking_down", "without_deleted"]

_LOG = logging.getLogger(__name__)
_TAKEN_DOWN, _ALLOWED = "taken-down", "allowed-again"
Address = tuple[str, str]


@dataclass(frozen=True)
class Deleted:
    """The articles that are taken down.

    Attributes:
        addresses: id -> its agency and canonical address; None if no store that answered had it.
    """

    addresses: Mapping[str, Address | None] = field(default_factory=dict)

    def keeps_out(self, unique_id: object, agency: object = None, url: object = None) -> bool:
        """Say whether a row is such an article: by its id, or by its address, which outlasts an edited title."""
        if unique_id in self.addresses:
            return True
        if not self.addresses or not isinstance(url, str) or not isinstance(agency, str):
            return False
        return (agency, canonical_url(url)) in self._places

    @cached_property
    def _places(self) -> frozenset[Address | None]:
        return frozenset(self.addresses.values())


def deleted(ledger: RunLedger) -> Deleted:
    """Return the articles that are taken down now.

    Raises:
        LedgerError, TransientError: the ledger is damaged, or does not answer.
    """
    found: dict[str, Address | None] = {}
    for entry in ledger.entries(DELETION):
        told = entry.facts.get("addresses") or {}
        for uid in ledger.ids(entry.ids):
            if entry.operation == _TAKEN_DOWN:
                found[uid] = tuple(told[uid]) if uid in told else found.get(uid)
            else:
                found.pop(uid, None)
    return Deleted(found)


def without_deleted(ledger: RunLedger, rows: Mapping[str, Sequence[Any]]) -> tuple[Mapping[str, Sequence[Any]], int]:
    """Return rows without those of articles that are taken down, and how many these are.

    Args:
        ledger: says which.
        rows: column -> values; columns that are not there count as empty.
    """
    standing = deleted(ledger)
    if not standing.addresses:
        return rows, 0
    count = len(next(iter(rows.values()), ()))
    cells = zip(*(rows.get(name, (None,) * count) for name in ("unique_id", "agency", "url")), strict=True)
    out = frozenset(place for place, row in enumerate(cells) if standing.keeps_out(*row))
    if not out:
        return rows, 0
    _LOG.warning("%d rows are of articles that were taken down, and are kept out", len(out))
    left = {name: [value for at, value in enumerate(values) if at not in out] for name, values in rows.items()}
    return left, len(out)


@contextmanager
def taking_down(
    ledger: RunLedger, store: Callable[[], NewsStore], unique_ids: Sequence[str], *, reason: str
) -> Iterator[None]:
    """Record that articles are taken down, around the deletion itself.

    Their ids are on record before it, so that nothing brings them back in between; where they were, afterwards, as far
    as no other row is the same article.

    Args:
        ledger: where.
        store: gives one that has the articles; if it does not answer, they are known by their ids alone.
        unique_ids: which.
        reason: why.
    """
    _record(ledger, _TAKEN_DOWN, unique_ids, {"reason": reason})
    rows: dict[str, list[Any]] = {}
    try:
        table = store().get_by_unique_ids(unique_ids)
        rows = {name: table.column(name).to_pylist() for name in COLUMN_NAMES}
    except Exception:  # noqa: BLE001 - that this store fails shows when it is written
        _LOG.warning("nobody says where the articles were", exc_info=True)
    try:
        yield
    finally:
        if rows and rows["unique_id"]:
            _record_addresses(ledger, store, rows, reason)


def _record_addresses(
    ledger: RunLedger, store: Callable[[], NewsStore], rows: Mapping[str, list[Any]], reason: str
) -> None:
    try:
        resolve_ids = getattr(store(), "resolve_ids", None)
        elsewhere = resolve_ids(rows) if resolve_ids else {}
        addresses = {
            uid: [agency, canonical]
            for uid, agency, url in zip(rows["unique_id"], rows["agency"], rows["url"], strict=True)
            if uid not in elsewhere and agency and (canonical := canonical_url(url))
        }
        if addresses:
            _record(ledger, _TAKEN_DOWN, list(addresses), {"reason": reason, "addresses": addresses})
    except Exception:  # noqa: BLE001 - the deletion is made and recorded; if it failed, its own error must come out
        _LOG.warning("where the articles were is not recorded", exc_info=True)


def allow_again(ledger: RunLedger, unique_ids: Sequence[str], *, reason: str) -> list[str]:
    """Let articles come in again that were taken down; return those that were."""
    standing = deleted(ledger).addresses
    found = [uid for uid in dict.fromkeys(unique_ids) if uid in standing]
    if found:
        _record(ledger, _ALLOWED, found, {"reason": reason})
    return found


def _record(ledger: RunLedger, operation: str, unique_ids: Sequence[str], facts: Mapping[str, object]) -> None:
    now = utc_now()
    ledger.record(
        LedgerEntry(
            kind=DELETION,
            entry_id=new_entry_id(),
            started_at=now,
            finished_at=now,
            operation=operation,
            rows=len(unique_ids),
            ids=IdList.of(unique_ids),
            facts=facts,
        )
    )
