"""Synonyms and overrides: in Typesense 27.1 they belong to a collection, so a new one has none of the old one's."""

from __future__ import annotations

from typing import Any

from data_platform.errors import StoreError
from data_platform.managers.typesense.session import NotFoundError, TypesenseSession

__all__ = ["KINDS", "bring_rules", "read_rules"]

#: Both are told as a list under their own name, and put one by one under their ids.
KINDS = ("synonyms", "overrides")


def read_rules(session: TypesenseSession, collection: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rules of a collection: (kind, id) -> rule.

    Raises:
        ConfigurationError: the key may not see them.
        StoreError, StoreUnavailableError: the service refuses, or does not answer.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for kind in KINDS:
        try:
            listed = session.json("GET", "collections", collection, kind)[kind]
        except NotFoundError:  # from 30 on they lie elsewhere, for all collections
            continue
        for rule in listed:
            # A root that was never given is told as "".
            found[kind, str(rule["id"])] = {name: value for name, value in rule.items() if name != "id" and value != ""}
    return found


def bring_rules(session: TypesenseSession, source: str, target: str) -> int:
    """Put the rules of one collection into another one, in place of those with the same ids; return how many.

    Raises:
        ConfigurationError: the key may not see or write them.
        StoreError: one is refused; names it.
        StoreUnavailableError: the service does not answer.
    """
    rules = read_rules(session, source)
    for (kind, its), rule in rules.items():
        try:
            session.json("PUT", "collections", target, kind, its, send=rule)
        except StoreError as error:
            raise StoreError(
                f"{error.message}: {kind} {its!r} of {source} was not brought over, so {target} is not shown",
                hint=f"mend or delete it in {source}, and run it again: it goes on here",
            ) from error
    return len(rules)
