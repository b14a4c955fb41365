"""Connections to real servers, and what becomes of the errors that they and the driver raise."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg import sql

from data_platform.errors import BusyError, ConfigurationError, DataPlatformError, StoreError, StoreUnavailableError
from data_platform.managers.postgres.database import (
    connect,
    server_info,
    take_session_lock,
    translate_errors,
    try_session_lock,
)
from dev.embedded_postgres import EmbeddedPostgres
from dev.state import free_port


@pytest.fixture(scope="module")
def url(postgres: EmbeddedPostgres) -> str:
    return postgres.url()


@pytest.fixture
def connection(url: str) -> Iterator[psycopg.Connection]:
    with connect(url, purpose="test", autocommit=True) as opened:
        yield opened


def setting(connection: psycopg.Connection, name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])


def test_a_session_is_named_and_bounded(url: str) -> None:
    with connect(url, purpose="load segment 7", statement_timeout_s=90) as opened:
        assert setting(opened, "application_name") == "govbr load segment 7"
        assert setting(opened, "statement_timeout") == "90s"
        assert setting(opened, "idle_in_transaction_session_timeout") == "15min"
        assert setting(opened, "timezone") == "UTC"
        assert not opened.autocommit
    with connect(url, purpose="x" * 100, autocommit=True) as opened:
        assert setting(opened, "application_name") == "govbr " + "x" * 57
        assert setting(opened, "statement_timeout") == "0"
        assert opened.autocommit


def test_what_the_address_asks_for_holds_unless_it_is_ours(url: str) -> None:
    options = quote("-c search_path=elsewhere -c timezone=Asia/Tokyo")
    with connect(f"{url}?options={options}&sslmode=disable", purpose="test") as opened:
        assert setting(opened, "search_path") == "elsewhere"
        assert setting(opened, "timezone") == "UTC"


def test_a_peer_that_is_gone_is_noticed_by_both_sides(url: str) -> None:
    """Else what it held is locked for the two hours of a system's own rule."""
    with connect(url, purpose="test") as opened, socket.socket(fileno=os.dup(opened.fileno())) as ours:
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        asked = [ours.getsockopt(socket.IPPROTO_TCP, getattr(socket, f"TCP_KEEP{n}")) for n in ("IDLE", "INTVL", "CNT")]
        assert asked == [30, 10, 3]
        told = [setting(opened, f"tcp_keepalives_{name}") for name in ("idle", "interval", "count")]
        assert told == ["30", "10", "3"]


def test_an_address_may_ask_for_other_keepalives(url: str) -> None:
    options = quote("-c tcp_keepalives_idle=77")
    with connect(f"{url}?keepalives_idle=66&options={options}", purpose="test") as opened:
        with socket.socket(fileno=os.dup(opened.fileno())) as ours:
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 66
        assert setting(opened, "tcp_keepalives_idle") == "77"


def test_who_may_idle_is_not_ended(url: str) -> None:
    with connect(url, purpose="test", may_idle=True) as opened:
        assert setting(opened, "idle_in_transaction_session_timeout") == "0"


