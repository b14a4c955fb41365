"""Bytes of an answer as text: unpacked within a bound, in the encoding that they really are in."""

from __future__ import annotations

import codecs
import re
import zlib

from data_platform.jobs.scraper.problems import NetworkError, UrlBrokenError

__all__ = ["ACCEPTED_ENCODINGS", "BodyReader", "PageTooLargeError", "decode_text"]

#: What we ask for and can unpack within a bound; brotli's packages for Python have none.
ACCEPTED_ENCODINGS = "gzip, deflate"

_PLAIN = frozenset({"", "identity"})
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
#: zlib finds out by itself whether it is gzip's or zlib's form.
_ANY_HEADER = zlib.MAX_WBITS | 32
_META = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.IGNORECASE)
_HEADER = re.compile(r"""charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.IGNORECASE)
#: A page says its encoding among its first bytes (HTML standard: 1,024; some write more before it).
_META_WITHIN = 4096
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
#: What pages call latin-1 is cp1252, as browsers read it (Encoding standard, labels of windows-1252).
_REALLY_CP1252 = frozenset({"iso8859-1", "ascii"})
_NOT_OF_PAGES = frozenset({"utf-8", "utf-7", "idna", "punycode", "unicode_escape", "raw_unicode_escape"})
#: Share of good characters beyond ASCII from which a text with broken ones is still taken for UTF-8.
_STILL_UTF8 = 0.9


class PageTooLargeError(UrlBrokenError):
    """The body is larger than any page; it was not read to its end."""


class BodyReader:
    """Gathers the body of an answer, never holding more than the bound.

    Args:
        where: the address, for messages.
        encoding: the Content-Encoding of the answer.
        largest: most bytes of the unpacked body.

    Raises:
        NetworkError: the body is packed in a way that was not asked for.
    """

    def __init__(self, where: str, *, encoding: str, largest: int) -> None:
        self._where, self._largest = where, largest
        self._body = bytearray()
        self._packed_bytes = 0
        kind = encoding.strip().lower()
        if kind not in _PLAIN | _PACKED:
            raise NetworkError(f"{where}: the body is packed as {kind!r}, which was not asked for")
        self._unpacker = zlib.decompressobj(_ANY_HEADER) if kind in _PACKED else None
        self._is_deflate = kind == "deflate"

    @property
    def body(self) -> bytes:
        """What was read so far."""
        return bytes(self._body)

    def add(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            PageTooLargeError: it is too large.
            NetworkError: it cannot be unpacked.
        """
        self._packed_bytes += len(piece)
        if self._packed_bytes > self._largest:
            raise self._too_large()
        if self._unpacker is None:
            self._body += piece
            return
        try:
            self._body += self._unpack(piece)
        except zlib.error as error:
            raise NetworkError(f"{self._where}: the body cannot be unpacked: {error}") from error
        if self._unpacker.unconsumed_tail:
            raise self._too_large()

    def finish(self) -> bytes:
        """Return the body.

        Raises:
            NetworkError: the packed body broke off.
        """
        if self._unpacker is not None and self._packed_bytes and not self._unpacker.eof:
            raise NetworkError(f"{self._where}: the body broke off after {self._packed_bytes} packed bytes")
        return self.body

    def _unpack(self, piece: bytes) -> bytes:
        unpacker = self._unpacker
        if unpacker is None or unpacker.eof:
            return b""  # some servers add zeros behind the end
        # One byte more than is left: so a body that is too large leaves a tail, or that byte.
        most = self._largest - len(self._body) + 1
        try:
            unpacked = unpacker.decompress(piece, most)
        except zlib.error:
            if not self._is_deflate or self._packed_bytes > len(piece):
                raise
            # Some servers send deflate without the header that RFC 9110 asks for.
            self._unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
            unpacked = self._unpacker.decompress(piece, most)
        if len(unpacked) == most:
            raise self._too_large()
        return unpacked

    def _too_large(self) -> PageTooLargeError:
        return PageTooLargeError(
            f"{self._where}: larger than {self._largest / 1e6:g} MB, which no page of news is",
            hint="look at the address: it may be a file, or an answer without end",
        )


def decode_text(body: bytes, content_type: str = "") -> tuple[str, str]:
    """Return the text of a body, and the encoding that it was in.

    What can be UTF-8 is UTF-8, whatever it says: no text with accents in another encoding happens to be valid UTF-8,
    and servers are often set wrongly. Otherwise a mark at its beginning, the header and the page's own word count, in
    this order; then UTF-8 if only few characters are broken, and cp1252.

    Args:
        body: the unpacked body.
        content_type: the header Content-Type.
    """
    for mark, name in _MARKS:
        if body.startswith(mark):
            return body.decode(name, errors="replace"), name
    try:
        return body.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        said = _HEADER.search(content_type)
        meta = _META.search(body[:_META_WITHIN])
        for name in (said[1] if said else "", meta[1].decode("ascii") if meta else ""):
            if codec := _codec(name):
                return body.decode(codec, errors="replace"), codec
    text = body.decode("utf-8", errors="replace")
    broken = text.count("\ufffd")
    beyond = sum(1 for character in text if character > "\x7f")
    if beyond and (beyond - broken) / beyond >= _STILL_UTF8:
        return text, "utf-8"
    return body.decode("cp1252", errors="replace"), "cp1252"


def _codec(name: str) -> str | None:
    """Return Python's name of an encoding of text; None if it is unknown, or UTF-8, which the bytes are not."""
    try:
        info = codecs.lookup(name)
    except LookupError:
        return None
    # The registry also has "zip", "rot13" and the like; whether bytes become text can only be tried.
    try:
        b"a".decode(info.name)
    except (LookupError, ValueError):
        return None
    if info.name in _NOT_OF_PAGES:
        return None
    return "cp1252" if info.name in _REALLY_CP1252 else info.name
