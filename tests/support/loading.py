"""Readers of the published datasets: `datasets.load_dataset` in a process of its own, as in life."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["load"]

#: Arrow's scanner leaves threads that can abort a process which ends just after a scan (apache/arrow#39862; seen once
#: in 450 processes that did nothing but scan). The rows have been read and printed by then: leave before that.
_LEAVE = "\nimport os\nsys.stdout.flush()\nos._exit(0)\n"


def load(script: str, *arguments: str, environment: Mapping[str, str]) -> Any:
    """Run a script of a reader that imports `sys` and prints JSON last; return that. Fails if the script does."""
    command = [sys.executable, "-c", script + _LEAVE, *arguments]
    ran = subprocess.run(command, env=dict(environment), capture_output=True, check=False, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])
