"""PostgresManager against PostgreSQL's own limits, in a table of 309,193 rows.

    python -m benchmarks.stores [--rows N] [--rounds N] [--corpus FOLDER --agencies FILE --themes FILE]

* insert of 10,000 new rows, from Python lists to COMMIT, against raw binary COPY of the same rows into the same table;
* insert of a day of 2,000 rows, by itself;
* update of the themes of 10,000 rows, by code, against one UPDATE a row in one transaction.

Each pair follows each other within a round, by turns in either order; medians of the rounds are compared.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pyarrow.parquet as pq

from benchmarks.migration import ROWS, against, command, sample_corpus
from data_platform.managers.postgres.binary_copy import HEADER, TRAILER, buffer_of, encode_tuples
from data_platform.managers.postgres.news_table import NEWS_COLUMNS, Catalogue, news_rows
from data_platform.managers.postgres_manager import PostgresManager
from data_platform.sources.given import batch_of_columns
from data_platform.sources.judged import judge
from dev.embedded_postgres import EmbeddedPostgres, system_postgres_bin

BATCH = 10_000
DAY = 2_000
_COLUMNS = ", ".join(name for name, _ in NEWS_COLUMNS)
_ONE_ROW = """
UPDATE news SET theme_form = 'codes', theme_cells = NULL,
       theme_l1_id = (SELECT id FROM themes WHERE code = %s), theme_l2_id = (SELECT id FROM themes WHERE code = %s),
       theme_l3_id = (SELECT id FROM themes WHERE code = %s),
       most_specific_theme_id = (SELECT id FROM themes WHERE code = %s)
 WHERE unique_id = %s
"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--corpus", type=Path, help="a dataset folder to use instead of our own made-up one")
    parser.add_argument("--agencies", default="", help="agencies.yaml that fits the corpus")
    parser.add_argument("--themes", default="", help="themes_tree.yaml that fits the corpus")
    arguments = parser.parse_args()
    corpus = arguments.corpus or sample_corpus(arguments.rows)
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="govbr-bench-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres(data_dir=Path(folder) / "data", bin_dir=system_postgres_bin()) as server:
            server.create_database("stores")
            url = server.url("stores")
            command(url, "create-schema")
            for what, source in (("agencies", arguments.agencies), ("themes", arguments.themes)):
                command(url, f"populate-{what}", *(["--source", source] if source else []))
            command(url, "migrate", "--source", str(corpus), "--no-validate")
            figures = _measure(url, corpus, arguments.rounds)
    _print(figures, arguments.rows)
    return 0


