"""The hooks of the search indexes: what a connection says, what its test answers, and that no secret is told."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.qdrant.hooks.qdrant import QdrantHook
from airflow.sdk import BaseHook

from data_platform.errors import ConfigurationError
from data_platform.managers.search_index import Card
from data_platform.settings import Settings
from dev.embeddings_server import EmbeddingsServer
from dev.qdrant_server import QdrantServer
from dev.stand_in import Fault, StandIn
from dev.typesense_server import TypesenseServer
from govbr.connections import environment_settings, secrets_of, with_connections
from govbr.hooks.embeddings_hook import EmbeddingsHook
from govbr.hooks.qdrant_hook import NewsQdrantHook
from govbr.hooks.typesense_hook import TypesenseHook
from govbr.runtime import reader_settings

pytestmark = pytest.mark.usefixtures("airflow_metadata")

ROOT = Path(__file__).parents[2]
KEY, WRONG = "the-key-of-a-service", "a-wrong-secret-key"
NEWS = "news_20261122T201500123456Z"
HOOKS: dict[str, Any] = {
    "typesense_default": TypesenseHook,
    "qdrant_default": NewsQdrantHook,
    "embeddings_api": EmbeddingsHook,
}
Connect = Callable[..., None]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Connect:
    """A function that defines a connection as JSON in the environment."""
    monkeypatch.setenv("STATE_URI", str(tmp_path / "state"))

    def define(connection_id: str, **fields: Any) -> None:
        known = {"conn_type": "generic"}
        monkeypatch.setenv(f"AIRFLOW_CONN_{connection_id.upper()}", json.dumps(known | fields))

    return define


@pytest.fixture
def typesense(connect: Connect) -> Iterator[TypesenseServer]:
    """Typesense's stand-in and a connection to it."""
    with TypesenseServer(keys=[KEY]) as server:
        connect("typesense_default", host=f" {server.url}/ ", password=f"{KEY}\n")
        yield server


@pytest.fixture
def qdrant(connect: Connect) -> Iterator[QdrantServer]:
    """Qdrant's stand-in and a connection to it, by the fields that the provider has."""
    with QdrantServer(keys=[KEY]) as server:
        connect("qdrant_default", conn_type="qdrant", host="127.0.0.1", port=server.port, password=f"{KEY}\n")
        connect("embeddings_api", extra={"kind": "hashing", "dimension": 16})
        yield server


@pytest.fixture
def embeddings(connect: Connect) -> Iterator[EmbeddingsServer]:
    """A service that embeds and a connection to it."""
    with EmbeddingsServer(keys=[KEY], model="a-model", dimension=8) as server:
        extra = {"kind": "openai", "model": "a-model", "dimension": "8"}
        connect("embeddings_api", host=server.url, password=f"{KEY}\n", extra=extra)
        yield server


@pytest.fixture(params=list(HOOKS))
def service(request: pytest.FixtureRequest) -> tuple[str, StandIn]:
    """The connection to each service in turn, and its stand-in."""
    name = request.param
    return name, request.getfixturevalue(name.partition("_")[0])


def made_collection(connection_id: str) -> Any:
    """Make the first collection of an index, and show it; return the index."""
    index = HOOKS[connection_id]().get_index()
    index.create(NEWS, Card(source="postgres"))
    index.finish(NEWS)
    index.point(NEWS)
    return index


