"""The 24 columns as FIELD_FACTS §1.2 lists them; what is derived from them elsewhere is checked against this."""

from __future__ import annotations

import pyarrow as pa
import pytest

from data_platform.models.columns import (
    COLUMN_BY_NAME,
    COLUMN_NAMES,
    COLUMNS,
    NORMAL_SCHEMA,
    PUBLISHED_SCHEMA,
    REQUIRED_COLUMNS,
    THEME_COLUMNS,
    Kind,
    Owner,
)

_SHOWN = pa.timestamp("us", tz="-03:00")
_TAGS = pa.list_(pa.string())

#: Copied from FIELD_FACTS §1.2 by hand: a second opinion, so it is not derived from the module.
PUBLISHED = [
    ("unique_id", pa.string()),
    ("agency", pa.string()),
    ("published_at", _SHOWN),
    ("updated_datetime", _SHOWN),
    ("extracted_at", pa.timestamp("ns")),
    ("title", pa.string()),
    ("subtitle", pa.string()),
    ("editorial_lead", pa.string()),
    ("url", pa.string()),
    ("content", pa.string()),
    ("image", pa.string()),
    ("video_url", pa.string()),
    ("category", pa.string()),
    ("tags", _TAGS),
    ("theme_1_level_1", pa.string()),
    ("theme_1_level_1_code", pa.string()),
    ("theme_1_level_1_label", pa.string()),
    ("theme_1_level_2_code", pa.string()),
    ("theme_1_level_2_label", pa.string()),
    ("theme_1_level_3_code", pa.string()),
    ("theme_1_level_3_label", pa.string()),
    ("most_specific_theme_code", pa.string()),
    ("most_specific_theme_label", pa.string()),
    ("summary", pa.string()),
]


def test_the_published_schema_is_the_dataset_s_in_names_order_and_types() -> None:
    assert pa.schema(PUBLISHED) == PUBLISHED_SCHEMA
    assert len(COLUMNS) == len(COLUMN_BY_NAME) == 24
    assert list(COLUMN_NAMES) == [name for name, _ in PUBLISHED]


def test_inside_every_instant_is_utc_in_microseconds_and_the_rest_is_as_published() -> None:
    for name, published in PUBLISHED:
        expected = pa.timestamp("us", tz="UTC") if pa.types.is_timestamp(published) else published
        assert NORMAL_SCHEMA.field(name).type == expected
    assert NORMAL_SCHEMA.names == PUBLISHED_SCHEMA.names


def test_required_columns_are_those_of_the_design() -> None:
    assert set(REQUIRED_COLUMNS) == {"unique_id", "agency", "published_at", "title"}


def test_nine_cells_hold_the_theme_and_they_alone_have_no_column_of_their_own() -> None:
    assert [c.name for c in COLUMNS if c.store is None] == list(THEME_COLUMNS)
    assert COLUMN_NAMES[14:23] == THEME_COLUMNS


def test_names_in_the_store_are_those_of_the_first_plan() -> None:
    """Fault 25: one explicit mapping between the dataset and PostgreSQL."""
    renamed = {c.name: c.store for c in COLUMNS if c.store is not None and c.store != c.name}
    assert renamed == {"agency": "agency_key", "image": "image_url"}


def test_enrichment_owns_themes_and_summary_and_nothing_else() -> None:
    owned = {c.name for c in COLUMNS if c.owner is Owner.ENRICHMENT}
    assert owned == {*THEME_COLUMNS, "summary"}
    assert {c.name for c in COLUMNS if c.owner is Owner.IDENTITY} == {"unique_id", "agency"}


def test_sentinels_are_the_four_of_the_field_facts() -> None:
    assert {c.name: c.sentinels for c in COLUMNS if c.sentinels} == {
        "title": ("No Title",),
        "url": ("No URL",),
        "content": ("Error retrieving content",),
        "category": ("No Category",),
    }


@pytest.mark.parametrize(
    ("kind", "names"),
    [(Kind.INSTANT, {"published_at", "updated_datetime", "extracted_at"}), (Kind.TAGS, {"tags"})],
)
def test_kinds(kind: Kind, names: set[str]) -> None:
    assert {c.name for c in COLUMNS if c.kind is kind} == names
