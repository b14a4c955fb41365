"""The versioned database schema.

Migrations are Alembic revisions in `versions/`, their SQL in `sql/`. They run in one transaction
under an advisory lock, so two callers cannot upgrade at once and a failed upgrade leaves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from data_platform.errors import StoreError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

__all__ = ["SchemaChange", "current_version", "downgrade", "head_version", "read_script", "require_current", "upgrade"]

#: Oldest server that knows `SET COMPRESSION` and `xid8`; Cloud SQL runs 15.
_OLDEST_SERVER = 14
_LOCK_KEY = 7_202_611_001


@dataclass(frozen=True)
class SchemaChange:
    """From which version to which a database was brought; None means no schema at all."""

    before: str | None
    after: str | None

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return self.before != self.after


def read_script(name: str) -> str:
    """Return the text of a file of `schema/sql`."""
    return (resources.files(__package__) / "sql" / name).read_text(encoding="utf-8")


def head_version() -> str:
    """Return the version this package works with."""
    from alembic.script import ScriptDirectory

    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise StoreError("the package carries no schema migrations")
    return head


def current_version(database_url: str) -> str | None:
    """Return the schema version of a database, None if it has no schema of ours."""
    with _connect(database_url) as connection:
        return _version_of(connection)


def upgrade(database_url: str, version: str = "head") -> SchemaChange:
    """Bring the schema of a database up to a version.

    Raises:
        StoreError: the server is too old, the database is at a version this package does not know, does not hold
            UTF-8, or holds another application's tables.
        StoreUnavailableError: the server does not answer.
    """
    from alembic import command

    return _migrate(database_url, lambda config: command.upgrade(config, version))


def downgrade(database_url: str, version: str) -> SchemaChange:
    """Take the schema of a database down to a version ("base" for nothing), rows included."""
    from alembic import command

    return _migrate(database_url, lambda config: command.downgrade(config, version))


def require_current(database_url: str) -> None:
    """Check that a database is at the version this package works with.

    Raises:
        StoreError: it is not; the message names both versions.
    """
    version, head = current_version(database_url), head_version()
    if version != head:
        found = f"at schema version {version}" if version else "without our schema"
        raise StoreError(
            f"the database is {found}, this package works with {head}",
            hint="run: python -m data_platform create-schema",
        )


def _migrate(database_url: str, step: Callable[[Config], None]) -> SchemaChange:
    from sqlalchemy import text

    with _connect(database_url) as connection:
        server = int(connection.scalar(text("SELECT current_setting('server_version_num')::int / 10000")) or 0)
        if server < _OLDEST_SERVER:
            raise StoreError(f"PostgreSQL {server} is too old", hint=f"version {_OLDEST_SERVER} or later is needed")
        encoding = connection.scalar(text("SELECT current_setting('server_encoding')"))
        if encoding != "UTF8":
            raise StoreError(f"the database's encoding is {encoding}", hint="create it with ENCODING 'UTF8'")
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        before = _version_of(connection)
        config = _config()
        config.attributes["connection"] = connection
        _refuse_unknown(before)
        _run(step, config)
        after = _version_of(connection)
        connection.commit()
    return SchemaChange(before, after)


def _run(step: Callable[[Config], None], config: Config) -> None:
    from alembic.util import CommandError
    from psycopg import errors as pg
    from sqlalchemy.exc import ProgrammingError

    try:
        step(config)
    except CommandError as error:  # a version that nobody has heard of
        raise StoreError(f"the schema cannot be brought there: {error}", hint="`head` is the newest version") from error
    except ProgrammingError as error:
        if not isinstance(error.orig, pg.DuplicateTable | pg.DuplicateFunction):
            raise
        raise StoreError(
            f"the database has tables that are not of this package: {error.orig.diag.message_primary}",
            hint="nothing was changed; give an empty database",
        ) from error


def _refuse_unknown(version: str | None) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if version is not None and version not in known:
        raise StoreError(
            f"the database is at schema version {version}, which this package does not know",
            hint="it was made by a newer release: install that one",
        )


def _version_of(connection: Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext
    from psycopg.errors import UndefinedColumn
    from sqlalchemy.exc import ProgrammingError

    try:
        return MigrationContext.configure(connection, opts={"version_table": "schema_version"}).get_current_revision()
    except ProgrammingError as error:
        if not isinstance(error.orig, UndefinedColumn):
            raise
        raise StoreError(
            "the database has a table schema_version that is not of this package",
            hint="it is another application's, or the team's first schema; give an empty database",
        ) from error


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(resources.files(__package__)).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _connect(database_url: str) -> Iterator[Connection]:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    from data_platform.managers.postgres.database import connect, translate_errors

    # Connecting stays with our own function: one reading of the address, one set of session settings and errors.
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: connect(database_url, purpose="schema"), poolclass=NullPool
    )
    with translate_errors(), engine.connect() as connection:
        yield connection
