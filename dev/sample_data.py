"""A made-up corpus in the layout of the published dataset, for the demo, the tests and the benchmarks.

    python -m dev.sample_data OUT ROWS [--dirty]

writes `OUT/data/train-NNNNN-of-NNNNN.parquet` (24 columns, published types), `OUT/themes_tree.yaml`
(the tree that its theme codes come from) and, if dirty, `OUT/planted.json` (how often each fault was
planted). The same arguments give the same bytes. Proportions, clusters and quirks are those of the
real dataset; every word is made up.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from data_platform.jobs.master_data import load_agencies, load_themes
from data_platform.models.columns import PUBLISHED_SCHEMA
from data_platform.models.days import instants_of_local
from data_platform.models.themes import Theme
from dev.sample_faults import NO_VIDEO_SCHEMA, FaultPlan
from dev.sample_vocabulary import CATEGORIES, LOWER_THEMES, SUFFIXES, TAGS, Lexicon, zipf

__all__ = ["write_corpus"]

_DAY = 86_400_000_000  # in microseconds
_SENTENCES_PER_TOPIC = 240
_BATCH = 1000
#: Row groups of the last shard: few and large, as one writer of the past made them.
_LARGE_ROW_GROUP = 20_000
#: Share of all rows published before a day.
_GROWTH: Sequence[tuple[str, float]] = (
    ("2003-01-01", 0.0),
    ("2010-01-01", 0.012),
    ("2015-01-01", 0.045),
    ("2019-02-17", 0.118),  # the last day of summer time
    ("2021-01-01", 0.25),
    ("2023-01-01", 0.45),
    ("2025-01-01", 0.69),
    ("2025-10-01", 0.915),  # from here on rows are classified and summarised
    ("2025-12-24", 1.0),
)
_CLASSIFIED_FROM = np.datetime64("2025-10-01", "us")
_CLOCK_TIMES_FROM = np.datetime64("2025-11-19", "us")
_CATEGORIES_FROM = np.datetime64("2020-01-01", "us")
_TAGGED_YEARS = (np.datetime64("2015-01-01", "us"), np.datetime64("2020-01-01", "us"))
_SCRAPED_AGAIN = np.datetime64("2025-09-01T22:30:00", "us")
_EBC_SITES = {
    "agencia_brasil": "agenciabrasil.ebc.com.br/{}/noticia/{}",
    "ebc": "memoria.ebc.com.br/{}/noticias/{}",
    "tvbrasil": "tvbrasil.ebc.com.br/{}/{}",
}


def write_corpus(
    out: Path, rows: int, *, dirty: bool = False, shards: int = 3, seed: int = 7, row_group_rows: int = 1000
) -> dict[str, int]:
    """Write a corpus and return how often each fault was planted (nothing if not dirty).

    Args:
        out: folder to write into; files of an earlier corpus in it are replaced.
        rows: how many rows, all shards together.
        dirty: plant faults (see `sample_faults`).
        shards: how many parquet files.
        seed: another seed gives another corpus.
        row_group_rows: rows per row group, in all shards but the last one.
    """
    folder = out / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in (*folder.glob("train-*.parquet"), out / "planted.json"):
        earlier.unlink(missing_ok=True)
    maker = _Maker(rows, np.random.default_rng(seed))
    (out / "themes_tree.yaml").write_text(maker.themes_yaml(), encoding="utf-8")
    faults = FaultPlan(rows, np.random.default_rng((seed, 1))) if dirty else None
    # Even bounds: a planted repeat always finds the row before it in its own shard and batch.
    bounds = [round(rows * shard / shards) // 2 * 2 for shard in range(shards)] + [rows]
    for shard, (start, stop) in enumerate(pairwise(bounds)):
        last = shard == shards - 1
        has_video = bool(np.isin(maker.agency[start:stop], maker.television).any())
        schema = NO_VIDEO_SCHEMA if dirty and not has_video else PUBLISHED_SCHEMA
        group_rows = max(row_group_rows, _LARGE_ROW_GROUP) if last else row_group_rows
        with pq.ParquetWriter(folder / f"train-{shard:05d}-of-{shards:05d}.parquet", schema) as writer:
            _write_shard(writer, maker, faults, (start, stop), group_rows)
    planted = faults.planted if faults else {}
    if faults:
        (out / "planted.json").write_text(json.dumps(planted, indent=2) + "\n", encoding="utf-8")
    return planted


def _write_shard(
    writer: pq.ParquetWriter, maker: _Maker, faults: FaultPlan | None, bounds: tuple[int, int], group_rows: int
) -> None:
    waiting: list[pa.RecordBatch] = []
    for start in range(bounds[0], bounds[1], _BATCH):
        columns = maker.columns(start, min(start + _BATCH, bounds[1]))
        if faults:
            faults.plant(columns, start)
        waiting.append(pa.RecordBatch.from_pydict(columns, schema=writer.schema))
        while sum(batch.num_rows for batch in waiting) >= group_rows:
            waiting = _write_groups(writer, waiting, group_rows)
    if waiting:
        _write_groups(writer, waiting, group_rows, rest=True)


def _write_groups(
    writer: pq.ParquetWriter, waiting: Sequence[pa.RecordBatch], group_rows: int, *, rest: bool = False
) -> list[pa.RecordBatch]:
    """Write one full row group (or what is left) and return the batches that did not fit into it."""
    table = pa.Table.from_batches(waiting)
    writer.write_table(table.slice(0, None if rest else group_rows), row_group_size=group_rows)
    return [] if rest else table.slice(group_rows).to_batches()


@dataclass(frozen=True)
class _Branch:
    """A way down the tree of themes."""

    first: Theme
    second: Theme
    third: Theme


class _Maker:
    """Makes the rows of a corpus, any stretch of them at a time; the stretches must be asked for in order."""

    def __init__(self, rows: int, rng: np.random.Generator) -> None:
        self._rng = rng
        lexicon = Lexicon(rng)
        self._topics = min(400, max(20, rows // 50))
        self._sentences = np.array(lexicon.sentences(self._topics, _SENTENCES_PER_TOPIC), dtype=object)
        self._titles = lexicon.titles(min(5000, max(200, rows)))
        self._branches = _branches(load_themes())
        keys = sorted(agency.key for agency in load_agencies())
        self._keys = np.array(keys, dtype=object)
        self.television = np.array([keys.index("tvbrasil")] if "tvbrasil" in keys else [], dtype=int)
        # Large and small sites, wherever they stand in the alphabet; rows are sorted as the first full push did.
        agency = rng.permutation(len(keys))[zipf(rng, len(keys), rows, exponent=0.7)]
        local = self._publication_times(rows)
        order = np.lexsort((-local, agency))
        self.agency, self._local = agency[order], local[order]
        self._number = rng.permutation(rows)

    def themes_yaml(self) -> str:
        """Return the tree of the themes in use, in the form of themes_tree.yaml."""
        tree: dict[str, dict[str, list[str]]] = {}
        for branch in self._branches:
            thirds = tree.setdefault(branch.first.full_name, {}).setdefault(branch.second.full_name, [])
            thirds.append(branch.third.full_name)
        return yaml.safe_dump(tree, allow_unicode=True, sort_keys=True, width=200)

    def columns(self, start: int, stop: int) -> dict[str, list[Any]]:
        """Return the columns of rows `start` up to `stop`."""
        rng, size = self._rng, stop - start
        local = self._local[start:stop].view("datetime64[us]")
        published = _instants(local)
        days = local.astype("datetime64[D]").astype(str).tolist()
        agencies = self._keys[self.agency[start:stop]].tolist()
        titles = self._make_titles(start, stop)
        ids = [
            hashlib.md5(f"{agency}_{day}_{title}".encode(), usedforsecurity=False).hexdigest()
            for agency, day, title in zip(agencies, days, titles, strict=True)
        ]
        updated = _some(rng, 0.05, published + rng.integers(_DAY, size=size))
        topics = rng.integers(self._topics, size=size)
        columns: dict[str, list[Any]] = {
            "unique_id": ids,
            "agency": agencies,
            "published_at": published.tolist(),
            "updated_datetime": updated,
            "extracted_at": self._extraction_times(local).tolist(),
            "title": titles,
            "subtitle": _some(rng, 0.04, self._texts(topics, 1)),
            "editorial_lead": _some(rng, 0.03, self._texts(topics, 1)),
            "url": [
                _url(agency, day, uid, number)
                for agency, day, uid, number in zip(agencies, days, ids, self._number[start:stop].tolist(), strict=True)
            ],
            "content": self._contents(topics),
            "image": _some(
                rng, 0.94, [f"https://www.gov.br/{a}/imagens/{u[:20]}.jpeg" for a, u in _pairs(agencies, ids)]
            ),
            "video_url": [
                f"https://tvbrasil.ebc.com.br/videos/{u[:12]}" if a == "tvbrasil" else None
                for a, u in _pairs(agencies, ids)
            ],
            "category": self._categories(local),
            "tags": self._tags(local),
        }
        columns |= self._theme_columns(local, topics)
        return columns

    def _publication_times(self, rows: int) -> np.ndarray:
        """Return São Paulo wall-clock times in microseconds; most of them know the day only."""
        at, share = zip(*_GROWTH, strict=True)
        knots = np.array(at, dtype="datetime64[us]").astype(np.int64)
        times = np.interp(self._rng.random(rows), share, knots).astype(np.int64)
        has_clock = (times >= _CLOCK_TIMES_FROM.astype(np.int64)) | (self._rng.random(rows) < 0.025)
        return np.where(has_clock, times // 1_000_000 * 1_000_000, times // _DAY * _DAY)

    def _extraction_times(self, local: np.ndarray) -> np.ndarray:
        """Return naive UTC nanoseconds: the great re-scrape of September 2025, or the morning after publication."""
        size = len(local)
        again = _SCRAPED_AGAIN + self._rng.integers(25 * 60 * 1_000_000, size=size)
        morning = local.astype("datetime64[D]") + np.timedelta64(1, "D")
        daily = morning.astype("datetime64[us]") + np.timedelta64(9, "h") + self._rng.integers(3_600_000_000, size=size)
        return np.where(local < _SCRAPED_AGAIN, again, daily).astype("datetime64[ns]").astype(np.int64)

    def _make_titles(self, start: int, stop: int) -> list[str]:
        picked = self._rng.integers(len(self._titles), size=stop - start).tolist()
        numbers = self._number[start:stop].tolist()
        return [self._titles[i] + SUFFIXES[n % len(SUFFIXES)].format(n) for i, n in zip(picked, numbers, strict=True)]

    def _contents(self, topics: np.ndarray) -> list[str]:
        rng, size = self._rng, len(topics)
        # 931 to 58,797 characters, median 4,160, mean 4,590.
        wanted = rng.lognormal(np.log(4160), 0.44, size) * np.where(rng.random(size) < 0.0015, 6, 1)
        counts = np.maximum(wanted / 102, 9).astype(int)  # a sentence and its share of the breaks
        texts = self._texts(topics, counts, break_every=3)
        # Non-breaking and zero-width spaces, left by editors' pasting.
        for i in np.flatnonzero(rng.random(size) < 0.08).tolist():
            texts[i] = texts[i].replace(" ", "\u00a0", 2).replace(", ", ",\u200b ", 1)
        return texts

    def _texts(self, topics: np.ndarray, counts: np.ndarray | int, *, break_every: int = 1000) -> list[str]:
        """Return texts of so many sentences, each text within its topic."""
        counts = np.broadcast_to(counts, topics.shape)
        ends = np.cumsum(counts)
        picked = np.repeat(topics, counts) * _SENTENCES_PER_TOPIC + self._rng.integers(
            _SENTENCES_PER_TOPIC, size=int(ends[-1])
        )
        words = self._sentences[picked].tolist()
        texts = []
        for start, end in zip((ends - counts).tolist(), ends.tolist(), strict=True):
            paragraphs = [" ".join(words[i : min(i + break_every, end)]) for i in range(start, end, break_every)]
            texts.append("\n\n".join(paragraphs))
        return texts

    def _categories(self, local: np.ndarray) -> list[str]:
        size = len(local)
        none = (local < _CATEGORIES_FROM) | (self._rng.random(size) < 0.25)
        names = [CATEGORIES[i] for i in zipf(self._rng, len(CATEGORIES), size, exponent=1.0).tolist()]
        return ["No Category" if is_none else name for is_none, name in zip(none.tolist(), names, strict=True)]

    def _tags(self, local: np.ndarray) -> list[list[str]]:
        rng, size = self._rng, len(local)
        tagged_year = (local >= _TAGGED_YEARS[0]) & (local < _TAGGED_YEARS[1])
        has_tags = rng.random(size) < np.where(tagged_year, 0.95, 0.2)
        counts = np.where(has_tags, rng.choice([1, 3, 4, 2, 5], size, p=[0.38, 0.27, 0.17, 0.12, 0.06]), 0)
        drawn = zipf(rng, len(TAGS), (size, 5)).tolist()
        return [list(dict.fromkeys(TAGS[i] for i in row[:n])) for row, n in zip(drawn, counts.tolist(), strict=True)]

    def _theme_columns(self, local: np.ndarray, topics: np.ndarray) -> dict[str, list[Any]]:
        rng, size = self._rng, len(local)
        known = rng.random(size) >= np.where(local >= np.datetime64("2025-01-01"), 0.07, 0.012)
        classified = (known & (local >= _CLASSIFIED_FROM) & (rng.random(size) < 0.97)).tolist()
        depth = rng.choice([3, 2, 1], size, p=[0.95, 0.03, 0.02]).tolist()
        branches = [self._branches[i] for i in rng.integers(len(self._branches), size=size).tolist()]
        summaries = self._texts(topics, rng.integers(4, 7, size))
        rows = [
            _theme_cells(branch, deep if is_classified else 0, is_known=is_known)
            for branch, is_known, is_classified, deep in zip(branches, known.tolist(), classified, depth, strict=True)
        ]
        names = [name for name in PUBLISHED_SCHEMA.names if "theme" in name]
        columns: dict[str, list[Any]] = {
            name: list(cells) for name, cells in zip(names, zip(*rows, strict=True), strict=True)
        }
        columns["summary"] = [text if is_there else None for text, is_there in zip(summaries, classified, strict=True)]
        return columns


def _theme_cells(branch: _Branch, depth: int, *, is_known: bool) -> tuple[str | None, ...]:
    """Return the nine theme cells of a row that is classified down to a level (0: the first level's text alone)."""
    levels = (branch.first, branch.second, branch.third)[:depth]
    padded = [*levels, *[None] * (3 - depth), levels[-1] if levels else None]
    codes = [part for theme in padded for part in ((theme.code, theme.label) if theme else (None, None))]
    return (branch.first.full_name if is_known else None, *codes)


def _branches(themes: Sequence[Theme]) -> list[_Branch]:
    """Return every way down the tree; where it has no lower levels, they are made up."""
    children: dict[str | None, list[Theme]] = {}
    for theme in themes:
        children.setdefault(theme.parent_code, []).append(theme)

    def below(parent: Theme) -> list[Theme]:
        made_up = [
            Theme(
                f"{parent.code}.{n:02d}", f"{LOWER_THEMES[(n + len(parent.code)) % 9]}", parent.level + 1, parent.code
            )
            for n in (1, 2, 3)
        ]
        return children.get(parent.code) or made_up

    return [_Branch(one, two, three) for one in children[None] for two in below(one) for three in below(two)]


def _instants(local: np.ndarray) -> np.ndarray:
    """Return UTC microseconds of São Paulo wall-clock times, by the rules of summer time of their year."""
    return np.asarray(instants_of_local(pa.array(local)).cast(pa.int64()))


def _url(agency: str, day: str, uid: str, number: int) -> str:
    if pattern := _EBC_SITES.get(agency):
        scheme = "http" if number % 10 < 7 else "https"  # older EBC rows are plain http
        return f"{scheme}://{pattern.format(day[:7].replace('-', '/'), uid[:10])}-{number}"
    return f"https://www.gov.br/{agency}/pt-br/noticias/{day[:4]}/{uid[:14]}-{number}"


def _pairs(first: Sequence[str], second: Sequence[str]) -> zip[tuple[str, str]]:
    return zip(first, second, strict=True)


def _some(rng: np.random.Generator, share: float, values: Sequence[Any] | np.ndarray) -> list[Any]:
    """Keep a share of the values, the others become None."""
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    kept = (rng.random(len(listed)) < share).tolist()
    return [value if is_kept else None for value, is_kept in zip(listed, kept, strict=True)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a made-up corpus in the layout of the published dataset."""
    parser = argparse.ArgumentParser(prog="python -m dev.sample_data", description=main.__doc__)
    parser.add_argument("out", type=Path, help="folder to write into")
    parser.add_argument("rows", type=int, help="how many rows")
    parser.add_argument("--dirty", action="store_true", help="plant faults and count them in OUT/planted.json")
    parser.add_argument("--shards", type=int, default=3, help="parquet files (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="another seed, another corpus (default: %(default)s)")
    options = parser.parse_args(arguments)
    planted = write_corpus(options.out, options.rows, dirty=options.dirty, shards=options.shards, seed=options.seed)
    sys.stdout.write(f"{options.rows} rows in {options.shards} files below {options.out / 'data'}\n")
    for kind, count in planted.items():
        sys.stdout.write(f"  planted {kind}: {count}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
