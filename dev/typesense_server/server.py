"""The HTTP server of Typesense's stand-in: which address answers what, and the faults on the way."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dev.stand_in import RefusalError, Reply, Request, StandIn, json_reply
from dev.typesense_server.filters import parse_filter
from dev.typesense_server.rules import KINDS, on_rules
from dev.typesense_server.schema import InvalidDocumentError
from dev.typesense_server.search import search, shown
from dev.typesense_server.store import Collection, FailingDocument, TypesenseStore

__all__ = ["Searches", "TypesenseServer"]

_FORBIDDEN = "Forbidden - a valid `x-typesense-api-key` header must be sent."
_LONGEST_QUERY = 4000
_MOST_SEARCHES = 50
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}


@dataclass
class Searches:
    """How searches went, each one of a multi_search counted.

    Attributes:
        asked: all of them.
        failed: those answered with an error, also for want of a key or by a fault of `not_ready`.
        empty: those that found nothing.
    """

    asked: int = 0
    failed: int = 0
    empty: int = 0


class TypesenseServer(StandIn):
    """Serves a store on 127.0.0.1 while it is used as a context manager.

    Attributes:
        store: the collections.
        keys: the keys that may do everything.
        search_keys: the keys that may only search and read documents.
        searches: how searches went.
        is_sink: whether documents that come by import are counted and not kept.
    """

    def __init__(
        self,
        store: TypesenseStore | None = None,
        *,
        keys: Iterable[str] = (),
        search_keys: Iterable[str] = (),
        port: int = 0,
        is_sink: bool = False,
    ) -> None:
        super().__init__(port=port)
        self.store = store or TypesenseStore()
        self.keys = set(keys)
        self.search_keys = set(search_keys)
        self.searches = Searches()
        self.is_sink = is_sink
        self._lock = threading.Lock()
        self._refused: dict[str, list[tuple[int, str]]] = {"reads": [], "writes": []}

    @property
    def node(self) -> dict[str, str]:
        """What the client wants to know of it."""
        return {"host": "127.0.0.1", "port": str(self.port), "protocol": "http"}

    def not_ready(self, which: Literal["reads", "writes"], times: int) -> None:
        """Answer the next reads or writes with 503, as a node that lags behind; no times: recover."""
        self._refuse_next(which, times, 503, "Not Ready or Lagging")

    def out_of(self, resource: Literal["DISK", "MEMORY"], times: int) -> None:
        """Answer the next writes with 422, for want of a resource; no times: recover."""
        self._refuse_next("writes", times, 422, f"Rejecting write: running out of resource type: OUT_OF_{resource}")

    def fail_documents(
        self, ids: Iterable[str], *, code: int = 400, error: str = "planted by a test", times: int = 1_000_000
    ) -> None:
        """Refuse documents each time they are written, so many times each; only their own lines tell."""
        with self.store.lock:
            self.store.failing.update({its: FailingDocument(code, error, times) for its in ids})

    def _refuse_next(self, which: str, times: int, status: int, message: str) -> None:
        with self._lock:
            kept = [one for one in self._refused[which] if times or one[0] != status]
            self._refused[which] = kept + [(status, message)] * times

    def answer(self, request: Request) -> Reply:
        """Answer a request."""
        if request.parts[0] == "health":
            return self._health()
        is_search = request.parts[-1] in {"search", "multi_search"}
        try:
            self._let_in(request, is_search=is_search)
            self._strike("reads" if request.method == "GET" or is_search else "writes")
        except RefusalError:
            if is_search:
                self._count(failed=1)
            raise
        return self._routed(request)

    def _let_in(self, request: Request, *, is_search: bool) -> None:
        key = request.headers.get("x-typesense-api-key") or request.query.get("x-typesense-api-key")
        is_document = request.method == "GET" and len(request.parts) == _DOCUMENT and request.parts[-1] != "export"
        if key not in self.keys and not (key in self.search_keys and (is_search or is_document)):
            raise RefusalError(401, _FORBIDDEN)

    def _strike(self, which: str) -> None:
        with self._lock:
            refused = self._refused[which].pop(0) if self._refused[which] else None
        if refused is not None:
            raise RefusalError(*refused)

    def _health(self) -> Reply:
        with self._lock:
            refused = [one for several in self._refused.values() for one in several[:1]]
        lags = any(status == 503 for status, _ in refused)  # noqa: PLR2004 - the status itself
        told: dict[str, Any] = {"ok": not lags}
        for status, message in refused:
            if status == 422:  # noqa: PLR2004 - the status itself
                told["resource_error"] = message.rpartition(" ")[2]
        return json_reply(told, 503 if lags else 200)

    def _count(self, *, failed: int = 0, empty: int = 0) -> None:
        with self._lock:
            self.searches.asked += 1
            self.searches.failed += failed
            self.searches.empty += empty

    def _routed(self, request: Request) -> Reply:
        parts = request.parts
        match parts:
            case ("collections", *_):
                return self._in_collections(request, parts[1:])
            case ("aliases", *_):
                return self._in_aliases(request, parts[1:])
            case ("multi_search",) if request.method == "POST":
                return self._multi_search(request)
            case ("debug",):
                return json_reply({"state": 1, "version": "27.1"})
            case ("stats.json",):
                return json_reply({"pending_write_batches": 0, "write_requests_per_second": 0.0})
            case ("metrics.json",):
                return json_reply({"system_memory_total_bytes": "0", "typesense_memory_active_bytes": "0"})
        raise RefusalError(404, "Not Found")

    def _in_collections(self, request: Request, parts: tuple[str, ...]) -> Reply:
        store = self.store
        match (request.method, *parts):
            case ("GET",):
                listed = [made.summary() for made in reversed(list(store.collections.values()))]
                return json_reply(listed)
            case ("POST",):
                return json_reply(store.create_collection(_body(request)).summary(), 201)
            case ("GET", name):
                return json_reply(store.collection(name).summary())
            case ("PATCH", name):
                return json_reply(self._alter(store.collection(name), _body(request)))
            case ("DELETE", name):
                return json_reply(store.delete_collection(name))
            case (_, name, kind, *its):
                return self._in_collection(request, name, kind, tuple(its))
        raise RefusalError(404, "Not Found")

    def _in_collection(self, request: Request, name: str, kind: str, parts: tuple[str, ...]) -> Reply:
        if kind == "documents":
            return self._in_documents(request, name, parts)
        if kind not in KINDS:
            raise RefusalError(404, "Not Found")
        sent = _body(request) if request.method == "PUT" else None
        with self.store.lock:
            return json_reply(on_rules(self.store.collection(name), kind, request.method, parts, sent))

    def _alter(self, collection: Collection, told: object) -> object:
        if not isinstance(told, dict) or not told:
            raise RefusalError(400, "Alter payload is empty.")
        if not {"fields", "metadata"}.issuperset(told):
            raise RefusalError(400, "Only `fields` and `metadata` can be updated at the moment.")
        if not isinstance(told.get("metadata", {}), dict):
            raise RefusalError(400, "The `metadata` value should be an object.")
        if not isinstance(told.get("fields", []), list):
            raise RefusalError(400, "The `fields` value should be an array of objects containing the field `name`.")
        with self.store.lock:
            collection.alter(told.get("fields", []))
            if "metadata" in told:
                collection.metadata = told["metadata"]
        return told

    def _in_documents(self, request: Request, name: str, parts: tuple[str, ...]) -> Reply:
        if (request.method, *parts) == ("GET", "search"):
            return self._search(request, name)
        collection = self.store.collection(name)
        match (request.method, *parts):
            case ("POST", "import"):
                return Reply(200, self._import(collection, request), _TEXT)
            case ("GET", "export"):
                return Reply(200, _export(collection, request.query), _TEXT)
            case ("POST",):
                return self._write(collection, request, request.query.get("action", "create"), 201)
            case ("DELETE",):
                told = {"num_deleted": self._delete(collection, request.query)}
            case ("PATCH",):
                told = {"num_updated": self._update(collection, request)}
            case _:
                return self._on_document(request, collection, parts)
        return json_reply(told)

    def _on_document(self, request: Request, collection: Collection, parts: tuple[str, ...]) -> Reply:
        match (request.method, *parts):
            case ("GET", its):
                return json_reply(shown(_document(collection, its), request.query))
            case ("PATCH", its):
                return self._write(collection, request, "update", 200, its)
            case ("DELETE", its):
                with self.store.lock:
                    gone = _document(collection, its)
                    del collection.documents[its]
                return json_reply(gone)
        raise RefusalError(404, "Not Found")

    def _import(self, collection: Collection, request: Request) -> bytes:
        if not self.is_sink:
            return self.store.import_lines(collection, request.body, request.query)
        lines = request.body.count(b"\n") + (not request.body.endswith(b"\n"))
        with self.store.lock:
            collection.counted += lines
        return (b'{"success":true}\n' * lines)[:-1]

    def _write(self, collection: Collection, request: Request, action: str, status: int, its: str = "") -> Reply:
        sent = _body(request)
        if its and isinstance(sent, dict):
            sent = {**sent, "id": its}
        try:
            dirty = request.query.get("dirty_values", "reject").lower()
            return json_reply(self.store.write(collection, sent, action, dirty), status)
        except InvalidDocumentError as error:
            raise RefusalError(error.code, str(error)) from None

    def _delete(self, collection: Collection, query: Mapping[str, str]) -> int:
        if query.get("truncate") == "true":
            return self.store.delete_documents(collection, lambda _: True)
        if not query.get("filter_by", "").strip():
            raise RefusalError(400, "Parameter `filter_by` must be provided.")
        return self.store.delete_documents(collection, parse_filter(query["filter_by"], collection.fields))

    def _update(self, collection: Collection, request: Request) -> int:
        sent = _body(request)
        if not request.query.get("filter_by", "").strip() or not isinstance(sent, dict):
            raise RefusalError(400, "Parameter `filter_by` must be provided.")
        fits = parse_filter(request.query["filter_by"], collection.fields)
        with self.store.lock:
            struck = [its for its, document in collection.documents.items() if fits(document)]
            for its in struck:
                collection.write({**sent, "id": its}, "update")
        return len(struck)

    def _search(self, request: Request, name: str) -> Reply:
        if len(request.raw_query) > _LONGEST_QUERY:
            self._count(failed=1)
            words = f"Query string exceeds max allowed length of {_LONGEST_QUERY}."
            raise RefusalError(400, f"{words} Use the /multi_search end-point for larger payloads.")
        return json_reply(self._counted_search(name, request.query))

    def _counted_search(self, name: str, query: Mapping[str, Any]) -> dict[str, Any]:
        try:
            found = search(self.store.collection(name), query)
        except Exception:
            self._count(failed=1)
            raise
        self._count(empty=int(not found["found"]))
        return found

    def _multi_search(self, request: Request) -> Reply:
        told = _body(request)
        asked = told.get("searches") if isinstance(told, dict) else None
        if not isinstance(asked, list):
            raise RefusalError(400, "Missing `searches` array.")
        if len(asked) > _MOST_SEARCHES:
            raise RefusalError(400, "Number of multi searches exceeds `limit_multi_searches` parameter.")
        results = []
        for one in asked:
            query = {**request.query, **one}
            try:
                results.append(self._counted_search(str(query.get("collection", "")), query))
            except RefusalError as error:
                results.append({"code": error.status, "error": str(error)})
        return json_reply({"results": results})

    def _in_aliases(self, request: Request, parts: tuple[str, ...]) -> Reply:
        aliases = self.store.aliases
        told: Callable[[str], dict[str, str]] = lambda name: {"collection_name": aliases[name], "name": name}  # noqa: E731
        match (request.method, *parts):
            case ("GET",):
                return json_reply({"aliases": [told(name) for name in sorted(aliases)]})
            case ("PUT", name):
                sent = _body(request)
                return json_reply(
                    self.store.set_alias(name, sent.get("collection_name") if isinstance(sent, dict) else 0)
                )
            case ("GET" | "DELETE", name) if name in aliases:
                with self.store.lock:
                    shown_as = told(name)
                    if request.method == "DELETE":
                        del aliases[name]
                return json_reply(shown_as)
        raise RefusalError(404, "Not Found")


_DOCUMENT = len(("collections", "name", "documents", "id"))


def _body(request: Request) -> Any:  # noqa: ANN401 - JSON
    try:
        return request.json()
    except ValueError:
        raise RefusalError(400, "Bad JSON.") from None


def _document(collection: Collection, its: str) -> dict[str, Any]:
    found = collection.documents.get(its)
    if found is None:
        raise RefusalError(404, f"Could not find a document with id: {its}")
    return found


def _export(collection: Collection, query: Mapping[str, str]) -> bytes:
    fits = parse_filter(query.get("filter_by", ""), collection.fields)
    kept = (shown(document, query) for document in list(collection.documents.values()) if fits(document))
    return "\n".join(json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in kept).encode()
