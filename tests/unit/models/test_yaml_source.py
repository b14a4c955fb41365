"""Reading YAML sources: nothing lost in silence, and errors that say where and whether to try again."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from data_platform.errors import SourceError, SourceUnavailableError
from data_platform.models import yaml_source
from data_platform.models.yaml_source import display_source, load_yaml, read_text

YAML = "sources:\n  mre:\n    name: Ministério das Relações Exteriores\n"
PAGE = "<!DOCTYPE html>\n<html><body>Entrar com gov.br</body></html>"


class Handler(BaseHTTPRequestHandler):
    """A server of files that behaves and misbehaves by path."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        match path:
            case "/ok.yaml":
                self.answer(200, YAML, "text/plain; charset=utf-8")
            case "/latin1-header.yaml":
                self.answer(200, YAML, "text/plain; charset=iso-8859-1")
            case "/page.yaml":
                self.answer(200, PAGE, "text/html; charset=utf-8")
            case "/sneaky-page.yaml":
                self.answer(200, PAGE, "application/octet-stream")
            case "/fragment.yaml":
                self.answer(200, "<div>Entrar</div>", "text/html")
            case "/moved.yaml":
                self.answer(302, "", "text/plain", location="/ok.yaml")
            case "/round.yaml":
                self.answer(302, "", "text/plain", location="/round.yaml")
            case "/elsewhere.yaml":
                self.answer(302, "", "text/plain", location="ftp://127.0.0.1/agencies.yaml")
            case "/cut.yaml":
                self.answer(200, YAML, "text/plain", length=len(YAML.encode()) + 100)
            case "/slow.yaml":
                time.sleep(1.5)
                self.answer(200, YAML, "text/plain")
            case _:
                self.answer(int(path.strip("/")), "no", "text/plain")

    def answer(self, status: int, body: str, kind: str, *, length: int | None = None, location: str = "") -> None:
        raw = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw) if length is None else length))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


class TestLoadYaml:
    def test_returns_what_the_document_says(self) -> None:
        assert load_yaml(YAML, origin="x.yaml") == {"sources": {"mre": {"name": "Ministério das Relações Exteriores"}}}

    def test_names_a_key_that_stands_twice_and_both_lines(self) -> None:
        with pytest.raises(
            SourceError, match=r"x\.yaml, line 4, column 3: the key 'abc' stands twice, first on line 2"
        ):
            load_yaml("sources:\n  abc: {name: Um}\n  mre: {name: Dois}\n  abc: {name: Três}\n", origin="x.yaml")

    @pytest.mark.parametrize(
        "text",
        [
            "a: 1\na: 2\n",
            "a:\n  - b: {c: 1, c: 2}\n",
            "'1.0': a\n? '1.0'\n: b\n",
            "&x a: 1\n*x : 2\n",
            "1: a\n1.0: b\n",
        ],
        ids=["top", "deep", "quoted", "alias", "equal numbers"],
    )
    def test_finds_repeated_keys_wherever_they_stand(self, text: str) -> None:
        with pytest.raises(SourceError, match="stands twice"):
            load_yaml(text, origin="x.yaml")

    def test_lets_a_key_override_one_that_it_merges_in(self) -> None:
        text = "base: &base {type: Agência, parent: mre}\nabc:\n  <<: *base\n  parent: mcti\n"
        assert load_yaml(text, origin="x")["abc"] == {"type": "Agência", "parent": "mcti"}

    def test_equal_keys_of_different_mappings_are_no_repetition(self) -> None:
        assert load_yaml("a: {name: x}\nb: {name: y}\n", origin="x") == {"a": {"name": "x"}, "b": {"name": "y"}}

    @pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n", "~\n"])
    def test_refuses_an_empty_document(self, text: str) -> None:
        with pytest.raises(SourceError, match=r"x\.yaml is empty"):
            load_yaml(text, origin="x.yaml")

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("a: 1\nb: [1, 2\nc: 3\n", 3),
            ("a: 1\n\tb: 2\n", 2),
            ("a: 1\nb: \x07\n", 2),
            ("a: 1\n---\nb: 2\n", 2),
            ("a: 1\n? [b]\n: 2\n", 2),
            ("a: 1\nb: *unknown\n", 2),
            ("a: 1\nb: !!python/object/apply:os.system ['true']\n", 2),
        ],
        ids=["bracket", "tab", "control character", "two documents", "list as key", "alias", "python object"],
    )
    def test_names_the_line_of_what_is_not_yaml(self, text: str, line: int) -> None:
        with pytest.raises(SourceError, match=rf"x\.yaml, line {line}\b"):
            load_yaml(text, origin="x.yaml")

    @pytest.mark.parametrize(
        "text", ["a: 2025-13-45\n", "a: !!timestamp never\n", "a: !!int um\n", "a: !!bool talvez\n", "[" * 5000],
        ids=["date", "timestamp", "int", "bool", "depth"],
    )  # fmt: skip
    def test_turns_what_pyyaml_lets_through_into_our_error(self, text: str) -> None:
        with pytest.raises(SourceError, match=r"x\.yaml is not YAML that can be read"):
            load_yaml(text, origin="x.yaml")


