"""Bodies are unpacked within a bound, and read in the encoding that they really are in."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_platform.jobs.scraper.decoding import BodyReader, PageTooLargeError, decode_text
from data_platform.jobs.scraper.problems import NetworkError

PORTUGUESE = "Ministério anuncia ações; à tarde, reunião – “balanço” do mês"


def read(body: bytes, encoding: str = "", *, largest: int = 100_000, size: int = 1000) -> bytes:
    reader = BodyReader("https://www.gov.br/x", encoding=encoding, largest=largest)
    for start in range(0, len(body), size):
        reader.add(body[start : start + size])
    return reader.finish()


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@given(st.binary(max_size=3000), st.integers(1, 500))
def test_what_was_packed_comes_out(body: bytes, size: int) -> None:
    assert read(body, size=size) == body
    assert read(gzip.compress(body), "gzip", size=size) == body
    assert read(zlib.compress(body), " Deflate ", size=size) == body


def test_deflate_without_its_header_is_read() -> None:
    assert read(raw_deflate(b"abc" * 1000), "deflate") == b"abc" * 1000


@given(st.integers(0, 2000), st.booleans())
def test_the_bound_is_exact(over: int, packed: bool) -> None:
    body = b"x" * (1000 + over)
    sent, encoding = (gzip.compress(body), "gzip") if packed else (body, "")
    if over:
        with pytest.raises(PageTooLargeError, match=r"https://www\.gov\.br/x: larger than 0\.001 MB"):
            read(sent, encoding, largest=1000)
    else:
        assert read(sent, encoding, largest=1000) == body


def test_a_bomb_is_never_held() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(PageTooLargeError):
            read(bomb, "gzip", largest=1_000_000, size=len(bomb))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


def test_a_packed_body_that_breaks_off_is_not_a_page() -> None:
    packed = gzip.compress(PORTUGUESE.encode() * 100)
    with pytest.raises(NetworkError, match="broke off"):
        read(packed[:-5], "gzip")
    with pytest.raises(NetworkError, match="cannot be unpacked"):
        read(b"no gzip at all", "gzip")


def test_zeros_behind_the_end_do_not_matter() -> None:
    assert read(gzip.compress(b"abc") + b"\0" * 100, "gzip") == b"abc"


def test_what_was_not_asked_for_is_refused() -> None:
    with pytest.raises(NetworkError, match="packed as 'br'"):
        read(b"x", "br")


@pytest.mark.parametrize(
    ("body", "header", "encoding"),
    [
        pytest.param(PORTUGUESE.encode(), "text/html", "utf-8", id="nothing said"),
        pytest.param(PORTUGUESE.encode(), "text/html; charset=iso-8859-1", "utf-8", id="header wrong"),
        pytest.param(PORTUGUESE.encode("utf-8-sig"), "", "utf-8-sig", id="mark"),
        pytest.param(PORTUGUESE.encode("utf-16"), "", "utf-16", id="mark of UTF-16"),
        pytest.param(PORTUGUESE.encode("cp1252"), "text/html; charset=ISO-8859-1", "cp1252", id="latin-1 is cp1252"),
        pytest.param(PORTUGUESE.encode("cp1252"), "text/html; charset=utf-8", "cp1252", id="says UTF-8 and is not"),
        pytest.param(PORTUGUESE.encode("cp1252"), "text/html; charset=marciano", "cp1252", id="unknown word"),
        pytest.param(PORTUGUESE.encode("cp1252"), "text/html; charset=zip", "cp1252", id="no encoding of text"),
        pytest.param(PORTUGUESE.encode("cp1252"), "", "cp1252", id="nothing said, not UTF-8"),
    ],
)
def test_text_is_what_was_written(body: bytes, header: str, encoding: str) -> None:
    assert decode_text(body, header) == (PORTUGUESE, encoding)


def test_the_page_s_own_word_counts_where_the_header_says_nothing() -> None:
    body = '<meta http-equiv="Content-Type" content="text/html; charset=mac-roman">é'.encode("mac-roman")
    text, encoding = decode_text(body, "text/html")
    assert (text[-1], encoding) == ("é", "mac-roman")


def test_one_broken_character_does_not_spoil_the_others() -> None:
    text, encoding = decode_text(PORTUGUESE.encode() * 20 + b"\xc3", "")
    assert (text, encoding) == (PORTUGUESE * 20 + "\ufffd", "utf-8")


@given(st.binary(max_size=200), st.text(max_size=30))
def test_any_bytes_become_some_text(body: bytes, header: str) -> None:
    text, _ = decode_text(body, header)
    assert isinstance(text, str)
