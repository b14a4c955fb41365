"""A full rebuild of the index of semantic search, against a sink that only counts: points a second, and memory.

    python -m benchmarks.reindex_qdrant [--rows N] [--points N] [--corpus FOLDER]

Rows of a corpus, in batches of 2,000 as the change feed gives them, are written by `QdrantIndex` in a process of its
own into a stand-in in another process that reads requests to their end and counts their points. So what is measured is
ours: text, hash, vector of 768 numbers, payload, JSON, HTTP. The corpus is gone through again until there are enough
points.

Twice: with the hashing embedder, whose vectors have many zeros, and with vectors without any zero that are there
already, as a service would send them. Seconds begin with the first batch; reading the corpus is part of them and told
by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.dataset import figure_line, in_child, peak_mb
from benchmarks.migration import sample_corpus
from dev.state import REPOSITORY

__all__ = ["Figures", "lines", "measure"]

DIMENSION, BATCH_ROWS = 768, 2_000
_LEAST_PER_SECOND, _MOST_MB = 8_000.0, 400.0
_COLLECTION = "news_20240101T000000000000Z"
_KEY = "key"


@dataclass(frozen=True)
class Figures:
    """What was measured: embedder -> what its process says (points, seconds, reading_s, cpu_s, peak_mb)."""

    told: dict[str, dict[str, Any]]


class Prepared:
    """Gives out vectors that were made before, without any zero in them."""

    model, dimension, approximate, is_local = "prepared", DIMENSION, True, True

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._vectors = rng.standard_normal((1024, DIMENSION)).astype(np.float32)

    def embed(self, texts: Sequence[str]) -> Any:  # noqa: ANN401 - imported late
        from data_platform.managers.embeddings.interface import Embedded

        return Embedded(self._vectors[: len(texts)])

    def close(self) -> None:
        """Nothing is held open."""


def measure(corpus: Path, points: int) -> Figures:
    """Rebuild into a sink, with both embedders.

    Args:
        corpus: a dataset folder.
        points: how many points to write.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.arrow"
        _write_rows(corpus, rows)
        return Figures({embedder: _against_sink(embedder, rows, points) for embedder in ("hashing", "prepared")})


def _against_sink(embedder: str, rows: Path, points: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "dev.qdrant_server", "--sink", "--key", _KEY]
    sink = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        url = sink.stdout.readline().strip() if sink.stdout else ""
        return in_child("benchmarks.reindex_qdrant", dict(os.environ), embedder, str(rows), url, str(points))
    finally:
        sink.kill()
        sink.wait()


def _write_rows(corpus: Path, to: Path) -> None:
    """Write the rows of a corpus that admission takes as batches, as the change feed gives them."""
    from data_platform.models.columns import NORMAL_SCHEMA, REQUIRED_COLUMNS
    from data_platform.settings import Settings
    from data_platform.sources.dataset import open_source

    source = open_source(str(corpus), settings=Settings())
    with pa.OSFile(str(to), "wb") as file, pa.ipc.new_stream(file, NORMAL_SCHEMA) as stream:
        for file_of in source.snapshot.files:
            for group in range(len(file_of.row_groups)):
                for normal in source.batches(file_of.path, row_group=group, batch_rows=BATCH_ROWS):
                    rows = normal.batch
                    for name in REQUIRED_COLUMNS:
                        rows = rows.filter(rows.column(name).is_valid())
                    stream.write_batch(rows)


def _batches(rows: str, points: int) -> Iterator[pa.RecordBatch]:
    """Give rows, again and again, until there are enough."""
    left = points
    while left > 0:
        with pa.OSFile(rows, "rb") as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                yield batch.slice(0, left)
                left -= batch.num_rows
                if left <= 0:
                    return


def _do(embedder: str, rows: str, url: str, points: str) -> int:
    """Write as a task would, and print what it took."""
    from data_platform.managers.embeddings.hashing import HashingEmbedder
    from data_platform.managers.qdrant.index import QdrantIndex
    from data_platform.managers.qdrant.session import QdrantSession
    from data_platform.managers.search_index import Card
    from data_platform.settings import Settings

    session = QdrantSession(Settings(qdrant_url=url, qdrant_api_key=_KEY))
    index = QdrantIndex(session, HashingEmbedder(DIMENSION) if embedder == "hashing" else Prepared())
    index.create(_COLLECTION, Card("benchmark"))
    written, writing_s, cpu, started = 0, 0.0, time.process_time(), time.monotonic()
    for batch in _batches(rows, int(points)):
        begun = time.monotonic()
        written += index.write(_COLLECTION, batch).written
        writing_s += time.monotonic() - begun
    seconds = time.monotonic() - started
    counted = index.count(_COLLECTION)
    if counted != written:
        raise SystemExit(f"{written} points were said to be written, the sink counted {counted}")
    told = {
        "points": counted,
        "seconds": seconds,
        "reading_s": seconds - writing_s,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": peak_mb(),
    }
    index.close()
    print(json.dumps(told))
    return 0


def lines(figures: Figures) -> list[str]:
    """Return what was measured, against the limits."""
    found = [f"{figures.told['hashing']['points']:,} points of {DIMENSION} numbers into a sink, {os.cpu_count()} cores"]
    for embedder, told in figures.told.items():
        rate = told["points"] / told["seconds"]
        is_met = "met" if rate >= _LEAST_PER_SECOND else "NOT MET"
        found += [
            f"  {f'{embedder}, with reading':<56} {rate:8,.0f} /s  {is_met}: at least {_LEAST_PER_SECOND:,.0f} /s",
            f"  {f'{embedder}, without reading':<56} {told['points'] / (told['seconds'] - told['reading_s']):8,.0f} /s",
            figure_line(f"{embedder}, processor for 1,000 points", told["cpu_s"] / told["points"] * 1e6, "ms"),
            figure_line(f"{embedder}, largest memory", told["peak_mb"], "MB", _MOST_MB),
        ]
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=40_000, help="of the made-up corpus (default: %(default)s)")
    parser.add_argument("--points", type=int, default=309_193, help="points to write (default: %(default)s)")
    parser.add_argument("--corpus", type=Path, help="a dataset folder to use instead of our own made-up one")
    parser.add_argument("--do", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.do:
        return _do(*arguments.do)
    corpus = arguments.corpus or sample_corpus(arguments.rows)
    print("\n".join(lines(measure(corpus, arguments.points))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
