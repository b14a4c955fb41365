"""SQL of the jobs and managers, one statement a file, with bound parameters.

A mark like `/*digest*/` is replaced by SQL of our own making; values are always bound.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

__all__ = ["read_sql"]


@cache
def read_sql(name: str) -> str:
    """Return the text of a file of this folder."""
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
