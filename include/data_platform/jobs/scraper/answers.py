"""What an answer of a site means: a page, a redirect, or one of the problems by type (FIELD_FACTS §3.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from urllib.parse import unquote, urljoin, urlsplit

from data_platform.jobs.scraper.problems import (
    AntiBotError,
    EmptyContentError,
    NetworkError,
    ScrapeError,
    UrlBrokenError,
)

__all__ = [
    "Accept",
    "Page",
    "PageMissingError",
    "RateLimitedError",
    "TimeBudgetError",
    "is_gone",
    "message_of",
    "raise_for_status",
    "raise_if_no_page",
    "redirect_of",
]

#: FIELD_FACTS §3.5.
_CHALLENGE = re.compile(
    r"challenge-platform|cf-browser-verification|jschl_vc|jschl_answer|\bray_id\b|_cf_chl|checking your browser"
    r"|just a moment",
    re.IGNORECASE,
)
#: How the addresses of login forms look, of Plone and of the government's single sign-on.
_LOGIN = re.compile(
    r"^https?://(?:sso|contas)\.acesso\.gov\.br|/acl_users/|/require_login\b|/login(?:_form)?/?(?:\?|$)|[?&]came_from=",
    re.IGNORECASE,
)
_MAINTENANCE = re.compile(
    r"/(?:pagina-?em-?)?(?:manutencao|maintenance|indisponivel)(?:\.html?)?/?(?:\?|$)", re.IGNORECASE
)
#: Answers that say "not now" rather than "not at all".
_TRY_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PAGES = ("text/", "application/json", "application/xhtml", "application/xml", "application/problem+json")
_LONGEST_SHOWN = 200


class Accept(StrEnum):
    """What is asked for, as the header Accept says it."""

    HTML = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.5"
    JSON = "application/json"


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a site answered.

    Attributes:
        url: the public address in the end, after redirects.
        text: the body as text.
        encoding: what it was in.
        size: bytes of the unpacked body.
        redirects: how many led here.
    """

    url: str
    text: str
    encoding: str
    size: int
    redirects: int = 0


class PageMissingError(UrlBrokenError):
    """There is no such page (404, 410)."""


class RateLimitedError(NetworkError):
    """The host asks to come back later.

    Attributes:
        retry_after_s: how many seconds it asks to wait; 0 if it does not say.
        is_host_wide: whether it is about us rather than about this page.
    """

    retry_after_s: float = 0.0
    is_host_wide: bool = False


class TimeBudgetError(NetworkError):
    """The time that a site may take is over."""


def raise_for_status(url: str, status: int, headers: Mapping[str, str], text: str) -> None:
    """Say what an answer that is no page means; nothing is raised for one that is.

    Args:
        url: the address asked.
        status: the status; a redirect's is none of these.
        headers: of the answer, by lower-case name.
        text: the beginning of the body.

    Raises:
        AntiBotError: a challenge for browsers.
        RateLimitedError: it asks to come back later, or the server fails (408, 425, 429, 5xx).
        EmptyContentError: it wants a login (401).
        PageMissingError: it has no such page (404, 410).
        UrlBrokenError: it refuses (all other 4xx).
    """
    if status < HTTPStatus.BAD_REQUEST:
        return
    said = f"{url} answered {status}"
    if _CHALLENGE.search(text) or headers.get("cf-mitigated", "") == "challenge":
        raise AntiBotError(
            f"{said} with a challenge for browsers", hint="ask less often, and from an address inside Brazil"
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRY_LATER:
        limited = RateLimitedError(said, hint="the site may answer later")
        limited.retry_after_s = _retry_after(headers.get("retry-after", ""))
        limited.is_host_wide = status == HTTPStatus.TOO_MANY_REQUESTS
        raise limited
    if status == HTTPStatus.UNAUTHORIZED:
        raise EmptyContentError(f"{said}: it wants a login", hint="the page may have been withdrawn")
    hints: dict[int, str] = {
        HTTPStatus.FORBIDDEN: "it may refuse our User-Agent (SCRAPER_USER_AGENT) or our address",
        HTTPStatus.NOT_FOUND: "it may have moved: correct its address in the catalogue",
        HTTPStatus.GONE: "it was removed on purpose: correct its address in the catalogue, or disable the site",
    }
    missing = status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
    kind = PageMissingError if missing else UrlBrokenError
    raise kind(said, hint=hints.get(status, "look at the address"))


def redirect_of(url: str, status: int, headers: Mapping[str, str]) -> str | None:
    """Return where an answer leads; None if nowhere.

    Raises:
        EmptyContentError: to a login form or a maintenance page, which are not asked for.
        UrlBrokenError: it does not say where to.
    """
    if status not in _REDIRECTS:
        return None
    location = headers.get("location", "").strip()
    try:
        target = urljoin(url, location)
        urlsplit(target)
    except ValueError as error:
        raise UrlBrokenError(f"{url} leads to {location[:_LONGEST_SHOWN]!r}, which is no address") from error
    if not location:
        raise UrlBrokenError(f"{url} answered {status} without saying where to")
    if _LOGIN.search(target) and not _LOGIN.search(url):
        raise EmptyContentError(
            f"{url} leads to a login form", hint="the page may have been withdrawn; it is asked again later"
        )
    if _MAINTENANCE.search(target) and not _MAINTENANCE.search(url):
        raise EmptyContentError(f"{url} leads to a maintenance page", hint="it is asked again later")
    return target


def raise_if_no_page(url: str, content_type: str, *, accept: Accept) -> None:
    """Refuse a body that is no text before it is read.

    Raises:
        UrlBrokenError: the address is that of a file.
        EmptyContentError: JSON was asked for and a page came, as sites do that are being worked on.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind and not kind.startswith(_PAGES):
        raise UrlBrokenError(f"{url} is no page but a file ({kind[:_LONGEST_SHOWN]})")
    if accept is Accept.JSON and kind in {"text/html", "application/xhtml+xml"}:
        raise EmptyContentError(
            f"{url} answered with a page, not with JSON",
            hint="the site may be worked on, or be no Plone 6; it is asked again later",
        )


def is_gone(asked: str, answered: str) -> bool:
    """Return whether a redirect led from an article up to a page above it, as sites do whose article is gone."""
    before, after = urlsplit(asked), urlsplit(answered)
    above = unquote(after.path).rstrip("/") + "/"
    path = unquote(before.path).rstrip("/").removesuffix("/view")
    return before.hostname == after.hostname and path + "/" != above and path.startswith(above)


def _retry_after(value: str) -> float:
    """Return the seconds that an answer asks to wait: a number, or an instant (RFC 9110 §10.2.3)."""
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, TypeError):
        at = parsedate_to_datetime(value)
        zoned = at if at.tzinfo else at.replace(tzinfo=UTC)
        return max(0.0, (zoned - datetime.now(UTC)).total_seconds())
    return 0.0


def message_of(error: BaseException) -> str:
    """Return what an error says, with its kind if it is none of ours."""
    return str(error) if isinstance(error, ScrapeError) else f"{type(error).__name__}: {error}"
