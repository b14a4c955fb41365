"""What stands in the fields of Airflow's connections, as text without white space around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Address", "address_of", "endpoint_of", "extra_of", "read_connection", "text_of"]

_SCHEMES = ("http", "https")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a service is, as a connection says it.

    Attributes:
        scheme: http or https; "" if it is not said.
        host: name or address; IPv6 without brackets.
        port: None if it is not said.
        path: what stands behind host and port, without a final slash.
    """

    scheme: str
    host: str
    port: int | None
    path: str = ""

    def url(self, *, scheme: str = "", port: int | None = None) -> str:
        """Return it written out; scheme and port, where it does not say them, as given."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        chosen = self.port or port
        return f"{self.scheme or scheme}://{host}{f':{chosen}' if chosen else ''}{self.path}"


def read_connection(connection_id: str) -> Any:  # noqa: ANN401 - Airflow's Connection, whose import is slow
    """Return a connection; None if there is none of that id."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return Connection.get(connection_id)
    except AirflowNotFoundException:
        return None


def extra_of(connection: Any) -> dict[str, Any]:  # noqa: ANN401 - see above
    """Return the extra field.

    Raises:
        ConfigurationError: it is no JSON object.
    """
    from data_platform.errors import ConfigurationError

    extra = connection.extra_dejson
    if connection.extra and not isinstance(extra, dict):
        raise ConfigurationError(
            f"the extra field of connection {connection.conn_id!r} is no JSON object", hint='write {"name": "value"}'
        )
    return dict(extra or {})


def endpoint_of(connection: Any) -> str:  # noqa: ANN401 - see above
    """Return the address of a service; a connection written as a URI has its scheme apart."""
    host = text_of(connection.host).rstrip("/")
    if host and "://" not in host:
        scheme = text_of(connection.schema) if text_of(connection.schema) in _SCHEMES else "https"
        host = f"{scheme}://{host}" + (f":{connection.port}" if connection.port else "")
    return host


def address_of(connection: Any, given: str = "") -> Address | None:  # noqa: ANN401 - see above
    """Return the address of a service in its parts; None if the connection has no host.

    The host may be a full address; else Schema says how it is spoken to, and Port where.

    Args:
        connection: whose host, schema and port count.
        given: an address to read in place of the host.

    Raises:
        ConfigurationError: it is no address, or has a secret in it.
    """
    from data_platform.errors import ConfigurationError

    host, schema = given or text_of(connection.host), text_of(connection.schema).lower()
    if not host:
        return None
    hint = "write a name, or https://name:port; the secret is the password of the connection"
    bare = host.count(":") > 1 and "://" not in host and not host.startswith("[")  # IPv6
    written = f"[{host}]" if bare else host
    split = urlsplit(written if "://" in written else f"//{written}")
    where = f"the host of connection {connection.conn_id!r}"
    if split.password is not None or split.username is not None:
        raise ConfigurationError(f"{where} has a user or a password in it", hint=hint)
    try:
        port = split.port or (int(connection.port) if connection.port else None)
    except ValueError:
        raise ConfigurationError(f"{where} has a port that is none", hint=hint) from None
    scheme = split.scheme.lower() or (schema if schema in _SCHEMES else "")
    if not split.hostname or split.query or split.fragment or scheme not in {"", *_SCHEMES}:
        raise ConfigurationError(f"{where} is {host!r}, which is no address of a service", hint=hint)
    return Address(scheme=scheme, host=split.hostname, port=port, path=split.path.rstrip("/"))


def text_of(value: object) -> str:
    """Return a field as text, without white space around it; "" for None."""
    return "" if value is None else str(value).strip()
