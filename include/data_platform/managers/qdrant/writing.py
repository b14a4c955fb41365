"""Rows into points: which are to be embedded, their vectors, and their upload, several requests at once.

A row is embedded if the text that is embedded, or the model, is another than its point says. Otherwise its payload
alone is replaced. A new collection takes over the vectors of the one that searches see, where text and model are the
same: embedding 300,000 texts takes a service hours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from qdrant_client import QdrantClient, models

from data_platform.managers.embeddings.interface import Embedder, Vectors
from data_platform.managers.embeddings.text import embedded_texts, text_hashes
from data_platform.managers.qdrant.points import payloads_of, point_id, points_body, unit_vectors
from data_platform.managers.qdrant.session import QdrantMissingError, QdrantRefusedError, QdrantSession
from data_platform.managers.search_index import Failed, Written

__all__ = ["PointWriter", "slices"]

#: Points of a request: 2.4 MB with 768 dimensions; a server takes 32 MB.
_AT_ONCE = 256
_THREADS = 4
#: So many points refused one by one before any was taken: it is not the points.
_ENOUGH = 3
_KNOWN_BY = ["text_hash", "embedding_model"]


@dataclass(frozen=True)
class _Rows:
    """Some rows as points: of each its unique_id, id, payload and embedded text."""

    unique_ids: Sequence[str]
    ids: Sequence[str]
    payloads: Sequence[Mapping[str, Any]]
    texts: Sequence[str]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: Sequence[int]) -> _Rows:
        """Return some of them."""
        columns: tuple[Sequence[Any], ...] = (self.unique_ids, self.ids, self.payloads, self.texts)
        return _Rows(*([column[at] for at in places] for column in columns))


class PointWriter:
    """Writes rows into collections.

    Args:
        session: asks Qdrant.
        embedder: makes the vectors.
        threads: requests at once.
    """

    def __init__(self, session: QdrantSession, embedder: Embedder, *, threads: int = _THREADS) -> None:
        self._session = session
        self._embedder = embedder
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="qdrant")

    def close(self) -> None:
        """Wait for requests that are under way, and end the threads."""
        self._pool.shutdown(cancel_futures=True)

    def write(self, collection: str, rows: pa.RecordBatch, *, is_new: bool, donor: str | None) -> Written:
        """Put rows in place of what a collection has under their ids.

        Args:
            collection: its name.
            rows: the 24 columns in the types of `NORMAL_SCHEMA`.
            is_new: whether the collection has nothing that could be kept, so that it is not asked.
            donor: a collection whose vectors may be taken over.
        """
        parts = [rows.slice(first, _AT_ONCE) for first in range(0, rows.num_rows, _AT_ONCE)]
        done = list(self._pool.map(lambda part: self._write(collection, part, is_new=is_new, donor=donor), parts))
        return Written(sum(one.written for one in done), tuple(failed for one in done for failed in one.failed))

    def _write(self, collection: str, batch: pa.RecordBatch, *, is_new: bool, donor: str | None) -> Written:
        texts = embedded_texts(batch)
        payloads = payloads_of(batch, text_hashes(texts), self._embedder.model)
        unique_ids = batch.column("unique_id").to_pylist()
        rows = _Rows(unique_ids, [point_id(uid) for uid in unique_ids], payloads, texts.to_pylist())
        kept: set[int] = set()
        if not is_new:
            kept = self._same_text(rows, self._known(collection, rows.ids, with_vectors=False))
            if not self._renew_payloads(collection, rows.take(sorted(kept))):
                kept.clear()  # one was deleted between the two requests
        left = rows.take([at for at in range(len(rows)) if at not in kept])
        told = self._write_points(collection, left, donor)
        return Written(told.written + len(kept), told.failed)

    def _known(self, collection: str, ids: Sequence[str], *, with_vectors: bool) -> dict[str, models.Record]:
        """Return the points that a collection has of some ids, with what their vectors are known by."""

        def ask(client: QdrantClient) -> list[models.Record]:
            return client.retrieve(collection, ids, with_payload=_KNOWN_BY, with_vectors=with_vectors)

        return {str(record.id): record for record in self._session.call(f"reading points of {collection}", ask)}

    @staticmethod
    def _same_text(rows: _Rows, known: Mapping[str, models.Record]) -> set[int]:
        """Return the places of rows whose point has the vector of the same text by the same model."""
        same = set()
        for at, (uid, payload) in enumerate(zip(rows.ids, rows.payloads, strict=True)):
            there = known[uid].payload or {} if uid in known else {}
            if all(there.get(name) == payload[name] for name in _KNOWN_BY):
                same.add(at)
        return same

    def _renew_payloads(self, collection: str, rows: _Rows) -> bool:
        """Replace payloads alone; return whether all points were there."""
        if not rows:
            return True
        operations = [
            models.OverwritePayloadOperation(overwrite_payload=models.SetPayload(payload=dict(payload), points=[uid]))
            for uid, payload in zip(rows.ids, rows.payloads, strict=True)
        ]
        what = f"renewing payloads of {collection}"
        try:
            results = self._session.call(what, lambda client: client.batch_update_points(collection, operations))
        except QdrantMissingError:
            return False
        for result in results:
            self._session.require_done(what, result)
        return len(results) == len(operations)

    # -------------------------------------------------------------------------------------- vectors

    def _write_points(self, collection: str, rows: _Rows, donor: str | None) -> Written:
        if not rows:
            return Written()
        vectors = np.zeros((len(rows), self._embedder.dimension), np.float32)
        to_embed = list(range(len(rows)))
        if donor is not None:
            to_embed = self._take_over(donor, rows, vectors)
        failed = []
        if to_embed:
            answer = self._embedder.embed([rows.texts[at] for at in to_embed])
            vectors[to_embed] = answer.vectors
            failed = [Failed(rows.unique_ids[to_embed[at]], why) for at, why in sorted(answer.refused.items())]
        refused = {one.unique_id for one in failed}
        good = [at for at in range(len(rows)) if rows.unique_ids[at] not in refused]
        told = self._upload(collection, rows.take(good), unit_vectors(vectors[good]))
        return Written(told.written, (*failed, *told.failed))

    def _take_over(self, donor: str, rows: _Rows, vectors: Vectors) -> list[int]:
        """Fill in vectors that another collection has; return the places of those that it has not."""
        try:
            known = self._known(donor, rows.ids, with_vectors=True)
        except QdrantMissingError:  # dropped meanwhile
            return list(range(len(rows)))
        left = []
        same = self._same_text(rows, known)
        for at in range(len(rows)):
            vector = known[rows.ids[at]].vector if at in same else None
            if isinstance(vector, list) and len(vector) == self._embedder.dimension and any(vector):
                vectors[at] = np.asarray(vector, np.float32)
            else:
                left.append(at)
        return left

    def _upload(self, collection: str, rows: _Rows, vectors: Vectors) -> Written:
        """Send points; those that Qdrant refuses are found by halves.

        Raises:
            QdrantRefusedError: it refuses the first ones, each by itself.
        """
        written, failed = 0, list[Failed]()
        waiting = [range(len(rows))] if len(rows) else []
        while waiting:
            part = waiting.pop()
            some = slice(part.start, part.stop)
            body = points_body(rows.ids[some], rows.payloads[some], vectors[some])
            try:
                self._session.put_points(f"writing points into {collection}", collection, body)
            except QdrantRefusedError as error:
                if len(part) > 1:
                    middle = part.start + len(part) // 2
                    waiting += [range(middle, part.stop), range(part.start, middle)]
                    continue
                failed.append(Failed(rows.unique_ids[part.start], error.message))
                if not written and len(failed) >= _ENOUGH:
                    raise
            else:
                written += len(part)
        return Written(written, tuple(failed))


def slices(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Give a sequence in pieces of a size."""
    for first in range(0, len(items), size):
        yield items[first : first + size]
