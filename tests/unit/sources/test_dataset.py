"""Opening folders and files as a source: what is chosen, refused and pinned, and that reading gives every row once."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_platform.errors import SourceError
from data_platform.models.columns import COLUMN_NAMES, COLUMNS, NORMAL_SCHEMA, PUBLISHED_SCHEMA, REQUIRED_COLUMNS, Kind
from data_platform.settings import Settings
from data_platform.sources.dataset import Source, SourceSnapshot, open_source, reopen
from data_platform.sources.parquet_file import RowRange, read_footer, read_rows

MAX_BATCH_BYTES = 32 << 20
NO_HUB = Settings(hf_endpoint="http://127.0.0.1:9")  # nobody listens there
START = datetime(2025, 3, 1, 3, tzinfo=UTC)


def rows(count: int, first: int = 0) -> pa.Table:
    """Return so many different rows in the published types."""
    columns: dict[str, list[Any]] = {}
    for column in COLUMNS:
        if column.kind is Kind.TAGS:
            columns[column.name] = [[f"t{i}", "á"][: i % 3] for i in range(first, first + count)]
        elif column.name == "extracted_at":
            columns[column.name] = [datetime(2025, 9, 1) + timedelta(seconds=i) for i in range(first, first + count)]  # noqa: DTZ001
        elif column.kind is Kind.INSTANT:
            columns[column.name] = [START + timedelta(hours=i) for i in range(first, first + count)]
        else:
            columns[column.name] = [None if i % 7 == 3 else f"{column.name} {i}" for i in range(first, first + count)]
    for name in ("unique_id", "agency", "title"):
        columns[name] = [f"{name}{i}" for i in range(first, first + count)]
    return pa.table(columns, schema=PUBLISHED_SCHEMA)


def write(path: Path, table: pa.Table, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def replaced(table: pa.Table, **columns: pa.Array) -> pa.Table:
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, values)
    return table


def normal(table: pa.Table) -> pa.Table:
    """Return the rows as reading should give them."""
    extracted = table["extracted_at"].cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC"))
    return replaced(table, extracted_at=extracted).cast(NORMAL_SCHEMA)


def read_all(source: Source, **options: Any) -> pa.Table:
    """Return all rows, checking that the batches of each file follow each other without gaps."""
    batches = []
    for file in source.snapshot.files:
        following = 0
        for group in range(len(file.row_groups)):
            for found in source.batches(file.path, row_group=group, **options):
                assert found.first_row == following
                assert found.batch.num_rows > 0
                following += found.batch.num_rows
                batches.append(found.batch)
        assert following == file.rows
    return pa.Table.from_batches(batches, schema=None if options.get("columns") else NORMAL_SCHEMA)


def refusal(source: str | Path, **options: Any) -> str:
    """Return what the refusal says; the test fails if there is none."""
    with pytest.raises(SourceError) as caught:
        open_source(str(source), settings=NO_HUB, **options)
    assert caught.value.hint
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset like the real one: base shards in several row groups, and an increment."""
    write(tmp_path / "ds/data/train-00000-of-00002.parquet", rows(25), row_group_size=10)
    write(tmp_path / "ds/data/train-00001-of-00002.parquet", rows(5, 25))
    write(tmp_path / "ds/data/train-2026-01-08-090031.parquet", rows(3, 30))
    (tmp_path / "ds/README.md").write_text("---\nconfigs: []\n---\n")
    (tmp_path / "ds/govbr_news_dataset.csv").write_text("a,b\n")
    return tmp_path / "ds"


# ------------------------------------------------------------------------------------------- choosing


def test_reads_every_row_of_base_and_increments_in_the_order_of_paths(folder: Path) -> None:
    source = open_source(str(folder), settings=NO_HUB)
    snapshot = source.snapshot
    assert (snapshot.kind, snapshot.source, snapshot.location, snapshot.rows) == (
        "folder",
        str(folder),
        str(folder),
        33,
    )
    assert [(file.path, file.rows, file.row_groups) for file in snapshot.files] == [
        ("data/train-00000-of-00002.parquet", 25, (10, 10, 5)),
        ("data/train-00001-of-00002.parquet", 5, (5,)),
        ("data/train-2026-01-08-090031.parquet", 3, (3,)),
    ]
    assert [file.size for file in snapshot.files] == [(folder / file.path).stat().st_size for file in snapshot.files]
    assert snapshot.notes == ()
    assert read_all(source).equals(normal(rows(33)))


