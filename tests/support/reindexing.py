"""The DAG of the search indexes as its tests see it: both services, runs of its tasks, and what became of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from secrets import token_hex
from types import SimpleNamespace
from typing import Any

import pytest

from data_platform.jobs.indexing.generations import SHOWN
from data_platform.jobs.indexing.readers import make_index
from dev.qdrant_server import QdrantServer
from dev.typesense_server import TypesenseServer
from govbr.reindex import reindex_reader
from govbr.reindex_plan import plan_run
from govbr.runtime import reader_settings
from tests.support.sources import articles
from tests.support.stores import Store

__all__ = [
    "ALL_WELL",
    "DAG",
    "FORM",
    "FULL",
    "HUGGINGFACE",
    "POSTGRES",
    "READERS",
    "Run",
    "Services",
    "asset_events",
    "change",
    "fill",
    "keep",
    "reindexed",
    "result",
    "say_shown",
    "serve",
    "started_by_hand",
    "states",
]

DAG = "reindex_consumers"
READERS = ("typesense", "qdrant")
KEYS = {"typesense": "key-of-typesense", "qdrant": "key-of-qdrant"}
POSTGRES, HUGGINGFACE = {"storage_backend": "postgres"}, {"storage_backend": "huggingface"}
FULL = {"kind": "full", "dry_run": "no", **POSTGRES}
FORM = {
    "reader": "all",
    "kind": "incremental",
    "source": "postgres",
    "dry_run": "auto",
    "afresh": False,
    "replace_collection": False,
    "allow_shrink": False,
    "max_failed": 0,
    "run_date": None,
    "storage_backend": None,
}
ALL_WELL = dict.fromkeys(
    ["resolve", "wait_for_write", *(f"reindex {reader}" for reader in READERS), "lags", "verdict"], "success"
)


#: Runs the DAG to its end, with what the form says; returns its run.
Run = Callable[..., Any]


class Services:
    """Both services, and the connections to them.

    Attributes:
        typesense: the stand-in.
        qdrant: likewise.
        connect: defines the connection to one of them; fields can be replaced.
    """

    def __init__(self, typesense: TypesenseServer, qdrant: QdrantServer, environment: pytest.MonkeyPatch) -> None:
        self.typesense, self.qdrant = typesense, qdrant
        self._environment = environment

    def connect(self, reader: str, **fields: Any) -> None:
        url = {"typesense": self.typesense.url, "qdrant": self.qdrant.url}[reader]
        known = {"conn_type": "generic", "host": url, "password": KEYS[reader]}
        self._environment.setenv(f"AIRFLOW_CONN_{reader.upper()}_DEFAULT", json.dumps(known | fields))

    def live(self, reader: str) -> str:
        """The collection that searches see."""
        if reader == "typesense":
            return str(self.typesense.store.collection("news").name)
        return str(self.qdrant.store.aliases["news"])

    def titles(self, reader: str) -> dict[str, str]:
        """What searches may find, by id."""
        if reader == "typesense":
            return {uid: one["title"] for uid, one in self.typesense.store.collection("news").documents.items()}
        points, _ = self.qdrant.store.engine.scroll(self.live(reader), limit=1000)
        return {one.payload["unique_id"]: one.payload["title"] for one in points}

    def collections(self, reader: str) -> list[str]:
        named = self.typesense.store.collections if reader == "typesense" else self.qdrant.store.engine.collections
        return sorted(name for name in named if name.startswith("news_"))


@contextmanager
def serve(environment: pytest.MonkeyPatch) -> Iterator[Services]:
    """Serve both, empty, with connections to them, and words hashed to few numbers."""
    embeddings = {"conn_type": "generic", "extra": {"kind": "hashing", "dimension": 16}}
    environment.setenv("AIRFLOW_CONN_EMBEDDINGS_API", json.dumps(embeddings))
    with TypesenseServer(keys=[KEYS["typesense"]]) as typesense, QdrantServer(keys=[KEYS["qdrant"]]) as qdrant:
        made = Services(typesense, qdrant, environment)
        for reader in READERS:
            made.connect(reader)
        yield made


def states(of: Any) -> dict[str, str]:
    """Return the states of the tasks; of the mapped one by the name that it shows."""
    return {
        f"{one.task_id} {one.rendered_map_index}" if one.map_index >= 0 else one.task_id: str(one.state)
        for one in of.get_task_instances()
    }


def reindexed(of: Any, reader: str) -> Any:
    """Return what the task of an index returned."""
    for one in of.get_task_instances():
        if one.task_id == "reindex" and one.rendered_map_index == reader:
            return one.xcom_pull(task_ids="reindex", map_indexes=one.map_index)
    raise AssertionError(f"there was no task for {reader}")


def result(of: Any, task_id: str) -> Any:
    """Return what a task returned."""
    return of.get_task_instance(task_id).xcom_pull(task_ids=task_id)


def asset_events(of: Any) -> dict[str, dict[str, Any]]:
    """Return the extras of the events that a run emitted, by the name of the asset."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == of.run_id)).all()
        assert len({event.name for event in found}) == len(found)
        return {event.name: dict(event.extra) for event in found}


def started_by_hand(run_id: str = "", **params: Any) -> dict[str, Any]:
    """Return the context of a task of a run by hand, a new one if none is named.

    Airflow's own record of what it tells assets is in it.
    """
    from airflow.sdk.execution_time.context import OutletEventAccessors

    return {
        "params": FORM | params,
        "run_id": run_id or f"by hand {token_hex(4)}",
        "dag_run": SimpleNamespace(logical_date=None, run_type="manual"),
        "outlet_events": OutletEventAccessors(),
    }


def keep(reader: str, **params: Any) -> dict[str, Any]:
    """Do what the task of an index does, without a whole run around it; return what it returns."""
    context = started_by_hand(**POSTGRES | params, reader=reader)
    (plan,) = plan_run(context)
    return reindex_reader(context, plan, None, statement_timeout_s=60)


def fill(*readers: str) -> None:
    """Fill indexes, both if none is named, with the twelve articles of the tests."""
    for reader in readers or READERS:
        assert keep(reader, **FULL)["documents"] == 12


def say_shown(reader: str, collection: str, at: datetime) -> None:
    """Have a collection say that searches have seen it since."""
    with closing(make_index(reader_settings(reader, with_postgres=False), reader)) as index:
        card = index.card(collection)
        assert card is not None
        index.set_card(collection, replace(card, facts={**card.facts, SHOWN: at.isoformat()}))


def change(store: Store, number: int, title: str) -> str:
    """Give an article another title; return its id."""
    uid = str(articles(number + 1)[number]["unique_id"])
    store.execute(f"UPDATE news SET title = '{title}' WHERE unique_id = '{uid}'")
    return uid
