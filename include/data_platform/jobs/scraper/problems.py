"""What may go wrong at a site, by type: a failure is never "no news" (FIELD_FACTS §3.5)."""

from __future__ import annotations

from data_platform.errors import TerminalError, TransientError

__all__ = [
    "AntiBotError",
    "EmptyContentError",
    "HtmlChangedError",
    "NetworkError",
    "SaysEmptyError",
    "ScrapeError",
    "UrlBrokenError",
]


class ScrapeError(Exception):
    """Base of what may go wrong at a site; `category` is the word under which scrape_runs counts it."""

    category = "unknown"


class NetworkError(TransientError, ScrapeError):
    """The site did not answer, broke off, or answered that it cannot now (5xx, 429)."""

    category = "network_error"


class AntiBotError(TransientError, ScrapeError):
    """The site answered with a challenge for browsers, or refuses us for now."""

    category = "anti_bot"


class EmptyContentError(TransientError, ScrapeError):
    """A page that should have something has nothing: a login form, a maintenance page, an empty body."""

    category = "empty_content"


class UrlBrokenError(TerminalError, ScrapeError):
    """The address leads nowhere (403, 404, 410), or to a host that is not to be asked."""

    category = "url_broken"


class HtmlChangedError(TerminalError, ScrapeError):
    """The page is large and holds nothing that is known: the layout has changed."""

    category = "html_changed"


class SaysEmptyError(HtmlChangedError):
    """An interface lists nothing, or a page of Plone 6 says that it has no items.

    Neither is believed by itself: the interface may have been asked for the wrong thing, and the page says so too
    while its items are still to be loaded.
    """
