"""Revision 0005: a role that reads what is published and nothing else; the way down; users who may make no roles."""

from __future__ import annotations

import logging
import secrets
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from data_platform.schema import current_version, downgrade, head_version, upgrade
from tests.support.databases import fill_master_data

ROLE = "govbrnews_reader"
_ARTICLE = (
    "INSERT INTO news (unique_id, agency_id, agency_key, agency_name, published_at, title)"
    " SELECT 'a', id, key, name, '2024-05-10 12:00Z', 't' FROM agencies WHERE key = 'mec'"
)


def ask(url: str, statement: str, *bound: Any) -> list[Any]:
    with psycopg.connect(url) as connection:
        cursor = connection.execute(statement.encode(), bound)
        return cursor.fetchall() if cursor.description else []


def has_role(url: str) -> bool:
    return bool(ask(url, "SELECT 1 FROM pg_roles WHERE rolname = %s", ROLE))


@pytest.fixture
def no_role(each_database_url: str) -> str:
    """A database on a server on which nobody has made the role yet; databases of other tests may hold rights of it."""
    url = each_database_url
    for (name,) in ask(url, "SELECT datname FROM pg_database WHERE datallowconn"):
        with psycopg.connect(url, dbname=name, autocommit=True) as connection:
            if has_role(url):
                connection.execute(f"DROP OWNED BY {ROLE}".encode())
    if has_role(url):
        ask(url, f"DROP ROLE {ROLE}")
    return url


def as_reader(url: str, statement: str) -> list[Any]:
    """Run a statement as a member of the role does, who may do nothing else by himself."""
    name = f"leitor_{secrets.token_hex(4)}"
    with psycopg.connect(url) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE {ROLE}".encode())
        connection.execute(f"SET LOCAL SESSION AUTHORIZATION {name}".encode())
        try:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []
        finally:
            connection.rollback()  # the user goes with it


def test_a_member_reads_the_view_and_the_master_data(no_role: str) -> None:
    upgrade(no_role)
    with psycopg.connect(no_role) as connection:
        fill_master_data(connection)
        connection.execute(_ARTICLE)
    assert as_reader(no_role, "SELECT unique_id, agency FROM news_published") == [("a", "mec")]
    assert as_reader(no_role, "SELECT count(*) FROM agencies, themes")[0][0] > 1


def test_a_member_reads_and_changes_nothing_else(no_role: str) -> None:
    upgrade(no_role)
    relations = ask(
        no_role,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'p')",
    )
    readable = []
    for (name,) in relations:
        try:
            as_reader(no_role, f"SELECT FROM {name} LIMIT 1")
            readable.append(name)
        except errors.InsufficientPrivilege:
            pass
    assert sorted(readable) == ["agencies", "news_published", "themes"]
    for statement in (
        "DELETE FROM news",
        "INSERT INTO themes (code, label, full_name, level) VALUES ('77', 'x', '77 - x', 1)",
        "UPDATE agencies SET name = 'x'",
        "TRUNCATE agencies",
        "CREATE TABLE mine ()",
        "SELECT FROM news FOR UPDATE",
        "DROP VIEW news_published",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            as_reader(no_role, statement)


def test_down_takes_the_rights_back_and_the_role_away_and_up_gives_them_again(no_role: str) -> None:
    upgrade(no_role)
    assert downgrade(no_role, "0004").changed
    assert not has_role(no_role)
    assert upgrade(no_role, "0005").changed
    assert as_reader(no_role, "SELECT unique_id FROM news_published") == []
    assert not upgrade(no_role, "0005").changed
    downgrade(no_role, "base")
    assert not has_role(no_role)


def test_a_role_that_somebody_else_made_is_used_and_stays(no_role: str) -> None:
    ask(no_role, f"CREATE ROLE {ROLE} NOLOGIN")
    try:
        upgrade(no_role)
        assert as_reader(no_role, "SELECT unique_id FROM news_published") == []
        downgrade(no_role, "0004")
        assert has_role(no_role)
        with pytest.raises(errors.InsufficientPrivilege):
            as_reader(no_role, "SELECT unique_id FROM news_published")
    finally:
        downgrade(no_role, "base")
        ask(no_role, f"DROP ROLE {ROLE}")


def test_two_databases_of_one_server_share_the_role(no_role: str) -> None:
    upgrade(no_role)
    other = f"other_{secrets.token_hex(4)}"
    with psycopg.connect(no_role, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(other)))
    try:
        there = psycopg.conninfo.make_conninfo(no_role, dbname=other)
        address = no_role.rpartition("/")[0] + f"/{other}"
        upgrade(address)
        downgrade(no_role, "0004")
        assert as_reader(there, "SELECT unique_id FROM news_published") == []
        downgrade(address, "0004")
        assert not has_role(no_role)
    finally:
        with psycopg.connect(no_role, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(other)))


def test_a_user_who_may_make_no_roles_gets_the_schema_and_is_told(
    no_role: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As users of Cloud SQL that log in by IAM are."""
    name, database = f"dono_{secrets.token_hex(4)}", no_role.rpartition("/")[2]
    ask(no_role, f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    ask(no_role, f"ALTER DATABASE {database} OWNER TO {name}")
    ask(no_role, f"GRANT ALL ON SCHEMA public TO {name}")
    try:
        with psycopg.connect(no_role) as connection:
            host, port = connection.info.host, connection.info.port
        mine = psycopg.conninfo.conninfo_to_dict(no_role)
        owner = f"postgresql://{name}:x@/{database}?host={host}&port={port}" if host.startswith("/") else (
            f"postgresql://{name}:x@{mine.get('host')}:{port}/{database}"
        )  # fmt: skip
        with caplog.at_level(logging.WARNING):
            upgrade(owner)
        assert "govbrnews_reader was not made" in caplog.text
        assert current_version(owner) == head_version()
        assert not has_role(no_role)
        downgrade(owner, "0004")
        downgrade(owner, "base")
    finally:
        ask(no_role, f"ALTER DATABASE {database} OWNER TO CURRENT_USER")
        ask(no_role, f"DROP OWNED BY {name} CASCADE")
        ask(no_role, f"DROP ROLE {name}")
