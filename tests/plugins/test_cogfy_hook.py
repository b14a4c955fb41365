"""The hook of Cogfy: what a connection says, what its test answers, and that no secret is told to anybody."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.cogfy_server import Fault
from govbr.connections import mask, secrets_of, with_connections
from govbr.hooks import cogfy_hook
from govbr.hooks.cogfy_hook import CogfyHook
from tests.support.enrichment import KEY, NAME, Cogfy, cogfy

pytestmark = pytest.mark.usefixtures("airflow_metadata")

Connect = Callable[..., None]


@pytest.fixture
def there() -> Iterator[Cogfy]:
    with cogfy() as made:
        yield made


@pytest.fixture
def connect(there: Cogfy, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """A function that defines the connection; fields can be replaced."""

    def define(**fields: Any) -> None:
        known = {
            "conn_type": "generic",
            "host": there.server.url,
            "password": f"{KEY}\n",
            "extra": {"collection": f" {NAME} "},
        }
        monkeypatch.setenv("AIRFLOW_CONN_COGFY_DEFAULT", json.dumps(known | fields))

    return define


def test_a_good_connection_is_told_with_its_collection(connect: Connect, there: Cogfy) -> None:
    connect()
    hook = CogfyHook()
    ok, message = hook.test_connection()
    assert ok, message
    for word in (there.server.url.rstrip("/"), NAME, "6 fields", "0 records"):
        assert word in message
    assert KEY not in message
    client = hook.get_client()
    assert client.find_collection(name=NAME)["id"] == there.collection.id
    client.close()


def test_the_environment_speaks_where_the_connection_is_silent(
    connect: Connect, there: Cogfy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COGFY_API_KEY", KEY)
    monkeypatch.setenv("COGFY_SERVER_URL", there.server.url)
    monkeypatch.setenv("COGFY_COLLECTION_ID", there.collection.id)
    assert CogfyHook().test_connection()[0], "no connection at all"
    connect(password="", host="", extra={})
    assert CogfyHook().get_settings().cogfy_collection_id == there.collection.id
    assert CogfyHook().test_connection()[0]
    connect()
    settings = CogfyHook().get_settings()
    assert (settings.cogfy_collection_name, settings.cogfy_collection_id) == (NAME, ""), "the connection's own wins"


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"password": ""}, "COGFY_API_KEY is not set"),
        ({"password": "a-wrong-secret-key"}, "access denied (401"),
        ({"extra": {}}, "no collection of Cogfy is named"),
        ({"extra": {"collection": "other"}}, "no collection is called 'other'"),
        ({"extra": "[1]"}, "no JSON object"),
        ({"host": "http://127.0.0.1:9/"}, "no answer"),
    ],
)
def test_a_bad_connection_is_told_and_not_raised(connect: Connect, fields: dict[str, Any], word: str) -> None:
    connect(**fields)
    ok, message = CogfyHook().test_connection()
    assert not ok
    assert word in message
    assert "a-wrong-secret-key" not in message


def test_a_collection_without_the_cells_is_told(connect: Connect, there: Cogfy) -> None:
    bare = there.store.create_collection("bare", options=[], computed=False)
    connect(extra={"collection_id": bare.id})
    ok, message = CogfyHook().test_connection()
    assert not ok
    assert "without the fields theme_1_level_1, summary, theme_1_level_2, theme_1_level_3" in message


def test_a_test_asks_once_and_does_not_wait(connect: Connect, there: Cogfy) -> None:
    connect()
    there.server.faults = [Fault("collections", status=504)]
    ok, message = CogfyHook().test_connection()
    assert not ok
    assert "504" in message
    assert len(there.server.requests) == 1


def test_its_secrets_are_among_those_that_are_masked(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    from data_platform.settings import Settings

    connect()
    monkeypatch.setenv("CHAT_API_KEY", "sk-of-the-environment")
    settings = with_connections(Settings.from_environment(), cogfy="cogfy_default")
    assert {KEY, "sk-of-the-environment"} <= set(secrets_of(settings))
    mask(settings)


def test_it_names_its_connection_and_documents_its_fields() -> None:
    assert CogfyHook.conn_name_attr == "cogfy_conn_id"
    assert CogfyHook.default_conn_name == "cogfy_default"
    assert CogfyHook.conn_type == "generic"
    assert "onnection" in (CogfyHook.__doc__ or "")
    assert set(CogfyHook.get_ui_field_behaviour()) == {"hidden_fields", "relabeling", "placeholders"}


def test_its_module_imports_nothing_heavy_at_its_top() -> None:
    tree = ast.parse(Path(cogfy_hook.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "typing", "airflow.sdk", "govbr.connections", "govbr.hooks.examined"}
    assert not [node for node in tree.body if isinstance(node, ast.Import)]