class TestReadTextOfFile:
    def test_reads_utf8_without_its_byte_order_mark(self, tmp_path: Path) -> None:
        path = tmp_path / "agencies.yaml"
        path.write_bytes(b"\xef\xbb\xbf" + YAML.encode())
        assert read_text(str(path), what="agencies") == YAML

    def test_reads_below_the_home_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "agencies.yaml").write_text(YAML, encoding="utf-8")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert read_text("~/agencies.yaml", what="agencies") == YAML

    def test_names_a_file_that_does_not_exist(self, tmp_path: Path) -> None:
        path = tmp_path / "none.yaml"
        with pytest.raises(SourceError, match=rf"agencies: {path} does not exist"):
            read_text(str(path), what="agencies")

    def test_refuses_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="is a folder"):
            read_text(str(tmp_path), what="agencies")

    def test_refuses_a_path_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("x")
        with pytest.raises(SourceError, match="cannot be read"):
            read_text(str(tmp_path / "a" / "b.yaml"), what="agencies")

    def test_names_the_byte_that_is_not_utf8(self, tmp_path: Path) -> None:
        path = tmp_path / "latin1.yaml"
        path.write_bytes("a: Órgão\n".encode("latin-1"))
        with pytest.raises(SourceError, match=r"not UTF-8 \(byte 3\)"):
            read_text(str(path), what="agencies")

    def test_refuses_a_saved_web_page(self, tmp_path: Path) -> None:
        path = tmp_path / "agencies.yaml"
        path.write_text("\n" + PAGE)
        with pytest.raises(SourceError, match="is an HTML page"):
            read_text(str(path), what="agencies")

    @pytest.mark.parametrize("source", ["gs://bucket/agencies.yaml", "file:///tmp/agencies.yaml", "s3://b/a.yaml"])
    def test_refuses_a_scheme_that_it_cannot_read(self, source: str) -> None:
        with pytest.raises(SourceError, match=f"scheme '{source.partition(':')[0]}'"):
            read_text(source, what="agencies")


class TestReadTextOfAddress:
    @pytest.mark.parametrize("path", ["/ok.yaml", "/moved.yaml", "/latin1-header.yaml"])
    def test_reads_as_utf8_and_follows_redirects(self, server: str, path: str) -> None:
        assert read_text(server + path, what="agencies") == YAML

    def test_the_scheme_may_be_in_capitals(self, server: str) -> None:
        assert read_text(server.replace("http", "HTTP") + "/ok.yaml", what="agencies") == YAML

    @pytest.mark.parametrize("path", ["/page.yaml", "/sneaky-page.yaml", "/fragment.yaml"])
    def test_refuses_a_web_page(self, server: str, path: str) -> None:
        with pytest.raises(SourceError, match="is an HTML page") as caught:
            read_text(server + path, what="agencies")
        assert "raw file" in caught.value.hint

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
    def test_what_is_not_there_is_no_use_trying_again(self, server: str, status: int) -> None:
        with pytest.raises(SourceError, match=f"answered {status}"):
            read_text(f"{server}/{status}", what="agencies")

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    def test_a_server_in_trouble_is_worth_trying_again(self, server: str, status: int) -> None:
        with pytest.raises(SourceUnavailableError, match=f"answered {status}"):
            read_text(f"{server}/{status}", what="agencies")

    def test_an_answer_cut_short_is_never_taken_for_the_whole(self, server: str) -> None:
        with pytest.raises(SourceUnavailableError, match="did not answer"):
            read_text(f"{server}/cut.yaml", what="agencies")

    def test_a_server_that_is_too_slow(self, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(yaml_source, "_TIMEOUT_SECONDS", 0.2)
        with pytest.raises(SourceUnavailableError, match="Timeout"):
            read_text(f"{server}/slow.yaml", what="agencies")

    def test_a_server_that_is_not_there(self) -> None:
        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other:
            free_port = other.server_address[1]
        with pytest.raises(SourceUnavailableError, match="did not answer"):
            read_text(f"http://127.0.0.1:{free_port}/ok.yaml", what="agencies")

    @pytest.mark.parametrize(("path", "words"), [("/round.yaml", "cannot be fetched"), ("/elsewhere.yaml", "not http")])
    def test_redirects_that_lead_nowhere_are_final(self, server: str, path: str, words: str) -> None:
        with pytest.raises(SourceError, match=words):
            read_text(server + path, what="agencies")

    @pytest.mark.parametrize("source", ["http://", "http://[::1/agencies.yaml", "http://host:port/agencies.yaml"])
    def test_an_address_that_is_none(self, source: str) -> None:
        with pytest.raises(SourceError, match="agencies: "):
            read_text(source, what="agencies")

    def test_no_message_carries_credentials(self, server: str) -> None:
        address = server.replace("http://", "http://user:hunter2@") + "/404?token=abc123#part"
        with pytest.raises(SourceError) as caught:
            read_text(address, what="agencies")
        assert not {"hunter2", "user", "abc123"} & set(str(caught.value).replace("/", " ").replace("@", " ").split())
        assert f"{server}/404" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("config/agencies.yaml", "config/agencies.yaml"),
        ("https://ghp_token@raw.example/a.yaml?token=x", "https://raw.example/a.yaml"),
        ("https://u:p@raw.example:8443/a.yaml", "https://raw.example:8443/a.yaml"),
        ("http://u:p@[::1/a.yaml", "(an address that cannot be parsed)"),
    ],
)
def test_display_source_hides_what_is_secret(source: str, shown: str) -> None:
    assert display_source(source) == shown


def test_httpx_is_imported_only_by_those_who_read_from_the_web() -> None:
    code = "import sys, data_platform.models.yaml_source; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
