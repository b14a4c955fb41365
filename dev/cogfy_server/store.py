"""What Cogfy's stand-in holds: collections with fields and records, in memory, and what their models write."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from dev.stand_in import RefusalError

__all__ = ["Answer", "BadRequestError", "CogfyStore", "Collection", "Property"]

#: What stands in a field: {"type": "text", "text": {"value": "…"}}.
Property = dict[str, Any]
_VALUES: Mapping[str, type | tuple[type, ...]] = {
    "text": str,
    "date": str,
    "number": (int, float),
    "boolean": bool,
    "select": list,
}
_COMPUTED = {
    "theme_1_level_1": "select",
    "theme_1_level_2": "text",
    "theme_1_level_3": "text",
    "summary": "text",
}


class BadRequestError(RefusalError):
    """What is sent cannot be used; answered with 400."""

    def __init__(self, message: str) -> None:
        super().__init__(HTTPStatus.BAD_REQUEST, message)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the models write for a record; None leaves a cell empty for ever.

    Attributes:
        level_1: label of an option, as "01 - Economia e Finanças"; one that is none is not chosen.
        level_2: any text.
        level_3: any text.
        summary: any text.
    """

    level_1: str | None = None
    level_2: str | None = None
    level_3: str | None = None
    summary: str | None = None


#: Text cells of a record by the name of their field -> what the models write.
Answers = Callable[[Mapping[str, str]], Answer]


@dataclass
class _Record:
    id: str
    properties: dict[str, Property]
    created_at: float
    looks: int = 0
    computed: dict[str, Property] = field(default_factory=dict)


@dataclass
class Collection:
    """A table of records.

    Attributes:
        id: its id.
        name: its name.
        fields: id -> field as the API gives it.
        records: in the order in which they came.
    """

    id: str
    name: str
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    records: list[_Record] = field(default_factory=list)

    def field_named(self, name: str) -> dict[str, Any]:
        """Return the first field of a name; KeyError if there is none."""
        for made in self.fields.values():
            if made["name"] == name:
                return made
        raise KeyError(name)

    def texts(self, record: _Record) -> dict[str, str]:
        """Return what was uploaded: name of a field -> value."""
        return {self.fields[its]["name"]: str(cell[cell["type"]]["value"]) for its, cell in record.properties.items()}

    def uploaded(self) -> list[dict[str, str]]:
        """Return all that was uploaded."""
        return [self.texts(record) for record in self.records]


