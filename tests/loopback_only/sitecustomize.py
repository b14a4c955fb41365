"""Python connects to nothing but this machine: imported first by every test process and its children.

Python imports a module of this name at start-up when its folder is on PYTHONPATH; `tests/conftest.py`
puts it there, so the command lines and Airflows that tests start are held too. libpq opens its own
sockets; conftest holds it by PGHOSTADDR.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

__all__ = ["NetworkBlockedError", "install"]


class NetworkBlockedError(RuntimeError):
    """A test reached for the network. Not an OSError: nothing may take it for a passing failure and retry."""


def install() -> None:
    """Refuse connections from here on; installing twice changes nothing."""
    if getattr(socket.socket.connect, "is_loopback_only", False):
        return

    def guard(name: str) -> None:
        original = getattr(socket.socket, name)

        def guarded(self: socket.socket, *arguments: Any) -> Any:
            # connect(address), connect_ex(address), sendto(data[, flags], address)
            _refuse_outside(self, arguments[-1])
            return original(self, *arguments)

        guarded.is_loopback_only = True  # type: ignore[attr-defined]
        setattr(socket.socket, name, guarded)

    for name in ("connect", "connect_ex", "sendto"):
        guard(name)


def _refuse_outside(connecting: socket.socket, address: Any) -> None:
    if connecting.family not in (socket.AF_INET, socket.AF_INET6):
        return  # a socket file is on this machine
    host = address[0]
    if host not in {"", "localhost"} and not _is_loopback(host):
        raise NetworkBlockedError(
            f"a test tried to reach {host}:{address[1]}, but tests reach loopback only: start a stand-in for it"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False  # a name: who knows where it leads


install()
