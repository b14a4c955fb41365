"""The made-up corpus: the same bytes each time, the published types, faults in exactly the planted numbers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from data_platform.jobs.master_data import load_agencies, load_themes
from data_platform.models.columns import COLUMN_NAMES, PUBLISHED_SCHEMA
from data_platform.models.days import days_of
from dev.sample_data import main, write_corpus

ROWS = 3000


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clean")
    assert write_corpus(out, ROWS) == {}
    return out


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dirty")
    write_corpus(out, ROWS, dirty=True)
    return out


def shards(out: Path) -> list[Path]:
    return sorted((out / "data").glob("train-*.parquet"))


def read(out: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in shards(out)], promote_options="permissive")


def count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def share(mask: pa.ChunkedArray) -> float:
    return count(mask) / ROWS


def test_layout_and_types_are_the_published_ones(clean: Path) -> None:
    assert [path.name for path in shards(clean)] == [f"train-0000{n}-of-00003.parquet" for n in range(3)]
    for path in shards(clean):
        assert pq.read_schema(path).remove_metadata().equals(PUBLISHED_SCHEMA)
    assert read(clean).num_rows == ROWS
    assert tuple(PUBLISHED_SCHEMA.names) == COLUMN_NAMES


def test_the_same_arguments_give_the_same_bytes(clean: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path / "again", ROWS)
    write_corpus(tmp_path / "other", ROWS, seed=8)
    digests = [
        [hashlib.sha256(path.read_bytes()).hexdigest() for path in shards(out)]
        for out in (clean, tmp_path / "again", tmp_path / "other")
    ]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_ids_are_the_md5_of_agency_day_and_title(clean: Path) -> None:
    table = read(clean).combine_chunks()
    days = days_of(table["published_at"].combine_chunks()).to_pylist()
    rows = zip(table["agency"].to_pylist(), days, table["title"].to_pylist(), strict=True)
    expected = [hashlib.md5(f"{a}_{d}_{t}".encode(), usedforsecurity=False).hexdigest() for a, d, t in rows]
    assert table["unique_id"].to_pylist() == expected
    assert len(set(expected)) == ROWS
    assert len(pc.unique(table["url"])) == ROWS


def test_agencies_and_themes_come_from_the_catalogue(clean: Path) -> None:
    table = read(clean)
    assert set(pc.unique(table["agency"]).to_pylist()) <= {agency.key for agency in load_agencies()}
    tree = {theme.full_name for theme in load_themes(str(clean / "themes_tree.yaml"))}
    assert set(pc.unique(table["theme_1_level_1"]).drop_null().to_pylist()) <= tree
    for level in ("1", "2", "3"):
        codes, labels = table[f"theme_1_level_{level}_code"], table[f"theme_1_level_{level}_label"]
        names = {f"{c} - {x}" for c, x in zip(codes.to_pylist(), labels.to_pylist(), strict=True) if c}
        assert names <= tree
        assert names


def test_proportions_are_those_of_the_real_dataset(clean: Path) -> None:
    table = read(clean)
    clock = pc.strftime(pc.local_timestamp(table["published_at"]), format="%H:%M:%S")
    hour = pc.utf8_slice_codeunits(clock, 0, 5)
    assert share(pc.equal(hour, "00:00")) == pytest.approx(0.91, abs=0.02)
    assert share(pc.equal(hour, "23:00")) == pytest.approx(0.037, abs=0.015)
    assert share(pc.equal(table["category"], "No Category")) == pytest.approx(0.39, abs=0.03)
    for column, filled in {
        "theme_1_level_1": 0.97,
        "theme_1_level_1_code": 0.08,
        "summary": 0.08,
        "image": 0.94,
        "updated_datetime": 0.05,
        "subtitle": 0.04,
        "editorial_lead": 0.03,
        "tags": 1.0,
    }.items():
        assert share(pc.is_valid(table[column])) == pytest.approx(filled, abs=0.02), column
    lengths = pc.utf8_length(table["content"])
    assert pc.mean(lengths).as_py() == pytest.approx(4594, rel=0.05)
    assert pc.quantile(lengths, 0.5)[0].as_py() == pytest.approx(4163, rel=0.07)


def test_text_compresses_like_real_text(clean: Path) -> None:
    values = [text.encode() for text in read(clean)["content"].slice(0, 300).to_pylist()]
    compressed = sum(len(pa.compress(value, codec="lz4_raw", asbytes=True)) for value in values)
    assert sum(map(len, values)) / compressed == pytest.approx(1.8, abs=0.2)


def test_row_groups_are_small_but_in_the_last_shard(clean: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path, 900, shards=2, row_group_rows=100)
    groups = [
        [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
        for parquet in map(pq.ParquetFile, shards(tmp_path))
    ]
    assert groups == [[100, 100, 100, 100, 50], [450]]
    assert pq.ParquetFile(shards(clean)[2]).num_row_groups == 1


def test_planted_faults_are_there_in_the_numbers_told(dirty: Path) -> None:
    planted = json.loads((dirty / "planted.json").read_text())
    table = read(dirty)
    ids = pc.value_counts(table["unique_id"])
    repeated = count(pc.subtract(pc.struct_field(ids, "counts"), 1))
    text, image, title = table["theme_1_level_1"], table["image"], pc.utf8_trim_whitespace(table["title"])
    known = pa.array([agency.key for agency in load_agencies()])
    words = pa.array(["None", "nan"])
    found = {
        "missing_date": table["published_at"].null_count,
        "unknown_agency": count(pc.invert(pc.is_in(table["agency"], known))),
        "nul_byte": count(pc.match_substring(table["content"], "\x00")),
        "huge_text": count(pc.greater(pc.binary_length(table["content"]), 1 << 20)),
        "repeated_id_same_content": ROWS - len({json.dumps(row, default=str) for row in table.to_pylist()}),
        "repeated_id_other_content": repeated - planted["repeated_id_same_content"],
        "article_under_two_ids": ROWS
        - len(pc.unique(table["url"]))
        - planted["repeated_id_same_content"]
        - planted["sentinel_url"]
        + 1,
        "empty_title": count(pc.equal(title, "")),
        "sentinel_title": count(pc.equal(title, "No Title")),
        "sentinel_url": count(pc.equal(table["url"], "No URL")),
        "sentinel_content": count(pc.equal(table["content"], "Error retrieving content")),
        "null_tags": table["tags"].null_count,
        "unknown_theme_code": count(pc.equal(table["theme_1_level_1_code"], "77")),
        "label_only_theme": count(pc.invert(pc.match_substring_regex(text, "^[0-9]{2} - "))),
        "relative_image": count(pc.invert(pc.starts_with(image, "https://"))),
        "none_or_nan_text": sum(
            count(pc.is_in(table[name], words)) for name in ("subtitle", "editorial_lead", "category")
        ),
    }
    assert found == planted
    assert min(planted.values()) >= 1


def test_a_dirty_corpus_has_the_null_typed_column_of_the_real_one(dirty: Path) -> None:
    types = [pq.read_schema(path).field("video_url").type for path in shards(dirty)]
    assert types == [pa.null(), pa.null(), pa.string()]


def test_an_earlier_corpus_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "200", "--dirty", "--shards", "5"]) == 0
    assert "planted missing_date: 3" in capsys.readouterr().out
    assert main([str(tmp_path), "101", "--shards", "2"]) == 0
    assert len(shards(tmp_path)) == 2
    assert read(tmp_path).num_rows == 101
    assert not (tmp_path / "planted.json").exists()
