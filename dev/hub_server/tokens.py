"""Who may do what at the Hub's stand-in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["Token", "as_tokens"]


@dataclass(frozen=True)
class Token:
    """What a token stands for: an account, and whether it may write. It reads everything, and writes everywhere."""

    account: str = "tester"
    role: Literal["read", "write"] = "write"


def as_tokens(tokens: Iterable[str] | Mapping[str, Token]) -> dict[str, Token]:
    """Return secret -> token; a secret alone stands for the account `tester`, who may write."""
    return dict(tokens) if isinstance(tokens, Mapping) else {secret: Token() for secret in tokens}
