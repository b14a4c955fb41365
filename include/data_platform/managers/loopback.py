"""Which services are on this machine: what is made up or approximate may be written there, but not elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from data_platform.managers.storage_mode import ReadSource
from data_platform.settings import Settings

__all__ = ["is_loopback", "stores_outside"]


def stores_outside(settings: Settings, sides: Collection[ReadSource]) -> list[str]:
    """Name those of some stores that are not on this machine, for a message."""
    outside = []
    if ReadSource.POSTGRES in sides and (host := _outside_host(settings.database_url)):
        outside.append(f"the database on {host}")
    if ReadSource.HUGGINGFACE in sides and not is_loopback(urlsplit(settings.hf_endpoint).hostname or ""):
        outside.append(f"the dataset on {settings.hf_endpoint or 'the public Hub'}")
    return outside


def is_loopback(host: str) -> bool:
    """Whether a host is this machine for certain; a name other than localhost may lead anywhere."""
    if host == "localhost":
        return True
    try:
        return ip_address(re.sub(r"^\[(.*)\]$", r"\1", host)).is_loopback
    except ValueError:
        return False


def _outside_host(database_url: str) -> str:
    """Return the first host of an address that is not this machine; "" if all are, or it cannot be read.

    A socket is on this machine, but Cloud SQL's proxy puts that of a database elsewhere below /cloudsql.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        told = conninfo_to_dict(database_url)
    except ProgrammingError:
        return "an address that cannot be read"
    if told.get("service"):
        return f"the service {told['service']}"
    if not database_url:
        return ""
    hosts = [str(told.get("host") or os.environ.get("PGHOST", "")), str(told.get("hostaddr") or "")]
    for host in (one.strip() for listed in hosts for one in listed.split(",")):
        if host.startswith("/cloudsql") or (host and not host.startswith(("/", "@")) and not is_loopback(host)):
            return host
    return ""
