"""The one place where Airflow's connections become settings, their secrets masked (docs/connections.md)."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from govbr.connection_fields import endpoint_of, extra_of, read_connection, text_of
from govbr.service_connections import with_cogfy, with_embeddings, with_qdrant, with_typesense

if TYPE_CHECKING:
    from collections.abc import Collection

    from data_platform.settings import Settings

__all__ = [
    "COGFY_CONNECTION",
    "EMBEDDINGS_CONNECTION",
    "HUGGINGFACE_CONNECTION",
    "POSTGRES_CONNECTION",
    "QDRANT_CONNECTION",
    "TYPESENSE_CONNECTION",
    "HubAccess",
    "environment_settings",
    "hub_access",
    "mask",
    "postgres_connection_id",
    "secrets_of",
    "with_connections",
]

#: Connections that, where they exist, win over the environment (DESIGN §4).
POSTGRES_CONNECTION = "govbrnews_postgres"
HUGGINGFACE_CONNECTION = "huggingface_default"
COGFY_CONNECTION = "cogfy_default"
TYPESENSE_CONNECTION = "typesense_default"
QDRANT_CONNECTION = "qdrant_default"
EMBEDDINGS_CONNECTION = "embeddings_api"

#: What the settings of a service begin with in the environment; of one that a task does not ask they are not read.
_SERVICES = {"typesense": "TYPESENSE_", "qdrant": "QDRANT_", "embeddings": "EMBEDDINGS_"}

#: What Airflow's own PostgresHook reads from the extra field; libpq would not know these.
_NOT_FOR_LIBPQ = {
    "__extra__",
    "aws_conn_id",
    "azure_conn_id",
    "cluster-identifier",
    "cursor",
    "iam",
    "redshift",
    "redshift-serverless",
    "sqlalchemy_query",
    "sqlalchemy_scheme",
    "workgroup-name",
}


@dataclass(frozen=True, kw_only=True)
class HubAccess:
    """What a connection says of the Hub; "" is unset.

    Attributes:
        token: its password.
        endpoint: its host.
        dataset: `dataset` in its extra field.
        reduced_dataset: `reduced_dataset` there.
    """

    token: str = ""
    endpoint: str = ""
    dataset: str = ""
    reduced_dataset: str = ""


def postgres_connection_id(given: str | None = None) -> str:
    """Return the id of the connection to PostgreSQL: the one given, GOVBRNEWS_POSTGRES_CONN_ID, or the usual one."""
    return given or os.environ.get("GOVBRNEWS_POSTGRES_CONN_ID", "").strip() or POSTGRES_CONNECTION


def environment_settings(
    *,
    with_postgres: bool = True,
    services: Collection[str] = (),
    **replaced: Any,  # noqa: ANN401 - fields of Settings
) -> Settings:
    """Return the environment's settings, some of them replaced.

    Args:
        with_postgres: False leaves the address of PostgreSQL out: what does without it must not fail because that
            cannot be read.
        services: those of typesense, qdrant and embeddings that are asked; the others are left out likewise.
        replaced: fields that have another value here.
    """
    from data_platform.settings import Settings

    unread = [] if with_postgres else ["DATABASE_URL", "GOVBRNEWS_DB_"]
    unread += [prefix for service, prefix in _SERVICES.items() if service not in services]
    seen = {name: value for name, value in os.environ.items() if not name.startswith(tuple(unread))}
    return replace(Settings.from_environment(seen), **replaced)


def with_connections(
    settings: Settings,
    *,
    postgres: str | None = None,
    huggingface: str | None = None,
    cogfy: str | None = None,
    typesense: str | None = None,
    qdrant: str | None = None,
    embeddings: str | None = None,
) -> Settings:
    """Return settings with what connections say on top, their secrets masked in logs.

    Args:
        settings: of the environment.
        postgres: id of the connection to PostgreSQL; None leaves the database alone.
        huggingface: id of the connection to the Hub; None leaves the Hub alone.
        cogfy: id of the connection to Cogfy; None leaves Cogfy alone.
        typesense: likewise of that to Typesense.
        qdrant: likewise of that to Qdrant.
        embeddings: likewise of that to the service that embeds.

    Raises:
        ConfigurationError: a connection is there and cannot be read.
    """
    if postgres is not None:
        settings = replace(settings, database_url=_database_url(postgres) or settings.database_url)
    if huggingface is not None:
        settings = _with_hub(settings, hub_access(huggingface))
    if cogfy is not None:
        settings = with_cogfy(settings, cogfy)
    if typesense is not None:
        settings = with_typesense(settings, typesense)
    if qdrant is not None:
        settings = with_qdrant(settings, qdrant)
    if embeddings is not None:
        settings = with_embeddings(settings, embeddings)
    mask(settings)
    return settings


def hub_access(connection_id: str) -> HubAccess:
    """Return what a connection says of the Hub; nothing if there is no such connection."""
    connection = read_connection(connection_id)
    if connection is None:
        return HubAccess()
    extra = extra_of(connection)
    return HubAccess(
        token=text_of(connection.password),
        endpoint=endpoint_of(connection),
        dataset=text_of(extra.get("dataset")),
        reduced_dataset=text_of(extra.get("reduced_dataset")),
    )


def mask(settings: Settings) -> None:
    """Let Airflow hide the secrets of settings in every log, in the forms in which they may turn up."""
    from airflow.sdk.log import mask_secret

    for secret in secrets_of(settings):
        mask_secret(secret)


def secrets_of(settings: Settings) -> list[str]:
    """Return the secrets of settings, percent-encoded forms included, the longest first."""
    found = {settings.hf_token, settings.cogfy_api_key, settings.chat_api_key}
    found |= {settings.typesense_api_key, settings.qdrant_api_key, settings.embeddings_api_key}
    if settings.database_url:
        split = urlsplit(settings.database_url)
        written = split.netloc.rpartition("@")[0].partition(":")[2]
        in_query = [value for name, value in parse_qsl(split.query) if name in {"password", "sslpassword"}]
        for secret in (written, *in_query):
            found |= {secret, unquote(secret), quote(unquote(secret), safe="")}
    return sorted(filter(None, found), key=len, reverse=True)


def _with_hub(settings: Settings, access: HubAccess) -> Settings:
    dataset = access.dataset or settings.hf_dataset
    reduced = access.reduced_dataset or settings.hf_reduced_dataset
    if access.dataset and not access.reduced_dataset and not os.environ.get("HF_REDUCED_DATASET", "").strip():
        reduced = f"{dataset}-reduced"
    return replace(
        settings,
        hf_token=access.token or settings.hf_token,
        hf_endpoint=access.endpoint or settings.hf_endpoint,
        hf_dataset=dataset,
        hf_reduced_dataset=reduced,
    )


def _database_url(connection_id: str) -> str:
    """Return the address that a connection stands for, "" if there is no such connection."""
    from data_platform.errors import ConfigurationError
    from data_platform.settings import Settings

    connection = read_connection(connection_id)
    if connection is None:
        return ""
    if text_of(connection.conn_type) not in {"", "postgres", "postgresql"}:
        raise ConfigurationError(
            f"connection {connection_id!r} is of type {connection.conn_type!r}", hint="make it one of type postgres"
        )
    extra = {name: text_of(value) for name, value in extra_of(connection).items() if name not in _NOT_FOR_LIBPQ}
    host = text_of(connection.host) or extra.pop("host", "")
    if not host:
        raise ConfigurationError(f"connection {connection_id!r} has no host", hint="fill in its host")
    # The same words as in the environment make the same address, quoting, sockets and IPv6 included.
    url = Settings.from_environment(
        {
            "GOVBRNEWS_DB_HOST": host,
            "GOVBRNEWS_DB_PORT": text_of(connection.port),
            "GOVBRNEWS_DB_NAME": text_of(connection.schema),
            "GOVBRNEWS_DB_USER": text_of(connection.login),
            "GOVBRNEWS_DB_PASSWORD": text_of(connection.password),
        }
    ).database_url
    options = urlencode({name: value for name, value in extra.items() if value}, quote_via=quote)
    return f"{url}{'&' if '?' in url else '?'}{options}" if options else url
