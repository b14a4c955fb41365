"""Searches of Typesense's stand-in: which documents are found, in which order, grouped and counted how."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from dev.stand_in import RefusalError
from dev.typesense_server.filters import Document, parse_filter
from dev.typesense_server.schema import Field
from dev.typesense_server.store import Collection
from dev.typesense_server.words import words

__all__ = ["Query", "search", "shown"]

#: Parameters of a search; those of an address are all text, those of a JSON body may be numbers or flags.
Query = Mapping[str, Any]
_MOST_HITS = 250
_MOST_SORTS = 3
_MOST_IN_GROUP = 99
_EVERYTHING = ("*", "")


def search(collection: Collection, query: Query) -> dict[str, Any]:
    """Return what a search is answered with; RefusalError if it cannot be carried out."""
    if query.get("vector_query"):
        raise RefusalError(400, "The stand-in knows no vectors: `vector_query` needs a real server.")
    fields = collection.fields
    asked = str(query.get("q", ""))
    documents = list(collection.documents.values())
    fits = parse_filter(str(query.get("filter_by") or ""), fields)
    matches = _matcher(asked, _listed(query, "query_by"), fields)
    facets = [_facet_field(name, fields) for name in _listed(query, "facet_by")]
    groups = [_group_field(name, fields) for name in _listed(query, "group_by")]
    order = _order(str(query.get("sort_by") or ""), collection)
    first, size = _page(query)
    found = order([document for document in documents if fits(document) and matches(document)])
    answer: dict[str, Any] = {
        "facet_counts": [_counts(made, found, query) for made in facets],
        "found": len(found),
        "out_of": len(documents),
        "page": first // size + 1 if size else 1,
        "request_params": {"collection_name": collection.name, "first_q": asked, "per_page": size, "q": asked},
        "search_cutoff": False,
        "search_time_ms": 0,
    }
    hit = _hits(query, is_text=asked not in _EVERYTHING)
    if groups:
        grouped = _grouped(found, [made.name for made in groups], _in_group(query))
        answer |= {"found": len(grouped), "found_docs": len(found), "grouped_hits": []}
        for key, count, these in grouped[first : first + size]:
            answer["grouped_hits"].append({"found": count, "group_key": key, "hits": [hit(one) for one in these]})
    else:
        answer["hits"] = [hit(document) for document in found[first : first + size]]
    return answer


def shown(document: Document, query: Query) -> dict[str, Any]:
    """Return the fields of a document that `include_fields` and `exclude_fields` leave."""
    included, excluded = _listed(query, "include_fields"), set(_listed(query, "exclude_fields"))
    names = [name for name in document if not included or name in included]
    return {name: document[name] for name in names if name not in excluded}


def _listed(query: Query, name: str) -> list[str]:
    """Return the items of a parameter that is a list with commas."""
    told = query.get(name) or ""
    items = told if isinstance(told, list) else str(told).split(",")
    return [item.strip() for item in items if item.strip()]


def _number(query: Query, name: str, default: int) -> int:
    told = query.get(name, default)
    try:
        number = int(told)
    except (TypeError, ValueError):
        raise RefusalError(400, f"Parameter `{name}` must be an unsigned integer.") from None
    if number < 0:
        raise RefusalError(400, f"Parameter `{name}` must be an unsigned integer.")
    return number


def _page(query: Query) -> tuple[int, int]:
    """Return (first, size)."""
    size = _number(query, "limit" if "limit" in query else "per_page", 10)
    if size > _MOST_HITS:
        raise RefusalError(422, f"Only upto {_MOST_HITS} hits can be fetched per page.")
    if "offset" in query:
        return _number(query, "offset", 0), size
    return (max(1, _number(query, "page", 1)) - 1) * size, size


def _in_group(query: Query) -> int:
    limit = _number(query, "group_limit", 3)
    if not 1 <= limit <= _MOST_IN_GROUP:
        raise RefusalError(400, f"Value of `group_limit` must be between 1 and {_MOST_IN_GROUP}.")
    return limit


def _matcher(asked: str, names: Sequence[str], fields: Mapping[str, Field]) -> Callable[[Document], bool]:
    """Return a test of documents for words: all of them, in any of the fields, the last one as a beginning."""
    for name in names:
        made = fields.get(name)
        if made is None:
            raise RefusalError(404, f"Could not find a field named `{name}` in the schema.")
        if not made.is_text:
            raise RefusalError(400, f"Field `{name}` should be a string or a string array.")
    if asked in _EVERYTHING:
        return lambda _: True
    if not names:
        raise RefusalError(400, "No search fields specified for the query.")
    wanted = [words(word) for word in asked.split() if not word.startswith("-")]
    unwanted = {one for word in asked.split() if word.startswith("-") for one in words(word)}
    *whole, last = [one for several in wanted for one in several] or [""]

    def matches(document: Document) -> bool:
        here = {word for name in names for text in _values(document, name) for word in words(text)}
        if unwanted & here or not here.issuperset(whole):
            return False
        return not last or last in here or any(word.startswith(last) for word in here)

    return matches


def _values(document: Document, name: str) -> Sequence[Any]:
    value = document.get(name)
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def _order(told: str, collection: Collection) -> Callable[[list[Document]], list[Document]]:
    """Return what sorts documents; those without a value come last whatever the direction."""
    if told.count(",") >= _MOST_SORTS:
        raise RefusalError(422, f"Only upto {_MOST_SORTS} sort_by fields can be specified.")
    keys: list[tuple[str, bool]] = []
    for item in filter(None, map(str.strip, told.split(","))):
        asked = re.fullmatch(r"([^\s:()]+)(?:\([^)]*\))?\s*:\s*(asc|desc)", item, re.IGNORECASE)
        if asked is None:
            raise RefusalError(400, f"Parameter `sort_by` is malformed: `{item}`.")
        if asked[1] == "_text_match":
            continue  # every match is as good as another here
        made = collection.fields.get(asked[1])
        if made is None or not made.sort:
            raise RefusalError(404, f"Could not find a field named `{asked[1]}` in the schema for sorting.")
        keys.append((asked[1], asked[2].lower() == "desc"))
    if not keys and collection.default_sorting_field:
        keys = [(collection.default_sorting_field, True)]

    def order(documents: list[Document]) -> list[Document]:
        documents.reverse()  # of equals the newest comes first
        for name, is_descending in reversed(keys):
            have = [document for document in documents if name in document]
            lack = [document for document in documents if name not in document]
            have.sort(key=lambda document: _sort_key(document[name]), reverse=is_descending)
            documents = have + lack
        return documents

    return order


def _sort_key(value: Any) -> Any:  # noqa: ANN401 - JSON
    return value.lower() if isinstance(value, str) else value


def _facet_field(name: str, fields: Mapping[str, Field]) -> Field:
    made = fields.get(name.partition("(")[0])
    if made is None or not made.facet:
        raise RefusalError(404, f"Could not find a facet field named `{name}` in the schema.")
    return made


def _group_field(name: str, fields: Mapping[str, Field]) -> Field:
    made = fields.get(name)
    if made is None:
        raise RefusalError(404, f"Could not find a field named `{name}` in the schema.")
    if not made.facet:
        raise RefusalError(400, f"Group by field `{name}` should be a facet field.")
    return made


def _counts(made: Field, found: Iterable[Document], query: Query) -> dict[str, Any]:
    """Count the values of a field in all that was found, the most frequent first."""
    counter: Counter[Any] = Counter(one for document in found for one in dict.fromkeys(_values(document, made.name)))
    name, _, beginning = str(query.get("facet_query") or "").partition(":")
    if name.strip() == made.name:
        sought = words(beginning)
        counter = Counter({one: n for one, n in counter.items() if _starts(words(_text(one)), sought)})
    most = _number(query, "max_facet_values", 10)
    listed = sorted(counter.items(), key=lambda one: (-one[1], _text(one[0])))[:most]
    stats: dict[str, Any] = {"total_values": len(counter)}
    if made.kind in {"int32", "int64", "float"} and counter:
        total = sum(value * n for value, n in counter.items())
        stats |= {"min": min(counter), "max": max(counter), "sum": total, "avg": total / counter.total()}
    counts = [{"count": n, "highlighted": _text(one), "value": _text(one)} for one, n in listed]
    return {"counts": counts, "field_name": made.name, "sampled": False, "stats": stats}


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    return str(value).lower() if isinstance(value, bool) else str(value)


def _starts(here: Sequence[str], sought: Sequence[str]) -> bool:
    return all(any(word.startswith(one) for word in here) for one in sought)


def _grouped(
    found: Iterable[Document], names: Sequence[str], limit: int
) -> list[tuple[list[Any], int, list[Document]]]:
    """Return (key, how many, the first of them) per group, in the order of the groups' first documents."""
    groups: dict[tuple[Any, ...], list[Document]] = {}
    for document in found:
        key = tuple(tuple(v) if isinstance(v := document.get(name), list) else v for name in names)
        groups.setdefault(key, []).append(document)
    return [
        (
            [list(one) if isinstance(one, tuple) else _text(one) for one in key if one is not None],
            len(all_),
            all_[:limit],
        )
        for key, all_ in groups.items()
    ]


def _hits(query: Query, *, is_text: bool) -> Callable[[Document], dict[str, Any]]:
    def hit(document: Document) -> dict[str, Any]:
        made: dict[str, Any] = {"document": shown(document, query), "highlight": {}, "highlights": []}
        return made | ({"text_match": 1} if is_text else {})

    return hit
