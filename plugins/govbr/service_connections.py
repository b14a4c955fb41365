"""Connections to the services beside the stores: Cogfy, Typesense, Qdrant, embeddings (docs/connections.md).

What a connection leaves empty stays as the settings have it; where there is none, all of it does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from govbr.connection_fields import Address, address_of, endpoint_of, extra_of, read_connection, text_of

if TYPE_CHECKING:
    from data_platform.settings import Settings

__all__ = ["with_cogfy", "with_embeddings", "with_qdrant", "with_typesense"]

#: Where Typesense listens behind https, and otherwise.
_HTTPS_PORT, _TYPESENSE_PORT = 443, 8108
_QDRANT_PORT = 6333
_YES, _NO = {"true", "1", "yes"}, {"false", "0", "no"}


def with_cogfy(settings: Settings, connection_id: str) -> Settings:
    """Return settings with what a connection says of Cogfy.

    Raises:
        ConfigurationError: it cannot be read.
    """
    connection = read_connection(connection_id)
    if connection is None:
        return settings
    extra = extra_of(connection)
    name, its_id = text_of(extra.get("collection")), text_of(extra.get("collection_id"))
    if not name and not its_id:
        name, its_id = settings.cogfy_collection_name, settings.cogfy_collection_id
    return replace(
        settings,
        cogfy_api_key=text_of(connection.password) or settings.cogfy_api_key,
        cogfy_server_url=endpoint_of(connection) or settings.cogfy_server_url,
        # One that is named here stands for itself: an id of the environment would win over its name.
        cogfy_collection_name=name,
        cogfy_collection_id=its_id,
    )


def with_typesense(settings: Settings, connection_id: str) -> Settings:
    """Return settings with what a connection says of Typesense.

    Raises:
        ConfigurationError: it cannot be read.
    """
    from data_platform.errors import ConfigurationError

    connection = read_connection(connection_id)
    if connection is None:
        return settings
    settings = replace(
        settings,
        typesense_api_key=text_of(connection.password) or settings.typesense_api_key,
        typesense_collection=text_of(extra_of(connection).get("collection")) or settings.typesense_collection,
    )
    address = address_of(connection)
    if address is None:
        return settings
    if address.path:
        raise ConfigurationError(
            f"the host of connection {connection_id!r} has the path {address.path!r}, and Typesense has none",
            hint="write https://name:port",
        )
    # A host that is named here is all of an address: port and protocol of the environment belong to another one.
    protocol = address.scheme or ("https" if address.port == _HTTPS_PORT else "http")
    port = address.port or (_HTTPS_PORT if protocol == "https" else _TYPESENSE_PORT)
    return replace(settings, typesense_host=address.host, typesense_port=port, typesense_protocol=protocol)


def with_qdrant(settings: Settings, connection_id: str) -> Settings:
    """Return settings with what a connection says of Qdrant; fields of the provider's type are understood.

    Raises:
        ConfigurationError: it cannot be read.
    """
    connection = read_connection(connection_id)
    if connection is None:
        return settings
    extra = extra_of(connection)
    return replace(
        settings,
        qdrant_url=_qdrant_url(connection, extra) or settings.qdrant_url,
        qdrant_api_key=text_of(connection.password) or settings.qdrant_api_key,
        qdrant_collection=text_of(extra.get("collection")) or settings.qdrant_collection,
    )


def with_embeddings(settings: Settings, connection_id: str) -> Settings:
    """Return settings with what a connection says of the service that embeds.

    Raises:
        ConfigurationError: it cannot be read.
    """
    from data_platform.errors import ConfigurationError

    connection = read_connection(connection_id)
    if connection is None:
        return settings
    extra, address = extra_of(connection), address_of(connection)
    dimension = text_of(extra.get("dimension")) or str(settings.embeddings_dimension)
    if not (dimension.isascii() and dimension.isdigit()):
        raise ConfigurationError(
            f"dimension in the extra field of connection {connection_id!r} is {dimension!r}",
            hint="write how many numbers a vector of the model has, such as 768",
        )
    return replace(
        settings,
        embeddings_api_url=_url(address) or settings.embeddings_api_url,
        embeddings_api_key=text_of(connection.password) or settings.embeddings_api_key,
        embeddings_api_kind=text_of(extra.get("kind")) or settings.embeddings_api_kind,
        embeddings_model=text_of(extra.get("model")) or settings.embeddings_model,
        embeddings_dimension=int(dimension),
    )


# ------------------------------------------------------------------------------------------------------


def _qdrant_url(connection: Any, extra: dict[str, Any]) -> str:  # noqa: ANN401 - Airflow's Connection
    """Return the address of Qdrant; "" if the connection names none."""
    from data_platform.errors import ConfigurationError

    its = f"connection {connection.conn_id!r}"
    url = text_of(extra.get("url"))
    if url and text_of(connection.host):
        raise ConfigurationError(f"{its} has a host and a url in its extra field", hint="leave one of them empty")
    address = address_of(connection, url)
    if address is None:
        return ""
    told = text_of(extra.get("https")).lower()
    if told not in {"", *_YES, *_NO}:
        raise ConfigurationError(f"https in the extra field of {its} is {told!r}", hint="write true or false")
    prefix = text_of(extra.get("prefix")).strip("/")
    if prefix and address.path:
        raise ConfigurationError(f"{its} has a path and a prefix", hint="leave one of them out")
    if told:
        scheme = "https" if told in _YES else "http"
        if address.scheme not in {"", scheme}:
            raise ConfigurationError(
                f"{its} says https: {told} and an address of {address.scheme}", hint="leave one of them out"
            )
        address = replace(address, scheme=scheme)
    return _url(replace(address, path=f"/{prefix}" if prefix else address.path), port=_QDRANT_PORT)


def _url(address: Address | None, *, port: int | None = None) -> str:
    """Write out an address: on this machine http unless it says otherwise, elsewhere https."""
    from data_platform.managers.loopback import is_loopback

    if address is None:
        return ""
    return address.url(scheme="http" if is_loopback(address.host) else "https", port=None if address.scheme else port)
