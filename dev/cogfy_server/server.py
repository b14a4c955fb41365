"""The HTTP server of Cogfy's stand-in: which address answers what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from dev.cogfy_server.store import BadRequestError, CogfyStore, Collection, matching, sort_key
from dev.stand_in import RefusalError, Reply, Request, StandIn, json_reply

__all__ = ["CogfyServer"]


class CogfyServer(StandIn):
    """Serves a store on 127.0.0.1 while it is used as a context manager.

    Attributes:
        store: the collections.
        url: the base address, here with its final slash.
        keys: the keys that are valid.
        bodies: what was sent with each of `requests`, read as JSON; None if it is none.
        most_page: larger pages of records are answered with 504, as the real gateway does; None: any size.
        own_page: the service's own largest page, to which a larger one is cut; None: any size.
        most_window: windows of dates wider than this are answered with 502; None: any width.
    """

    def __init__(self, store: CogfyStore, *, keys: Iterable[str] = (), port: int = 0) -> None:
        super().__init__(port=port)
        self.url += "/"
        self.store = store
        self.keys = set(keys)
        self.bodies: list[Any] = []
        self.most_page: int | None = None
        self.own_page: int | None = None
        self.most_window: timedelta | None = None

    def record(self, request: Request) -> None:
        """Take down a request and its body."""
        super().record(request)
        self.bodies.append(_json(request))

    def asked(self, pattern: str) -> list[Any]:
        """Return what was sent with the requests in whose "METHOD /path" a regular expression is found."""
        both = zip(self.requests, self.bodies, strict=True)
        return [body for request, body in both if re.search(pattern, request)]

    def answer(self, request: Request) -> Reply:
        """Answer a request."""
        if request.headers.get("api-key") not in self.keys:
            raise RefusalError(HTTPStatus.UNAUTHORIZED, "invalid API key")
        match (request.method, *request.raw_path.split("/")[1:]):
            case ("GET", "collections"):
                return json_reply(self._collections(request.query))
            case ("GET", "collections", its):
                made = self._collection(its)
                return json_reply({"id": made.id, "name": made.name})
            case ("GET", "collections", its, "fields"):
                return json_reply({"data": list(self._collection(its).fields.values())})
            case ("POST", "collections", its, "fields"):
                made, told = self._collection(its), _object(_json(request))
                return json_reply({"id": self.store.create_field(made, str(told.get("name")), str(told.get("type")))})
            case ("POST", "collections", its, "records"):
                made, told = self._collection(its), _object(_json(request))
                return json_reply({"id": self.store.create_record(made, _object(told.get("properties")))})
            case ("POST", "collections", its, "records", "query"):
                made, told = self._collection(its), _object(_json(request))
                return json_reply(self._query(made, told))
        raise RefusalError(HTTPStatus.NOT_FOUND, "no such address")

    def _collections(self, query: Mapping[str, str]) -> dict[str, Any]:
        listed = [{"id": made.id, "name": made.name} for made in self.store.collections.values()]
        return _page(listed, int(query.get("pageNumber", 0)), int(query.get("pageSize", 50)))

    def _collection(self, its: str) -> Collection:
        if its not in self.store.collections:
            raise RefusalError(HTTPStatus.NOT_FOUND, "no such collection")
        return self.store.collections[its]

    def _query(self, made: Collection, told: Mapping[str, Any]) -> dict[str, Any]:
        number, size = int(told.get("pageNumber", 0)), int(told.get("pageSize", 50))
        if self.most_page is not None and size > self.most_page:
            raise RefusalError(HTTPStatus.GATEWAY_TIMEOUT, "upstream request timeout")
        wanted = told.get("filter")
        if self.most_window is not None and wanted and _width(wanted) > self.most_window:
            raise RefusalError(HTTPStatus.BAD_GATEWAY, "bad gateway")
        with self.store.lock:
            found = list(made.records) if wanted is None else matching(made, _object(wanted))
        for order in reversed(told.get("orderBy") or []):
            if order.get("direction") not in {"asc", "desc"} or order.get("fieldId") not in made.fields:
                raise BadRequestError(f"unknown order {order}")
            found.sort(key=lambda r: sort_key(r, order["fieldId"]), reverse=order["direction"] == "desc")
        size = min(size, self.own_page or size)
        page = _page(found, number, size)
        return {**page, "data": [self.store.read(made, record) for record in page["data"]]}


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


def _object(body: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    if not isinstance(body, dict):
        raise BadRequestError("a JSON object is wanted")
    return body


def _json(request: Request) -> Any:  # noqa: ANN401 - JSON
    try:
        return request.json()
    except ValueError:
        return None
