"""The 24 columns of the dataset: the one place where their names, types and owners stand.

Everything else (Arrow schemas, SQL views, COPY column lists, digests, documents) is derived from
this module or checked against it. Source of the facts: FIELD_FACTS §1.2 and §7.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from data_platform.models.days import PUBLISHED_OFFSET

__all__ = [
    "COLUMNS",
    "COLUMN_BY_NAME",
    "COLUMN_NAMES",
    "NORMAL_SCHEMA",
    "PUBLISHED_SCHEMA",
    "REQUIRED_COLUMNS",
    "THEME_COLUMNS",
    "Column",
    "Kind",
    "Owner",
]


class Owner(StrEnum):
    """Who may write a column (a scraper never touches themes or summary)."""

    IDENTITY = "identity"
    SCRAPER = "scraper"
    ENRICHMENT = "enrichment"


class Kind(StrEnum):
    """What a column holds, whatever its physical type in a store."""

    TEXT = "text"
    INSTANT = "instant"
    TAGS = "tags"


@dataclass(frozen=True)
class Column:
    """One column of the published dataset.

    Attributes:
        name: its name in the dataset.
        kind: what it holds.
        owner: who writes it.
        store: its column in the table `news`; None where several columns together hold it
            (the theme cells, see `theme_cells`).
        required: a row without it is rejected.
        sentinels: texts that writers of the past used for "nothing".
    """

    name: str
    kind: Kind
    owner: Owner
    store: str | None
    required: bool = False
    sentinels: tuple[str, ...] = ()


def _text(name: str, owner: Owner = Owner.SCRAPER, *sentinels: str, store: str = "", required: bool = False) -> Column:
    return Column(name, Kind.TEXT, owner, store or name, required, sentinels)


def _theme(name: str) -> Column:
    return Column(name, Kind.TEXT, Owner.ENRICHMENT, None)


COLUMNS: tuple[Column, ...] = (
    _text("unique_id", Owner.IDENTITY, required=True),
    _text("agency", Owner.IDENTITY, store="agency_key", required=True),
    Column("published_at", Kind.INSTANT, Owner.SCRAPER, "published_at", required=True),
    Column("updated_datetime", Kind.INSTANT, Owner.SCRAPER, "updated_datetime"),
    Column("extracted_at", Kind.INSTANT, Owner.SCRAPER, "extracted_at"),
    _text("title", Owner.SCRAPER, "No Title", required=True),
    _text("subtitle"),
    _text("editorial_lead"),
    _text("url", Owner.SCRAPER, "No URL"),
    _text("content", Owner.SCRAPER, "Error retrieving content"),
    _text("image", store="image_url"),
    _text("video_url"),
    _text("category", Owner.SCRAPER, "No Category"),
    Column("tags", Kind.TAGS, Owner.SCRAPER, "tags"),
    _theme("theme_1_level_1"),
    _theme("theme_1_level_1_code"),
    _theme("theme_1_level_1_label"),
    _theme("theme_1_level_2_code"),
    _theme("theme_1_level_2_label"),
    _theme("theme_1_level_3_code"),
    _theme("theme_1_level_3_label"),
    _theme("most_specific_theme_code"),
    _theme("most_specific_theme_label"),
    _text("summary", Owner.ENRICHMENT),
)

COLUMN_NAMES: tuple[str, ...] = tuple(c.name for c in COLUMNS)
COLUMN_BY_NAME: dict[str, Column] = {c.name: c for c in COLUMNS}
REQUIRED_COLUMNS: tuple[str, ...] = tuple(c.name for c in COLUMNS if c.required)
#: The nine cells of a row that say its theme.
THEME_COLUMNS: tuple[str, ...] = tuple(c.name for c in COLUMNS if c.store is None)


def _published_type(column: Column) -> pa.DataType:
    if column.name == "extracted_at":
        return pa.timestamp("ns")  # wall clock of the runner: UTC without saying so
    if column.kind is Kind.INSTANT:
        return pa.timestamp("us", tz=PUBLISHED_OFFSET)
    return pa.list_(pa.string()) if column.kind is Kind.TAGS else pa.string()


def _normal_type(column: Column) -> pa.DataType:
    if column.kind is Kind.INSTANT:
        return pa.timestamp("us", tz="UTC")
    return pa.list_(pa.string()) if column.kind is Kind.TAGS else pa.string()


#: The physical types of the published dataset, exactly.
PUBLISHED_SCHEMA: pa.Schema = pa.schema([(c.name, _published_type(c)) for c in COLUMNS])
#: The types that all code inside works with: every instant in UTC microseconds.
NORMAL_SCHEMA: pa.Schema = pa.schema([(c.name, _normal_type(c)) for c in COLUMNS])
