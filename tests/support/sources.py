"""Small sources in the layout of the published dataset, with every cell under the test's control.

A row is a plain dict of the 24 columns as Python values; `article` makes a good one, `write_source`
writes rows into parquet files. Segments of a migration never span files, so several files give several segments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_platform.models.agencies import Agency
from data_platform.models.columns import COLUMN_NAMES, PUBLISHED_SCHEMA
from data_platform.models.themes import Theme

__all__ = [
    "AGENCIES",
    "BRASILIA",
    "NO_THEME",
    "THEMES",
    "Row",
    "article",
    "articles",
    "data_files",
    "expected",
    "newer",
    "theme_codes",
    "theme_text",
    "write_rows",
    "write_source",
]

Row = dict[str, Any]

#: The offset at which the published schema writes instants.
BRASILIA = timezone(timedelta(hours=-3))

AGENCIES: tuple[Agency, ...] = (
    Agency("mre", "Ministério das Relações Exteriores", "Ministério", "presidencia", "https://www.gov.br/mre"),
    Agency("aeb", "Agência Espacial Brasileira", "Agência", "mcti", "https://www.gov.br/aeb"),
    Agency("saude", "Ministério da Saúde", "Ministério", "presidencia", "https://www.gov.br/saude"),
)
THEMES: tuple[Theme, ...] = (
    Theme("01", "Economia e Finanças", 1),
    Theme("01.01", "Política Econômica", 2, "01"),
    Theme("01.01.01", "Política Fiscal", 3, "01.01"),
    Theme("01.01.02", "Autonomia Econômica", 3, "01.01"),
    Theme("05", "Meio Ambiente", 1),
    Theme("05.02", "Clima", 2, "05"),
    Theme("05.02.03", "Emissões", 3, "05.02"),
    Theme("20", "Política e Governo", 1),
)
_LABELS = {theme.code: theme.label for theme in THEMES}
_THEME_COLUMNS = tuple(name for name in COLUMN_NAMES if name.startswith(("theme_1", "most_specific")))

#: The nine theme cells of a row that has no theme.
NO_THEME: Row = dict.fromkeys(_THEME_COLUMNS)


def theme_text(code: str) -> Row:
    """Return the theme cells of an old row, which knows only "NN - Label" of the first level."""
    return NO_THEME | {"theme_1_level_1": f"{code} - {_LABELS[code]}"}


def theme_codes(code: str) -> Row:
    """Return the theme cells of a classified row, down to the level of a code."""
    cells = NO_THEME | {"theme_1_level_1": f"{code[:2]} - {_LABELS[code[:2]]}"}
    for level, length in ((1, 2), (2, 5), (3, 8)):
        if len(code) >= length:
            part = code[:length]
            cells |= {f"theme_1_level_{level}_code": part, f"theme_1_level_{level}_label": _LABELS[part]}
    return cells | {"most_specific_theme_code": code, "most_specific_theme_label": _LABELS[code]}


def article(number: int, **cells: Any) -> Row:
    """Return a good row; the same number gives the same row.

    Args:
        number: tells articles apart: id, title, url and dates come from it.
        cells: what shall be otherwise.
    """
    agency = AGENCIES[number % len(AGENCIES)].key
    classified = number % 3 == 0
    row: Row = (
        dict.fromkeys(COLUMN_NAMES)
        | {
            "unique_id": hashlib.md5(f"article {number}".encode(), usedforsecurity=False).hexdigest(),
            "agency": agency,
            "published_at": datetime(2024, 3, 1, tzinfo=BRASILIA) + timedelta(days=number),
            "updated_datetime": datetime(2025, 11, 20, 9, 30, tzinfo=BRASILIA) if number % 5 == 0 else None,
            "extracted_at": datetime(2025, 9, 1, 12) + timedelta(seconds=number, microseconds=7),  # noqa: DTZ001 - as published
            "title": f"Notícia {number}: ação no município",
            "subtitle": f"Linha fina {number}" if classified else None,
            "url": f"https://www.gov.br/{agency}/pt-br/noticias/noticia-{number}",
            "content": f"Texto da notícia {number}, com acentuação, “aspas” e emoji 🛰.\n\n" * 4,
            "image": f"https://www.gov.br/{agency}/imagem-{number}.jpg",
            "category": "Notícias",
            "tags": [f"tag {number}", "ciência", "orçamento"][: number % 4],
            "summary": f"Resumo {number}" if classified else None,
        }
    )
    row |= (
        theme_codes(("01.01.01", "01.01.02", "05.02")[number // 3 % 3])
        if classified
        else theme_text(("05", "20")[number % 2])
    )
    unknown = set(cells) - set(COLUMN_NAMES)
    if unknown:
        raise KeyError(f"not columns of the dataset: {sorted(unknown)}")
    return row | cells


def articles(count: int, *, first: int = 0) -> list[Row]:
    """Return good rows with successive numbers."""
    return [article(number) for number in range(first, first + count)]


def newer(row: Row, *, hours: float = 24, **cells: Any) -> Row:
    """Return a row as a later scrape would give it: extracted later, with some cells otherwise."""
    return row | {"extracted_at": row["extracted_at"] + timedelta(hours=hours)} | cells


def expected(row: Row) -> Row:
    """Return a row as a query on `news_published` gives it back: every instant in UTC."""
    return {
        name: value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value
        for name, value in row.items()
    }


def write_source(
    folder: Path,
    files: Sequence[Sequence[Row]] | Mapping[str, Sequence[Row]],
    *,
    row_group_rows: int = 16,
    schema: pa.Schema = PUBLISHED_SCHEMA,
) -> Path:
    """Write a folder in the legacy layout, in place of what is there; return it.

    Args:
        folder: where to; its `data` gets the files.
        files: rows of each file, in order (named `train-0000i-of-0000n.parquet`), or by name.
        row_group_rows: rows of a row group.
        schema: physical columns and types.
    """
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    for earlier in data.glob("*.parquet"):
        earlier.unlink()
    if not isinstance(files, Mapping):
        files = {f"train-{i:05d}-of-{len(files):05d}.parquet": rows for i, rows in enumerate(files)}
    for name, rows in files.items():
        write_rows(data / name, rows, row_group_rows=row_group_rows, schema=schema)
    return folder


def write_rows(
    path: Path, rows: Iterable[Row], *, row_group_rows: int = 16, schema: pa.Schema = PUBLISHED_SCHEMA
) -> Path:
    """Write one parquet file."""
    table = pa.Table.from_pylist(list(rows), schema=schema)
    pq.write_table(table, path, row_group_size=row_group_rows, compression="snappy")
    return path


def data_files(folder: Path) -> list[Path]:
    """Return the parquet files of a source, in order."""
    return sorted((folder / "data").glob("*.parquet"))