class CogfyStore:
    """All collections.

    Attributes:
        answers: what the models write.
        ready_after_s: seconds from a record's creation until its cells are filled.
        ready_after_looks: how often a record must have been read before its cells are filled; for tests without clocks.
        part_by_part: fill one cell with each look, the first level first, as models that work one by one do.
        label_in_cell: whether a select's cell has the label of its option beside the id, as it has at times.
        clock: tells seconds.
    """

    def __init__(self, answers: Answers, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.answers = answers
        self.ready_after_s = 0.0
        self.ready_after_looks = 0
        self.part_by_part = False
        self.label_in_cell = False
        self.clock = clock
        self.collections: dict[str, Collection] = {}
        self.lock = threading.RLock()

    def create_collection(
        self, name: str, *, options: Sequence[str], types: Mapping[str, str] | None = None, computed: bool = True
    ) -> Collection:
        """Make a collection with the cells that models fill.

        Args:
            name: its name; several may have one.
            options: labels of the first level.
            types: further fields, name -> type.
            computed: whether it has the cells that models fill.
        """
        made = Collection(str(uuid4()), name)
        self.collections[made.id] = made
        for its, kind in (_COMPUTED if computed else {}).items():
            listed = options if kind == "select" else ()
            self.create_field(made, its, kind, options=listed, operation={"type": "model"})
        for its, kind in (types or {}).items():
            self.create_field(made, its, kind)
        return made

    def create_field(
        self,
        collection: Collection,
        name: str,
        kind: str,
        *,
        options: Sequence[str] = (),
        operation: Mapping[str, str] | None = None,
    ) -> str:
        """Make a field and return its id; two may have one name."""
        if kind not in _VALUES:
            raise BadRequestError(f"unknown type {kind}")
        made: dict[str, Any] = {"id": str(uuid4()), "name": name, "type": kind, "data": {kind: {}}}
        if kind == "select":
            made["data"]["select"]["options"] = [{"id": str(uuid4()), "label": label} for label in options]
        if operation:
            made["operation"] = dict(operation)
        collection.fields[made["id"]] = made
        return str(made["id"])

    def create_record(self, collection: Collection, properties: Mapping[str, Any]) -> str:
        """Make a record and return its id; nothing here keeps one article from coming twice."""
        for its, cell in properties.items():
            made = collection.fields.get(its)
            kind = made["type"] if made else None
            given = cell.get("type") if isinstance(cell, dict) else None
            if kind is None or given != kind or not isinstance(_value(cell), _VALUES[kind]):
                raise BadRequestError(f"property {its} does not fit a field of type {kind}")
            if kind == "date":
                _instant(_value(cell))
        record = _Record(str(uuid4()), dict(properties), self.clock())
        with self.lock:
            collection.records.append(record)
        return record.id

    def read(self, collection: Collection, record: _Record) -> dict[str, Any]:
        """Return a record as the API gives it, its cells filled as far as they are by now."""
        with self.lock:
            record.looks += 1
            waited = self.clock() - record.created_at >= self.ready_after_s
            if waited and record.looks > self.ready_after_looks and not record.computed:
                record.computed = self._computed(collection, record)
            shown = record.computed
            if self.part_by_part:
                shown = dict(list(shown.items())[: record.looks - self.ready_after_looks])
            return {"id": record.id, "properties": {**record.properties, **shown}}

    def _computed(self, collection: Collection, record: _Record) -> dict[str, Property]:
        answer = self.answers(collection.texts(record))
        said = (answer.level_1, answer.level_2, answer.level_3, answer.summary)
        cells: dict[str, Property] = {}
        for name, text in zip(_COMPUTED, said, strict=True):
            made = collection.field_named(name)
            if text is None:
                continue
            if made["type"] != "select":
                cells[made["id"]] = {"type": "text", "text": {"value": text}}
                continue
            chosen = [option for option in made["data"]["select"]["options"] if option["label"] == text]
            keys = ("id", "label") if self.label_in_cell else ("id",)
            value = [{key: option[key] for key in keys} for option in chosen]
            cells[made["id"]] = {"type": "select", "select": {"value": value}}
        return cells


def matching(collection: Collection, wanted: Mapping[str, Any]) -> list[_Record]:
    """Return the records that pass a filter, which is an `and` over others."""
    if wanted.get("type") != "and" or not isinstance(wanted.get("and"), dict):
        raise BadRequestError("filter must be an and")
    conditions = [_condition(collection, one) for one in wanted["and"].get("filters", ())]
    return [record for record in collection.records if all(_holds(record, *one) for one in conditions)]


def sort_key(record: _Record, field_id: str) -> str:
    """Return what records are ordered by; those without a value come first."""
    cell = record.properties.get(field_id)
    return str(_value(cell)) if cell else ""


def _condition(collection: Collection, condition: Mapping[str, Any]) -> tuple[str, dict[str, Any], Any]:
    """Return (kind, field, value) of a condition."""
    kind = condition.get("type", "")
    told = condition.get(kind)
    if kind not in {"equals", "greaterThanOrEquals", "lessThanOrEquals"} or not isinstance(told, dict):
        raise BadRequestError(f"unknown filter {kind!r}")
    made = collection.fields.get(str(told.get("fieldId")))
    if made is None:
        raise BadRequestError(f"unknown field {told.get('fieldId')!r}")
    value = told.get("value")
    return kind, made, _instant(value) if made["type"] == "date" else value


def _holds(record: _Record, kind: str, made: Mapping[str, Any], there: Any) -> bool:  # noqa: ANN401 - whatever is sent
    cell = record.properties.get(made["id"])
    if cell is None:
        return False
    here = _instant(_value(cell)) if made["type"] == "date" else _value(cell)
    if kind == "equals":
        return bool(here == there)
    return bool(here >= there) if kind == "greaterThanOrEquals" else bool(here <= there)


def _value(cell: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever is sent
    inner = cell.get(cell.get("type", ""))
    return inner.get("value") if isinstance(inner, dict) else None


def _instant(text: object) -> datetime:
    """Read a date; one without a zone is refused, so that nobody's local hours pass for UTC unseen."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        raise BadRequestError(f"{text!r} is no date") from None
    if found.tzinfo is None:
        raise BadRequestError(f"{text!r} has no zone")
    return found
