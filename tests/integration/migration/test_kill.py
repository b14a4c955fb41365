"""Interrupted at every named place, by an exception and by kill -9, a migration goes on to the undisturbed end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from data_platform.cli import COULD_NOT_RUN, main
from data_platform.failpoints import FAILPOINTS
from tests.support.command_line import CommandLine
from tests.support.migrations import Migrations
from tests.support.sources import Row, article, articles, newer, write_source
from tests.support.stores import Store

_IN_WORKERS = ("load.", "validate.mid")


@dataclass(frozen=True)
class Scene:
    """A migration to be interrupted.

    Attributes:
        before: files of a source that was migrated earlier, if any.
        files: the source.
        arguments: of the command line, beside the source.
    """

    name: str
    before: tuple[list[Row], ...]
    files: tuple[list[Row], ...]


def _rows() -> tuple[list[Row], ...]:
    """Three segments with everything in them that takes a step of its own."""
    rows = articles(96)
    rows[5]["title"] = "No Title"  # rejected
    rows[40]["agency"] = "ministerio-novo"  # a stub
    rows[41]["category"] = "No Category"  # cleaned
    rows[50]["theme_1_level_1_code"] = "77"  # cells kept beside
    rows[60] = newer(rows[4], title="Outro título")  # same id, other content, other file
    rows[61] = newer(rows[70])  # same id, same content, other file
    rows[90]["agency"], rows[90]["url"] = rows[3]["agency"], rows[3]["url"] + "/view"  # the same article
    return rows[:32], rows[32:64], rows[64:]


def _changed() -> tuple[list[Row], ...]:
    """The same source some time later."""
    first, second, third = _rows()
    first[8] = newer(first[8], content="Texto corrigido")
    del first[20]
    second[10] = newer(second[10], hours=-1, subtitle="Nova linha fina")
    third += [article(number) for number in range(200, 240)]
    # An earlier-extracted double of an article that is there.
    third.append(newer(article(300), hours=-24) | {"agency": first[2]["agency"], "url": first[2]["url"]})
    return first, second, third


BULK = Scene("bulk", (), _rows())
CATCH_UP = Scene("catch-up", _rows(), _changed())


Ends = dict[str, Any]
Undisturbed = Callable[[Scene], Ends]


@pytest.fixture
def undisturbed(make_store: Callable[[], Store], tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A function that says how a scene ends if nobody interrupts it; each is run once."""

    def run(scene: Scene) -> Ends:
        if scene.name not in _ENDS:
            store, folder = make_store(), tmp_path_factory.mktemp("undisturbed")
            _prepare(scene, store, folder)
            _ENDS[scene.name] = {"status": _finish(store, folder)} | _whole(store)
        return _ENDS[scene.name]

    return run


_ENDS: dict[str, Ends] = {}


def _prepare(scene: Scene, store: Store, folder: Path) -> None:
    """Bring a store to where the scene begins, and write its source."""
    if scene.before:
        Migrations(store, folder).bring(*scene.before, validate=False, max_reject_rate=0.1)
    write_source(folder / "source", scene.files)


def _command(folder: Path, *arguments: str) -> tuple[str, ...]:
    return "migrate", "--source", str(folder / "source"), "--max-reject-rate", "0.1", "--batch-size", "8", *arguments


def _interrupt(store: Store, folder: Path, name: str, what: str, *arguments: str) -> None:
    """Run a migration in a process of its own and see it interrupted where it should be."""
    ran = CommandLine(store.url, folder).run(*_command(folder, *arguments), failpoints=f"{name}={what}")
    if what.startswith("raise"):
        assert ran.status > 0, ran
        assert f"FailpointError: {name}" in ran.err, ran
    elif ran.status != -signal.SIGKILL:  # a worker that was killed is reported by the process that started it
        assert ran.status == COULD_NOT_RUN, ran
        assert ran.result["error"] == "a worker process died", ran
        assert ran.result["retryable"], ran


def _finish(store: Store, folder: Path, *arguments: str) -> int:
    """Run the same command to its end, in this process."""
    return main([*_command(folder, *arguments), "--database-url", store.url, "--json"])


def _whole(store: Store) -> Ends:
    """Return everything that must not depend on how a migration went."""
    last = store.query("SELECT account, validation, status, mode FROM load_runs ORDER BY id DESC LIMIT 1")[0]
    for name in ("seconds", "source"):
        del last["validation"][name]
    return {
        **store.contents(),
        "definitions": store.definitions(),
        "run": last,
        "unfinished": store.query("SELECT id FROM load_runs WHERE status IN ('planning', 'loading')"),
        "locks": store.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"),
    }


def _points(*, bulk: bool) -> Iterator[tuple[str, str]]:
    """Every failpoint with every action; those that are passed often also at a later time."""
    for name in FAILPOINTS:
        if name.startswith(("hub.", "postgres.", "sync.", "repair.", "reindex.")):
            continue  # no migration passes these
        if not bulk and (name == "load.mid_copy" or name.startswith(("index.", "constraint."))):
            continue  # places that only a bulk load passes
        passes = [""]
        if name.startswith("load."):
            passes = ["", ":3"]
        if name.startswith("index."):
            passes = ["", ":2", ":7"]
        if name == "constraint.after_one":
            passes = ["", ":5"]
        for nth in passes:
            for what in ("raise", "kill"):
                yield name, what + nth


@pytest.mark.slow
@pytest.mark.parametrize(("name", "what"), list(_points(bulk=True)))
def test_bulk(name: str, what: str, store: Store, tmp_path: Path, undisturbed: Undisturbed) -> None:
    _walk(BULK, store, tmp_path, undisturbed, name, what, "--parallel", "1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "what"),
    [(name, what) for name, what in _points(bulk=True) if name.startswith(_IN_WORKERS) and ":" not in what],
)
def test_bulk_with_workers(name: str, what: str, store: Store, tmp_path: Path, undisturbed: Undisturbed) -> None:
    _walk(BULK, store, tmp_path, undisturbed, name, what, "--parallel", "2")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "what"), list(_points(bulk=False)))
def test_catch_up(name: str, what: str, store: Store, tmp_path: Path, undisturbed: Undisturbed) -> None:
    _walk(CATCH_UP, store, tmp_path, undisturbed, name, what, "--parallel", "1")


@pytest.mark.parametrize(
    ("scene", "name", "what"),
    [
        (BULK, "load.mid_copy", "kill:3"),
        (BULK, "index.after_one", "kill:3"),
        (CATCH_UP, "load.before_commit", "raise:2"),
        (CATCH_UP, "validate.before_store", "kill"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_few(scene: Scene, name: str, what: str, store: Store, tmp_path: Path, undisturbed: Undisturbed) -> None:
    _walk(scene, store, tmp_path, undisturbed, name, what, "--parallel", "1")


def _walk(
    scene: Scene, store: Store, folder: Path, undisturbed: Undisturbed, name: str, what: str, *arguments: str
) -> None:
    _prepare(scene, store, folder)
    _interrupt(store, folder, name, what, *arguments)
    status = _finish(store, folder, *arguments)
    assert {"status": status} | _whole(store) == undisturbed(scene)
