"""Pieces of a source as every step of a migration reads them: cleaned, and judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from data_platform.jobs.migration.records import Piece
from data_platform.models.theme_cells import ThemeIndex
from data_platform.sources.dataset import Source
from data_platform.sources.judged import ReadBatch, judge

__all__ = ["read_pieces"]


def read_pieces(
    source: Source,
    pieces: Iterable[Piece],
    *,
    batch_rows: int,
    themes: ThemeIndex | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[ReadBatch]:
    """Read pieces of a source, cleaned and judged.

    Args:
        source: an open source.
        pieces: what to read.
        batch_rows: most rows in one batch.
        themes: known themes; needed when the theme columns are read.
        columns: only these columns, at least the required ones.
    """
    for piece in pieces:
        for batch in source.batches(
            piece.file,
            row_group=piece.row_group,
            offset=piece.offset,
            length=piece.length,
            columns=columns,
            batch_rows=batch_rows,
        ):
            yield judge(piece.file, batch, themes)
