"""What a sync must have done, told by ways of its own: what should be published, what is, and how it is broken off."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pytest

from data_platform import failpoints
from data_platform.failpoints import FAILPOINTS, FailpointError
from data_platform.jobs.hf_sync.records import CONSUMER, SyncOutcome
from data_platform.jobs.hf_sync.sync_job import HuggingFaceSyncJob
from data_platform.managers.hub.layout import UNDATED
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.models.days import SAO_PAULO
from tests.support.hub import REDUCED, Hub, published
from tests.support.sources import Row
from tests.support.stores import Store

__all__ = [
    "POINTS",
    "Jobs",
    "at_failpoint",
    "by_file",
    "checked",
    "clean",
    "failing_at",
    "in_news",
    "in_step",
    "is_in_step",
    "on_the_hub",
    "position",
    "said_by_the_hub",
    "update",
]

Jobs = Callable[..., HuggingFaceSyncJob]

#: Every failpoint that a sync passes. Between the datasets it has one of its own.
POINTS = [name for name in FAILPOINTS if name.startswith(("hub.", "sync.")) and name != "hub.between_datasets"]
_REDUCED_COLUMNS = ("published_at", "agency", "title", "url")


def clean(row: Row) -> Row:
    """Return a row of PostgreSQL as the dataset holds it."""
    extracted = row["extracted_at"]
    return published(row) | {"extracted_at": extracted.replace(tzinfo=None) if extracted else None}


def in_news(store: Store) -> list[Row]:
    """Return what should be published of PostgreSQL, in the order of ids."""
    return sorted(map(clean, store.published().values()), key=_by_id)


def on_the_hub(hub: Hub, dataset: str = "") -> list[Row]:
    """Return what is published, save what is held, in the order of ids."""
    found = hub.rows(dataset) if dataset else hub.rows()
    return sorted((row for path, rows in found.items() if path != UNDATED for row in rows), key=_by_id)


def by_file(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Return the file that each row belongs into, by the zone's own rules, with the ids in the order of the file."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        day = row["published_at"].astimezone(SAO_PAULO)
        found.setdefault(f"data/train-{day.year:04d}-{day.month:02d}.parquet", []).append(row)
    order = {
        path: sorted(its, key=lambda r: (r["published_at"], r["unique_id"].encode())) for path, its in found.items()
    }
    return {path: [row["unique_id"] for row in its] for path, its in sorted(order.items())}


def is_in_step(hub: Hub) -> bool:
    """Whether the reduced dataset has the same rows in the same files."""
    main = {path: [{n: row[n] for n in _REDUCED_COLUMNS} for row in rows] for path, rows in hub.rows().items()}
    return main == hub.rows(REDUCED)


def in_step(hub: Hub, store: Store, *, held: Iterable[Row] = ()) -> None:
    """Check that PostgreSQL and the held rows are what is published: cells, files, their order, the reduced one."""
    found = hub.rows()
    rows = in_news(store)
    assert on_the_hub(hub) == rows
    assert {path: [r["unique_id"] for r in its] for path, its in found.items() if path != UNDATED} == by_file(rows)
    assert sorted(map(repr, found.get(UNDATED, []))) == sorted(map(repr, held))
    assert is_in_step(hub)


def checked(job: HuggingFaceSyncJob, hub: Hub, store: Store, *, held: Iterable[Row] = ()) -> SyncOutcome:
    """Run a sync and check everything that has to hold after any."""
    outcome = job.run()
    in_step(hub, store, held=held)
    assert outcome.rows == len(hub.all_rows())
    assert outcome.commit == hub.head()
    assert outcome.reduced_commit == hub.head(REDUCED)
    return outcome


def position(store: Store) -> dict[str, Any]:
    """Return what PostgreSQL remembers of the sync: where it stands (if anywhere yet), and the marks."""
    found = store.query("SELECT * FROM consumer_positions WHERE consumer = %s AND position_xid > '0'", CONSUMER)
    marks = store.query("SELECT unique_id, synced_xid::text FROM hf_sync_marks ORDER BY 1")
    kept = [
        {n: v for n, v in row.items() if n in {"position_xid", "outside_stamp", "system_identifier"}} for row in found
    ]
    return {"position": kept, "marks": marks}


def said_by_the_hub(hub: Hub) -> tuple[Any, ...]:
    """Return something that is equal before and after only if nothing was committed."""
    return hub.head(), hub.head(REDUCED)


def update(news: PostgresManager, *rows: Mapping[str, Any]) -> int:
    """Update rows with the columns they have."""
    return sum(news.update(pd.DataFrame([dict(row)], dtype=object)) for row in rows)


@contextmanager
def failing_at(spec: str) -> Iterator[None]:
    """Break off whatever passes a failpoint ("name" or "name:n" for the n-th time)."""
    name, _, nth = spec.partition(":")
    failpoints._passed.clear()
    os.environ["GOVBR_FAILPOINTS"] = f"{name}=raise:{nth or 1}"
    try:
        with pytest.raises(FailpointError, match=f"^{name}$"):
            yield
    finally:
        del os.environ["GOVBR_FAILPOINTS"]


@contextmanager
def at_failpoint(
    monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], object], *, times: int = 1
) -> Iterator[None]:
    """Do something when a sync passes a failpoint of its own, so many times."""
    from data_platform.jobs.hf_sync import sync_job

    left = [times]

    def passed(place: str) -> None:
        if place == name and left[0]:
            left[0] -= 1
            act()

    with monkeypatch.context() as patch:
        patch.setattr(sync_job, "failpoint", passed)
        yield
    assert left[0] < times, f"{name} was not passed"


def _by_id(row: Row) -> bytes:
    return str(row["unique_id"]).encode()