def _measure(url: str, corpus: Path, rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {"insert": [], "copy": [], "update": [], "row by row": [], "again": [], "day": []}
    manager = PostgresManager(url)
    sample = next(pq.ParquetFile(max((corpus / "data").glob("*.parquet"))).iter_batches(BATCH)).to_pydict()
    with psycopg.connect(url, autocommit=True) as connection:
        _add_theme_levels(connection)
        for round_no in range(rounds):
            print(f"round {round_no + 1} of {rounds}", flush=True)
            rows, raw = _fresh(sample, f"bench{round_no}"), _encoded(connection, _fresh(sample, f"raw{round_no}"))
            pair = [("insert", lambda rows=rows: manager.insert(rows)), ("copy", lambda raw=raw: _raw_copy(url, raw))]
            # By turns, since the second one finds pages in memory that the first one had to read and log whole.
            for name, work in pair if round_no % 2 else reversed(pair):
                seconds[name].append(_timed(work))
            day = _fresh({name: values[:DAY] for name, values in sample.items()}, f"day{round_no}")
            seconds["day"].append(_timed(lambda day=day: manager.insert(day, allow_update=True)))
            seconds["again"].append(_timed(lambda rows=rows: manager.insert(rows)))
            ids = [uid for (uid,) in connection.execute(_SOME_IDS, (2 * BATCH,)).fetchall()]
            frames = [_themes(connection, ids[:BATCH]), _themes(connection, ids[BATCH:])]
            seconds["update"].append(_timed(lambda frame=frames[0]: manager.update(frame)))
            seconds["row by row"].append(_timed(lambda frame=frames[1]: _one_by_one(url, frame)))
    manager.close()
    return seconds


_SOME_IDS = "SELECT unique_id FROM news TABLESAMPLE BERNOULLI (20) ORDER BY random() LIMIT %s"


def _timed(work: Callable[[], Any]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def _add_theme_levels(connection: psycopg.Connection[Any]) -> None:
    """Give every first level a second and a third, which the shipped catalogue has for few."""
    for level in (2, 3):
        connection.execute(
            "INSERT INTO themes (code, label, full_name, level, parent_code)"
            " SELECT code || '.09', 'Bench', code || '.09 - Bench', %s, code FROM themes WHERE level = %s"
            " ON CONFLICT DO NOTHING",
            (level, level - 1),
        )


def _fresh(sample: dict[str, list[Any]], name: str) -> dict[str, list[Any]]:
    """Return the sample as articles that nobody has."""
    count = len(sample["unique_id"])
    return sample | {
        "unique_id": [f"{name}-{number}" for number in range(count)],
        "url": [f"https://www.gov.br/{name}/noticia-{number}" for number in range(count)],
    }


def _encoded(connection: psycopg.Connection[Any], rows: dict[str, list[Any]]) -> bytes:
    """Return rows as the bytes of a COPY into news."""
    catalogue = Catalogue.read(connection)
    admitted = judge("bench", batch_of_columns(rows), catalogue.themes).cleaned.batch
    arrays = news_rows(admitted, catalogue, duplicate_of={})
    kinds = [kind for _, kind in NEWS_COLUMNS]
    return HEADER + bytes(buffer_of(encode_tuples(list(zip(arrays, kinds, strict=True))))) + TRAILER


def _raw_copy(url: str, rows: bytes) -> None:
    with (
        psycopg.connect(url) as connection,
        connection.cursor().copy(f"COPY news ({_COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        for first in range(0, len(rows), 1 << 20):
            copy.write(rows[first : first + (1 << 20)])


def _themes(connection: psycopg.Connection[Any], ids: list[str]) -> pd.DataFrame:
    """Return a classification of rows, by code."""
    codes = [code for (code,) in connection.execute("SELECT code FROM themes WHERE level = 3").fetchall()]
    chosen = random.choices(codes, k=len(ids))  # noqa: S311 - a sample
    return pd.DataFrame(
        {
            "unique_id": ids,
            "theme_1_level_1_code": [code[:2] for code in chosen],
            "theme_1_level_2_code": [code[:5] for code in chosen],
            "theme_1_level_3_code": chosen,
            "most_specific_theme_code": chosen,
        }
    )


def _one_by_one(url: str, frame: pd.DataFrame) -> None:
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        for uid, first, second, third, most in frame.itertuples(index=False):
            cursor.execute(_ONE_ROW, (first, second, third, most, uid))


def _print(seconds: dict[str, list[float]], rows: int) -> None:
    median = {name: statistics.median(times) for name, times in seconds.items()}
    insert, update = median["insert"] / median["copy"], median["row by row"] / median["update"]
    print(
        f"\nPostgresManager, batches of {BATCH:,} rows in a table of {rows:,}, {os.cpu_count()} cores, median of rounds"
    )
    print(f"  {'insert / raw COPY of the same rows':<56} {insert:6.2f} x   {against(insert, 1.5)}")
    kept = "met" if update >= 10 else "NOT MET"  # noqa: PLR2004 - the limit
    print(f"  {'one UPDATE a row / update of themes':<56} {update:6.2f} x   {kept}: at least 10")
    kept = "met" if median["day"] < 2 else "NOT MET"  # noqa: PLR2004 - the limit
    print(f"  {f'insert of a day of {DAY:,} rows':<56} {median['day']:6.2f} s   {kept}: below 2")
    for name, label in (
        ("insert", "insert"),
        ("copy", "raw COPY"),
        ("again", "the same insert again, which changes nothing"),
        ("update", "update of themes"),
        ("row by row", "one UPDATE a row"),
    ):
        print(f"  {label:<56} {median[name]:6.2f} s")


if __name__ == "__main__":
    sys.exit(main())
