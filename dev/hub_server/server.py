"""The HTTP server of the Hub's stand-in: which route answers what, and the faults on the way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from dev.http_faults import Fault, FaultPlan
from dev.hub_server import lfs, reading, writing
from dev.hub_server.exchange import Answer, Exchange, refusal
from dev.hub_server.store import HubStore
from dev.hub_server.tokens import Token, as_tokens
from dev.loopback_server import Body, LoopbackHandler, LoopbackServer

__all__ = ["HubServer"]

_Route = Callable[..., Answer]

_DATASET = r"/api/datasets/(?P<dataset>[^/]+/[^/]+)"
_LFS = r"/datasets/(?P<dataset>[^/]+/[^/]+)\.git/info/lfs/objects"
_OID = r"(?P<oid>[0-9a-f]{64})"
_ROUTES: list[tuple[str, re.Pattern[str], _Route]] = [
    (method, re.compile(path), route)
    for method, path, route in (
        ("GET", r"/api/whoami-v2", reading.whoami),
        ("GET", r"/blobs/(?P<sha256>[0-9a-f]{64})", reading.blob),
        ("GET", r"/datasets/(?P<dataset>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)", reading.resolve),
        ("GET", _DATASET, reading.info),
        ("GET", _DATASET + r"/revision/(?P<rev>[^/]+)", reading.info),
        ("GET", _DATASET + r"/tree/(?P<rev>[^/]+)(?:/(?P<path>.*))?", reading.tree),
        ("GET", _DATASET + r"/commits/(?P<rev>[^/]+)", reading.commits),
        ("GET", _DATASET + r"/refs", reading.refs),
        ("POST", _DATASET + r"/paths-info/(?P<rev>[^/]+)", reading.paths_info),
        ("POST", r"/api/repos/create", writing.create),
        ("DELETE", r"/api/repos/delete", writing.delete),
        ("POST", r"/api/validate-yaml", writing.validate_yaml),
        ("POST", _DATASET + r"/preupload/(?P<rev>[^/]+)", writing.preupload),
        ("POST", _DATASET + r"/commit/(?P<rev>[^/]+)", writing.commit),
        ("POST", _DATASET + r"/branch/(?P<branch>[^/]+)", writing.create_branch),
        ("DELETE", _DATASET + r"/branch/(?P<branch>[^/]+)", writing.delete_branch),
        ("POST", _DATASET + r"/tag/(?P<rev>[^/]+)", writing.create_tag),
        ("DELETE", _DATASET + r"/tag/(?P<tag>[^/]+)", writing.delete_tag),
        ("GET", _DATASET + r"/xet-(?P<right>read|write)-token/(?P<rev>[^/]+)", reading.xet_token),
        ("POST", _LFS + r"/batch", lfs.batch),
        ("POST", _LFS + r"/verify", lfs.verify),
        ("PUT", rf"/lfs/{_OID}", lfs.put),
        ("PUT", rf"/lfs/{_OID}/parts/(?P<number>\d+)", lfs.put_part),
        ("POST", rf"/lfs/{_OID}/complete", lfs.complete),
    )
]


class HubServer(LoopbackServer):
    """Serves a store on 127.0.0.1 while it is used as a context manager.

    Attributes:
        store: the datasets.
        url: the endpoint; large files come from `files_url` and go there.
        tokens: what each token stands for; given as names only, each stands for an account that may write.
        requests: "METHOD /path" of each request, in order.
        faults: faults to play; change it at any time.
        on_commit: called with a dataset's name before a commit to it is applied, its parent not yet compared.
        page_size: how many entries a listing answers at once.
        multipart_chunk: larger files come by LFS in parts of so many bytes; None: in one piece.
        quota_bytes: how many bytes of large files a dataset without a quota of its own may hold; None: any.
        xet: whether clients get tokens for Xet, by which they upload if HF_HUB_DISABLE_XET is not set.
    """

    def __init__(
        self,
        store: HubStore,
        *,
        tokens: Iterable[str] | Mapping[str, Token] = (),
        port: int = 0,
        page_size: int = 1000,
        multipart_chunk: int | None = None,
        quota_bytes: int | None = None,
        xet: bool = False,
    ) -> None:
        super().__init__(_Handler, port=port)
        self.files_url = f"http://localhost:{self.port}"
        self.store = store
        self.tokens = as_tokens(tokens)
        self.page_size = page_size
        self.multipart_chunk = multipart_chunk
        self.quota_bytes = quota_bytes
        self.xet = xet
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.fault_plan = FaultPlan()
        self.on_commit: Callable[[str], object] | None = None

    @property
    def stored_bytes(self) -> int:
        """How many bytes the contents of all files take up on disk."""
        return self.store.stored_bytes()

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        self.store.xet.close_sessions()


class _Handler(LoopbackHandler):
    stand_in: HubServer

    def serve(self) -> None:
        """Answer one request, or play the fault that strikes it."""
        hub, split = self.stand_in, urlsplit(self.path)
        headers = {name.title(): value for name, value in self.headers.items()}
        x = Exchange(hub, self.command, split.path, split.query, headers, Body(self.rfile, headers))
        request = f"{self.command} {unquote(split.path)}"
        hub.requests.append(request)
        fault = hub.fault_plan.strike(hub.faults, request)
        if fault is None:
            self._send(x, _answer(x))
            return
        answer = _answer(x) if fault.after or not (fault.drop or fault.status) else None
        x.body.drain()
        hub.closing.wait(fault.delay)
        if fault.drop:
            self.close_connection = True
            return
        if fault.status or answer is None:
            status = fault.status or HTTPStatus.INTERNAL_SERVER_ERROR
            told = status >= HTTPStatus.BAD_REQUEST
            answer = refusal(status, "planted by a test") if told else Answer(status, {})
        answer.headers |= fault.headers
        self._send(x, answer, fault.cut)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve  # noqa: N815 -- named by http.server

    def _send(self, x: Exchange, answer: Answer, cut: int | None = None) -> None:
        x.body.drain()
        self.send_head(answer.status, answer.headers)
        for piece in answer.body if self.command != "HEAD" else ():
            self.wfile.write(piece if cut is None else piece[:cut])
            cut = None if cut is None else max(0, cut - len(piece))
        if cut is not None:
            self.close_connection = True


def _answer(x: Exchange) -> Answer:
    method = "GET" if x.method == "HEAD" else x.method
    try:
        for wanted, pattern, route in _ROUTES:
            if wanted == method and (found := pattern.fullmatch(x.path)):
                return route(x, **{name: unquote(part) for name, part in found.groupdict().items() if part})
    except Answer as answer:
        return answer
    return refusal(404, "no such address")
