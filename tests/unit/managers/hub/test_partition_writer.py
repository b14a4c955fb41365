"""A file written from rows as they come: its bytes and its digest are those of the rows, whoever wrote it and how."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.errors import IntegrityError
from data_platform.managers.hub import layout
from data_platform.managers.hub.layout import PartitionWriter, Rows, read_partition, rows_told, write_partition
from data_platform.models.columns import NORMAL_SCHEMA
from data_platform.models.digest import row_digests
from tests.support.rows import article, batch_of, instants, sliced, texts

ROWS: dict[str, st.SearchStrategy[Any]] = {
    "unique_id": texts,
    "published_at": st.sampled_from([datetime(2024, 5, 1, tzinfo=UTC) + timedelta(hours=h) for h in range(3)]),
    "updated_datetime": st.none() | instants,
    "extracted_at": st.none() | instants.filter(lambda at: 1700 < at.year < 2200),
    "content": st.none() | texts | st.just("ç" * 5000),
    "tags": st.none() | st.lists(texts, max_size=3),
    "summary": st.none(),
    "category": st.none() | st.sampled_from(["a", "b"]),
}


def leave_half_way(path: Path) -> None:
    batch = batch_of([article()])
    with PartitionWriter(path) as writer:
        writer.write(batch, row_digests(batch))
        raise ZeroDivisionError


def lose_a_row(path: Path) -> None:
    batch = batch_of([article("a"), article("b")])
    with PartitionWriter(path) as writer:
        writer.write(batch, row_digests(batch))
        writer._count += 1
        writer._written += 1


def whole(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with ids of their own, in the order of a file."""
    made = [article(**row) | {"unique_id": f"{row['unique_id']}{n}"} for n, row in enumerate(rows)]
    return sorted(made, key=lambda r: (r["published_at"], r["unique_id"].encode()))


def written(path: Path, rows: Sequence[dict[str, Any]], cuts: Sequence[int] = (), *, slices: bool = False) -> Rows:
    """Write rows in pieces that end at the given places; return what the writer says of them."""
    ends = sorted({min(cut, len(rows)) for cut in cuts} | {len(rows)})
    with PartitionWriter(path) as writer:
        for start, stop in zip([0, *ends], ends, strict=False):
            batch = batch_of(rows[start:stop])
            batch = sliced(batch) if slices else batch
            writer.write(batch, row_digests(batch))
    return writer.rows


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.fixed_dictionaries(ROWS), max_size=12).map(whole),
    st.lists(st.integers(0, 12), max_size=5),
    st.integers(1, 6),
    st.booleans(),
)
def test_the_bytes_are_those_of_the_rows_however_they_came(
    rows: list[dict[str, Any]], cuts: list[int], group: int, slices: bool
) -> None:
    """Also over the ends of row groups, which are made small here."""
    before, layout._ROW_GROUP_ROWS = layout._ROW_GROUP_ROWS, group
    try:
        with TemporaryDirectory() as name:
            folder = Path(name)
            told = written(folder / "pieces", rows, cuts, slices=slices)
            assert written(folder / "one", rows) == told
            table = pa.Table.from_pylist(rows[::-1], schema=NORMAL_SCHEMA)
            assert write_partition(folder / "table", table) == len(rows)
            contents = {(folder / each).read_bytes() for each in ("pieces", "one", "table")}
            assert len(contents) == 1
            digests = b"".join(row_digests(batch_of(rows)))
            assert told == Rows(len(rows), hashlib.md5(digests, usedforsecurity=False).hexdigest())
            metadata = pq.read_metadata(folder / "pieces")
            assert rows_told(metadata) == told
            assert metadata.num_row_groups == -(-len(rows) // group)
            assert read_partition(folder / "pieces", "it").to_pylist() == batch_of(rows).to_pylist()
    finally:
        layout._ROW_GROUP_ROWS = before


def test_the_order_of_rows_and_every_cell_are_in_the_digest(tmp_path: Path) -> None:
    rows = [article("a"), article("b"), article("c", title="t")]
    others = [rows[::-1], rows[:2], [*rows, article("d")], [*rows[:2], article("c", title="T")]]
    digests = {written(tmp_path / "it", each).digest for each in (rows, *others)}
    assert len(digests) == 5


def test_a_file_of_somebody_else_says_nothing_of_its_rows(tmp_path: Path) -> None:
    written(tmp_path / "ours", [article()])
    table = pq.read_table(tmp_path / "ours")
    pq.write_table(table.replace_schema_metadata(None), tmp_path / "theirs")
    assert rows_told(pq.read_metadata(tmp_path / "theirs")) is None


def test_a_file_left_by_an_error_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        leave_half_way(tmp_path / "it")
    assert rows_told(pq.read_metadata(tmp_path / "it")) is None


def test_a_file_that_does_not_hold_what_it_was_given_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="was given 3 rows and holds 2"):
        lose_a_row(tmp_path / "it")


def test_a_row_of_megabytes_is_written_and_read_back(tmp_path: Path) -> None:
    """The largest content that was met has 2.3 MB (FIELD_FACTS §1.4)."""
    rows = [article(f"row {n}", content="ação " * 500_000, tags=["x" * 99] * 50) for n in range(3)]
    assert written(tmp_path / "it", rows).count == 3
    assert read_partition(tmp_path / "it", "it").to_pylist() == batch_of(rows).to_pylist()


def test_an_instant_that_nanoseconds_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(pa.ArrowInvalid):
        written(tmp_path / "it", [article(extracted_at=datetime(1500, 1, 1, tzinfo=UTC))])
