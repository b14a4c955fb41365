"""The indexes that there are, made from the settings."""

from __future__ import annotations

from data_platform.managers.search_index import Index
from data_platform.settings import Settings

__all__ = ["make_index"]


def make_index(settings: Settings, reader: str, *, replace_collection: bool = False) -> Index:
    """Return an index; its owner closes it.

    Args:
        settings: where it is.
        reader: `typesense` or `qdrant`.
        replace_collection: whether a collection that has the alias's own name may be dropped for the alias.

    Raises:
        ConfigurationError: its address is not set, or its key is not.
    """
    if reader == "typesense":
        from data_platform.managers.typesense.index import TypesenseIndex

        return TypesenseIndex.of(settings, replace_collection=replace_collection)
    from data_platform.managers.qdrant.index import QdrantIndex

    return QdrantIndex.of(settings, replace_collection=replace_collection)
