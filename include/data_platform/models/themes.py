"""The themes: reading and checking themes_tree.yaml, and looking themes up by code (FIELD_FACTS §5.3, §5.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from data_platform.errors import SourceError
from data_platform.models.yaml_source import load_yaml

__all__ = ["Theme", "ThemeTree", "parse_themes"]

_SEPARATOR = " - "
_CODE = re.compile(r"[0-9]{2}(?:\.[0-9]{2}){0,2}")
_DEEPEST_LEVEL = 3
_FORMS = {1: "NN", 2: "NN.NN", 3: "NN.NN.NN"}
_USE_TREE = "give themes_tree.yaml of the themes repository, the nested mapping of 640 themes"
_SHAPE = 'themes_tree.yaml nests "NN - Label": -> "NN.NN - Label": -> a list of "NN.NN.NN - Label"'


@dataclass(frozen=True)
class Theme:
    """One node of the tree of themes.

    Attributes:
        code: `NN`, `NN.NN` or `NN.NN.NN`, each part of two digits.
        label: its name in Portuguese; the same label may stand under two codes.
        level: 1, 2 or 3.
        parent_code: code of the node above; None on the first level.
    """

    code: str
    label: str
    level: int
    parent_code: str | None = None

    @property
    def full_name(self) -> str:
        """The form in which the dataset's `theme_1_level_1` holds a theme."""
        return f"{self.code}{_SEPARATOR}{self.label}"


class ThemeTree:
    """Themes by their code.

    Args:
        themes: the nodes, in any order.

    Raises:
        ValueError: two of them have the same code.
    """

    def __init__(self, themes: Iterable[Theme]) -> None:
        by_code: dict[str, Theme] = {}
        for theme in themes:
            if theme.code in by_code:
                raise ValueError(f"the theme code {theme.code} stands twice")
            by_code[theme.code] = theme
        self.by_code: Mapping[str, Theme] = MappingProxyType(by_code)

    def __len__(self) -> int:
        """Return how many themes there are."""
        return len(self.by_code)

    def get(self, code: str | None) -> Theme | None:
        """Return the theme of a code, or None if the tree does not have it."""
        return None if code is None else self.by_code.get(code)

    def deepest(self, *codes: str | None) -> Theme | None:
        """Return the theme of the lowest level among these codes; codes that are None or unknown do not count.

        The codes need not lie on one branch: a real row has 04.02 on the second level and 04.04.05 on the third.
        """
        known = [theme for code in codes if (theme := self.get(code)) is not None]
        return max(known, key=lambda theme: theme.level, default=None)


def parse_themes(text: str, *, origin: str) -> tuple[Theme, ...]:
    """Read themes_tree.yaml; the themes come in the order of their codes, so parents come before children.

    Args:
        text: the YAML text: first-level strings -> second-level strings -> lists of third-level strings,
            each string `<code> - <label>`. A node without children holds `{}`, `[]` or nothing.
        origin: where it came from, for messages.

    Raises:
        SourceError: the text is one of the other theme files (they number the themes differently or lack some),
            or a code, a label or the nesting is wrong.

    Source:
        FIELD_FACTS §5.3 and §5.4.
    """
    document = load_yaml(text, origin=origin)
    _refuse_other_files(document, origin)
    themes: dict[str, Theme] = {}
    for theme in _walk(document, origin):
        if theme.code in themes:
            raise SourceError(
                f"{origin}: the code {theme.code} stands twice: "
                f"{themes[theme.code].full_name!r} and {theme.full_name!r}"
            )
        themes[theme.code] = theme
    # "01" < "01.01" < "01.01.01" < "01.02" < "02": sorted by code, a node follows its parent.
    return tuple(themes[code] for code in sorted(themes))


def _walk(document: dict[Any, Any], origin: str) -> Iterator[Theme]:
    for first_text, seconds in document.items():
        first = _theme(first_text, None, origin)
        yield first
        for second_text, thirds in _children(seconds, dict, first, origin).items():
            second = _theme(second_text, first, origin)
            yield second
            for third_text in _children(thirds, list, second, origin):
                yield _theme(third_text, second, origin)