def test_one_file_is_a_source(folder: Path) -> None:
    source = open_source(str(folder / "data/train-00001-of-00002.parquet"), settings=NO_HUB)
    assert source.snapshot.kind == "file"
    assert [file.path for file in source.snapshot.files] == ["train-00001-of-00002.parquet"]
    assert read_all(source).equals(normal(rows(5, 25)))


@pytest.mark.parametrize(
    ("there", "chosen", "ignored"),
    [
        (["data/train-1.parquet", "data/test-1.parquet", "other.parquet"], ["data/train-1.parquet"], 2),
        (["train-1.parquet", "validation.parquet"], ["train-1.parquet"], 1),
        (["b.parquet", "a.parquet"], ["a.parquet", "b.parquet"], 0),
        (["data/train.parquet", "data/.train-2.parquet", "data/train-3.parquet.part"], ["data/train.parquet"], 0),
        (["data/deep/train-1.parquet", "train-2.parquet"], ["train-2.parquet"], 0),
    ],
)
def test_which_files_of_a_folder_are_the_data(
    tmp_path: Path, there: list[str], chosen: list[str], ignored: int
) -> None:
    for name in there:
        write(tmp_path / name, rows(1))
    snapshot = open_source(str(tmp_path), settings=NO_HUB).snapshot
    assert [file.path for file in snapshot.files] == chosen
    assert len(snapshot.notes) == ignored
    assert all("ignored" in note for note in snapshot.notes)


