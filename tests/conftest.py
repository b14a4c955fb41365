"""What all tests share: a sealed environment, real PostgreSQL servers, an Airflow metadata database.

The lines before the fixtures run when pytest starts, before any test module can import Airflow: it
reads its environment at import, once.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent.parent
_GUARD_FOLDER = Path(__file__).resolve().parent / "loopback_only"
_SCRATCH = Path(tempfile.mkdtemp(prefix="govbr-tests-"))
atexit.register(shutil.rmtree, _SCRATCH, ignore_errors=True)

_SLOW_TIMEOUT_S = 1200

#: What a developer's shell may hold that points at real services; no test may see it.
_FOREIGN = (
    "AIRFLOW",
    "_AIRFLOW",
    "PG",
    "HF_",
    "HUGGING",
    "GOVBRNEWS_",
    "COGFY_",
    "TYPESENSE_",
    "QDRANT_",
    "EMBEDDINGS_",
    "CHAT_",
    "ENRICH",
    "GOOGLE_",
    "SCRAPER_",
)
_FOREIGN_NAMES = {
    "AGENCIES_SOURCE",
    "DATABASE_URL",
    "REPORTS_URI",
    "SITES_SOURCE",
    "STAGING_URI",
    "STATE_URI",
    "STORAGE_BACKEND",
    "STORAGE_READ_FROM",
    "THEMES_SOURCE",
}


def _seal_environment() -> None:
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name in _FOREIGN_NAMES or name.lower().endswith("_proxy"):
            del os.environ[name]
    python_path = [str(_GUARD_FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ.update(
        {
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(os.pathsep.join(python_path).split(os.pathsep))),
            # Whatever host a database address names, libpq goes here. A socket's address needs it unset.
            "PGHOSTADDR": "127.0.0.1",
            "HF_HOME": str(_SCRATCH / "huggingface"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",  # the stand-in of the Hub speaks Xet only where a test asks for it
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "AIRFLOW_HOME": str(_SCRATCH / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(_ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(_ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_SCRATCH / 'airflow.db'}",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(_SCRATCH / "logs"),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
    )


def _load_guard() -> type[RuntimeError]:
    """Install the guard in this process and return the error that it raises."""
    spec = importlib.util.spec_from_file_location("_loopback_only", _GUARD_FOLDER / "sitecustomize.py")
    if spec is None or spec.loader is None:
        raise ImportError(_GUARD_FOLDER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    installed = sys.modules.get("sitecustomize")  # in an xdist worker it was there from the start
    error: type[RuntimeError] = getattr(installed, "NetworkBlockedError", module.NetworkBlockedError)
    return error


_seal_environment()
_NETWORK_BLOCKED_ERROR = _load_guard()

from dev.embedded_postgres import DURABILITY_OFF, EmbeddedPostgres, system_postgres_bin  # noqa: E402 - sealed first
from tests.support.copies import drop_database, fresh_database  # noqa: E402 - as above


@pytest.fixture(scope="session")
def network_blocked_error() -> type[RuntimeError]:
    """The error that reaching for the network raises."""
    return _NETWORK_BLOCKED_ERROR


#: What the databases of a whole run need at most, with room to spare.
_CLUSTER_BYTES = 6 << 30


def _cluster_folder() -> Iterator[Path]:
    # In memory where there is plenty (a container has 64 MB of it): databases come and go by the thousand. Not pytest's
    # own temporary folder: as root the server runs as another user, who cannot pass there.
    memory = Path("/dev/shm")
    is_roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _CLUSTER_BYTES
    folder = Path(tempfile.mkdtemp(prefix="govbr-tests-pg-", dir=memory if is_roomy else "/var/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The embedded PostgreSQL of this session (of each worker under xdist), without durability."""
    for folder in _cluster_folder():
        with EmbeddedPostgres(folder / "data", settings=DURABILITY_OFF, bound=True) as server:
            yield server


@pytest.fixture(scope="session")
def postgres15() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL 15, the version of the production database; skips where none is installed."""
    bin_dir = system_postgres_bin(15)
    if bin_dir is None:
        pytest.skip("no PostgreSQL 15 below /usr/lib/postgresql")
    for folder in _cluster_folder():
        with EmbeddedPostgres(folder / "data", bin_dir=bin_dir, settings=DURABILITY_OFF, bound=True) as server:
            yield server


def _fresh_database(server: EmbeddedPostgres) -> Iterator[str]:
    yield (url := fresh_database(server.url()))
    drop_database(url)


@pytest.fixture
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Address of an empty database of this test's own, on the embedded PostgreSQL."""
    yield from _fresh_database(postgres)


@pytest.fixture
def make_database(postgres: EmbeddedPostgres) -> Iterator[Callable[[], str]]:
    """A function that makes further empty databases and returns their addresses."""
    urls: list[str] = []

    def make() -> str:
        urls.append(fresh_database(postgres.url()))
        return urls[-1]

    yield make
    for url in urls:
        drop_database(url)


@pytest.fixture
def postgres15_url(postgres15: EmbeddedPostgres) -> Iterator[str]:
    """Address of an empty database on PostgreSQL 15; skips where none is installed."""
    yield from _fresh_database(postgres15)


@pytest.fixture(params=["embedded", "15"])
def each_database_url(request: pytest.FixtureRequest) -> str:
    """Address of an empty database, on each server in turn: the test runs once per server."""
    url: str = request.getfixturevalue("database_url" if request.param == "embedded" else "postgres15_url")
    return url


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests their own time limit: it is there to end a hang, so a busy machine must not reach it."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_SLOW_TIMEOUT_S))


@pytest.fixture(scope="session")
def airflow_metadata() -> None:
    """Airflow's metadata tables, in a SQLite file of this session."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(autouse=True)
def _loopback_only() -> None:
    """Check that nothing has taken the guard away; it was put in place before any test was imported."""
    import socket

    assert getattr(socket.socket.connect, "is_loopback_only", False), "something replaced socket.connect"
