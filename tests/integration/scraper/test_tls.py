"""The connection is made to the address that was looked at; the certificate is still asked for by the site's name."""

from __future__ import annotations

import asyncio
import http.server
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from data_platform.jobs.scraper.answers import Page
from data_platform.jobs.scraper.fetch import Fetcher, Visit
from data_platform.jobs.scraper.hosts import Hosts
from data_platform.jobs.scraper.problems import NetworkError
from tests.support.gov_web import QUICK


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"<p>{self.headers['Host']}</p>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def certificate(folder: Path, name: str) -> Path:
    """Write a certificate of its own authority, with its key, for a name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def port(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server with a certificate for a name, whose authority is trusted."""
    path = certificate(tmp_path, request.param)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def get(port: int) -> Page:
    async def resolve(_host: str) -> list[str]:
        return ["127.0.0.1"]

    async def work() -> Page:
        hosts = Hosts(["www.gov.br"], private=["www.gov.br"], resolve=resolve)
        async with Fetcher(hosts, limits=QUICK, honours_robots=False) as fetcher:
            return await fetcher.get(f"https://www.gov.br:{port}/aeb", Visit.lasting(10))

    return asyncio.run(work())


@pytest.mark.parametrize("port", ["www.gov.br"], indirect=True)
def test_a_certificate_for_the_name_is_good(port: int) -> None:
    page = get(port)
    assert (page.text, page.url) == ("<p>www.gov.br</p>", f"https://www.gov.br:{port}/aeb")


@pytest.mark.parametrize("port", ["evil.example", "127.0.0.1.example"], indirect=True)
def test_one_for_another_name_is_not(port: int) -> None:
    with pytest.raises(NetworkError, match="CERTIFICATE_VERIFY_FAILED"):
        get(port)