def test_a_folder_is_found_from_the_working_directory_and_wins_over_the_hub(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    shutil.copytree(folder, folder.parent / "owner/name")
    snapshot = open_source("owner/name", settings=NO_HUB).snapshot
    assert (snapshot.kind, snapshot.source, snapshot.location) == (
        "folder",
        "owner/name",
        str(folder.parent / "owner/name"),
    )
    monkeypatch.chdir("/")
    assert read_all(reopen(snapshot, settings=NO_HUB)).num_rows == 33


@pytest.mark.parametrize(
    "source",
    ["/not/there", "./here", "~/nowhere-at-all", "x.parquet", "a/b/c", "", " ", "name", "hf://", "hf://datasets/x"],
)
def test_what_is_neither_here_nor_an_id_is_refused_without_asking_the_hub(source: str) -> None:
    assert "owner/name" in refusal(source)


def test_paths_that_cannot_be_looked_up_are_refused() -> None:
    assert "cannot be looked up" in refusal("~no-such-user/data")
    assert "cannot be looked up" in refusal("x" * 5000)


def test_white_space_around_a_source_does_not_matter(folder: Path) -> None:
    assert open_source(f"{folder}\n", settings=NO_HUB).snapshot.rows == 33


def test_folders_without_data_are_refused(tmp_path: Path) -> None:
    assert "no data/train*.parquet" in refusal(tmp_path)
    write(tmp_path / "data/test-1.parquet", rows(1))
    assert "data/test-1.parquet" in refusal(tmp_path)


# ------------------------------------------------------------------------------------------- checking


def test_columns_go_by_name_and_foreign_ones_are_ignored_with_a_note(tmp_path: Path) -> None:
    table = rows(4).select(list(reversed(COLUMN_NAMES))).append_column("published_at_old", pa.array(["x"] * 4))
    source = open_source(str(write(tmp_path / "a.parquet", table)), settings=NO_HUB)
    (note,) = source.snapshot.notes
    assert note.startswith("a.parquet:")
    assert note.endswith("published_at_old")
    assert read_all(source).equals(normal(rows(4)))


def test_a_missing_optional_column_is_null_and_noted(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", rows(4).drop_columns(["video_url", "tags"]))
    write(tmp_path / "b.parquet", rows(2).drop_columns(["video_url", "tags"]))
    source = open_source(str(tmp_path), settings=NO_HUB)
    assert source.snapshot.notes == (
        "a.parquet and 1 more files: video_url is missing: read as null",
        "a.parquet and 1 more files: tags is missing: read as null",
    )
    found = read_all(source)
    assert found["video_url"].null_count == found["tags"].null_count == 6
    assert read_all(source, columns=["tags"]).num_rows == 6  # no column left to read


def test_all_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    write(
        tmp_path / "a.parquet",
        replaced(rows(2), published_at=pa.array([1, 2], pa.int64()), title=pa.array([{"a": 1}] * 2)),
    )
    write(tmp_path / "b.parquet", rows(2).drop_columns(list(REQUIRED_COLUMNS)))
    (tmp_path / "c.parquet").write_bytes(b"not parquet at all")
    write(tmp_path / "d.parquet", pa.Table.from_arrays([*rows(2).columns, rows(2)["url"]], [*COLUMN_NAMES, "url"]))
    message = refusal(tmp_path)
    for problem in (
        "a.parquet: published_at is int64",
        "a.parquet: title is struct",
        *(f"b.parquet: {name} is missing" for name in REQUIRED_COLUMNS),
        "c.parquet is cut off, damaged, or not a parquet file (18 bytes)",
        "d.parquet: url is there 2 times",
    ):
        assert problem in message


def test_physical_variants_are_read_and_noted(tmp_path: Path) -> None:
    table = replaced(
        rows(3),
        video_url=pa.nulls(3),
        agency=pa.array(["a", "b", "a"]).dictionary_encode(),
        published_at=pa.array(["2025-03-01", "x", "01/03/2025"]),
        updated_datetime=pa.array([datetime(2025, 3, 1)] * 3, pa.date32()),  # noqa: DTZ001
        tags=pa.array(["['a' 'b']", "a, b", "nan"]),
        summary=pa.array([float("nan")] * 3, pa.float64(), from_pandas=True),
    )
    source = open_source(str(write(tmp_path / "a.parquet", table)), settings=NO_HUB)
    assert [note.removeprefix("a.parquet: ") for note in source.snapshot.notes] == [
        "agency is dictionary<values=string, indices=int32, ordered=0>",
        "published_at is string",
        "updated_datetime is date32[day]: read as midnight in São Paulo",
        "video_url is null",
        "tags is string",
        "summary is double without any value: read as null",
    ]
    (found,) = source.batches("a.parquet", row_group=0)
    read = found.batch.to_pydict()
    assert read["published_at"] == [START, None, START]
    assert read["updated_datetime"] == [START] * 3
    assert read["agency"] == ["a", "b", "a"]
    assert read["tags"] == [["a", "b"], ["a", "b"], None]
    assert read["summary"] == read["video_url"] == [None] * 3
    assert (found.unreadable["published_at"].indices, found.unreadable["published_at"].values) == ([1], ["x"])
    assert found.repaired["tags_from_text"]["tags"].to_pylist() == [True, True, False]


def test_a_column_of_the_wrong_type_that_holds_values_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", replaced(rows(3), video_url=pa.array([None, None, 1.0])))
    assert "video_url is double" in refusal(tmp_path)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_file_cut_off_is_refused_when_opened(folder: Path, keep: float) -> None:
    path = folder / "data/train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    assert "data/train-00001-of-00002.parquet is cut off" in refusal(folder)


def test_a_damaged_footer_is_refused_when_opened(folder: Path) -> None:
    path = folder / "data/train-00001-of-00002.parquet"
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[-8:-4], "little")
    content[-8 - length : -8] = b"\x15" * length
    path.write_bytes(content)
    assert "data/train-00001-of-00002.parquet has a damaged footer" in refusal(folder)


def test_a_pointer_left_by_git_lfs_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1\n")
    assert "git lfs pull" in refusal(tmp_path)


def test_a_damaged_page_is_told_with_file_and_row_group_when_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(3000), row_group_size=1000, compression="zstd")
    content = bytearray(path.read_bytes())
    chunk = pq.read_metadata(path).row_group(1).column(COLUMN_NAMES.index("title"))
    start = chunk.dictionary_page_offset
    content[start + 40 : start + chunk.total_compressed_size] = b"\xaa" * (chunk.total_compressed_size - 40)
    path.write_bytes(content)
    source = open_source(str(path), settings=NO_HUB)  # the footer is whole
    assert sum(found.batch.num_rows for found in source.batches("a.parquet", row_group=0)) == 1000
    with pytest.raises(SourceError, match=r"a\.parquet, row group 1 cannot be decoded"):
        list(source.batches("a.parquet", row_group=1))
    untouched = source.batches("a.parquet", row_group=1, columns=["url"])
    assert sum(found.batch.num_rows for found in untouched) == 1000


def test_a_changed_byte_is_noticed_where_the_writer_left_checksums(tmp_path: Path) -> None:
    table = rows(100)
    path = write(tmp_path / "a.parquet", table, compression="none", use_dictionary=False, write_page_checksum=True)
    path.write_bytes(path.read_bytes().replace(b"title50", b"tItle50", 1))
    with pytest.raises(SourceError, match=r"a\.parquet, row group 0 cannot be decoded"):
        read_all(open_source(str(path), settings=NO_HUB))


def test_rows_that_the_footer_promises_but_nobody_finds_are_an_error(tmp_path: Path) -> None:
    footer = read_footer(write(tmp_path / "a.parquet", rows(50)), "a.parquet")
    with pytest.raises(SourceError, match="only 50 are there"):
        list(read_rows(footer, RowRange(0, 0, 60), columns=["title"], batch_rows=20))


