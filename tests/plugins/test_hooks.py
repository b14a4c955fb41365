"""Hooks: what a connection says, what its test answers, and that no secret is told to anybody."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import psycopg
import pytest
from airflow.sdk.log import _secrets_masker
from huggingface_hub import constants

from data_platform.errors import ConfigurationError, StoreError
from data_platform.managers.ledger.run_ledger import WRITE
from data_platform.managers.storage_mode import ReadSource, StorageBackend, StorageMode
from dev.embedded_postgres import EmbeddedPostgres
from dev.hub_server import HubServer, HubStore, Token
from govbr.connections import hub_access, with_connections
from govbr.hooks.huggingface_dataset_hook import HuggingFaceDatasetHook
from govbr.hooks.news_postgres_hook import NewsPostgresHook
from govbr.hooks.storage_hook import StorageHook
from govbr.runtime import task_settings
from tests.support.databases import shared_database
from tests.support.rows import article

pytestmark = pytest.mark.usefixtures("airflow_metadata")

ROOT = Path(__file__).parents[2]
WRITER, READER, BAD = "hf_token_of_a_writer", "hf_token_of_a_reader", "hf_token_of_nobody_at_all"
PASSWORD = "s3cret: of@the/user%"
DATASET = "owner/govbrnews"
Connect = Callable[..., None]


@pytest.fixture(scope="module")
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    with shared_database(postgres) as url:
        yield url


@pytest.fixture(scope="module")
def user(database: str) -> str:
    """A user of the database with a password that needs quoting."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS hook_user")
        connection.execute(f"CREATE ROLE hook_user LOGIN PASSWORD '{PASSWORD}' SUPERUSER")
    return "hook_user"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hf-home"))
    store = HubStore(tmp_path / "hub")
    for name in (DATASET, f"{DATASET}-reduced"):
        store.create(name)
    with HubServer(store, tokens={WRITER: Token("ana", "write"), READER: Token("caio", "read")}) as server:
        yield server


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Connect:
    """A function that defines a connection as JSON in the environment."""
    monkeypatch.setenv("STATE_URI", str(tmp_path / "state"))

    def define(connection_id: str, **fields: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{connection_id.upper()}", json.dumps(fields))

    return define


@pytest.fixture
def to_database(database: str, connect: Connect) -> Connect:
    """A function that defines the connection to PostgreSQL; fields can be replaced."""
    parts = urlsplit(database)

    def define(**fields: Any) -> None:
        known = {"conn_type": "postgres", "host": parts.hostname, "port": parts.port, "schema": parts.path[1:]}
        connect("govbrnews_postgres", **known | {"login": parts.username, "password": parts.password} | fields)

    return define


@pytest.fixture
def to_hub(hub: HubServer, connect: Connect) -> Connect:
    """A function that defines the connection to the Hub; fields can be replaced."""

    def define(**fields: Any) -> None:
        known = {"conn_type": "generic", "host": hub.url, "password": WRITER, "extra": {"dataset": DATASET}}
        connect("huggingface_default", **known | fields)

    return define


# ---------------------------------------------------------------------------------------------- PostgreSQL


def test_a_good_connection_to_postgresql_is_told_with_version_and_schema(to_database: Connect, user: str) -> None:
    to_database(login=f" {user}\n", password=f"{PASSWORD}\n")
    hook = NewsPostgresHook()
    ok, message = hook.test_connection()
    assert ok, message
    for word in ("PostgreSQL 1", f"as {user}", "schema version 0", "writable"):
        assert word in message
    assert PASSWORD not in message
    with hook.get_conn() as connection:
        assert connection.execute("SELECT current_user, current_setting('application_name')").fetchone() == (
            user,
            "govbr hook",
        )
    manager = hook.get_manager()
    assert isinstance(manager.get("2024-01-01", "2024-01-02"), pd.DataFrame)
    manager.close()


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"schema": "no_such_database"}, "does not exist"),
        ({"schema": "postgres"}, "without our schema"),
        ({"port": 9}, "does not answer"),
        ({"host": None}, "has no host"),
        ({"conn_type": "mysql"}, "is of type 'mysql'"),
        ({"extra": "[1]"}, "no JSON object"),
        ({"extra": {"sslmode": "maybe"}}, "sslmode"),
        ({"extra": {"options": "-c default_transaction_read_only=on"}}, "read-only"),
    ],
)
def test_a_bad_connection_to_postgresql_is_told_and_not_raised(
    to_database: Connect, fields: dict[str, Any], word: str
) -> None:
    to_database(**fields)
    ok, message = NewsPostgresHook().test_connection()
    assert ok is (word == "read-only")
    assert word in message


