"""Proof after a commit: what the published files say of themselves, read back, against what PostgreSQL says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from data_platform.errors import IntegrityError
from data_platform.managers.hub.layout import Rows, data_files, rows_told
from data_platform.managers.hub.state import Snapshot

__all__ = ["prove", "prove_reduced"]

#: Files that a message names.
_NAMED = 5


def prove(published: Snapshot, wanted: Mapping[str, Rows], *, gone: frozenset[str]) -> int:
    """Read the footers of files back and compare counts and digests; return how many files that proves.

    Args:
        published: the head, as it is on the Hub after the commit.
        wanted: path -> what PostgreSQL has for it.
        gone: paths that have no rows any more.

    Raises:
        IntegrityError: names each file that is not what it should be.
        StoreUnavailableError: the Hub did not answer as it should.
    """
    problems = [f"{path} is there and has no rows in PostgreSQL" for path in sorted(gone & published.files.keys())]
    problems += [f"{path} is not there" for path in sorted(wanted.keys() - published.files.keys())]
    there = [published.files[path] for path in sorted(wanted.keys() & published.files.keys())]
    for file, opened in published.reader.columns(there, ()):
        told, should = rows_told(opened.metadata), wanted[file.path]
        if told is None:
            problems.append(f"{file.path} does not say what its rows are")
        elif told.count != should.count:
            problems.append(f"{file.path} has {told.count:,} rows, PostgreSQL {should.count:,}")
        elif told.digest != should.digest:
            problems.append(f"{file.path} has other rows than PostgreSQL (digest {told.digest}, not {should.digest})")
    if problems:
        raise IntegrityError(
            f"{published.reader.repository} at {published.commit} is not what was to be published: {_told(problems)}",
            hint="the position was not stored, so the next sync writes these months again; if it fails again, run "
            "sync-hf --full",
        )
    return len(there)


def prove_reduced(main: Snapshot, reduced: Snapshot, paths: Collection[str]) -> None:
    """Compare the reduced dataset's files with those of the main one, and for some their counts of rows.

    Args:
        main: the head of the main dataset.
        reduced: the head of the reduced one.
        paths: the files whose rows are counted.

    Raises:
        IntegrityError: names each file that differs.
        StoreUnavailableError: the Hub did not answer as it should.
    """
    ours, theirs = set(data_files(main.files)), set(data_files(reduced.files))
    problems = [f"{path} is there only once" for path in sorted(ours ^ theirs)]
    both = sorted(ours & theirs & set(paths))
    for path, here, there in zip(both, _counts(main, both), _counts(reduced, both), strict=True):
        if here != there:
            problems.append(f"{path} has {there:,} rows, {here:,} in the main dataset")
    if problems:
        raise IntegrityError(
            f"{reduced.reader.repository} does not follow the main dataset: {_told(problems)}",
            hint="run sync-hf --full, which derives all of it anew",
        )


def _counts(snapshot: Snapshot, paths: Iterable[str]) -> list[int]:
    files = [snapshot.files[path] for path in paths]
    return [int(opened.metadata.num_rows) for _, opened in snapshot.reader.columns(files, ())]


def _told(problems: list[str]) -> str:
    more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
    return "; ".join(problems[:_NAMED]) + more
