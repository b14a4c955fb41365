"""Fields of a collection of Typesense's stand-in: what may be declared, and which values a document may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dev.stand_in import RefusalError

__all__ = ["Field", "InvalidDocumentError", "checked_fields"]

_SCALARS = ("string", "int32", "int64", "float", "bool")
_TYPES = {*_SCALARS, *(f"{kind}[]" for kind in _SCALARS), "object", "object[]", "string*", "auto"}
_INT_RANGE = {"int32": 1 << 31, "int64": 1 << 63}
_WORDS = {"string": "a string", "int32": "an int32", "int64": "an int64", "float": "a float", "bool": "a bool"}


class InvalidDocumentError(Exception):
    """A document cannot be taken; the code stands in its line of an import's answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Field:
    """A declared field.

    Attributes:
        name: its name.
        type: as declared, such as `string[]`.
        facet: whether it may be counted and grouped by.
        sort: whether results may be sorted by it.
        optional: whether a document may lack it.
        index: whether it may be searched and filtered.
        num_dim: length that a vector must have; 0 for other fields.
        told: all that was declared, with the server's defaults.
    """

    name: str
    type: str
    facet: bool
    sort: bool
    optional: bool
    index: bool
    num_dim: int
    told: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Type of a value, or of one of several."""
        return self.type.removesuffix("[]").removesuffix("*")

    @property
    def is_array(self) -> bool:
        """Whether it holds several values."""
        return self.type.endswith("[]")

    @property
    def is_text(self) -> bool:
        """Whether it holds text."""
        return self.kind in {"string", "auto"}

    def checked(self, value: Any, dirty_values: str) -> Any:  # noqa: ANN401 - JSON
        """Return the value to keep; None if it is dropped; InvalidDocumentError if it does not fit."""
        if self.kind in {"auto", "object"} or (self._fits(value) and not dirty_values.startswith("coerce")):
            return value
        try:
            return self._coerced(value) if dirty_values.startswith("coerce") else self._refused()
        except InvalidDocumentError:
            if dirty_values in {"drop", "coerce_or_drop"} and self.optional:
                return None
            raise

    def _fits(self, value: Any) -> bool:  # noqa: ANN401 - JSON
        if not self.is_array:
            return self._fits_one(value)
        if not isinstance(value, list) or not all(self._fits_one(one) for one in value):
            return False
        if self.num_dim and len(value) != self.num_dim:
            raise InvalidDocumentError(400, f"Field `{self.name}` must have {self.num_dim} dimensions.")
        return True

    def _fits_one(self, value: Any) -> bool:  # noqa: ANN401 - JSON
        if self.kind == "string":
            return isinstance(value, str)
        if self.kind == "bool":
            return isinstance(value, bool)
        if isinstance(value, bool):
            return False
        if self.kind == "float":
            return isinstance(value, (int, float))
        if not isinstance(value, int):
            return False
        if not -_INT_RANGE[self.kind] <= value < _INT_RANGE[self.kind]:
            raise InvalidDocumentError(400, f"Field `{self.name}` exceeds maximum value of {self.kind}.")
        return True

    def _coerced(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        if self._fits(value):
            return value
        if self.is_array:
            one = value if isinstance(value, list) else [value]
            return [self._coerced_one(each) for each in one]
        return self._coerced_one(value)

    def _coerced_one(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        if self._fits_one(value):
            return value
        try:
            if self.kind == "string" and isinstance(value, (bool, int, float)):
                return str(value).lower() if isinstance(value, bool) else str(value)
            if self.kind == "bool" and value in {"true", "false", 0, 1}:
                return value in {"true", 1}
            if self.kind in _INT_RANGE and isinstance(value, (str, float, bool)):
                return int(value)
            if self.kind == "float" and isinstance(value, (str, bool)):
                return float(value)
        except (TypeError, ValueError):
            pass
        return self._refused()

    def _refused(self) -> Any:  # noqa: ANN401 - never returns
        several = "an array of " + _WORDS[self.kind].split()[1] if self.is_array else _WORDS[self.kind]
        raise InvalidDocumentError(400, f"Field `{self.name}` must be {several}.")


def checked_fields(declared: object) -> dict[str, Field]:
    """Return the fields of a declaration, name -> field; RefusalError if it cannot be used."""
    if not isinstance(declared, list) or not all(isinstance(one, Mapping) for one in declared):
        raise RefusalError(400, "The `fields` value should be an array of objects.")
    fields = [_checked(one) for one in declared if one.get("name") != "id"]  # `id` is always there
    names = [made.name for made in fields]
    for name in names:
        if names.count(name) > 1:
            raise RefusalError(400, f"There are duplicate field names in the schema: `{name}`.")
    return {made.name: made for made in fields}


def _checked(declared: Mapping[str, Any]) -> Field:
    name, kind = declared.get("name"), declared.get("type")
    if not isinstance(name, str) or not name:
        raise RefusalError(
            400, "Wrong format for `fields`. It should be an array of objects containing `name`, `type`."
        )
    if not isinstance(kind, str) or kind not in _TYPES:
        raise RefusalError(400, f"Field `{name}` has an invalid data type `{kind}`, see docs for supported data types.")
    for flag in ("facet", "optional", "sort", "index", "store", "infix", "stem"):
        if not isinstance(declared.get(flag, False), bool):
            raise RefusalError(400, f"The `{flag}` property of the field `{name}` should be a boolean.")
    dimensions = declared.get("num_dim", 0)
    if dimensions and kind != "float[]":
        raise RefusalError(400, "Property `num_dim` is only allowed on a float array field.")
    if not isinstance(dimensions, int) or dimensions < 0:
        raise RefusalError(400, "Property `num_dim` must be a positive integer.")
    is_sorted = declared.get("sort", kind in {"int32", "int64", "float", "bool"})
    if is_sorted and (kind.endswith("[]") or kind in {"object", "auto", "string*"}):
        is_sorted = False
    told = {
        "facet": declared.get("facet", False),
        "index": declared.get("index", True),
        "infix": declared.get("infix", False),
        "locale": declared.get("locale", ""),
        "name": name,
        "optional": declared.get("optional", False),
        "sort": is_sorted,
        "stem": declared.get("stem", False),
        "store": declared.get("store", True),
        "type": kind,
    }
    if dimensions:
        told |= {"num_dim": dimensions, "vec_dist": declared.get("vec_dist", "cosine")}
    if not told["index"] and not told["optional"]:
        raise RefusalError(400, f"Field `{name}` must be optional when `index` is false.")
    return Field(name, kind, told["facet"], is_sorted, told["optional"], told["index"], dimensions, told)
