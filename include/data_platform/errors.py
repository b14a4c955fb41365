"""Errors that say what happened, what to do, and whether trying again can help.

Every error raised on purpose by this package is a `DataPlatformError`. Whether a retry makes
sense is decided by type alone (`TransientError` or `TerminalError`), never by reading a message.
"""

from __future__ import annotations

__all__ = [
    "BusyError",
    "ConfigurationError",
    "DataPlatformError",
    "IntegrityError",
    "SourceError",
    "SourceUnavailableError",
    "StoreError",
    "StoreUnavailableError",
    "TerminalError",
    "TransientError",
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
