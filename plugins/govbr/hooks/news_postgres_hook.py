"""News in PostgreSQL, through an Airflow connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from govbr.connections import POSTGRES_CONNECTION, environment_settings, postgres_connection_id, with_connections
from govbr.hooks.examined import Examined, examine

if TYPE_CHECKING:
    from psycopg import Connection

    from data_platform.managers.postgres_manager import PostgresManager
    from data_platform.settings import Settings

__all__ = ["NewsPostgresHook"]


class NewsPostgresHook(BaseHook):
    """Gives a `PostgresManager` for a connection of Airflow.

    Not a child of the provider's PostgresHook: that one opens connections of its own, without our time limits, our
    application name and our typed errors, through either of two drivers; two ways to one database would be one too
    many. For SQL beside the manager there is `get_conn`.

    Connection, of the stock type **postgres** (all values are stripped of white space):

    * Host: name, address, or the folder of a socket (`/cloudsql/PROJECT:REGION:INSTANCE`). Needed.
    * Schema: the database; `govbrnews` if empty.
    * Login: the user; `govbrnews_app` if empty.
    * Password: kept out of logs.
    * Port: 5432 if empty.
    * Extra: options of libpq as JSON, such as `{"sslmode": "verify-full", "sslrootcert": "/path"}`. Options of the
      provider's hook (`cursor`, `iam`, …) are left out.

    Without the connection the environment speaks: `DATABASE_URL`, or `GOVBRNEWS_DB_HOST` and its siblings.

    Args:
        postgres_conn_id: the connection; None means that of GOVBRNEWS_POSTGRES_CONN_ID, else `govbrnews_postgres`.
        statement_timeout_s: bound on one SQL statement in seconds, 0 for none.
    """

    conn_name_attr = "postgres_conn_id"
    default_conn_name = POSTGRES_CONNECTION
    conn_type = "postgres"
    hook_name = "News in PostgreSQL"

    def __init__(self, postgres_conn_id: str | None = None, *, statement_timeout_s: int = 0) -> None:
        super().__init__()
        self.postgres_conn_id = postgres_connection_id(postgres_conn_id)
        self.statement_timeout_s = statement_timeout_s

    def get_settings(self) -> Settings:
        """Return the settings with this connection's database.

        Raises:
            ConfigurationError: the connection cannot be read.
        """
        settings = environment_settings(statement_timeout_s=self.statement_timeout_s)
        return with_connections(settings, postgres=self.postgres_conn_id)

    def get_manager(self) -> PostgresManager:
        """Return a manager of the news in this database; close it after use.

        Raises:
            ConfigurationError: neither connection nor environment names a database.
        """
        from data_platform.managers.postgres_manager import PostgresManager

        return PostgresManager(settings=self.get_settings())

    def get_conn(self) -> Connection[Any]:
        """Return a connection as all of this package opens them.

        Raises:
            StoreError: wrong password, no such database.
            StoreUnavailableError: the server does not answer.
        """
        from data_platform.managers.postgres.database import connect

        settings = self.get_settings()
        timeout_s = settings.statement_timeout_s
        return connect(settings.require_database(), purpose="hook", statement_timeout_s=timeout_s)

    def test_connection(self) -> tuple[bool, str]:
        """Ask the server what it is and which schema it has; return whether it can be used, and a message."""
        found = self.examine()
        return found.ok, found.message

    def examine(self) -> Examined:
        """Return what `test_connection` tells, and whether the database can be written to."""
        return examine(self.get_settings, _look)


def _look(settings: Settings) -> Examined:
    from data_platform.managers.postgres.database import connect, server_info, translate_errors
    from data_platform.schema import current_version, head_version

    url = settings.require_database()
    with translate_errors(), connect(url, purpose="connection test", autocommit=True) as connection:
        server = server_info(connection)
        who = connection.info
        place = f"PostgreSQL {server.version}, database {who.dbname} on {who.host}:{who.port} as {who.user}"
        version, head = current_version(url), head_version()
        if version != head:
            what = f"schema version {version}, this package works with {head}" if version else "without our schema"
            return Examined(ok=False, message=f"{place}: {what} (run: python -m data_platform create-schema)")
        mode = "read-only: fit for reading, not for writing" if server.read_only else "writable"
        return Examined(ok=True, writable=not server.read_only, message=f"{place}: schema version {version}, {mode}")
