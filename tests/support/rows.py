"""Rows as all code inside works with them: batches, slices of larger ones, strategies that draw awkward values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from data_platform.models.columns import COLUMN_NAMES, COLUMNS, NORMAL_SCHEMA, Kind

__all__ = ["PUBLISHED", "article", "batch_of", "instants", "rows", "sliced", "texts"]

PUBLISHED = datetime(2024, 5, 6, 3, tzinfo=UTC)

#: Any text that a PostgreSQL text can hold.
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=30)
#: Any instant that Python holds in UTC and in São Paulo.
instants = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - as it asks
_tags = st.lists(st.text(st.characters(exclude_categories=("Cs",), min_codepoint=32), max_size=12), max_size=4)


def article(unique_id: str = "a1", **cells: Any) -> dict[str, Any]:
    """Return a row with what is required, the given cells and nothing else."""
    known: dict[str, Any] = {"unique_id": unique_id, "agency": "mec", "published_at": PUBLISHED, "title": "Título"}
    return dict.fromkeys(COLUMN_NAMES) | known | cells


def batch_of(given: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """Return rows as a batch of all 24 columns."""
    return pa.RecordBatch.from_pylist([dict.fromkeys(COLUMN_NAMES) | dict(row) for row in given], schema=NORMAL_SCHEMA)


def sliced(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the same rows as a part of a larger batch, so that no array begins at offset 0 of its buffers.

    What lies outside the part is chosen to be noticed: control characters, other lengths, nulls.
    """
    noise: dict[str, Any] = {
        Kind.TEXT: "outside\x00\x1f the part",
        Kind.TAGS: ["out\x00side", "x" * 50],
        Kind.INSTANT: datetime(1970, 1, 1, tzinfo=UTC),
    }
    odd = {c.name: noise[c.kind] for c in COLUMNS}
    around = pa.RecordBatch.from_pylist([odd, dict.fromkeys(COLUMN_NAMES), odd], schema=NORMAL_SCHEMA)
    around = around.select(batch.schema.names)
    whole = pa.Table.from_batches([around, batch, around], batch.schema).combine_chunks().to_batches()[0]
    return whole.slice(around.num_rows, batch.num_rows)


_CELLS = {Kind.TEXT: texts.filter(bool), Kind.TAGS: _tags, Kind.INSTANT: instants}


@st.composite
def rows(draw: st.DrawFn, *, max_size: int = 5) -> pa.RecordBatch:
    """Draw a batch of rows with distinct ids and what is required; of the other columns a few have values."""
    others = draw(st.lists(st.sampled_from(COLUMN_NAMES), unique=True, max_size=6))
    cells: dict[str, st.SearchStrategy[Any]] = {c.name: st.none() | _CELLS[c.kind] for c in COLUMNS if c.name in others}
    cells |= {"published_at": instants, "title": texts.filter(bool), "agency": st.just("mec"), "unique_id": texts}
    made = draw(st.lists(st.fixed_dictionaries(cells), max_size=max_size))
    batch = batch_of([row | {"unique_id": f"{number}-{row['unique_id']}"} for number, row in enumerate(made)])
    return sliced(batch) if draw(st.booleans()) else batch
