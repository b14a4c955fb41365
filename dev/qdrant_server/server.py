"""The HTTP server of Qdrant's stand-in: which address answers what, and the faults on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Any, cast

from pydantic import ValidationError
from qdrant_client.http import models

from dev.qdrant_server.store import QdrantStore, Told
from dev.stand_in import RefusalError, Reply, Request, StandIn, json_reply, parse_json

__all__ = ["QdrantServer"]

_TEXT = {"Content-Type": "text/plain; charset=utf-8"}
_PROBES = {"healthz", "livez", "readyz"}


class QdrantServer(StandIn):
    """Serves a store on 127.0.0.1 while it is used as a context manager.

    Attributes:
        store: the collections.
        keys: the keys that are valid; without any, everybody may do everything, as with the real server.
        is_sink: whether points that come are counted and not kept.
        searches: how many queries came; `empty_searches` of them found nothing, `failed_searches` got an error.
    """

    def __init__(
        self, store: QdrantStore | None = None, *, keys: Iterable[str] = (), port: int = 0, is_sink: bool = False
    ) -> None:
        super().__init__(port=port)
        self.store = store or QdrantStore()
        self.keys = set(keys)
        self.is_sink = is_sink
        self.searches = 0
        self.empty_searches = 0
        self.failed_searches = 0

    def refuse(self, status: int, message: str) -> Reply:
        """Answer with an error as Qdrant words it: plain text for a missing key, JSON otherwise."""
        if status in {401, 403}:
            return Reply(status, message.encode(), _TEXT)
        return json_reply({"status": {"error": message}, "time": 0.0}, status)

    def answer(self, request: Request) -> Reply:
        """Answer a request."""
        if request.parts[0] in _PROBES:
            return Reply(200, f"{request.parts[0]} check passed".encode(), _TEXT)
        if request.parts == ("",):  # needs no key either
            return json_reply({"title": "qdrant - vector search engine", "version": version("qdrant-client")})
        self._let_in(request)
        started = time.monotonic()
        try:
            result = self._result(request)
        except ValidationError as error:
            raise RefusalError(400, f"Format error in JSON body: {error.errors()[0]['msg']}") from None
        except (AssertionError, KeyError, TypeError, ValueError) as error:  # how the engine tells of bad input
            raise RefusalError(400, f"Wrong input: {error}") from None
        return json_reply({"result": result, "status": "ok", "time": time.monotonic() - started})

    def _let_in(self, request: Request) -> None:
        bearer = request.headers.get("authorization", "")
        key = request.headers.get("api-key") or bearer.removeprefix("Bearer ")
        if self.keys and key not in self.keys:
            raise RefusalError(
                401, "Invalid API key or JWT" if key else "Must provide an API key or an Authorization bearer token"
            )

    def _result(self, request: Request) -> Any:  # noqa: ANN401 - JSON
        parts = request.parts
        if self.is_sink and request.method == "PUT" and parts[2:] == ("points",):
            return self._sink(request)
        body = _body(request)
        with self.store.lock:
            match parts:
                case ("collections", name) if name != "aliases":
                    return self._on_collection(request.method, name, body)
                case ("collections", name, "points", *rest):
                    return self._on_points(request, name, tuple(rest), body)
                case ("collections", name, *rest) if rest:
                    return self._beside(request.method, name, tuple(rest), body)
            return self._on_all(request.method, parts, body)

    def _on_all(self, method: str, parts: tuple[str, ...], body: Told) -> object:
        match (method, *parts):
            case ("GET", "aliases"):
                return {"aliases": _aliases(self.store.aliases)}
            case ("GET", "collections"):
                return {"collections": [{"name": name} for name in self.store.engine.collections]}
            case ("POST", "collections", "aliases"):
                return self.store.update_aliases(body.get("actions", []))
        raise RefusalError(404, "Not Found")

    def _on_collection(self, method: str, name: str, body: Told) -> object:
        match method:
            case "GET":
                return self.store.info(name)
            case "PUT":
                return self.store.create(name, body)
            case "PATCH":
                return self.store.update(name, body)
            case "DELETE":
                return self.store.delete(name)
        raise RefusalError(405, "Method Not Allowed")

    def _beside(self, method: str, name: str, rest: tuple[str, ...], body: Told) -> object:
        store = self.store
        match (method, *rest):
            case ("GET", "exists"):
                return {"exists": store.aliases.get(name, name) in store.engine.collections}
            case ("GET", "aliases"):
                real = store.real_name(name)
                return {"aliases": _aliases({alias: its for alias, its in store.aliases.items() if its == real})}
            case ("PUT", "index"):
                store.create_index(name, body)
                return _done()
            case ("DELETE", "index", its):
                store.delete_index(name, its)
                return _done()
            case ("POST", "facet"):
                told = models.FacetRequest.model_validate(body)
                found = store.engine.facet(store.real_name(name), told.key, told.filter, told.limit or 10)
                return _json(found)
        raise RefusalError(404, "Not Found")

    def _on_points(self, request: Request, name: str, rest: tuple[str, ...], body: Told) -> object:
        if rest[:1] == ("query",):
            return self._counted_query(name, rest, body)
        real = self.store.real_name(name)
        if (request.method, rest) == ("PUT", ()):
            self.store.upsert(real, body)
            return _done(request)
        if request.method == "GET" and len(rest) == 1:
            found = self.store.engine.retrieve(real, [_id(rest[0])], with_payload=True, with_vectors=True)
            if not found:
                raise RefusalError(404, f"Not found: Point with id {rest[0]} does not exists!")
            return _json(found[0])
        route = _POINT_ROUTES.get((request.method, *rest))
        if route is None:
            raise RefusalError(404, "Not Found")
        result = route(self.store, real, body)
        return _done(request) if result is None else result

    def _counted_query(self, name: str, rest: tuple[str, ...], body: Told) -> object:
        self.searches += 1
        try:
            result = _QUERIES[rest[1:]](self.store, self.store.real_name(name), body)
        except Exception:
            self.failed_searches += 1
            raise
        self.empty_searches += not (result.get("points") or result.get("groups")) if isinstance(result, dict) else False
        return result

    def _sink(self, request: Request) -> object:
        """Count points by their marks in the JSON text: a quotation mark within a value is escaped, so it has none."""
        sent = request.body
        if b'"points"' in sent[:64]:
            points = sent.count(b'"vector":') or sent.count(b'"vector" :')
        else:
            ids = sent[sent.index(b"[", sent.index(b'"ids"')) :]
            points = ids[: ids.index(b"]")].count(b",") + 1
        with self.store.lock:
            self.store.beside[self.store.real_name(request.parts[1])].counted += points
        return _done(request)


def _retrieve(store: QdrantStore, name: str, body: Told) -> object:
    told = models.PointRequest.model_validate(body)
    payload = True if told.with_payload is None else told.with_payload
    return list(map(_json, store.engine.retrieve(name, told.ids, payload, told.with_vector or False)))


def _scroll(store: QdrantStore, name: str, body: Told) -> object:
    told = models.ScrollRequest.model_validate(body)
    if told.order_by is not None:
        store.check_order(name, told.order_by if isinstance(told.order_by, str) else told.order_by.key)
    points, following = store.engine.scroll(
        name,
        told.filter,
        told.limit or 10,
        told.order_by,
        told.offset,
        True if told.with_payload is None else told.with_payload,
        told.with_vector or False,
    )
    return {"points": list(map(_json, points)), "next_page_offset": following}


def _count(store: QdrantStore, name: str, body: Told) -> object:
    told = models.CountRequest.model_validate(body)
    counted = 0 if told.filter else store.beside[name].counted
    return {"count": int(store.engine.count(name, told.filter).count) + counted}


def _delete(store: QdrantStore, name: str, body: Told) -> None:
    store.engine.delete(name, _selected(body))


def _set_payload(store: QdrantStore, name: str, body: Told) -> None:
    store.engine.set_payload(name, dict(body["payload"]), _selected(body), key=body.get("key"))


def _overwrite_payload(store: QdrantStore, name: str, body: Told) -> None:
    store.engine.overwrite_payload(name, dict(body["payload"]), _selected(body))


def _delete_payload(store: QdrantStore, name: str, body: Told) -> None:
    store.engine.delete_payload(name, list(body["keys"]), _selected(body))


def _clear_payload(store: QdrantStore, name: str, body: Told) -> None:
    store.engine.clear_payload(name, _selected(body))


def _update_vectors(store: QdrantStore, name: str, body: Told) -> None:
    store.engine.update_vectors(name, models.UpdateVectors.model_validate(body).points)


def _batch(store: QdrantStore, name: str, body: Told) -> object:
    """Carry out operations in order; those before one that fails stay done."""
    done = []
    for operation in body["operations"]:
        ((kind, told),) = operation.items()
        if kind == "upsert":
            store.upsert(name, told)
        else:
            _POINT_ROUTES[_OPERATIONS[kind]](store, name, told)
        done.append(_done())
    return done


def _query(store: QdrantStore, name: str, body: Told) -> dict[str, Any]:
    told = models.QueryRequest.model_validate(body)
    found = store.engine.query_points(
        name,
        query=cast("models.Query", told.query),
        using=told.using,
        prefetch=told.prefetch,
        query_filter=told.filter,
        limit=told.limit or 10,
        offset=told.offset,
        with_payload=told.with_payload or False,
        with_vectors=told.with_vector or False,
        score_threshold=told.score_threshold,
    )
    return dict(_json(found))


def _query_batch(store: QdrantStore, name: str, body: Told) -> list[dict[str, Any]]:
    return [_query(store, name, one) for one in body["searches"]]


def _query_groups(store: QdrantStore, name: str, body: Told) -> dict[str, Any]:
    told = models.QueryGroupsRequest.model_validate(body)
    found = store.engine.query_points_groups(
        name,
        told.group_by,
        query=told.query,
        using=told.using,
        prefetch=told.prefetch,
        query_filter=told.filter,
        limit=told.limit or 10,
        group_size=told.group_size or 3,
        with_payload=told.with_payload or False,
        with_vectors=told.with_vector or False,
        score_threshold=told.score_threshold,
    )
    return dict(_json(found))


_QUERIES: Mapping[tuple[str, ...], Callable[[QdrantStore, str, Told], Any]] = {
    (): _query,
    ("batch",): _query_batch,
    ("groups",): _query_groups,
}
#: None: it is done; anything else is the result.
_POINT_ROUTES: Mapping[tuple[str, ...], Callable[[QdrantStore, str, Told], Any]] = {
    ("POST",): _retrieve,
    ("POST", "scroll"): _scroll,
    ("POST", "count"): _count,
    ("POST", "delete"): _delete,
    ("POST", "payload"): _set_payload,
    ("PUT", "payload"): _overwrite_payload,
    ("POST", "payload", "delete"): _delete_payload,
    ("POST", "payload", "clear"): _clear_payload,
    ("PUT", "vectors"): _update_vectors,
    ("POST", "batch"): _batch,
}
_OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "delete": ("POST", "delete"),
    "set_payload": ("POST", "payload"),
    "overwrite_payload": ("PUT", "payload"),
    "delete_payload": ("POST", "payload", "delete"),
    "clear_payload": ("POST", "payload", "clear"),
    "update_vectors": ("PUT", "vectors"),
}


def _selected(body: Told) -> Any:  # noqa: ANN401 - ids or a filter
    if body.get("points") is not None:
        return list(body["points"])
    if body.get("filter") is not None:
        return models.Filter.model_validate(body["filter"])
    raise RefusalError(400, "Format error in JSON body: points or filter are wanted")


def _done(request: Request | None = None) -> dict[str, Any]:
    is_waited_for = request is None or request.query.get("wait") == "true"
    return {"operation_id": 0, "status": "completed" if is_waited_for else "acknowledged"}


def _aliases(aliases: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"alias_name": alias, "collection_name": name} for alias, name in aliases.items()]


def _id(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _body(request: Request) -> dict[str, Any]:
    try:
        told = parse_json(request.body or b"{}")
    except ValueError as error:
        raise RefusalError(400, f"Format error in JSON body: {error}") from None
    if not isinstance(told, dict):
        raise RefusalError(400, "Format error in JSON body: an object is wanted")
    return told


def _json(model: Any) -> Any:  # noqa: ANN401 - pydantic's models to JSON
    return model.model_dump(mode="json")
