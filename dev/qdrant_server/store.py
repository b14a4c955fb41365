"""What Qdrant's stand-in holds: collections in the client's local engine, and beside them what that leaves out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from qdrant_client.http import models
from qdrant_client.local.qdrant_local import QdrantLocal

from dev.stand_in import RefusalError

__all__ = ["Points", "QdrantStore", "Told"]

#: A JSON object.
Told = Mapping[str, Any]

_INDEX_TYPES = {"keyword", "integer", "float", "geo", "text", "bool", "datetime", "uuid"}
_RANGE_TYPES = {"integer", "float", "datetime"}
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0},
    "optimizers_config": {
        "deleted_threshold": 0.2,
        "vacuum_min_vector_number": 1000,
        "default_segment_number": 0,
        "indexing_threshold": 10000,
        "flush_interval_sec": 5,
    },
}
_FLOAT_BYTES = 4


@dataclass
class Points:
    """What a collection has beside the engine's points.

    Attributes:
        settings: section -> setting -> value, as they are now.
        changes: what it was created with, and each change of its settings, as they were sent, in order.
        indexes: field of the payload -> what is told of its index, without the number of points.
        counted: how many points a sink took.
        yellow_looks: how often it is still shown as busy.
    """

    settings: dict[str, dict[str, Any]]
    changes: list[dict[str, Any]]
    indexes: dict[str, dict[str, Any]] = field(default_factory=dict)
    counted: int = 0
    yellow_looks: int = 0

    @property
    def is_deferred(self) -> bool:
        """Whether vectors are not indexed for now."""
        threshold, m = self.settings["optimizers_config"]["indexing_threshold"], self.settings["hnsw_config"]["m"]
        return 0 in {threshold, m}


class QdrantStore:
    """All collections and aliases.

    Attributes:
        engine: the engine with the points; use it under `lock`.
        lock: held while a request is carried out, for the engine is made for one thread.
        beside: collection -> what the engine leaves out.
        busy_looks: how often a collection is shown as busy once its indexing is allowed again.
    """

    def __init__(self) -> None:
        self.engine = QdrantLocal(":memory:", force_disable_check_same_thread=True)
        self.lock = threading.RLock()
        self.beside: dict[str, Points] = {}
        self.busy_looks = 0

    @property
    def aliases(self) -> dict[str, str]:
        """Alias -> collection."""
        return self.engine.aliases

    def changes(self, name: str) -> list[dict[str, Any]]:
        """Return what a collection was created with, and each change of its settings since, as they were sent."""
        return self.beside[self.real_name(name)].changes

    def real_name(self, name: str) -> str:
        """Return the name of a collection that may be told by an alias; RefusalError 404."""
        name = self.engine.aliases.get(name, name)
        if name not in self.engine.collections:
            raise RefusalError(404, f"Not found: Collection `{name}` doesn't exist!")
        return name

    def create(self, name: str, sent: Told) -> bool:
        """Make a collection; RefusalError 409 if it is there."""
        if name in self.engine.collections:
            raise RefusalError(409, f"Wrong input: Collection `{name}` already exists!")
        if name in self.engine.aliases:
            reason = "Alias with the same name already exists"
            raise RefusalError(400, f"Wrong input: Can't create collection with name {name}. {reason}")
        told = models.CreateCollection.model_validate(sent)
        self.engine.create_collection(
            name, vectors_config=told.vectors, sparse_vectors_config=told.sparse_vectors, metadata=told.metadata
        )
        self.engine.collections[name].LARGE_DATA_THRESHOLD = 1 << 62  # it would warn of what it is used for here
        settings = {section: {**default, **(sent.get(section) or {})} for section, default in _SETTINGS.items()}
        self.beside[name] = Points(settings, [deepcopy(dict(sent))])
        return True

    def update(self, name: str, sent: Told) -> bool:
        """Change the settings of a collection."""
        models.UpdateCollection.model_validate(sent)
        name = self.real_name(name)
        beside, was_deferred = self.beside[name], self.beside[name].is_deferred
        for section in _SETTINGS:
            beside.settings[section] |= sent.get(section) or {}
        if was_deferred and not beside.is_deferred:
            beside.yellow_looks = self.busy_looks
        config = self.engine.collections[name].config
        merged = {**(config.metadata or {}), **(sent.get("metadata") or {})}
        config.metadata = {key: value for key, value in merged.items() if value is not None} or None
        beside.changes.append(deepcopy(dict(sent)))
        return True

    def delete(self, name: str) -> bool:
        """Drop a collection with its aliases; an alias is no name here. Return whether it was there."""
        if name not in self.engine.collections:
            return False
        self.engine.delete_collection(name)
        del self.beside[name]
        return True

    def info(self, name: str) -> dict[str, Any]:
        """Return what the API tells of a collection."""
        name = self.real_name(name)
        beside, told = self.beside[name], cast("dict[str, Any]", _json(self.engine.get_collection(name)))
        is_busy = beside.yellow_looks > 0
        beside.yellow_looks -= is_busy
        told["points_count"] += beside.counted
        told["status"] = "yellow" if is_busy else "green"
        told["config"]["hnsw_config"] = beside.settings["hnsw_config"]
        told["config"]["optimizer_config"] = {
            key: value for key, value in beside.settings["optimizers_config"].items() if key != "prevent_unoptimized"
        }
        told["indexed_vectors_count"] = 0 if is_busy else self._indexed(name, told["points_count"])
        told["payload_schema"] = {
            its: {**index, "points": self._having(name, its)} for its, index in beside.indexes.items()
        }
        return told

    def _indexed(self, name: str, points: int) -> int:
        """Return how many vectors an index covers: none while a segment is smaller than the threshold, in KB."""
        beside, vectors = self.beside[name], self.engine.collections[name].config.vectors
        size = vectors.size if isinstance(vectors, models.VectorParams) else 0
        threshold = beside.settings["optimizers_config"]["indexing_threshold"] or 0
        return points if not beside.is_deferred and points * size * _FLOAT_BYTES > threshold * 1000 else 0

    def _having(self, name: str, its: str) -> int:
        collection = self.engine.collections[name]
        shown = (collection.payload[at] for at in collection.ids.values() if not collection.deleted[at])
        return sum(its in payload for payload in shown)

    def create_index(self, name: str, sent: Told) -> None:
        """Record an index of the payload."""
        its, schema = sent.get("field_name"), sent.get("field_schema")
        params = schema if isinstance(schema, dict) else None
        kind = schema.get("type") if isinstance(schema, dict) else schema
        if not isinstance(its, str) or kind not in _INDEX_TYPES:
            raise RefusalError(400, f"Format error in JSON body: unknown index {schema!r} of {its!r}")
        told: dict[str, Any] = {"data_type": kind} | ({"params": params} if params else {})
        self.beside[self.real_name(name)].indexes[its] = told

    def delete_index(self, name: str, its: str) -> None:
        """Forget an index of the payload."""
        self.beside[self.real_name(name)].indexes.pop(its, None)

    def check_order(self, name: str, key: str) -> None:
        """Refuse to order by a field without an index of ranges, as the server does."""
        index = self.beside[self.real_name(name)].indexes.get(key)
        if index is None or index["data_type"] not in _RANGE_TYPES:
            reason = f"No range index for `order_by` key: `{key}`. Please create one to use `order_by`."
            raise RefusalError(400, f"Bad request: {reason}")

    def update_aliases(self, actions: Iterable[Told]) -> bool:
        """Carry out actions on aliases: all of them, seen at once, or none."""
        made = dict(self.engine.aliases)
        for action in actions:
            match dict(action):
                case {"create_alias": {"collection_name": str(name), "alias_name": str(alias)}}:
                    if name not in self.engine.collections:
                        raise RefusalError(404, f"Not found: Collection `{name}` doesn't exist!")
                    if alias in self.engine.collections:
                        raise RefusalError(409, f"Wrong input: Collection `{alias}` already exists!")
                    made[alias] = name
                case {"delete_alias": {"alias_name": str(alias)}}:
                    made.pop(alias, None)
                case {"rename_alias": {"old_alias_name": str(old), "new_alias_name": str(new)}}:
                    if old not in made:
                        raise RefusalError(404, f"Not found: Alias {old} does not exists!")
                    made[new] = made.pop(old)
                case other:
                    raise RefusalError(400, f"Format error in JSON body: unknown action {other}")
        self.engine.aliases = made
        return True

    def upsert(self, name: str, sent: Told) -> None:
        """Write points, each checked before the first is written; RefusalError 400."""
        name = self.real_name(name)
        points = _points(sent)
        collection = self.engine.collections[name]
        vectors = collection.config.vectors
        for point in points:
            _check_id(point.id)
            self._check_vector(vectors, point.vector)
        collection.upsert(points)

    def _check_vector(self, declared: Any, vector: Any) -> None:  # noqa: ANN401 - whatever is sent
        if isinstance(vector, dict):
            for its, one in vector.items():
                named = declared.get(its) if isinstance(declared, dict) else declared if its == "" else None
                if isinstance(one, list):
                    self._check_vector(named, one)
            return
        if not isinstance(declared, models.VectorParams):
            raise RefusalError(400, "Wrong input: Not existing vector name error: ")
        if not isinstance(vector, list) or not all(type(one) in {int, float} for one in vector):
            raise RefusalError(
                400, "Format error in JSON body: data did not match any variant of untagged enum VectorStruct"
            )
        if len(vector) != declared.size:
            reason = f"expected dim: {declared.size}, got {len(vector)}"
            raise RefusalError(400, f"Wrong input: Vector dimension error: {reason}")


def _points(sent: Told) -> list[models.PointStruct]:
    """Return the points of an upsert, sent as a list of points or as a batch of columns."""
    match dict(sent):
        case {"points": list(points)}:
            each = [(one.get("id"), one.get("vector", {}), one.get("payload")) for one in points]
        case {"batch": {"ids": list(ids), "vectors": list(vectors)}}:
            payloads = sent["batch"].get("payloads") or [None] * len(ids)
            if not len(ids) == len(vectors) == len(payloads):
                raise RefusalError(400, "Wrong input: number of ids, vectors and payloads differ")
            each = list(zip(ids, vectors, payloads, strict=True))
        case _:
            raise RefusalError(400, "Format error in JSON body: points or batch are wanted")
    # Without pydantic's checks, which cost more than all the rest; what matters is checked by us.
    return [models.PointStruct.model_construct(id=its, vector=vector, payload=payload) for its, vector, payload in each]


def _check_id(its: object) -> None:
    if isinstance(its, int) and not isinstance(its, bool) and its >= 0:
        return
    try:
        UUID(str(its) if isinstance(its, str) else "")
    except ValueError:
        reason = "valid values are either an unsigned integer or a UUID"
        raise RefusalError(400, f"Format error in JSON body: value {its} is not a valid point ID, {reason}") from None


def _json(model: Any) -> Any:  # noqa: ANN401 - pydantic's models to JSON
    return model.model_dump(mode="json")
