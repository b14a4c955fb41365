"""Faults that a test plants in the stand-in of the sites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dev.gov_web import pages

__all__ = [
    "WebFault",
    "anti_bot",
    "bomb",
    "empty",
    "endless",
    "hanging",
    "latin1",
    "login_redirect",
    "maintenance",
    "redirect",
    "slow_drip",
    "status",
    "too_many",
    "truncated",
    "volto_shell",
]

_EVER = 1_000_000


@dataclass
class WebFault:
    """What goes wrong with requests in whose "host/path?query" a regular expression is found.

    Without anything else the request is only answered late. Of several faults that match, the first plays.

    Attributes:
        pattern: the regular expression; the path is decoded.
        times: how many requests it strikes.
        skip: how many requests that match it lets pass first.
        delay: seconds before the answer.
        drop: close the connection without an answer.
        status: the status to answer.
        headers: further headers.
        body: the body to answer; None for that of the page.
        encoding: in which the page's text is sent.
        says: what the header calls the encoding; None for nothing.
        cut: close the connection after so many bytes of the body, although more were announced.
        drip: (bytes, seconds): send so many bytes, wait, and so on.
        endless: go on sending the body for ever.
    """

    pattern: str
    times: int = _EVER
    skip: int = 0
    delay: float = 0.0
    drop: bool = False
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    encoding: str = "utf-8"
    says: str | None = "utf-8"
    cut: int | None = None
    drip: tuple[int, float] | None = None
    endless: bool = False


def hanging(pattern: str, seconds: float = 3600.0, *, times: int = _EVER, skip: int = 0) -> WebFault:
    """Answer nothing for a long time; the server ends the wait when it is stopped."""
    return WebFault(pattern, delay=seconds, times=times, skip=skip)


def status(pattern: str, code: int, *, times: int = _EVER, skip: int = 0) -> WebFault:
    """Answer a status with a small page."""
    return WebFault(pattern, status=code, body=f"<html><h1>{code}</h1></html>".encode(), times=times, skip=skip)


def too_many(
    pattern: str, retry_after: str | None = None, code: int = 429, *, times: int = _EVER, skip: int = 0
) -> WebFault:
    """Ask to come back later."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return WebFault(pattern, status=code, headers=headers, body=b"<html>devagar</html>", times=times, skip=skip)


def anti_bot(pattern: str, code: int = 200, *, times: int = _EVER, skip: int = 0) -> WebFault:
    """Answer with a challenge for browsers."""
    return WebFault(pattern, status=code, body=pages.anti_bot_page().encode(), times=times, skip=skip)


def login_redirect(pattern: str, *, times: int = _EVER, skip: int = 0) -> WebFault:
    """Lead to the government's single sign-on."""
    return redirect(pattern, "https://sso.acesso.gov.br/login?client_id=www.gov.br", times=times, skip=skip)


def maintenance(pattern: str, *, times: int = _EVER, skip: int = 0) -> WebFault:
    """Answer with a notice of works, also where JSON was asked for."""
    return WebFault(pattern, body=pages.maintenance_page().encode(), times=times, skip=skip)


def redirect(pattern: str, to: str, code: int = 302, *, times: int = _EVER, skip: int = 0) -> WebFault:
    """Lead elsewhere."""
    return WebFault(pattern, status=code, headers={"Location": to}, body=b"", times=times, skip=skip)


def volto_shell(pattern: str, size: int = 400_000, *, times: int = _EVER, skip: int = 0) -> WebFault:
    """Answer as a site that has moved to Plone 6."""
    return WebFault(pattern, body=pages.volto_shell(size).encode(), times=times, skip=skip)


def slow_drip(pattern: str, size: int = 200, seconds: float = 0.05, *, times: int = _EVER, skip: int = 0) -> WebFault:
    """Send the page a few bytes at a time."""
    return WebFault(pattern, drip=(size, seconds), times=times, skip=skip)


def endless(pattern: str, *, times: int = _EVER, skip: int = 0) -> WebFault:
    """Send for ever."""
    return WebFault(pattern, body=b"<p>mais</p>" * 1000, endless=True, times=times, skip=skip)


def truncated(pattern: str, after: int = 500, *, times: int = _EVER, skip: int = 0) -> WebFault:
    """Break off in the middle of the page."""
    return WebFault(pattern, cut=after, times=times, skip=skip)


def latin1(pattern: str, says: str | None = "iso-8859-1", *, times: int = _EVER, skip: int = 0) -> WebFault:
    """Send the page in latin-1, whatever the header calls it."""
    return WebFault(pattern, encoding="iso-8859-1", says=says, times=times, skip=skip)


def bomb(pattern: str, megabytes: int = 200, *, times: int = _EVER, skip: int = 0) -> WebFault:
    """Answer with a small packed body that is huge when it is unpacked."""
    import gzip
    import io

    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9) as file:
        for _ in range(megabytes):
            file.write(b"\0" * 1_000_000)
    return WebFault(pattern, headers={"Content-Encoding": "gzip"}, body=packed.getvalue(), times=times, skip=skip)


def empty(pattern: str, *, times: int = _EVER, skip: int = 0) -> WebFault:
    """Answer 200 with nothing."""
    return WebFault(pattern, body=b"", times=times, skip=skip)
