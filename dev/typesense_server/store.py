"""What Typesense's stand-in holds: collections with documents, and aliases."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from dev.stand_in import RefusalError, parse_json
from dev.typesense_server.filters import Predicate
from dev.typesense_server.schema import Field, InvalidDocumentError, checked_fields

__all__ = ["Collection", "FailingDocument", "TypesenseStore"]

_ACTIONS = {"create", "upsert", "update", "emplace"}
_DIRTY_VALUES = {"coerce_or_reject", "coerce_or_drop", "drop", "reject"}


@dataclass
class FailingDocument:
    """What a document is refused with when it is written.

    Attributes:
        code: the line's code.
        error: the line's error.
        times: how often.
    """

    code: int = 400
    error: str = "planted by a test"
    times: int = 1_000_000


@dataclass
class Collection:
    """Documents of one schema.

    Attributes:
        name: its name.
        fields: name -> field.
        default_sorting_field: "" if there is none.
        metadata: whatever its maker told; None: nothing.
        documents: id -> document, never changed but replaced.
        counted: how many documents a sink took.
        created_at: Unix seconds.
        options: what else was declared.
        rules: `synonyms` and `overrides`, each id -> rule.
    """

    name: str
    fields: dict[str, Field]
    default_sorting_field: str = ""
    metadata: dict[str, Any] | None = None
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    counted: int = 0
    created_at: int = field(default_factory=lambda: int(time.time()))
    options: dict[str, Any] = field(default_factory=dict)
    rules: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {"synonyms": {}, "overrides": {}})
    _numbers: count[int] = field(default_factory=count)

    def summary(self) -> dict[str, Any]:
        """Return what the API tells of it."""
        told = {
            "created_at": self.created_at,
            "default_sorting_field": self.default_sorting_field,
            "enable_nested_fields": False,
            "fields": [dict(made.told) for made in self.fields.values()],
            "name": self.name,
            "num_documents": len(self.documents) + self.counted,
            "symbols_to_index": [],
            "token_separators": [],
            **self.options,
        }
        return told | ({} if self.metadata is None else {"metadata": self.metadata})

    def write(self, sent: object, action: str, dirty_values: str = "reject") -> dict[str, Any]:
        """Write a document and return it as it is now; InvalidDocumentError if it cannot be taken."""
        if not isinstance(sent, dict):
            raise InvalidDocumentError(400, "Bad JSON: not a properly formed document.")
        its = sent.get("id")
        if its is None and "id" not in sent and action != "update":
            its = str(next(self._numbers))
        if not isinstance(its, str):
            raise InvalidDocumentError(400, "Document's `id` field should be a string.")
        if not its:
            raise InvalidDocumentError(400, "Document's `id` field should not be empty.")
        there = self.documents.get(its)
        if there is not None and action == "create":
            raise InvalidDocumentError(409, f"A document with id {its} already exists.")
        if there is None and action == "update":
            raise InvalidDocumentError(404, f"Could not find a document with id: {its}")
        base = dict(there) if there is not None and action in {"update", "emplace"} else {}
        made = self._checked({**base, **sent, "id": its}, dirty_values)
        self.documents[its] = made
        return made

    def _checked(self, document: dict[str, Any], dirty_values: str) -> dict[str, Any]:
        for name, made in self.fields.items():
            value = document.get(name)
            if value is not None:
                kept = made.checked(value, dirty_values)
                if kept is not value:
                    document[name] = kept
            elif not made.optional and not made.type.endswith("*"):
                reason = f"Field `{name}` has been declared in the schema, but is not found in the document."
                raise InvalidDocumentError(400, reason)
        return {name: value for name, value in document.items() if value is not None}

    def alter(self, changes: Iterable[Mapping[str, Any]]) -> None:
        """Add and drop fields; all of it or nothing."""
        fields = dict(self.fields)
        for change in changes:
            name = str(change.get("name", ""))
            if change.get("drop") is True:
                if name not in fields:
                    raise RefusalError(400, f"Field `{name}` is not part of collection schema.")
                del fields[name]
                continue
            if name in fields:
                reason = "To change this field, drop it first before adding it back to the schema."
                raise RefusalError(400, f"Field `{name}` is already part of the schema: {reason}")
            fields |= checked_fields([change])
            self._fits_all(fields[name])
        self.fields = fields

    def _fits_all(self, made: Field) -> None:
        for document in self.documents.values():
            value = document.get(made.name)
            if value is None and not made.optional:
                reason = "but is not found in the documents already present in the collection."
                hint = "If you still want to add this field, set it as `optional: true`."
                raise RefusalError(400, f"Field `{made.name}` has been declared in the schema, {reason} {hint}")
            try:
                if value is not None:
                    made.checked(value, "reject")
            except InvalidDocumentError as error:
                reason = "Schema change is incompatible with the type of documents already stored in this collection."
                raise RefusalError(400, f"{reason} {error}") from None


class TypesenseStore:
    """All collections and aliases; its lock is held while one of them changes.

    Attributes:
        collections: name -> collection, oldest first.
        aliases: alias -> name of a collection, which need not be there.
        failing: id of a document -> what it is refused with, in whichever collection.
        shows_failed_documents: whether a refused line of an import carries the document even without `return_doc`, as
            the documentation has it; the source of v30 has not.
        lock: held for changes.
    """

    def __init__(self) -> None:
        self.collections: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}
        self.failing: dict[str, FailingDocument] = {}
        self.shows_failed_documents = False
        self.lock = threading.RLock()

    def create_collection(self, declared: object) -> Collection:
        """Make a collection as declared; RefusalError 400 or, if there is one of that name, 409."""
        if not isinstance(declared, Mapping):
            raise RefusalError(400, "Bad JSON.")
        told = dict(declared)
        name, sorting = told.pop("name", None), told.pop("default_sorting_field", "")
        if not isinstance(name, str) or not name:
            raise RefusalError(400, "Parameter `name` is required.")
        metadata = told.pop("metadata", None)
        if metadata is not None and not isinstance(metadata, dict):
            raise RefusalError(400, "The `metadata` value should be an object.")
        if "fields" not in told:
            raise RefusalError(400, "Parameter `fields` is required.")
        fields = checked_fields(told.pop("fields"))
        _check_sorting(sorting, fields)
        made = Collection(name, fields, sorting, metadata, options=told)
        with self.lock:
            if name in self.collections:
                raise RefusalError(409, f"A collection with name `{name}` already exists.")
            self.collections[name] = made
        return made

    def collection(self, name: str) -> Collection:
        """Return a collection by its name or an alias; RefusalError 404."""
        found = self.collections.get(name) or self.collections.get(self.aliases.get(name, ""))
        if found is None:
            raise RefusalError(404, "Not Found")
        return found

    def delete_collection(self, name: str) -> dict[str, Any]:
        """Drop a collection, also by an alias, which stays and then shows nothing; return what it was."""
        with self.lock:
            return self.collections.pop(self.collection(name).name).summary()

    def set_alias(self, alias: str, target: object) -> dict[str, str]:
        """Let an alias show a collection, at once."""
        if not isinstance(target, str) or not target:
            raise RefusalError(400, "Parameter `collection_name` is required.")
        with self.lock:
            if alias in self.collections:
                raise RefusalError(500, f"Name `{alias}` conflicts with an existing collection name.")
            self.aliases[alias] = target
        return {"collection_name": target, "name": alias}

    def write(self, collection: Collection, sent: object, action: str, dirty_values: str = "reject") -> dict[str, Any]:
        """Write a document, unless a test wants it refused."""
        with self.lock:
            failing = self.failing.get(sent["id"]) if self.failing and isinstance(sent, dict) and "id" in sent else None
            if failing is not None and failing.times > 0:
                failing.times -= 1
                raise InvalidDocumentError(failing.code, failing.error)
            return collection.write(sent, action, dirty_values)

    def import_lines(self, collection: Collection, body: bytes, query: Mapping[str, str]) -> bytes:
        """Write a document per line and return a line for each, in order, without a final newline."""
        write = self._writer(collection, query)
        with_id, with_document = (query.get(name) == "true" for name in ("return_id", "return_doc"))
        done = []
        for line in body.split(b"\n"):
            if not line.strip():
                continue
            told: dict[str, Any] = {"success": True}
            document: Any = None
            try:
                document = parse_json(line)
                document = write(document)
            except ValueError as error:
                document = line.decode(errors="replace")
                told = {"code": 400, "error": f"Bad JSON: {error}", "success": False}
            except InvalidDocumentError as error:
                told = {"code": error.code, "error": str(error), "success": False}
            if with_id and isinstance(document, dict) and "id" in document:
                told["id"] = document["id"]
            if with_document or (self.shows_failed_documents and not told["success"]):
                told["document"] = document if told["success"] else line.decode(errors="replace")
            done.append(_SUCCESS if len(told) == 1 else _line(told))
        return b"\n".join(done)

    def _writer(self, collection: Collection, query: Mapping[str, str]) -> Callable[[object], dict[str, Any]]:
        action, dirty = query.get("action", "create"), query.get("dirty_values", "reject").lower()
        if action not in _ACTIONS:
            raise RefusalError(400, "Parameter `action` must be a create|update|upsert|emplace.")
        if dirty not in _DIRTY_VALUES:
            raise RefusalError(400, "Parameter `dirty_values` is unknown.")
        batch = query.get("batch_size", "40")
        if not batch.isdigit() or int(batch) == 0:
            raise RefusalError(400, "Parameter `batch_size` must be a positive integer.")
        return lambda document: self.write(collection, document, action, dirty)

    def delete_documents(self, collection: Collection, fits: Predicate) -> int:
        """Delete the documents that pass a filter; return how many they were."""
        with self.lock:
            gone = [its for its, document in collection.documents.items() if fits(document)]
            for its in gone:
                del collection.documents[its]
        return len(gone)


_SUCCESS = b'{"success":true}'


def _line(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _check_sorting(name: object, fields: Mapping[str, Field]) -> None:
    if name == "":
        return
    made = fields.get(str(name))
    if made is None:
        raise RefusalError(400, f"Default sorting field is defined as `{name}` but is not found in the schema.")
    if made.optional:
        raise RefusalError(400, f"Default sorting field `{name}` cannot be an optional field.")
    if not made.sort:
        raise RefusalError(400, f"Default sorting field `{name}` is not a sortable type.")
