"""Where else a listing is whose address holds a year, since that falls silent on 1 January (fault 32 of §14)."""

from __future__ import annotations

from collections.abc import Sequence

from data_platform.models.days import Days
from data_platform.models.sites import Site

__all__ = ["years_beside"]


def years_beside(site: Site, window: Days) -> Sequence[tuple[int, str, str]]:
    """Return each year of the window that the site's address does not hold, and where its news may be instead.

    Args:
        site: the site.
        window: the days wanted.

    Returns:
        (year, the address with that year, the address above it), newest year first; none for an address without one.
    """
    if site.year is None:
        return []
    above = site.url.rpartition("/")[0]
    years = range(window.last.year, window.first.year - 1, -1)
    return [(year, f"{above}/{year}", above) for year in years if year != site.year]
