"""An index at Typesense's stand-in: runs of the job, what it should hold, what it holds, searches beside it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import typesense

from data_platform.jobs.indexing.job import run_reindex
from data_platform.jobs.indexing.records import Kind, ReindexOptions, ReindexOutcome, Source
from data_platform.managers.hub.session import Backoff
from data_platform.managers.typesense.index import TypesenseIndex
from data_platform.models.days import SAO_PAULO
from data_platform.settings import Settings
from dev.typesense_server import TypesenseServer
from tests.support.hub import QUICK
from tests.support.sources import Row
from tests.support.stores import Store

__all__ = ["ALIAS", "KEY", "LITTLE_PATIENCE", "OTHERS", "Search", "document_of", "settings_of"]

ALIAS, KEY = "news", "key of the tests"
#: After 503 too nobody waits long.
LITTLE_PATIENCE = Backoff(tries=4, first_s=0.01, most_s=0.05, total_s=30)
#: A field that others write, beside ours.
OTHERS = {"name": "view_count", "type": "int32", "facet": False, "optional": True}
_THEME = re.compile(r"(\d\d) - (.+)", re.DOTALL)


def document_of(row: Row) -> Row:
    """Return the document that an article should have, worked out apart from the code under test.

    Args:
        row: what the world sees of it, as Python values with zones.
    """
    cells = {name: value for name, value in row.items() if value not in (None, "", [])}
    document: Row = {"id": row["unique_id"], **cells}
    for name, value in cells.items():
        if isinstance(value, datetime):
            assert value.tzinfo is not None
            document[name] = value.timestamp() // 1
            document[name] = int(document[name])
    tags = [tag for tag in cells.get("tags", []) if 0 < len(tag) <= 100]
    document = {**document, "tags": tags} if tags else {n: v for n, v in document.items() if n != "tags"}
    _recover_theme(document)
    local = row["published_at"].astimezone(SAO_PAULO)
    year, week, _ = local.isocalendar()
    return document | {
        "published_year": local.year,
        "published_month": local.month,
        "published_week": year * 100 + week,
    }


def _recover_theme(document: Row) -> None:
    found = _THEME.fullmatch(document.get("theme_1_level_1", ""))
    if found is not None:
        document.setdefault("theme_1_level_1_code", found[1])
        if document["theme_1_level_1_code"] == found[1]:
            document.setdefault("theme_1_level_1_label", found[2])
    for level in (3, 2, 1):
        if (code := document.get(f"theme_1_level_{level}_code")) is not None:
            document.setdefault("most_specific_theme_code", code)
            label = document.get(f"theme_1_level_{level}_label")
            if label is not None and document["most_specific_theme_code"] == code:
                document.setdefault("most_specific_theme_label", label)
            break


def settings_of(server: TypesenseServer, store: Store | None = None, **more: Any) -> Settings:
    """Return the settings of somebody who keeps the index."""
    url = store.url if store is not None else ""
    where: dict[str, Any] = {"typesense_host": "127.0.0.1", "typesense_port": server.port, "typesense_api_key": KEY}
    return Settings(database_url=url, **{**where, **more})


class Search:
    """A server, and what runs against it.

    Attributes:
        server: Typesense's stand-in.
        store: PostgreSQL.
        settings: of both.
    """

    def __init__(self, server: TypesenseServer, store: Store, settings: Settings) -> None:
        self.server, self.store, self.settings = server, store, settings

    def index(self, *, replace: bool = False) -> TypesenseIndex:
        return TypesenseIndex.of(
            self.settings, replace_collection=replace, backoff=QUICK, patience=LITTLE_PATIENCE, answer_s=20
        )

    def run(
        self, kind: str = "incremental", *, source: str = "postgres", manager: Any = None, **more: Any
    ) -> ReindexOutcome:
        """Run the job."""
        options = ReindexOptions(reader="typesense", kind=Kind(kind), source=Source(source), **more)
        index = self.index(replace=options.replace_collection)
        return run_reindex(self.settings, options, started_by="the test", index=index, manager=manager)

    # ---------------------------------------------------------------------------- around the code under test

    @property
    def client(self) -> typesense.Client:
        """The real client, as portal and MCP server use it."""
        node = {"host": "127.0.0.1", "port": str(self.server.port), "protocol": "http"}
        return typesense.Client({"nodes": [node], "api_key": KEY, "connection_timeout_seconds": 10})

    def collections(self) -> list[str]:
        """The collections of the alias, oldest first."""
        return sorted(name for name in self.server.store.collections if name.startswith(f"{ALIAS}_"))

    def live(self) -> str:
        """The collection that searches see."""
        return self.server.store.collection(ALIAS).name

    def documents(self, collection: str = ALIAS) -> dict[str, Row]:
        """The documents of a collection, by id."""
        return dict(self.server.store.collection(collection).documents)

    def wanted(self) -> dict[str, Row]:
        """The documents that PostgreSQL's rows should have, by id."""
        return {uid: document_of(_zoned(row)) for uid, row in self.store.published().items()}

    def cards(self) -> dict[str, Row]:
        """What the collections say of themselves."""
        found = self.server.store.collections.get("govbr_reindex")
        return dict(found.documents) if found else {}

    def positions(self) -> dict[str, Any]:
        """Where the readers of the change feed stand."""
        rows = self.store.query("SELECT consumer, position_xid::text FROM consumer_positions ORDER BY 1")
        return {row["consumer"]: row["position_xid"] for row in rows}

    @contextmanager
    def searching(self) -> Iterator[Callable[[], int]]:
        """Search without a pause meanwhile; gives how many searches were answered so far."""
        done, over = [0], threading.Event()
        problems: list[str] = []

        def search() -> None:
            client = self.client
            while not over.is_set():
                try:
                    found = client.collections[ALIAS].documents.search({"q": "*", "query_by": "title"})
                    if not found["found"]:
                        problems.append("nothing was found")
                except Exception as error:  # noqa: BLE001 - whatever it is, somebody's search failed
                    problems.append(repr(error))
                done[0] += 1

        threads = [threading.Thread(target=search) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield lambda: done[0]
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert not problems, problems[:3]


def _zoned(row: Row) -> Row:
    from datetime import UTC

    return {n: v.replace(tzinfo=UTC) if isinstance(v, datetime) and v.tzinfo is None else v for n, v in row.items()}
