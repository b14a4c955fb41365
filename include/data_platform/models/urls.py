"""The canonical form of an article's address, by which the same article is recognised.

https, lower-case host without default port, no fragment, no tracking parameters, no `/++api++`, no
trailing slash or `/view`, percent-encoding normalised as RFC 3986 §6.2.2 says (DESIGN §2.8).
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["LONGEST_CANONICAL", "canonical_url", "canonical_urls"]

#: In bytes. An index entry holds 2,704 with the agency; an address beyond that is none that a site gave an article.
LONGEST_CANONICAL = 2048

_TRACKING = re.compile(r"^(utm_.*|fbclid|gclid|dclid|msclkid|mc_cid|mc_eid|igshid|origem|_ga)$", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}
#: Characters that stay as they are in a path or a query; everything else is percent-encoded.
_PATH_SAFE = "/:@!$&'()*+,;=-._~"
_QUERY_SAFE = _PATH_SAFE + "?"
_API = re.compile(r"/\+\+api\+\+(?=/|$)")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}|%")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
#: Addresses that are canonical already, nearly all of the dataset's; RE2, for Arrow.
_ALREADY = r"^https://[a-z0-9-]+(\.[a-z0-9-]+)+(/[A-Za-z0-9._~!$&'()*,;=:@-]+)*$"
_VIEW = r"/view$|/\.{1,2}(/|$)"


def canonical_url(url: str | None) -> str | None:
    """Return the canonical form of an address; None if it is no absolute http(s) address, or longer than any."""
    if url is None:
        return None
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").strip(), parts.port
        if ":" in host:  # given to us without its brackets
            host = f"[{IPv6Address(host)}]"
        elif "[" in host or "]" in host:
            return None
    except ValueError:  # a port or an IPv6 host that cannot be one
        return None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS or not host:
        return None
    netloc = host if port in (None, _DEFAULT_PORTS[scheme], _DEFAULT_PORTS["https"]) else f"{host}:{port}"
    parameters = _encode(parts.query, _QUERY_SAFE).split("&")
    query = "&".join(p for p in parameters if p and not _TRACKING.match(p.partition("=")[0]))
    canonical = SplitResult("https", netloc, _canonical_path(parts.path), query, "").geturl()
    return canonical if len(canonical.encode()) <= LONGEST_CANONICAL else None


def canonical_urls(urls: pa.Array) -> pa.Array:
    """Return the canonical forms of an array of addresses."""
    ready = pc.and_(pc.match_substring_regex(urls, _ALREADY), pc.invert(pc.match_substring_regex(urls, _VIEW)))
    ready = pc.and_(ready, pc.less_equal(pc.binary_length(urls), LONGEST_CANONICAL))
    todo = pc.invert(pc.fill_null(ready, True))
    if not pc.any(todo).as_py():
        return urls
    rest = pa.array([canonical_url(u) for u in urls.filter(todo).to_pylist()], pa.string())
    return pc.replace_with_mask(urls, todo, rest)


def _canonical_path(path: str) -> str:
    path = _encode(path, _PATH_SAFE)
    before = None
    while path != before:
        before = path
        path = _API.sub("", path).rstrip("/").removesuffix("/view")
    return path


def _encode(text: str, safe: str) -> str:
    """Encode what must be, decode what need not be, and write hex digits in capitals."""
    out: list[str] = []
    end = 0
    for match in _PERCENT.finditer(text):
        out.append(quote(text[end : match.start()], safe=safe))
        escape, end = match.group(), match.end()
        byte = unquote_to_bytes(escape)
        if escape == "%":
            out.append("%25")
        else:
            out.append(byte.decode("ascii") if byte[0] in _UNRESERVED else escape.upper())
    out.append(quote(text[end:], safe=safe))
    return "".join(out)
