"""The language of `filter_by`: read once, then asked of each document.

    filter_by := or;  or := and ("||" and)*;  and := one ("&&" one)*;  one := "(" or ")" | field ":" [operator] values

Values may be quoted by backticks; a list stands in brackets, a range of numbers is `[1..9]` or an item of a list.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from dev.stand_in import RefusalError
from dev.typesense_server.schema import Field
from dev.typesense_server.words import words

__all__ = ["Document", "Predicate", "parse_filter"]

Document = Mapping[str, Any]
Predicate = Callable[[Document], bool]

_OPERATOR = re.compile(r"\s*(:=|:!=|:!|:>=|:<=|:>|:<|:)\s*")
_FIELD = re.compile(r"\s*([^\s:()&|]+)(?=\s*:)")
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    ":>": operator.gt,
    ":>=": operator.ge,
    ":<": operator.lt,
    ":<=": operator.le,
}
_UNREADABLE = "Could not parse the filter query."


def parse_filter(text: str, fields: Mapping[str, Field]) -> Predicate:
    """Read a filter; RefusalError if it cannot be read (400) or names a field that there is not (404)."""
    if not text.strip():
        return lambda _: True
    reader = _Reader(text, fields)
    made = reader.any_of()
    if reader.rest().strip():
        raise RefusalError(400, _UNREADABLE)
    return made


class _Reader:
    def __init__(self, text: str, fields: Mapping[str, Field]) -> None:
        self._text = text
        self._fields = fields
        self._at = 0

    def rest(self) -> str:
        return self._text[self._at :]

    def any_of(self) -> Predicate:
        ones = [self._all_of()]
        while self._takes("||"):
            ones.append(self._all_of())
        return ones[0] if len(ones) == 1 else lambda document: any(one(document) for one in ones)

    def _all_of(self) -> Predicate:
        ones = [self._one()]
        while self._takes("&&"):
            ones.append(self._one())
        return ones[0] if len(ones) == 1 else lambda document: all(one(document) for one in ones)

    def _one(self) -> Predicate:
        if self._takes("("):
            made = self.any_of()
            if not self._takes(")"):
                raise RefusalError(400, _UNREADABLE)
            return made
        name = _FIELD.match(self._text, self._at)
        if name is None:
            raise RefusalError(400, _UNREADABLE)
        its = _OPERATOR.match(self._text, name.end())
        if its is None:
            raise RefusalError(400, _UNREADABLE)
        self._at = its.end()
        return _clause(name[1], its[1], self._value(), self._fields)

    def _takes(self, token: str) -> bool:
        rest = self.rest()
        stripped = rest.lstrip()
        if not stripped.startswith(token):
            return False
        self._at += len(rest) - len(stripped) + len(token)
        return True

    def _value(self) -> str:
        """Read on to the end of a value: an operator or a closing parenthesis outside of quotes and brackets."""
        start, quoted, depth = self._at, False, 0
        while self._at < len(self._text):
            letter = self._text[self._at]
            if letter == "`":
                quoted = not quoted
            elif not quoted:
                depth += {"[": 1, "]": -1}.get(letter, 0)
                if depth == 0 and (letter in "()" or self._text.startswith(("&&", "||"), self._at)):
                    break
            self._at += 1
        value = self._text[start : self._at].strip()
        if quoted or depth or not value:
            raise RefusalError(400, "Error with filter field: the value is empty or does not end.")
        return value


def _clause(name: str, its: str, raw: str, fields: Mapping[str, Field]) -> Predicate:
    values = _items(raw[1:-1]) if raw.startswith("[") and raw.endswith("]") else [raw]
    if name == "id":
        return _on_id(its, [_unquoted(value) for value in values])
    made = fields.get(name)
    if made is None:
        raise RefusalError(404, f"Could not find a filter field named `{name}` in the schema.")
    if made.num_dim:
        raise RefusalError(404, f"Cannot filter on vector field `{name}`.")
    if not made.index:
        raise RefusalError(400, f"Cannot filter on non-indexed field `{name}`.")
    if made.is_text:
        fits = _text_test(made, its, [_unquoted(value) for value in values])
    elif made.kind == "bool":
        fits = _bool_test(made, its, [_unquoted(value) for value in values])
    else:
        fits = _number_test(made, its, [_unquoted(value) for value in values])
    if its in {":!=", ":!"}:
        return lambda document: not any(map(fits, _values(document, name)))  # who has no value is not that value either
    return lambda document: any(map(fits, _values(document, name)))


def _values(document: Document, name: str) -> list[Any]:
    value = document.get(name)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _items(text: str) -> list[str]:
    """Divide a list at the commas outside of quotes."""
    items, quoted, start = [], False, 0
    for at, letter in enumerate(text):
        if letter == "`":
            quoted = not quoted
        elif letter == "," and not quoted:
            items.append(text[start:at].strip())
            start = at + 1
    return [item for item in (*items, text[start:].strip()) if item]


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value.startswith("`") and value.endswith("`")
    return value[1:-1] if quoted else value


def _on_id(its: str, wanted: list[str]) -> Predicate:
    if wanted == ["*"]:
        return lambda _: True
    if its not in {":=", ":", ":!=", ":!"}:
        raise RefusalError(400, "Error with filter field `id`: only equality can be asked.")
    chosen = frozenset(wanted)
    if its in {":!=", ":!"}:
        return lambda document: document["id"] not in chosen
    return lambda document: document["id"] in chosen


def _text_test(made: Field, its: str, wanted: list[str]) -> Callable[[Any], bool]:
    if its in _ORDERS:
        raise RefusalError(400, f"Error with filter field `{made.name}`: texts have no order to filter by.")
    if its in {":=", ":!="}:
        exact = frozenset(words(value) for value in wanted if not value.endswith("*"))
        beginnings = [words(value[:-1]) for value in wanted if value.endswith("*")]
        return lambda value: words(value) in exact or any(_begins(words(value), these) for these in beginnings)
    sought = [words(value) for value in wanted]
    return lambda value: any(_has(words(value), these) for these in sought)


def _begins(here: tuple[str, ...], beginning: tuple[str, ...]) -> bool:
    if not beginning:
        return True
    *whole, last = beginning
    at = len(whole)
    return here[:at] == tuple(whole) and len(here) > at and here[at].startswith(last)


def _has(here: tuple[str, ...], sought: tuple[str, ...]) -> bool:
    """Say whether words stand somewhere in a text, one behind the other."""
    size = len(sought)
    return bool(size) and any(here[at : at + size] == sought for at in range(len(here) - size + 1))


def _bool_test(made: Field, its: str, wanted: list[str]) -> Callable[[Any], bool]:
    if its in _ORDERS or not {"true", "false"}.issuperset(wanted):
        raise RefusalError(400, f"Value of filter field `{made.name}`: must be `true` or `false`.")
    chosen = {value == "true" for value in wanted}
    return lambda value: value in chosen


def _number_test(made: Field, its: str, wanted: list[str]) -> Callable[[Any], bool]:
    tests = [_one_number_test(made, its, value) for value in wanted]
    return lambda value: any(test(value) for test in tests)


def _one_number_test(made: Field, its: str, wanted: str) -> Callable[[Any], bool]:
    item = re.fullmatch(r"(>=|<=|>|<)?\s*(.+)", wanted)
    if item is None:
        raise RefusalError(400, f"Error with filter field `{made.name}`: {wanted}.")
    order = _ORDERS.get(f":{item[1]}" if item[1] else its)
    if ".." in item[2] and order is None:
        low, high = (_number(made, end) for end in item[2].split("..", 1))
        return lambda value: bool(low <= value <= high)
    number = _number(made, item[2])
    return (lambda value: order(value, number)) if order else (lambda value: bool(value == number))


def _number(made: Field, text: str) -> float:
    try:
        return float(text) if made.kind == "float" else int(text)
    except ValueError:
        wanted = {"float": "a float"}.get(made.kind, f"an {made.kind}")
        raise RefusalError(400, f"Error with filter field `{made.name}`: Not {wanted}.") from None
