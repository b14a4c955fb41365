"""The sites whose news is collected: reading site_urls.yaml, checking it against the agencies (FIELD_FACTS §5.1)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from data_platform.errors import SourceError
from data_platform.models.agencies import Agency
from data_platform.models.yaml_source import load_yaml

__all__ = ["ScraperType", "Site", "SiteCheck", "check_sites", "parse_sites"]

_KEY = re.compile(r"[a-z0-9_-]+")
_YEAR = re.compile(r"(19|20)\d\d")
_GOV_BR = "www.gov.br"
_SHAPE = "site_urls.yaml has the top key `agencies`: key -> url, active, scraper_type, or key -> address"
_SUB_KEYS = frozenset({"url", "active", "scraper_type", "disabled_reason", "disabled_date", "agency"})
#: The old joint list of EBC is filed under `ebc`, whatever the file that names it (FIELD_FACTS §4).
_FILED_UNDER = {"memoria-ebc": "ebc"}
_EBC_HOSTS = {
    "agenciabrasil.ebc.com.br": "agencia_brasil",
    "tvbrasil.ebc.com.br": "tv_brasil",
    "memoria.ebc.com.br": "memoria",
}


class ScraperType(StrEnum):
    """How a site is read. Of a gov.br site it is where reading begins: what the site is shows when it answers."""

    HTML = "html"
    PLONE6_API = "plone6_api"
    AGENCIA_BRASIL = "agencia_brasil"
    TV_BRASIL = "tv_brasil"
    MEMORIA = "memoria"


@dataclass(frozen=True, kw_only=True)
class Site:
    """A listing of news, and whose it is.

    Attributes:
        key: its key in the file.
        agency: how the dataset files its news; nearly always the key.
        url: address of the listing, without paging, fragment and trailing slash.
        scraper_type: how it is read.
        active: whether it is collected every day.
        disabled_reason: why not, if not; None if nobody said.
        disabled_date: since when not; None if nobody said.
    """

    key: str
    agency: str
    url: str
    scraper_type: ScraperType = ScraperType.HTML
    active: bool = True
    disabled_reason: str | None = None
    disabled_date: date | None = None

    @property
    def host(self) -> str:
        """The host of the listing, in lower case."""
        return urlsplit(self.url).hostname or ""

    @property
    def year(self) -> int | None:
        """The year that the address ends with (`…/noticias/2025`), which falls silent on 1 January; None if none."""
        last = urlsplit(self.url).path.rpartition("/")[2]
        return int(last) if _YEAR.fullmatch(last) else None


@dataclass(frozen=True, kw_only=True)
class SiteCheck:
    """What is odd about a list of sites; keys in the order of the file, each list empty if nothing is.

    Attributes:
        without_agency: active sites whose agency has no entry: their news gets a stub.
        without_site: agencies that have no site at all.
        only_inactive: agencies all of whose sites are inactive.
        shared: active sites whose listing another active one has too: the same articles twice.
        misfiled: active sites of www.gov.br below the path of another agency.
        address_differs: agencies whose address in agencies.yaml is not that of any site of theirs, nor above it.
        year_in_address: active sites whose address holds a year.
    """

    without_agency: tuple[str, ...]
    without_site: tuple[str, ...]
    only_inactive: tuple[str, ...]
    shared: tuple[str, ...]
    misfiled: tuple[str, ...]
    address_differs: tuple[str, ...]
    year_in_address: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return a line for each thing that is odd."""
        told = ((field.name, getattr(self, field.name)) for field in fields(self))
        return [f"{name.replace('_', ' ')}: {', '.join(keys)}" for name, keys in told if keys]


def parse_sites(text: str, *, origin: str) -> tuple[Site, ...]:
    """Read site_urls.yaml, in the order of the file: first its `agencies`, then its `ebc` if it has any.

    Both forms are read: key -> address (until February 2026), and key -> mapping with `url` and, if need be,
    `active`, `scraper_type`, `disabled_reason`, `disabled_date` and `agency`. The sources of EBC stand in the same
    form under the top key `ebc`, or in a file of their own.

    Args:
        text: the YAML text.
        origin: where it came from, for messages.

    Raises:
        SourceError: the text is another file (agencies.yaml is recognised), or a key or a value cannot be used; names
            file, key and value.

    Source:
        FIELD_FACTS §5.1.
    """
    document = load_yaml(text, origin=origin)
    if not isinstance(document, dict):
        raise SourceError(f"{origin} is not a mapping", hint=_SHAPE)
    if "agencies" not in document and "ebc" not in document:
        raise _another_file(document, origin)
    sites: list[Site] = []
    for top in ("agencies", "ebc"):
        entries = document.get(top, {})
        if not isinstance(entries, dict):
            raise SourceError(f"{origin}: `{top}` is not a mapping", hint=_SHAPE)
        sites += [_site(key, value, origin) for key, value in entries.items()]
    if not sites:
        raise SourceError(f"{origin} holds no site", hint=_SHAPE)
    if twice := [key for key, times in Counter(site.key for site in sites).items() if times > 1]:
        raise SourceError(f"{origin}: site {twice[0]!r} stands below `agencies` and below `ebc`")
    return tuple(sites)


