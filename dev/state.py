"""Where the local stack keeps what it makes, and which ports it may take.

The state lives outside the checkout and outside $HOME: the PostgreSQL server refuses to run as
root, and the unprivileged user it runs as then has to reach its data, which it cannot below a home
folder of mode 0700.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["REPOSITORY", "LocalStackError", "exclusive", "free_port", "make_folder", "state_dir", "state_path"]

#: The root of this checkout.
REPOSITORY = Path(__file__).resolve().parent.parent

#: What the local stack makes in its state folder, which may hold other things too if it was chosen.
_PARTS = ("postgres", "server", "demo", "up")
#: Others may pass through a folder on the way to what is theirs, but not list or read it.
_PASS_THROUGH = 0o711


class LocalStackError(RuntimeError):
    """A part of the local stack could not do what was asked; the message says what to do."""


def state_dir() -> Path:
    """Return the folder of this checkout's local state, making it if need be.

    It is `$GOVBR_STATE_DIR`, else `/var/tmp/govbr-<uid>/<hash of the checkout's path>`, so that two
    checkouts and two users never meet.

    Raises:
        LocalStackError: the folder belongs to somebody else or anybody may write to it.
    """
    if chosen := os.environ.get("GOVBR_STATE_DIR", "").strip():
        return make_folder(Path(chosen).expanduser().resolve())
    digest = hashlib.sha256(os.fsencode(REPOSITORY)).hexdigest()[:12]
    owned = make_folder(Path(f"/var/tmp/govbr-{os.getuid()}"))  # noqa: S108 - ownership is checked by make_folder
    return make_folder(owned / digest)


def state_path(*parts: str) -> Path:
    """Return a folder below the state folder, making it if need be."""
    folder = state_dir()
    for part in parts:
        folder = make_folder(folder / part)
    return folder


def make_folder(folder: Path) -> Path:
    """Make a folder that other users can pass through but not read, and return it.

    Missing parents are made in the same way; existing folders are left as they are.

    Raises:
        LocalStackError: it exists and belongs to somebody else, or anybody may write to it.
    """
    for missing in reversed([parent for parent in (folder, *folder.parents) if not parent.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
        missing.chmod(_PASS_THROUGH)  # whatever the umask says
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & stat.S_IWOTH:
        raise LocalStackError(
            f"{folder} is not a folder that only you can write to; remove it, or set GOVBR_STATE_DIR to another one"
        )
    return folder


def free_port(preferred: int | None = None) -> int:
    """Return a loopback TCP port that nobody listens on: the preferred one if it is free."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As servers do: a port whose last connections are still in TIME_WAIT counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LocalStackError("no loopback TCP port is free")


@contextmanager
def exclusive(lock_file: Path, *, busy: str | None = None) -> Iterator[None]:
    """Hold a lock file; the kernel frees it when the process ends, however it ends.

    Args:
        lock_file: the file to lock, made if need be.
        busy: if given, do not wait for another holder but raise with this message.

    Raises:
        LocalStackError: somebody else holds it and `busy` is given.
    """
    with lock_file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError as error:
            raise LocalStackError(busy or "locked") from error
        yield


def remove_state() -> None:
    """Remove what the local stack keeps for this checkout; nothing of it may run."""
    from dev.embedded_postgres import EmbeddedPostgres  # it builds on this module

    folder = state_dir()
    for name in ("demo", "up"):
        if (lock := folder / name / "airflow.lock").exists():
            with exclusive(lock, busy=f"an Airflow of `make {name}` runs; stop it first (Ctrl-C where it was started)"):
                pass
    EmbeddedPostgres().stop()
    for part in _PARTS:
        shutil.rmtree(folder / part, ignore_errors=True)
    if not any(folder.iterdir()):
        folder.rmdir()


if __name__ == "__main__":
    if sys.argv[1:] != ["remove"]:
        sys.exit("usage: python -m dev.state remove")
    try:
        remove_state()
    except LocalStackError as refusal:
        sys.exit(str(refusal))