def test_a_session_speaks_utf8_whatever_the_environment_says(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with connect(url, purpose="test") as opened:
        assert setting(opened, "client_encoding") == "UTF8"
        assert opened.execute("SELECT octet_length(%s)", ("ção",)).fetchone() == (5,)


def test_what_a_server_is(connection: psycopg.Connection) -> None:
    info = server_info(connection)
    assert info.version.split(".")[0] == "18"
    assert info.read_only is False
    assert info.data_bytes > 1_000_000
    connection.execute("SET default_transaction_read_only = on")
    assert server_info(connection).read_only is True


def test_what_a_server_of_version_15_is(postgres15: EmbeddedPostgres) -> None:
    with connect(postgres15.url(), purpose="test") as opened:
        info = server_info(opened)
    assert info.version.split(".")[0] == "15"
    assert info.has_lz4 is True


def test_a_lock_lasts_as_long_as_its_session(url: str) -> None:
    with connect(url, purpose="a", autocommit=True) as one, connect(url, purpose="b", autocommit=True) as other:
        assert try_session_lock(one, 7_000_001)
        assert not try_session_lock(other, 7_000_001)
        assert not try_session_lock(other, 7_000_001, shared=True)
        assert try_session_lock(other, 7_000_002, shared=True)
        assert try_session_lock(one, 7_000_002, shared=True)
        one.close()
        deadline = time.monotonic() + 10
        while not try_session_lock(other, 7_000_001):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_holder_that_has_just_gone_is_waited_out(url: str) -> None:
    """A server process ends a moment after its client closed or was killed, and holds its locks until then."""
    with connect(url, purpose="a", autocommit=True) as one, connect(url, purpose="b", autocommit=True) as other:
        assert try_session_lock(one, 7_000_004)
        going = threading.Timer(0.5, one.close)
        going.start()
        take_session_lock(other, 7_000_004, "somebody is at work")
        going.join()
        assert one.closed


def test_a_holder_that_stays_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_platform.managers.postgres.database._LOCK_PATIENCE_S", 0.2)
    with connect(url, purpose="a", autocommit=True) as one, connect(url, purpose="b", autocommit=True) as other:
        take_session_lock(one, 7_000_005, "nobody is", shared=True)
        take_session_lock(other, 7_000_005, "nobody is", shared=True)
        with pytest.raises(BusyError, match="somebody is at work") as caught:
            take_session_lock(other, 7_000_005, "somebody is at work")
        assert caught.value.retryable


# -------------------------------------------------------------------- errors of connecting, by address


def refused(address: str) -> DataPlatformError:
    """Return the error that connecting raises."""
    with pytest.raises(DataPlatformError) as caught:
        connect(address, purpose="test").close()
    assert caught.value.hint
    return caught.value


def with_parts(url: str, *, user: str | None = None, password: str = "x", database: str | None = None) -> str:  # noqa: S107
    parts = urlsplit(url)
    name = f"{user or parts.username}:{quote(password, safe='')}"
    return f"postgresql://{name}@{parts.hostname}:{parts.port}/{database or parts.path[1:]}"


def test_a_wrong_password_is_not_tried_again_and_not_told(url: str) -> None:
    error = refused(with_parts(url, password="segredo"))
    assert type(error) is StoreError
    assert "password authentication failed" in str(error)
    assert "segredo" not in str(error)


def test_a_password_that_is_missing(url: str) -> None:
    parts = urlsplit(url)
    error = refused(f"postgresql://{parts.username}@{parts.hostname}:{parts.port}/postgres")
    assert type(error) is StoreError


def test_a_database_that_does_not_exist(url: str) -> None:
    parts = urlsplit(url)
    error = refused(with_parts(url, password=parts.password or "", database="nowhere"))
    assert type(error) is StoreError
    assert '"nowhere" does not exist' in str(error)


def test_a_user_that_does_not_exist(url: str) -> None:
    assert type(refused(with_parts(url, user="nobody_of_that_name"))) is StoreError


def test_a_server_that_does_not_run() -> None:
    error = refused(f"postgresql://u@127.0.0.1:{free_port()}/d")
    assert type(error) is StoreUnavailableError
    assert "refused" in str(error)


def test_a_socket_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGHOSTADDR")
    assert type(refused("postgresql://u@/d?host=/nonexistent")) is StoreUnavailableError


def test_encryption_that_the_server_does_not_have(url: str) -> None:
    assert type(refused(f"{url}?sslmode=require")) is StoreError


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("postgresql://u:segredo%zz@127.0.0.1/d", ConfigurationError),
        ("postgresql://u:p@127.0.0.1/d?segredo=1", ConfigurationError),
        ("segredo", ConfigurationError),
        ("postgresql://u@127.0.0.1:porta/d", StoreError),
        ("postgresql://u@127.0.0.1:99999/d", StoreError),
        ("postgresql://u@127.0.0.1/d?sslmode=perhaps", StoreError),
    ],
)
def test_an_address_that_cannot_be_one_is_not_tried_again(address: str, kind: type[DataPlatformError]) -> None:
    error = refused(address)
    assert type(error) is kind
    assert "segredo" not in str(error)
    assert "segredo" not in "".join(traceback.format_exception(error))


# ------------------------------------------------------------------------------- errors of statements


