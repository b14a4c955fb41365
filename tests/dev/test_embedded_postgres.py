"""The embedded PostgreSQL: found again, restarted after a kill, in any folder, gone with its owner."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import create_engine, text

from dev.embedded_postgres import DURABILITY_OFF, EmbeddedPostgres, EmbeddedPostgresError, main, system_postgres_bin


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="govbr test 'é\" ", dir="/var/tmp"))
    made.chmod(0o711)  # as root the server runs as another user
    yield made
    shutil.rmtree(made)


def one(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[arg-type]
    return row[0] if row else None


def server_in(folder: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(folder / "data", settings=DURABILITY_OFF, bound=True)


def pid_in(folder: Path) -> int:
    return int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])


def test_starts_in_a_folder_with_odd_characters_and_serves_every_client(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGHOSTADDR")  # set for all tests; with it libpq would not use the socket
    with server_in(folder) as server:
        url = server.create_database("news")
        assert one(url, "SELECT current_database()") == "news"
        assert one(url, "SELECT host(inet_server_addr())") == "127.0.0.1"
        assert one(server.socket_url("news"), "SELECT inet_server_addr()") is None
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.connect() as connection:
            assert connection.execute(text("SELECT lower('ÉÇÃ')")).scalar() == "éçã"
        engine.dispose()
    with pytest.raises(EmbeddedPostgresError, match="no PostgreSQL runs"):
        server.url()


def test_tcp_wants_the_password(folder: Path) -> None:
    with server_in(folder) as server:
        before, _, after = server.url().rpartition("@")
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"{before.rpartition(':')[0]}:wrong@{after}")
    assert stat.S_IMODE((folder / "data").stat().st_mode) == 0o700


def test_a_second_start_finds_the_first_and_leaves_it_running(folder: Path) -> None:
    with server_in(folder) as server:
        pid = pid_in(folder)
        with server_in(folder) as again:
            assert again.url() == server.url()
        assert one(server.url(), "SELECT 1") == 1
        assert pid_in(folder) == pid


def test_data_survive_kill_9_and_the_stale_pid_file(folder: Path) -> None:
    with server_in(folder) as server:
        url = server.create_database("news")
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE t AS SELECT 42 AS a")
        psutil.Process(pid_in(folder)).kill()
        server.start()
        assert server.url("news") == url
        assert one(url, "SELECT a FROM t") == 42


def test_a_pid_file_with_the_number_of_a_living_process_is_no_server(folder: Path) -> None:
    with server_in(folder):
        pass
    pid_file = folder / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{folder}\n1\n5432\n/tmp\nlocalhost\n1 1\nready\n")
    shutil.copystat(folder / "data" / "PG_VERSION", pid_file)
    with server_in(folder) as server:
        assert one(server.url(), "SELECT 1") == 1


def test_a_cluster_cut_off_while_it_was_made_is_made_again(folder: Path) -> None:
    (folder / "data.initialising").mkdir()
    (folder / "data.initialising" / "PG_VERSION").write_text("18\n")
    with server_in(folder) as server:
        assert one(server.url(), "SELECT 1") == 1


def test_a_path_too_long_for_a_socket_gets_a_short_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGHOSTADDR")
    deep = folder / ("l" * 60) / ("m" * 60)
    with EmbeddedPostgres(deep / "data", settings=DURABILITY_OFF, bound=True) as server:
        assert one(server.socket_url(), "SELECT inet_server_addr()") is None
        socket_folder = Path((deep / "data" / "postmaster.pid").read_text().splitlines()[4])
        assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
    assert not socket_folder.exists()


def test_no_folder_above_the_data_changes_its_mode(folder: Path) -> None:
    before = {parent: parent.stat().st_mode for parent in (folder, *folder.parents)}
    with server_in(folder):
        pass
    assert {parent: parent.stat().st_mode for parent in before} == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root runs the server as somebody else")
def test_as_root_a_closed_folder_is_refused_with_its_name_and_not_opened(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedPostgresError, match="passable"):
        EmbeddedPostgres(closed / "data").start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert [path.name for path in closed.iterdir()] == ["data.lock"]


def test_binaries_of_another_version_are_refused(folder: Path) -> None:
    bin_dir = system_postgres_bin(15)
    if bin_dir is None:
        pytest.skip("no PostgreSQL 15 below /usr/lib/postgresql")
    with EmbeddedPostgres(folder / "data", bin_dir=bin_dir, settings=DURABILITY_OFF, bound=True) as server:
        assert str(one(server.url(), "SHOW server_version")).startswith("15")
        assert one(server.url(), "SHOW default_toast_compression") == "lz4"
    with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL 15"):
        server_in(folder).start()


def test_a_wrong_setting_is_reported_with_the_log(folder: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="unrecognized configuration parameter"):
        EmbeddedPostgres(folder / "data", settings={**DURABILITY_OFF, "no_such_setting": "1"}, bound=True).start()


def test_the_server_ends_with_a_killed_owner(folder: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from dev.embedded_postgres import EmbeddedPostgres\n"
        "EmbeddedPostgres(Path(sys.argv[1]), bound=True).start(); print('up', flush=True); time.sleep(100)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder / "data")],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        server = psutil.Process(pid_in(folder))
        owner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while server.is_running() and server.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the server outlives its owner"
        time.sleep(0.05)


def test_the_command_line(monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GOVBR_STATE_DIR", str(folder / "state"))
    assert main(["url"]) == 1
    assert "no PostgreSQL runs" in capsys.readouterr().err
    assert main(["start", "--database", "news"]) == 0
    try:
        url = capsys.readouterr().out.strip()
        assert one(url, "SELECT current_database()") == "news"
        assert main(["url", "--database", "news"]) == 0
        assert capsys.readouterr().out.strip() == url
    finally:
        assert main(["stop"]) == 0
    assert main(["url"]) == 1
    assert main(["stop"]) == 0
