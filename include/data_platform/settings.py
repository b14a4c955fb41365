"""What the environment says, read once into one frozen object.

Values are stripped of white space, since secrets have arrived with a newline at their end.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from data_platform.errors import ConfigurationError

__all__ = ["DEFAULT_USER_AGENT", "Settings", "normalise_database_url", "redact_url"]

#: Says who asks, in the form that crawlers of search engines use: some sites refuse what does not look like a browser.
DEFAULT_USER_AGENT = (
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; DestaquesGovBr/1.0;"
    " +https://github.com/destaquesgovbr) Chrome/139.0.0.0 Safari/537.36"
)
_DEFAULT_DATASET = "nitaibezerra/govbrnews"
_COGFY = "https://api.cogfy.com/"
#: What a switch says when it is on; whatever else it says, it is off, which is the safe side.
_YES = frozenset({"1", "true", "yes", "on"})
_NUMBER = re.compile(r"\d{1,6}(\.\d{1,6})?")
#: Up to the last @: an unescaped password may hold any sign itself.
_PASSWORD_OF_USER = re.compile(r"(://[^:/?#@]*:).*@", re.DOTALL)
_PASSWORD_PARAMETER = re.compile(r"([?&](?:ssl)?password=)[^&]*", re.IGNORECASE)


def normalise_database_url(url: str) -> str:
    """Return a `postgresql://` URL from any form met in the field.

    Accepts `postgres://`, `postgresql://` and SQLAlchemy's `postgresql+driver://`.

    Raises:
        ConfigurationError: the URL is of another kind of database.
    """
    stripped = url.strip()
    scheme, separator, rest = stripped.partition("://")
    if not separator or scheme.split("+")[0] not in {"postgres", "postgresql"}:
        raise ConfigurationError(
            f"DATABASE_URL is not a PostgreSQL address: {redact_url(stripped) if separator else 'it has no ://'}",
            hint="write postgresql://user:password@host:5432/database",
        )
    return f"postgresql://{rest}"


def redact_url(url: str) -> str:
    """Return the URL with its password masked, fit for a log, even if the password has signs it should not have."""
    return _PASSWORD_PARAMETER.sub(r"\1***", _PASSWORD_OF_USER.sub(r"\1***@", url))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the package (DESIGN §4).

    Attributes:
        database_url: PostgreSQL address, `postgresql://…`; empty if not set.
        hf_token: token of the HuggingFace Hub; empty means anonymous.
        hf_endpoint: address of the Hub; empty means the public one.
        hf_dataset: id of the main dataset.
        hf_reduced_dataset: id of the reduced one; by default that of the main one and `-reduced`.
        agencies_source: path or URL of agencies.yaml; empty means the shipped catalogue.
        themes_source: path or URL of themes_tree.yaml; empty means the shipped catalogue.
        sites_source: path or URL of site_urls.yaml; empty means the shipped catalogue.
        scraper_user_agent: header User-Agent of the scraper.
        scraper_base_url: a server on this machine that is asked in place of all sites; empty means the sites.
        scraper_connections: most requests to one host at once, of all processes that scrape together.
        scraper_requests_per_second: most requests to one host in a second, of all of them together; 0 for any number.
        scraper_honours_robots: whether the sites' robots.txt is obeyed.
        reports_uri: folder or object-storage URI where reports are written.
        state_uri: folder or object-storage URI of the run ledger (DESIGN §5), which lives outside PostgreSQL.
        staging_uri: folder or object-storage URI of the batches that tasks hand on (DESIGN §5).
        enricher: which enricher: cogfy, embedded, chat or none; empty means cogfy if it has a key, else embedded.
        enrich_publish_approximate: whether approximate themes and summaries may be written outside this machine.
        cogfy_api_key: key of Cogfy; empty if not set.
        cogfy_server_url: address of Cogfy.
        cogfy_collection_name: name of its collection; none by default, since records are written there.
        cogfy_collection_id: id of the collection, which wins over the name.
        chat_api_url: address of an OpenAI-compatible service, with or without `/v1`.
        chat_api_key: its key; empty means none, as for a model on this machine.
        chat_model: name of the model.
        qdrant_url: address of Qdrant, with its port if that is not 6333; empty if not set.
        qdrant_api_key: its key; empty means none.
        qdrant_collection: the alias that searches use.
        embeddings_api_url: address of the service that embeds.
        embeddings_api_key: its key; empty means none.
        embeddings_api_kind: openai, generate or hashing; empty means hashing, if no address is set.
        embeddings_model: name of the model that the service has.
        embeddings_dimension: numbers of a vector.
        embeddings_publish_approximate: whether vectors of `hashing` may be written outside this machine.
        typesense_host: host of Typesense; none by default, since documents are written there.
        typesense_port: its port.
        typesense_protocol: http or https.
        typesense_api_key: key that may write, make and drop collections.
        typesense_collection: the alias that searches use.
        typesense_batch_size: documents of one import.
        typesense_concurrency: imports at once.
        statement_timeout_s: bound on one SQL statement in seconds, 0 for none; tasks set it to their own timeout.
    """

    database_url: str = ""
    hf_token: str = ""
    hf_endpoint: str = ""
    hf_dataset: str = _DEFAULT_DATASET
    hf_reduced_dataset: str = f"{_DEFAULT_DATASET}-reduced"
    agencies_source: str = ""
    themes_source: str = ""
    sites_source: str = ""
    scraper_user_agent: str = DEFAULT_USER_AGENT
    scraper_base_url: str = ""
    scraper_connections: int = 8
    scraper_requests_per_second: float = 8.0
    scraper_honours_robots: bool = True
    reports_uri: str = "reports"
    state_uri: str = "state"
    staging_uri: str = "staging"
    enricher: str = ""
    enrich_publish_approximate: bool = False
    cogfy_api_key: str = ""
    cogfy_server_url: str = _COGFY
    cogfy_collection_name: str = ""
    cogfy_collection_id: str = ""
    chat_api_url: str = ""
    chat_api_key: str = ""
    chat_model: str = ""
    qdrant_url: str = ""
    qdrant_api_key: str = ""
    qdrant_collection: str = "news"
    embeddings_api_url: str = ""
    embeddings_api_key: str = ""
    embeddings_api_kind: str = ""
    embeddings_model: str = ""
    embeddings_dimension: int = 768
    embeddings_publish_approximate: bool = False
    typesense_host: str = ""
    typesense_port: int = 8108
    typesense_protocol: str = "http"
    typesense_api_key: str = ""
    typesense_collection: str = "news"
    typesense_batch_size: int = 500
    typesense_concurrency: int = 2
    statement_timeout_s: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from environment variables (default: this process's)."""
        env = {k: v.strip() for k, v in (os.environ if environment is None else environment).items()}
        dataset = env.get("HF_DATASET", "") or _DEFAULT_DATASET
        return cls(
            database_url=_database_url(env),
            hf_token=env.get("HF_TOKEN", ""),
            hf_endpoint=env.get("HF_ENDPOINT", ""),
            hf_dataset=dataset,
            hf_reduced_dataset=env.get("HF_REDUCED_DATASET", "") or f"{dataset}-reduced",
            agencies_source=env.get("AGENCIES_SOURCE", ""),
            themes_source=env.get("THEMES_SOURCE", ""),
            sites_source=env.get("SITES_SOURCE", ""),
            scraper_user_agent=env.get("SCRAPER_USER_AGENT", "") or DEFAULT_USER_AGENT,
            scraper_base_url=env.get("SCRAPER_BASE_URL", ""),
            scraper_connections=_whole(env, "SCRAPER_CONNECTIONS", 8),
            scraper_requests_per_second=_number(env, "SCRAPER_REQUESTS_PER_SECOND", 8.0),
            scraper_honours_robots=_honours_robots(env),
            reports_uri=env.get("REPORTS_URI", "") or "reports",
            enricher=env.get("ENRICHER", ""),
            enrich_publish_approximate=env.get("ENRICH_PUBLISH_APPROXIMATE", "").lower() in _YES,
            cogfy_api_key=env.get("COGFY_API_KEY", ""),
            cogfy_server_url=env.get("COGFY_SERVER_URL", "") or _COGFY,
            cogfy_collection_name=env.get("COGFY_COLLECTION_NAME", ""),
            cogfy_collection_id=env.get("COGFY_COLLECTION_ID", ""),
            chat_api_url=env.get("CHAT_API_URL", ""),
            chat_api_key=env.get("CHAT_API_KEY", ""),
            chat_model=env.get("CHAT_MODEL", ""),
            qdrant_url=env.get("QDRANT_URL", ""),
            qdrant_api_key=env.get("QDRANT_API_KEY", ""),
            qdrant_collection=env.get("QDRANT_COLLECTION", "") or "news",
            embeddings_api_url=env.get("EMBEDDINGS_API_URL", ""),
            embeddings_api_key=env.get("EMBEDDINGS_API_KEY", ""),
            embeddings_api_kind=env.get("EMBEDDINGS_API_KIND", ""),
            embeddings_model=env.get("EMBEDDINGS_MODEL", ""),
            embeddings_dimension=_whole(env, "EMBEDDINGS_DIMENSION", 768),
            embeddings_publish_approximate=env.get("EMBEDDINGS_PUBLISH_APPROXIMATE", "").lower() in _YES,
            state_uri=env.get("STATE_URI", "") or "state",
            staging_uri=env.get("STAGING_URI", "") or "staging",
            **_typesense(env),
        )

    def with_database(self, database_url: str | None) -> Settings:
        """Return these settings with another database, if one is given."""
        return self if not database_url else replace(self, database_url=normalise_database_url(database_url))

    def require_database(self) -> str:
        """Return the database address.

        Raises:
            ConfigurationError: none is set.
        """
        if not self.database_url:
            raise ConfigurationError(
                "no database is set",
                hint="set DATABASE_URL=postgresql://user:password@host/database, or GOVBRNEWS_DB_HOST and its siblings",
            )
        return self.database_url


def _typesense(env: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of Typesense; the one JSON `TYPESENSE_WRITE_CONN` wins over single variables."""
    told: dict[str, str] = {}
    if text := env.get("TYPESENSE_WRITE_CONN", ""):
        hint = 'write {"host": …, "port": …, "protocol": …, "apiKey": …}'
        try:
            read = json.loads(text)
        except ValueError:
            # Its text is not shown: it holds a key.
            raise ConfigurationError("TYPESENSE_WRITE_CONN is no JSON", hint=hint) from None
        if not isinstance(read, dict) or not read.get("host"):
            raise ConfigurationError("TYPESENSE_WRITE_CONN names no host", hint=hint)
        names = {"host": "HOST", "port": "PORT", "protocol": "PROTOCOL", "apiKey": "API_KEY"}
        told = {f"TYPESENSE_{name}": str(read[key]).strip() for key, name in names.items() if read.get(key)}
    found = {**env, **told}
    protocol = found.get("TYPESENSE_PROTOCOL", "") or "http"
    if protocol not in {"http", "https"}:
        raise ConfigurationError(f"TYPESENSE_PROTOCOL is {protocol!r}", hint="write http or https")
    return {
        "typesense_host": found.get("TYPESENSE_HOST", ""),
        "typesense_port": _whole(found, "TYPESENSE_PORT", 8108),
        "typesense_protocol": protocol,
        "typesense_api_key": found.get("TYPESENSE_API_KEY", ""),
        "typesense_collection": env.get("TYPESENSE_COLLECTION", "") or "news",
        "typesense_batch_size": max(1, _whole(env, "TYPESENSE_BATCH_SIZE", 500)),
        "typesense_concurrency": max(1, _whole(env, "TYPESENSE_CONCURRENCY", 2)),
    }


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "")
    if not text:
        return default
    if not _NUMBER.fullmatch(text):
        raise ConfigurationError(f"{name} is {text!r}, which is no number", hint="write one such as 8 or 0.5")
    return float(text)


def _whole(env: Mapping[str, str], name: str, default: int) -> int:
    number = _number(env, name, default)
    if number != int(number):
        raise ConfigurationError(f"{name} is {env[name]!r}, which is no whole number")
    return int(number)


def _honours_robots(env: Mapping[str, str]) -> bool:
    text = env.get("SCRAPER_ROBOTS", "") or "honour"
    if text not in {"honour", "ignore"}:
        raise ConfigurationError(f"SCRAPER_ROBOTS is {text!r}", hint="write honour or ignore")
    return text == "honour"


def _database_url(env: Mapping[str, str]) -> str:
    if url := env.get("DATABASE_URL", ""):
        return normalise_database_url(url)
    host = env.get("GOVBRNEWS_DB_HOST", "")
    if not host:
        return ""
    user = quote(env.get("GOVBRNEWS_DB_USER", "") or "govbrnews_app", safe="")
    password = quote(env.get("GOVBRNEWS_DB_PASSWORD", ""), safe="")
    credentials = f"{user}:{password}" if password else user
    port = env.get("GOVBRNEWS_DB_PORT", "") or "5432"
    name = quote(env.get("GOVBRNEWS_DB_NAME", "") or "govbrnews", safe="")
    if host.startswith("/"):  # the folder of a socket, as Cloud SQL's proxy makes
        return f"postgresql://{credentials}@/{name}?host={quote(host, safe='')}&port={port}"
    if host.count(":") > 1:  # IPv6
        host = f"[{host}]"
    return f"postgresql://{credentials}@{host}:{port}/{name}"