# ----------------------------------------------------------------------------------------------- connections


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ({"host": "search.example"}, ("http", "search.example", 8108)),
        ({"host": "search.example", "port": 443}, ("https", "search.example", 443)),
        ({"host": "search.example", "port": 9000, "schema": "https"}, ("https", "search.example", 9000)),
        ({"host": "search.example", "schema": "https"}, ("https", "search.example", 443)),
        ({"host": " https://search.example/ \n"}, ("https", "search.example", 443)),
        ({"host": "http://search.example:81"}, ("http", "search.example", 81)),
        ({"host": "search.example:82"}, ("http", "search.example", 82)),
        ({"host": "::1"}, ("http", "::1", 8108)),
        ({"host": "http://[::1]:83"}, ("http", "::1", 83)),
        ({}, ("https", "of-the-environment", 84)),
    ],
)
def test_typesense_s_address_may_be_written_in_several_ways(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], address: tuple[str, str, int]
) -> None:
    given = {"HOST": "of-the-environment", "PORT": "84", "PROTOCOL": "https", "API_KEY": "k", "COLLECTION": "c"}
    for name, value in given.items():
        monkeypatch.setenv(f"TYPESENSE_{name}", value)
    connect("typesense_default", **fields)
    settings = TypesenseHook().get_settings()
    assert (settings.typesense_protocol, settings.typesense_host, settings.typesense_port) == address
    assert (settings.typesense_api_key, settings.typesense_collection) == ("k", "c")


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "127.0.0.1", "password": KEY}, "http://127.0.0.1:6333"),
        ({"host": "localhost", "port": 9}, "http://localhost:9"),
        ({"host": "qdrant.example", "port": 6335}, "https://qdrant.example:6335"),
        ({"host": "qdrant.example", "schema": "http"}, "http://qdrant.example"),
        ({"host": "https://qdrant.example:6333/"}, "https://qdrant.example:6333"),
        ({"host": "qdrant.example", "extra": {"https": False}}, "http://qdrant.example"),
        ({"host": "127.0.0.1", "extra": {"https": True}}, "https://127.0.0.1"),
        ({"host": "::1", "extra": {"prefix": "/search"}}, "http://[::1]:6333/search"),
        ({"extra": {"url": "https://qdrant.example:6333/search"}}, "https://qdrant.example:6333/search"),
        ({}, "http://127.0.0.1:1"),
    ],
)
def test_qdrant_s_address_may_be_written_in_several_ways(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], url: str
) -> None:
    monkeypatch.setenv("QDRANT_URL", "http://127.0.0.1:1")
    connect("qdrant_default", **fields)
    assert NewsQdrantHook().get_settings().qdrant_url == url


@pytest.mark.parametrize(
    ("connection_id", "fields", "word"),
    [
        ("typesense_default", {"host": f"https://user:{WRONG}@search.example"}, "has a user or a password in it"),
        ("typesense_default", {"host": "https://search.example/behind"}, "has the path '/behind'"),
        ("typesense_default", {"host": "ftp://search.example"}, "is no address of a service"),
        ("typesense_default", {"host": "search.example:many"}, "a port that is none"),
        ("typesense_default", {"host": "search.example", "extra": "[1]"}, "no JSON object"),
        ("qdrant_default", {"host": "a.example", "extra": {"url": "https://b.example"}}, "a host and a url"),
        ("qdrant_default", {"host": "http://a.example", "extra": {"https": True}}, "says https: true"),
        ("qdrant_default", {"host": "a.example", "extra": {"https": "perhaps"}}, "is 'perhaps'"),
        ("qdrant_default", {"host": "http://a.example/x", "extra": {"prefix": "y"}}, "a path and a prefix"),
        ("embeddings_api", {"host": "https://a.example", "extra": {"dimension": "many"}}, "dimension"),
        ("embeddings_api", {"host": "https://a.example"}, "EMBEDDINGS_API_KIND is not"),
        ("embeddings_api", {"extra": {"kind": "openai"}}, "EMBEDDINGS_API_URL is not set"),
        ("typesense_default", {"password": KEY}, "no Typesense is set"),
        ("typesense_default", {"host": "search.example"}, "TYPESENSE_API_KEY is not set"),
        ("qdrant_default", {"password": KEY}, "QDRANT_URL is not set"),
    ],
)
def test_a_connection_that_cannot_be_used_is_told_and_not_raised(
    connect: Connect, connection_id: str, fields: dict[str, Any], word: str
) -> None:
    connect(connection_id, **fields)
    ok, message = HOOKS[connection_id]().test_connection()
    assert not ok
    assert word in message
    assert WRONG not in message


