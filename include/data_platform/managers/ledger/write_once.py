"""Objects (JSON, or any bytes) that are written once and never changed, in a folder or in object storage.

A folder gets each object under a temporary name first; it is flushed to the disk and then linked to its own name, which
fails if that is taken, so no reader ever sees half an object and no writer replaces another's. Object storage that
knows an exclusive create is asked for one; elsewhere the names are unique by themselves.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import Any

from data_platform.errors import ConfigurationError, LedgerError, TransientError

__all__ = ["WriteOnceObjects"]

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
#: What a client says of a place that waiting does not change.
_WRONG_PLACE = (PermissionError, NotADirectoryError, IsADirectoryError, ValueError, ImportError)


class WriteOnceObjects:
    """The objects below one place.

    Args:
        uri: a local folder, made when first written to, or an fsspec URI (`gs://bucket/folder`), whose bucket must be
            there.
        suffix: how the names of the objects end.
        setting: where the place is set, for messages.
    """

    def __init__(self, uri: str, *, suffix: str = ".json", setting: str = "STATE_URI") -> None:
        self.uri = uri.rstrip("/") or uri
        self._suffix = suffix
        self._setting = setting

    def __repr__(self) -> str:
        """Return what this is, for messages."""
        return f"{type(self).__name__}({self.uri!r})"

    def create(self, name: str, values: Mapping[str, Any]) -> bool:
        """Write an object; return False if there is one of this name already, which is left as it is.

        Args:
            name: path below the place, ending in .json.
            values: JSON values.

        Raises:
            ConfigurationError: the place cannot be written to as it is set.
            TransientError: it did not take the object.
        """
        return self.put(name, (json.dumps(values, ensure_ascii=False, sort_keys=True) + "\n").encode())

    def put(self, name: str, content: bytes) -> bool:
        """Write an object of any bytes; see `create`."""
        with self._told("write", name):
            if self._is_local:
                return _create_file(Path(self._folder) / name, content)
            try:
                self._filesystem.pipe_file(f"{self._folder}/{name}", content, mode="create")
            except FileExistsError:
                # Or our own, when the answer to the first try was lost and the client tried again.
                return bool(self._filesystem.cat_file(f"{self._folder}/{name}") == content)
            return True

    def read(self, name: str) -> dict[str, Any]:
        """Return an object.

        Raises:
            LedgerError: there is no such object, or it is damaged.
            TransientError: the place did not answer.
        """
        content = self.content(name)
        if content is None:
            raise LedgerError(f"{self.uri}/{name} is not there", hint="objects are never removed by us")
        try:
            values = json.loads(content)
        except ValueError as error:
            raise self.damaged(name, f"it is no JSON: {error}") from None
        if not isinstance(values, dict):
            raise self.damaged(name, "it is no JSON object")
        return values

    def content(self, name: str) -> bytes | None:
        """Return the bytes of an object; None if there is no such object.

        Raises:
            TransientError: the place did not answer.
        """
        with self._told("read", name):
            try:
                return bytes(self._filesystem.cat_file(f"{self._folder}/{name}"))
            except FileNotFoundError:
                return None

    @property
    def location(self) -> str:
        """Where the place is for any process of this machine: an absolute folder, or the URI."""
        return self._folder if self._is_local else self.uri

    def sweep(self, older_than_s: float) -> int:
        """Take away what writers that were killed left unfinished; return how many. Object storage keeps no such."""
        if not self._is_local:
            return 0
        swept = 0
        for path in Path(self._folder).rglob(".*.tmp"):
            with suppress(FileNotFoundError):  # another process sweeps too
                if time.time() - path.stat().st_mtime > older_than_s:
                    path.unlink()
                    swept += 1
        return swept

    def remove(self, name: str) -> bool:
        """Take an object away; return False if somebody else has. For places whose owner says that things may go."""
        with self._told("remove", name):
            try:
                self._filesystem.rm_file(f"{self._folder}/{name}")
            except FileNotFoundError:
                return False
            return True

    def names(self, folder: str) -> list[str]:
        """Return the names of the objects anywhere below a folder, in order of their last part.

        Unfinished files and whatever else lies there are left out; a folder that is not there has none.
        """
        base = f"{self._folder}/{folder}"
        with self._told("list", folder):
            self._filesystem.invalidate_cache()  # else a long-lived process sees what was there when it first looked
            try:
                found = self._filesystem.find(base)
            except FileNotFoundError:
                found = []
        skip = len(str(self._folder).rstrip("/")) + 1
        names = [str(path)[skip:] for path in found if str(path).endswith(self._suffix)]
        return sorted(names, key=lambda n: (last_part(n), n))

    def damaged(self, name: str, why: str) -> LedgerError:
        """Return the error of an object that cannot be understood."""
        return LedgerError(
            f"{self.uri}/{name} is damaged: {why}",
            hint="mend it, or move it away: what it told is then unknown, so compare the stores",
        )

    # ------------------------------------------------------------------------------------------------

    @cached_property
    def _place(self) -> tuple[Any, str]:
        import fsspec  # type: ignore[import-untyped]  # ships no types

        filesystem, folder = fsspec.core.url_to_fs(self.uri)
        return filesystem, str(folder).rstrip("/")

    @property
    def _filesystem(self) -> Any:  # noqa: ANN401 - fsspec ships no types
        return self._place[0]

    @property
    def _folder(self) -> str:
        return self._place[1]

    @property
    def _is_local(self) -> bool:
        from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

        return isinstance(self._filesystem, LocalFileSystem)

    @contextmanager
    def _told(self, what: str, name: str) -> Iterator[None]:
        hint = f"set {self._setting} to a folder or bucket that this process may write to"
        try:
            yield
        except (LedgerError, ConfigurationError, TransientError):
            raise
        except (*_WRONG_PLACE, FileNotFoundError) as error:
            raise ConfigurationError(f"cannot {what} {self.uri}/{name}: {_words(error)}", hint=hint) from error
        except Exception as error:
            # Each store's client raises types of its own; what is not surely a wrong setting may pass.
            raise TransientError(f"cannot {what} {self.uri}/{name}: {_words(error)}", hint=hint) from error


def last_part(name: str) -> str:
    """Return the file name of an object."""
    return name.rpartition("/")[2]


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _create_file(path: Path, content: bytes) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        if not _give_name(temporary, path):
            return False
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name must outlive a power cut as the content does
    finally:
        os.close(folder)
    return True


def _give_name(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            return False
        temporary.replace(path)  # a mount without links; names are unique, so nobody else takes this one
    return True
