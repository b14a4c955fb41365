"""A whole comparison of a source with the table, by worker processes if asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from psycopg import Connection

from data_platform.jobs.migration import validation
from data_platform.jobs.migration.plan import cut_segments
from data_platform.jobs.migration.records import Piece
from data_platform.jobs.migration.validation import SourceFacts, ValidationResult
from data_platform.jobs.migration.workers import digest_in_worker, pool, shares
from data_platform.jobs.progress import LogProgress, Progress
from data_platform.managers.postgres.database import connect, translate_errors
from data_platform.schema import require_current
from data_platform.settings import Settings
from data_platform.sources.dataset import Source, open_source

__all__ = ["compare_source", "validate_source"]


def validate_source(
    settings: Settings, source_name: str, *, parallel: int = 1, progress: Progress | None = None
) -> ValidationResult:
    """Compare any source with the table, outside a migration, and store the result."""
    url = settings.require_database()
    require_current(url)
    source = open_source(source_name, settings=settings)
    with connect(url, purpose="validate") as connection, translate_errors():
        result = compare_source(settings, connection, source, parallel, progress or LogProgress())
        validation.store_validation(connection, result, run_id=None)
    return result


def compare_source(
    settings: Settings, connection: Connection[Any], source: Source, parallel: int, progress: Progress
) -> ValidationResult:
    """Compare an open source with the table.

    Args:
        settings: where the table is.
        connection: a connection that does not commit by itself.
        source: the open source.
        parallel: how many processes read the source.
        progress: who watches.
    """
    started = time.monotonic()
    pieces = [piece for segment in cut_segments(source.snapshot.files) for piece in segment.pieces]
    progress.stage("comparing rows", source.snapshot.rows)
    work = validation.prepare(connection)
    facts = SourceFacts()
    with ThreadPoolExecutor(1) as aside:
        # The server digests its side meanwhile; waiting for it in a thread leaves this one to the source.
        target = aside.submit(validation.digest_target, connection)
        for part in _digests(settings, source, work, pieces, parallel=parallel):
            facts.add(part)
            progress.advance(part.rows)
        target.result()
    return validation.compare(connection, work, source, pieces, facts, started=started)


def _digests(
    settings: Settings, source: Source, work: str, pieces: list[Piece], *, parallel: int
) -> Iterator[SourceFacts]:
    """Bring the source's digests to the work table, by worker processes if `parallel` asks for several."""
    parts = shares(pieces, parallel)
    if len(parts) > 1:
        snapshot = source.snapshot.to_dict()
        with pool(parallel, settings) as workers:
            futures = [workers.submit(digest_in_worker, snapshot, work, part) for part in parts]
            for future in as_completed(futures):
                yield future.result()
        return
    with connect(settings.require_database(), purpose="validate") as own:
        yield validation.digest_pieces(own, work, source, pieces)
