"""One collection in Qdrant: how it is made, what it says of itself, what it should be, and its graph.

A collection is made without a graph (m = 0), which Qdrant's own guide to bulk uploads recommends where memory counts,
and gets one in `finish`. Its card stands in its metadata, which Qdrant keeps from version 1.16 on; older ones are
refused. Model and dimension are part of the card, and vectors of others are never written beside them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from qdrant_client import QdrantClient, models

from data_platform.errors import StoreError, StoreUnavailableError
from data_platform.managers.qdrant.points import PAYLOAD_INDEXES
from data_platform.managers.qdrant.session import QdrantConflictError, QdrantSession
from data_platform.managers.search_index import Card

__all__ = ["Collections"]

_CARD = "govbr_card"
_MODEL, _DIMENSION = "model", "dimension"
#: Links of each point in the graph: Qdrant's own default, written down since a default may change.
_LINKS = 16
#: Looks in a row at which it has to be green: it says so for a moment before it begins, too.
_LOOKS = 2
_MOST_PAUSE_S = 10.0


class Collections:
    """Collections for the vectors of one model.

    Args:
        session: asks Qdrant.
        model: name of the model.
        dimension: numbers of its vectors.
        finish_within_s: how long `finish` waits for the graph, in seconds.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        session: QdrantSession,
        model: str,
        dimension: int,
        *,
        finish_within_s: float,
        sleep: Callable[[float], None],
    ) -> None:
        self._session = session
        self._facts = {_MODEL: model, _DIMENSION: str(dimension)}
        self._dimension = dimension
        self._finish_within_s = finish_within_s
        self._sleep = sleep

    def names(self) -> list[str]:
        """Return the names of all collections, whosoever they are."""
        listed = self._session.call("listing collections", lambda client: client.get_collections())
        return [one.name for one in listed.collections]

    def info(self, collection: str) -> models.CollectionInfo:
        """Return what Qdrant says of a collection.

        Raises:
            QdrantMissingError: there is none of that name.
        """
        return self._session.call(f"asking for {collection}", lambda client: client.get_collection(collection))

    def create(self, collection: str, card: Card) -> None:
        """Make an empty collection; see `Index.create`."""
        wanted = replace(card, facts={**card.facts, **self._facts})
        tries = 0

        def make(client: QdrantClient) -> bool:
            nonlocal tries
            tries += 1
            vectors = models.VectorParams(size=self._dimension, distance=models.Distance.COSINE)
            return client.create_collection(
                collection,
                vectors_config=vectors,
                hnsw_config=models.HnswConfigDiff(m=0),
                metadata=_metadata(wanted),
            )

        try:
            self._session.call(f"making the collection {collection}", make)
        except QdrantConflictError:
            # Ours, if the answer to an earlier try was lost.
            if tries == 1 or self.card(collection) != wanted or self.info(collection).points_count:
                raise
        if self.card(collection) != wanted:
            raise StoreError(
                f"{self._session} does not keep what a collection says of itself", hint="Qdrant 1.16 or later is needed"
            )
        self.make_indexes(collection)

    def card(self, collection: str) -> Card | None:
        """Return what a collection says of itself."""
        return self._card_of(collection, self.info(collection))

    def _card_of(self, collection: str, info: models.CollectionInfo) -> Card | None:
        text = (info.config.metadata or {}).get(_CARD)
        if text is None:
            return None
        try:
            told = json.loads(text)
            return Card(told["source"], told["stamp"], told["is_whole"], dict(told["facts"]))
        except (TypeError, ValueError, KeyError):
            hint = "rebuild the index into another collection"
            raise StoreError(f"{self._session}: the card of {collection} cannot be read", hint=hint) from None

    def set_card(self, collection: str, card: Card) -> None:
        """Change what a collection says of itself, save its model and dimension, which stay as they are."""
        there = self.card(collection)
        kept = {name: value for name, value in (there.facts if there else {}).items() if name in self._facts}
        wanted = replace(card, facts={**card.facts, **kept})
        self._session.call(
            f"writing the card of {collection}",
            lambda client: client.update_collection(collection, metadata=_metadata(wanted)),
        )
        if self.card(collection) != wanted:
            raise StoreUnavailableError(f"{self._session}: the card of {collection} is not what was written")

    def drift(self, collection: str) -> Sequence[str]:
        """Say in which ways a collection is not what it should be."""
        info = self.info(collection)
        card, vectors, found = self._card_of(collection, info), info.config.params.vectors, self.misfits(collection)
        if isinstance(vectors, models.VectorParams) and vectors.distance is not models.Distance.COSINE:
            found.append(f"its distance is {vectors.distance.value}, not {models.Distance.COSINE.value}")
        for name, kind in PAYLOAD_INDEXES.items():
            there = info.payload_schema.get(name)
            if there is None or there.data_type.value != kind:
                has = "no index" if there is None else f"an index of the type {there.data_type.value}"
                found.append(f"{name} has {has}; it should be {kind}")
        if card is not None and card.is_whole and info.config.hnsw_config.m == 0:
            found.append("it has no graph: searches look at every point")
        return found

    def misfits(self, collection: str) -> list[str]:
        """Say why vectors of this model must not be written into a collection; nothing if they may."""
        info = self.info(collection)
        card, vectors, found = self._card_of(collection, info), info.config.params.vectors, list[str]()
        if not isinstance(vectors, models.VectorParams):
            found.append("its vectors have names")
        elif vectors.size != self._dimension:
            found.append(f"its vectors have {vectors.size} numbers, those of {self._facts[_MODEL]} {self._dimension}")
        if card is None:
            found.append("it does not say of which model its vectors are")
        elif (model := card.facts.get(_MODEL)) != self._facts[_MODEL]:
            found.append(f"its vectors are of the model {model}, not of {self._facts[_MODEL]}")
        return found

    def make_indexes(self, collection: str) -> None:
        """Make the indexes of the payload that are missing; best before the graph, which then knows of them."""
        there = self.info(collection).payload_schema
        for name, kind in PAYLOAD_INDEXES.items():
            if name not in there:
                self._make_index(collection, name, models.PayloadSchemaType(kind))

    def finish(self, collection: str) -> None:
        """Have the graph built and wait for it.

        Raises:
            StoreError: Qdrant says that it cannot.
            StoreUnavailableError: it takes longer than `finish_within_s`; the next call goes on waiting.
        """
        self.make_indexes(collection)
        self._want_graph(collection)
        ends = time.monotonic() + self._finish_within_s
        pause, looks = 0.05, 0
        while True:
            info = self.info(collection)
            if info.status is models.CollectionStatus.RED or info.optimizer_status != models.OptimizersStatusOneOf.OK:
                raise StoreError(
                    f"{self._session}: {collection} is {info.status.value}, its optimizer says {info.optimizer_status}",
                    hint="read the log of Qdrant; memory or disk, as a rule",
                )
            if info.status is models.CollectionStatus.GREY:  # Qdrant was started anew, and waits for an update
                self._want_graph(collection)
            looks = looks + 1 if info.status is models.CollectionStatus.GREEN else 0
            if looks == _LOOKS:
                return
            if time.monotonic() > ends:
                raise StoreUnavailableError(
                    f"{self._session}: {collection} is not indexed after {self._finish_within_s:.0f} s",
                    hint="run it again: Qdrant goes on meanwhile",
                )
            self._sleep(pause)
            pause = min(_MOST_PAUSE_S, pause * 2)

    def drop(self, collection: str) -> None:
        """Remove a collection, if it is there; an alias of it goes too."""
        self._session.call(f"dropping {collection}", lambda client: client.delete_collection(collection))

    # ------------------------------------------------------------------------------------------------

    def _make_index(self, collection: str, name: str, kind: models.PayloadSchemaType) -> None:
        what = f"indexing {name} of {collection}"
        made = self._session.call(what, lambda client: client.create_payload_index(collection, name, field_schema=kind))
        self._session.require_done(what, made)

    def _want_graph(self, collection: str) -> None:
        self._session.call(
            f"asking for the graph of {collection}",
            lambda client: client.update_collection(collection, hnsw_config=models.HnswConfigDiff(m=_LINKS)),
        )


def _metadata(card: Card) -> dict[str, Any]:
    """Return a card as one text: Qdrant merges metadata, and a text is replaced as a whole."""
    told = {"source": card.source, "stamp": card.stamp, "is_whole": card.is_whole, "facts": dict(card.facts)}
    return {_CARD: json.dumps(told, ensure_ascii=False, sort_keys=True)}
