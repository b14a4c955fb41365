"""A proxy in front of PostgreSQL that loses a connection at a chosen moment."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

__all__ = ["LossyProxy", "lossy_proxy"]


@dataclass
class LossyProxy:
    """What is lost, and how often.

    Attributes:
        url: the database through this proxy.
        word: bytes that a client's message must hold to trigger the loss.
        after: whether the server still gets the message; else it is lost too.
        times: how often it still happens.
        happened: how often it has happened.
    """

    url: str
    word: bytes = b"COMMIT"
    after: bool = True
    times: int = 0
    happened: int = 0
    connections: int = 0
    open: list[socket.socket] = field(default_factory=list)


def _reset(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        sock.close()


def _from_client(client: socket.socket, server: socket.socket, proxy: LossyProxy, lost: threading.Event) -> None:
    with suppress(OSError):
        while data := client.recv(1 << 16):
            if proxy.times and proxy.word in data:
                proxy.times -= 1
                proxy.happened += 1
                if not proxy.after:
                    break
                lost.set()  # before the server can answer
            server.sendall(data)
        if lost.is_set():
            return  # the other direction ends it when the answer is there
    _reset(client)
    _reset(server)


def _from_server(client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
    with suppress(OSError):
        while data := server.recv(1 << 16):
            if lost.is_set():
                break
            client.sendall(data)
    _reset(client)
    _reset(server)


@contextmanager
def lossy_proxy(database_url: str) -> Iterator[LossyProxy]:
    """Serve a database through a proxy on loopback."""
    parts = urlsplit(database_url)
    listener = socket.create_server(("127.0.0.1", 0))
    credentials = parts.netloc.rpartition("@")[0]
    netloc = f"{credentials}@127.0.0.1:{listener.getsockname()[1]}"
    proxy = LossyProxy(urlunsplit(parts._replace(netloc=netloc)))

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            proxy.connections += 1
            server = socket.create_connection(("127.0.0.1", parts.port or 5432))
            proxy.open += [client, server]
            lost = threading.Event()
            threading.Thread(target=_from_client, args=(client, server, proxy, lost), daemon=True).start()
            threading.Thread(target=_from_server, args=(client, server, lost), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield proxy
    finally:
        listener.close()
        for sock in proxy.open:
            _reset(sock)