def test_a_wrong_password_is_refused_and_not_told(user: str, to_database: Connect) -> None:
    to_database(login=user, password="another: secret@")
    ok, message = NewsPostgresHook().test_connection()
    assert not ok
    assert "password authentication failed" in message
    assert "another: secret@" not in message


def test_options_for_libpq_pass_and_those_of_the_provider_s_hook_do_not(to_database: Connect) -> None:
    to_database(extra={"application_name": "x", "connect_timeout": 3, "cursor": "dictcursor", "iam": False})
    assert NewsPostgresHook().get_settings().database_url.endswith("?application_name=x&connect_timeout=3")


def test_a_socket_and_an_ipv6_address_are_hosts_too(connect: Connect) -> None:
    connect("govbrnews_postgres", conn_type="postgres", host="/cloudsql/p:r:i", login="u", schema="news")
    assert NewsPostgresHook().get_settings().database_url == (
        "postgresql://u@/news?host=%2Fcloudsql%2Fp%3Ar%3Ai&port=5432"
    )
    connect("govbrnews_postgres", conn_type="postgres", host="::1", login="u", schema="news", extra={"sslmode": "a"})
    assert NewsPostgresHook().get_settings().database_url == "postgresql://u@[::1]:5432/news?sslmode=a"


def test_the_connection_may_have_another_name(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    connect("other", conn_type="postgres", host="127.0.0.1", schema="other")
    connect("third", conn_type="postgres", host="127.0.0.1", schema="third")
    monkeypatch.setenv("GOVBRNEWS_POSTGRES_CONN_ID", "other\n")
    assert NewsPostgresHook().get_settings().database_url.endswith("/other")
    assert NewsPostgresHook("third").get_settings().database_url.endswith("/third")


def test_without_a_connection_the_environment_speaks(monkeypatch: pytest.MonkeyPatch, connect: Connect) -> None:
    with pytest.raises(ConfigurationError, match="no database is set"):
        NewsPostgresHook().get_manager()
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@127.0.0.1:1/env")
    assert NewsPostgresHook(statement_timeout_s=7).get_settings().database_url.endswith("/env")
    assert NewsPostgresHook(statement_timeout_s=7).get_settings().statement_timeout_s == 7


# ------------------------------------------------------------------------------------------------- the Hub


def test_a_good_connection_to_the_hub_is_told_with_account_and_role(to_hub: Connect) -> None:
    to_hub(password=f" {WRITER}\n")
    hook = HuggingFaceDatasetHook()
    ok, message = hook.test_connection()
    assert ok, message
    for word in (DATASET, "is visible", "as ana", "role write", "may read and write"):
        assert word in message
    assert WRITER not in message
    rows = {"unique_id": ["a1", "a2"], "agency": ["mec"] * 2, "published_at": ["2024-05-06"] * 2, "title": ["T", None]}
    assert hook.get_manager().insert(rows) == 1
    rejects = list(Path(hook.get_settings().state_uri).glob("rejects/*.json"))
    assert [json.loads(path.read_text())["unique_id"] for path in rejects] == ["a2"]


@pytest.mark.parametrize(
    ("fields", "ok", "words"),
    [
        ({"password": READER}, True, ["as caio", "role read", "may read, not write"]),
        ({"password": None}, True, ["anonymous", "write nothing"]),
        ({"password": BAD}, False, ["token"]),
        ({"extra": {"dataset": "owner/none"}}, False, ["owner/none", "does not exist or is private"]),
        ({"host": "http://127.0.0.1:9"}, False, ["127.0.0.1:9"]),
    ],
)
def test_every_other_connection_to_the_hub_is_told_and_not_raised(
    to_hub: Connect, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], ok: bool, words: list[str]
) -> None:
    to_hub(**fields)
    found, message = HuggingFaceDatasetHook().test_connection()
    assert found is ok, message
    assert [word for word in words if word not in message] == []
    assert [token for token in (WRITER, READER, BAD) if token in message] == []


