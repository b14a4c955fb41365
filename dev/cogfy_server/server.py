"""The HTTP server of Cogfy's stand-in: which address answers what, and the faults on the way."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from dev.cogfy_server.store import BadRequestError, CogfyStore, Collection, matching, sort_key
from dev.hub_server.faults import Fault, FaultPlan

__all__ = ["CogfyServer"]

_ID = r"(?P<collection>[0-9a-f-]{36})"


class CogfyServer:
    """Serves a store on 127.0.0.1 while it is used as a context manager.

    Attributes:
        store: the collections.
        url: the base address, with its final slash.
        keys: the keys that are valid.
        requests: "METHOD /path" of each request, in order.
        bodies: what was sent with each, beside `requests`.
        faults: faults to play; change it at any time.
        most_page: larger pages of records are answered with 504, as the real gateway does; None: any size.
        own_page: the service's own largest page, to which a larger one is cut; None: any size.
        most_window: windows of dates wider than this are answered with 502; None: any width.
    """

    def __init__(self, store: CogfyStore, *, keys: Iterable[str] = (), port: int = 0) -> None:
        self.store = store
        self.keys = set(keys)
        self.requests: list[str] = []
        self.bodies: list[Any] = []
        self.faults: list[Fault] = []
        self.fault_plan = FaultPlan()
        self.most_page: int | None = None
        self.own_page: int | None = None
        self.most_window: timedelta | None = None
        self.connections: set[socket.socket] = set()
        self._http = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"cogfy": self}))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._http.server_port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        for connection in list(self.connections):  # kept alive by clients, they would be served on
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def asked(self, pattern: str) -> list[Any]:
        """Return what was sent with the requests in whose "METHOD /path" a regular expression is found."""
        both = zip(self.requests, self.bodies, strict=True)
        return [body for request, body in both if re.search(pattern, request)]


class _RefusalError(Exception):
    """An error to be answered."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    cogfy: CogfyServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.cogfy.connections.add(self.connection)

    def finish(self) -> None:
        self.cogfy.connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: object) -> None:
        """Keep quiet: `CogfyServer.requests` has it."""

    def serve(self) -> None:
        """Answer one request, or play the fault that strikes it."""
        split = urlsplit(self.path)
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = f"{self.command} {split.path}"
        body = _json(sent)
        self.cogfy.requests.append(request)
        self.cogfy.bodies.append(body)
        fault = self.cogfy.fault_plan.strike(self.cogfy.faults, request)
        answer = None
        if fault is None or fault.after or not (fault.drop or fault.status):
            answer = self._answer(split.path, parse_qs(split.query), body)
        if fault is None:
            self._send(*answer or (500, {}))
            return
        time.sleep(fault.delay)
        if fault.drop:
            self.close_connection = True
        elif fault.status:
            self._send(fault.status, {"message": "planted by a test"}, fault.headers)
        elif answer is not None:
            self._send(*answer, cut=fault.cut)

    do_GET = do_POST = serve  # noqa: N815 -- named by http.server

    def _answer(self, path: str, query: Mapping[str, list[str]], body: Any) -> tuple[int, dict[str, Any]]:  # noqa: ANN401 - JSON
        if self.headers.get("Api-Key") not in self.cogfy.keys:
            return HTTPStatus.UNAUTHORIZED, {"message": "invalid API key"}
        try:
            for method, pattern, route in _ROUTES:
                if method == self.command and (found := re.fullmatch(pattern, path)):
                    return HTTPStatus.OK, route(self.cogfy, _collection(self.cogfy, found.groupdict()), query, body)
        except BadRequestError as error:
            return HTTPStatus.BAD_REQUEST, {"message": str(error)}
        except _RefusalError as error:
            return error.status, {"message": str(error)}
        return HTTPStatus.NOT_FOUND, {"message": "no such address"}

    def _send(
        self, status: int, data: Mapping[str, Any], headers: Mapping[str, str] | None = None, cut: int | None = None
    ) -> None:
        content = json.dumps(data).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[:cut])
        self.close_connection = self.close_connection or cut is not None


