"""Tests reach this machine and nothing else, in the test process and in those that it starts."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import httpx
import psycopg
import pytest

OUTSIDE = "192.0.2.1"  # a documentation address: nobody answers there, so an unguarded attempt would hang


def test_sockets_refuse_the_world(network_blocked_error: type[RuntimeError]) -> None:
    for family, address in ((socket.AF_INET, (OUTSIDE, 80)), (socket.AF_INET6, ("2001:db8::1", 80))):
        with socket.socket(family) as probe:
            probe.settimeout(2)
            with pytest.raises(network_blocked_error, match=r"loopback only"):
                probe.connect(address)
            with pytest.raises(network_blocked_error):
                probe.connect_ex(address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, pytest.raises(network_blocked_error):
        probe.sendto(b"x", (OUTSIDE, 53))


def test_clients_of_all_kinds_refuse_the_world(network_blocked_error: type[RuntimeError]) -> None:
    async def connect() -> None:
        await asyncio.open_connection(OUTSIDE, 80)

    with pytest.raises(network_blocked_error):
        httpx.get(f"http://{OUTSIDE}/", timeout=2)
    with pytest.raises(network_blocked_error):
        urllib.request.urlopen(f"http://{OUTSIDE}/", timeout=2)
    with pytest.raises(network_blocked_error):
        asyncio.run(asyncio.wait_for(connect(), 2))


def test_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_postgresql_clients_end_on_loopback_whatever_host_they_are_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(psycopg.OperationalError, match=r'"127\.0\.0\.1".*refused'):
        psycopg.connect(f"postgresql://u@db.example.org:{port}/x?connect_timeout=2")


def test_processes_that_tests_start_are_held_too(network_blocked_error: type[RuntimeError]) -> None:
    program = f"import socket; socket.create_connection(({OUTSIDE!r}, 80), 2)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert network_blocked_error.__name__ in done.stderr


def test_the_environment_names_no_real_service() -> None:
    assert "DATABASE_URL" not in os.environ
    assert "HF_TOKEN" not in os.environ
    assert not [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_", "GOVBRNEWS_"))]
    assert Path(os.environ["AIRFLOW_HOME"]).is_relative_to("/tmp") or "govbr-tests-" in os.environ["AIRFLOW_HOME"]
