"""Faults planted into the made-up corpus: what the real dataset has, each in a number known beforehand.

Every fault gets rows of its own: no row carries two, and the row before a repeat carries none. So
the counts in `planted.json` are exactly what a loader must find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from data_platform.models.columns import PUBLISHED_SCHEMA

__all__ = ["NO_VIDEO_SCHEMA", "FaultPlan"]

#: A column that is null throughout is written with parquet's null type; the real dataset's `video_url` was.
NO_VIDEO_SCHEMA: pa.Schema = PUBLISHED_SCHEMA.set(
    PUBLISHED_SCHEMA.get_field_index("video_url"), pa.field("video_url", pa.null())
)

Columns = dict[str, list[Any]]
_UNKNOWN_AGENCIES = ("orgao_inexistente", "secretaria-extinta")
_HUGE_CHARACTERS = 1_200_000


def _missing_date(columns: Columns, row: int, _chance: int) -> None:
    columns["published_at"][row] = None


def _unknown_agency(columns: Columns, row: int, chance: int) -> None:
    columns["agency"][row] = _UNKNOWN_AGENCIES[chance % len(_UNKNOWN_AGENCIES)]


def _nul_byte(columns: Columns, row: int, _chance: int) -> None:
    content = columns["content"][row]
    columns["content"][row] = f"{content[:500]}\x00{content[500:]}"


def _huge_text(columns: Columns, row: int, _chance: int) -> None:
    content = columns["content"][row]
    # Numbered, so that it is no mere repetition: 1 MB of different words is what broke a text index.
    copies = _HUGE_CHARACTERS // len(content) + 1
    columns["content"][row] = "\n\n".join(f"Anexo {copy}. {content}" for copy in range(copies))


def _repeated_id_same_content(columns: Columns, row: int, _chance: int) -> None:
    for values in columns.values():
        values[row] = values[row - 1]


def _repeated_id_other_content(columns: Columns, row: int, _chance: int) -> None:
    columns["unique_id"][row] = columns["unique_id"][row - 1]


def _article_under_two_ids(columns: Columns, row: int, _chance: int) -> None:
    for name in ("agency", "url", "published_at"):
        columns[name][row] = columns[name][row - 1]


def _empty_title(columns: Columns, row: int, chance: int) -> None:
    columns["title"][row] = " " * (chance % 2)


def _sentinel_title(columns: Columns, row: int, _chance: int) -> None:
    columns["title"][row] = "No Title"


def _sentinel_url(columns: Columns, row: int, _chance: int) -> None:
    columns["url"][row] = "No URL"


def _sentinel_content(columns: Columns, row: int, _chance: int) -> None:
    columns["content"][row] = "Error retrieving content"


def _null_tags(columns: Columns, row: int, _chance: int) -> None:
    columns["tags"][row] = None


def _unknown_theme_code(columns: Columns, row: int, _chance: int) -> None:
    columns["theme_1_level_1"][row] = "77 - Tema Desconhecido"
    columns["theme_1_level_1_code"][row] = "77"
    columns["theme_1_level_1_label"][row] = "Tema Desconhecido"


def _label_only_theme(columns: Columns, row: int, _chance: int) -> None:
    columns["theme_1_level_1"][row] = (columns["theme_1_level_1"][row] or "03 - Saúde").partition(" - ")[2]


def _relative_image(columns: Columns, row: int, chance: int) -> None:
    uid = columns["unique_id"][row]
    columns["image"][row] = (f"resolveuid/{uid}", f"../imagens/{uid}.png", f"@@images/{uid}.jpeg")[chance % 3]


def _none_or_nan_text(columns: Columns, row: int, chance: int) -> None:
    columns[("subtitle", "editorial_lead", "category")[chance % 3]][row] = ("None", "nan")[chance % 2]


#: Fault -> the share of rows that get it, and how.
_FAULTS: Mapping[str, tuple[float, Callable[[Columns, int, int], None]]] = {
    "missing_date": (0.0005, _missing_date),
    "unknown_agency": (0.0010, _unknown_agency),
    "nul_byte": (0.0005, _nul_byte),
    "huge_text": (0.0001, _huge_text),
    "repeated_id_same_content": (0.0005, _repeated_id_same_content),
    "repeated_id_other_content": (0.0005, _repeated_id_other_content),
    "article_under_two_ids": (0.0005, _article_under_two_ids),
    "empty_title": (0.0002, _empty_title),
    "sentinel_title": (0.0001, _sentinel_title),
    "sentinel_url": (0.0001, _sentinel_url),
    "sentinel_content": (0.0004, _sentinel_content),
    "null_tags": (0.0002, _null_tags),
    "unknown_theme_code": (0.0004, _unknown_theme_code),
    "label_only_theme": (0.0004, _label_only_theme),
    "relative_image": (0.0004, _relative_image),
    "none_or_nan_text": (0.0004, _none_or_nan_text),
}


#: A small corpus has three of each, but few texts that alone are as large as the rest of it.
_AT_LEAST = {"huge_text": 1}


class FaultPlan:
    """Which row gets which fault.

    Args:
        rows: how many rows the corpus has; with fewer than two per fault some faults are left out.
        rng: where chance comes from.
    """

    def __init__(self, rows: int, rng: np.random.Generator) -> None:
        wanted = {name: max(_AT_LEAST.get(name, 3), round(share * rows)) for name, (share, _) in _FAULTS.items()}
        # Odd rows only: the even row before stays whole, for a repeat to repeat.
        places = rng.permutation(np.arange(1, rows, 2))[: sum(wanted.values())].tolist()
        names = [name for name, count in wanted.items() for _ in range(count)]
        self._fault_of = dict(zip(places, names, strict=False))
        #: Fault -> how many rows have it.
        self.planted: dict[str, int] = {name: list(self._fault_of.values()).count(name) for name in _FAULTS}

    def plant(self, columns: Columns, start: int) -> None:
        """Put the faults into the columns of a stretch of rows that begins with row `start`."""
        for row in range(len(columns["unique_id"])):
            if name := self._fault_of.get(start + row):
                _FAULTS[name][1](columns, row, (start + row) // 2)
