"""The storage mode of a command that writes: it has to be said, since a shell does not know Airflow's Variable."""

from __future__ import annotations

import argparse

from data_platform.errors import ConfigurationError
from data_platform.managers.storage_mode import StorageBackend, StorageMode, resolve_storage_mode

__all__ = ["add_assume_mode", "assumed_mode", "said_mode"]

_MODES = tuple(backend.value for backend in StorageBackend)
_DEFAULT = StorageMode().backend_source


def add_assume_mode(command: argparse.ArgumentParser, *, needed_for: str) -> None:
    """Add the option --assume-mode.

    Args:
        command: the command.
        needed_for: when the mode has to be said, for the help.
    """
    command.add_argument(
        "--assume-mode",
        choices=_MODES,
        help=f"act as in this storage mode (not against STORAGE_BACKEND=huggingface in the environment); {needed_for} "
        "needs it, or STORAGE_BACKEND in the environment: a shell does not know the mode that Airflow's Variable says",
    )


def assumed_mode(arguments: argparse.Namespace) -> StorageMode:
    """Return the mode that the option, else the environment, says; the default if neither does.

    Raises:
        ConfigurationError: a setting is none that there is, or the option goes against the way back.
    """
    wanted = arguments.assume_mode
    if not wanted:
        return resolve_storage_mode()
    # What is read follows what is written, unless both are.
    form = {"storage_backend": wanted}
    form |= {} if wanted == StorageBackend.DUAL_WRITE else {"storage_read_from": wanted}
    mode = resolve_storage_mode(run_parameters=form)
    if mode.backend != wanted:
        raise ConfigurationError(
            f"--assume-mode {wanted} does not hold: storage_backend is {mode.backend} ({mode.backend_source})",
            hint="leave --assume-mode off, or clear STORAGE_BACKEND if nobody needs the way back any more",
        )
    return mode


def said_mode(arguments: argparse.Namespace, *, what: str) -> StorageMode:
    """Return the mode of a command that writes; see `assumed_mode`.

    Args:
        arguments: of the command.
        what: what would write, for the message.

    Raises:
        ConfigurationError: nobody said which mode it is: the default might be another one than the pipeline's.
    """
    mode = assumed_mode(arguments)
    if mode.backend_source == _DEFAULT:
        raise ConfigurationError(
            f"{what} writes, and nothing says in which storage mode: a shell does not know Airflow's Variable",
            hint=f"say the mode that the pipeline is in ({', '.join(_MODES)}): STORAGE_BACKEND=… in the environment, "
            "or --assume-mode …",
        )
    return mode
