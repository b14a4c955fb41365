"""Run a command that cannot outlive whoever asked for it.

The supervisor started here holds the read end of a pipe whose only write end is in the asking
process. When that process ends, in whatever way (kill -9 included), the kernel closes the pipe and
the supervisor stops the command with all its descendants, those that left its process group too.
`Lifeline.stop()` closes the pipe on purpose: one way to stop, tried every time.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

import psutil

__all__ = ["Lifeline"]

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
#: Seconds between looking after the command; a closed pipe wakes the supervisor at once.
_TICK = 0.2


class Lifeline:
    """A command in a session of its own, stopped when this process ends.

    Args:
        command: what to run.
        log: file that gets the command's standard output and error.
        environment: its environment; by default this process's.
        cwd: its working folder.
        user: id of the user to run it as, if another than this process's.
        group: id of the group that goes with `user`.
        stop_signal: what asks the command to stop.
        to_group: send that signal to the whole process group, not to the command alone.
        grace: seconds from that signal to SIGKILL.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: IO[bytes],
        environment: Mapping[str, str] | None = None,
        cwd: Path | str = "/",
        user: int | None = None,
        group: int | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        to_group: bool = True,
        grace: float = 20.0,
    ) -> None:
        options = [f"--signal={stop_signal.value}", f"--grace={grace}", f"--cwd={cwd}"]
        options += ["--to-group"] if to_group else []
        options += [f"--user={user}", f"--group={group}"] if user is not None else []
        self._grace = grace
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, *options, "--", *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            start_new_session=True,  # a terminal's Ctrl-C is ours to pass on, in order
        )

    @property
    def pid(self) -> int:
        """Process id of the supervisor, which is also the id of the session."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the command's exit status, or None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Stop the command and all its descendants, and wait until they are gone."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(self._grace + 15)
        except subprocess.TimeoutExpired:  # the supervisor itself hangs: never seen, never wait for ever
            self._process.kill()
            self._process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Supervise one command; runs in the supervisor process."""
    options = _parse(arguments)
    # Descendants whose parent ends become our children, so that none escapes from `_descendants`.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # when to end is said by the pipe
    stopping = _StopRequest()
    signal.signal(signal.SIGTERM, stopping)

    def prepare() -> None:
        # Ignored signals stay ignored over exec; the command shall find the usual ones.
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _prctl(_PR_SET_PDEATHSIG, options.signal)  # if somebody kills the supervisor itself

    command = subprocess.Popen(
        options.command,
        stdin=subprocess.DEVNULL,
        cwd=options.cwd,
        process_group=0,
        preexec_fn=prepare,  # noqa: PLW1509 - this process has one thread: safe here
        **({} if options.user is None else {"user": options.user, "group": options.group, "extra_groups": []}),
    )
    while command.poll() is None and not stopping.asked:
        readable, _, _ = select.select([0], [], [], _TICK)
        if readable and not os.read(0, 1024):
            break
    _stop(command, options)
    status = command.wait()
    _reap_orphans(but=command.pid)  # not left to a process 1 that may not care for its children
    return 128 - status if status < 0 else status


class _StopRequest:
    """Remembers that SIGTERM came."""

    asked = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--signal", type=int, required=True)
    parser.add_argument("--grace", type=float, required=True)
    parser.add_argument("--cwd", default="/")
    parser.add_argument("--to-group", action="store_true")
    parser.add_argument("--user", type=int)
    parser.add_argument("--group", type=int)
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _stop(command: subprocess.Popen[bytes], options: argparse.Namespace) -> None:
    """Ask the command to stop, wait, and kill whatever of it is left."""
    deadline = time.monotonic() + options.grace
    if command.poll() is None:
        (os.killpg if options.to_group else os.kill)(command.pid, options.signal)
        if not options.to_group:  # it stops its children itself
            _wait_while_alive(command, deadline, only_command=True)
    for process in _descendants():
        if not _in_group(process, command.pid):  # these have not heard of it yet
            _signal(process, signal.SIGTERM)
    _wait_while_alive(command, deadline)
    while left := _descendants():
        for process in left:
            _signal(process, signal.SIGKILL)
        _wait_while_alive(command, time.monotonic() + 0.5)


def _wait_while_alive(command: subprocess.Popen[bytes], deadline: float, *, only_command: bool = False) -> None:
    while time.monotonic() < deadline and (command.poll() is None if only_command else _descendants()):
        command.poll()  # collects it, as the next line collects orphans that the kernel gave us
        _reap_orphans(but=command.pid)
        time.sleep(0.05)


def _descendants() -> list[psutil.Process]:
    return [process for process in psutil.Process().children(recursive=True) if _is_alive(process)]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _in_group(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group
    except ProcessLookupError:
        return True  # it is gone


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):  # it ended by itself meanwhile
        process.send_signal(number)


def _reap_orphans(*, but: int) -> None:
    """Collect ended children that the kernel gave us when their parent ended, until there is none."""
    while ended := [p for p in psutil.Process().children() if p.pid != but and not _is_alive(p)]:
        for process in ended:
            with contextlib.suppress(ChildProcessError):  # collected meanwhile
                os.waitpid(process.pid, os.WNOHANG)


if __name__ == "__main__":
    sys.exit(main())