def _children(value: Any, shape: type[Any], parent: Theme, origin: str) -> Any:
    if not value and (value is None or isinstance(value, dict | list)):
        return shape()
    if not isinstance(value, shape):
        wanted = "a mapping of second-level themes" if shape is dict else "a list of third-level themes"
        raise SourceError(f"{origin}: below {parent.full_name!r} there should be {wanted}", hint=_SHAPE)
    return value


def _theme(value: Any, parent: Theme | None, origin: str) -> Theme:
    where = f"{origin}: below {parent.full_name!r}: " if parent else f"{origin}: "
    level = parent.level + 1 if parent else 1
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise SourceError(f"{where}{_number(value)}", hint='put it in quotes and add its label: "01.01 - Label"')
    if not isinstance(value, str):
        raise SourceError(f"{where}{value!r} is not a text", hint=_SHAPE)
    code, separator, label = (part.strip() if part != _SEPARATOR else part for part in value.partition(_SEPARATOR))
    if not separator or not label:
        raise SourceError(f"{where}{value!r} has no label", hint="write it as <code> - <label>")
    if not _CODE.fullmatch(code):
        raise SourceError(
            f"{where}{value!r}: {code!r} is not a code", hint="each part has two digits: 01, 01.01, 01.01.01"
        )
    if code.count(".") + 1 != level:
        raise SourceError(f"{where}{value!r} stands on level {level}, where codes have the form {_FORMS[level]}")
    if parent and not code.startswith(f"{parent.code}."):
        raise SourceError(f"{where}{value!r}: the code does not begin with its parent's code {parent.code}")
    return Theme(code=code, label=label, level=level, parent_code=parent.code if parent else None)


def _refuse_other_files(document: Any, origin: str) -> None:
    """Raise for everything that is not a nested mapping of strings, saying what it looks like.

    The database of the team was once filled from a wrong one of these files, and every theme of 22.* and 23.* was
    lost: so they are refused even where their codes would fit.
    """
    if isinstance(document, dict):
        if isinstance(document.get("themes"), list):
            raise _wrong_file(
                document["themes"],
                f"{origin} looks like themes_tree_enriched.yaml (a list under the top key `themes`): it numbers the "
                "themes anew (its 22 is Minorias, its 23 Habitação), so its codes clash with those of the dataset",
            )
        if not document:
            raise SourceError(f"{origin} holds no theme", hint=_SHAPE)
        if {"themes", "sources", "agencies"} & {key for key in document if isinstance(key, str)}:
            keys = ", ".join(repr(key) for key in list(document)[:5])
            raise SourceError(f"{origin} has the top keys {keys}, not themes", hint=_SHAPE)
        return
    if isinstance(document, list) and any(isinstance(node, dict) and "code" in node for node in document):
        codes = {str(node.get("code", ""))[:2] for node in document if isinstance(node, dict)}
        missing = " and ".join(f"{code}.*" for code in ("22", "23") if code not in codes)
        flaw = f"it lacks all of {missing}, which the dataset has" if missing else "only the nested mapping is read"
        raise _wrong_file(document, f"{origin} looks like themes_tree_enriched_full.yaml (a list of nodes): {flaw}")
    raise SourceError(f"{origin} holds a {type(document).__name__}, not a mapping of themes", hint=_SHAPE)


def _wrong_file(nodes: list[Any], reason: str) -> SourceError:
    number = next(_codes_read_as_numbers(nodes, 1), None)
    if number is not None:
        reason = f"{reason}; besides, its code {_number(number)}"
    return SourceError(reason, hint=_USE_TREE)


def _codes_read_as_numbers(nodes: Any, level: int) -> Iterator[int | float]:
    """Yield the codes that YAML did not leave as text, however the nodes are nested below `children`."""
    if not isinstance(nodes, list) or level > _DEEPEST_LEVEL:
        return
    for node in nodes:
        if isinstance(node, dict):
            if isinstance(code := node.get("code"), int | float):
                yield code
            yield from _codes_read_as_numbers(node.get("children"), level + 1)


def _number(value: float) -> str:
    return f"{value!r} was read as a number: YAML takes an unquoted code such as 01.01 for 1.01 and its zeros are lost"
