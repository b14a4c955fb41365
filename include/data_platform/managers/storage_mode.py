"""Where news is written and where it is read: the mode, and where each half of it was chosen (DESIGN §4).

`STORAGE_BACKEND=huggingface` in the environment beats everything and makes reads come from HuggingFace: it is the way
back at 3 a.m. Otherwise the first place that says something holds, for each setting by itself: the run's form, the
environment, Airflow's Variable, the default. Airflow is not known here; its Variables come in as a function.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from data_platform.errors import ConfigurationError

__all__ = ["ReadSource", "StorageBackend", "StorageMode", "resolve_storage_mode"]

BACKEND, READ_FROM = "storage_backend", "storage_read_from"
_DEFAULT = "the default"
_FOLLOWS = "follows storage_backend"

Variables = Callable[[str], str | None] | Mapping[str, str]
_Choice = TypeVar("_Choice", "StorageBackend", "ReadSource")


class StorageBackend(StrEnum):
    """Which stores are written."""

    HUGGINGFACE = "huggingface"
    POSTGRES = "postgres"
    DUAL_WRITE = "dual_write"


class ReadSource(StrEnum):
    """One store: the one that is read, or one side of a write."""

    POSTGRES = "postgres"
    HUGGINGFACE = "huggingface"


@dataclass(frozen=True, kw_only=True)
class StorageMode:
    """Which stores are written and which is read; resolved once a run and passed on.

    Attributes:
        backend: which stores are written.
        read_from: which one is read.
        backend_source: where the backend was chosen, in words.
        read_source: where the read source was chosen, in words.
    """

    backend: StorageBackend = StorageBackend.HUGGINGFACE
    read_from: ReadSource = ReadSource.HUGGINGFACE
    backend_source: str = _DEFAULT
    read_source: str = _FOLLOWS

    def __post_init__(self) -> None:
        if self.read_from not in self.sides:
            raise ConfigurationError(
                f"{BACKEND} is {self.backend} ({self.backend_source}) and {READ_FROM} is {self.read_from}"
                f" ({self.read_source}): {self.read_from} is read but never written",
                hint=f"set {READ_FROM} to {' or '.join(self.sides)}, or leave it unset; or change {BACKEND}",
            )

    @property
    def sides(self) -> tuple[ReadSource, ...]:
        """The stores that are written, in the order of writing: PostgreSQL first."""
        if self.backend is StorageBackend.DUAL_WRITE:
            return (ReadSource.POSTGRES, ReadSource.HUGGINGFACE)
        return (ReadSource(self.backend.value),)

    @property
    def pair(self) -> str:
        """The mode as phases are called: "dual_write/huggingface"."""
        return f"{self.backend}/{self.read_from}"

    def __str__(self) -> str:
        """Return the mode and where it comes from, for a log."""
        return f"writes {self.backend} ({self.backend_source}), reads {self.read_from} ({self.read_source})"

    def to_dict(self) -> dict[str, str]:
        """Return this as JSON values."""
        return {
            "backend": self.backend.value,
            "read_from": self.read_from.value,
            "backend_source": self.backend_source,
            "read_source": self.read_source,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StorageMode:
        """Read what `to_dict` wrote; keys that this release does not know are left alone.

        Raises:
            ConfigurationError: a value is missing or is none that this release knows.
        """
        return cls(
            backend=_read(StorageBackend, "backend", values.get("backend"), "a stored mode"),
            read_from=_read(ReadSource, "read_from", values.get("read_from"), "a stored mode"),
            backend_source=str(values.get("backend_source", "a stored mode")),
            read_source=str(values.get("read_source", "a stored mode")),
        )


def resolve_storage_mode(
    *,
    environment: Mapping[str, str] | None = None,
    run_parameters: Mapping[str, Any] | None = None,
    variables: Variables | None = None,
) -> StorageMode:
    """Say which stores are written and which is read.

    Args:
        environment: `STORAGE_BACKEND`, `STORAGE_READ_FROM` (default: this process's environment).
        run_parameters: the form of the DAG run: `storage_backend`, `storage_read_from`; None or "" is unset.
        variables: Airflow's Variables of the same names, as a mapping or as a function from name to value or None;
            asked for a name only if neither form nor environment says anything.

    Raises:
        ConfigurationError: a value is none of those allowed, or the store that is read is not written. The message
            names the setting and where it was set.
    """
    env = os.environ if environment is None else environment
    if _text(env.get(BACKEND.upper())) == StorageBackend.HUGGINGFACE:
        why = f"{BACKEND.upper()} in the environment, which beats all else"
        return StorageMode(backend_source=why, read_source=why)
    form = run_parameters or {}
    backend, backend_source = _first(StorageBackend, BACKEND, env, form, variables)
    read_from, read_source = _first(ReadSource, READ_FROM, env, form, variables)
    if backend is None:
        backend, backend_source = StorageBackend.HUGGINGFACE, _DEFAULT
    if read_from is None:
        read_source = f"{_FOLLOWS}={backend}"
        read_from = ReadSource.POSTGRES if backend is StorageBackend.POSTGRES else ReadSource.HUGGINGFACE
    return StorageMode(backend=backend, read_from=read_from, backend_source=backend_source, read_source=read_source)


def _first(
    kind: type[_Choice], name: str, env: Mapping[str, str], form: Mapping[str, Any], variables: Variables | None
) -> tuple[_Choice | None, str]:
    for value, where in _places(name, env, form, variables):
        if _text(value):
            return _read(kind, name, value, where), where
    return None, ""


def _places(
    name: str, env: Mapping[str, str], form: Mapping[str, Any], variables: Variables | None
) -> Iterator[tuple[Any, str]]:
    """Yield value and place, the strongest first; the Variable is asked only if it comes to that."""
    yield form.get(name), f"{name} in the form of this run"
    yield env.get(name.upper()), f"{name.upper()} in the environment"
    if variables is not None:
        ask = variables if callable(variables) else variables.get
        yield ask(name), f"Airflow Variable {name}"


def _read(kind: type[_Choice], name: str, value: object, where: str) -> _Choice:
    try:
        return kind(_text(value))
    except ValueError:
        allowed = ", ".join(choice.value for choice in kind)
        raise ConfigurationError(
            f"{name} is {value!r} ({where}), which is no store", hint=f"set it to one of: {allowed}"
        ) from None


def _text(value: object) -> str:
    return "" if value is None else str(value).strip().lower()