def raised(connection: psycopg.Connection, *statements: str) -> DataPlatformError:
    """Return the error that the last of some statements is turned into."""
    for statement in statements[:-1]:
        connection.execute(statement)
    with pytest.raises(DataPlatformError) as caught, translate_errors():
        connection.execute(statements[-1])
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("statements", "kind", "words"),
    [
        (["SELECT * FROM no_such_table"], StoreError, "create-schema"),
        (["SELECT no_such_column"], StoreError, "create-schema"),
        (["SELECT no_such_function()"], StoreError, "create-schema"),
        (["SET default_transaction_read_only = on", "CREATE TABLE t ()"], StoreError, "primary"),
        (["SET statement_timeout = '20ms'", "SELECT pg_sleep(5)"], StoreUnavailableError, "timeout"),
        (["CREATE ROLE weak", "SET ROLE weak", "SELECT pg_read_file('x')"], StoreError, "permission"),
        (["DO $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$"], StoreError, "disk space"),
        (["DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '53300'; END $$"], StoreUnavailableError, "again"),
        (["DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$"], StoreUnavailableError, "again"),
        (["DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$"], StoreUnavailableError, "again"),
        (["DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '54000'; END $$"], StoreError, "larger"),
        (["DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '57P03'; END $$"], StoreUnavailableError, "again"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else None,
)
def test_errors_of_statements(
    connection: psycopg.Connection, statements: list[str], kind: type[DataPlatformError], words: str
) -> None:
    try:
        error = raised(connection, *statements)
    finally:
        connection.execute("RESET ROLE")
        connection.execute("RESET ALL")
        connection.execute("DROP ROLE IF EXISTS weak")
    assert type(error) is kind
    assert words in str(error)


def test_a_limit_on_temporary_files(connection: psycopg.Connection) -> None:
    query = "SELECT count(*) FROM (SELECT n FROM generate_series(1, 50000) n ORDER BY -n OFFSET 1) s"
    error = raised(connection, "SET temp_file_limit = 0", "SET work_mem = '64kB'", query)
    assert type(error) is StoreError
    assert "temporary file size" in str(error)


@pytest.fixture
def tiny_disk(postgres: EmbeddedPostgres) -> Iterator[Path]:
    """A file system of one megabyte that the server may write to; skips where none can be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="govbr-tests-full-", dir="/var/tmp"))
    server = postgres.data_dir.stat()
    options = f"size=1m,mode=700,uid={server.st_uid},gid={server.st_gid}"
    try:
        if os.geteuid() or subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", options, "none", folder]).returncode:  # noqa: PLW1510
            pytest.skip("mounting a file system takes root")
        folder.chmod(0o700)
        yield folder
        subprocess.run(["/bin/umount", folder], check=True)
    finally:
        folder.rmdir()


def test_a_disk_that_is_full(connection: psycopg.Connection, tiny_disk: Path) -> None:
    connection.execute(sql.SQL("CREATE TABLESPACE tiny LOCATION {}").format(str(tiny_disk)))
    try:
        connection.execute("CREATE TABLE filling (text text) TABLESPACE tiny")
        fill = (
            "INSERT INTO filling SELECT string_agg(md5(n::text), '') FROM generate_series(1, 100000) n GROUP BY n % 100"
        )
        error = raised(connection, fill)
        assert type(error) is StoreError
        assert "disk space" in error.hint
    finally:
        connection.execute("DROP TABLE IF EXISTS filling")
        connection.execute("DROP TABLESPACE tiny")


def test_a_lock_that_another_session_holds(url: str, connection: psycopg.Connection) -> None:
    with connect(url, purpose="other", autocommit=True) as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(7000003)")
        error = raised(connection, "SET lock_timeout = '20ms'", "SELECT pg_advisory_lock(7000003)")
    assert type(error) is BusyError


def test_a_session_that_somebody_ended(connection: psycopg.Connection, url: str) -> None:
    with connect(url, purpose="other", autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
    first = raised(connection, "SELECT pg_sleep(1)")
    assert type(first) is StoreUnavailableError
    assert type(raised(connection, "SELECT 1")) is StoreUnavailableError  # the connection is closed by now


def test_a_transaction_that_its_client_forgot(url: str) -> None:
    with connect(url, purpose="forgetful") as opened:
        opened.execute("SET idle_in_transaction_session_timeout = '20ms'")
        time.sleep(0.2)
        assert type(raised(opened, "SELECT 1")) is StoreUnavailableError


@pytest.mark.parametrize(
    "statement",
    ["SELEC 1", "SELECT 1/0", "SELECT 'x'::int", "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '23505'; END $$"],
)
def test_mistakes_of_ours_pass_as_they_are(connection: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.Error), translate_errors():
        connection.execute(statement)


def test_errors_that_are_not_the_database_s_pass_as_they_are() -> None:
    for error in (ValueError("x"), KeyboardInterrupt(), StoreError("x")):
        with pytest.raises(type(error)) as caught, translate_errors():
            raise error
        assert caught.value is error


def test_what_sqlalchemy_wraps_is_unwrapped(url: str) -> None:
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    with pytest.raises(StoreError, match="create-schema"), translate_errors(), engine.connect() as opened:
        opened.execute(text("SELECT * FROM no_such_table"))
    wrong = create_engine(with_parts(url).replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    with pytest.raises(StoreError, match="password"), translate_errors():
        wrong.connect()


def test_names_of_databases_may_be_odd(url: str) -> None:
    name = "a%b c\u00e9"
    with connect(url, purpose="test", autocommit=True) as opened:
        opened.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        parts = urlsplit(url)
        with connect(with_parts(url, password=parts.password or "", database=quote(name)), purpose="test") as opened:
            assert opened.info.dbname == name
    finally:
        with connect(url, purpose="test", autocommit=True) as opened:
            opened.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
