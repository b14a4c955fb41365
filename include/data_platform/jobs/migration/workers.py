"""Worker processes of a migration started from the command line: each loads segments or digests pieces.

In a DAG the parallelism is Airflow's own, one mapped task a segment, and no worker process is started.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import Any

import pyarrow as pa

from data_platform.errors import TransientError
from data_platform.jobs.migration import validation
from data_platform.jobs.migration.load import SegmentLoader
from data_platform.jobs.migration.records import Piece, read_run
from data_platform.jobs.migration.validation import SourceFacts
from data_platform.jobs.progress import peak_rss_mb
from data_platform.managers.postgres.database import connect, translate_errors
from data_platform.settings import Settings
from data_platform.sources.dataset import SourceSnapshot, reopen

__all__ = ["digest_in_worker", "load_in_worker", "pool", "shares"]


def shares(pieces: list[Piece], parallel: int) -> list[list[Piece]]:
    """Split pieces into runs of about equal rows, several for each worker, so that none waits long at the end."""
    if parallel <= 1 or not pieces:
        return [pieces]
    target = -(-sum(piece.length for piece in pieces) // (parallel * 4))
    parts: list[list[Piece]] = [[]]
    held = 0
    for piece in pieces:
        if held >= target:
            parts.append([])
            held = 0
        parts[-1].append(piece)
        held += piece.length
    return parts


class _Worker:
    """What a worker process keeps between its tasks."""

    settings: Settings
    loader: SegmentLoader | None = None
    loader_run: int = 0


@contextmanager
def pool(processes: int, settings: Settings) -> Iterator[ProcessPoolExecutor]:
    """A pool of worker processes; one that was killed becomes an error that says the work can be resumed."""
    context = get_context("spawn")
    workers = ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker, initargs=(settings,))
    try:
        yield workers
    except BrokenProcessPool as error:
        raise TransientError(
            "a worker process died",
            hint="out of memory or killed; run the same command again: it goes on where it stopped",
        ) from error
    finally:
        workers.shutdown(wait=True, cancel_futures=True)


def _start_worker(settings: Settings) -> None:
    _Worker.settings = settings
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Worker processes are the parallelism; threads of Arrow inside each would only fight over the same cores.
    pa.set_cpu_count(1)
    pa.set_io_thread_count(2)


def _end_with_parent() -> None:
    """End this worker when the process that started it is gone: what was killed must not go on loading."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def load_in_worker(run_id: int, number: int) -> float:
    """Load a segment in a worker process; return the process's peak memory in MB."""
    with translate_errors():
        if _Worker.loader is None or _Worker.loader_run != run_id:
            connection = connect(_Worker.settings.require_database(), purpose="load")
            run = read_run(connection, run_id)
            _Worker.loader = SegmentLoader(connection, run, reopen(run.snapshot, settings=_Worker.settings))
            _Worker.loader_run = run_id
        _Worker.loader.load(number)
    return peak_rss_mb()


def digest_in_worker(snapshot: dict[str, Any], work: str, pieces: list[Piece]) -> SourceFacts:
    """Digest pieces of a source in a worker process."""
    source = reopen(SourceSnapshot.from_dict(snapshot), settings=_Worker.settings)
    with connect(_Worker.settings.require_database(), purpose="validate") as connection, translate_errors():
        return validation.digest_pieces(connection, work, source, pieces)
