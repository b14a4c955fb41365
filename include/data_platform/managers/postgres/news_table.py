"""From cleaned Arrow rows to the columns of the table `news`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import Connection

from data_platform.errors import IntegrityError, StoreError
from data_platform.managers.postgres.binary_copy import PgType
from data_platform.models.columns import COLUMNS, THEME_COLUMNS, Kind
from data_platform.models.theme_cells import ThemeIndex, store_themes
from data_platform.models.urls import canonical_urls

__all__ = ["NEWS_COLUMNS", "Catalogue", "news_columns", "news_rows"]

_KINDS = {Kind.TEXT: PgType.TEXT, Kind.INSTANT: PgType.TIMESTAMPTZ, Kind.TAGS: PgType.TEXT_ARRAY}

#: Columns of news that writers set, in COPY order; the others have defaults or are generated.
NEWS_COLUMNS: tuple[tuple[str, PgType], ...] = (
    *((c.store, _KINDS[c.kind]) for c in COLUMNS if c.store is not None),
    ("agency_id", PgType.INTEGER),
    ("agency_name", PgType.TEXT),
    ("canonical_url", PgType.TEXT),
    ("theme_l1_id", PgType.INTEGER),
    ("theme_l2_id", PgType.INTEGER),
    ("theme_l3_id", PgType.INTEGER),
    ("most_specific_theme_id", PgType.INTEGER),
    ("theme_form", PgType.TEXT),
    ("theme_cells", PgType.JSONB),
    ("duplicate_of", PgType.TEXT),
)


@dataclass(frozen=True)
class Catalogue:
    """Agencies and themes of a store, as arrays to look codes up in."""

    agency_keys: pa.Array
    agency_ids: pa.Array
    agency_names: pa.Array
    themes: ThemeIndex

    @classmethod
    def read(cls, connection: Connection[Any]) -> Catalogue:
        """Read both from the database.

        Raises:
            StoreError: there is none of them yet.
        """
        agencies = connection.execute("SELECT key, id, name FROM agencies ORDER BY key").fetchall()
        themes = connection.execute("SELECT id, code, label FROM themes ORDER BY code").fetchall()
        for rows, what in ((agencies, "agencies"), (themes, "themes")):
            if not rows:
                raise StoreError(f"the table {what} is empty", hint=f"run: python -m data_platform populate-{what}")
        keys, ids, names = zip(*agencies, strict=True)
        return cls(
            pa.array(keys, pa.string()), pa.array(ids, pa.int32()), pa.array(names, pa.string()), ThemeIndex.of(themes)
        )

    def with_stubs(self, keys: Iterable[str]) -> Catalogue:
        """Return this catalogue with agencies that a dry run has not made; their ids are no ids."""
        new = sorted(set(keys) - set(self.agency_keys.to_pylist()))
        return replace(
            self,
            agency_keys=pa.concat_arrays([self.agency_keys, pa.array(new, pa.string())]),
            agency_ids=pa.concat_arrays([self.agency_ids, pa.array([0] * len(new), pa.int32())]),
            agency_names=pa.concat_arrays([self.agency_names, pa.array(new, pa.string())]),
        )


def news_rows(rows: pa.RecordBatch, catalogue: Catalogue, *, duplicate_of: Mapping[str, str]) -> list[pa.Array]:
    """Lay admitted rows out for COPY into news: one array for each of NEWS_COLUMNS.

    Args:
        rows: admitted rows, all 24 columns in published form.
        catalogue: agencies and themes of the store.
        duplicate_of: unique_id -> the primary row of the same article, for rows that are not it.

    Raises:
        IntegrityError: an agency is not in the catalogue; stubs are made when planning.
    """
    made = news_columns(rows, catalogue)
    made["duplicate_of"] = _marked(rows.column("unique_id"), duplicate_of)
    return [made[name] for name, _ in NEWS_COLUMNS]


def news_columns(rows: pa.RecordBatch, catalogue: Catalogue) -> dict[str, pa.Array]:
    """Lay given columns of admitted rows out as columns of news: column of news -> values.

    An agency makes its three columns, an address its canonical form too, all nine theme cells their six.

    Raises:
        IntegrityError: an agency is not in the catalogue.
    """
    names = set(rows.schema.names)
    made: dict[str, pa.Array] = {c.store: rows.column(c.name) for c in COLUMNS if c.store and c.name in names}
    if "agency" in names:
        at = pc.index_in(rows.column("agency"), value_set=catalogue.agency_keys)
        if at.null_count:
            unknown = pc.unique(rows.column("agency").filter(at.is_null())).to_pylist()
            raise IntegrityError(
                f"agencies without an entry: {', '.join(map(str, unknown[:5]))}", hint="plan the migration again"
            )
        made |= {"agency_id": catalogue.agency_ids.take(at), "agency_name": catalogue.agency_names.take(at)}
    if "url" in names:
        made["canonical_url"] = canonical_urls(rows.column("url"))
    if names.issuperset(THEME_COLUMNS):
        themes = store_themes(rows, catalogue.themes)
        made |= {
            "theme_l1_id": themes.l1_id,
            "theme_l2_id": themes.l2_id,
            "theme_l3_id": themes.l3_id,
            "most_specific_theme_id": themes.most_specific_id,
            "theme_form": themes.form,
            "theme_cells": themes.cells,
        }
    return made


def _marked(unique_ids: pa.Array, duplicate_of: Mapping[str, str]) -> pa.Array:
    if not duplicate_of:
        return pa.nulls(len(unique_ids), pa.string())
    return pa.array([duplicate_of.get(uid) for uid in unique_ids.to_pylist()], pa.string())
