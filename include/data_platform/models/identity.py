"""The id of an article that no store has yet, and the two forms in which the ids of old ones were made.

An id is the MD5, in hex, of the UTF-8 text `agency_published_title` (FIELD_FACTS §2.1). What the middle part was
changed by accident in November 2025: the day alone before, then the whole instant. Ids that exist are kept as they are
and are never computed again; a new one is always made of the instant, in the one form below, whatever zone it came in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from data_platform.models.days import day_of

__all__ = ["day_text", "instant_text", "legacy_id_form", "new_id", "salted_id"]

#: The zone in which instants are printed for an id: fixed, not a region, as the published column has it.
_PUBLISHED_ZONE = timezone(timedelta(hours=-3))
#: What stands for a part that is missing.
_MISSING = "None"


def instant_text(published_at: datetime) -> str:
    """Return an instant as new ids have it, such as `2025-11-25T17:23:00-03:00`: to the second, always at -03:00.

    Raises:
        ValueError: it has no zone.
    """
    if published_at.tzinfo is None:
        raise ValueError(f"an instant needs a zone to be part of an id: {published_at!r}")
    return published_at.astimezone(_PUBLISHED_ZONE).replace(microsecond=0).isoformat()


def day_text(published_at: datetime) -> str:
    """Return the São Paulo day, historic summer time included, as ids made before November 2025 have it.

    Raises:
        ValueError: the instant has no zone.
    """
    return day_of(published_at).isoformat()


def new_id(agency: str | None, published_at: datetime | None, title: str | None) -> str:
    """Return the id of an article that no store has.

    Args:
        agency: its key.
        published_at: with a zone.
        title: as it is published.

    Returns:
        32 hexadecimal digits.

    Raises:
        ValueError: the instant has no zone.
    """
    return _digest(agency, None if published_at is None else instant_text(published_at), title)


def salted_id(agency: str | None, published_at: datetime | None, title: str | None, salt: str) -> str:
    """Return the id of an article whose `new_id` is another article's.

    Args:
        agency: its key.
        published_at: with a zone.
        title: as it is published.
        salt: what tells the two apart: the canonical address. So an article has one salted id, whatever it is given
            together with.

    Raises:
        ValueError: the instant has no zone.
    """
    return _digest(agency, None if published_at is None else instant_text(published_at), title, salt)


def legacy_id_form(row: Mapping[str, Any]) -> Literal["day", "iso"] | None:
    """Say in which form the id of a row was made of its cells.

    Args:
        row: unique_id, agency, published_at (with a zone, or None) and title.

    Returns:
        "day" for the São Paulo day, "iso" for the whole instant; None if it is neither: the row was edited since, has
        a salted or readable id, or is damaged.
    """
    at, uid = row["published_at"], row["unique_id"]
    forms: tuple[tuple[Literal["day", "iso"], str | None], ...] = (
        ("day", None if at is None else day_text(at)),
        ("iso", None if at is None else instant_text(at)),
    )
    return next((form for form, text in forms if _digest(row["agency"], text, row["title"]) == uid), None)


def _digest(*parts: str | None) -> str:
    text = "_".join(_MISSING if part is None else part for part in parts)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
