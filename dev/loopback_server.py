"""What all stand-ins stand on: an HTTP server on loopback that ends with whoever uses it.

A stand-in is a `LoopbackServer` with a handler of its own, a `LoopbackHandler`, to which it is `stand_in`.
"""

from __future__ import annotations

import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol, Self

__all__ = ["Body", "LoopbackHandler", "LoopbackServer"]

_CHUNK = 1 << 20


class LoopbackServer:
    """Serves on 127.0.0.1 while it is used as a context manager.

    Attributes:
        url: the base address, without a final slash.
        port: its port.
        connections: those that are open.
        closing: set when it ends; whatever waits, waits for this.
    """

    def __init__(self, handler: type[LoopbackHandler], *, port: int = 0) -> None:
        self.connections: set[socket.socket] = set()
        self.closing = threading.Event()
        self._http = _Http(("127.0.0.1", port), type(type(self).__name__, (handler,), {"stand_in": self}))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self.port = self._http.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        for connection in list(self.connections):  # kept alive by clients, they would be served on
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class LoopbackHandler(BaseHTTPRequestHandler):
    """Handles the requests of one connection, and says nothing of them."""

    stand_in: LoopbackServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Count the connection among those that are open."""
        super().setup()
        self.stand_in.connections.add(self.connection)

    def finish(self) -> None:
        """Count it no more."""
        self.stand_in.connections.discard(self.connection)
        with suppress(OSError, ValueError):  # what is left to flush goes nowhere after a reset
            super().finish()

    def log_message(self, *_: object) -> None:
        """Keep quiet: what came is in the stand-in's `requests`."""

    def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send all that comes before the body."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def readline(self) -> bytes: ...


class Body:
    """The body of a request, read from the connection in pieces, whether its length is announced or it is chunked."""

    def __init__(self, source: _Source, headers: Mapping[str, str]) -> None:
        self._source = source
        self._chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
        self._left = int(headers.get("Content-Length") or 0)  # of the body; of the present chunk, if chunked
        self._pieces = self._chunks() if self._chunked else self._plain()

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that are not empty."""
        rest = b""
        for piece in self:
            *lines, rest = (rest + piece).split(b"\n") if b"\n" in piece else [rest + piece]
            yield from filter(None, lines)
        if rest:
            yield rest

    def drain(self) -> None:
        """Read to the end, so that the connection can carry the next request."""
        for _ in self:
            pass

    def _plain(self) -> Iterator[bytes]:
        while self._left:
            piece = self._source.read(min(_CHUNK, self._left))
            if not piece:
                raise ConnectionResetError("the client left in the middle of a request")
            self._left -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._source.readline().split(b";")[0].strip() or b"0", 16):
            self._left = size
            yield from self._plain()
            self._source.readline()
        while self._source.readline().strip():
            pass


class _Http(ThreadingHTTPServer):
    request_queue_size = 128  # clients with many connections open them at once

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        if not isinstance(sys.exception(), ConnectionError):  # a client that leaves is no error
            print(f"{self.RequestHandlerClass.__name__} failed on a request of {client_address}", file=sys.stderr)
            traceback.print_exc()