def _collections(
    cogfy: CogfyServer, _: Collection | None, query: Mapping[str, list[str]], __: object
) -> dict[str, Any]:
    number, size = (int(query.get(name, [default])[0]) for name, default in (("pageNumber", "0"), ("pageSize", "50")))
    listed = [{"id": c.id, "name": c.name} for c in cogfy.store.collections.values()]
    return _page(listed, number, size)


def _one(_: CogfyServer, collection: Collection | None, *__: object) -> dict[str, Any]:
    made = _there(collection)
    return {"id": made.id, "name": made.name}


def _fields(_: CogfyServer, collection: Collection | None, *__: object) -> dict[str, Any]:
    return {"data": list(_there(collection).fields.values())}


def _new_field(cogfy: CogfyServer, collection: Collection | None, _: object, body: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    told = _object(body)
    return {"id": cogfy.store.create_field(_there(collection), str(told.get("name")), str(told.get("type")))}


def _new_record(cogfy: CogfyServer, collection: Collection | None, _: object, body: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"id": cogfy.store.create_record(_there(collection), _object(_object(body).get("properties")))}


def _query(cogfy: CogfyServer, collection: Collection | None, _: object, body: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    told, made = _object(body), _there(collection)
    number, size = int(told.get("pageNumber", 0)), int(told.get("pageSize", 50))
    if cogfy.most_page is not None and size > cogfy.most_page:
        raise _RefusalError(HTTPStatus.GATEWAY_TIMEOUT, "upstream request timeout")
    wanted = told.get("filter")
    if cogfy.most_window is not None and wanted and _width(wanted) > cogfy.most_window:
        raise _RefusalError(HTTPStatus.BAD_GATEWAY, "bad gateway")
    with cogfy.store.lock:
        found = list(made.records) if wanted is None else matching(made, _object(wanted))
    for order in reversed(told.get("orderBy") or []):
        if order.get("direction") not in {"asc", "desc"} or order.get("fieldId") not in made.fields:
            raise BadRequestError(f"unknown order {order}")
        found.sort(key=lambda r: sort_key(r, order["fieldId"]), reverse=order["direction"] == "desc")
    size = min(size, cogfy.own_page or size)
    page = _page(found, number, size)
    return {**page, "data": [cogfy.store.read(made, record) for record in page["data"]]}


_Route = Callable[[CogfyServer, Collection | None, Mapping[str, list[str]], Any], dict[str, Any]]
_ROUTES: tuple[tuple[str, str, _Route], ...] = (
    ("GET", "/collections", _collections),
    ("GET", f"/collections/{_ID}", _one),
    ("GET", f"/collections/{_ID}/fields", _fields),
    ("POST", f"/collections/{_ID}/fields", _new_field),
    ("POST", f"/collections/{_ID}/records", _new_record),
    ("POST", f"/collections/{_ID}/records/query", _query),
)


def _page(items: list[Any], number: int, size: int) -> dict[str, Any]:
    first = number * size
    return {"data": items[first : first + size], "pageNumber": number, "pageSize": size, "totalSize": len(items)}


def _width(wanted: Mapping[str, Any]) -> timedelta:
    """Return how much time a filter spans; none if it has not both ends."""
    ends = [
        datetime.fromisoformat(condition[condition["type"]]["value"])
        for condition in wanted.get("and", {}).get("filters", [])
        if condition.get("type") in {"greaterThanOrEquals", "lessThanOrEquals"}
    ]
    return max(ends) - min(ends) if ends else timedelta()


def _collection(cogfy: CogfyServer, found: Mapping[str, str]) -> Collection | None:
    wanted = found.get("collection")
    if wanted is not None and wanted not in cogfy.store.collections:
        raise _RefusalError(HTTPStatus.NOT_FOUND, "no such collection")
    return cogfy.store.collections[wanted] if wanted else None


def _there(collection: Collection | None) -> Collection:
    if collection is None:
        raise _RefusalError(HTTPStatus.NOT_FOUND, "no such collection")
    return collection


def _object(body: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    if not isinstance(body, dict):
        raise BadRequestError("a JSON object is wanted")
    return body


def _json(sent: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(sent or b"null")
    except ValueError:
        return None
