"""QdrantIndex: news in Qdrant for semantic search, as one of the readers of the change feed (`search_index.Index`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from qdrant_client import QdrantClient, models

from data_platform.errors import ConfigurationError, StoreError, StoreUnavailableError
from data_platform.managers.embeddings.choose import choose_embedder, require_publishable_vectors
from data_platform.managers.embeddings.interface import Embedder
from data_platform.managers.embeddings.text import embedded_texts, text_hashes
from data_platform.managers.loopback import is_loopback
from data_platform.managers.qdrant.collections import Collections
from data_platform.managers.qdrant.points import payloads_of, point_id
from data_platform.managers.qdrant.session import QdrantMissingError, QdrantSession
from data_platform.managers.qdrant.writing import PointWriter, slices
from data_platform.managers.search_index import Card, Written, generations
from data_platform.settings import Settings

__all__ = ["QdrantIndex"]

_IDS_AT_ONCE, _POINTS_AT_ONCE, _SCROLLED_AT_ONCE = 1_000, 256, 2_000
_FINISH_WITHIN_S = 3_600.0


class QdrantIndex:
    """The collections of one alias in Qdrant.

    Args:
        session: asks Qdrant.
        embedder: makes the vectors.
        alias: the name that searches use.
        reuse_vectors: whether a new collection takes over vectors of the one that searches see.
        replace_collection: whether `point` may drop a collection that has the alias's name.
        finish_within_s: how long `finish` waits for the graph, in seconds.
        sleep: waits for some seconds.
    """

    reader = "qdrant"

    def __init__(
        self,
        session: QdrantSession,
        embedder: Embedder,
        *,
        alias: str = "news",
        reuse_vectors: bool = True,
        replace_collection: bool = False,
        finish_within_s: float = _FINISH_WITHIN_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.alias = alias
        self._session = session
        self._embedder = embedder
        self._writer = PointWriter(session, embedder)
        self._reuse = reuse_vectors and not embedder.is_local
        self._replace = replace_collection
        self._collections = Collections(
            session, embedder.model, embedder.dimension, finish_within_s=finish_within_s, sleep=sleep
        )
        #: Collections that fit the embedder, and of each the one whose vectors it may take over.
        self._donor_of: dict[str, str | None] = {}
        #: Collections that this object made and nobody finished.
        self._new: set[str] = set()

    @classmethod
    def of(cls, settings: Settings, *, replace_collection: bool = False) -> QdrantIndex:
        """Return the index that the settings say.

        Raises:
            ConfigurationError: a setting is missing; or vectors that are approximate would leave this machine.
        """
        outside = not is_loopback(urlsplit(settings.qdrant_url).hostname or "")
        if settings.qdrant_url and outside and not settings.qdrant_api_key:
            raise ConfigurationError(
                f"QDRANT_API_KEY is not set, and {settings.qdrant_url} is not on this machine",
                hint="set it: nothing outside is written without address and key",
            )
        session = QdrantSession(settings)
        embedder = choose_embedder(settings)
        require_publishable_vectors(settings, embedder)
        return cls(session, embedder, alias=settings.qdrant_collection, replace_collection=replace_collection)

    def __str__(self) -> str:
        """Return how messages call it."""
        return f"{self.alias} in {self._session}"

    def close(self) -> None:
        """Close the connections."""
        self._writer.close()
        self._embedder.close()
        self._session.close()

    # --------------------------------------------------------------------------- collections and alias

    def live(self) -> str | None:
        """Return the collection that searches see; see `Index.live`."""
        listed = self._session.call("listing aliases", lambda client: client.get_aliases()).aliases
        for one in listed:
            if one.alias_name == self.alias:
                return str(one.collection_name)
        return self.alias if self.alias in self._collections.names() else None

    def collections(self) -> Sequence[str]:
        """Return the alias's collections, oldest first."""
        return generations(self.alias, self._collections.names())

    def create(self, collection: str, card: Card) -> None:
        """Make an empty collection; see `Index.create`. Model and dimension become facts of its card."""
        self._collections.create(collection, card)
        self._new.add(collection)

    def card(self, collection: str) -> Card | None:
        """Return what a collection says of itself."""
        return self._collections.card(collection)

    def set_card(self, collection: str, card: Card) -> None:
        """Change what a collection says of itself, save its model and dimension, which stay."""
        self._collections.set_card(collection, card)

    def drift(self, collection: str) -> Sequence[str]:
        """Say in which ways a collection is not what it should be."""
        return self._collections.drift(collection)

    def mend(self, collection: str) -> Sequence[str]:
        """Make the indexes of the payload that are missing. No row lacks anything for it, so none is named."""
        self._collections.make_indexes(collection)
        return []

    def finish(self, collection: str) -> None:
        """Have the graph built and wait for it; see `Collections.finish`."""
        self._new.discard(collection)
        self._collections.finish(collection)

    def point(self, collection: str) -> None:
        """Let the alias show a collection, at once; see `Index.point`."""
        live = self.live()
        if live == collection:
            return
        self._collections.info(collection)  # an alias of nothing is not wanted
        operations: list[Any] = []
        if live == self.alias:
            self._drop_namesake()
        elif live is not None:
            operations.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self.alias)))
        shown = models.CreateAlias(collection_name=collection, alias_name=self.alias)
        operations.append(models.CreateAliasOperation(create_alias=shown))
        # If the answer is lost, the second try takes the new alias away and makes it again, also at once.
        self._session.call(
            f"moving the alias {self.alias} to {collection}",
            lambda client: client.update_collection_aliases(operations),
        )
        if self.live() != collection:
            raise StoreUnavailableError(f"{self._session}: the alias {self.alias} does not show {collection}")

    def drop(self, collection: str) -> None:
        """Remove a collection, if it is there; see `Index.drop`."""
        if self.live() == collection:
            raise StoreError(f"{self._session}: {collection} is what searches see", hint="move the alias first")
        self._collections.drop(collection)
        self._donor_of = {}
        self._new.discard(collection)

    def _drop_namesake(self) -> None:
        if not self._replace:
            raise StoreError(
                f"{self._session} has a collection called {self.alias}, so there can be no alias of that name",
                hint="choose another QDRANT_COLLECTION, or let the rebuild replace it: searches fail for a moment",
            )
        self._collections.drop(self.alias)

    # ------------------------------------------------------------------------------------------ rows

    def write(self, collection: str, rows: pa.RecordBatch) -> Written:
        """Put rows in place of what a collection has; see `Index.write`.

        Raises:
            StoreError: the collection's vectors are of another model or dimension than the embedder's.
        """
        if collection not in self._donor_of:
            self._require_fit(collection)
            self._donor_of[collection] = self._donor(collection)
        return self._writer.write(collection, rows, is_new=collection in self._new, donor=self._donor_of[collection])

    def delete(self, collection: str, unique_ids: Sequence[str]) -> int:
        """Take rows away; see `Index.delete`. How many were there is counted by Qdrant."""
        gone = 0
        for some in slices(list(dict.fromkeys(unique_ids)), _IDS_AT_ONCE):
            gone += self._delete(collection, [point_id(uid) for uid in some])
        return gone

    def _delete(self, collection: str, points: list[Any]) -> int:
        having = models.Filter(must=[models.HasIdCondition(has_id=points)])
        if there := self._counted(collection, having):
            what, those = f"deleting points of {collection}", models.PointIdsList(points=points)
            self._session.require_done(what, self._session.call(what, lambda client: client.delete(collection, those)))
            if left := self._counted(collection, having):
                raise StoreUnavailableError(f"{self._session}: {what}: {left} of {there} are still there")
        return there

    def count(self, collection: str) -> int:
        """Return how many rows a collection has."""
        return self._counted(collection, None)

    def unique_ids(self, collection: str) -> Iterator[Sequence[str]]:
        """Give the ids of all rows; see `Index.unique_ids`. A point that is none of ours has "" for one."""
        place: Any = None
        while True:
            records, place = self._scrolled(collection, place)
            if records:
                yield [str((record.payload or {}).get("unique_id", "")) for record in records]
            if place is None:
                return

    def differing(self, collection: str, rows: pa.RecordBatch) -> Mapping[str, str]:
        """Compare rows with their points; see `Index.differing`.

        A vector is known by the hash of its text and by its model; whether it is there and of the right length is
        looked at, its numbers are not.
        """
        found: dict[str, str] = {}
        for first in range(0, rows.num_rows, _POINTS_AT_ONCE):
            part = rows.slice(first, _POINTS_AT_ONCE)
            payloads = payloads_of(part, text_hashes(embedded_texts(part)), self._embedder.model)
            ids: list[Any] = [point_id(payload["unique_id"]) for payload in payloads]
            there = {str(record.id): record for record in self._points(collection, ids)}
            for uid, payload in zip(ids, payloads, strict=True):
                if told := _difference(there.get(uid), payload, self._embedder.dimension):
                    found[payload["unique_id"]] = told
        return found

    def _scrolled(self, collection: str, place: Any) -> tuple[list[models.Record], Any]:  # noqa: ANN401 - an id
        def scroll(client: QdrantClient) -> tuple[list[models.Record], Any]:
            return client.scroll(
                collection, limit=_SCROLLED_AT_ONCE, offset=place, with_payload=["unique_id"], with_vectors=False
            )

        return self._session.call(f"listing points of {collection}", scroll)

    def _points(self, collection: str, ids: list[Any]) -> list[models.Record]:
        return self._session.call(
            f"reading points of {collection}",
            lambda client: client.retrieve(collection, ids, with_payload=True, with_vectors=True),
        )

    def _require_fit(self, collection: str) -> None:
        if misfits := self._collections.misfits(collection):
            raise StoreError(
                f"{self._session}: {collection} cannot take these vectors: {'; '.join(misfits)}",
                hint="rebuild the index (reindex qdrant --full), or set EMBEDDINGS_MODEL and EMBEDDINGS_DIMENSION back",
            )

    def _donor(self, collection: str) -> str | None:
        """Return the collection whose vectors another one may take over, if there is one."""
        live = self.live() if self._reuse else None
        try:
            return live if live not in {None, collection} and not self._collections.misfits(str(live)) else None
        except QdrantMissingError:  # dropped meanwhile
            return None

    def _counted(self, collection: str, having: models.Filter | None) -> int:
        return self._session.call(
            f"counting points of {collection}",
            lambda client: client.count(collection, count_filter=having, exact=True),
        ).count


def _difference(record: models.Record | None, payload: Mapping[str, Any], dimension: int) -> str:
    """Say how a point differs from what it should be; "" if it does not."""
    if record is None:
        return "it is missing"
    there = record.payload or {}
    told = [
        f"{name}: {there.get(name)!r} instead of {payload.get(name)!r}"
        for name in sorted({*there, *payload})
        if there.get(name) != payload.get(name)
    ]
    vector = record.vector
    if not isinstance(vector, list) or len(vector) != dimension or not any(vector):
        told.append(f"its vector is none of {dimension} numbers")
    return "; ".join(told)
