"""The collections of an alias in Typesense: made, compared with what they should be, shown, dropped; and their cards.

Typesense 27.1 keeps nothing of ours beside a collection, so the cards are documents of a small collection of our own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from data_platform.errors import ConfigurationError, StoreError
from data_platform.managers.search_index import Card, generations
from data_platform.managers.typesense.rules import read_rules
from data_platform.managers.typesense.session import ExistsError, NotFoundError, TypesenseSession
from data_platform.models.search_document import FIELDS, OF_OTHERS, collection_schema

__all__ = ["CARDS", "TypesenseCollections"]

_LOG = logging.getLogger(__name__)
#: The collection that holds the cards of all aliases; a card's id is the name of its collection.
CARDS = "govbr_reindex"
_CARDS_SCHEMA = {"name": CARDS, "fields": [{"name": "alias", "type": "string"}]}
#: What of a field's declaration must be as we have it.
_COMPARED = ("type", "facet", "optional", "sort")
_OURS = frozenset(field.name for field in FIELDS) - frozenset(OF_OTHERS)


class TypesenseCollections:
    """The collections of one alias.

    Args:
        session: where they are.
        alias: the name that searches use.
        replace: whether a collection that has the alias's own name may be dropped for the alias.

    Raises:
        ConfigurationError: the alias is that of the cards.
    """

    def __init__(self, session: TypesenseSession, alias: str, *, replace: bool = False) -> None:
        if alias == CARDS:
            raise ConfigurationError(f"TYPESENSE_COLLECTION is {CARDS!r}, which is kept for the cards")
        self.session = session
        self.alias = alias
        self._replace = replace

    def live(self) -> str | None:
        """Return the collection that searches see; see `Index.live`."""
        target = self._target()
        if target is None:
            return self.alias if self._is_there(self.alias) else None
        if self._is_there(target):
            return target
        _LOG.warning("%s: the alias %s shows %s, which is not there", self.session, self.alias, target)
        return None

    def names(self) -> list[str]:
        """Return the collections that were made for the alias, oldest first."""
        listed = self.session.json_list("collections", query={"exclude_fields": "fields"})
        return generations(self.alias, [str(one["name"]) for one in listed])

    def create(self, collection: str, card: Card) -> None:
        """Make an empty collection; it gets the fields that others have added to the live one, too.

        Raises:
            ConfigurationError: the key may not do what `bring_rules` does hours later.
            StoreError, StoreUnavailableError: see `Index`.
        """
        live = self.live()
        if live is not None:
            read_rules(self.session, live)
        more = [] if live is None else [_declared(field) for field in self.fields_of_others(live)]
        try:
            self.session.json("POST", "collections", send=collection_schema(collection, more))
        except ExistsError:  # an answer was lost, and the request made again
            if self.count(collection):
                raise
        self.set_card(collection, card)

    def schema(self, collection: str) -> dict[str, Any]:
        """Return what the service tells of a collection."""
        return self.session.json("GET", "collections", collection)

    def fields_of_others(self, collection: str) -> list[dict[str, Any]]:
        """Return the declarations of the fields that are not written here."""
        return [field for field in self.schema(collection)["fields"] if field["name"] not in _OURS | {"id"}]

    def drift(self, collection: str) -> list[str]:
        """Say in which ways a collection's schema is not what it should be; what others added is no drift."""
        told = self.schema(collection)
        there = {field["name"]: field for field in told["fields"]}
        found = []
        for field in FIELDS:
            its = there.get(field.name)
            if its is None:
                found.append(f"{field.name} is missing")
            elif field.name not in OF_OTHERS:
                wanted = {name: getattr(field, name) for name in _COMPARED}
                found += [
                    f"{field.name}: {name} is {its.get(name)!r}, not {value!r}"
                    for name, value in wanted.items()
                    if its.get(name) != value
                ]
        if told.get("default_sorting_field") != "published_at":
            found.append(f"default_sorting_field is {told.get('default_sorting_field')!r}, not 'published_at'")
        return found

    def mend(self, collection: str) -> list[str]:
        """Add the fields that are missing and return their names; what differs otherwise stays as it is."""
        there = {field["name"] for field in self.schema(collection)["fields"]}
        missing = [field for field in FIELDS if field.name not in there and field.optional]
        if missing:
            fields = [field.to_dict() for field in missing]
            try:
                self.session.json("PATCH", "collections", collection, send={"fields": fields})
            except StoreError:
                there = {field["name"] for field in self.schema(collection)["fields"]}
                if any(field.name not in there for field in missing):  # else only an answer was lost
                    raise
        return [field.name for field in missing]

    def card(self, collection: str) -> Card | None:
        """Return what a collection says of itself."""
        try:
            told = self.session.json("GET", "collections", CARDS, "documents", collection)
        except NotFoundError:
            return None
        facts = json.loads(str(told.get("facts", "{}")))
        return Card(str(told["source"]), str(told.get("stamp", "")), bool(told.get("is_whole")), facts)

    def set_card(self, collection: str, card: Card) -> None:
        """Change what a collection says of itself."""
        document = {
            "id": collection,
            "alias": self.alias,
            "source": card.source,
            "stamp": card.stamp,
            "is_whole": card.is_whole,
            "facts": json.dumps(dict(card.facts), ensure_ascii=False, sort_keys=True),
        }
        path = ("collections", CARDS, "documents")
        try:
            self.session.json("POST", *path, send=document, query={"action": "upsert"})
        except NotFoundError:
            with suppress(ExistsError):  # another alias's job made it just now
                self.session.json("POST", "collections", send=_CARDS_SCHEMA)
            self.session.json("POST", *path, send=document, query={"action": "upsert"})

    def count(self, collection: str) -> int:
        """Return how many documents there are."""
        return int(self.schema(collection)["num_documents"])

    def point(self, collection: str) -> None:
        """Let the alias show a collection; see `Index.point`."""
        if not self._is_there(collection):
            raise StoreError(f"{self.session}: there is no collection {collection}", hint="rebuild it")
        if self._target() is None and self._is_there(self.alias):
            if not self._replace:
                raise StoreError(
                    f"{self.session}: a collection is called {self.alias}, so no alias can be",
                    hint="replace it, once: reindex typesense --full --replace-collection (docs/reindex.md)",
                )
            # Only here is a search without an answer: between these two requests.
            with suppress(NotFoundError):  # an answer was lost, and the request made again
                self.session.json("DELETE", "collections", self.alias)
        self.session.json("PUT", "aliases", self.alias, send={"collection_name": collection})
        with suppress(NotFoundError):  # the card of a collection that made room
            self.session.json("DELETE", "collections", CARDS, "documents", self.alias)

    def drop(self, collection: str) -> None:
        """Remove a collection and its card; see `Index.drop`."""
        if collection in {self.live(), self._target(), self.alias}:  # by the alias's name the live one would go
            raise StoreError(f"{collection} is what searches see", hint="point the alias to another one first")
        for path in (("collections", collection), ("collections", CARDS, "documents", collection)):
            try:
                self.session.json("DELETE", *path)
            except NotFoundError:
                _LOG.debug("%s is gone already", "/".join(path))

    def _target(self) -> str | None:
        try:
            return str(self.session.json("GET", "aliases", self.alias)["collection_name"])
        except NotFoundError:
            return None

    def _is_there(self, collection: str) -> bool:
        try:
            self.schema(collection)
        except NotFoundError:
            return False
        return True


def _declared(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the declaration of a field from what is told of it."""
    names: Sequence[str] = ("name", "type", "facet", "index", "infix", "locale", "sort", "stem", "store")
    declared = {name: told[name] for name in names if name in told}
    declared |= {name: told[name] for name in ("num_dim", "vec_dist") if told.get(name)}
    return {**declared, "optional": True}  # its writer comes after ours
