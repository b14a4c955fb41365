"""What a model wrote into theme cells -> a chain of codes that the tree has (FIELD_FACTS §6.2, §14 fault 41).

A text is taken for a code only if the tree has that code on that level, below the code of the level above. At the first
level that does not hold, what is deeper is left out: the deepest valid level is what remains.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from data_platform.models.themes import Theme, ThemeTree

__all__ = ["Chain", "ThemeCodes"]

#: A code alone, or before a dash or colon: "10 anos de …" begins with none.
_CODE = re.compile(r"\s*(?P<code>[0-9]{2}(?:\.[0-9]{2}){0,2})\s*(?:$|[-–—:])")


@dataclass(frozen=True)
class Chain:
    """A way down the tree.

    Attributes:
        themes: from the first level on, each the child of the one before; none if nothing was valid.
        notes: words for what was left out.
    """

    themes: tuple[Theme, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def code(self) -> str | None:
        """The code of the deepest level."""
        return self.themes[-1].code if self.themes else None


class ThemeCodes:
    """Reads codes against a tree.

    Args:
        tree: the themes that are known.
    """

    def __init__(self, tree: ThemeTree) -> None:
        self.tree = tree

    @cached_property
    def _by_label(self) -> dict[tuple[str | None, str], Theme]:
        """(code of the level above, folded label) -> theme, where that names one theme only."""
        found: dict[tuple[str | None, str], Theme | None] = {}
        for theme in self.tree.by_code.values():
            key = (theme.parent_code, _folded(theme.label))
            found[key] = None if key in found else theme
        return {key: theme for key, theme in found.items() if theme is not None}

    @cached_property
    def first_levels(self) -> tuple[Theme, ...]:
        """The themes of the first level, in order of their codes."""
        return tuple(sorted((t for t in self.tree.by_code.values() if t.level == 1), key=lambda theme: theme.code))

    def path(self, code: str | None) -> tuple[Theme, ...]:
        """Return a code's theme and those above it, the first level first; nothing for an unknown code."""
        found: list[Theme] = []
        theme = self.tree.get(code)
        while theme is not None:
            found.append(theme)
            theme = self.tree.get(theme.parent_code)
        return tuple(reversed(found))

    def chain(self, levels: Sequence[str | None]) -> Chain:
        """Read one text per level, the first level first.

        Args:
            levels: `<code> - <label>`, a code alone, or whatever a model wrote; None or blank for an empty cell. A
                label alone is read where one child of the level above has it: by itself a label may name two themes.
        """
        above: Theme | None = None
        themes: list[Theme] = []
        for number, text in enumerate(levels, start=1):
            if text is None or not text.strip():
                skipped = any(later and later.strip() for later in levels[number:])
                return Chain(tuple(themes), (f"level_{number}_empty",) if skipped else ())
            theme = self._read(text, above)
            problem = self._problem(text, theme, above, number)
            if theme is None or problem:
                return Chain(tuple(themes), (problem,))
            themes.append(theme)
            above = theme
        return Chain(tuple(themes))

    def single(self, text: str | None) -> Chain:
        """Read one text that names the deepest level by its code; an unknown code counts as the known one above it."""
        found = _CODE.match(text or "")
        if found is None:
            return Chain(notes=("no_code",) if (text or "").strip() else ())
        code = found["code"]
        while code:
            if themes := self.path(code):
                return Chain(themes, () if code == found["code"] else (f"level_{_level(found['code'])}_unknown",))
            code = code.rpartition(".")[0]
        return Chain(notes=("level_1_unknown",))

    def _read(self, text: str, above: Theme | None) -> Theme | None:
        found = _CODE.match(text)
        if found is not None:
            return self.tree.get(found["code"])
        return self._by_label.get((above.code if above else None, _folded(text)))

    @staticmethod
    def _problem(text: str, theme: Theme | None, above: Theme | None, number: int) -> str:
        """Return a word for what is wrong with a level, "" if nothing is."""
        if theme is None:
            return f"level_{number}_unknown" if _CODE.match(text) else f"level_{number}_no_code"
        if theme.level != number:
            return f"level_{number}_of_another_level"
        if above is not None and theme.parent_code != above.code:
            return f"level_{number}_not_below_level_{number - 1}"
        return ""


def _level(code: str) -> int:
    return code.count(".") + 1


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text)
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).casefold().split())