def check_sites(sites: Sequence[Site], agencies: Iterable[Agency]) -> SiteCheck:
    """Hold the sites against the agencies.

    Args:
        sites: all sites, inactive ones too.
        agencies: all agencies.
    """
    known = {agency.key: agency for agency in agencies}
    active = [site for site in sites if site.active]
    times = Counter(site.url for site in active)
    with_site, with_active = {site.agency for site in sites}, {site.agency for site in active}
    return SiteCheck(
        without_agency=tuple(site.key for site in active if site.agency not in known),
        without_site=tuple(key for key in known if key not in with_site),
        only_inactive=tuple(key for key in known if key in with_site and key not in with_active),
        shared=tuple(site.key for site in active if times[site.url] > 1),
        misfiled=tuple(site.key for site in active if _is_misfiled(site)),
        address_differs=tuple(key for key in known if _differs(known[key], [s for s in sites if s.agency == key])),
        year_in_address=tuple(site.key for site in active if site.year is not None),
    )


def _is_misfiled(site: Site) -> bool:
    return site.host == _GOV_BR and urlsplit(site.url).path.split("/")[1] != site.agency


def _differs(agency: Agency, sites: Collection[Site]) -> bool:
    if agency.url is None or not sites:
        return False
    # agencies.yaml has the home page of EBC's sites, and may write a slash at the end.
    above = agency.url.rstrip("/")
    return not any(site.url == above or site.url.startswith(f"{above}/") for site in sites)


def _another_file(document: dict[Any, Any], origin: str) -> SourceError:
    if "sources" in document:
        return SourceError(f"{origin} looks like agencies.yaml, which has names", hint=_SHAPE)
    keys = ", ".join(repr(key) for key in list(document)[:5]) or "nothing"
    return SourceError(f"{origin} has no top key `agencies`; its top keys begin with {keys}", hint=_SHAPE)


def _site(key: Any, value: Any, origin: str) -> Site:
    if not isinstance(key, str):
        # YAML reads an unquoted `no` as False and `2025` as a number.
        raise SourceError(f"{origin}: site key {key!r} is not text to YAML", hint="put it in quotes")
    where = f"{origin}: site {key!r}"
    if not _KEY.fullmatch(key):
        raise SourceError(
            f"{where} has characters that a key may not have",
            hint="a key has lower case letters without accents, digits, hyphens and underscores",
        )
    entry = {"url": value} if isinstance(value, str) else value
    if not isinstance(entry, dict):
        raise SourceError(f"{where} is neither an address nor a mapping with `url`", hint=_SHAPE)
    if "name" in entry:
        raise SourceError(
            f"{origin} looks like agencies.yaml: site {key!r} has a name",
            hint="agencies.yaml says who the agencies are; give site_urls.yaml, which says where their news is",
        )
    if unknown := [name for name in entry if name not in _SUB_KEYS]:
        # A word written wrongly (`actve: false`) would else switch a site on.
        raise SourceError(f"{where} has {unknown[0]!r}, which means nothing", hint=_SHAPE)
    url = _address(entry.get("url"), where)
    agency = _text(entry, "agency", where) or _FILED_UNDER.get(key, key)
    return Site(
        key=key,
        agency=agency,
        url=url,
        scraper_type=_scraper_type(entry, url, where),
        active=_active(entry, where),
        disabled_reason=_text(entry, "disabled_reason", where),
        disabled_date=_day(entry, where),
    )


def _address(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SourceError(f"{where} has no url", hint="write `url:` with the address of its listing")
    try:
        parts = urlsplit(value.strip())
        port = parts.port
    except ValueError as error:
        raise SourceError(f"{where}: url {value!r} is no address: {error}") from error
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        raise SourceError(f"{where}: url {value!r} is not an http(s) address")
    if parts.username is not None or port not in {None, 80, 443}:
        raise SourceError(f"{where}: url {value!r} has a user or a port; a listing has neither")
    # One listing had `?b_start:int=0` in its address already, two a slash at the end (FIELD_FACTS §3.8).
    return urlunsplit(("https", parts.hostname.lower(), parts.path.rstrip("/"), "", ""))


def _scraper_type(entry: dict[Any, Any], url: str, where: str) -> ScraperType:
    of_host = _EBC_HOSTS.get(urlsplit(url).hostname or "")
    if of_host is not None:
        return ScraperType(of_host)  # EBC's own file says "html" of them, or nothing
    text = _text(entry, "scraper_type", where) or ScraperType.HTML
    try:
        return ScraperType(text)
    except ValueError:
        known = ", ".join(ScraperType)
        raise SourceError(f"{where}: scraper_type {text!r} is not known", hint=f"known are {known}") from None


def _active(entry: dict[Any, Any], where: str) -> bool:
    active = entry.get("active", True)
    if not isinstance(active, bool):
        raise SourceError(f"{where}: active is {active!r}", hint="write true or false, without quotes")
    return active


def _day(entry: dict[Any, Any], where: str) -> date | None:
    value = entry.get("disabled_date")
    if isinstance(value, datetime):
        return value.date()
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value).strip())
    except ValueError:
        raise SourceError(f"{where}: disabled_date {value!r} is not a day", hint="write YYYY-MM-DD") from None


def _text(entry: dict[Any, Any], field: str, where: str) -> str | None:
    value = entry.get(field)
    if value is not None and not isinstance(value, str):
        raise SourceError(f"{where}: {field} is {value!r} to YAML, not text", hint="put the value in quotes")
    return (value or "").strip() or None
