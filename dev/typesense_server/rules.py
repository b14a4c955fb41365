"""What stands beside the documents of a collection in Typesense's stand-in: its synonyms and overrides.

They are kept and told, as 27.1 does; searches here heed neither.
"""

from __future__ import annotations

from typing import Any

from dev.stand_in import RefusalError
from dev.typesense_server.store import Collection

__all__ = ["KINDS", "on_rules"]

KINDS = ("synonyms", "overrides")


def on_rules(collection: Collection, kind: str, method: str, its: tuple[str, ...], sent: object) -> dict[str, Any]:
    """Answer a request about the rules of a kind.

    Args:
        collection: whose.
        kind: `synonyms` or `overrides`.
        method: of the request.
        its: the id, if the address has one.
        sent: the body.

    Raises:
        RefusalError: there is no such rule or request, or the body is none.
    """
    rules = collection.rules[kind]
    match (method, *its):
        case ("GET",):
            return {kind: [_shown(kind, rule) for rule in rules.values()]}
        case ("GET", name) if name in rules:
            return _shown(kind, rules[name])
        case ("PUT", name):
            rules[name] = _checked(kind, sent) | {"id": name}
            return rules[name]
        case ("DELETE", name) if name in rules:
            del rules[name]
            return {"id": name}
    raise RefusalError(404, "Not Found")


def _checked(kind: str, sent: object) -> dict[str, Any]:
    if not isinstance(sent, dict):
        raise RefusalError(400, "Bad JSON.")
    words = sent.get("synonyms")
    if kind == "synonyms" and not (isinstance(words, list) and words and all(isinstance(word, str) for word in words)):
        raise RefusalError(400, "Could not find a valid string array of `synonyms`")
    if kind == "overrides" and not isinstance(sent.get("rule"), dict):
        raise RefusalError(400, "Missing `rule` definition.")
    return dict(sent)


def _shown(kind: str, rule: dict[str, Any]) -> dict[str, Any]:
    """Return a rule as it is told: what was left out has its default."""
    return {"root": "", **rule} if kind == "synonyms" else {"includes": [], "excludes": [], **rule}
