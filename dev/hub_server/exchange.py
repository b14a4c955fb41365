"""One request and its answer, as the routes of the Hub's stand-in see them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from dev.hub_server.blobs import pieces
from dev.hub_server.store import Files
from dev.hub_server.tokens import Token
from dev.loopback_server import Body

if TYPE_CHECKING:
    from dev.hub_server.server import HubServer

__all__ = ["Answer", "Exchange", "file_answer", "json_answer", "refusal"]

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_LINK_PAGE = "cursor"


class Answer(Exception):  # noqa: N818 -- ends the handling of a request, from any depth
    """What is answered: a status, headers, and a body in pieces."""

    def __init__(self, status: int, headers: Mapping[str, str], body: Iterable[bytes] = ()) -> None:
        super().__init__(status)
        self.status = status
        self.headers = {"Content-Length": "0", **headers}
        self.body = body


def json_answer(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with JSON."""
    body = json.dumps(data).encode()
    sent = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(body)), **(headers or {})}
    return Answer(status, sent, [body])


def refusal(status: int, message: str, code: str = "", *, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with an error, said in the header and in the body as the Hub does."""
    told = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return json_answer({"error": message}, status, told | dict(headers or {}))


def _stranger() -> Answer:
    """Answer who has no token; as the real Hub, without a word about what exists.

    A client takes such an answer from an https address for that of a missing dataset; from this one only by the code.
    """
    return refusal(401, "Invalid username or password.", "RepoNotFound")


def file_answer(path: Path, etag: str, wanted: str, headers: Mapping[str, str]) -> Answer:
    """Answer with a file or the range of it that a Range header asks for; 416 if it has no such bytes."""
    size = path.stat().st_size
    sent = {"ETag": f'"{etag}"', "Accept-Ranges": "bytes", "Content-Length": str(size), **headers}
    asked = _RANGE.fullmatch(wanted)
    if asked is None or not (asked[1] or asked[2]):
        return Answer(200, sent, pieces(path))
    first = int(asked[1]) if asked[1] else max(0, size - int(asked[2]))
    stop = min(size, int(asked[2]) + 1) if asked[1] and asked[2] else size
    if first >= stop:
        return refusal(416, "Range Not Satisfiable", headers={**headers, "Content-Range": f"bytes */{size}"})
    sent |= {"Content-Range": f"bytes {first}-{stop - 1}/{size}", "Content-Length": str(stop - first)}
    return Answer(206, sent, pieces(path, first, stop))


@dataclass
class Exchange:
    """A request, and what its route needs to answer it.

    Attributes:
        hub: the server.
        method: GET, HEAD, POST, PUT or DELETE.
        path: the path as it was sent, still quoted.
        query: the query string.
        headers: the headers of the request.
        body: the body of the request.
    """

    hub: HubServer
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Body

    def option(self, name: str, default: str = "") -> str:
        """Return a parameter of the query."""
        return parse_qs(self.query).get(name, [default])[0]

    def flag(self, name: str) -> bool:
        """Return whether a parameter of the query is true."""
        return self.option(name).lower() in {"1", "true"}

    @cached_property
    def raw(self) -> bytes:
        """The whole body; only for requests that are small."""
        return b"".join(self.body)

    @cached_property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object, or 400."""
        try:
            return dict(json.loads(self.raw or b"{}"))
        except ValueError:
            raise refusal(400, "the body is not a JSON object") from None

    @cached_property
    def token(self) -> Token | None:
        """Who asks; None for a stranger, 401 for a token that does not exist."""
        secret = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if secret and secret not in self.hub.tokens:
            raise refusal(401, "Invalid credentials in Authorization header")
        return self.hub.tokens[secret] if secret else None

    def writer(self) -> Token:
        """Return who asks to write: 401 for a stranger, 403 for a token that may only read."""
        if self.token is None:
            raise refusal(401, "Invalid username or password.")
        if self.token.role != "write":
            # The words of the real Hub for whoever has no right to write; a client shows them as they are.
            raise refusal(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        return self.token

    def dataset(self, name: str, *, write: bool = False) -> dict[str, Any]:
        """Return what is known of a dataset, or answer that there is none or no access."""
        token = self.token
        repo = self.hub.store.repo(name)
        if repo is None or (repo["private"] and not token):
            raise refusal(404, "Repository not found", "RepoNotFound") if token else _stranger()
        if write and not token:
            raise _stranger()
        if write:
            self.writer()
        return repo

    def commit(self, name: str, revision: str) -> tuple[str, Files]:
        """Return (commit id, files) of a revision, or answer that there is none or no access."""
        self.dataset(name)
        sha = self.hub.store.resolve(name, revision)
        if sha is None:
            raise refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha, self.hub.store.files(name, sha)

    def page(self, items: list[dict[str, Any]]) -> Answer:
        """Answer with one page of a list, and a link to the next."""
        first = int(self.option(_LINK_PAGE, "0"))
        stop = first + self.hub.page_size
        kept = "&".join(part for part in self.query.split("&") if part and not part.startswith(f"{_LINK_PAGE}="))
        following = f"{self.hub.url}{self.path}?{kept}{'&' * bool(kept)}{_LINK_PAGE}={stop}"
        return json_answer(items[first:stop], headers={"Link": f'<{following}>; rel="next"'} if items[stop:] else {})
