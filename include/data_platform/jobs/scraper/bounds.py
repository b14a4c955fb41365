"""Bounds on the markup of a page, kept before any parser sees it: how deep its elements lie, and how many they are.

A parser looks through the elements that are open for each new one, so that depth costs its square; and each element
takes memory whatever it holds. Both are bounded in one reading of the markup. Tags are taken out, text never is.
"""

from __future__ import annotations

import re
from collections import defaultdict

__all__ = ["BREAK", "INLINE", "shallow", "thinned"]

INLINE = frozenset(
    (
        *("a", "abbr", "b", "bdi", "cite", "code", "em", "font", "i", "ins", "mark", "q", "s", "small", "span"),
        *("strong", "sub", "sup", "u"),
    )
)
#: Stands where `thinned` took out what began a line: white space to all that do not ask, and in no page of its own.
BREAK = "\x1d\x1d"

#: Elements that `thinned` leaves before it takes out all that are without a name; twice as many with one.
_MOST = 100_000
#: A tag, or a comment that is not long. Possessive, so that one without its closing bracket costs no more than others.
_TAG = re.compile(rb"<(/?)([a-zA-Z][^\s/<>]*+)([^<>]*+)>|<!--.{0,300}?-->", re.DOTALL)
_NAMED = re.compile(rb"\b(?:id|class)\s*=", re.IGNORECASE)
_INLINE = frozenset(name.encode() for name in INLINE)
_VOID = frozenset(b"area base br col embed hr img input link meta param source track wbr".split())
#: Elements that stay open, and come back in every following paragraph, until they are closed themselves.
_FORMATTING = frozenset(b"a b big code em font i nobr s small strike strong tt u".split())
#: Elements whose end need not be written: what each of them closes when it begins.
_CLOSES: dict[bytes, frozenset[bytes]] = {
    b"p": frozenset((b"p",)),
    b"li": frozenset((b"li",)),
    b"dt": frozenset((b"dt", b"dd")),
    b"dd": frozenset((b"dt", b"dd")),
    b"option": frozenset((b"option",)),
    b"td": frozenset((b"td", b"th")),
    b"th": frozenset((b"td", b"th")),
    b"tr": frozenset((b"tr", b"td", b"th")),
    b"tbody": frozenset((b"thead", b"tbody", b"tr", b"td", b"th")),
}
_SEEN_THROUGH = _INLINE | {b"p"}
#: An end outside of these does not reach what lies in them.
_WALLS = frozenset(b"table td th caption button object template svg math select".split())
_CELLS = frozenset((b"td", b"th"))
_TABLE = _CELLS | frozenset(b"table thead tbody tfoot tr caption colgroup col".split())
#: What they hold is no text, and would become one without them.
_RAW = frozenset(b"script style noscript template title textarea iframe svg".split())


def shallow(markup: bytes, deepest: int) -> bytes:
    """Take out the elements that lie too deep; what they hold stays, a space where a block was.

    Args:
        markup: HTML in UTF-8.
        deepest: how many elements may lie in one another.

    Returns:
        The markup; the same object if nothing lies so deep.
    """
    if markup.count(b"<") <= deepest:
        return markup
    elements = _Open(deepest)
    left = bytearray()
    copied = 0
    for tag in _TAG.finditer(markup):
        name = (tag[2] or b"").lower()
        if not name or name in _VOID or (elements.end(name) if tag[1] else elements.begin(name)):
            continue
        left += markup[copied : tag.start()]
        if name not in _INLINE and not left.endswith(b" "):
            left += b" "
        copied = tag.end()
    return bytes(left + markup[copied:]) if copied else markup


class _Open:
    """The elements that are open at a place of a page, as near as it can be known without a parser.

    Where it errs, it thinks a place deeper than it is.
    """

    def __init__(self, deepest: int) -> None:
        self._deepest = deepest
        self._stack: list[bytes] = []
        self._formatting = 0
        #: For each name, whether the elements that are open were left in the page.
        self._left: defaultdict[bytes, list[bool]] = defaultdict(list)

    def begin(self, name: bytes) -> bool:
        """Take note of the beginning of an element; return whether it is left in the page."""
        if name == b"a" and self._left[name]:
            self.end(name)  # links do not lie in one another
        elif name in _CLOSES:
            self._close(_CLOSES[name])
        is_left = len(self._stack) + self._formatting < self._deepest
        self._left[name].append(is_left)
        if is_left and name in _FORMATTING:
            self._formatting += 1
        elif is_left:
            self._stack.append(name)
        return is_left

    def end(self, name: bytes) -> bool:
        """Take note of the end of an element; return whether it is left in the page."""
        if not self._left[name]:
            return True
        is_left = self._left[name].pop()
        if is_left and name in _FORMATTING:
            self._formatting -= 1
        elif is_left:
            for place in range(len(self._stack) - 1, -1, -1):
                if self._stack[place] == name:
                    del self._stack[place:]
                    break
                if self._stack[place] in _WALLS and name not in _TABLE:
                    break
        return is_left

    def _close(self, closed: frozenset[bytes]) -> None:
        first = len(self._stack)
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] in closed:
                first = place
            elif self._stack[place] not in _SEEN_THROUGH:
                break
        del self._stack[first:]


def thinned(markup: bytes) -> bytes:
    """Take out of a page with too many elements those that it can be read without, to be read as plain text.

    What makes up tables and sentences goes first; what has an id or a class goes last, since the parts of a page are
    found by them. A line or paragraph that loses its element is told by `BREAK`.

    Args:
        markup: HTML in UTF-8.
    """
    begins_paragraph = BREAK.encode()
    opened: defaultdict[bytes, list[bool]] = defaultdict(list)
    count = 0
    left = bytearray()
    copied = 0
    for tag in _TAG.finditer(markup):
        name = (tag[2] or b"").lower()
        if not name:
            if b"</" in tag[0]:
                continue  # it may be no comment, but in a script
        elif tag[1]:
            if opened[name].pop() if opened[name] else name in _RAW:
                continue
        else:
            is_left = name in _RAW or _is_left(name, tag[3], count)
            count += is_left
            if name not in _VOID:
                opened[name].append(is_left)
            if is_left:
                continue
        left += markup[copied : tag.start()]
        if name and name not in _INLINE:
            left += b" " if name in _CELLS else begins_paragraph
        copied = tag.end()
    return bytes(left + markup[copied:])


def _is_left(name: bytes, attributes: bytes, count: int) -> bool:
    if name in _TABLE:
        return False  # a table in part would throw its text out to before it
    is_named = _NAMED.search(attributes) is not None
    if name in _INLINE and not is_named:
        return False
    return count < (2 * _MOST if is_named else _MOST)