def test_empty_files_and_row_groups_are_fine(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", rows(0))
    with pq.ParquetWriter(tmp_path / "b.parquet", PUBLISHED_SCHEMA) as writer:
        for part in (rows(0), rows(2), rows(0)):
            writer.write_table(part)
    pq.ParquetWriter(tmp_path / "c.parquet", PUBLISHED_SCHEMA).close()
    source = open_source(str(tmp_path), settings=NO_HUB)
    assert source.snapshot.rows == 2
    assert {file.row_groups for file in source.snapshot.files} >= {(), (0, 2, 0)}
    assert read_all(source).equals(normal(rows(2)))


# -------------------------------------------------------------------------------------------- pinning


def test_a_snapshot_survives_json_and_pickle(folder: Path) -> None:
    snapshot = open_source(str(folder), settings=NO_HUB).snapshot
    assert SourceSnapshot.from_dict(json.loads(json.dumps(snapshot.to_dict()))) == snapshot
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot  # noqa: S301


def test_the_revision_tells_contents_apart_and_not_places(folder: Path) -> None:
    def revision(of: Path) -> str:
        return open_source(str(of), settings=NO_HUB).snapshot.revision

    first = revision(folder)
    copied = Path(shutil.copytree(folder, folder.parent / "copy"))
    assert revision(copied) == first
    assert open_source(str(copied), settings=NO_HUB, revision=first).snapshot.revision == first
    path = copied / "data/train-00001-of-00002.parquet"
    size = path.stat().st_size
    write(path, replaced(rows(5, 25), title=pa.array([f"titlE{i}" for i in range(25, 30)])))
    assert path.stat().st_size == size  # so it is the footer that tells
    assert revision(copied) != first
    assert "only the Hub keeps older revisions" in refusal(copied, revision=first)
    write(path, rows(5, 25))
    assert revision(copied) == first
    path.rename(path.with_name("train-00009.parquet"))
    assert revision(copied) != first


def change(path: Path) -> None:
    write(path, replaced(rows(5, 25), title=pa.array([f"titlE{i}" for i in range(25, 30)])))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize("harm", [change, cut, Path.unlink])
def test_reopening_notices_a_local_file_that_is_not_the_planned_one(folder: Path, harm: Any) -> None:
    source = open_source(str(folder), settings=NO_HUB)
    assert read_all(reopen(source.snapshot, settings=NO_HUB)).equals(normal(rows(33)))
    harm(folder / "data/train-00001-of-00002.parquet")
    with pytest.raises(SourceError, match=r"data/train-00001-of-00002\.parquet"):
        reopen(source.snapshot, settings=NO_HUB)
    with pytest.raises(SourceError, match=r"data/train-00001-of-00002\.parquet"):
        next(source.batches("data/train-00001-of-00002.parquet", row_group=0))
    assert next(source.batches("data/train-00000-of-00002.parquet", row_group=0)).batch.num_rows == 10


# -------------------------------------------------------------------------------------------- reading

GROUPS = (40, 0, 75, 1)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A file of several row groups."""
    path = tmp_path_factory.mktemp("grouped") / "a.parquet"
    with pq.ParquetWriter(path, PUBLISHED_SCHEMA) as writer:
        for index, size in enumerate(GROUPS):
            writer.write_table(rows(size, sum(GROUPS[:index])))
    return open_source(str(path), settings=NO_HUB)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    data=st.data(),
    batch_rows=st.integers(1, 100),
    columns=st.none() | st.lists(st.sampled_from(COLUMN_NAMES), min_size=1),
)
def test_any_window_gives_exactly_its_rows(
    grouped: Source, data: Any, batch_rows: int, columns: list[str] | None
) -> None:
    group = data.draw(st.integers(0, len(GROUPS) - 1))
    offset = data.draw(st.integers(0, GROUPS[group]))
    length = data.draw(st.none() | st.integers(0, GROUPS[group] - offset))
    first = sum(GROUPS[:group]) + offset
    wanted = normal(rows(GROUPS[group] - offset if length is None else length, first))
    found = list(
        grouped.batches(
            "a.parquet", row_group=group, offset=offset, length=length, columns=columns, batch_rows=batch_rows
        )
    )
    for batch in found:
        assert 0 < batch.batch.num_rows <= batch_rows
        assert batch.first_row == first
        first += batch.batch.num_rows
    if columns is not None:
        wanted = wanted.select([name for name in COLUMN_NAMES if name in columns])
    assert pa.Table.from_batches([batch.batch for batch in found], schema=wanted.schema).equals(wanted)


def test_what_is_not_there_cannot_be_asked_for(grouped: Source) -> None:
    with pytest.raises(SourceError, match=r"b\.parquet is not a file of"):
        grouped.batches("b.parquet", row_group=0)
    windows: Sequence[Mapping[str, Any]] = (
        {"row_group": 4},
        {"row_group": -1},
        {"row_group": 0, "offset": 41},
        {"row_group": 0, "offset": -1},
        {"row_group": 0, "offset": 30, "length": 11},
        {"row_group": 0, "length": -1},
        {"row_group": 0, "batch_rows": 0},
        {"row_group": 0, "columns": []},
        {"row_group": 0, "columns": ["titel"]},
    )
    for window in windows:
        with pytest.raises(ValueError):  # noqa: PT011 -- each says something else
            grouped.batches("a.parquet", **window)


def contents(values: Sequence[str] | pa.Array) -> pa.Table:
    return replaced(rows(len(values)), content=pa.array(values))


@pytest.mark.parametrize("form", ["plain", "repeated", "dictionary"])
def test_batches_of_big_rows_stay_light(tmp_path: Path, form: str) -> None:
    texts = ["x" * 2_000_000 if form != "plain" else f"{i % 10}" * 2_000_000 for i in range(60)]
    table = contents(pa.array(texts).dictionary_encode() if form == "dictionary" else texts)
    path = write(tmp_path / "a.parquet", table, use_dictionary=form != "plain")
    found = list(open_source(str(path), settings=NO_HUB).batches("a.parquet", row_group=0))
    assert max(batch.batch.nbytes for batch in found) <= MAX_BATCH_BYTES
    assert pa.Table.from_batches([batch.batch for batch in found]).equals(normal(contents(texts)))


def test_small_rows_among_big_ones_still_come_in_full_batches(tmp_path: Path) -> None:
    texts = [f"{i:07}" * (300_000 if i == 5000 else 700) for i in range(16_000)]  # 80 MB in one row group
    path = write(tmp_path / "a.parquet", contents(texts))
    found = list(open_source(str(path), settings=NO_HUB).batches("a.parquet", row_group=0))
    assert max(batch.batch.nbytes for batch in found) <= MAX_BATCH_BYTES
    assert len(found) <= 12  # 8 would be the fewest
    assert pa.concat_tables([pa.Table.from_batches([batch.batch]) for batch in found])["content"].to_pylist() == texts


PEAK = """
import sys
import pyarrow as pa
from data_platform.sources.dataset import open_source
from data_platform.settings import Settings
source = open_source(sys.argv[1], settings=Settings())
count = 0
for file in source.snapshot.files:
    for group in range(len(file.row_groups)):
        for found in source.batches(file.path, row_group=group):
            count += found.batch.num_rows
print(count, pa.default_memory_pool().max_memory())
"""


def peak_of_reading(path: Path) -> tuple[int, int]:
    """Return (rows, most bytes that Arrow held at once) of reading a source in a process of its own."""
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    count, peak = done.stdout.split()
    return int(count), int(peak)


def test_memory_does_not_grow_with_the_row_group(tmp_path: Path) -> None:
    part = contents([f"{i:07}" * 700 for i in range(16_000)])  # 80 MB
    peaks = {}
    for times in (1, 3):
        table = pa.concat_tables([part] * times)
        path = write(
            tmp_path / f"{times}.parquet", table, row_group_size=10**9, compression="none", use_dictionary=False
        )
        assert pq.read_metadata(path).num_row_groups == 1
        count, peaks[times] = peak_of_reading(path)
        assert count == 16_000 * times
    assert peaks[3] < 1.5 * peaks[1]
    assert peaks[3] < 80_000_000


def test_a_big_value_stored_once_and_meant_often_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", contents(["x" * 2_000_000] * 200))
    assert path.stat().st_size < 1_000_000
    count, peak = peak_of_reading(path)
    assert count == 200
    assert peak < 150_000_000  # all at once they are 400 MB


def test_a_crowd_of_big_rows_after_thousands_of_small_ones_does_not_fill_the_memory(tmp_path: Path) -> None:
    texts = ["x" * 100] * 8000 + ["x" * 1_000_000] * 400
    # Pages of a few rows: pyarrow holds a page whole, and could not help it.
    path = write(tmp_path / "a.parquet", contents(texts), use_dictionary=False, write_batch_size=4)
    count, peak = peak_of_reading(path)
    assert count == 8400
    assert peak < 250_000_000  # all at once they are 400 MB
