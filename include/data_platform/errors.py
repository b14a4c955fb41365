"""Errors that say what happened, what to do, and whether trying again can help.

Every error raised on purpose by this package is a `DataPlatformError`. Whether a retry makes
sense is decided by type alone (`TransientError` or `TerminalError`), never by reading a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "BusyError",
    "ConfigurationError",
    "DataPlatformError",
    "IntegrityError",
    "LedgerError",
    "PartialWriteError",
    "SourceError",
    "SourceUnavailableError",
    "StoreError",
    "StoreUnavailableError",
    "TerminalError",
    "TransientError",
    "WriteError",
    "WriteFailedError",
]


class DataPlatformError(Exception):
    """Base of all errors of this package.

    Args:
        message: what happened, naming the file, row, column or setting.
        hint: what the reader of the message can do about it.
    """

    retryable: bool = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling between worker processes.
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[DataPlatformError], message: str, hint: str) -> DataPlatformError:
    return kind(message, hint=hint)


class TerminalError(DataPlatformError):
    """Trying again without changing something ends the same way."""


class TransientError(DataPlatformError):
    """The same call may succeed later."""

    retryable = True


class ConfigurationError(TerminalError):
    """A setting is missing or has a value that cannot be used."""


class SourceError(TerminalError):
    """The source of rows cannot be used: wrong schema, damaged file, no such dataset."""


class SourceUnavailableError(TransientError):
    """The source of rows did not answer as it should; it may later."""


class StoreError(TerminalError):
    """The database cannot do what is asked: no permission, wrong version, no space."""


class StoreUnavailableError(TransientError):
    """The database did not answer or the connection broke."""


class BusyError(TransientError):
    """Somebody else is doing the same work right now."""


class IntegrityError(TerminalError):
    """Rows do not add up, or two stores that must be equal differ."""


class LedgerError(TerminalError):
    """An object of the run ledger is damaged, or is not what its name says."""


class WriteError(DataPlatformError):
    """A write to several stores did not reach all of them.

    Made by `WriteError.of`, which chooses the type that says whether another try makes sense.

    Attributes:
        outcomes: store -> what happened there (`SideOutcome`).
    """

    def __init__(self, message: str, *, hint: str = "", outcomes: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.outcomes: Mapping[str, Any] = dict(outcomes or {})

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_write, (type(self), self.message, self.hint, self.outcomes))

    @staticmethod
    def of(message: str, *, hint: str, outcomes: Mapping[str, Any], partial: bool, retryable: bool) -> WriteError:
        """Return the error of a write to several stores.

        Args:
            message: what happened on each side.
            hint: what to do.
            outcomes: store -> what happened there.
            partial: whether one of them has the rows.
            retryable: whether every side that failed may do it later.
        """
        kinds: dict[tuple[bool, bool], type[WriteError]] = {
            (True, True): TransientPartialWriteError,
            (True, False): TerminalPartialWriteError,
            (False, True): TransientWriteFailedError,
            (False, False): TerminalWriteFailedError,
        }
        return kinds[partial, retryable](message, hint=hint, outcomes=outcomes)


def _rebuild_write(kind: type[WriteError], message: str, hint: str, outcomes: Mapping[str, Any]) -> WriteError:
    return kind(message, hint=hint, outcomes=outcomes)


class PartialWriteError(WriteError):
    """One store failed; what the other has stays there, and repair brings it to the one that failed."""


class WriteFailedError(WriteError):
    """Every store failed."""


class TerminalPartialWriteError(PartialWriteError, TerminalError):
    """One store failed, and trying again without changing something ends the same way."""


class TransientPartialWriteError(PartialWriteError, TransientError):
    """One store failed, and may do it later."""


class TerminalWriteFailedError(WriteFailedError, TerminalError):
    """Every store failed, at least one of them in a way that trying again does not change."""


class TransientWriteFailedError(WriteFailedError, TransientError):
    """Every store failed, and each may do it later."""
