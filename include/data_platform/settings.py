"""What the environment says, read once into one frozen object.

Values are stripped of white space, since secrets have arrived with a newline at their end.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from data_platform.errors import ConfigurationError

__all__ = ["Settings", "normalise_database_url", "redact_url"]

_DEFAULT_DATASET = "nitaibezerra/govbrnews"
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
        reports_uri: folder or object-storage URI where reports are written.
        state_uri: folder or object-storage URI of the run ledger (DESIGN §5), which lives outside PostgreSQL.
        statement_timeout_s: bound on one SQL statement in seconds, 0 for none; tasks set it to their own timeout.
    """

    database_url: str = ""
    hf_token: str = ""
    hf_endpoint: str = ""
    hf_dataset: str = _DEFAULT_DATASET
    hf_reduced_dataset: str = f"{_DEFAULT_DATASET}-reduced"
    agencies_source: str = ""
    themes_source: str = ""
    reports_uri: str = "reports"
    state_uri: str = "state"
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
            reports_uri=env.get("REPORTS_URI", "") or "reports",
            state_uri=env.get("STATE_URI", "") or "state",
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
