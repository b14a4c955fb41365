"""Named places where a test may raise an exception or kill the process.

`GOVBR_FAILPOINTS="load.before_commit=kill;index.after_one=raise"` switches them on; a number after
the action (`kill:3`) lets the place be passed that many times less one first. Unset, a failpoint costs one
dictionary look-up. Names are registered here, so that a test can walk all of them.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter

__all__ = ["FAILPOINTS", "FailpointError", "failpoint"]

#: Every failpoint of the package, in the order in which a migration, a write to the Hub, a sync, a repair, a
#: run of an index passes them.
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
    "postgres.before_commit",
    "postgres.after_commit",
    "hub.before_preupload",
    "hub.before_commit",
    "hub.after_commit",
    "hub.between_datasets",
    "sync.after_window",
    "sync.before_proof",
    "sync.between_datasets",
    "sync.before_store",
    "sync.after_store",
    "repair.after_missed",
    "repair.after_chunk",
    "repair.between_double_and_address",
    "reindex.after_create",
    "reindex.after_window",
    "reindex.after_deletions",
    "reindex.after_page",
    "reindex.after_place",
    "reindex.after_sweep",
    "reindex.after_announce",
    "reindex.after_stamp",
    "reindex.after_follow",
    "reindex.after_partition",
    "reindex.after_finish",
    "reindex.after_compare",
    "reindex.before_point",
    "reindex.after_point",
    "reindex.after_drop",
)

_VARIABLE = "GOVBR_FAILPOINTS"
_WISH = re.compile(r"(?P<place>[\w.]+)=(?P<action>raise|kill)(?::(?P<nth>[1-9][0-9]*))?")
_passed: Counter[str] = Counter()


class FailpointError(RuntimeError):
    """Raised by a failpoint that a test switched on."""


def failpoint(name: str) -> None:
    """Pass a named place; raise or die there if a test asked for it.

    Raises:
        FailpointError: the test asked for an exception at this place.
        LookupError: the name, or one that the variable wishes for, is not registered.
    """
    spec = os.environ.get(_VARIABLE)
    if not spec:
        return
    if name not in FAILPOINTS:
        raise LookupError(f"failpoint {name!r} is not registered in FAILPOINTS")
    wishes = [(action, nth) for place, action, nth in map(_wish, spec.split(";")) if place == name]
    if wishes:
        _passed[name] += 1
    for action, nth in wishes:
        if _passed[name] == nth:
            if action == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise FailpointError(name)


def _wish(entry: str) -> tuple[str, str, int]:
    """Read `place=action:nth`; a misspelt one would let a test pass without the failure it is about."""
    found = _WISH.fullmatch(entry)
    if found is None or found["place"] not in FAILPOINTS:
        raise LookupError(f"{_VARIABLE}: {entry!r} is not <registered place>=raise or =kill, with :<number> or without")
    return found["place"], found["action"], int(found["nth"] or 1)