def test_datasets_come_from_the_extra_field(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    connect("huggingface_default", conn_type="generic", extra={"dataset": " o/d\n"})
    settings = HuggingFaceDatasetHook().get_settings()
    assert (settings.hf_dataset, settings.hf_reduced_dataset) == ("o/d", "o/d-reduced")
    monkeypatch.setenv("HF_REDUCED_DATASET", "o/r")
    assert HuggingFaceDatasetHook().get_settings().hf_reduced_dataset == "o/r"
    connect("huggingface_default", conn_type="generic", extra={"reduced_dataset": "o/s"})
    monkeypatch.setenv("HF_DATASET", "o/e")
    settings = HuggingFaceDatasetHook().get_settings()
    assert (settings.hf_dataset, settings.hf_reduced_dataset) == ("o/e", "o/s")
    of_a_task = task_settings()
    assert replace(of_a_task, reports_uri=settings.reports_uri) == settings, "tasks and hooks read in one place"


def test_the_default_dataset_is_written_only_if_it_is_named(hub: HubServer, connect: Connect) -> None:
    rows = {"unique_id": ["a1"], "agency": ["mec"], "published_at": ["2024-05-06"], "title": ["T"]}
    connect("huggingface_default", conn_type="generic", host=hub.url, password=WRITER)
    with pytest.raises(ConfigurationError, match="only the default"):
        HuggingFaceDatasetHook().get_manager().insert(rows)
    name = "nitaibezerra/govbrnews"
    connect("huggingface_default", conn_type="generic", host=hub.url, password=WRITER, extra={"dataset": name})
    with pytest.raises(StoreError, match="does not exist"):  # here, but it was asked for
        HuggingFaceDatasetHook().get_manager().insert(rows)


@pytest.mark.parametrize(
    ("fields", "endpoint"),
    [
        ({"host": "https://hub.example/ "}, "https://hub.example"),
        ({"host": "hub.example"}, "https://hub.example"),
        ({"host": "127.0.0.1", "port": 8080, "schema": "http"}, "http://127.0.0.1:8080"),
        ({}, ""),
    ],
)
def test_an_endpoint_may_be_written_in_several_ways(connect: Connect, fields: dict[str, Any], endpoint: str) -> None:
    connect("huggingface_default", conn_type="generic", **fields)
    assert hub_access("huggingface_default").endpoint == endpoint


# ------------------------------------------------------------------------------------------------- storage


def test_the_mode_of_a_run_comes_from_form_environment_or_variable(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert StorageHook().get_mode().pair == "huggingface/huggingface"
    monkeypatch.setenv("AIRFLOW_VAR_STORAGE_BACKEND", "dual_write")
    monkeypatch.setenv("AIRFLOW_VAR_STORAGE_READ_FROM", "postgres")
    with caplog.at_level(logging.INFO):
        mode = StorageHook().get_mode()
    assert mode.pair == "dual_write/postgres"
    assert mode.backend_source == "Airflow Variable storage_backend"
    assert str(mode) in caplog.text
    form = {"storage_backend": "postgres", "storage_read_from": None}
    assert StorageHook(run_parameters=form).get_mode().pair == "postgres/postgres"
    monkeypatch.setenv("STORAGE_BACKEND", "huggingface")
    assert StorageHook(run_parameters=form).get_mode().pair == "huggingface/huggingface"


def test_a_mode_that_an_earlier_task_resolved_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    mode = StorageMode(backend=StorageBackend.DUAL_WRITE, read_from=ReadSource.POSTGRES, backend_source="the form")
    monkeypatch.setenv("STORAGE_BACKEND", "huggingface")
    assert StorageHook(mode=json.loads(json.dumps(mode.to_dict()))).get_mode() == mode
    assert StorageHook(mode=mode).get_mode() is mode


def test_the_form_of_the_task_that_runs_is_read_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    import airflow.sdk

    monkeypatch.setattr(airflow.sdk, "get_current_context", lambda: {"params": {"storage_backend": "postgres"}})
    assert StorageHook().get_mode().backend_source == "storage_backend in the form of this run"


@pytest.mark.parametrize("backend", ["huggingface", "postgres", "dual_write"])
def test_an_adapter_writes_the_stores_of_the_mode_through_the_connections(
    backend: str, database: str, to_database: Connect, to_hub: Connect
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DELETE FROM news")
    to_database()
    to_hub()
    row = article("a1")
    with StorageHook(run_parameters={"storage_backend": backend}).get_adapter(run_date=date(2026, 11, 21)) as adapter:
        assert adapter.insert({name: [value] for name, value in row.items()}) == 1
        assert list(adapter.get("2024-05-06", "2024-05-06")["unique_id"]) == ["a1"]
        told = adapter.ledger.newest(WRITE, run_date=date(2026, 11, 21))
    assert told is not None
    with psycopg.connect(database) as connection:
        news = connection.execute("SELECT unique_id FROM news").fetchall()
        copies = connection.execute("SELECT count(*) FROM sync_log WHERE metadata->>'entry_id' = %s", [told.entry_id])
        assert news == ([] if backend == "huggingface" else [("a1",)])
        assert copies.fetchone() == (0 if backend == "huggingface" else 1,)
    hub_rows = HuggingFaceDatasetHook().get_manager().get("2024-05-06", "2024-05-06")
    assert list(hub_rows["unique_id"]) == ([] if backend == "postgres" else ["a1"])


def test_in_mode_huggingface_a_broken_connection_to_postgresql_is_not_even_read(
    to_hub: Connect, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_hub()
    connect("govbrnews_postgres", conn_type="mysql", host="x")
    monkeypatch.setenv("DATABASE_URL", "nonsense")
    monkeypatch.setenv("STORAGE_BACKEND", "huggingface")
    hook = StorageHook()
    assert hook.get_adapter().settings.database_url == ""
    ok, message = hook.test_connection()
    assert ok, message
    assert "postgres" not in message.replace("storage", "")


@pytest.mark.parametrize(
    ("form", "token", "ok", "words"),
    [
        ({"storage_backend": "dual_write"}, WRITER, True, ["postgres ok", "huggingface ok", "in the form of this run"]),
        ({"storage_backend": "dual_write"}, READER, False, ["postgres ok", "huggingface NOT USABLE", "role read"]),
        ({"storage_backend": "postgres"}, BAD, True, ["postgres ok"]),
        ({"storage_backend": "huggingface"}, None, False, ["huggingface NOT USABLE", "anonymous"]),
        ({"storage_backend": "nonsense"}, WRITER, False, ["storage_backend is 'nonsense'"]),
        ({"storage_backend": "postgres", "storage_read_from": "huggingface"}, WRITER, False, ["never written"]),
    ],
)
def test_the_test_of_the_storage_asks_every_store_that_the_mode_uses(
    to_database: Connect,
    to_hub: Connect,
    form: dict[str, str],
    token: str | None,
    ok: bool,
    words: list[str],
) -> None:
    to_database()
    to_hub(password=token)
    found, message = StorageHook(run_parameters=form).test_connection()
    assert found is ok, message
    assert [word for word in words if word not in message] == []
    assert token is None or token not in message


# -------------------------------------------------------------------------------------------------- secrets


def test_secrets_are_masked_in_logs_in_every_form(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    from data_platform.settings import Settings

    connect("govbrnews_postgres", conn_type="postgres", host="127.0.0.1", login="u", password="p@ss word/1\n")
    connect("huggingface_default", conn_type="generic", password="hf_masked_secret\n")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:of_the_environment@127.0.0.1/x")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(_secrets_masker())
    monkeypatch.setattr(type(_secrets_masker()), "mask_secrets_in_logs", True)  # as in a task
    logger = logging.getLogger("test_hooks.masked")
    logger.addHandler(handler)
    settings = with_connections(
        Settings.from_environment(), postgres="govbrnews_postgres", huggingface="huggingface_default"
    )
    logger.error("address %s and token %s", settings.database_url, settings.hf_token)
    logger.error("plain %s and encoded %s", "p@ss word/1", "p%40ss%20word%2F1")
    with_connections(Settings.from_environment(), postgres="there_is_none")
    logger.error("of_the_environment")
    told = stream.getvalue()
    for secret in ("p@ss word/1", "p%40ss%20word%2F1", "hf_masked_secret", "of_the_environment"):
        assert secret not in told
    assert told.count("***") >= 5


def test_an_error_that_quotes_a_secret_is_told_without_it(
    to_hub: Connect, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a client puts into its messages."""
    connect("govbrnews_postgres", conn_type="postgres", host="127.0.0.1", login="u", password=PASSWORD)

    def chatty(url: str, **_: Any) -> None:
        raise RuntimeError(f"cannot open {url} with {PASSWORD!r}, see https://someone:hidden@host/x")

    monkeypatch.setattr("data_platform.managers.postgres.database.connect", chatty)
    ok, message = NewsPostgresHook().test_connection()
    assert not ok
    assert message.startswith("RuntimeError: cannot open postgresql://u:***@127.0.0.1")
    assert PASSWORD not in message
    assert "hidden" not in message


# ------------------------------------------------------------------------------------------- as Airflow sees it

_AS_AIRFLOW_LOADS = """
import json, sys
from airflow.plugins_manager import _get_plugins
_, errors = _get_plugins()
bare = [name for name in sys.modules if name.endswith("_hook") and "." not in name]
print("FOUND", json.dumps({"errors": errors, "bare": bare}))
"""


def test_airflow_runs_no_hook_as_a_plugin_under_its_bare_name() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _AS_AIRFLOW_LOADS], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("FOUND"))[6:])
    assert found == {"errors": {}, "bare": []}, done.stderr[-2000:]


@pytest.mark.parametrize("hook", [NewsPostgresHook, HuggingFaceDatasetHook, StorageHook])
def test_a_hook_names_its_connection_and_documents_its_fields(hook: Any) -> None:
    assert hook.conn_name_attr.endswith("_conn_id")
    assert hook.default_conn_name
    assert hook.conn_type in {"postgres", "generic"}
    assert hook.hook_name
    assert "onnection" in hook.__doc__
    behaviour = hook.get_ui_field_behaviour()
    assert set(behaviour) <= {"hidden_fields", "relabeling", "placeholders"}


def test_the_module_of_a_hook_opens_nothing_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; import airflow.sdk; before = set(sys.modules)\n"
        "import govbr.hooks.storage_hook, govbr.hooks.news_postgres_hook, govbr.hooks.huggingface_dataset_hook\n"
        "print(sorted(n for n in set(sys.modules) - before if '.' not in n))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "plugins"), os.environ["PYTHONPATH"]])},
        capture_output=True,
        text=True,
        check=False,
    )
    new = done.stdout.strip().splitlines()[-1]
    assert done.returncode == 0, done.stderr[-2000:]
    assert "govbr" in new
    assert [
        name for name in ("pandas", "pyarrow", "psycopg", "huggingface_hub", "data_platform") if f"'{name}'" in new
    ] == []
