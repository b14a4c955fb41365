"""Which file a row stands in, and that a file is a pure function of its rows."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_platform.errors import StoreError
from data_platform.managers.hub.layout import (
    REDUCED_SCHEMA,
    UNDATED,
    check_schema,
    data_files,
    layout_of,
    month_of_path,
    months_of,
    partition_path,
    read_partition,
    write_partition,
    write_reduced,
)
from data_platform.models.columns import COLUMN_NAMES, NORMAL_SCHEMA, PUBLISHED_SCHEMA
from tests.support.sources import Row, articles


def normal(rows: list[Row], chunks: int = 1) -> pa.Table:
    batches = [
        pa.RecordBatch.from_pylist([{**row, **_utc(row)} for row in rows[i::chunks]], NORMAL_SCHEMA)
        for i in range(chunks)
    ]
    return pa.Table.from_batches(batches, NORMAL_SCHEMA)


def _utc(row: Row) -> dict[str, Any]:
    at = row["extracted_at"]
    return {"extracted_at": at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("instant", "month"),
    [
        ("2024-03-01T03:00:00+00:00", "2024-03"),
        ("2024-03-01T02:59:59+00:00", "2024-02"),
        ("2019-01-01T01:59:59+00:00", "2018-12"),  # summer time: midnight was at 02:00
        ("2019-01-01T02:00:00+00:00", "2019-01"),
        ("0001-02-03T12:00:00+00:00", "0001-02"),
        ("9999-12-31T12:00:00+00:00", "9999-12"),
        (None, None),
    ],
)
def test_a_month_is_a_sao_paulo_month(instant: str | None, month: str | None) -> None:
    at = None if instant is None else datetime.fromisoformat(instant)
    assert months_of(pa.array([at], pa.timestamp("us", tz="UTC"))).to_pylist() == [month]


def test_paths_tell_the_layouts_apart() -> None:
    legacy = [
        "data/train-00000-of-00003.parquet",
        "data/train-2024-13.parquet",
        "data/train-2026-01-08-090031.parquet",
        "data/train.parquet",
    ]
    ours = ["data/train-2024-03.parquet", UNDATED]
    others = ["README.md", "data/test-2024-03.parquet", "data/old/train-2024-03.parquet", "train-2024-03.parquet"]
    layout = layout_of([*others, *legacy, *ours])
    assert (sorted(layout.legacy), sorted(layout.partitions)) == (legacy, ours)
    assert data_files([*others, *legacy, *ours]) == sorted(legacy + ours)
    assert [month_of_path(partition_path(month)) for month in ("2024-03", None)] == ["2024-03", None]


def test_a_file_has_exactly_the_published_types_and_gives_its_rows_back_in_order(tmp_path: Path) -> None:
    rows = articles(50)
    assert write_partition(tmp_path / "a.parquet", normal(rows)) == 50
    assert pq.read_schema(tmp_path / "a.parquet").equals(PUBLISHED_SCHEMA, check_metadata=False)
    back = read_partition(tmp_path / "a.parquet", "a")
    assert back.schema == NORMAL_SCHEMA
    wanted = normal(rows).sort_by([("published_at", "ascending"), ("unique_id", "ascending")])
    assert back.to_pylist() == wanted.to_pylist()


_TEXTS = st.none() | st.text("abcç\u200b🛰\n", max_size=12)
_DAYS = st.integers(0, 2).map(lambda n: datetime(2024, 3, 5, 3, tzinfo=UTC) + timedelta(days=n))


@st.composite
def _rows(draw: st.DrawFn, *, dated: bool) -> list[Row]:
    rows: list[Row] = []
    for number in range(draw(st.integers(0, 12))):
        row: Row = dict.fromkeys(COLUMN_NAMES)
        row |= {name: draw(_TEXTS) for name in ("title", "content", "category", "summary")}
        row |= {
            "agency": draw(st.sampled_from(["mre", "aeb"])),
            "tags": draw(st.none() | st.lists(st.text(max_size=3))),
        }
        if dated:
            row |= {"unique_id": f"{draw(st.sampled_from('zaZé'))}{number}", "published_at": draw(_DAYS)}
        else:
            row |= {"unique_id": draw(st.none() | st.sampled_from(["x", "y"])), "published_at": draw(st.none() | _DAYS)}
        rows.append(row)
    return rows


@pytest.mark.parametrize("dated", [True, False])
def test_the_bytes_are_a_function_of_the_rows_whatever_their_order(
    dated: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("files")

    @settings(max_examples=40, deadline=None)
    @given(rows=_rows(dated=dated), shuffle=st.randoms(), chunks=st.integers(1, 4))
    def check(rows: list[Row], shuffle: Any, chunks: int) -> None:
        write_partition(folder / "a", normal(rows))
        shuffled = list(rows)
        shuffle.shuffle(shuffled)
        write_partition(folder / "b", normal(shuffled, chunks))
        assert digest(folder / "a") == digest(folder / "b")
        # What was read back and is written again is the same file.
        write_partition(folder / "c", read_partition(folder / "a", "a"))
        assert digest(folder / "c") == digest(folder / "a")

    check()


def test_row_groups_do_not_depend_on_how_rows_came(tmp_path: Path) -> None:
    rows = [{**row, "published_at": row["published_at"].replace(year=2024, month=3, day=5)} for row in articles(6000)]
    write_partition(tmp_path / "a", normal(rows))
    write_partition(tmp_path / "b", normal(rows[::-1], 7))
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    groups = pq.read_metadata(tmp_path / "a")
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [2500, 2500, 1000]


def test_a_small_edit_leaves_most_of_the_bytes(tmp_path: Path) -> None:
    """Content-defined chunks: the pages behind an inserted row are the same bytes as before."""
    day = datetime(2024, 3, 5, 15, tzinfo=UTC)
    rows = [
        {
            **row,
            "published_at": day,
            "content": "".join(hashlib.sha256(f"{n} {i}".encode()).hexdigest() for i in range(60)),
        }
        for n, row in enumerate(articles(2001))
    ]
    first = sorted(rows, key=lambda row: row["unique_id"].encode())
    write_partition(tmp_path / "a", normal(first[1:]))
    write_partition(tmp_path / "b", normal(first))  # one row more, before all others
    before, after = ((tmp_path / name).read_bytes() for name in "ab")
    assert _shared(before, after) > 0.75 * len(after)


def _shared(before: bytes, after: bytes, block: int = 64) -> int:
    """Return how many bytes of a file stand anywhere in another one, in blocks."""
    starts = {before[at : at + block]: at for at in range(0, len(before) - block, block)}
    shared = at = 0
    while at < len(after) - block:
        found = starts.get(after[at : at + block])
        if found is None:
            at += 1
            continue
        length = block
        while (
            at + length < len(after) and found + length < len(before) and after[at + length] == before[found + length]
        ):
            length += 1
        shared += length
        at += length
    return shared


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (PUBLISHED_SCHEMA.set(2, pa.field("published_at", pa.string())), "published_at is string, not timestamp"),
        (PUBLISHED_SCHEMA.set(2, pa.field("published_at", pa.timestamp("us"))), "published_at is timestamp[us], not"),
        (PUBLISHED_SCHEMA.remove(0), "unique_id is missing"),
        (PUBLISHED_SCHEMA.append(pa.field("scraped_at", pa.string())), "scraped_at does not belong there"),
        (pa.schema(list(PUBLISHED_SCHEMA)[::-1]), "their order differs"),
    ],
)
def test_a_schema_that_differs_is_told_by_its_columns(schema: pa.Schema, told: str) -> None:
    check_schema(PUBLISHED_SCHEMA.with_metadata({"huggingface": "{}"}), "x")
    with pytest.raises(StoreError) as caught:
        check_schema(schema, "data/train-2024-03.parquet")
    assert told in caught.value.message
    assert "data/train-2024-03.parquet" in caught.value.message


def test_a_damaged_or_foreign_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"PAR1 no")
    with pytest.raises(StoreError, match="train-2024-03"):
        read_partition(tmp_path / "a", "data/train-2024-03.parquet")


def test_the_reduced_file_has_four_columns_in_the_order_of_the_main_one(tmp_path: Path) -> None:
    write_partition(tmp_path / "a", normal(articles(20)))
    main = pq.read_table(tmp_path / "a")
    assert write_reduced(tmp_path / "b", main) == 20
    assert pq.read_table(tmp_path / "b").to_pylist() == main.select(REDUCED_SCHEMA.names).to_pylist()
    assert pq.read_schema(tmp_path / "b").equals(REDUCED_SCHEMA, check_metadata=False)
