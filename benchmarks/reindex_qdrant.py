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
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dataset import figure_line, in_child, peak_mb
from benchmarks.migration import sample_corpus
from benchmarks.rebuild import KEY, rate_line, send, write_rows
from dev.stand_in import run_apart

__all__ = ["Figures", "lines", "measure"]

DIMENSION = 768
_LEAST_PER_SECOND, _MOST_MB = 8_000.0, 400.0


@dataclass(frozen=True)
class Figures:
    """What was measured: embedder -> what its process says (rows, seconds, reading_s, cpu_s, peak_mb)."""

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
        write_rows(corpus, rows)
        return Figures({embedder: _against_sink(embedder, rows, points) for embedder in ("hashing", "prepared")})


def _against_sink(embedder: str, rows: Path, points: int) -> dict[str, Any]:
    with run_apart("dev.qdrant_server", "--sink", "--key", KEY) as url:
        return in_child("benchmarks.reindex_qdrant", dict(os.environ), embedder, str(rows), url, str(points))


def _do(embedder: str, rows: str, url: str, points: str) -> dict[str, Any]:
    """Write as a task would."""
    from data_platform.managers.embeddings.hashing import HashingEmbedder
    from data_platform.managers.qdrant.index import QdrantIndex
    from data_platform.managers.qdrant.session import QdrantSession
    from data_platform.settings import Settings

    session = QdrantSession(Settings(qdrant_url=url, qdrant_api_key=KEY))
    index = QdrantIndex(session, HashingEmbedder(DIMENSION) if embedder == "hashing" else Prepared())
    return send(index, rows, int(points))


def lines(figures: Figures) -> list[str]:
    """Return what was measured, against the limits."""
    found = [f"{figures.told['hashing']['rows']:,} points of {DIMENSION} numbers into a sink, {os.cpu_count()} cores"]
    for embedder, told in figures.told.items():
        alone = told["seconds"] - told["reading_s"]
        found += [
            rate_line(f"{embedder}, with reading", told["rows"], told["seconds"], _LEAST_PER_SECOND),
            rate_line(f"{embedder}, without reading", told["rows"], alone),
            figure_line(f"{embedder}, processor for 1,000 points", told["cpu_s"] / told["rows"] * 1e6, "ms"),
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
        print(json.dumps({**_do(*arguments.do), "peak_mb": peak_mb()}))
        return 0
    corpus = arguments.corpus or sample_corpus(arguments.rows)
    print("\n".join(lines(measure(corpus, arguments.points))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
