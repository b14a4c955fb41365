"""The list of sites: from the setting SITES_SOURCE, or the one shipped here; the only place where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files

from data_platform.errors import ConfigurationError
from data_platform.models.sites import Site, parse_sites
from data_platform.models.yaml_source import display_source, read_text

__all__ = ["choose_sites", "load_sites"]

_SHIPPED = "site_urls.yaml"


def load_sites(source: str = "") -> tuple[Site, ...]:
    """Return all sites, inactive ones too, in the order of the file.

    Args:
        source: path or URL of site_urls.yaml; empty means the shipped one. The team's file has no sources of EBC; for
            a file without `ebc` they are those of the shipped one. `ebc: {}` means that there are none.

    Raises:
        SourceError: it cannot be used.
        SourceUnavailableError: it did not answer.
    """
    text = files("data_platform").joinpath("catalogue", _SHIPPED).read_text(encoding="utf-8")
    shipped = parse_sites(text, origin=f"the shipped {_SHIPPED}")
    if not source:
        return shipped
    given = read_text(source, what="sites")
    sites = parse_sites(given, origin=f"sites: {display_source(source)}")
    if any(line.startswith(("ebc:", '"ebc":', "'ebc':")) for line in given.splitlines()):
        return sites
    named = {site.key for site in sites}
    return (*sites, *(site for site in shipped if site.host.endswith(".ebc.com.br") and site.key not in named))


def choose_sites(sites: Iterable[Site], keys: Sequence[str] = ()) -> tuple[Site, ...]:
    """Return the sites to collect.

    Args:
        sites: all of them.
        keys: those wanted, inactive ones too since naming one is asking for it; none for every active one.

    Raises:
        ConfigurationError: there is no site of that key.
    """
    by_key = {site.key: site for site in sites}
    if unknown := [key for key in keys if key not in by_key]:
        raise ConfigurationError(
            f"there is no site {', '.join(map(repr, unknown))}",
            hint="the keys are those of site_urls.yaml (SITES_SOURCE, or the shipped catalogue)",
        )
    if keys:
        return tuple(by_key[key] for key in dict.fromkeys(keys))
    return tuple(site for site in by_key.values() if site.active)
