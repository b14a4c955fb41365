"""The agencies whose news is stored: reading and checking agencies.yaml (FIELD_FACTS §5.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_platform.errors import SourceError
from data_platform.models.yaml_source import load_yaml

__all__ = ["Agency", "parse_agencies"]

_KEY = re.compile(r"[a-z0-9_-]+")
_URL = re.compile(r"https?://", re.IGNORECASE)
_SHAPE = "agencies.yaml has the top key `sources`: key -> name, parent, type, url"


@dataclass(frozen=True)
class Agency:
    """One body whose news is stored.

    Attributes:
        key: how the dataset names it (column `agency`).
        name: its name in Portuguese.
        type: its kind, such as "Ministério"; None if the source does not say.
        parent_key: key of the body above; it need not be an entry itself (`presidencia` is not).
        url: listing of its news.
    """

    key: str
    name: str
    type: str | None = None
    parent_key: str | None = None
    url: str | None = None


def parse_agencies(text: str, *, origin: str) -> tuple[Agency, ...]:
    """Read agencies.yaml, in the order of the file.

    Two shapes are read: `sources:` key -> mapping with name, parent, type and url (only the name is
    required), and the one that the scraper once had, `agencies:` key -> name.

    Args:
        text: the YAML text.
        origin: where it came from, for messages.

    Raises:
        SourceError: the text is another file (site_urls.yaml and hierarchy.yaml are recognised), a key or a value
            cannot be used, a key stands twice, or the parents go round in a circle.

    Source:
        FIELD_FACTS §5.1 and §5.2.
    """
    document = load_yaml(text, origin=origin)
    if not isinstance(document, dict):
        raise SourceError(f"{origin} holds {_kind(document)}, not a mapping", hint=_SHAPE)
    if "sources" in document and "agencies" in document:
        raise SourceError(f"{origin} has both top keys, `sources` and `agencies`", hint=_SHAPE)
    if "sources" in document:
        entries = _entries(document["sources"], "sources", origin)
        agencies = tuple(_agency(key, value, origin) for key, value in entries.items())
    elif "agencies" in document:
        entries = _entries(document["agencies"], "agencies", origin)
        agencies = tuple(_named_agency(key, value, origin) for key, value in entries.items())
    else:
        raise _no_top_key(document, origin)
    _refuse_cycles(agencies, origin)
    return agencies


def _no_top_key(document: dict[Any, Any], origin: str) -> SourceError:
    if document and all(isinstance(value, list) for value in document.values()):
        return SourceError(
            f"{origin} looks like hierarchy.yaml, which has keys but no names",
            hint="give agencies.yaml of the same repository",
        )
    keys = ", ".join(repr(key) for key in list(document)[:5]) or "nothing"
    return SourceError(f"{origin} has no top key `sources`; its top keys begin with {keys}", hint=_SHAPE)


def _entries(entries: Any, top: str, origin: str) -> dict[Any, Any]:
    if not isinstance(entries, dict):
        raise SourceError(f"{origin}: `{top}` holds {_kind(entries)}, not a mapping", hint=_SHAPE)
    if not entries:
        raise SourceError(f"{origin}: `{top}` holds no agency", hint=_SHAPE)
    for key, value in entries.items():
        if isinstance(value, str) and _URL.match(value.strip()):  # its form until February 2026
            raise _site_urls(key, origin)
    return entries


def _site_urls(key: Any, origin: str) -> SourceError:
    return SourceError(
        f"{origin} looks like site_urls.yaml: agency {key!r} has an address where its name should be",
        hint="site_urls.yaml says where to scrape; give agencies.yaml, which has the names",
    )


def _named_agency(key: Any, value: Any, origin: str) -> Agency:
    """Return an agency of the shape that has nothing but names."""
    if isinstance(value, dict) and "url" in value:
        raise _site_urls(key, origin)
    _check_key(key, f"{origin}: agency key", origin)
    if not isinstance(value, str) or not value.strip():
        raise SourceError(
            f"{origin}: agency {key!r} has no name: below `agencies` it holds {_kind(value)}", hint=_SHAPE
        )
    return Agency(key=key, name=value.strip())


def _agency(key: Any, value: Any, origin: str) -> Agency:
    _check_key(key, f"{origin}: agency key", origin)
    if not isinstance(value, dict):
        raise SourceError(f"{origin}: agency {key!r} holds {_kind(value)}, not its name and the rest", hint=_SHAPE)
    name = _text(value, "name", key, origin)
    if name is None:
        raise SourceError(f"{origin}: agency {key!r} has no name", hint="write `name:` with its name in Portuguese")
    parent = _text(value, "parent", key, origin)
    if parent is not None:
        _check_key(parent, f"{origin}: agency {key!r}: parent", origin)
    url = _text(value, "url", key, origin)
    if url is not None and not _URL.match(url):
        raise SourceError(f"{origin}: agency {key!r}: url {url!r} is not an http(s) address")
    return Agency(key=key, name=name, type=_text(value, "type", key, origin), parent_key=parent, url=url)


def _check_key(key: Any, where: str, origin: str) -> None:
    if not isinstance(key, str):
        # YAML reads an unquoted `no` as False and `2025` as a number.
        raise SourceError(f"{where} {key!r} is {_kind(key)} to YAML, not text", hint=f"put it in quotes in {origin}")
    if not _KEY.fullmatch(key):
        raise SourceError(
            f"{where} {key!r} has characters that a key may not have",
            hint="a key has lower case letters without accents, digits, hyphens and underscores",
        )


def _text(entry: dict[Any, Any], field: str, key: str, origin: str) -> str | None:
    value = entry.get(field)
    if value is not None and not isinstance(value, str):
        raise SourceError(
            f"{origin}: agency {key!r}: {field} is {_kind(value)} to YAML, not text", hint="put the value in quotes"
        )
    return (value or "").strip() or None


def _refuse_cycles(agencies: tuple[Agency, ...], origin: str) -> None:
    parents = {agency.key: agency.parent_key for agency in agencies}
    for start in parents:
        path: list[str] = []
        key: str | None = start
        while key in parents:
            if key in path:
                circle = " -> ".join([*path[path.index(key) :], key])
                raise SourceError(f"{origin}: the parents go round in a circle: {circle}")
            path.append(key)
            key = parents[key]


def _kind(value: Any) -> str:
    """Return what a YAML value is, in a word a reader of the file knows."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a truth value"  # an unquoted yes, no, on or off
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, Mapping):
        return "a mapping"
    return {"list": "a list", "str": "a text"}.get(type(value).__name__, f"a {type(value).__name__}")
