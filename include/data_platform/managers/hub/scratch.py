"""Temporary folders that do not outlive their process by much: who starts one removes those of processes that died."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["scratch_folder"]

_PREFIX = "govbr-dataset-"
_LOCK = ".in-use"
_UNLOCKED = ".not-yet-in-use"
#: A folder is made before it is locked; one this old without a lock was never going to be.
_UNLOCKED_SECONDS = 3600.0


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give an empty temporary folder and remove it, however the work in it ends.

    It is locked for as long as its process lives. A process that is killed leaves its folder (an adoption's is larger
    than the dataset) and its lock goes: the next one that wants a folder removes it.
    """
    _remove_left_ones(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name, (Path(name) / _UNLOCKED).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Only then under the name that is looked for: one that is not locked yet would be taken for a dead one's.
        (Path(name) / _UNLOCKED).rename(Path(name) / _LOCK)
        yield Path(name)


def _remove_left_ones(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # in use (BlockingIOError), gone meanwhile, or another user's
            lock_file = folder / _LOCK
            if not lock_file.exists():
                if time.time() - folder.stat().st_mtime > _UNLOCKED_SECONDS:
                    shutil.rmtree(folder)
                continue
            with lock_file.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
