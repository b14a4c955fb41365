"""Errors: typed as worth a retry or not, readable, and the same on the other side of a process border."""

from __future__ import annotations

import copy
import pickle

import pytest

from data_platform import errors
from data_platform.errors import DataPlatformError, TerminalError, TransientError

ALL = [getattr(errors, name) for name in errors.__all__]
#: What errors are caught by; what is raised is one of their kinds.
BASES = {DataPlatformError, errors.WriteError, errors.PartialWriteError, errors.WriteFailedError}


@pytest.mark.parametrize("kind", ALL)
def test_the_type_alone_says_whether_to_try_again(kind: type[DataPlatformError]) -> None:
    assert issubclass(kind, DataPlatformError)
    if kind not in BASES:
        assert issubclass(kind, TransientError) != issubclass(kind, TerminalError)
        assert kind("x").retryable is issubclass(kind, TransientError)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("hint", ["", "do this"])
def test_an_error_survives_the_way_between_processes(kind: type[DataPlatformError], hint: str) -> None:
    error = kind("what happened", hint=hint)
    for there in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
        assert type(there) is kind
        assert (there.message, there.hint, str(there)) == (error.message, error.hint, str(error))


def test_the_text_says_what_happened_and_what_to_do() -> None:
    assert str(TerminalError("no such file: x", hint="give another")) == "no such file: x (give another)"
    assert str(TerminalError("no such file: x")) == "no such file: x"


def test_what_can_pass_by_itself_and_what_cannot() -> None:
    transient = {name for name in errors.__all__ if getattr(errors, name).retryable}
    assert transient == {"TransientError", "SourceUnavailableError", "StoreUnavailableError", "BusyError"}


@pytest.mark.parametrize("retryable", [True, False])
@pytest.mark.parametrize("partial", [True, False])
def test_a_failed_write_says_by_its_type_whether_to_try_again(partial: bool, retryable: bool) -> None:
    outcomes = {"postgres": "failed"}
    error = errors.WriteError.of("half", hint="mend", outcomes=outcomes, partial=partial, retryable=retryable)
    assert error.retryable is retryable
    assert isinstance(error, TransientError) is retryable
    assert isinstance(error, TerminalError) is not retryable
    assert isinstance(error, errors.PartialWriteError) is partial
    assert isinstance(error, errors.WriteFailedError) is not partial
    there = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(there) is type(error)
    assert (str(there), there.outcomes) == ("half (mend)", outcomes)
