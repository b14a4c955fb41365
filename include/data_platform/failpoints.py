"""Named places where a test may raise an exception or kill the process.

`GOVBR_FAILPOINTS="load.before_commit=kill;index.after_one=raise"` switches them on; a number after
the action (`kill:3`) lets the place be passed that many times less one first. Unset, a failpoint costs one
dictionary look-up. Names are registered here, so that a test can walk all of them.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

__all__ = ["FAILPOINTS", "FailpointError", "failpoint"]

#: Every failpoint of the package, in the order in which a migration passes them.
FAILPOINTS: tuple[str, ...] = (
    "plan.after_run_created",
    "plan.after_keys",
    "plan.before_ready",
    "load.before_copy",
    "load.mid_copy",
    "load.before_checkpoint",
    "load.before_commit",
    "load.after_commit",
    "index.before_one",
    "index.after_one",
    "constraint.after_one",
    "account.before_store",
    "validate.mid",
    "validate.before_store",
    "report.before_write",
    "finish.before_done",
)

_VARIABLE = "GOVBR_FAILPOINTS"
_passed: Counter[str] = Counter()


class FailpointError(RuntimeError):
    """Raised by a failpoint that a test switched on."""


def failpoint(name: str) -> None:
    """Pass a named place; raise or die there if a test asked for it.

    Raises:
        FailpointError: the test asked for an exception at this place.
        LookupError: the name is not registered.
    """
    spec = os.environ.get(_VARIABLE)
    if not spec:
        return
    if name not in FAILPOINTS:
        raise LookupError(f"failpoint {name!r} is not registered in FAILPOINTS")
    for entry in spec.split(";"):
        place, _, action = entry.partition("=")
        if place != name:
            continue
        what, _, nth = action.partition(":")
        _passed[name] += 1
        if _passed[name] != int(nth or 1):
            continue
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise FailpointError(name)
