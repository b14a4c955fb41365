"""What the stand-ins of services with a JSON API share: whole requests, whole answers, and the faults on the way.

A stand-in is a `StandIn` that says what a request is answered with (`answer`); faults and the record of requests are
here.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import struct
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from dev import http_faults
from dev.lifeline import Lifeline
from dev.loopback_server import Body, LoopbackHandler, LoopbackServer
from dev.processes import wait_until

__all__ = [
    "Fault",
    "RefusalError",
    "Reply",
    "Request",
    "StandIn",
    "json_reply",
    "parse_json",
    "run_apart",
    "serve_apart",
]

_JSON = "application/json; charset=utf-8"
_START_SECONDS = 60


@dataclass
class Fault(http_faults.Fault):
    """What goes wrong with requests in whose "METHOD /path" a regular expression is found.

    To lose an answer after the work is done: `after=True` with `drop`, `reset`, `cut`, a `status`, or a `delay` longer
    than the client's patience.

    Attributes:
        message: what the service says with `status`.
        reset: break the connection with a TCP reset instead of answering.
    """

    message: str = "planted by a test"
    reset: bool = False


@dataclass(frozen=True)
class Request:
    """A request that came in whole.

    Attributes:
        method: GET, POST, PUT, PATCH or DELETE.
        raw_path: the path as it was sent, still quoted.
        raw_query: what stands behind the question mark, still quoted.
        query: name -> value; of several with one name the last.
        headers: names in small letters -> value.
        body: as it was sent.
    """

    method: str
    raw_path: str
    raw_query: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The path's parts, each unquoted by itself, so that a part may hold slashes; a final slash adds none."""
        return tuple(unquote(part) for part in self.raw_path.strip("/").split("/"))

    @cached_property
    def name(self) -> str:
        """Method and path, "GET /x y", the path unquoted, as faults and records have it."""
        return f"{self.method} {unquote(self.raw_path)}"

    def json(self) -> Any:  # noqa: ANN401 - JSON
        """Return the body read as JSON, None if there is none; ValueError if it is no JSON."""
        return parse_json(self.body) if self.body else None


@dataclass(frozen=True)
class Reply:
    """What is answered."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": _JSON})


class RefusalError(Exception):
    """An error to be answered, raised from any depth."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def json_reply(data: object, status: int = HTTPStatus.OK) -> Reply:
    """Answer with JSON."""
    return Reply(status, json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())


def parse_json(text: bytes) -> Any:  # noqa: ANN401 - JSON
    """Read JSON as strictly as services that are not written in Python: NaN and Infinity are none; ValueError."""
    return _DECODER.decode(text.decode())


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


@contextmanager
def run_apart(module: str, *arguments: str) -> Iterator[str]:
    """Run a stand-in in a process of its own and give its address; for measuring, so that it shares no interpreter.

    Args:
        module: such as `dev.typesense_server`.
        arguments: of its command line.
    """
    with tempfile.NamedTemporaryFile("r+b") as log:
        command = [sys.executable, "-m", module, *arguments]
        lifeline = Lifeline(command, log=cast("IO[bytes]", log), cwd=Path(__file__).parent.parent)
        try:
            said = Path(log.name)
            wait_until(lambda: b"\n" in said.read_bytes() or lifeline.poll() is not None, _START_SECONDS)
            url, _, rest = said.read_text().partition("\n")
            if not url.startswith("http://"):
                raise RuntimeError(f"{module} did not start: {url}\n{rest}")
            yield url
        finally:
            lifeline.stop()


def serve_apart(make: Callable[..., StandIn], module: str, about: str | None, *, counted: str) -> None:
    """Be the process that `run_apart` starts: tell the address in the first line, and serve until it is ended.

    Args:
        make: a stand-in that can be a sink.
        module: such as `dev.typesense_server`.
        about: what the program is.
        counted: what a sink counts.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--key", default="key", help="the key that may do everything")
    parser.add_argument("--sink", action="store_true", help=f"count {counted} and do not keep them")
    told = parser.parse_args()
    with make(keys=[told.key], port=told.port, is_sink=told.sink) as server:
        print(server.url, flush=True)
        threading.Event().wait()


class StandIn(LoopbackServer, ABC):
    """Serves on 127.0.0.1 while it is used as a context manager.

    Attributes:
        requests: "METHOD /path" of each request, in order.
        faults: faults to play; change it at any time.
        latency: seconds that every request waits before it is looked at.
    """

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(_Handler, port=port)
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.fault_plan = http_faults.FaultPlan()
        self.latency = 0.0

    def asked(self, pattern: str) -> list[str]:
        """Return the requests in whose "METHOD /path" a regular expression is found, in order."""
        return [request for request in list(self.requests) if re.search(pattern, request)]

    def record(self, request: Request) -> None:
        """Take down a request that came, whatever becomes of it."""
        self.requests.append(request.name)

    @abstractmethod
    def answer(self, request: Request) -> Reply:
        """Answer a request; RefusalError is answered by `refuse`."""

    def refuse(self, status: int, message: str) -> Reply:
        """Answer with an error in the words of the service."""
        return json_reply({"message": message}, status)

    def reply_to(self, request: Request) -> Reply:
        """Answer a request, errors included."""
        try:
            return self.answer(request)
        except RefusalError as error:
            return self.refuse(error.status, str(error))


class _Handler(LoopbackHandler):
    stand_in: StandIn
    wbufsize = -1  # headers and body leave in one piece

    def serve(self) -> None:
        """Answer one request, or play the fault that strikes it."""
        stand_in, request = self.stand_in, self._request()
        stand_in.record(request)
        if stand_in.latency:
            stand_in.closing.wait(stand_in.latency)
        fault = stand_in.fault_plan.strike(stand_in.faults, request.name)
        if fault is None:
            self._send(stand_in.reply_to(request))
            return
        is_lost = fault.drop or fault.reset or bool(fault.status)
        if not fault.after:
            stand_in.closing.wait(fault.delay)
        reply = stand_in.reply_to(request) if fault.after or not is_lost else None
        if fault.after:
            stand_in.closing.wait(fault.delay)
        if fault.reset:
            self._reset()
        elif fault.drop:
            self.close_connection = True
        elif fault.status or reply is None:
            told = stand_in.refuse(fault.status or HTTPStatus.INTERNAL_SERVER_ERROR, fault.message)
            self._send(replace(told, headers={**told.headers, **fault.headers}), fault.cut)
        else:
            self._send(reply, fault.cut)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815 -- named by http.server

    def _request(self) -> Request:
        split = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = b"".join(Body(self.rfile, {name.title(): value for name, value in headers.items()}))
        query = dict(parse_qsl(split.query, keep_blank_values=True))
        return Request(self.command, split.path, split.query, query, headers, body)

    def _send(self, reply: Reply, cut: int | None = None) -> None:
        self.send_head(reply.status, {**reply.headers, "Content-Length": str(len(reply.body))})
        self.wfile.write(reply.body[:cut])
        self.close_connection = self.close_connection or cut is not None

    def _reset(self) -> None:
        """Break the connection so that the client sees "connection reset by peer"."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
