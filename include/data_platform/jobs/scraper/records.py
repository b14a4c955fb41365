"""What a page says of an article, whatever the layout of the site that it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

__all__ = ["BODY_MISSING", "Article", "Listed", "ListingPage", "When"]


#: A note of an article whose page has not even a place for a text: it is none of the pages that are known.
BODY_MISSING = "body_missing"


@dataclass(frozen=True)
class When:
    """An instant as a page tells it.

    Attributes:
        instant: with a zone; midnight in São Paulo where only the day is known.
        exact: whether more than the day is known.
    """

    instant: datetime
    exact: bool


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One item of a listing.

    Attributes:
        url: absolute address of the article.
        title: as the listing has it; None if it has none.
        published: when it was published; None if the listing does not say or cannot be read.
        category: None if the listing does not say.
        tags: none if the listing does not say.
    """

    url: str
    title: str | None = None
    published: When | None = None
    category: str | None = None
    tags: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class ListingPage:
    """One page of a listing, in the order of the page.

    Attributes:
        items: its items; none of a page behind the last one.
        total: items of the whole listing; None if it does not say.
        next_url: address of the next page as the page itself gives it; None if it gives none.
    """

    items: Sequence[Listed]
    total: int | None = None
    next_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Article:
    """An article, read and cleaned.

    Attributes:
        url: absolute public address.
        title: None if the page has none.
        published: None if neither page nor listing says.
        updated: when it was last changed; None if the page does not say.
        subtitle: None if there is none.
        editorial_lead: the line above the title; of TV Brasil the programme.
        content: Markdown; None if there is none or it could not be read (`notes` says why).
        image: absolute address; None if there is none that can be shown.
        video_url: absolute address; None if there is none.
        category: None if there is none.
        tags: in the order of the page, each once.
        notes: words for what was out of the ordinary, such as "content_missing" or "minimal_cleaning".
    """

    url: str
    title: str | None = None
    published: When | None = None
    updated: When | None = None
    subtitle: str | None = None
    editorial_lead: str | None = None
    content: str | None = None
    image: str | None = None
    video_url: str | None = None
    category: str | None = None
    tags: Sequence[str] = ()
    notes: Sequence[str] = ()
