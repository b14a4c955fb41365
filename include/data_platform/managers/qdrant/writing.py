"""Rows into points: which are to be embedded, their vectors, and their upload, several requests at once.

A row is embedded if the text that is embedded, or the model, is another than its point says. Otherwise its payload
alone is replaced. A new collection takes over the vectors of the one that searches see, where text and model are the
same: embedding 300,000 texts takes a service hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
#: So many points refused one by one before any was taken, and it may not be the points: the collection is looked at.
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
        settled, failed = set[int](), list[Failed]()
        if not is_new:
            same = sorted(self._same_text(rows, self._known(collection, rows.ids, with_vectors=False)))
            renewed, refused = self._renew_payloads(collection, rows.take(same))
            settled = {same[place] for place in (*renewed, *refused)}
            failed = [Failed(rows.unique_ids[same[place]], why) for place, why in sorted(refused.items())]
        left = rows.take([at for at in range(len(rows)) if at not in settled])
        told = self._write_points(collection, left, donor)
        return Written(len(settled) - len(failed) + told.written, (*failed, *told.failed))

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

    def _renew_payloads(self, collection: str, rows: _Rows) -> tuple[set[int], dict[int, str]]:
        """Replace payloads alone.

        Returns:
            The places of those that were replaced, and place -> why of those that were refused. The others are to be
            written whole: a point was deleted between the two requests.
        """
        what = f"renewing payloads of {collection}"
        renewed: set[int] = set()

        def renew(part: range) -> None:
            operations = [
                models.OverwritePayloadOperation(
                    overwrite_payload=models.SetPayload(payload=dict(rows.payloads[at]), points=[rows.ids[at]])
                )
                for at in part
            ]
            try:
                results = self._session.call(what, lambda client: client.batch_update_points(collection, operations))
            except QdrantMissingError:
                return
            for result in results:
                self._session.require_done(what, result)
            if len(results) == len(operations):
                renewed.update(part)

        refused = self._in_halves(collection, len(rows), renew)
        return renewed, refused

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
        """Send points, and tell which Qdrant refuses."""

        def put(part: range) -> None:
            some = slice(part.start, part.stop)
            body = points_body(rows.ids[some], rows.payloads[some], vectors[some])
            self._session.put_points(f"writing points into {collection}", collection, body)

        refused = self._in_halves(collection, len(rows), put)
        failed = [Failed(rows.unique_ids[at], why) for at, why in sorted(refused.items())]
        return Written(len(rows) - len(failed), tuple(failed))

    def _in_halves(self, collection: str, number: int, send: Callable[[range], None]) -> dict[int, str]:
        """Send some points; those that Qdrant refuses are found by halves.

        Args:
            collection: where they go.
            number: of points.
            send: sends those at some places.

        Returns:
            Place -> why it is refused.

        Raises:
            QdrantRefusedError: the collection can take none; see `_require_sound`.
        """
        refused: dict[int, str] = {}
        is_taken = False
        waiting = [range(number)] if number else []
        while waiting:
            part = waiting.pop()
            try:
                send(part)
            except QdrantRefusedError as error:
                if len(part) > 1:
                    middle = part.start + len(part) // 2
                    waiting += [range(middle, part.stop), range(part.start, middle)]
                    continue
                refused[part.start] = error.message
                if not is_taken and len(refused) == _ENOUGH:
                    self._require_sound(collection, error)
            else:
                is_taken = True
        return refused

    def _require_sound(self, collection: str, error: QdrantRefusedError) -> None:
        """Refuse to go on with a collection that can take no point.

        It is only looked at. A point of our own for a trial would be found by searches, and to put back one that is
        there could undo what another thread has just written. So if it looks well, the points are to blame; they are
        named one by one, and the job stops at its limit.

        Raises:
            QdrantRefusedError: its vectors have another length, or it says itself that it is broken.
        """
        info = self._session.call(f"asking for {collection}", lambda client: client.get_collection(collection))
        vectors, size = info.config.params.vectors, self._embedder.dimension
        wrong = ""
        if not isinstance(vectors, models.VectorParams) or vectors.size != size:
            wrong = f"it takes no vectors of {size} numbers"
        elif info.status is models.CollectionStatus.RED:
            wrong = f"it is {info.status.value}, its optimizer says {info.optimizer_status}"
        if wrong:
            raise QdrantRefusedError(
                f"{error.message}; {collection}: {wrong}",
                hint="read the log of Qdrant, or rebuild the index: reindex qdrant --full",
            ) from error


def slices(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Give a sequence in pieces of a size."""
    for first in range(0, len(items), size):
        yield items[first : first + size]