def test_the_extra_field_names_alias_kind_model_and_dimension(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect("typesense_default", extra={"collection": " other\n"})
    connect("qdrant_default", extra={"collection": "third"})
    extra = {"kind": "generate", "model": "m", "dimension": 1024}
    connect("embeddings_api", host="127.0.0.1", port=8080, password=KEY, extra=extra)
    monkeypatch.setenv("EMBEDDINGS_MODEL", "of-the-environment")
    assert TypesenseHook().get_settings().typesense_collection == "other"
    settings = NewsQdrantHook().get_settings()
    assert settings.qdrant_collection == "third"
    assert (settings.embeddings_api_url, settings.embeddings_api_key) == ("http://127.0.0.1:8080", KEY)
    assert (settings.embeddings_api_kind, settings.embeddings_model, settings.embeddings_dimension) == (
        "generate",
        "m",
        1024,
    )
    of_a_task = reader_settings("qdrant", with_postgres=False)
    assert replace(of_a_task, state_uri=settings.state_uri) == settings, "tasks and hooks read in one place"


def test_of_what_a_task_does_not_ask_nothing_is_read(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://cannot be read")
    monkeypatch.setenv("TYPESENSE_WRITE_CONN", "no JSON")
    connect("typesense_default", extra="[1]")
    connect("qdrant_default", host="127.0.0.1")
    assert reader_settings("qdrant", with_postgres=False).qdrant_url == "http://127.0.0.1:6333"
    assert environment_settings(with_postgres=False).typesense_host == ""
    with pytest.raises(ConfigurationError, match="no JSON"):
        reader_settings("typesense", with_postgres=False)
    with pytest.raises(ConfigurationError):
        reader_settings("qdrant")


def test_secrets_of_the_services_are_among_those_that_are_masked(connect: Connect) -> None:
    for number, connection_id in enumerate(HOOKS):
        connect(connection_id, host="127.0.0.1", password=f"secret-{number}\n")
    settings = with_connections(
        Settings(), typesense="typesense_default", qdrant="qdrant_default", embeddings="embeddings_api"
    )
    assert {"secret-0", "secret-1", "secret-2"} <= set(secrets_of(settings))


# ------------------------------------------------------------------------------------------------------ tests


def test_a_good_connection_to_typesense_is_told_with_version_and_collection(typesense: TypesenseServer) -> None:
    hook = TypesenseHook()
    assert hook.test_connection() == (
        True,
        f"Typesense at {typesense.url}: version 27.1; searches for news see no collection yet",
    )
    made_collection("typesense_default").close()
    ok, message = hook.test_connection()
    assert ok, message
    assert message.endswith(f"version 27.1; alias news -> {NEWS}, 0 documents, from postgres")
    typesense.store.collection(NEWS).alter([{"name": "tags", "drop": True}])
    ok, message = hook.test_connection()
    assert (ok, message.rpartition("; ")[2]) == (True, "NOT AS IT SHOULD BE: tags is missing")
    assert KEY not in message


def test_a_collection_that_is_no_alias_yet_is_told(typesense: TypesenseServer) -> None:
    from data_platform.models.search_document import collection_schema

    typesense.store.create_collection(collection_schema("news", []))
    ok, message = TypesenseHook().test_connection()
    assert ok
    assert "news (a collection, not an alias yet), 0 documents" in message


def test_a_typesense_without_room_is_not_usable(typesense: TypesenseServer) -> None:
    typesense.out_of("DISK", 5)
    ok, message = TypesenseHook().test_connection()
    assert not ok
    assert "WRITES NOTHING: OUT_OF_DISK" in message


def test_a_good_connection_to_qdrant_is_told_with_version_collection_and_vectors(
    qdrant: QdrantServer, connect: Connect
) -> None:
    hook = NewsQdrantHook()
    ok, message = hook.test_connection()
    assert ok, message
    assert f"Qdrant at {qdrant.url}: version " in message
    model = hook.get_index()._embedder.model
    assert message.endswith(f"searches for news see no collection yet; vectors wanted: {model}, 16 numbers")
    made_collection("qdrant_default").close()
    ok, message = hook.test_connection()
    assert ok, message
    assert f"alias news -> {NEWS}, 0 documents, from postgres" in message
    connect("embeddings_api", extra={"kind": "hashing", "dimension": 32})
    ok, message = hook.test_connection()
    assert not ok, "vectors of another length are never written there"
    assert "NOT AS IT SHOULD BE: its vectors have 16 numbers" in message


def test_a_good_connection_to_embeddings_is_told_with_model_and_dimension(embeddings: EmbeddingsServer) -> None:
    hook = EmbeddingsHook()
    assert hook.test_connection() == (
        True,
        f"the embeddings service at {embeddings.url}: model a-model, 8 numbers; a text was embedded",
    )
    embedder = hook.get_embedder()
    assert embedder.embed(["um", "dois"]).vectors.shape == (2, 8)
    embedder.close()


def test_without_a_service_words_are_hashed_and_that_is_told() -> None:
    ok, message = EmbeddingsHook().test_connection()
    assert ok
    assert message.startswith("no service: model ")
    assert message.endswith("768 numbers; it knows words and not what they mean")


def test_embeddings_of_another_length_are_told(embeddings: EmbeddingsServer) -> None:
    embeddings.spoil(dimension=9)
    ok, message = EmbeddingsHook().test_connection()
    assert not ok
    assert "vectors of 9 numbers, expected are 8" in message


def test_a_wrong_key_is_refused_and_not_told(service: tuple[str, StandIn], connect: Connect) -> None:
    name, server = service
    extra = {"kind": "openai", "model": "a-model", "dimension": 8}
    connect(name, host=server.url, password=WRONG, extra=extra)
    ok, message = HOOKS[name]().test_connection()
    assert not ok
    assert "access denied (401" in message
    assert WRONG not in message


def test_a_service_that_is_not_there_is_told_and_not_raised(service: tuple[str, StandIn], connect: Connect) -> None:
    """The provider's own hook raises here."""
    name, _ = service
    extra = {"kind": "generate", "model": "a-model", "dimension": 8}
    connect(name, host="http://127.0.0.1:9", password=WRONG, extra=extra)
    ok, message = HOOKS[name]().test_connection()
    assert not ok
    assert "127.0.0.1:9" in message
    assert "no answer" in message
    assert WRONG not in message


def test_a_service_that_is_not_ready_is_asked_once_and_told(service: tuple[str, StandIn]) -> None:
    name, server = service
    server.faults = [Fault(".*", status=503, message=f"loading, {KEY}")]
    ok, message = HOOKS[name]().test_connection()
    assert not ok
    assert "503" in message
    assert KEY not in message
    assert len(server.asked("POST /v1|GET /health|GET /$|GET /aliases")) == 1


# --------------------------------------------------------------------------------------- the provider's hook


def test_the_provider_s_hook_falls_short_of_ours_as_the_docstring_says(qdrant: QdrantServer, connect: Connect) -> None:
    theirs, ours = QdrantHook("qdrant_default"), NewsQdrantHook()
    assert isinstance(ours, QdrantHook)
    with pytest.raises(Exception, match=r"SSL|record layer"):  # the password turned on https
        theirs.verify_connection()
    assert ours.conn.get_collections().collections == []
    assert ours.conn is ours.conn
    assert (ours.conn.http.client._client.timeout.read, theirs.conn.http.client._client.timeout.read) == (60, 5)
    connect("qdrant_default", host="127.0.0.1", port=9)
    with pytest.raises(Exception, match="refused"):
        QdrantHook("qdrant_default").verify_connection()
    assert not NewsQdrantHook().verify_connection()[0]
    with pytest.raises(ModuleNotFoundError, match="flask_appbuilder"):
        QdrantHook.get_connection_form_widgets()
    assert NewsQdrantHook.get_connection_form_widgets() == {}


def test_the_provider_s_operator_works_with_our_hook(qdrant: QdrantServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.qdrant.operators.qdrant import QdrantIngestOperator
    from qdrant_client import models

    ours = NewsQdrantHook()
    ours.conn.create_collection("other", models.VectorParams(size=2, distance=models.Distance.COSINE))
    ingest = QdrantIngestOperator(
        task_id="ingest", collection_name="other", vectors=[[1.0, 0.0]], ids=[1], payload=[{}]
    )
    monkeypatch.setattr(ingest, "hook", ours)
    ingest.execute({})
    assert ours.conn.count("other").count == 1


# --------------------------------------------------------------------------------------------- as they are made


@pytest.mark.parametrize("name", list(HOOKS))
def test_a_hook_names_its_connection_and_documents_its_fields(name: str) -> None:
    hook = HOOKS[name]
    assert issubclass(hook, BaseHook)
    assert hook.default_conn_name == name
    assert hook.conn_type == ("qdrant" if name.startswith("qdrant") else "generic")
    assert all(word in hook.__doc__ for word in ("Connection, of", "Host", "Password", "Extra", "environment"))
    assert set(hook.get_ui_field_behaviour()) == {"hidden_fields", "relabeling", "placeholders"}
    assert f"`{name}`" in (ROOT / "docs" / "connections.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["typesense_hook", "embeddings_hook"])
def test_a_module_imports_nothing_heavy_at_its_top(name: str) -> None:
    tree = ast.parse((ROOT / "plugins" / "govbr" / "hooks" / f"{name}.py").read_text(encoding="utf-8"))
    imported = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    usual = {"__future__", "contextlib", "typing", "airflow.sdk", "govbr.connections", "govbr.hooks.examined"}
    assert imported == usual
